use super::*;

#[test]
fn clips_of_the_world_are_sent_without_loss_and_with_their_times() {
    let clips = Clips::default();
    let video = VideoRef::World("test/3".to_owned());
    let frames = clips.frames("t", &video).unwrap();
    assert_eq!((frames.kind, frames.images.len()), ("image/png", 8));
    assert_eq!((frames.width, frames.height, frames.seconds[1]), (32, 32, 0.25));
    let pixels = image::load_from_memory(&frames.images[5]).unwrap().into_rgb8().into_raw();
    assert_eq!(pixels, rlaif_world::clip_at("test/3").unwrap().frames[5].rgb);
    assert!(Arc::ptr_eq(&frames, &clips.frames("t", &video).unwrap()), "kept");
}

#[test]
fn large_images_are_made_smaller_and_lists_of_different_sizes_agree() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, width, height| {
        let path = folder.path().join(name);
        image::RgbImage::from_pixel(width, height, image::Rgb([200, 30, 30])).save(&path).unwrap();
        path
    };
    let list = vec![save("a.png", 1920, 960), save("b.png", 100, 50)];
    let frames = Clips::default().frames("t", &VideoRef::Frames(list)).unwrap();
    assert_eq!((frames.width, frames.height, frames.images.len()), (960, 480, 2));
    assert_eq!(frames.kind, "image/jpeg");
    let second = image::load_from_memory(&frames.images[1]).unwrap().into_rgb8();
    assert_eq!(second.dimensions(), (960, 480));
    let folder = VideoRef::File(folder.path().to_owned());
    assert_eq!(Clips::default().frames("t", &folder).unwrap().images.len(), 2);
}

#[test]
fn what_cannot_be_shown_is_said_without_a_path() {
    let clips = Clips::default();
    for video in [
        VideoRef::File("/etc/passwd".into()),
        VideoRef::File("/no/such/clip.mp4".into()),
        VideoRef::Frames(vec!["/etc/passwd".into()]),
        VideoRef::Frames(vec![]),
        VideoRef::World("nowhere/1".to_owned()),
    ] {
        let problem = clips.frames("t", &video).unwrap_err();
        assert!(!problem.contains('/') && problem.contains("clip"), "{problem}");
    }
}

#[test]
fn only_videos_leave_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let kind = |name: &str, head: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, head).unwrap();
        playable(&VideoRef::File(path)).map(|(_, kind)| kind)
    };
    assert_eq!(kind("a.html", b"\0\0\0\x20ftypisom...."), Some("video/mp4"));
    assert_eq!(kind("a.webm", b"\x1a\x45\xdf\xa3........"), Some("video/webm"));
    assert_eq!(kind("a.ogv", b"OggS............"), Some("video/ogg"));
    assert_eq!(kind("a.mp4", b"root:x:0:0:root:/root"), None);
    assert_eq!(kind("b.mp4", b"\0\0\0\x20ftypavif...."), None);
    assert_eq!(kind("c.mp4", b"short"), None);
    assert_eq!(playable(&VideoRef::File(folder.path().to_owned())), None);
    assert_eq!(playable(&VideoRef::World("test/3".to_owned())), None);
}
