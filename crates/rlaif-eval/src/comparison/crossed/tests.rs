//! Worked cases, and simulations in which the truth is known.

use rand::Rng;

use super::*;

const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 2_000, seed: 0 };

/// One question a video: rows are videos, columns seeds.
fn table(rows: &[&[f64]]) -> Crossed {
    let names: Vec<String> = (0..rows.len()).map(|i| format!("v{i}")).collect();
    let questions = std::iter::zip(&names, rows);
    Crossed::new(questions.map(|(name, row)| (name.as_str(), row.iter().copied()))).unwrap()
}

fn difference(table: &Crossed) -> Inference {
    CrossedBootstrap::new(&BOOTSTRAP, table.per_seed().len()).difference(table).unwrap()
}

fn same(a: Interval, b: Interval) {
    assert!(std::iter::zip(a, b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} against {b:?}");
}

#[test]
fn questions_gather_into_videos() {
    let table = Crossed::new([("a", [1.0, 0.0]), ("b", [0.0, 0.0]), ("a", [1.0, 1.0])]).unwrap();
    assert_eq!(table.counts, [2, 1]);
    assert_eq!(table.sums, [vec![2.0, 1.0], vec![0.0, 0.0]]);
    // θ_s = 2/3 and 1/3.
    let per_seed = table.per_seed();
    assert!((per_seed[0] - 2.0 / 3.0).abs() < 1e-12 && (per_seed[1] - 1.0 / 3.0).abs() < 1e-12);
    assert!((difference(&table).mean - 0.5).abs() < 1e-12);
    assert_eq!(Crossed::new(std::iter::empty::<(&str, [f64; 2])>()), None);
    assert_eq!(Crossed::new([("a", [0.0; 0])]), None);
}

#[test]
fn one_seed_is_the_bootstrap_over_videos() {
    let values = [0.0, 1.0, -1.0, 0.0, 1.0, 1.0, 0.0];
    let rows: Vec<&[f64]> = values.iter().map(std::slice::from_ref).collect();
    let clusters: Vec<Cluster> = values.iter().map(|v| Cluster { sum: *v, n: 1 }).collect();
    same(difference(&table(&rows)).ci95, BOOTSTRAP.difference(&clusters).unwrap());
}

#[test]
fn seeds_alone_give_students_interval() {
    // Seeds differ by ± 0.1 on every video, and videos do not differ: θ = 0.5, v_S = 0.02 / 6, and
    // t(0.975, 2) = 4.3027 makes 0.5 ± 4.3027 · 0.057735 = 0.5 ± 0.2484.
    let rows = vec![&[0.4, 0.5, 0.6][..]; 400];
    let [lo, hi] = difference(&table(&rows)).ci95;
    assert!((lo - 0.2516).abs() < 2e-3 && (hi - 0.7484).abs() < 2e-3, "[{lo}, {hi}]");
}

#[test]
fn the_interaction_is_counted_once() {
    // θ = 0 and θ_s = 0 for both seeds, u_c = ±1, u_sc = ±1 with both signs for each video:
    // λ² = 4/3 · (1 - 8 / (2 · 1) / 4) = 0, all spread over videos is interaction.
    let rows: [&[f64]; 4] = [&[2.0, 0.0], &[0.0, 2.0], &[-2.0, 0.0], &[0.0, -2.0]];
    let crossed = table(&rows);
    assert!(crossed.shrinkage(&crossed.clusters(), 0.0, &[0.0, 0.0]).abs() < 1e-12);
    // Half as much of it: u_sc² = 1/4 makes λ² = 4/3 · (1 - 2 / 2 / 4) = 1.
    let rows: [&[f64]; 4] = [&[1.5, 0.5], &[0.5, 1.5], &[-1.5, -0.5], &[-0.5, -1.5]];
    let crossed = table(&rows);
    assert!((crossed.shrinkage(&crossed.clusters(), 0.0, &[0.0, 0.0]) - 1.0).abs() < 1e-12);
}

#[test]
fn seeds_that_agree_by_chance_do_not_narrow_the_interval() {
    // θ_s = 1/4 under each seed though they agree on no video: v_S is 0, and λ < 1.
    let cell = |i: usize| [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0; 3]][i % 4];
    let rows: Vec<[f64; 3]> = (0..80).map(cell).collect();
    let crossed = table(&rows.iter().map(<[f64; 3]>::as_slice).collect::<Vec<_>>());
    let clusters = crossed.clusters();
    assert!(crossed.shrinkage(&clusters, 0.25, &crossed.per_seed()) < 0.1);
    same(difference(&crossed).ci95, BOOTSTRAP.difference(&clusters).unwrap());
}

#[test]
fn p_agrees_with_the_interval_and_is_never_zero() {
    let clear: Vec<&[f64]> =
        (0..60).map(|i| if i % 5 == 0 { &[0.0][..] } else { &[1.0] }).collect();
    let got = difference(&table(&clear));
    assert!((got.p - 2.0 / 2_001.0).abs() < 1e-12 && got.ci95[0] > 0.0, "{got:?}");
    let level: Vec<&[f64]> =
        (0..60).map(|i| if i % 2 == 0 { &[-1.0][..] } else { &[1.0] }).collect();
    let got = difference(&table(&level));
    assert!(got.p > 0.8 && got.ci95[0] < 0.0 && got.ci95[1] > 0.0, "{got:?}");
    // Unanimous videos: 0 is left out from n |d| = z² on, at which p is 0.05.
    for (n, d) in [(4, 0.95), (4, 0.97), (40, 0.09), (40, 0.1)] {
        let got = difference(&table(&vec![&[d][..]; n]));
        assert_eq!(got.p < 0.05, got.ci95[0] > 0.0, "{n} {d}: {got:?}");
    }
    assert!((difference(&table(&[&[0.0, 0.0][..]; 9])).p - 1.0).abs() < 1e-12);
}

#[test]
fn shares_stay_within_their_range() {
    let rows: Vec<&[f64]> =
        (0..40).map(|i| if i < 35 { &[1.0, 1.0, 1.0][..] } else { &[1.0, 0.0, 0.0] }).collect();
    let crossed = table(&rows);
    let share = CrossedBootstrap::new(&BOOTSTRAP, 3).share(&crossed).unwrap();
    assert!(share.ci95[0] >= 0.0 && share.ci95[1] <= 1.0 && share.ci95[1] > share.mean);
}

/// Standard deviations of seeds, videos and interaction about a mean of 0.
#[derive(Clone, Copy, Debug)]
struct Spread {
    seeds: f64,
    videos: f64,
    interaction: f64,
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// `seeds` runs over `videos` videos of one to three questions, with a true mean of 0.
fn draw(spread: Spread, seeds: usize, videos: usize, rng: &mut ChaCha8Rng) -> Crossed {
    let of_seed: Vec<f64> = (0..seeds).map(|_| spread.seeds * normal(rng)).collect();
    let mut table = Crossed { sums: Vec::new(), counts: Vec::new() };
    for video in 0..videos {
        let n = 1 + video % 3;
        let of_video = spread.videos * normal(rng);
        let cell = |a: &f64| n as f64 * (a + of_video + spread.interaction * normal(rng));
        table.sums.push(of_seed.iter().map(cell).collect());
        table.counts.push(n);
    }
    table
}

/// The plain crossed bootstrap (Owen 2007), which resamples seeds as it does videos.
fn plain(table: &Crossed, resamples: usize, rng: &mut ChaCha8Rng) -> Interval {
    let (seeds, videos) = (table.per_seed().len(), table.counts.len());
    let mut replicates: Vec<f64> = (0..resamples)
        .map(|_| {
            let drawn: Vec<usize> = (0..seeds).map(|_| rng.random_range(0..seeds)).collect();
            let (mut sum, mut n) = (0.0, 0);
            for _ in 0..videos {
                let video = rng.random_range(0..videos);
                sum += drawn.iter().map(|s| table.sums[video][*s]).sum::<f64>();
                n += seeds * table.counts[video];
            }
            sum / n as f64
        })
        .collect();
    percentiles(&mut replicates, 0.0)
}

/// Shares of `trials` in which these intervals and the plain ones hold the truth.
fn coverage(
    spread: Spread,
    seeds: usize,
    videos: usize,
    trials: usize,
    resamples: usize,
) -> [f64; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let bootstrap = CrossedBootstrap::new(&Bootstrap { resamples, seed: 1 }, seeds);
    let mut held = [0_usize; 2];
    for _ in 0..trials {
        let table = draw(spread, seeds, videos, &mut rng);
        let here = bootstrap.difference(&table).unwrap().ci95;
        for (held, [lo, hi]) in held.iter_mut().zip([here, plain(&table, resamples, &mut rng)]) {
            *held += usize::from((lo..=hi).contains(&0.0));
        }
    }
    held.map(|held| held as f64 / trials as f64)
}

const SEEDS: Spread = Spread { seeds: 0.03, videos: 0.005, interaction: 0.005 };
const VIDEOS: Spread = Spread { seeds: 0.0, videos: 0.1, interaction: 0.0 };
const INTERACTION: Spread = Spread { seeds: 0.0, videos: 0.0, interaction: 0.1 };
const ALL: Spread = Spread { seeds: 0.016, videos: 0.1, interaction: 0.1 };

/// 95 % nominal, at 3 seeds and 40 videos; the standard error over 200 trials is 1.5 %. The larger
/// simulation is in the docs of [`crate::comparison`].
#[test]
fn three_seeds_cover_the_truth_as_the_docs_say() {
    let [here, plain] = coverage(SEEDS, 3, 40, 200, 250);
    assert!((0.92..=0.98).contains(&here), "seeds: {here}");
    assert!(plain < 0.8, "seeds, plain: {plain}");
    let [here, _] = coverage(VIDEOS, 3, 40, 200, 250);
    assert!((0.91..=0.975).contains(&here), "videos: {here}");
    let [here, _] = coverage(INTERACTION, 3, 40, 200, 250);
    assert!((0.96..=1.0).contains(&here), "interaction: {here}");
    let [here, _] = coverage(ALL, 3, 40, 200, 250);
    assert!((0.94..=0.995).contains(&here), "all: {here}");
}
