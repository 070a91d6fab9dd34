//! Connections of ours: look-up, connect, handshake, each address in turn until one is good, all within
//! [`Limits::dial`](super::Limits::dial). What was queued meanwhile follows, or comes back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::{self, Peer, Seat, part};
use super::handshake::{self, Failed, Judge};
use super::listen::tune;
use super::peer::Expected;
use super::table::Order;
use super::{Event, NoAddress, Reader, Refusal, Role, Shared, Unsent};
use crate::hop::{Target, Transport, TrunkId};

/// The most addresses of one target that are tried.
const MOST_ADDRESSES: usize = 8;
/// A UDP target's address is looked up anew after this silence: within it, a request, its repetitions and its CANCEL go
/// to one place (RFC 3263 section 4.4).
const UDP_REST: Duration = Duration::from_secs(64);

/// Serves a target until its connection ends.
pub(super) async fn run<R: Reader>(
    seat: Seat<R>,
    target: Target,
    orders: mpsc::Sender<Order>,
    queue: mpsc::Receiver<Order>,
) {
    let shared = Arc::clone(&seat.shared);
    let deadline = Instant::now() + shared.limits.dial;
    let addresses = match timeout_at(deadline, shared.lookup.addresses(&target)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return seat.give_back(queue, Vec::new(), error.into()).await,
        Err(_) => return seat.give_back(queue, Vec::new(), NoAddress::Silent(target.host).into()).await,
    };
    if target.transport == Transport::Udp {
        return datagrams(seat, &addresses, queue).await;
    }
    match first_good(&shared, &target, seat.place.get(), addresses, deadline).await {
        Ok(peer) => connection::run(seat, peer, orders, queue).await,
        Err(why) => seat.give_back(queue, Vec::new(), why).await,
    }
}

/// The first address that takes us. Of several failures the one of TLS is told: it says most.
async fn first_good<R: Reader>(
    shared: &Shared<R>,
    target: &Target,
    trunk: TrunkId,
    addresses: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<Peer, Unsent> {
    let mut told = Unsent::NoAddress(NoAddress::Unknown(target.host.clone()));
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        match attempt(shared, target, trunk, address, deadline).await {
            Ok(peer) => return Ok(peer),
            Err(_) if matches!(told, Unsent::Tls { .. }) => {}
            Err(why) => told = why,
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    Err(told)
}

async fn attempt<R: Reader>(
    shared: &Shared<R>,
    target: &Target,
    trunk: TrunkId,
    address: SocketAddr,
    deadline: Instant,
) -> Result<Peer, Unsent> {
    let soon = deadline.min(Instant::now() + shared.limits.connect);
    let stream = match timeout_at(soon, connect(shared, target.transport, trunk, address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Unsent::Refused(address)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => return Err(Unsent::TimedOut(address)),
        Ok(Err(error)) => return Err(Unsent::Unreachable(address, error.kind())),
        Err(_) => return Err(Unsent::TimedOut(address)),
    };
    if target.transport == Transport::Tcp {
        return Peer::plain(stream, trunk).map_err(|error| Unsent::Unreachable(address, error.kind()));
    }
    let late = deadline.min(Instant::now() + shared.limits.handshake);
    secure(shared, target, trunk, stream, address, late).await
}

/// The client's handshake.
async fn secure<R: Reader>(
    shared: &Shared<R>,
    target: &Target,
    trunk: TrunkId,
    stream: TcpStream,
    address: SocketAddr,
    deadline: Instant,
) -> Result<Peer, Unsent> {
    let rules = shared.rules();
    let expected = Arc::clone(rules.config.trunk(trunk).ok_or(Unsent::NoTrunk)?);
    let side = rules.tls.of(expected.kind);
    let expected = Expected::Host { trunk: expected, host: target.host.clone() };
    let judge = Judge { expected, role: Role::Server, remote: address.ip() };
    let reason = match timeout_at(deadline, handshake::run(side, stream, judge, shared.clock.now().wall)).await {
        Ok(Ok(secured)) => {
            return Peer::secured(secured).map_err(|error| Unsent::Unreachable(address, error.kind()));
        }
        Ok(Err(Failed { reason, stream })) => {
            if let Some(stream) = stream {
                tokio::spawn(part(stream, shared.limits.linger));
            }
            reason
        }
        Err(_) => Refusal::Slow,
    };
    shared.refuse(address, None, Some(trunk), reason.clone());
    Err(Unsent::Tls { reason })
}

/// Connects, from the listener's own address when it is bound to one: peers recognise us by it.
async fn connect<R: Reader>(
    shared: &Shared<R>,
    transport: Transport,
    trunk: TrunkId,
    address: SocketAddr,
) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let config = Arc::clone(&shared.rules().config);
    let listen = if trunk == TrunkId::LYNC { Some(config.lync_listen) } else { config.trunk_listen.of(transport) };
    if let Some(own) = listen.map(|listen| listen.ip())
        && own.is_ipv4() == address.is_ipv4()
        && !own.is_unspecified()
        && !own.is_loopback()
    {
        socket.bind(SocketAddr::new(own, 0))?;
    }
    let stream = socket.connect(address).await?;
    tune(&stream);
    Ok(stream)
}

/// A target by UDP: every datagram to the first address.
async fn datagrams<R: Reader>(seat: Seat<R>, addresses: &[SocketAddr], mut queue: mpsc::Receiver<Order>) {
    let shared = Arc::clone(&seat.shared);
    let Some(&address) = addresses.first() else { return };
    while let Ok(Some(order)) = timeout(UDP_REST, queue.recv()).await {
        send(&shared, address, order).await;
    }
    drop(seat);
    queue.close();
    while let Ok(order) = queue.try_recv() {
        send(&shared, address, order).await;
    }
}

async fn send<R: Reader>(shared: &Shared<R>, address: SocketAddr, order: Order) {
    if let Order::Write(bytes, Some(ticket)) = order
        && let Err(why) = shared.datagram(address, &bytes)
    {
        shared.tell(Event::Unsent { ticket, why }).await;
    }
}
