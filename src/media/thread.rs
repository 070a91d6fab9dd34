//! A media thread: sleeps until a packet, an order or a deadline, and does what is there.
//!
//! It owns its sessions outright. Orders come over one ring, ports go home over another; reports go to
//! signalling's channel. Bounds: a wake-up takes all orders, then at most 256 sockets with one batch each; where
//! packets are many, [`Pause`] lets them gather for a moment.

use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use rtrb::{Consumer, Producer};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::media::bridge::{Bridge, Output};
use crate::media::clock::{Clock, Moment};
use crate::media::deadlines::Deadlines;
use crate::media::peer::Channel;
use crate::media::socket::Batch;
use crate::random::Random;
use crate::session::{Digit, MediaReport, Session, SessionId, Side};
use crate::time::Instant;

/// Sockets served in one wake-up.
const EVENTS: usize = 256;
/// The token of the wake-up call; sockets count from 0.
const WAKE: u64 = u64::MAX;

/// RTP and RTCP of one side.
pub type Pair = [UdpSocket; 2];

/// A session and its sockets, by side.
pub struct Seat {
    /// The RTP ports.
    pub ports: [u16; 2],
    /// Non-blocking, by side.
    pub sockets: [Pair; 2],
    /// What is done with their packets.
    pub bridge: Bridge,
}

/// What the engine tells a thread. Seats are numbered by the engine.
pub enum Command {
    /// Take this session.
    Open(usize, Box<Seat>),
    /// Apply this to the session.
    Apply(usize, Box<Session>),
    /// Press this digit, as if it came from this side.
    Press(usize, Side, Digit, Duration),
    /// End the session; its ports go home.
    Close(usize),
    /// Tell signalling, in order with all else.
    Tell(MediaReport),
}

/// What a thread is made of.
pub struct Thread {
    /// From the engine; abandoned when the engine stops.
    pub orders: Consumer<Command>,
    /// To the engine; as many places as there are seats.
    pub home: Producer<SessionId>,
    /// Written when there are orders.
    pub wake: Arc<EventFd>,
    /// To signalling.
    pub reports: Sender<MediaReport>,
    /// How many sessions there can be.
    pub seats: usize,
    /// The time.
    pub clock: Clock,
    /// For report intervals.
    pub random: Random,
}

impl Thread {
    /// Allocates all that the thread will need.
    pub fn prepare(self) -> io::Result<Running> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(self.wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        Ok(Running {
            epoll,
            seats: (0..self.seats).map(|_| None).collect(),
            deadlines: Deadlines::new(self.seats),
            pause: Pause::default(),
            load: Load::default(),
            lateness: Lateness::default(),
            batch: Batch::new(),
            told: Told { reports: self.reports.clone(), owed: VecDeque::with_capacity(4 * self.seats) },
            thread: self,
        })
    }
}

/// A thread that is ready to run.
pub struct Running {
    thread: Thread,
    epoll: Epoll,
    seats: Vec<Option<Box<Seat>>>,
    deadlines: Deadlines,
    pause: Pause,
    load: Load,
    lateness: Lateness,
    batch: Batch,
    told: Told,
}

impl Running {
    /// Runs until the engine stops, then says goodbye for every session.
    pub fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.thread.orders.is_abandoned() {
            // Packets of many calls share a wake-up.
            if let Some(pause) = self.pause.length() {
                std::thread::sleep(pause);
            }
            let ready = self.epoll.wait(&mut events, self.timeout()).unwrap_or(0);
            let now = self.thread.clock.now();
            self.pause.woken(now.at, ready);
            let events = &events[..ready];
            // Orders first: a packet sent after an order was given is met by the session as ordered. An event of a
            // seat that changed hands meanwhile finds nothing to receive.
            if events.iter().any(|event| event.data() == WAKE) {
                self.take_orders(now);
            }
            for event in events.iter().filter(|event| event.data() != WAKE) {
                self.receive(event.data(), now);
            }
            self.tick(now);
            self.told.retry();
            self.load.worked(now.at, self.thread.clock.now().at);
        }
        let now = self.thread.clock.now();
        self.take_orders(now);
        (0..self.seats.len()).for_each(|seat| self.close(seat, now));
    }

    fn timeout(&self) -> EpollTimeout {
        if !self.told.owed.is_empty() {
            return EpollTimeout::from(10u8);
        }
        let Some(next) = self.deadlines.next() else { return EpollTimeout::NONE };
        let wait = next.since(self.thread.clock.now().at);
        let milliseconds = wait.as_micros().div_ceil(1000);
        EpollTimeout::from(u16::try_from(milliseconds).unwrap_or(u16::MAX))
    }

    /// One batch from one socket.
    fn receive(&mut self, token: u64, now: Moment) {
        let (at, side, channel) = from_token(token);
        let Some(Some(seat)) = self.seats.get_mut(at) else { return };
        let sockets = &seat.sockets[side.index()];
        let count = self.batch.receive(&sockets[channel as usize]);
        for place in 0..count {
            let Some(datagram) = self.batch.datagram(place) else { continue };
            match channel {
                Channel::Rtcp => seat.bridge.rtcp(side, datagram, now),
                Channel::Rtp => {
                    let sockets = &seat.sockets;
                    let mut sink = |output: Output<'_>| send(sockets, output);
                    if let Some(outgoing) = seat.bridge.rtp(side, datagram, now, &mut sink) {
                        self.batch.queue(place, outgoing.octets, outgoing.to);
                    }
                }
            }
        }
        self.batch.send(&seat.sockets[side.other().index()][Channel::Rtp as usize]);
        // A packet that is passed on puts deadlines off at most: that is seen when they come.
        if seat.bridge.transcodes() {
            self.deadlines.set(at, seat.bridge.due());
        }
    }

    fn take_orders(&mut self, now: Moment) {
        // An error is "nothing written": then there is nothing to clear.
        let _ = self.thread.wake.read();
        while let Ok(command) = self.thread.orders.pop() {
            match command {
                Command::Open(seat, session) => self.open(seat, session),
                Command::Apply(seat, session) => self.apply(seat, &session, now),
                Command::Press(seat, side, digit, length) => self.press(seat, side, digit, length),
                Command::Close(seat) => self.close(seat, now),
                Command::Tell(report) => self.told.tell(report),
            }
        }
    }

    fn open(&mut self, at: usize, seat: Box<Seat>) {
        let id = seat.bridge.id();
        match self.watch_sockets(at, &seat) {
            Ok(()) => {
                self.told.tell(MediaReport::Opened(id, seat.ports));
                self.deadlines.set(at, seat.bridge.due());
                self.seats[at] = Some(seat);
            }
            Err(error) => {
                drop(seat);
                let _ = self.thread.home.push(id);
                self.told.tell(MediaReport::Refused(id, format!("cannot watch the media ports: {error}")));
            }
        }
    }

    fn watch_sockets(&self, at: usize, seat: &Seat) -> io::Result<()> {
        for side in Side::BOTH {
            for channel in [Channel::Rtp, Channel::Rtcp] {
                let event = EpollEvent::new(EpollFlags::EPOLLIN, token(at, side, channel));
                self.epoll.add(&seat.sockets[side.index()][channel as usize], event)?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, at: usize, session: &Session, now: Moment) {
        let Some(Some(seat)) = self.seats.get_mut(at) else { return };
        seat.bridge.apply(session, now.at, &mut self.thread.random);
        self.deadlines.set(at, seat.bridge.due());
    }

    fn press(&mut self, at: usize, side: Side, digit: Digit, length: Duration) {
        let Some(Some(seat)) = self.seats.get_mut(at) else { return };
        seat.bridge.press(side, digit, length);
        self.deadlines.set(at, seat.bridge.due());
    }

    fn close(&mut self, at: usize, now: Moment) {
        let Some(mut seat) = self.seats.get_mut(at).and_then(Option::take) else { return };
        self.deadlines.forget(at);
        let (sockets, told) = (&seat.sockets, &mut self.told);
        let mut closed = None;
        seat.bridge.close(now, |output| match output {
            Output::Send(..) => send(sockets, output),
            Output::Report(report) => closed = Some(report),
        });
        let id = seat.bridge.id();
        // The ports are free before signalling hears of it. A place at home is kept for each seat.
        drop(seat);
        let _ = self.thread.home.push(id);
        closed.into_iter().for_each(|report| told.tell(report));
    }

    fn tick(&mut self, now: Moment) {
        while let Some((at, due)) = self.deadlines.take(now.at) {
            if let Some(worst) = self.lateness.note(due, now.at) {
                self.told.tell(MediaReport::Late(worst));
            }
            let Some(Some(seat)) = self.seats.get_mut(at) else { continue };
            let (sockets, told) = (&seat.sockets, &mut self.told);
            seat.bridge.tick(now, self.load.percent(), &mut self.thread.random, |output| match output {
                Output::Report(report) => told.tell(report),
                Output::Send(..) => send(sockets, output),
            });
            self.deadlines.set(at, seat.bridge.due());
        }
    }
}

/// How late deadlines were met, at worst within a second.
#[derive(Debug, Default)]
struct Lateness {
    since: Instant,
    worst: Duration,
}

impl Lateness {
    /// A deadline was met; the worst of the second before this one.
    fn note(&mut self, due: Instant, now: Instant) -> Option<Duration> {
        let over = (now.since(self.since) >= Duration::from_secs(1)).then_some(self.worst);
        if over.is_some() {
            *self = Lateness { since: now, worst: Duration::ZERO };
        }
        self.worst = self.worst.max(now.since(due));
        over
    }
}

/// How busy the thread is: the share of time in which it does not wait.
#[derive(Debug, Default)]
struct Load {
    since: Instant,
    share: f32,
}

impl Load {
    /// From one wake-up to the end of its work; before that it waited.
    fn worked(&mut self, woken: Instant, done: Instant) {
        let whole = done.since(std::mem::replace(&mut self.since, done)).as_secs_f32().max(1e-6);
        let share = (done.since(woken).as_secs_f32() / whole).min(1.0);
        // A second is forgotten after a second.
        self.share += (share - self.share) * whole.min(1.0);
    }

    fn percent(&self) -> u8 {
        (self.share * 100.0) as u8
    }
}

/// How long to let packets gather before the next wake-up. A packet of few is served at once. Where there are more, a
/// wake-up for each costs a third of all work, as measured at 200 calls: 11 to 15 µs a packet, 8 with the pause. Where there
/// are very many they gather by themselves, while others are served, and a pause only adds to it (500 calls: 5.9 µs, 7.4
/// with the pause).
#[derive(Debug, Default)]
struct Pause {
    since: Instant,
    /// Packets a second, by the last wake-ups.
    rate: f32,
    woken: bool,
}

impl Pause {
    /// What a pause adds to a packet's delay at most.
    const MOST: Duration = Duration::from_micros(400);
    /// Packets that a wake-up shall find.
    const WANTED: f32 = 12.0;
    /// Packets a second between which one waits for others.
    const SOME: std::ops::Range<f32> = 4000.0..30_000.0;

    fn woken(&mut self, now: Instant, packets: usize) {
        let time = now.since(std::mem::replace(&mut self.since, now)).as_secs_f32().max(1e-6);
        // What a tenth of a second showed counts; a long silence counts at once.
        let weight = (time * 10.0).min(1.0);
        self.rate += (packets as f32 / time - self.rate) * weight;
        self.woken = packets > 0;
    }

    fn length(&self) -> Option<Duration> {
        let gathering = self.woken && Pause::SOME.contains(&self.rate);
        gathering.then(|| Duration::from_secs_f32(Pause::WANTED / self.rate).min(Pause::MOST))
    }
}

/// A report to a peer that does not leave at once is lost; the next one tells more.
fn send(sockets: &[Pair; 2], output: Output<'_>) {
    if let Output::Send(side, channel, to, octets) = output {
        let _ = sockets[side.index()][channel as usize].send_to(octets, to);
    }
}

fn token(seat: usize, side: Side, channel: Channel) -> u64 {
    (seat as u64) << 2 | (side.index() as u64) << 1 | channel as u64
}

fn from_token(token: u64) -> (usize, Side, Channel) {
    let side = if token & 2 == 0 { Side::A } else { Side::B };
    let channel = if token & 1 == 0 { Channel::Rtp } else { Channel::Rtcp };
    ((token >> 2) as usize, side, channel)
}

/// Reports on their way to signalling. When its channel is full, counters are dropped, for newer ones will
/// follow; everything else is owed until there is room. That is bounded: a session is opened and
/// closed once, and silent again only after it was heard.
struct Told {
    reports: Sender<MediaReport>,
    owed: VecDeque<MediaReport>,
}

impl Told {
    fn tell(&mut self, report: MediaReport) {
        self.retry();
        let counted = matches!(report, MediaReport::Counted(..) | MediaReport::Late(_));
        if !self.owed.is_empty() {
            if !counted {
                self.owed.push_back(report);
            }
            return;
        }
        if let Err(TrySendError::Full(report)) = self.reports.try_send(report)
            && !counted
        {
            self.owed.push_back(report);
        }
    }

    fn retry(&mut self) {
        while let Some(report) = self.owed.pop_front() {
            if let Err(TrySendError::Full(report)) = self.reports.try_send(report) {
                self.owed.push_front(report);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Counters;

    /// The pause after a second of wake-ups of one packet each, so many a second.
    fn pause(rate: u64) -> Option<Duration> {
        let mut pause = Pause::default();
        for packet in 0..rate {
            pause.woken(Instant::at(Duration::from_micros(1_000_000 * packet / rate)), 1);
        }
        pause.length()
    }

    #[test]
    fn the_worst_lateness_of_a_second_is_told_in_the_next() {
        let (mut lateness, at) = (Lateness::default(), |milliseconds| Instant::at(Duration::from_millis(milliseconds)));
        let told: Vec<_> = [(990, 991), (995, 999), (1500, 1501), (1990, 1992), (2600, 2600)]
            .into_iter()
            .filter_map(|(due, met)| lateness.note(at(due), at(met)))
            .collect();
        assert_eq!(told, [4, 2].map(Duration::from_millis));
    }

    #[test]
    fn load_is_the_share_of_time_at_work() {
        let (mut load, at) = (Load::default(), |milliseconds| Instant::at(Duration::from_millis(milliseconds)));
        (0..1000).for_each(|step| load.worked(at(10 * step + 3), at(10 * step + 10)));
        assert!((68..=70).contains(&load.percent()), "{}", load.percent());
        load.worked(at(20_000), at(20_001));
        assert_eq!(load.percent(), 0, "it rested");
    }

    #[test]
    fn a_packet_waits_for_others_where_there_are_some() {
        assert_eq!([50, 1000, 3500].map(pause), [None; 3]);
        assert_eq!(pause(10_000), Some(Pause::MOST));
        assert_eq!(pause(50_000), None, "they gather by themselves");
    }

    #[test]
    fn a_silence_ends_the_waiting() {
        let mut pause = Pause::default();
        (0..1000).for_each(|packet| pause.woken(Instant::at(Duration::from_micros(100 * packet)), 1));
        assert!(pause.length().is_some());
        pause.woken(Instant::at(Duration::from_secs(2)), 1);
        assert_eq!(pause.length(), None);
    }

    #[test]
    fn a_token_names_a_socket() {
        for (seat, side, channel) in
            [(0, Side::A, Channel::Rtp), (0, Side::B, Channel::Rtcp), (9999, Side::B, Channel::Rtp)]
        {
            assert_eq!(from_token(token(seat, side, channel)), (seat, side, channel));
        }
    }

    #[test]
    fn a_full_channel_drops_counters_and_owes_the_rest_in_order() {
        let (sender, mut reports) = tokio::sync::mpsc::channel(1);
        let mut told = Told { reports: sender, owed: VecDeque::new() };
        let id = SessionId;
        told.tell(MediaReport::Opened(id(1), [2, 4]));
        told.tell(MediaReport::Counted(id(1), [Counters::default(); 2]));
        told.tell(MediaReport::Closed(id(1), [Counters::default(); 2]));
        told.tell(MediaReport::Opened(id(2), [2, 4]));
        let mut heard = Vec::new();
        while let Ok(report) = reports.try_recv() {
            heard.push(report);
            told.retry();
        }
        assert!(
            matches!(
                heard[..],
                [
                    MediaReport::Opened(SessionId(1), _),
                    MediaReport::Closed(SessionId(1), _),
                    MediaReport::Opened(SessionId(2), _)
                ]
            ),
            "{heard:?}"
        );
        drop(reports);
        told.tell(MediaReport::Opened(id(3), [2, 4]));
        assert!(told.owed.is_empty(), "nobody will ever hear it");
    }
}
