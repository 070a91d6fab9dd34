//! What operators are shown: the reports that logs, metrics and ladders are made of, and the
//! snapshot behind status pages. Plain values; numbers are masked to their last digits.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::alarm::Alarm;
use crate::cause::{Cause, Guilty, Release};
use crate::gateway;
use crate::hop::{SpanId, Transport, TrunkId};
use crate::identity::Verdict;
use crate::private::Private;
use crate::session::{Counters, Mos};
use crate::wire::sip::{Message, Method};

/// Which way a call goes, seen from the telephone network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Heading {
    /// The network calls us.
    In,
    /// We call the network.
    Out,
}

/// Which way a message goes, seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Received.
    Received,
    /// Sent.
    Sent,
}

/// Something worth a log line, a metric or a line in a ladder.
#[derive(Clone, Debug)]
pub enum Report {
    /// A call began.
    Began {
        /// Its correlation id.
        call: Arc<str>,
        /// Where it came from.
        from: TrunkId,
        /// The called number.
        called: Private<String>,
        /// The calling number.
        calling: Private<String>,
    },
    /// A message of a call passed.
    Message {
        /// The call's correlation id.
        call: Arc<str>,
        /// The trunk on the other end.
        trunk: TrunkId,
        /// How it travelled.
        transport: Transport,
        /// In or out.
        way: Way,
        /// The message.
        message: Message,
    },
    /// A Q.931 message of a call passed.
    Signal {
        /// The call's correlation id.
        call: Arc<str>,
        /// The span with the D channel.
        span: SpanId,
        /// In or out.
        way: Way,
        /// The message.
        octets: Private<Vec<u8>>,
    },
    /// A sentence for the ladder and the log: a decision and its reason.
    Note {
        /// The call's correlation id.
        call: Arc<str>,
        /// The sentence.
        text: Cow<'static, str>,
    },
    /// The call is over.
    Ended(Box<CallEnd>),
    /// One side's media counters grew.
    Media {
        /// The trunk on that side.
        trunk: TrunkId,
        /// By how much.
        grown: Counters,
    },
    /// A media thread was so late for its deadlines, at worst within a second.
    Late(Duration),
    /// A response was received or sent, for counting.
    Response {
        /// The trunk on the other end.
        trunk: TrunkId,
        /// The request's method.
        method: Method,
        /// The status.
        status: u16,
    },
    /// A transfer has come to its end.
    Transfer {
        /// The trunk of the side that was transferred.
        trunk: TrunkId,
        /// Who carried it out.
        mode: TransferMode,
        /// What came of it.
        result: TransferResult,
    },
    /// A transfer left a call on one line, and its exchange was asked to join the two ends.
    Shortened {
        /// The line's trunk.
        trunk: TrunkId,
        /// What came of it.
        result: TransferResult,
    },
    /// A trunk answers again or no longer.
    Trunk {
        /// Which.
        trunk: TrunkId,
        /// Does it answer?
        up: bool,
        /// What was seen and what to do.
        why: Cow<'static, str>,
    },
    /// A peer's clock is off, or right again.
    PeerClock {
        /// Whose.
        trunk: TrunkId,
        /// Is it right?
        good: bool,
        /// By how much it is off, what that breaks and what to do.
        why: Cow<'static, str>,
    },
    /// A gateway says something new of itself.
    Gateway {
        /// Which.
        trunk: TrunkId,
        /// What.
        news: gateway::News,
    },
    /// A transfer was asked for: what is to be said of its referrer's identity.
    Referrer {
        /// By whom.
        trunk: TrunkId,
        /// The verdict.
        verdict: Verdict,
    },
    /// Something happened on a line.
    Line {
        /// By the span of its D channel.
        line: SpanId,
        /// Is it as it should be?
        good: bool,
        /// What.
        text: String,
    },
    /// A request was refused before it became a call.
    Refused {
        /// From where.
        trunk: TrunkId,
        /// Our answer.
        status: u16,
        /// Why, and what to do.
        why: Cow<'static, str>,
    },
}

/// Who carries out a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferMode {
    /// This box: it places the new call.
    Handled,
    /// The gateway: it gets the REFER.
    Passed,
    /// This box, because the gateway that should have done it did not.
    TakenOver,
}

impl TransferMode {
    /// The `mode` label.
    pub fn text(self) -> &'static str {
        match self {
            TransferMode::Handled => "handled",
            TransferMode::Passed => "passed",
            TransferMode::TakenOver => "taken-over",
        }
    }
}

/// What came of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferResult {
    /// The target answered.
    Reached,
    /// It did not; the call went on as it was if the transferor was still there.
    Failed,
    /// The call ended first.
    Abandoned,
}

impl TransferResult {
    /// The `result` label.
    pub fn text(self) -> &'static str {
        match self {
            TransferResult::Reached => "reached",
            TransferResult::Failed => "failed",
            TransferResult::Abandoned => "abandoned",
        }
    }
}

/// A finished call.
#[derive(Clone, Debug)]
pub struct CallEnd {
    /// The correlation id.
    pub call: Arc<str>,
    /// The telephone network's trunk: the gateway it came from or the last one tried.
    pub gateway: Option<TrunkId>,
    /// In or out.
    pub heading: Heading,
    /// From INVITE to answer.
    pub setup: Option<Duration>,
    /// From answer to end.
    pub duration: Option<Duration>,
    /// Why it ended.
    pub release: Release,
    /// Who ended it.
    pub ended_by: &'static str,
    /// Media of both sides.
    pub media: [Counters; 2],
}

impl CallEnd {
    /// The `result` label: answered, busy, no-answer, cancelled, refused, failed.
    pub fn result(&self) -> &'static str {
        match (self.setup, self.release.cause, self.release.guilty) {
            (Some(_), ..) => "answered",
            (None, Cause::BUSY, _) => "busy",
            (None, Cause::NO_ANSWER | Cause::NO_RESPONSE, _) => "no-answer",
            (None, Cause::NORMAL, _) => "cancelled",
            (None, _, Guilty::Network) => "refused",
            (None, ..) => "failed",
        }
    }

    /// The worst score of any way of either leg; `None` when nothing was heard.
    pub fn mos(&self) -> Option<Mos> {
        self.media.iter().flat_map(|side| [side.mos_received, side.mos_sent]).flatten().min()
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// Ports are being opened or an attempt is out.
    Hunting,
    /// The far end rings or speaks.
    Alerting,
    /// Both talk.
    Connected,
    /// Legs finish.
    Ending,
}

/// A live call as `/api/calls` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct CallView {
    /// The correlation id.
    pub id: Arc<str>,
    /// In or out, seen from the telephone network.
    pub direction: Heading,
    /// The caller's trunk.
    pub from: String,
    /// The called trunk, as far as one is chosen.
    pub to: Option<String>,
    /// Masked.
    pub called: String,
    /// Masked.
    pub calling: String,
    /// How far it is.
    pub state: Progress,
    /// When the INVITE came (RFC 3339).
    pub began: String,
    /// Seconds since then.
    pub age_seconds: f64,
    /// The codec of each side, caller first.
    pub codecs: [Option<&'static str>; 2],
    /// Is each side encrypted, caller first?
    pub srtp: [bool; 2],
    /// Is it on hold?
    pub held: bool,
    /// Media of each side, caller first.
    pub media: [Counters; 2],
}

/// A trunk as `/api/trunks` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct TrunkView {
    /// `lync` or the gateway's name.
    pub name: String,
    /// Does it answer OPTIONS? `None` while nobody has asked.
    pub up: Option<bool>,
    /// Since when, in seconds.
    pub since_seconds: f64,
    /// What was seen last.
    pub why: String,
    /// Live calls, in and out, seen from the telephone network.
    pub calls: [u32; 2],
    /// Its limit.
    pub max_calls: Option<u32>,
    /// Its clock minus ours, to a second, as the Date of its messages shows it (positive: it is ahead).
    pub clock_offset_seconds: Option<i64>,
    /// How long ago its last Date was heard.
    pub clock_age_seconds: Option<f64>,
    /// The date of the last signed identity (ms-identity) that came from there minus our time.
    pub identity_offset_seconds: Option<f64>,
    /// How long ago that was heard.
    pub identity_age_seconds: Option<f64>,
    /// What a gateway says of itself.
    #[serde(skip_serializing_if = "gateway::View::is_empty")]
    pub gateway: gateway::View,
}

/// A span as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct SpanView {
    /// Which.
    #[serde(skip)]
    pub id: SpanId,
    /// Its section in the configuration.
    pub name: String,
    /// The gateway whose line it is.
    pub trunk: Option<String>,
    /// `T1` or `E1`.
    pub line: &'static str,
    /// The exchange's dialect.
    pub switch: &'static str,
    /// Is it there and without alarm?
    pub up: bool,
    /// LOS, LOF, AIS, RAI.
    pub alarms: Vec<&'static str>,
    /// For how long it has been so.
    pub since_seconds: f64,
    /// Why it is not there; empty otherwise.
    pub why: String,
    /// An operator took it down.
    pub forced_down: bool,
    /// Where an operator loops it back, in its driver's words: `local`, `line`, `payload`.
    pub loop_back: Option<&'static str>,
    /// Who takes echoes out of its calls: `card`, `software`; none before the first call, or where nobody does.
    pub echo_canceller: Option<&'static str>,
    /// How the data link of its D channel is; none without a D channel.
    pub d_channel: Option<&'static str>,
    /// It is up, and another line's is in use.
    pub d_channel_stands_by: bool,
    /// What went wrong there last.
    pub d_channel_fault: Option<String>,
    /// Timeslots that one end alone held for busy, until a RESTART healed that, since the line was begun.
    pub healed_timeslots: u64,
    /// Every timeslot, in order.
    pub timeslots: Vec<TimeslotView>,
    /// What went wrong on it so far, as its driver counts; none while it is not there.
    pub counters: Option<SpanCounters>,
    /// The capture of its D channel, while one is written.
    pub capture: Option<CaptureView>,
}

/// A capture as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaptureView {
    /// Where it is written to.
    pub file: String,
    /// Frames that the disk was too slow for.
    pub missed: u64,
}

impl SpanView {
    /// How many timeslots carry a call, or one that is being set up.
    pub fn busy(&self) -> usize {
        self.timeslots.iter().filter(|slot| slot.call).count()
    }

    /// Does its D channel carry signalling, if at times slowly?
    pub fn d_channel_is_up(&self) -> bool {
        matches!(self.d_channel, Some("up" | "peer-busy" | "recovering"))
    }
}

/// A timeslot as operators see it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimeslotView {
    /// By the line's own count.
    pub timeslot: u8,
    /// `idle`, `in`, `out`, `setup`, `blocked-near`, `blocked-far`, `blocked-unsure`, `dchannel`.
    pub state: &'static str,
    /// Does it carry a call, or one that is being set up? A timeslot that is restarted is `setup` without one.
    #[serde(skip)]
    pub call: bool,
}

/// What went wrong on a span since it was opened.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SpanCounters {
    /// Seconds with an error of any kind.
    pub errored_seconds: u64,
    /// Pulses against the line code.
    pub code_violations: u64,
    /// Framing bits and CRC blocks that were wrong.
    pub frame_errors: u64,
    /// Frames of 125 µs that were repeated or left out.
    pub slips: u64,
    /// D channel frames that were broken.
    pub bad_hdlc_frames: u64,
}

/// Everything an operator may ask, at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Live calls, oldest first.
    pub calls: Vec<CallView>,
    /// Trunks in the order of the configuration.
    pub trunks: Vec<TrunkView>,
    /// Lines in the order of the configuration.
    pub spans: Vec<SpanView>,
    /// What breaks calls, trunk by trunk.
    pub alarms: Vec<Alarm>,
    /// Running SIP transactions.
    pub transactions: usize,
    /// No new calls are taken.
    pub draining: bool,
}

/// A number with all but its last three digits hidden; the whole when numbers may be shown.
pub(super) fn masked(number: &Private<String>) -> String {
    let shown = number.to_string();
    if shown != "(hidden)" {
        return shown;
    }
    Private(number.get().split(';').next().unwrap_or_default().to_owned()).tail()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked_to_their_last_digits() {
        assert_eq!(masked(&Private("+13125556789".into())), "…789");
        assert_eq!(masked(&Private("2160;phone-context=x".into())), "…160");
        assert_eq!(masked(&Private("é1".into())), "…");
    }
}
