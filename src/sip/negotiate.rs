//! Offer and answer (RFC 3264) in both dialects, with SRTP keys in the text (RFC 4568).
//!
//! ```text
//!              we ask                                 the peer asks
//! offer()  ->  our text, kept as Offered    wish()   ->  what the peer would like
//! accept() ->  the peer's answer: Stream    answer() ->  our text and the Stream
//! ```
//!
//! How SRTP is offered and chosen ([MS-SDPEXT], RFC 5939):
//!
//! | SRTPMode     | our offer                            | an offer taken                  | our answer |
//! |--------------|--------------------------------------|---------------------------------|------------|
//! | Required     | RTP/SAVP, crypto                     | SAVP + crypto, AVP + crypto     | RTP/SAVP   |
//! | Optional     | RTP/AVP, crypto, tcap/pcfg RTP/SAVP  | any; SRTP where there is a key  | by choice  |
//! | NotSupported | RTP/AVP                              | AVP; its crypto lines ignored   | RTP/AVP    |

mod refusal;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use refusal::{Reason, Refusal, Said, Warning};

use crate::config::{SrtpMode, Trunk, TrunkKind};
use crate::leg::{Terms, Wish};
use crate::random::Random;
use crate::session::{Codec, Direction, Keys, Remote, Srtp, Stream, Watch};
use crate::wire::sdp::{self, AddressFault, Audio, Crypto, Description, Encryption, Profile, Text};

/// A silent peer counts as gone after this long (Microsoft's rule for missing RTCP).
const SILENCE: Duration = Duration::from_secs(30);
/// Packet time where nobody names one.
const PTIME_MS: u8 = 20;
/// The number of telephone-event in our offers.
const TELEPHONE_EVENT: u8 = 101;
/// The number of the one crypto line in our offers.
const TAG: u32 = 1;

/// Which peers read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Hold is `a=inactive` and nothing else.
    Microsoft,
    /// RFC 3264 as it stands.
    Gateway,
}

impl Dialect {
    /// The direction as this dialect can say it.
    fn spoken(self, direction: Direction) -> Direction {
        match (self, direction) {
            (Dialect::Microsoft, Direction::SendOnly | Direction::RecvOnly) => Direction::Inactive,
            (_, direction) => direction,
        }
    }
}

/// What a trunk asks of every offer and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How the peer is spoken to.
    pub dialect: Dialect,
    /// May, must or must not media be encrypted?
    pub srtp: SrtpMode,
    /// May the peer's address differ from what it signalled?
    pub latch: bool,
    /// Is a live call watched for silence?
    pub watch_live: bool,
    /// Is a held call?
    pub watch_held: bool,
}

impl Policy {
    /// As the trunk is configured. Keys in the clear protect nothing: without TLS there is no SRTP,
    /// whatever SRTPMode says.
    pub fn of(trunk: &Trunk, tls: bool) -> Policy {
        Policy {
            dialect: match trunk.kind {
                TrunkKind::Microsoft(_) => Dialect::Microsoft,
                TrunkKind::Gateway => Dialect::Gateway,
            },
            srtp: if tls { trunk.srtp } else { SrtpMode::NotSupported },
            latch: trunk.switches.enable_rtp_latching,
            watch_live: trunk.switches.rtcp_active_calls,
            watch_held: trunk.switches.rtcp_calls_on_hold,
        }
    }

    /// Reads what the peer sent as an offer or an answer.
    pub fn read(&self, said: Said, octets: &[u8]) -> Result<Description, Refusal> {
        Description::parse(octets).map_err(|error| self.refuse(said, Reason::Unreadable(error)))
    }

    fn refuse(&self, said: Said, reason: Reason) -> Refusal {
        Refusal { reason, peer: self.dialect, said }
    }

    fn watch(&self, direction: Direction) -> Option<Watch> {
        let watched = if direction.receives() { self.watch_live } else { self.watch_held };
        watched.then_some(Watch { limit: SILENCE })
    }
}

/// Our end of one dialog's media: what stays the same from one offer or answer to the next. Each
/// early dialog of a fork has its own.
#[derive(Clone, Debug)]
pub struct Local {
    session: u64,
    version: u64,
    keys: Keys,
    lines: Vec<Slot>,
    telephone_event: u8,
    rtcp_mux: bool,
    last: Option<Text>,
}

/// A media line of the dialog. None ever disappears (RFC 3264 section 8).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Ours,
    Refused { media: String, proto: String, format: String },
}

impl Local {
    /// The beginning of a dialog: fresh keys, nothing said yet.
    pub fn new(random: &mut Random) -> Local {
        // Half of what 32 bits hold: there are peers that read the number as signed.
        let session = 1 + random.below(i32::MAX as u64);
        Local {
            session,
            version: 0,
            keys: sdp::draw(random),
            lines: vec![Slot::Ours],
            telephone_event: TELEPHONE_EVENT,
            rtcp_mux: false,
            last: None,
        }
    }

    /// Keeps what an answer of ours settles for the offers that follow: media lines and the numbers
    /// of formats never change their meaning (RFC 3264 section 8).
    fn settle(&mut self, offer: &Description, agreed: &Agreed<'_>) {
        let index = agreed.audio.index;
        self.lines = offer.lines().enumerate().map(|(at, line)| slot(line, at == index)).collect();
        let dynamic = |number: &u8| *number >= 96;
        self.telephone_event = named(&agreed.audio, "telephone-event").filter(dynamic).unwrap_or(self.telephone_event);
        self.rtcp_mux = agreed.audio.rtcp_mux();
    }

    /// Renders; the version counts up when the text differs from the one before.
    fn say(&mut self, ours: &Line<'_>) -> Text {
        let repeated = Text(self.render(self.version, ours));
        if self.last.as_ref() != Some(&repeated) {
            self.version += 1;
            self.last = Some(Text(self.render(self.version, ours)));
        }
        self.last.clone().unwrap_or(repeated)
    }

    fn render(&self, version: u64, ours: &Line<'_>) -> String {
        let ip = ours.local.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let session = self.session;
        let mut out =
            format!("v=0\r\no=- {session} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n");
        for line in &self.lines {
            match line {
                Slot::Ours => out.push_str(&ours.render()),
                // Writing to a string cannot fail.
                Slot::Refused { media, proto, format } => _ = write!(out, "m={media} 0 {proto} {format}\r\n"),
            }
        }
        out
    }

    /// Our media line among all lines.
    fn index(&self) -> usize {
        self.lines.iter().position(|line| *line == Slot::Ours).unwrap_or(0)
    }
}

/// All that our media line says, in an offer or an answer.
struct Line<'a> {
    local: SocketAddr,
    profile: Profile,
    codecs: &'a [(Codec, u8)],
    telephone_event: Option<u8>,
    direction: Direction,
    rtcp: Rtcp,
    crypto: Option<Crypto>,
    configuration: Configuration,
}

/// The port of our RTCP.
enum Rtcp {
    /// One above RTP.
    Above,
    /// That of RTP (RFC 5761).
    Shared,
    /// An offer: whichever the peer prefers.
    Either,
}

/// RFC 5939 attributes of our media line.
enum Configuration {
    None,
    /// An offer: could be RTP/SAVP as well.
    Potential,
    /// An answer: this one was chosen.
    Chosen(String),
}

impl Line<'_> {
    fn render(&self) -> String {
        let port = self.local.port();
        let events = self.telephone_event.map(|number| format!(" {number}")).unwrap_or_default();
        let numbers: String = self.codecs.iter().map(|(_, number)| format!(" {number}")).collect();
        let mut lines = vec![format!("m=audio {port} {}{numbers}{events}", self.profile.name())];
        lines.extend(self.configuration.render());
        lines.push(self.rtcp.render(port));
        lines.extend(self.crypto.map(|crypto| format!("a=crypto:{}", crypto.wire())));
        lines.extend(
            self.codecs
                .iter()
                .map(|(codec, number)| format!("a=rtpmap:{number} {}/{}", codec.name(), codec.clock_rate())),
        );
        if let Some(number) = self.telephone_event {
            lines.push(format!("a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-16"));
        }
        lines.push(format!("a=ptime:{PTIME_MS}\r\na={}", self.direction.attribute()));
        lines.join("\r\n") + "\r\n"
    }
}

impl Rtcp {
    fn render(&self, rtp: u16) -> String {
        let above = rtp.saturating_add(1);
        match self {
            Rtcp::Above => format!("a=rtcp:{above}"),
            Rtcp::Shared => "a=rtcp-mux".into(),
            Rtcp::Either => format!("a=rtcp:{above}\r\na=rtcp-mux"),
        }
    }
}

impl Configuration {
    fn render(&self) -> Option<String> {
        match self {
            Configuration::None => None,
            Configuration::Potential => Some("a=tcap:1 RTP/SAVP\r\na=pcfg:1 t=1".into()),
            Configuration::Chosen(chosen) => Some(format!("a=acfg:{chosen}")),
        }
    }
}

/// An offer of ours that waits for its answer.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The description to send.
    pub text: Text,
    terms: Terms,
    direction: Direction,
    srtp: SrtpMode,
    keys: Keys,
    rtcp_mux: bool,
    line: usize,
}

/// Offers what `terms` allow.
pub fn offer(policy: &Policy, local: &mut Local, terms: &Terms) -> Offered {
    let codecs: Vec<_> = terms.codecs.iter().map(|codec| (*codec, codec.payload_type())).collect();
    let direction = policy.dialect.spoken(terms.direction);
    let keys = Keys { mki: None, ..local.keys };
    let text = local.say(&Line {
        local: terms.local,
        profile: Profile { secure: policy.srtp == SrtpMode::Required, feedback: false },
        codecs: &codecs,
        telephone_event: terms.telephone_event.then_some(local.telephone_event),
        direction,
        rtcp: if local.rtcp_mux { Rtcp::Either } else { Rtcp::Above },
        crypto: (policy.srtp != SrtpMode::NotSupported).then_some(Crypto { tag: TAG, keys }),
        configuration: match policy.srtp {
            SrtpMode::Optional => Configuration::Potential,
            SrtpMode::Required | SrtpMode::NotSupported => Configuration::None,
        },
    });
    let (rtcp_mux, line) = (local.rtcp_mux, local.index());
    Offered { text, terms: terms.clone(), direction, srtp: policy.srtp, keys, rtcp_mux, line }
}

/// Takes the peer's answer to our offer.
pub fn accept(policy: &Policy, offered: &Offered, answer: &Description) -> Result<Stream, Refusal> {
    accepted(policy, offered, answer).map_err(|reason| policy.refuse(Said::Answer, reason))
}

fn accepted(policy: &Policy, offered: &Offered, answer: &Description) -> Result<Stream, Reason> {
    let audio = answer.audio_at(offered.line).ok_or(Reason::NoAudio)?;
    let profile = audio.profile().ok_or_else(|| Reason::transport(audio.proto()))?;
    let remote = remote(&audio, offered.terms.local.ip(), offered.rtcp_mux)?;
    let receive = answered_key(offered.srtp, profile, &audio)?;
    let spoken = |codec: &(Codec, u8)| offered.terms.codecs.contains(&codec.0);
    let codec = codecs(&audio).find(spoken).ok_or_else(|| Reason::no_common_codec(&audio, &offered.terms.codecs))?;
    Ok(Stream {
        telephone_event: named(&audio, "telephone-event").filter(|_| offered.terms.telephone_event),
        srtp: receive.map(|receive| Srtp { send: offered.keys, receive }),
        ..stream(policy, &audio, remote, codec, offered.direction)
    })
}

/// The peer's key from an answer; `None` is plain media.
fn answered_key(offered: SrtpMode, profile: Profile, audio: &Audio<'_>) -> Result<Option<Keys>, Reason> {
    let ours = audio.crypto().find(|line| line.tag == TAG).map(|line| line.keys);
    match (offered, profile.secure) {
        (SrtpMode::Required, false) | (SrtpMode::NotSupported, true) => Err(Reason::ProfileChanged(profile)),
        (SrtpMode::NotSupported, false) => Ok(None),
        // A key in an answer is a choice, whatever the profile beside it.
        (SrtpMode::Optional, false) => Ok(ours),
        (SrtpMode::Required | SrtpMode::Optional, true) => match (ours, audio.crypto().next()) {
            (Some(keys), _) => Ok(Some(keys)),
            (None, Some(line)) => Err(Reason::ForeignTag(line.tag)),
            (None, None) => Err(Reason::no_usable_key(audio)),
        },
    }
}

/// What the peer would like, by its offer.
pub fn wish(policy: &Policy, offer: &Description) -> Result<Wish, Refusal> {
    first_usable(policy, offer, |audio| {
        usable(policy, audio)?;
        let codecs: Vec<_> = codecs(audio).map(|(codec, _)| codec).collect();
        match codecs.is_empty() {
            true => Err(Reason::no_common_codec(audio, &Codec::ALL)),
            false => Ok(Wish { codecs, direction: wanted(audio) }),
        }
    })
}

/// Our answer, and what it agrees on.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The description to send.
    pub text: Text,
    /// What is agreed once it is sent.
    pub stream: Stream,
}

/// Answers the peer's offer within `terms`: one codec, so that nobody changes it in mid-stream.
pub fn answer(policy: &Policy, local: &mut Local, terms: &Terms, offer: &Description) -> Result<Answered, Refusal> {
    let agreed = first_usable(policy, offer, |audio| agree(policy, terms, audio))?;
    local.settle(offer, &agreed);
    let audio = &agreed.audio;
    let send = agreed.crypto.map(|theirs| Keys { mki: theirs.keys.mki, ..local.keys });
    let direction = policy.dialect.spoken(terms.direction.and(wanted(audio)));
    let telephone_event = named(audio, "telephone-event").filter(|_| terms.telephone_event);
    let secure = agreed.crypto.is_some();
    let potential =
        audio.secure_configuration().filter(|_| secure && !agreed.profile.secure && !agreed.profile.feedback);
    let text = local.say(&Line {
        local: terms.local,
        profile: Profile { secure, ..agreed.profile },
        codecs: &[agreed.codec],
        telephone_event,
        direction,
        rtcp: if audio.rtcp_mux() { Rtcp::Shared } else { Rtcp::Above },
        crypto: agreed.crypto.zip(send).map(|(theirs, keys)| Crypto { tag: theirs.tag, keys }),
        configuration: potential.map_or(Configuration::None, Configuration::Chosen),
    });
    let srtp = agreed.crypto.zip(send).map(|(theirs, send)| Srtp { send, receive: theirs.keys });
    let stream = Stream { telephone_event, srtp, ..stream(policy, audio, agreed.remote, agreed.codec, direction) };
    Ok(Answered { text, stream })
}

/// What an audio stream of an offer comes to.
struct Agreed<'a> {
    audio: Audio<'a>,
    profile: Profile,
    remote: Remote,
    crypto: Option<Crypto>,
    codec: (Codec, u8),
}

fn agree<'a>(policy: &Policy, terms: &Terms, audio: &Audio<'a>) -> Result<Agreed<'a>, Reason> {
    let (profile, crypto) = usable(policy, audio)?;
    let remote = remote(audio, terms.local.ip(), true)?;
    let best = terms.codecs.iter().find_map(|allowed| codecs(audio).find(|(codec, _)| codec == allowed));
    let codec = best.ok_or_else(|| Reason::no_common_codec(audio, &terms.codecs))?;
    Ok(Agreed { audio: *audio, profile, remote, crypto, codec })
}

/// The first audio stream that `look` takes; if none, why the first one was not.
fn first_usable<'a, T>(
    policy: &Policy,
    offer: &'a Description,
    mut look: impl FnMut(&Audio<'a>) -> Result<T, Reason>,
) -> Result<T, Refusal> {
    let mut why = None;
    for audio in offer.audio() {
        match look(&audio) {
            Ok(found) => return Ok(found),
            Err(reason) => _ = why.get_or_insert(reason),
        }
    }
    Err(policy.refuse(Said::Offer, why.unwrap_or(Reason::NoAudio)))
}

/// Can this stream be spoken at all under the policy? Its profile, and the crypto line to take.
fn usable(policy: &Policy, audio: &Audio<'_>) -> Result<(Profile, Option<Crypto>), Reason> {
    let profile = audio.profile().ok_or_else(|| Reason::transport(audio.proto()))?;
    audio.rtp().map_err(Reason::Address)?;
    Ok((profile, offered_key(policy.srtp, profile, audio)?))
}

/// The crypto line to take from an offer, one without MKI before one with; `None` is plain media.
fn offered_key(mode: SrtpMode, profile: Profile, audio: &Audio<'_>) -> Result<Option<Crypto>, Reason> {
    let demanded = profile.secure || audio.encryption() == Some(Encryption::Required);
    let rejected = !demanded && audio.encryption() == Some(Encryption::Rejected);
    let best = audio.crypto().min_by_key(|line| line.keys.mki.is_some()).filter(|_| !rejected);
    match mode {
        SrtpMode::NotSupported if demanded => Err(Reason::EncryptionDemanded),
        SrtpMode::NotSupported => Ok(None),
        SrtpMode::Optional if !demanded => Ok(best),
        SrtpMode::Required if rejected || (!demanded && audio.suites().next().is_none()) => Err(Reason::NotEncrypted),
        SrtpMode::Required | SrtpMode::Optional => best.map(Some).ok_or_else(|| Reason::no_usable_key(audio)),
    }
}

fn slot(line: sdp::Line<'_>, ours: bool) -> Slot {
    if ours {
        return Slot::Ours;
    }
    let format = line.formats.split_ascii_whitespace().next().unwrap_or("0");
    Slot::Refused { media: line.media.into(), proto: line.proto.into(), format: format.into() }
}

/// Which way the peer would have sound go, seen from us. An unspecified address takes nothing
/// (RFC 3264 section 8.4).
fn wanted(audio: &Audio<'_>) -> Direction {
    let held = audio.rtp().is_ok_and(|rtp| rtp.ip().is_unspecified());
    let written = audio.direction().reversed();
    if held { written.and(Direction::RecvOnly) } else { written }
}

fn remote(audio: &Audio<'_>, local: IpAddr, may_share: bool) -> Result<Remote, Reason> {
    let rtp = audio.rtp().map_err(Reason::Address)?;
    let apart = audio.rtcp().map_err(Reason::Address)?;
    let rtcp = if may_share && audio.rtcp_mux() { rtp } else { apart };
    let foreign = rtp.is_ipv4() != local.is_ipv4() || rtcp.is_ipv4() != local.is_ipv4();
    if foreign { Err(Reason::Address(AddressFault::Family)) } else { Ok(Remote { rtp, rtcp }) }
}

/// The codecs that the media plane knows, with the peer's numbers, in the peer's order.
fn codecs<'a>(audio: &Audio<'a>) -> impl Iterator<Item = (Codec, u8)> + use<'a> {
    audio.formats().filter_map(|format| {
        let codec = Codec::ALL.into_iter().find(|codec| format.is(codec.name()))?;
        Some((codec, format.payload_type))
    })
}

fn named(audio: &Audio<'_>, name: &str) -> Option<u8> {
    audio.formats().find(|format| format.is(name)).map(|format| format.payload_type)
}

/// The stream without its keys and events. `direction` is what we said.
fn stream(policy: &Policy, audio: &Audio<'_>, remote: Remote, codec: (Codec, u8), direction: Direction) -> Stream {
    let direction = direction.and(wanted(audio));
    Stream {
        remote,
        latch: policy.latch,
        direction,
        codec: codec.0,
        payload_type: codec.1,
        telephone_event: None,
        comfort_noise: named(audio, "CN"),
        ptime_ms: audio.ptime_ms().unwrap_or(PTIME_MS),
        srtp: None,
        watch: policy.watch(direction),
    }
}

#[cfg(test)]
mod tests;
