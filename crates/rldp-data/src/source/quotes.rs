//! Tells malformed quoting in CSV, which readers take in silence: people who stand in such rows are lost in one another's.

use std::io::Read;

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A new record: an empty line is none.
    Record,
    Field,
    Bare,
    Quoted,
    /// After a quote inside a quoted field: another one, or the field's end.
    AfterQuote,
}

/// What is wrong with a file's quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Text follows a closing quote.
    TextAfterQuote,
    /// A quote never ends.
    Open,
}

/// Watches what a CSV reader reads.
pub(super) struct Watched<'a, R> {
    inner: R,
    watch: &'a mut Watch,
}

/// Follows the quotes of CSV byte by byte.
pub(super) struct Watch {
    delimiter: u8,
    state: State,
    /// Records that began, the header among them.
    records: usize,
    fault: Option<(usize, Fault)>,
}

impl Watch {
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::Record, records: 0, fault: None }
    }

    pub(super) fn over<R>(&mut self, inner: R) -> Watched<'_, R> {
        Watched { inner, watch: self }
    }

    fn see(&mut self, byte: u8) {
        if self.state == State::Record && !matches!(byte, b'\n' | b'\r') {
            self.records += 1;
            self.state = State::Field;
        }
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::AfterQuote,
            (State::Quoted, _) | (State::AfterQuote | State::Field, b'"') => State::Quoted,
            (_, b'\n' | b'\r') => State::Record,
            (_, byte) if byte == self.delimiter => State::Field,
            (State::AfterQuote, _) => {
                self.fault.get_or_insert((self.records, Fault::TextAfterQuote));
                State::Bare
            }
            _ => State::Bare,
        };
    }

    /// The first fault, with the record it is in, counted from 1 with the header; after the last byte.
    pub(super) fn fault(&self) -> Option<(usize, Fault)> {
        self.fault.or_else(|| (self.state == State::Quoted).then_some((self.records, Fault::Open)))
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        buffer[..length].iter().for_each(|byte| self.watch.see(*byte));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<(usize, Fault)> {
        let mut watch = Watch::new(b',');
        text.bytes().for_each(|byte| watch.see(byte));
        watch.fault()
    }

    #[test]
    fn quotes_that_hide_rows_are_found() {
        for right in [
            "a,b\n\"x, \"\"y\"\"\",z\n",
            "a\n\"two\nlines\"\n",
            "a\nsays 5\" long\n",
            "a\r\n\r\n\"\"\r\n",
            "a,b\n\"\",\n",
            "",
        ] {
            assert_eq!(fault(right), None, "{right:?}");
        }
        assert_eq!(fault("a,b\n1,2\n\"Ouch,p2\nthird,p3\nsays 5\" long,p4\n"), Some((3, Fault::TextAfterQuote)));
        assert_eq!(fault("a\n\n\"x\" \n"), Some((2, Fault::TextAfterQuote)));
        assert_eq!(fault("a\n1\n\"x\n"), Some((3, Fault::Open)));
    }
}
