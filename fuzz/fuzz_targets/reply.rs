//! A judge's reply. The first byte chooses the question.

#![no_main]

use rlaif_oracle::{Question, QuestionKind, Said, parse_reply};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((choice, reply)) = bytes.split_first() else { return };
    let reply = String::from_utf8_lossy(reply);
    let (kind, candidates) = match choice % 8 {
        0 => (QuestionKind::Pointwise { min: 1, max: 10 }, 1),
        1 => (QuestionKind::Pairwise, 2),
        candidates => (QuestionKind::Listwise, usize::from(candidates)),
    };
    let question = Question { kind, shown: (0..candidates).collect(), repeat: 0 };
    match parse_reply(&reply, &question) {
        Ok(Said::Order(order)) => {
            assert_eq!(order.len(), candidates);
            assert!(order.is_complete() || reply.contains("unplaced"), "a candidate was dropped");
        }
        Ok(Said::Score(score)) => assert!((1.0..=10.0).contains(&score)),
        Ok(Said::Abstained(_)) => (),
        Err(error) => assert!(error.to_string().len() < 1000, "a message without end"),
    }
});
