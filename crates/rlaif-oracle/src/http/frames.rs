//! The clip as data URLs, each clip made once.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use rlaif_data::VideoRef;
use serde::{Deserialize, Serialize};

use super::config::wrong;
use crate::{ConfigError, error::excerpt};

/// Encoded clips kept, in bytes.
const KEPT_BYTES: u64 = 128 << 20;
/// Clips that are expected among them.
const KEPT_CLIPS: usize = 64;
/// Largest encoded clip, in bytes.
const MAX_CLIP: usize = 64 << 20;

/// How a clip is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FramesConfig {
    /// Frames, evenly over the clip, in [0, 256]; 0 shows none and sends text alone. Default 8.
    pub count: usize,
    /// Longest side in pixels, in [16, 4096]; larger frames are made smaller. Default 512.
    pub max_side: u32,
    /// JPEG quality, in [1, 100]. Default 85.
    pub quality: u8,
    /// How closely the server looks at a picture, where it knows levels. Default: left to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

impl Default for FramesConfig {
    fn default() -> Self {
        FramesConfig { count: 8, max_side: 512, quality: 85, detail: None }
    }
}

impl FramesConfig {
    /// Checks every range.
    ///
    /// # Errors
    ///
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.count > 256 {
            return Err(wrong("count", "it must be in [0, 256]"));
        }
        if !(16..=4096).contains(&self.max_side) {
            return Err(wrong("max_side", "it must be in [16, 4096]"));
        }
        if !(1..=100).contains(&self.quality) {
            return Err(wrong("quality", "it must be in [1, 100]"));
        }
        Ok(())
    }
}

/// How closely the server looks at a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Small and cheap.
    Low,
    /// In full.
    High,
    /// As the server likes.
    Auto,
}

/// One frame of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// A JPEG file.
    pub jpeg: Vec<u8>,
    /// Its time in the clip, in seconds.
    pub seconds: f64,
}

/// Whoever decodes clips: the frames of one in temporal order, or why there are none, in words.
/// Called from several threads at once, for one clip by one of them.
pub type Pictures =
    Arc<dyn Fn(&VideoRef, &FramesConfig) -> Result<Vec<Picture>, String> + Send + Sync>;

/// For text alone ([`FramesConfig::count`] 0), and where nothing can be decoded.
#[must_use]
pub fn no_pictures() -> Pictures {
    Arc::new(
        |_, _| Err("nothing here decodes clips: set `count = 0` to send text alone".to_owned()),
    )
}

/// The data URLs of a clip, in temporal order.
pub(super) type Urls = Arc<[String]>;

#[derive(Clone)]
struct ByBytes;

impl Weighter<VideoRef, Urls> for ByBytes {
    fn weight(&self, _: &VideoRef, urls: &Urls) -> u64 {
        // Never 0: such an item would never leave.
        urls.iter().map(|url| url.len() as u64).sum::<u64>() + 1
    }
}

/// Makes data URLs and keeps the latest.
pub(super) struct Frames {
    config: FramesConfig,
    pictures: Pictures,
    made: Cache<VideoRef, Urls, ByBytes>,
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Frames {
    pub(super) fn new(config: &FramesConfig, pictures: Pictures) -> Result<Self, ConfigError> {
        Frames::within(KEPT_BYTES, config, pictures)
    }

    /// Keeps so many bytes.
    fn within(bytes: u64, config: &FramesConfig, pictures: Pictures) -> Result<Self, ConfigError> {
        config.check()?;
        // One shard, for a clip may fill much of the space.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(KEPT_CLIPS)
            .weight_capacity(bytes)
            .build()
            .map_err(|_| wrong("count", "no cache of clips can be made"))?;
        let hasher = DefaultHashBuilder::default();
        let made = Cache::with_options(options, ByBytes, hasher, DefaultLifecycle::default());
        Ok(Frames { config: config.clone(), pictures, made })
    }

    pub(super) fn config(&self) -> &FramesConfig {
        &self.config
    }

    /// The clip; empty where no frames are shown. Threads that ask for a clip that is being made
    /// wait for it, and a failure is not kept.
    pub(super) fn urls(&self, video: &VideoRef) -> Result<Urls, String> {
        if self.config.count == 0 {
            return Ok(Arc::from([]));
        }
        self.made.get_or_insert_with(video, || self.make(video))
    }

    fn make(&self, video: &VideoRef) -> Result<Urls, String> {
        let pictures = (self.pictures)(video, &self.config).map_err(|problem| excerpt(&problem))?;
        if pictures.is_empty() || pictures.len() > self.config.count {
            return Err(format!("{} frames came, of {}", pictures.len(), self.config.count));
        }
        let bytes: usize = pictures.iter().map(|picture| picture.jpeg.len()).sum();
        if bytes > MAX_CLIP {
            return Err(format!(
                "its frames take {bytes} bytes, and {MAX_CLIP} can be sent: lower `count`, \
                 `max_side` or `quality`"
            ));
        }
        let url = |picture: Picture| {
            let mut url = "data:image/jpeg;base64,".to_owned();
            STANDARD.encode_string(&picture.jpeg, &mut url);
            url
        };
        Ok(pictures.into_iter().map(url).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    fn clip(name: &str) -> VideoRef {
        VideoRef::File(name.into())
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (text, expected) in [
            (r#"{"count": 257}"#, "count"),
            (r#"{"max_side": 8}"#, "max_side"),
            (r#"{"quality": 0}"#, "quality"),
        ] {
            let config: FramesConfig = serde_json::from_str(text).unwrap();
            let error = config.check().unwrap_err();
            assert!(
                matches!(error, ConfigError::Field { field, .. } if field == expected),
                "{error}"
            );
        }
        assert!(FramesConfig::default().check().is_ok());
        let detailed: FramesConfig = serde_json::from_str(r#"{"detail": "low"}"#).unwrap();
        assert_eq!(detailed.detail, Some(Detail::Low));
        assert!(serde_json::from_str::<FramesConfig>(r#"{"detail": "lowest"}"#).is_err());
    }

    #[test]
    fn twenty_threads_that_ask_for_a_clip_make_it_once() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let pictures: Pictures = Arc::new(move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(50));
            Ok(vec![Picture { jpeg: b"jpeg".to_vec(), seconds: 0.0 }])
        });
        let frames = Frames::new(&FramesConfig::default(), pictures).unwrap();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let urls = frames.urls(&clip("a.mp4")).unwrap();
                    assert_eq!(urls[..], ["data:image/jpeg;base64,anBlZw=="]);
                });
            }
        });
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        frames.urls(&clip("b.mp4")).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_failure_is_told_tamely_and_tried_again() {
        let calls = AtomicUsize::new(0);
        let pictures: Pictures =
            Arc::new(move |_, config| match calls.fetch_add(1, Ordering::SeqCst) {
                0 => Err("red\u{1b}[31m".to_owned()),
                1 => Ok(Vec::new()),
                _ => Ok(vec![Picture { jpeg: Vec::new(), seconds: 0.0 }; config.count]),
            });
        let frames = Frames::new(&FramesConfig::default(), pictures).unwrap();
        assert_eq!(frames.urls(&clip("a")).unwrap_err(), "red\\u{1b}[31m");
        assert_eq!(frames.urls(&clip("a")).unwrap_err(), "0 frames came, of 8");
        assert_eq!(frames.urls(&clip("a")).unwrap().len(), 8);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let pictures: Pictures =
            Arc::new(|_, _| Ok(vec![Picture { jpeg: vec![0; 12 << 10], seconds: 0.0 }]));
        let frames = Frames::within(128 << 10, &FramesConfig::default(), pictures).unwrap();
        for n in 0..20 {
            frames.urls(&clip(&n.to_string())).unwrap();
            assert!(frames.made.weight() <= 128 << 10);
        }
        // 16 KiB each as base64.
        assert!(frames.made.len() >= 4, "{}", frames.made.len());
    }

    #[test]
    fn no_frames_ask_nobody() {
        let config = FramesConfig { count: 0, ..FramesConfig::default() };
        let frames = Frames::new(&config, no_pictures()).unwrap();
        assert!(frames.urls(&clip("a")).unwrap().is_empty());
    }
}
