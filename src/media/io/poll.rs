//! Sockets by epoll: it tells which of them hold something; recvmmsg and sendmmsg move it, a batch from one socket at a
//! time.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use socket2::{SockAddr, SockAddrStorage};

use super::alarm::Alarm;
use super::socket::{Socket, is_of_earlier};
use super::{Arrival, BUFFER, Datagram, Gather, LONGEST, Post, Sockets, Woken};

/// Sockets served in one wake-up.
const EVENTS: usize = 256;
/// The wake-up call and the alarm; sockets count from 0.
const WAKE: u64 = u64::MAX;
const ALARM: u64 = u64::MAX - 1;
/// Lines count from here.
const LINES: u64 = 1 << 32;
/// And end here.
const LAST_LINE: u64 = ALARM - 1;

/// Sockets by epoll.
pub struct Poll {
    epoll: Epoll,
    alarm: Alarm,
    events: [EpollEvent; EVENTS],
    /// Which of the events are yet to be served.
    ready: Range<usize>,
    /// And which of them are yet to be named, if they are lines.
    unnamed: Range<usize>,
    batch: Batch,
    /// The socket of the batch, and which of its datagrams are yet to be seen.
    at: usize,
    unseen: Range<usize>,
    /// The socket that what is queued goes out from.
    from: usize,
    direct: Direct,
}

/// Sends at once: a packet of our own making is mostly the only one of its socket.
pub struct Direct {
    sockets: Vec<Option<Socket>>,
}

impl Poll {
    /// For so many sockets, with the eventfd that wakes the thread.
    pub fn new(sockets: usize, wake: &Arc<EventFd>) -> io::Result<Poll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let alarm = Alarm::new()?;
        epoll.add(alarm.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, ALARM))?;
        Ok(Poll {
            epoll,
            alarm,
            events: [EpollEvent::empty(); EVENTS],
            ready: 0..0,
            unnamed: 0..0,
            batch: Batch::new(),
            at: 0,
            unseen: 0..0,
            from: 0,
            direct: Direct { sockets: (0..sockets).map(|_| None).collect() },
        })
    }

    /// What is ready within the time; how much.
    fn look(&mut self, timeout: EpollTimeout) -> usize {
        let count = self.epoll.wait(&mut self.events, timeout).unwrap_or(0);
        (self.ready, self.unnamed) = (0..count, 0..count);
        count
    }

    /// Sends what is queued.
    fn flush(&mut self) {
        if let Some(Some(socket)) = self.direct.sockets.get(self.from) {
            self.batch.send(socket);
        }
    }
}

impl Sockets for Poll {
    type Post = Direct;

    fn watch(&mut self, at: usize, socket: UdpSocket) -> io::Result<()> {
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
        if let Some(place) = self.direct.sockets.get_mut(at) {
            *place = Some(Socket::new(socket));
        }
        Ok(())
    }

    fn settle(&mut self, at: usize, peer: Option<SocketAddr>) {
        if let Some(Some(socket)) = self.direct.sockets.get_mut(at) {
            socket.settle(peer);
        }
    }

    fn forget(&mut self, at: usize) {
        // Closing it takes it from epoll, too.
        self.direct.sockets.get_mut(at).map(Option::take);
    }

    fn attend(&mut self, line: usize, ready: BorrowedFd<'_>) -> io::Result<()> {
        Ok(self.epoll.add(ready, EpollEvent::new(EpollFlags::EPOLLIN, LINES + line as u64))?)
    }

    fn leave(&mut self, _line: usize, ready: BorrowedFd<'_>) {
        // It fails for what was never attended.
        let _ = self.epoll.delete(ready);
    }

    fn ready(&mut self) -> Option<usize> {
        let events = &self.events;
        let line = |event: usize| match events[event].data() {
            token @ LINES..=LAST_LINE => usize::try_from(token - LINES).ok(),
            _ => None,
        };
        self.unnamed.find_map(line)
    }

    fn wait(&mut self, gather: Option<Gather>, most: Option<Duration>) -> Woken {
        self.alarm.within(most);
        let mut count = 0;
        if let Some(gather) = gather {
            // What is there already is not kept waiting.
            count = self.look(EpollTimeout::ZERO);
            if count == 0 {
                std::thread::sleep(gather.most);
            }
        }
        if count == 0 {
            let at_once = most.is_some_and(|most| most.is_zero());
            count = self.look(if at_once { EpollTimeout::ZERO } else { EpollTimeout::NONE });
        }
        let is = |token| self.events[..count].iter().any(|event| event.data() == token);
        let (called, rang) = (is(WAKE), is(ALARM));
        if rang {
            self.alarm.rang();
        }
        let others = self.events[..count].iter().filter(|event| event.data() >= LINES).count();
        Woken { packets: count - others, called }
    }

    fn next(&mut self) -> Option<Arrival<'_, Direct>> {
        loop {
            for place in self.unseen.by_ref() {
                // A sender without a name cannot be answered.
                if self.batch.received.get(place).is_some_and(|(_, from)| from.is_some()) {
                    let datagram = self.batch.datagram(place)?;
                    return Some(Arrival { at: self.at, datagram, post: &mut self.direct });
                }
            }
            self.flush();
            let event = self.ready.next()?;
            // An event of a socket that is gone finds nothing to receive.
            let at = usize::try_from(self.events[event].data()).unwrap_or(usize::MAX);
            if let Some(Some(socket)) = self.direct.sockets.get(at) {
                self.at = at;
                self.unseen = 0..self.batch.receive(socket);
            }
        }
    }

    fn coming(&self, after: usize) -> Option<usize> {
        let event = self.ready.clone().nth(after)?;
        usize::try_from(self.events.get(event)?.data()).ok()
    }

    fn pass(&mut self, from: usize, octets: Range<usize>, to: SocketAddr) {
        if from != self.from {
            self.flush();
            self.from = from;
        }
        self.batch.queue(self.unseen.start.wrapping_sub(1), octets, to);
    }

    fn post(&mut self) -> &mut Direct {
        &mut self.direct
    }
}

impl Post for Direct {
    fn send(&mut self, from: usize, to: SocketAddr, octets: &[u8]) {
        if let Some(Some(socket)) = self.sockets.get(from) {
            socket.send(to, octets);
        }
    }
}

/// Packets of one system call. At telephony rates a socket holds one per wake-up; what exceeds a batch
/// stays readable and comes with the next one.
const BATCH: usize = 4;

/// Buffers for one round of receive, change, send.
struct Batch {
    buffers: Box<[[u8; BUFFER]]>,
    received: [(usize, Option<SocketAddr>); BATCH],
    queued: Vec<Queued>,
}

struct Queued {
    buffer: usize,
    octets: Range<usize>,
    to: SocketAddr,
    name: SockAddr,
}

impl Batch {
    /// Allocates the buffers.
    fn new() -> Batch {
        let buffers = vec![[0; BUFFER]; BATCH].into_boxed_slice();
        Batch { buffers, received: [(0, None); BATCH], queued: Vec::with_capacity(BATCH) }
    }

    /// Takes what waits on a non-blocking socket; how many datagrams.
    fn receive(&mut self, socket: &Socket) -> usize {
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
        let mut take = || unsafe {
            libc::recvmmsg(
                socket.raw(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = match take() {
            // Datagrams may wait behind the word of one that was sent.
            ..0 if is_of_earlier(&io::Error::last_os_error()) => take(),
            count => count,
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
    fn datagram(&mut self, at: usize) -> Option<Datagram<'_>> {
        let (length, from) = *self.received.get(at)?;
        Some(Datagram { from: from?, buffer: self.buffers.get_mut(at)?, length })
    }

    /// These octets of the buffer of datagram `at` shall go to `to`. A datagram is sent once at most.
    fn queue(&mut self, at: usize, octets: Range<usize>, to: SocketAddr) {
        if at < BATCH && octets.start <= octets.end && octets.end <= BUFFER && self.queued.len() < BATCH {
            self.queued.push(Queued { buffer: at, octets, to, name: to.into() });
        }
    }

    /// Sends what is queued; how many datagrams the kernel took. What it does not take at once is lost, as
    /// late sound is worth nothing.
    fn send(&mut self, socket: &Socket) -> usize {
        let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: a header of zeroes (null pointers, lengths 0) is valid.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for ((header, piece), queued) in headers.iter_mut().zip(&mut pieces).zip(&self.queued) {
            let octets = &mut self.buffers[queued.buffer][queued.octets.clone()];
            *piece = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            if socket.needs(queued.to) {
                header.msg_hdr.msg_name = queued.name.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_namelen = queued.name.len();
            }
        }
        let (mut next, mut sent, mut again) = (0, 0, false);
        while next < self.queued.len() {
            let rest = &mut headers[next..self.queued.len()];
            // SAFETY: `rest` holds headers whose pieces and names were set above to memory that
            // `self` owns and that outlives the call; the kernel only reads it.
            let count = unsafe {
                libc::sendmmsg(
                    socket.raw(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            again = count < 0 && !again && is_of_earlier(&io::Error::last_os_error());
            let count = usize::try_from(count).unwrap_or(0);
            sent += count;
            if !again {
                // On an error the first of the rest was refused: the others have their own chance.
                next += count.max(1);
            }
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
