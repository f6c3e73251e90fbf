//! Uploads, paths and addresses, hostile ones above all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as PLAIN;

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";
const MP4: &[u8] = b"\0\0\0\x18ftypmp42rest";

fn data(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", PLAIN.encode(bytes))
}

fn video(url: &str, root: Option<&Path>) -> Result<Placed, Problem> {
    place(&Shown::Video(url.to_owned()), root)
}

#[test]
fn uploads_lie_in_a_private_folder_that_goes_away_with_them() {
    let urls = vec![data("image/png", PNG), data("image/jpeg", b"\xFF\xD8\xFFx")];
    let placed = place(&Shown::Images(urls), None).unwrap();
    let VideoRef::Frames(frames) = &placed.video else { panic!("{:?}", placed.video) };
    let names: Vec<_> = frames.iter().map(|frame| frame.file_name().unwrap()).collect();
    assert_eq!(names, ["0000.png", "0001.jpg"]);
    assert_eq!(fs::read(&frames[0]).unwrap(), PNG);
    let folder = frames[0].parent().unwrap().to_owned();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may look into it: {mode:o}");
    }
    drop(placed);
    assert!(!folder.exists());
}

#[test]
fn a_video_is_taken_by_its_bytes_with_padding_or_without() {
    for url in [data("video/mp4", MP4), data("video/mp4", MP4).trim_end_matches('=').to_owned()] {
        let placed = video(&url, None).unwrap();
        let VideoRef::File(file) = &placed.video else { panic!("{:?}", placed.video) };
        assert_eq!(
            (fs::read(file).unwrap(), file.extension().unwrap()),
            (MP4.to_vec(), "mp4".as_ref())
        );
    }
    let animated = place(&Shown::Images(vec![data("image/gif", b"GIF89a")]), None).unwrap();
    assert!(matches!(animated.video, VideoRef::File(_)));
    let world = video("world:test/3", None).unwrap();
    assert_eq!(world.video, VideoRef::World("test/3".to_owned()));
}

/// Playlists name other files: ffmpeg would open them.
#[test]
fn playlists_and_other_bytes_are_no_video() {
    for bytes in [
        b"ffconcat version 1.0\nfile /etc/passwd".as_slice(),
        b"#EXTM3U\nfile:///etc/passwd",
        b"<?xml version=\"1.0\"?><MPD/>",
        b"",
        b"RIFF0000WAVE",
    ] {
        let problem = video(&data("video/mp4", bytes), None).unwrap_err();
        assert_eq!((problem.status, problem.code), (400, Some("invalid_clip")));
        let problem = place(&Shown::Images(vec![data("image/png", bytes)]), None).unwrap_err();
        assert_eq!((problem.status, problem.code), (400, Some("invalid_clip")));
    }
}

#[test]
fn nothing_is_fetched() {
    for url in ["https://example.com/a.mp4", "HTTP://x/a.mp4", "rtsp://x", "ftp://x/y"] {
        let problem = video(url, None).unwrap_err();
        assert_eq!((problem.status, problem.code), (400, Some("not_fetched")), "{url}");
        let problem = place(&Shown::Images(vec![url.to_owned()]), None).unwrap_err();
        assert!(problem.message.contains("fetches nothing"), "{problem}");
    }
    let problem = place(&Shown::Images(vec!["frames/a.png".to_owned()]), None).unwrap_err();
    assert_eq!(problem.code, Some("not_fetched"));
}

#[test]
fn broken_data_is_refused() {
    for url in [
        "data:video/mp4;base64,A*A=",
        "data:video/mp4;base64",
        "data:video/mp4,plain",
        "data:text/html;base64,AAAA",
        "data:",
    ] {
        assert_eq!(video(url, None).unwrap_err().status, 400, "{url}");
    }
}

#[test]
fn paths_stay_inside_the_media_root() {
    let outer = tempfile::tempdir().unwrap();
    let outer = fs::canonicalize(outer.path()).unwrap();
    let root = outer.join("root");
    fs::create_dir_all(root.join("frames")).unwrap();
    fs::write(root.join("a b.mp4"), MP4).unwrap();
    fs::write(outer.join("secret.mp4"), MP4).unwrap();
    fs::write(root.join("frames/1.png"), PNG).unwrap();
    let root = root.as_path();
    let inside = VideoRef::File(root.join("a b.mp4"));
    let encoded = format!("file://{}/a%20b.mp4", root.display());
    let absolute = root.join("a b.mp4").display().to_string();
    for url in ["a b.mp4", "frames/../a b.mp4", &encoded, &absolute] {
        assert_eq!(video(url, Some(root)).unwrap().video, inside, "{url}");
    }
    let frames = VideoRef::Frames(vec![root.join("frames/1.png")]);
    assert_eq!(video("frames", Some(root)).unwrap().video, frames);

    let secret = format!("{}/secret.mp4", outer.display());
    let mut escapes = vec![
        "../secret.mp4".to_owned(),
        "frames/../../secret.mp4".to_owned(),
        secret.clone(),
        format!("file://{secret}"),
        format!("file://localhost{secret}"),
        "file://elsewhere/a%20b.mp4".to_owned(),
        "file:///..%2fsecret.mp4".to_owned(),
        "file:///%zz".to_owned(),
        "a b.mp4\0".to_owned(),
        "/etc/passwd".to_owned(),
        "none.mp4".to_owned(),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.join("secret.mp4"), root.join("link.mp4")).unwrap();
        std::os::unix::fs::symlink(&outer, root.join("up")).unwrap();
        fs::create_dir(root.join("linked")).unwrap();
        std::os::unix::fs::symlink(outer.join("secret.mp4"), root.join("linked/1.png")).unwrap();
        escapes.extend(["link.mp4", "up/secret.mp4", "linked"].map(str::to_owned));
    }
    for url in escapes {
        let problem = video(&url, Some(root)).unwrap_err();
        assert_eq!((problem.status, problem.code), (400, Some("no_such_clip")), "{url}");
    }
    let problem = video("a b.mp4", None).unwrap_err();
    assert_eq!(problem.code, Some("no_media_root"));
}
