//! A handset: one thread that says a frame every 20 ms, at the pace of the monotonic clock, and
//! notes when it hears which.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use tokio::sync::oneshot;

use crate::media::reception::Reception;
use crate::media::srtp::{GROWTH, Inbound, Outbound};
use crate::random::Random;
use crate::session::Stream;
use crate::shell::clock::Clock;
use crate::shell::speech::{FRAME, Frame, PACE, SILENCE, Speech, Times};
use crate::time::Instant;
use crate::wire::rtp::{self, FIXED_HEADER, Header};

/// How often to try for an even port whose neighbour is free as well.
const TRIES: usize = 64;
/// The longest datagram that is looked at.
const DATAGRAM: usize = 1500;

/// What an end of a call says and what it waits to hear.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it says; `None`: whatever it hears.
    pub says: Option<Arc<Speech>>,
    /// What the other end says.
    pub hears: Arc<Speech>,
}

impl Part {
    /// How many frames of speech it will say.
    fn frames(&self) -> usize {
        self.says.as_ref().unwrap_or(&self.hears).len()
    }
}

/// What a handset remembers of a call.
#[derive(Clone, Debug)]
pub struct Tape {
    /// When each frame of its own speech, or of its echo, was said.
    pub said: Times,
    /// When each frame of the other's speech was heard.
    pub heard: Times,
    /// Packets missing by sequence number.
    pub lost: u64,
    /// Packets that the agreed key does not open, or that come from elsewhere.
    pub rejected: u64,
    /// Did the call have keys?
    pub encrypted: bool,
}

/// A handset on the hook: a port for RTP and one above it for RTCP, which nobody reads.
#[derive(Debug)]
pub struct Handset {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Handset {
    /// Takes a free pair of ports.
    pub fn open(address: IpAddr) -> io::Result<Handset> {
        let mut fault = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..TRIES {
            let rtp = UdpSocket::bind((address, 0))?;
            let port = rtp.local_addr()?.port();
            if port % 2 == 1 {
                continue;
            }
            match UdpSocket::bind((address, port + 1)) {
                Ok(rtcp) => return Ok(Handset { rtp, rtcp }),
                Err(busy) => fault = busy,
            }
        }
        Err(fault)
    }

    /// Where it is to be reached: RTP.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.rtp.local_addr()
    }

    /// Lifts it: from now on it is heard and hears.
    pub fn connect(self, stream: &Stream, part: Part, clock: Clock, random: &mut Random) -> io::Result<Conversation> {
        self.rtp.set_nonblocking(true)?;
        let remote = stream.remote.addresses().ok_or(io::ErrorKind::AddrNotAvailable)?.rtp;
        let switches = Arc::new(Switches::default());
        let call = Call {
            socket: self.rtp,
            _rtcp: self.rtcp,
            clock,
            switches: switches.clone(),
            remote,
            payload_type: stream.payload_type,
            keys: stream.srtp.map(|srtp| (Outbound::new(&srtp.send), Inbound::new(&srtp.receive))),
            next: Header {
                marker: true,
                payload_type: stream.payload_type,
                sequence: random.u64() as u16,
                timestamp: random.u64() as u32,
                ssrc: random.u64() as u32,
                length: FIXED_HEADER,
                padded: false,
            },
            position: 0,
            echo: VecDeque::new(),
            reception: Reception::default(),
            tape: Tape {
                said: Times::new(part.frames()),
                heard: Times::new(part.hears.len()),
                lost: 0,
                rejected: 0,
                encrypted: stream.srtp.is_some(),
            },
            part,
        };
        let (tape_out, tape) = oneshot::channel();
        // Whoever no longer wants the tape has failed already.
        let run = move || drop(tape_out.send(call.run()));
        std::thread::Builder::new().name("handset".into()).spawn(run)?;
        Ok(Conversation { switches, tape })
    }
}

#[derive(Debug, Default)]
struct Switches {
    speak: AtomicBool,
    end: AtomicBool,
}

/// A handset in use. Dropping it ends it as well.
#[derive(Debug)]
pub struct Conversation {
    switches: Arc<Switches>,
    tape: oneshot::Receiver<Tape>,
}

impl Conversation {
    /// Begins its speech; silence until then.
    pub fn speak(&self) {
        self.switches.speak.store(true, Ordering::Relaxed);
    }

    /// Hangs up; `None` if the thread broke.
    pub async fn end(mut self) -> Option<Tape> {
        self.switches.end.store(true, Ordering::Relaxed);
        (&mut self.tape).await.ok()
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.switches.end.store(true, Ordering::Relaxed);
    }
}

/// What the thread owns.
struct Call {
    socket: UdpSocket,
    _rtcp: UdpSocket,
    clock: Clock,
    switches: Arc<Switches>,
    remote: SocketAddr,
    payload_type: u8,
    keys: Option<(Outbound, Inbound)>,
    next: Header,
    position: usize,
    echo: VecDeque<(Frame, Option<usize>)>,
    reception: Reception,
    tape: Tape,
    part: Part,
}

impl Call {
    fn run(mut self) -> Tape {
        let mut due = self.clock.now().mono;
        while !self.switches.end.load(Ordering::Relaxed) {
            let now = self.clock.now().mono;
            if now < due {
                self.listen(due.since(now));
            } else {
                self.say();
                due = due + PACE;
            }
        }
        self.tape.lost = self.reception.lost();
        self.tape
    }

    fn say(&mut self) {
        let (frame, number) = self.frame();
        let mut packet = [0; FIXED_HEADER + FRAME + GROWTH];
        let mut length = FIXED_HEADER + FRAME;
        packet[..FIXED_HEADER].copy_from_slice(&self.next.write());
        packet[FIXED_HEADER..length].copy_from_slice(&frame);
        if let Some((outbound, _)) = &mut self.keys {
            let Some(protected) = outbound.rtp(&self.next, &mut packet, length) else { return };
            length = protected;
        }
        if let Some(number) = number {
            self.tape.said.note(number, self.clock.now().mono);
        }
        // What the network does not take is missing at the other end, and counted there.
        let _ = self.socket.send_to(&packet[..length], self.remote);
        self.next.marker = false;
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.next.timestamp = self.next.timestamp.wrapping_add(FRAME as u32);
    }

    /// What is to be said now, and which frame of a speech it is.
    fn frame(&mut self) -> (Frame, Option<usize>) {
        let Some(says) = &self.part.says else { return self.echo.pop_front().unwrap_or((SILENCE, None)) };
        let speaking = self.switches.speak.load(Ordering::Relaxed);
        match says.frame(self.position).filter(|_| speaking) {
            Some(frame) => {
                self.position += 1;
                (*frame, Some(self.position - 1))
            }
            None => (SILENCE, None),
        }
    }

    /// Waits for a packet, at most this long.
    fn listen(&mut self, limit: Duration) {
        let mut readable = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if !matches!(ppoll(&mut readable, Some(limit.into()), None), Ok(1..)) {
            return;
        }
        let mut packet = [0; DATAGRAM];
        let Ok((length, from)) = self.socket.recv_from(&mut packet) else { return };
        let now = self.clock.now().mono;
        if from == self.remote {
            self.hear(&mut packet[..length], now);
        } else {
            self.tape.rejected += 1;
        }
    }

    fn hear(&mut self, packet: &mut [u8], now: Instant) {
        let Some(header) = Header::read(packet).filter(|_| !rtp::is_rtcp(packet)) else { return };
        let length = match &mut self.keys {
            Some((_, inbound)) => inbound.rtp(&header, packet),
            None => Ok(packet.len()),
        };
        let Ok(length) = length else {
            self.tape.rejected += 1;
            return;
        };
        self.reception.packet(header.ssrc, header.sequence);
        let payload = header.payload(&packet[..length]).and_then(|range| packet.get(range));
        let frame = payload.and_then(|payload| Frame::try_from(payload).ok());
        let Some(frame) = frame.filter(|_| header.payload_type == self.payload_type) else { return };
        let number = self.part.hears.recognise(&frame);
        if let Some(number) = number {
            self.tape.heard.note(number, now);
        }
        if self.part.says.is_none() {
            self.echo.push_back((frame, number));
        }
    }
}
