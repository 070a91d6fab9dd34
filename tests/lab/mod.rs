//! The acceptance lab: the daemon under test, and around it telephones and gateways that are not ours.
//!
//! A [`Lab`] owns a corner of the loopback network, a folder and a certificate authority, so that tests run side by
//! side. When a test fails, the logs of everything that ran in its lab are printed.

#![allow(dead_code, reason = "each test binary uses its own part of the lab")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a fault of the lab fails the test")]
#![allow(clippy::print_stderr, unused_imports, reason = "as above")]

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

mod audio;
mod bad_line;
mod browser;
mod cable;
mod child;
mod daemon;
pub mod dahdi;
mod libpri;
mod net;
mod peer;
mod phone;
mod pki;
mod rest;
pub mod sequence;
mod sipp;
mod time;
mod tty;

pub use audio::{Verdict, loudness, pesq, python, recording, samples, share, speech};
pub use bad_line::BadLine;
pub use browser::Browser;
pub use cable::{Cable, Ours, line, terms};
pub use child::Running;
pub use daemon::{Demarc, Gateway, LYNC_NAME, Setup, demarc, get, get_with};
pub use libpri::{Libpri, Said};
pub use net::{Net, connect_from};
pub use peer::{Dialog, Message, Peer, Received, Sdp};
pub use phone::{Line, Phone};
pub use pki::{Authority, Leaf, Paper};
pub use rest::{Asked, Reply, Rest};
pub use sipp::{Scenario, Sipp};
pub use time::{Chrony, Liar, Lie, Wall};
pub use tty::Tty;

/// One test's surroundings.
pub struct Lab {
    /// Its addresses and ports.
    pub net: Net,
    /// Whom both sides trust.
    pub authority: Authority,
    folder: tempfile::TempDir,
    logs: RefCell<Vec<(String, PathBuf)>>,
}

impl Lab {
    /// Surroundings that no other running test shares.
    pub fn new() -> Lab {
        Lab {
            net: Net::claim(),
            authority: Authority::new(),
            folder: tempfile::tempdir().unwrap(),
            logs: RefCell::default(),
        }
    }

    /// A path inside the lab's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder inside the lab's folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Writes a file into the lab's folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A log that is printed when the test fails.
    pub fn log(&self, name: &str) -> PathBuf {
        let path = self.path(&format!("{name}.log"));
        self.logs.borrow_mut().push((name.to_owned(), path.clone()));
        path
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            for (name, path) in self.logs.borrow().iter() {
                println!("---- {name}\n{}", tail(path, 150));
            }
        }
    }
}

/// The last lines of a file, each cut to a screen's width.
fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "{}", line.chars().take(400).collect::<String>());
        out
    })
}

/// Is a peer there? When not, says how to get it; under `DEMARC_REQUIRE_PEERS=1` that fails the test.
pub fn installed(program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).any(|folder| folder.join(program).is_file());
    found || missing(&format!("{program} is not installed (apt-get install {package})"))
}

/// Says why a test is skipped; under `DEMARC_REQUIRE_PEERS=1` fails it instead. Always false.
pub fn missing(why: &str) -> bool {
    assert!(std::env::var_os("DEMARC_REQUIRE_PEERS").is_none_or(|value| value != "1"), "{why}");
    println!("skipped: {why}");
    eprintln!("skipped: {why}");
    false
}

/// Asks until the answer is there, at most for `limit`; `what` is what did not happen.
#[track_caller]
pub fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whole seconds.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
