//! Ladders: what a call hears, orders it gets, how long it waits, and what it says to whom.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::random::Random;
use crate::session::Codec;
use crate::wire::q931::{self, Bearer, Calling, Dialect, Number, NumberType, Party, Side};

mod calls;
mod ends;
mod pair;
mod replay;
mod wrongs;

fn access(side: Side) -> Access {
    Access::new(side, Dialect::Ni2, Codec::Pcmu)
}

fn setup() -> Setup {
    Setup::new(Bearer::speech(Codec::Pcmu), Number::new(NumberType::NATIONAL, "4255550100"))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter_map(|c| (c as char).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A message in a few words: what it is, and what of its contents matters here.
fn told(octets: &[u8]) -> String {
    let message = Message::read(octets).unwrap();
    let mut text = message.kind.to_string();
    if let Some(channel) = message.get::<Channel>() {
        write!(text, " slot {:?}", channel.numbers()).unwrap();
    }
    if let Some(cause) = message.get::<q931::Cause>() {
        write!(text, " #{}", cause.value.0).unwrap();
        match cause.value {
            Cause::TIMER => write!(text, " T{}", String::from_utf8(cause.diagnostics).unwrap()).unwrap(),
            _ if cause.diagnostics.is_empty() => {}
            _ => write!(text, " about {:02x?}", cause.diagnostics).unwrap(),
        }
    }
    if let Some(state) = message.get::<CallState>() {
        write!(text, " in {}", state.0).unwrap();
    }
    if Call::is_audible(&message) {
        text.push_str(" heard");
    }
    if let Some(Called(number)) = message.get() {
        write!(text, " {}", number.digits.0).unwrap();
    }
    if message.get::<q931::SendingComplete>().is_some() {
        text.push_str(" whole");
    }
    text
}

fn said(output: &Output) -> String {
    match output {
        Output::Message(octets) => format!("-> {}", told(octets)),
        Output::Word(Word::Setup(setup)) => {
            let name = setup.name.as_ref().map_or(String::new(), |name| format!(" from {}", name.text.0));
            format!("Setup {}{name}", setup.called.digits.0)
        }
        Output::Word(Word::Progress { ringing, audible }) => {
            ["", "Ringing", "Heard", "Ringing, heard"][usize::from(*ringing) + 2 * usize::from(*audible)].to_owned()
        }
        Output::Word(Word::Answer(answer)) => {
            let who = answer.connected.as_ref().map_or(String::new(), |who| format!(" by {}", who.number.digits.0));
            format!("Answer{who}")
        }
        Output::Word(Word::Released(release)) => format!("Released #{}", release.cause.0),
        Output::Word(Word::Name(name)) => format!("Name {}", name.text.0),
        Output::Word(Word::Digits(digits)) => format!("Digits {}", digits.0),
        Output::Word(word) => format!("{word:?}").split('(').next().unwrap().to_owned(),
        Output::Timeslot(Timeslot::Agreed(channel)) => format!("slot {:?} agreed", channel.numbers()),
        Output::Timeslot(fate) => format!("slot {fate:?}").to_lowercase(),
        Output::Fault(Fault::Timer(timer)) => format!("! T{timer}"),
        Output::Fault(Fault::Theirs { kind, cause, .. }) => format!("! {kind} #{}", cause.0),
        Output::Fault(Fault::Ours { cause, .. }) => format!("! ours #{}", cause.0),
        Output::Fault(Fault::States { theirs, ours }) => format!("! {} here, {} there", ours.0, theirs.0),
    }
}

/// A call under virtual time.
struct Ladder {
    now: Instant,
    call: Call,
    out: Vec<Output>,
}

impl Ladder {
    fn calls_with(access: Access, setup: &Setup, channel: Channel) -> Ladder {
        let (now, mut out) = (Instant::START, Vec::new());
        let call = Call::outgoing(now, Arc::new(access), 1, channel, setup, &mut out);
        Ladder { now, call, out }
    }

    /// We call, over timeslot 3.
    fn calls(side: Side) -> Ladder {
        Ladder::calls_with(access(side), &setup(), Channel::slot(None, 3, true))
    }

    fn called_with(access: Access, elements: &str) -> Result<Ladder, String> {
        let (now, mut out) = (Instant::START, Vec::new());
        let octets = [hex("08020001 05"), hex(elements)].concat();
        let (message, slot) = (Message::read(&octets).unwrap(), Channel::slot(None, 3, false));
        let call = Call::incoming(now, Arc::new(access), &message, slot, &mut out).map_err(|refused| told(&refused))?;
        Ok(Ladder { now, call, out })
    }

    /// We are called, over timeslot 3.
    fn called(side: Side) -> Ladder {
        Ladder::called_with(access(side), "04038090a2 1803a98383 7005a132303630").unwrap()
    }

    fn hears(&mut self, kind: Kind, elements: &str) -> &mut Ladder {
        let reference = reference_octets(self.call.reference().reply());
        let octets = [&[8, 2], &reference[..], &[kind.code()], &hex(elements)].concat();
        self.call.receive(self.now, &Message::read(&octets).unwrap(), &mut self.out);
        self
    }

    fn orders(&mut self, order: Order) -> &mut Ladder {
        self.call.order(self.now, order, &mut self.out);
        self
    }

    fn hangs_up(&mut self) -> &mut Ladder {
        self.orders(Order::Release { cause: Cause::NORMAL, tones: false })
    }

    /// Time goes by, and all that is due is done.
    fn waits(&mut self, time: Duration) -> &mut Ladder {
        let until = self.now + time;
        while let Some(at) = self.call.timeout().filter(|at| *at <= until) {
            self.now = at;
            self.call.tick(at, &mut self.out);
        }
        self.now = until;
        self
    }

    /// What was said since the last time.
    fn says<const N: usize>(&mut self, expected: [&str; N]) -> &mut Ladder {
        let said: Vec<String> = self.out.drain(..).map(|output| said(&output)).collect();
        assert_eq!(said, expected);
        self
    }

    fn is_in(&mut self, state: CallState) -> &mut Ladder {
        assert_eq!(self.call.state(), state);
        self
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn reference_octets(reference: Reference) -> [u8; 2] {
    (reference.value | if reference.to_origin { 0x8000 } else { 0 }).to_be_bytes()
}
