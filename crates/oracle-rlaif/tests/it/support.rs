//! What the tests share: running the program, a small checkpoint, recipes.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use burn::tensor::Device;
use oracle_rlaif::folder::Folder;
use oracle_rlaif::recipe::ClipWorldModel;

/// The program, quiet in colours and environment, away from the network.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oracle-rlaif"));
    command.env_remove("RUST_LOG").env("HF_HUB_OFFLINE", "1");
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("the program starts")
}

/// Starts the program in the background, standard error piped; returns it with its first line.
pub(crate) fn start(arguments: &[&str]) -> (Child, String) {
    let mut child = program()
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("the first line");
    (child, line.trim().to_owned())
}

/// Runs the program and expects success; returns standard output.
pub(crate) fn ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {:?}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("standard output is UTF-8")
}

/// Expects exit code 2 and one line on standard error, and returns it.
pub(crate) fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    stderr
}

/// Sizes of a model that trains in an instant.
pub(crate) fn tiny() -> ClipWorldModel {
    ClipWorldModel {
        hidden_size: 64,
        num_hidden_layers: 2,
        vision_hidden_size: 32,
        vision_layers: 2,
        ..ClipWorldModel::default()
    }
}

/// A checkpoint folder with random weights and ClipWorld's vocabulary, made once.
pub(crate) fn checkpoint() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let keep = tempfile::tempdir().expect("a temporary folder can be made");
        let path = keep.path().join("checkpoint");
        let folder = Folder::clip_world(&tiny(), 7, &Device::flex()).expect("the sizes fit");
        folder.save(&folder.model, &path).expect("the checkpoint is written");
        (keep, path)
    });
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// A recipe of this repository.
pub(crate) fn recipe(name: &str) -> String {
    format!("{}/../../recipes/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// True where ffmpeg is there. Otherwise the test is to return, having said so past the capture of
/// test output; where `ORACLE_RLAIF_REQUIRE_FFMPEG=1` is set, as in CI, it fails instead.
pub(crate) fn ffmpeg_or_skip(test: &str) -> bool {
    use std::io::Write as _;
    let runs = |program: &str| {
        Command::new(program).arg("-version").output().is_ok_and(|output| output.status.success())
    };
    if runs("ffmpeg") && runs("ffprobe") {
        return true;
    }
    let required = std::env::var("ORACLE_RLAIF_REQUIRE_FFMPEG").is_ok_and(|value| value == "1");
    assert!(!required, "ORACLE_RLAIF_REQUIRE_FFMPEG=1, but ffmpeg is not on PATH: {test}");
    writeln!(std::io::stderr(), "SKIPPED (no ffmpeg on PATH): {test}").expect("stderr is open");
    false
}
