//! Precision of the products with the frozen base model.

use crate::kernels::{Level, bf16, level};

/// Precision in which the frozen maps and the output head are multiplied. Sums, and everything else (adapters, norms,
/// attention, losses, per-unit gradients), are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Operands in f32.
    #[default]
    F32,
    /// Operands rounded to bf16, where the processor multiplies bf16; f32 elsewhere.
    Bf16,
}

impl Precision {
    /// Whether this processor multiplies in it.
    pub fn is_native(self) -> bool {
        self == Self::F32 || self.kernel().is_some()
    }

    /// What multiplies in bf16 here; `None` where products are in f32.
    pub(crate) fn kernel(self) -> Option<bf16::Kernel> {
        if self == Self::Bf16 { bf16::fastest() } else { None }
    }

    /// What runs on this processor, in words, such as "bf16 AMX" or "f32 AVX-512".
    pub fn description(self) -> &'static str {
        match (self.kernel(), level()) {
            (Some(bf16::Kernel::Amx), _) => "bf16 AMX",
            (Some(bf16::Kernel::Avx512), _) => "bf16 AVX-512",
            (None, Level::V4) => "f32 AVX-512",
            (None, Level::V3) => "f32 AVX2",
            (None, Level::Any) => "f32",
        }
    }
}

/// Instruction sets of this processor that kernels are chosen by, as compilers name them.
pub fn instruction_sets() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let sets = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512vl", is_x86_feature_detected!("avx512vl")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
            ("amx-bf16", bf16::fastest() == Some(bf16::Kernel::Amx)),
        ];
        found.extend(sets.into_iter().filter(|(_, has)| *has).map(|(name, _)| name));
    }
    #[cfg(target_arch = "aarch64")]
    found.push("neon");
    if found.is_empty() {
        found.push("none beyond the usual");
    }
    found
}
