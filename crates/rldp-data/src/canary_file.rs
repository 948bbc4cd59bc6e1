//! Files of canaries, and training files with the included ones.

use std::{io::Write as _, path::Path};

use crate::{
    canaries::{Canary, Kind},
    error::DataError,
    membership::create_private,
    source::read_table,
};

/// Columns of a file of canaries; the last two are all that an audit needs.
const COLUMNS: [&str; 6] = ["id", "kind", "units", "prefix", "text", "included"];

/// Where canaries go in a training file.
#[derive(Clone, Copy, Debug)]
pub struct Planting<'a> {
    /// Column of the text.
    pub text_column: &'a str,
    /// Column of the privacy unit, when there is one: all repetitions of a canary then are one unit.
    pub unit_column: Option<&'a str>,
    /// How often each included canary is written.
    pub repetitions: usize,
}

/// A canary as an audit reads it. It holds a secret and therefore cannot be printed.
pub struct PlantedCanary {
    /// The text.
    pub text: String,
    /// The coin.
    pub included: bool,
    /// How many units of privacy hold it when it is included; 1 when the file does not say.
    pub units: usize,
    /// Kind and prefix, when the file names them: only then exposure and extraction are measured.
    pub secret: Option<(Kind, String)>,
}

/// Writes canaries with their coins as CSV or JSON lines, by the extension. The file is never to be released.
///
/// # Errors
/// When the extension is neither, the file exists, or cannot be written.
pub fn write_canaries(path: &Path, canaries: &[Canary]) -> Result<(), DataError> {
    let extension = extension(path);
    if !["csv", "jsonl"].contains(&extension.as_str()) {
        return Err(refused(path, "a file of canaries must end in .csv or .jsonl; rename it"));
    }
    let mut file = create_private(path)?;
    if extension == "csv" {
        let mut writer = csv::Writer::from_writer(file);
        let wrote = writer.write_record(COLUMNS).and_then(|()| {
            canaries.iter().try_for_each(|canary| {
                let (kind, coin) = (canary.kind.to_string(), canary.included.to_string());
                let units = canary.units.to_string();
                writer.write_record([&canary.id, &kind, &units, &canary.prefix, &canary.text, &coin])
            })
        });
        wrote.map_err(|_| refused(path, "the file could not be written; is the disk full?"))?;
        writer.flush()?;
    } else {
        for canary in canaries {
            let line = serde_json::json!({
                "id": canary.id, "kind": canary.kind, "units": canary.units.to_string(), "prefix": canary.prefix,
                "text": canary.text, "included": canary.included,
            });
            writeln!(file, "{line}")?;
        }
        file.flush()?;
    }
    Ok(())
}

/// Reads canaries: columns `text` and `included` (true or false), and `units`, `kind` and `prefix` where it has them.
///
/// # Errors
/// When a column is missing or a value cannot be; rows are named, content is not.
pub fn read_canaries(path: &Path) -> Result<Vec<PlantedCanary>, DataError> {
    const FORMS: [&[&str]; 3] = [
        &["kind", "prefix", "units", "text", "included"],
        &["kind", "prefix", "text", "included"],
        &["text", "included"],
    ];
    for (place, form) in FORMS.iter().enumerate() {
        match read_table(path, form) {
            Err(DataError::MissingColumn { column, .. })
                if place + 1 < FORMS.len() && ["kind", "prefix", "units"].contains(&column.as_str()) => {}
            rows => {
                let read = |(row, values): (usize, Vec<String>)| planted(path, row, form, &values);
                return rows?.into_iter().enumerate().map(read).collect();
            }
        }
    }
    unreachable!("the last form is read or refused")
}

fn planted(path: &Path, row: usize, form: &[&str], values: &[String]) -> Result<PlantedCanary, DataError> {
    let at = |what: &str| refused(path, &format!("row {}: {what}", row + 1));
    let value = |name: &str| form.iter().position(|column| *column == name).map(|place| values[place].clone());
    let included = match value("included").unwrap_or_default().trim() {
        "true" => true,
        "false" => false,
        _ => return Err(at("`included` must be true or false")),
    };
    let units = value("units").map_or(Ok(1), |units| units.trim().parse());
    let units = units.ok().filter(|units| *units > 0).ok_or_else(|| at("`units` must be a positive number"))?;
    let text = value("text").unwrap_or_default();
    let secret = match value("prefix") {
        None => None,
        Some(prefix) => {
            let kind = value("kind").unwrap_or_default().parse().map_err(|_| {
                at("`kind` must be digits, names or rare; leave out `kind` and `prefix` for other canaries")
            })?;
            if !text.starts_with(&prefix) {
                return Err(at("`text` must begin with `prefix`"));
            }
            Some((kind, prefix))
        }
    };
    Ok(PlantedCanary { text, included, units, secret })
}

/// Copies a CSV file of training records, all columns kept, and appends the included canaries.
///
/// # Errors
/// When a column is missing, a unit already has a canary's name, or a file cannot be read or written.
pub fn plant(from: &Path, to: &Path, canaries: &[Canary], planting: &Planting) -> Result<usize, DataError> {
    if planting.repetitions == 0 {
        return Err(DataError::Setting { name: "the number of repetitions", value: 0.0, bound: "at least 1" });
    }
    for path in [from, to] {
        if extension(path) != "csv" {
            return Err(refused(path, "canaries are planted in CSV files only; convert it to .csv"));
        }
    }
    let unreadable = |_: csv::Error| refused(from, "not valid CSV with rows of equal length; quote fields with commas");
    let unwritable = |_: csv::Error| refused(to, "the file could not be written; is the disk full?");
    let mut reader = csv::Reader::from_reader(std::io::BufReader::new(fs_err::File::open(from)?));
    let header = reader.byte_headers().map_err(unreadable)?.clone();
    let column = |name: &str| {
        let bare = |field: &[u8]| field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field).trim_ascii() == name.as_bytes();
        let found = header.iter().position(bare);
        found.ok_or_else(|| refused(from, &format!("there is no column `{name}`; name one that the file has")))
    };
    let text = column(planting.text_column)?;
    let unit = planting.unit_column.map(column).transpose()?;
    let mut writer = csv::Writer::from_writer(create_private(to)?);
    writer.write_byte_record(&header).map_err(unwritable)?;
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        if unit.is_some_and(|unit| record.get(unit).is_some_and(|name| name.starts_with(b"canary-"))) {
            return Err(refused(
                from,
                "a unit already has a name that begins with `canary-`; plant into the clean file",
            ));
        }
        writer.write_byte_record(&record).map_err(unwritable)?;
    }
    let mut planted = 0;
    for canary in canaries.iter().filter(|canary| canary.included) {
        let mut fields = vec![""; header.len()];
        fields[text] = &canary.text;
        if let Some(unit) = unit {
            fields[unit] = &canary.id;
        }
        for _ in 0..planting.repetitions {
            writer.write_record(&fields).map_err(unwritable)?;
        }
        planted += 1;
    }
    writer.flush()?;
    Ok(planted)
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase()
}

fn refused(path: &Path, reason: &str) -> DataError {
    DataError::File { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::canaries::canaries;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let found = canaries(20, &[Kind::Names], &[1, 4], &mut ChaCha12Rng::seed_from_u64(2)).unwrap();
        for name in ["c.csv", "c.jsonl"] {
            let path = folder.path().join(name);
            write_canaries(&path, &found).unwrap();
            let read = read_canaries(&path).unwrap();
            assert_eq!(read.len(), 20);
            for (read, written) in read.iter().zip(&found) {
                assert!(read.text == written.text && read.included == written.included);
                assert_eq!(read.units, written.units);
                assert!(
                    read.secret
                        .as_ref()
                        .is_some_and(|(kind, prefix)| *kind == Kind::Names && *prefix == written.prefix)
                );
            }
            assert!(write_canaries(&path, &found).unwrap_err().to_string().contains("not overwritten"));
        }
    }

    #[test]
    fn text_and_coin_are_enough_and_bad_coins_name_their_row_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.jsonl");
        fs_err::write(&path, "{\"text\":\"a b\",\"included\":true}\n{\"text\":\"c\",\"included\":false}\n").unwrap();
        let read = read_canaries(&path).unwrap();
        assert!(read[0].included && !read[1].included && read[0].secret.is_none());
        fs_err::write(&path, "{\"text\":\"topsecret\",\"included\":\"maybe\"}\n").unwrap();
        let refused = read_canaries(&path).err().unwrap().to_string();
        assert!(refused.contains("row 1") && refused.contains("true or false"), "{refused}");
        assert!(!refused.contains("topsecret") && !refused.contains("maybe"), "{refused}");
    }

    #[test]
    fn planting_keeps_columns_and_gives_canaries_units_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["in.csv", "out.csv"].map(|name| folder.path().join(name));
        fs_err::write(&from, "patient,age,text\nP1,7,\"hello, world\"\n").unwrap();
        let found = canaries(9, &[Kind::Digits], &[1], &mut ChaCha12Rng::seed_from_u64(3)).unwrap();
        let planting = Planting { text_column: "text", unit_column: Some("patient"), repetitions: 3 };
        let planted = plant(&from, &to, &found, &planting).unwrap();
        let written = fs_err::read_to_string(&to).unwrap();
        assert!(written.starts_with("patient,age,text\nP1,7,\"hello, world\"\n"));
        assert_eq!(written.lines().count(), 2 + 3 * planted);
        for canary in &found {
            let lines = written.lines().filter(|line| *line == format!("{},,{}", canary.id, canary.text)).count();
            assert_eq!(lines, if canary.included { 3 } else { 0 });
        }
        let again = folder.path().join("again.csv");
        assert!(plant(&to, &again, &found, &planting).unwrap_err().to_string().contains("canary-"));
        let missing = plant(&from, &again, &found, &Planting { text_column: "note", ..planting });
        assert!(missing.unwrap_err().to_string().contains("no column `note`"));
    }
}
