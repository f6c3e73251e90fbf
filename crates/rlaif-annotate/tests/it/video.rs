//! Clips that are video files, in the browser.

use std::path::Path;
use std::process::Command;

use rlaif_data::{Example, VideoRef};

use crate::support::{Page, browser_or_skip, desk, example, serve, texts};

/// A blue clip of two seconds. False, said past the capture of test output, where there is no ffmpeg.
fn make(path: &Path, codec: &[&str]) -> bool {
    use std::io::Write as _;
    let made = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i", "color=c=blue:s=64x48:r=10:d=2"])
        .args(codec)
        .arg(path)
        .output();
    if made.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let required = std::env::var("ORACLE_RLAIF_REQUIRE_FFMPEG").is_ok_and(|value| value == "1");
    assert!(!required, "ORACLE_RLAIF_REQUIRE_FFMPEG=1, but ffmpeg made no {}", path.display());
    writeln!(std::io::stderr(), "SKIPPED: no ffmpeg for clips in the browser")
        .expect("stderr is open");
    false
}

#[test]
fn a_file_plays_and_one_that_browsers_cannot_play_comes_as_frames() {
    let Some(chromium) = browser_or_skip("clips that are files") else { return };
    let folder = tempfile::tempdir().unwrap();
    let webm = folder.path().join("a.webm");
    // MPEG-4 part 2: the container is known to browsers, the codec is not.
    let old = folder.path().join("b.mp4");
    if !make(&webm, &["-c:v", "libvpx", "-g", "5"]) || !make(&old, &["-c:v", "mpeg4"]) {
        return;
    }
    let desk = desk();
    for (id, path) in [("1", webm), ("2", old)] {
        let row = Example { video: VideoRef::File(path), ..example(id, id) };
        desk.file(&row, &texts(&["a", "b"]), 1).unwrap();
    }
    let server = serve(&desk);
    let page = Page::open_as(chromium.new_tab().unwrap(), &server.url(), "ann");
    page.until("document.querySelector('#video').readyState >= 2");
    assert_eq!(page.js("document.querySelector('#player').dataset.kind"), "video");
    assert_eq!(page.js("document.querySelector('#video').paused"), true, "calm");
    assert_eq!(page.js("document.querySelector('#video').loop"), true);
    page.key("ArrowRight");
    page.until("Math.abs(document.querySelector('#video').currentTime - 0.5) < 0.01");
    page.until("document.querySelector('#clock').textContent === '0.5 s'");
    page.key(" ");
    page.until("document.querySelector('#video').currentTime > 0.7");
    page.until("document.querySelector('#play').dataset.playing === 'true'");

    page.key("s");
    page.until("document.querySelector('#turns h2').textContent === '2'");
    page.until("document.querySelector('#player').dataset.kind === 'frames'");
    let pixel = page.js(
        "[...document.querySelector('#frames').getContext('2d').getImageData(9, 9, 1, 1).data]",
    );
    let [r, g, b]: [u8; 3] = [0, 1, 2].map(|i| u8::try_from(pixel[i].as_u64().unwrap()).unwrap());
    assert!(r < 30 && g < 30 && b > 220, "{pixel}");
    // Two seconds at eight frames a second.
    assert_eq!(page.js("document.querySelector('#scrub').max"), "15");
}
