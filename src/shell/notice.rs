//! What `/api/events` tells: the part of the observer's news that changes what the pages show, without numbers and names.

use std::sync::Arc;

use serde::Serialize;

use super::observe::{Names, News};
use crate::call::Report;
use crate::clock;
use crate::session::Mos;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Notice {
    /// A call began.
    CallBegan {
        /// Its correlation id.
        call: Arc<str>,
        /// The trunk that it came from.
        from: String,
    },
    /// A call is over.
    CallEnded {
        /// Its correlation id.
        call: Arc<str>,
        /// The telephone network's trunk, if one was tried.
        gateway: Option<String>,
        /// answered, busy, no-answer, cancelled, refused, failed.
        result: &'static str,
        /// Who ended it.
        ended_by: &'static str,
        /// Q.850.
        cause: u8,
        /// From INVITE to answer.
        setup_seconds: Option<f64>,
        /// From answer to end.
        duration_seconds: Option<f64>,
        /// The worst score of any way.
        mos: Option<Mos>,
    },
    /// A trunk answers again or no longer; its gateway or its clock says something new.
    Trunk {
        /// Which.
        trunk: String,
        /// Is it better than before?
        good: bool,
        /// What.
        what: String,
    },
    /// Something happened on a line.
    Line {
        /// The span of its D channel.
        span: String,
        /// Is it as it should be?
        good: bool,
        /// What.
        what: String,
    },
    /// Our clock.
    Clock {
        /// Is it better than before?
        good: bool,
        /// What.
        what: String,
    },
    /// The configuration was read again.
    Reload {
        /// Is it in use?
        good: bool,
    },
    /// This listener was too slow and has missed some.
    Lost {
        /// How many.
        events: u64,
    },
}

impl Notice {
    /// What there is to tell of the news.
    pub fn of(news: &News, names: &Names) -> Option<Notice> {
        match news {
            News::Report(_, report) => Notice::of_report(report, names),
            News::Clock(report) => {
                let (good, what) = clock_words(report);
                Some(Notice::Clock { good, what })
            }
            // The words of a bad reload quote the file.
            News::Reload { good, .. } => Some(Notice::Reload { good: *good }),
            _ => None,
        }
    }

    fn of_report(report: &Report, names: &Names) -> Option<Notice> {
        let on_trunk = |trunk, good, what: &str| {
            let (trunk, what) = (names.trunk(trunk).to_owned(), what.to_owned());
            Some(Notice::Trunk { trunk, good, what })
        };
        match report {
            Report::Began { call, from, .. } => {
                Some(Notice::CallBegan { call: call.clone(), from: names.trunk(*from).to_owned() })
            }
            Report::Ended(end) => Some(Notice::CallEnded {
                call: end.call.clone(),
                gateway: end.gateway.map(|trunk| names.trunk(trunk).to_owned()),
                result: end.result(),
                ended_by: end.ended_by,
                cause: end.release.cause.0,
                setup_seconds: end.setup.map(|time| time.as_secs_f64()),
                duration_seconds: end.duration.map(|time| time.as_secs_f64()),
                mos: end.mos(),
            }),
            Report::Trunk { trunk, up, why } => on_trunk(*trunk, *up, why),
            Report::PeerClock { trunk, good, why } => on_trunk(*trunk, *good, why),
            Report::Gateway { trunk, news } => on_trunk(*trunk, news.good, &news.what),
            Report::Line { line, good, text } => {
                Some(Notice::Line { span: names.span(*line).to_owned(), good: *good, what: text.clone() })
            }
            _ => None,
        }
    }
}

fn clock_words(report: &clock::Report) -> (bool, String) {
    match report {
        clock::Report::Known { .. } => (true, "the true time is known".to_owned()),
        clock::Report::Stepped(_) => (false, "the system's clock was stepped".to_owned()),
        clock::Report::Raised(concern) => (false, concern.to_string()),
        clock::Report::Cleared(concern) => (true, format!("it is over: {concern}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{CallEnd, Heading};
    use crate::cause::{Cause, Guilty, Release};
    use crate::hop::{SpanId, TrunkId};
    use crate::private::Private;
    use crate::session::Counters;
    use crate::time::Now;

    #[test]
    fn what_changes_the_pages_is_told_without_numbers() {
        let names = Names::of([(TrunkId(1), "Gateway1")], [(SpanId(2), "Span2")]);
        let end = CallEnd {
            call: "c1".into(),
            gateway: Some(TrunkId(1)),
            heading: Heading::Out,
            setup: Some(Duration::from_millis(1500)),
            duration: Some(Duration::from_secs(61)),
            release: Release::new(Guilty::Network, Cause::NORMAL, "Normal call clearing"),
            ended_by: "called",
            media: [Counters { mos_sent: Some(Mos::new(4.1)), ..Counters::default() }, Counters::default()],
        };
        let number = || Private("+13125556789".to_owned());
        let began = Report::Began { call: "c1".into(), from: TrunkId(9), called: number(), calling: number() };
        let at = Now::virtual_start().wall;
        let line = Report::Line { line: SpanId(2), good: false, text: "LOS".to_owned() };
        let cases = [
            (News::Report(at, began), serde_json::json!({ "event": "call-began", "call": "c1", "from": "removed" })),
            (
                News::Report(at, Report::Ended(Box::new(end))),
                serde_json::json!({ "event": "call-ended", "call": "c1", "gateway": "Gateway1", "result": "answered",
                    "ended_by": "called", "cause": 16, "setup_seconds": 1.5, "duration_seconds": 61.0, "mos": 4.1 }),
            ),
            (
                News::Report(at, Report::Trunk { trunk: TrunkId(1), up: false, why: "no answer".into() }),
                serde_json::json!({ "event": "trunk", "trunk": "Gateway1", "good": false, "what": "no answer" }),
            ),
            (
                News::Report(at, line),
                serde_json::json!({ "event": "line", "span": "Span2", "good": false, "what": "LOS" }),
            ),
            (
                News::Clock(clock::Report::Stepped(jiff::SignedDuration::from_secs(3))),
                serde_json::json!({ "event": "clock", "good": false, "what": "the system's clock was stepped" }),
            ),
            (
                News::Reload { good: false, what: "demarc.ini:3".to_owned() },
                serde_json::json!({ "event": "reload", "good": false }),
            ),
        ];
        for (news, expected) in cases {
            assert_eq!(serde_json::to_value(Notice::of(&news, &names).unwrap()).unwrap(), expected);
        }
        assert_eq!(Notice::of(&News::Report(at, Report::Late(Duration::ZERO)), &names), None);
    }
}
