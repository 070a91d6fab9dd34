//! The lines: opens each, hands out their timeslots, carries out orders.

mod capture;
mod driver;
pub mod order;
mod port;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use firmware_io::simulated::{End, Pacer};
use firmware_io::{Bearer, Law, SpanError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use self::driver::Driven;
pub use self::driver::DriverOrder;
use self::port::Task;
use super::clock::Clock;
use crate::call::{FromSpan, Snapshot};
use crate::config::{self, Driver};
use crate::hop::SpanId;
use crate::media::Pace;
use crate::session::{SessionId, Side, Tail};

/// Frames for a D channel that may wait; what is beyond them the data link repeats.
const FRAMES: usize = 256;
/// How often, and how many times, a timeslot is asked for that the call before it still holds.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);
const TRIES: u32 = 200;

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
    /// The longest echo to be taken out of what it says.
    pub echo_tail: Option<Tail>,
}

/// What came of it.
pub struct Opened {
    /// What was asked for.
    pub wanted: Wanted,
    /// The timeslot, or why it cannot be had.
    pub bearer: Result<(Box<dyn Bearer>, Law), SpanError>,
}

/// All lines of the box.
pub struct Spans {
    ports: Vec<Port>,
    arrivals: mpsc::Sender<(SpanId, FromSpan)>,
    opened: mpsc::Sender<Opened>,
    /// Lets time pass on simulated lines.
    pacer: Option<Arc<Pacer>>,
    far_ends: FarEnds,
    lines: watch::Sender<Vec<Arc<config::Span>>>,
    clock: Clock,
}

/// Takes the far ends of simulated lines, each with the lines that share its D channel: the exchange.
pub type FarEnds = Arc<dyn Fn(Vec<Arc<config::Span>>, SpanId, End) + Send + Sync>;

struct Port {
    settings: Arc<config::Span>,
    driven: Driven,
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
        clock: Clock,
    ) -> Result<Spans, io::Error> {
        let (ports, lines_out) = (Vec::new(), watch::Sender::new(Vec::new()));
        let mut spans = Spans { ports, arrivals, opened, pacer: None, far_ends, lines: lines_out, clock };
        spans.renew(lines)?;
        Ok(spans)
    }

    /// Lines that are no longer wanted or are others now are closed, new ones opened; the rest stay as they are.
    pub fn renew(&mut self, lines: &[Arc<config::Span>]) -> Result<(), io::Error> {
        self.lines.send_replace(lines.to_vec());
        self.ports.retain_mut(|port| {
            let new = lines.iter().find(|line| port.settings.goes_on_as(line));
            port.settings = new.unwrap_or(&port.settings).clone();
            new.is_some()
        });
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
        let driven = Driven::default();
        let task = Task {
            settings: settings.clone(),
            driven: driven.clone(),
            arrivals: self.arrivals.clone(),
            pacer: self.pacer.clone(),
            far_ends: self.far_ends.clone(),
            lines: self.lines.subscribe(),
            clock: self.clock.clone(),
        };
        let task = tokio::spawn(Arc::new(task).run(frames_out)).abort_handle();
        Port { settings: settings.clone(), driven, frames, task }
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
        let driven = self.find(wanted.span).map(|port| port.driven.clone()).unwrap_or_default();
        let opened = self.opened.clone();
        tokio::spawn(async move {
            let mut tries = TRIES;
            let bearer = loop {
                match driven.ask(move |held| held.bearer(wanted)).await {
                    Err(SpanError::Taken(_)) if tries > 0 => tries -= 1,
                    done => break done,
                }
                sleep(BETWEEN_TRIES).await;
            };
            // A reactor that has ended wants no timeslot.
            let _ = opened.send(Opened { wanted, bearer }).await;
        });
    }

    /// Adds to a snapshot what only drivers know, and answers with it. Waits for no driver.
    pub fn complete(&self, mut snapshot: Snapshot, reply: oneshot::Sender<Snapshot>) {
        let lines: Vec<(SpanId, Driven)> =
            self.ports.iter().map(|port| (port.settings.id, port.driven.clone())).collect();
        tokio::spawn(async move {
            for view in &mut snapshot.spans {
                let Some((_, driven)) = lines.iter().find(|(id, _)| *id == view.id) else { continue };
                let known = view.clone();
                if let Ok(known) = driven.ask(move |held| Ok(held.complete(known))).await {
                    *view = known;
                }
            }
            // A caller who went away is not our trouble.
            let _ = reply.send(snapshot);
        });
    }

    /// What an operator wants of a line's driver; the answer is the driver's. Waits for no driver.
    pub fn order(&self, span: SpanId, order: DriverOrder, reply: oneshot::Sender<Result<(), SpanError>>) {
        let driven = self.find(span).map(|port| port.driven.clone()).unwrap_or_default();
        let arrivals = self.arrivals.clone();
        tokio::spawn(async move {
            let done = driven.ask(move |held| held.obey(order)).await;
            if let (Ok(()), DriverOrder::Force { down }) = (&done, order) {
                // A switch that has ended needs no news.
                let _ = arrivals.send((span, FromSpan::Forced(down))).await;
            }
            let _ = reply.send(done);
        });
    }

    /// A line that stays may be in a group that is begun anew, which knows nothing of it yet.
    fn tell_again(&self, port: &Port) {
        let (span, driven, arrivals) = (port.settings.id, port.driven.clone(), self.arrivals.clone());
        tokio::spawn(async move {
            let Ok((alarms, down)) = driven.ask(|held| Ok(held.stands())).await else { return };
            for news in alarms.map(FromSpan::Alarms).into_iter().chain(down.then_some(FromSpan::Forced(true))) {
                let _ = arrivals.send((span, news)).await;
            }
        });
    }

    fn find(&self, span: SpanId) -> Option<&Port> {
        self.ports.iter().find(|port| port.settings.id == span)
    }
}

/// A line that is late is late for all its calls. What the media threads were refused is not told twice.
fn punctual() {
    let _ = Pace::take();
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use firmware_io::{Alarms, Line};

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
            exclusive: true,
            overlap: None,
            disconnect_tones: false,
            country: String::new(),
            echo_tail: None,
            receive_gain: 0,
            transmit_gain: 0,
            capture: None,
            simulation: config::Simulation::default(),
        })
    }

    struct Bench {
        spans: Spans,
        arrivals: mpsc::Receiver<(SpanId, FromSpan)>,
        opened: mpsc::Receiver<Opened>,
        far_ends: Arc<Mutex<Vec<End>>>,
    }

    impl Bench {
        fn with(lines: &[Arc<config::Span>]) -> Bench {
            let (arrivals_out, arrivals) = mpsc::channel(64);
            let (opened_out, opened) = mpsc::channel(64);
            let far_ends = Arc::<Mutex<Vec<End>>>::default();
            let keep = far_ends.clone();
            let keep: FarEnds = Arc::new(move |_, _, end| keep.lock().unwrap().push(end));
            let spans = Spans::start(lines, arrivals_out, opened_out, keep, Clock::start()).unwrap();
            Bench { spans, arrivals, opened, far_ends }
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

        async fn opens(&mut self, wanted: Wanted) -> Result<(Box<dyn Bearer>, Law), SpanError> {
            self.spans.open(wanted);
            self.opened.recv().await.unwrap().bearer
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

    /// The card is pulled with a call on it, and put back.
    #[tokio::test]
    async fn a_line_that_goes_away_is_told_and_opened_again_with_its_timeslots() {
        let mut bench = Bench::with(&[line(Driver::Simulated)]);
        let wanted = Wanted { session: SessionId(1), side: Side::A, span: SpanId(1), timeslot: 5, echo_tail: None };
        assert_eq!(bench.news().await, FromSpan::Alarms(Alarms::NONE));
        let held = bench.opens(wanted).await.unwrap();
        bench.far_ends.lock().unwrap().clear();
        assert_eq!(bench.news().await, FromSpan::Gone("the line's card or driver is gone".to_owned()));
        assert!(matches!(bench.order(DriverOrder::LoopBack(None)).await, Err(SpanError::Gone)));
        assert!(matches!(bench.opens(wanted).await, Err(SpanError::Gone)));
        assert_eq!(bench.news().await, FromSpan::Alarms(Alarms::NONE));
        assert!(bench.opens(wanted).await.is_ok(), "whoever still holds it holds what is no more");
        drop(held);
    }

    #[tokio::test]
    async fn a_line_that_is_not_there_takes_no_order() {
        let driver = Driver::E1d("/nonexistent".parse().unwrap());
        let mut bench = Bench::with(&[line(driver)]);
        assert!(matches!(bench.news().await, FromSpan::Gone(_)));
        assert!(matches!(bench.order(DriverOrder::LoopBack(None)).await, Err(SpanError::Gone)));
    }
}
