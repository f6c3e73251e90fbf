//! What is compared: the arms of the paper's comparison, and those of each study.

use rlaif_eval::ItemKind;
use rlaif_eval::comparison::{ClaimSpec, Expectation};

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arm {
    /// Key and folder name.
    pub(super) name: String,
    /// What tables say.
    pub(super) label: String,
    /// One sentence on what it is.
    pub(super) about: String,
    /// What it learns from.
    pub(super) learns: Learns,
    /// Changes to the recipe.
    pub(super) overrides: Vec<String>,
}

/// What an arm learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learns {
    /// Nothing: the supervised checkpoint itself.
    Nothing,
    /// The judge's order of what it samples.
    Judge,
    /// A reward model that was trained on the judge's preferences: its scores.
    Scores,
    /// The order of a reward model's scores; the model reads no narrative.
    Order,
    /// ClipWorld's truth as a number.
    Truth,
    /// The judge's preferences themselves.
    Pairs,
}

fn arm(name: &str, label: &str, about: &str, learns: Learns, overrides: &[&str]) -> Arm {
    Arm {
        name: name.to_owned(),
        label: label.to_owned(),
        about: about.to_owned(),
        learns,
        overrides: overrides.iter().map(|set| (*set).to_owned()).collect(),
    }
}

/// The supervised checkpoint: where all others start.
pub(super) fn start() -> Arm {
    let about = "supervised fine-tuning alone: where every other method starts";
    arm("sft", "SFT", about, Learns::Nothing, &[])
}

/// The paper's comparison. Knobs that are not shared are each method's published ones.
pub(super) fn methods() -> Vec<Arm> {
    // VLM-RLAIF: KL 0.1 in the reward, λ = 1, two passes over a rollout, 8 off for no end token.
    let ppo = [
        "train.method=ppo",
        "train.beta=0.1",
        "train.ppo.lam=1.0",
        "train.num_iterations=2",
        "train.missing_eos_penalty=8.0",
    ];
    let grpo = ["train.method=grpo", "train.beta=0.04", "train.missing_eos_penalty=8.0"];
    // TRL's default for RLOO.
    let rloo = ["train.method=rloo", "train.beta=0.05", "train.missing_eos_penalty=8.0"];
    vec![
        start(),
        arm(
            "vlm_rlaif",
            "VLM-RLAIF (PPO)",
            "a reward model trained on the judge's preferences with narratives in its context; \
             PPO on its scores",
            Learns::Scores,
            &ppo,
        ),
        arm(
            "grpo",
            "GRPO",
            "the same reward model's scores, standardised in the group",
            Learns::Scores,
            &grpo,
        ),
        arm(
            "rloo",
            "RLOO",
            "the same reward model's scores against the other answers' mean",
            Learns::Scores,
            &rloo,
        ),
        arm(
            "dpo",
            "DPO",
            "the judge's preferences themselves, best against worst of a group",
            Learns::Pairs,
            &[],
        ),
        arm(
            "oracle_rm",
            "Oracle-RLAIF (reward model as Oracle)",
            "GRPO_rank on the order that a reward model without narratives gives",
            Learns::Order,
            &["train.method=grpo_rank", "train.beta=0.04"],
        ),
        arm(
            "oracle_rlaif",
            "Oracle-RLAIF",
            "GRPO_rank on the judge's own order of every sampled group",
            Learns::Judge,
            &["train.method=grpo_rank", "train.beta=0.04"],
        ),
    ]
}

/// What the paper says of the two pipelines, as far as ClipWorld can ask.
pub(super) fn claims() -> Vec<ClaimSpec> {
    let source = "Oracle-RLAIF, arXiv:2510.02561";
    let claim =
        |text: &str, method: &str, against: &str, kind, categories: &[&str], expects| ClaimSpec {
            text: text.to_owned(),
            source: source.to_owned(),
            method: method.to_owned(),
            against: against.to_owned(),
            kind,
            categories: categories.iter().map(|name| (*name).to_owned()).collect(),
            expects,
        };
    let paper = |text: &str, kind, categories: &[&str], expects| {
        claim(text, "oracle_rlaif", "vlm_rlaif", kind, categories, expects)
    };
    let (mc, oe) = (ItemKind::MultipleChoice, ItemKind::OpenEnded);
    let (more, less) = (Expectation::Greater, Expectation::Less);
    vec![
        paper("Oracle-RLAIF outperforms VLM-RLAIF on multiple choice", mc, &[], more),
        paper("Oracle-RLAIF outperforms VLM-RLAIF on open-ended questions", oe, &[], more),
        claim(
            "Oracle-RLAIF improves on its supervised start",
            "oracle_rlaif",
            "sft",
            mc,
            &[],
            more,
        ),
        paper("it gains on temporal perception", mc, &["temporal_perception"], more),
        paper("it gains on action recognition", mc, &["action_recognition"], more),
        paper("it loses on spatial perception", mc, &["spatial_perception"], less),
        paper("it loses on information synopsis", mc, &["information_synopsis"], less),
        claim(
            "an order is enough: GRPO_rank on a reward model's order outperforms PPO on a reward \
             model's scores",
            "oracle_rm",
            "vlm_rlaif",
            mc,
            &[],
            more,
        ),
        claim("VLM-RLAIF improves on its supervised start", "vlm_rlaif", "sft", mc, &[], more),
    ]
}

/// The studies of `--study`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Study {
    /// The family of rank advantages, and plain GRPO on true scores
    Advantage,
    /// Completions per prompt, the number of completions in all being the same
    GroupSize,
    /// How far the judge agrees with the truth
    OracleNoise,
    /// A coarse judge, and one that leaves answers unplaced
    Ties,
    /// A reference that follows the policy at every epoch, or does not
    Reference,
    /// How the divergence from the reference is measured
    Kl,
}

impl Study {
    /// Name in file names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Study::Advantage => "advantage",
            Study::GroupSize => "group-size",
            Study::OracleNoise => "oracle-noise",
            Study::Ties => "ties",
            Study::Reference => "reference",
            Study::Kl => "kl",
        }
    }

    /// Headline of the report.
    pub(super) fn title(self) -> &'static str {
        match self {
            Study::Advantage => "Which rank advantage",
            Study::GroupSize => "How large a group",
            Study::OracleNoise => "How good an Oracle",
            Study::Ties => "Ties and partial rankings",
            Study::Reference => "A reference that follows",
            Study::Kl => "How the divergence is measured",
        }
    }

    /// The variant that the others are compared with, beside the supervised start.
    pub(super) fn base(self) -> &'static str {
        match self {
            Study::Advantage => "dcg",
            Study::GroupSize => "g5",
            Study::OracleNoise => "tau-1.0",
            Study::Ties => "exact",
            Study::Reference => "never",
            Study::Kl => "k3",
        }
    }

    /// Its variants; `completions` is what one step samples.
    pub(super) fn arms(self, completions: usize) -> Vec<Arm> {
        let judged = |name: &str, label: &str, about: &str, overrides: &[&str]| {
            arm(name, label, about, Learns::Judge, overrides)
        };
        match self {
            Study::Advantage => {
                let members = ["dcg", "linear", "normal", "paper", "paper-bounded", "dcg-gap"];
                let about = "GRPO_rank on the judge's order";
                let mut arms: Vec<Arm> = members
                    .iter()
                    .map(|name| {
                        judged(name, name, about, &[&format!("train.advantage=\"{name}\"")])
                    })
                    .collect();
                let about = "GRPO on ClipWorld's truth as a number: more than an order says";
                arms.push(arm("zscore", "zscore", about, Learns::Truth, &["train.method=grpo"]));
                arms
            }
            Study::GroupSize => [2, 3, 5, 8]
                .map(|g: usize| {
                    let prompts = (completions / g).max(1);
                    judged(
                        &format!("g{g}"),
                        &format!("G = {g}"),
                        "the same number of completions in groups of this size",
                        &[
                            &format!("train.num_generations={g}"),
                            &format!("train.prompts_per_step={prompts}"),
                            &format!("train.prompts_per_batch={prompts}"),
                        ],
                    )
                })
                .to_vec(),
            Study::OracleNoise => ["1.0", "0.7", "0.4", "0.1", "0.0"]
                .map(|tau| {
                    judged(
                        &format!("tau-{tau}"),
                        &format!("tau = {tau}"),
                        "expected Kendall tau of the judge's order to the truth; at 0 it says nothing",
                        &[&format!("oracle.tau={tau}")],
                    )
                })
                .to_vec(),
            Study::Ties => vec![
                judged("exact", "all placed, as fine as the truth", "the judge as it is", &[]),
                judged(
                    "two-grades",
                    "two grades",
                    "a judge that says good or bad",
                    &["oracle.levels=2"],
                ),
                judged(
                    "three-grades",
                    "three grades",
                    "a judge with three grades",
                    &["oracle.levels=3"],
                ),
                judged(
                    "unplaced-0.3",
                    "30 % unplaced",
                    "a judge that leaves out 3 of 10 answers",
                    &["oracle.unplaced=0.3"],
                ),
                judged(
                    "unplaced-0.6",
                    "60 % unplaced",
                    "a judge that leaves out 6 of 10 answers",
                    &["oracle.unplaced=0.6"],
                ),
            ],
            Study::Reference => vec![
                judged(
                    "never",
                    "fixed",
                    "the reference stays the supervised start",
                    &["train.refresh_reference=never", "data.train.world.clips=400"],
                ),
                judged(
                    "epoch",
                    "follows",
                    "the reference becomes the policy at every epoch (the paper)",
                    &["train.refresh_reference=epoch", "data.train.world.clips=400"],
                ),
            ],
            Study::Kl => vec![
                judged(
                    "k3",
                    "k3, beta 0.04",
                    "the estimate from the sampled token",
                    &["train.beta=0.04"],
                ),
                judged(
                    "exact",
                    "exact, beta 0.04",
                    "over the whole vocabulary",
                    &["train.beta=0.04", "train.kl_estimator=exact"],
                ),
                judged("none", "beta 0", "no reference", &["train.beta=0.0"]),
            ],
        }
    }

    /// What the paper, or our reading of it, leads one to expect.
    pub(super) fn claims(self) -> Vec<ClaimSpec> {
        let claim = |text: &str, source: &str, method: &str, against: &str, expects| ClaimSpec {
            text: text.to_owned(),
            source: source.to_owned(),
            method: method.to_owned(),
            against: against.to_owned(),
            kind: ItemKind::MultipleChoice,
            categories: Vec::new(),
            expects,
        };
        let paper = "Oracle-RLAIF, arXiv:2510.02561";
        let ours = "docs/method.md";
        let (more, less) = (Expectation::Greater, Expectation::Less);
        match self {
            Study::Advantage => vec![
                claim(
                    "the transcribed advantage improves on the supervised start",
                    paper,
                    "paper",
                    "sft",
                    more,
                ),
                claim("the transcribed advantage falls behind dcg", ours, "paper", "dcg", less),
                claim("its bounded form falls behind dcg", ours, "paper-bounded", "dcg", less),
                claim(
                    "an order is as good as true scores: dcg outperforms zscore",
                    paper,
                    "dcg",
                    "zscore",
                    more,
                ),
            ],
            Study::GroupSize => {
                vec![claim("groups of five outperform pairs", paper, "g5", "g2", more)]
            }
            Study::OracleNoise => vec![
                claim(
                    "a judge of tau 0.7 still improves on the supervised start",
                    ours,
                    "tau-0.7",
                    "sft",
                    more,
                ),
                claim(
                    "a judge of tau 0.1 falls behind an exact one",
                    ours,
                    "tau-0.1",
                    "tau-1.0",
                    less,
                ),
            ],
            Study::Ties => vec![claim(
                "a judge that only says good or bad still improves on the supervised start",
                ours,
                "two-grades",
                "sft",
                more,
            )],
            Study::Reference => vec![claim(
                "refreshing the reference at every epoch helps",
                paper,
                "epoch",
                "never",
                more,
            )],
            Study::Kl => vec![claim(
                "the exact divergence outperforms its estimate",
                ours,
                "exact",
                "k3",
                more,
            )],
        }
    }
}
