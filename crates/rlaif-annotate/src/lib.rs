//! The page on which people put answers in order, and the server behind it.
//!
//! ```text
//! tasks in the ledger -> page: clip, question, answers in an order of the annotator's own
//!                     -> verdicts in the ledger
//! ```
//!
//! [`Server::start`] serves the tasks of a [`Desk`](rlaif_oracle::Desk); whoever waits for the
//! verdicts, a training run or a file to be ranked, reads them there. [`groups`] files such rows and collects their orders, [`shown`] is the order in which an
//! annotator sees the answers; [`server`] says who may connect. The page is three files
//! of `src/assets`, compiled in: it asks nothing of any other server.

mod answers;
mod api;
mod clips;
mod failure;
pub mod groups;
mod guard;
mod leases;
mod page;
pub mod server;
pub mod shown;

pub use groups::{Groups, GroupsError};
pub use server::{ServeError, Server, ServerOptions};
pub use shown::shown_order;
