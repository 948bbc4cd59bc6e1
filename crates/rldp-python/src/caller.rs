//! Python as the program that calls commands.

use std::cell::{Cell, RefCell};

use pyo3::prelude::*;
use rldp::Host;
use serde_json::Value;

/// Hands notes and progress to a Python object, and asks the interpreter for signals.
pub(crate) struct Caller {
    listener: Py<PyAny>,
    lines: RefCell<Vec<String>>,
    /// The first exception of the listener, or of a signal's handler.
    raised: RefCell<Option<PyErr>>,
    stop: Cell<bool>,
}

impl Caller {
    pub(crate) fn new(listener: Py<PyAny>) -> Self {
        Self { listener, lines: RefCell::default(), raised: RefCell::default(), stop: Cell::new(false) }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.take()
    }

    pub(crate) fn raised(&self) -> Option<PyErr> {
        self.raised.take()
    }

    /// Keeps the first exception; what is at work then stops.
    fn keep<T>(&self, result: PyResult<T>) -> Option<T> {
        result
            .map_err(|error| {
                self.stop.set(true);
                self.raised.borrow_mut().get_or_insert(error);
            })
            .ok()
    }
}

impl Host for Caller {
    fn data(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }

    fn note(&self, label: &str, text: &str) {
        Python::attach(|py| self.keep(self.listener.bind(py).call_method1("note", (label, text)).map(drop)));
    }

    fn progress(&self, event: &Value, words: &str, milestone: bool) {
        Python::attach(|py| {
            let told = self.listener.bind(py).call_method1("progress", (event.to_string(), words, milestone));
            if self.keep(told.and_then(|answer| answer.is_truthy())) == Some(true) {
                self.stop.set(true);
            }
        });
    }

    fn should_stop(&self) -> bool {
        self.stop.get() || Python::attach(|py| self.keep(py.check_signals())).is_none()
    }
}
