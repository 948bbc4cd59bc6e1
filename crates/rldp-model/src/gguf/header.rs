//! The header of a GGUF file: metadata and the table of tensors (versions 2 and 3, little-endian).
//!
//! Headers may be hostile. Every length is compared with the bytes that are left before anything is allocated, so that memory
//! stays within a small multiple of the file.

use std::collections::HashMap;

use super::value::{Array, Value};
use crate::weights::{BlockFormat, StoredType};

const MAGIC: &[u8] = b"GGUF";
/// Alignment of the data where `general.alignment` does not say otherwise.
const ALIGNMENT: u64 = 32;
/// Most dimensions of a tensor in GGML.
const MOST_DIMENSIONS: u32 = 4;

/// What a GGUF file says of itself.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: HashMap<String, Value>,
    pub(crate) tensors: Vec<Tensor>,
    /// Where the data begin in the file.
    pub(crate) data: usize,
}

/// One line of the table of tensors.
#[derive(Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Shape, slowest axis first, as everywhere but in the file.
    pub(crate) shape: Vec<usize>,
    /// The type, or the number of one that cannot be read.
    pub(crate) dtype: Result<StoredType, u32>,
    /// Offset from the beginning of the data.
    pub(crate) offset: u64,
}

impl Header {
    /// Reads the header at the beginning of `bytes`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(4)? != MAGIC {
            return Err("it does not begin with `GGUF`".into());
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("GGUF version {version} is not supported; supported: 2, 3 (little-endian)"));
        }
        let (tensors, pairs) = (reader.count(24)?, reader.count(13)?);
        let mut metadata = HashMap::new();
        for _ in 0..pairs {
            let key = reader.text()?;
            let value = reader.typed_value()?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(format!("the key `{}` stands twice in the metadata", shown(&key)));
            }
        }
        let tensors = (0..tensors).map(|_| reader.tensor()).collect::<Result<_, _>>()?;
        let data = aligned(reader.at, &metadata)?;
        Ok(Self { metadata, tensors, data })
    }
}

fn aligned(at: usize, metadata: &HashMap<String, Value>) -> Result<usize, String> {
    let alignment = metadata.get("general.alignment").and_then(Value::as_u64).unwrap_or(ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(format!("`general.alignment` of {alignment} is not a power of two of at most 1 MiB"));
    }
    Ok(at.next_multiple_of(alignment as usize))
}

/// A name from the file, short enough for a message.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        if length > self.left() {
            return Err(format!(
                "the header ends early: {length} bytes are needed at {}, {} are left; the file is truncated or damaged",
                self.at,
                self.left()
            ));
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of items that take at least `least` bytes each.
    fn count(&mut self, least: usize) -> Result<usize, String> {
        let count = self.u64()?;
        match usize::try_from(count) {
            Ok(fits) if fits <= self.left() / least => Ok(fits),
            _ => Err(format!("the header promises {count} items where {} bytes are left", self.left())),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.count(1)?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "a text in the header is not UTF-8".into())
    }

    fn typed_value(&mut self) -> Result<Value, String> {
        match self.u32()? {
            8 => self.text().map(Value::Text),
            9 => self.list().map(Value::Array),
            kind => self.scalar(kind),
        }
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.array::<1>()?[0])),
            1 => Value::Signed(i64::from(self.array::<1>()?[0].cast_signed())),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Number(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Flag(self.array::<1>()?[0] != 0),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Number(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("the metadata hold a value of the unknown type {other}")),
        })
    }

    /// An array of texts or of numbers; arrays of arrays are refused, for no model needs them.
    fn list(&mut self) -> Result<Array, String> {
        let kind = self.u32()?;
        match kind {
            8 => {
                let count = self.count(8)?;
                (0..count).map(|_| self.text()).collect::<Result<_, _>>().map(Array::Texts)
            }
            9 => Err("the metadata hold an array of arrays".into()),
            _ => {
                let count = self.count(1)?;
                let number = |reader: &mut Self| {
                    reader.scalar(kind)?.as_f64().ok_or_else(|| format!("an array of type {kind} holds no numbers"))
                };
                (0..count).map(|_| number(self)).collect::<Result<_, _>>().map(Array::Numbers)
            }
        }
    }

    fn tensor(&mut self) -> Result<Tensor, String> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(format!("tensor `{}` has {dimensions} dimensions", shown(&name)));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64()?;
            shape.push(usize::try_from(size).map_err(|_| format!("tensor `{}` is too large", shown(&name)))?);
        }
        shape.reverse();
        let dtype = self.u32()?;
        Ok(Tensor { name, shape, dtype: stored_type(dtype).ok_or(dtype), offset: self.u64()? })
    }
}

/// GGML's numbers of the types that can be read.
fn stored_type(number: u32) -> Option<StoredType> {
    use BlockFormat::{Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    Some(match number {
        0 => StoredType::F32,
        1 => StoredType::F16,
        2 => StoredType::Blocks(Q4_0),
        3 => StoredType::Blocks(Q4_1),
        6 => StoredType::Blocks(Q5_0),
        7 => StoredType::Blocks(Q5_1),
        8 => StoredType::Blocks(Q8_0),
        12 => StoredType::Blocks(Q4K),
        13 => StoredType::Blocks(Q5K),
        14 => StoredType::Blocks(Q6K),
        30 => StoredType::Bf16,
        _ => return None,
    })
}
