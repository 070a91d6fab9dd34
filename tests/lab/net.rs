//! A test's own corner of 127.0.0.0/8.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

const SLOTS: u16 = 250;

/// Addresses 127.77.SLOT.x and twenty ports of 127.0.0.1, claimed for as long as this value lives.
pub struct Net {
    slot: u16,
    _claim: TcpListener,
}

impl Net {
    /// A slot that nobody else holds, in this process or another.
    pub fn claim() -> Net {
        let first = (std::process::id() % u32::from(SLOTS)) as u16;
        (0..SLOTS)
            .map(|step| 1 + (first + step) % SLOTS)
            .find_map(|slot| {
                let claim = TcpListener::bind((Ipv4Addr::LOCALHOST, 10_000 + slot)).ok()?;
                Some(Net { slot, _claim: claim })
            })
            .expect("a free slot on the loopback network")
    }

    /// An address of ours.
    pub fn host(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, self.slot as u8, last)
    }

    /// A socket address of ours.
    pub fn at(&self, last: u8, port: u16) -> SocketAddr {
        (self.host(last), port).into()
    }

    /// A port of 127.0.0.1 for peers that cannot bind their sockets to an address: whatever they send comes from
    /// 127.0.0.1. `n` is below 20.
    pub fn local(&self, n: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 12_000 + self.slot * 20 + n).into()
    }
}

/// A TCP connection from an address of ours: gateways are recognised by where they come from.
pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}
