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

/// Calls a kernel compiled for the widest vectors this CPU has.
///
/// The three functions are one `#[inline(always)]` function item with different constants; use
/// [`wide`] to write them.
#[inline]
pub(crate) fn run<A, R>(
    v512: impl FnOnce(A) -> R,
    v256: impl FnOnce(A) -> R,
    v128: impl FnOnce(A) -> R,
    arguments: A,
) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        fn with_avx512<A, R>(kernel: impl FnOnce(A) -> R, arguments: A) -> R {
            kernel(arguments)
        }
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<A, R>(kernel: impl FnOnce(A) -> R, arguments: A) -> R {
            kernel(arguments)
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
        {
            // SAFETY: every feature that `with_avx512` enables was detected on this CPU.
            return unsafe { with_avx512(v512, arguments) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: every feature that `with_avx2` enables was detected on this CPU.
            return unsafe { with_avx2(v256, arguments) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (v512, v256);
    }
    v128(arguments)
}

/// `wide!(kernel(a, b))` calls `kernel::<FMA, LANES>((a, b))` with the constants that suit this CPU,
/// compiled for its vectors. `kernel` must be an `#[inline(always)]` function of one tuple.
/// Further constants go into brackets: `wide!(kernel[N](a, b))`.
macro_rules! wide {
    ($kernel:ident $([$($constant:expr),*])? ($($argument:expr),* $(,)?)) => {
        $crate::simd::run(
            $kernel::<true, 16 $(, $({$constant}),*)?>,
            $kernel::<true, 8 $(, $({$constant}),*)?>,
            $kernel::<{ $crate::simd::BASELINE_FMA }, 4 $(, $({$constant}),*)?>,
            ($($argument,)*),
        )
    };
}
pub(crate) use wide;
