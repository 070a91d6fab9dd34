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
//!
//! Toward Teams we are an ICE-lite agent with one host candidate a port (RFC 8839). Every offer of ours says so: Teams refuses
//! one that does not where media bypasses its servers, and passes it over where not. An offer without ICE is answered
//! without. Credentials stay those of the dialog's first description until the peer's change, which is an ICE restart.

mod material;
mod refusal;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use refusal::{Reason, Refusal, Said, Warning};

use material::Material;

use crate::config::{Dtmf, Profile as Generation, SrtpMode, Trunk, TrunkKind};
use crate::leg::{Terms, Wish};
use crate::private::Secret;
use crate::random::Random;
use crate::session::{
    Addresses, Codec, Credentials, Digits, Direction, Ice, Keys, Remote, Srtp, Stream, Suites, TelephoneEvent, Watch,
};
use crate::wire::sdp::{self, AddressFault, Audio, Candidate, Crypto, Description, Encryption, Profile, Text};

/// A silent peer counts as gone after this long (Microsoft's rule for missing RTCP).
const SILENCE: Duration = Duration::from_secs(30);
/// Packet time where nobody names one.
const PTIME_MS: u8 = 20;
/// The static number of comfort noise (RFC 3389 section 4), at 8 kHz.
const COMFORT_NOISE: u8 = 13;
/// Where dynamic numbers begin (RFC 3551 section 6).
const DYNAMIC: u8 = 96;
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
    /// In which suites, the best one first?
    pub suites: Suites,
    /// May the peer's address differ from what it signalled?
    pub latch: bool,
    /// May the peer check the ways to us (ICE-lite)?
    pub ice: bool,
    /// How digits travel.
    pub dtmf: Dtmf,
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
                TrunkKind::Gateway | TrunkKind::Isdn => Dialect::Gateway,
            },
            srtp: if tls { trunk.srtp } else { SrtpMode::NotSupported },
            suites: trunk.suites,
            latch: trunk.switches.enable_rtp_latching,
            ice: trunk.kind == TrunkKind::Microsoft(Generation::Teams),
            dtmf: trunk.switches.dtmf,
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

    fn offers_events(&self, terms: &Terms) -> bool {
        terms.telephone_event && self.dtmf == Dtmf::Auto
    }

    /// How digits travel, given the events that were agreed on.
    fn digits(&self, events: Option<TelephoneEvent>) -> Digits {
        match (self.dtmf, events) {
            (Dtmf::Info, _) => Digits::Info,
            (_, Some(events)) => Digits::Events(events),
            (_, None) => Digits::Tones,
        }
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
    material: Material,
    lines: Vec<Slot>,
    numbers: Numbers,
    rtcp_mux: bool,
    ice: Checked,
    last: Option<Text>,
}

/// What the checks of the peer are made under.
#[derive(Clone, Debug)]
struct Checked {
    /// What our next credentials are drawn from.
    seed: Secret<[u8; 32]>,
    ours: Option<Credentials>,
    theirs: Option<Credentials>,
}

impl Checked {
    fn ours(&mut self) -> Credentials {
        if let Some(ours) = &self.ours {
            return ours.clone();
        }
        let mut random = Random::seeded(self.seed.0);
        self.seed = Secret(random.octets());
        self.ours.insert(sdp::draw_credentials(&mut random)).clone()
    }

    /// Answers an offer: other credentials than before are a restart (RFC 8839 section 4.4.1.1.1).
    fn answer(&mut self, theirs: Credentials) -> Ice {
        if self.theirs.as_ref().is_some_and(|known| *known != theirs) {
            self.ours = None;
        }
        self.theirs = Some(theirs.clone());
        Ice { local: self.ours(), remote: theirs }
    }
}

/// The dynamic numbers of our formats in one dialog: one that was used keeps its meaning (RFC 3264 section 8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    opus: u8,
    /// Of events that are timed at 8 kHz, and at 48 kHz beside Opus.
    events: [u8; 2],
}

impl Numbers {
    const FIRST: Numbers = Numbers { opus: 111, events: [101, 110] };
    const EVENT_CLOCKS: [u32; 2] = [8000, 48_000];

    fn codec(self, codec: Codec) -> u8 {
        match codec {
            Codec::Opus => self.opus,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => codec.payload_type(),
        }
    }

    /// The events to offer beside these codecs; those at 8 kHz are known to everybody.
    fn events(self, codecs: &[Codec]) -> Vec<TelephoneEvent> {
        let wide = codecs.contains(&Codec::Opus);
        let clocks = &Numbers::EVENT_CLOCKS[..if wide { 2 } else { 1 }];
        let number = |(payload_type, clock_rate): (u8, &u32)| TelephoneEvent { payload_type, clock_rate: *clock_rate };
        self.events.into_iter().zip(clocks).map(number).collect()
    }

    /// Takes over the peer's numbers, and leaves those that it uses for something else.
    fn settle(&mut self, audio: &Audio<'_>) {
        let dynamic = |number: &u8| *number >= DYNAMIC;
        let opus = codecs(audio).find(|(codec, _)| *codec == Codec::Opus).map(|(_, number)| number);
        let events = Numbers::EVENT_CLOCKS.map(|clock| named(audio, "telephone-event", clock));
        let taken: Vec<u8> = audio.formats().map(|format| format.payload_type).collect();
        let mut used = Vec::new();
        let wanted = [(&mut self.opus, opus)].into_iter().chain(self.events.iter_mut().zip(events));
        for (ours, theirs) in wanted {
            let free = |number: &u8| !taken.contains(number) && !used.contains(number);
            *ours = theirs
                .filter(dynamic)
                .or(Some(*ours).filter(free))
                .or((DYNAMIC..128).rev().find(free))
                .unwrap_or(*ours);
            used.push(*ours);
        }
    }
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
            material: Material::draw(random),
            lines: vec![Slot::Ours],
            numbers: Numbers::FIRST,
            rtcp_mux: false,
            ice: Checked { seed: Secret(random.octets()), ours: None, theirs: None },
            last: None,
        }
    }

    /// Keeps what an answer of ours settles for the offers that follow: media lines and the numbers
    /// of formats never change their meaning (RFC 3264 section 8).
    fn settle(&mut self, offer: &Description, agreed: &Agreed<'_>) {
        let index = agreed.audio.index;
        self.lines = offer.lines().enumerate().map(|(at, line)| slot(line, at == index)).collect();
        self.numbers.settle(&agreed.audio);
        self.rtcp_mux = agreed.audio.rtcp_mux();
    }

    /// Keeps what the peer's answer settles for the offers that follow.
    pub fn accepted(&mut self, stream: &Stream) {
        self.material.agreed(stream.srtp.as_ref());
        if let Some(ice) = &stream.ice {
            self.ice.theirs = Some(ice.remote.clone());
        }
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
        if ours.ice.is_some() {
            out.push_str("a=ice-lite\r\n");
        }
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
    comfort_noise: bool,
    events: &'a [TelephoneEvent],
    direction: Direction,
    rtcp: Rtcp,
    ice: Option<Credentials>,
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
        let codecs = self.codecs.iter().map(|(_, number)| *number);
        let noise = self.comfort_noise.then_some(COMFORT_NOISE);
        let events = self.events.iter().map(|events| events.payload_type);
        let numbers: String = codecs.chain(noise).chain(events).map(|number| format!(" {number}")).collect();
        let mut lines = vec![format!("m=audio {port} {}{numbers}", self.profile.name())];
        lines.extend(self.configuration.render());
        lines.push(self.rtcp.render(port));
        lines.extend(self.ice.as_ref().map(|ours| self.candidates(ours)));
        lines.extend(self.crypto.map(|crypto| format!("a=crypto:{}", crypto.wire())));
        lines.extend(self.codecs.iter().map(|(codec, number)| format_lines(*codec, *number)));
        lines.extend(noise.map(|number| format!("a=rtpmap:{number} CN/8000")));
        lines.extend(self.events.iter().map(|TelephoneEvent { payload_type, clock_rate }| {
            format!("a=rtpmap:{payload_type} telephone-event/{clock_rate}\r\na=fmtp:{payload_type} 0-16")
        }));
        lines.push(format!("a=ptime:{PTIME_MS}\r\na={}", self.direction.attribute()));
        lines.join("\r\n") + "\r\n"
    }
}

impl Line<'_> {
    /// Our credentials and where the peer may check: RTP, and RTCP where it may have a port of its own.
    fn candidates(&self, ours: &Credentials) -> String {
        let (ip, port) = (self.local.ip(), self.local.port());
        let rtp = Candidate::host(1, SocketAddr::new(ip, port)).wire();
        let rtcp = Candidate::host(2, SocketAddr::new(ip, port.saturating_add(1))).wire();
        let Credentials { fragment, password } = ours;
        let own = format!("a=ice-ufrag:{fragment}\r\na=ice-pwd:{}\r\na=candidate:{rtp}", password.0);
        match self.rtcp {
            Rtcp::Shared => own,
            Rtcp::Above | Rtcp::Either => format!("{own}\r\na=candidate:{rtcp}"),
        }
    }
}

/// What is said of a codec under the media line. Of our Opus: it repairs losses from the packet that follows.
fn format_lines(codec: Codec, number: u8) -> String {
    let (name, clock_rate) = (codec.name(), codec.clock_rate());
    match codec {
        Codec::Opus => format!("a=rtpmap:{number} {name}/{clock_rate}/2\r\na=fmtp:{number} useinbandfec=1"),
        Codec::G722 | Codec::Pcmu | Codec::Pcma => format!("a=rtpmap:{number} {name}/{clock_rate}"),
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
    keys: Option<Keys>,
    rtcp_mux: bool,
    ice: Option<Credentials>,
    line: usize,
}

/// Offers what `terms` allow.
pub fn offer(policy: &Policy, local: &mut Local, terms: &Terms) -> Offered {
    let codecs: Vec<_> = terms.codecs.iter().map(|codec| (*codec, local.numbers.codec(*codec))).collect();
    let events = if policy.offers_events(terms) { local.numbers.events(&terms.codecs) } else { Vec::new() };
    let direction = policy.dialect.spoken(terms.direction);
    // A suite that is spoken is one that the peer knows.
    let suite = local.material.suite().or(policy.suites.first());
    let keys = suite.map(|suite| local.material.keys(suite));
    let ice = policy.ice.then(|| local.ice.ours());
    // Who checks ways checks one rather than two (RFC 5761 section 5.1.3).
    let rtcp_mux = local.rtcp_mux || ice.is_some();
    let text = local.say(&Line {
        local: terms.local,
        profile: Profile { secure: policy.srtp == SrtpMode::Required, feedback: false },
        codecs: &codecs,
        comfort_noise: terms.comfort_noise,
        events: &events,
        direction,
        rtcp: if rtcp_mux { Rtcp::Either } else { Rtcp::Above },
        ice: ice.clone(),
        crypto: keys.filter(|_| policy.srtp != SrtpMode::NotSupported).map(|keys| Crypto { tag: TAG, keys }),
        configuration: match policy.srtp {
            SrtpMode::Optional => Configuration::Potential,
            SrtpMode::Required | SrtpMode::NotSupported => Configuration::None,
        },
    });
    Offered { text, terms: terms.clone(), direction, srtp: policy.srtp, keys, rtcp_mux, ice, line: local.index() }
}

/// Takes the peer's answer to our offer.
pub fn accept(policy: &Policy, offered: &Offered, answer: &Description) -> Result<Stream, Refusal> {
    accepted(policy, offered, answer).map_err(|reason| policy.refuse(Said::Answer, reason))
}

fn accepted(policy: &Policy, offered: &Offered, answer: &Description) -> Result<Stream, Reason> {
    let audio = answer.audio_at(offered.line).ok_or(Reason::NoAudio)?;
    let profile = audio.profile().ok_or_else(|| Reason::transport(audio.proto()))?;
    let remote = remote(&audio, offered.terms.local.ip(), offered.rtcp_mux)?;
    let receive = answered_key(offered, profile, &audio)?;
    let spoken = |codec: &(Codec, u8)| offered.terms.codecs.contains(&codec.0);
    let codec = codecs(&audio).find(spoken).ok_or_else(|| Reason::no_common_codec(&audio, &offered.terms.codecs))?;
    Ok(Stream {
        digits: policy.digits(events(policy, &audio, codec.0, &offered.terms)),
        comfort_noise: noise(&audio, &offered.terms),
        srtp: receive.zip(offered.keys).map(|(receive, send)| Srtp { send, receive }),
        ice: checking(policy, &audio).zip(offered.ice.clone()).map(|(remote, local)| Box::new(Ice { local, remote })),
        ..stream(policy, &audio, remote, codec, offered.direction)
    })
}

/// The peer's key from an answer; `None` is plain media.
fn answered_key(offered: &Offered, profile: Profile, audio: &Audio<'_>) -> Result<Option<Keys>, Reason> {
    let suite = offered.keys.map(|keys| keys.suite());
    let lines = || audio.crypto().filter(|line| Some(line.keys.suite()) == suite);
    let ours = lines().find(|line| line.tag == TAG).map(|line| line.keys);
    match (offered.srtp, profile.secure) {
        (SrtpMode::Required, false) | (SrtpMode::NotSupported, true) => Err(Reason::ProfileChanged(profile)),
        (SrtpMode::NotSupported, false) => Ok(None),
        // A key in an answer is a choice, whatever the profile beside it.
        (SrtpMode::Optional, false) => Ok(ours),
        (SrtpMode::Required | SrtpMode::Optional, true) => match (ours, lines().next()) {
            (Some(keys), _) => Ok(Some(keys)),
            (None, Some(line)) => Err(Reason::ForeignTag(line.tag)),
            (None, None) => Err(Reason::no_usable_key(audio, suite)),
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
            false => Ok(Wish { codecs, direction: wanted(audio), comfort_noise: named(audio, "CN", 8000).is_some() }),
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
    let send = agreed.crypto.map(|theirs| local.material.keys(theirs.keys.suite()).marked(theirs.keys.mki()));
    let direction = policy.dialect.spoken(terms.direction.and(wanted(audio)));
    let events = events(policy, audio, agreed.codec.0, terms);
    let comfort_noise = noise(audio, terms);
    let secure = agreed.crypto.is_some();
    let ice = checking(policy, audio).map(|theirs| Box::new(local.ice.answer(theirs)));
    let potential =
        audio.secure_configuration().filter(|_| secure && !agreed.profile.secure && !agreed.profile.feedback);
    let text = local.say(&Line {
        local: terms.local,
        profile: Profile { secure, ..agreed.profile },
        codecs: &[agreed.codec],
        comfort_noise: comfort_noise.is_some(),
        events: events.as_slice(),
        direction,
        rtcp: if audio.rtcp_mux() { Rtcp::Shared } else { Rtcp::Above },
        ice: ice.as_ref().map(|ice| ice.local.clone()),
        crypto: agreed.crypto.zip(send).map(|(theirs, keys)| Crypto { tag: theirs.tag, keys }),
        configuration: potential.map_or(Configuration::None, Configuration::Chosen),
    });
    let srtp = agreed.crypto.zip(send).map(|(theirs, send)| Srtp { send, receive: theirs.keys });
    local.material.agreed(srtp.as_ref());
    let digits = policy.digits(events);
    let stream =
        Stream { digits, comfort_noise, srtp, ice, ..stream(policy, audio, agreed.remote, agreed.codec, direction) };
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
    Ok((profile, offered_key(policy, profile, audio)?))
}

/// The crypto line to take from an offer: of our best suite, and one without MKI before one with; `None` is plain media.
fn offered_key(policy: &Policy, profile: Profile, audio: &Audio<'_>) -> Result<Option<Crypto>, Reason> {
    let demanded = profile.secure || audio.encryption() == Some(Encryption::Required);
    let rejected = !demanded && audio.encryption() == Some(Encryption::Rejected);
    let allowed = audio.crypto().filter_map(|line| Some((policy.suites.place(line.keys.suite())?, line)));
    let best = allowed.min_by_key(|(place, line)| (*place, line.keys.mki().is_some())).map(|(_, line)| line);
    let best = best.filter(|_| !rejected);
    match policy.srtp {
        SrtpMode::NotSupported if demanded => Err(Reason::EncryptionDemanded),
        SrtpMode::NotSupported => Ok(None),
        SrtpMode::Optional if !demanded => Ok(best),
        SrtpMode::Required if rejected || (!demanded && audio.suites().next().is_none()) => Err(Reason::NotEncrypted),
        SrtpMode::Required | SrtpMode::Optional => {
            best.map(Some).ok_or_else(|| Reason::no_usable_key(audio, policy.suites.iter()))
        }
    }
}

fn slot(line: sdp::Line<'_>, ours: bool) -> Slot {
    if ours {
        return Slot::Ours;
    }
    let format = line.formats.split_ascii_whitespace().next().unwrap_or("0");
    Slot::Refused { media: line.media.into(), proto: line.proto.into(), format: format.into() }
}

/// The credentials of a peer that will check the ways to us. One that is lite as well checks nothing: media goes where it says.
/// Its candidates are of no use to us, and a default destination that is none of them no harm: media goes nowhere but
/// where checks come from.
fn checking(policy: &Policy, audio: &Audio<'_>) -> Option<Credentials> {
    audio.credentials().filter(|_| policy.ice && !audio.ice_lite())
}

/// Which way the peer would have sound go, seen from us. An unspecified address takes nothing (RFC 3264 section 8.4),
/// unless it stands for one that ICE has yet to find (RFC 8839 section 4.2.1.2).
fn wanted(audio: &Audio<'_>) -> Direction {
    let nowhere = |rtp: SocketAddr| rtp.ip().is_unspecified() && !(rtp.port() == 9 && audio.credentials().is_some());
    let held = audio.rtp().is_ok_and(nowhere);
    let written = audio.direction().reversed();
    if held { written.and(Direction::RecvOnly) } else { written }
}

fn remote(audio: &Audio<'_>, local: IpAddr, may_share: bool) -> Result<Remote, Reason> {
    let rtp = audio.rtp().map_err(Reason::Address)?;
    let apart = audio.rtcp().map_err(Reason::Address)?;
    let rtcp = if may_share && audio.rtcp_mux() { rtp } else { apart };
    let foreign = rtp.is_ipv4() != local.is_ipv4() || rtcp.is_ipv4() != local.is_ipv4();
    if foreign { Err(Reason::Address(AddressFault::Family)) } else { Ok(Remote::Rtp(Addresses { rtp, rtcp })) }
}

/// The codecs that the media plane knows, with the peer's numbers, in the peer's order.
fn codecs<'a>(audio: &Audio<'a>) -> impl Iterator<Item = (Codec, u8)> + use<'a> {
    audio.formats().filter_map(|format| Some((format.codec()?, format.payload_type)))
}

fn named(audio: &Audio<'_>, name: &str, clock_rate: u32) -> Option<u8> {
    audio.formats().find(|format| format.is(name, clock_rate)).map(|format| format.payload_type)
}

/// The events to agree on: timed like the sound (RFC 4733 section 2.1), else at 8 kHz.
fn events(policy: &Policy, audio: &Audio<'_>, codec: Codec, terms: &Terms) -> Option<TelephoneEvent> {
    let at = |clock_rate| {
        named(audio, "telephone-event", clock_rate).map(|payload_type| TelephoneEvent { payload_type, clock_rate })
    };
    at(codec.clock_rate()).or_else(|| at(8000)).filter(|_| policy.offers_events(terms))
}

fn noise(audio: &Audio<'_>, terms: &Terms) -> Option<u8> {
    named(audio, "CN", 8000).filter(|_| terms.comfort_noise)
}

/// The stream without its keys, digits and pauses. `direction` is what we said.
fn stream(policy: &Policy, audio: &Audio<'_>, remote: Remote, codec: (Codec, u8), direction: Direction) -> Stream {
    let direction = direction.and(wanted(audio));
    Stream {
        latch: policy.latch,
        direction,
        payload_type: codec.1,
        opus: audio.opus(codec.1),
        ptime_ms: audio.ptime_ms().unwrap_or(PTIME_MS),
        watch: policy.watch(direction),
        ..Stream::new(remote, codec.0)
    }
}

#[cfg(test)]
mod tests;
