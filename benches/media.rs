//! What a relayed packet costs: CPU of the media thread from SRTP to RTP and back, and the delay that it adds.
//!
//! `cargo bench --bench media -- 100 500 1000` runs that many calls one after the other, 10 s each; `SOCKET_IO=epoll` without io_uring. CPU is the
//! thread's own time by the scheduler's account; delay is from one socket to the other. All on loopback.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use demarc::config::{Media, SocketIo};
use demarc::media::Engine;
use demarc::media::io::priority::real_time;
use demarc::media::srtp::{GROWTH, Inbound, Outbound};
use demarc::private::Secret;
use demarc::random::Random;
use demarc::session::{Addresses, Codec, Keys, MediaOrder, MediaReport, Remote, Session, SessionId, Srtp, Stream};
use demarc::wire::rtp::Header;
use tokio::sync::mpsc::channel;

const PACKET: usize = 172;
const SECONDS: u32 = 10;

fn main() {
    let counts: Vec<u16> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    crypto();
    // Without it the load's own lateness would be counted as delay.
    let _ = real_time();
    for calls in if counts.is_empty() { vec![100, 500] } else { counts } {
        relay(calls);
    }
}

fn keys(seed: u64) -> Keys {
    let mut random = Random::test(seed);
    Keys::cut(demarc::session::Suite::Aes128CmHmacSha1_80, &Secret(random.octets()))
}

fn header(sequence: u16) -> Header {
    let timestamp = u32::from(sequence).wrapping_mul(160);
    Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 9, length: 12, padded: false }
}

/// SRTP alone.
fn crypto() {
    const PACKETS: u32 = 1_000_000;
    let (mut outbound, mut inbound) = (Outbound::new(&keys(1)), Inbound::new(&keys(1)));
    let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let mut octets = [7; PACKET + GROWTH];
    for round in 0..PACKETS / 100 {
        let mut sealed = [[7; PACKET + GROWTH]; 100];
        let sequence = |at: usize| (round * 100) as u16 + at as u16;
        let start = Instant::now();
        for (at, octets) in sealed.iter_mut().enumerate() {
            let header = header(sequence(at));
            octets[..12].copy_from_slice(&header.write());
            outbound.rtp(&header, octets, PACKET);
        }
        sealing += start.elapsed();
        let start = Instant::now();
        for (at, sealed) in sealed.iter().enumerate() {
            octets = *sealed;
            inbound.rtp(&header(sequence(at)), &mut octets[..PACKET + 10]).ok();
        }
        opening += start.elapsed();
    }
    assert_eq!(octets[12..PACKET], [7; PACKET - 12]);
    let each = |time: Duration| time.as_nanos() / u128::from(PACKETS);
    println!("SRTP {PACKET} octets: protect {} ns, unprotect {} ns", each(sealing), each(opening));
}

fn socket() -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.set_recv_buffer_size(8 << 20).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket.into()
}

fn stream(socket: &UdpSocket, srtp: Option<Srtp>) -> Stream {
    let rtp = socket.local_addr().unwrap();
    // A reporting port that nobody reads keeps reports out of the figures.
    Stream { srtp, ..Stream::new(Remote::Rtp(Addresses { rtp, rtcp: (Ipv4Addr::LOCALHOST, 9).into() }), Codec::Pcmu) }
}

/// Many calls at 50 packets a second each way, all from and to one socket a side.
fn relay(calls: u16) {
    let (sender, mut reports) = channel(usize::from(calls) * 8);
    // An address of our own, so that no other run on this machine has these ports; it costs up to 1 us a packet more
    // than 127.0.0.1.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high, low, 1);
    let jitter = Duration::from_millis(120);
    let socket_io =
        if std::env::var("SOCKET_IO").is_ok_and(|io| io == "epoll") { SocketIo::Epoll } else { SocketIo::Auto };
    let ports = (20_000, 20_003 + 4 * calls);
    let config = Media { address: address.into(), ports, threads: Some(1), jitter, cores: Vec::new(), socket_io };
    let mut engine = Engine::start(&config, sender).unwrap();
    let (a, b) = (socket(), socket());
    let mut ports = Vec::new();
    for id in 0..u64::from(calls) {
        engine.order(MediaOrder::Open(SessionId(id))).unwrap();
        let opened = match reports.blocking_recv() {
            Some(MediaReport::Opened(_, opened)) => opened,
            other => panic!("not opened: {other:?}"),
        };
        ports.push(opened.map(|port| SocketAddr::from((address, port))));
        let srtp = Srtp { send: keys(1), receive: keys(2) };
        let sides = [Some(stream(&a, Some(srtp))), Some(stream(&b, None))];
        engine.order(MediaOrder::Apply(SessionId(id), Box::new(Session { sides, ..Session::default() }))).unwrap();
    }

    let start = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let hear = |socket: &UdpSocket, timed: bool| {
        let (socket, done) = (socket.try_clone().unwrap(), done.clone());
        thread::spawn(move || {
            let _ = real_time();
            let (mut octets, mut heard, mut delays) = ([0; 300], 0u64, Vec::new());
            while !done.load(Ordering::Relaxed) {
                let Ok(_) = socket.recv(&mut octets) else { continue };
                heard += 1;
                if timed {
                    let sent = u64::from_be_bytes(*octets[12..].first_chunk().unwrap());
                    delays.push((start.elapsed().as_nanos() as u64).saturating_sub(sent) / 1000);
                }
            }
            (heard, delays)
        })
    };
    let (to_a, to_b) = (hear(&a, false), hear(&b, true));

    let before = cpu();
    let mut outbound: Vec<_> = ports.iter().map(|_| Outbound::new(&keys(2))).collect();
    let mut late = Duration::ZERO;
    for millisecond in 0..SECONDS * 1000 {
        let due = Duration::from_millis(u64::from(millisecond));
        match due.checked_sub(start.elapsed()) {
            Some(wait) => thread::sleep(wait),
            None => late = late.max(start.elapsed() - due),
        }
        let header = header((millisecond / 20) as u16);
        for call in (millisecond as usize % 20..ports.len()).step_by(20) {
            let mut octets = [7; PACKET + GROWTH];
            octets[..12].copy_from_slice(&header.write());
            octets[12..20].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
            b.send_to(&octets[..PACKET], ports[call][1]).unwrap();
            let length = outbound[call].rtp(&header, &mut octets, PACKET).unwrap();
            a.send_to(&octets[..length], ports[call][0]).unwrap();
        }
    }
    thread::sleep(Duration::from_millis(200));
    let spent = cpu() - before;
    done.store(true, Ordering::Relaxed);
    let ((heard_a, _), (heard_b, mut delays)) = (to_a.join().unwrap(), to_b.join().unwrap());
    delays.sort_unstable();
    let sent = u64::from(calls) * u64::from(SECONDS) * 50;
    let share = |part: f64| delays[(delays.len() as f64 * part) as usize];
    println!(
        "{calls} calls: {:.2} us of CPU a packet, {:.1} % of a core; lost {} + {} of {sent} each way; \
         delay p50 {} p99 {} p99.9 {} us; load late by at most {} ms; {}; {}",
        spent.as_nanos() as f64 / 1000.0 / (heard_a + heard_b) as f64,
        spent.as_secs_f64() * 100.0 / f64::from(SECONDS),
        sent - heard_a,
        sent - heard_b,
        share(0.5),
        share(0.99),
        share(0.999),
        late.as_millis(),
        engine.standing().pace,
        engine.standing().backend,
    );
    engine.stop();
}

/// Time that the media thread ran so far.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path());
    let media =
        tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "media-0"));
    let spent = media.filter_map(|task| fs::read_to_string(task.join("schedstat")).ok());
    Duration::from_nanos(spent.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum())
}
