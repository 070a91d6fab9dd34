//! What a gateway says of itself beside its calls: up to three voices, and one standing made of what they say.
//!
//! 1. A voice tells an alarm when it comes and when it goes.
//! 2. When it can no longer be heard, that is told, and what it said last stands as it was.
//! 3. When it begins anew (another configuration), what it said before is void.
//!
//! Nothing here stops a call: see [`Standing::blame`].

pub mod rest;
#[cfg(test)]
mod tests;
pub mod trap;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::alarm::{Alarm, Severity, Text};
use crate::cause::{Cause, Release};
use crate::time::{Instant, Now};

/// Lines and alarms of one gateway that are kept; a gateway of this class has some dozens.
const MOST: usize = 256;

/// Who tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Voice {
    /// Its serial console.
    Console,
    /// Its REST interface.
    Rest,
    /// Its SNMP traps.
    Trap,
}

impl Voice {
    /// Its label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Voice::Console => "console",
            Voice::Rest => "rest",
            Voice::Trap => "trap",
        }
    }

    /// Its name for operators.
    pub fn text(self) -> &'static str {
        match self {
            Voice::Console => "console",
            Voice::Rest => "REST interface",
            Voice::Trap => "SNMP trap",
        }
    }
}

/// What can be wrong with a T1 or E1 line of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineAlarm {
    /// No signal.
    Los,
    /// A signal without frames.
    Lof,
    /// All ones.
    Ais,
    /// The far end has lost us.
    Rai,
    /// Out of operation, for whatever reason.
    Down,
}

impl LineAlarm {
    /// All of them.
    pub const ALL: [LineAlarm; 5] = [LineAlarm::Los, LineAlarm::Lof, LineAlarm::Ais, LineAlarm::Rai, LineAlarm::Down];

    /// What the field calls it.
    pub fn text(self) -> &'static str {
        match self {
            LineAlarm::Los => "LOS",
            LineAlarm::Lof => "LOF",
            LineAlarm::Ais => "AIS",
            LineAlarm::Rai => "RAI",
            LineAlarm::Down => "down",
        }
    }
}

/// What an alarm is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A line.
    Line(Arc<str>, LineAlarm),
    /// Something else, as the administrator calls it.
    Named(Arc<str>),
}

impl Subject {
    /// Reads an administrator's name: `T1-1 LOS` is of the line T1-1.
    pub fn named(name: &str) -> Subject {
        let line = name.rsplit_once(char::is_whitespace).and_then(|(line, word)| {
            let alarm = LineAlarm::ALL.into_iter().find(|alarm| alarm.text().eq_ignore_ascii_case(word))?;
            Some(Subject::Line(line.trim_end().into(), alarm))
        });
        line.unwrap_or_else(|| Subject::Named(name.into()))
    }
}

impl Subject {
    /// How bad it is, what breaks, what to do.
    fn meaning(&self) -> (Severity, &'static str, &'static str) {
        let calls = "its calls over this line fail, and are tried all the same";
        let Subject::Line(_, alarm) = self else {
            return (Severity::Warning, "what it means for calls is the gateway's to say", "look at the gateway");
        };
        let remedy = match alarm {
            LineAlarm::Los => "check the cable, then ask the carrier",
            LineAlarm::Lof => "compare framing and line code with the carrier's",
            LineAlarm::Ais => "ask the carrier: its equipment is cut off from the network",
            LineAlarm::Rai => "the far end does not hear the gateway: check the pair it sends on",
            LineAlarm::Down => "look at the gateway: the line may have been put out of service there",
        };
        (Severity::Major, calls, remedy)
    }
}

/// The state of a line: which of its alarms stand.
pub(crate) fn line_words<S: Fn(LineAlarm) -> bool>(line: &str, stands: S) -> impl Iterator<Item = Word> + use<S> {
    let line: Arc<str> = line.into();
    LineAlarm::ALL.into_iter().map(move |alarm| Word::Alarm(Subject::Line(line.clone(), alarm), stands(alarm)))
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Line(line, alarm) => write!(f, "line {line} {}", alarm.text()),
            Subject::Named(name) => f.write_str(name),
        }
    }
}

/// What a voice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It begins anew.
    Anew,
    /// It is heard.
    Heard,
    /// It is not: why, and what to do.
    Lost(Cow<'static, str>, &'static str),
    /// An alarm stands, or does not.
    Alarm(Subject, bool),
}

/// What has changed, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Is it better than before?
    pub good: bool,
    /// What.
    pub what: String,
}

impl News {
    fn new(good: bool, what: impl Into<String>) -> Option<News> {
        Some(News { good, what: what.into() })
    }
}

/// An alarm that stands, or a line without one.
#[derive(Clone, Debug)]
struct Condition {
    voice: Voice,
    subject: Subject,
    stands: bool,
    since: Instant,
}

/// Why a voice is not heard, and what to do.
type Lost = (Cow<'static, str>, &'static str);

/// A voice.
#[derive(Clone, Debug)]
struct Hearing {
    voice: Voice,
    lost: Option<Lost>,
    since: Instant,
}

/// What is known of a gateway by its voices.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    hearings: Vec<Hearing>,
    conditions: Vec<Condition>,
}

impl Standing {
    /// Takes a word; what is worth a line in the log.
    pub fn hear(&mut self, now: Instant, voice: Voice, word: Word) -> Option<News> {
        match word {
            Word::Anew => {
                self.hearings.retain(|hearing| hearing.voice != voice);
                self.conditions.retain(|condition| condition.voice != voice);
                None
            }
            Word::Heard => self.heard(now, voice, None),
            Word::Lost(why, remedy) => self.heard(now, voice, Some((why, remedy))),
            Word::Alarm(subject, stands) => self.alarm(now, voice, subject, stands),
        }
    }

    fn heard(&mut self, now: Instant, voice: Voice, lost: Option<Lost>) -> Option<News> {
        let name = voice.text();
        let news = match &lost {
            None if voice == Voice::Trap => None,
            None => News::new(true, format!("its {name} is read")),
            Some((why, remedy)) => News::new(false, format!("its {name} cannot be read: {why}; {remedy}")),
        };
        match self.hearings.iter_mut().find(|hearing| hearing.voice == voice) {
            Some(hearing) if hearing.lost == lost => None,
            Some(hearing) => {
                *hearing = Hearing { voice, lost, since: now };
                news
            }
            None => {
                self.hearings.push(Hearing { voice, lost, since: now });
                news
            }
        }
    }

    fn alarm(&mut self, now: Instant, voice: Voice, subject: Subject, stands: bool) -> Option<News> {
        let same = |condition: &&mut Condition| condition.voice == voice && condition.subject == subject;
        let what = |stands: bool| match stands {
            true => format!("alarm: {subject}, as its {} says", voice.text()),
            false => format!("alarm is over: {subject}"),
        };
        let full = self.conditions.len() >= MOST;
        match self.conditions.iter_mut().find(same) {
            Some(condition) if condition.stands == stands => None,
            Some(condition) => {
                (condition.stands, condition.since) = (stands, now);
                News::new(!stands, what(stands))
            }
            None if full => None,
            None => {
                let news = stands.then(|| what(true)).and_then(|what| News::new(false, what));
                self.conditions.push(Condition { voice, subject, stands, since: now });
                news
            }
        }
    }

    /// The line alarm that may be why the gateway refused a call as it did.
    pub fn blame(&self, now: Instant, release: &Release) -> Option<String> {
        let fits = matches!(
            release.cause,
            Cause::NO_CIRCUIT | Cause::NETWORK_OUT_OF_ORDER | Cause::TEMPORARY | Cause::CONGESTION
        );
        // A trap tells of interfaces of any kind that they are down.
        let of_line = |condition: &&Condition| match condition.subject {
            Subject::Line(_, LineAlarm::Down) => condition.stands && condition.voice != Voice::Trap,
            Subject::Line(..) => condition.stands,
            Subject::Named(_) => false,
        };
        let condition = self.conditions.iter().filter(|_| fits).find(of_line)?;
        let (subject, age) = (&condition.subject, age(now, condition.since));
        Some(format!("its {subject} stands since {age}, as its {} says", condition.voice.text()))
    }

    /// What operators must know; `name` is the gateway's.
    pub fn alarms(&self, now: Now, name: &str) -> impl Iterator<Item = Alarm> {
        let lost = self.hearings.iter().filter_map(move |hearing| {
            let (why, remedy) = hearing.lost.as_ref()?;
            let what = format!("the {} of {name} cannot be read: {why}", hearing.voice.text());
            let text = Text::new(what, "alarms of the gateway come late or not at all", *remedy);
            Some(Alarm::new(now, hearing.since, Severity::Minor, name, text))
        });
        let standing = self.conditions.iter().filter(|condition| condition.stands).map(move |condition| {
            let (severity, breaks, remedy) = condition.subject.meaning();
            let what = format!("{name} says by its {}: {}", condition.voice.text(), condition.subject);
            Alarm::new(now, condition.since, severity, name, Text::new(what, breaks, remedy))
        });
        lost.chain(standing)
    }

    /// What operators are shown.
    pub fn view(&self, now: Instant) -> View {
        let seconds = |since: Instant| now.since(since).as_secs_f64();
        let voices = self.hearings.iter().map(|hearing| VoiceView {
            voice: hearing.voice,
            heard: hearing.lost.is_none(),
            why: hearing.lost.as_ref().map(|(why, _)| why.to_string()),
            since_seconds: seconds(hearing.since),
        });
        let mut view = View { voices: voices.collect(), ..View::default() };
        for Condition { voice, subject, stands, since } in &self.conditions {
            let (told_by, since_seconds) = (*voice, seconds(*since));
            match subject {
                Subject::Line(line, alarm) => {
                    let alarm = stands.then(|| LineAlarmView { alarm: alarm.text(), since_seconds, told_by });
                    view.line(line).alarms.extend(alarm);
                }
                Subject::Named(name) if *stands => {
                    view.alarms.push(AlarmView { name: name.to_string(), since_seconds, told_by });
                }
                Subject::Named(_) => {}
            }
        }
        view
    }
}

fn age(now: Instant, since: Instant) -> String {
    let age = now.since(since);
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", age.as_secs() / Duration::from_secs(3600).as_secs()),
    }
}

/// What a gateway says of itself, as `/api/trunks` shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// Who tells.
    pub voices: Vec<VoiceView>,
    /// Its lines, as far as a voice has named them.
    pub lines: Vec<LineView>,
    /// Alarms of something else than a line.
    pub alarms: Vec<AlarmView>,
}

impl View {
    /// Has nobody said anything?
    pub fn is_empty(&self) -> bool {
        self.voices.is_empty() && self.lines.is_empty() && self.alarms.is_empty()
    }

    fn line(&mut self, name: &str) -> &mut LineView {
        let at = self.lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
            self.lines.push(LineView { name: name.to_owned(), alarms: Vec::new() });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }
}

/// A voice as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct VoiceView {
    /// Which.
    pub voice: Voice,
    /// Is it heard?
    pub heard: bool,
    /// Why not.
    pub why: Option<String>,
    /// Since when.
    pub since_seconds: f64,
}

/// A line.
#[derive(Clone, Debug, Serialize)]
pub struct LineView {
    /// As the voice calls it.
    pub name: String,
    /// Its alarms.
    pub alarms: Vec<LineAlarmView>,
}

/// An alarm of a line.
#[derive(Clone, Debug, Serialize)]
pub struct LineAlarmView {
    /// LOS, LOF, AIS, RAI or down.
    pub alarm: &'static str,
    /// Since when.
    pub since_seconds: f64,
    /// By whom.
    pub told_by: Voice,
}

/// Another alarm.
#[derive(Clone, Debug, Serialize)]
pub struct AlarmView {
    /// As the administrator calls it.
    pub name: String,
    /// Since when.
    pub since_seconds: f64,
    /// By whom.
    pub told_by: Voice,
}
