//! The page of a comparison from its `results.jsonl` alone, by today's renderer: for runs whose folders were not kept.
//!
//! usage: `comparison_page RESULTS.jsonl BASELINE OUT.html`. What is in no such line, learning curves and joint claims, is left out.

#![allow(clippy::expect_used)] // a program that is run by hand

use std::path::Path;

use rldp_lab::{
    compare::{Entry, methods_of, reduce, summarize},
    report::write_comparison,
};

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [results, baseline, out] = &given[..] else { panic!("usage: comparison_page RESULTS.jsonl BASELINE OUT.html") };
    let text = fs_err::read_to_string(results).expect("results can be read");
    let entry =
        |line: &str| Entry { result: serde_json::from_str(line).expect("a line is a result"), curve: Vec::new() };
    let entries: Vec<Entry> = text.lines().map(entry).collect();
    let (entries, choices) = reduce(&entries);
    let cells = summarize(&entries, &methods_of(&entries), baseline);
    write_comparison(&entries, &cells, &choices, baseline, &[], &[], Path::new(out)).expect("the page can be written");
}
