//! We call: our INVITE up to the peer's final answer (RFC 3261 section 13.2).
//!
//! ```text
//! call                 leg                     peer
//!  |------ parties ---->|----- INVITE (SDP) --->|
//!  |<----- Progress ----|<---- 180 -------------|  each To tag is a fork of its own
//!  |<----- Progress ----|<---- 183 (SDP, RSeq) -|
//!  |                    |----- PRACK ---------->|  in order, once
//!  |<----- Answer ------|<---- 200 (SDP) -------|
//!  |                    |----- ACK ------------>|  `confirmed`
//!
//!  |------ Release ---->|----- CANCEL --------->|  `leaving`
//! ```
//! The first fork that answers wins.

use super::called::early_update;
use super::confirmed::Confirmed;
use super::leaving::Leaving;
use super::{RINGING, Received, RequestId, State, Step, unanswered};
use crate::cause::{Cause, Guilty, Release, reason_phrase};
use crate::config::Trunk;
use crate::leg::{Fork, Order, Parties, Stage, Terms, Told, Word};
use crate::session::Stream;
use crate::sip::dialog::Dialog;
use crate::sip::invite::{Names, PRODUCT, connected, invite, with_interval};
use crate::sip::offer_answer::OfferAnswer;
use crate::sip::reason::refused_by;
use crate::sip::reliable::Heard;
use crate::sip::session_timer::{LEAST, SessionTimer};
use crate::sip::transaction::Failure;
use crate::sip::user_to_user;
use crate::time::Instant;
use crate::wire::sip::{Message, Method, Name, Refresher};

/// More early dialogs than any forking proxy has legs: the rest is not listened to.
const MOST_FORKS: usize = 64;
/// The longest session interval that a peer may demand of us, seconds: a day.
const MOST_INTERVAL: u32 = 86_400;

/// Our INVITE without a final answer.
#[derive(Debug)]
pub(super) struct Calling {
    id: RequestId,
    invite: Message,
    media: OfferAnswer,
    forks: Vec<Early>,
    heard_forks: u16,
    tried_longer: bool,
    /// The transaction gives up a peer that says nothing; this is for one that rings.
    end: Instant,
}

/// One early dialog.
#[derive(Debug)]
struct Early {
    fork: Fork,
    dialog: Dialog,
    media: OfferAnswer,
    heard: Heard,
    said: Option<(Stage, Option<Stream>, Box<Told>)>,
}

impl Calling {
    /// Sends the INVITE.
    pub(super) fn begin(step: &mut Step<'_>, parties: &Parties, terms: &Terms) -> Calling {
        let mut media = OfferAnswer::new(step.base.policy, step.random, None);
        let offer = media.offer(terms);
        let tag = step.random.token();
        let names = Names { call_id: &step.base.call_id, tag: &tag };
        let invite = invite(step.now, &step.base.trunk, &step.base.first, parties, &names, offer);
        let id = send_invite(step, &invite);
        let end = step.now.mono + RINGING;
        Calling { id, invite, media, forks: Vec::new(), heard_forks: 0, tried_longer: false, end }
    }

    pub(super) fn order(self: Box<Self>, step: &mut Step<'_>, order: Order) -> State {
        match order {
            Order::Release(release) => self.cancel(step, &release),
            Order::Change(_) => {
                let why = "the call is not answered yet";
                step.say(Word::Unchanged(Release::new(Guilty::Us, Cause::TEMPORARY, why).with_status(491)));
                State::Calling(self)
            }
            Order::Progress { .. }
            | Order::Answer { .. }
            | Order::Grant(_)
            | Order::Deny(_)
            | Order::Digit(..)
            | Order::Transfer(_)
            | Order::Refer(_) => State::Calling(self),
        }
    }

    fn cancel(self, step: &mut Step<'_>, release: &Release) -> State {
        let reason = release.cause.reason_header();
        step.out.push(super::Output::Cancel { id: self.id, reason });
        State::Leaving(Box::new(Leaving::cancelling(step.now.mono, self.id, &self.invite)))
    }

    pub(super) fn response(self: Box<Self>, step: &mut Step<'_>, id: RequestId, response: &Message) -> State {
        match response.status() {
            Some(status) if id == self.id => match status {
                0..=100 => State::Calling(self),
                101..=199 => self.progress(step, status, response),
                200..=299 => self.accepted(step, response),
                422 if !self.tried_longer => self.try_longer(step, response),
                status => refused(step, status, response),
            },
            _ => State::Calling(self),
        }
    }

    fn progress(mut self: Box<Self>, step: &mut Step<'_>, status: u16, response: &Message) -> State {
        let cseq = self.invite.cseq().map_or(0, |cseq| cseq.number);
        let Some(early) = self.fork(response) else {
            step.note("a provisional response that belongs to no dialog is passed over");
            return State::Calling(self);
        };
        let rseq = response.number(Name::RSeq).filter(|_| response.lists(Name::Require, "100rel"));
        if let Some(rseq) = rseq {
            if !early.heard.next(rseq) {
                return State::Calling(self);
            }
            let prack = early.dialog.request(Method::Prack).header(Name::RAck, format_args!("{rseq} {cseq} INVITE"));
            step.send(&early.dialog, prack.header(Name::UserAgent, PRODUCT).empty_body());
        }
        let media = early.listen(step, response, rseq.is_some());
        let stage = match status {
            _ if media.is_some() => Stage::InBand,
            180 => Stage::Ringing,
            183 => Stage::InBand,
            status => Stage::Other(status),
        };
        let told = told(&step.base.trunk, response);
        let said = Some((stage, media.clone(), told.clone()));
        if early.said != said {
            early.said = said;
            step.say(Word::Progress { stage, fork: early.fork, media, told });
        }
        State::Calling(self)
    }

    /// The early dialog that a response belongs to, begun if it is the first one from there.
    fn fork(&mut self, response: &Message) -> Option<&mut Early> {
        let tag = response.tag(Name::To).unwrap_or_default();
        let known = self.forks.iter().position(|early| early.dialog.remote_tag() == tag);
        let at = match known {
            Some(at) => at,
            None if self.forks.len() >= MOST_FORKS => return None,
            None => {
                let dialog = Dialog::calling(&self.invite, response).ok()?;
                let (fork, media) = (Fork(self.heard_forks), self.media.clone());
                self.heard_forks = self.heard_forks.saturating_add(1);
                self.forks.push(Early { fork, dialog, media, heard: Heard::default(), said: None });
                self.forks.len() - 1
            }
        };
        self.forks.get_mut(at)
    }

    fn accepted(mut self: Box<Self>, step: &mut Step<'_>, response: &Message) -> State {
        let Some(early) = self.fork(response) else {
            step.note("a 2xx without To cannot be confirmed");
            let why = "the peer's answer breaks the protocol";
            step.released(Release::new(Guilty::Peer, Cause::PROTOCOL, why));
            return State::Over;
        };
        let tag = early.dialog.remote_tag().to_owned();
        let Some(at) = self.forks.iter().position(|early| early.dialog.remote_tag() == tag) else { return State::Over };
        let mut winner = self.forks.swap_remove(at);
        winner.dialog.confirm(response);
        let cseq = self.invite.cseq().map_or(0, |cseq| cseq.number);
        step.acknowledge(self.id, &winner.dialog, cseq);
        match winner.conclude(response) {
            Ok(stream) => {
                step.base.told = Some(stream.clone());
                let told = told(&step.base.trunk, response);
                step.say(Word::Answer { fork: winner.fork, media: stream, told });
                let agreed = response.session_expires();
                let timer = agreed.map(|agreed| SessionTimer::start(step.now.mono, agreed, Refresher::Uac));
                State::Confirmed(Box::new(Confirmed::calling(winner.dialog, winner.media, timer, response)))
            }
            Err(release) => {
                step.released(release.clone());
                Leaving::bye(step, winner.dialog, &release, None)
            }
        }
    }

    /// 422: once more, as long as the peer wants (RFC 4028 section 7.3).
    fn try_longer(mut self: Box<Self>, step: &mut Step<'_>, response: &Message) -> State {
        let Some(interval) = response.number(Name::MinSe).filter(|least| (LEAST..=MOST_INTERVAL).contains(least))
        else {
            return refused(step, 422, response);
        };
        step.note("the peer wants a longer session interval: asked again");
        self.invite = with_interval(&self.invite, interval);
        self.tried_longer = true;
        self.forks.clear();
        self.id = send_invite(step, &self.invite);
        State::Calling(self)
    }

    pub(super) fn failed(self: Box<Self>, step: &mut Step<'_>, id: RequestId, why: Failure) -> State {
        if id != self.id {
            return State::Calling(self);
        }
        step.released(unanswered(why));
        State::Over
    }

    pub(super) fn request(mut self: Box<Self>, step: &mut Step<'_>, received: Received) -> State {
        let Some(at) = self.forks.iter().position(|early| early.dialog.owns(&received.message)) else {
            step.respond(&received, step.reply(&received, 481));
            return State::Calling(self);
        };
        let Some(early) = self.forks.get_mut(at) else { return State::Calling(self) };
        match received.message.method() {
            _ if !early.dialog.in_order(&received.message) => step.respond(&received, step.reply(&received, 500)),
            Some(Method::Update) => {
                if early_update(step, &mut early.dialog, &mut early.media, &received) {
                    let (stage, media) = (Stage::InBand, early.media.stream().cloned());
                    let told = told(&step.base.trunk, &received.message);
                    early.said = Some((stage, media.clone(), told.clone()));
                    step.say(Word::Progress { stage, fork: early.fork, media, told });
                }
            }
            // Only the caller may end an early dialog so; still nothing is gained by arguing.
            Some(Method::Bye) => {
                step.respond(&received, step.reply(&received, 200));
                self.forks.swap_remove(at);
            }
            Some(Method::Invite) => step.respond_later(&received),
            _ => step.respond_plainly(&received),
        }
        State::Calling(self)
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.invite.tag(Name::From) == Some(tag)
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        Some(self.end)
    }

    pub(super) fn tick(self: Box<Self>, step: &mut Step<'_>) -> State {
        if step.now.mono < self.end {
            return State::Calling(self);
        }
        let release = Release::new(Guilty::Network, Cause::NO_ANSWER, "nobody answered for ten minutes");
        step.released(release.clone());
        self.cancel(step, &release)
    }
}

impl Early {
    /// Reads the description of an 18x. One that comes after a firm answer is no answer any more
    /// (section 13.2.1).
    fn listen(&mut self, step: &mut Step<'_>, response: &Message, firm: bool) -> Option<Stream> {
        if !self.media.awaits_answer() {
            return None;
        }
        match self.media.answered(response, firm) {
            Ok(stream) => stream,
            Err(fault) => {
                step.note(format!("early media is passed over: {}", fault.release().why));
                None
            }
        }
    }

    /// What is agreed by the 2xx, or by what came before it.
    fn conclude(&mut self, response: &Message) -> Result<Stream, Release> {
        if self.media.awaits_answer() {
            let answered = self.media.answered(response, true).map_err(|fault| fault.release())?;
            if let Some(stream) = answered {
                return Ok(stream);
            }
        }
        let why = "the peer answered the call without answering our offer";
        self.media.settle().ok_or_else(|| Release::new(Guilty::Peer, Cause::PROTOCOL, why).with_status(502))
    }
}

fn told(trunk: &Trunk, message: &Message) -> Box<Told> {
    Box::new(Told { party: connected(trunk, message), user_user: user_to_user::read(message) })
}

fn send_invite(step: &mut Step<'_>, invite: &Message) -> RequestId {
    let id = step.send_to(step.base.first.clone(), invite.clone());
    step.base.invite = Some((id, invite.clone()));
    id
}

/// The peer said no. What makes no sense to our own caller (credentials, redirection, the interval)
/// becomes a status that does.
fn refused(step: &mut Step<'_>, status: u16, response: &Message) -> State {
    let why = format!("the peer answered {status} {}", reason_phrase(status));
    let heard = match status {
        300..=399 => 480,
        401 | 407 => 403,
        422 => 500,
        600.. | 400.. => status,
        _ => 500,
    };
    step.released(refused_by(response, heard, why));
    State::Over
}
