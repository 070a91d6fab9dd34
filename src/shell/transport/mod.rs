//! The transports of SIP (RFC 3261 section 18): bytes in and out, by TLS, TCP and UDP. What a message is, a [`Reader`]
//! says; nothing here reads SIP.
//!
//! In: accept (limits) -> who is it (certificate, or source address) -> read -> [`Event::Received`]. Nothing is read
//! from a peer that no trunk knows.
//! Out: [`Transports::send`] -> the live connection to that target, or a new one: look-up (RFC 3263), connect,
//! handshake -> write. Whatever could not be sent comes back by its ticket.
//!
//! Every connection is one task with a bounded queue. `send` never waits: a full queue is [`Unsent::QueueFull`] at
//! once.
//!
//! Reuse of connections:
//! * a target uses the connection that was opened for the same trunk, transport, host and port;
//! * a flow uses its own connection; if that is gone and we had opened it, a new one to the same address; if the
//!   peer had opened it, its port was a passing one and the send fails at once, so that the sender can turn to the
//!   Via or Contact;
//! * a connection that a peer opened carries requests of ours only after [`Transports::alias`] (RFC 5923): never by
//!   itself, as several Microsoft servers on one machine share a certificate, and only under TLS for a name that
//!   the peer proved.

mod connection;
mod dial;
mod event;
mod handshake;
mod identity;
mod known;
mod listen;
mod lookup;
mod peer;
mod refusal;
mod table;
mod tally;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::event::{Closed, Event, Read, Reader, Security, Unsent};
pub use self::identity::{Expiry, IdentityError, Papers, Warning, certificates, papers, timestamp};
pub use self::lookup::NoAddress;
pub use self::peer::{Names, shown};
pub use self::refusal::{Bound, Refusal, Refused, Role};

use self::identity::Tls;
use self::known::Found;
use self::lookup::Lookup;
use self::peer::Addresses;
use self::table::{Place, Table, canonical, key};
use self::tally::Tally;
use super::clock::Clock;
use crate::alarm::Alarm;
use crate::config::Config;
use crate::hop::{Flow, Hop, Target, Transport, TrunkId};
use crate::identity::window::Window;
use crate::random::Random;

/// The most bytes of an unfinished message; the reader's own limit is lower.
pub const MOST_UNREAD: usize = 128 * 1024;

/// Bounds on what peers can cost us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections that one address may open.
    pub per_address: usize,
    /// Accepted connections whose peer is not known yet.
    pub strangers: usize,
    /// The same, of one address.
    pub strangers_per_address: usize,
    /// Messages waiting on one connection.
    pub queue: usize,
    /// A TLS handshake.
    pub handshake: Duration,
    /// One attempt to connect to one address.
    pub connect: Duration,
    /// Look-up, all attempts and handshake together: within the ten seconds of a failover.
    pub dial: Duration,
    /// One message's way into the socket.
    pub write: Duration,
    /// A message, from its first byte to its last.
    pub message: Duration,
    /// Silence of the peer.
    pub idle: Duration,
    /// Our silence on a connection that we opened, before a keep-alive (RFC 5626 section 4.4.1).
    pub keep_alive: Duration,
    /// Between closing for a reason and hanging up: the time for the peer to read the reason.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            per_address: 512,
            strangers: 512,
            strangers_per_address: 64,
            queue: 256,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(3),
            dial: Duration::from_secs(8),
            write: Duration::from_secs(10),
            message: Duration::from_secs(30),
            idle: Duration::from_secs(30 * 60),
            keep_alive: Duration::from_secs(120),
            linger: Duration::from_secs(1),
        }
    }
}

/// What the transports may be told beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Bounds.
    pub limits: Limits,
    /// A DNS server instead of the system's.
    pub dns: Option<SocketAddr>,
    /// By which certificates are judged.
    pub clock: Clock,
}

/// A place where peers reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// The Microsoft side: mutual TLS.
    Microsoft,
    /// Gateways by TLS.
    Tls,
    /// Gateways by TCP.
    Tcp,
    /// Gateways by UDP.
    Udp,
}

impl Listener {
    /// Its transport.
    pub fn transport(self) -> Transport {
        match self {
            Listener::Microsoft | Listener::Tls => Transport::Tls,
            Listener::Tcp => Transport::Tcp,
            Listener::Udp => Transport::Udp,
        }
    }

    /// The key that sets it.
    pub fn key(self) -> &'static str {
        match self {
            Listener::Microsoft => "Listen in [Lync]",
            Listener::Tls => "TlsListen in [Trunks]",
            Listener::Tcp => "TcpListen in [Trunks]",
            Listener::Udp => "UdpListen in [Trunks]",
        }
    }

    /// Those that a configuration wants.
    fn wanted(config: &Config) -> impl Iterator<Item = (Listener, SocketAddr)> {
        let trunks = &config.trunk_listen;
        [
            (Listener::Microsoft, Some(config.lync_listen)),
            (Listener::Tls, trunks.tls),
            (Listener::Tcp, trunks.tcp),
            (Listener::Udp, trunks.udp),
        ]
        .into_iter()
        .filter_map(|(listener, address)| Some((listener, address?)))
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Microsoft => f.write_str("Microsoft listener"),
            listener => write!(f, "{} trunk listener", listener.transport()),
        }
    }
}

/// Why the transports could not start, or take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Our certificate files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A listener.
    #[error("cannot listen on {address} ({source}): change {}, or stop what uses the address", listener.key())]
    Listen {
        /// Which.
        listener: Listener,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The resolver.
    #[error("the DNS resolver cannot be set up: {0}")]
    Resolver(#[from] hickory_resolver::net::NetError),
    /// The runtime ended while the files were read.
    #[error("interrupted")]
    Interrupted,
}

/// What a reload replaces as a whole.
#[derive(Clone)]
struct Rules {
    config: Arc<Config>,
    tls: Arc<Tls>,
    addresses: Arc<Addresses>,
}

/// What the tasks share.
struct Shared<R: Reader> {
    reader: R,
    events: mpsc::Sender<Event<R>>,
    limits: Limits,
    clock: Clock,
    runtime: Handle,
    lookup: Lookup,
    table: Mutex<Table>,
    tally: Mutex<Tally>,
    rules: RwLock<Arc<Rules>>,
    found: Mutex<Found>,
    udp: RwLock<Option<Arc<UdpSocket>>>,
    reloaded: Notify,
}

impl<R: Reader> Shared<R> {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts new rules in place; gives the old ones back.
    fn replace(&self, rules: Rules) -> Arc<Rules> {
        std::mem::replace(&mut *self.rules.write().unwrap_or_else(PoisonError::into_inner), Arc::new(rules))
    }

    fn udp(&self) -> Option<Arc<UdpSocket>> {
        self.udp.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits while the receiver is behind: its peers' sockets fill instead of our memory.
    async fn tell(&self, event: Event<R>) {
        // Without a receiver the process is on its way out.
        let _ = self.events.send(event).await;
    }

    /// Counts a refusal and tells it. A stranger never makes anybody wait: a full channel loses the line, not the
    /// count.
    fn refuse(&self, remote: SocketAddr, at: Option<Listener>, trunk: Option<TrunkId>, reason: Refusal) {
        let told = self.tally().refuse(Instant::now(), Refused { remote, at, trunk, reason, unsaid: 0 });
        if let Some(refused) = told {
            let _ = self.events.try_send(Event::Refused(refused));
        }
    }

    /// Sends a datagram from the listener's socket.
    fn datagram(&self, remote: SocketAddr, bytes: &[u8]) -> Result<(), Unsent> {
        let socket = self.udp().ok_or(Unsent::NoUdp)?;
        match socket.try_send_to(bytes, remote) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(Unsent::QueueFull),
            Err(error) => Err(Unsent::Unreachable(remote, error.kind())),
        }
    }
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An open listener.
struct Open {
    listener: Listener,
    configured: SocketAddr,
    bound: SocketAddr,
    _task: Task,
}

impl Open {
    fn serves(&self, place: &(Listener, SocketAddr)) -> bool {
        (self.listener, self.configured) == *place
    }
}

/// All transports. Dropping it closes the listeners; connections end with their peers or the runtime.
pub struct Transports<R: Reader> {
    shared: Arc<Shared<R>>,
    listeners: Mutex<Vec<Open>>,
    _refresh: Task,
}

impl<R: Reader> Transports<R> {
    /// Reads our certificate, binds every listener and looks up the gateways' names (for at most two seconds).
    /// Every event goes to `events`.
    pub async fn start(
        config: Arc<Config>,
        reader: R,
        events: mpsc::Sender<Event<R>>,
        options: Options,
    ) -> Result<Transports<R>, StartError> {
        let tls = load(&config).await?;
        let mut seed = [0; 32];
        openssl::rand::rand_bytes(&mut seed).map_err(IdentityError::Library)?;
        let addresses = Arc::new(Addresses::of(&config, &[]));
        let shared = Arc::new(Shared {
            reader,
            events,
            limits: options.limits,
            clock: options.clock,
            runtime: Handle::current(),
            lookup: Lookup::new(options.dns, Random::seeded(seed))?,
            table: Mutex::default(),
            tally: Mutex::default(),
            found: Mutex::default(),
            rules: RwLock::new(Arc::new(Rules { config: Arc::clone(&config), tls, addresses })),
            udp: RwLock::default(),
            reloaded: Notify::new(),
        });
        let bound = listen::bind(Listener::wanted(&config))?;
        // Names that DNS gives later are known later.
        let first = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { known::refresh(&shared).await }
        });
        let _ = tokio::time::timeout(FIRST_LOOK_UP, first).await;
        let listeners = bound.into_iter().map(|bound| listen::open(&shared, bound)).collect();
        let refresh = Task(tokio::spawn(known::keep_fresh(Arc::clone(&shared))));
        Ok(Transports { shared, listeners: Mutex::new(listeners), _refresh: refresh })
    }

    /// Sends a message. Never waits. What is known to fail at once is the error; what fails later comes as
    /// [`Event::Unsent`] with the ticket.
    pub fn send(&self, hop: &Hop, bytes: Bytes, ticket: u64) -> Result<(), Unsent> {
        match hop {
            Hop::Flow(flow) if flow.transport == Transport::Udp => self.shared.datagram(flow.remote, &bytes),
            Hop::Flow(flow) => {
                let handed = self.shared.table().hand(flow.connection, bytes.clone(), ticket);
                match handed {
                    Err(Unsent::Closed) if table::ours(flow.connection) => self.to_target(&again(flow), bytes, ticket),
                    handed => handed,
                }
            }
            Hop::Target(target) => self.to_target(target, bytes, ticket),
        }
    }

    fn to_target(&self, target: &Target, bytes: Bytes, ticket: u64) -> Result<(), Unsent> {
        let target = key(target);
        if self.shared.rules().config.trunk(target.trunk).is_none() {
            return Err(Unsent::NoTrunk);
        }
        if target.transport == Transport::Udp
            && let Ok(address) = target.host.parse()
        {
            return self.shared.datagram(SocketAddr::new(address, target.port.unwrap_or(5060)), &bytes);
        }
        let mut table = self.shared.table();
        if let Some(serving) = table.serving(&target) {
            return table.hand(serving, bytes, ticket);
        }
        if table.total() >= self.shared.limits.connections {
            return Err(Unsent::TooMany(self.shared.limits.connections));
        }
        let (orders, queue) = mpsc::channel(self.shared.limits.queue.max(1));
        let place = Place::new(target.trunk);
        let number = table.open(&target, orders.clone(), place.clone());
        table.hand(number, bytes, ticket)?;
        drop(table);
        let seat = connection::Seat::new(&self.shared, number, place, None);
        self.shared.runtime.spawn(dial::run(seat, target, orders, queue));
        Ok(())
    }

    /// Lets the connection of a flow carry requests to a target as well: for a peer that asked for it by `;alias`
    /// in its Via (RFC 5923). `false`, and nothing changes, unless the peer proved the target's name by TLS.
    pub fn alias(&self, flow: &Flow, target: &Target) -> bool {
        self.shared.table().alias(flow, &key(target))
    }

    /// Takes a new configuration: new connections follow it, live ones stay. On an error nothing has changed. A
    /// listener that keeps its port and changes only its address needs a restart.
    pub async fn reload(&self, config: Arc<Config>) -> Result<(), StartError> {
        let tls = load(&config).await?;
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Vec<_> = Listener::wanted(&config).collect();
        let fresh = wanted.iter().filter(|place| !listeners.iter().any(|open| open.serves(place)));
        let bound = listen::bind(fresh.copied())?;
        listeners.retain(|open| wanted.iter().any(|place| open.serves(place)));
        if config.trunk_listen.udp.is_none() {
            *self.shared.udp.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let addresses = Arc::new(known::recall(&self.shared, &config));
        let old = self.shared.replace(Rules { config: Arc::clone(&config), tls, addresses });
        self.shared.table().renumber(&old.config, &config);
        listeners.extend(bound.into_iter().map(|bound| listen::open(&self.shared, bound)));
        self.shared.reloaded.notify_one();
        Ok(())
    }

    /// Closes the TCP and TLS listeners. Connections stay, UDP stays.
    pub fn stop_accepting(&self) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|open| open.listener == Listener::Udp);
    }

    /// The addresses of a target, in the order in which they are tried.
    pub async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, NoAddress> {
        self.shared.lookup.addresses(target).await
    }

    /// The gateway that has an address.
    pub fn trunk_of(&self, remote: SocketAddr, transport: Transport) -> Option<TrunkId> {
        self.shared.rules().addresses.trunk(canonical(remote), transport)
    }

    /// Where a listener listens.
    pub fn address(&self, listener: Listener) -> Option<SocketAddr> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().find(|open| open.listener == listener).map(|open| open.bound)
    }

    /// What works and will hurt, as of the last reading of the files.
    pub fn warnings(&self) -> Vec<Warning> {
        self.shared.rules().tls.warnings.clone()
    }

    /// What is to be known of our certificates now, by the true time.
    pub fn alarms(&self) -> Vec<Alarm> {
        let now = self.shared.clock.now();
        self.expiries().into_iter().filter_map(|expiry| expiry.alarm(now)).collect()
    }

    /// Our certificates as they are in use, and the configuration that named them.
    pub fn papers(&self) -> (Arc<Papers>, Arc<Config>) {
        let rules = self.shared.rules();
        (rules.tls.papers.clone(), rules.config.clone())
    }

    /// When our certificates end.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.shared.rules().tls.expiries.clone()
    }

    /// What a refusal says of the peer's clock, our certificate and our time being what they are.
    pub fn window(&self, refused: &Refused) -> Option<Window> {
        match refused.reason {
            Refusal::Alert(alert) => {
                Window::alerted(alert, self.shared.rules().tls.window, self.shared.clock.now().wall)
            }
            Refusal::NotYetValid { from, .. } => Some(Window::TheirsNotBegun { from }),
            _ => None,
        }
    }

    /// Refusals since the start, by trunk (`None`: strangers) and [`Refusal::kind`].
    pub fn refusals(&self) -> Vec<(Option<TrunkId>, &'static str, u64)> {
        self.shared.tally().counts()
    }

    /// Live connections, and those being opened.
    pub fn connections(&self) -> usize {
        self.shared.table().total()
    }
}

/// The start waits at most this long for the gateways' names.
const FIRST_LOOK_UP: Duration = Duration::from_secs(2);

/// A flow whose connection, opened by us, is gone.
fn again(flow: &Flow) -> Target {
    Target {
        trunk: flow.trunk,
        transport: flow.transport,
        host: flow.remote.ip().to_string().into(),
        port: Some(flow.remote.port()),
    }
}

async fn load(config: &Arc<Config>) -> Result<Arc<Tls>, StartError> {
    let config = Arc::clone(config);
    let loaded = tokio::task::spawn_blocking(move || identity::load(&config)).await;
    Ok(Arc::new(loaded.map_err(|_| StartError::Interrupted)??))
}
