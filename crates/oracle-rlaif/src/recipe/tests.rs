use super::*;

const SMALL: &str = r#"
    [model]
    path = "checkpoint"
    [data.train]
    path = "train.jsonl"
    [oracle]
    type = "reference"
    [train]
    beta = 0.1
"#;

#[test]
fn overrides_win_and_defaults_fill_in() {
    let recipe = Recipe::parse(
        SMALL,
        &["train.beta=0.02".to_owned(), "train.advantage=linear".to_owned(), "seed=7".to_owned()],
    )
    .unwrap();
    let train = recipe.train.unwrap();
    assert!((train.beta - 0.02).abs() < 1e-12);
    assert_eq!(train.advantage, rlaif_rank::Advantage::Linear);
    assert_eq!((train.num_generations, train.seed), (5, 7));
}

#[test]
fn a_typo_is_an_error_that_names_the_nearest_key() {
    let error = Recipe::parse(&SMALL.replace("beta", "betta"), &[]).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("line 9: unknown field `betta`"), "{text}");
    assert!(text.ends_with("did you mean `beta`?") && !text.contains('\n'), "{text}");
    let error = Recipe::parse(SMALL, &["train.epsilonn=0.1".to_owned()]).unwrap_err();
    assert!(format!("{error:#}").contains("mean `epsilon`"), "{error:#}");
}

#[test]
fn values_out_of_range_are_named() {
    for (set, part) in [
        ("train.epsilon=1.5", "`train.epsilon` must be in (0, 1), got 1.5"),
        ("train.num_generations=1", "`train.num_generations` must be at least 2"),
        ("data.train.world.split=train", "exactly one"),
    ] {
        let error = Recipe::parse(SMALL, &[set.to_owned()]).map(|_| ()).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(part) || text.contains("missing field"), "{set}: {text}");
    }
}

#[test]
fn a_resolved_recipe_reads_back_as_itself() {
    let recipe = Recipe::parse(SMALL, &[]).unwrap();
    let text = recipe.to_toml().unwrap();
    let again = Recipe::parse(&text, &[]).unwrap();
    assert_eq!(again.to_toml().unwrap(), text);
}

#[test]
fn models_of_judges_are_found_from_the_recipes_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.toml");
    std::fs::write(&file, SMALL).unwrap();
    let sets = [
        "oracle={type='reward-model',path='order'}".to_owned(),
        "reward={type='reward_model',path='scores'}".to_owned(),
    ];
    let recipe = Recipe::read(&file, &sets).unwrap();
    let OracleConfig::RewardModel(order) = &recipe.oracle.unwrap().0[0].config else {
        panic!("a reward model")
    };
    assert_eq!(order.path, folder.path().join("order"));
    let Some(RewardConfig::RewardModel { path, normalize }) = recipe.reward else {
        panic!("a reward model");
    };
    assert_eq!((path, normalize), (folder.path().join("scores"), true));
}
