//! Judges written in `sh`, which misbehave by schedule.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rlaif_data::{Example, Message, VideoRef};
use rlaif_oracle::{
    Cancel, CommandConfig, CommandOracle, Oracle, OracleError, RankRequest, Verdict,
};
use tempfile::TempDir;

/// `next` reads a request (and ends with stdin), `reply FIELDS` answers it, `$line` and `$id` hold
/// it, `$1` is a folder to leave traces in. Every start leaves its process id in `$1/pids`.
const PREAMBLE: &str = r#"
echo $$ >> "$1/pids"
next() { IFS= read -r line || exit 0; id=${line#*'"id":'}; id=${id%%,*}; }
reply() { printf '{"id": %s, %s}\n' "$id" "$1"; }
about() { case $line in *"\"example\":\"$1\""*) return 0;; *) return 1;; esac; }
"#;

/// A judge and the traces it leaves.
pub(crate) struct Judge {
    folder: TempDir,
    pub(crate) oracle: CommandOracle,
}

/// A judge that runs `script`, with settings fit for tests changed by `adjust`.
pub(crate) fn judge_with(script: &str, adjust: impl FnOnce(&mut CommandConfig)) -> Judge {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = CommandConfig::new("/bin/sh");
    config.args = vec![
        "-c".to_owned(),
        format!("{PREAMBLE}\n{script}"),
        "judge".to_owned(),
        folder.path().to_string_lossy().into_owned(),
    ];
    // Generous where the test is not about time: the machine may be busy.
    config.timeout_seconds = 30.0;
    config.startup_seconds = 0.0;
    adjust(&mut config);
    Judge { folder, oracle: CommandOracle::new(config).expect("settings of a test") }
}

pub(crate) fn judge(script: &str) -> Judge {
    judge_with(script, |_| {})
}

impl Judge {
    /// Takes the Oracle out; the folder goes when it is dropped.
    pub(crate) fn into_parts(self) -> (TempDir, CommandOracle) {
        (self.folder, self.oracle)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn trace(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Process ids of all starts so far.
    pub(crate) fn pids(&self) -> Vec<String> {
        self.trace("pids").lines().map(str::to_owned).collect()
    }

    pub(crate) fn rank(&self, examples: &[&str]) -> Vec<Result<Verdict, OracleError>> {
        let requests: Vec<RankRequest> =
            examples.iter().map(|id| request(id, &["p", "q", "r"])).collect();
        self.oracle.rank(&requests, &Cancel::new())
    }

    /// Ranks and writes the results in short: the ranking, or the kind of the error.
    pub(crate) fn brief(&self, examples: &[&str]) -> Vec<String> {
        self.rank(examples).iter().map(brief).collect()
    }

    pub(crate) fn wait_for_trace(&self, name: &str) {
        let start = Instant::now();
        while self.trace(name).is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "no {name} from the judge");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

pub(crate) fn brief(result: &Result<Verdict, OracleError>) -> String {
    match result {
        Ok(verdict) => verdict.ranking.to_string(),
        Err(error) => error.kind().as_str().to_owned(),
    }
}

pub(crate) fn request(id: &str, candidates: &[&str]) -> RankRequest {
    RankRequest {
        example: Example {
            id: id.to_owned(),
            video: VideoRef::File("clips/a.mp4".into()),
            messages: vec![Message::ask("What happens?")],
            reference: None,
            choices: None,
            category: None,
            narrative: None,
            meta: serde_json::Map::new(),
        },
        candidates: candidates.iter().map(|text| (*text).to_owned()).collect(),
    }
}

/// Waits until the process is gone, reaped and all; one that was handed to init may take a moment.
pub(crate) fn assert_gone(pid: &str) {
    if !Path::new("/proc/self/stat").exists() {
        return;
    }
    let folder = Path::new("/proc").join(pid.trim());
    let start = Instant::now();
    while folder.exists() {
        assert!(start.elapsed() < Duration::from_secs(10), "process {pid} is still there");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that the process is gone this very moment, with no zombie left of it.
pub(crate) fn assert_reaped(pid: &str) {
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    if let Ok(stat) = fs::read_to_string(stat) {
        panic!("process {pid} is still there: {stat}");
    }
}
