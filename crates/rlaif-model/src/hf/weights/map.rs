//! Mapping a part of a file into memory: this crate's only `unsafe`.
//!
//! Positioned reads would need none. They were compared on 512 MiB in the page cache, tensors of 32
//! MiB converted to `f32` into memory that was there before, one thread (two threads) of a 2-core
//! AVX-512 machine, in GB of file per second: bf16 6.7 (13.2) mapped, 4.6 (10.1) read in pieces of
//! 256 KiB; f32 9.2 (17.9) and 7.2 (14.7). Reading has another price: whoever wants the bytes and
//! not the numbers, a loader of packed weights say, holds a copy of the tensor.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// Maps `len` bytes from `start` on, read-only; an error where they are not all there.
#[expect(unsafe_code, reason = "mapping a file is the one unsafe step of reading weights")]
pub(super) fn map_range(file: &File, start: u64, len: usize) -> io::Result<Mmap> {
    let size = file.metadata()?.len();
    if start.checked_add(len as u64).is_none_or(|end| end > size) {
        let problem = format!("{len} bytes from {start} on lie past the end of the file at {size}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
    }
    // SAFETY: the range lies within the file as it is now, the mapping is read-only and private, and
    // plain bytes have no invalid values. What is left is what everybody accepts who maps files:
    // another program that cuts or rewrites the file within the milliseconds until its pages are
    // read. A cut ends this process with SIGBUS, a rewrite gives other numbers.
    unsafe { MmapOptions::new().offset(start).len(len).map(file) }
}
