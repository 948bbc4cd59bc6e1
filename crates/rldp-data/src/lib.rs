//! Records, tokenizing, privacy units and secret Poisson sampling.
//!
//! Types that hold record text or tokens have no `Debug`: what cannot be printed cannot leak into a log.

pub mod canaries;
pub mod canary_file;
mod chat;
pub mod demo;
mod error;
pub mod membership;
mod overlap;
mod sampler;
mod source;
mod tokenize;
mod tokenizer;
mod units;

pub use chat::{ChatTemplate, Conversation};
pub use error::DataError;
pub use overlap::shared_records;
pub use sampler::{PoissonSampler, SampledBatch};
pub use source::{Columns, RawRecord, TextColumns, is_standard_input, read_records, read_table};
pub use tokenize::{Block, PROMPT_END, TokenRecord, tokenize};
pub use tokenizer::TextTokenizer;
pub use units::{PrivacyUnits, Unit, UnitPolicy};
