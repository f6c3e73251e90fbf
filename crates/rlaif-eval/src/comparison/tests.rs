//! The comparison as a whole: numbers worked out by hand, errors, the JSON contract, renderings.

use super::*;
use crate::item::tests::{choice, head};
use crate::item::{ItemResult, UNCATEGORISED};

const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 2_000, seed: 1 };

/// `n` multiple-choice questions in turns of two categories, two to a video.
fn answers(n: usize, right: impl Fn(usize) -> bool) -> Vec<ItemResult> {
    let category = |i: usize| ["counting", "action_recognition"][i % 2];
    (0..n)
        .map(|i| choice(&format!("q{i:02}"), category(i), &format!("v{:02}", i / 2), right(i)))
        .collect()
}

fn open(word: &str) -> ItemResult {
    ItemResult::open_ended(
        head("o0", UNCATEGORISED, "v00"),
        word.to_owned(),
        Some("blue".to_owned()),
    )
}

fn run(seed: u64, items: Vec<ItemResult>) -> SeedRun {
    let cost =
        Cost { completions: 1_000 * seed, judge_calls: 10, judge_seconds: 2.0, wall_seconds: 90.0 };
    SeedRun { seed, items, cost, curve: Vec::new() }
}

fn method(name: &str, runs: Vec<SeedRun>) -> MethodRuns {
    let label = name.to_uppercase();
    let about = format!("what {name} is.");
    MethodRuns { name: name.to_owned(), label, about, learning_rate: Some(3e-5), runs }
}

fn claim(method: &str, against: &str, categories: &[&str], expects: Expectation) -> ClaimSpec {
    ClaimSpec {
        text: format!("{method} beats {against}"),
        source: "a paper, table 1".to_owned(),
        method: method.to_owned(),
        against: against.to_owned(),
        kind: ItemKind::MultipleChoice,
        categories: categories.iter().map(|c| (*c).to_owned()).collect(),
        expects,
    }
}

/// Three methods under two seeds on 40 multiple-choice questions about 20 videos and an open-ended
/// one: `ppo` is right on 10 (seed 1) and 12 (seed 2), `oracle` on 30 and 32 of them, `sft` on 10.
pub(crate) fn methods() -> Vec<MethodRuns> {
    let items = |right: usize, word: &str| {
        let mut items = answers(40, |i| i < right);
        items.push(open(word));
        items
    };
    let runs = |right: [usize; 2], word| {
        vec![run(2, items(right[1], word)), run(1, items(right[0], word))]
    };
    let mut oracle = method("oracle", runs([30, 32], "blue"));
    for run in &mut oracle.runs {
        let point = |step: u64, accuracy| CurvePoint {
            step,
            completions: 100 * step,
            judge_calls: 20 * step,
            multiple_choice: Some(accuracy),
            open_ended: None,
        };
        let shift = 0.1 * run.seed as f64;
        run.curve = vec![point(0, 0.2), point(5, 0.4 + shift), point(10, 0.6 + shift)];
    }
    vec![method("ppo", runs([10, 12], "red")), oracle, method("sft", runs([10, 10], "red"))]
}

pub(crate) fn comparison() -> Comparison {
    let facts = ComparisonFacts {
        title: "Methods compared".to_owned(),
        command: "oracle-rlaif reproduce".to_owned(),
        commit: "0123abc".to_owned(),
        machine: "2 cores".to_owned(),
        notes: vec!["A note.".to_owned()],
        selection: vec![Selection {
            method: "ORACLE".to_owned(),
            candidates: vec![(1e-5, 0.5), (3e-5, 0.625)],
            chosen: 3e-5,
        }],
    };
    let claims = vec![
        claim("oracle", "ppo", &[], Expectation::Greater),
        claim("oracle", "ppo", &["counting", "action_recognition"], Expectation::Less),
        claim("ppo", "sft", &["counting"], Expectation::Greater),
    ];
    Comparison::new(facts, &methods(), &["ppo", "sft"], claims, &BOOTSTRAP).unwrap()
}

fn compare(methods: &[MethodRuns]) -> Result<Comparison, ComparisonError> {
    Comparison::new(ComparisonFacts::default(), methods, &["ppo"], Vec::new(), &BOOTSTRAP)
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "got {got}, expected {expected}");
}

#[test]
fn means_are_over_seeds() {
    let comparison = comparison();
    assert_eq!(comparison.seeds, [1, 2]);
    let oracle = comparison.methods[1].multiple_choice.as_ref().unwrap();
    // 30/40 and 32/40.
    close(oracle.overall.accuracy, 0.775);
    close(oracle.overall.per_seed[0], 0.75);
    close(oracle.overall.per_seed[1], 0.8);
    assert_eq!((oracle.overall.n, oracle.by_category["counting"].n), (40, 20));
    // Even questions below 30 and below 32: 15 and 16 of 20.
    close(oracle.by_category["counting"].accuracy, 0.775);
    let [lo, hi] = oracle.overall.ci95;
    assert!((0.0..0.775).contains(&lo) && (0.775..=1.0).contains(&hi));
    let cost = comparison.methods[0].cost;
    close(cost.completions, 1_500.0);
    close(cost.wall_seconds, 90.0);
    let questions = &comparison.questions[&ItemKind::MultipleChoice];
    assert_eq!((questions.n, questions.videos, questions.chance), (40, 20, Some(0.5)));
}

#[test]
fn differences_pair_seed_and_question() {
    let comparison = comparison();
    let contrast = |method: &str, baseline: &str| {
        let found = comparison.contrasts.iter();
        let mut found = found.filter(|c| c.method == method && c.baseline == baseline);
        found.next().unwrap().multiple_choice.as_ref().unwrap()
    };
    assert_eq!(comparison.contrasts.len(), 4);
    let gain = &contrast("oracle", "ppo").overall;
    // 20 of 40 more under either seed.
    close(gain.points, 50.0);
    assert!(gain.per_seed.iter().all(|points| (points - 50.0).abs() < 1e-9));
    assert_eq!(gain.seeds_positive, 2);
    assert!(gain.ci95[0] > 0.0 && gain.p < 0.05, "{gain:?}");
    // Two methods are compared with `ppo`: the smaller p is doubled.
    close(gain.holm_p, 2.0 * gain.p);
    let less = &contrast("sft", "ppo").overall;
    // 0 of 40 under seed 1, -2 of 40 under seed 2.
    close(less.points, -2.5);
    close(less.per_seed[1], -5.0);
    assert_eq!(less.seeds_positive, 0);
    assert!(!less.excludes_zero() && less.p > 0.05);
    close(less.holm_p, less.p.max(gain.holm_p));
    close(contrast("ppo", "sft").overall.points, 2.5);
    assert_eq!(contrast("ppo", "sft").overall.seeds_positive, 1);
    close(contrast("oracle", "ppo").by_category["counting"].points, 50.0);
}

#[test]
fn claims_hold_are_contradicted_or_stay_open() {
    let claims = comparison().claims;
    let verdicts: Vec<Verdict> = claims.iter().map(|claim| claim.verdict).collect();
    assert_eq!(verdicts, [Verdict::Holds, Verdict::Contradicted, Verdict::Undecided]);
    // Both categories pooled are all questions.
    close(claims[1].points, claims[0].points);
    assert_eq!((claims[0].n, claims[2].n, claims[2].seeds_positive), (40, 20, 1));
    assert!(claims[0].sentence().starts_with("holds here: +50.0 points [+"));
    assert!(claims[1].sentence().starts_with("contradicted here: +50.0 points [+"));
    assert!(claims[2].sentence().starts_with("undecided here: +2.5 points [-"));
    let mut less = methods();
    less.swap(0, 1);
    let claims = vec![claim("ppo", "oracle", &[], Expectation::Less)];
    let facts = ComparisonFacts::default();
    let less = Comparison::new(facts, &less, &[], claims, &BOOTSTRAP).unwrap();
    assert_eq!(less.claims[0].verdict, Verdict::Holds);
    close(less.claims[0].points, -50.0);
}

#[test]
fn curves_average_the_points_that_all_seeds_have() {
    let mut methods = methods();
    methods[1].runs[0].curve.pop();
    let comparison = compare(&methods).unwrap();
    let curve = &comparison.methods[1].curve;
    assert_eq!(curve.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 5]);
    let band = curve[1].multiple_choice.unwrap();
    close(band.mean, 0.55);
    close(band.min, 0.5);
    close(band.max, 0.6);
    close(curve[1].completions, 500.0);
    assert_eq!(curve[1].open_ended, None);
    // A run on other data has other steps, and two points before its first.
    methods[1].runs[0].curve[1].step = 0;
    methods[1].runs[0].curve[1].completions = 300;
    let curve = &compare(&methods).unwrap().methods[1].curve;
    assert_eq!(curve.len(), 2);
    close(curve[1].completions, 400.0);
    methods[1].runs[0].curve[0].multiple_choice = Some(42.0);
    let error = compare(&methods).unwrap_err().to_string();
    assert!(error.contains("`oracle`, seed 2") && error.contains("got 42 at step 0"), "{error}");
}

#[test]
fn order_of_runs_and_answers_does_not_matter() {
    let mut shuffled = methods();
    for method in &mut shuffled {
        method.runs.reverse();
        method.runs.iter_mut().for_each(|run| run.items.reverse());
    }
    assert_eq!(compare(&shuffled).unwrap(), compare(&methods()).unwrap());
}

#[test]
fn one_seed_is_allowed_and_said() {
    let mut methods = methods();
    for method in &mut methods {
        method.runs.truncate(1);
    }
    let one = compare(&methods).unwrap();
    assert!(one.interval_note().contains("nothing about the spread between seeds"));
    for text in [one.text(), one.markdown(), one.html()] {
        assert!(text.contains("One seed only"), "{text}");
    }
    let two = comparison();
    assert!(two.interval_note().contains("2 seeds (Student's t, degrees of freedom: 1)"));
    let width = |comparison: &Comparison| {
        let [lo, hi] = comparison.methods[0].multiple_choice.as_ref().unwrap().overall.ci95;
        hi - lo
    };
    assert!(width(&one) < width(&two));
}

type Change = fn(&mut Vec<MethodRuns>);

/// What the comparison says of the fixture after a change to it.
fn refusal(change: impl Fn(&mut Vec<MethodRuns>)) -> String {
    let mut methods = methods();
    change(&mut methods);
    compare(&methods).unwrap_err().to_string()
}

#[test]
fn runs_that_do_not_pair_are_refused() {
    let cases: [(Change, &str); 11] = [
        (|m| m.clear(), "no methods"),
        (|m| m[1].name = "ppo".to_owned(), "`ppo` appears twice"),
        (|m| m[1].runs.clear(), "`oracle` has no runs"),
        (|m| m[1].runs[0].seed = 1, "`oracle` has two runs under seed 1"),
        (|m| m[1].runs[0].seed = 7, "`ppo` was run under seed 2 but `oracle` was not"),
        (|m| m[0].runs.truncate(1), "`oracle` was run under seed 1 but `ppo` was not"),
        (|m| m[2].runs[1].items.clear(), "`sft`, seed 1: no answers"),
        (
            |m| m[2].runs[0].items[0].head.id = "q01".to_owned(),
            "`sft`, seed 2: item `q01` appears twice",
        ),
        (
            |m| m[2].runs[0].items.truncate(38),
            "`sft`, seed 2: item `o0` was not answered (2 more like it), but `ppo` under seed 1",
        ),
        (
            |m| m[2].runs[0].items[0].head.video = "v9".to_owned(),
            "`sft`, seed 2: item `q00` is another question than under `ppo`, seed 1",
        ),
        (
            |m| m[2].runs[0].items[0].option_logprobs.clear(),
            "`sft`, seed 2: item `q00` has no accuracy by option likelihood",
        ),
    ];
    for (change, expected) in cases {
        let error = refusal(change);
        assert!(error.contains(expected), "{expected:?} not in {error:?}");
    }
    // An answer too many is the others' lack.
    let error = refusal(|m| m[1].runs[0].items.push(choice("q99", "counting", "v", true)));
    assert!(error.contains("`ppo`, seed 1: item `q99` was not answered (0 more"), "{error}");
}

#[test]
fn claims_and_baselines_must_exist() {
    let refused = |baselines: &[&str], claims: Vec<ClaimSpec>| {
        let facts = ComparisonFacts::default();
        Comparison::new(facts, &methods(), baselines, claims, &BOOTSTRAP).unwrap_err().to_string()
    };
    let error = refused(&["dpo"], Vec::new());
    assert!(error.contains("`dpo`, expected one of `ppo`, `oracle`, `sft`"), "{error}");
    let error = refused(&[], vec![claim("oracle", "dpo", &[], Expectation::Less)]);
    assert!(error.contains("claim \"oracle beats dpo\" names the method `dpo`"), "{error}");
    let error = refused(&[], vec![claim("ppo", "ppo", &[], Expectation::Less)]);
    assert!(error.contains("compares `ppo` with itself"), "{error}");
    let error = refused(&[], vec![claim("oracle", "ppo", &["ocr"], Expectation::Less)]);
    assert!(error.contains("multiple-choice questions of category `ocr`"), "{error}");
}

#[test]
fn json_keeps_the_contract() {
    let comparison = comparison();
    let json = serde_json::to_value(&comparison).unwrap();
    for key in ["title", "command", "commit", "machine", "notes", "selection", "bootstrap"] {
        assert!(!json[key].is_null(), "no {key}");
    }
    assert_eq!(json["seeds"], serde_json::json!([1, 2]));
    assert_eq!(json["baselines"], serde_json::json!(["ppo", "sft"]));
    assert_eq!(json["questions"]["multiple_choice"]["headline"], "likelihood");
    assert_eq!(json["questions"]["open_ended"]["n"], 1);
    assert_eq!(json["selection"][0]["candidates"][1], serde_json::json!([3e-5, 0.625]));
    let method = &json["methods"][1];
    assert_eq!((&method["name"], &method["learning_rate"]), (&"oracle".into(), &3e-5.into()));
    assert_eq!(method["cost"]["judge_calls"], 10.0);
    assert_eq!(method["curve"][2]["multiple_choice"]["max"], 0.8);
    assert_eq!(method["multiple_choice"]["accuracy"], 0.775);
    assert_eq!(method["multiple_choice"]["ci95"].as_array().unwrap().len(), 2);
    assert_eq!(method["multiple_choice"]["per_seed"], serde_json::json!([0.75, 0.8]));
    assert_eq!(method["multiple_choice"]["by_category"]["counting"]["n"], 20);
    let contrast = &json["contrasts"][0];
    assert_eq!((&contrast["method"], &contrast["baseline"]), (&"oracle".into(), &"ppo".into()));
    for key in ["points", "ci95", "p", "holm_p", "seeds_positive", "per_seed", "n"] {
        assert!(!contrast["multiple_choice"][key].is_null(), "no {key}");
        assert!(!contrast["multiple_choice"]["by_category"]["counting"][key].is_null(), "no {key}");
    }
    let claim = &json["claims"][2];
    assert_eq!((&claim["verdict"], &claim["expects"]), (&"undecided".into(), &"greater".into()));
    assert_eq!((&claim["kind"], &claim["n"]), (&"multiple_choice".into(), &20.into()));
    assert_eq!(serde_json::from_value::<Comparison>(json).unwrap(), comparison);
}

#[test]
fn markdown_is_as_recorded() {
    assert_eq!(comparison().markdown(), include_str!("comparison.md"));
}

#[test]
fn text_is_as_recorded() {
    assert_eq!(comparison().text(), include_str!("comparison.txt"));
}
