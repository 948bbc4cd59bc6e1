//! Records in a .parquet file. No message may quote what stands in a record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_data::{Columns, TextColumns, UnitColumn, UnitIds, read_records};

fuzz_target!(|data: &[u8]| {
    // The reader catches panics of the parquet crate, where libFuzzer's hook would abort; what escapes it aborts all the same.
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let path = rldp_fuzz::file("records.parquet", data);
    let one = TextColumns::Text("text".into());
    let two = TextColumns::PromptCompletion { prompt: "text".into(), completion: "label".into() };
    for text in [one, two, TextColumns::Messages("text".into()), TextColumns::Usual] {
        let unit = Some(UnitColumn { name: "unit".into(), ids: UnitIds::Checked });
        let _ = read_records(&path, &Columns { unit, ..Columns::of(text) });
    }
});
