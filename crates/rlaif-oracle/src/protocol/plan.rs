//! All repeats of a protocol together: tickets out, answers in, the outcome at the end.

use rlaif_rank::Ranking;

use super::{
    Outcome, PlanError, ProtocolConfig, ProtocolSettings, Question, QuestionKind, Said, Schedule,
    config::per_pair,
    course::Course,
    listwise::Listwise,
    network::Network,
    pairs::{All, Pairs, together},
    pointwise::Pointwise,
    presentation,
    sliding::{self, Sliding},
    tournament::Tournament,
};

/// What is to be asked about one group.
///
/// ```
/// use rlaif_oracle::protocol::{Plan, ProtocolSettings, Said};
/// use rlaif_rank::Ranking;
///
/// let mut plan = Plan::new(&ProtocolSettings::default(), 3, 17)?;
/// let (ticket, question) = plan.ready().remove(0);
/// // A judge that orders candidates by their numbers.
/// let ranks = question.shown.iter().map(|candidate| Some(*candidate)).collect();
/// plan.answer(ticket, Some(Said::Order(Ranking::from_ranks(ranks)?)));
/// let ranking = plan.outcome().and_then(|outcome| outcome.ranking);
/// assert_eq!(ranking.unwrap().to_string(), "[1] > [2] > [3]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Plan {
    settings: ProtocolSettings,
    repeats: Vec<Running>,
    tickets: Vec<Ticket>,
    unanswered: usize,
    abstained: usize,
}

/// A question that was handed out.
struct Ticket {
    repeat: usize,
    /// Its place in the round.
    at: usize,
    open: bool,
}

/// A repeat and its round under way.
struct Running {
    course: Box<dyn Course>,
    questions: Vec<Question>,
    handed_out: bool,
    said: Vec<Option<Said>>,
    open: usize,
}

impl Plan {
    /// The plan for a group of `candidates`. `seed` decides in which order they are shown.
    ///
    /// # Errors
    ///
    /// Where the settings are out of range for such a group: [`ProtocolSettings::check_for`].
    pub fn new(
        settings: &ProtocolSettings,
        candidates: usize,
        seed: u64,
    ) -> Result<Plan, PlanError> {
        settings.check_for(candidates)?;
        let base = presentation::base(candidates, seed);
        let running = |repeat| {
            let mut running = Running {
                course: course(settings, &base, repeat),
                questions: Vec::new(),
                handed_out: false,
                said: Vec::new(),
                open: 0,
            };
            running.advance();
            running
        };
        Ok(Plan {
            settings: *settings,
            repeats: (0..settings.repeats).map(running).collect(),
            tickets: Vec::new(),
            unanswered: 0,
            abstained: 0,
        })
    }

    /// The questions that can be asked now, each with the ticket that its answer comes back with.
    /// Each is handed out once; answers may make others ready.
    pub fn ready(&mut self) -> Vec<(usize, Question)> {
        let mut ready = Vec::new();
        for (repeat, running) in self.repeats.iter_mut().enumerate() {
            if std::mem::replace(&mut running.handed_out, true) {
                continue;
            }
            for (at, question) in running.questions.iter().enumerate() {
                ready.push((self.tickets.len(), question.clone()));
                self.tickets.push(Ticket { repeat, at, open: true });
            }
        }
        ready
    }

    /// Takes what was said to a question; none where there is no usable answer. What does not fit
    /// the question (an order of another number of candidates, a score for an order, a score that is
    /// not finite) is no usable answer either, and counted as none.
    ///
    /// # Panics
    ///
    /// For a ticket that was not handed out or was answered before.
    pub fn answer(&mut self, ticket: usize, said: Option<Said>) {
        let Some(&Ticket { repeat, at, .. }) = self.tickets.get(ticket) else {
            panic!("ticket {ticket} was never handed out");
        };
        let running = &mut self.repeats[repeat];
        let open = std::mem::take(&mut self.tickets[ticket].open);
        assert!(open, "ticket {ticket} was answered before");
        let said = said.filter(|said| fits(&running.questions[at], said));
        match &said {
            None => self.unanswered += 1,
            Some(Said::Abstained(_)) => self.abstained += 1,
            Some(_) => (),
        }
        running.said[at] = said;
        running.open -= 1;
        if running.open == 0 {
            running.advance();
        }
    }

    /// What the answers came to; none while a question is open or ready.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        if !self.repeats.iter().all(|running| running.questions.is_empty()) {
            return None;
        }
        let says = |order: &Ranking| order.n_placed() > 0;
        let orders = self.repeats.iter().filter_map(|running| running.course.order());
        let votes: Vec<Ranking> = orders.filter(says).collect();
        Some(Outcome {
            ranking: together(self.settings.aggregator, &votes),
            votes,
            unanswered: self.unanswered,
            abstained: self.abstained,
        })
    }
}

impl Running {
    fn advance(&mut self) {
        self.questions = self.course.next(&std::mem::take(&mut self.said));
        self.said = vec![None; self.questions.len()];
        self.open = self.questions.len();
        self.handed_out = false;
    }
}

fn fits(question: &Question, said: &Said) -> bool {
    match (question.kind, said) {
        (_, Said::Abstained(_)) => true,
        (QuestionKind::Pointwise { .. }, Said::Score(score)) => score.is_finite(),
        (QuestionKind::Listwise | QuestionKind::Pairwise, Said::Order(order)) => {
            order.len() == question.shown.len()
        }
        _ => false,
    }
}

fn course(settings: &ProtocolSettings, base: &[usize], repeat: u32) -> Box<dyn Course> {
    let aggregator = settings.aggregator;
    let shown = presentation::shown(base, repeat, settings.repeats);
    match settings.protocol {
        ProtocolConfig::Listwise => Box::new(Listwise::new(shown, repeat)),
        ProtocolConfig::Pairwise { schedule, both_orders } => {
            let pairs = Pairs::new(base, repeat, both_orders, aggregator);
            match schedule {
                Schedule::All => Box::new(All::new(pairs)),
                Schedule::Network => Box::new(Network::new(pairs, shown)),
                Schedule::Tournament { budget } => {
                    Box::new(Tournament::new(pairs, shown, budget / per_pair(both_orders)))
                }
            }
        }
        ProtocolConfig::Pointwise { min, max } => Box::new(Pointwise::new(shown, repeat, min, max)),
        ProtocolConfig::Sliding { window, stride, passes } => {
            let windows = sliding::windows(base.len(), window, stride, passes);
            Box::new(Sliding::new(shown, repeat, aggregator, windows))
        }
    }
}
