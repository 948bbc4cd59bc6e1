//! States of controllers as bytes: what kind of controller, then what it knows.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::ControlError;

/// How a state is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFormat {
    /// For policies, which people read and other programs open.
    Json,
    /// For checkpoints, which are written every few steps: an actor, its critics and a replay are millions of bytes, and as
    /// digits they take several times as long.
    MessagePack,
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    kind: &'a str,
    version: u32,
    body: &'a T,
}

/// Only the tag: read first, so that another controller's state is named as such.
#[derive(Deserialize)]
struct Kind {
    kind: String,
}

#[derive(Deserialize)]
struct Body<T> {
    body: T,
}

/// A state of a controller of `kind`.
///
/// # Errors
/// When `body` cannot be written in this format.
pub(crate) fn write_state(format: StateFormat, kind: &str, body: &impl Serialize) -> Result<Vec<u8>, ControlError> {
    let tagged = Tagged { kind, version: 1, body };
    match format {
        StateFormat::Json => serde_json::to_vec(&tagged).map_err(refused),
        StateFormat::MessagePack => rmp_serde::to_vec_named(&tagged).map_err(refused),
    }
}

/// Checks a state's kind and reads its body.
///
/// # Errors
/// When it is another controller's, or of another form.
pub(crate) fn read_state<T: DeserializeOwned>(
    format: StateFormat,
    bytes: &[u8],
    kind: &str,
) -> Result<T, ControlError> {
    let found = read::<Kind>(format, bytes)?.kind;
    if found != kind {
        return Err(ControlError::State(format!("it is of a `{found}` controller, not `{kind}`")));
    }
    Ok(read::<Body<T>>(format, bytes)?.body)
}

fn read<T: DeserializeOwned>(format: StateFormat, bytes: &[u8]) -> Result<T, ControlError> {
    match format {
        StateFormat::Json => serde_json::from_slice(bytes).map_err(refused),
        StateFormat::MessagePack => rmp_serde::from_slice(bytes).map_err(refused),
    }
}

#[allow(clippy::needless_pass_by_value)] // it is what `map_err` gives
fn refused(error: impl ToString) -> ControlError {
    ControlError::State(error.to_string())
}

/// Long vectors: numbers where people read, little-endian bytes where they do not. For `#[serde(with = "…")]`.
pub(crate) mod floats {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
    use serde_bytes::{ByteBuf, Bytes};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return values.serialize(serializer);
        }
        let mut bytes = vec![0; size_of_val(values)];
        for (place, value) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(values) {
            *place = value.to_le_bytes();
        }
        Bytes::new(&bytes).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        if deserializer.is_human_readable() {
            return Vec::deserialize(deserializer);
        }
        let bytes = ByteBuf::deserialize(deserializer)?;
        let (values, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(D::Error::custom(format!("{} bytes are not a whole count of numbers", bytes.len())));
        }
        Ok(values.iter().map(|value| f64::from_le_bytes(*value)).collect())
    }
}
