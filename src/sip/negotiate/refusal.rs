//! Why an offer or an answer cannot be taken, who is to blame, and how each is told.

use std::fmt;

use super::Dialect;
use crate::cause::{Cause, Diagnostics, Guilty, Release};
use crate::session::{Codec, Suite};
use crate::wire::sdp::{self, AddressFault, Audio, Format, Profile};

/// Most names of a peer's that a refusal repeats, and most characters of each.
const MAX_NAMES: usize = 12;
const MAX_CHARACTERS: usize = 40;
/// Most characters of a parser's complaint, which may quote the peer.
const MAX_SENTENCE: usize = 120;

/// What the peer had sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// An offer: the refusal is an answer to its request.
    Offer,
    /// An answer to our offer: nothing can be answered any more, the leg ends.
    Answer,
}

/// Why.
#[derive(Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not a session description.
    Unreadable(sdp::Error),
    /// No audio stream, or a refused one.
    NoAudio,
    /// Not RTP over UDP: the transport as written.
    Transport(String),
    /// No address that packets can be sent to.
    Address(AddressFault),
    /// Only plain media, where SRTP is required.
    NotEncrypted,
    /// Only SRTP, where we may not have it.
    EncryptionDemanded,
    /// SRTP, but no key line that we can use.
    NoUsableKey {
        /// The suites that were named.
        suites: Vec<String>,
        /// The suites that we may use.
        allowed: Vec<&'static str>,
    },
    /// Nothing to speak in common.
    NoCommonCodec {
        /// What the peer named.
        named: Vec<String>,
        /// What we may speak.
        allowed: Vec<Codec>,
    },
    /// The answer is in a profile that the offer did not allow.
    ProfileChanged(Profile),
    /// The answer takes a crypto line that the offer did not have.
    ForeignTag(u32),
}

impl Reason {
    pub(super) fn transport(proto: &str) -> Reason {
        Reason::Transport(name(proto))
    }

    pub(super) fn no_usable_key(audio: &Audio<'_>, allowed: impl IntoIterator<Item = Suite>) -> Reason {
        let allowed = allowed.into_iter().map(Suite::name).collect();
        Reason::NoUsableKey { suites: audio.suites().take(MAX_NAMES).map(name).collect(), allowed }
    }

    pub(super) fn no_common_codec(audio: &Audio<'_>, allowed: &[Codec]) -> Reason {
        let speech = |format: &Format<'_>| !format.name.eq_ignore_ascii_case("telephone-event");
        let named = audio.formats().filter(speech).take(MAX_NAMES).map(|format| name(&format.to_string())).collect();
        Reason::NoCommonCodec { named, allowed: allowed.to_vec() }
    }

    fn is_about_encryption(&self) -> bool {
        matches!(self, Reason::NotEncrypted | Reason::EncryptionDemanded | Reason::NoUsableKey { .. })
    }
}

fn name(text: &str) -> String {
    cut(text, MAX_CHARACTERS)
}

/// A peer's text, short enough and clean enough for a log line.
fn cut(text: &str, most: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(most).collect()
}

/// An offer or an answer that cannot be taken. Its `Display` is a sentence for the operator.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Whose.
    pub peer: Dialect,
    /// What.
    pub said: Said,
}

impl Refusal {
    /// The status for an offer's request; for a bad answer, the one that the other leg's caller
    /// hears: a 5xx, so that the next gateway is tried.
    pub fn status(&self) -> u16 {
        match (self.said, &self.reason) {
            (Said::Answer, _) => 502,
            (Said::Offer, Reason::Unreadable(_)) => 400,
            (Said::Offer, _) => 488,
        }
    }

    /// The Warning header that goes with the status.
    pub fn warning(&self) -> Option<Warning> {
        let (code, text) = match &self.reason {
            Reason::NoAudio => (304, "Media type not available"),
            Reason::NoCommonCodec { .. } => return Some(Warning::FORMAT),
            Reason::Transport(_) => (302, "Incompatible transport protocol"),
            Reason::Address(AddressFault::Multicast) => (330, "Multicast not available"),
            Reason::Address(_) => (301, "Incompatible network address formats"),
            reason if reason.is_about_encryption() => (308, "Encryption Levels not compatible"),
            _ => return None,
        };
        Some(Warning { code, text })
    }

    /// Microsoft's number for it.
    pub fn diagnostics(&self) -> Diagnostics {
        let (number, reason) = match self.reason.is_about_encryption() {
            true => (52017, "Encryption levels dont match"),
            false => (52063, "Unsupported session description"),
        };
        Diagnostics::new(number, reason)
    }

    /// Who is to blame: the peer, unless it is our own configuration that keeps us from a call.
    pub fn guilty(&self) -> Guilty {
        match self.reason {
            Reason::EncryptionDemanded => Guilty::Us,
            _ => Guilty::Peer,
        }
    }

    /// The end of the leg that this calls for.
    pub fn release(&self) -> Release {
        let cause = match self.status() {
            488 => Cause::INCOMPATIBLE,
            _ => Cause::PROTOCOL,
        };
        let release = Release::new(self.guilty(), cause, self.to_string()).with_status(self.status());
        Release { diagnostics: Some(self.diagnostics()), ..release }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = match self.peer {
            Dialect::Microsoft => "the Microsoft side",
            Dialect::Gateway => "the gateway",
        };
        let (says, said) = match self.said {
            Said::Offer => ("offers", "offered"),
            Said::Answer => ("answers with", "answered"),
        };
        match &self.reason {
            Reason::Unreadable(error) => {
                write!(f, "{peer}'s session description cannot be read: {}", cut(&error.to_string(), MAX_SENTENCE))
            }
            Reason::NoAudio => write!(f, "{peer} {says} no audio stream"),
            Reason::Transport(proto) => write!(f, "{peer} {says} media over {proto}; only RTP over UDP is spoken"),
            Reason::Address(fault) => write!(f, "{peer} cannot be sent media: {fault}"),
            Reason::NotEncrypted => write!(f, "{peer} {says} plain media only; SRTPMode Required asks for SRTP"),
            Reason::EncryptionDemanded => {
                write!(f, "{peer} demands SRTP; SRTPMode is NotSupported here, as it always is without TLS")
            }
            Reason::NoUsableKey { suites, allowed } => {
                write!(f, "{peer} {says} no usable SRTP key: {said} {}; allowed {}", listed(suites), listed(allowed))
            }
            Reason::NoCommonCodec { named, allowed } => {
                let allowed: Vec<_> = allowed.iter().map(|codec| codec.name()).collect();
                write!(f, "{peer} {says} no codec that may be used: {said} {}; allowed ", listed(named))?;
                f.write_str(&listed(&allowed))
            }
            Reason::ProfileChanged(profile) => {
                write!(f, "{peer} answers with {}, which the offer did not allow", profile.name())
            }
            Reason::ForeignTag(tag) => write!(f, "{peer} answers with crypto line {tag}, which was not offered"),
        }
    }
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => "none".into(),
        names => names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "),
    }
}

/// A Warning header (RFC 3261 section 20.43).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// 301 to 399.
    pub code: u16,
    /// The quoted text.
    pub text: &'static str,
}

impl Warning {
    /// Nothing to speak in common.
    pub const FORMAT: Warning = Warning { code: 305, text: "Incompatible media format" };

    /// The header's value. 308 is Microsoft's own and carries the name that its clients know.
    pub fn header(&self, own_host: &str) -> String {
        let agent = if self.code == 308 { "lcs.microsoft.com" } else { own_host };
        format!("{} {agent} \"{}\"", self.code, self.text)
    }
}
