//! Every `unsafe` line of the crate: code compiled for wider vectors than the build's baseline, and
//! the raw-pointer interface of `gemm`. Both are safe to call.
#![expect(
    unsafe_code,
    reason = "calling functions compiled for detected CPU features and gemm's pointer interface"
)]

mod gemm;

pub(crate) use gemm::{Mat, MatMut, Threads, gemm};

/// Fused multiply-add is part of every aarch64 CPU, and not of every x86-64 CPU.
pub(crate) const BASELINE_FMA: bool = cfg!(target_arch = "aarch64");

/// A computation to compile once for each vector width. Write it with [`kernel!`].
pub(crate) trait Kernel {
    type Output;

    /// Computes, with `FMA` where the CPU has fused multiply-add and `LANES` floats to a vector.
    /// Must be `#[inline(always)]`, so that it is compiled inside each caller below.
    fn run<const FMA: bool, const LANES: usize>(self) -> Self::Output;
}

/// Runs a kernel compiled for the widest vectors this CPU has.
#[inline]
pub(crate) fn wide<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<true, 16>()
        }
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<true, 8>()
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
        {
            // SAFETY: every feature that `with_avx512` enables was detected on this CPU.
            return unsafe { with_avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: every feature that `with_avx2` enables was detected on this CPU.
            return unsafe { with_avx2(kernel) };
        }
    }
    kernel.run::<BASELINE_FMA, 4>()
}

/// Asks for the cache lines of `data` before they are read.
#[inline]
pub(crate) fn prefetch<T>(data: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = data.as_ptr().cast::<i8>();
        for line in (0..size_of_val(data)).step_by(64) {
            // SAFETY: `line` lies inside `data`; and a prefetch reads nothing and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = data;
}

/// Defines a function whose body is a [`Kernel`]: it may use the constants `FMA` and `LANES`, and
/// calling it picks the widest vectors this CPU has.
macro_rules! kernel {
    (
        $(#[$attribute:meta])*
        fn $name:ident<$($lifetime:lifetime),*>(
            $($argument:ident: $type:ty),* $(,)?
        ) $(-> $output:ty)? $body:block
    ) => {
        $(#[$attribute])*
        fn $name<$($lifetime),*>($($argument: $type),*) $(-> $output)? {
            struct Body<$($lifetime),*> {
                $($argument: $type,)*
            }
            impl<$($lifetime),*> $crate::simd::Kernel for Body<$($lifetime),*> {
                type Output = $crate::simd::kernel!(@output $($output)?);

                #[inline(always)]
                fn run<const FMA: bool, const LANES: usize>(self) -> Self::Output {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            $crate::simd::wide(Body { $($argument),* })
        }
    };
    (@output) => { () };
    (@output $output:ty) => { $output };
}
pub(crate) use kernel;
