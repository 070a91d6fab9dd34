//! Arguments and verbs (CONTRACT, "One binary"). Exit codes: 0 good, 1 something is wrong, 2 bad
//! usage or bad configuration.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ask;
mod certificate;
pub mod check;
mod doctor;
mod live;
mod run;
mod spans;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Web;
use crate::shell::configuration;
use crate::shell::demo::Network;

/// Good.
pub const GOOD: u8 = 0;
/// Something is wrong: a failed check, an unhealthy box, a failed call.
pub const WRONG: u8 = 1;
/// Bad usage or bad configuration.
pub const BAD: u8 = 2;

/// An open mediation server: Microsoft voice on one side, the telephone network on the other.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// The configuration.
    #[arg(long, global = true, value_name = "PATH", default_value = "/etc/demarc/demarc.ini")]
    config: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args)]
struct Json {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// The daemon in the foreground: SIGHUP reloads, SIGTERM drains.
    Run,
    /// Two calls and a transfer through a box on this machine: demo certificates, telephones at each end, the result.
    Demo {
        /// End after the calls; exit 0 only if both were good.
        #[arg(long)]
        once: bool,
        /// What stands for the telephone network: a T1 with a telephone exchange, or a SIP gateway.
        #[arg(long, value_enum, default_value = "t1")]
        gateway: Network,
    },
    /// All faults of a configuration at once; no network.
    Check(check::Check),
    /// Live probes: certificate, DNS, peers, clock, transfers; what users would notice, and what to do.
    Doctor(Json),
    /// Judges a certificate chain by the rules of those who shall take it.
    Certificate(certificate::Certificate),
    /// How the running daemon and its trunks stand.
    Status(Json),
    /// The live calls.
    Calls(Json),
    /// The lines, and orders to them.
    Spans(spans::Spans),
    /// The ladder of a live or recent call, both legs, and why it ended.
    Trace {
        /// The call's id, its first letters, or `last`.
        id: String,
        /// Hide numbers and names, for a carrier's ticket.
        #[arg(long)]
        redact: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Tells the running daemon to read its configuration again.
    Reload,
    /// Tells the running daemon to take no new calls and to end after the last one.
    Drain,
}

/// The program.
pub fn main() -> ExitCode {
    let Cli { config, verb } = Cli::parse();
    ExitCode::from(match verb {
        Verb::Run => run::run(&config),
        Verb::Demo { once, gateway } => run::demo(gateway, once),
        Verb::Check(check) => return check.run(&config),
        Verb::Doctor(json) => doctor::examine(&config, json.json),
        Verb::Certificate(certificate) => certificate.run(),
        Verb::Status(json) => asked(&config, |web| live::status(web, json.json)),
        Verb::Calls(json) => asked(&config, |web| live::calls(web, json.json)),
        Verb::Spans(spans) => asked(&config, |web| spans.ask(web)),
        Verb::Trace { id, redact, json } => asked(&config, |web| live::trace(web, &id, json.json, redact)),
        Verb::Reload => match configuration::load_text(&config) {
            Ok((config, _)) => shown(live::reload(&config.web)),
            Err(faults) => bad(&faults),
        },
        Verb::Drain => asked(&config, live::drain),
    })
}

/// Asks the running daemon and prints what it says, also while its file is half edited.
fn asked(file: &Path, ask: impl FnOnce(&Web) -> Result<String, ask::Unanswered>) -> u8 {
    let (web, faults) = match configuration::load_web(file) {
        Ok(asked) => asked,
        Err(fault) => return bad(&fault),
    };
    match (ask(&web), faults) {
        (Err(ask::Unanswered::Off | ask::Unanswered::Down(..)), Some(faults)) => bad(&faults),
        (answer, None) => shown(answer),
        (answer, Some(_)) => {
            eprintln!("{} cannot be used as it is now: see demarc check. The daemon runs as it was:", file.display());
            shown(answer)
        }
    }
}

/// Prints a result.
fn say(text: &str) {
    // Whoever reads no further (`head`) has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
}

fn bad(faults: &str) -> u8 {
    eprintln!("{faults}");
    BAD
}

fn shown(answer: Result<String, ask::Unanswered>) -> u8 {
    match answer {
        Ok(text) => {
            say(&format!("{}\n", text.trim_end()));
            GOOD
        }
        Err(fault) => {
            eprintln!("{fault}");
            WRONG
        }
    }
}
