//! Calls in a small world of virtual time: a switch, telephones behind every trunk that say what a
//! test writes, and a media engine that opens and closes ports and remembers what it was told.
//!
//! Ladders are read off [`World::seen`]: what the switch sent since the last look, in order.
//! `lync:180 gw1:INVITE+sdp open` is a 180 and an INVITE with a description; ports were asked for
//! meanwhile (the order between messages and the media engine means nothing).

mod announce;
mod change;
mod crossings;
mod door;
mod end;
mod gateway;
mod hold;
mod hunt;
mod ladder;
mod line;
mod referrer;
mod transfer;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Event, Output, Report, Snapshot, Switch, TransferResult};
use crate::config::{self, Announced, Config, SoundFile};
use crate::hop::{Flow, Transport, TrunkId};
use crate::random::Random;
use crate::session::{Digit, Direction, MediaOrder, MediaReport, Play, Session, SessionId, Side, Sound, Stream};
use crate::sip::transaction::LIFETIME;
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::{Message, Method, Name, fragment_status};

const LYNC: TrunkId = TrunkId::LYNC;
const GW1: TrunkId = TrunkId(1);
const GW2: TrunkId = TrunkId(2);
/// Speaks UDP and has a route of its own.
const GW3: TrunkId = TrunkId(3);

/// Two gateways take +1, the third takes +44. Nobody is asked for OPTIONS.
const INI: &str = "\
[Lync]
Fqdn=ms1.contoso.com
NextHop=pool01.contoso.com:5061
[Trunks]
UdpListen=0.0.0.0:5068
[Media]
Address=192.0.2.10
[TrunkConfiguration]
OptionsInterval=0
EnableReferSupport=False
[Gateway1]
IP=192.0.2.21
Port=5060
VoiceRoutes=LocalRoute
[Gateway2]
IP=192.0.2.22
Port=5060
VoiceRoutes=LocalRoute
[Gateway3]
IP=192.0.2.23
Port=5060
Protocol=UDP
VoiceRoutes=FarRoute
[HybridVoiceRoutes]
LocalRoute=^\\+1
FarRoute=^\\+44
";

/// [`INI`] with more lines in some sections: `"[Gateway1]\nMaxCalls=1"`.
fn ini(more: &[&str]) -> Arc<Config> {
    let mut text = INI.to_owned();
    for more in more {
        let (section, lines) = more.split_once('\n').unwrap();
        let key = lines.split_once('=').unwrap().0;
        let at = text.find(section).unwrap() + section.len() + 1;
        let end = text[at..].find('[').map_or(text.len(), |end| at + end);
        let kept: String = text[at..end].lines().filter(|line| !line.starts_with(&format!("{key}="))).fold(
            String::new(),
            |mut kept, line| {
                kept += line;
                kept.push('\n');
                kept
            },
        );
        text.replace_range(at..end, &format!("{kept}{lines}\n"));
    }
    read(&text)
}

/// The same with hold music.
fn with_music(mut config: Arc<Config>) -> Arc<Config> {
    let sound = Sound::new(vec![0; 800], vec![0; 1600]).map(Arc::new);
    let changed = Arc::make_mut(&mut config);
    changed.sounds.hold_music = Some(SoundFile { path: "music.wav".into(), named_at: 0..0, sound });
    config
}

/// [`INI`] without some sections.
fn ini_without(sections: &[&str]) -> Arc<Config> {
    let mut text = INI.to_owned();
    for section in sections {
        let at = text.find(section).unwrap();
        let end = text[at + 1..].find('[').map_or(text.len(), |end| at + 1 + end);
        text.replace_range(at..end, "");
    }
    read(&text)
}

fn read(text: &str) -> Arc<Config> {
    match config::parse(text.as_bytes(), "/etc/demarc/demarc.ini") {
        Ok((config, _)) => Arc::new(config),
        Err(findings) => panic!("{findings:#?}"),
    }
}

fn asks(config: &Config) -> bool {
    config.trunks.iter().any(|trunk| !trunk.switches.options_interval.is_zero())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A description without encryption.
fn plain(formats: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.30\r\ns=-\r\nc=IN IP4 192.0.2.30\r\nt=0 0\r\nm=audio 5000 RTP/AVP {formats}\r\na=sendrecv\r\n"
    )
}

/// The same with encryption, as Microsoft has it.
fn secret(formats: &str) -> String {
    plain(formats).replace("RTP/AVP", "RTP/SAVP")
        + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\r\n"
}

/// A description that lets sound go another way, as its owner sees it.
fn going(direction: &str, sdp: &str) -> String {
    sdp.replace("sendrecv", direction)
}

/// One telephone's part in one call: its dialog with the switch.
#[derive(Debug)]
struct Phone {
    trunk: TrunkId,
    call_id: String,
    /// Its own From, with tag; as a called party from its first answer on.
    own: String,
    /// The switch's From.
    far: String,
    /// The switch's Contact.
    target: String,
    cseq: u32,
    /// Via branch and CSeq of its last INVITE.
    invited: (String, u32),
    /// CSeq of the INVITE that the switch accepted last.
    accepted: Option<u32>,
    /// The switch's last request of each method.
    asked: HashMap<Method, Message>,
    /// The switch's responses.
    told: Vec<Message>,
    /// Has it answered the switch's last INVITE finally?
    done: bool,
    /// Since when the switch waits for its answer to an INVITE, and for its ACK.
    owes: [Option<Instant>; 2],
    /// Has it ever answered later than any transaction lasts?
    failed: bool,
}

/// A telephone by its place in the world.
type Id = usize;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ports {
    Open,
    Closed,
}

/// How the media engine answers Open. Whatever it says, it says in the order in which it was asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Engine {
    Opens,
    Refuses,
    /// Its words wait for [`World::engine_wakes`].
    Sleeps,
}

struct World {
    now: Now,
    switch: Switch,
    random: Random,
    engine: Engine,
    ports: BTreeMap<SessionId, Ports>,
    sessions: BTreeMap<SessionId, Session>,
    phones: Vec<Phone>,
    /// Trunks to which nothing can be sent.
    unreachable: BTreeSet<TrunkId>,
    /// Trunks that do not answer OPTIONS.
    deaf: BTreeSet<TrunkId>,
    /// Do telephones leave BYE and CANCEL unanswered?
    rude: bool,
    /// Do telephones answer NOTIFY?
    hears_notify: bool,
    /// Do telephones that are called take REFER?
    takes_refer: bool,
    /// Of a hundred datagrams, how many are lost.
    loss: u64,
    coming: VecDeque<Event>,
    unsaid: VecDeque<Event>,
    log: Vec<String>,
    reports: Vec<Report>,
    began: usize,
    ended: usize,
    /// Does the switch send OPTIONS?
    asks: bool,
    /// The exchange at the far end of [Span1].
    exchange: Option<line::Exchange>,
}

fn name(trunk: TrunkId) -> String {
    if trunk == LYNC { "lync".into() } else { format!("gw{}", trunk.0) }
}

fn transport(trunk: TrunkId) -> Transport {
    match trunk {
        LYNC => Transport::Tls,
        GW3 => Transport::Udp,
        _ => Transport::Tcp,
    }
}

fn flow(trunk: TrunkId) -> Flow {
    let (transport, last) = (transport(trunk), 20 + trunk.0);
    let connection = if transport == Transport::Udp { 0 } else { u64::from(trunk.0) + 1 };
    let local = "192.0.2.10:5068".parse().unwrap();
    Flow { connection, trunk, transport, local, remote: format!("192.0.2.{last}:5060").parse().unwrap() }
}

fn message(start: &str, headers: &str, body: &str) -> Message {
    let kind = if body.is_empty() || headers.contains("Content-Type") { "" } else { "Content-Type: application/sdp\n" };
    let head = format!("{start}\n{headers}{kind}Content-Length: {}\n\n", body.len()).replace('\n', "\r\n");
    Message::parse(Bytes::from(head + body)).unwrap()
}

impl World {
    fn new() -> World {
        World::with(ini(&[]))
    }

    fn with(config: Arc<Config>) -> World {
        let now = Now::virtual_start();
        let (ports, sessions, phones, unreachable, deaf, coming, unsaid, log, reports) = Default::default();
        World {
            now,
            asks: asks(&config),
            exchange: None,
            switch: Switch::new(now, config, Random::test(1)),
            random: Random::test(2),
            engine: Engine::Opens,
            ports,
            sessions,
            phones,
            unreachable,
            deaf,
            rude: false,
            hears_notify: true,
            takes_refer: false,
            loss: 0,
            coming,
            unsaid,
            log,
            reports,
            began: 0,
            ended: 0,
        }
    }

    // What a test sees.

    /// What the switch sent since the last look. OPTIONS outside calls are left out, and so is every
    /// answer to a request of less interest than INVITE.
    fn seen(&mut self) -> String {
        let mut log = std::mem::take(&mut self.log);
        log.sort_by_key(|line| !line.contains(':'));
        log.join(" ")
    }

    /// The telephone that rang last at a trunk.
    fn rung(&self, trunk: TrunkId) -> Id {
        self.phones.iter().rposition(|phone| phone.trunk == trunk).unwrap()
    }

    /// The switch's last response to this telephone with this status.
    fn told(&self, id: Id, status: u16) -> &Message {
        let mut told = self.phones[id].told.iter().rev();
        told.find(|response| response.status() == Some(status)).unwrap_or_else(|| panic!("no {status} was sent"))
    }

    /// The switch's last request of this method to this telephone.
    fn asked(&self, id: Id, method: Method) -> &Message {
        &self.phones[id].asked[&method]
    }

    fn snapshot(&self) -> Snapshot {
        self.switch.snapshot(self.now)
    }

    /// The media of the last call: `srtp PCMU sendrecv | plain PCMU sendrecv`, caller first.
    fn media(&self) -> String {
        let session = self.sessions.values().next_back().unwrap();
        let side = |stream: &Option<Stream>| {
            stream.as_ref().map_or("-".to_owned(), |stream| {
                let srtp = if stream.srtp.is_some() { "srtp" } else { "plain" };
                format!("{srtp} {} {}", stream.codec.name(), stream.direction.attribute())
            })
        };
        session.sides.iter().map(side).collect::<Vec<_>>().join(" | ")
    }

    /// Which way sound goes on both sides of the last call, caller first.
    fn directions(&self) -> [Option<Direction>; 2] {
        let session = self.sessions.values().next_back().unwrap();
        [0, 1].map(|side| session.sides[side].as_ref().map(|stream| stream.direction))
    }

    /// How a Replaces names a telephone's dialog with us; who reads it (we) stands first.
    fn naming(&self, id: Id) -> String {
        let phone = &self.phones[id];
        let tag = |line: &str| line.split(";tag=").nth(1).unwrap_or_default().to_owned();
        format!("{};to-tag={};from-tag={}", phone.call_id, tag(&phone.far), tag(&phone.own))
    }

    /// Lync's side of a call holds it, and the gateway's agrees.
    fn holds(&mut self, a: Id, b: Id) {
        self.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
        self.answer(b, 200, &going("inactive", &plain("0")));
        self.ack(a, "");
        self.seen();
    }

    /// Refers the other end to a user, in the place of another call of the referrer's.
    fn refers_to_call(&mut self, id: Id, user: &str, other: Id) {
        let replaces = self.naming(other).replace(';', "%3B").replace('=', "%3D");
        self.ask(id, Method::Refer, &format!("Refer-To: <sip:{user}?Replaces={replaces}>\n"), "");
    }

    /// What both sides of the last call hear from ourselves, caller first: `music | -`.
    fn plays(&self) -> String {
        let session = self.sessions.values().next_back().unwrap();
        let play = |play: &Option<Play>| match play {
            None => "-".to_owned(),
            Some(Play::Music(_)) => "music".to_owned(),
            Some(Play::Tone(tone)) => format!("{:?}", tone[0].0),
            Some(play) => format!("{play:?}"),
        };
        session.plays.iter().map(play).collect::<Vec<_>>().join(" | ")
    }

    /// The ladder's notes that hold this.
    fn notes(&self, part: &str) -> Vec<&str> {
        let notes = self.reports.iter().filter_map(|report| match report {
            Report::Note { text, .. } => Some(&**text),
            _ => None,
        });
        notes.filter(|note| note.contains(part)).collect()
    }

    /// The last call's end: its result, cause and who ended it.
    fn end(&self) -> String {
        let mut ends = self.reports.iter().rev().filter_map(|report| match report {
            Report::Ended(end) => Some(end),
            _ => None,
        });
        let end = ends.next().unwrap();
        format!("{} {} by {}", end.result(), end.release.cause.0, end.ended_by)
    }

    // What telephones say.

    /// Somebody calls: `+13125556789`, which two gateways take.
    fn invite(&mut self, trunk: TrunkId, body: &str) -> Id {
        self.invite_to(trunk, "+13125556789", "", body)
    }

    fn invite_to(&mut self, trunk: TrunkId, number: &str, more: &str, body: &str) -> Id {
        let own = format!("<sip:+13125550100@contoso.com;user=phone>;tag={}", self.random.token());
        let call_id = self.random.token();
        self.invite_as(trunk, (own, call_id), number, more, body)
    }

    /// Somebody calls with this From and Call-ID.
    fn invite_as(&mut self, trunk: TrunkId, as_who: (String, String), number: &str, more: &str, body: &str) -> Id {
        let ((own, call_id), branch) = (as_who, self.random.token());
        self.phones.push(Phone {
            trunk,
            call_id,
            own,
            far: format!("<sip:{number}@ms1.contoso.com;user=phone>"),
            target: format!("sip:{number}@ms1.contoso.com;user=phone"),
            cseq: 0,
            invited: (branch, 1),
            asked: HashMap::new(),
            told: Vec::new(),
            done: true,
            accepted: None,
            owes: [None; 2],
            failed: false,
        });
        let id = self.phones.len() - 1;
        self.ask(id, Method::Invite, more, body);
        id
    }

    /// A telephone sends a request, in its dialog if there is one.
    fn ask(&mut self, id: Id, method: Method, more: &str, body: &str) {
        let branch = self.random.token();
        let phone = &mut self.phones[id];
        phone.cseq += 1;
        let cseq = phone.cseq;
        if method == Method::Invite {
            phone.invited = (branch.clone(), cseq);
        }
        self.say(id, method.text(), &branch, cseq, more, body);
    }

    fn say(&mut self, id: Id, method: &str, branch: &str, cseq: u32, more: &str, body: &str) {
        let phone = &self.phones[id];
        let flow = flow(phone.trunk);
        let (own, far, call_id, remote) = (&phone.own, &phone.far, &phone.call_id, flow.remote);
        let headers = format!(
            "Via: SIP/2.0/{} {remote};branch=z9hG4bK{branch}\nFrom: {own}\nTo: {far}\nCall-ID: {call_id}\nCSeq: {cseq} {method}\nMax-Forwards: 70\nContact: <sip:{remote};transport={}>\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK\n{more}",
            flow.transport,
            flow.transport.uri(),
        );
        let message = message(&format!("{method} {} SIP/2.0", phone.target), &headers, body);
        self.arrive(flow, message);
        self.run();
    }

    /// The engine hears a digit in the sound of one side.
    fn hears(&mut self, side: Side, key: char, milliseconds: u64) {
        let id = *self.sessions.keys().next_back().unwrap();
        let digit = Digit::of(key).unwrap();
        let length = Duration::from_millis(milliseconds);
        self.coming.push_back(Event::Media(MediaReport::Digit(id, side, digit, length)));
        self.run();
    }

    /// A telephone confirms the last 2xx to an INVITE of its own.
    fn ack(&mut self, id: Id, body: &str) {
        let (branch, phone) = (self.random.token(), &self.phones[id]);
        let cseq = phone.accepted.unwrap_or(phone.invited.1);
        self.say(id, "ACK", &branch, cseq, "", body);
    }

    /// A telephone gives up its last INVITE.
    fn cancel(&mut self, id: Id) {
        let (branch, cseq) = self.phones[id].invited.clone();
        // CANCEL has the INVITE's To, which had no tag when it began the call.
        let far = self.phones[id].far.clone();
        if cseq == 1 {
            self.phones[id].far = far.split(";tag=").next().unwrap_or_default().to_owned();
        }
        self.say(id, "CANCEL", &branch, cseq, "", "");
        self.phones[id].far = far;
    }

    /// A telephone answers the switch's last INVITE.
    fn answer(&mut self, id: Id, status: u16, body: &str) {
        self.reply(id, Method::Invite, status, "far", "", body);
    }

    /// A telephone answers the switch's last request of a method under its tag `tag`.
    fn reply(&mut self, id: Id, method: Method, status: u16, tag: &str, more: &str, body: &str) {
        self.tell(id, method, status, tag, more, body);
        self.run();
    }

    fn tell(&mut self, id: Id, method: Method, status: u16, tag: &str, more: &str, body: &str) {
        let phone = &mut self.phones[id];
        let request = &phone.asked[&method];
        let line = |name| request.text(name).unwrap_or_default();
        let tagged = format!("{};tag={tag}", line(Name::To));
        let to = if request.tag(Name::To).is_some() || status == 100 { line(Name::To).to_owned() } else { tagged };
        let remote = flow(phone.trunk).remote;
        let headers = format!(
            "Via: {}\nFrom: {}\nTo: {to}\nCall-ID: {}\nCSeq: {}\nContact: <sip:{remote};transport={}>\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK{}\n{more}",
            line(Name::Via),
            line(Name::From),
            phone.call_id,
            line(Name::CSeq),
            transport(phone.trunk).uri(),
            if self.takes_refer { ", REFER" } else { "" },
        );
        if method == Method::Invite && status > 100 {
            phone.done = status >= 200;
            phone.own = to;
        }
        let trunk = phone.trunk;
        self.arrive(flow(trunk), message(&format!("SIP/2.0 {status} x"), &headers, body));
    }

    // What happens around the telephones.

    fn media_says(&mut self, report: MediaReport) {
        self.happens(Event::Media(report));
    }

    fn reload(&mut self, config: Arc<Config>) {
        self.asks = asks(&config);
        self.happens(Event::Reload(config));
    }

    fn happens(&mut self, event: Event) {
        self.coming.push_back(event);
        self.run();
    }

    fn arrive(&mut self, flow: Flow, message: Message) {
        let lost = flow.transport == Transport::Udp && self.random.below(100) < self.loss;
        if !lost {
            self.settles(flow.trunk, &message);
            self.coming.push_back(Event::Received { flow, message });
        }
    }

    /// Everything that is on its way arrives, and what follows from it.
    fn run(&mut self) {
        for _ in 0..10_000 {
            let Some(event) = self.coming.pop_front() else { return };
            let mut out = Vec::new();
            self.switch.handle(self.now, event, &mut out);
            out.into_iter().for_each(|output| self.carry_out(output));
        }
        panic!("the world does not come to rest");
    }

    /// Lets time pass, every timer at its own moment.
    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let exchange = self.exchange.as_ref().and_then(|exchange| exchange.line.timeout());
            match soonest(self.switch.timeout(), exchange).filter(|at| *at <= end.mono) {
                Some(at) if exchange == Some(at) => {
                    self.now = self.now.after(at.since(self.now.mono));
                    self.on_line(|line, now, out| line.tick(now, out));
                    self.run();
                }
                Some(at) => self.tick(at),
                None => break,
            }
        }
        self.now = end;
    }

    fn tick(&mut self, at: Instant) {
        self.now = self.now.after(at.since(self.now.mono));
        self.happens(Event::Tick);
        assert!(self.switch.timeout().is_none_or(|next| next > at), "a timer that stays due");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { hop, message, ticket } => {
                let trunk = hop.trunk();
                self.owes(trunk, &message);
                if self.unreachable.contains(&trunk) {
                    let why = "connection refused".into();
                    self.coming.extend(ticket.map(|ticket| Event::Unsent { ticket, why }));
                } else if hop.transport() != Transport::Udp || self.random.below(100) >= self.loss {
                    self.delivered(trunk, message);
                }
            }
            Output::Frame(span, octets) if span == line::SPAN => {
                self.on_line(|line, now, out| line.receive(now, 0, &octets, out));
            }
            // Another line has nobody at its far end.
            Output::Frame(..) => {}
            Output::Media(order) => self.ordered(order),
            Output::Report(report) => {
                self.began += usize::from(matches!(report, Report::Began { .. }));
                self.ended += usize::from(matches!(report, Report::Ended(_)));
                self.reports.push(report);
            }
        }
    }

    /// The switch waits for a telephone's answer from now on, whether or not its own message gets through.
    fn owes(&mut self, trunk: TrunkId, message: &Message) {
        let now = self.now.mono;
        let invites = message.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let accepts = message.status().is_some_and(|status| (200..300).contains(&status));
        let Some(id) = self.known(trunk, message).filter(|_| invites) else { return };
        let what = usize::from(accepts);
        if accepts || message.is(Method::Invite) {
            self.phones[id].owes[what].get_or_insert(now);
        }
    }

    /// A telephone's message that reaches the switch is what that waited for.
    fn settles(&mut self, trunk: TrunkId, message: &Message) {
        let (Some(id), Ok(cseq)) = (self.known(trunk, message), message.cseq()) else { return };
        let (now, phone) = (self.now.mono, &mut self.phones[id]);
        let what = match message.status() {
            Some(200..) if cseq.method == Method::Invite => 0,
            None if message.is(Method::Ack) && phone.accepted == Some(cseq.number) => 1,
            _ => return,
        };
        phone.failed |= phone.owes[what].take().is_some_and(|since| now.since(since) >= LIFETIME);
    }

    /// Has the switch waited for this telephone in vain?
    fn failed(&self, id: Id) -> bool {
        let phone = &self.phones[id];
        let late = |since: &Instant| self.now.mono.since(*since) >= LIFETIME;
        phone.failed || phone.owes.iter().flatten().any(late)
    }

    fn known(&self, trunk: TrunkId, message: &Message) -> Option<Id> {
        let call_id = message.call_id().ok()?;
        self.phones.iter().rposition(|phone| phone.call_id == call_id && phone.trunk == trunk)
    }

    fn ordered(&mut self, order: MediaOrder) {
        match order {
            MediaOrder::Open(id) => {
                self.log.push("open".into());
                assert_eq!(self.ports.insert(id, Ports::Open), None, "opened twice");
                match self.engine {
                    Engine::Opens => self.coming.push_back(self.opened(id)),
                    Engine::Refuses => {
                        let report = MediaReport::Refused(id, "all ports are taken".into());
                        self.coming.push_back(Event::Media(report));
                    }
                    Engine::Sleeps => self.unsaid.push_back(self.opened(id)),
                }
            }
            MediaOrder::Apply(id, session) => {
                assert_eq!(self.ports.get(&id), Some(&Ports::Open), "media without ports");
                self.sessions.insert(id, *session);
            }
            MediaOrder::Press(id, side, digit, length) => {
                assert_eq!(self.ports.get(&id), Some(&Ports::Open), "a digit without ports");
                self.log.push(format!("press:{side:?}:{}:{}", digit.key(), length.as_millis()));
            }
            MediaOrder::Close(id) => {
                self.log.push("close".into());
                assert_eq!(self.ports.insert(id, Ports::Closed), Some(Ports::Open), "closed what is not open");
                let closed = Event::Media(MediaReport::Closed(id, Default::default()));
                let to = if self.engine == Engine::Sleeps { &mut self.unsaid } else { &mut self.coming };
                to.push_back(closed);
            }
        }
    }

    fn opened(&self, id: SessionId) -> Event {
        let first = 40_000 + (id.0 % 5000) as u16 * 4;
        Event::Media(MediaReport::Opened(id, [first, first + 2]))
    }

    fn engine_wakes(&mut self) {
        self.engine = Engine::Opens;
        self.coming.append(&mut self.unsaid);
        self.run();
    }

    /// The last call's place in the media plane.
    fn session(&self) -> SessionId {
        *self.ports.keys().next_back().unwrap()
    }

    /// A message reached its trunk.
    fn delivered(&mut self, trunk: TrunkId, message: Message) {
        let via = message.via().unwrap();
        assert!(!via.host.is_empty(), "a Via without a name");
        let dated = message.is(Method::Invite) || message.status().is_some_and(|status| status >= 200);
        // What is repeated keeps its date.
        let age = message.date().map(|date| self.now.wall.duration_since(date).as_secs());
        assert!(!dated || age.is_some_and(|age| (0..64).contains(&age)), "{message:?} is not of this moment: {age:?}");
        let known = self.known(trunk, &message);
        match (message.status(), message.method(), known) {
            (Some(status), _, Some(id)) => self.hear_response(id, status, message),
            (None, Some(Method::Options), None) => self.asked_whether_there(trunk, &message),
            (None, Some(method), known) => self.hear_request(trunk, known, method, message),
            (..) => {}
        }
    }

    fn asked_whether_there(&mut self, trunk: TrunkId, options: &Message) {
        if !self.deaf.contains(&trunk) {
            let mut answer = Message::response(200, "OK");
            for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
                answer = answer.copy(options, name);
            }
            self.arrive(flow(trunk), answer.empty_body());
        }
    }

    fn hear_response(&mut self, id: Id, status: u16, response: Message) {
        let cseq = response.cseq().unwrap();
        let phone = &mut self.phones[id];
        if cseq.method != Method::Invite {
            if status >= 300 {
                self.log.push(format!("{}:{status}/{}", name(phone.trunk), cseq.method));
            }
            return phone.told.push(response);
        }
        self.log.push(shown(phone.trunk, &status.to_string(), &response));
        phone.accepted = (200..300).contains(&status).then_some(cseq.number).or(phone.accepted);
        if response.tag(Name::To).is_some() && (101..300).contains(&status) {
            phone.far = response.text(Name::To).unwrap().to_owned();
            let contact = response.address(Name::Contact).unwrap();
            phone.target = contact.uri.as_str().to_owned();
        }
        if status >= 300 {
            // The ACK of a refusal is the transaction's own affair.
            let branch = phone.invited.0.clone();
            let before = std::mem::replace(&mut phone.far, response.text(Name::To).unwrap().to_owned());
            let (own, far, call_id) = (&phone.own, &phone.far, &phone.call_id);
            let flow = flow(phone.trunk);
            let headers = format!(
                "Via: SIP/2.0/{} {};branch=z9hG4bK{branch}\nFrom: {own}\nTo: {far}\nCall-ID: {call_id}\nCSeq: {} ACK\n",
                flow.transport, flow.remote, cseq.number
            );
            let ack = message(&format!("ACK {} SIP/2.0", phone.target), &headers, "");
            phone.far = before;
            phone.told.push(response);
            return self.arrive(flow, ack);
        }
        phone.told.push(response);
    }

    fn hear_request(&mut self, trunk: TrunkId, known: Option<Id>, method: Method, request: Message) {
        self.log.push(shown(trunk, method.text(), &request));
        let id = known.unwrap_or_else(|| self.ring(trunk, &request));
        let phone = &mut self.phones[id];
        phone.asked.insert(method, request.clone());
        match method {
            Method::Invite => {
                phone.far = request.text(Name::From).unwrap().to_owned();
                phone.done = false;
            }
            Method::Prack => self.tell(id, method, 200, "far", "", ""),
            Method::Notify if self.hears_notify => self.tell(id, method, 200, "far", "", ""),
            Method::Bye if !self.rude => self.tell(id, method, 200, "far", "", ""),
            Method::Cancel if !self.rude => {
                let done = phone.done;
                self.tell(id, method, 200, "far", "", "");
                if !done {
                    self.tell(id, Method::Invite, 487, "far", "", "");
                }
            }
            _ => {}
        }
    }

    /// A new call reached a telephone.
    fn ring(&mut self, trunk: TrunkId, invite: &Message) -> Id {
        let contact = invite.address(Name::Contact).unwrap();
        self.phones.push(Phone {
            trunk,
            call_id: invite.call_id().unwrap().to_owned(),
            own: invite.text(Name::To).unwrap().to_owned(),
            far: invite.text(Name::From).unwrap().to_owned(),
            target: contact.uri.as_str().to_owned(),
            cseq: 100,
            invited: (String::new(), 0),
            asked: HashMap::new(),
            told: Vec::new(),
            done: false,
            accepted: None,
            owes: [Some(self.now.mono), None],
            failed: false,
        });
        self.phones.len() - 1
    }

    // Whole passages.

    /// A call from one trunk that another answers: both telephones. What was seen is forgotten.
    fn talk(&mut self, from: TrunkId, to: TrunkId) -> (Id, Id) {
        let sdp = |trunk| if trunk == LYNC { secret("0 8") } else { plain("0 8") };
        let number = if to == GW3 { "+442075550100" } else { "+13125556789" };
        let a = self.invite_to(from, number, "", &sdp(from));
        let b = self.rung(to);
        self.answer(b, 200, &sdp(to));
        self.ack(a, "");
        self.seen();
        (a, b)
    }

    /// After all timers: nothing is left of any call, and everything happened exactly once.
    fn rest(&mut self) {
        self.pass(seconds(1200));
        assert!(self.snapshot().calls.is_empty(), "{:#?}", self.snapshot().calls);
        assert_eq!(self.switch.live_calls(), 0);
        assert_eq!(self.began, self.ended, "every call ends once");
        let open: Vec<_> = self.ports.iter().filter(|(_, ports)| **ports == Ports::Open).collect();
        assert!(open.is_empty(), "ports never came home: {open:?}");
        assert!(self.snapshot().trunks.iter().all(|trunk| trunk.calls == [0, 0]), "{:#?}", self.snapshot().trunks);
        if !self.asks {
            assert_eq!(self.snapshot().transactions, 0);
            assert_eq!(self.switch.timeout(), None);
        }
        self.nobody_is_known();
    }

    /// No Call-ID leads to a call any more: a request in its dialog gets 481 and is in no ladder.
    fn nobody_is_known(&mut self) {
        let loss = std::mem::take(&mut self.loss);
        let before = self.reports.len();
        for id in 0..self.phones.len() {
            if !self.phones[id].far.contains(";tag=") {
                self.phones[id].far.push_str(";tag=gone");
            }
            self.phones[id].cseq += 1000;
            self.ask(id, Method::Info, "", "");
            let status = self.phones[id].told.last().and_then(Message::status);
            let removed = self.unreachable.contains(&self.phones[id].trunk);
            assert!(removed || status == Some(481), "{status:?}");
        }
        let known = self.reports[before..].iter().filter(|report| matches!(report, Report::Message { .. })).count();
        assert_eq!(known, 0, "a Call-ID is still known");
        self.pass(seconds(60));
        self.loss = loss;
    }
}

fn shown(trunk: TrunkId, what: &str, message: &Message) -> String {
    if let Some(status) = fragment_status(message.body()) {
        let last = header(message, Name::SubscriptionState).starts_with("terminated");
        return format!("{}:{what}={status}{}", name(trunk), if last { "!" } else { "" });
    }
    let sdp = if message.body().is_empty() {
        ""
    } else {
        if message.text(Name::ContentType) == Some("application/sdp") { "+sdp" } else { "+body" }
    };
    format!("{}:{what}{sdp}", name(trunk))
}

fn sdp_of(trunk: TrunkId) -> String {
    if trunk == LYNC { secret("0 8 101") } else { plain("8 0 101") }
}

fn header(message: &Message, name: Name) -> &str {
    message.text(name).unwrap_or_default()
}
