//! Preprocessing of checkpoints in the original LLaVA layout, which bring no
//! `preprocessor_config.json`: the vision tower's own, after padding to a square where
//! `image_aspect_ratio` says so (`process_images` of haotian-liu/LLaVA 1.1.3).

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::preprocess::{PreprocessError, Preprocessor};
use crate::settings::{CONFIG_FILE, read};

/// Settings for the tower that `config.json` in `folder` names; `None` where it names none, or one
/// that is neither known nor has a folder within the checkpoint's or beside it.
pub(crate) fn preprocessor(folder: &Path) -> Result<Option<Preprocessor>, PreprocessError> {
    let path = folder.join("config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let config = read(&path)?;
    let Some(Value::String(tower)) = config.get("mm_vision_tower") else { return Ok(None) };
    let base = match (own_file(folder, tower), tower.as_str()) {
        (Some(file), _) => Preprocessor::from_file(&file)?,
        (None, "openai/clip-vit-large-patch14-336") => Preprocessor::clip(336),
        (None, "openai/clip-vit-large-patch14") => Preprocessor::clip(224),
        (None, _) => return Ok(None),
    };
    let pad = match config.get("image_aspect_ratio") {
        None | Some(Value::Null) => false,
        Some(Value::String(ratio)) if ratio == "pad" => true,
        Some(Value::String(ratio)) if ratio == "square" => false,
        Some(other) => {
            return Err(PreprocessError::Field {
                path,
                field: "image_aspect_ratio",
                expected: "`pad`, `square` or absent".to_owned(),
                got: other.to_string(),
            });
        }
    };
    Ok(Some(Preprocessor { pad_to_square: pad, ..base }))
}

/// The tower's `preprocessor_config.json`, in a folder of the last part of its name.
fn own_file(folder: &Path, tower: &str) -> Option<PathBuf> {
    let part = tower.trim_end_matches('/').rsplit(['/', '\\']).next()?;
    if part.is_empty() || part.starts_with('.') || part.contains([':', '\0']) {
        return None;
    }
    let beside = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    [folder, beside.unwrap_or(Path::new("."))]
        .into_iter()
        .map(|place| place.join(part).join(CONFIG_FILE))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &str) -> Result<Option<Preprocessor>, PreprocessError> {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("config.json"), config).expect("a file");
        preprocessor(dir.path())
    }

    #[test]
    fn the_published_checkpoints_pad_and_resize_as_vlm_rlaif_does() {
        let tower = r#""mm_vision_tower": "openai/clip-vit-large-patch14-336""#;
        let padded = of(&format!(r#"{{{tower}, "image_aspect_ratio": "pad"}}"#)).unwrap();
        assert_eq!(padded, Some(Preprocessor::vlm_rlaif()));
        assert_eq!(of(&format!("{{{tower}}}")).unwrap(), Some(Preprocessor::clip(336)));
        let error = of(&format!(r#"{{{tower}, "image_aspect_ratio": "anyres"}}"#)).unwrap_err();
        assert!(error.to_string().contains("`image_aspect_ratio` must be"), "{error}");
        assert_eq!(of(r#"{"mm_vision_tower": "google/siglip"}"#).unwrap(), None);
        assert_eq!(of(r#"{"mm_vision_tower": "../.."}"#).unwrap(), None);
        assert_eq!(of(r#"{"model_type": "llava"}"#).unwrap(), None);
    }

    #[test]
    fn a_towers_own_folder_says_how_its_frames_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{"mm_vision_tower": "a/tiny", "image_aspect_ratio": "pad"}"#;
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        std::fs::create_dir(dir.path().join("tiny")).unwrap();
        let steps =
            r#"{"image_processor_type": "CLIPImageProcessor", "size": 21, "crop_size": 21}"#;
        std::fs::write(dir.path().join("tiny").join(CONFIG_FILE), steps).unwrap();
        let found = Preprocessor::from_folder(dir.path()).unwrap();
        assert!(found.pad_to_square);
        assert_eq!(found.crop_size, (21, 21));
    }
}
