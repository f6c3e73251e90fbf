//! SHA-256 digests of files and settings: the keys under which derived values are kept.

use std::{fs::File, io::Read, path::Path};

use sha2::{Digest as _, Sha256};

use crate::VideoError;

/// Digest of several parts, each with its length mixed in so that no two lists collide by
/// moving a boundary. Lower-case hexadecimal, 64 characters.
#[must_use]
pub fn digest_parts<T: AsRef<[u8]>>(parts: &[T]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        let bytes = part.as_ref();
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hex(&hasher.finalize())
}

/// Digest of a file's content, read in pieces: what `sha256sum` prints.
///
/// # Errors
///
/// [`VideoError::FileMissing`] or [`VideoError::Io`].
pub fn digest_file(path: &Path) -> Result<String, VideoError> {
    let fail = |source| VideoError::io(path, source);
    let mut file = File::open(path).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer).map_err(fail)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of "abc" in FIPS 180-2, appendix B.1.
    #[test]
    fn files_digest_as_sha256sum_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(
            digest_file(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(matches!(
            digest_file(&folder.path().join("none")),
            Err(VideoError::FileMissing { .. })
        ));
    }

    #[test]
    fn boundaries_between_parts_count() {
        assert_ne!(digest_parts(&["ab", "c"]), digest_parts(&["a", "bc"]));
        assert_eq!(digest_parts(&["ab", "c"]), digest_parts(&["ab", "c"]));
    }
}
