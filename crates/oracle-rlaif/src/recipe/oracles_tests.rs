use super::*;

fn read(text: &str) -> Result<Oracles, String> {
    #[derive(Deserialize)]
    struct Recipe {
        oracle: Oracles,
    }
    toml::from_str::<Recipe>(text).map(|r| r.oracle).map_err(|e| e.message().to_owned())
}

const OPENAI: &str = r#"
[oracle]
type = "openai"
base_url = "http://127.0.0.1:8000/v1"
model = "judge"
protocol = { type = "pairwise", schedule = "network" }
repeats = 2
temperature = "none"
[oracle.prompts]
narrative = true
[oracle.frames]
count = 4
[oracle.limits]
max_cost = 2.5
"#;

#[test]
fn every_part_of_an_openai_oracle_is_read_and_written_back() {
    let oracles = read(OPENAI).unwrap();
    let OracleConfig::OpenAi(config) = &oracles.0[0].config else { panic!("{oracles:?}") };
    assert_eq!((config.frames.count, config.limits.max_cost), (4, Some(2.5)));
    assert_eq!((config.asking.protocol.repeats, config.asking.repairs), (2, 1));
    assert!(config.asking.prompts.narrative && config.server.temperature.is_none());
    assert!(oracles.have_votes());
    let written = toml::to_string(&Map::from_iter([(
        "oracle".to_owned(),
        serde_json::to_value(&oracles).unwrap(),
    )]))
    .unwrap();
    assert_eq!(read(&written).unwrap(), oracles, "{written}");
}

#[test]
fn several_oracles_have_names_and_weights() {
    let oracles = read(
        "[[oracle]]\ntype = \"world\"\ntau = 0.5\n[[oracle]]\ntype = \"world\"\nname = \"b\"\nweight = 2\n",
    )
    .unwrap();
    let names: Vec<&str> = oracles.0.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["world", "b"]);
    assert!((oracles.0[1].weight - 2.0).abs() < 1e-12 && oracles.have_votes());
    let value = serde_json::to_value(&oracles).unwrap();
    assert_eq!(serde_json::from_value::<Oracles>(value).unwrap(), oracles);
    assert!(read("oracle = []").unwrap_err().contains("who ranks?"));
    let name = read("[oracle]\ntype = \"world\"\nname = \"a b\"").unwrap_err();
    assert!(name.contains("letters, digits"), "{name}");
}

#[test]
fn a_reward_model_has_a_path_and_nothing_else() {
    let oracles = read("[oracle]\ntype = \"reward-model\"\npath = \"runs/judge\"").unwrap();
    let written = serde_json::to_string(&oracles).unwrap();
    assert_eq!(written, r#"{"path":"runs/judge","type":"reward_model"}"#);
    let unknown = read("[oracle]\ntype = \"reward_model\"\npath = \"a\"\ntau = 1").unwrap_err();
    assert!(unknown.contains("unknown field `tau`"), "{unknown}");
    let missing = read("[oracle]\ntype = \"reward_model\"").unwrap_err();
    assert!(missing.contains("missing field `path`"), "{missing}");
}

#[test]
fn unknown_keys_and_settings_out_of_range_are_errors_that_name_them() {
    let unknown = read(&OPENAI.replace("repeats = 2", "repeat = 2")).unwrap_err();
    assert!(
        unknown.contains("unknown field `repeat`, expected one of `protocol`, `repeats`"),
        "{unknown}"
    );
    let nested = read(&OPENAI.replace("count = 4", "counts = 4")).unwrap_err();
    assert!(nested.contains("`frames`: unknown field `counts`"), "{nested}");
    let range = read(&OPENAI.replace("repeats = 2", "repeats = 0")).unwrap_err();
    assert!(range.contains("`repeats` is wrong"), "{range}");
    let likelihood = "[oracle]\ntype = \"model\"\npath = \"a\"\nby = \"likelihood\"\nrepeats = 3";
    assert!(read(likelihood).unwrap_err().contains("nothing is asked of a likelihood"));
}
