//! Addresses: the text that names one clip.
//!
//! ```text
//! test/3                       clip 3 of the test split, default settings
//! test/3@7                     the same place in the world of seed 7
//! test/3@7,frames=16,size=64   with other settings
//! test/3@max_objects=1         with a single object
//! ```

use crate::{Split, WorldConfig, WorldError};

/// The address of clip `index`: the shortest text that [`parse_address`] reads back.
///
/// ```
/// use rlaif_world::{Split, WorldConfig, address, parse_address};
///
/// let config = WorldConfig { seed: 7, ..WorldConfig::default() };
/// assert_eq!(address(&config, Split::Test, 3), "test/3@7");
/// assert_eq!(parse_address("test/3@7")?, (config, Split::Test, 3));
/// # Ok::<(), rlaif_world::WorldError>(())
/// ```
#[must_use]
pub fn address(config: &WorldConfig, split: Split, index: u64) -> String {
    let usual = WorldConfig::default();
    let mut settings = Vec::new();
    if config.seed != usual.seed {
        settings.push(config.seed.to_string());
    }
    if config.frames != usual.frames {
        settings.push(format!("frames={}", config.frames));
    }
    if config.size != usual.size {
        settings.push(format!("size={}", config.size));
    }
    if config.max_objects != usual.max_objects {
        settings.push(format!("max_objects={}", config.max_objects));
    }
    let at = if settings.is_empty() { "" } else { "@" };
    format!("{split}/{index}{at}{}", settings.join(","))
}

/// Reads an address.
///
/// # Errors
///
/// [`WorldError::Address`] when the text is none, [`WorldError::Config`] when a setting in it is
/// out of its range.
pub fn parse_address(address: &str) -> Result<(WorldConfig, Split, u64), WorldError> {
    let wrong = |why: String| WorldError::Address { address: address.to_owned(), why };
    let (place, settings) = match address.split_once('@') {
        Some((place, settings)) => (place, Some(settings)),
        None => (address, None),
    };
    let Some((split, index)) = place.split_once('/') else {
        return Err(wrong("there is no `/` between split and index".to_owned()));
    };
    let split: Split = split.parse().map_err(|error| wrong(format!("{error}")))?;
    let index = number(index).ok_or_else(|| wrong(format!("`{index}` is no index")))?;
    let mut config = WorldConfig::default();
    for setting in settings.into_iter().flat_map(|settings| settings.split(',')) {
        let (field, value) = setting.split_once('=').unwrap_or(("seed", setting));
        let value =
            number(value).ok_or_else(|| wrong(format!("`{value}` is no value of `{field}`")))?;
        // What does not fit becomes the largest number there is, which is out of range, too.
        match field {
            "seed" => config.seed = value,
            "frames" => config.frames = usize::try_from(value).unwrap_or(usize::MAX),
            "size" => config.size = u32::try_from(value).unwrap_or(u32::MAX),
            "max_objects" => config.max_objects = usize::try_from(value).unwrap_or(usize::MAX),
            _ => {
                let known = "`seed`, `frames`, `size` and `max_objects`";
                return Err(wrong(format!("`{field}` is no setting; there are {known}")));
            }
        }
    }
    config.validate()?;
    Ok((config, split, index))
}

/// Digits alone: `+3` and ` 3` would be second names of the same clip.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_address_is_named() {
        for (text, why) in [
            ("test", "no `/`"),
            ("dev/3", "unknown split `dev`"),
            ("test/x", "`x` is no index"),
            ("test/-1", "`-1` is no index"),
            ("test/3@", "`` is no value of `seed`"),
            ("test/3@1,fps=2", "`fps` is no setting"),
        ] {
            let error = parse_address(text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
        assert!(matches!(parse_address("test/3@frames=1"), Err(WorldError::Config { .. })));
    }

    proptest! {
        #[test]
        fn addresses_read_back(
            seed in 0..3_u64, frames in 4..20_usize, size in 16..40_u32, index: u64,
            max_objects in 1..4_usize, split in proptest::sample::select(&Split::ALL[..]),
        ) {
            let config = WorldConfig { seed, frames, size, max_objects };
            let text = address(&config, split, index);
            prop_assert_eq!(parse_address(&text).unwrap(), (config, split, index));
        }

        #[test]
        fn any_text_is_an_address_or_an_error(text in ".{0,20}") {
            let _ = parse_address(&text);
        }
    }
}
