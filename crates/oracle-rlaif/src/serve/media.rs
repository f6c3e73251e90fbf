//! From what a client shows to a clip on disk: uploads in a private folder that goes away with
//! them, paths that stay inside the media root, and no address that would have to be fetched.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rlaif_data::VideoRef;
use rlaif_video::images::list_folder;
use tempfile::TempDir;

use super::content::Shown;
use super::problem::{Problem, quoted};

/// Padding is taken where it stands: some clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A clip that can be read, and the folder of what was uploaded for it.
#[derive(Debug)]
pub struct Placed {
    /// Where it lies.
    pub video: VideoRef,
    /// Removed when the clip was read.
    pub files: Option<TempDir>,
}

/// Puts what was shown where it can be read. `root` is the canonical media root.
///
/// # Errors
///
/// A [`Problem`]: bytes that are no image or video, a path outside of the root, an address that
/// would have to be fetched.
pub fn place(shown: &Shown, root: Option<&Path>) -> Result<Placed, Problem> {
    match shown {
        Shown::Images(urls) => images(urls),
        Shown::Video(url) if url.starts_with("data:") => video(url),
        Shown::Video(url) => match VideoRef::from_text(url) {
            VideoRef::World(address) => Ok(Placed { video: VideoRef::World(address), files: None }),
            _ => Ok(Placed { video: inside(url, root)?, files: None }),
        },
    }
}

/// Kinds of image and their usual ending, by their first bytes.
fn image_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [0xFF, 0xD8, 0xFF, ..] => Some("jpg"),
        [b'G', b'I', b'F', b'8', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        _ => None,
    }
}

/// Kinds of video container. A playlist, which would name other files, is none of them.
fn video_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("mp4"),
        [_, _, _, _, b'm', b'o', b'o', b'v', ..] | [_, _, _, _, b'w', b'i', b'd', b'e', ..] => {
            Some("mov")
        }
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Some("mkv"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Some("avi"),
        // A still image that is sent as a video is no more than one frame.
        _ => image_kind(bytes),
    }
}

fn images(urls: &[String]) -> Result<Placed, Problem> {
    let folder = private_folder()?;
    let mut frames = Vec::with_capacity(urls.len());
    let mut only = "";
    for (index, url) in urls.iter().enumerate() {
        let at = format!("image {index}");
        let bytes = decode(url, "image/", &at)?;
        let Some(kind) = image_kind(&bytes) else {
            let message = format!("{at} is no JPEG, PNG, WebP or GIF");
            return Err(Problem::invalid("messages", message).code("invalid_clip"));
        };
        frames.push(write(&folder, &format!("{index:04}.{kind}"), &bytes)?);
        only = kind;
    }
    // One animated image is a clip of its own.
    let video = match frames.as_slice() {
        [one] if matches!(only, "gif" | "webp") => VideoRef::File(one.clone()),
        _ => VideoRef::Frames(frames),
    };
    Ok(Placed { video, files: Some(folder) })
}

fn video(url: &str) -> Result<Placed, Problem> {
    let bytes = decode(url, "video/", "the video")?;
    let Some(kind) = video_kind(&bytes) else {
        return Err(Problem::invalid(
            "messages",
            "the video is no MP4, MOV, WebM, Matroska, AVI, GIF or WebP",
        )
        .code("invalid_clip"));
    };
    let folder = private_folder()?;
    let file = write(&folder, &format!("clip.{kind}"), &bytes)?;
    Ok(Placed { video: VideoRef::File(file), files: Some(folder) })
}

/// The bytes of a `data:` URL of type `family`.
fn decode(url: &str, family: &str, at: &str) -> Result<Vec<u8>, Problem> {
    let bad = |message: String| Problem::invalid("messages", message);
    let Some(rest) = url.strip_prefix("data:") else {
        return Err(not_fetched(url, at));
    };
    let Some((head, data)) = rest.split_once(',') else {
        return Err(bad(format!("{at}: a `data:` URL has a comma before its data")));
    };
    let head = head.to_ascii_lowercase();
    // A GIF or WebP may come as a video, too.
    let fits = head.starts_with(family) || (family == "video/" && head.starts_with("image/"));
    if !fits {
        let got = quoted(&head);
        return Err(bad(format!("{at}: expected `data:{family}...;base64,...`, got {got}")));
    }
    if !head.ends_with(";base64") {
        return Err(bad(format!("{at}: only `;base64` data is read")));
    }
    BASE64.decode(data).map_err(|error| bad(format!("{at}: its base64 is broken: {error}")))
}

fn not_fetched(url: &str, at: &str) -> Problem {
    let message = format!(
        "{at}: {} is no `data:` URL, and this server fetches nothing; send the bytes as \
         `data:...;base64,...`",
        quoted(url)
    );
    Problem::invalid("messages", message).code("not_fetched")
}

/// A path of a client's, as one inside of the media root.
fn inside(url: &str, root: Option<&Path>) -> Result<VideoRef, Problem> {
    let path = match url.split_once("://") {
        None => url.to_owned(),
        Some(("file", rest)) => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            percent_decoded(path)
                .filter(|path| path.starts_with('/'))
                .ok_or_else(|| outside(url))?
        }
        Some(_) => return Err(not_fetched(url, "the video")),
    };
    let Some(root) = root else {
        let message = "this server opens no files: it runs without `--media-root`; send the video \
                       as `data:video/mp4;base64,...`";
        return Err(Problem::invalid("messages", message).code("no_media_root"));
    };
    let found = canonical(&root.join(path), root).ok_or_else(|| outside(url))?;
    if found.is_file() {
        return Ok(VideoRef::File(found));
    }
    if !found.is_dir() {
        return Err(outside(url));
    }
    // Each frame by itself: one of them may be a link that leads out.
    let frames = list_folder(&found).map_err(|error| Problem::from(&error))?;
    let frames: Option<Vec<PathBuf>> =
        frames.iter().map(|frame| canonical(frame, root).filter(|file| file.is_file())).collect();
    frames.map(VideoRef::Frames).ok_or_else(|| outside(url))
}

/// Where a path leads, links followed; `None` where that is nothing or outside of `root`.
fn canonical(path: &Path, root: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok().filter(|found| found.starts_with(root))
}

/// The same words whether there is such a file or not: what lies outside is nobody's business.
fn outside(url: &str) -> Problem {
    let message = format!("the media root holds no clip {}", quoted(url));
    Problem::invalid("messages", message).code("no_such_clip")
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// A folder that only this user may look into.
fn private_folder() -> Result<TempDir, Problem> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("oracle-rlaif-serve-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().map_err(|error| full(&error))
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> Result<PathBuf, Problem> {
    let path = folder.path().join(name);
    fs::write(&path, bytes).map_err(|error| full(&error))?;
    Ok(path)
}

fn full(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "an upload cannot be kept in the temporary folder");
    Problem::server("the upload could not be kept on the server's disk")
}

#[cfg(test)]
mod tests;
