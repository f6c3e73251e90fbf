//! Whether an MP4 file is as long as it says.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

/// Walks the outermost boxes of an MP4 file (ISO/IEC 14496-12, 4.2: size, type, and
/// a 64-bit size where the first is 1; 0 is up to the end).
pub(crate) fn is_cut_short(path: &Path) -> io::Result<bool> {
    /// More boxes than any sound file has at this level, fragments aside.
    const BOXES: usize = 100_000;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut start = 0;
    for _ in 0..BOXES {
        if start >= length {
            return Ok(start > length);
        }
        file.seek(SeekFrom::Start(start))?;
        let mut head = Vec::with_capacity(16);
        (&mut file).take(16).read_to_end(&mut head)?;
        let Some((size, rest)) = head.split_first_chunk::<4>() else { return Ok(true) };
        if rest.len() < 4 {
            return Ok(true);
        }
        if start == 0 && !rest.starts_with(b"ftyp") {
            return Ok(false);
        }
        start = start.saturating_add(match (u32::from_be_bytes(*size), rest.get(4..12)) {
            (0, _) => return Ok(false),
            (1, None) => return Ok(true),
            (1, Some(wide)) => wide.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)),
            (size, _) => size.into(),
        });
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ftyp` of 8 bytes, then a box of the given size field and 4 bytes of content.
    fn check(size: u32, wide: Option<u64>) -> bool {
        let mut bytes = b"\0\0\0\x08ftyp".to_vec();
        bytes.extend(size.to_be_bytes());
        bytes.extend(b"mdat");
        bytes.extend(wide.map(u64::to_be_bytes).into_iter().flatten());
        bytes.extend([0; 4]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        is_cut_short(file.path()).unwrap()
    }

    #[test]
    fn boxes_are_measured_against_the_file() {
        assert!(!check(12, None));
        assert!(check(13, None));
        assert!(!check(0, None), "0 is up to the end");
        assert!(!check(1, Some(20)));
        assert!(check(1, Some(1 << 40)));
        assert!(check(8, None), "4 bytes are no box");
    }

    #[test]
    fn other_files_are_not_judged() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "this is no video").unwrap();
        assert!(!is_cut_short(file.path()).unwrap());
    }
}
