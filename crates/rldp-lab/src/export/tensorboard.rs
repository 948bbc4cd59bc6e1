//! TensorBoard's event files: records of the protocol buffer `tensorflow.Event`, each framed by its length and checksums.

use std::collections::BTreeMap;

/// The name that TensorBoard looks for begins like this.
pub(super) const FILE: &str = "events.out.tfevents.0.rldp";

/// Fields of `Event`, `Summary` and `Summary.Value`.
const WALL_TIME: u32 = 1;
const STEP: u32 = 2;
const FILE_VERSION: u32 = 3;
const SUMMARY: u32 = 5;
const VALUE: u32 = 1;
const TAG: u32 = 1;
const SIMPLE_VALUE: u32 = 2;

/// A file of scalars. TensorBoard wants a wall time for each event; it is the step in seconds, since clock time stays with
/// the operator.
pub(super) fn events(scalars: &BTreeMap<u64, BTreeMap<String, f64>>) -> Vec<u8> {
    [head(), more(scalars)].concat()
}

/// What such a file begins with.
pub(super) fn head() -> Vec<u8> {
    let mut file = Vec::new();
    record(&mut file, &[fixed64(WALL_TIME, 0.0), bytes(FILE_VERSION, b"brain.Event:2")].concat());
    file
}

/// Scalars that follow in a file.
pub(super) fn more(scalars: &BTreeMap<u64, BTreeMap<String, f64>>) -> Vec<u8> {
    let mut file = Vec::new();
    for (step, values) in scalars {
        let value = |(name, value): (&String, &f64)| {
            bytes(VALUE, &[bytes(TAG, name.as_bytes()), fixed32(SIMPLE_VALUE, *value as f32)].concat())
        };
        let summary: Vec<u8> = values.iter().flat_map(value).collect();
        let step_field = [key(STEP, 0), varint(*step)].concat();
        record(&mut file, &[fixed64(WALL_TIME, *step as f64), step_field, bytes(SUMMARY, &summary)].concat());
    }
    file
}

fn record(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length).to_le_bytes());
    file.extend(data);
    file.extend(masked(data).to_le_bytes());
}

/// The checksum as TFRecord stores it.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit.
fn crc32c(data: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    };
    !data.iter().fold(!0, byte)
}

fn key(field: u32, wire: u32) -> Vec<u8> {
    varint(u64::from(field << 3 | wire))
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn fixed64(field: u32, value: f64) -> Vec<u8> {
    [key(field, 1), value.to_le_bytes().to_vec()].concat()
}

fn fixed32(field: u32, value: f32) -> Vec<u8> {
    [key(field, 5), value.to_le_bytes().to_vec()].concat()
}

fn bytes(field: u32, value: &[u8]) -> Vec<u8> {
    [key(field, 2), varint(value.len() as u64), value.to_vec()].concat()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// (step, tag, value) of every scalar, read by the format's own rules; checks every checksum.
    pub(in super::super) fn read(mut file: &[u8]) -> Vec<(u64, String, f32)> {
        let mut found = Vec::new();
        while !file.is_empty() {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
            assert_eq!(word(8), masked(&file[..8]));
            let data = &file[12..12 + length];
            assert_eq!(word(12 + length), masked(data));
            let fields = fields(data);
            let step = fields.iter().find(|field| field.0 == STEP).map_or(0, |field| field.1);
            for (_, _, summary) in fields.iter().filter(|field| field.0 == SUMMARY) {
                for (_, _, value) in super::tests::fields(summary) {
                    let parts = super::tests::fields(value);
                    let tag = String::from_utf8(parts[0].2.to_vec()).unwrap();
                    found.push((step, tag, f32::from_le_bytes(parts[1].2.try_into().unwrap())));
                }
            }
            file = &file[16 + length..];
        }
        found
    }

    /// (field, number, bytes) of a message.
    fn fields(mut data: &[u8]) -> Vec<(u32, u64, &[u8])> {
        let mut found = Vec::new();
        let number = |data: &mut &[u8]| {
            let end = data.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let (own, rest) = data.split_at(end);
            *data = rest;
            own.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
        };
        while !data.is_empty() {
            let key = number(&mut data);
            let (field, wire) = ((key >> 3) as u32, key & 7);
            let (value, length) = match wire {
                0 => (number(&mut data), 0),
                1 => (0, 8),
                5 => (0, 4),
                _ => (0, number(&mut data) as usize),
            };
            let (own, rest) = data.split_at(length);
            data = rest;
            found.push((field, value, own));
        }
        found
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
