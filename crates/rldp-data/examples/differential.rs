//! Answers requests, one JSON a line, for `scripts/differential.py`, which compares the answers with those of other programs.

use std::{
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
};

use rldp_data::{
    Chat, ChatTemplate, Columns, Content, SpecialTokens, TextColumns, UnitColumn, UnitIds, read_records, read_table,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Request {
    Table { path: PathBuf, names: Vec<String> },
    Units { path: PathBuf, column: String, rule: UnitIds },
}

/// Messages and tools are JSON in a text, which keeps the order of keys and the spelling of numbers.
#[derive(Deserialize)]
struct Template {
    #[serde(rename = "template")]
    text: String,
    special: SpecialTokens,
    messages: String,
    tools: Option<String>,
    opens: bool,
    /// Whether answers are asked for as well.
    #[serde(default)]
    answers: bool,
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = match serde_json::from_str::<Template>(&line) {
            Ok(template) => render(&template),
            Err(_) => other(&line),
        };
        let answer = answer.unwrap_or_else(|error| json!({ "error": error }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn render(request: &Template) -> Result<Value, String> {
    let template = ChatTemplate::new(&request.text, request.special.clone());
    let tools = request.tools.clone();
    if !request.answers {
        return Ok(json!({ "ok": template.render(&request.messages, tools.as_deref(), request.opens)? }));
    }
    let chat = Chat { before: None, messages: request.messages.clone(), tools };
    let found = template.conversation(&chat)?;
    let answers: Vec<&str> = found.answers.iter().map(|range| &found.text[range.clone()]).collect();
    Ok(json!({ "ok": answers, "left_out": found.left_out }))
}

fn other(line: &str) -> Result<Value, String> {
    match serde_json::from_str(line).map_err(|error| error.to_string())? {
        Request::Table { path, names } => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Ok(json!({ "ok": read_table(&path, &names).map_err(|error| error.to_string())? }))
        }
        Request::Units { path, column, rule } => {
            let unit = UnitColumn { name: column, ids: rule };
            let columns = Columns { unit: Some(unit), ..Columns::of(TextColumns::Text("text".into())) };
            let records = read_records(&path, &columns).map_err(|error| error.to_string())?;
            let text = |content: &Content| if let Content::Text(text) = content { text.clone() } else { String::new() };
            let units: Vec<_> = records.iter().map(|record| json!([record.unit, text(&record.content)])).collect();
            Ok(json!({ "ok": units }))
        }
    }
}
