//! Writes a report about a simulated run, to look at its layout: `sample_report.html` in the
//! current folder, or the path given. No model is involved; answers, curves and frames are drawn
//! from a random number generator.

use std::error::Error;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_data::{Choices, Clip, Frame};
use rlaif_eval::html::{CardAnswer, ClipCard, CurveSection};
use rlaif_eval::{
    Bootstrap, EvalReport, Gains, HtmlReport, ItemHead, ItemResult, MetricsLog, RunFacts, Summary,
    render_summary, summary::Stages,
};

const CATEGORIES: [&str; 11] = [
    "temporal_perception",
    "spatial_perception",
    "attribute_perception",
    "action_recognition",
    "object_recognition",
    "counting",
    "temporal_reasoning",
    "spatial_reasoning",
    "action_reasoning",
    "object_reasoning",
    "information_synopsis",
];
const COLOURS: [&str; 4] = ["red", "blue", "green", "yellow"];

#[expect(clippy::print_stdout, reason = "an example talks")]
fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "sample_report.html".to_owned());
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let bootstrap = Bootstrap::default();
    let before = answers(&mut rng, 0.36, 0.3)?;
    let after = answers(&mut rng, 0.58, 0.45)?;
    let report =
        |name: &str, items| EvalReport::new(name, format!("out/{name}"), items, 3, &bootstrap);
    let summary = Summary {
        facts: RunFacts { wall_seconds: 254.3, peak_rss_bytes: 1_310_000_000, seed: 42 },
        stages: Stages {
            sft: report("sft", &before)?,
            oracle_rlaif: report("oracle_rlaif", &after)?,
        },
        gain: Gains::between(("sft", &before), ("oracle_rlaif", &after), &bootstrap)?,
    };
    println!("{}", render_summary(&summary));

    let mut page = HtmlReport::of_summary("Oracle-RLAIF quickstart (simulated)", &summary);
    page.facts.push(("recipe".to_owned(), "simulated.toml".to_owned()));
    page.facts.push(("device".to_owned(), "none".to_owned()));
    let curves = [
        ("supervised fine-tuning", "\"mean_token_accuracy\"", 300),
        ("Oracle-RLAIF", "\"rank/ndcg\"", 120),
    ];
    for (title, metric, steps) in curves {
        page.curves.push(CurveSection::of_run(title, log(&mut rng, metric, steps)?));
    }
    page.held_out = (0..4).map(|i| held_out(&mut rng, i)).collect();
    page.training_groups = (0..4).map(|i| group(&mut rng, i)).collect();
    std::fs::write(&path, page.render()?)?;
    println!("wrote {path}");
    Ok(())
}

/// 440 questions, two on each of 220 videos, right with probability `p` and a bit more by category.
fn answers(rng: &mut ChaCha8Rng, p: f64, truth: f64) -> Result<Vec<ItemResult>, Box<dyn Error>> {
    let mut items = Vec::new();
    for i in 0..440 {
        let place = i % CATEGORIES.len();
        let head = |kind: &str| ItemHead {
            id: format!("{kind}{i}"),
            category: CATEGORIES[place].to_owned(),
            question: "What colour is the ball?".to_owned(),
            video: format!("world:test/{}", i / 2),
        };
        let right = rng.random_bool(p + 0.02 * place as f64 * (p - 0.3));
        let logprobs = (0..4).map(|o| if (o == 0) == right { -0.5 } else { -2.0 - f64::from(o) });
        let text = if rng.random_bool(0.9) { ["B", "A"][usize::from(right)] } else { "maybe" };
        let choices = Choices { options: COLOURS.map(str::to_owned).to_vec(), answer: 0 };
        items.push(ItemResult::multiple_choice(
            head("choice"),
            choices,
            Some(logprobs.collect()),
            Some(text.to_owned()),
        )?);
        if i % 2 == 0 {
            let text = if rng.random_bool(p) { "a red ball" } else { "a blue ball moves" };
            let item =
                ItemResult::open_ended(head("open"), text.to_owned(), Some("red ball".to_owned()));
            items.push(
                item.with_truth_score((truth + rng.random_range(-0.3..0.3_f64)).clamp(0.0, 1.0))?,
            );
        }
    }
    Ok(items)
}

fn log(rng: &mut ChaCha8Rng, metric: &str, steps: u32) -> Result<MetricsLog, Box<dyn Error>> {
    let mut text = String::new();
    for step in 1..=steps {
        let t = f64::from(step) / f64::from(steps);
        let mut noise = |scale: f64| scale * rng.random_range(-1.0..1.0);
        let line = format!(
            "{{\"step\":{step},\"loss\":{},{metric}:{},\"entropy\":{},\"grad_norm\":{},\
             \"learning_rate\":{},\"completions/mean_length\":{},\"kl\":{}}}\n",
            0.6 + 2.2 * (-4.0 * t).exp() + noise(0.15),
            0.9 - 0.5 * (-3.0 * t).exp() + noise(0.08),
            1.4 - 0.8 * t + noise(0.1),
            (0.8 + noise(0.5)) * if step % 57 == 0 { 12.0 } else { 1.0 },
            3e-5 * (0.5 + 0.5 * (std::f64::consts::PI * t).cos()),
            12.0 - 5.0 * t + noise(1.5),
            0.04 * t + noise(0.004).abs(),
        );
        text.push_str(&line);
    }
    Ok(MetricsLog::parse(text.as_bytes(), Path::new("simulated"))?)
}

/// Eight frames of a square that crosses the picture.
fn clip(rng: &mut ChaCha8Rng) -> Clip {
    let colour: [u8; 3] = rng.random();
    let row = rng.random_range(4..20);
    let frame = |time: i32| {
        let inside = |x: i32, y: i32| (x - 3 * time - 2).abs() < 4 && (y - row).abs() < 4;
        let pixels = (0..32).flat_map(|y| (0..32).map(move |x| (x, y)));
        let rgb = pixels.flat_map(|(x, y)| if inside(x, y) { colour } else { [24, 26, 32] });
        Frame { width: 32, height: 32, rgb: rgb.collect() }
    };
    Clip {
        frames: (0..8).map(frame).collect(),
        timestamps: (0..8).map(|i| 0.25 * f64::from(i)).collect(),
        digest: "simulated".to_owned(),
        video: rlaif_data::VideoMetadata::default(),
    }
}

fn held_out(rng: &mut ChaCha8Rng, i: usize) -> ClipCard {
    let answer = |label: &str, text: &str, correct| CardAnswer {
        label: label.to_owned(),
        text: text.to_owned(),
        correct: Some(correct),
        ..CardAnswer::default()
    };
    ClipCard {
        clip: Some(clip(rng)),
        video: format!("world:test/{i}"),
        category: CATEGORIES[i].to_owned(),
        question: "Which shape crosses the picture from left to right?".to_owned(),
        choices: Some(Choices {
            options: COLOURS.map(|c| format!("the {c} square")).to_vec(),
            answer: i % 4,
        }),
        answers: vec![answer("sft", "(B)", i == 1), answer("oracle_rlaif", "(A)", i == 0)],
        ..ClipCard::default()
    }
}

fn group(rng: &mut ChaCha8Rng, i: usize) -> ClipCard {
    let texts = [
        "The square moves to the right and stops at the edge.",
        "The square moves right.",
        "A circle moves right.",
        "right right right right right right right right right right right right right right",
        "",
    ];
    let answers = texts.into_iter().enumerate().map(|(place, text)| CardAnswer {
        label: format!("#{}", place + 1),
        text: text.to_owned(),
        rank: Some([0, 0, 1, 2, 3][place]),
        advantage: Some([0.67, 0.67, -0.12, -0.45, -0.77][place]),
        correct: None,
    });
    ClipCard {
        clip: Some(clip(rng)),
        video: format!("world:train/{i}"),
        category: CATEGORIES[3].to_owned(),
        question: "What does the square do?".to_owned(),
        reference: Some("It moves from left to right.".to_owned()),
        note: format!("step {}", 30 * (i + 1)),
        answers: answers.collect(),
        ..ClipCard::default()
    }
}
