//! Where the assistant speaks in a rendered conversation.

use std::ops::Range;

use super::{ChatTemplate, Conversation, messages::Message};

/// One conversation to be rendered.
pub(super) struct Talk<'a> {
    pub(super) template: &'a ChatTemplate,
    pub(super) messages: Vec<Message>,
    /// Messages that are context alone.
    pub(super) context: usize,
    pub(super) tools: Option<minijinja::Value>,
}

impl Talk<'_> {
    /// The conversation up to its last answer, with the answers in it.
    ///
    /// # Errors
    /// When the assistant says nothing, or no text can be said to be its last answer; the reason shows none of it.
    pub(super) fn conversation(mut self) -> Result<Conversation, String> {
        let turns: Vec<usize> =
            (self.context..self.messages.len()).filter(|at| self.messages[*at].role == "assistant").collect();
        let Some(last) = turns.last() else { return Err("the assistant says nothing in it".into()) };
        // What follows the last answer is of no use, and may change how the answer is rendered.
        self.messages.truncate(last + 1);
        let text = self.render(self.messages.len(), false)?;
        if self.context == 0
            && let Some(answers) = self.template.marked(&self.messages, self.tools.as_ref(), &text)?
        {
            return Ok(Conversation { text, answers, left_out: 0 });
        }
        let mut answers = Vec::new();
        for turn in &turns {
            match self.answer(*turn, &text)? {
                Ok(answer) => answers.push(answer),
                // The last answer is what the whole text ends with.
                Err(reason) if turn == last => return Err(reason),
                Err(_) => {}
            }
        }
        let left_out = turns.len() - answers.len();
        Ok(Conversation { text, answers, left_out })
    }

    fn render(&self, count: usize, opens: bool) -> Result<String, String> {
        self.template.render_messages(&self.messages[..count], self.tools.as_ref(), opens)
    }

    /// Where the answer of turn `at` is, from what invites it to its end; or why nothing in the text is that answer as it would be
    /// rendered when it is the last.
    fn answer(&self, at: usize, text: &str) -> Result<Result<Range<usize>, String>, String> {
        let whole = at + 1 == self.messages.len();
        let after = if whole { text.to_owned() } else { self.render(at + 1, false)? };
        if !text.starts_with(&after) {
            return Ok(Err(refused(at, "differently when others follow")));
        }
        let invited = self.render(at, true)?;
        if after.starts_with(&invited) {
            return Ok(Ok(invited.len()..after.len()));
        }
        // What invites an answer may end in more white space than what precedes one.
        let trimmed = invited.trim_end();
        if after.starts_with(trimmed) {
            return Ok(Ok(trimmed.len()..after.len()));
        }
        // It may also end in what a stored answer lacks, such as the start of a thought: what both share is the invitation.
        let shared = shared(&invited, &after);
        let before = if at == 0 { String::new() } else { self.render(at, false)? };
        let said = self.messages[at].content.as_deref().map(str::trim).filter(|content| !content.is_empty());
        let said = said
            .and_then(|said| after[before.len().min(shared)..].find(said))
            .map(|found| found + before.len().min(shared));
        let start = said.map_or(shared, |said| said.min(shared));
        if shared >= before.len() && invited.starts_with(&before) {
            return Ok(Ok(start..after.len()));
        }
        Ok(Err(refused(at, "and what comes before it differently once it is answered")))
    }
}

fn refused(at: usize, how: &str) -> String {
    format!(
        "the model's chat template renders turn {} {how}, so that no text can be said to be the answer; keep one answer a record, \
         the last message",
        at + 1
    )
}

/// Bytes that two texts share at their start, up to a whole character.
fn shared(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    (0..=same).rev().find(|at| a.is_char_boundary(*at) && b.is_char_boundary(*at)).unwrap_or(0)
}
