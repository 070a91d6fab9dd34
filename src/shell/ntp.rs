//! The clock task: carries the timekeeper's queries to NTP servers and their answers back, and publishes how the
//! clock stands.
//!
//! Each query has a socket of its own, and so a source port that a forger would have to guess (RFC 9109).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::warn;

use super::clock::Clock;
use super::kernel;
use super::observe::{News, Observer};
use crate::clock::{Input, Kernel, Output, Standing, Timekeeper};
use crate::config::{self, HostPort};
use crate::random::Random;
use crate::wire::ntp;

const PORT: u16 = 123;
/// How long a query's socket stays open: the timekeeper does not wait longer.
const OPEN: Duration = Duration::from_secs(2);
/// How often the kernel's state is looked at.
const KERNEL_PACE: Duration = Duration::from_secs(16);
/// Packets that may wait; a flood beyond them is lost.
const QUEUE: usize = 64;
/// Packets that are read for one query: a forger must not keep us busy.
const MOST_PACKETS: usize = 8;

/// What became of a query.
enum Arrival {
    Packet { server: usize, sent: Duration, received: Duration, packet: Vec<u8> },
    Resolved { host: HostPort, address: SocketAddr },
    Unsent { server: usize, nonce: u64 },
    Kernel(Option<Kernel>),
}

/// Starts the task. It ends when nobody can send it settings any more.
pub fn start(
    clock: Clock,
    publish: watch::Sender<Standing>,
    settings: config::Clock,
    random: Random,
    observer: Observer,
) -> mpsc::Sender<config::Clock> {
    let (changes, new_settings) = mpsc::channel(4);
    let (arrivals, arrived) = mpsc::channel(QUEUE);
    let keeper = Timekeeper::new(clock.reading(), settings.clone());
    publish.send_replace(keeper.standing());
    let task = Task { clock, publish, keeper, random, observer, hosts: hosts(&settings), arrivals };
    tokio::spawn(task.run(new_settings, arrived));
    changes
}

/// A configured server, and its address while it answers there: a pool's name has many.
type Host = (HostPort, Option<SocketAddr>);

fn hosts(settings: &config::Clock) -> Vec<Host> {
    settings.servers.iter().map(|host| (host.clone(), None)).collect()
}

struct Task {
    clock: Clock,
    publish: watch::Sender<Standing>,
    keeper: Timekeeper,
    random: Random,
    observer: Observer,
    hosts: Vec<Host>,
    arrivals: mpsc::Sender<Arrival>,
}

impl Task {
    async fn run(mut self, mut settings: mpsc::Receiver<config::Clock>, mut arrived: mpsc::Receiver<Arrival>) {
        let mut looks = tokio::time::interval(KERNEL_PACE);
        self.handle(Input::Tick);
        loop {
            tokio::select! {
                changed = settings.recv() => match changed {
                    Some(changed) => {
                        self.hosts = hosts(&changed);
                        self.handle(Input::Settings(changed));
                    }
                    None => return,
                },
                Some(arrival) = arrived.recv() => self.take(arrival),
                _ = looks.tick() => self.look_at_kernel(),
                () = self.clock.until(self.keeper.timeout()) => self.handle(Input::Tick),
            }
        }
    }

    fn take(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Packet { server, sent, received, packet } => {
                self.handle(Input::Answer { server, sent, received, packet: &packet });
            }
            Arrival::Unsent { server, nonce } => self.handle(Input::Unsent { server, nonce }),
            Arrival::Kernel(kernel) => self.handle(Input::Kernel(kernel)),
            Arrival::Resolved { host, address } => {
                self.hosts.iter_mut().filter(|(name, _)| *name == host).for_each(|(_, at)| *at = Some(address));
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        self.keeper.handle(self.clock.reading(), input, &mut self.random, &mut out);
        // Who hears of a change can rely on the readings that follow it.
        self.publish.send_replace(self.keeper.standing());
        for output in out {
            match output {
                Output::Report(report) => self.observer.tell(News::Clock(report)),
                Output::Slew(gain) => self.slew(gain),
                Output::Query { server, nonce, packet, afresh } => self.query(server, nonce, packet, afresh),
            }
        }
    }

    fn look_at_kernel(&self) {
        let arrivals = self.arrivals.clone();
        tokio::task::spawn_blocking(move || arrivals.blocking_send(Arrival::Kernel(kernel::look())));
    }

    fn slew(&mut self, gain: SignedDuration) {
        let microseconds = i64::try_from(gain.as_micros()).unwrap_or_default();
        if let Err(fault) = firmware_io::clock::slew(microseconds) {
            warn!("the system's clock cannot be slewed: {fault}");
            self.handle(Input::Forbidden);
        }
    }

    fn query(&self, server: usize, nonce: u64, packet: [u8; ntp::LENGTH], afresh: bool) {
        let Some((host, known)) = self.hosts.get(server) else { return };
        let known = known.filter(|_| !afresh);
        let query = Query { server, host: host.clone(), known, packet, clock: self.clock.clone() };
        let arrivals = self.arrivals.clone();
        tokio::spawn(async move {
            if query.run(&arrivals).await.is_err() {
                // A queue that is full is a flood, and the timekeeper notices the silence.
                let _ = arrivals.try_send(Arrival::Unsent { server, nonce });
            }
        });
    }
}

/// One query on its way.
struct Query {
    server: usize,
    host: HostPort,
    known: Option<SocketAddr>,
    packet: [u8; ntp::LENGTH],
    clock: Clock,
}

impl Query {
    async fn run(self, arrivals: &mpsc::Sender<Arrival>) -> std::io::Result<()> {
        let address = self.address(arrivals).await?;
        let any: SocketAddr =
            if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        let sent = self.clock.reading().raw;
        socket.send(&self.packet).await?;
        // Silence is the timekeeper's to notice.
        let _ = timeout(OPEN, self.listen(&socket, sent, arrivals)).await;
        Ok(())
    }

    async fn address(&self, arrivals: &mpsc::Sender<Arrival>) -> std::io::Result<SocketAddr> {
        if let Some(address) = self.known {
            return Ok(address);
        }
        let found = tokio::net::lookup_host((self.host.host.as_str(), self.host.port.unwrap_or(PORT))).await?.next();
        let address = found.ok_or(std::io::ErrorKind::NotFound)?;
        let _ = arrivals.try_send(Arrival::Resolved { host: self.host.clone(), address });
        Ok(address)
    }

    async fn listen(&self, socket: &UdpSocket, sent: Duration, arrivals: &mpsc::Sender<Arrival>) {
        let mut buffer = [0; 1024];
        for _ in 0..MOST_PACKETS {
            // An ICMP error is an answer too: nobody listens there.
            let Ok(length) = socket.recv(&mut buffer).await else { return };
            let received = self.clock.reading().raw;
            let packet = buffer.get(..length).unwrap_or_default().to_vec();
            let _ = arrivals.try_send(Arrival::Packet { server: self.server, sent, received, packet });
        }
    }
}
