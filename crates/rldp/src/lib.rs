//! Private fine-tuning of language models with a reinforcement-learned mechanism.
//!
//! This crate is the command line ([`main`]) and a facade: each module below is a crate of its own. What a run needs beside its
//! settings has a default, the same as on the command line:
//!
//! ```
//! # fn main() -> anyhow::Result<()> {
//! let folder = tempfile::tempdir()?;
//! let demo = rldp::unpack_demo(folder.path())?; // an embedded model, private notes to train on, public ones to judge by
//! let out = folder.path().join("run");
//!
//! let settings = demo.given().with("out", out.display().to_string()).with("epsilon", 4.0).with("delta", 1e-5);
//! # let settings = settings.with("steps", 2).with("batch_size", 8.0).with("max_length", 32);
//! let outcome = rldp::fine_tune(&rldp::resolve(settings)?, &mut rldp::train::Silent)?;
//! assert!(outcome.finished && rldp::verify(&out)?.holds);
//! # Ok(())
//! # }
//! ```

use std::ffi::OsString;

mod base;
mod cli;
mod commands;
mod device;
mod exit;
mod facade;
mod host;
mod hub;
mod models;
mod origin;
mod progress;
mod reading;
mod shield;
mod watched;

pub use facade::{Demo, fine_tune, resolve, unpack_demo, verify};
pub use host::{Failure, Host, Word, call, epsilon_of};
pub use rldp_control as control;
pub use rldp_data as data;
pub use rldp_gpu as gpu;
pub use rldp_lab as lab;
pub use rldp_model as model;
pub use rldp_privacy as privacy;
pub use rldp_reference as reference;
pub use rldp_train as train;

/// The command line.
pub fn main() -> std::process::ExitCode {
    main_of(std::env::args_os(), Vec::new()).into()
}

/// The command line of a program that holds this library: its words, the first of which names the command. `itself` are the words by
/// which the program is started anew, where its file is not enough. Returns the exit code.
pub fn main_of(words: impl IntoIterator<Item = OsString>, itself: Vec<OsString>) -> u8 {
    exit::set_program(itself);
    let arguments = cli::parse(words);
    shield::raise();
    // A panic is a defect of ours; its message says where, never what the records held, and the exit code says internal.
    match std::panic::catch_unwind(|| commands::run(arguments)) {
        Ok(Ok(code)) => u8::from(code != std::process::ExitCode::SUCCESS),
        Ok(Err(error)) => exit::report(&error),
        Err(_) => 3,
    }
}
