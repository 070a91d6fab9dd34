//! An E1 that osmo-e1d has: a client of its control socket (SOCK_SEQPACKET), which passes a descriptor for each timeslot.
//!
//! 1. Connect, and ask how the line is used: it must be channelized.
//! 2. A timeslot is opened by one question; its descriptor comes beside the answer. Dropping it closes the timeslot.
//! 3. The daemon says failure by an answer that is empty, and gross mistakes by hanging up.
//! 4. Alarms come as events, at any time, also between question and answer.
//!
//! The daemon answers from memory: a question waits for it, for half a second at most. Nothing else does.

mod message;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, recv, recvmsg, send, socket_with,
};

use self::message::{CHANNELIZED, Message, Mode, Request, TIMESLOT};
use crate::line::{Alarms, Counters, Line, LoopBack, Timeslot};
use crate::{Bearer, DChannel, Span, SpanError};

/// How long an answer is waited for, each time the daemon says something else.
const PATIENCE_MS: u16 = 500;
/// Octets that the daemon writes at a time: 5 ms.
const PIECE: u16 = 40;
/// Octets that may wait unread before the oldest are thrown away: 100 ms. The daemon goes on for seconds.
const LAG: usize = 800;
/// What is kept then: 20 ms.
const KEPT: usize = 160;
/// What we may write ahead: some ten pieces, as the kernel counts.
const AHEAD: usize = 4096;
/// A longer HDLC frame is lost without a word: the daemon's buffer is 264 octets with FCS.
const LONGEST_FRAME: usize = 262;

/// Where a line is: the daemon's socket, its interface and the line on that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The control socket.
    pub path: PathBuf,
    /// The interface, by the daemon's number.
    pub interface: u8,
    /// The line on it.
    pub line: u8,
}

/// `/tmp/osmo-e1d.ctl` or `/tmp/osmo-e1d.ctl:1:0`.
impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Address, NotAnAddress> {
        let number = |text: &str| text.parse::<u8>().ok().filter(|number| *number != 0xff);
        let mut parts = text.rsplitn(3, ':');
        let (path, interface, line) = match (parts.next(), parts.next(), parts.next()) {
            (Some(line), Some(interface), Some(path)) => {
                (path, number(interface).ok_or(NotAnAddress)?, number(line).ok_or(NotAnAddress)?)
            }
            (Some(path), None, None) => (path, 0, 0),
            _ => return Err(NotAnAddress),
        };
        if path.is_empty() { Err(NotAnAddress) } else { Ok(Address { path: path.into(), interface, line }) }
    }
}

/// Not the address of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the path of osmo-e1d's control socket, and :interface:line behind it when not 0:0")]
pub struct NotAnAddress;

/// A line of osmo-e1d's.
#[derive(Debug)]
pub struct E1d {
    connection: Connection,
    interface: u8,
    line: u8,
    force: bool,
}

impl E1d {
    /// Connects to the daemon and looks at the line.
    pub fn open(address: &Address) -> Result<E1d, SpanError> {
        let connection = Connection::new(address)?;
        let mut span = E1d { connection, interface: address.interface, line: address.line, force: false };
        let request = Request::Line { interface: span.interface, line: span.line };
        match span.connection.ask(request)?.payload[..] {
            [_, CHANNELIZED, _] => Ok(span),
            [_, _, _] => Err(SpanError::NotConfigured("osmo-e1d does not run the line channelized")),
            _ => Err(SpanError::NotConfigured("osmo-e1d has no such interface and line")),
        }
    }

    /// From now on timeslots are taken away from who has them.
    pub fn take_over(&mut self) {
        self.force = true;
    }

    fn timeslot(&mut self, timeslot: Timeslot, mode: Mode) -> Result<OwnedFd, SpanError> {
        let (interface, line, number) = (self.interface, self.line, timeslot.number());
        let request = Request::Open { interface, line, timeslot: number, mode, force: self.force, piece: PIECE };
        let answer = self.connection.ask(request)?;
        match answer.descriptor.filter(|_| answer.payload.len() == TIMESLOT) {
            Some(descriptor) => {
                ioctl_fionbio(&descriptor, true).map_err(io::Error::from)?;
                Ok(descriptor)
            }
            None => Err(self.refused(timeslot)?),
        }
    }

    /// Why a timeslot was not opened: the daemon itself does not say.
    fn refused(&mut self, timeslot: Timeslot) -> Result<SpanError, SpanError> {
        let all = self.connection.ask(Request::Timeslots { interface: self.interface, line: self.line })?;
        let mut each = all.payload.chunks_exact(TIMESLOT);
        Ok(match each.find(|each| each[0] == timeslot.number()) {
            Some([_, mode, ..]) if *mode != Mode::Off as u8 => SpanError::Taken(timeslot),
            _ => SpanError::NoTimeslot(timeslot),
        })
    }
}

impl Span for E1d {
    fn line(&self) -> Line {
        Line::E1
    }

    fn d_timeslot(&self) -> Option<Timeslot> {
        Some(Line::E1.d_timeslot())
    }

    /// As far as the daemon told: nothing before version 0.7, and nothing of before we came.
    fn alarms(&self) -> Alarms {
        self.connection.alarms
    }

    /// The daemon tells none.
    fn counters(&self) -> Counters {
        Counters::default()
    }

    fn d_channel(&mut self) -> Result<Box<dyn DChannel>, SpanError> {
        let descriptor = self.timeslot(Line::E1.d_timeslot(), Mode::HdlcFcs)?;
        Ok(Box::new(Signalling { descriptor }))
    }

    fn bearer(&mut self, timeslot: Timeslot) -> Result<Box<dyn Bearer>, SpanError> {
        let descriptor = self.timeslot(timeslot, Mode::Raw)?;
        set_socket_send_buffer_size(&descriptor, AHEAD).map_err(io::Error::from)?;
        Ok(Box::new(Sound { descriptor }))
    }

    fn loop_back(&mut self, _kind: Option<LoopBack>) -> Result<(), SpanError> {
        Err(SpanError::Unsupported)
    }

    fn force_down(&mut self, _down: bool) -> Result<(), SpanError> {
        Err(SpanError::Unsupported)
    }

    fn poll(&mut self) -> Result<Option<Alarms>, SpanError> {
        while self.connection.receive()?.is_some() {}
        let alarms = self.connection.alarms;
        Ok((std::mem::replace(&mut self.connection.told, alarms) != alarms).then_some(alarms))
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.connection.socket.as_fd()
    }
}

/// The control socket, and what was told on it beside answers.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    interface: u8,
    line: u8,
    alarms: Alarms,
    told: Alarms,
    /// Questions and answers do not fit each other any more.
    lost: bool,
}

#[derive(Debug)]
struct Answer {
    kind: u8,
    payload: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Connection {
    fn new(address: &Address) -> Result<Connection, SpanError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(io::Error::from)?;
        connect_to(&socket, &address.path)?;
        let (interface, line) = (address.interface, address.line);
        Ok(Connection { socket, interface, line, alarms: Alarms::NONE, told: Alarms::NONE, lost: false })
    }

    /// Asks, and waits for the answer. After a silence, or an answer to something else, the connection is useless.
    fn ask(&mut self, request: Request) -> Result<Answer, SpanError> {
        let answer = self.exchange(request);
        self.lost |= answer.is_err();
        answer
    }

    fn exchange(&mut self, request: Request) -> Result<Answer, SpanError> {
        // Answers that come before the question are nobody's.
        while self.receive()?.is_some() {}
        send(&self.socket, &request.write(), SendFlags::NOSIGNAL).map_err(gone)?;
        loop {
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::from(PATIENCE_MS)) {
                Ok(0) => return Err(io::Error::from(ErrorKind::TimedOut).into()),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            match self.receive()? {
                Some(answer) if answer.kind == request.answer() => return Ok(answer),
                Some(_) => return Err(SpanError::Gone),
                None => {}
            }
        }
    }

    /// Takes in what waits; the next of it that is no event.
    fn receive(&mut self) -> Result<Option<Answer>, SpanError> {
        if self.lost {
            return Err(SpanError::Gone);
        }
        let mut packet = [0; message::LONGEST];
        while let Some((length, descriptor)) = receive(&self.socket, &mut packet)? {
            let message = Message::read(&packet[..length]).ok_or(SpanError::Gone)?;
            if !message.is_event() {
                return Ok(Some(Answer { kind: message.kind, payload: message.payload.to_vec(), descriptor }));
            }
            if let Some((alarm, stands)) = message.alarm()
                && (message.interface, message.line) == (self.interface, self.line)
            {
                self.alarms = self.alarms.with(alarm, stands);
            }
        }
        Ok(None)
    }
}

fn connect_to(socket: &OwnedFd, path: &Path) -> Result<(), SpanError> {
    let connected = SocketAddrUnix::new(path).and_then(|address| connect(socket, &address));
    connected.map_err(|why| SpanError::Unreachable { path: path.to_owned(), why: why.into() })
}

/// The next packet and the descriptor beside it; `None` when none waits.
fn receive(socket: &OwnedFd, packet: &mut [u8]) -> Result<Option<(usize, Option<OwnedFd>)>, SpanError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let came = match recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut beside, RecvFlags::CMSG_CLOEXEC) {
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        came => came.map_err(gone)?,
    };
    if came.bytes == 0 {
        return Err(SpanError::Gone);
    }
    let descriptor = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(Some((came.bytes, descriptor)))
}

/// An error on the control socket, where a daemon that went away has its own name.
fn gone(error: Errno) -> SpanError {
    match error {
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => SpanError::Gone,
        error => io::Error::from(error).into(),
    }
}

/// A timeslot whose descriptor ended was taken away from us, or the daemon is gone.
fn ended() -> io::Error {
    ErrorKind::ConnectionAborted.into()
}

/// Timeslot 16: a frame without FCS a packet. The daemon may lose the first that it hears after opening.
#[derive(Debug)]
struct Signalling {
    descriptor: OwnedFd,
}

impl DChannel for Signalling {
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&self.descriptor, frame, RecvFlags::empty()) {
            Ok((_, 0)) => Err(ended()),
            Ok((filled, _)) => Ok(Some(filled)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if frame.len() > LONGEST_FRAME || frame.is_empty() {
            return Err(ErrorKind::InvalidInput.into());
        }
        send(&self.descriptor, frame, SendFlags::NOSIGNAL).map_err(lost)?;
        Ok(())
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A timeslot as a stream of octets.
#[derive(Debug)]
struct Sound {
    descriptor: OwnedFd,
}

impl Sound {
    /// Throws the oldest octets away when too many wait.
    fn bound_lag(&self) -> io::Result<()> {
        let waiting = ioctl_fionread(&self.descriptor)? as usize;
        if waiting <= LAG {
            return Ok(());
        }
        let mut late = waiting - KEPT;
        let mut thrown = [0; 1024];
        while late > 0 {
            let room = late.min(thrown.len());
            let (count, _) = recv(&self.descriptor, &mut thrown[..room], RecvFlags::empty())?;
            if count == 0 {
                return Ok(());
            }
            late -= count;
        }
        Ok(())
    }
}

impl Bearer for Sound {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        if octets.is_empty() {
            return Ok(0);
        }
        self.bound_lag()?;
        match recv(&self.descriptor, octets, RecvFlags::empty()) {
            Ok((_, 0)) => Err(ended()),
            Ok((count, _)) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match send(&self.descriptor, octets, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            sent => sent.map_err(lost),
        }
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn lost(error: Errno) -> io::Error {
    if error == Errno::PIPE { ended() } else { error.into() }
}
