//! Records in the memory of the program that called this library: lent for as long as they are read, and never written to a file.
//!
//! A table is read by the rules of Parquet. It has a name where files have a path, `memory:train`, under which the thread that lends it
//! finds it. As for standard input, a file of that name is `./memory:train`.

use std::{
    cell::{Cell as Counter, RefCell},
    marker::PhantomData,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{Choose, Columns, Row, missing_column, row_error};
use crate::{error::DataError, source::Datum};

/// What names of tables begin with.
const PREFIX: &str = "memory:";

/// A table in memory.
pub trait Table {
    /// Names of the columns.
    fn columns(&self) -> Vec<String>;

    /// Number of rows.
    fn rows(&self) -> usize;

    /// The value in a row of a column.
    ///
    /// # Errors
    /// Why it is none, without its content: `is not valid UTF-8`.
    fn value(&self, column: usize, row: usize) -> Result<Datum, &'static str>;
}

/// A table with the number of its loan and its name.
type Lent = (u64, PathBuf, Rc<dyn Table>);

thread_local! {
    static LENT: RefCell<Vec<Lent>> = const { RefCell::new(Vec::new()) };
    static LOANS: Counter<u64> = const { Counter::new(0) };
}

/// A table that this thread can read; the end of the loan takes it back.
pub struct Loan {
    number: u64,
    path: PathBuf,
    /// It must end in the thread in which it began.
    here: PhantomData<Rc<()>>,
}

impl Loan {
    /// What settings name it by.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        LENT.with_borrow_mut(|lent| lent.retain(|(number, ..)| *number != self.number));
    }
}

/// Lends a table to this thread under a name, `train`. A loan of the same name that began earlier is hidden until this one ends.
pub fn lend(name: &str, table: Rc<dyn Table>) -> Loan {
    let number = LOANS.replace(LOANS.get() + 1);
    let path = PathBuf::from(format!("{PREFIX}{name}"));
    LENT.with_borrow_mut(|lent| lent.push((number, path.clone(), table)));
    Loan { number, path, here: PhantomData }
}

/// Whether `path` names a table in memory.
pub fn is_in_memory(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.starts_with(PREFIX))
}

/// Which columns of a table that this thread was lent make its records; `None` when there is no such table.
pub fn columns_in_memory(path: &Path, columns: &Columns) -> Option<Vec<String>> {
    let found = lent(path)?.columns();
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let wanted = columns.wanted(&columns.text.resolve(&found)).into_iter().map(|wanted| wanted.name);
    Some(wanted.filter(|name| found.contains(&name.as_str())).collect())
}

fn lent(path: &Path) -> Option<Rc<dyn Table>> {
    LENT.with_borrow(|lent| lent.iter().rev().find(|(_, name, _)| name == path).map(|(.., table)| Rc::clone(table)))
}

pub(super) fn read(path: &Path, choose: Choose) -> Result<Vec<Row>, DataError> {
    let table = lent(path).ok_or_else(|| DataError::File {
        path: path.to_owned(),
        reason: "these records were in the memory of a Python program and stand in no file; hand them over again from Python, such as \
                 by rldp.resume(run, train=records)"
            .into(),
    })?;
    let names = table.columns();
    let found: Vec<&str> = names.iter().map(String::as_str).collect();
    let wanted = choose(&found);
    if let Some(missing) = wanted.iter().find(|wanted| !wanted.optional && !found.contains(&wanted.name.as_str())) {
        return Err(missing_column(path, &missing.name, found.into_iter()));
    }
    let places: Vec<Option<usize>> =
        wanted.iter().map(|wanted| found.iter().position(|name| *name == wanted.name)).collect();
    let row = |row: usize| {
        let cell = |place: &Option<usize>| {
            let Some(column) = *place else { return Ok(super::Cell::Absent) };
            let value = table.value(column, row).and_then(Datum::cell);
            value.map_err(|reason| row_error(path, row + 1, format!("column `{}` {reason}", names[column])))
        };
        Ok(Row { place: row + 1, cells: places.iter().map(cell).collect::<Result<_, DataError>>()? })
    };
    (0..table.rows()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TextColumns, UnitColumn, UnitIds, read_records};

    /// Texts, one of which may be null, and whose they are.
    struct Notes(Vec<(Option<&'static str>, f64)>);

    impl Table for Notes {
        fn columns(&self) -> Vec<String> {
            vec!["who".into(), "more".into(), "text".into()]
        }

        fn rows(&self) -> usize {
            self.0.len()
        }

        fn value(&self, column: usize, row: usize) -> Result<Datum, &'static str> {
            let (text, who) = self.0[row];
            match column {
                0 => Ok(Datum::Float(who)),
                1 => Err("is read although nothing needs it"),
                _ => Ok(text.map_or(Datum::Null, |text| Datum::Text(text.to_owned()))),
            }
        }
    }

    fn columns() -> Columns {
        let unit = UnitColumn { name: "who".into(), ids: UnitIds::Checked };
        Columns { unit: Some(unit), ..Columns::of(TextColumns::Usual) }
    }

    fn lent_notes(notes: &[(Option<&'static str>, f64)]) -> Loan {
        lend("notes", Rc::new(Notes(notes.to_vec())))
    }

    #[test]
    fn a_table_is_read_by_its_name_for_as_long_as_it_is_lent() {
        let loan = lent_notes(&[(Some("a"), 7.0), (Some("b"), 7.0)]);
        let path = loan.path().to_owned();
        assert!(is_in_memory(&path) && !is_in_memory(Path::new("./memory:notes")));
        let units = |path: &Path| -> Vec<_> {
            read_records(path, &columns()).unwrap().into_iter().map(|record| record.unit.unwrap()).collect()
        };
        assert_eq!(units(&path), ["7", "7"]);
        assert_eq!(columns_in_memory(&path, &columns()).unwrap(), ["text", "who"]);
        {
            let _inner = lent_notes(&[(Some("c"), 8.0)]);
            assert_eq!(units(&path), ["8"]);
        }
        assert_eq!(units(&path), ["7", "7"]);
        assert!(
            std::thread::spawn({
                let path = path.clone();
                move || read_records(&path, &columns()).is_err()
            })
            .join()
            .unwrap()
        );
        drop(loan);
        let gone = read_records(&path, &columns()).err().unwrap().to_string();
        assert!(gone.starts_with("memory:notes: these records were in the memory"), "{gone}");
    }

    #[test]
    fn what_is_wrong_is_named_by_row_and_column() {
        let loan = lent_notes(&[(Some("SECRET"), 7.0), (None, 8.0)]);
        let refused = |columns: &Columns| read_records(loan.path(), columns).err().unwrap().to_string();
        assert_eq!(refused(&columns()), "memory:notes: row 2: `text` is null, but must be a string");
        let other = Columns::of(TextColumns::Text("note".into()));
        assert!(refused(&other).contains("there is no column `note`; the columns are: `who`, `more`, `text`"));
        let _empty = lent_notes(&[]);
        assert!(refused(&columns()).contains("the table is empty"));
    }
}
