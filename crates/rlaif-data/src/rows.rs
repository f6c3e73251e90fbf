//! From the bytes of a file to its rows: JSON objects with the line they come from.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::DataError;

/// A row and its place.
#[derive(Debug)]
pub(crate) struct Row {
    /// The line in the file, from 1.
    pub(crate) line: usize,
    /// In a JSON array the number of the item, from 1.
    pub(crate) item: Option<usize>,
    /// The row itself.
    pub(crate) object: Map<String, Value>,
}

/// Calls `each` with the rows of a JSON-lines file or of a JSON array, told apart by the first
/// character, and returns how many there were. A byte order mark, CRLF line ends and blank lines
/// are fine.
pub(crate) fn for_each_row(
    input: impl Read,
    path: &Path,
    max_line_bytes: usize,
    mut each: impl FnMut(Row) -> Result<(), DataError>,
) -> Result<usize, DataError> {
    let mut input = BufReader::new(input);
    let read_error = |source| DataError::Read { path: path.to_owned(), source };
    let mut n_rows = 0;
    let mut line = 0;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        line += 1;
        let at_end = read_line(&mut input, max_line_bytes, &mut bytes).map_err(read_error)?;
        if line == 1 && bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
        }
        if n_rows == 0 && bytes.trim_ascii_start().starts_with(b"[") {
            input.read_to_end(&mut bytes).map_err(read_error)?;
            return array(&bytes, line, path, max_line_bytes, each);
        }
        let row = without_line_end(&bytes);
        if row.len() > max_line_bytes {
            return Err(DataError::LineTooLong {
                path: path.to_owned(),
                line,
                limit: max_line_bytes,
            });
        }
        let text = utf8(row, line, path)?;
        if !text.trim_ascii().is_empty() {
            let object = object(text, line, || 0, path)?;
            each(Row { line, item: None, object })?;
            n_rows += 1;
        }
        if at_end {
            return Ok(n_rows);
        }
    }
}

/// Reads one line with its line feed, but at most a few bytes over the limit (a byte order mark
/// and the line end may still come off); true at the end of the input.
fn read_line(
    input: &mut impl BufRead,
    max_line_bytes: usize,
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    let most = u64::try_from(max_line_bytes).unwrap_or(u64::MAX).saturating_add(6);
    input.take(most).read_until(b'\n', line)?;
    Ok(line.last() != Some(&b'\n') && u64::try_from(line.len()).is_ok_and(|n| n < most))
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[expect(clippy::naive_bytecount, reason = "once a file; no dependency for it")]
fn line_feeds(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

fn utf8<'a>(bytes: &'a [u8], first_line: usize, path: &Path) -> Result<&'a str, DataError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let last_line_start = good.iter().rposition(|b| *b == b'\n').map_or(0, |feed| feed + 1);
        let utf16 = bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF");
        let gzip = bytes.starts_with(b"\x1F\x8B");
        DataError::NotUtf8 {
            path: path.to_owned(),
            line: first_line + line_feeds(good),
            byte: good.len() - last_line_start + 1,
            hint: match (utf16, gzip) {
                (true, _) => "; the file looks like UTF-16, save it as UTF-8",
                (_, true) => "; the file looks like gzip, unpack it first",
                _ => "",
            },
        }
    })
}

/// Rows of a JSON array that starts on `first_line` of the file.
fn array(
    bytes: &[u8],
    first_line: usize,
    path: &Path,
    max_line_bytes: usize,
    mut each: impl FnMut(Row) -> Result<(), DataError>,
) -> Result<usize, DataError> {
    let text = utf8(bytes, first_line, path)?;
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| DataError::Json {
        path: path.to_owned(),
        line: first_line + error.line().saturating_sub(1),
        column: error.column(),
        problem: without_place(&error),
        hint: "; the file starts with `[`, so it is read as one JSON array",
    })?;
    let (mut line, mut counted_to) = (first_line, 0);
    for (i, item) in items.iter().enumerate() {
        // The items are slices of `text`, in order.
        let start = (item.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let passed = bytes.get(counted_to..start).unwrap_or_default();
        line += line_feeds(passed);
        counted_to = start;
        if item.get().len() > max_line_bytes {
            return Err(DataError::LineTooLong {
                path: path.to_owned(),
                line,
                limit: max_line_bytes,
            });
        }
        let offset = || bytes[..start].iter().rev().take_while(|b| **b != b'\n').count();
        let object = object(item.get(), line, offset, path)?;
        each(Row { line, item: Some(i + 1), object })?;
    }
    Ok(items.len())
}

/// Parses one object that starts `offset()` bytes into its line.
fn object(
    text: &str,
    line: usize,
    offset: impl Fn() -> usize,
    path: &Path,
) -> Result<Map<String, Value>, DataError> {
    serde_json::from_str::<Object>(text).map(|object| object.0).map_err(|error| {
        let path = path.to_owned();
        let problem = without_place(&error);
        if error.is_data() {
            return DataError::Row { path, line, problem };
        }
        let hint = if error.is_eof() { "; in JSON lines every line is a whole object" } else { "" };
        let column = error.column() + if error.line() == 1 { offset() } else { 0 };
        DataError::Json { path, line: line + error.line().saturating_sub(1), column, problem, hint }
    })
}

/// The parser's message without its own idea of where it was.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((problem, _)) => problem.to_owned(),
        None => text,
    }
}

/// A JSON object in which no key comes twice.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object as the row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
        let mut map = Map::new();
        while let Some((key, value)) = access.next_entry::<String, Value>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format!("the key `{key}` comes twice")));
            }
            map.insert(key, value);
        }
        Ok(Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8], limit: usize) -> Result<Vec<(usize, Option<usize>, String)>, DataError> {
        let mut rows = Vec::new();
        for_each_row(bytes, Path::new("d.jsonl"), limit, |row| {
            rows.push((row.line, row.item, Value::Object(row.object).to_string()));
            Ok(())
        })?;
        Ok(rows)
    }

    fn message(bytes: &[u8]) -> String {
        rows(bytes, 40).unwrap_err().to_string()
    }

    #[test]
    fn lines_arrays_and_what_editors_add_are_read() {
        let expected = |items: [Option<usize>; 2], lines: [usize; 2]| {
            vec![
                (lines[0], items[0], r#"{"a":1}"#.to_owned()),
                (lines[1], items[1], r#"{"b":"é"}"#.to_owned()),
            ]
        };
        let plain = rows("{\"a\":1}\n{\"b\":\"é\"}".as_bytes(), 40).unwrap();
        assert_eq!(plain, expected([None; 2], [1, 2]));
        let edited = rows("\u{feff}{\"a\":1}\r\n \r\n{\"b\":\"é\"}\r\n".as_bytes(), 40).unwrap();
        assert_eq!(edited, expected([None; 2], [1, 3]));
        let array = "\u{feff}\n [\n {\"a\":1},\n\n {\"b\":\n\"é\"}]\n".as_bytes();
        assert_eq!(rows(array, 40).unwrap(), expected([Some(1), Some(2)], [3, 5]));
        assert_eq!(rows(b"\n\n", 40).unwrap(), []);
        assert_eq!(rows(b"[]", 40).unwrap(), []);
    }

    #[test]
    fn messages_name_file_line_and_column() {
        assert_eq!(message(b"{\"a\":1}\n{\"a\" 1}\n"), "d.jsonl:2:6: not valid JSON: expected `:`");
        assert_eq!(
            message(b"{\n\"a\": 1}"),
            "d.jsonl:1:1: not valid JSON: EOF while parsing an object; in JSON lines every line \
             is a whole object"
        );
        assert_eq!(message(b"{\"a\":1} {}"), "d.jsonl:1:9: not valid JSON: trailing characters");
        assert_eq!(
            message(b"{}\n3\n"),
            "d.jsonl:2: invalid type: integer `3`, expected a JSON object as the row"
        );
        assert_eq!(message(b"{\"a\":1,\"a\":2}"), "d.jsonl:1: the key `a` comes twice");
        assert_eq!(message(b"{}\n{\"a\":\"\xFF\"}"), "d.jsonl:2: not UTF-8 at byte 7 of the line");
        assert_eq!(
            message(b"\xFF\xFE{\0}\0"),
            "d.jsonl:1: not UTF-8 at byte 1 of the line; the file looks like UTF-16, save it as \
             UTF-8"
        );
    }

    #[test]
    fn messages_about_arrays_name_the_line_in_the_file() {
        assert_eq!(message(b"[\n{},\n {\"a\":1,\n\"a\":2}]"), "d.jsonl:3: the key `a` comes twice");
        assert_eq!(
            message(b"\n[{},\n]"),
            "d.jsonl:3:1: not valid JSON: trailing comma; the file starts with `[`, so it is read \
             as one JSON array"
        );
        assert_eq!(message(b"[{},\n\n\"\xFF\"]"), "d.jsonl:3: not UTF-8 at byte 2 of the line");
        assert!(message(b"[[1]]").contains("invalid type: sequence"));
    }

    #[test]
    fn long_lines_are_refused_at_the_limit() {
        let row = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
        let two = format!("{}\n{}\n", row(40), row(41));
        let limit = "d.jsonl:2: longer than 40 bytes; rows hold paths, not pixels (raise \
                     `max_line_bytes` if this is right)";
        assert_eq!(message(two.as_bytes()), limit);
        assert_eq!(message(two.trim_end().as_bytes()), limit);
        assert_eq!(rows(row(40).as_bytes(), 40).unwrap().len(), 1);
        assert_eq!(rows(format!("\u{feff}{}\r\n", row(40)).as_bytes(), 40).unwrap().len(), 1);
        // An array may be long, its items not.
        let short = format!("[{}]", vec![row(40); 9].join(", "));
        assert_eq!(rows(short.as_bytes(), 40).unwrap().len(), 9);
        assert_eq!(message(format!("[{{}},\n{}]", row(41)).as_bytes()), limit);
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        let error = rows(deep.as_bytes(), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("recursion limit"), "{error}");
    }
}
