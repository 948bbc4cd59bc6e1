//! `rldp privacy book`: begins a budget book, or shows what was spent.

use std::process::ExitCode;

use anyhow::Result;
use rldp_privacy::{
    book::{Item, Limit},
    decimals::{at_most, at_most_scientific},
};
use rldp_train::book_file::BookFile;
use serde_json::json;

use super::super::{print_json, print_line};
use crate::cli::BookArguments;

pub(crate) fn book(arguments: &BookArguments) -> Result<ExitCode> {
    if let (Some(epsilon), Some(delta)) = (arguments.epsilon, arguments.delta) {
        BookFile::create(&arguments.book, Limit { epsilon, delta })?;
    }
    let file = BookFile::open(&arguments.book)?;
    let book = file.book();
    let Limit { epsilon: limit, delta } = book.limit;
    if arguments.json {
        let (spent, joint) = (book.epsilon()?, book.spent()?);
        print_json(&json!({
            "epsilon": spent,
            "delta": delta,
            "limit": limit,
            "runs": joint.runs,
            "basic_epsilon": joint.basic_epsilon,
            "basic_delta": joint.delta,
            "items": book.items,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for item in &book.items {
        print_line(&match item {
            Item::Run { id, run, time, claim } => {
                format!("{time} run {id} in {run}: epsilon {}, delta {:?}", claim.target_epsilon, claim.delta)
            }
            Item::Policy { id, learned_by, statement, time } => {
                format!("{time} run {id} began with the policy of run {learned_by}: {statement}")
            }
            Item::Audit { run, time } => {
                format!("{time} an audit read the coins of {run}; what it printed has no guarantee")
            }
        })?;
    }
    let (spent, joint) = (book.epsilon()?, book.spent()?);
    print_line(&format!(
        "spent by {} runs together: epsilon {} at delta {delta:?}, of {limit}; their sums are {} at {}",
        joint.runs,
        at_most(spent, 4),
        joint.basic_epsilon,
        at_most_scientific(joint.delta, 3)
    ))?;
    Ok(ExitCode::SUCCESS)
}
