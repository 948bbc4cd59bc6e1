//! Records, tokenizing, privacy units and secret Poisson sampling.
//!
//! Types that hold record text or tokens have no `Debug`: what cannot be printed cannot leak into a log.

mod blocks;
pub mod canaries;
pub mod canary_file;
mod chat;
pub mod demo;
mod error;
mod fields;
pub mod membership;
mod overlap;
mod sampler;
mod source;
mod tokenize;
mod tokenizer;
mod unit_ids;
mod units;

pub use blocks::Block;
pub use chat::{ChatTemplate, Conversation, SpecialTokens};
pub use error::DataError;
pub use overlap::shared_records;
pub use sampler::{PoissonSampler, SampledBatch};
pub use source::{
    Chat, Columns, Content, Datum, Loan, RawRecord, Table, TextColumns, UnitColumn, columns_in_memory, is_in_memory,
    is_standard_input, lend, read_more_records, read_records, read_table,
};
pub use tokenize::{PROMPT_END, TextLayout, TokenRecord, tokenize};
pub use tokenizer::TextTokenizer;
pub use unit_ids::{IdBook, UnitIds};
pub use units::{PrivacyUnits, Unit, UnitPolicy};
