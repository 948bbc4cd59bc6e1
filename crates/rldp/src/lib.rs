//! Private fine-tuning of language models with a reinforcement-learned mechanism.
//!
//! This crate is the command line and a facade: each module below is a crate of its own.

pub use rldp_control as control;
pub use rldp_data as data;
pub use rldp_lab as lab;
pub use rldp_model as model;
pub use rldp_privacy as privacy;
pub use rldp_reference as reference;
pub use rldp_train as train;
