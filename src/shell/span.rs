//! The lines: opens each, carries frames between its D channel and the switch, watches its alarms, and hands out its
//! timeslots. A line whose card or driver goes away is opened again, and again, until it is there.

pub mod order;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firmware_io::dahdi::Dahdi;
use firmware_io::e1d::E1d;
use firmware_io::simulated::{Cable, End, Pacer};
use firmware_io::{Alarms, Bearer, DChannel, Law, LoopBack, Span, SpanError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::call::{FromSpan, Snapshot, SpanCounters, SpanView};
use crate::config::{self, Driver};
use crate::hop::SpanId;
use crate::media::Pace;
use crate::session::{SessionId, Side};

/// Frames for a D channel that may wait; what is beyond them the data link repeats.
const FRAMES: usize = 256;
/// A full D channel has room again after so long: a frame of 30 octets.
const FULL: Duration = Duration::from_millis(4);
/// Waits between two tries to open a line.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often, and how many times, a timeslot is asked for that the call before it still holds.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);
const TRIES: u32 = 200;
/// The longest frame: more than N201 and its header (ITU-T Q.921 section 5.9.3), to see that one was too long.
const LONGEST: usize = 512;

/// A timeslot that one side of a session shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which session.
    pub session: SessionId,
    /// Which side of it.
    pub side: Side,
    /// The line.
    pub span: SpanId,
    /// The timeslot, as the line counts.
    pub timeslot: u8,
}

impl Wanted {
    fn bearer(self, span: &Shared) -> Result<(Box<dyn Bearer>, Law), SpanError> {
        let mut span = span.lock().unwrap_or_else(PoisonError::into_inner);
        let span = span.open.as_mut().ok_or(SpanError::Gone)?;
        let none = || SpanError::NotConfigured("the line has no such timeslot");
        let timeslot = span.line().timeslot(self.timeslot).ok_or_else(none)?;
        Ok((span.bearer(timeslot)?, span.law()))
    }
}

/// What came of it.
pub struct Opened {
    /// What was asked for.
    pub wanted: Wanted,
    /// The timeslot, or why it cannot be had.
    pub bearer: Result<(Box<dyn Bearer>, Law), SpanError>,
}

/// A line that is open now and then, and how an operator wants it.
#[derive(Default)]
struct Held {
    open: Option<Box<dyn Span>>,
    loop_back: Option<LoopBack>,
    down: bool,
}

type Shared = Arc<Mutex<Held>>;

/// What an operator wants of a line's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverOrder {
    /// Loop the line back, or end that.
    LoopBack(Option<LoopBack>),
    /// Take the line down so that the far end sees it, or let it up again.
    Force {
        /// Down?
        down: bool,
    },
}

impl Held {
    /// Once it is open: as the operator wants it.
    fn opened(&mut self, mut span: Box<dyn Span>) -> Result<(), SpanError> {
        if self.down {
            span.force_down(true)?;
        }
        if self.loop_back.is_some() {
            span.loop_back(self.loop_back)?;
        }
        self.open = Some(span);
        Ok(())
    }

    fn obey(&mut self, order: DriverOrder) -> Result<(), SpanError> {
        let span = self.open.as_mut().ok_or(SpanError::Gone)?;
        match order {
            DriverOrder::LoopBack(kind) => {
                span.loop_back(kind)?;
                self.loop_back = kind;
            }
            DriverOrder::Force { down } => {
                span.force_down(down)?;
                self.down = down;
            }
        }
        Ok(())
    }

    /// What only the driver knows of a line.
    fn complete(&self, view: &mut SpanView) {
        let Some(span) = &self.open else { return };
        let counters = span.counters();
        view.loop_back = self.loop_back.map(order::mode);
        view.counters = Some(SpanCounters {
            errored_seconds: counters.errored_seconds,
            code_violations: counters.code_violations,
            frame_errors: counters.frame_errors,
            slips: counters.slips,
            bad_hdlc_frames: counters.bad_hdlc_frames,
        });
    }
}

/// All lines of the box.
pub struct Spans {
    ports: Vec<Port>,
    arrivals: mpsc::Sender<(SpanId, FromSpan)>,
    opened: mpsc::Sender<Opened>,
    /// Lets time pass on simulated lines.
    pacer: Option<Arc<Pacer>>,
    far_ends: FarEnds,
}

/// Takes the far ends of simulated lines: the exchange.
pub type FarEnds = Arc<dyn Fn(&config::Span, End) + Send + Sync>;

struct Port {
    settings: Arc<config::Span>,
    span: Shared,
    frames: mpsc::Sender<Vec<u8>>,
    task: AbortHandle,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Spans {
    /// Opens these lines; what comes from them goes to `arrivals`, timeslots that were asked for to `opened`.
    pub fn start(
        lines: &[Arc<config::Span>],
        arrivals: mpsc::Sender<(SpanId, FromSpan)>,
        opened: mpsc::Sender<Opened>,
        far_ends: FarEnds,
    ) -> Result<Spans, io::Error> {
        let mut spans = Spans { ports: Vec::new(), arrivals, opened, pacer: None, far_ends };
        spans.renew(lines)?;
        Ok(spans)
    }

    /// Lines that are no longer wanted or changed are closed, new ones opened; the others stay as they are.
    pub fn renew(&mut self, lines: &[Arc<config::Span>]) -> Result<(), io::Error> {
        self.ports.retain(|port| lines.contains(&port.settings));
        self.ports.iter().for_each(|port| self.tell_again(port));
        if self.pacer.is_none() && lines.iter().any(|line| line.driver == Driver::Simulated) {
            self.pacer = Some(Arc::new(Pacer::start(punctual)?));
        }
        for line in lines {
            if !self.ports.iter().any(|port| port.settings == *line) {
                let port = self.port(line);
                self.ports.push(port);
            }
        }
        Ok(())
    }

    fn port(&self, settings: &Arc<config::Span>) -> Port {
        let (frames, frames_out) = mpsc::channel(FRAMES);
        let span: Shared = Shared::default();
        let task = Task {
            settings: settings.clone(),
            span: span.clone(),
            arrivals: self.arrivals.clone(),
            pacer: self.pacer.clone(),
            far_ends: self.far_ends.clone(),
        };
        let task = tokio::spawn(task.run(frames_out)).abort_handle();
        Port { settings: settings.clone(), span, frames, task }
    }

    /// Sends a frame on a line's D channel. What finds no room is lost, as on a bad line: the data link repeats it.
    pub fn send(&self, span: SpanId, frame: Vec<u8>) {
        if let Some(port) = self.find(span) {
            let _ = port.frames.try_send(frame);
        }
    }

    /// Opens a timeslot for sound of one side of a session. A driver may take its time, and so may who had the timeslot
    /// before, so this waits for neither.
    pub fn open(&self, wanted: Wanted) {
        let span = self.find(wanted.span).map(|port| port.span.clone()).unwrap_or_default();
        let opened = self.opened.clone();
        tokio::spawn(async move {
            let mut tries = TRIES;
            let bearer = loop {
                let span = span.clone();
                let open = move || wanted.bearer(&span);
                match tokio::task::spawn_blocking(open).await {
                    Ok(Err(SpanError::Taken(_))) if tries > 0 => tries -= 1,
                    Ok(done) => break done,
                    Err(_) => return,
                }
                sleep(BETWEEN_TRIES).await;
            };
            // A reactor that has ended wants no timeslot.
            let _ = opened.send(Opened { wanted, bearer }).await;
        });
    }

    /// Adds to a snapshot what only drivers know, and answers with it. Waits for no driver.
    pub fn complete(&self, mut snapshot: Snapshot, reply: oneshot::Sender<Snapshot>) {
        let spans: Vec<(SpanId, Shared)> =
            self.ports.iter().map(|port| (port.settings.id, port.span.clone())).collect();
        tokio::task::spawn_blocking(move || {
            for view in &mut snapshot.spans {
                if let Some((_, span)) = spans.iter().find(|(id, _)| *id == view.id) {
                    span.lock().unwrap_or_else(PoisonError::into_inner).complete(view);
                }
            }
            // A caller who went away is not our trouble.
            let _ = reply.send(snapshot);
        });
    }

    /// What an operator wants of a line's driver; the answer is the driver's. Waits for no driver.
    pub fn order(&self, span: SpanId, order: DriverOrder, reply: oneshot::Sender<Result<(), SpanError>>) {
        let Some(port) = self.find(span) else {
            let _ = reply.send(Err(SpanError::Gone));
            return;
        };
        let (port, arrivals) = (port.span.clone(), self.arrivals.clone());
        tokio::task::spawn_blocking(move || {
            let done = port.lock().unwrap_or_else(PoisonError::into_inner).obey(order);
            if let (Ok(()), DriverOrder::Force { down }) = (&done, order) {
                // A switch that has ended needs no news.
                let _ = arrivals.blocking_send((span, FromSpan::Forced(down)));
            }
            let _ = reply.send(done);
        });
    }

    /// A line that stays may be in a group that is begun anew, which knows nothing of it yet.
    fn tell_again(&self, port: &Port) {
        let held = port.span.lock().unwrap_or_else(PoisonError::into_inner);
        let alarms = held.open.as_ref().map(|span| FromSpan::Alarms(span.alarms()));
        for news in alarms.into_iter().chain(held.down.then_some(FromSpan::Forced(true))) {
            // With so much waiting, the line's next alarm has to do.
            let _ = self.arrivals.try_send((port.settings.id, news));
        }
    }

    fn find(&self, span: SpanId) -> Option<&Port> {
        self.ports.iter().find(|port| port.settings.id == span)
    }
}

/// What one line's task knows.
struct Task {
    settings: Arc<config::Span>,
    span: Shared,
    arrivals: mpsc::Sender<(SpanId, FromSpan)>,
    pacer: Option<Arc<Pacer>>,
    far_ends: FarEnds,
}

impl Task {
    async fn run(self, mut frames: mpsc::Receiver<Vec<u8>>) {
        let mut wait = AGAIN.0;
        loop {
            let began = Instant::now();
            let ended = match self.open() {
                Ok(open) => self.serve(open, &mut frames).await,
                Err(fault) => Err(fault),
            };
            self.span.lock().unwrap_or_else(PoisonError::into_inner).open = None;
            let Err(fault) = ended else { return };
            wait = if began.elapsed() > AGAIN.1 { AGAIN.0 } else { wait };
            let name = &self.settings.name;
            warn!(span = name, again_seconds = wait.as_secs(), "{name} is not there: {fault}");
            self.tell(FromSpan::Gone(fault.to_string())).await;
            sleep(wait).await;
            wait = (2 * wait).min(AGAIN.1);
        }
    }

    fn open(&self) -> Result<Open, SpanError> {
        let mut span = self.driver()?;
        if span.line() != self.settings.line {
            return Err(SpanError::NotConfigured("it is of the other kind, T1 or E1, than Line says"));
        }
        let d_channel = match self.settings.d_channel {
            config::DChannel::Of(_) => None,
            config::DChannel::Own | config::DChannel::BackupOf(_) => Some(span.d_channel()?),
        };
        let news = watch(span.ready())?;
        let frames = d_channel.as_ref().map(|channel| watch(channel.ready())).transpose()?;
        let alarms = span.alarms();
        self.span.lock().unwrap_or_else(PoisonError::into_inner).opened(span)?;
        Ok(Open { news, frames, d_channel, alarms })
    }

    fn driver(&self) -> Result<Box<dyn Span>, SpanError> {
        match &self.settings.driver {
            Driver::Simulated => {
                let pacer = self.pacer.as_ref().ok_or(SpanError::NotConfigured("nobody lets time pass on it"))?;
                let (cable, near, far) = Cable::new(self.settings.line, self.settings.id.0.into())?;
                pacer.add(cable);
                (self.far_ends)(&self.settings, far);
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
                    if let Some(alarms) = self.poll()? {
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

    fn poll(&self) -> Result<Option<Alarms>, SpanError> {
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        span.open.as_mut().ok_or(SpanError::Gone)?.poll()
    }

    async fn tell(&self, arrival: FromSpan) {
        // A switch that has ended needs no news.
        let _ = self.arrivals.send((self.settings.id, arrival)).await;
    }
}

/// A line that is late is late for all its calls. What the media threads were refused is not told twice.
fn punctual() {
    let _ = Pace::take();
}

/// An open line.
struct Open {
    news: AsyncFd<OwnedFd>,
    frames: Option<AsyncFd<OwnedFd>>,
    d_channel: Option<Box<dyn DChannel>>,
    alarms: Alarms,
}

#[allow(deprecated, reason = "the descriptor is ours and lives as long as its registration")]
fn watch(ready: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(ready.try_clone_to_owned()?, Interest::READABLE)
}

/// Waits until the D channel has something; for ever where there is none. The caller reads until nothing is left.
async fn readable(frames: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    match frames {
        Some(frames) => frames.readable().await.map(|mut guard| guard.clear_ready()),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use firmware_io::Line;

    use super::*;
    use crate::config::Hunt;
    use crate::wire::q921;
    use crate::wire::q931::Dialect;

    fn line(driver: Driver) -> Arc<config::Span> {
        Arc::new(config::Span {
            id: SpanId(1),
            name: "Span1".to_owned(),
            driver,
            line: Line::E1,
            dialect: Dialect::EuroIsdn,
            side: q921::Side::User,
            d_channel: config::DChannel::Own,
            interface: None,
            hunt: Hunt::Opposite,
            country: String::new(),
            echo_tail: None,
        })
    }

    struct Bench {
        spans: Spans,
        arrivals: mpsc::Receiver<(SpanId, FromSpan)>,
        _far_ends: Arc<Mutex<Vec<End>>>,
    }

    impl Bench {
        fn with(lines: &[Arc<config::Span>]) -> Bench {
            let (arrivals_out, arrivals) = mpsc::channel(64);
            let (opened, _) = mpsc::channel(64);
            let far_ends = Arc::<Mutex<Vec<End>>>::default();
            let keep = far_ends.clone();
            let keep: FarEnds = Arc::new(move |_, end| keep.lock().unwrap().push(end));
            let spans = Spans::start(lines, arrivals_out, opened, keep).unwrap();
            Bench { spans, arrivals, _far_ends: far_ends }
        }

        /// The next news that are no frame.
        async fn news(&mut self) -> FromSpan {
            loop {
                match self.arrivals.recv().await.unwrap().1 {
                    FromSpan::Frame(_) => {}
                    news => return news,
                }
            }
        }

        async fn order(&self, order: DriverOrder) -> Result<(), SpanError> {
            let (reply, answer) = oneshot::channel();
            self.spans.order(SpanId(1), order, reply);
            answer.await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_line_that_was_taken_down_is_so_after_a_reload() {
        let lines = [line(Driver::Simulated)];
        let mut bench = Bench::with(&lines);
        assert_eq!(bench.news().await, FromSpan::Alarms(Alarms::NONE));
        bench.order(DriverOrder::Force { down: true }).await.unwrap();
        assert_eq!(bench.news().await, FromSpan::Forced(true));
        assert_eq!(bench.news().await, FromSpan::Alarms(Alarms::RAI), "the far end sees it");
        bench.spans.renew(&lines).unwrap();
        assert_eq!(bench.news().await, FromSpan::Alarms(Alarms::RAI));
        assert_eq!(bench.news().await, FromSpan::Forced(true));
        bench.order(DriverOrder::Force { down: false }).await.unwrap();
        assert_eq!(bench.news().await, FromSpan::Forced(false));
        assert_eq!(bench.news().await, FromSpan::Alarms(Alarms::NONE));
    }

    #[tokio::test]
    async fn a_line_that_is_not_there_takes_no_order() {
        let driver = Driver::E1d("/nonexistent".parse().unwrap());
        let mut bench = Bench::with(&[line(driver)]);
        assert!(matches!(bench.news().await, FromSpan::Gone(_)));
        assert!(matches!(bench.order(DriverOrder::LoopBack(None)).await, Err(SpanError::Gone)));
    }
}
