//! The lines of DAHDI's guest, what befalls them, and libpri at their far ends. All of it lives in that guest alone.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What comes at all comes within this.
pub const SOON: Duration = Duration::from_secs(30);

/// Two spans of the kernel's that are connected to each other.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// `T1` or `E1`.
    pub line: &'static str,
    /// The daemon's span.
    pub near: u16,
    /// libpri's.
    pub far: u16,
    /// The first channel of each.
    channels: (u16, u16),
    /// How many channels one has, which is the D channel, and its law.
    shape: (u16, u16, &'static str),
}

/// As `tests/dahdi/system.conf` has them.
pub const T1: Pair = Pair { line: "T1", near: 1, far: 2, channels: (1, 25), shape: (24, 24, "mulaw") };
pub const E1: Pair = Pair { line: "E1", near: 3, far: 4, channels: (49, 80), shape: (31, 16, "alaw") };

impl Pair {
    /// Alarm bits of the near span. A process of its own sets them: see the program.
    pub fn alarm(&self, bits: u32) {
        run("dahdi", &["simulate", &self.near.to_string(), &bits.to_string()]);
    }

    /// The near span's channels are for nothing any more, also those that are open.
    pub fn shut_down(self) -> Unconfigured {
        run("dahdi", &["shutdown", &self.near.to_string()]);
        Unconfigured { pair: self, card: None }
    }

    /// The near span's card goes away, whoever has it open, as when its driver is unbound.
    pub fn pull(self) -> Unconfigured {
        let span = std::fs::canonicalize(format!("/sys/bus/dahdi_spans/devices/span-{}", self.near)).unwrap();
        let device = span.parent().unwrap().to_owned();
        std::fs::write(device.join("unassign_span"), "1").unwrap();
        Unconfigured { pair: self, card: Some(device) }
    }

    /// What is said on the D channel from its far end is no HDLC.
    pub fn break_d_channel(&self) {
        self.configure(self.channels.1, "bchan");
    }

    /// It is HDLC again.
    pub fn mend_d_channel(&self) {
        self.configure(self.channels.1, "dchan");
    }

    /// Says again what a span's channels are for, as an administrator's start script does.
    fn configure(&self, first: u16, d_channel: &str) {
        let (count, d_timeslot, law) = self.shape;
        let (last, d_number) = (first + count - 1, first + d_timeslot - 1);
        let mut conf = format!("{law}={first}-{last}\n{d_channel}={d_number}\nbchan={first}-{}\n", d_number - 1);
        if d_number < last {
            conf += &format!("bchan={}-{last}\n", d_number + 1);
        }
        let file = std::env::temp_dir().join("span.conf");
        std::fs::write(&file, conf).unwrap();
        run("dahdi_cfg", &["-c", file.to_str().unwrap()]);
    }
}

/// A span whose channels are for nothing. When this is dropped they are for what they were, and a card that is away is back.
pub struct Unconfigured {
    pair: Pair,
    /// Where to put the card that is away.
    card: Option<PathBuf>,
}

impl Unconfigured {
    /// The card is there again, but nobody says yet what its channels are for.
    pub fn plug(&mut self) {
        if let Some(device) = self.card.take() {
            let numbers = format!("1:{}:{}", self.pair.near, self.pair.channels.0);
            std::fs::write(device.join("assign_span"), numbers).unwrap();
        }
    }
}

impl Drop for Unconfigured {
    fn drop(&mut self) {
        self.plug();
        self.pair.configure(self.pair.channels.0, "dchan");
    }
}

fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program} {arguments:?}");
}

/// libpri in real time.
pub struct FarEnd {
    program: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
    waiting: VecDeque<String>,
}

impl FarEnd {
    /// `network` or `user`, and a switch type.
    pub fn start(pair: &Pair, side: &str, switch: &str) -> FarEnd {
        let d_channel = pair.channels.1 + pair.shape.1 - 1;
        let mut command = Command::new("libpri");
        command.args([side, switch, &d_channel.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = command.spawn().unwrap();
        let (orders, said) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
        let (post, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                println!("  libpri: {line}");
                let _ = post.send(line);
            }
        });
        FarEnd { program, orders, lines, waiting: VecDeque::new() }
    }

    /// It is there no more.
    pub fn stop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }

    /// Orders one line of those that the program lists.
    pub fn order(&mut self, line: &str) {
        writeln!(self.orders, "{line}").unwrap();
    }

    /// The next event of that name; others wait.
    #[track_caller]
    pub fn hears(&mut self, name: &str) -> String {
        let is = |line: &String| line.split(' ').nth(1) == Some(name);
        if let Some(at) = self.waiting.iter().position(is) {
            return self.waiting.remove(at).unwrap();
        }
        let end = Instant::now() + SOON;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("libpri tells of no {name}; it told {:?}", self.waiting));
            if is(&line) {
                return line;
            }
            self.waiting.push_back(line);
        }
    }

    /// A number that the next event of that name tells.
    #[track_caller]
    pub fn hears_number(&mut self, name: &str, key: &str) -> i64 {
        value(&self.hears(name), key)
    }

    /// The same of a call.
    #[track_caller]
    pub fn hears_of(&mut self, name: &str, call: i64, key: &str) -> i64 {
        let line = self.hears(name);
        assert_eq!(value(&line, "call"), call, "{line}");
        value(&line, key)
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What an event says of a key.
#[track_caller]
pub fn value(line: &str, key: &str) -> i64 {
    let found = line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {key} in {line}"))
}
