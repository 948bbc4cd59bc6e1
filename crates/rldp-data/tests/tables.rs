//! Files of records as other programs write them.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::{Path, PathBuf};

use rldp_data::{
    Chat, ChatTemplate, Columns, Content, IdBook, RawRecord, SpecialTokens, TextColumns, UnitColumn, UnitIds,
    read_more_records, read_records,
};

fn parquet(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/tables/{name}.parquet"))
}

fn by(ids: UnitIds, text: TextColumns) -> Columns {
    Columns { unit: Some(UnitColumn { name: "who".into(), ids }), ..Columns::of(text) }
}

fn text_by_who() -> Columns {
    by(UnitIds::Checked, TextColumns::Usual)
}

fn units(records: &[RawRecord]) -> Vec<&str> {
    records.iter().map(|record| record.unit.as_deref().unwrap()).collect()
}

fn refused(path: &Path, columns: &Columns) -> String {
    read_records(path, columns).err().map(|error| error.to_string()).unwrap()
}

#[test]
fn ids_of_every_type_are_read_or_named_as_what_they_are() {
    for kind in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"] {
        let found = read_records(&parquet(&format!("id-{kind}")), &text_by_who()).unwrap();
        assert_eq!(units(&found), ["3", "100"], "{kind}");
    }
    assert_eq!(units(&read_records(&parquet("id-bool"), &text_by_who()).unwrap()), ["true", "false"]);
    assert_eq!(units(&read_records(&parquet("id-float"), &text_by_who()).unwrap()), ["7", "8"]);
    for (name, says) in [
        ("id-fraction", "row 2: `who` is a floating-point number with a fraction"),
        ("id-nan", "row 2: `who` is NaN, a missing value"),
        ("id-null", "row 2: `who` is null"),
        ("id-decimal", "row 1: `who` is a decimal"),
        ("id-date", "row 1: `who` is a date or a time"),
        ("text-null", "row 2: `text` is null, but must be a string"),
        ("text-int", "row 1: `text` is a number, but must be a string"),
    ] {
        let found = refused(&parquet(name), &text_by_who());
        assert!(found.contains(says), "{name}: {found}");
    }
}

#[test]
fn every_usual_codec_is_read() {
    for codec in ["none", "snappy", "gzip", "zstd", "lz4", "brotli"] {
        let found = read_records(&parquet(&format!("codec-{codec}")), &text_by_who()).unwrap();
        assert_eq!(units(&found), ["1", "2"], "{codec}");
    }
}

/// The hub's usual form of conversations: a list of structs, in which keys that a message lacks are null.
#[test]
fn messages_in_parquet_keep_their_order_and_lose_their_nulls() {
    let found = read_records(&parquet("messages"), &Columns::of(TextColumns::Usual)).unwrap();
    let Content::Chat(chat) = &found[0].content else { panic!("a conversation") };
    let source = "{{ tools | tojson }}{% for m in messages %}|{{ m | tojson }}{% endfor %}";
    let template = ChatTemplate::new(source, SpecialTokens::new());
    let expected = concat!(
        r#"[{"name": "f", "strict": true, "size": 3}]"#,
        r#"|{"role": "user", "content": "It's \"7\" & é\n"}"#,
        r#"|{"role": "assistant", "calls": [{"name": "f", "at": 1.0}]}"#,
        r#"|{"role": "assistant", "content": "Seven.", "calls": []}"#,
    );
    assert_eq!(template.render(&chat.messages, chat.tools.as_deref(), false).unwrap(), expected);
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs_err::write(&path, text).unwrap();
    path
}

#[test]
fn one_person_is_one_unit_however_the_number_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name, text| written(folder.path(), name, text);
    let read = |path: &Path, rule| read_records(path, &by(rule, TextColumns::Usual)).map_err(|error| error.to_string());
    let json = file(
        "a.jsonl",
        "{\"text\": \"a\", \"who\": 1}\n{\"text\": \"b\", \"who\": 1.0}\n{\"text\": \"c\", \"who\": \"1\"}\n",
    );
    assert_eq!(units(&read(&json, UnitIds::Checked).unwrap()), ["1", "1", "1"]);
    assert_eq!(units(&read(&json, UnitIds::AsWritten).unwrap()), ["1", "1.0", "1"]);
    let long = file(
        "b.jsonl",
        "{\"text\": \"a\", \"who\": 12345678901234567890123}\n{\"text\": \"b\", \"who\": 12345678901234567890124}\n",
    );
    assert_eq!(units(&read(&long, UnitIds::Checked).unwrap()), ["12345678901234567890123", "12345678901234567890124"]);
    let csv = file("c.csv", "text,who\none,7\ntwo,7.0\nthree, 7\n");
    let refusal = read(&csv, UnitIds::Checked).err().unwrap();
    assert!(
        refusal.contains("row 3") && refusal.contains("blanks") && refusal.contains("--unit-ids trimmed"),
        "{refusal}"
    );
    assert_eq!(units(&read(&csv, UnitIds::Trimmed).unwrap()), ["7", "7", "7"]);
    assert_eq!(units(&read(&csv, UnitIds::AsWritten).unwrap()), ["7", "7.0", " 7"]);
}

#[test]
fn several_files_have_one_book_of_units() {
    let folder = tempfile::tempdir().unwrap();
    let first = written(folder.path(), "a.csv", "text,who\none,p1\n");
    let second = written(folder.path(), "b.csv", "text,who\ntwo,P1\n");
    let mut ids = IdBook::new(UnitIds::Checked);
    read_more_records(&first, &text_by_who(), &mut ids).unwrap();
    let refusal = read_more_records(&second, &text_by_who(), &mut ids).err().unwrap().to_string();
    assert!(refusal.contains("b.csv: row 1") && refusal.contains("a.csv") && refusal.contains("case"), "{refusal}");
}

#[test]
fn malformed_quotes_are_refused_with_their_row() {
    let folder = tempfile::tempdir().unwrap();
    let text = "text,who\nfirst ok row,p1\n\"Ouch it hurts,p2\nthird row is here,p3\nsays 5\" long,p4\nfifth row,p5\n";
    let refusal = refused(&written(folder.path(), "q.csv", text), &text_by_who());
    assert!(refusal.contains("row 2: text follows a closing quote"), "{refusal}");
    let bare = written(folder.path(), "r.csv", "text,who\nsays 5\" long,p4\n\"a \"\"b\"\"\",p5\n");
    let found = read_records(&bare, &text_by_who()).unwrap();
    assert!(matches!(&found[0].content, Content::Text(text) if text == "says 5\" long"));
    assert!(matches!(&found[1].content, Content::Text(text) if text == "a \"b\""));
}

#[test]
fn labels_are_the_same_with_and_without_a_unit_column() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "{\"prompt\": \"good?\", \"completion\": 1, \"who\": \"p1\"}\n{\"prompt\": \"bad?\", \"completion\": false, \"who\": \"p2\"}\n";
    let path = written(folder.path(), "i.jsonl", lines);
    for columns in [text_by_who(), Columns::of(TextColumns::Usual)] {
        let found = read_records(&path, &columns).unwrap();
        let completions: Vec<&str> = found.iter().map(RawRecord::scored_text).collect();
        assert_eq!(completions, ["1", "false"]);
    }
}

#[test]
fn tabs_and_other_delimiters_separate_fields() {
    let folder = tempfile::tempdir().unwrap();
    let tsv = written(folder.path(), "a.tsv", "text\twho\none, two\tp1\n\"a\tb\"\tp2\n");
    let found = read_records(&tsv, &text_by_who()).unwrap();
    assert_eq!((found[0].scored_text(), found[1].scored_text()), ("one, two", "a\tb"));
    let other = written(folder.path(), "a.txt", "text;who\none, two;p1\n");
    assert!(refused(&other, &text_by_who()).contains("--delimiter"));
    let found = read_records(&other, &Columns { delimiter: Some(b';'), ..text_by_who() }).unwrap();
    assert_eq!(found[0].scored_text(), "one, two");
}

#[test]
fn usual_forms_of_instructions_and_conversations_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let alpaca = r#"[{"instruction": "Say", "input": "hi", "output": "Hi."}, {"instruction": "Go", "input": "", "output": "Gone."}]"#;
    let found = read_records(&written(folder.path(), "a.json", alpaca), &Columns::of(TextColumns::Usual)).unwrap();
    let prompts: Vec<_> = found
        .iter()
        .map(|record| match &record.content {
            Content::Pair { prompt, completion } => (prompt.as_str(), completion.as_str()),
            _ => panic!("a prompt and its completion"),
        })
        .collect();
    assert_eq!(prompts, [("Say\nhi", "Hi."), ("Go", "Gone.")]);
    let talk = r#"{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}], "tools": null}"#;
    let found = read_records(&written(folder.path(), "t.jsonl", talk), &Columns::of(TextColumns::Usual)).unwrap();
    assert!(matches!(&found[0].content, Content::Chat(Chat { before: Some(_), tools: None, .. })));
    let mixed = r#"{"prompt": "a", "completion": [{"role": "assistant", "content": "SECRET"}]}"#;
    let refusal = refused(&written(folder.path(), "m.jsonl", mixed), &Columns::of(TextColumns::Usual));
    assert!(refusal.contains("must be alike") && !refusal.contains("SECRET"), "{refusal}");
}
