//! Files of records.

use std::path::Path;

use super::{Case, train, train_with};

/// Found by fuzzing: a page of a dictionary that is not there.
const PAGES: &[u8] = include_bytes!("../../../../../fuzz/corpus/parquet/dictionary-that-is-not-there");

#[expect(clippy::too_many_lines, reason = "a list of inputs")]
pub(super) fn cases() -> Vec<Case> {
    let deep = vec![b'['; 100_000];
    let files: &[(&str, &str, &[u8])] = &[
        ("empty CSV", "empty.csv", b""),
        ("CSV with a header alone", "header.csv", b"patient,text\n"),
        ("CSV without the column", "column.csv", b"patient,body\n1,SECRET note\n"),
        ("ragged CSV", "ragged.csv", b"patient,text\n1,SECRET one\n2,SECRET two, with a comma\n"),
        ("CSV that is not UTF-8", "bytes.csv", b"patient,text\n1,SECRET\n2,\xff\xfe SECRET\n"),
        ("CSV whose header is not UTF-8", "head.csv", b"patient,t\xffext\n1,SECRET\n"),
        ("CSV with a NUL", "nul.csv", b"patient,text\n1,SECRET\x00\x00note\n"),
        ("CSV with an empty text", "blank.csv", b"patient,text\n1,SECRET note\n2,\n"),
        ("CSV without a unit", "unit.csv", b"patient,text\n,SECRET note\n"),
        ("CSV with a quote that never ends", "quote.csv", b"patient,text\n1,\"SECRET note\n2,SECRET\n"),
        ("CSV without a header", "body.csv", b"1,SECRET note one\n2,SECRET note two\n"),
        ("CSV with a column twice", "twice.csv", b"patient,text,text\n1,SECRET a,SECRET b\n"),
        ("empty JSONL", "empty.jsonl", b"\n\n"),
        ("broken JSONL", "broken.jsonl", b"{\"text\": \"SECRET a\", \"patient\": \"1\"}\n{\"text\": \"SECRET b\n"),
        ("JSONL of lists", "list.jsonl", b"[\"SECRET\", 1]\n"),
        ("JSONL without the key", "key.jsonl", b"{\"body\": \"SECRET\", \"patient\": \"1\"}\n"),
        ("JSONL with a number for a text", "number.jsonl", b"{\"text\": 7, \"patient\": \"1\"}\n"),
        ("JSONL that is not UTF-8", "bytes.jsonl", b"{\"text\": \"\xff SECRET\", \"patient\": \"1\"}\n"),
        ("JSONL nested without end", "deep.jsonl", &deep),
        ("CSV with text after a quote", "after.csv", b"patient,text\n1,SECRET ok\n2,\"SECRET\" note\n"),
        ("CSV with ids that differ by a blank", "blanks.csv", b"patient,text\n7,SECRET a\n 7,SECRET b\n"),
        ("CSV with ids that differ by case", "case.csv", b"patient,text\np7,SECRET a\nP7,SECRET b\n"),
        ("CSV with ids that differ by zeros", "zeros.csv", b"patient,text\n7,SECRET a\n007,SECRET b\n"),
        ("CSV with a blank id", "blank-id.csv", b"patient,text\n ,SECRET a\n"),
        (
            "JSONL that lacks a key in its second row",
            "hole.jsonl",
            b"{\"text\": \"SECRET\", \"patient\": 1}\n{\"text\": \"SECRET\"}\n",
        ),
        ("JSONL with NaN", "nan.jsonl", b"{\"text\": \"SECRET\", \"patient\": 1, \"score\": NaN}\n"),
        ("JSONL with a lone surrogate", "half.jsonl", b"{\"text\": \"SECRET \\ud83d\", \"patient\": 1}\n"),
        ("JSONL with null for an id", "null.jsonl", b"{\"text\": \"SECRET\", \"patient\": null}\n"),
        ("JSON array that is cut", "cut.json", b"[{\"text\": \"SECRET\", \"patient\": 1}, {\"text\": \"SEC"),
        ("JSON array of texts", "texts.json", b"[\"SECRET\"]"),
        ("an object where an array is meant", "object.json", b"{\"data\": [{\"text\": \"SECRET\"}]}"),
        ("empty Parquet", "empty.parquet", b""),
        ("Parquet that is something else", "other.parquet", b"SECRET text, not a table"),
        ("truncated Parquet", "cut.parquet", b"PAR1\x15\x04\x15\x10SECRET"),
        (
            "Parquet with a hostile footer",
            "foot.parquet",
            b"PAR1\x19\xfc\xff\xff\xff\xff\x0f\x00\x00\x00\xff\xff\xff\x7fPAR1",
        ),
        ("an extension nobody knows", "records.txt", b"SECRET"),
    ];
    let mut cases: Vec<Case> = files
        .iter()
        .map(|(name, file, content)| {
            Case::new(name, train("--train train.csv", &format!("--train {file}"))).file(*file, *content)
        })
        .collect();
    let pages =
        train("--train train.csv --eval eval.csv --unit-column patient", "--train pages.parquet --unit-column unit");
    cases.push(Case::new("Parquet whose pages do not fit", pages).file("pages.parquet", PAGES));
    cases.push(Case::new("records that are not there", train("--train train.csv", "--train nowhere.csv")));
    cases.push(
        Case::new("a folder for records", train("--train train.csv", "--train folder.csv")).before("mkdir folder.csv"),
    );
    cases.push(
        Case::new("ids of another file", train("--train train.csv", "--train first.csv --train second.csv"))
            .file("first.csv", "patient,text\np1,SECRET a\n")
            .file("second.csv", "patient,text\nP1,SECRET b\n"),
    );
    cases.push(
        Case::new("messages without a template", "evaluate --model model --data chat.jsonl")
            .file("chat.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"SECRET\"}]}\n"),
    );
    cases.push(
        Case::new("a prompt of text and a completion of messages", "evaluate --model model --data mixed.jsonl").file(
            "mixed.jsonl",
            "{\"prompt\": \"SECRET\", \"completion\": [{\"role\": \"assistant\", \"content\": \"SECRET\"}]}\n",
        ),
    );
    for name in ["id-nan", "id-fraction", "id-null", "id-decimal", "text-null"] {
        let table = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../rldp-data/testdata/tables/{name}.parquet"));
        let words = "--train table.parquet --unit-column who";
        let words = train("--train train.csv --eval eval.csv --unit-column patient", words).replace("table", name);
        cases.push(Case::new(name, words).file(format!("{name}.parquet"), fs_err::read(table).unwrap()));
    }
    cases.push(Case::new("an unknown unit column", train("--unit-column patient", "--unit-column person")));
    cases.push(
        Case::new("records of one token", "evaluate --model model --data short.csv").file("short.csv", "text\n.\n.\n"),
    );
    cases.push(
        Case::new("a private record in public text", train_with("--public shared.csv"))
            .before("head -n 2 train.csv > shared.csv"),
    );
    cases.push(Case::new("public text from standard input", train_with("--public -")));
    cases.push(
        Case::new("too little public text", train_with("--public two.csv"))
            .file("two.csv", "text\none of two\ntwo of two\n"),
    );
    cases
}
