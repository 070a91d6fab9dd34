//! What the media plane shall do for a call: a plain value.
//!
//! Signalling declares the wanted [`Session`]; the engine applies the difference. A call has two
//! [`Stream`]s, one a side; each says where its peer is, what is spoken there and under which keys.
//! The engine opens the ports first ([`MediaOrder::Open`]), because an offer names them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use firmware_io::Law;

use crate::hop::SpanId;
use crate::private::Secret;
use crate::tone::Cadence;

/// The engine's name for a call's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// One of the two sides of a call: `A` called, `B` was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The caller's side.
    A,
    /// The called side.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// 0 for A, 1 for B.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A way of coding sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus (RFC 6716, RFC 7587).
    Opus,
    /// G.722 at 64 kbit/s, static payload type 9.
    G722,
    /// G.711 µ-law, static payload type 0.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
}

impl From<Law> for Codec {
    fn from(law: Law) -> Codec {
        match law {
            Law::Mu => Codec::Pcmu,
            Law::A => Codec::Pcma,
        }
    }
}

impl Codec {
    /// All that the media plane speaks, the best sounding first.
    pub const ALL: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

    /// Is it what telephone lines speak?
    pub fn is_g711(self) -> bool {
        matches!(self, Codec::Pcmu | Codec::Pcma)
    }

    /// The encoding name in `a=rtpmap` (RFC 3551, RFC 7587).
    pub fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::G722 => "G722",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }

    /// The payload type in our offers: the static one (RFC 3551 table 4) where there is one.
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Opus => 111,
            Codec::G722 => 9,
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
        }
    }

    /// RTP clock rate in Hz. G.722 counts at half its sound's rate (RFC 3551 section 4.5.2).
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 8000,
        }
    }

    /// Channels as written in `a=rtpmap`: Opus always says two (RFC 7587 section 7).
    pub fn channels(self) -> u8 {
        match self {
            Codec::Opus => 2,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 1,
        }
    }

    /// The highest sampling rate of its sound in Hz.
    pub fn sound_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::G722 => 16_000,
            Codec::Pcmu | Codec::Pcma => 8000,
        }
    }
}

/// What a peer asks of the Opus that it is sent (RFC 7587 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Opus {
    /// Hz beyond which it plays nothing.
    pub max_playback_rate: u32,
    /// Bit/s at most.
    pub max_average_bitrate: Option<u32>,
    /// It makes use of in-band forward error correction.
    pub fec: bool,
    /// It takes pauses without packets.
    pub dtx: bool,
    /// It wants a constant bit rate.
    pub cbr: bool,
}

impl Default for Opus {
    fn default() -> Opus {
        Opus { max_playback_rate: 48_000, max_average_bitrate: None, fec: false, dtx: false, cbr: false }
    }
}

/// A DTMF digit. What is dialled in a call may be a secret number: it never prints.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit(u8);

impl Digit {
    /// By its key: `0` to `9`, `*`, `#`, `A` to `D`.
    pub fn of(key: char) -> Option<Digit> {
        let key = key.to_ascii_uppercase();
        Digit::KEYS.iter().position(|known| *known == key).map(|event| Digit(event as u8))
    }

    /// By its number as an event (RFC 4733 section 3.2).
    pub fn of_event(event: u8) -> Option<Digit> {
        (usize::from(event) < Digit::KEYS.len()).then_some(Digit(event))
    }

    /// Its number as an event.
    pub fn event(self) -> u8 {
        self.0
    }

    /// Its key.
    pub fn key(self) -> char {
        Digit::KEYS.get(usize::from(self.0)).copied().unwrap_or('0')
    }

    const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digit(secret)")
    }
}

/// How RFC 4733 events are numbered and timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TelephoneEvent {
    /// 0 to 127.
    pub payload_type: u8,
    /// Hz: that of the sound beside it (RFC 4733 section 2.1), or 8000.
    pub clock_rate: u32,
}

/// How a peer sends and hears DTMF digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Digits {
    /// As RTP events (RFC 4733).
    Events(TelephoneEvent),
    /// As tones in the sound.
    Tones,
    /// In SIP INFO.
    Info,
}

impl Digits {
    /// The events' number and clock, when digits are events.
    pub fn events(self) -> Option<TelephoneEvent> {
        match self {
            Digits::Events(events) => Some(events),
            Digits::Tones | Digits::Info => None,
        }
    }
}

/// Which way sound goes, seen from us (RFC 3264 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// From us only.
    SendOnly,
    /// To us only.
    RecvOnly,
    /// Neither: Microsoft's form of hold.
    Inactive,
}

impl Direction {
    /// Do we send?
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Do we receive?
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// From what we send and receive.
    pub fn of(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// The same seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Direction {
        Direction::of(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Direction) -> Direction {
        Direction::of(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// The SDP attribute's name.
    pub fn attribute(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// A master key identifier that stands in every packet (RFC 3711 section 3.1): `length` octets,
/// big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mki {
    /// The value.
    pub value: u32,
    /// Octets on the wire, 1 to 4.
    pub length: u8,
}

/// How packets are encrypted and proven genuine: the suites of SDES (RFC 4568, RFC 6188, RFC 7714).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// What every peer of Microsoft's speaks.
    Aes128CmHmacSha1_80,
    /// The same with a short tag on RTP.
    Aes128CmHmacSha1_32,
    /// RFC 6188.
    Aes256CmHmacSha1_80,
    /// RFC 6188, short tag on RTP.
    Aes256CmHmacSha1_32,
    /// RFC 7714.
    AeadAes128Gcm,
    /// RFC 7714.
    AeadAes256Gcm,
}

impl Suite {
    /// All that the media plane speaks.
    pub const ALL: [Suite; 6] = [
        Suite::Aes128CmHmacSha1_80,
        Suite::Aes128CmHmacSha1_32,
        Suite::Aes256CmHmacSha1_80,
        Suite::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ];

    /// Its name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Aes128CmHmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::Aes128CmHmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::Aes256CmHmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::Aes256CmHmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Octets of the master key.
    pub fn key_length(self) -> usize {
        match self {
            Suite::Aes128CmHmacSha1_80 | Suite::Aes128CmHmacSha1_32 | Suite::AeadAes128Gcm => 16,
            Suite::Aes256CmHmacSha1_80 | Suite::Aes256CmHmacSha1_32 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// Octets of the master salt.
    pub fn salt_length(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Octets of key and salt together: what `inline:` carries.
    pub fn length(self) -> usize {
        self.key_length() + self.salt_length()
    }
}

/// Suites in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suites([Option<Suite>; 6]);

impl Suites {
    /// These, each once.
    pub fn new(wanted: impl IntoIterator<Item = Suite>) -> Suites {
        let mut suites = Suites([None; 6]);
        for suite in wanted {
            if suites.place(suite).is_none()
                && let Some(free) = suites.0.iter_mut().find(|place| place.is_none())
            {
                *free = Some(suite);
            }
        }
        suites
    }

    /// The best one.
    pub fn first(self) -> Option<Suite> {
        self.0[0]
    }

    /// How far back a suite stands, from 0; `None` when it is not among them.
    pub fn place(self, suite: Suite) -> Option<usize> {
        self.0.iter().position(|known| *known == Some(suite))
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Suite> {
        self.0.into_iter().flatten()
    }
}

/// Master key and salt for one direction (RFC 4568 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    suite: Suite,
    /// Key, then salt, then nothing.
    octets: Secret<[u8; Keys::LONGEST]>,
    mki: Option<Mki>,
}

impl Keys {
    /// Octets of the longest key and salt.
    pub const LONGEST: usize = 46;

    /// From key and salt one behind the other, without a master key identifier. `None` when there are not exactly as many
    /// octets as the suite takes.
    pub fn new(suite: Suite, octets: &[u8]) -> Option<Keys> {
        let mut kept = [0; Keys::LONGEST];
        kept.get_mut(..octets.len()).filter(|_| octets.len() == suite.length())?.copy_from_slice(octets);
        Some(Keys { suite, octets: Secret(kept), mki: None })
    }

    /// From enough octets for any suite.
    pub fn cut(suite: Suite, octets: &Secret<[u8; Keys::LONGEST]>) -> Keys {
        let mut kept = octets.0;
        kept[suite.length()..].fill(0);
        Keys { suite, octets: Secret(kept), mki: None }
    }

    /// The same keys with another master key identifier, or none.
    #[must_use]
    pub fn marked(self, mki: Option<Mki>) -> Keys {
        Keys { mki, ..self }
    }

    /// What they are for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Present when packets carry it.
    pub fn mki(&self) -> Option<Mki> {
        self.mki
    }

    /// The master key.
    pub fn key(&self) -> &[u8] {
        &self.octets.0[..self.suite.key_length()]
    }

    /// The master salt.
    pub fn salt(&self) -> &[u8] {
        &self.octets.0[self.suite.key_length()..self.suite.length()]
    }

    /// Key and salt, as `inline:` carries them.
    pub fn octets(&self) -> &[u8] {
        &self.octets.0[..self.suite.length()]
    }
}

/// Keys of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Srtp {
    /// Of what we send: our own crypto line.
    pub send: Keys,
    /// Of what we receive: the peer's crypto line.
    pub receive: Keys,
}

/// What one end of ICE is known by (RFC 8445 section 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The username fragment.
    pub fragment: String,
    /// The password.
    pub password: Secret<String>,
}

/// ICE on one side: the peer checks the ways to us and nominates one; we are lite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ice {
    /// Ours; others are an ICE restart.
    pub local: Credentials,
    /// The peer's; others beside the same of ours are another peer that took the same offer.
    pub remote: Credentials,
}

/// Where the peer's media is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// In packets, at these addresses.
    Rtp(Addresses),
    /// On a timeslot, whose bearer the engine is given beside the session. Its codec is the line's law; nothing else of a
    /// [`Stream`] that is about packets has a meaning then.
    Timeslot(Timeslot),
}

impl Remote {
    /// Where packets go.
    pub fn addresses(self) -> Option<Addresses> {
        match self {
            Remote::Rtp(addresses) => Some(addresses),
            Remote::Timeslot(_) => None,
        }
    }
}

/// Where a peer takes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// RTP.
    pub rtp: SocketAddr,
    /// RTCP; equal to `rtp` when both share the port (RFC 5761).
    pub rtcp: SocketAddr,
}

/// What is done with the sound of a timeslot; nothing of it while a modem or a fax is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeslot {
    /// The line.
    pub span: SpanId,
    /// Its number, as the line counts: 1 to 24 on a T1, 1 to 31 on an E1.
    pub number: u8,
    /// By how much what comes from the line is made louder, dB.
    pub receive_gain: i8,
    /// By how much what goes to the line is made louder, dB.
    pub transmit_gain: i8,
    /// How late an echo is taken out: by the card where its bearer says so, else by our own canceller.
    pub canceller: Option<Tail>,
}

/// How late an echo may be that is taken out (ITU-T G.168).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tail {
    /// 64 ms.
    Ms64,
    /// 128 ms.
    Ms128,
}

/// When a silent peer counts as gone: no packet that proves the peer alive for `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// How long (30 s by Microsoft's rule).
    pub limit: Duration,
}

/// One side of a call as agreed by its offer and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Where to send; packets from elsewhere are counted and dropped.
    pub remote: Remote,
    /// When the peer checks the ways to us, it is where its checks come from, and not at `remote`.
    pub ice: Option<Box<Ice>>,
    /// May the peer's address differ from what it signalled (NAT)? Then the first authenticated
    /// packet decides.
    pub latch: bool,
    /// Which way sound goes, seen from us.
    pub direction: Direction,
    /// The codec spoken.
    pub codec: Codec,
    /// Payload type of `codec` on this side.
    pub payload_type: u8,
    /// What the peer asked of our Opus; of no meaning with another codec.
    pub opus: Opus,
    /// How the peer sends and hears digits.
    pub digits: Digits,
    /// Payload type of comfort noise (RFC 3389) on this side.
    pub comfort_noise: Option<u8>,
    /// Packet time that the peer asked for, in milliseconds.
    pub ptime_ms: u8,
    /// Keys; `None` is plain RTP.
    pub srtp: Option<Srtp>,
    /// Watch for a dead peer, as the trunk's switches say for a live or held call.
    pub watch: Option<Watch>,
}

impl Stream {
    /// The least: in the clear, both ways, packets of 20 ms, digits as tones, no pauses, nobody watched.
    pub fn new(remote: Remote, codec: Codec) -> Stream {
        Stream {
            remote,
            ice: None,
            latch: false,
            direction: Direction::SendRecv,
            codec,
            payload_type: codec.payload_type(),
            opus: Opus::default(),
            digits: Digits::Tones,
            comfort_noise: None,
            ptime_ms: 20,
            srtp: None,
            watch: None,
        }
    }
}

/// A recording, one channel of 16-bit samples.
#[derive(Clone, PartialEq, Eq)]
pub struct Sound {
    narrow: Box<[i16]>,
    wide: Box<[i16]>,
}

impl Sound {
    /// The rates that it is kept at, Hz: those of telephone lines and of wideband speech. More would be three times the
    /// memory for what few telephones play.
    pub const RATES: [u32; 2] = [8000, 16_000];

    /// The same sound at both rates. `None` when there is none, or one is not twice as long as the other.
    pub fn new(narrow: Vec<i16>, wide: Vec<i16>) -> Option<Sound> {
        let fits = !narrow.is_empty() && wide.len() == 2 * narrow.len();
        fits.then(|| Sound { narrow: narrow.into(), wide: wide.into() })
    }

    /// The best of it for who plays up to `rate` Hz, and its own rate.
    pub fn at(&self, rate: u32) -> (u32, &[i16]) {
        let [narrow, wide] = Sound::RATES;
        if rate < wide { (narrow, &self.narrow) } else { (wide, &self.wide) }
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        Duration::from_secs(1) * self.narrow.len() as u32 / Sound::RATES[0]
    }
}

impl fmt::Debug for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sound({:?})", self.length())
    }
}

/// What a peer hears from ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Play {
    /// A tone, while nothing is heard from the other side (RFC 3960 section 3.2).
    Tone(Cadence),
    /// This sound over and over, while nothing is heard from the other side.
    Music(Arc<Sound>),
    /// This sound once, in place of whatever the other side says meanwhile.
    Announcement(Arc<Sound>),
}

/// The media of a call; a side is `None` until its peer's address is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Indexed by [`Side::index`].
    pub sides: [Option<Stream>; 2],
    /// What the peer of each side hears from ourselves; it acts only where we may send.
    pub plays: [Option<Play>; 2],
}

/// What signalling tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaOrder {
    /// Open a pair of ports (RTP even, RTCP odd) for each side; answered by
    /// [`MediaReport::Opened`] or [`MediaReport::Refused`].
    Open(SessionId),
    /// From now on, this.
    Apply(SessionId, Box<Session>),
    /// Press this digit for so long, as if it came from this side.
    Press(SessionId, Side, Digit, Duration),
    /// The call is over: ports come home; answered by [`MediaReport::Closed`].
    Close(SessionId),
}

/// What the engine tells signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaReport {
    /// The RTP ports of both sides, indexed by [`Side::index`]; RTCP is one above.
    Opened(SessionId, [u16; 2]),
    /// No ports: the range is used up or cannot be bound; the text says which.
    Refused(SessionId, String),
    /// The timeslot of this side cannot be opened; the text says which and why.
    Unopened(SessionId, Side, String),
    /// Nothing came from this side for as long as its watch allows.
    Silent(SessionId, Side, Duration),
    /// The peer of this side has pressed a digit for so long, which the other side hears of in signalling.
    Digit(SessionId, Side, Digit, Duration),
    /// On the line of this side something begins to talk that is no person.
    Machine(SessionId, Side, Machine),
    /// How the call's media stands, every 5 s.
    Counted(SessionId, [Counters; 2]),
    /// How late a media thread was for its deadlines in the last second.
    Late(Late),
    /// The end, with the last counters.
    Closed(SessionId, [Counters; 2]),
}

/// How late deadlines were met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// Of 99 in a hundred, at most.
    pub most: Duration,
    /// Of all.
    pub worst: Duration,
}

/// What talks on a line and is no person: its sound is to be left untouched (ITU-T G.168 clause 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A modem answers.
    Modem,
    /// A fax talks.
    Fax,
}

impl Machine {
    /// In a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Machine::Modem => "a modem",
            Machine::Fax => "a fax",
        }
    }
}

/// A mean opinion score, 1 to 4.5, to a hundredth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mos(u16);

impl Mos {
    /// Rounded.
    pub fn new(score: f64) -> Mos {
        Mos((score * 100.0).round() as u16)
    }

    /// As a number.
    pub fn score(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl serde::Serialize for Mos {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.score())
    }
}

/// What one side's media saw so far. Packets unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Good RTP packets received from the peer.
    pub received: u64,
    /// RTP packets sent to the peer.
    pub sent: u64,
    /// Missing by sequence number.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 section 6.4.1), microseconds.
    pub jitter_us: u32,
    /// RTCP packets received.
    pub rtcp_received: u64,
    /// RTCP packets sent.
    pub rtcp_sent: u64,
    /// Loss that the peer reports of what we sent, packets.
    pub reported_lost: u64,
    /// Round trip by RTCP, microseconds; 0 when not known.
    pub round_trip_us: u32,
    /// What a listener here would say of the sound from the peer.
    pub mos_received: Option<Mos>,
    /// What a listener there would say of the sound that we send, by the peer's reports.
    pub mos_sent: Option<Mos>,
    /// From an address that signalling did not name, or that no check of the peer's came from.
    pub stranger: u64,
    /// From anywhere, before the peer has checked any way (ICE).
    pub unchecked: u64,
    /// Checks that prove nothing: other credentials, or none (ICE).
    pub unproven: u64,
    /// SRTP tag wrong.
    pub unauthentic: u64,
    /// SRTP sequence number seen before or too old.
    pub replayed: u64,
    /// Not RTP, or a payload type that was not agreed.
    pub malformed: u64,
    /// Packets in whose place something else was heard, for they were lost or came too late.
    pub concealed: u64,
    /// Pieces of sound that were said twice or left out so that it fits a line's pace, 5 to 15 ms each.
    pub fitted: u64,
    /// Frames of 125 µs that were said twice or left out because two lines have different clocks.
    pub slips: u64,
    /// Times at which a line had nothing to say, because we came late.
    pub underruns: u64,
    /// Times at which a line took less than it said.
    pub overruns: u64,
}

impl Counters {
    /// How much each count grew since `earlier`; measures (jitter, round trip, scores) are as they are now.
    #[must_use]
    pub fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
            lost: self.lost.saturating_sub(earlier.lost),
            jitter_us: self.jitter_us,
            rtcp_received: self.rtcp_received.saturating_sub(earlier.rtcp_received),
            rtcp_sent: self.rtcp_sent.saturating_sub(earlier.rtcp_sent),
            reported_lost: self.reported_lost.saturating_sub(earlier.reported_lost),
            round_trip_us: self.round_trip_us,
            mos_received: self.mos_received,
            mos_sent: self.mos_sent,
            stranger: self.stranger.saturating_sub(earlier.stranger),
            unchecked: self.unchecked.saturating_sub(earlier.unchecked),
            unproven: self.unproven.saturating_sub(earlier.unproven),
            unauthentic: self.unauthentic.saturating_sub(earlier.unauthentic),
            replayed: self.replayed.saturating_sub(earlier.replayed),
            malformed: self.malformed.saturating_sub(earlier.malformed),
            concealed: self.concealed.saturating_sub(earlier.concealed),
            fitted: self.fitted.saturating_sub(earlier.fitted),
            slips: self.slips.saturating_sub(earlier.slips),
            underruns: self.underruns.saturating_sub(earlier.underruns),
            overruns: self.overruns.saturating_sub(earlier.overruns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_a_pair_of_switches() {
        assert_eq!(Direction::SendOnly.reversed(), Direction::RecvOnly);
        assert_eq!(Direction::SendRecv.and(Direction::RecvOnly), Direction::RecvOnly);
        assert_eq!(Direction::SendOnly.and(Direction::RecvOnly), Direction::Inactive);
    }

    #[test]
    fn scores_are_shown_as_numbers_to_a_hundredth() {
        let counters = Counters { mos_received: Some(Mos::new(4.408_9)), ..Counters::default() };
        let json = serde_json::to_value(counters).unwrap();
        assert_eq!((&json["mos_received"], &json["mos_sent"]), (&4.41.into(), &serde_json::Value::Null));
    }
}
