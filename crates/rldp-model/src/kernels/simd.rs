//! Run-time choice of instruction sets.

use std::sync::OnceLock;

/// Instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// AVX-512F with FMA.
    V4,
    /// AVX2 with FMA.
    V3,
    /// Whatever the target has.
    Any,
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<Option<Level>> = const { std::cell::Cell::new(None) };
}

/// Runs with the kernels of a level that the processor has, on this thread.
#[cfg(test)]
pub(crate) fn at_level<T>(level: Level, run: impl FnOnce() -> T) -> T {
    let before = FORCED.replace(Some(level));
    let found = run();
    FORCED.set(before);
    found
}

/// The best level of this processor.
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    #[cfg(test)]
    if let Some(level) = FORCED.get() {
        return level;
    }
    *LEVEL.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    if fma && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
        Level::V4
    } else if fma {
        Level::V3
    } else {
        Level::Any
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Any
}

/// Defines a kernel `name` whose inlined body `body` is compiled for every level. The body's first parameter is a constant
/// that says whether fused multiply-add is an instruction.
macro_rules! dispatch {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident = $body:ident ( $($argument:ident : $type:ty),* $(,)? ) $(-> $result:ty)?) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
                fn v4($($argument: $type),*) $(-> $result)? {
                    $body::<true>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn v3($($argument: $type),*) $(-> $result)? {
                    $body::<true>($($argument),*)
                }
                match $crate::kernels::level() {
                    // SAFETY: `level` found these features on this processor.
                    $crate::kernels::Level::V4 => return unsafe { v4($($argument),*) },
                    // SAFETY: as above.
                    $crate::kernels::Level::V3 => return unsafe { v3($($argument),*) },
                    $crate::kernels::Level::Any => {}
                }
            }
            $body::<false>($($argument),*)
        }
    };
}

/// The same for a body over a vector type: its first parameter is the type.
macro_rules! dispatch_vectors {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident = $body:ident ( $($argument:ident : $type:ty),* $(,)? ) $(-> $result:ty)?) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
                fn v4($($argument: $type),*) $(-> $result)? {
                    $body::<std::arch::x86_64::__m512>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn v3($($argument: $type),*) $(-> $result)? {
                    $body::<$crate::kernels::vector::Portable<true>>($($argument),*)
                }
                match $crate::kernels::level() {
                    // SAFETY: `level` found these features on this processor.
                    $crate::kernels::Level::V4 => return unsafe { v4($($argument),*) },
                    // SAFETY: as above.
                    $crate::kernels::Level::V3 => return unsafe { v3($($argument),*) },
                    $crate::kernels::Level::Any => {}
                }
            }
            $body::<$crate::kernels::vector::Portable<false>>($($argument),*)
        }
    };
}

pub(crate) use dispatch;
pub(crate) use dispatch_vectors;
