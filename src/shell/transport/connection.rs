//! One connection: reads until there is a message, writes what is queued, and says why it ended. Reading and
//! writing go on side by side in one task.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openssl::ssl;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_openssl::SslStream;

use super::handshake::{Secured, of_error};
use super::table::{Order, Place, canonical, ours};
use super::{Closed, Event, Limits, MOST_UNREAD, Names, Read, Reader, Refusal, Security, Shared, Unsent};
use crate::hop::{Flow, Transport, TrunkId};

/// A keep-alive (RFC 5626 section 3.5.1).
const PING: Bytes = Bytes::from_static(b"\r\n\r\n");
/// Room made for one read.
const ROOM: usize = 8 * 1024;
/// Tickets remembered while the peer has not spoken yet, and for how long.
const MOST_UNPROVEN: usize = 1024;
const UNPROVEN: Duration = Duration::from_secs(10);

/// An accepted connection's share of the limits, given back on every way out.
pub(super) struct Admission<R: Reader> {
    pub(super) shared: Arc<Shared<R>>,
    address: IpAddr,
    stranger: bool,
}

impl<R: Reader> Admission<R> {
    /// For a connection that the table has just admitted.
    pub(super) fn new(shared: &Arc<Shared<R>>, address: IpAddr, stranger: bool) -> Admission<R> {
        Admission { shared: Arc::clone(shared), address, stranger }
    }

    /// The peer is a stranger no more.
    pub(super) fn known(&mut self) {
        if std::mem::take(&mut self.stranger) {
            self.shared.table().known(self.address);
        }
    }
}

impl<R: Reader> Drop for Admission<R> {
    fn drop(&mut self) {
        self.known();
        self.shared.table().dismiss(self.address);
    }
}

/// A connection's place in the table, given up on every way out.
pub(super) struct Seat<R: Reader> {
    pub(super) shared: Arc<Shared<R>>,
    pub(super) number: u64,
    pub(super) place: Place,
    _admission: Option<Admission<R>>,
}

impl<R: Reader> Seat<R> {
    pub(super) fn new(shared: &Arc<Shared<R>>, number: u64, place: Place, admission: Option<Admission<R>>) -> Seat<R> {
        Seat { shared: Arc::clone(shared), number, place, _admission: admission }
    }

    /// Leaves the table, then gives back what is still queued: in this order nothing can slip in between.
    pub(super) async fn give_back(self, mut queue: mpsc::Receiver<Order>, written: Vec<u64>, why: Unsent) {
        let shared = Arc::clone(&self.shared);
        drop(self);
        queue.close();
        let mut tickets = written;
        while let Ok(order) = queue.try_recv() {
            if let Order::Write(_, Some(ticket)) = order {
                tickets.push(ticket);
            }
        }
        for ticket in tickets {
            shared.tell(Event::Unsent { ticket, why: why.clone() }).await;
        }
    }
}

impl<R: Reader> Drop for Seat<R> {
    fn drop(&mut self) {
        self.shared.table().leave(self.number);
    }
}

/// Any stream.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// A stream whose peer is known.
pub(super) struct Peer {
    pub(super) stream: Box<dyn Wire>,
    pub(super) trunk: TrunkId,
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) security: Option<Security>,
}

impl Peer {
    /// Known by its address.
    pub(super) fn plain(stream: TcpStream, trunk: TrunkId) -> io::Result<Peer> {
        let (local, remote) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
        Ok(Peer { stream: Box::new(stream), trunk, transport: Transport::Tcp, local, remote, security: None })
    }

    /// Known by its certificate.
    pub(super) fn secured(secured: Secured) -> io::Result<Peer> {
        let Secured { stream, trunk, names } = secured;
        let (local, remote) = (canonical(stream.get_ref().local_addr()?), canonical(stream.get_ref().peer_addr()?));
        let security = Security {
            version: stream.ssl().version_str(),
            cipher: stream.ssl().current_cipher().map_or("", |cipher| cipher.name()),
            peer: names,
        };
        let security = Some(security);
        Ok(Peer { stream: Box::new(stream), trunk, transport: Transport::Tls, local, remote, security })
    }

    /// The names it proved.
    pub(super) fn names(&self) -> Names {
        self.security.as_ref().map(|security| security.peer.clone()).unwrap_or_default()
    }
}

/// Runs a connection to its end.
pub(super) async fn run<R: Reader>(
    seat: Seat<R>,
    peer: Peer,
    orders: mpsc::Sender<Order>,
    mut queue: mpsc::Receiver<Order>,
) {
    let shared = Arc::clone(&seat.shared);
    let Peer { stream, transport, local, remote, security, .. } = peer;
    let flow = Flow { connection: seat.number, trunk: seat.place.get(), transport, local, remote };
    shared.tell(Event::Opened { flow, security }).await;

    let (input, output) = tokio::io::split(stream);
    let spoken = AtomicBool::new(false);
    let mut reading = Reading { shared: &shared, seat: &seat, flow, input, orders, spoken: &spoken };
    let mut writing = Writing {
        output,
        limits: &shared.limits,
        ours: ours(seat.number),
        spoken: &spoken,
        unproven: VecDeque::new(),
        current: None,
    };
    let why = tokio::select! {
        why = reading.run() => why,
        why = writing.run(&mut queue) => why,
    };
    let _ = timeout(shared.limits.linger, writing.output.shutdown()).await;

    let lost = writing.lost();
    let flow = Flow { trunk: seat.place.get(), ..flow };
    let unsent = match &why {
        Closed::Tls(reason) => {
            shared.refuse(remote, None, Some(flow.trunk), reason.clone());
            Unsent::Tls { reason: reason.clone() }
        }
        _ => Unsent::Closed,
    };
    seat.give_back(queue, lost, unsent).await;
    shared.tell(Event::Closed { flow, why }).await;
}

/// The inward half.
struct Reading<'a, R: Reader> {
    shared: &'a Shared<R>,
    seat: &'a Seat<R>,
    flow: Flow,
    input: ReadHalf<Box<dyn Wire>>,
    orders: mpsc::Sender<Order>,
    spoken: &'a AtomicBool,
}

impl<R: Reader> Reading<'_, R> {
    async fn run(&mut self) -> Closed {
        let mut reader = self.shared.reader.clone();
        let mut buffer = BytesMut::new();
        let mut begun = None;
        loop {
            if let Err(why) = self.take_messages(&mut reader, &mut buffer, &mut begun).await {
                return why;
            }
            if buffer.len() >= MOST_UNREAD {
                return Closed::TooLarge;
            }
            let limits = &self.shared.limits;
            let (deadline, late) = match begun {
                Some(begun) => (begun + limits.message, Closed::Unfinished),
                None => (Instant::now() + limits.idle, Closed::Idle),
            };
            buffer.reserve(ROOM);
            match timeout_at(deadline, self.input.read_buf(&mut buffer)).await {
                Err(_) if begun.is_some() && blank(&buffer) => {
                    buffer.clear();
                    begun = None;
                    continue;
                }
                Err(_) => return late,
                Ok(Ok(0)) => return Closed::ByPeer,
                Ok(Ok(_)) => self.spoken.store(true, Ordering::Relaxed),
                Ok(Err(error)) => return broken(&error),
            }
            begun.get_or_insert_with(Instant::now);
        }
    }

    /// Every whole message in the buffer; `begun` is when the rest came.
    async fn take_messages(
        &mut self,
        reader: &mut R,
        buffer: &mut BytesMut,
        begun: &mut Option<Instant>,
    ) -> Result<(), Closed> {
        loop {
            let read = reader.next(buffer);
            let more = matches!(read, Read::More);
            if buffer.is_empty() {
                *begun = None;
            } else if !more {
                *begun = Some(Instant::now());
            }
            match read {
                Read::More => return Ok(()),
                Read::Message(message) => self.shared.tell(Event::Received { flow: self.flow(), message }).await,
                // A full queue is answer enough to a keep-alive.
                Read::Pong(bytes) if bytes.is_empty() => {}
                Read::Pong(bytes) => drop(self.orders.try_send(Order::Write(bytes, None))),
                Read::Refuse { answer, close, fault } => self.refuse(answer, close, fault).await?,
            }
        }
    }

    async fn refuse(&mut self, answer: Option<Bytes>, close: bool, fault: R::Fault) -> Result<(), Closed> {
        self.shared.tell(Event::Unreadable { flow: self.flow(), fault }).await;
        if let Some(answer) = answer {
            let _ = self.orders.send(Order::Write(answer, None)).await;
        }
        if !close {
            return Ok(());
        }
        let _ = self.orders.send(Order::Finish).await;
        drain(&mut self.input, self.shared.limits.linger).await;
        Err(Closed::Unreadable)
    }

    fn flow(&self) -> Flow {
        Flow { trunk: self.seat.place.get(), ..self.flow }
    }
}

/// The outward half.
struct Writing<'a> {
    output: WriteHalf<Box<dyn Wire>>,
    limits: &'a Limits,
    ours: bool,
    spoken: &'a AtomicBool,
    /// Tickets written to a connection of ours on which nothing has come yet. Under TLS 1.3 the peer may still refuse
    /// our certificate: then they never arrived.
    unproven: VecDeque<(Instant, u64)>,
    /// The ticket being written.
    current: Option<u64>,
}

impl Writing<'_> {
    async fn run(&mut self, queue: &mut mpsc::Receiver<Order>) -> Closed {
        loop {
            let order = if self.ours {
                timeout(self.limits.keep_alive, queue.recv()).await.unwrap_or(Some(Order::Write(PING, None)))
            } else {
                queue.recv().await
            };
            match order {
                Some(Order::Write(bytes, ticket)) => {
                    if let Err(why) = self.write(&bytes, ticket).await {
                        return why;
                    }
                }
                Some(Order::Finish) | None => {
                    let _ = timeout(self.limits.linger, self.output.shutdown()).await;
                    // The reading half ends the connection once the peer had time to read.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8], ticket: Option<u64>) -> Result<(), Closed> {
        self.current = ticket;
        let write = async {
            self.output.write_all(bytes).await?;
            self.output.flush().await
        };
        match timeout(self.limits.write, write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => return Err(Closed::NotReading),
        }
        let written = self.current.take().map(|ticket| (Instant::now(), ticket));
        if self.ours && !self.spoken.load(Ordering::Relaxed) {
            self.unproven.extend(written);
            let excess = self.unproven.len().saturating_sub(MOST_UNPROVEN);
            self.unproven.drain(..excess);
        }
        Ok(())
    }

    /// The tickets that did not arrive, as far as we know.
    fn lost(&self) -> Vec<u64> {
        let spoken = self.spoken.load(Ordering::Relaxed);
        let arrived = |written: &Instant| spoken || written.elapsed() >= UNPROVEN;
        let unproven = self.unproven.iter().filter(|(written, _)| !arrived(written));
        unproven.map(|(_, ticket)| *ticket).chain(self.current).collect()
    }
}

/// Half a keep-alive, or the answer to one of ours: no message was begun.
fn blank(buffer: &[u8]) -> bool {
    buffer.iter().all(|octet| matches!(octet, b'\r' | b'\n'))
}

/// What an error of a stream means.
fn broken(error: &io::Error) -> Closed {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ssl::Error>()) {
        Some(error) => match of_error(error) {
            Refusal::HungUp => Closed::ByPeer,
            reason => Closed::Tls(reason),
        },
        None => Closed::Broken(error.kind()),
    }
}

/// Reads and forgets until the peer hangs up or its time is over: closing with bytes unread would throw away the
/// answer that is on its way.
pub(super) async fn drain<S: AsyncRead + Unpin>(input: &mut S, limit: Duration) {
    let mut sink = [0; 4096];
    let _ = timeout(limit, async { while matches!(input.read(&mut sink).await, Ok(1..)) {} }).await;
}

/// Hangs up on a peer that TLS refused, once it had time to read the alert.
pub(super) async fn part(mut stream: SslStream<TcpStream>, limit: Duration) {
    let stream = stream.get_mut();
    let _ = stream.shutdown().await;
    drain(stream, limit).await;
}
