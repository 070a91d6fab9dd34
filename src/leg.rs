//! The six words that legs speak: Setup, Progress, Answer, Release, Change, Transfer.
//!
//! A leg is half a call: a SIP dialog or a Q.931 call. The call above says [`Order`]s to a leg and
//! hears [`Word`]s from it, and cannot tell which kind it is. What a leg agreed about media comes
//! up as a finished [`Stream`]; what it shall offer or accept goes down as [`Terms`].

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::cause::Release;
use crate::private::Private;
use crate::session::{Codec, Digit, Direction, Stream};

/// Who is called, who calls. Users are as on the wire: `+13125556789`, `2160;phone-context=x`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    /// The called number.
    pub called: Private<String>,
    /// The calling number; empty when withheld.
    pub calling: Private<String>,
    /// The caller's display name; empty when unknown.
    pub name: Private<String>,
    /// The caller asked not to be shown (RFC 3323 `id`).
    pub withheld: bool,
    /// Who was called before, the first one first; of many the first and the last.
    pub diversions: Vec<Diversion>,
    /// What the caller tells the called.
    pub user_user: Option<UserUser>,
    /// Somebody else asked for this call.
    pub referral: Option<Box<Referral>>,
}

/// Somebody who takes part in a call, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// The number; empty when unknown.
    pub number: Private<String>,
    /// The display name; empty when unknown.
    pub name: Private<String>,
    /// It shall not be shown.
    pub withheld: bool,
}

/// Somebody was called, and the call went on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diversion {
    /// Who.
    pub party: Party,
    /// Why it went on.
    pub why: Diverted,
}

/// Why a call goes on to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diverted {
    /// Nobody said.
    Unknown,
    /// Busy.
    Busy,
    /// No answer.
    NoAnswer,
    /// All calls go on.
    Always,
    /// The called wanted this one elsewhere.
    Deflected,
    /// The called's telephone could not be reached.
    OutOfReach,
}

/// What the called end tells beside how far the call is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Who rings or answered, where that is known.
    pub party: Option<Party>,
    /// What it tells the caller.
    pub user_user: Option<UserUser>,
}

/// What users tell each other beside their call, passed as it is: a protocol discriminator, then what it says (Q.931 section
/// 4.5.30, RFC 7434).
pub type UserUser = Private<Vec<u8>>;

/// A call that a peer asks us for: its partner shall be connected with somebody else (RFC 3515).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referral {
    /// Whom to call: the URI of Refer-To, as written, fit for a request line.
    pub target: Private<String>,
    /// The value of the Replaces that the new INVITE shall carry (RFC 3891).
    pub replaces: Option<Private<String>>,
    /// The value of Referred-By (RFC 3892), byte for byte: it may be signed.
    pub referred_by: Option<Private<Vec<u8>>>,
    /// Who was asked: the URI by which the signer of Referred-By knows the one who now calls.
    pub referee: Private<String>,
    /// The Date of the REFER.
    pub date: Option<Timestamp>,
}

/// A call that a peer shall place by itself, through us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The number to call; empty when it is none.
    pub number: Private<String>,
    /// By this word its call is known when it comes.
    pub token: String,
    /// The value of Referred-By.
    pub referred_by: Option<Private<Vec<u8>>>,
}

/// What becomes of a transfer that a peer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is tried.
    Taken,
    /// The new call is so far: a provisional status.
    At(u16),
    /// The new call is answered.
    Reached,
    /// The new call ended otherwise.
    Failed(Release),
    /// It is not even tried.
    Refused(Release),
}

/// What a leg may offer or accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Our media address on this side: RTP; RTCP is one port above.
    pub local: SocketAddr,
    /// Allowed codecs, best first; never empty.
    pub codecs: Vec<Codec>,
    /// Which way sound may go, seen from us.
    pub direction: Direction,
    /// May RFC 4733 events be agreed?
    pub telephone_event: bool,
    /// May comfort noise (RFC 3389) be agreed? Only where the other side takes pauses as well.
    pub comfort_noise: bool,
}

/// One of several answers to one INVITE (RFC 3261 section 13.2.2.4): 0 is the first heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fork(pub u16);

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The far end rings; the near end plays its own ringing.
    Ringing,
    /// Something is heard in the band: tones, announcements.
    InBand,
    /// Being forwarded, queued: the status tells (181, 182).
    Other(u16),
}

/// What the peer wants to hear and say, before it is agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The codecs that both the peer and the media plane know, in the peer's order.
    pub codecs: Vec<Codec>,
    /// Which way sound shall go, seen from us.
    pub direction: Direction,
    /// It knows comfort noise (RFC 3389).
    pub comfort_noise: bool,
}

/// What the call tells a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To a caller: how far it is. With `terms` the caller hears what the far end sends.
    Progress {
        /// What to say.
        stage: Stage,
        /// Which of the far end's forks it comes from.
        fork: Fork,
        /// Agree on media already now.
        terms: Option<Terms>,
        /// What it tells.
        told: Box<Told>,
    },
    /// To a caller: the far end answered.
    Answer {
        /// What may be agreed.
        terms: Terms,
        /// Which of the far end's forks answered.
        fork: Fork,
        /// What it tells.
        told: Box<Told>,
    },
    /// End the leg, whatever it is doing. The leg says no further word.
    Release(Release),
    /// Offer the peer a change (hold, resume, another codec).
    Change(Terms),
    /// The peer's [`Word::Change`] is granted on these terms.
    Grant(Terms),
    /// The peer's [`Word::Change`] is refused.
    Deny(Release),
    /// Tell the peer in signalling that this digit was pressed for so long.
    Digit(Digit, Duration),
    /// What becomes of the peer's [`Word::Transfer`]. Also after [`Order::Release`], and after the peer hung up: it may
    /// still listen.
    Transfer(Outcome),
    /// The peer shall place a call of its own in place of this one. [`Word::Referred`] tells what comes of it.
    Refer(Box<Passage>),
}

/// What a leg tells the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The called end makes progress. `media` is there when it is to be heard.
    Progress {
        /// What the peer said.
        stage: Stage,
        /// Who said it.
        fork: Fork,
        /// Early media, agreed.
        media: Option<Stream>,
        /// What it tells.
        told: Box<Told>,
    },
    /// The called end answered.
    Answer {
        /// Which fork.
        fork: Fork,
        /// Agreed media.
        media: Stream,
        /// What it tells.
        told: Box<Told>,
    },
    /// What was agreed changed without the call asking: an answer to an offer of ours that came
    /// late (in an ACK or PRACK), a granted change, a new address of the peer. To a caller's leg also what
    /// [`Order::Progress`] and [`Order::Answer`] came to. Never the same stream twice in a row.
    Media(Stream),
    /// The peer wants a change and waits for [`Order::Grant`] or [`Order::Deny`].
    Change(Wish),
    /// Our [`Order::Change`] was accepted.
    Changed(Stream),
    /// Our [`Order::Change`] was refused; all stays as it was.
    Unchanged(Release),
    /// The peer says in signalling that this digit was pressed for so long.
    Digit(Digit, Duration),
    /// The leg is over. It may still have a message or two to repeat, the call need not care.
    Released(Release),
    /// The peer asks for another call in place of this one, and waits for [`Order::Transfer`].
    Transfer(Box<Referral>),
    /// What comes of our [`Order::Refer`].
    Referred(Outcome),
}
