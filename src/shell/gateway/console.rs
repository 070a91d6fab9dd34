//! One gateway's serial console: bytes between the line's driver and the dialogue.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use firmware_io::{Console as _, Serial, SerialError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::{Teller, first_line};
use crate::config::{Console, SecretSource, Typed};
use crate::console::{Dialogue, Fault, Input, Output};
use crate::gateway::Voice;
use crate::hop::TrunkId;
use crate::shell::clock::Clock;
use crate::time::Instant;

/// A pause after each piece that is read: a line that floods us costs a bounded amount.
const BREATH: Duration = Duration::from_millis(20);
const PIECE: usize = 4096;
/// How long a line may take nothing; 200 characters at 1200 bit/s take 2 s.
const STUCK: Duration = Duration::from_secs(5);
/// Where systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Talks until it is aborted.
pub(super) async fn run(clock: Clock, trunk: TrunkId, console: Console, tell: Teller) {
    let speed = console.script.as_ref().map(|script| script.speed);
    let dialogue = Dialogue::new(clock.now().mono, console.script.clone());
    let line = speed.map(|speed| Line::new(console.device.clone(), speed));
    Task { clock, trunk, device: console.device, dialogue, line, tell, out: Vec::new() }.run().await;
}

struct Task {
    clock: Clock,
    trunk: TrunkId,
    device: PathBuf,
    dialogue: Dialogue,
    /// None where the device is only looked at.
    line: Option<Line>,
    tell: Teller,
    out: Vec<Output>,
}

/// What there is to do next.
enum Next {
    Heard(Result<Vec<u8>, Fault>),
    Write,
    Tick,
}

impl Task {
    async fn run(mut self) {
        loop {
            let next = self.next().await;
            match next {
                Next::Heard(Ok(bytes)) => {
                    self.take(Input::Opened).await;
                    if !bytes.is_empty() {
                        self.take(Input::Bytes(&bytes)).await;
                        sleep(BREATH).await;
                    }
                }
                Next::Heard(Err(fault)) => self.take(Input::Away(fault)).await,
                Next::Write => self.write().await,
                Next::Tick => self.take(Input::Tick).await,
            }
        }
    }

    async fn next(&mut self) -> Next {
        let deadline = self.clock.until(self.dialogue.timeout());
        let Some(line) = &mut self.line else {
            deadline.await;
            return Next::Tick;
        };
        let unwritten = !line.unwritten.is_empty();
        tokio::select! {
            heard = line.read() => Next::Heard(heard),
            () = sleep(BREATH), if unwritten => Next::Write,
            () = deadline => Next::Tick,
        }
    }

    /// Lets the dialogue think and does what it says.
    async fn take(&mut self, input: Input<'_>) {
        self.dialogue.handle(self.clock.now().mono, input, &mut self.out);
        while !self.out.is_empty() {
            for output in std::mem::take(&mut self.out) {
                match output {
                    Output::Say(word) => self.tell.word(self.trunk, Voice::Console, word).await,
                    Output::Look => self.look().await,
                    Output::Space => self.type_bytes(b" ").await,
                    Output::Type(typed) => match text(typed).await {
                        Some(text) => self.type_bytes(format!("{text}\r").as_bytes()).await,
                        None => self.think(Input::Untyped(Fault::NoSecret)),
                    },
                }
            }
        }
    }

    fn think(&mut self, input: Input<'_>) {
        self.dialogue.handle(self.clock.now().mono, input, &mut self.out);
    }

    async fn look(&mut self) {
        let found = tokio::fs::metadata(&self.device).await;
        self.think(found.map_or_else(|fault| Input::Away(why(&fault)), |_| Input::Opened));
    }

    async fn type_bytes(&mut self, bytes: &[u8]) {
        let now = self.clock.now().mono;
        if let Some(line) = &mut self.line {
            line.unwritten.extend_from_slice(bytes);
            line.stuck_at = now + STUCK;
        }
        self.write().await;
    }

    /// Writes what the line takes. Half a command must never be completed by the next one: a line that is stuck is dropped.
    async fn write(&mut self) {
        let now = self.clock.now().mono;
        let Some(line) = &mut self.line else { return };
        line.write();
        if !line.unwritten.is_empty() && now >= line.stuck_at {
            line.reopen();
            self.think(Input::Untyped(Fault::Stuck));
        }
    }
}

/// What is typed; `None` when a secret is not where it should be. It is read anew each time and kept nowhere.
async fn text(typed: Typed) -> Option<String> {
    match typed {
        Typed::Text(text) => Some(text),
        Typed::Secret(SecretSource::File(file)) => first_line(file).await,
        Typed::Secret(SecretSource::Credential(name)) => {
            first_line(Path::new(&std::env::var_os(CREDENTIALS)?).join(name)).await
        }
    }
}

/// A serial line and what it has not taken yet.
struct Line {
    device: PathBuf,
    speed: u32,
    /// The driver, and its readiness.
    serial: Result<(Serial, AsyncFd<OwnedFd>), Fault>,
    /// Nobody has heard yet how it stands.
    news: bool,
    unwritten: Vec<u8>,
    stuck_at: Instant,
}

impl Line {
    fn new(device: PathBuf, speed: u32) -> Line {
        let serial = open(&device, speed).map_err(|fault| Fault::Unopened(fault.to_string()));
        Line { device, speed, serial, news: true, unwritten: Vec::new(), stuck_at: Instant::START }
    }

    fn reopen(&mut self) {
        // What holds the line must be gone before it is opened again.
        self.serial = Err(Fault::HungUp);
        *self = Line::new(std::mem::take(&mut self.device), self.speed);
    }

    /// Is the line there?
    fn stands(&self) -> Result<(), Fault> {
        match &self.serial {
            Ok((serial, _)) => serial.fault().map_or(Ok(()), |fault| Err(why(fault))),
            Err(fault) => Err(fault.clone()),
        }
    }

    /// What came, nothing when the line is there; else why it is away. Waits until there is news.
    async fn read(&mut self) -> Result<Vec<u8>, Fault> {
        let mut piece = Vec::new();
        match &mut self.serial {
            _ if std::mem::take(&mut self.news) => {}
            Ok((serial, ready)) => {
                let mut guard = ready.readable().await.map_err(|fault| why(&fault))?;
                piece.resize(PIECE, 0);
                let read = serial.read(&mut piece);
                if !matches!(read, Ok(1..)) {
                    guard.clear_ready();
                }
                piece.truncate(read.unwrap_or_default());
            }
            Err(_) => {
                sleep(STUCK).await;
                self.reopen();
                self.news = false;
            }
        }
        self.stands().map(|()| piece)
    }

    fn write(&mut self) {
        let Ok((serial, _)) = &mut self.serial else { return self.unwritten.clear() };
        while !self.unwritten.is_empty() {
            match serial.write(&self.unwritten) {
                Ok(0) => return,
                Ok(taken) => drop(self.unwritten.drain(..taken)),
                Err(_) => {
                    self.news = true;
                    self.unwritten.clear();
                }
            }
        }
    }
}

#[allow(deprecated, reason = "what is watched is a descriptor that is owned, and stays open as long as it is watched")]
fn open(device: &Path, speed: u32) -> Result<(Serial, AsyncFd<OwnedFd>), SerialError> {
    let serial = Serial::new(device, speed)?;
    let ready = AsyncFd::with_interest(serial.ready().try_clone_to_owned()?, Interest::READABLE)?;
    Ok((serial, ready))
}

fn why(fault: &io::Error) -> Fault {
    match fault.kind() {
        ErrorKind::NotFound => Fault::Absent,
        ErrorKind::PermissionDenied => Fault::Forbidden,
        ErrorKind::WouldBlock | ErrorKind::ResourceBusy => Fault::Held,
        ErrorKind::UnexpectedEof | ErrorKind::NotConnected => Fault::HungUp,
        _ if fault.raw_os_error() == Some(libc::EIO) => Fault::HungUp,
        _ => Fault::Unopened(fault.to_string()),
    }
}
