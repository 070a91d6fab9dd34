//! The dialogue with a gateway's serial console, by the script of its `[Console NAME]`.
//!
//! 1. The line is opened, by its driver, as often as it takes; where there is no script, the device is only looked at.
//! 2. Every round begins with an empty line, which the prompt or the first question of the log-in answers.
//! 3. Log-in: each expected line is answered as the script says, until the prompt comes.
//! 4. At the prompt a command is typed; what comes until the next prompt is its answer, and alarms are searched in it.
//! 5. What does not fit is told, and the next round comes later, more rarely each time.
//!
//! A line is judged when nothing has followed it for a moment: a prompt inside a longer line is none. Nothing is typed
//! but empty lines, what the script lists, and a space where a long answer waits for a key.

mod screen;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Script, Typed};
use crate::gateway::{Subject, Word};
use crate::time::{Instant, soonest};

use screen::Screen;

/// How long a line must stand still to be the last one.
const SETTLE: Duration = Duration::from_millis(250);
/// How long an empty line waits for its answer; some consoles need more than one to wake.
const WAKE: Duration = Duration::from_secs(3);
const WAKES: u8 = 3;
/// How long a pause within a log-in or an answer may be.
const PAUSE: Duration = Duration::from_secs(10);
/// No conversation takes longer: 64 KiB at 9600 bit/s take 70 s.
const LONGEST: Duration = Duration::from_secs(120);
/// After so long without a byte nobody else is typing.
const UNDISTURBED: Duration = Duration::from_secs(5);
/// So long a round gives way to somebody else before that is told, and so long a line may lie there half typed.
const GIVE_WAY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));
/// Between looks at a device that is not opened.
const LOOK: Duration = Duration::from_secs(10);
/// The first and the longest pause after a fault.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// What is quoted of a line at most.
const QUOTED: usize = 60;

/// Why a console cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no such device.
    #[error("there is no such device")]
    Absent,
    /// We may not open it.
    #[error("this user may not open it")]
    Forbidden,
    /// Another program has it.
    #[error("another program holds it")]
    Held,
    /// It cannot be opened.
    #[error("it cannot be opened: {0}")]
    Unopened(String),
    /// A password is not where the script says.
    #[error("a secret of its script cannot be read")]
    NoSecret,
    /// It went away.
    #[error("the line went away")]
    HungUp,
    /// It takes nothing.
    #[error("it takes nothing that is typed")]
    Stuck,
    /// Nothing came.
    #[error("nothing comes back")]
    Silent,
    /// It is no text.
    #[error("what comes back is no text")]
    Garbled,
    /// Neither the prompt nor a question of the log-in came.
    #[error("neither Prompt nor a step of Login fits what it shows ({0})")]
    Strange(String),
    /// It asks for the log-in again.
    #[error("it refuses the log-in")]
    Refused,
    /// The answer does not end.
    #[error("what it writes does not end, or has no Prompt after it")]
    Endless,
    /// Somebody types.
    #[error("somebody or something else keeps it busy")]
    Occupied,
}

impl Fault {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Fault::Absent => {
                "check Console and the adapter, and whether the unit lets the daemon see it (console.conf)"
            }
            Fault::Forbidden => "grant the device to the daemon: console.conf beside the unit shows how",
            Fault::Held => "end the other program; the line is tried again and again",
            Fault::Unopened(_) => "check that Console is a serial line",
            Fault::NoSecret => "check the file or the credential that Login names",
            Fault::HungUp => "check the cable and the adapter",
            Fault::Stuck => "check the cable",
            Fault::Silent => "check cable, power and Speed",
            Fault::Garbled => "check Speed",
            Fault::Strange(_) => "correct Prompt or Login",
            Fault::Refused => "check Login and its secret",
            Fault::Endless => "check Prompt and More",
            Fault::Occupied => "nothing: reading goes on when it is quiet",
        }
    }

    /// Would trying again soon lock the account, or only fail the same way?
    fn is_lasting(&self) -> bool {
        matches!(self, Fault::Refused | Fault::NoSecret)
    }
}

/// What happens to a console.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The line is open, or there.
    Opened,
    /// It is not, or not any more.
    Away(Fault),
    /// What was to be typed was not.
    Untyped(Fault),
    /// It writes.
    Bytes(&'a [u8]),
    /// A deadline has passed.
    Tick,
}

/// What is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Is it there? [`Input::Opened`] or [`Input::Away`].
    Look,
    /// Type this and a return.
    Type(Typed),
    /// Press the space bar.
    Space,
    /// Tell what is known.
    Say(Word),
}

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// An answer to so many empty lines.
    Waking(u8),
    /// What follows this step of the log-in.
    LoggingIn(usize),
    /// The end of the answer to this command.
    Asking(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its driver opens it when it can.
    Away,
    /// Whether it is there is all we want to know.
    Watched { until: Instant },
    /// A round comes when it is due, unless somebody else is typing.
    Resting { due: Instant, until: Instant, heard: Option<Instant> },
    /// Something was typed. `still` is when what has come is judged.
    Talking { step: Step, still: Option<Instant>, silent: Instant, end: Instant },
}

/// A console.
#[derive(Clone, Debug)]
pub struct Dialogue {
    script: Option<Arc<Script>>,
    state: State,
    screen: Screen,
    /// For each alarm of the script: the command whose answer raised it.
    raised: Vec<Option<usize>>,
    /// How often the log-in began in this round.
    logins: u8,
    pause: Duration,
    fault: Option<Fault>,
}

impl Dialogue {
    /// A console whose line is being opened, or that is looked at at once.
    pub fn new(now: Instant, script: Option<Arc<Script>>) -> Dialogue {
        let alarms = script.as_ref().map_or(0, |script| script.alarms.len());
        let state = if script.is_some() { State::Away } else { State::Watched { until: now } };
        Dialogue {
            script,
            state,
            screen: Screen::default(),
            raised: vec![None; alarms],
            logins: 0,
            pause: AGAIN.0,
            fault: None,
        }
    }

    /// When [`Input::Tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Away => None,
            State::Watched { until } | State::Resting { until, .. } => Some(until),
            State::Talking { still, silent, end, .. } => soonest(still, Some(silent.min(end))),
        }
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Opened => self.opened(now, out),
            Input::Away(fault) => self.away(fault, out),
            Input::Untyped(fault) => self.fail(now, fault, out),
            Input::Bytes(bytes) => self.heard(now, bytes, out),
            Input::Tick => self.tick(now, out),
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.state {
            State::Away => {}
            State::Watched { .. } => {
                out.push(Output::Look);
                self.state = State::Watched { until: now + LOOK };
            }
            State::Resting { due, heard, .. } => self.round(now, due, heard, out),
            State::Talking { step, still: Some(still), .. } if now >= still => self.judge(now, step, out),
            State::Talking { end, .. } if now >= end => self.fail(now, Fault::Endless, out),
            State::Talking { step, .. } => self.silence(now, step, out),
        }
    }

    // 1. The line.

    fn opened(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.state {
            State::Watched { .. } => self.well(out),
            State::Away => {
                self.screen.clear();
                // Somebody may be typing: a moment's listening comes first.
                self.state = State::Resting { due: now, until: now + UNDISTURBED, heard: None };
            }
            State::Resting { .. } | State::Talking { .. } => {}
        }
    }

    fn away(&mut self, fault: Fault, out: &mut Vec<Output>) {
        if !matches!(self.state, State::Watched { .. }) {
            self.state = State::Away;
        }
        self.complain(fault, out);
    }

    fn heard(&mut self, now: Instant, bytes: &[u8], out: &mut Vec<Output>) {
        match &mut self.state {
            State::Talking { still, silent, step, .. } => {
                *still = Some(now + SETTLE);
                *silent = now + if matches!(step, Step::Waking(_)) { WAKE } else { PAUSE };
                self.screen.take(bytes);
                if self.screen.overflows() {
                    self.fail(now, Fault::Endless, out);
                }
            }
            State::Resting { heard, .. } => {
                *heard = Some(now);
                self.screen.keep_last_line();
                self.screen.take(bytes);
            }
            State::Away | State::Watched { .. } => {}
        }
    }

    fn well(&mut self, out: &mut Vec<Output>) {
        (self.fault, self.pause) = (None, AGAIN.0);
        out.push(Output::Say(Word::Heard));
    }

    /// Nothing is typed for a while.
    fn fail(&mut self, now: Instant, fault: Fault, out: &mut Vec<Output>) {
        if !matches!(self.state, State::Talking { .. }) {
            return;
        }
        let due = now + if fault.is_lasting() { AGAIN.1 } else { self.pause };
        self.pause = (self.pause * 2).min(AGAIN.1);
        self.state = State::Resting { due, until: due, heard: None };
        self.screen.clear();
        self.complain(fault, out);
    }

    /// The same fault is told once.
    fn complain(&mut self, fault: Fault, out: &mut Vec<Output>) {
        let same = self.fault.as_ref().is_some_and(|old| std::mem::discriminant(old) == std::mem::discriminant(&fault));
        if !same {
            out.push(Output::Say(Word::Lost(fault.to_string().into(), fault.remedy())));
            self.fault = Some(fault);
        }
    }

    // 2. A round.

    /// Begins one, unless somebody else is typing.
    fn round(&mut self, now: Instant, due: Instant, heard: Option<Instant>, out: &mut Vec<Output>) {
        let busy =
            heard.is_some_and(|heard| now < heard + UNDISTURBED || (now < heard + GIVE_WAY.1 && !self.is_untouched()));
        if busy {
            if now >= due + GIVE_WAY.0 {
                self.complain(Fault::Occupied, out);
            }
            self.state = State::Resting { due, until: now + UNDISTURBED, heard };
            return;
        }
        self.logins = 0;
        self.wake(now, 1, out);
    }

    /// Does the last line look as if nobody had begun to type on it?
    fn is_untouched(&self) -> bool {
        let last = self.screen.last_line();
        let Some(script) = &self.script else { return true };
        last.is_empty() || script.prompt.is_in(last) || script.login.iter().any(|(expected, _)| expected.is_in(last))
    }

    fn wake(&mut self, now: Instant, tries: u8, out: &mut Vec<Output>) {
        self.talk(now, Step::Waking(tries), Typed::Text(String::new()), out);
    }

    /// Types a line; what has been written until now is no answer to it.
    fn talk(&mut self, now: Instant, step: Step, line: Typed, out: &mut Vec<Output>) {
        // What an earlier empty line brought tells a wrong prompt from silence.
        if step == Step::Waking(1) || !matches!(step, Step::Waking(_)) {
            self.screen.clear();
        }
        let silent = now + if matches!(step, Step::Waking(_)) { WAKE } else { PAUSE };
        let end = match self.state {
            State::Talking { step: Step::Waking(_), end, .. } if matches!(step, Step::Waking(_)) => end,
            _ => now + LONGEST,
        };
        self.state = State::Talking { step, still: None, silent, end };
        out.push(Output::Type(line));
    }

    /// Looks at what has been written, now that the last line stands still.
    fn judge(&mut self, now: Instant, step: Step, out: &mut Vec<Output>) {
        let Some(script) = self.script.clone() else { return };
        if let State::Talking { still, .. } = &mut self.state {
            *still = None;
        }
        let last = self.screen.last_line();
        if script.more.as_ref().is_some_and(|more| more.is_in(last)) {
            self.screen.drop_last_line();
            return out.push(Output::Space);
        }
        let asked = script.login.iter().position(|(expected, _)| expected.is_in(last));
        let prompt = script.prompt.is_in(last);
        match step {
            Step::Waking(_) if prompt => self.ask(now, &script, 0, out),
            Step::Waking(_) | Step::Asking(_) if asked.is_some() && !prompt => self.log_in(now, &script, asked, out),
            Step::LoggingIn(done) => self.logging_in(now, &script, done, prompt, asked, out),
            Step::Asking(command) if prompt => self.answered(now, &script, command, out),
            Step::Waking(_) | Step::Asking(_) => {}
        }
    }

    /// What was waited for did not come.
    fn silence(&mut self, now: Instant, step: Step, out: &mut Vec<Output>) {
        match step {
            Step::Waking(tries) if tries < WAKES => self.wake(now, tries + 1, out),
            _ if self.screen.is_empty() => self.fail(now, Fault::Silent, out),
            _ if self.screen.is_garbled() => self.fail(now, Fault::Garbled, out),
            _ => self.fail(now, Fault::Strange(self.quoted(step)), out),
        }
    }

    /// The last line, for whoever corrects the script. What follows anything but an empty line may be a secret, or somebody's
    /// number.
    fn quoted(&self, step: Step) -> String {
        match step {
            Step::Waking(_) => format!("{:?}", self.screen.last_line().chars().take(QUOTED).collect::<String>()),
            Step::LoggingIn(at) => format!("not shown here, after step {} of Login", at + 1),
            Step::Asking(command) => format!("not shown here, after command {}", command + 1),
        }
    }

    // 3. Log-in.

    /// A question of the log-in came where the prompt might have been.
    fn log_in(&mut self, now: Instant, script: &Script, asked: Option<usize>, out: &mut Vec<Output>) {
        self.logins += 1;
        match asked.and_then(|at| Some((at, script.login.get(at)?))) {
            Some((at, (_, line))) if self.logins <= 2 => self.talk(now, Step::LoggingIn(at), line.clone(), out),
            _ => self.fail(now, Fault::Refused, out),
        }
    }

    /// The next step's question comes before the prompt: it may look like one (`>` before `#`).
    fn logging_in(
        &mut self,
        now: Instant,
        script: &Script,
        done: usize,
        prompt: bool,
        asked: Option<usize>,
        out: &mut Vec<Output>,
    ) {
        let last = self.screen.last_line();
        let next = script.login.get(done + 1).filter(|(expected, _)| expected.is_in(last));
        match (next, asked) {
            (Some((_, line)), _) => self.talk(now, Step::LoggingIn(done + 1), line.clone(), out),
            (None, _) if prompt => self.ask(now, script, 0, out),
            (None, Some(at)) if at <= done => self.fail(now, Fault::Refused, out),
            (None, _) => {}
        }
    }

    // 4. Commands.

    fn ask(&mut self, now: Instant, script: &Script, command: usize, out: &mut Vec<Output>) {
        match script.commands.get(command) {
            Some(line) => self.talk(now, Step::Asking(command), line.clone(), out),
            None => {
                self.screen.keep_last_line();
                let due = now + script.interval;
                self.state = State::Resting { due, until: due, heard: None };
                self.well(out);
            }
        }
    }

    fn answered(&mut self, now: Instant, script: &Script, command: usize, out: &mut Vec<Output>) {
        let answer = without_echo(self.screen.lines(), script.commands.get(command));
        for (rule, raised) in script.alarms.iter().zip(&mut self.raised) {
            let stands = rule.raise.is_in(answer);
            let over = match (&rule.clear, *raised) {
                (Some(clear), Some(_)) => clear.is_in(answer) && !stands,
                (None, Some(by)) => by == command && !stands,
                (_, None) => false,
            };
            let word = |stands| Output::Say(Word::Alarm(Subject::named(&rule.name), stands));
            match *raised {
                None if stands => {
                    *raised = Some(command);
                    out.push(word(true));
                }
                Some(_) if over => {
                    *raised = None;
                    out.push(word(false));
                }
                _ => {}
            }
        }
        self.ask(now, script, command + 1, out);
    }
}

/// Most consoles repeat what is typed: that is no part of the answer.
fn without_echo<'a>(text: &'a str, typed: Option<&Typed>) -> &'a str {
    let Some(Typed::Text(command)) = typed else { return text };
    match text.split_once('\n') {
        Some((first, rest)) if first.trim_end().ends_with(command.as_str()) => rest,
        _ => text,
    }
}
