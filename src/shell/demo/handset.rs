//! A handset: one thread that says a frame every 20 ms, at the pace of the monotonic clock, and
//! notes when it hears which.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};

use super::tape::{Conversation, Part, Recorder};
use crate::media::Pace;
use crate::media::reception::Reception;
use crate::media::srtp::{GROWTH, Inbound, Outbound};
use crate::random::Random;
use crate::session::Stream;
use crate::shell::clock::Clock;
use crate::shell::speech::{FRAME, Frame, PACE, SILENCE};
use crate::wire::rtp::{self, FIXED_HEADER, Header};

/// How often to try for an even port whose neighbour is free as well.
const TRIES: usize = 64;
/// The longest datagram that is looked at.
const DATAGRAM: usize = 1500;

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
        let (recorder, conversation) = Recorder::new(part, clock.clone(), stream.srtp.is_some());
        let call = Call {
            socket: self.rtp,
            _rtcp: self.rtcp,
            clock,
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
            echo: VecDeque::new(),
            reception: Reception::default(),
            recorder,
        };
        std::thread::Builder::new().name("handset".into()).spawn(move || {
            // Who measures sound must not be late himself.
            let _ = Pace::take();
            call.run();
        })?;
        Ok(conversation)
    }
}

/// What the thread owns.
struct Call {
    socket: UdpSocket,
    _rtcp: UdpSocket,
    clock: Clock,
    remote: SocketAddr,
    payload_type: u8,
    keys: Option<(Outbound, Inbound)>,
    next: Header,
    echo: VecDeque<(Frame, Option<usize>)>,
    reception: Reception,
    recorder: Recorder,
}

impl Call {
    fn run(mut self) {
        let mut due = self.clock.now().mono;
        while !self.recorder.is_over() {
            let now = self.clock.now().mono;
            if now < due {
                self.listen(due.since(now));
            } else {
                self.say();
                due = due + PACE;
            }
        }
        self.recorder.tape.lost = self.reception.lost();
    }

    fn say(&mut self) {
        let frame = if self.recorder.echoes() { self.echo() } else { self.recorder.next() };
        let mut packet = [0; FIXED_HEADER + FRAME + GROWTH];
        let mut length = FIXED_HEADER + FRAME;
        packet[..FIXED_HEADER].copy_from_slice(&self.next.write());
        packet[FIXED_HEADER..length].copy_from_slice(&frame);
        if let Some((outbound, _)) = &mut self.keys {
            let Some(protected) = outbound.rtp(&self.next, &mut packet, length) else { return };
            length = protected;
        }
        // What the network does not take is missing at the other end, and counted there.
        let _ = self.socket.send_to(&packet[..length], self.remote);
        self.next.marker = false;
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.next.timestamp = self.next.timestamp.wrapping_add(FRAME as u32);
    }

    /// What was heard longest ago.
    fn echo(&mut self) -> Frame {
        let (frame, number) = self.echo.pop_front().unwrap_or((SILENCE, None));
        number.into_iter().for_each(|number| self.recorder.said(number));
        frame
    }

    /// Waits for a packet, at most this long.
    fn listen(&mut self, limit: Duration) {
        let mut readable = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if !matches!(ppoll(&mut readable, Some(limit.into()), None), Ok(1..)) {
            return;
        }
        let mut packet = [0; DATAGRAM];
        let Ok((length, from)) = self.socket.recv_from(&mut packet) else { return };
        if from == self.remote {
            self.hear(&mut packet[..length]);
        } else {
            self.recorder.tape.rejected += 1;
        }
    }

    fn hear(&mut self, packet: &mut [u8]) {
        let Some(header) = Header::read(packet).filter(|_| !rtp::is_rtcp(packet)) else { return };
        let length = match &mut self.keys {
            Some((_, inbound)) => inbound.rtp(&header, packet),
            None => Ok(packet.len()),
        };
        let Ok(length) = length else {
            self.recorder.tape.rejected += 1;
            return;
        };
        self.reception.packet(header.ssrc, header.sequence);
        let payload = header.payload(&packet[..length]).and_then(|range| packet.get(range));
        let frame = payload.and_then(|payload| Frame::try_from(payload).ok());
        let Some(frame) = frame.filter(|_| header.payload_type == self.payload_type) else { return };
        // A packet's worth of sound ends one frame at most.
        let number = self.recorder.hear(&frame).pop();
        if self.recorder.echoes() {
            self.echo.push_back((frame, number));
        }
    }
}
