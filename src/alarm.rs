//! Alarms: what breaks calls, or will, said so that an operator can act. Whoever notices makes the value; the shell gathers
//! all that stand.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::time::{Instant, Now};

/// How bad it is, in the words of ITU-T X.733; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Calls fail for most callers.
    Critical,
    /// Some calls or transfers fail.
    Major,
    /// Nothing fails that was not made good; something no longer protects us.
    Minor,
    /// Something will fail if nobody acts.
    Warning,
}

impl Severity {
    /// All of them.
    pub const ALL: [Severity; 4] = [Severity::Critical, Severity::Major, Severity::Minor, Severity::Warning];

    /// The word.
    pub fn text(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Major => "major",
            Severity::Minor => "minor",
            Severity::Warning => "warning",
        }
    }
}

/// What an alarm says. Prints as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Text {
    /// What is wrong, as it was seen.
    pub what: Cow<'static, str>,
    /// What users notice, and when.
    pub breaks: Cow<'static, str>,
    /// What to do.
    pub remedy: Cow<'static, str>,
}

impl Text {
    /// From its three parts.
    pub fn new(
        what: impl Into<Cow<'static, str>>,
        breaks: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Text {
        Text { what: what.into(), breaks: breaks.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.breaks, self.remedy)
    }
}

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarm {
    /// What it is about: `clock`, `certificate`, or the name of a trunk or span.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// Since when.
    #[serde(serialize_with = "to_the_second")]
    pub since: Timestamp,
    /// The same, in seconds until now.
    pub age_seconds: f64,
    /// What to know and do.
    #[serde(flatten)]
    pub text: Text,
}

impl Alarm {
    /// One that has stood since `since`.
    pub fn new(now: Now, since: Instant, severity: Severity, subject: impl Into<String>, text: Text) -> Alarm {
        let since = now.wall.checked_sub(now.mono.since(since)).unwrap_or(now.wall);
        Alarm::dated(now, since, severity, subject, text)
    }

    /// The same, with a date that is older than this process, or tells of a calendar.
    pub fn dated(now: Now, since: Timestamp, severity: Severity, subject: impl Into<String>, text: Text) -> Alarm {
        let age_seconds = now.wall.duration_since(since).as_secs_f64();
        Alarm { subject: subject.into(), severity, since, age_seconds, text }
    }
}

fn to_the_second<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Timestamp::from_second(at.as_second()).unwrap_or(*at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_alarm_says_since_when_what_breaks_and_what_to_do() {
        let (start, now) = (Now::virtual_start(), Now::virtual_start().after(Duration::from_millis(90_500)));
        let text = Text::new("Gateway1 does not answer", "its calls fail", "switch it on");
        assert_eq!(text.to_string(), "Gateway1 does not answer: its calls fail; switch it on");
        let alarm = Alarm::new(now, start.mono, Severity::Major, "Gateway1", text);
        let expected = serde_json::json!({
            "subject": "Gateway1", "severity": "major", "since": "2026-11-20T23:00:00Z", "age_seconds": 90.5,
            "what": "Gateway1 does not answer", "breaks": "its calls fail", "remedy": "switch it on",
        });
        assert_eq!(serde_json::to_value(alarm).unwrap(), expected);
        assert!(Severity::ALL.is_sorted() && Severity::ALL[0].text() == "critical");
    }
}
