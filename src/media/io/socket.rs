//! A socket, and the only peer that it speaks with, once that is settled.
//!
//! The kernel then keeps the route to the peer, and drops what others send before it costs us anything. Measured with 500
//! calls relayed: 5.7 µs a packet rather than 6.8.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// A non-blocking socket.
#[derive(Debug)]
pub struct Socket {
    udp: UdpSocket,
    peer: Option<SocketAddr>,
}

impl Socket {
    /// It hears everybody. It must have been bound to a port by number, or it loses its port when it is opened again.
    pub fn new(udp: UdpSocket) -> Socket {
        Socket { udp, peer: None }
    }

    /// From now on it hears this peer alone; `None`: everybody.
    pub fn settle(&mut self, peer: Option<SocketAddr>) {
        let settled = match peer {
            Some(peer) => self.udp.connect(peer),
            None => self.open(),
        };
        // What cannot be settled stays as it was: it costs a little more.
        if settled.is_ok() {
            self.peer = peer;
        }
    }

    fn open(&self) -> io::Result<()> {
        let nobody = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
        // SAFETY: the address outlives the call and is as long as it is said to be.
        match unsafe { libc::connect(self.raw(), &raw const nobody, size_of::<libc::sockaddr>() as libc::socklen_t) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Must the kernel be told where a packet to this peer goes?
    pub fn needs(&self, to: SocketAddr) -> bool {
        self.peer != Some(to)
    }

    /// Sends at once, or not at all.
    pub fn send(&self, to: SocketAddr, octets: &[u8]) {
        let send = || if self.needs(to) { self.udp.send_to(octets, to) } else { self.udp.send(octets) };
        // A packet that does not leave is lost: sound would be late.
        let _ = send().or_else(|error| if is_of_earlier(&error) { send() } else { Err(error) });
    }

    /// For system calls, while it lives.
    pub fn raw(&self) -> RawFd {
        self.udp.as_raw_fd()
    }
}

/// Was it another packet that was refused? The peer's port was closed to one that went before (ICMP); the kernel says so
/// instead of sending the next, and then forgets it: to be sent again.
pub fn is_of_earlier(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECONNREFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_socket_hears_its_peer_alone_until_it_is_opened_again() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let [free, peer, stranger] = [(); 3].map(|()| UdpSocket::bind(any).unwrap());
            let by_number = free.local_addr().unwrap();
            drop(free);
            let ours = UdpSocket::bind(by_number).unwrap();
            let (local, at) = (ours.local_addr().unwrap(), peer.local_addr().unwrap());
            ours.set_nonblocking(true).unwrap();
            let mut ours = Socket::new(ours);
            let heard = |ours: &Socket| ours.udp.recv(&mut [0; 10]).ok();
            ours.settle(Some(at));
            assert!(!ours.needs(at) && ours.needs(local));
            stranger.send_to(b"stranger", local).unwrap();
            peer.send_to(b"peer", local).unwrap();
            assert_eq!([heard(&ours), heard(&ours)], [Some(4), None]);
            ours.send(at, b"known");
            ours.send(stranger.local_addr().unwrap(), b"elsewhere");
            let mut octets = [0; 10];
            assert_eq!(peer.recv_from(&mut octets).unwrap(), (5, local));
            // The stranger was told that nobody listens.
            let elsewhere = stranger.recv_from(&mut octets).or_else(|_| stranger.recv_from(&mut octets));
            assert_eq!(elsewhere.unwrap(), (9, local));
            ours.settle(None);
            stranger.send_to(b"stranger", local).unwrap();
            assert_eq!(heard(&ours), Some(8), "and it has its port still");
        }
    }
}
