//! Which columns of a file of records are read.

use clap::Args;
use rldp_data::TextColumns;
use rldp_train::settings::unescaped;

/// Where a record's text is.
#[derive(Debug, Args)]
pub(crate) struct ColumnArguments {
    /// Column that holds the text. When no column is named, the usual ones are looked for: text; messages or conversations; prompt
    /// and completion; instruction, input and output
    #[arg(long, conflicts_with_all = ["prompt_column", "completion_column", "messages_column"])]
    pub(crate) text_column: Option<String>,
    /// Column that holds the prompt, which is not scored; a text, or an array of messages
    #[arg(long, requires = "completion_column")]
    pub(crate) prompt_column: Option<String>,
    /// Column that holds the completion, which alone is scored
    #[arg(long, requires = "prompt_column")]
    pub(crate) completion_column: Option<String>,
    /// Column that holds a conversation, an array of messages with role and content (or from and value), rendered by the model's
    /// chat template with the column tools, where there is one; the assistant's turns alone are scored
    #[arg(long, conflicts_with = "prompt_column")]
    pub(crate) messages_column: Option<String>,
    /// What stands between a prompt and its completion; \n and \t are understood. A line break when absent
    #[arg(long, value_name = "TEXT", value_parser = unescaped, allow_hyphen_values = true)]
    pub(crate) prompt_end: Option<String>,
    /// What separates the fields of CSV, such as ; or \t. When absent: a comma, in .tsv a tab
    #[arg(long, value_name = "CHARACTER", value_parser = separator)]
    pub(crate) delimiter: Option<char>,
    /// Longest block in tokens. Of a longer record a prompt and earlier turns lose their start; what is scored and does not fit goes on
    /// in a further block. When absent: what an adapter was trained with, or what suits the model and the machine's memory
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
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

/// One character that can stand between fields.
fn separator(text: &str) -> Result<char, String> {
    let text = unescaped(text)?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii() && !matches!(c, '"' | '\n' | '\r' | '\0') => Ok(c),
        _ => Err("it must be one ASCII character, neither a quote nor a line break".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_and_tabs_can_be_typed() {
        assert_eq!(unescaped("a\\n\\t\\\\;"), Ok("a\n\t\\;".into()));
        assert!(unescaped("\\x").is_err() && unescaped("\\").is_err());
        assert_eq!([separator(";"), separator("\\t")], [Ok(';'), Ok('\t')]);
        assert!(["", "ab", "\"", "\\n", "é"].iter().all(|text| separator(text).is_err()));
    }
}
