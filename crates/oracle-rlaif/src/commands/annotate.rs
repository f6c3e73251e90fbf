//! `annotate`: a page on which people rank, for a training run or for the rows of a file.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::candidates::{CandidateRow, read_candidates, write_candidates};
use oracle_rlaif::judges;
use rlaif_annotate::{Groups, Server, ServerOptions};
use rlaif_data::Reader;
use rlaif_oracle::{Desk, Ledger};
use rlaif_rank::Aggregator;

use super::progress::{print, say};
use super::{Context, Outcome};

/// How often `--out` is written while people rank.
const WRITE_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("desk").required(true))]
pub(crate) struct AnnotateArgs {
    /// Run folder whose Oracle is `human`: its groups appear while it trains
    #[arg(long, value_name = "DIR", group = "desk")]
    run: Option<PathBuf>,
    /// Ledger that holds the groups and keeps what is said of them
    #[arg(long, value_name = "FILE.sqlite", group = "desk")]
    ledger: Option<PathBuf>,
    /// Rows with `candidates` to rank, JSONL
    #[arg(long, value_name = "GROUPS.jsonl", requires = "ledger")]
    data: Option<PathBuf>,
    /// Where the rows of `--data` go once they are ranked; brought up to date all the time
    #[arg(long, value_name = "RANKED.jsonl", requires = "data")]
    out: Option<PathBuf>,
    /// Annotators that rank each row of `--data`
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    annotators: u32,
    /// How their orders become one: borda, copeland, kemeny, `bradley_terry` or `plackett_luce`
    #[arg(long, default_value = "borda", value_parser = aggregator)]
    aggregation: Aggregator,
    /// Address to listen on; any but a loopback one asks for the token of the printed URL
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8765)]
    port: u16,
}

fn aggregator(text: &str) -> Result<Aggregator, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

pub(crate) fn run(context: &Context, args: &AnnotateArgs) -> Result<Outcome> {
    let desk = Desk::new(Arc::new(open(args)?));
    let filed = match &args.data {
        Some(path) => Some(Filed::new(&desk, path, args)?),
        None => None,
    };
    let server = Server::start(desk.clone(), ServerOptions { host: args.host, port: args.port })?;
    let control = context.control.clone();
    ctrlc::set_handler(move || {
        if control.stopping() {
            std::process::exit(130);
        }
        control.stop();
    })?;
    print(&server.url());
    if args.host.is_unspecified() {
        say("reached from elsewhere under this machine's name; who has the address may rank");
    }
    if !context.quiet {
        say("Ctrl-C ends it; what is submitted is kept");
    }
    let mut written = Written::default();
    while !context.control.stopping() && server.is_running() {
        std::thread::sleep(LOOK_EVERY);
        if let Some(filed) = &filed {
            written.keep_up(filed, WRITE_EVERY)?;
        }
    }
    server.stop()?;
    if let Some(filed) = &filed {
        written.keep_up(filed, Duration::ZERO)?;
        filed.report(&written);
    }
    Ok(Outcome::Done)
}

fn open(args: &AnnotateArgs) -> Result<Ledger> {
    let path = match (&args.run, &args.ledger) {
        (Some(run), _) => {
            if !run.is_dir() {
                bail!("`{}` is no folder of a run", run.display());
            }
            run.join(judges::LEDGER)
        }
        (None, Some(ledger)) => {
            if args.data.is_none() && !ledger.is_file() {
                bail!(
                    "there is no ledger `{}`: name that of a run, or give the rows with `--data`",
                    ledger.display()
                );
            }
            ledger.clone()
        }
        (None, None) => bail!("name a run with `--run` or a ledger with `--ledger`"),
    };
    Ok(Ledger::open(&path)?)
}

/// The rows of `--data`.
struct Filed {
    desk: Desk,
    rows: Vec<CandidateRow>,
    groups: Groups,
    out: Option<PathBuf>,
}

/// What of `--out` is up to date.
#[derive(Default)]
struct Written {
    changes: Option<u64>,
    at: Option<Instant>,
    ranked: usize,
}

impl Filed {
    fn new(desk: &Desk, path: &std::path::Path, args: &AnnotateArgs) -> Result<Self> {
        let rows = read_candidates(path, &Reader::default())?;
        let pairs = rows.iter().map(|row| (&row.example, row.candidates.as_slice()));
        let groups = Groups::file(desk.clone(), pairs, args.annotators, args.aggregation)?;
        Ok(Filed { desk: desk.clone(), rows, groups, out: args.out.clone() })
    }

    /// The rows with an order of people's.
    fn ranked(&self) -> Result<Vec<CandidateRow>> {
        let rankings = self.groups.rankings()?;
        let ranked = self.rows.iter().zip(rankings).filter_map(|(row, ranking)| {
            let ranking = ranking?.to_string();
            Some(CandidateRow { ranking: Some(ranking), ..row.clone() })
        });
        Ok(ranked.collect())
    }

    fn report(&self, written: &Written) {
        let place = match &self.out {
            Some(out) => format!(", written to {}", out.display()),
            None => String::new(),
        };
        say(&format!("{} of {} rows are ranked{place}", written.ranked, self.rows.len()));
    }
}

impl Written {
    /// Writes the rows that are ranked, where something was said since, at most once in `pause`.
    fn keep_up(&mut self, filed: &Filed, pause: Duration) -> Result<()> {
        if self.at.is_some_and(|at| at.elapsed() < pause) {
            return Ok(());
        }
        self.at = Some(Instant::now());
        let changes = filed.desk.changes()?;
        if self.changes == Some(changes) {
            return Ok(());
        }
        let ranked = filed.ranked()?;
        if let Some(out) = &filed.out {
            write_candidates(out, &ranked)
                .with_context(|| "the verdicts are in the ledger; only the file is missing")?;
        }
        self.changes = Some(changes);
        self.ranked = ranked.len();
        Ok(())
    }
}
