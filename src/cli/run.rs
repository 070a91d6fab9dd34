//! `run` and `demo`: the verbs that start something.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use super::{BAD, GOOD, WRONG};
use crate::config::Level;
use crate::shell::configuration;
use crate::shell::daemon::Daemon;
use crate::shell::demo::{self, Network};

/// The daemon in the foreground.
pub fn run(file: &Path) -> u8 {
    let (config, warnings) = match configuration::load(file) {
        Ok((config, warnings)) => (Arc::new(config), warnings),
        Err(faults) => {
            eprintln!("{faults}");
            return BAD;
        }
    };
    crate::private::show(config.logging.show_numbers);
    log_to_stderr(level(config.logging.level));
    warnings.iter().for_each(|finding| tracing::warn!("{finding}"));
    if config.clock.servers.is_empty() {
        tracing::warn!("[Clock] Servers is not set: our dates are the system's, and nobody notices when it is wrong");
    }
    let Some((runtime, seed)) = start() else { return WRONG };
    runtime.block_on(async {
        let daemon = match Daemon::start(config, file.to_owned(), seed).await {
            Ok(daemon) => daemon,
            Err(fault) => {
                tracing::error!("not started: {fault}");
                return WRONG;
            }
        };
        match daemon.run().await {
            Ok(()) => GOOD,
            Err(fault) => {
                tracing::error!("{fault}");
                WRONG
            }
        }
    })
}

/// The demonstration.
pub fn demo(network: Network, once: bool) -> u8 {
    log_to_stderr("warn");
    let Some((runtime, seed)) = start() else { return WRONG };
    if runtime.block_on(demo::run(network, once, seed)) { GOOD } else { WRONG }
}

/// A runtime for signalling (media has its own threads) and a seed from the operating system.
pub(super) fn start() -> Option<(tokio::runtime::Runtime, [u8; 32])> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let mut seed = [0; 32];
    let seeded = openssl::rand::rand_bytes(&mut seed);
    match (runtime, seeded) {
        (Ok(runtime), Ok(())) => Some((runtime, seed)),
        (Err(fault), _) => {
            eprintln!("the runtime does not start: {fault}");
            None
        }
        (_, Err(fault)) => {
            eprintln!("the operating system gives no random numbers: {fault}");
            None
        }
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Lines for a terminal, or without colours and times for the journal, which has its own.
fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_env("DEMARC_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let started = if journal { lines.without_time().try_init() } else { lines.try_init() };
    // Only a second call in the same process fails, and then the first one's lines go on.
    drop(started);
}
