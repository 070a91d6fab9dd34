//! Whose clock is wrong when a transfer was refused for its referrer's identity: the answer 429, its ms-diagnostics
//! 1020, and the clocks as they were seen from here, put into words.
//!
//! | signer, seen from here | refuser, seen from here | to blame |
//! |---|---|---|
//! | off | right | the signer |
//! | right | off | the refuser |
//! | off | off by the same | ourselves: all others agree against us |
//! | off | off by something else | both |
//! | right | right | a third box, which the refusal names as its source |

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;

use super::{Judgement, Verdict, quotable};
use crate::alarm::Text;
use crate::wire::sip::Diagnostic;

/// A clock that differs by more is off: Date has a grain of a second, and messages take their time.
pub const OFF: SignedDuration = SignedDuration::from_secs(5);
/// Two clocks that differ from ours by amounts this near show the same time.
const ALIKE: SignedDuration = SignedDuration::from_secs(3);

/// What is known when a 429 comes.
#[derive(Clone, Copy)]
pub struct Refused<'a> {
    /// Who sent us the refusal, by our name for it.
    pub by: &'a str,
    /// What it says beside the status.
    pub diagnostic: Option<Diagnostic<'a>>,
    /// The identity that it refuses, if it went through this box.
    pub identity: Option<&'a Judgement>,
    /// The refuser's clock minus ours, as its messages say.
    pub clock: Option<SignedDuration>,
    /// What certificates say of the refuser's clock, or of one beside it ([`Window`](super::window::Window)).
    pub window: Option<&'a str>,
    /// Is our own clock known to be right?
    pub trusted: bool,
}

/// Who shall look at his clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guilt {
    Signer(SignedDuration),
    Refuser(SignedDuration),
    Both(SignedDuration, SignedDuration),
    Ourselves(SignedDuration),
    ThirdBox,
    /// There was no signature whose date could be wrong.
    Unsigned,
}

impl Refused<'_> {
    /// The sentence for the ladder: what was refused, whose clock is off and by how much, what to do.
    pub fn why(&self) -> String {
        let said = self.said();
        let code = said.code.map_or(String::new(), |code| format!(", {code}"));
        let number = self.diagnostic.map_or(String::new(), |line| format!(", ms-diagnostics {}", line.number));
        let signer = said.signer.unwrap_or_else(|| "the referrer's server".to_owned());
        let source = said.source.unwrap_or_else(|| self.by.to_owned());
        let head = format!("the referrer's identity was refused (429{number}{code}) by {source}");
        let advice = match self.guilt() {
            Guilt::Signer(by) => format!(
                "the clock of {signer}, which signed, is {}: set its time right, then transfers work again",
                Offset(by)
            ),
            Guilt::Refuser(by) => {
                format!("the clock of {}, where the refusal came from, is {}: set its time right", self.by, Offset(by))
            }
            Guilt::Both(signed, refused) => format!(
                "two clocks are off: that of {signer}, which signed, is {}, that of {} is {}: set both right",
                Offset(signed),
                self.by,
                Offset(refused)
            ),
            Guilt::Ourselves(by) => format!(
                "the signer's and the refuser's clocks agree with each other and not with ours: ours is {} {} theirs; set \
                 this box's time right",
                Span(by.unsigned_abs()),
                way(by)
            ),
            Guilt::ThirdBox if let Some(window) = self.window => {
                format!("no Date that is seen from here is off, but {window}")
            }
            Guilt::ThirdBox => format!(
                "no clock that is seen from here is off by more than {}: look at the clock of {source}, and of every server \
                 between it and {signer}",
                Span(OFF.unsigned_abs())
            ),
            Guilt::Unsigned => {
                "there was no signed identity to check: the referrer's own server must sign its REFER".to_owned()
            }
        };
        let doubt = if self.trusted { "" } else { "; our own clock is compared with no time server" };
        format!("{head}: {advice}{doubt}")
    }

    fn guilt(&self) -> Guilt {
        let off = |offset: &SignedDuration| offset.abs() > OFF;
        let unsigned = |identity: &Judgement| identity.verdict == Verdict::Absent;
        if self.identity.is_some_and(unsigned) && self.said().code.is_none() {
            return Guilt::Unsigned;
        }
        let signed = self.identity.and_then(|identity| identity.offset).filter(off);
        match (signed, self.clock.filter(off)) {
            (Some(signed), Some(refused)) if !self.trusted && (signed - refused).abs() <= ALIKE => {
                Guilt::Ourselves(SignedDuration::ZERO - signed)
            }
            (Some(signed), Some(refused)) => Guilt::Both(signed, refused),
            (Some(signed), None) => Guilt::Signer(signed),
            (None, Some(refused)) => Guilt::Refuser(refused),
            (None, None) => Guilt::ThirdBox,
        }
    }

    fn said(&self) -> Said {
        let text = |name| self.diagnostic.and_then(|line| line.params.text(name)).filter(|text| !text.is_empty());
        // `0xC3E93EE0(SIP_E_CRYPT_REFERRER_DATE_SKEWED)`: the name says more.
        let code =
            text("HRESULT").map(|code| code.split_once('(').map_or(code, |(_, name)| name.trim_end_matches(')')));
        let signed = self.identity.and_then(|identity| identity.signer.as_deref());
        let signer = signed.or_else(|| text("signer"));
        Said { code: code.map(shown), signer: signer.map(shown), source: text("source").map(shown) }
    }
}

/// What a peer's wrong clock breaks, and what to do.
pub fn peer_is_off(name: &str, offset: SignedDuration) -> Text {
    Text::new(
        format!("the clock of {name} is {}", Offset(offset)),
        "transfers that are signed or checked there will be refused (429), and its certificates and records go by the \
         wrong time",
        "set it right, or ours if all peers differ alike",
    )
}

/// What stands in the refusal, of use to an operator.
struct Said {
    code: Option<String>,
    signer: Option<String>,
    source: Option<String>,
}

/// A stranger's word, cut and cleaned for a log line.
fn shown(text: &str) -> String {
    quotable(text).chars().take(100).collect()
}

/// "30 s ahead of ours".
struct Offset(SignedDuration);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ours", Span(self.0.unsigned_abs()), way(self.0))
    }
}

fn way(offset: SignedDuration) -> &'static str {
    if offset.is_negative() { "behind" } else { "ahead of" }
}

/// A span of time in an operator's words: `30 s`, `5 min`, `5 h 2 min`, `3 days`.
pub(super) struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.0 + Duration::from_millis(500)).as_secs();
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, 0, s) => write!(f, "{s} s"),
            (0, m, 0) => write!(f, "{m} min"),
            (0, m, s) => write!(f, "{m} min {s} s"),
            (48.., ..) => write!(f, "{} days", seconds / 86_400),
            (h, 0, _) => write!(f, "{h} h"),
            (h, m, _) => write!(f, "{h} h {m} min"),
        }
    }
}
