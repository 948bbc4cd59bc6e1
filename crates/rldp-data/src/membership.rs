//! Who was held out by a coin: a file that is never released.

use std::{fmt::Write as _, io::Write as _, path::Path};

use crate::{error::DataError, source::read_table, units::PrivacyUnits};

/// One record of a training file, with its unit and the unit's coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Row of data, counted from 0.
    pub row: usize,
    /// Number of the unit.
    pub unit: usize,
    /// The coin: whether the unit was trained on.
    pub included: bool,
}

/// Writes the coins of the first `count` units as CSV, one line a record, readable by the user only.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_membership(path: &Path, units: &PrivacyUnits, count: usize) -> Result<(), DataError> {
    let mut text = String::from("row,unit,included\n");
    for unit in 0..count {
        for row in units.rows(unit) {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{row},{unit},{}", units.includes(unit));
        }
    }
    let mut file = create_private(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// Reads what [`write_membership`] wrote.
///
/// # Errors
/// When the file cannot be read or a value cannot be; the row is named.
pub fn read_membership(path: &Path) -> Result<Vec<MemberRow>, DataError> {
    let read = |(at, values): (usize, Vec<String>)| {
        let parsed = || Some((values[0].parse().ok()?, values[1].parse().ok()?, values[2].parse().ok()?));
        let wrong = || DataError::Row {
            path: path.to_owned(),
            row: at + 1,
            reason: "expected a row, a unit, and true or false; the file was changed, restore it".into(),
        };
        parsed().map(|(row, unit, included)| MemberRow { row, unit, included }).ok_or_else(wrong)
    };
    read_table(path, &["row", "unit", "included"])?.into_iter().enumerate().map(read).collect()
}

/// The coin of every unit, in order; `None` unless units are numbered from 0 without a gap and each has one coin.
pub fn coins(rows: &[MemberRow]) -> Option<Vec<bool>> {
    let mut coins: Vec<Option<bool>> = vec![None; rows.iter().map(|row| row.unit + 1).max()?];
    for row in rows {
        if *coins[row.unit].get_or_insert(row.included) != row.included {
            return None;
        }
    }
    coins.into_iter().collect()
}

/// A new file that only the user may read; an existing one is not overwritten.
pub(crate) fn create_private(path: &Path) -> Result<fs_err::File, DataError> {
    if path.exists() {
        return Err(DataError::File {
            path: path.to_owned(),
            reason: "the file exists and is not overwritten; choose another name or remove it".into(),
        });
    }
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    Ok(options.open(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenRecord, UnitPolicy};

    #[test]
    fn coins_are_read_back_and_the_file_is_the_users_own() {
        let record = |row: usize, unit: &str| TokenRecord {
            row,
            unit: Some(unit.to_owned()),
            content: [0; 32],
            tokens: vec![1, 2],
            prefix: 0,
            left_out: 0,
            scored: std::iter::once(1..2).collect(),
        };
        let records = [record(0, "a"), record(1, "b"), record(2, "a")];
        let policy = UnitPolicy { max_length: 8, max_records: None, unsafe_seed: None };
        let units = PrivacyUnits::by_column(&records, &policy).unwrap().kept_by(&[true, false], 0.5);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("membership.csv");
        write_membership(&path, &units, 2).unwrap();
        let rows = read_membership(&path).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1], MemberRow { row: 2, unit: 0, included: true });
        assert_eq!(coins(&rows), Some(vec![true, false]));
        assert_eq!(coins(&rows[2..]), None, "unit 0 is missing");
        assert_eq!(coins(&[rows[0], MemberRow { included: false, ..rows[0] }]), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs_err::write(&path, "row,unit,included\n0,0,perhaps\n").unwrap();
        assert!(read_membership(&path).unwrap_err().to_string().contains("row 1"));
    }
}
