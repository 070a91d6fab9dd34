//! The reactor: one task that owns the switch. It waits for the next event or deadline, reads the
//! clock once, lets the switch think, and hands its outputs to ports that never wait.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use firmware_io::SpanError;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::bearer::Bearers;
use super::clock::Clock;
use super::observe::{News, Observer};
use super::sip_reader::SipReader;
use super::span::{DriverOrder, Opened, Spans};
use super::transport::{self, Transports};
use crate::call::{Event, FromSpan, Output, Snapshot, Switch};
use crate::hop::SpanId;
use crate::media::Engine;
use crate::session::{MediaOrder, MediaReport};
use crate::sip::transaction::Ticket;

/// What operators ask of the reactor.
#[allow(clippy::large_enum_variant, reason = "the large one is what nearly all are")]
pub enum Control {
    /// Something happened that only the shell knows: reload, drain.
    Event(Event),
    /// How do things stand?
    Snapshot(oneshot::Sender<Snapshot>),
    /// Something is wanted of a line's driver.
    Driver(SpanId, DriverOrder, oneshot::Sender<Result<(), SpanError>>),
    /// Tell me when no call is left.
    Idle(oneshot::Sender<()>),
    /// End.
    Stop,
}

/// Everything the reactor listens to and speaks through.
pub struct Reactor {
    /// The machine.
    pub switch: Switch,
    /// The clock.
    pub clock: Clock,
    /// Messages and failures from the network.
    pub network: mpsc::Receiver<transport::Event<SipReader>>,
    /// Reports of the media plane.
    pub media: mpsc::Receiver<MediaReport>,
    /// What comes from lines.
    pub from_spans: mpsc::Receiver<(SpanId, FromSpan)>,
    /// Orders of the operator.
    pub control: mpsc::Receiver<Control>,
    /// The way out to the network.
    pub transports: Arc<Transports<SipReader>>,
    /// The way out to the media plane.
    pub engine: Engine,
    /// The lines.
    pub spans: Spans,
    /// Timeslots that are open, or cannot be had.
    pub opened: mpsc::Receiver<Opened>,
    /// Who has which timeslot.
    pub bearers: Bearers,
    /// The way out to the operators.
    pub observer: Observer,
}

impl Reactor {
    /// Runs until it is told to stop; gives the engine back so that its threads can be joined.
    pub async fn run(mut self) -> Engine {
        let mut out = Vec::new();
        let mut idle: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            let deadline = self.switch.timeout();
            let event = tokio::select! {
                biased;
                Some(control) = self.control.recv() => match control {
                    Control::Event(event) => event,
                    Control::Snapshot(reply) => {
                        self.spans.complete(self.switch.snapshot(self.clock.now()), reply);
                        continue;
                    }
                    Control::Driver(span, order, reply) => {
                        self.spans.order(span, order, reply);
                        continue;
                    }
                    Control::Idle(reply) => {
                        idle.push(reply);
                        Event::Tick
                    }
                    Control::Stop => return self.engine,
                },
                Some((span, came)) = self.from_spans.recv() => Event::Span(span, came),
                Some(opened) = self.opened.recv() => match self.bearers.opened(opened, &mut self.engine) {
                    Some(report) => Event::Media(report),
                    None => continue,
                },
                Some(report) = self.media.recv() => Event::Media(report),
                Some(event) = self.network.recv() => match self.translate(event) {
                    Some(event) => event,
                    None => continue,
                },
                () = self.clock.until(deadline) => Event::Tick,
            };
            self.handle(event, &mut out);
            if !idle.is_empty() && self.switch.live_calls() == 0 {
                // A caller who went away is not our trouble.
                idle.drain(..).for_each(|reply| reply.send(()).unwrap_or_default());
            }
        }
    }

    /// Lets the switch think and carries out what it says. What fails at once is the next event.
    fn handle(&mut self, event: Event, out: &mut Vec<Output>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.clock.now();
            self.prepare(&event);
            self.switch.handle(now, event, out);
            for output in out.drain(..) {
                events.extend(self.perform(now.wall, output));
            }
        }
    }

    /// What the world must be like before the switch hears of it.
    fn prepare(&mut self, event: &Event) {
        match event {
            Event::Reload(config) => {
                if let Err(fault) = self.spans.renew(&config.spans) {
                    warn!("simulated lines stand still: {fault}");
                }
            }
            Event::Media(MediaReport::Closed(id, _)) => {
                self.bearers.forget(*id);
                Bearers::take_home(&mut self.engine);
            }
            _ => {}
        }
    }

    fn perform(&mut self, wall: jiff::Timestamp, output: Output) -> Option<Event> {
        match output {
            Output::Send { hop, message, ticket } => {
                let bits = ticket.map_or(0, Ticket::to_bits);
                let unsent = self.transports.send(&hop, message.bytes().clone(), bits).err()?;
                Some(Event::Unsent { ticket: ticket?, why: Cow::Owned(unsent.to_string()) })
            }
            Output::Frame(span, octets) => {
                self.spans.send(span, octets);
                None
            }
            Output::Media(order) => {
                let (MediaOrder::Open(id)
                | MediaOrder::Apply(id, _)
                | MediaOrder::Press(id, ..)
                | MediaOrder::Close(id)) = &order;
                let id = *id;
                if let MediaOrder::Apply(_, session) = &order {
                    self.bearers.apply(id, session, &self.spans, &mut self.engine);
                    Bearers::take_home(&mut self.engine);
                }
                let behind = self.engine.order(order).err()?;
                Some(Event::Media(MediaReport::Refused(id, behind.to_string())))
            }
            Output::Report(report) => {
                self.observer.tell(News::Report(wall, report));
                None
            }
        }
    }

    /// What the network says: for the switch, or for the operators alone.
    fn translate(&self, event: transport::Event<SipReader>) -> Option<Event> {
        match event {
            transport::Event::Received { flow, message } => return Some(Event::Received { flow, message }),
            transport::Event::Unsent { ticket, why } => {
                let ticket = Ticket::from_bits(ticket)?;
                return Some(Event::Unsent { ticket, why: Cow::Owned(why.to_string()) });
            }
            transport::Event::Unreadable { flow, fault } => {
                self.observer.tell(News::Unreadable { trunk: flow.trunk, peer: flow.remote, fault: fault.to_string() });
            }
            transport::Event::Refused(refused) => {
                let window = refused.trunk.zip(self.transports.window(&refused));
                let remote = refused.remote.ip();
                self.observer.tell(News::TurnedAway(refused));
                return window.map(|(trunk, window)| Event::Window { trunk, remote, window });
            }
            transport::Event::Opened { flow, security } => self.observer.tell(News::Opened { flow, security }),
            transport::Event::Closed { flow, why } => self.observer.tell(News::Closed { flow, why }),
        }
        None
    }
}
