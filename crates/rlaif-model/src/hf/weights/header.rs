//! The header of a safetensors file: eight bytes of length, then JSON.
//!
//! The format's own rules are checked before any byte of data is believed: names are unique, each
//! tensor's offsets are as far apart as its shape and format say, and the tensors fill the file
//! without holes or overlaps.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;

use safetensors::tensor::Dtype;
use serde::Deserialize;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::hf::weights::error::Fault;
use crate::hf::weights::read::Stored;

/// Longest header read, in bytes: some 270,000 tensors.
const MAX_HEADER: u64 = 32 << 20;
/// Most tensors in one file.
const MAX_TENSORS: usize = 1 << 18;
/// Most axes of a tensor.
pub(super) const MAX_RANK: usize = 8;

/// Reads and checks the header of a safetensors file of `size` bytes, positioned at its start.
pub(super) fn read_header(file: &mut impl Read, size: u64) -> Result<Vec<Stored>, Fault> {
    let broken = |problem: String| Err(Fault::Broken(problem));
    if size < 8 {
        return broken(format!("not a safetensors file: {size} bytes"));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > size - 8 {
        return broken(format!(
            "not a whole safetensors file: its header of {length} bytes does not fit in"
        ));
    }
    if length > MAX_HEADER {
        return broken(format!("a header of {length} bytes; at most {MAX_HEADER} are read"));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    let Header(mut entries) = match serde_json::from_slice(&header) {
        Ok(header) => header,
        Err(error) => return broken(format!("the safetensors header is broken: {error}")),
    };
    let mut names = HashSet::new();
    if let Some((name, _)) = entries.iter().find(|(name, _)| !names.insert(name.as_str())) {
        return broken(format!("the safetensors header is broken: tensor `{name}` stands twice"));
    }
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let data = 8 + length;
    let mut end = 0;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let Entry { dtype, shape: Shape(shape), data_offsets: (from, to) } = entry;
        let fault = |problem: String| {
            broken(format!("the safetensors header is broken: tensor `{name}` {problem}"))
        };
        let bytes = shape
            .iter()
            .try_fold(1_u64, |product, size| product.checked_mul(*size))
            .and_then(|elements| elements.checked_mul(dtype.bitsize() as u64))
            .filter(|bits| bits % 8 == 0)
            .map(|bits| bits / 8);
        let Some(bytes) = bytes else {
            return fault(format!("has a shape that no file holds: {shape:?}"));
        };
        if to.checked_sub(from) != Some(bytes) {
            return fault(format!(
                "of shape {shape:?} and format {dtype:?} has {bytes} bytes, but its offsets are \
                 {from} to {to}"
            ));
        }
        if from != end {
            return fault(format!("begins at {from}, but the one before it ends at {end}"));
        }
        end = to;
        // What fits into the file's size fits into an address only where this converts.
        let (Ok(len), Ok(shape)) = (
            usize::try_from(bytes),
            shape.iter().map(|size| usize::try_from(*size)).collect::<Result<Vec<_>, _>>(),
        ) else {
            return fault(format!("of {bytes} bytes is more than this machine can address"));
        };
        tensors.push(Stored {
            name,
            dtype,
            shape,
            start: data.saturating_add(from),
            len,
            strides: None,
        });
    }
    if data.checked_add(end) != Some(size) {
        return broken(format!(
            "{size} bytes, but its header speaks of {}: the file was cut off, fetch it again",
            data.saturating_add(end)
        ));
    }
    Ok(tensors)
}

#[derive(Deserialize)]
struct Entry {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// Tensors in the order of the file; a plain map would swallow a name that stands twice.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if entries.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                    }
                    let entry = map
                        .next_value()
                        .map_err(|error| A::Error::custom(format!("tensor `{name}`: {error}")))?;
                    entries.push((name, entry));
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl<'de> Visitor<'de> for Sizes {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a list of at most {MAX_RANK} sizes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut sizes = Vec::new();
                while let Some(size) = seq.next_element()? {
                    if sizes.len() == MAX_RANK {
                        return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    sizes.push(size);
                }
                Ok(Shape(sizes))
            }
        }
        deserializer.deserialize_seq(Sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of this header and `data` bytes.
    fn read(header: &str, data: usize) -> Result<Vec<Stored>, String> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.bytes());
        file.resize(file.len() + data, 0);
        let size = file.len() as u64;
        read_header(&mut file.as_slice(), size).map_err(|fault| match fault {
            Fault::Broken(problem) => problem,
            other => format!("{other:?}"),
        })
    }

    fn entry(dtype: &str, shape: &str, offsets: &str) -> String {
        format!(r#"{{"x": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
    }

    #[test]
    fn a_sound_header_is_read_in_the_order_of_its_data() {
        let header = r#"{"__metadata__": {"format": "pt"},
            "b": {"dtype": "BF16", "shape": [3], "data_offsets": [8, 14]},
            "empty": {"dtype": "F32", "shape": [0, 7], "data_offsets": [8, 8]},
            "a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}"#;
        let found = read(header, 14).unwrap();
        let names: Vec<&str> = found.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "empty", "b"]);
        assert_eq!((found[2].start, found[2].len), (8 + header.len() as u64 + 8, 6));
        assert_eq!((&found[2].shape[..], found[2].dtype), (&[3][..], Dtype::BF16));
    }

    #[test]
    fn headers_that_lie_are_refused() {
        for (header, data, expected) in [
            (entry("F32", "[2]", "[0, 8]"), 7, "was cut off"),
            (entry("F32", "[2]", "[0, 8]"), 9, "was cut off"),
            (entry("F32", "[2]", "[8, 16]"), 16, "begins at 8, but the one before it ends at 0"),
            (entry("F32", "[2]", "[8, 0]"), 8, "its offsets are 8 to 0"),
            (entry("F32", "[3]", "[0, 8]"), 8, "has 12 bytes, but its offsets are 0 to 8"),
            (entry("F32", "[2]", "[-8, 0]"), 8, "tensor `x`: invalid value: integer `-8`"),
            (entry("F32", "[-2]", "[0, 8]"), 8, "integer `-2`"),
            (entry("F32", "[1.5]", "[0, 8]"), 8, "floating point"),
            (entry("F32", "[1e400]", "[0, 8]"), 8, "number out of range"),
            (entry("F32", "[0, 8]", "[0, 8, 9]"), 8, "tensor `x`: trailing characters"),
            (entry("F32", "[1152921504606846976, 16]", "[0, 8]"), 8, "a shape that no file holds"),
            (entry("F32", "[1152921504606846976]", "[0, 8]"), 8, "a shape that no file holds"),
            (entry("F32", "[1073741824]", "[0, 4294967296]"), 8, "speaks of 4294967"),
            (entry("U8", "[18446744073709551615]", "[0, 8]"), 8, "a shape that no file holds"),
            (entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0, 4]"), 4, "a list of at most 8 sizes"),
            (entry("F4", "[3]", "[0, 1]"), 1, "a shape that no file holds"),
            (entry("FLOAT", "[2]", "[0, 8]"), 8, "unknown variant `FLOAT`"),
            ("[]".to_owned(), 0, "expected an object of tensors"),
            (r#"{"x": {"dtype": "F32"}}"#.to_owned(), 0, "missing field `shape`"),
            (r#"{"x": 3}"#.to_owned(), 0, "tensor `x`: invalid type"),
            (format!(r#"{{"__metadata__": {}}}"#, "[".repeat(100_000)), 0, "expected value"),
            ("{".to_owned(), 0, "EOF while parsing"),
        ] {
            let message = read(&header, data).unwrap_err();
            assert!(message.contains(expected), "{expected:?} not in {message:?}");
        }
        let two = |a: &str, b: &str| {
            let of =
                |offsets| format!(r#"{{"dtype": "U8", "shape": [4], "data_offsets": {offsets}}}"#);
            format!(r#"{{"x": {}, "y": {}}}"#, of(a), of(b))
        };
        assert!(read(&two("[0, 4]", "[4, 8]"), 8).is_ok());
        for (a, b) in [("[0, 4]", "[0, 4]"), ("[0, 4]", "[2, 6]"), ("[0, 4]", "[5, 9]")] {
            assert!(read(&two(a, b), 9).unwrap_err().contains("tensor `y` begins at"), "{a} {b}");
        }
        let twice = two("[0, 4]", "[4, 8]").replace("\"y\"", "\"x\"");
        assert!(read(&twice, 8).unwrap_err().contains("tensor `x` stands twice"));
    }
}
