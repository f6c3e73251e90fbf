//! Checkpoint folders that lie, are damaged or absurd: each is refused with an error that names
//! the file, without a panic and within bounded memory.
//!
//! A binary of its own with one test: the allocator counts for the whole process.

mod config;
mod support;
mod text;
mod weights;

use std::panic::{AssertUnwindSafe, catch_unwind};

use peak_alloc::PeakAlloc;

use support::{Case, fixture, open_all, temporary_copy};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most bytes that opening a hostile folder may allocate at a time. The fixtures have a hundred
/// thousand.
const LIMIT: usize = 64 << 20;

#[test]
fn hostile_folders_are_refused_by_file_name_without_panic_within_memory() {
    for base in
        ["llava-a", "llava-b", "llava-original-a", "llava-original-b", "smolvlm-a", "qwen2_5-vl-a"]
    {
        let folder = temporary_copy(base);
        assert_eq!(open_all(folder.path()).err(), None, "{base} itself opens");
    }
    let cases: Vec<Case> =
        weights::cases().into_iter().chain(config::cases()).chain(text::cases()).collect();
    assert!(cases.len() >= 120);
    let mut failures = Vec::new();
    let mut most = 0;
    for case in &cases {
        assert!(fixture(case.base).is_dir());
        let folder = temporary_copy(case.base);
        (case.damage)(folder.path());
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let opened = catch_unwind(AssertUnwindSafe(|| open_all(folder.path())));
        let peak = MEMORY.peak_usage().saturating_sub(before);
        most = most.max(peak);
        let what = match opened {
            Err(_) => "it panics".to_owned(),
            Ok(Ok(())) => "it opens".to_owned(),
            Ok(Err(error)) if peak > LIMIT => format!("{peak} bytes allocated: {error:.200}"),
            Ok(Err(error)) => match case.expected.iter().find(|part| !error.contains(**part)) {
                None => continue,
                Some(part) => format!("no {part:?} in: {error:.400}"),
            },
        };
        failures.push(format!("{}: {what}", case.name));
    }
    println!("{} cases, at most {} KiB allocated", cases.len(), most >> 10);
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
