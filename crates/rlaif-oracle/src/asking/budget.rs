//! What may still be spent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::Spent;

/// Counts what was spent and what is on its way.
pub(super) struct Budget {
    max_calls: Option<u64>,
    max_cost: Option<f64>,
    state: Mutex<State>,
}

struct State {
    spent: Spent,
    under_way: u64,
}

/// The limit that is reached, and what was spent, in words.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exhausted {
    pub(super) limit: &'static str,
    pub(super) spent: String,
}

impl Budget {
    /// A budget of which `spent` is gone.
    pub(super) fn new(max_calls: Option<u64>, max_cost: Option<f64>, spent: Spent) -> Self {
        Budget { max_calls, max_cost, state: Mutex::new(State { spent, under_way: 0 }) }
    }

    /// Takes leave to send a request. Those under way count as calls, and as much money as a reply
    /// cost so far on the average: the money can be overdrawn by what they cost above that.
    pub(super) fn take(&self) -> Result<(), Exhausted> {
        let mut state = self.lock();
        let Spent { calls, cost } = state.spent;
        if let Some(most) = self.max_calls
            && calls + state.under_way >= most
        {
            let spent = format!("{calls} of {most} calls are used");
            return Err(Exhausted { limit: "max_calls", spent });
        }
        if let Some(most) = self.max_cost {
            let mean = if calls > 0 { cost / calls as f64 } else { 0.0 };
            if cost + mean * state.under_way as f64 >= most {
                let spent = format!("{cost:.4} of {most} is spent");
                return Err(Exhausted { limit: "max_cost", spent });
            }
        }
        state.under_way += 1;
        Ok(())
    }

    /// The request was answered at this cost.
    pub(super) fn spend(&self, cost: f64) {
        let mut state = self.lock();
        state.under_way -= 1;
        state.spent.calls += 1;
        state.spent.cost += cost;
    }

    /// The request came to nothing.
    pub(super) fn give_back(&self) {
        self.lock().under_way -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_counts_and_what_fails_is_given_back() {
        let budget = Budget::new(Some(3), None, Spent { calls: 1, cost: 0.0 });
        budget.take().unwrap();
        budget.take().unwrap();
        let error = budget.take().unwrap_err();
        assert_eq!((error.limit, error.spent.as_str()), ("max_calls", "1 of 3 calls are used"));
        budget.give_back();
        budget.spend(0.5);
        budget.take().unwrap();
        assert!(budget.take().is_err());
    }

    /// One reply cost 0.4: with one under way 0.8 is as good as spent, with two 1.2.
    #[test]
    fn money_under_way_is_reckoned_at_the_mean() {
        let budget = Budget::new(None, Some(1.0), Spent { calls: 1, cost: 0.4 });
        budget.take().unwrap();
        budget.take().unwrap();
        assert_eq!(budget.take().unwrap_err().limit, "max_cost");
        assert!(Budget::new(None, Some(0.0), Spent::default()).take().is_err());
    }
}
