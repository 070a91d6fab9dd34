//! Why a call ended: Q.850 causes, SIP statuses, the map between them (RFC 3398), and who is to
//! blame. Numbers for Microsoft's `ms-diagnostics` live here as well, because every refusal toward
//! Microsoft carries one.

use std::borrow::Cow;
use std::fmt;

use crate::private::Private;

/// A cause value of ITU-T Q.850.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cause(pub u8);

impl Cause {
    /// 1: unallocated number.
    pub const UNALLOCATED: Cause = Cause(1);
    /// 6: channel unacceptable.
    pub const CHANNEL_UNACCEPTABLE: Cause = Cause(6);
    /// 16: normal call clearing.
    pub const NORMAL: Cause = Cause(16);
    /// 17: user busy.
    pub const BUSY: Cause = Cause(17);
    /// 18: no user responding.
    pub const NO_RESPONSE: Cause = Cause(18);
    /// 19: alerted, no answer.
    pub const NO_ANSWER: Cause = Cause(19);
    /// 21: call rejected.
    pub const REJECTED: Cause = Cause(21);
    /// 27: destination out of order.
    pub const OUT_OF_ORDER: Cause = Cause(27);
    /// 28: invalid number format, address incomplete.
    pub const INCOMPLETE: Cause = Cause(28);
    /// 30: answer to STATUS ENQUIRY.
    pub const STATUS_ENQUIRY: Cause = Cause(30);
    /// 31: normal, unspecified.
    pub const UNSPECIFIED: Cause = Cause(31);
    /// 34: no circuit available.
    pub const NO_CIRCUIT: Cause = Cause(34);
    /// 38: network out of order.
    pub const NETWORK_OUT_OF_ORDER: Cause = Cause(38);
    /// 41: temporary failure.
    pub const TEMPORARY: Cause = Cause(41);
    /// 42: switching equipment congestion.
    pub const CONGESTION: Cause = Cause(42);
    /// 47: resource unavailable.
    pub const NO_RESOURCE: Cause = Cause(47);
    /// 3: no route to destination.
    pub const NO_ROUTE: Cause = Cause(3);
    /// 65: bearer capability not implemented.
    pub const BEARER_NOT_IMPLEMENTED: Cause = Cause(65);
    /// 69: facility not implemented.
    pub const FACILITY_NOT_IMPLEMENTED: Cause = Cause(69);
    /// 81: invalid call reference.
    pub const NO_SUCH_CALL: Cause = Cause(81);
    /// 88: incompatible destination.
    pub const INCOMPATIBLE: Cause = Cause(88);
    /// 96: mandatory element missing.
    pub const MANDATORY_MISSING: Cause = Cause(96);
    /// 97: message type unknown.
    pub const MESSAGE_UNKNOWN: Cause = Cause(97);
    /// 99: element unknown.
    pub const ELEMENT_UNKNOWN: Cause = Cause(99);
    /// 100: invalid element contents.
    pub const INVALID_CONTENTS: Cause = Cause(100);
    /// 101: message not compatible with the call's state.
    pub const WRONG_STATE: Cause = Cause(101);
    /// 102: recovery on timer expiry.
    pub const TIMER: Cause = Cause(102);
    /// 111: protocol error.
    pub const PROTOCOL: Cause = Cause(111);
    /// 127: interworking.
    pub const INTERWORKING: Cause = Cause(127);

    /// The cause that stands for a SIP failure status (RFC 3398 section 8.2.6.1).
    pub fn from_status(status: u16) -> Cause {
        Cause(match status {
            400 => 41,
            401 | 402 | 403 | 407 | 603 => 21,
            404 | 604 => 1,
            405 => 63,
            406 | 415 | 488 | 501 => 79,
            408 | 504 => 102,
            410 => 22,
            413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => 127,
            480 => 18,
            481 | 500 | 503 => 41,
            482 | 483 => 25,
            484 => 28,
            485 => 1,
            486 | 600 => 17,
            487 => 16,
            502 => 38,
            606 => 88,
            _ => 31,
        })
    }

    /// The SIP status that stands for this cause.
    pub fn status(self) -> u16 {
        self.known().map_or(500, |(_, status, _)| *status)
    }

    /// What Q.850 calls it.
    pub fn text(self) -> &'static str {
        self.known().map_or("Unknown cause", |(.., text)| text)
    }

    fn known(self) -> Option<&'static (u8, u16, &'static str)> {
        CAUSES.iter().find(|(value, ..)| *value == self.0)
    }

    /// The value of a Reason header (RFC 3326, RFC 6432).
    pub fn reason_header(self) -> String {
        format!("Q.850;cause={};text=\"{}\"", self.0, self.text())
    }
}

/// Causes of Q.850, their SIP statuses by RFC 3398 section 7.2.4.1 and their names. Where the RFC has none, a status of the
/// same kind: what another line may do better is a 503, what this caller may not do a 403.
const CAUSES: &[(u8, u16, &str)] = &[
    (1, 404, "Unallocated number"),
    (2, 404, "No route to transit network"),
    (3, 404, "No route to destination"),
    (4, 500, "Send special information tone"),
    (5, 404, "Misdialled trunk prefix"),
    (6, 503, "Channel unacceptable"),
    (7, 500, "Call awarded and being delivered"),
    (8, 503, "Preemption"),
    (9, 503, "Preemption, circuit reserved"),
    (14, 500, "Query on release"),
    (16, 487, "Normal call clearing"),
    (17, 486, "User busy"),
    (18, 408, "No user responding"),
    (19, 480, "No answer from user"),
    (20, 480, "Subscriber absent"),
    (21, 403, "Call rejected"),
    (22, 410, "Number changed"),
    (23, 410, "Redirection to new destination"),
    (24, 403, "Call rejected by a feature at the destination"),
    (25, 500, "Exchange routing error"),
    (26, 404, "Non-selected user clearing"),
    (27, 502, "Destination out of order"),
    (28, 484, "Invalid number format"),
    (29, 501, "Facility rejected"),
    (30, 500, "Response to STATUS ENQUIRY"),
    (31, 480, "Normal, unspecified"),
    (34, 503, "No circuit available"),
    (38, 503, "Network out of order"),
    (39, 503, "Permanent connection out of service"),
    (40, 503, "Permanent connection operational"),
    (41, 503, "Temporary failure"),
    (42, 503, "Switching equipment congestion"),
    (43, 500, "Access information discarded"),
    (44, 503, "Requested channel not available"),
    (46, 503, "Precedence call blocked"),
    (47, 503, "Resource unavailable"),
    (49, 503, "Quality of service not available"),
    (50, 403, "Facility not subscribed"),
    (52, 403, "Outgoing calls barred"),
    (53, 403, "Outgoing calls barred within the closed user group"),
    (54, 403, "Incoming calls barred"),
    (55, 403, "Incoming calls barred"),
    (57, 403, "Bearer capability not authorized"),
    (58, 503, "Bearer capability not available"),
    (62, 500, "Access information and subscriber class disagree"),
    (63, 405, "Service not available"),
    (65, 488, "Bearer capability not implemented"),
    (66, 488, "Channel type not implemented"),
    (69, 501, "Facility not implemented"),
    (70, 488, "Only restricted digital information available"),
    (79, 501, "Service not implemented"),
    (81, 500, "Invalid call reference"),
    (82, 503, "Identified channel does not exist"),
    (83, 500, "A suspended call exists, but not under this identity"),
    (84, 500, "Call identity in use"),
    (85, 500, "No call suspended"),
    (86, 500, "The call of this identity has been cleared"),
    (87, 403, "User not member of group"),
    (88, 503, "Incompatible destination"),
    (90, 500, "Closed user group does not exist"),
    (91, 404, "Invalid transit network selection"),
    (95, 500, "Invalid message"),
    (96, 500, "Mandatory element missing"),
    (97, 500, "Message type unknown"),
    (98, 500, "Message unknown or not compatible with the call's state"),
    (99, 500, "Element unknown"),
    (100, 500, "Invalid element contents"),
    (101, 500, "Message not compatible with the call's state"),
    (102, 504, "Recovery on timer expiry"),
    (103, 500, "Unknown parameter passed on"),
    (110, 500, "Message with an unknown parameter discarded"),
    (111, 500, "Protocol error"),
    (127, 500, "Interworking"),
];

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.text())
    }
}

/// Who made a call end as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guilty {
    /// Nobody: somebody hung up.
    Nobody,
    /// The peer broke the protocol or fell silent.
    Peer,
    /// The network or the far end refused, for the cause given.
    Network,
    /// Our configuration or our own limits.
    Us,
}

/// Why a leg ended or shall end: one value from the far end's last word to the near end's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The Q.850 cause.
    pub cause: Cause,
    /// The SIP status that the far end gave, or that fits better than the cause's own.
    pub status: Option<u16>,
    /// Who is to blame.
    pub guilty: Guilty,
    /// One sentence for the operator: what happened and, where we know it, what to do.
    pub why: Cow<'static, str>,
    /// What the refusal tells Microsoft, where it says more than the status.
    pub diagnostics: Option<Diagnostics>,
    /// What the peer that refused or hung up said beside its status.
    pub words: Option<Box<Words>>,
}

/// A refusal or an end in a peer's own words, header values as written: they go on to the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Warning (RFC 3261 section 20.43).
    pub warning: Option<Private<String>>,
    /// ms-diagnostics, which tells Microsoft's clients what to show.
    pub diagnostics: Option<Private<String>>,
    /// What the user tells the other one ([`crate::leg::UserUser`]).
    pub user_user: Option<Private<Vec<u8>>>,
}

impl Release {
    /// Somebody hung up.
    pub fn normal(why: impl Into<Cow<'static, str>>) -> Release {
        Release {
            cause: Cause::NORMAL,
            status: None,
            guilty: Guilty::Nobody,
            why: why.into(),
            diagnostics: None,
            words: None,
        }
    }

    /// Ended by `guilty` with `cause`.
    pub fn new(guilty: Guilty, cause: Cause, why: impl Into<Cow<'static, str>>) -> Release {
        Release { cause, status: None, guilty, why: why.into(), diagnostics: None, words: None }
    }

    /// The far end answered `status`; `cause` is from its Reason header when it sent one.
    pub fn refused(status: u16, cause: Option<Cause>, why: impl Into<Cow<'static, str>>) -> Release {
        Release {
            cause: cause.unwrap_or(Cause::from_status(status)),
            status: Some(status),
            guilty: Guilty::Network,
            why: why.into(),
            diagnostics: None,
            words: None,
        }
    }

    /// The same with what the peer said beside it.
    #[must_use]
    pub fn with_words(self, words: Words) -> Release {
        Release { words: (words != Words::default()).then(|| Box::new(words)), ..self }
    }

    /// What the user who ends the call tells the other one.
    pub fn user_user(&self) -> Option<&Private<Vec<u8>>> {
        self.words.as_ref().and_then(|words| words.user_user.as_ref())
    }

    /// The same with a SIP status of its own.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Release {
        self.status = Some(status);
        self
    }

    /// As the first of these rules that fits wants it told.
    #[must_use]
    pub fn translated(self, rules: &[RefusalRule]) -> Release {
        match rules.iter().find(|rule| rule.fits(&self)) {
            Some(rule) => rule.applied(self),
            None => self,
        }
    }

    /// The final SIP status that this release becomes toward a caller who still waits.
    pub fn final_status(&self) -> u16 {
        self.status.filter(|status| (300..700).contains(status)).unwrap_or(self.cause.status())
    }
}

/// A line of `[ResponseCodeRules]`: a refusal that shall be told as another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalRule {
    /// As the operator calls it.
    pub name: String,
    /// The SIP status that it is for; any without one.
    pub status: Option<u16>,
    /// The cause that it is for; any without one.
    pub cause: Option<Cause>,
    /// The status that is told instead.
    pub told_status: u16,
    /// The cause that is told instead.
    pub told_cause: Option<Cause>,
}

impl RefusalRule {
    fn fits(&self, release: &Release) -> bool {
        self.status.is_none_or(|status| status == release.final_status())
            && self.cause.is_none_or(|cause| cause == release.cause)
    }

    /// A cause that only stood for the status gives way to the one of the new status.
    fn applied(&self, release: Release) -> Release {
        let derived = release.cause == Cause::from_status(release.final_status());
        let cause =
            self.told_cause.unwrap_or(if derived { Cause::from_status(self.told_status) } else { release.cause });
        let (told, said) = ((self.told_status, cause), (release.final_status(), release.cause));
        let rule = &self.name;
        let why = format!(
            "{}; rule `{rule}` made {}, cause {} of {}, cause {}",
            release.why, told.0, told.1.0, said.0, said.1.0
        );
        Release { cause, status: Some(self.told_status), why: why.into(), ..release }
    }
}

/// The content of an `ms-diagnostics` header (facts: number, reason, component, attributes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// Microsoft's error number.
    pub number: u32,
    /// The reason text; peers act on the number alone.
    pub reason: Cow<'static, str>,
    /// Further attributes (`ErrorType="..";signer=".."`), kept from the public twin; empty when there are none.
    pub more: Private<String>,
}

impl Diagnostics {
    /// A number with its text.
    pub fn new(number: u32, reason: impl Into<Cow<'static, str>>) -> Diagnostics {
        Diagnostics { number, reason: reason.into(), more: Private::default() }
    }
}

/// The reason phrase that goes with a SIP status (RFC 3261 section 21 and successors).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        429 => "Provide Referrer Identity",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_survives_the_way_through_q850() {
        assert_eq!(Cause::from_status(486), Cause::BUSY);
        assert_eq!(Cause::BUSY.status(), 486);
        assert_eq!(Cause::BUSY.reason_header(), "Q.850;cause=17;text=\"User busy\"");
    }

    #[test]
    fn a_far_ends_own_status_is_kept() {
        assert_eq!(Release::refused(480, None, "").final_status(), 480);
        assert_eq!(Release::new(Guilty::Us, Cause::NO_CIRCUIT, "").final_status(), 503);
        assert_eq!(Release::normal("").with_status(200).final_status(), 487);
    }

    #[test]
    fn the_first_rule_that_fits_a_refusal_says_what_is_told_instead() {
        let rule = |name: &str, status, cause, told_status, told_cause| RefusalRule {
            name: name.into(),
            status,
            cause,
            told_status,
            told_cause,
        };
        let rules = [
            rule("Congestion", Some(486), Some(Cause::NO_CIRCUIT), 503, None),
            rule("Absent", None, Some(Cause::NO_RESPONSE), 480, Some(Cause::NO_ANSWER)),
            rule("Busy", Some(486), None, 600, None),
            rule("Slow", Some(408), None, 503, None),
        ];
        for (status, cause, told) in [
            (486, Some(Cause::NO_CIRCUIT), (503, Cause::NO_CIRCUIT, true)),
            (480, Some(Cause::NO_RESPONSE), (480, Cause::NO_ANSWER, true)),
            (486, None, (600, Cause::BUSY, true)),
            (408, None, (503, Cause::TEMPORARY, true)),
            (404, None, (404, Cause::UNALLOCATED, false)),
        ] {
            let release = Release::refused(status, cause, "the peer refused").translated(&rules);
            let changed = release.why.contains("rule `");
            assert_eq!((release.final_status(), release.cause, changed), told, "{status} {}", release.why);
        }
        // A line says a cause alone.
        let line = Release::new(Guilty::Network, Cause::NO_RESPONSE, "").translated(&rules);
        assert_eq!((line.final_status(), line.cause), (480, Cause::NO_ANSWER));
    }

    #[test]
    fn every_cause_has_a_final_status() {
        for value in 0..=127 {
            let status = Cause(value).status();
            assert!((400..700).contains(&status), "cause {value} became {status}");
            assert_ne!(reason_phrase(status), "Unknown");
        }
    }
}
