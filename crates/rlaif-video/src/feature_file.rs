//! Features on disk: one file each, checked when read, written so that no reader sees half.
//!
//! ```text
//! "RLAIFFEA" | version u32 | key length u32 | key | rank u32 | dims u64 x rank |
//! frames of the video u64 | fps f64 | seconds f64 | sampled u32 | indices u64 x sampled |
//! values f32 x n | SHA-256 of all before it
//! ```
//!
//! Numbers are little-endian.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest as _, Sha256};

use rlaif_data::VideoMetadata;

use crate::cache::Features;

const MAGIC: &[u8; 8] = b"RLAIFFEA";
const VERSION: u32 = 2;
const DIGEST_BYTES: usize = 32;

/// What reading a file came to.
#[derive(Debug)]
pub(crate) enum ReadOutcome {
    /// The features.
    Whole(Features),
    /// There is no such file.
    Absent,
    /// It is there but cannot be read, for instance for want of permission.
    Unreadable(io::Error),
    /// It is no feature file, of another version or key, cut short, or damaged.
    Corrupted(&'static str),
}

/// Reads the features of `key`.
pub(crate) fn read(path: &Path, key: &str) -> ReadOutcome {
    match fs::read(path) {
        Ok(bytes) => match parse(&bytes, key) {
            Ok(features) => ReadOutcome::Whole(features),
            Err(reason) => ReadOutcome::Corrupted(reason),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => ReadOutcome::Absent,
        Err(error) => ReadOutcome::Unreadable(error),
    }
}

/// Writes the features of `key` to a temporary file beside `path`, syncs it, and renames it.
pub(crate) fn write(path: &Path, key: &str, features: &Features) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let nth = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = folder.join(format!(".{name}.{}.{nth}.tmp", std::process::id()));
    let written = write_part(&part, key, features).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written
}

fn write_part(part: &Path, key: &str, features: &Features) -> io::Result<()> {
    /// Values turned into bytes at a time.
    const CHUNK: usize = 1 << 14;
    let mut file = File::create(part)?;
    let mut hasher = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    let count = |n: usize| u32::try_from(n).map_err(io::Error::other);
    put(MAGIC)?;
    put(&VERSION.to_le_bytes())?;
    put(&count(key.len())?.to_le_bytes())?;
    put(key.as_bytes())?;
    put(&count(features.shape.len())?.to_le_bytes())?;
    for dim in &features.shape {
        put(&(*dim as u64).to_le_bytes())?;
    }
    let video = &features.video;
    put(&(video.frames as u64).to_le_bytes())?;
    put(&video.fps.to_le_bytes())?;
    put(&video.duration_seconds.to_le_bytes())?;
    put(&count(video.indices.len())?.to_le_bytes())?;
    for index in &video.indices {
        put(&(*index as u64).to_le_bytes())?;
    }
    let mut bytes = Vec::with_capacity(CHUNK * 4);
    for values in features.values.chunks(CHUNK) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        put(&bytes)?;
    }
    let digest = hasher.finalize();
    file.write_all(&digest)?;
    file.sync_all()
}

fn parse(bytes: &[u8], key: &str) -> Result<Features, &'static str> {
    let split = bytes.len().checked_sub(DIGEST_BYTES).ok_or("cut short")?;
    let (content, digest) = bytes.split_at(split);
    let mut rest = content;
    let mut take = |n: usize| -> Result<&[u8], &'static str> {
        let (head, tail) = rest.split_at_checked(n).ok_or("cut short")?;
        rest = tail;
        Ok(head)
    };
    let number = |bytes: &[u8]| {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| "too large")
    };
    if take(MAGIC.len())? != MAGIC {
        return Err("not a feature file");
    }
    if take(4)? != VERSION.to_le_bytes() {
        return Err("of another version");
    }
    if Sha256::digest(content).as_slice() != digest {
        return Err("checksum differs");
    }
    let key_bytes = number(take(4)?)?;
    if take(key_bytes)? != key.as_bytes() {
        return Err("of another key");
    }
    let rank = number(take(4)?)?;
    let dims = take(rank.checked_mul(8).ok_or("too large")?)?;
    let shape = dims.chunks_exact(8).map(number).collect::<Result<Vec<usize>, _>>()?;
    let float = |bytes: &[u8]| {
        let mut wide = [0; 8];
        wide.copy_from_slice(bytes);
        f64::from_le_bytes(wide)
    };
    let (frames, fps, duration_seconds) = (number(take(8)?)?, float(take(8)?), float(take(8)?));
    let sampled = number(take(4)?)?;
    let indices = take(sampled.checked_mul(8).ok_or("too large")?)?;
    let indices = indices.chunks_exact(8).map(number).collect::<Result<Vec<usize>, _>>()?;
    let video = VideoMetadata { frames, fps, duration_seconds, indices };
    let values: Vec<f32> = rest
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let features = Features { shape, values, video };
    if rest.len() % 4 != 0 || !features.is_consistent() {
        return Err("shape and values disagree");
    }
    Ok(features)
}
