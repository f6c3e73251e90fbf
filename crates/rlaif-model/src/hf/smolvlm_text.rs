//! What SmolVLM2's processor writes in the place of a video.

use std::fmt::Write as _;

use rlaif_data::VideoMetadata;

/// The introduction, and for each frame its time and `each` visual tokens.
///
/// As `transformers`' `SmolVLMProcessor`: times and the length are cut off to whole seconds, the
/// number of frames is in words.
#[must_use]
pub fn smolvlm_text(video: &VideoMetadata, each: usize) -> String {
    let seconds = whole(video.duration_seconds);
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        n => format!("{n} days, "),
    };
    let mut text = format!(
        "You are provided the following series of {} frames from a {days}{hours}:{:02}:{:02} \
         [H:MM:SS] video.\n",
        number_in_words(video.indices.len()),
        seconds / 60 % 60,
        seconds % 60
    );
    let image = format!(
        "<fake_token_around_image><global-img>{}<fake_token_around_image>",
        "<image>".repeat(each)
    );
    for time in video.timestamps() {
        let time = whole(time);
        let (minutes, seconds) = (time / 60, time % 60);
        // Writing to a string cannot fail.
        let _ = write!(text, "\nFrame from {minutes:02}:{seconds:02}:{image}");
    }
    text.push_str("\n\n");
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cut off to whole seconds, and times are not negative"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

/// A number below a million in English words, as the Python package `num2words` writes it.
fn number_in_words(n: usize) -> String {
    const ONES: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 10] =
        ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    match n {
        0..20 => ONES[n].to_owned(),
        20..100 if n.is_multiple_of(10) => TENS[n / 10].to_owned(),
        20..100 => format!("{}-{}", TENS[n / 10], ONES[n % 10]),
        100..1000 => {
            let hundreds = format!("{} hundred", ONES[n / 100]);
            match n % 100 {
                0 => hundreds,
                rest => format!("{hundreds} and {}", number_in_words(rest)),
            }
        }
        _ => {
            let thousands = format!("{} thousand", number_in_words(n / 1000));
            match n % 1000 {
                0 => thousands,
                rest @ 1..100 => format!("{thousands} and {}", number_in_words(rest)),
                rest => format!("{thousands}, {}", number_in_words(rest)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of 1 to 4096 against `num2words`, by a checksum, and some by the word.
    #[test]
    fn numbers_are_those_of_num2words() {
        let text = std::fs::read_to_string(crate::hf::testing::fixture("smolvlm.json")).unwrap();
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (number, words) in golden["words"].as_object().unwrap() {
            assert_eq!(number_in_words(number.parse().unwrap()), words.as_str().unwrap());
        }
        let all: Vec<String> = (1..=4096).map(number_in_words).collect();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in all.join("\n").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        assert_eq!(format!("{hash:016x}"), golden["words_fnv1a"].as_str().unwrap());
    }

    #[test]
    fn long_videos_have_hours_and_days() {
        let text = |seconds: usize| smolvlm_text(&VideoMetadata::new(seconds, 1.0, vec![0]), 1);
        assert!(text(3_725).contains(" one frames from a 1:02:05 [H"));
        assert!(text(86_400 + 59).contains(" a 1 day, 0:00:59 [H"));
        assert!(text(200_000).contains(" a 2 days, 7:33:20 [H"));
    }
}
