//! `preprocessor_config.json` of Hugging Face checkpoints, in and out.
//!
//! Read: the CLIP family (`CLIPImageProcessor`, its older name `CLIPFeatureExtractor`,
//! `LlavaImageProcessor`, each with `Fast` or `Pil` after it), with the defaults those classes
//! have for keys that are absent. Other image processors have other defaults and steps and are
//! refused by name.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::{
    original_llava,
    preprocess::{PreprocessError, Preprocessor, Size},
    settings::{CONFIG_FILE, Fields, PROCESSOR_FILE, both_sides, read, side, write},
};

const FAMILY: [&str; 3] = ["CLIPImageProcessor", "CLIPFeatureExtractor", "LlavaImageProcessor"];
/// Keys that [`Preprocessor`]'s fields stand for.
const KNOWN: [&str; 11] = [
    "do_convert_rgb",
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
];
/// Keys that stand for [`Preprocessor::pad_to_square`] where it is set, and else stay as they are.
const PADDING: [&str; 2] = ["image_aspect_ratio", "do_pad"];

impl Preprocessor {
    /// Reads the settings from a checkpoint folder: `preprocessor_config.json`, else the
    /// `image_processor` of `processor_config.json`, else what the original LLaVA code does on
    /// the vision tower that `config.json` names.
    ///
    /// # Errors
    ///
    /// [`PreprocessError`] names the folder or file and the field.
    pub fn from_folder(folder: &Path) -> Result<Self, PreprocessError> {
        let whole = folder.join(PROCESSOR_FILE);
        let processor = whole.exists().then(|| read(&whole)).transpose()?;
        let inner = processor.as_ref().and_then(|map| map.get("image_processor")?.as_object());
        let path = folder.join(CONFIG_FILE);
        if path.exists() {
            return Ok(Preprocessor { processor, ..Preprocessor::from_file(&path)? });
        }
        if let Some(inner) = inner.cloned() {
            return Ok(Preprocessor { processor, ..Preprocessor::from_map(inner, &whole)? });
        }
        if let Some(preprocessor) = original_llava::preprocessor(folder)? {
            return Ok(Preprocessor { processor, ..preprocessor });
        }
        Err(PreprocessError::NoConfig { path: folder.to_owned() })
    }

    /// Reads the settings from a JSON file.
    ///
    /// # Errors
    ///
    /// [`PreprocessError`] names the file and the field.
    pub fn from_file(path: &Path) -> Result<Self, PreprocessError> {
        Preprocessor::from_map(read(path)?, path)
    }

    /// Reads the settings from a JSON object; `origin` is the file that errors name.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::Field`] names the field, what would do and what stands there.
    pub fn from_map(map: Map<String, Value>, origin: &Path) -> Result<Self, PreprocessError> {
        let fields = Fields { map: &map, path: origin };
        fields.check_family()?;
        let default = Preprocessor::default();
        let ratio_pads = match fields.get("image_aspect_ratio") {
            None => false,
            Some(Value::String(ratio)) if ratio == "pad" => true,
            Some(Value::String(ratio)) if ratio == "square" => false,
            Some(other) => {
                return Err(fields.error("image_aspect_ratio", "`pad`, `square` or absent", other));
            }
        };
        let pad_to_square = fields.flag("do_pad", false)? || ratio_pads;
        let mut preprocessor = Preprocessor {
            do_convert_rgb: fields.flag("do_convert_rgb", default.do_convert_rgb)?,
            pad_to_square,
            do_resize: fields.flag("do_resize", default.do_resize)?,
            size: fields.size(default.size)?,
            resample: fields.filter(default.resample)?,
            do_center_crop: fields.flag("do_center_crop", default.do_center_crop)?,
            crop_size: fields.crop_size(default.crop_size)?,
            do_rescale: fields.flag("do_rescale", default.do_rescale)?,
            rescale_factor: fields.number("rescale_factor", default.rescale_factor)?,
            do_normalize: fields.flag("do_normalize", default.do_normalize)?,
            image_mean: fields.channels("image_mean", default.image_mean)?,
            image_std: fields.channels("image_std", default.image_std)?,
            other: Map::new(),
            processor: None,
        };
        if preprocessor.do_normalize && preprocessor.image_std.contains(&0.0) {
            let got = map.get("image_std").unwrap_or(&Value::Null);
            return Err(fields.error("image_std", "without a 0", got));
        }
        preprocessor.other = map;
        for key in KNOWN {
            preprocessor.other.remove(key);
        }
        if pad_to_square {
            for key in PADDING {
                preprocessor.other.remove(key);
            }
        }
        Ok(preprocessor)
    }

    /// The settings as the JSON object that `transformers` reads: the known keys written out in
    /// full, the others as they were read.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        let mut map = self.other.clone();
        if !["image_processor_type", "feature_extractor_type"].iter().any(|k| map.contains_key(*k))
        {
            // Only Llava's processor pads by itself.
            let name = if self.pad_to_square { FAMILY[2] } else { FAMILY[0] };
            map.insert("image_processor_type".to_owned(), json!(name));
        }
        map.extend(self.known_fields());
        map
    }

    pub(crate) fn known_fields(&self) -> Map<String, Value> {
        let size = match self.size {
            Size::ShortestEdge(edge) => json!({ "shortest_edge": edge }),
            Size::Exact { height, width } => json!({ "height": height, "width": width }),
        };
        let (height, width) = self.crop_size;
        let mut map = Map::new();
        for (key, value) in [
            ("do_convert_rgb", json!(self.do_convert_rgb)),
            ("do_resize", json!(self.do_resize)),
            ("size", size),
            ("resample", json!(u8::from(self.resample))),
            ("do_center_crop", json!(self.do_center_crop)),
            ("crop_size", json!({ "height": height, "width": width })),
            ("do_rescale", json!(self.do_rescale)),
            ("rescale_factor", json!(self.rescale_factor)),
            ("do_normalize", json!(self.do_normalize)),
            ("image_mean", json!(self.image_mean)),
            ("image_std", json!(self.image_std)),
        ] {
            map.insert(key.to_owned(), value);
        }
        if self.pad_to_square {
            // LLaVA reads the first, transformers' LlavaImageProcessor the second.
            map.insert("image_aspect_ratio".to_owned(), json!("pad"));
            map.insert("do_pad".to_owned(), json!(true));
        }
        map
    }

    /// Writes `preprocessor_config.json` into a checkpoint folder, and `processor_config.json` where
    /// the settings came with one: temporary files first, then renamed, so that a reader never sees
    /// half of one.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::Io`] names the file.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, PreprocessError> {
        let path = folder.join(CONFIG_FILE);
        write(&path, &self.to_map())?;
        if let Some(mut processor) = self.processor.clone() {
            if let Some(inner) = processor.get_mut("image_processor") {
                *inner = Value::Object(self.to_map());
            }
            write(&folder.join(PROCESSOR_FILE), &processor)?;
        }
        Ok(path)
    }
}

impl Fields<'_> {
    fn check_family(&self) -> Result<(), PreprocessError> {
        for field in ["image_processor_type", "feature_extractor_type"] {
            if let Some(value) = self.get(field) {
                let name = value.as_str().unwrap_or_default();
                let class = name.trim_end_matches("Fast").trim_end_matches("Pil");
                if !FAMILY.contains(&class) {
                    return Err(self.error(field, "`CLIPImageProcessor` or its kin", value));
                }
            }
        }
        Ok(())
    }

    fn size(&self, default: Size) -> Result<Size, PreprocessError> {
        let Some(value) = self.get("size") else { return Ok(default) };
        let size = match value {
            Value::Object(map) => match (map.get("shortest_edge"), map.len()) {
                (Some(edge), 1) => side(edge).map(Size::ShortestEdge),
                _ => both_sides(map).map(|(height, width)| Size::Exact { height, width }),
            },
            other => side(other).map(Size::ShortestEdge),
        };
        size.ok_or_else(|| {
            let expected = "a number, {\"shortest_edge\": n} or {\"height\": h, \"width\": w}";
            self.error("size", expected, value)
        })
    }

    fn crop_size(&self, default: (u32, u32)) -> Result<(u32, u32), PreprocessError> {
        let Some(value) = self.get("crop_size") else { return Ok(default) };
        let size = match value {
            Value::Object(map) => both_sides(map),
            other => side(other).map(|side| (side, side)),
        };
        size.ok_or_else(|| {
            self.error("crop_size", "a number or {\"height\": h, \"width\": w}", value)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(value: Value) -> Result<Preprocessor, PreprocessError> {
        let Value::Object(map) = value else { panic!("the test gives an object") };
        Preprocessor::from_map(map, Path::new("preprocessor_config.json"))
    }

    /// The settings that `llava-hf/llava-1.5-7b-hf` carries.
    fn llava() -> Value {
        json!({
            "crop_size": { "height": 336, "width": 336 },
            "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true,
            "do_rescale": true, "do_resize": true,
            "image_mean": [0.481_454_66, 0.457_827_5, 0.408_210_73],
            "image_processor_type": "CLIPImageProcessor",
            "image_std": [0.268_629_54, 0.261_302_58, 0.275_777_11],
            "processor_class": "LlavaProcessor",
            "resample": 3, "rescale_factor": 0.003_921_568_627_450_98,
            "size": { "shortest_edge": 336 }
        })
    }

    #[test]
    fn reads_llavas_file_and_writes_it_back() {
        let preprocessor = parse(llava()).unwrap();
        assert_eq!(
            Preprocessor { other: Map::new(), ..preprocessor.clone() },
            Preprocessor::clip(336)
        );
        assert_eq!(Value::Object(preprocessor.to_map()), llava());
    }

    #[test]
    fn old_files_with_bare_numbers_read_alike() {
        let old = parse(json!({
            "feature_extractor_type": "CLIPFeatureExtractor", "size": 336, "crop_size": 336,
        }));
        let old = old.unwrap();
        assert_eq!(Preprocessor { other: Map::new(), ..old }, Preprocessor::clip(336));
        let exact = parse(json!({ "size": { "height": 4, "width": 6 } })).unwrap();
        assert_eq!(exact.size, Size::Exact { height: 4, width: 6 });
    }

    #[test]
    fn padding_is_read_from_either_key_and_written_to_both() {
        for value in [json!({ "image_aspect_ratio": "pad" }), json!({ "do_pad": true })] {
            let preprocessor = parse(value).unwrap();
            assert!(preprocessor.pad_to_square);
            let map = preprocessor.to_map();
            assert_eq!(map["image_aspect_ratio"], "pad");
            assert_eq!(map["do_pad"], true);
            assert_eq!(map["image_processor_type"], "LlavaImageProcessor");
            assert!(parse(Value::Object(map)).unwrap().pad_to_square);
        }
        assert!(!parse(json!({ "image_aspect_ratio": null })).unwrap().pad_to_square);
    }

    #[test]
    fn a_folder_round_trips_with_unknown_keys() {
        let folder = tempfile::tempdir().unwrap();
        let mut preprocessor = Preprocessor::vlm_rlaif();
        preprocessor.other.insert("patch_size".to_owned(), json!(14));
        preprocessor.save(folder.path()).unwrap();
        let read = Preprocessor::from_folder(folder.path()).unwrap();
        assert_eq!(read.other["patch_size"], 14);
        assert_eq!(read.to_map(), preprocessor.to_map());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    }

    #[test]
    fn the_processor_file_of_transformers_5_reads_too() {
        let folder = tempfile::tempdir().unwrap();
        let error = Preprocessor::from_folder(folder.path()).unwrap_err();
        assert!(matches!(error, PreprocessError::NoConfig { .. }));
        let text = json!({ "image_processor": llava(), "patch_size": 14 }).to_string();
        fs::write(folder.path().join(PROCESSOR_FILE), text).unwrap();
        let read = Preprocessor::from_folder(folder.path()).unwrap();
        assert_eq!(read.size, Size::ShortestEdge(336));
    }

    #[test]
    fn bad_values_are_named() {
        for (value, field) in [
            (json!({ "image_processor_type": "Qwen2VLImageProcessor" }), "image_processor_type"),
            (json!({ "size": { "shortest_edge": 224, "longest_edge": 9 } }), "size"),
            (json!({ "size": 0 }), "size"),
            (json!({ "crop_size": { "height": 4 } }), "crop_size"),
            (json!({ "resample": 6 }), "resample"),
            (json!({ "do_resize": "yes" }), "do_resize"),
            (json!({ "image_mean": [0.5, 0.5] }), "image_mean"),
            (json!({ "image_std": [0.5, 0.0, 0.5] }), "image_std"),
            (json!({ "image_aspect_ratio": "anyres" }), "image_aspect_ratio"),
        ] {
            let message = parse(value).unwrap_err().to_string();
            assert!(message.contains(&format!("`{field}`")), "{message}");
            assert!(message.contains("preprocessor_config.json"), "{message}");
        }
    }
}
