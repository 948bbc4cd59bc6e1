//! Products by cuBLASLt, where it is installed.
//!
//! A row's result must not depend on the number of rows: for every shape but for its rows, one algorithm is chosen once, as for
//! [`PLANNED`] rows, without splitting the depth, and kept. The library does not promise what follows from that, so the card tries it
//! for every shape before its first use; a shape that fails is multiplied by our own kernel.

use std::{
    collections::HashMap,
    ffi::c_void,
    sync::{Mutex, PoisonError},
};

use cudarc::{
    cublaslt::{
        result::{self as lt, CublasError},
        sys::{
            self, cublasComputeType_t as Compute, cublasLtMatmulDescAttributes_t as DescAttribute,
            cublasLtMatmulPreferenceAttributes_t as Preference, cudaDataType as Type,
        },
    },
    driver::result as driver,
};

use crate::{Precision, device::Product};

/// Rows for which algorithms are chosen.
const PLANNED: usize = 8192;
/// Bytes of scratch that an algorithm may use.
const SCRATCH: usize = 32 << 20;
/// Alignment in bytes that the chosen algorithms rely on.
const ALIGNED: usize = 16;

/// What an algorithm is chosen for: columns, depth, distance of the result's rows, orientation.
type Shape = (usize, usize, usize, bool);

/// The library's handle, its scratch on the card, and the algorithms chosen so far.
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    scratch: u64,
    chosen: Mutex<HashMap<Shape, sys::cublasLtMatmulAlgo_t>>,
    /// Whether rows were found to be independent.
    tried: Mutex<HashMap<Shape, bool>>,
}

impl Blas {
    /// The library, or nothing where it is not installed; a card's context must be current.
    pub(super) fn new() -> Result<Option<Self>, String> {
        // SAFETY: opening the library runs its initialisers, as every program that uses it does.
        if !unsafe { sys::is_culib_present() } {
            return Ok(None);
        }
        let handle = lt::create_handle().map_err(|error| error.to_string())?;
        // SAFETY: scratch may hold anything.
        let scratch = unsafe { driver::malloc_sync(SCRATCH) }.map_err(|error| format!("{:?}", error.0))?;
        Ok(Some(Self { handle, scratch, chosen: Mutex::default(), tried: Mutex::default() }))
    }

    /// Whether a product is one for the library: in bf16, and aligned.
    pub(super) fn takes(product: &Product) -> bool {
        let [_, n, k] = product.shape;
        let places = [product.w.address(), product.out.address(), product.rounded.address()];
        let aligned = places.iter().all(|place| place.is_multiple_of(ALIGNED as u64));
        product.precision == Precision::Bf16
            && aligned
            && [n, k].iter().all(|size| size.is_multiple_of(ALIGNED / 2))
            && product.out_stride.is_multiple_of(ALIGNED / 4)
    }

    /// Whether the rows of products of this shape were found to be independent, if that was tried.
    pub(super) fn verdict(&self, product: &Product) -> Option<bool> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).get(&shape(product)).copied()
    }

    /// Remembers it.
    pub(super) fn judge(&self, product: &Product, independent: bool) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(shape(product), independent);
    }

    /// out = rounded x · w, on the default stream.
    pub(super) fn product(&self, product: &Product) -> Result<(), String> {
        self.try_product(product).map_err(|error| error.to_string())
    }

    fn try_product(&self, product: &Product) -> Result<(), CublasError> {
        let (m, shape) = (product.shape[0], shape(product));
        let planned = Layouts::new(shape, PLANNED)?;
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let algorithm = match chosen.get(&shape) {
            Some(algorithm) => *algorithm,
            None => *chosen.entry(shape).or_insert(self.choose(&planned)?),
        };
        let layouts = Layouts::new(shape, m)?;
        let (one, factor) = (1.0_f32, if product.accumulate { 1.0_f32 } else { 0.0 });
        let out = product.out.address() as *mut c_void;
        // SAFETY: the layouts describe the product's spans, whose sizes its caller has checked; pointers to factors are read before
        // the call returns.
        unsafe {
            lt::matmul(
                self.handle,
                layouts.operation,
                (&raw const one).cast(),
                (&raw const factor).cast(),
                product.w.address() as *const c_void,
                layouts.w,
                product.rounded.address() as *const c_void,
                layouts.x,
                out,
                layouts.out,
                out,
                layouts.out,
                &raw const algorithm,
                self.scratch as *mut c_void,
                SCRATCH,
                std::ptr::null_mut(),
            )
        }
    }

    /// The library's first proposal that does not split the depth.
    fn choose(&self, layouts: &Layouts) -> Result<sys::cublasLtMatmulAlgo_t, CublasError> {
        let preference = lt::create_matmul_pref()?;
        // No scheme of reduction: the depth is not split.
        let no_scheme = 0_u32;
        let (scratch, aligned) = (SCRATCH, ALIGNED as u32);
        let set = |attribute, value: *const c_void, size| {
            // SAFETY: the preference lives, and the value has the attribute's size.
            unsafe { lt::set_matmul_pref_attribute(preference, attribute, value, size) }
        };
        let place = (&raw const aligned).cast();
        let found = set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (&raw const scratch).cast(), 8)
            .and_then(|()| {
                set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, (&raw const no_scheme).cast(), 4)
            })
            .and_then(|()| set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, place, 4))
            .and_then(|()| set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, place, 4))
            .and_then(|()| set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, place, 4))
            .and_then(|()| set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, place, 4))
            // SAFETY: all descriptors live.
            .and_then(|()| unsafe {
                let Layouts { operation, w, x, out } = *layouts;
                lt::get_matmul_algo_heuristic(self.handle, operation, w, x, out, out, preference)
            });
        // SAFETY: it was made above. A failure leaves nothing to do.
        let _ = unsafe { lt::destroy_matmul_pref(preference) };
        found.map(|found| found.algo)
    }
}

fn shape(product: &Product) -> Shape {
    let [_, n, k] = product.shape;
    (n, k, product.out_stride, product.transposed)
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: both were made once, and the card's context is current. A failure leaves nothing to do.
        unsafe {
            let _ = lt::destroy_handle(self.handle);
            let _ = driver::free_sync(self.scratch);
        }
    }
}

/// Descriptors of a product. The library counts columns first: it makes outᵀ (n, m) = w' · xᵀ.
struct Layouts {
    operation: sys::cublasLtMatmulDesc_t,
    w: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
}

impl Layouts {
    fn new((n, k, out_stride, transposed): Shape, m: usize) -> Result<Self, CublasError> {
        let layout = |kind, rows: usize, columns: usize, distance: usize| {
            lt::create_matrix_layout(kind, rows as u64, columns as u64, distance as i64)
        };
        let (rows, columns) = if transposed { (k, n) } else { (n, k) };
        let operation = lt::create_matmul_desc(Compute::CUBLAS_COMPUTE_32F, Type::CUDA_R_32F)?;
        let turned = i32::from(transposed);
        // SAFETY: the descriptor was just made; 0 and 1 are the library's numbers of "as it is" and "transposed".
        unsafe {
            let attribute = DescAttribute::CUBLASLT_MATMUL_DESC_TRANSA;
            lt::set_matmul_desc_attribute(operation, attribute, (&raw const turned).cast(), 4)?;
        }
        let w = layout(Type::CUDA_R_16BF, rows, columns, rows)?;
        let x = layout(Type::CUDA_R_16BF, k, m, k)?;
        let out = layout(Type::CUDA_R_32F, n, m, out_stride)?;
        Ok(Self { operation, w, x, out })
    }
}

impl Drop for Layouts {
    fn drop(&mut self) {
        // SAFETY: each was made once. A failure leaves nothing to do.
        unsafe {
            let _ = lt::destroy_matmul_desc(self.operation);
            for layout in [self.w, self.x, self.out] {
                let _ = lt::destroy_matrix_layout(layout);
            }
        }
    }
}
