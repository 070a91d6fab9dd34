//! On the way of an RTP packet nothing is allocated: 10,000 packets from SRTP to RTP and as many back, counted by
//! the allocator itself.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use demarc::config::Media;
use demarc::media::Engine;
use demarc::media::srtp::{GROWTH, Inbound, Outbound};
use demarc::private::Secret;
use demarc::random::Random;
use demarc::session::{
    Codec, Digits, Direction, Keys, MediaOrder, MediaReport, Opus, Remote, Session, SessionId, Srtp, Stream,
};
use demarc::wire::rtp::Header;
use tokio::sync::mpsc::channel;

/// Counts what threads other than the test's own allocate.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !OWN.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn stream(rtp: &UdpSocket, srtp: Option<Srtp>) -> Stream {
    let rtp = rtp.local_addr().unwrap();
    Stream {
        remote: Remote { rtp, rtcp: rtp },
        latch: false,
        direction: Direction::SendRecv,
        codec: Codec::Pcmu,
        payload_type: 0,
        opus: Opus::default(),
        digits: Digits::Tones,
        comfort_noise: None,
        ptime_ms: 20,
        srtp,
        watch: None,
    }
}

fn packet(sequence: u16) -> (Header, [u8; 172 + GROWTH]) {
    let timestamp = u32::from(sequence).wrapping_mul(160);
    let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 9, length: 12, padded: false };
    let mut octets = [7; 172 + GROWTH];
    octets[..12].copy_from_slice(&header.write());
    (header, octets)
}

/// Receives the next RTP packet (RTCP shares the port): its length in `octets`.
fn hear(socket: &UdpSocket, octets: &mut [u8; 300]) -> usize {
    loop {
        let length = socket.recv(octets).expect("a packet");
        if !demarc::wire::rtp::is_rtcp(&octets[..length]) {
            return length;
        }
    }
}

#[test]
fn a_relayed_packet_allocates_nothing() {
    OWN.set(true);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high, low, 100);
    let (sender, mut reports) = channel(100);
    let config = Media {
        address: address.into(),
        ports: (20_000, 20_003),
        threads: Some(1),
        jitter: Duration::from_millis(120),
    };
    let mut engine = Engine::start(&config, sender).unwrap();
    engine.order(MediaOrder::Open(SessionId(1))).unwrap();
    let Some(MediaReport::Opened(_, ports)) = reports.blocking_recv() else { panic!("not opened") };
    let [to_a, to_b] = ports.map(|port| SocketAddr::from((address, port)));

    let mut random = Random::test(1);
    let [send, receive] =
        [(); 2].map(|()| Keys { key: Secret(random.octets()), salt: Secret(random.octets()), mki: None });
    let (a, b) = (socket(), socket());
    let sides = [Some(stream(&a, Some(Srtp { send, receive }))), Some(stream(&b, None))];
    engine.order(MediaOrder::Apply(SessionId(1), Box::new(Session { sides }))).unwrap();

    let (mut outbound, mut inbound) = (Outbound::new(&receive), Inbound::new(&send));
    let mut heard = [0; 300];
    let mut before = 0;
    for step in 0..11_000 {
        if step == 1000 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        let (header, mut octets) = packet(step);
        let length = outbound.rtp(&header, &mut octets, 172).unwrap();
        a.send_to(&octets[..length], to_a).unwrap();
        assert_eq!((hear(&b, &mut heard), &heard[12..172]), (172, &[7; 160][..]));

        b.send_to(&packet(step).1[..172], to_b).unwrap();
        let length = hear(&a, &mut heard);
        let header = Header::read(&heard[..length]).unwrap();
        assert_eq!(inbound.rtp(&header, &mut heard[..length]), Ok(172));
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert!(before > 0, "the counter counts");
}
