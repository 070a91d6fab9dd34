//! Listeners: every accepted connection gets its own task at once, so that the loop never waits for a peer.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::{self, Admission, Peer, Seat, part};
use super::handshake::{self, Failed, Judge};
use super::peer::Expected;
use super::table::{Place, canonical};
use super::{Event, Listener, Open, Read, Reader, Refusal, Role, Rules, Shared, StartError, Task};
use crate::hop::{Flow, Transport, TrunkId};

/// Connections that the kernel holds for us.
const BACKLOG: u32 = 1024;
/// The kernel's room for datagrams that we have not read yet.
const UDP_ROOM: usize = 4 * 1024 * 1024;
/// The largest datagram.
const DATAGRAM: usize = 64 * 1024;
/// The pause after a failed accept or receive: out of descriptors or memory, most likely.
const BREATH: Duration = Duration::from_millis(50);

/// A bound socket that nobody reads yet.
pub(super) struct Bound {
    listener: Listener,
    configured: SocketAddr,
    bound: SocketAddr,
    socket: Socket,
}

enum Socket {
    Stream(TcpListener),
    Datagram(UdpSocket),
}

/// Binds all or none.
pub(super) fn bind(wanted: impl Iterator<Item = (Listener, SocketAddr)>) -> Result<Vec<Bound>, StartError> {
    let one = |(listener, configured)| {
        let (socket, bound) = socket(listener, configured).map_err(|source| StartError::Listen {
            listener,
            address: configured,
            source,
        })?;
        Ok(Bound { listener, configured, bound, socket })
    };
    wanted.map(one).collect()
}

fn socket(listener: Listener, address: SocketAddr) -> std::io::Result<(Socket, SocketAddr)> {
    if listener == Listener::Udp {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        // The kernel may give less.
        let _ = SockRef::from(&socket).set_recv_buffer_size(UDP_ROOM);
        let bound = socket.local_addr()?;
        return Ok((Socket::Datagram(UdpSocket::from_std(socket)?), bound));
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let socket = socket.listen(BACKLOG)?;
    let bound = socket.local_addr()?;
    Ok((Socket::Stream(socket), bound))
}

/// Begins to accept.
pub(super) fn open<R: Reader>(shared: &Arc<Shared<R>>, bound: Bound) -> Open {
    let Bound { listener, configured, bound, socket } = bound;
    let shared = Arc::clone(shared);
    let task = match socket {
        Socket::Stream(socket) => tokio::spawn(accept(shared, listener, socket, bound)),
        Socket::Datagram(socket) => {
            let socket = Arc::new(socket);
            *shared.udp.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&socket));
            tokio::spawn(receive(shared, socket, bound))
        }
    };
    Open { listener, configured, bound, _task: Task(task) }
}

async fn accept<R: Reader>(shared: Arc<Shared<R>>, listener: Listener, socket: TcpListener, here: SocketAddr) {
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => admit(&shared, listener, stream, canonical(remote)),
            Err(error) => {
                shared.refuse(here, Some(listener), None, Refusal::Accept(error.kind()));
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Gives a connection its task, or closes it: an address that no gateway has, or a limit.
fn admit<R: Reader>(shared: &Arc<Shared<R>>, listener: Listener, stream: TcpStream, remote: SocketAddr) {
    let rules = shared.rules();
    let trunk = rules.addresses.trunk(remote, listener.transport());
    let stranger = listener != Listener::Tcp;
    let refused = match (listener, trunk) {
        (Listener::Tcp, None) => Some(Refusal::UnknownAddress),
        _ => shared.table().admit(remote.ip(), stranger, &shared.limits).err(),
    };
    match refused {
        Some(reason) => shared.refuse(remote, Some(listener), trunk, reason),
        None => {
            let admission = Admission::new(shared, remote.ip(), stranger);
            tokio::spawn(welcome(admission, rules, listener, stream, trunk));
        }
    }
}

/// Finds out who is there, then runs the connection.
async fn welcome<R: Reader>(
    mut admission: Admission<R>,
    rules: Arc<Rules>,
    listener: Listener,
    stream: TcpStream,
    trunk: Option<TrunkId>,
) {
    let shared = Arc::clone(&admission.shared);
    tune(&stream);
    let peer = match (listener, trunk) {
        (Listener::Tcp, Some(trunk)) => Peer::plain(stream, trunk).ok(),
        _ => secure(&admission, &rules, listener, stream, trunk).await,
    };
    // Without a peer the refusal has been told, or the connection was gone before it was looked at.
    let Some(peer) = peer else { return };
    admission.known();
    let (orders, queue) = mpsc::channel(shared.limits.queue.max(1));
    let place = Place::new(peer.trunk);
    // A reload in the meantime may have given the trunk's number to another: the peer has to come again.
    let entered = {
        let mut table = shared.table();
        let current = Arc::ptr_eq(&rules.config, &shared.rules().config);
        current.then(|| table.enter(orders.clone(), place.clone(), peer.names()))
    };
    if let Some(number) = entered {
        drop(rules);
        connection::run(Seat::new(&shared, number, place, Some(admission)), peer, orders, queue).await;
    }
}

/// The server's handshake. The trunk that has the address serves only to say whose refusal it was.
async fn secure<R: Reader>(
    admission: &Admission<R>,
    rules: &Rules,
    listener: Listener,
    stream: TcpStream,
    trunk: Option<TrunkId>,
) -> Option<Peer> {
    let shared = &admission.shared;
    let remote = canonical(stream.peer_addr().ok()?);
    let (side, trunks, trunk) = match listener {
        Listener::Microsoft => (&rules.tls.microsoft, &rules.config.trunks[..1], None),
        _ => (&rules.tls.gateways, rules.config.gateways(), trunk),
    };
    let judge = Judge { expected: Expected::AnyOf(trunks.to_vec()), role: Role::Client, remote: remote.ip() };
    let failed =
        match timeout(shared.limits.handshake, handshake::run(side, stream, judge, shared.clock.now().wall)).await {
            Ok(Ok(secured)) => return Peer::secured(secured).ok(),
            Ok(Err(failed)) => failed,
            Err(_) => Failed { reason: Refusal::Slow, stream: None },
        };
    shared.refuse(remote, Some(listener), trunk, failed.reason);
    if let Some(stream) = failed.stream {
        part(stream, shared.limits.linger).await;
    }
    None
}

/// What we sent and the peer's machine did not acknowledge in this time breaks the connection: the next message
/// shall not follow it into the void.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

/// No waiting for full segments; a dead peer is found out within two minutes of silence.
pub(super) fn tune(stream: &TcpStream) {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);
    // A connection without these still works.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

/// Reads datagrams of known addresses; the others are counted and forgotten unread.
async fn receive<R: Reader>(shared: Arc<Shared<R>>, socket: Arc<UdpSocket>, local: SocketAddr) {
    let mut reader = shared.reader.clone();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok((length, remote)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let known = canonical(remote);
        let Some(trunk) = shared.rules().addresses.trunk(known, Transport::Udp) else {
            shared.refuse(known, Some(Listener::Udp), None, Refusal::UnknownAddress);
            continue;
        };
        let flow = Flow { connection: 0, trunk, transport: Transport::Udp, local, remote };
        match reader.datagram(Bytes::copy_from_slice(&buffer[..length])) {
            Read::More => {}
            Read::Message(message) => shared.tell(Event::Received { flow, message }).await,
            Read::Pong(bytes) => drop(socket.try_send_to(&bytes, remote)),
            Read::Refuse { answer, fault, .. } => {
                if let Some(answer) = answer {
                    let _ = socket.try_send_to(&answer, remote);
                }
                shared.tell(Event::Unreadable { flow, fault }).await;
            }
        }
    }
}
