//! How a call was: the figures, the verdict, and both in words.

use std::fmt::Write as _;
use std::time::Duration;

use super::tape::Tape;
use crate::media::quality::{self, Equipment, Loss};
use crate::shell::speech::{PACE, Passage};

/// The least share of frames that must be recognised in a good call. Toward a line none is changed but where the playout makes
/// room for a packet that was later than any before: two frames each time.
const RECOGNISED: f64 = 0.98;
/// Beside the way through the network: the frame that fills before it is sent, and the one that the
/// listener's telephone keeps back.
const AT_BOTH_ENDS: Duration = Duration::from_millis(2 * PACE.as_millis() as u64);

/// One way of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// How the speech came through.
    pub passage: Passage,
    /// Packets missing by sequence number, silence included.
    pub lost: u64,
    /// Packets that the listener did not take.
    pub rejected: u64,
    /// From or to a line.
    pub line: bool,
}

impl Way {
    fn between(mouth: &Tape, ear: &Tape) -> Way {
        Way {
            passage: Passage::measure(&mouth.said, &ear.heard),
            lost: ear.lost,
            rejected: ear.rejected,
            line: mouth.line || ear.line,
        }
    }

    /// Lost packets: by sequence number, or by the frames that were not heard, whichever is worse.
    fn lost(&self) -> u64 {
        self.lost.max((self.passage.said - self.passage.heard) as u64)
    }

    fn mos(&self) -> f64 {
        // These telephones play silence for what is lost.
        let (delay, loss) = (self.passage.delay + AT_BOTH_ENDS, Loss::random(self.passage.lost()));
        quality::mos(quality::rating(delay, loss, Equipment::SILENT))
    }

    /// What was wrong on the way to `ear`.
    fn faults(&self, mouth: &str, ear: &str, faults: &mut Vec<String>) {
        let Passage { said, heard, .. } = self.passage;
        if self.passage.lost() > 1.0 - RECOGNISED {
            faults.push(format!("of {said} frames that the {mouth} said, the {ear} recognised {heard}"));
        } else if self.lost > 0 || self.lost() > 0 && !self.line {
            faults.push(format!("{} packets from the {mouth} did not reach the {ear}", self.lost()));
        }
        if self.rejected > 0 {
            faults.push(format!("the {ear} could not open {} packets", self.rejected));
        }
    }
}

/// What was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// One end called the other.
    Call,
    /// One end was transferred to the other.
    Transfer,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How the two came together.
    pub scene: Scene,
    /// Who called, or was transferred.
    pub caller: &'static str,
    /// Who was called.
    pub called: &'static str,
    /// From the last digit, or the REFER, to the answer.
    pub answered: Duration,
    /// From the caller to the called.
    pub there: Way,
    /// From the called to the caller.
    pub back: Way,
    /// Was the sound encrypted at the caller's and at the called end?
    pub encrypted: [bool; 2],
    /// Which of these ends must be.
    pub secret: [bool; 2],
}

impl Outcome {
    /// From what both ends remember: the caller's first.
    pub fn new(
        scene: Scene,
        names: [&'static str; 2],
        secret: [bool; 2],
        answered: Duration,
        tapes: &[Tape; 2],
    ) -> Outcome {
        let [caller, called] = tapes;
        Outcome {
            scene,
            caller: names[0],
            called: names[1],
            answered,
            there: Way::between(caller, called),
            back: Way::between(called, caller),
            encrypted: [caller.encrypted, called.encrypted],
            secret,
        }
    }

    /// What was wrong; nothing in a good call.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        self.there.faults(self.caller, self.called, &mut faults);
        self.back.faults(self.called, self.caller, &mut faults);
        let ends = [self.caller, self.called].into_iter().zip(self.encrypted).zip(self.secret);
        let open = ends.filter(|((_, encrypted), secret)| *secret && !encrypted);
        faults.extend(open.map(|((end, _), _)| format!("the sound at the {end} was not encrypted")));
        faults
    }
}

/// A column for each call.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let mut row = |label: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells: String = outcomes.iter().map(|outcome| format!("{:<24}", cell(outcome))).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {label:<28}{}", cells.trim_end());
    };
    row("", &|o| match o.scene {
        Scene::Call => format!("{} calls", o.caller),
        Scene::Transfer => format!("{} is transferred", o.caller),
    });
    row("Answered after", &|o| format!("{} ms", o.answered.as_millis()));
    row("One-way delay, there", &|o| milliseconds(o.there.passage.delay));
    row("One-way delay, back", &|o| milliseconds(o.back.passage.delay));
    row("Jitter, there / back", &|o| {
        format!("{} / {}", milliseconds(o.there.passage.jitter), milliseconds(o.back.passage.jitter))
    });
    row("Lost packets, there / back", &|o| format!("{} / {}", o.there.lost(), o.back.lost()));
    row("Speech, there / back", &|o| format!("{} / {}", recognised(&o.there), recognised(&o.back)));
    row("MOS, there / back", &|o| format!("{:.2} / {:.2}", o.there.mos(), o.back.mos()));
    row("Encrypted (SRTP)", &|o| encrypted(o).to_owned());
    text
}

/// One line for those who read only one.
pub fn verdict(outcomes: &[Outcome]) -> String {
    let of = |outcome: &Outcome, number: usize| match outcome.scene {
        Scene::Call => format!("call {number}"),
        Scene::Transfer => "the transfer".to_owned(),
    };
    let faults: Vec<String> = outcomes
        .iter()
        .zip(1..)
        .flat_map(|(outcome, number)| {
            outcome.faults().into_iter().map(move |fault| format!("{}: {fault}", of(outcome, number)))
        })
        .collect();
    if faults.is_empty() {
        "Both calls and the transfer are good.".to_owned()
    } else {
        format!("Not good: {}.", faults.join("; "))
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn recognised(way: &Way) -> String {
    format!("{:.0} %", (1.0 - way.passage.lost()) * 100.0)
}

fn encrypted(outcome: &Outcome) -> &'static str {
    match outcome.encrypted {
        [true, true] => "at both ends",
        [true, false] => "at the caller's end",
        [false, true] => "at the called end",
        [false, false] => "no",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::speech::Times;
    use crate::time::Instant;

    const FRAMES: usize = 250;

    /// An end that said everything and heard what `heard` lets through, each frame 1 ms later.
    fn tape(encrypted: bool, heard: impl Fn(usize) -> bool) -> Tape {
        let times = || Times::new(FRAMES);
        let mut tape = Tape { said: times(), heard: times(), lost: 0, rejected: 0, encrypted, line: false };
        for number in 0..FRAMES {
            let at = Instant::START + PACE * number as u32;
            tape.said.note(number, at);
            if heard(number) {
                tape.heard.note(number, at + Duration::from_millis(1));
            }
        }
        tape
    }

    fn outcome(tapes: [Tape; 2]) -> Outcome {
        Outcome::new(Scene::Call, ["Lync side", "gateway"], [true, false], Duration::from_millis(1012), &tapes)
    }

    #[test]
    fn a_good_call_says_so() {
        let good = outcome([tape(true, |_| true), tape(false, |_| true)]);
        assert_eq!(verdict(&[good.clone(), good.clone()]), "Both calls and the transfer are good.");
        let table = table(&[good.clone(), good]);
        for figure in ["1012 ms", "1.00 ms", "0 / 0", "100 % / 100 %", "4.41 / 4.41", "at the caller's end"] {
            assert_eq!(table.matches(figure).count() % 2, 0, "{figure} in both columns of\n{table}");
            assert!(table.contains(figure), "{figure} in\n{table}");
        }
    }

    #[test]
    fn one_lost_packet_is_named_with_its_way() {
        let lossy = outcome([tape(true, |number| number != 17), tape(false, |_| true)]);
        assert_eq!(lossy.faults(), ["1 packets from the gateway did not reach the Lync side"]);
        let mut silent = tape(false, |_| true);
        silent.lost = 2;
        let silent = outcome([tape(true, |_| true), silent]);
        assert_eq!(silent.faults(), ["2 packets from the Lync side did not reach the gateway"]);
    }

    #[test]
    fn a_changed_frame_is_no_fault_on_a_line_and_many_are() {
        let line = |heard: fn(usize) -> bool| Tape { line: true, ..tape(false, heard) };
        assert_eq!(outcome([tape(true, |number| number != 17), line(|number| number > 3)]).faults(), [""; 0]);
        let bad = outcome([tape(true, |_| true), line(|number| number % 10 != 0)]);
        assert_eq!(bad.faults(), ["of 250 frames that the Lync side said, the gateway recognised 225"]);
    }

    #[test]
    fn a_call_that_is_not_heard_or_not_encrypted_is_not_good() {
        let deaf = outcome([tape(true, |_| true), tape(false, |_| false)]);
        assert_eq!(deaf.faults(), ["of 250 frames that the Lync side said, the gateway recognised 0"]);
        let open = outcome([tape(false, |_| true), tape(false, |_| true)]);
        assert_eq!(verdict(&[open]), "Not good: call 1: the sound at the Lync side was not encrypted.");
    }
}
