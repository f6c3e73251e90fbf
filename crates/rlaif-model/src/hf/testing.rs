//! The fixtures that `tools/make_llava_fixtures.py` wrote.

use std::path::PathBuf;

use serde_json::Value;

/// Folder of a fixture.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// `golden.json` of a fixture.
pub(crate) fn golden(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture(name).join("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
