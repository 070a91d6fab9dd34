//! The numbers of the exchange: what each does, by its last four digits.
//!
//! The one table of it is [`PLAN`]; the manual's is made from it. A behaviour is played as steps, one after the other.

use std::time::Duration;

use super::Says;
use crate::cause::Cause;
use crate::tone::{Cadence, SPECIAL_INFORMATION, Tones};

/// What a number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Rings for so long, answers, says this, and hangs up after so long.
    Answer {
        /// How long it rings.
        rings: Duration,
        /// What is heard.
        says: Says,
        /// How long the call lasts; `None` until the caller hangs up.
        lasts: Option<Duration>,
    },
    /// Rings until the caller hangs up.
    RingOn,
    /// An announcement for so long, before it answers.
    Announce(Duration),
    /// Refuses the call: `tones` that the caller can listen to, or the bare cause.
    Refuse {
        /// Why.
        cause: Cause,
        /// With a tone in the timeslot and progress indicator 8.
        tones: bool,
    },
    /// The busy tone without an end of the call: PROGRESS alone.
    Busy,
    /// Answers, hangs up, and calls the caller after so long.
    CallBack(Duration),
    /// Answers, and restarts the call's timeslot or all of the line.
    Restart {
        /// All timeslots.
        whole: bool,
    },
    /// Answers, and is not joined with another call.
    Unjoined(Joins),
    /// Answers, and breaks a rule.
    Misbehave(Misdeed),
}

/// What the exchange does when it is asked to join a call with another of the line's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Joins {
    /// Joins them.
    #[default]
    Gladly,
    /// Refuses.
    Refuses,
    /// Says nothing.
    Silent,
}

/// A rule of Q.931 section 5.8 that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misdeed {
    /// CONNECT in a call that is up.
    Connect,
    /// A second SETUP with the reference of the call.
    Setup,
    /// CONNECT to no call.
    Reference,
    /// A message that no standard knows.
    Message,
    /// RELEASE without DISCONNECT.
    Release,
}

/// Numbers that end alike, and what they do.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The last four digits; `n` stands for any.
    pub ends: &'static str,
    /// In words.
    pub does: &'static str,
    behaviour: fn(u8) -> Behaviour,
}

/// One step of a behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// ALERTING, with the ringing tone in the timeslot.
    Alert,
    /// PROGRESS with progress indicator 8.
    Progress,
    /// CONNECT.
    Answer,
    /// This is in the timeslot from now on.
    Say(Says),
    /// DISCONNECT.
    Release {
        /// Why.
        cause: Cause,
        /// With progress indicator 8.
        tones: bool,
    },
    /// A call to the caller is made after so long.
    CallBack(Duration),
    /// RESTART.
    Restart {
        /// Of all timeslots.
        whole: bool,
    },
    /// A rule is broken.
    Misbehave(Misdeed),
}

/// A step, and how long to wait for it after the one before.
pub type Timed = (Duration, Step);

/// How long a number rings where nothing else is said.
pub const RINGS: Duration = Duration::from_secs(1);
/// Words before something happens to the call.
const WORDS: Duration = Duration::from_secs(3);
/// The special information tone, once.
const SPECIAL: Duration = Duration::from_millis(1990);
const AT_ONCE: Duration = Duration::ZERO;

/// All numbers that do something special; the first that fits counts.
#[rustfmt::skip]
pub const PLAN: &[Entry] = &[
    Entry { ends: "0000", does: "rings and is never answered", behaviour: |_| Behaviour::RingOn },
    Entry { ends: "00nn", does: "refuses with cause nn: 0001 unallocated, 0017 busy, 0021 rejected, 0034 and 0042 congested",
        behaviour: |nn| Behaviour::Refuse { cause: Cause(nn), tones: false } },
    Entry { ends: "1000", does: "the busy tone after PROGRESS, without an end of the call", behaviour: |_| Behaviour::Busy },
    Entry { ends: "10nn", does: "refuses with cause nn, a tone in the timeslot and progress indicator 8",
        behaviour: |nn| Behaviour::Refuse { cause: Cause(nn), tones: true } },
    Entry { ends: "20nn", does: "rings for nn seconds, answers and speaks",
        behaviour: |nn| Behaviour::Answer { rings: seconds(nn), says: Says::Speech, lasts: None } },
    Entry { ends: "30nn", does: "rings for nn seconds, answers and says back what it hears",
        behaviour: |nn| Behaviour::Answer { rings: seconds(nn), says: Says::Echo, lasts: None } },
    Entry { ends: "40nn", does: "answers, speaks and hangs up after nn seconds",
        behaviour: |nn| Behaviour::Answer { rings: RINGS, says: Says::Speech, lasts: Some(seconds(nn)) } },
    Entry { ends: "50nn", does: "a special information tone and an announcement of nn seconds (PROGRESS), then answers and speaks",
        behaviour: |nn| Behaviour::Announce(seconds(nn)) },
    Entry { ends: "60nn", does: "answers, speaks, hangs up, and calls the caller nn seconds later",
        behaviour: |nn| Behaviour::CallBack(seconds(nn)) },
    Entry { ends: "7001", does: "answers and speaks; the exchange refuses to join the call with another (LineTransfer)",
        behaviour: |_| Behaviour::Unjoined(Joins::Refuses) },
    Entry { ends: "7002", does: "answers and speaks; the exchange says nothing when it is to join the call with another",
        behaviour: |_| Behaviour::Unjoined(Joins::Silent) },
    Entry { ends: "8000", does: "answers, speaks, then restarts the timeslot",
        behaviour: |_| Behaviour::Restart { whole: false } },
    Entry { ends: "8001", does: "answers, speaks, then restarts the whole interface",
        behaviour: |_| Behaviour::Restart { whole: true } },
    Entry { ends: "9001", does: "answers, echoes, then sends CONNECT once more",
        behaviour: |_| Behaviour::Misbehave(Misdeed::Connect) },
    Entry { ends: "9002", does: "answers, echoes, then sends a second SETUP for the same call",
        behaviour: |_| Behaviour::Misbehave(Misdeed::Setup) },
    Entry { ends: "9003", does: "answers, echoes, then sends CONNECT with a call reference that nobody has",
        behaviour: |_| Behaviour::Misbehave(Misdeed::Reference) },
    Entry { ends: "9004", does: "answers, echoes, then sends a message that no standard knows",
        behaviour: |_| Behaviour::Misbehave(Misdeed::Message) },
    Entry { ends: "9005", does: "answers, echoes, then sends RELEASE without DISCONNECT",
        behaviour: |_| Behaviour::Misbehave(Misdeed::Release) },
];

/// What all other numbers do: [`Behaviour::Answer`] with an echo.
pub const OTHERS: &str = "rings for a second, answers and says back what it hears";

/// What a number does.
pub fn behaviour(digits: &str) -> Behaviour {
    let special = PLAN.iter().find_map(|entry| entry.nn(digits).map(entry.behaviour));
    special.unwrap_or(Behaviour::Answer { rings: RINGS, says: Says::Echo, lasts: None })
}

impl Entry {
    /// What stands for the `n` in a number that ends so.
    fn nn(&self, digits: &str) -> Option<u8> {
        let last = digits.len().checked_sub(self.ends.len()).and_then(|at| digits.get(at..))?;
        self.ends.chars().zip(last.chars()).try_fold(0u8, |nn, (pattern, digit)| match (pattern, digit.to_digit(10)) {
            ('n', Some(digit)) => nn.checked_mul(10)?.checked_add(u8::try_from(digit).ok()?),
            _ => (pattern == digit).then_some(nn),
        })
    }
}

impl Behaviour {
    /// May the call be joined with another?
    pub fn joins(self) -> Joins {
        if let Behaviour::Unjoined(joins) = self { joins } else { Joins::Gladly }
    }

    /// In this order.
    pub fn steps(self, tones: &Tones) -> Vec<Timed> {
        let answer = |rings: Duration, says: Says| {
            vec![(AT_ONCE, Step::Alert), (AT_ONCE, say(tones.ring)), (rings, Step::Answer), (AT_ONCE, Step::Say(says))]
        };
        let hang_up = Step::Release { cause: Cause::NORMAL, tones: false };
        match self {
            Behaviour::Answer { rings, says, lasts } => {
                let end = lasts.map(|lasts| (lasts, hang_up));
                answer(rings, says).into_iter().chain(end).collect()
            }
            Behaviour::RingOn => vec![(AT_ONCE, Step::Alert), (AT_ONCE, say(tones.ring))],
            Behaviour::Announce(lasts) => vec![
                (AT_ONCE, Step::Progress),
                (AT_ONCE, say(SPECIAL_INFORMATION)),
                (SPECIAL, Step::Say(Says::Speech)),
                (lasts, Step::Answer),
            ],
            Behaviour::Refuse { cause, tones: false } => vec![(AT_ONCE, Step::Release { cause, tones: false })],
            Behaviour::Refuse { cause, tones: true } => {
                vec![(AT_ONCE, Step::Release { cause, tones: true }), (AT_ONCE, say(tone_of(cause, tones)))]
            }
            Behaviour::Busy => vec![(AT_ONCE, Step::Progress), (AT_ONCE, say(tones.busy))],
            Behaviour::CallBack(after) => {
                let end = [(WORDS, Step::CallBack(after)), (AT_ONCE, hang_up)];
                answer(RINGS, Says::Speech).into_iter().chain(end).collect()
            }
            Behaviour::Unjoined(_) => answer(RINGS, Says::Speech),
            Behaviour::Restart { whole } => {
                answer(RINGS, Says::Speech).into_iter().chain([(WORDS, Step::Restart { whole })]).collect()
            }
            Behaviour::Misbehave(misdeed) => {
                answer(RINGS, Says::Echo).into_iter().chain([(WORDS, Step::Misbehave(misdeed))]).collect()
            }
        }
    }
}

fn say(tone: Cadence) -> Step {
    Step::Say(Says::Tone(tone))
}

/// The tone that goes with a cause: busy, the network's congestion, or one that words would follow.
fn tone_of(cause: Cause, tones: &Tones) -> Cadence {
    match cause {
        Cause::BUSY => tones.busy,
        Cause::NO_CIRCUIT | Cause::NETWORK_OUT_OF_ORDER | Cause::TEMPORARY | Cause::CONGESTION | Cause::NO_RESOURCE => {
            tones.congestion
        }
        _ => SPECIAL_INFORMATION,
    }
}

fn seconds(nn: u8) -> Duration {
    Duration::from_secs(nn.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_four_digits_say_what_a_number_does() {
        let refuse = |cause, tones| Behaviour::Refuse { cause: Cause(cause), tones };
        let answer = |rings, says| Behaviour::Answer { rings: seconds(rings), says, lasts: None };
        for (number, expected) in [
            ("13125550000", Behaviour::RingOn),
            ("13125550017", refuse(17, false)),
            ("3125551001", refuse(1, true)),
            ("1000", Behaviour::Busy),
            ("+13125552000", answer(0, Says::Speech)),
            ("3012", answer(12, Says::Echo)),
            ("4005", Behaviour::Answer { rings: RINGS, says: Says::Speech, lasts: Some(seconds(5)) }),
            ("5007", Behaviour::Announce(seconds(7))),
            ("6010", Behaviour::CallBack(seconds(10))),
            ("7001", Behaviour::Unjoined(Joins::Refuses)),
            ("8001", Behaviour::Restart { whole: true }),
            ("9003", Behaviour::Misbehave(Misdeed::Reference)),
        ] {
            assert_eq!(behaviour(number), expected, "{number}");
        }
    }

    #[test]
    fn every_other_number_is_an_echo() {
        let echo = Behaviour::Answer { rings: RINGS, says: Says::Echo, lasts: None };
        for number in ["13125556789", "13125550100", "00", "", "*#", "1é17", "0o17", "7000"] {
            assert_eq!(behaviour(number), echo, "{number}");
        }
    }

    #[test]
    fn the_manual_has_the_table() {
        let manual = include_str!("../../README.md");
        for entry in PLAN {
            assert!(manual.contains(&format!("| `{}` | {} |", entry.ends, entry.does)), "{}", entry.ends);
        }
        assert!(manual.contains(&format!("| any other | {OTHERS} |")));
    }
}
