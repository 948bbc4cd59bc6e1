//! Fault injection: a small run is killed at every durable step and at random times, its files are torn at every byte of the
//! last write, its I/O calls fail; after each it resumes, and nothing may be lost, refunded or drawn twice.
//!
//! `cargo test --release --workspace --test faults` does some hundreds of kills; `-- thorough SEED` thousands, from a seed; `-- ranks SEED`
//! only those of single ranks of a run of several processes, a hundred under each MPI.
//! The program is its own child: `faults child FOLDER …` is one process of a run. docs/decisions/0006 says why it is so.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, clippy::print_stderr)]

mod calls;
mod checks;
mod disk;
mod kills;
mod mutants;
mod ranks;
#[path = "../it/support.rs"]
#[allow(dead_code)]
mod support;
mod tears;
mod world;

use std::time::Instant;

/// What a part of the harness did.
struct Done {
    what: &'static str,
    count: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "child") {
        return world::child(&arguments[1..]);
    }
    let thorough = arguments.first().is_some_and(|word| word == "thorough");
    let seed = arguments.get(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let only_ranks = arguments.first().is_some_and(|word| word == "ranks");
    let ranks: (&str, &dyn Fn() -> Vec<Done>) =
        ("a rank killed at random", &|| ranks::killed(if thorough || only_ranks { 100 } else { 3 }, seed));
    let all: [(&str, &dyn Fn() -> Vec<Done>); 6] = [
        ("planted bugs are found", &mutants::all),
        ("killed at every durable step", &|| kills::at_every_point(thorough)),
        ("killed at random", &|| kills::at_random(if thorough { 5000 } else { 60 }, seed)),
        ("torn at every byte", &tears::all),
        ("calls that fail", &|| calls::all(thorough)),
        ranks,
    ];
    let parts = if only_ranks { &all[5..] } else { &all[..] };
    for (name, part) in parts {
        let started = Instant::now();
        let done: Vec<String> = part().iter().map(|done| format!("{} {}", done.count, done.what)).collect();
        println!("test {name} ... ok ({}; {:.1} s)", done.join(", "), started.elapsed().as_secs_f64());
    }
    println!("\ntest result: ok. {} passed; 0 failed", parts.len());
}
