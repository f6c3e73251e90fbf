//! Copies of fixtures, ways to damage them, and opening all that a folder holds.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rlaif_model::hf::{ChatTokenizer, GenerationConfig, Template};
use serde_json::Value;

/// One way to damage a fixture.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The fixture.
    pub(crate) base: &'static str,
    pub(crate) damage: Box<dyn Fn(&Path)>,
    /// What the error must contain: the file, and what is wrong with it.
    pub(crate) expected: &'static [&'static str],
}

pub(crate) fn case(
    name: &'static str,
    base: &'static str,
    expected: &'static [&'static str],
    damage: impl Fn(&Path) + 'static,
) -> Case {
    Case { name, base, damage: Box::new(damage), expected }
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn temporary_copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&fixture(name), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Opens model, tokenizer, generation settings and adapter as a program does; the first error.
pub(crate) fn open_all(folder: &Path) -> Result<(), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let mut model = rlaif_model::load(folder, &Device::flex()).map_err(|e| said(&e))?;
    GenerationConfig::open(folder).map_err(|e| said(&e))?;
    if folder.join("tokenizer.json").exists() || folder.join("tokenizer.model").exists() {
        let own = ["chat_template.jinja", "chat_template.json"];
        let tokenizer = if own.iter().any(|file| folder.join(file).exists()) {
            ChatTokenizer::open(folder)
        } else {
            ChatTokenizer::open_with_template(folder, &Template::VicunaV1)
        };
        tokenizer.map_err(|e| said(&e))?.check(folder, &model.config).map_err(|e| said(&e))?;
    }
    let adapter = folder.join("adapter");
    if adapter.exists() {
        rlaif_model::attach_adapter(&mut model, &adapter).map_err(|e| said(&e))?;
    }
    Ok(())
}

pub(crate) fn write(folder: &Path, file: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(file), bytes).expect("a file");
}

/// Replaces a file by what `change` makes of its bytes.
pub(crate) fn rewrite(folder: &Path, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = std::fs::read(folder.join(file)).expect("the file");
    write(folder, file, change(bytes));
}

/// Replaces a part of a text file, which must be there.
pub(crate) fn replace(folder: &Path, file: &str, from: &str, to: &str) {
    rewrite(folder, file, |bytes| {
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.contains(from), "{file} has no {from}");
        text.replacen(from, to, 1).into_bytes()
    });
}

/// Sets the value at a JSON pointer.
pub(crate) fn set(folder: &Path, file: &str, pointer: &str, value: Value) {
    rewrite(folder, file, |bytes| {
        let mut document: Value = serde_json::from_slice(&bytes).expect("JSON");
        *document.pointer_mut(pointer).expect("the key") = value;
        document.to_string().into_bytes()
    });
}

/// Replaces a part of a safetensors header and corrects its length.
pub(crate) fn header(folder: &Path, file: &str, change: impl FnOnce(String) -> String) {
    rewrite(folder, file, |bytes| {
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        let (header, data) = bytes[8..].split_at(usize::try_from(length).expect("a length"));
        let header = change(String::from_utf8(header.to_vec()).expect("text"));
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    });
}
