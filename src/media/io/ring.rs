//! Sockets by io_uring (Linux 6.1 and newer): every socket has one receive that never ends, datagrams come in buffers that
//! the kernel was given before, and what goes out is handed over by the same call that waits for more.
//!
//! Who owns a buffer: a [`Slot`] is the kernel's from [`Slots::give`] until a completion names it, ours while it is looked
//! at, and the kernel's again, to be read, until the call that hands it over returns. Of what is sent only refusals are told.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::sys::eventfd::EventFd;
use socket2::SockAddr;

use super::alarm::Alarm;
use super::socket::{Socket, is_of_earlier};
use super::{Arrival, BUFFER, Datagram, Gather, LONGEST, Post, Sockets, Woken};

/// Buffers for datagrams; what comes while all are in use waits in its socket. A power of two.
const SLOTS: u16 = 1024;
/// Buffers for packets of our own making that wait to be taken by the kernel.
const LETTERS: u16 = 128;
/// Buffers that there shall be for each receive that is asked for again: of what waits in a socket all is taken at once.
const WAITING: usize = 4;
const BUFFERS: usize = (SLOTS + LETTERS) as usize;
/// Requests that wait to be taken by the kernel.
const REQUESTS: u32 = 1024;
/// Completions that wait to be looked at.
const COMPLETIONS: u32 = 4 * REQUESTS;
/// The kernel writes the sender's address in so many octets, behind a header of 16.
const NAME: usize = 32;
const HEAD: usize = 16 + NAME;
/// The group of our buffers.
const GROUP: u16 = 0;
/// How often it is looked whether a receive has ended at last, and how long each time.
const LOOKS: usize = 100;
const LOOK: Duration = Duration::from_millis(1);

/// Sockets by io_uring.
pub struct Ring {
    // Dropped first: nothing below is the kernel's after that.
    mail: Mail,
    slots: Slots,
    arrived: VecDeque<Arrived>,
    /// The buffer of the last datagram.
    current: Option<Slot>,
    called: bool,
    rang: bool,
    wake: Arc<EventFd>,
    alarm: Alarm,
    /// Receives that ended and are to be asked for again.
    ended: VecDeque<usize>,
    lines: Vec<Attended>,
    /// Lines that are readable.
    ready: VecDeque<usize>,
    template: Box<libc::msghdr>,
}

/// The requests: what goes out, and what is asked for.
pub struct Mail {
    ring: IoUring,
    sockets: Vec<Place>,
    /// Copies of packets of our own making.
    letters: Box<[UnsafeCell<[u8; BUFFER]>]>,
    free: Vec<u16>,
    /// Completions that were met when a letter was looked for.
    put_aside: VecDeque<cqueue::Entry>,
    /// What is sent, by the number of its buffer: slots first, then letters.
    parcels: Box<[Parcel]>,
    /// Where it goes, where the kernel must be told.
    names: Box<[SockAddr]>,
    /// Buffers that are on their way out, and by which sending.
    outgoing: Vec<(u16, u32)>,
    /// Counts sendings, from 1.
    sendings: u32,
    /// Slots that were sent.
    returned: Vec<Slot>,
}

/// A place for a socket.
#[derive(Default)]
struct Place {
    socket: Option<Socket>,
    /// Tells a completion of the socket that had this number before.
    generation: u16,
    /// The kernel receives for it.
    armed: bool,
}

/// A packet on its way out: octets of a buffer that is nobody's until it was sent.
#[derive(Clone)]
struct Parcel {
    from: usize,
    start: *const u8,
    length: u32,
    to: SocketAddr,
    /// It was refused once.
    again: bool,
    /// Which sending this is; 0 once it is over.
    sending: u32,
}

/// A line whose descriptor is polled.
#[derive(Clone, Copy, Debug, Default)]
struct Attended {
    descriptor: Option<RawFd>,
    /// Tells a completion of the line that had this number before.
    generation: u16,
    /// It is among those that are ready.
    ready: bool,
}

/// What the kernel put into a slot.
struct Arrived {
    at: usize,
    generation: u16,
    slot: Slot,
}

/// What a request is about, as the kernel carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matter {
    /// Receive from a socket of this number and generation.
    Receive(usize, u16),
    /// Send the buffer of this number, which is that sending.
    Send(u16, u32),
    /// The line of this number and generation is readable.
    Line(usize, u16),
    /// Somebody writes to the eventfd.
    Wake,
    Alarm,
    Cancel,
}

impl Ring {
    /// For so many sockets, with the eventfd that wakes the thread. To be called by the thread that will use it. An error
    /// says that the kernel is too old or forbids it.
    pub fn new(sockets: usize, wake: &Arc<EventFd>) -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .build(REQUESTS)?;
        let slots = Slots::register(&ring)?;
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let parcel = Parcel { from: 0, start: std::ptr::null(), length: 0, to: nowhere, again: false, sending: 0 };
        let mail = Mail {
            ring,
            sockets: (0..sockets).map(|_| Place::default()).collect(),
            letters: (0..LETTERS).map(|_| UnsafeCell::new([0; BUFFER])).collect(),
            free: (0..LETTERS).collect(),
            put_aside: VecDeque::with_capacity(COMPLETIONS as usize),
            parcels: vec![parcel; BUFFERS].into(),
            names: vec![nowhere.into(); BUFFERS].into(),
            outgoing: Vec::with_capacity(2 * BUFFERS),
            sendings: 0,
            returned: Vec::with_capacity(BUFFERS),
        };
        // SAFETY: a header of zeroes is valid; of it only the length of the name is looked at.
        let mut template: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        template.msg_namelen = NAME as libc::socklen_t;
        let mut ring = Ring {
            mail,
            slots,
            arrived: VecDeque::with_capacity(usize::from(SLOTS)),
            current: None,
            called: false,
            rang: false,
            wake: wake.clone(),
            alarm: Alarm::new()?,
            ended: VecDeque::with_capacity(sockets),
            lines: Vec::new(),
            ready: VecDeque::new(),
            template,
        };
        ring.listen(ring.wake.as_raw_fd(), Matter::Wake);
        ring.listen(ring.alarm.as_raw_fd(), Matter::Alarm);
        Ok(ring)
    }

    fn listen(&mut self, file: RawFd, matter: Matter) {
        let poll = opcode::PollAdd::new(Fd(file), libc::POLLIN as u32).multi(true).build();
        // SAFETY: it points to nothing.
        unsafe { self.mail.ask(poll, matter) };
    }

    fn receive(&mut self, at: usize) {
        let Some(place) = self.mail.sockets.get(at) else { return };
        let Some(socket) = &place.socket else { return };
        let receive = opcode::RecvMsgMulti::new(Fd(socket.raw()), &raw const *self.template, GROUP).build();
        let matter = Matter::Receive(at, place.generation);
        // SAFETY: the template and the registered buffers live until the ring is dropped.
        let asked = unsafe { self.mail.ask(receive, matter) };
        self.mail.sockets[at].armed = asked;
        if !asked {
            self.ended.push_back(at);
        }
    }

    /// Asks again for receives that ended, mostly for want of buffers: for no more than there are buffers for now. A receive
    /// that ends again at once costs as much as a packet, and who is behind would stay behind.
    fn receive_again(&mut self) {
        let most = self.slots.given / WAITING;
        for _ in 0..most.min(self.ended.len()) {
            let Some(at) = self.ended.pop_front() else { return };
            self.receive(at);
        }
    }

    /// Takes completions; how many datagrams there were.
    fn settle(&mut self) -> usize {
        let before = self.arrived.len();
        while let Some(entry) = self.mail.next_completion() {
            match Matter::read(entry.user_data()) {
                Matter::Receive(at, generation) => self.received(at, generation, &entry),
                Matter::Send(number, sending) => self.mail.refused(number, sending, entry.result()),
                Matter::Line(line, generation) => self.readable(line, generation, &entry),
                Matter::Wake => {
                    self.called = true;
                    if !cqueue::more(entry.flags()) {
                        self.listen(self.wake.as_raw_fd(), Matter::Wake);
                    }
                }
                Matter::Alarm => {
                    self.rang = true;
                    self.alarm.rang();
                    if !cqueue::more(entry.flags()) {
                        self.listen(self.alarm.as_raw_fd(), Matter::Alarm);
                    }
                }
                Matter::Cancel => (),
            }
        }
        self.mail.sent();
        self.mail.returned.drain(..).for_each(|slot| self.slots.give(slot));
        self.arrived.len() - before
    }

    fn received(&mut self, at: usize, generation: u16, entry: &cqueue::Entry) {
        if let Some(slot) = cqueue::buffer_select(entry.flags()).map(|number| self.slots.take(number)) {
            match entry.result() {
                0.. => self.arrived.push_back(Arrived { at, generation, slot }),
                _ => self.slots.give(slot),
            }
        }
        let Some(place) = self.mail.sockets.get_mut(at) else { return };
        if place.generation == generation && !cqueue::more(entry.flags()) {
            place.armed = false;
            self.ended.push_back(at);
        }
    }

    fn readable(&mut self, line: usize, generation: u16, entry: &cqueue::Entry) {
        let Some(place) = self.lines.get_mut(line).filter(|place| place.generation == generation) else { return };
        let Some(descriptor) = place.descriptor.filter(|_| entry.result() >= 0) else { return };
        if !std::mem::replace(&mut place.ready, true) {
            self.ready.push_back(line);
        }
        if !cqueue::more(entry.flags()) {
            self.listen(descriptor, Matter::Line(line, generation));
        }
    }

    /// Waits for so many completions; how many datagrams there were.
    fn look(&mut self, wanted: usize, most: Option<Duration>) -> usize {
        self.mail.enter(wanted, most);
        self.settle()
    }

    /// What is there already; how many datagrams.
    fn glance(&mut self) -> usize {
        let _ = self.mail.ring.submit();
        if self.mail.ring.submission().taskrun() {
            // What came waits to be put into buffers: this makes the kernel do it.
            let _ = self.mail.ring.submit();
        }
        self.settle()
    }

    fn is_called(&self) -> bool {
        self.called || self.rang || !self.ready.is_empty()
    }

    /// Gives the last datagram's buffer back, unless it was passed on.
    fn put_back(&mut self) {
        if let Some(slot) = self.current.take() {
            self.slots.give(slot);
        }
    }
}

impl Sockets for Ring {
    type Post = Mail;

    fn watch(&mut self, at: usize, socket: UdpSocket) -> io::Result<()> {
        let place = self.mail.sockets.get_mut(at).ok_or(io::ErrorKind::InvalidInput)?;
        place.socket = Some(Socket::new(socket));
        self.receive(at);
        Ok(())
    }

    fn settle(&mut self, at: usize, peer: Option<SocketAddr>) {
        let Some(Place { socket: Some(socket), .. }) = self.mail.sockets.get_mut(at) else { return };
        // What is queued goes where it was to go when it was.
        let _ = self.mail.ring.submit();
        socket.settle(peer);
    }

    fn forget(&mut self, at: usize) {
        let Some(place) = self.mail.sockets.get(at).filter(|place| place.socket.is_some()) else { return };
        let cancel = opcode::AsyncCancel::new(Matter::Receive(at, place.generation).write()).build();
        // SAFETY: it points to nothing.
        unsafe { self.mail.ask(cancel, Matter::Cancel) };
        for _ in 0..LOOKS {
            // The kernel takes what is queued, to be sent from this socket or to end its receive.
            self.mail.enter(1, Some(LOOK));
            self.settle();
            if !self.mail.sockets[at].armed {
                break;
            }
        }
        self.ended.retain(|ended| *ended != at);
        let place = &mut self.mail.sockets[at];
        *place = Place { generation: place.generation.wrapping_add(1), ..Place::default() };
    }

    fn attend(&mut self, line: usize, ready: BorrowedFd<'_>) -> io::Result<()> {
        if line >= self.lines.len() {
            self.lines.resize(line + 1, Attended::default());
            self.ready.reserve(self.lines.len());
        }
        let place = &mut self.lines[line];
        place.descriptor = Some(ready.as_raw_fd());
        let matter = Matter::Line(line, place.generation);
        self.listen(ready.as_raw_fd(), matter);
        Ok(())
    }

    fn leave(&mut self, line: usize, _ready: BorrowedFd<'_>) {
        let Some(place) = self.lines.get_mut(line).filter(|place| place.descriptor.is_some()) else { return };
        let matter = Matter::Line(line, place.generation);
        *place = Attended { generation: place.generation.wrapping_add(1), ..Attended::default() };
        self.ready.retain(|ready| *ready != line);
        let cancel = opcode::AsyncCancel::new(matter.write()).build();
        // SAFETY: it points to nothing.
        unsafe { self.mail.ask(cancel, Matter::Cancel) };
        // The descriptor's number may soon be another's.
        let _ = self.mail.ring.submit();
    }

    fn ready(&mut self) -> Option<usize> {
        let line = self.ready.pop_front()?;
        if let Some(place) = self.lines.get_mut(line) {
            place.ready = false;
        }
        Some(line)
    }

    fn wait(&mut self, gather: Option<Gather>, most: Option<Duration>) -> Woken {
        let mut packets = 0;
        if !self.ended.is_empty() {
            // Those of what was sent come back first.
            packets += self.glance();
            self.receive_again();
        }
        self.alarm.within(most);
        if !self.mail.put_aside.is_empty() {
            packets += self.glance();
        }
        if let Some(gather) = gather.filter(|_| packets == 0) {
            // What is there already is not kept waiting.
            packets = self.glance();
            if packets == 0 && !self.is_called() {
                packets = self.look(gather.packets, Some(gather.most));
            }
        }
        if packets == 0 && !self.is_called() {
            packets += match most {
                Some(Duration::ZERO) => self.glance(),
                _ if !self.ended.is_empty() => self.glance(),
                _ => self.look(1, None),
            };
        }
        self.rang = false;
        Woken { packets, called: std::mem::take(&mut self.called) }
    }

    fn next(&mut self) -> Option<Arrival<'_, Mail>> {
        self.put_back();
        while let Some(Arrived { at, generation, slot }) = self.arrived.pop_front() {
            let holds = self.mail.sockets.get(at).is_some_and(|place| place.generation == generation);
            if let Some((from, length)) = self.slots.envelope(&slot).filter(|_| holds) {
                let slot = self.current.insert(slot);
                let buffer = self.slots.buffer(slot);
                return Some(Arrival { at, datagram: Datagram { from, buffer, length }, post: &mut self.mail });
            }
            self.slots.give(slot);
        }
        None
    }

    fn coming(&self, after: usize) -> Option<usize> {
        self.arrived.get(after).map(|arrived| arrived.at)
    }

    fn pass(&mut self, from: usize, octets: Range<usize>, to: SocketAddr) {
        let Some(mut slot) = self.current.take() else { return };
        let packet = self.slots.buffer(&mut slot).get(octets).map(|octets| (octets.as_ptr(), octets.len()));
        // SAFETY: the slot is nobody's until `sent` gives it back.
        let sent = packet.is_some_and(|(start, length)| unsafe { self.mail.send(from, slot.0, start, length, to) });
        if !sent {
            self.slots.give(slot);
        }
    }

    fn post(&mut self) -> &mut Mail {
        &mut self.mail
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        (0..self.mail.sockets.len()).for_each(|at| self.forget(at));
        self.arrived.clear();
        let ended = self.mail.ring.submitter().unregister_buf_ring(GROUP).is_ok();
        if !ended || !self.mail.outgoing.is_empty() {
            // It cannot be known that the kernel has done with them.
            self.slots.abandon();
            Box::leak(std::mem::take(&mut self.mail.letters));
        }
    }
}

impl Mail {
    /// Queues a request; false when the kernel takes no more.
    ///
    /// # Safety
    /// What the request points to must stay valid until it has completed, or to the ring's end.
    unsafe fn ask(&mut self, request: squeue::Entry, matter: Matter) -> bool {
        let request = request.user_data(matter.write());
        // SAFETY: the caller vouches for the request.
        let push = |ring: &mut IoUring| unsafe { ring.submission().push(&request) }.is_ok();
        push(&mut self.ring) || (self.ring.submit().is_ok() && push(&mut self.ring))
    }

    /// Queues a packet that lies in the buffer `number`.
    ///
    /// # Safety
    /// `length` octets from `start` must stay unchanged until [`Mail::sent`] says that the buffer is free.
    unsafe fn send(&mut self, from: usize, number: u16, start: *const u8, length: usize, to: SocketAddr) -> bool {
        let parcel = &mut self.parcels[usize::from(number)];
        *parcel = Parcel { from, start, length: length as u32, to, again: false, sending: 0 };
        // SAFETY: the caller vouches for the packet.
        unsafe { self.hand_over(number) }
    }

    /// The kernel did not take the buffer `number`: it is sent once more, if it was another packet that was refused.
    fn refused(&mut self, number: u16, sending: u32, result: i32) {
        let parcel = self.parcels.get_mut(usize::from(number));
        // Of a sending that is over nothing is left to be sent.
        let Some(parcel) = parcel.filter(|parcel| parcel.sending == sending && !parcel.again) else { return };
        if is_of_earlier(&io::Error::from_raw_os_error(-result)) {
            parcel.again = true;
            // SAFETY: the buffer stays nobody's until this second sending is over.
            unsafe { self.hand_over(number) };
        }
    }

    /// What was handed over is free again. To be called when all refusals were looked at: sending never waits, so
    /// it is over when the call returns that handed it over.
    fn sent(&mut self) {
        if !self.is_handed_over() {
            // It was refused before, or its turn has not come.
            let _ = self.ring.submit();
        }
        if !self.is_handed_over() {
            return;
        }
        for (number, sending) in self.outgoing.drain(..) {
            let parcel = &mut self.parcels[usize::from(number)];
            if parcel.sending != sending {
                // It was sent again.
                continue;
            }
            parcel.sending = 0;
            match number.checked_sub(SLOTS) {
                None => self.returned.push(Slot(number)),
                Some(letter) => self.free.push(letter),
            }
        }
    }

    fn is_handed_over(&mut self) -> bool {
        self.ring.submission().is_empty()
    }

    /// A letter to write. When all are under way the kernel takes them now; what else it says meanwhile is put aside.
    fn letter(&mut self) -> Option<u16> {
        if self.free.is_empty() {
            let _ = self.ring.submit();
            while let Some(entry) = self.completion() {
                match Matter::read(entry.user_data()) {
                    Matter::Send(number, sending) => self.refused(number, sending, entry.result()),
                    _ => self.put_aside.push_back(entry),
                }
            }
            self.sent();
        }
        self.free.pop()
    }

    /// Queues the parcel of that number.
    ///
    /// # Safety
    /// As for [`Mail::send`].
    unsafe fn hand_over(&mut self, number: u16) -> bool {
        let parcel = &self.parcels[usize::from(number)];
        let Some(Place { socket: Some(socket), .. }) = self.sockets.get(parcel.from) else { return false };
        // It is over within the call that hands it over: what the kernel does not take at once is lost.
        let mut send = opcode::Send::new(Fd(socket.raw()), parcel.start, parcel.length)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        if socket.needs(parcel.to) {
            let name = &mut self.names[usize::from(number)];
            *name = parcel.to.into();
            send = send.dest_addr(name.as_ptr().cast()).dest_addr_len(name.len());
        }
        let send = send.build().flags(squeue::Flags::SKIP_SUCCESS);
        self.sendings = self.sendings.wrapping_add(1).max(1);
        let sending = self.sendings;
        // SAFETY: the caller vouches for the packet; the name is that of this buffer alone, and lives with it.
        let asked = unsafe { self.ask(send, Matter::Send(number, sending)) };
        if asked {
            self.parcels[usize::from(number)].sending = sending;
            self.outgoing.push((number, sending));
        }
        asked
    }

    /// Hands over what is queued and waits for so many completions.
    fn enter(&mut self, wanted: usize, most: Option<Duration>) {
        // An error is the end of the time, a signal, or too many completions: all are looked at by the caller.
        let _ = match most {
            None => self.ring.submit_and_wait(wanted),
            Some(most) => {
                let most = Timespec::from(most);
                self.ring.submitter().submit_with_args(wanted, &SubmitArgs::new().timespec(&most))
            }
        };
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.put_aside.pop_front().or_else(|| self.completion())
    }

    fn completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }
}

impl Post for Mail {
    fn send(&mut self, from: usize, to: SocketAddr, octets: &[u8]) {
        let Some(letter) = self.letter() else { return };
        // SAFETY: a letter that is free is read by nobody.
        let buffer = unsafe { &mut *self.letters[usize::from(letter)].get() };
        let packet = buffer.get_mut(..octets.len()).map(|buffer| {
            buffer.copy_from_slice(octets);
            buffer.as_ptr()
        });
        // SAFETY: the letter is not free until `sent` says so.
        let sent = packet.is_some_and(|start| unsafe { self.send(from, SLOTS + letter, start, octets.len(), to) });
        if !sent {
            self.free.push(letter);
        }
    }
}

impl Matter {
    fn write(self) -> u64 {
        match self {
            Matter::Receive(at, generation) => (at as u64) << 24 | u64::from(generation) << 8,
            Matter::Send(number, sending) => u64::from(sending) << 24 | u64::from(number) << 8 | 1,
            Matter::Wake => 2,
            Matter::Cancel => 3,
            Matter::Alarm => 4,
            Matter::Line(line, generation) => (line as u64) << 24 | u64::from(generation) << 8 | 5,
        }
    }

    fn read(number: u64) -> Matter {
        match number & 0xff {
            0 => Matter::Receive((number >> 24) as usize, (number >> 8) as u16),
            1 => Matter::Send((number >> 8) as u16, (number >> 24) as u32),
            2 => Matter::Wake,
            4 => Matter::Alarm,
            5 => Matter::Line((number >> 24) as usize, (number >> 8) as u16),
            _ => Matter::Cancel,
        }
    }
}

/// A buffer for a datagram, and a proof that it is ours: there is one for each number, and the kernel has it or we.
struct Slot(u16);

/// What the kernel writes into a slot: 16 octets of header, the sender's address, the datagram.
#[repr(C, align(64))]
struct Octets([u8; HEAD + BUFFER]);

/// A page of the kernel's queue of buffers.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// The buffers, and the queue in which they are given to the kernel.
struct Slots {
    memory: Box<[UnsafeCell<Octets>]>,
    queue: Box<[UnsafeCell<Page>]>,
    tail: u16,
    /// How many are the kernel's.
    given: usize,
}

impl Slots {
    /// Registers the queue and gives the kernel all buffers.
    fn register(ring: &IoUring) -> io::Result<Slots> {
        let pages = (usize::from(SLOTS) * size_of::<BufRingEntry>()).div_ceil(size_of::<Page>());
        let memory = (0..SLOTS).map(|_| UnsafeCell::new(Octets([0; HEAD + BUFFER]))).collect();
        let queue = (0..pages).map(|_| UnsafeCell::new(Page([0; 4096]))).collect();
        let mut slots = Slots { memory, queue, tail: 0, given: 0 };
        // SAFETY: the queue is as long as it is said to be, begins at a page, and lives until it is unregistered.
        unsafe { ring.submitter().register_buf_ring_with_flags(slots.entries() as u64, SLOTS, GROUP, 0)? };
        (0..SLOTS).for_each(|number| slots.give(Slot(number)));
        Ok(slots)
    }

    fn entries(&self) -> *mut BufRingEntry {
        self.queue.first().map_or(std::ptr::null_mut(), |page| page.get().cast())
    }

    /// The kernel may write to it from now on.
    fn give(&mut self, slot: Slot) {
        let Some(memory) = self.memory.get(usize::from(slot.0)) else { return };
        // SAFETY: the queue has SLOTS entries; this one was taken by the kernel long ago, for there are as many buffers.
        let entry = unsafe { &mut *self.entries().add(usize::from(self.tail % SLOTS)) };
        entry.set_addr(memory.get() as u64);
        entry.set_len((HEAD + LONGEST) as u32);
        entry.set_bid(slot.0);
        self.tail = self.tail.wrapping_add(1);
        self.given += 1;
        // SAFETY: the first entry of the queue, whose tail the kernel reads after what was written before it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The kernel wrote to it.
    fn take(&mut self, number: u16) -> Slot {
        self.given -= 1;
        Slot(number)
    }

    fn octets(&mut self, slot: &Slot) -> &mut [u8; HEAD + BUFFER] {
        // SAFETY: a slot that we have is not the kernel's, and there is one for each number.
        unsafe { &mut (*self.memory[usize::from(slot.0)].get()).0 }
    }

    /// Who sent what is in the slot, and how long it is: 0 when it was longer than [`LONGEST`].
    fn envelope(&mut self, slot: &Slot) -> Option<(SocketAddr, usize)> {
        let octets = self.octets(slot);
        let number = |at: usize| octets[at..].first_chunk().map_or(0, |octets| u32::from_ne_bytes(*octets));
        let (length, flags) = (number(8) as usize, number(12));
        let whole = flags & libc::MSG_TRUNC as u32 == 0 && length <= LONGEST;
        Some((address(octets[16..HEAD].first_chunk()?)?, if whole { length } else { 0 }))
    }

    fn buffer(&mut self, slot: &mut Slot) -> &mut [u8; BUFFER] {
        // cannot fail: a slot is as long as both.
        #[allow(clippy::unwrap_used)]
        self.octets(slot).last_chunk_mut().unwrap()
    }

    /// Leaves the memory to the kernel for ever.
    fn abandon(&mut self) {
        Box::leak(std::mem::take(&mut self.memory));
        Box::leak(std::mem::take(&mut self.queue));
    }
}

/// A socket address as the kernel writes it.
fn address(name: &[u8; NAME]) -> Option<SocketAddr> {
    let family = libc::c_int::from(u16::from_ne_bytes([name[0], name[1]]));
    let port = u16::from_be_bytes([name[2], name[3]]);
    match family {
        libc::AF_INET => {
            let [a, b, c, d] = *name[4..].first_chunk()?;
            Some((Ipv4Addr::new(a, b, c, d), port).into())
        }
        libc::AF_INET6 => {
            let flow = u32::from_ne_bytes(*name[4..].first_chunk()?);
            let scope = u32::from_ne_bytes(*name[24..].first_chunk()?);
            let address: [u8; 16] = *name[8..].first_chunk()?;
            Some(SocketAddrV6::new(Ipv6Addr::from(address), port, flow, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matter_comes_back_as_it_went() {
        let matters = [
            Matter::Receive(0, 0),
            Matter::Receive(40_000, u16::MAX),
            Matter::Send(SLOTS + LETTERS, u32::MAX),
            Matter::Wake,
            Matter::Alarm,
            Matter::Cancel,
            Matter::Line(40_000, u16::MAX),
        ];
        assert_eq!(matters.map(|matter| Matter::read(matter.write())), matters);
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        for text in ["192.0.2.7:49152", "[2001:db8::7]:5", "[fe80::1%3]:7"] {
            let address: SocketAddr = text.parse().unwrap();
            let name = SockAddr::from(address);
            let mut octets = [0; NAME];
            // SAFETY: the name is as long as it says.
            let written = unsafe { std::slice::from_raw_parts(name.as_ptr().cast::<u8>(), name.len() as usize) };
            octets[..written.len()].copy_from_slice(written);
            assert_eq!(super::address(&octets), Some(address));
        }
        assert_eq!(super::address(&[0; NAME]), None);
    }
}
