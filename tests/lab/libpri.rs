//! libpri as the far end of a D channel, in virtual time: the program `tests/peers/libpri.c`, which is built here.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use super::{installed, missing};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/libpri.c");

/// What the far end does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A frame for us.
    Frame(Vec<u8>),
    /// What it tells its user: `ring call=0 channel=3 ...`.
    Event(String),
    /// A complaint.
    Complaint(String),
}

/// A running libpri.
pub struct Libpri {
    child: Child,
    orders: ChildStdin,
    lines: BufReader<ChildStdout>,
    /// When it next wants to be told the time, in its milliseconds.
    pub due: Option<u64>,
}

impl Libpri {
    /// `network` or `user`, and a switch type; with what it says at once. `None`, said, without libpri or a compiler.
    pub fn start(side: &str, switch: &str) -> Option<(Libpri, Vec<Said>)> {
        let program = program()?;
        let mut command = Command::new(program);
        command.args([side, switch]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (orders, lines) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut libpri = Libpri { child, orders, lines: BufReader::new(lines), due: None };
        let said = libpri.said();
        Some((libpri, said))
    }

    /// Orders one line of those that the program lists; what comes of it.
    pub fn order(&mut self, line: &str) -> Vec<Said> {
        writeln!(self.orders, "{line}").unwrap();
        self.said()
    }

    /// It is so late, in milliseconds.
    pub fn at(&mut self, time: u64) -> Vec<Said> {
        self.order(&format!("at {time}"))
    }

    /// Hears a frame.
    pub fn hears(&mut self, octets: &[u8]) -> Vec<Said> {
        let hex = octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        self.order(&format!("frame {hex}"))
    }

    fn said(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "libpri ended; it said {said:?}");
            let (kind, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            match kind {
                "frame" => said.push(Said::Frame(octets(rest))),
                "event" => said.push(Said::Event(rest.to_owned())),
                "done" => {
                    self.due = rest.parse().ok();
                    return said;
                }
                _ => said.push(Said::Complaint(rest.to_owned())),
            }
        }
    }
}

impl Drop for Libpri {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Built once for each test binary, in a folder of the build's own.
fn program() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> Option<PathBuf> {
    if !installed("cc", "gcc") {
        return None;
    }
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("libpri");
    let new = program.with_extension(std::process::id().to_string());
    let built = Command::new("cc").args(["-O1", "-o"]).arg(&new).args([SOURCE, "-lpri"]).output().unwrap();
    let why = String::from_utf8_lossy(&built.stderr).into_owned();
    if !built.status.success() {
        let lacking = why.contains("libpri.h") || why.contains("-lpri");
        assert!(lacking, "{why}");
        missing("libpri is not installed (apt-get install libpri-dev)");
        return None;
    }
    std::fs::rename(new, &program).unwrap();
    Some(program)
}
