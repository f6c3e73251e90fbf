//! How settings read, and which are refused.

use crate::protocol::*;

fn read(text: &str) -> Result<ProtocolSettings, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn protocols_read_from_names_and_tables_with_their_defaults() {
    let protocol = |text: &str| read(&format!(r#"{{"protocol": {text}}}"#)).unwrap().protocol;
    assert_eq!(read("{}").unwrap(), ProtocolSettings::default());
    for (text, expected) in [
        (r#""listwise""#, ProtocolConfig::Listwise),
        (r#"{"type": "listwise"}"#, ProtocolConfig::Listwise),
        (r#""pairwise""#, ProtocolConfig::Pairwise { schedule: Schedule::All, both_orders: true }),
        (
            r#"{"type": "pairwise", "schedule": "network", "both_orders": false}"#,
            ProtocolConfig::Pairwise { schedule: Schedule::Network, both_orders: false },
        ),
        (r#""pointwise""#, ProtocolConfig::Pointwise { min: 1, max: 10 }),
        (r#"{"type": "pointwise", "max": 5}"#, ProtocolConfig::Pointwise { min: 1, max: 5 }),
        (r#""sliding""#, ProtocolConfig::Sliding { window: 20, stride: 10, passes: 1 }),
    ] {
        assert_eq!(protocol(text), expected, "{text}");
    }
}

#[test]
fn what_is_written_reads_back() {
    for protocol in super::protocols(5) {
        let settings = super::settings(protocol, 3, super::AGGREGATORS[2]);
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(read(&written).unwrap(), settings, "{written}");
    }
}

#[test]
fn unknown_names_and_keys_are_errors_that_name_them() {
    for (text, part) in [
        (r#"{"protocol": "listwize"}"#, "unknown variant `listwize`"),
        (r#"{"protocol": {"type": "listwise", "window": 3}}"#, "unknown field `window`"),
        (r#"{"protocol": {"type": "pairwise", "schedules": "all"}}"#, "unknown field `schedules`"),
        (
            r#"{"protocol": {"type": "pairwise", "schedule": "tournament"}}"#,
            "missing field `budget`",
        ),
        (r#"{"protocol": 3}"#, "the name of a protocol, or a table with `type`"),
        (r#"{"protocol": {"window": 3}}"#, "missing field `type`"),
        (r#"{"protocols": "listwise"}"#, "unknown field `protocols`"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let pairs = |budget| {
        format!(
            r#"{{"protocol": {{"type": "pairwise", "schedule": {{"type": "tournament", "budget": {budget}}}}}}}"#
        )
    };
    for (text, candidates, part) in [
        (r#"{"repeats": 0}"#.to_owned(), 4, "`repeats` is wrong: 0 is not within 1 to 100"),
        (r#"{"repeats": 101}"#.to_owned(), 4, "`repeats`"),
        (pairs(1), 2, "`budget` is wrong: 1 questions, a pair takes 2"),
        (pairs(5), 5, "leave some of 5 candidates without a pair: it takes 6"),
        (
            r#"{"protocol": {"type": "pointwise", "max": 1}}"#.to_owned(),
            4,
            "`max` is wrong: 1 is not",
        ),
        (
            r#"{"protocol": {"type": "pointwise", "min": -9223372036854775808}}"#.to_owned(),
            4,
            "`min` is wrong",
        ),
        (r#"{"protocol": {"type": "sliding", "window": 1}}"#.to_owned(), 4, "`window`"),
        (r#"{"protocol": {"type": "sliding", "window": 10}}"#.to_owned(), 4, "within 1 to 9"),
        (r#"{"protocol": {"type": "sliding", "stride": 0}}"#.to_owned(), 4, "`stride`"),
        (r#"{"protocol": {"type": "sliding", "passes": 0}}"#.to_owned(), 4, "`passes`"),
        (r#"{"aggregator": "kemeny"}"#.to_owned(), 17, "take `borda`"),
        ("{}".to_owned(), 1, "at least 2 candidates, there are 1"),
        ("{}".to_owned(), 257, "at most 256 candidates"),
        (r#"{"protocol": "pairwise"}"#.to_owned(), 65, "take `sliding`"),
    ] {
        let Err(error) = Plan::new(&read(&text).unwrap(), candidates, 0) else {
            panic!("{text} was taken");
        };
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    assert!(Plan::new(&read(&pairs(6)).unwrap(), 5, 0).is_ok());
    assert!(read(r#"{"aggregator": "kemeny"}"#).unwrap().check_for(16).is_ok());
}

#[test]
fn questions_are_counted_as_documented() {
    let most = |text: &str, n| {
        read(&format!(r#"{{"protocol": {text}, "repeats": 3}}"#)).unwrap().most_questions(n)
    };
    assert_eq!(most(r#""listwise""#, 5), 3);
    assert_eq!(most(r#""pairwise""#, 5), 3 * 20);
    assert_eq!(most(r#"{"type": "pairwise", "both_orders": false}"#, 5), 3 * 10);
    assert_eq!(most(r#"{"type": "pairwise", "schedule": "network"}"#, 5), 3 * 18);
    assert_eq!(most(r#""pointwise""#, 5), 3 * 5);
    // (50 - 20) / 10 + 1 windows.
    assert_eq!(most(r#""sliding""#, 50), 3 * 4);
}
