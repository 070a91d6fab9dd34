//! A leg of a call: a SIP dialog or a call on a line. Which of both it is, is known here and to the switch; the call
//! cannot tell.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cause::{Cause, Guilty, Release};
use crate::config::{Config, Trunk};
use crate::hop::{Flow, Hop, SpanId};
use crate::isdn;
use crate::isdn::call::{Access, Setup};
use crate::isdn::leg::Numbering;
use crate::leg::{Order, Parties, Terms, Word};
use crate::random::Random;
use crate::route::Egress;
use crate::session::Stream;
use crate::sip;
use crate::sip::leg::RequestId;
use crate::sip::transaction::{Failure, ServerId};
use crate::time::{Instant, Now};
use crate::wire::sip::{Message, Replaces};

/// What happened to a leg.
pub(super) enum Heard {
    Request(Flow, ServerId, Message),
    Ack(Message),
    Cancelled(Message),
    Response(Flow, RequestId, Message),
    Failed(RequestId, Failure),
    /// A call on a line says something.
    Line(isdn::call::Word),
    /// Sound of a call on a line goes this way.
    Bearer(Stream),
}

/// What a leg does.
#[derive(Debug)]
pub(super) enum Output {
    /// It tells the call.
    Word(Word),
    /// A sentence for the call's ladder.
    Note(Cow<'static, str>),
    /// It sends something.
    Sip(sip::leg::Output),
    /// It calls on a line.
    Place(SpanId, Box<Setup>),
    /// It tells its call on a line.
    Line(isdn::call::Order),
}

impl From<sip::leg::Output> for Output {
    fn from(output: sip::leg::Output) -> Output {
        match output {
            sip::leg::Output::Word(word) => Output::Word(word),
            sip::leg::Output::Note(text) => Output::Note(text),
            output => Output::Sip(output),
        }
    }
}

/// A SIP dialog or a call on a line.
#[derive(Debug)]
pub(super) enum Leg {
    Sip(Box<sip::leg::Leg>),
    Line(Box<isdn::leg::Leg>),
}

impl Leg {
    /// A leg that calls `parties`; or why they cannot be called on that way.
    pub fn outgoing(
        now: Now,
        random: &mut Random,
        way: (&Config, Arc<Trunk>, &Egress),
        parties: &Parties,
        terms: &Terms,
        out: &mut Vec<Output>,
    ) -> Result<Leg, Release> {
        let (config, trunk, egress) = way;
        match egress {
            Egress::Hop(hop) => {
                let (hop, mut said) = (Hop::Target(hop.clone()), Vec::new());
                let leg = sip::leg::Leg::outgoing(now, random, trunk, hop, parties, terms, &mut said);
                out.extend(said.into_iter().map(Output::from));
                Ok(Leg::Sip(Box::new(leg)))
            }
            Egress::Line(line) => {
                let gone = || Release::new(Guilty::Us, Cause::NO_ROUTE, "the line is no longer configured");
                let span = config.span(*line).ok_or_else(gone)?;
                let (access, numbering) = (Access::of(span), Numbering::of(span));
                let (leg, mut setup) = isdn::leg::Leg::outgoing(&access, &numbering, &trunk.switches, parties)?;
                setup.facilities.extend(span.dialect.candidate().filter(|_| trunk.line_transfer));
                out.push(Output::Place(*line, Box::new(setup)));
                Ok(Leg::Line(Box::new(leg)))
            }
        }
    }

    /// The call says something.
    pub fn order(&mut self, now: Now, random: &mut Random, order: Order, out: &mut Vec<Output>) {
        match self {
            Leg::Sip(leg) => said(out, |out| leg.order(now, random, order, out)),
            Leg::Line(leg) => on_line(out, |orders, words| leg.order(order, orders, words)),
        }
    }

    /// Something happened to it.
    pub fn hear(&mut self, now: Now, random: &mut Random, heard: Heard, out: &mut Vec<Output>) {
        match self {
            Leg::Sip(leg) => said(out, |out| match heard {
                Heard::Request(flow, id, message) => leg.request(now, random, flow, id, message, out),
                Heard::Ack(message) => leg.ack(now, random, &message, out),
                Heard::Cancelled(message) => leg.cancelled(now, random, &message, out),
                Heard::Response(flow, id, message) => leg.response(now, random, flow, id, &message, out),
                Heard::Failed(id, why) => leg.failed(now, random, id, why, out),
                Heard::Line(_) | Heard::Bearer(_) => {}
            }),
            Leg::Line(leg) => on_line(out, |_, words| match heard {
                Heard::Line(word) => leg.heard(word, words),
                Heard::Bearer(stream) => leg.agreed(stream, words),
                Heard::Request(..) | Heard::Ack(_) | Heard::Cancelled(_) | Heard::Response(..) | Heard::Failed(..) => {}
            }),
        }
    }

    /// When [`Leg::tick`] is due. Timers of a line run in the line.
    pub fn timeout(&self) -> Option<Instant> {
        self.sip().and_then(sip::leg::Leg::timeout)
    }

    /// Carries out what is due.
    pub fn tick(&mut self, now: Now, random: &mut Random, out: &mut Vec<Output>) {
        if let Leg::Sip(leg) = self {
            said(out, |out| leg.tick(now, random, out));
        }
    }

    /// Is nothing left to send or to repeat? Then it may be dropped.
    pub fn is_over(&self) -> bool {
        match self {
            Leg::Sip(leg) => leg.is_over(),
            Leg::Line(leg) => leg.is_over(),
        }
    }

    /// The Call-ID of all its dialogs.
    pub fn call_id(&self) -> Option<&str> {
        self.sip().map(sip::leg::Leg::call_id)
    }

    /// Does a request in a dialog, or an ACK, belong to it?
    pub fn owns(&self, message: &Message) -> bool {
        self.sip().is_some_and(|leg| leg.owns(message))
    }

    /// Is this its dialog?
    pub fn is_named_by(&self, replaces: &Replaces<'_>) -> bool {
        self.sip().is_some_and(|leg| leg.is_named_by(replaces))
    }

    /// Does the peer still wait for the answer to its call?
    pub fn is_called(&self) -> bool {
        self.sip().is_some_and(sip::leg::Leg::is_called)
    }

    /// Has the peer not said that it does not take REFER?
    pub fn takes_refer(&self) -> bool {
        self.sip().is_some_and(sip::leg::Leg::takes_refer)
    }

    fn sip(&self) -> Option<&sip::leg::Leg> {
        match self {
            Leg::Sip(leg) => Some(leg),
            Leg::Line(_) => None,
        }
    }
}

fn said(out: &mut Vec<Output>, act: impl FnOnce(&mut Vec<sip::leg::Output>)) {
    let mut said = Vec::new();
    act(&mut said);
    out.extend(said.into_iter().map(Output::from));
}

fn on_line(out: &mut Vec<Output>, act: impl FnOnce(&mut Vec<isdn::call::Order>, &mut Vec<Word>)) {
    let (mut orders, mut words) = (Vec::new(), Vec::new());
    act(&mut orders, &mut words);
    out.extend(orders.into_iter().map(Output::Line));
    out.extend(words.into_iter().map(Output::Word));
}
