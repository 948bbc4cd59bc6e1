//! Which columns of a file of records are read.

use clap::Args;
use rldp_data::TextColumns;

/// Where a record's text is.
#[derive(Debug, Args)]
pub(crate) struct ColumnArguments {
    /// Column that holds the text
    #[arg(long, conflicts_with_all = ["prompt_column", "completion_column", "messages_column"])]
    pub(crate) text_column: Option<String>,
    /// Column that holds the prompt, which is not scored
    #[arg(long, requires = "completion_column")]
    pub(crate) prompt_column: Option<String>,
    /// Column that holds the completion, which alone is scored
    #[arg(long, requires = "prompt_column")]
    pub(crate) completion_column: Option<String>,
    /// Column that holds a conversation, an array of messages with role and content, rendered by the model's chat template;
    /// the assistant's turns alone are scored
    #[arg(long, conflicts_with = "prompt_column")]
    pub(crate) messages_column: Option<String>,
    /// Longest block in tokens. Training and evaluation cut longer records into blocks that stay one record; inspection and
    /// audits keep the first block. When absent: the model's own limit, in training at most 128
    #[arg(long)]
    pub(crate) max_length: Option<u32>,
}

impl ColumnArguments {
    /// The columns that were named, if any.
    pub(crate) fn named(&self) -> Option<TextColumns> {
        let (prompt, completion) = (self.prompt_column.as_deref(), self.completion_column.as_deref());
        TextColumns::named(self.messages_column.as_deref(), prompt, completion)
            .or_else(|| self.text_column.clone().map(TextColumns::Text))
    }
}
