//! The transports of SIP (RFC 3261 section 18): bytes in and out, by TLS, TCP and UDP. What a message is, a [`Reader`]
//! says; nothing here reads SIP.
//!
//! In: accept (limits) -> who is it (certificate, or source address) -> read -> [`Event::Received`]. Nothing is read
//! from a peer that no trunk knows.
//! Out: [`Transports::send`] -> the live connection to that target, or a new one: look-up (RFC 3263), connect, handshake ->
//! write. Whatever could not be sent comes back by its ticket.
//!
//! Every connection is one task with a bounded queue. `send` never waits: a full queue is [`Unsent::QueueFull`] at once.
//!
//! Reuse of connections:
//! * a target uses the connection that was opened for the same trunk, transport, host and port;
//! * a flow uses its own connection; if that is gone and we had opened it, a new one to the same address; if the peer had
//!   opened it, its port was a passing one and the send fails at once, so that the sender can turn to the Via or Contact;
//! * a connection that a peer opened carries requests of ours only after [`Transports::alias`] (RFC 5923): never by itself, as
//!   several Microsoft servers on one machine share a certificate, and only under TLS for a name that the peer proved.

mod connection;
mod dial;
mod handshake;
mod identity;
mod listen;
mod lookup;
mod peer;
mod refusal;
mod table;
mod tally;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

pub use self::identity::{Expiry, IdentityError, Warning};
pub use self::lookup::NoAddress;
pub use self::peer::Names;
pub use self::refusal::{Bound, Refusal, Refused, Role};

use self::identity::Tls;
use self::lookup::Lookup;
use self::peer::Addresses;
use self::table::{Place, Table, canonical, key};
use self::tally::Tally;
use crate::config::Config;
use crate::hop::{Flow, Hop, Target, Transport, TrunkId};
use crate::random::Random;

/// Makes messages of bytes: one value per connection, cloned from the one given at start.
pub trait Reader: Clone + fmt::Debug + Send + Sync + 'static {
    /// A whole message.
    type Message: fmt::Debug + Send;
    /// What was wrong with one that is none.
    type Fault: fmt::Debug + fmt::Display + Send;

    /// Takes the next message off a stream's buffer. Anything but [`Read::More`] takes at least one byte.
    fn next(&mut self, buffer: &mut BytesMut) -> Read<Self::Message, Self::Fault>;

    /// Reads a datagram, which holds one message.
    fn datagram(&mut self, datagram: Bytes) -> Read<Self::Message, Self::Fault>;
}

/// What a [`Reader`] found.
#[derive(Debug)]
pub enum Read<M, F> {
    /// Not a whole message yet.
    More,
    /// A message.
    Message(M),
    /// A keep-alive, to be answered with these bytes (RFC 5626 section 3.5.1); empty when it needs none.
    Pong(Bytes),
    /// Nothing that can be used.
    Refuse {
        /// The answer to send, if there can be one.
        answer: Option<Bytes>,
        /// Is the stream beyond repair? It is closed after the answer.
        close: bool,
        /// What is wrong.
        fault: F,
    },
}

/// What the transports tell.
#[derive(Debug)]
pub enum Event<R: Reader> {
    /// A connection is up, and its peer known.
    Opened {
        /// The connection.
        flow: Flow,
        /// Its TLS.
        security: Option<Security>,
    },
    /// A message came.
    Received {
        /// By which connection.
        flow: Flow,
        /// The message.
        message: R::Message,
    },
    /// Something came that is no message.
    Unreadable {
        /// By which connection.
        flow: Flow,
        /// What is wrong with it.
        fault: R::Fault,
    },
    /// A message did not leave, or left on a connection that failed before the peer ever spoke.
    Unsent {
        /// The sender's number for it.
        ticket: u64,
        /// Why.
        why: Unsent,
    },
    /// A connection is over.
    Closed {
        /// The connection.
        flow: Flow,
        /// Why.
        why: Closed,
    },
    /// A peer was refused, or refused us. Told at most once in [`tally::QUIET`] for an address and kind;
    /// [`Transports::refusals`] counts them all.
    Refused(Refused),
}

/// The TLS of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// The suite's name.
    pub cipher: &'static str,
    /// What the peer proved to be.
    pub peer: Names,
}

/// Why a message did not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// The name gave no address.
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
    /// Nobody listens there.
    #[error("{0} refused the connection; check the port and that the peer runs")]
    Refused(SocketAddr),
    /// No answer from there in time.
    #[error("{0} did not answer in time; check the route and firewalls")]
    TimedOut(SocketAddr),
    /// The network has no way there.
    #[error("{0} cannot be reached ({1}); check the route")]
    Unreachable(SocketAddr, std::io::ErrorKind),
    /// TLS failed.
    #[error("{reason}; {}", reason.remedy())]
    Tls {
        /// Why.
        reason: Refusal,
    },
    /// The connection's queue is full: the peer reads slower than we write.
    #[error("the peer does not read: its queue is full")]
    QueueFull,
    /// The connection is over.
    #[error("the connection is over")]
    Closed,
    /// All connections are in use.
    #[error("all {0} connections are in use")]
    TooMany(usize),
    /// UDP goes out by the listener's socket, and there is none.
    #[error("no UDP listener: set UdpListen in [Trunks]")]
    NoUdp,
    /// The trunk is not in the configuration any more.
    #[error("the trunk is not configured any more")]
    NoTrunk,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer closed it.
    ByPeer,
    /// Nothing came for [`Limits::idle`].
    Idle,
    /// A message was begun and not finished in [`Limits::message`].
    Unfinished,
    /// A message has no end in [`MOST_UNREAD`] bytes.
    TooLarge,
    /// The [`Reader`] found the stream beyond repair.
    Unreadable,
    /// The peer stopped reading.
    NotReading,
    /// The network broke it.
    Broken(std::io::ErrorKind),
    /// TLS failed, or the peer refused us after the handshake (TLS 1.3).
    Tls(Refusal),
}

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Bounds.
    pub limits: Limits,
    /// A DNS server instead of the system's.
    pub dns: Option<SocketAddr>,
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
struct Rules {
    config: Arc<Config>,
    tls: Tls,
}

/// What the tasks share.
struct Shared<R: Reader> {
    reader: R,
    events: mpsc::Sender<Event<R>>,
    limits: Limits,
    runtime: Handle,
    lookup: Lookup,
    table: Mutex<Table>,
    tally: Mutex<Tally>,
    rules: RwLock<Arc<Rules>>,
    addresses: RwLock<Arc<Addresses>>,
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

    fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn udp(&self) -> Option<Arc<UdpSocket>> {
        self.udp.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits while the receiver is behind: its peers' sockets fill instead of our memory.
    async fn tell(&self, event: Event<R>) {
        // Without a receiver the process is on its way out.
        let _ = self.events.send(event).await;
    }

    /// Counts a refusal and tells it. A stranger never makes anybody wait: a full channel loses the line, not the count.
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

/// All transports. Dropping it closes the listeners; connections end with their peers or the runtime.
pub struct Transports<R: Reader> {
    shared: Arc<Shared<R>>,
    listeners: Mutex<Vec<Open>>,
    _refresh: Task,
}

impl<R: Reader> Transports<R> {
    /// Reads our certificate, binds every listener and looks up the gateways' names (for at most two seconds). Every event goes to
    /// `events`.
    pub async fn start(
        config: Arc<Config>,
        reader: R,
        events: mpsc::Sender<Event<R>>,
        options: Options,
    ) -> Result<Transports<R>, StartError> {
        let tls = load(&config).await?;
        let mut seed = [0; 32];
        openssl::rand::rand_bytes(&mut seed).map_err(IdentityError::Library)?;
        let shared = Arc::new(Shared {
            reader,
            events,
            limits: options.limits,
            runtime: Handle::current(),
            lookup: Lookup::new(options.dns, Random::seeded(seed))?,
            table: Mutex::default(),
            tally: Mutex::default(),
            addresses: RwLock::new(Arc::new(Addresses::of(&config, &[]))),
            rules: RwLock::new(Arc::new(Rules { config: Arc::clone(&config), tls })),
            udp: RwLock::default(),
            reloaded: Notify::new(),
        });
        let bound = listen::bind(Listener::wanted(&config))?;
        let mut names = HashMap::new();
        let _ = tokio::time::timeout(FIRST_LOOK_UP, refresh(&shared, &mut names)).await;
        let listeners = bound.into_iter().map(|bound| listen::open(&shared, bound)).collect();
        let refresh = Task(tokio::spawn(keep_fresh(Arc::clone(&shared), names)));
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
        let (orders, queue) = mpsc::channel(self.shared.limits.queue);
        let place = Place::new(target.trunk);
        let number = table.open(&target, orders.clone(), place.clone());
        table.hand(number, bytes, ticket)?;
        drop(table);
        let seat = connection::Seat::new(&self.shared, number, place);
        self.shared.runtime.spawn(dial::run(seat, target, orders, queue));
        Ok(())
    }

    /// Lets the connection of a flow carry requests to a target as well: for a peer that asked for it by `;alias` in its Via
    /// (RFC 5923). `false`, and nothing changes, unless the peer proved the target's name by TLS.
    pub fn alias(&self, flow: &Flow, target: &Target) -> bool {
        self.shared.table().alias(flow, &key(target))
    }

    /// Takes a new configuration: new connections follow it, live ones stay. On an error nothing has changed. A listener that keeps its
    /// port and changes only its address needs a restart.
    pub async fn reload(&self, config: Arc<Config>) -> Result<(), StartError> {
        let tls = load(&config).await?;
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Vec<_> = Listener::wanted(&config).collect();
        let kept = |listener: &Listener, address: &SocketAddr, open: &[Open]| {
            open.iter().any(|open| open.listener == *listener && open.configured == *address)
        };
        let fresh = wanted.iter().copied().filter(|(listener, address)| !kept(listener, address, &listeners));
        let bound = listen::bind(fresh)?;
        listeners.retain(|open| wanted.contains(&(open.listener, open.configured)));
        if config.trunk_listen.udp.is_none() {
            *self.shared.udp.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let rules = Arc::new(Rules { config: Arc::clone(&config), tls });
        let old = std::mem::replace(&mut *self.shared.rules.write().unwrap_or_else(PoisonError::into_inner), rules);
        self.shared.table().renumber(&old.config, &config);
        listeners.extend(bound.into_iter().map(|bound| listen::open(&self.shared, bound)));
        self.shared.set_addresses(Addresses::of(&config, &[]));
        self.shared.reloaded.notify_one();
        Ok(())
    }

    /// Closes the TCP and TLS listeners. Connections stay, UDP stays.
    pub fn stop_accepting(&self) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|open| open.listener == Listener::Udp);
    }

    /// The gateway that has an address.
    pub fn trunk_of(&self, remote: SocketAddr, transport: Transport) -> Option<TrunkId> {
        self.shared.addresses().trunk(canonical(remote), transport)
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

    /// When our certificates end.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.shared.rules().tls.expiries.clone()
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

/// A flow whose connection, opened by us, is gone.
fn again(flow: &Flow) -> Target {
    Target {
        trunk: flow.trunk,
        transport: flow.transport,
        host: flow.remote.ip().to_string().into(),
        port: Some(flow.remote.port()),
    }
}

async fn load(config: &Arc<Config>) -> Result<Tls, StartError> {
    let config = Arc::clone(config);
    let loaded = tokio::task::spawn_blocking(move || identity::load(&config)).await;
    Ok(loaded.map_err(|_| StartError::Interrupted)??)
}

/// The start waits this long for the gateways' names, and they are looked up again this often (from the resolver's cache
/// while their TTL lasts).
const FIRST_LOOK_UP: Duration = Duration::from_secs(2);
const FRESH: Duration = Duration::from_secs(30);

impl<R: Reader> Shared<R> {
    fn set_addresses(&self, addresses: Addresses) {
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(addresses);
    }
}

async fn keep_fresh<R: Reader>(shared: Arc<Shared<R>>, mut names: HashMap<Target, Vec<IpAddr>>) {
    loop {
        refresh(&shared, &mut names).await;
        tokio::select! {
            () = tokio::time::sleep(FRESH) => {}
            () = shared.reloaded.notified() => {}
        }
    }
}

/// Looks up the names by which gateways are known. A name that cannot be looked up now keeps what it had.
async fn refresh<R: Reader>(shared: &Arc<Shared<R>>, names: &mut HashMap<Target, Vec<IpAddr>>) {
    let config = Arc::clone(&shared.rules().config);
    let wanted: Vec<Target> = config.gateways().iter().flat_map(|trunk| names_of(trunk)).collect();
    names.retain(|target, _| wanted.contains(target));
    let mut found = JoinSet::new();
    for target in wanted {
        let shared = Arc::clone(shared);
        found.spawn(async move { shared.lookup.addresses(&target).await.map(|addresses| (target, addresses)) });
    }
    while let Some(result) = found.join_next().await {
        if let Ok(Ok((target, addresses))) = result {
            names.insert(target, addresses.iter().map(SocketAddr::ip).collect());
        }
    }
    let found: Vec<_> =
        names.iter().flat_map(|(target, ips)| ips.iter().map(|address| (target.trunk, *address))).collect();
    // A reload in between has asked for another round.
    if Arc::ptr_eq(&config, &shared.rules().config) {
        shared.set_addresses(Addresses::of(&config, &found));
    }
}

/// The names of a gateway that stand for addresses, with the port that keeps SRV out where the file gives one.
fn names_of(trunk: &crate::config::Trunk) -> Vec<Target> {
    let named = |host: &str| host.parse::<IpAddr>().is_err() && !host.starts_with("*.");
    let hops = trunk.hops.iter().filter(|hop| named(&hop.host)).map(key);
    let peers = trunk.peers.names.iter().filter(|name| named(name)).map(|name| Target {
        trunk: trunk.id,
        transport: Transport::Udp,
        host: name.as_str().into(),
        port: Some(0),
    });
    hops.chain(peers).collect()
}
