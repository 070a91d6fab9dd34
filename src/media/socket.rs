//! Datagrams in batches, and the thread's priority: the system calls of the media plane that have no
//! safe face elsewhere. All `unsafe` of the media plane is in this file.
//!
//! A [`Batch`] owns its buffers; a packet is changed where it was received and sent from there.
//! Measured on loopback, eight to nine tenths of the thread's time are the kernel's. Rings of the kernel (io_uring) would
//! take the place of this file.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::{SockAddr, SockAddrStorage};

/// Packets of one system call. At telephony rates a socket holds one per wake-up; what exceeds a batch
/// stays readable and comes with the next one.
pub const BATCH: usize = 16;

/// Octets of a buffer.
pub const BUFFER: usize = 2048;

/// The longest datagram taken; the rest of the buffer is room to grow.
pub const LONGEST: usize = BUFFER - 64;

/// Buffers for one round of receive, change, send.
pub struct Batch {
    buffers: Box<[[u8; BUFFER]]>,
    received: [(usize, Option<SocketAddr>); BATCH],
    queued: Vec<Queued>,
}

struct Queued {
    buffer: usize,
    octets: Range<usize>,
    to: SockAddr,
}

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

impl Batch {
    /// Allocates the buffers.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Batch {
        let buffers = vec![[0; BUFFER]; BATCH].into_boxed_slice();
        Batch { buffers, received: [(0, None); BATCH], queued: Vec::with_capacity(BATCH) }
    }

    /// Takes what waits on a non-blocking socket; how many datagrams. An error is no datagram: it would be
    /// about an earlier one that was sent.
    pub fn receive(&mut self, socket: &UdpSocket) -> usize {
        self.queued.clear();
        let mut names: [MaybeUninit<SockAddrStorage>; BATCH] = [const { MaybeUninit::zeroed() }; BATCH];
        let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: a header of zeroes (null pointers, lengths 0) is valid.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for (((header, piece), name), buffer) in
            headers.iter_mut().zip(&mut pieces).zip(&mut names).zip(self.buffers.iter_mut())
        {
            *piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: LONGEST };
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = size_of::<SockAddrStorage>() as libc::socklen_t;
        }
        // SAFETY: every header points to one piece and one name, every piece into a buffer of its own
        // with LONGEST < BUFFER octets; all of them outlive the call. No timeout is given.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        for ((received, header), name) in self.received.iter_mut().zip(&headers).zip(names).take(count) {
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            // SAFETY: for the first `count` headers the kernel wrote msg_namelen octets to the zeroed name.
            let from = unsafe { address(name, header.msg_hdr.msg_namelen) };
            *received = (if whole { header.msg_len as usize } else { 0 }, from);
        }
        count
    }

    /// The datagram `at` of the last [`Batch::receive`].
    pub fn datagram(&mut self, at: usize) -> Option<Datagram<'_>> {
        let (length, from) = *self.received.get(at)?;
        Some(Datagram { from: from?, buffer: self.buffers.get_mut(at)?, length })
    }

    /// These octets of the buffer of datagram `at` shall go to `to`. A datagram is sent once at most.
    pub fn queue(&mut self, at: usize, octets: Range<usize>, to: SocketAddr) {
        if at < BATCH && octets.start <= octets.end && octets.end <= BUFFER && self.queued.len() < BATCH {
            self.queued.push(Queued { buffer: at, octets, to: to.into() });
        }
    }

    /// Sends what is queued; how many datagrams the kernel took. What it does not take at once is lost, as
    /// late sound is worth nothing.
    pub fn send(&mut self, socket: &UdpSocket) -> usize {
        let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: a header of zeroes (null pointers, lengths 0) is valid.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for ((header, piece), queued) in headers.iter_mut().zip(&mut pieces).zip(&self.queued) {
            let octets = &mut self.buffers[queued.buffer][queued.octets.clone()];
            *piece = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = queued.to.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = queued.to.len();
        }
        let (mut next, mut sent) = (0, 0);
        while next < self.queued.len() {
            let rest = &mut headers[next..self.queued.len()];
            // SAFETY: `rest` holds headers whose pieces and names were set above to memory that
            // `self` owns and that outlives the call; the kernel only reads it.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            let count = usize::try_from(count).unwrap_or(0);
            sent += count;
            // On an error the first of the rest was refused: the others have their own chance.
            next += count.max(1);
        }
        self.queued.clear();
        sent
    }
}

/// # Safety
/// `name` was zeroed, then the kernel wrote a socket address of `length` octets to it.
unsafe fn address(name: MaybeUninit<SockAddrStorage>, length: libc::socklen_t) -> Option<SocketAddr> {
    if length as usize > size_of::<SockAddrStorage>() || (length as usize) < size_of::<libc::sa_family_t>() {
        return None;
    }
    // SAFETY: the caller vouches for `name`; a storage is plain octets without invalid values.
    unsafe { SockAddr::new(name.assume_init(), length) }.as_socket()
}

/// Gives the calling thread real-time priority (SCHED_FIFO). Needs CAP_SYS_NICE or RLIMIT_RTPRIO.
pub fn real_time() -> io::Result<()> {
    // Above every ordinary thread, below the kernel's own (50): a media thread that waits for a
    // softirq must not keep it from running.
    let parameters = libc::sched_param { sched_priority: 10 };
    // SAFETY: the calling thread's own handle and a parameter that outlives the call.
    match unsafe { libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn socket(address: &str) -> UdpSocket {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    /// Sends from a second socket, so that the datagrams wait already: loopback delivers at once.
    fn sent(to: &UdpSocket, from: &UdpSocket, octets: &[&[u8]]) {
        octets
            .iter()
            .for_each(|octets| assert_eq!(from.send_to(octets, to.local_addr().unwrap()).unwrap(), octets.len()));
    }

    #[test]
    fn what_came_is_changed_in_place_and_sent_on() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (ours, peer) = (socket(any), socket(any));
            let mut batch = Batch::new();
            assert_eq!(batch.receive(&ours), 0, "nothing waits");
            sent(&ours, &peer, &[b"one", b"", b"three"]);
            assert_eq!(batch.receive(&ours), 3);
            for (at, length) in [(0, 3), (1, 0), (2, 5)] {
                let datagram = batch.datagram(at).unwrap();
                assert_eq!((datagram.from, datagram.length), (peer.local_addr().unwrap(), length));
                datagram.buffer[length] = b'!';
            }
            batch.queue(2, 1..6, peer.local_addr().unwrap());
            batch.queue(0, 0..4, peer.local_addr().unwrap());
            assert_eq!(batch.send(&ours), 2);
            let mut octets = [0; 16];
            for expected in [&b"hree!"[..], b"one!"] {
                let (length, from) = peer.recv_from(&mut octets).unwrap();
                assert_eq!((&octets[..length], from), (expected, ours.local_addr().unwrap()));
            }
        }
    }

    #[test]
    fn more_than_a_batch_comes_in_two() {
        let (ours, peer) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        sent(&ours, &peer, &[&b"x"[..]; BATCH + 3]);
        let mut batch = Batch::new();
        assert_eq!([batch.receive(&ours), batch.receive(&ours), batch.receive(&ours)], [BATCH, 3, 0]);
        assert!(batch.datagram(BATCH).is_none());
    }

    #[test]
    fn a_datagram_that_is_too_long_counts_as_empty() {
        let (ours, peer) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        sent(&ours, &peer, &[&[7; LONGEST + 1], &[7; LONGEST]]);
        let mut batch = Batch::new();
        assert_eq!(batch.receive(&ours), 2);
        assert_eq!([0, 1].map(|at| batch.datagram(at).unwrap().length), [0, LONGEST]);
    }

    #[test]
    fn one_refused_destination_does_not_stop_the_rest() {
        let (ours, peer) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let mut batch = Batch::new();
        sent(&ours, &peer, &[b"a", b"b"]);
        assert_eq!(batch.receive(&ours), 2);
        batch.queue(0, 0..1, "[::1]:9".parse().unwrap());
        batch.queue(1, 0..1, peer.local_addr().unwrap());
        batch.queue(1, 0..BUFFER + 1, peer.local_addr().unwrap());
        assert_eq!(batch.send(&ours), 1);
        let mut octets = [0; 16];
        assert_eq!((peer.recv(&mut octets).unwrap(), octets[0]), (1, b'b'));
    }
}
