//! Session descriptions (RFC 8866) as our peers write them.
//!
//! [`Description`] keeps every line that came; [`Audio`] is a view on one of its audio streams and
//! reads what an offer or answer turns on. What cannot be read is passed over where the standard
//! lets us: a stray attribute never costs a call. Nothing here decides; that is
//! `sip::negotiate`'s.

mod crypto;
mod ice;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, Session};

pub use crypto::{Crypto, draw};
pub use ice::{Candidate, Kind, draw_credentials};

use crate::session::{Codec, Credentials, Direction, Opus};

/// Longest description read, in octets.
pub const MAX_LENGTH: usize = 65_536;
/// Most media lines read.
pub const MAX_MEDIA: usize = 16;
/// Most attributes read in the session part or under one media line.
pub const MAX_ATTRIBUTES: usize = 512;
/// Most formats looked at in one media line.
const MAX_FORMATS: usize = 64;
/// Most potential configurations, and alternatives in one, looked at.
const MAX_CONFIGURATIONS: usize = 8;

/// Why a text is no description: the peer's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Beyond [`MAX_LENGTH`], [`MAX_MEDIA`] or [`MAX_ATTRIBUTES`].
    #[error("it is larger than any call needs")]
    TooLarge,
    /// A line breaks the grammar.
    #[error("{0}")]
    Malformed(sdp_types::ParserError),
}

/// A peer's session description.
#[derive(Clone, PartialEq, Eq)]
pub struct Description(Session);

impl Description {
    /// Reads a description. Lines may end in CR LF, LF or CR; octets that are not UTF-8 are
    /// replaced.
    pub fn parse(octets: &[u8]) -> Result<Description, Error> {
        if octets.len() > MAX_LENGTH {
            return Err(Error::TooLarge);
        }
        let text = String::from_utf8_lossy(octets).replace("\r\n", "\n").replace(['\r', '\0'], "\n");
        let session = Session::parse(text.as_bytes()).map_err(Error::Malformed)?;
        let attributes = session.medias.iter().map(|media| media.attributes.len()).max().unwrap_or(0);
        if session.medias.len() > MAX_MEDIA || attributes.max(session.attributes.len()) > MAX_ATTRIBUTES {
            return Err(Error::TooLarge);
        }
        Ok(Description(session))
    }

    /// Media lines, whatever they are about, in their order.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Line<'_>> {
        self.0.medias.iter().map(|media| Line { media: &media.media, proto: &media.proto, formats: &media.fmt })
    }

    /// The audio streams that are in use (port not 0), in their order.
    pub fn audio(&self) -> impl Iterator<Item = Audio<'_>> {
        (0..self.0.medias.len()).filter_map(|index| self.audio_at(index))
    }

    /// The audio stream of the media line number `index`; `None` when there is none in use.
    pub fn audio_at(&self, index: usize) -> Option<Audio<'_>> {
        let media = self.0.medias.get(index)?;
        let in_use = media.media.eq_ignore_ascii_case("audio") && media.port != 0;
        in_use.then_some(Audio { session: &self.0, media, index })
    }

    /// Does this say the same about media as `earlier` did? The `o=` line is not asked: there are
    /// peers that forget to count, and peers that count for nothing.
    pub fn says_the_same_as(&self, earlier: &Description) -> bool {
        let (now, then) = (&self.0, &earlier.0);
        now.connection == then.connection && now.attributes == then.attributes && now.medias == then.medias
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = Vec::new();
        self.0.write(&mut octets).map_err(|_| fmt::Error)?;
        f.write_str(&redacted(&String::from_utf8_lossy(&octets)))
    }
}

/// One `m=` line, as it is repeated to refuse the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// `audio`, `video`, `application`.
    pub media: &'a str,
    /// `RTP/AVP` and its like.
    pub proto: &'a str,
    /// The rest of the line.
    pub formats: &'a str,
}

/// An RTP profile over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// SAVP, SAVPF.
    pub secure: bool,
    /// AVPF, SAVPF (RFC 4585, RFC 5124).
    pub feedback: bool,
}

impl Profile {
    /// By its name in an `m=` line; `None` for TCP, DTLS and whatever else.
    pub fn parse(proto: &str) -> Option<Profile> {
        let proto = proto.to_ascii_uppercase();
        let (secure, feedback) = match proto.as_str() {
            "RTP/AVP" => (false, false),
            "RTP/AVPF" => (false, true),
            "RTP/SAVP" => (true, false),
            "RTP/SAVPF" => (true, true),
            _ => return None,
        };
        Some(Profile { secure, feedback })
    }

    /// Its name in an `m=` line.
    pub fn name(self) -> &'static str {
        match (self.secure, self.feedback) {
            (false, false) => "RTP/AVP",
            (false, true) => "RTP/AVPF",
            (true, false) => "RTP/SAVP",
            (true, true) => "RTP/SAVPF",
        }
    }
}

/// What a payload type means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    /// The encoding name; empty when nothing says it.
    pub name: &'a str,
    /// Hz; 0 when nothing says it.
    pub clock_rate: u32,
    /// Channels, 1 unless said otherwise.
    pub channels: u8,
}

impl Format<'_> {
    /// Is it this encoding, with this clock and in one channel?
    pub fn is(&self, name: &str, clock_rate: u32) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.clock_rate == clock_rate && self.channels == 1
    }

    /// The codec of ours that it stands for.
    pub fn codec(&self) -> Option<Codec> {
        let same = |codec: &Codec| {
            self.name.eq_ignore_ascii_case(codec.name())
                && (self.clock_rate, self.channels) == (codec.clock_rate(), codec.channels())
        };
        Codec::ALL.into_iter().find(same)
    }
}

impl fmt::Display for Format<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, self.clock_rate) {
            ("", _) => write!(f, "type {}", self.payload_type),
            (name, 8000) => f.write_str(name),
            (name, rate) => write!(f, "{name}/{rate}"),
        }
    }
}

/// `a=encryption` ([MS-SDP]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// No plain media.
    Required,
    /// Either.
    Optional,
    /// No encrypted media.
    Rejected,
}

/// Why a stream's address is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// No `c=` line for the stream.
    #[error("it names no address for its media")]
    Missing,
    /// A host name: none of our peers writes one, and media cannot wait for a resolver.
    #[error("it names a host instead of an address for its media")]
    Name,
    /// A group or a broadcast address.
    #[error("its media address is a multicast or broadcast address")]
    Multicast,
    /// IPv4 where we have IPv6, or the other way round.
    #[error("its media address is of another IP version than ours")]
    Family,
}

/// An audio stream of a [`Description`].
#[derive(Clone, Copy)]
pub struct Audio<'a> {
    session: &'a Session,
    media: &'a Media,
    /// The number of its media line, from 0.
    pub index: usize,
}

impl<'a> Audio<'a> {
    /// The transport as written.
    pub fn proto(&self) -> &'a str {
        &self.media.proto
    }

    /// The RTP profile; `None` when it is not RTP over UDP.
    pub fn profile(&self) -> Option<Profile> {
        Profile::parse(self.proto())
    }

    /// Where RTP shall go: the stream's own `c=`, else the session's. An unspecified address is a
    /// form of hold (RFC 3264 section 8.4).
    pub fn rtp(&self) -> Result<SocketAddr, AddressFault> {
        let connection = self.media.connections.first().or(self.session.connection.as_ref());
        Ok(SocketAddr::new(address(connection.ok_or(AddressFault::Missing)?)?, self.media.port))
    }

    /// Where RTCP shall go: `a=rtcp` (RFC 3605), else one port above RTP.
    pub fn rtcp(&self) -> Result<SocketAddr, AddressFault> {
        let rtp = self.rtp()?;
        let named = self.own("rtcp").and_then(|value| {
            let mut words = value.split_ascii_whitespace();
            let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
            let ip = words.nth(2).and_then(|word| word.parse().ok()).unwrap_or(rtp.ip());
            Some(SocketAddr::new(ip, port))
        });
        Ok(named.unwrap_or(SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))))
    }

    /// May RTP and RTCP share a port (RFC 5761)?
    pub fn rtcp_mux(&self) -> bool {
        self.media.attributes.iter().any(|attribute| is(attribute, "rtcp-mux"))
    }

    /// What it can speak, in its order. The meaning of a number comes from `a=rtpmap`, and only
    /// without one from the static table.
    pub fn formats(&self) -> impl Iterator<Item = Format<'a>> + use<'a> {
        let audio = *self;
        let numbers = self.media.fmt.split_ascii_whitespace().take(MAX_FORMATS);
        numbers.filter_map(move |number| {
            let payload_type = number.parse().ok().filter(|number| *number < 128)?;
            Some(audio.mapped(payload_type).unwrap_or(by_table(payload_type)))
        })
    }

    fn mapped(&self, payload_type: u8) -> Option<Format<'a>> {
        self.own_all("rtpmap").find_map(|value| {
            let (number, encoding) = value.split_once(' ')?;
            let mut parts = encoding.trim().split('/');
            (number.parse() == Ok(payload_type)).then_some(())?;
            Some(Format {
                payload_type,
                name: parts.next()?,
                clock_rate: parts.next()?.parse().ok()?,
                channels: parts.next().map_or(Some(1), |channels| channels.parse().ok())?,
            })
        })
    }

    /// What the peer asks of our Opus in the `a=fmtp` of its payload type (RFC 7587 section 6.1).
    pub fn opus(&self, payload_type: u8) -> Opus {
        let mut opus = Opus::default();
        let parameters = self.own_all("fmtp").find_map(|value| {
            let (number, parameters) = value.split_once(' ')?;
            (number.parse() == Ok(payload_type)).then_some(parameters)
        });
        for parameter in parameters.unwrap_or_default().split(';') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (value, on) = (value.trim(), value.trim() == "1");
            match name.trim().to_ascii_lowercase().as_str() {
                "maxplaybackrate" => opus.max_playback_rate = value.parse().unwrap_or(opus.max_playback_rate),
                "maxaveragebitrate" => opus.max_average_bitrate = value.parse().ok(),
                "useinbandfec" => opus.fec = on,
                "usedtx" => opus.dtx = on,
                "cbr" => opus.cbr = on,
                _ => {}
            }
        }
        opus
    }

    /// `a=ptime` in milliseconds, when it is one that packets can have.
    pub fn ptime_ms(&self) -> Option<u8> {
        self.own("ptime")?.parse().ok().filter(|ms| (10..=200).contains(ms))
    }

    /// Which way sound shall go, seen from whoever wrote this.
    pub fn direction(&self) -> Direction {
        let said = |attributes: &[Attribute]| {
            let of = |attribute: &Attribute| {
                [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
                    .into_iter()
                    .find(|direction| is(attribute, direction.attribute()))
            };
            attributes.iter().find_map(of)
        };
        said(&self.media.attributes).or(said(&self.session.attributes)).unwrap_or_default()
    }

    /// The crypto lines that we can use, in their order.
    pub fn crypto(&self) -> impl Iterator<Item = Crypto> + use<'a> {
        self.own_all("crypto").filter_map(Crypto::parse)
    }

    /// Suites of all crypto lines, ours or not.
    pub fn suites(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.own_all("crypto").take(MAX_FORMATS).filter_map(|value| value.split_ascii_whitespace().nth(1))
    }

    /// `a=encryption`, of the stream or the session.
    pub fn encryption(&self) -> Option<Encryption> {
        match self.own("encryption").or(first(&self.session.attributes, "encryption"))? {
            "required" => Some(Encryption::Required),
            "optional" => Some(Encryption::Optional),
            "rejected" => Some(Encryption::Rejected),
            _ => None,
        }
    }

    /// What the peer is known by in ICE; `None` when it does not speak ICE.
    pub fn credentials(&self) -> Option<Credentials> {
        let said = |name| self.own(name).or(first(&self.session.attributes, name));
        ice::credentials(said("ice-ufrag")?, said("ice-pwd")?)
    }

    /// Does the peer check nothing itself (`a=ice-lite`)?
    pub fn ice_lite(&self) -> bool {
        self.session.attributes.iter().any(|attribute| is(attribute, "ice-lite"))
    }

    /// Where the peer may be reached over UDP, in its order.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
        self.own_all("candidate").filter_map(Candidate::parse)
    }

    /// The potential configuration that turns this stream into RTP/SAVP and asks for nothing else
    /// (RFC 5939): the value of the `a=acfg` that chooses it, `1 t=1`.
    pub fn secure_configuration(&self) -> Option<String> {
        self.own_all("pcfg").take(MAX_CONFIGURATIONS).find_map(|value| {
            let (number, transports) = value.split_once(' ')?;
            let number: u32 = number.parse().ok()?;
            let mut alternatives = transports.trim().strip_prefix("t=")?.split('|').take(MAX_CONFIGURATIONS);
            let secure = alternatives.find(|alternative| self.capability_is_secure(alternative))?;
            Some(format!("{number} t={secure}"))
        })
    }

    /// `a=tcap:1 RTP/SAVP RTP/SAVPF` numbers its transports upward from 1.
    fn capability_is_secure(&self, number: &str) -> bool {
        let named = |value: &str| {
            let mut words = value.split_ascii_whitespace();
            let base: u32 = words.next()?.parse().ok()?;
            let offset = number.parse::<u32>().ok()?.checked_sub(base)?;
            words.nth(offset as usize).map(|proto| proto.eq_ignore_ascii_case("RTP/SAVP"))
        };
        let capabilities = self.own_all("tcap").chain(all(&self.session.attributes, "tcap"));
        capabilities.take(MAX_CONFIGURATIONS).any(|value| named(value) == Some(true))
    }

    fn own(&self, name: &'static str) -> Option<&'a str> {
        first(&self.media.attributes, name)
    }

    fn own_all(&self, name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        all(&self.media.attributes, name)
    }
}

fn is(attribute: &Attribute, name: &str) -> bool {
    attribute.attribute.trim_end().eq_ignore_ascii_case(name)
}

fn all<'a>(attributes: &'a [Attribute], name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
    attributes.iter().filter(move |attribute| is(attribute, name)).filter_map(|a| a.value.as_deref()).map(str::trim)
}

fn first<'a>(attributes: &'a [Attribute], name: &'static str) -> Option<&'a str> {
    all(attributes, name).next()
}

fn address(connection: &Connection) -> Result<IpAddr, AddressFault> {
    let text = connection.connection_address.split('/').next().unwrap_or_default();
    let ip: IpAddr = text.parse().map_err(|_| AddressFault::Name)?;
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if ip.is_multicast() || broadcast { Err(AddressFault::Multicast) } else { Ok(ip) }
}

/// The static payload types that our peers write without `a=rtpmap` (RFC 3551 table 4).
fn by_table(payload_type: u8) -> Format<'static> {
    let (name, clock_rate) = match payload_type {
        0 => ("PCMU", 8000),
        3 => ("GSM", 8000),
        4 => ("G723", 8000),
        8 => ("PCMA", 8000),
        9 => ("G722", 8000),
        13 => ("CN", 8000),
        15 => ("G728", 8000),
        18 => ("G729", 8000),
        _ => ("", 0),
    };
    Format { payload_type, name, clock_rate, channels: 1 }
}

/// A description of ours: for the wire as it is, in a log without its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl Text {
    /// With its keys: for the wire only.
    pub fn wire(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

/// The text with every key and password taken out: `inline:` keys (RFC 4568), `k=` lines, `a=ice-pwd`. The rest, lifetime
/// and MKI included, stays: it is what faults are found by.
pub fn redacted(text: &str) -> String {
    const SECRETS: [(&str, &str); 2] = [("k=", "k=(secret)"), ("a=ice-pwd", "a=ice-pwd:(secret)")];
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.split_at(line.trim_end_matches(['\r', '\n']).len());
        let begins = |name: &str| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        match SECRETS.into_iter().find(|(name, _)| begins(name)) {
            Some((_, shown)) => out.push_str(shown),
            None => redact_line(line, &mut out),
        }
        out.push_str(end);
    }
    out
}

fn redact_line(line: &str, out: &mut String) {
    const METHOD: &str = "inline:";
    let lower = line.to_ascii_lowercase();
    let mut copied = 0;
    for (at, _) in lower.match_indices(METHOD) {
        let key = at + METHOD.len();
        if key < copied {
            continue;
        }
        out.push_str(&line[copied..key]);
        out.push_str("(secret)");
        copied = line[key..].find(['|', ';', ' ', '\t', '\r']).map_or(line.len(), |length| key + length);
    }
    out.push_str(&line[copied..]);
}

#[cfg(test)]
mod tests;
