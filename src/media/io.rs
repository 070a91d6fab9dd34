//! The system calls of a media thread: datagrams to and from many sockets, lines that are ready, and the thread's place on the
//! machine.
//!
//! [`Sockets`] has two forms. [`ring`] is io_uring: the kernel puts datagrams into buffers that it was given before, and
//! takes what goes out with the call that waits for more. [`poll`] is epoll with recvmmsg and sendmmsg, for kernels that
//! lack or forbid io_uring. Either owns its buffers; a packet is changed where it was received and sent from there. All
//! `unsafe` of system calls in the media plane is in this folder.

pub mod alarm;
pub mod poll;
pub mod priority;
pub mod ring;
pub mod socket;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Octets of a buffer.
pub const BUFFER: usize = 2048;

/// The longest datagram taken; the rest of the buffer is room to grow.
pub const LONGEST: usize = BUFFER - 64;

/// A received datagram.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Its buffer, with room to grow.
    pub buffer: &'a mut [u8; BUFFER],
    /// Its octets in the buffer; 0 when it was longer than [`LONGEST`].
    pub length: usize,
}

/// A datagram, and the way out for packets that are made while it is looked at.
pub struct Arrival<'a, P> {
    /// The number of its socket.
    pub at: usize,
    /// The datagram.
    pub datagram: Datagram<'a>,
    /// The way out.
    pub post: &'a mut P,
}

/// Packets shall gather: wait for so many, but not for longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gather {
    /// So many are enough.
    pub packets: usize,
    /// The longest wait.
    pub most: Duration,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// About how many datagrams came.
    pub packets: usize,
    /// Somebody wrote to the eventfd.
    pub called: bool,
}

/// Sockets by number, of one thread. What the kernel does not take at once is lost, as late sound is worth nothing.
pub trait Sockets {
    /// The way out for packets of our own making.
    type Post: Post;

    /// From now on this non-blocking socket has that number, which was free.
    fn watch(&mut self, at: usize, socket: UdpSocket) -> io::Result<()>;

    /// From now on the socket hears this peer alone; `None`: everybody.
    fn settle(&mut self, at: usize, peer: Option<SocketAddr>);

    /// Closes the socket, whose port is free when this returns. What was sent from it before is on its way.
    fn forget(&mut self, at: usize);

    /// From now on it is told when this descriptor, of the line with that number, is readable.
    fn attend(&mut self, line: usize, ready: BorrowedFd<'_>) -> io::Result<()>;

    /// Ends that.
    fn leave(&mut self, line: usize, ready: BorrowedFd<'_>);

    /// Sends what is queued and waits: for a datagram, for a line, for somebody to write to the eventfd, or until the time is over, which
    /// may be that of an earlier wait.
    fn wait(&mut self, gather: Option<Gather>, most: Option<Duration>) -> Woken;

    /// The next of the lines that are readable; `None` when all were named. What is left unread may not be told again.
    fn ready(&mut self) -> Option<usize>;

    /// The next of the datagrams that came; `None` when all were seen.
    fn next(&mut self) -> Option<Arrival<'_, Self::Post>>;

    /// Probably the socket of a datagram so many after the next one.
    fn coming(&self, after: usize) -> Option<usize>;

    /// These octets of the buffer of the last datagram shall go to `to`, from the socket `from`. A datagram is passed on once
    /// at most.
    fn pass(&mut self, from: usize, octets: Range<usize>, to: SocketAddr);

    /// The way out for packets of our own making.
    fn post(&mut self) -> &mut Self::Post;
}

/// Sends copies.
pub trait Post {
    /// These octets shall go to `to`, from the socket `from`.
    fn send(&mut self, from: usize, to: SocketAddr, octets: &[u8]);
}

/// How the media threads talk to their sockets; worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// By io_uring.
    Ring,
    /// By epoll, as configured.
    Poll,
    /// By epoll, because the kernel refused io_uring with this error number.
    NoRing(i32),
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Backend::Ring => f.write_str("media sockets are served by io_uring"),
            Backend::Poll => f.write_str("media sockets are served by epoll, as configured"),
            Backend::NoRing(error) => write!(
                f,
                "media sockets are served by epoll, for io_uring cannot be used here ({}): it needs Linux 6.1 and \
                 kernel.io_uring_disabled=0; a packet costs about a third more without it",
                io::Error::from_raw_os_error(*error)
            ),
        }
    }
}
