//! One safetensors file: its bytes and the table in its header.

use std::{
    borrow::Cow,
    ops::Range,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use safetensors::{SafeTensorError, SafeTensors};

use super::StoredType;
use crate::ModelError;

/// Where a tensor lies in its shard.
pub(crate) struct Stored {
    /// The type, or the name of one that cannot be read.
    pub(crate) dtype: Result<StoredType, String>,
    pub(crate) shape: Vec<usize>,
    pub(crate) range: Range<usize>,
    /// Size of the heads whose rows are interleaved, see [`super::TensorView::interleaved`].
    pub(crate) interleaved: Option<usize>,
}

/// A file, mapped or embedded.
pub(crate) struct Shard {
    path: Option<PathBuf>,
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mmap),
    Held(Cow<'static, [u8]>),
    /// A copy on an aligned address, and its length in bytes.
    Aligned(Vec<u64>, usize),
}

impl Shard {
    pub(crate) fn map(path: &Path) -> Result<Self, ModelError> {
        let file = fs_err::File::open(path)?;
        // SAFETY: the mapping is read-only and private to this process; that nobody truncates the file while it is in use
        // is what every user of a memory-mapped model has to grant, and `Weights::open` says so.
        let bytes = unsafe { Mmap::map(file.file()) }?;
        Ok(Self { path: Some(path.to_owned()), bytes: Bytes::Mapped(bytes) })
    }

    /// Embedded bytes may lie anywhere; they are moved when their elements could not be borrowed in place.
    pub(crate) fn from_bytes(bytes: Cow<'static, [u8]>) -> Self {
        let bytes =
            if bytes.as_ptr().addr().is_multiple_of(size_of::<u64>()) { Bytes::Held(bytes) } else { aligned(&bytes) };
        Self { path: None, bytes }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Held(bytes) => bytes,
            Bytes::Aligned(words, length) => &bytemuck::cast_slice(words)[..*length],
        }
    }

    /// Every tensor of the file. The header is checked against the file's length, so each range lies inside the bytes.
    pub(super) fn read_header(&self) -> Result<Vec<(String, Stored)>, ModelError> {
        const LENGTH_BYTES: usize = 8;
        let (header, metadata) =
            SafeTensors::read_metadata(self.bytes()).map_err(|error| self.refuse(self.explain(&error)))?;
        let data = LENGTH_BYTES + header;
        let stored = |info: &safetensors::tensor::TensorInfo| Stored {
            dtype: StoredType::from_safetensors(info.dtype).ok_or_else(|| format!("{:?}", info.dtype)),
            shape: info.shape.clone(),
            range: data + info.data_offsets.0..data + info.data_offsets.1,
            interleaved: None,
        };
        Ok(metadata.tensors().into_iter().map(|(name, info)| (name, stored(info))).collect())
    }

    pub(crate) fn refuse(&self, reason: String) -> ModelError {
        ModelError::Weights { path: self.path.clone().unwrap_or_else(|| "embedded weights".into()), reason }
    }

    fn explain(&self, error: &SafeTensorError) -> String {
        let bytes = self.bytes();
        if bytes.starts_with(b"version https://git-lfs") {
            return "this is a Git LFS pointer, not the weights; fetch them with `git lfs pull`".into();
        }
        if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02") {
            return "this is a pickle of PyTorch, not safetensors: it can run code when read and is refused; convert it in Python \
                    with save_pretrained(DIR, safe_serialization=True)"
                .into();
        }
        match error {
            SafeTensorError::HeaderTooSmall
            | SafeTensorError::InvalidHeaderLength
            | SafeTensorError::MetadataIncompleteBuffer => format!(
                "the file has {} bytes, which is not the length its safetensors header promises; \
                 it is truncated or damaged, download it again",
                bytes.len()
            ),
            other => format!("not a valid safetensors file ({other}); download it again"),
        }
    }
}

fn aligned(bytes: &[u8]) -> Bytes {
    let mut words = vec![0u64; bytes.len().div_ceil(size_of::<u64>())];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    Bytes::Aligned(words, bytes.len())
}
