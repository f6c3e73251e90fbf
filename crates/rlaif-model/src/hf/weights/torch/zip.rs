//! The directory of a zip archive whose entries are stored, not compressed.
//!
//! After PKWARE's APPNOTE 6.3, with Zip64. PyTorch compresses nothing; an archive that does is
//! refused, and so is one whose entries overlap or stand twice.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use crate::hf::weights::error::Fault;
use crate::hf::weights::torch::TorchError;

/// Longest directory read, in bytes: some 300,000 entries.
const MAX_DIRECTORY: u64 = 32 << 20;
const MAX_NAME: usize = 512;

const END: u32 = 0x0605_4B50;
const END64: u32 = 0x0606_4B50;
const LOCATOR64: u32 = 0x0706_4B50;
const CENTRAL: u32 = 0x0201_4B50;
const LOCAL: u32 = 0x0403_4B50;
/// Bytes of the end record without its comment, and longest comment.
const END_LEN: usize = 22;
const MAX_COMMENT: usize = 0xFFFF;

/// The bytes of an entry within the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) len: u64,
}

#[derive(Debug)]
pub(super) struct Archive(BTreeMap<String, Entry>);

impl Archive {
    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        self.0.get(name).copied()
    }

    /// The folder that everything lies in, with its slash, and `data.pkl` in it.
    pub(super) fn pickle(&self) -> Result<(String, Entry), TorchError> {
        let mut found = self.0.iter().filter_map(|(name, entry)| {
            let prefix = name.strip_suffix("data.pkl")?;
            let folder = prefix.strip_suffix('/')?;
            (!folder.is_empty() && !folder.contains('/')).then(|| (prefix.to_owned(), *entry))
        });
        match (found.next(), found.next()) {
            (Some(pickle), None) => Ok(pickle),
            (None, _) => Err(TorchError::Archive("the archive has no data.pkl".to_owned())),
            _ => Err(TorchError::Archive("the archive has more than one data.pkl".to_owned())),
        }
    }
}

/// Little-endian numbers of a record, as long as there are any.
struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().map(u16::from_le_bytes).ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().map(u32::from_le_bytes).ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().map(u64::from_le_bytes).ok()
    }
}

fn broken(problem: impl Into<String>) -> Fault {
    TorchError::Archive(problem.into()).into()
}

/// Reads the directory of an archive of `size` bytes.
pub(super) fn open(file: &mut (impl Read + Seek), size: u64) -> Result<Archive, Fault> {
    let directory = directory(file, size)?;
    let mut record = Record(&directory);
    let mut entries = BTreeMap::new();
    while !record.0.is_empty() {
        let central =
            central(&mut record).ok_or_else(|| broken("the zip directory is cut off"))??;
        let entry = locate(file, size, &central)?;
        if entries.insert(central.name.clone(), entry).is_some() {
            return Err(broken(format!("entry {:?} stands twice", central.name)));
        }
    }
    let mut ranges: Vec<Entry> = entries.values().copied().filter(|entry| entry.len > 0).collect();
    ranges.sort_by_key(|entry| entry.start);
    if ranges.windows(2).any(|pair| pair[0].start + pair[0].len > pair[1].start) {
        return Err(broken("entries of the archive overlap"));
    }
    Ok(Archive(entries))
}

/// The bytes of the central directory.
fn directory(file: &mut (impl Read + Seek), size: u64) -> Result<Vec<u8>, Fault> {
    let tail_len = size.min((END_LEN + MAX_COMMENT) as u64);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(size - tail_len))?;
    file.by_ref().take(tail_len).read_to_end(&mut tail)?;
    let at = (0..=tail.len().saturating_sub(END_LEN)).rev().find(|at| {
        let mut end = Record(&tail[*at..]);
        end.u32() == Some(END)
            && end.bytes(16).is_some()
            && end.u16().is_some_and(|comment| usize::from(comment) == end.0.len())
    });
    let Some(at) = at else {
        return Err(broken("no zip archive, or one that was cut off; fetch it again"));
    };
    let mut end = Record(&tail[at + 4..]);
    let fields = (|| {
        let disks = (end.u16()?, end.u16()?);
        let entries = (end.u16()?, end.u16()?);
        Some((disks, entries, end.u32()?, end.u32()?))
    })();
    let Some((disks, entries, len, start)) = fields else {
        return Err(broken("the zip archive's end is cut off"));
    };
    let end_at = size - tail_len + at as u64;
    let wide = entries.1 == u16::MAX || len == u32::MAX || start == u32::MAX;
    let (len, start) = if wide {
        end64(file, size, end_at)?
    } else if disks != (0, 0) || entries.0 != entries.1 {
        return Err(broken("a zip archive in several parts"));
    } else {
        (u64::from(len), u64::from(start))
    };
    if start.checked_add(len).is_none_or(|end| end > end_at) {
        return Err(broken("the zip directory lies outside of the file"));
    }
    if len > MAX_DIRECTORY {
        return Err(broken(format!("a zip directory of {len} bytes; at most {MAX_DIRECTORY}")));
    }
    let mut directory = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.by_ref().take(len).read_to_end(&mut directory)?;
    Ok(directory)
}

/// Length and start of the directory in the Zip64 record that stands before the end record.
fn end64(file: &mut (impl Read + Seek), size: u64, end_at: u64) -> Result<(u64, u64), Fault> {
    let cut = || broken("the zip archive's Zip64 record is broken");
    let mut bytes = [0; 56];
    file.seek(SeekFrom::Start(end_at.checked_sub(20).ok_or_else(cut)?))?;
    file.read_exact(&mut bytes[..20])?;
    let mut locator = Record(&bytes[..20]);
    let record_at = (|| {
        (locator.u32()? == LOCATOR64).then_some(())?;
        locator.u32()?;
        locator.u64()
    })()
    .filter(|at| at.checked_add(56).is_some_and(|end| end <= size))
    .ok_or_else(cut)?;
    file.seek(SeekFrom::Start(record_at))?;
    file.read_exact(&mut bytes)?;
    let mut record = Record(&bytes);
    (|| {
        (record.u32()? == END64).then_some(())?;
        // Its own length, versions, disks, entries on this disk and in all.
        record.bytes(8 + 2 + 2 + 4 + 4 + 8 + 8)?;
        Some((record.u64()?, record.u64()?))
    })()
    .ok_or_else(cut)
}

/// An entry as the directory describes it.
struct Central {
    name: String,
    /// Where its local header begins.
    header: u64,
    len: u64,
}

/// Reads one entry of the directory; `None` where that is cut off.
fn central(record: &mut Record) -> Option<Result<Central, Fault>> {
    if record.u32()? != CENTRAL {
        return Some(Err(broken("the zip directory is broken")));
    }
    record.bytes(4)?; // versions
    let (flags, method) = (record.u16()?, record.u16()?);
    record.bytes(8)?; // time, date, CRC
    let (packed, len) = (record.u32()?, record.u32()?);
    let (name_len, extra_len, comment_len) = (record.u16()?, record.u16()?, record.u16()?);
    record.bytes(8)?; // disk, attributes
    let header = record.u32()?;
    let name = record.bytes(name_len.into())?;
    let mut extra = Record(record.bytes(extra_len.into())?);
    record.bytes(comment_len.into())?;
    let Some(name) = std::str::from_utf8(name).ok().filter(|name| name.len() <= MAX_NAME) else {
        return Some(Err(broken("an entry's name is too long or no text")));
    };
    if method != 0 || flags & 1 != 0 {
        let problem =
            format!("entry {name:?} is compressed or encrypted, as torch.save never does");
        return Some(Err(broken(problem)));
    }
    let (mut packed, mut len, mut header) = (packed.into(), len.into(), header.into());
    while let (Some(id), Some(size)) = (extra.u16(), extra.u16()) {
        let mut field = Record(extra.bytes(size.into())?);
        if id == 1 {
            // In this order, each only where its short form is full.
            for value in [&mut len, &mut packed, &mut header] {
                if *value == u64::from(u32::MAX) {
                    *value = field.u64()?;
                }
            }
        }
    }
    if packed != len {
        return Some(Err(broken(format!("entry {name:?} has two sizes: {packed} and {len}"))));
    }
    Some(Ok(Central { name: name.to_owned(), header, len }))
}

/// Where an entry's bytes begin, from its local header, which must agree with the directory.
fn locate(file: &mut (impl Read + Seek), size: u64, central: &Central) -> Result<Entry, Fault> {
    let name = &central.name;
    let outside = || broken(format!("entry {name:?} lies outside of the file"));
    if central.header.checked_add(30).is_none_or(|end| end > size) {
        return Err(outside());
    }
    let mut bytes = [0; 30];
    file.seek(SeekFrom::Start(central.header))?;
    file.read_exact(&mut bytes)?;
    let mut local = Record(&bytes);
    let lengths = (|| {
        (local.u32()? == LOCAL).then_some(())?;
        local.bytes(4)?; // version, flags
        (local.u16()? == 0).then_some(())?;
        local.bytes(16)?; // time, date, CRC, sizes
        Some((local.u16()?, local.u16()?))
    })();
    let Some((name_len, extra_len)) = lengths else {
        return Err(broken(format!("entry {name:?} has no header of its own")));
    };
    let mut found = vec![0; name_len.into()];
    let start = central.header + 30 + u64::from(name_len) + u64::from(extra_len);
    if start.checked_add(central.len).is_none_or(|end| end > size) {
        return Err(outside());
    }
    file.read_exact(&mut found)?;
    if found != name.as_bytes() {
        return Err(broken(format!("entry {name:?} has another name in its own header")));
    }
    Ok(Entry { start, len: central.len })
}
