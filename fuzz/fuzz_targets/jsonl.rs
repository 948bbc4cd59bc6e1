//! Records in a .jsonl file. No message may quote what stands in a record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_data::{Columns, TextColumns, UnitColumn, UnitIds, read_records};

fuzz_target!(|data: &[u8]| {
    let path = rldp_fuzz::file("records.jsonl", data);
    let one = TextColumns::Text("text".into());
    let two = TextColumns::PromptCompletion { prompt: "text".into(), completion: "label".into() };
    for text in [one, two, TextColumns::Messages("text".into()), TextColumns::Usual] {
        let unit = Some(UnitColumn { name: "unit".into(), ids: UnitIds::Checked });
        let _ = read_records(&path, &Columns { unit, ..Columns::of(text) });
    }
});
