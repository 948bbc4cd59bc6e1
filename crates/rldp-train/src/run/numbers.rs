//! Long vectors in a checkpoint: little-endian bytes. For `#[serde(with = "…")]`.

use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};
use serde_bytes::{ByteBuf, Bytes};

pub(crate) fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
    let mut bytes = vec![0; size_of_val(values)];
    for (place, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *place = value.to_le_bytes();
    }
    Bytes::new(&bytes).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    floats(&ByteBuf::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are not a whole count of numbers", bytes.len()));
    }
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

/// The same of a vector that may not be there.
pub(crate) mod optional {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use serde_bytes::ByteBuf;

    #[expect(clippy::ref_option, reason = "it is what serde calls")]
    pub(crate) fn serialize<S: Serializer>(values: &Option<Vec<f32>>, serializer: S) -> Result<S::Ok, S::Error> {
        match values {
            Some(values) => super::serialize(values, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<f32>>, D::Error> {
        let bytes = Option::<ByteBuf>::deserialize(deserializer)?;
        bytes.map(|bytes| super::floats(&bytes)).transpose().map_err(D::Error::custom)
    }
}
