//! Teams with media bypass: a full ICE agent that is not ours checks the ways to the daemon, nominates one, and media goes
//! there. The agent is aioice; signalling is the scripted peer's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use demarc::media::srtp::{GROWTH, Inbound, Outbound};
use demarc::session::{Credentials, Keys};
use demarc::wire::rtcp;
use demarc::wire::rtp::{Header, is_rtcp};
use demarc::wire::sdp::{Audio, Crypto, Description};
use demarc::wire::stun::{Class, Key, Message, Writer};
use lab::{Demarc, Dialog, Gateway, Lab, Peer, Scenario, Sdp, Setup, Sipp, seconds, until};
use serde_json::{Value, json};

const GATEWAY_NUMBER: &str = "+13125556789";
const LYNC_NUMBER: &str = "+13125550100";
/// The crypto line in the peer's descriptions.
const CRYPTO: &str = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^31";

/// Six checks without an answer end a connection of the agent's. This is time enough for them.
const CONSENT: Duration = Duration::from_secs(6);

/// aioice, behind a pipe.
struct FullAgent {
    child: Child,
    orders: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
}

impl FullAgent {
    /// `None`, with the reason said, when there is none.
    fn start() -> Option<FullAgent> {
        let python = lab::python()?;
        let loads =
            Command::new(&python).args(["-c", "import aioice"]).output().is_ok_and(|done| done.status.success());
        if !loads {
            lab::missing("there is no aioice (run .ci/peers)");
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/full_agent.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, replies) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Some(FullAgent { child, orders, replies })
    }

    #[track_caller]
    fn order(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").unwrap();
        serde_json::from_str(&self.replies.next().expect("a reply").unwrap()).unwrap()
    }

    /// A connection of this name: what its description says under the media line.
    fn open(&mut self, name: &str, hosts: &[Ipv4Addr], components: u8) -> String {
        let hosts: Vec<_> = hosts.iter().map(Ipv4Addr::to_string).collect();
        let opened = self.order(&json!({"do": "open", "name": name, "hosts": hosts, "components": components}));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut lines =
            format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", text(&opened["fragment"]), text(&opened["password"]));
        for candidate in opened["candidates"].as_array().unwrap() {
            write!(lines, "a=candidate:{}\r\n", text(candidate)).unwrap();
        }
        lines
    }

    /// Checks the ways that the daemon's description names: the connection's own address of the nominated way.
    #[track_caller]
    fn check(&mut self, name: &str, said: &Said, lite: bool) -> SocketAddr {
        let Credentials { fragment, password } = &said.credentials;
        let reply = self.order(&json!({
            "do": "check", "name": name, "fragment": fragment, "password": password.0, "candidates": said.candidates,
            "lite": lite,
        }));
        address(&reply["nominated"]["1"])
    }

    fn send(&mut self, name: &str, component: u8, octets: &[u8]) {
        let hex = octets.iter().fold(String::new(), |mut text, octet| {
            write!(text, "{octet:02x}").unwrap();
            text
        });
        self.order(&json!({"do": "send", "name": name, "component": component, "octets": hex}));
    }

    /// What came next: on which component, where, what.
    fn hear(&mut self, name: &str) -> Option<(u64, SocketAddr, Vec<u8>)> {
        let heard = self.order(&json!({"do": "hear", "name": name}));
        let hex = heard["octets"].as_str()?;
        let octets = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        Some((heard["component"].as_u64()?, address(&heard["at"]), octets))
    }

    fn alive(&mut self, name: &str) -> bool {
        self.order(&json!({"do": "alive", "name": name}))["alive"] == true
    }
}

impl Drop for FullAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn address(value: &Value) -> SocketAddr {
    let (Some(host), Some(port)) = (value[0].as_str(), value[1].as_u64()) else { panic!("no address: {value}") };
    SocketAddr::new(host.parse().unwrap(), port as u16)
}

/// What the daemon's description says of ICE and keys.
struct Said {
    credentials: Credentials,
    candidates: Vec<String>,
    keys: Keys,
    muxed: bool,
}

impl Said {
    #[track_caller]
    fn read(text: &str) -> Said {
        let description = Description::parse(text.as_bytes()).unwrap();
        let audio: Audio<'_> = description.audio().next().unwrap();
        assert!(audio.ice_lite(), "{text}");
        Said {
            credentials: audio.credentials().unwrap(),
            candidates: audio.candidates().map(|candidate| candidate.wire()).collect(),
            keys: audio.crypto().next().unwrap().keys,
            muxed: audio.rtcp_mux(),
        }
    }
}

/// Media at the Microsoft side's end: SRTP over a connection of the agent.
struct Media {
    outbound: Outbound,
    inbound: Inbound,
    sequence: u16,
}

impl Media {
    fn new(said: &Said) -> Media {
        let keys = Crypto::parse(CRYPTO).unwrap().keys;
        Media { outbound: Outbound::new(&keys), inbound: Inbound::new(&said.keys), sequence: 0 }
    }

    fn packet(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let header = header(self.sequence);
        let mut octets = [&header.write()[..], &[1; 160], &[0; GROWTH]].concat();
        let length = self.outbound.rtp(&header, &mut octets, 172).unwrap();
        octets.truncate(length);
        octets
    }
}

fn header(sequence: u16) -> Header {
    let timestamp = u32::from(sequence) * 160;
    Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 9, length: 12, padded: false }
}

struct Stage {
    teams: Peer,
    agent: FullAgent,
    demarc: Demarc,
    /// The gateway's end of media.
    socket: UdpSocket,
    lab: Lab,
}

impl Stage {
    fn set() -> Option<Stage> {
        let agent = FullAgent::start()?;
        let lab = Lab::new();
        let teams = Peer::lync(&lab);
        let mut setup = Setup::new(teams.address, &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
        setup.profile = "teams";
        setup.trunk_configuration = vec!["OptionsInterval=0".into()];
        let demarc = setup.start(&lab);
        let socket = UdpSocket::bind(lab.net.at(3, 30_000)).unwrap();
        socket.set_read_timeout(Some(seconds(2))).unwrap();
        Some(Stage { teams, agent, demarc, socket, lab })
    }

    fn hosts(&self) -> [Ipv4Addr; 2] {
        [self.lab.net.host(2), self.lab.net.host(12)]
    }

    /// A description of Teams': one stream of G.711 and what stands under it.
    fn sdp(&self, ice: &str, direction: &str) -> String {
        let media =
            format!("m=audio 30000 RTP/SAVP 0 101\r\na=crypto:{CRYPTO}\r\na=rtpmap:101 telephone-event/8000\r\n{ice}");
        Sdp::of(self.teams.host, direction, &media)
    }

    /// The gateway hears the next packet of sound.
    #[track_caller]
    fn gateway_hears(&self) -> SocketAddr {
        let mut octets = [0; 500];
        loop {
            let (length, from) = self.socket.recv_from(&mut octets).expect("a packet at the gateway");
            if !is_rtcp(&octets[..length]) {
                assert_eq!(octets[12..length], [1; 160]);
                return from;
            }
        }
    }

    /// Sound goes both ways over a connection; it arrives where that was nominated.
    #[track_caller]
    fn talk(&mut self, name: &str, nominated: SocketAddr, media: &mut Media) {
        let packet = media.packet();
        self.agent.send(name, 1, &packet);
        let daemon = self.gateway_hears();
        for sequence in 0..3 {
            let sound = [&header(media.sequence * 10 + sequence).write()[..], &[2; 160]].concat();
            self.socket.send_to(&sound, daemon).unwrap();
            let (at, mut octets) = loop {
                let (component, at, octets) = self.agent.hear(name).expect("a packet at Teams");
                assert_eq!(component, 1);
                if !is_rtcp(&octets) {
                    break (at, octets);
                }
            };
            let header = Header::read(&octets).unwrap();
            let length = media.inbound.rtp(&header, &mut octets).unwrap();
            assert_eq!((at, &octets[12..length]), (nominated, &[2; 160][..]));
        }
    }

    fn rejected(&self, reason: &str) -> f64 {
        self.demarc.metric_where("demarc_rtp_rejected_packets_total", &format!("reason=\"{reason}\""))
    }
}

/// A stranger, who has seen the descriptions' fragments but no password, checks and sends sound.
fn flood(from: Ipv4Addr, said: &Said, count: u32) -> u32 {
    let to: SocketAddr = {
        let mut words = said.candidates[0].split(' ').skip(4);
        SocketAddr::new(words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap())
    };
    let stranger = UdpSocket::bind((from, 0)).unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let username = format!("{}:guess", said.credentials.fragment);
    let mut refused = 0;
    for _ in 0..count {
        let mut octets = [0; 200];
        let request = Writer::new(&mut octets, Class::Request, &[7; 12]).username(&username).nominating();
        let length = request.integrity(&Key::new("a guess")).finish().unwrap();
        stranger.send_to(&octets[..length], to).unwrap();
        let length = stranger.recv(&mut octets).expect("an answer");
        refused += u32::from(Message::read(&octets[..length]).unwrap().error() == Some(401));
        stranger.send_to(&[&header(1).write()[..], &[3; 160]].concat(), to).unwrap();
    }
    refused
}

/// ```text
/// Teams                      demarc             gateway
///   | -- INVITE, ICE -------> | ----------------> |
///   | <- 200, ICE-lite ------ | <---------------- |
///   | -- checks, nominates -> |                   |
///   | <====== SRTP =========> | <===== RTP =====> |
///   | -- INVITE, other ICE -> |                   |   a restart: the old way until a new one is nominated
/// ```
#[test]
fn teams_calls_and_media_bypasses_its_servers() {
    let Some(mut stage) = Stage::set() else { return };
    if !lab::installed("sipp", "sip-tester") {
        return;
    }
    let local = stage.lab.net.at(3, 5060);
    let gateway = Scenario { name: "gateway_rings", local, protocol: "TCP", calls: None, keys: &[] };
    let gateway = Sipp::start(&stage.lab, &gateway);

    let ice = stage.agent.open("first", &stage.hosts(), 1) + "a=rtcp-mux\r\n";
    let link = stage.teams.connect(stage.demarc.lync);
    let mut call = stage.teams.call(&link, GATEWAY_NUMBER, &stage.sdp(&ice, "sendrecv"));
    let answer = stage.teams.expect_within("200 INVITE", seconds(8));
    call.acknowledge(&answer);
    gateway.expect("ACK");
    let said = Said::read(&answer.body);
    assert!(said.muxed && said.candidates.len() == 1, "{}", answer.body);
    let nominated = stage.agent.check("first", &said, true);
    let mut media = Media::new(&said);
    stage.talk("first", nominated, &mut media);

    assert_eq!(flood(stage.lab.net.host(66), &said, 100), 100);
    stage.talk("first", nominated, &mut media);
    until(seconds(8), "what was refused is counted", || {
        (stage.rejected("unproven") == 100.0 && stage.rejected("stranger") == 100.0).then_some(())
    });
    let side = &stage.demarc.calls()[0].to_string();
    assert!(side.contains("\"unproven\":100"), "{side}");

    let hosts = stage.hosts();
    let ice = stage.agent.open("second", &hosts[1..], 1) + "a=rtcp-mux\r\n";
    call.request("INVITE", "", &stage.sdp(&ice, "sendrecv"));
    let answer = stage.teams.expect("200 INVITE");
    call.acknowledge(&answer);
    let anew = Said::read(&answer.body);
    assert!(anew.credentials != said.credentials && anew.candidates == said.candidates);
    stage.talk("first", nominated, &mut media);
    sleep(CONSENT);
    assert!(stage.agent.alive("first"), "the old way is kept until there is a new one");
    let elsewhere = stage.agent.check("second", &anew, false);
    assert_ne!(elsewhere, nominated);
    stage.talk("second", elsewhere, &mut media);

    call.request("BYE", "", "");
    stage.teams.expect("200 BYE");
    stage.demarc.idle();
}

/// The gateway calls; the call as it stands when sound has gone both ways.
struct Called {
    stage: Stage,
    gateway: Peer,
    call: Dialog,
    /// Teams' end of the call.
    taken: Dialog,
    /// What Teams' description said of ICE, and what ours said.
    ice: String,
    said: Said,
    nominated: SocketAddr,
    media: Media,
}

impl Called {
    fn take(muxed: bool) -> Option<Called> {
        let mut stage = Stage::set()?;
        let mut gateway = Peer::gateway(stage.lab.net.host(3));
        let link = gateway.connect(stage.demarc.trunk);
        let mut call = gateway.call(&link, LYNC_NUMBER, &Sdp::plain(gateway.host, "sendrecv"));
        let invite = stage.teams.expect("INVITE");
        let said = Said::read(&invite.body);
        assert!(said.muxed && said.candidates.len() == 2, "{}", invite.body);
        let (components, attribute) = if muxed { (1, "a=rtcp-mux\r\n") } else { (2, "") };
        let ice = stage.agent.open("callee", &stage.hosts(), components) + attribute;
        invite.answer(200, "OK", &stage.sdp(&ice, "sendrecv"));
        stage.teams.expect("ACK");
        call.acknowledge(&gateway.expect("200 INVITE"));
        let said = Said { candidates: said.candidates[..components.into()].to_vec(), ..said };
        let nominated = stage.agent.check("callee", &said, true);
        let mut media = Media::new(&said);
        stage.talk("callee", nominated, &mut media);
        let taken = Dialog::called(&invite);
        Some(Called { stage, gateway, call, taken, ice, said, nominated, media })
    }

    fn hang_up(mut self) {
        self.call.request("BYE", "", "");
        self.gateway.expect("200 BYE");
        self.stage.teams.expect("BYE").answer(200, "OK", "");
        self.stage.demarc.idle();
    }
}

/// Our own offer: two components are offered, Teams takes both or lets them share one.
#[test]
fn a_gateway_calls_and_reports_go_where_they_were_nominated() {
    for (muxed, through) in [(true, 1), (false, 2)] {
        let Some(mut called) = Called::take(muxed) else { return };
        let (component, mut report) = until(seconds(10), "a report", || {
            let (component, _, octets) = called.stage.agent.hear("callee")?;
            is_rtcp(&octets).then_some((component, octets))
        });
        let length = called.media.inbound.rtcp(&mut report).unwrap();
        assert!(rtcp::packets(&report[..length]).next().is_some());
        assert_eq!(component, through);
        called.hang_up();
    }
}

/// A held call lives on its checks, and goes on where it was nominated.
#[test]
fn teams_holds_and_resumes() {
    let Some(mut called) = Called::take(true) else { return };
    for direction in ["inactive", "sendrecv"] {
        let Called { stage, gateway, taken, ice, said, .. } = &mut called;
        taken.request("INVITE", "", &stage.sdp(ice, direction));
        gateway.expect("INVITE").answer(200, "OK", &Sdp::plain(gateway.host, direction));
        let answer = stage.teams.expect("200 INVITE");
        taken.acknowledge(&answer);
        let again = Said::read(&answer.body);
        assert_eq!(again.credentials, said.credentials);
        sleep(CONSENT);
        assert!(stage.agent.alive("callee"), "while {direction}");
    }
    let nominated = called.nominated;
    called.stage.talk("callee", nominated, &mut called.media);
    called.hang_up();
}

/// Two telephones of one callee: the first is heard before anybody answers, the second answers. Both check as soon as they
/// ring, under the same credentials of ours.
#[test]
fn of_two_telephones_the_one_that_answers_is_heard() {
    let Some(mut stage) = Stage::set() else { return };
    let mut gateway = Peer::gateway(stage.lab.net.host(3));
    let link = gateway.connect(stage.demarc.trunk);
    let mut call = gateway.call(&link, LYNC_NUMBER, &Sdp::plain(gateway.host, "sendrecv"));
    let invite = stage.teams.expect("INVITE");
    let said = Said::read(&invite.body);
    let said = Said { candidates: said.candidates[..1].to_vec(), ..said };
    let contact = format!("Contact: <sip:lab@{};transport=tls>\r\n", stage.teams.address);
    let descriptions = ["left", "right"].map(|name| {
        let host = stage.hosts()[usize::from(name == "right")];
        let ice = stage.agent.open(name, &[host], 1) + "a=rtcp-mux\r\n";
        stage.sdp(&ice, "sendrecv")
    });
    let says = |status, reason, tag, sdp: &str| {
        invite.link().send(invite.message.reply(status, reason, tag, &contact, sdp));
    };
    says(183, "Session Progress", "left", &descriptions[0]);
    gateway.expect("183 INVITE");
    let left = stage.agent.check("left", &said, true);
    let right = stage.agent.check("right", &said, true);
    // Their keys are the same: a packet of the wrong one is refused for where it comes from alone.
    let mut media = Media::new(&said);
    stage.talk("left", left, &mut media);
    says(200, "OK", "right", &descriptions[1]);
    stage.teams.expect("ACK");
    call.acknowledge(&gateway.expect("200 INVITE"));
    stage.talk("right", right, &mut media);
    let packet = media.packet();
    stage.agent.send("left", 1, &packet);
    until(seconds(8), "the other one is a stranger", || (stage.rejected("stranger") == 1.0).then_some(()));

    call.request("BYE", "", "");
    gateway.expect("200 BYE");
    stage.teams.expect("BYE").answer(200, "OK", "");
    stage.demarc.idle();
}
