//! One continuation as it grows: its text, its log-probabilities, and when it ends.

use std::sync::Arc;

use rlaif_model::hf::ChatTokenizer;
use rlaif_rollout::Observed;

use super::reply::{Alternative, Event, Finish, TokenLogprob};
use super::request::Wish;
use super::text::{Detokeniser, Retracted, Stops};

/// One of a request's `n` replies.
#[derive(Debug)]
pub struct Continuation {
    index: usize,
    text: Detokeniser,
    stops: Stops,
    top_logprobs: Option<usize>,
}

impl Continuation {
    /// Reply number `index` of a request, before its first token.
    #[must_use]
    pub fn new(index: usize, tokenizer: Arc<ChatTokenizer>, wish: &Wish) -> Self {
        Continuation {
            index,
            text: Detokeniser::new(tokenizer),
            stops: Stops::new(wish.stops.clone()),
            top_logprobs: wish.top_logprobs,
        }
    }

    /// Its number among the request's replies.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// What a token brings, and why the reply ends with it where it does. `last` says that there
    /// is no room for another.
    ///
    /// An end token has neither text nor log-probabilities to tell; tokens of a stop string have
    /// log-probabilities.
    ///
    /// # Errors
    ///
    /// [`Retracted`] where the tokenizer's decoder changed text that was sent.
    pub fn see(
        &mut self,
        token: &Observed<'_>,
        last: bool,
    ) -> Result<(Event, Option<Finish>), Retracted> {
        let top = self.top_logprobs.filter(|_| !token.ends);
        let logprob = top.map(|top| self.logprob(token, top));
        let mut piece =
            if token.ends { String::new() } else { self.text.push(token.choice.token)? };
        if token.ends || last {
            piece.push_str(&self.text.finish()?);
        }
        let (mut text, met) = self.stops.push(&piece);
        let ended = match (token.ends || met, last) {
            (true, _) => Some(Finish::Stop),
            (false, true) => Some(Finish::Length),
            (false, false) => None,
        };
        if ended.is_some() && !met {
            text.push_str(&self.stops.finish());
        }
        Ok((Event::Token { choice: self.index, text, logprob }, ended))
    }

    fn logprob(&self, token: &Observed<'_>, top: usize) -> TokenLogprob {
        let mut likeliest: Vec<usize> =
            (0..token.row.len()).filter(|id| token.row[*id] > f32::NEG_INFINITY).collect();
        // Ties keep the vocabulary's order.
        let by_logprob =
            |a: &usize, b: &usize| token.row[*b].total_cmp(&token.row[*a]).then(a.cmp(b));
        if top > 0 && top < likeliest.len() {
            likeliest.select_nth_unstable_by(top, by_logprob);
        }
        likeliest.truncate(top);
        likeliest.sort_by(by_logprob);
        TokenLogprob {
            token: self.alternative(token.choice.token, token.choice.logprob),
            top_logprobs: likeliest
                .into_iter()
                .filter_map(|id| Some(self.alternative(u32::try_from(id).ok()?, token.row[id])))
                .collect(),
        }
    }

    fn alternative(&self, id: u32, logprob: f32) -> Alternative {
        let token = self.text.would_add(id);
        let bytes = self.text.bytes(id).or_else(|| {
            let whole = !token.contains('\u{FFFD}');
            whole.then(|| token.as_bytes().to_vec())
        });
        Alternative { token, logprob, bytes }
    }
}
