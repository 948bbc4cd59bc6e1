//! The `rldp` package's native part: calls of commands, tables over Arrow, the command line.
//!
//! What people see is the Python beside it, in `python/rldp`.

#![expect(clippy::needless_pass_by_value, reason = "what Python hands over is made for the call")]

mod caller;
mod table;

use std::{ffi::OsString, rc::Rc};

use pyo3::prelude::*;
use rldp::{
    Failure, Word,
    train::settings::{self, Preset, Reader, Setting},
};

use caller::Caller;
use table::ArrowTable;

/// A value of a named argument, as Python hands it over.
#[derive(FromPyObject)]
enum Given {
    Switch(bool),
    Several(Vec<OsString>),
    Text(OsString),
}

impl From<Given> for Word {
    fn from(given: Given) -> Self {
        match given {
            Given::Switch(given) => Self::Switch(given),
            Given::Several(values) => Self::Several(values),
            Given::Text(text) => Self::Text(text),
        }
    }
}

/// Runs a command without holding the interpreter's lock; returns the lines that it printed.
#[pyfunction]
fn call(
    py: Python<'_>,
    command: Vec<String>,
    positional: Vec<OsString>,
    options: Vec<(String, Given)>,
    tables: Vec<(String, Bound<'_, PyAny>)>,
    listener: Py<PyAny>,
) -> PyResult<Vec<String>> {
    let tables = tables
        .into_iter()
        .map(|(name, table)| Ok((name, ArrowTable::import(&table)?)))
        .collect::<PyResult<Vec<(String, ArrowTable)>>>()?;
    let options: Vec<(String, Word)> = options.into_iter().map(|(name, given)| (name, given.into())).collect();
    let (called, lines, raised) = py.detach(move || {
        let loans: Vec<_> = tables.into_iter().map(|(name, table)| rldp::data::lend(&name, Rc::new(table))).collect();
        let caller = Rc::new(Caller::new(listener));
        let called = rldp::call(&command, &positional, &options, Rc::<Caller>::clone(&caller));
        drop(loans);
        (called, caller.lines(), caller.raised())
    });
    match (raised, called) {
        (Some(raised), _) => Err(raised),
        (None, Ok(())) => Ok(lines),
        (None, Err(failure)) => Err(exception(py, &failure)),
    }
}

/// Epsilon of steps of several kinds.
#[pyfunction]
fn epsilon_of(py: Python<'_>, segments: Vec<(f64, f64, u64)>, delta: f64, accountant: String) -> PyResult<f64> {
    py.detach(|| rldp::epsilon_of(&segments, delta, &accountant)).map_err(|failure| exception(py, &failure))
}

/// The command line; returns its exit code.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>, itself: Vec<OsString>) -> u8 {
    py.detach(|| rldp::main_of(words, itself))
}

/// Writes the embedded model and invented notes into a folder; returns their paths: model, train, eval.
#[pyfunction]
fn unpack_demo(py: Python<'_>, folder: std::path::PathBuf) -> PyResult<[std::path::PathBuf; 3]> {
    let demo = py.detach(|| rldp::unpack_demo(&folder));
    let demo = demo.map_err(|error| exception(py, &Failure { code: 1, message: format!("{error:#}") }))?;
    Ok([demo.model, demo.train, demo.eval])
}

/// Every setting of `train`: its name, group, sentence, type and default in words.
#[pyfunction]
fn settings_list() -> Vec<(String, &'static str, String, String, String)> {
    let described = |setting: &Setting| {
        let name = setting.flag.as_deref()?.replace('-', "_");
        let default = match &setting.default {
            Preset::Required => "required".to_owned(),
            Preset::Unset => String::new(),
            Preset::Value(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            Preset::Derived(how) => (*how).to_owned(),
        };
        Some((name, setting.group, setting.sentence.clone(), annotation(&setting.reader), default))
    };
    settings::all().iter().filter_map(described).collect()
}

/// How a type checker writes what a reader reads.
fn annotation(reader: &Reader) -> String {
    match reader {
        Reader::Text | Reader::Escaped => "str".into(),
        Reader::Path => "Path".into(),
        Reader::Paths => "Path | Sequence[Path]".into(),
        Reader::Number => "float".into(),
        Reader::Whole => "int".into(),
        Reader::Memory => "str | int".into(),
        Reader::Switch => "bool".into(),
        Reader::Choice(choices) => {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            format!("Literal[{}]", names.join(", "))
        }
        Reader::List(one) => format!("Sequence[{}]", annotation(one)),
    }
}

/// The exception of a failure, which the Python part declares.
fn exception(py: Python<'_>, failure: &Failure) -> PyErr {
    let name = match failure.code {
        2 => "SettingError",
        3 => "InternalError",
        _ => "RefusedError",
    };
    let raised = py.import("rldp._errors").and_then(|errors| errors.call_method1(name, (&failure.message,)));
    raised.map_or_else(|error| error, PyErr::from_value)
}

#[pymodule]
fn _rldp(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(call, module)?)?;
    module.add_function(wrap_pyfunction!(epsilon_of, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(unpack_demo, module)?)?;
    module.add_function(wrap_pyfunction!(settings_list, module)?)?;
    Ok(())
}
