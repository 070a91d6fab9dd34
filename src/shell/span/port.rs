//! One line: its driver is opened, frames are carried between its D channel and the switch, its alarms are watched. One whose
//! card or driver goes away is opened again, and again, until it is there.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use firmware_io::dahdi::Dahdi;
use firmware_io::e1d::E1d;
use firmware_io::simulated::{self, Cable, End, Pacer};
use firmware_io::{Alarms, Captured, DChannel, Faults, Faulty, Span, SpanError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::super::clock::Clock;
use super::FarEnds;
use super::capture::Capture;
use super::driver::{Driven, Held};
use crate::call::FromSpan;
use crate::config::{self, Driver};
use crate::hop::SpanId;
use crate::wire::q921::Side;

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
    pub clock: Clock,
}

impl Task {
    /// Runs until nobody listens any more, or it is aborted. `frames` go to the D channel.
    pub async fn run(self: Arc<Task>, mut frames: mpsc::Receiver<Vec<u8>>) {
        let (mut wait, mut told) = (AGAIN.0, String::new());
        loop {
            let began = Instant::now();
            let ended = match self.clone().open().await {
                Ok(open) => {
                    told.clear();
                    self.serve(open, &mut frames).await
                }
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
            let (name, why) = (&self.settings.name, fault.to_string());
            if why != told {
                warn!(span = name, "{name} is not there: {why}; it is tried again until it is");
                told.clone_from(&why);
            }
            self.tell(FromSpan::Gone(why)).await;
            sleep(wait).await;
            wait = (2 * wait).min(AGAIN.1);
        }
    }

    async fn open(self: Arc<Task>) -> Result<Open, SpanError> {
        let driven = self.driven.clone();
        driven
            .ask(move |held| {
                let (mut span, far_end) = self.driver()?;
                if span.line() != self.settings.line {
                    return Err(SpanError::NotConfigured("it is of the other kind, T1 or E1, than Line says"));
                }
                let signalling = self.settings.signals().then(|| self.d_channel(&mut *span)).transpose()?;
                let (d_channel, capture) = signalling.unzip();
                let news = watched(span.ready())?;
                let frames = d_channel.as_ref().map(|channel| watched(channel.ready())).transpose()?;
                let alarms = span.alarms();
                held.opened(span, capture.flatten())?;
                // Now: what it says first is heard.
                far_end.into_iter().for_each(|end| self.give_away(end));
                Ok(Open { news, frames, d_channel, alarms })
            })
            .await
    }

    /// The line; with its far end where that is ours to give away.
    fn driver(&self) -> Result<(Box<dyn Span>, Option<End>), SpanError> {
        Ok(match &self.settings.driver {
            Driver::Simulated => {
                let pacer = self.pacer.as_ref().ok_or(SpanError::NotConfigured("nobody lets time pass on it"))?;
                let (cable, near, far) = Cable::new(self.settings.line, self.settings.id.0.into())?;
                let (disturbance, simulation) = (cable.disturbance(), &self.settings.simulation);
                disturbance.bit_errors(simulation.bit_errors.share());
                disturbance.clock(simulated::Side::Far, simulation.clock_ppm());
                pacer.add(cable);
                (Box::new(near), Some(far))
            }
            Driver::Dahdi(number) => (Box::new(Dahdi::open(*number)?), None),
            Driver::E1d(address) => (Box::new(E1d::open(address)?), None),
        })
    }

    /// To whom answers on the lines that share its D channel.
    fn give_away(&self, end: End) {
        let group = config::span::sharing(&self.lines.borrow(), self.settings.signalled_by()).cloned().collect();
        (self.far_ends)(group, self.settings.id, end);
    }

    /// The D channel, with frames lost and captured as it is configured.
    fn d_channel(&self, span: &mut dyn Span) -> Result<(Box<dyn DChannel>, Option<Capture>), SpanError> {
        let mut channel = span.d_channel()?;
        let drop = self.settings.simulation.frame_loss.share();
        if drop > 0.0 {
            let faults = Faults { drop, ..Faults::default() };
            channel = Box::new(Faulty::new(channel, faults, self.settings.id.0.into()));
        }
        let Some(path) = &self.settings.capture else { return Ok((channel, None)) };
        let (name, clock) = (&self.settings.name, self.clock.clone());
        let since_1970 = move || Duration::try_from(clock.now().wall.as_duration()).unwrap_or_default();
        match Capture::begin(path) {
            Ok((capture, pipe)) => {
                info!(span = name, "the D channel of {name} is captured in {}, numbers and all", path.display());
                let network = self.settings.side == Side::Network;
                Ok((Box::new(Captured::new(channel, network, pipe, since_1970)?), Some(capture)))
            }
            Err(fault) => {
                warn!(span = name, "the D channel of {name} is not captured in {}: {fault}", path.display());
                Ok((channel, None))
            }
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
