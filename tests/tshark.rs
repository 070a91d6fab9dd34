//! RTP and RTCP as the engine writes them, read by tshark: no malformed packet, no expert's remark, and the figures in
//! its reports are those of what was sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panic")]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use demarc::config::Media;
use demarc::media::Engine;
use demarc::session::{
    Addresses, Codec, Digits, MediaOrder, MediaReport, Remote, Session, SessionId, Stream, TelephoneEvent,
};
use demarc::wire::rtp::Header;
use tokio::sync::mpsc::channel;

mod lab;

/// RTCP's first report comes within 3.75 s.
const FRAMES: u16 = 200;
/// A digit is pressed in these.
const DIGIT: u16 = 60;
const END_OF_DIGIT: u16 = 70;

/// A peer: its two sockets, and what it heard.
struct Peer {
    sockets: [UdpSocket; 2],
    codec: Codec,
    /// When, from which port of the engine, to which of ours, and what.
    heard: Vec<(Duration, SocketAddrV4, SocketAddrV4, Vec<u8>)>,
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!("the test speaks IPv4"),
    }
}

impl Peer {
    fn new(codec: Codec) -> Peer {
        let sockets = [(); 2].map(|()| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        Peer { sockets, codec, heard: Vec::new() }
    }

    fn stream(&self) -> Stream {
        let [rtp, rtcp] = [&self.sockets[0], &self.sockets[1]].map(|socket| socket.local_addr().unwrap());
        Stream {
            digits: Digits::Events(TelephoneEvent { payload_type: 101, clock_rate: self.codec.clock_rate() }),
            comfort_noise: Some(13).filter(|_| self.codec != Codec::Opus),
            ..Stream::new(Remote::Rtp(Addresses { rtp, rtcp }), self.codec)
        }
    }

    /// A packet of 20 ms to the engine.
    fn say(&self, frame: u16, to: SocketAddr) {
        let (payload_type, begun) = match frame {
            DIGIT..END_OF_DIGIT => (101, DIGIT),
            120..124 if self.codec != Codec::Opus => (13, frame),
            _ => (self.codec.payload_type(), frame),
        };
        let timestamp = u32::from(begun) * self.codec.clock_rate() / 50;
        let header =
            Header { marker: frame == 0, payload_type, sequence: frame, timestamp, ssrc: 9, length: 12, padded: false };
        let payload = match payload_type {
            101 => {
                let end = if frame + 3 < END_OF_DIGIT { 10 } else { 0x8a };
                let duration = (frame + 1).min(END_OF_DIGIT - 3) - DIGIT;
                let duration = u32::from(duration) * self.codec.clock_rate() / 50;
                [&[5, end], &duration.to_be_bytes()[2..]].concat()
            }
            13 => vec![60, 100, 140],
            // 20 ms of silence from SILK: a whole frame in four octets.
            111 => vec![0x08, 0x0b, 0xe4, 0xc1],
            _ => (0..160u16).map(|at| ((at * 7) ^ frame) as u8).collect(),
        };
        self.sockets[0].send_to(&[&header.write()[..], &payload].concat(), to).unwrap();
    }

    fn hear(&mut self, since: Instant) {
        let mut octets = [0; 2048];
        for socket in &self.sockets {
            while let Ok((length, from)) = socket.recv_from(&mut octets) {
                let to = v4(socket.local_addr().unwrap());
                self.heard.push((since.elapsed(), v4(from), to, octets[..length].to_vec()));
            }
        }
    }
}

/// A capture file of IPv4 packets (link type 101).
fn capture(peers: &[Peer]) -> Vec<u8> {
    let mut packets: Vec<_> = peers.iter().flat_map(|peer| &peer.heard).collect();
    packets.sort_by_key(|packet| packet.0);
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for (at, from, to, payload) in packets {
        let length = 28 + payload.len() as u16;
        for word in [at.as_secs() as u32, at.subsec_micros(), length.into(), length.into()] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0x45, 0]);
        file.extend(length.to_be_bytes());
        file.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        file.extend(from.ip().octets());
        file.extend(to.ip().octets());
        for half in [from.port(), to.port(), length - 20, 0] {
            file.extend(half.to_be_bytes());
        }
        file.extend(payload);
    }
    file
}

/// What tshark makes of the capture: a line for each packet, the fields parted by tabs.
fn read(file: &std::path::Path, peers: &[Peer], filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(file).args(["-o", "ip.check_checksum:FALSE", "-o", "rtp.heuristic_rtp:FALSE"]);
    for peer in peers {
        for (socket, protocol) in peer.sockets.iter().zip(["rtp", "rtcp"]) {
            tshark.arg("-d").arg(format!("udp.port=={},{protocol}", socket.local_addr().unwrap().port()));
        }
    }
    tshark.args(["-Y", filter, "-T", "fields"]);
    fields.iter().for_each(|field| {
        tshark.args(["-e", field]);
    });
    let output = tshark.output().expect("tshark runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Both ways of a call, relayed and transcoded.
fn call(codecs: [Codec; 2]) {
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high, low, 120 + codecs[0].payload_type() % 100);
    let (sender, mut reports) = channel(100);
    let config = Media {
        address: address.into(),
        ports: (20_000, 20_003),
        threads: Some(1),
        jitter: Duration::from_millis(200),
        cores: Vec::new(),
        socket_io: Default::default(),
    };
    let mut engine = Engine::start(&config, sender).unwrap();
    engine.order(MediaOrder::Open(SessionId(1))).unwrap();
    let Some(MediaReport::Opened(_, ports)) = reports.blocking_recv() else { panic!("not opened") };
    let mut peers = codecs.map(Peer::new);
    let sides = [&peers[0], &peers[1]].map(|peer| Some(peer.stream()));
    engine.order(MediaOrder::Apply(SessionId(1), Box::new(Session { sides, ..Session::default() }))).unwrap();

    let start = Instant::now();
    for frame in 0..FRAMES {
        for (peer, port) in peers.iter_mut().zip(ports) {
            // One in fifty is lost on its way to the engine.
            if frame % 50 != 25 {
                peer.say(frame, (address, port).into());
            }
            peer.hear(start);
        }
        let due = start + Duration::from_millis(20) * u32::from(frame + 1);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    engine.order(MediaOrder::Close(SessionId(1))).unwrap();
    while !matches!(reports.blocking_recv(), Some(MediaReport::Closed(..)) | None) {}
    peers.iter_mut().for_each(|peer| peer.hear(start));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heard.pcap");
    std::fs::write(&file, capture(&peers)).unwrap();
    let read = |filter: &str, fields: &[&str]| read(&file, &peers, filter, fields);
    let all = read("frame", &["frame.number"]).len();
    assert_eq!(read("rtp.version == 2 || rtcp.version == 2", &["frame.number"]).len(), all, "all are RTP or RTCP");
    let remarks = read("_ws.malformed || _ws.expert", &["frame.number", "_ws.col.Protocol", "_ws.expert.message"]);
    assert!(remarks.is_empty(), "tshark remarks: {remarks:?}");
    for (peer, codec) in peers.iter().zip(codecs) {
        let port = peer.sockets[1].local_addr().unwrap().port();
        let to_peer = |filter: &str| format!("udp.dstport == {port} && {filter}");
        let rtp_port = peer.sockets[0].local_addr().unwrap().port();
        let sound = read(&format!("udp.dstport == {rtp_port} && rtp"), &["rtp.ssrc", "rtp.p_type"]);
        let ssrc = &sound[0][0];
        assert!(sound.iter().all(|packet| packet[0] == *ssrc), "one source");
        let agreed = [codec.payload_type(), 101, 13].map(|kind| kind.to_string());
        assert!(sound.iter().all(|packet| agreed.contains(&packet[1])), "{sound:?}");
        assert!(sound.iter().any(|packet| packet[1] == "101"), "the digit came through");
        // The regular report, and the one with the goodbye.
        let sent = read(
            &to_peer("rtcp.pt == 200"),
            &["rtcp.senderssrc", "rtcp.sender.packetcount", "rtcp.ssrc.cum_nr", "rtcp.ssrc.identifier"],
        );
        assert!((2..=4).contains(&sent.len()), "{sent:?}");
        let last = sent.last().unwrap();
        assert_eq!(last[0], *ssrc, "the reports are those of the sound's source");
        assert_eq!(last[1], sound.len().to_string(), "packets sent");
        let lost: Vec<&str> = last[2].split(',').collect();
        assert_eq!(lost[0], (FRAMES / 50).to_string(), "of what this peer said, the engine missed");
        assert!(last[3].starts_with("0x00000009"), "{last:?}");
        assert_eq!(read(&to_peer("rtcp.pt == 203"), &["frame.number"]).len(), 1, "one goodbye");
        assert_eq!(
            read(&to_peer("rtcp.pt == 202"), &["frame.number"]).len(),
            sent.len(),
            "each report says who we are"
        );
    }
}

#[test]
fn tshark_has_nothing_to_remark_on_a_relayed_call() {
    if lab::installed("tshark", "tshark") {
        call([Codec::Pcmu, Codec::Pcmu]);
    }
}

#[test]
fn tshark_has_nothing_to_remark_on_a_transcoded_call() {
    if lab::installed("tshark", "tshark") {
        call([Codec::Opus, Codec::Pcma]);
    }
}
