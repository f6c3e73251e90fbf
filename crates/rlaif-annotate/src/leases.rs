//! Who is looking at which task right now, so that several annotators get different ones.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rlaif_oracle::human::OpenTask;

/// How long a task stays with an annotator whose page is not heard of. Pages report every 2 s.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// Annotators at once; a name is free, so somebody could make up many.
const LIMIT: usize = 1000;

/// The tasks that pages show.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: HashMap<String, (String, Instant)>,
}

impl Leases {
    /// Notes that `annotator` looks at `task`.
    pub(crate) fn hold(&mut self, annotator: &str, task: &str, now: Instant) {
        self.held.retain(|_, (_, since)| now.saturating_duration_since(*since) < LEASE);
        if self.held.len() < LIMIT || self.held.contains_key(annotator) {
            self.held.insert(annotator.to_owned(), (task.to_owned(), now));
        }
    }

    /// The annotator is done with the task.
    pub(crate) fn release(&mut self, annotator: &str) {
        self.held.remove(annotator);
    }

    /// The task for `annotator`: the one they look at already; else of those that want more verdicts
    /// than are there and on their way, one with the fewest.
    pub(crate) fn pick(&self, annotator: &str, open: &[OpenTask], now: Instant) -> Option<String> {
        let mut others: HashMap<&str, u32> = HashMap::new();
        for (who, (task, since)) in &self.held {
            if who != annotator && now.saturating_duration_since(*since) < LEASE {
                *others.entry(task).or_default() += 1;
            }
        }
        if let Some((task, _)) = self.held.get(annotator)
            && open.iter().any(|one| one.digest == *task)
        {
            return Some(task.clone());
        }
        open.iter()
            .map(|task| {
                let coming = others.get(task.digest.as_str()).copied().unwrap_or(0);
                (task, task.answered.saturating_add(coming))
            })
            .filter(|(task, covered)| *covered < task.needed)
            .min_by_key(|(_, covered)| *covered)
            .map(|(task, _)| task.digest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(digest: &str, needed: u32, answered: u32) -> OpenTask {
        OpenTask { digest: digest.to_owned(), needed, answered }
    }

    #[test]
    fn annotators_get_different_tasks_and_nobody_waits_for_a_page_that_is_gone() {
        let start = Instant::now();
        let open = [task("a", 1, 0), task("b", 1, 0)];
        let mut leases = Leases::default();
        assert_eq!(leases.pick("ann", &open, start).as_deref(), Some("a"));
        leases.hold("ann", "a", start);
        assert_eq!(leases.pick("ann", &open, start).as_deref(), Some("a"), "reloaded");
        assert_eq!(leases.pick("bob", &open, start).as_deref(), Some("b"));
        leases.hold("bob", "b", start);
        assert_eq!(leases.pick("cyd", &open, start), None);
        leases.hold("bob", "b", start + LEASE / 2);
        let later = start + LEASE;
        assert_eq!(leases.pick("cyd", &open, later).as_deref(), Some("a"), "ann's page is gone");
        leases.release("bob");
        assert_eq!(leases.pick("cyd", &open[1..], later).as_deref(), Some("b"));
    }

    #[test]
    fn those_with_the_fewest_verdicts_come_first_counting_what_is_on_its_way() {
        let now = Instant::now();
        let open = [task("a", 3, 0), task("b", 3, 1)];
        let mut leases = Leases::default();
        leases.hold("ann", "a", now);
        leases.hold("bob", "a", now);
        assert_eq!(leases.pick("cyd", &open, now).as_deref(), Some("b"));
    }

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut leases = Leases::default();
        for i in 0..2 * LIMIT {
            leases.hold(&i.to_string(), "a", now);
        }
        assert_eq!(leases.held.len(), LIMIT);
    }
}
