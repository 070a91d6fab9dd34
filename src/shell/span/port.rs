//! One line: its driver is opened, frames are carried between its D channel and the switch, its alarms are watched. One whose
//! card or driver goes away is opened again, and again, until it is there.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use firmware_io::dahdi::Dahdi;
use firmware_io::e1d::E1d;
use firmware_io::simulated::{Cable, Pacer};
use firmware_io::{Alarms, DChannel, Span, SpanError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::FarEnds;
use super::driver::{Driven, Held};
use crate::call::FromSpan;
use crate::config::{self, Driver};
use crate::hop::SpanId;

/// A full D channel has room again after so long: a frame of 30 octets.
const FULL: Duration = Duration::from_millis(4);
/// Waits between two tries to open a line.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The longest frame: more than N201 and its header (ITU-T Q.921 section 5.9.3), to see that one was too long.
const LONGEST: usize = 512;

/// What one line's task knows.
pub(super) struct Task {
    pub settings: Arc<config::Span>,
    pub driven: Driven,
    pub arrivals: mpsc::Sender<(SpanId, FromSpan)>,
    /// Lets time pass on simulated lines.
    pub pacer: Option<Arc<Pacer>>,
    pub far_ends: FarEnds,
    /// All lines.
    pub lines: watch::Receiver<Vec<Arc<config::Span>>>,
}

impl Task {
    /// Runs until nobody listens any more, or it is aborted. `frames` go to the D channel.
    pub async fn run(self: Arc<Task>, mut frames: mpsc::Receiver<Vec<u8>>) {
        let mut wait = AGAIN.0;
        loop {
            let began = Instant::now();
            let ended = match self.clone().open().await {
                Ok(open) => self.serve(open, &mut frames).await,
                Err(fault) => Err(fault),
            };
            let closed = self.driven.ask(|held| {
                held.closed();
                Ok(())
            });
            // A driver that broke is no longer open.
            let _ = closed.await;
            let Err(fault) = ended else { return };
            wait = if began.elapsed() > AGAIN.1 { AGAIN.0 } else { wait };
            let name = &self.settings.name;
            warn!(span = name, again_seconds = wait.as_secs(), "{name} is not there: {fault}");
            self.tell(FromSpan::Gone(fault.to_string())).await;
            sleep(wait).await;
            wait = (2 * wait).min(AGAIN.1);
        }
    }

    async fn open(self: Arc<Task>) -> Result<Open, SpanError> {
        let driven = self.driven.clone();
        driven
            .ask(move |held| {
                let mut span = self.driver()?;
                if span.line() != self.settings.line {
                    return Err(SpanError::NotConfigured("it is of the other kind, T1 or E1, than Line says"));
                }
                let d_channel = self.settings.signals().then(|| span.d_channel()).transpose()?;
                let news = watched(span.ready())?;
                let frames = d_channel.as_ref().map(|channel| watched(channel.ready())).transpose()?;
                let alarms = span.alarms();
                held.opened(span)?;
                Ok(Open { news, frames, d_channel, alarms })
            })
            .await
    }

    fn driver(&self) -> Result<Box<dyn Span>, SpanError> {
        match &self.settings.driver {
            Driver::Simulated => {
                let pacer = self.pacer.as_ref().ok_or(SpanError::NotConfigured("nobody lets time pass on it"))?;
                let (cable, near, far) = Cable::new(self.settings.line, self.settings.id.0.into())?;
                pacer.add(cable);
                let group =
                    config::span::sharing(&self.lines.borrow(), self.settings.signalled_by()).cloned().collect();
                (self.far_ends)(group, self.settings.id, far);
                Ok(Box::new(near))
            }
            Driver::Dahdi(number) => Ok(Box::new(Dahdi::open(*number)?)),
            Driver::E1d(address) => Ok(Box::new(E1d::open(address)?)),
        }
    }

    /// Carries frames and alarms until the line is gone, or nobody listens any more.
    async fn serve(&self, mut open: Open, frames: &mut mpsc::Receiver<Vec<u8>>) -> Result<(), SpanError> {
        let name = &self.settings.name;
        info!(span = name, alarms = %open.alarms, "{name} is open");
        self.tell(FromSpan::Alarms(open.alarms)).await;
        let mut waiting: Option<Vec<u8>> = None;
        let mut room = Instant::now();
        loop {
            tokio::select! {
                news = open.news.readable() => {
                    news?.clear_ready();
                    if let Some(alarms) = self.driven.ask(Held::poll).await? {
                        self.tell(FromSpan::Alarms(alarms)).await;
                    }
                }
                came = readable(open.frames.as_ref()) => {
                    came?;
                    let Some(channel) = &mut open.d_channel else { continue };
                    let mut frame = [0; LONGEST];
                    while let Some(length) = channel.receive(&mut frame)? {
                        self.tell(FromSpan::Frame(frame[..length].to_vec())).await;
                    }
                }
                frame = frames.recv(), if waiting.is_none() => match frame {
                    Some(frame) => waiting = Some(frame),
                    None => return Ok(()),
                },
                () = sleep_until(room), if waiting.is_some() => {
                    let Some(channel) = &mut open.d_channel else { waiting = None; continue };
                    match waiting.as_deref().map(|frame| channel.send(frame)) {
                        Some(Err(full)) if full.kind() == io::ErrorKind::WouldBlock => room = Instant::now() + FULL,
                        Some(Err(fault)) => return Err(fault.into()),
                        Some(Ok(())) | None => waiting = None,
                    }
                }
            }
        }
    }

    async fn tell(&self, arrival: FromSpan) {
        // A switch that has ended needs no news.
        let _ = self.arrivals.send((self.settings.id, arrival)).await;
    }
}

/// An open line.
struct Open {
    news: AsyncFd<OwnedFd>,
    frames: Option<AsyncFd<OwnedFd>>,
    d_channel: Option<Box<dyn DChannel>>,
    alarms: Alarms,
}

#[allow(deprecated, reason = "the descriptor is ours and lives as long as its registration")]
fn watched(ready: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(ready.try_clone_to_owned()?, Interest::READABLE)
}

/// Waits until the D channel has something; for ever where there is none. The caller reads until nothing is left.
async fn readable(frames: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    match frames {
        Some(frames) => frames.readable().await.map(|mut guard| guard.clear_ready()),
        None => std::future::pending().await,
    }
}
