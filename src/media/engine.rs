//! The engine as signalling sees it: takes orders, never waits.
//!
//! It owns the range of ports, opens sockets, and seats each session at the thread whose sessions cost least. What
//! comes home over a thread's ring is free again at the next order.
//!
//! **When a thread falls behind.** A thread's ring has four places for each session that there can be. An order that
//! would leave fewer places than one for each session is dropped and answered with [`Behind`]; closing may use the last
//! places, and since a session is closed once, closing is never dropped.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use firmware_io::Bearer;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rand::TryRng;
use rtrb::{Consumer, Producer, RingBuffer};
use thiserror::Error;
use tokio::sync::mpsc::Sender;

use crate::config::{Media, SocketIo};
use crate::media::bridge::Bridge;
use crate::media::clock::Clock;
use crate::media::io::Backend;
use crate::media::io::poll::Poll;
use crate::media::io::priority::{self, Pace};
use crate::media::io::ring::Ring;
use crate::media::load::{RELAYED, weight};
use crate::media::ports::Ports;
use crate::media::tap::Tap;
use crate::media::thread::{Command, HOMES, Home, Newcomer, Pair, SOCKETS, Seat, Thread};
use crate::random::Random;
use crate::session::{MediaOrder, MediaReport, SessionId, Side};

/// Threads without configuration: more gain nothing before the telephony of a rack is exceeded.
const MOST_THREADS: usize = 4;
/// Orders in a thread's ring for each session.
const ORDERS: usize = 4;

/// Why the engine cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// We are misconfigured: a call needs two pairs of ports.
    #[error("the range of media ports {0}-{1} holds no two pairs of an even and an odd port")]
    Ports(u16, u16),
    /// We are misconfigured: the address is not ours.
    #[error("cannot use the media address {0}: {1}")]
    Address(IpAddr, #[source] io::Error),
    /// The machine has no more threads, descriptors or randomness.
    #[error("cannot start the media threads: {0}")]
    Machine(#[source] io::Error),
}

/// Why no ports could be had.
#[derive(Debug, Error)]
enum PortError {
    #[error("all media ports from {0} to {1} are in use")]
    Exhausted(u16, u16),
    #[error("cannot open media port {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    #[error("the session is open already")]
    Twice,
}

/// The media thread has not taken its orders for long: this one was dropped, its call should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the media thread is behind with its orders")]
pub struct Behind;

/// The media plane's face to signalling.
pub struct Engine {
    address: IpAddr,
    range: (u16, u16),
    ports: Ports,
    threads: Vec<Worker>,
    places: HashMap<SessionId, Place>,
    clock: Clock,
    patience: Duration,
    random: Random,
    standing: Standing,
    /// Timeslots that came home.
    bearers: Vec<(SessionId, Side, Box<dyn Bearer>)>,
}

/// What the threads got of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Their priority.
    pub pace: Pace,
    /// How they talk to their sockets.
    pub backend: Backend,
    /// The core that one of them was to keep to and could not, with the system's error number.
    pub unpinned: Option<(usize, i32)>,
}

/// A thread, seen from here.
struct Worker {
    orders: Option<Producer<Command>>,
    home: Consumer<Home>,
    wake: Arc<EventFd>,
    /// Numbers of free seats.
    free: Vec<usize>,
    /// What its sessions cost, by [`weight`].
    weight: u32,
    /// Places in the ring that only closing may use.
    kept: usize,
    thread: Option<JoinHandle<()>>,
}

/// Where a session sits.
struct Place {
    thread: usize,
    seat: usize,
    ports: [u16; 2],
    weight: u32,
    closing: bool,
}

impl Engine {
    /// Starts the threads. Reports go to `reports`; when that is full, counters are dropped and all else waits.
    pub fn start(config: &Media, reports: Sender<MediaReport>) -> Result<Engine, StartError> {
        let ports = Ports::new(config.ports);
        let sessions = ports.pairs() / 2;
        if sessions == 0 {
            return Err(StartError::Ports(config.ports.0, config.ports.1));
        }
        UdpSocket::bind((config.address, 0)).map_err(|error| StartError::Address(config.address, error))?;
        let clock = Clock::start();
        let mut random = Random::seeded(seed().map_err(StartError::Machine)?);
        let mut threads = Vec::new();
        let mut standing = Standing { pace: Pace::RealTime, backend: Backend::Ring, unpinned: None };
        for number in 0..thread_count(config.threads) {
            let random = Random::seeded(random.octets());
            let core = config.cores.iter().cycle().nth(number).copied();
            let wish = Wish { core, socket_io: config.socket_io };
            let (worker, own) =
                Worker::start(number, sessions, clock, random, reports.clone(), wish).map_err(StartError::Machine)?;
            threads.push(worker);
            standing = standing.worse(own);
        }
        let (address, range, patience) = (config.address, config.ports, config.jitter);
        let (places, bearers) = (HashMap::new(), Vec::new());
        Ok(Engine { address, range, ports, threads, places, clock, patience, random, standing, bearers })
    }

    /// What the threads got of the machine; some of it is worth a warning.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Hands an order over; never waits. Orders for unknown sessions are ignored, but closing one is answered.
    pub fn order(&mut self, order: MediaOrder) -> Result<(), Behind> {
        self.take_home();
        match order {
            MediaOrder::Open(id) => self.open(id),
            MediaOrder::Apply(id, session) => match self.places.get_mut(&id) {
                Some(place @ Place { closing: false, .. }) => {
                    let worker = &mut self.threads[place.thread];
                    let before = std::mem::replace(&mut place.weight, weight(&session));
                    worker.weight = worker.weight - before + place.weight;
                    worker.order(Command::Apply(place.seat, session))
                }
                _ => Ok(()),
            },
            MediaOrder::Press(id, side, digit, length) => match self.places.get(&id) {
                Some(&Place { thread, seat, closing: false, .. }) => {
                    self.threads[thread].order(Command::Press(seat, side, digit, length))
                }
                _ => Ok(()),
            },
            MediaOrder::Close(id) => match self.places.get_mut(&id) {
                Some(Place { closing: true, .. }) => Ok(()),
                Some(place) => {
                    place.closing = true;
                    let (thread, seat) = (place.thread, place.seat);
                    self.threads[thread].close(seat)
                }
                None => self.tell(MediaReport::Closed(id, Default::default())),
            },
        }
    }

    /// From now on, what this side of a session says and hears passes by the tap; one before it ends. A tap for an unknown
    /// session ends at once.
    pub fn tap(&mut self, id: SessionId, side: Side, tap: Tap) -> Result<(), Behind> {
        self.take_home();
        match self.places.get(&id) {
            Some(&Place { thread, seat, closing: false, .. }) => {
                self.threads[thread].order(Command::Tap(seat, side, Box::new(tap)))
            }
            _ => Ok(()),
        }
    }

    /// From now on, sound of this side goes to this timeslot, where the session says so; one before it comes home. It comes
    /// home by [`Engine::bearers`], when it is released or the session is closed; for an unknown session at once.
    pub fn seize(
        &mut self,
        id: SessionId,
        side: Side,
        bearer: Box<dyn Bearer>,
        law: firmware_io::Law,
    ) -> Result<(), Behind> {
        self.take_home();
        match self.places.get(&id) {
            Some(&Place { thread, seat, closing: false, .. }) => {
                self.threads[thread].order(Command::Seize(seat, side, bearer, law))
            }
            _ => {
                self.bearers.push((id, side, bearer));
                Ok(())
            }
        }
    }

    /// The timeslot of this side shall come home, for it is wanted elsewhere.
    pub fn release_bearer(&mut self, id: SessionId, side: Side) -> Result<(), Behind> {
        match self.places.get(&id) {
            Some(&Place { thread, seat, closing: false, .. }) => {
                self.threads[thread].order(Command::Release(seat, side))
            }
            _ => Ok(()),
        }
    }

    /// Timeslots that came home, each with the session and the side that it was on.
    pub fn bearers(&mut self) -> impl Iterator<Item = (SessionId, Side, Box<dyn Bearer>)> {
        self.take_home();
        self.bearers.drain(..)
    }

    fn open(&mut self, id: SessionId) -> Result<(), Behind> {
        let thread = self.least_loaded();
        let opened = match self.threads[thread].free.last() {
            _ if self.places.contains_key(&id) => Err(PortError::Twice),
            None => Err(PortError::Exhausted(self.range.0, self.range.1)),
            Some(&seat) => self.open_pairs().map(|(sockets, ports)| (seat, sockets, ports)),
        };
        let (seat, sockets, ports) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.tell(MediaReport::Refused(id, error.to_string())),
        };
        let bridge = Bridge::new(id, self.patience, &mut self.random, self.clock.now().at);
        let session = Box::new(Newcomer { sockets, seat: Box::new(Seat { ports, bridge, settled: [None; 2] }) });
        self.threads[thread].free.pop();
        self.threads[thread].weight += RELAYED;
        self.places.insert(id, Place { thread, seat, ports, weight: RELAYED, closing: false });
        let ordered = self.threads[thread].order(Command::Open(seat, session));
        if ordered.is_err() {
            self.release(id);
        }
        ordered
    }

    fn tell(&mut self, report: MediaReport) -> Result<(), Behind> {
        let thread = self.least_loaded();
        self.threads[thread].order(Command::Tell(report))
    }

    fn least_loaded(&self) -> usize {
        (0..self.threads.len()).min_by_key(|thread| self.threads[*thread].weight).unwrap_or(0)
    }

    fn open_pairs(&mut self) -> Result<([Pair; 2], [u16; 2]), PortError> {
        let (a, port_a) = self.open_pair()?;
        match self.open_pair() {
            Ok((b, port_b)) => Ok(([a, b], [port_a, port_b])),
            Err(error) => {
                self.ports.put_back(port_a);
                Err(error)
            }
        }
    }

    /// The next pair that nobody else on this machine has; at most once around the range.
    fn open_pair(&mut self) -> Result<(Pair, u16), PortError> {
        for _ in 0..self.ports.pairs() {
            let Some(port) = self.ports.take() else { break };
            match self.bind(port).and_then(|rtp| Ok([rtp, self.bind(port + 1)?])) {
                Ok(pair) => return Ok((pair, port)),
                Err((at, error)) => {
                    self.ports.put_back(port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(PortError::Bind(at, error));
                    }
                }
            }
        }
        Err(PortError::Exhausted(self.range.0, self.range.1))
    }

    fn bind(&self, port: u16) -> Result<UdpSocket, (SocketAddr, io::Error)> {
        let at = SocketAddr::new(self.address, port);
        let socket = UdpSocket::bind(at).map_err(|error| (at, error))?;
        socket.set_nonblocking(true).map_err(|error| (at, error))?;
        Ok(socket)
    }

    fn take_home(&mut self) {
        for thread in 0..self.threads.len() {
            while let Ok(home) = self.threads[thread].home.pop() {
                match home {
                    Home::Bearer(id, side, bearer) => self.bearers.push((id, side, bearer)),
                    Home::Ports(id) => self.release(id),
                }
            }
        }
    }

    fn release(&mut self, id: SessionId) {
        if let Some(place) = self.places.remove(&id) {
            place.ports.into_iter().for_each(|port| self.ports.put_back(port));
            self.threads[place.thread].free.push(place.seat);
            self.threads[place.thread].weight -= place.weight;
        }
    }

    /// Ends all sessions and waits for the threads.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.threads.iter_mut().for_each(Worker::stop);
        for thread in self.threads.iter_mut().filter_map(|worker| worker.thread.take()) {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

/// What a thread shall get of the machine.
#[derive(Clone, Copy)]
struct Wish {
    core: Option<usize>,
    socket_io: SocketIo,
}

impl Standing {
    /// What is to be said when one thread got this and the others that.
    fn worse(self, other: Standing) -> Standing {
        Standing {
            pace: if self.pace == Pace::RealTime { other.pace } else { self.pace },
            backend: if self.backend == Backend::Ring { other.backend } else { self.backend },
            unpinned: self.unpinned.or(other.unpinned),
        }
    }
}

impl Worker {
    fn start(
        number: usize,
        sessions: usize,
        clock: Clock,
        random: Random,
        reports: Sender<MediaReport>,
        wish: Wish,
    ) -> io::Result<(Worker, Standing)> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (orders, its_orders) = RingBuffer::new(ORDERS * sessions);
        let (its_home, home) = RingBuffer::new(HOMES * sessions);
        let thread =
            Thread { orders: its_orders, home: its_home, wake: wake.clone(), reports, seats: sessions, clock, random };
        let (ready, started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("media-{number}"))
            .spawn(move || run(thread, wish, |standing| drop(ready.send(standing))))?;
        let standing = started.recv().map_err(|_| io::Error::other("the thread ended"))??;
        let free = (0..sessions).rev().collect();
        let worker = Worker { orders: Some(orders), home, wake, free, weight: 0, kept: sessions, thread: Some(thread) };
        Ok((worker, standing))
    }

    fn order(&mut self, command: Command) -> Result<(), Behind> {
        if self.orders.as_ref().is_none_or(|orders| orders.slots() <= self.kept) {
            return Err(Behind);
        }
        self.push(command)
    }

    fn close(&mut self, seat: usize) -> Result<(), Behind> {
        self.push(Command::Close(seat))
    }

    fn push(&mut self, command: Command) -> Result<(), Behind> {
        let orders = self.orders.as_mut().ok_or(Behind)?;
        orders.push(command).map_err(|_| Behind)?;
        self.rouse();
        Ok(())
    }

    fn rouse(&self) {
        // The only error is "the counter is full": then the thread is awake already.
        let _ = self.wake.write(1);
    }

    fn stop(&mut self) {
        self.orders = None;
        self.rouse();
    }
}

/// A thread's whole life. What is built by the thread that uses it lies near it.
fn run(thread: Thread, wish: Wish, ready: impl FnOnce(io::Result<Standing>)) {
    let unpinned = wish.core.and_then(|core| {
        let refusal = priority::pin(core).err()?;
        Some((core, refusal.raw_os_error().unwrap_or(0)))
    });
    let standing = |backend| Standing { pace: Pace::take(), backend, unpinned };
    let sockets = SOCKETS * thread.seats;
    let refused = match wish.socket_io {
        SocketIo::Epoll => Backend::Poll,
        SocketIo::Auto | SocketIo::Uring => match Ring::new(sockets, &thread.wake) {
            Ok(ring) => {
                let running = thread.prepare(ring);
                ready(Ok(standing(Backend::Ring)));
                return running.run();
            }
            Err(error) => Backend::NoRing(error.raw_os_error().unwrap_or(0)),
        },
    };
    match Poll::new(sockets, &thread.wake) {
        Ok(poll) => {
            let running = thread.prepare(poll);
            ready(Ok(standing(refused)));
            running.run();
        }
        Err(error) => ready(Err(error)),
    }
}

fn thread_count(configured: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    configured.unwrap_or(cores.min(MOST_THREADS)).max(1)
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::bridge::tests::stream;
    use crate::session::{Codec, Session, Side, Stream};

    #[test]
    fn a_thread_that_is_behind_still_takes_every_closing() {
        let (orders, mut taken) = RingBuffer::new(ORDERS * 2);
        let (_, home) = RingBuffer::new(2);
        let wake = Arc::new(EventFd::new().unwrap());
        let mut worker =
            Worker { orders: Some(orders), home, wake, free: Vec::new(), weight: 0, kept: 2, thread: None };
        let order = || Command::Apply(0, Box::default());
        let accepted = (0..20).take_while(|_| worker.order(order()).is_ok()).count();
        assert_eq!(accepted, 6);
        assert_eq!([worker.close(0), worker.close(1)], [Ok(()); 2]);
        assert_eq!(worker.order(order()), Err(Behind));
        while taken.pop().is_ok() {}
        assert_eq!(worker.order(order()), Ok(()), "it caught up");
        worker.stop();
        assert_eq!(worker.order(order()), Err(Behind), "it stopped");
    }

    #[test]
    fn calls_go_where_the_calls_cost_least() {
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = std::net::Ipv4Addr::new(127, high, low, 60).into();
        let jitter = Duration::from_millis(120);
        let (threads, cores, socket_io) = (Some(2), Vec::new(), SocketIo::Auto);
        let config = Media { address, ports: (20_000, 20_099), threads, jitter, cores, socket_io };
        let (sender, _reports) = tokio::sync::mpsc::channel(100);
        let mut engine = Engine::start(&config, sender).unwrap();
        let open = |engine: &mut Engine, id, codecs: [Codec; 2]| {
            engine.order(MediaOrder::Open(SessionId(id))).unwrap();
            let sides = codecs.map(|codec| Some(Stream { codec, ..stream(Side::A) }));
            let session = Box::new(Session { sides, ..Session::default() });
            engine.order(MediaOrder::Apply(SessionId(id), session)).unwrap();
            engine.places[&SessionId(id)].thread
        };
        let transcoding = open(&mut engine, 0, [Codec::Opus, Codec::Pcmu]);
        for id in 1..=6 {
            assert_ne!(open(&mut engine, id, [Codec::Pcma; 2]), transcoding, "call {id}");
        }
        assert_ne!(open(&mut engine, 7, [Codec::G722, Codec::Pcmu]), transcoding, "360 against 400");
        assert_eq!(open(&mut engine, 8, [Codec::G722, Codec::Pcma]), transcoding, "490 against 400");
        assert_eq!(open(&mut engine, 9, [Codec::Pcmu, Codec::Pcma]), 1 - transcoding, "490 against 530");
        (0..10).for_each(|id| engine.order(MediaOrder::Close(SessionId(id))).unwrap());
        let patience = std::time::Instant::now() + Duration::from_secs(10);
        while !engine.places.is_empty() && std::time::Instant::now() < patience {
            engine.take_home();
        }
        assert!(engine.threads.iter().all(|worker| worker.weight == 0), "all costs are gone with the calls");
    }

    #[test]
    fn threads_are_as_configured_and_at_least_one() {
        assert_eq!([thread_count(Some(0)), thread_count(Some(9))], [1, 9]);
        assert!((1..=MOST_THREADS).contains(&thread_count(None)));
    }
}
