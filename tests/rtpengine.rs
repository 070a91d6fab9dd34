//! SRTP with rtpengine as the far end. What we seal comes out of it as plain RTP and RTCP, and what goes into it in the
//! clear it seals for us to open.
//!
//! ```text
//! Outbound --SRTP--> rtpengine --RTP--> plain
//! Inbound  <--SRTP-- rtpengine <--RTP-- plain
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panic")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use demarc::media::srtp::{GROWTH, Inbound, Outbound};
use demarc::random::Random;
use demarc::session::{Keys, Mki, Suite};
use demarc::wire::rtcp::Writer;
use demarc::wire::rtp::Header;
use demarc::wire::sdp::{Audio, Crypto, Description, draw};

mod lab;
#[path = "../benches/rtpload/src/ng.rs"]
mod ng;

use lab::{Lab, Running, seconds, until};
use ng::{Ben, Ng};

/// The session parameter of RFC 4568 that leaves reports unencrypted, though tagged.
const CLEAR_REPORTS: &str = " UNENCRYPTED_SRTCP";

/// RTP, RTCP.
struct Ports([UdpSocket; 2]);

impl Ports {
    fn open(host: Ipv4Addr) -> Ports {
        Ports([(); 2].map(|()| {
            let socket = UdpSocket::bind((host, 0)).unwrap();
            socket.set_read_timeout(Some(seconds(2))).unwrap();
            socket
        }))
    }

    fn description(&self, crypto: Option<&str>) -> String {
        let [rtp, rtcp] = self.0.each_ref().map(|socket| socket.local_addr().unwrap());
        let (ip, profile) = (rtp.ip(), if crypto.is_some() { "RTP/SAVP" } else { "RTP/AVP" });
        let crypto = crypto.map(|crypto| format!("a=crypto:{crypto}\r\n")).unwrap_or_default();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} {profile} 0\r\na=rtcp:{}\r\n\
             {crypto}a=rtpmap:0 PCMU/8000\r\n",
            rtp.port(),
            rtcp.port()
        )
    }
}

/// One end of a call, and where rtpengine waits for what it says.
struct End {
    ports: Ports,
    to: [SocketAddr; 2],
}

impl End {
    fn new(ports: Ports, audio: &Audio<'_>) -> End {
        End { ports, to: [audio.rtp().unwrap(), audio.rtcp().unwrap()] }
    }

    fn say(&self, channel: usize, packet: &[u8]) {
        self.ports.0[channel].send_to(packet, self.to[channel]).unwrap();
    }

    #[track_caller]
    fn hear(&self, channel: usize) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let length = self.ports.0[channel].recv(&mut buffer).expect("a packet from rtpengine");
        buffer[..length].to_vec()
    }

    fn hears_nothing(&self, channel: usize) -> bool {
        let socket = &self.ports.0[channel];
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let nothing = socket.recv(&mut [0; 2000]).is_err();
        socket.set_read_timeout(Some(seconds(2))).unwrap();
        nothing
    }
}

/// A call whose one end is encrypted.
struct Call {
    name: String,
    ours: Keys,
    secure: End,
    plain: End,
    /// What rtpengine seals under.
    theirs: Keys,
}

fn ask(ng: &mut Ng, call: &str, command: &str, transport: &str, sdp: &str) -> Description {
    let reply = ng.call(&Ben::dict([
        ("command", command.into()),
        ("call-id", call.into()),
        ("from-tag", "a".into()),
        ("to-tag", "b".into()),
        ("ICE", "remove".into()),
        ("DTLS", "off".into()),
        ("rtcp-mux", Ben::list(&["demux"])),
        ("replace", Ben::list(&["origin", "session-connection"])),
        ("transport-protocol", transport.into()),
        ("sdp", sdp.into()),
    ]));
    // We read reports in the clear, but take no line that asks for them.
    let sdp = reply.unwrap().get("sdp").unwrap().replace(CLEAR_REPORTS, "");
    Description::parse(sdp.as_bytes()).unwrap()
}

impl Call {
    /// `parameters` are those of our crypto line.
    fn start(ng: &mut Ng, host: Ipv4Addr, ours: Keys, parameters: &str) -> Call {
        let (secure, plain) = (Ports::open(host), Ports::open(host));
        let name = format!("{} {:?}{parameters}", ours.suite().name(), ours.mki());
        let line = Crypto { tag: 1, keys: ours }.wire() + parameters;
        let offer = ask(ng, &name, "offer", "RTP/AVP", &secure.description(Some(&line)));
        let answer = ask(ng, &name, "answer", "RTP/SAVP", &plain.description(None));
        let (offer, answer) = (offer.audio().next().unwrap(), answer.audio().next().unwrap());
        let theirs = answer.crypto().next().expect("a key of rtpengine's");
        assert_eq!((theirs.tag, theirs.keys.suite()), (1, ours.suite()));
        Call { name, ours, secure: End::new(secure, &answer), plain: End::new(plain, &offer), theirs: theirs.keys }
    }
}

fn packet(ssrc: u32, sequence: u16) -> (Header, Vec<u8>) {
    let timestamp = u32::from(sequence) * 160;
    let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc, length: 12, padded: false };
    (header, [&header.write()[..], &[sequence as u8; 160]].concat())
}

fn report(ssrc: u32) -> Vec<u8> {
    Writer::report(ssrc, None, None).named(ssrc, b"0123456789abcdef").octets().to_vec()
}

fn sealed(plain: &[u8], seal: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut buffer = [plain, &[0; GROWTH]].concat();
    let length = seal(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn what_one_seals_the_other_opens() {
    if !lab::installed("rtpengine", "rtpengine-daemon") {
        return;
    }
    let lab = Lab::new();
    let (us, control) = (lab.net.host(1), lab.net.at(1, 2223));
    let mut command = Command::new("rtpengine");
    // In user space, and none of the files of its package.
    command.args(["-f", "-E", "--config-file=none", "--table=-1", "--num-threads=1", "--log-level=5"]);
    command.args(["-m", "20000", "-M", "20999"]);
    command.arg(format!("--interface={us}")).arg(format!("--listen-ng={control}"));
    let _rtpengine = Running::start(&mut command, &lab.log("rtpengine"));
    let mut ng = Ng::connect(control).unwrap();
    until(seconds(10), "rtpengine answers", || ng.call(&Ben::dict([("command", "ping".into())])).ok());
    let marks = [None, Some(Mki { value: 1, length: 1 }), Some(Mki { value: 0x0102_0304, length: 4 })];
    for (suite, mki) in Suite::ALL.into_iter().flat_map(|suite| marks.map(|mki| (suite, mki))) {
        let ours = Keys::cut(suite, &draw(&mut Random::test(1))).marked(mki);
        both_ways(&Call::start(&mut ng, lab.net.host(2), ours, ""));
        // Of Galois/counter mode's reports in the clear it leaves out the tag.
        if !matches!(suite, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm) {
            both_ways(&Call::start(&mut ng, lab.net.host(2), ours, CLEAR_REPORTS));
        }
    }
}

/// Over a wrap of the sequence number, and with a report now and then.
fn both_ways(call: &Call) {
    let (case, mut outbound, mut inbound) = (&call.name, Outbound::new(&call.ours), Inbound::new(&call.theirs));
    for step in 0..200u16 {
        let sequence = step.wrapping_add(65_436);
        let (header, plain) = packet(9, sequence);
        let protected = sealed(&plain, |buffer| outbound.rtp(&header, buffer, plain.len()));
        call.secure.say(0, &protected);
        assert_eq!(call.plain.hear(0), plain, "{case}: ours {sequence}");

        let (header, plain) = packet(10, sequence);
        call.plain.say(0, &plain);
        let mut protected = call.secure.hear(0);
        assert_ne!(protected[12..172], plain[12..], "{case}: {sequence} in the clear");
        let length = inbound.rtp(&header, &mut protected);
        assert_eq!(length.map(|length| &protected[..length]), Ok(&plain[..]), "{case}: theirs {sequence}");

        if step % 40 == 0 {
            let plain = report(9);
            let protected = sealed(&plain, |buffer| outbound.rtcp(9, buffer, plain.len()));
            call.secure.say(1, &protected);
            assert_eq!(call.plain.hear(1), plain, "{case}: our report {step}");

            let plain = report(10);
            call.plain.say(1, &plain);
            let mut protected = call.secure.hear(1);
            assert_eq!(protected.starts_with(&plain), case.ends_with(CLEAR_REPORTS), "{case}: {step}");
            let length = inbound.rtcp(&mut protected);
            assert_eq!(length.map(|length| &protected[..length]), Ok(&plain[..]), "{case}: their report {step}");
        }
    }
    let (header, plain) = packet(9, 200);
    let mut forged = sealed(&plain, |buffer| outbound.rtp(&header, buffer, plain.len()));
    forged[20] ^= 1;
    call.secure.say(0, &forged);
    assert!(call.plain.hears_nothing(0), "{case}: a forged packet");
}
