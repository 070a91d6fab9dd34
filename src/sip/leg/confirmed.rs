//! Mid-call: hold, resume, another codec, refreshes, and the end (RFC 3261 sections 14 and 15, RFC 3311,
//! RFC 4028).
//!
//! ```text
//! call                 leg                     peer
//!  |<----- Change ------|<---- INVITE (SDP) ----|  another direction or codec
//!  |------ Grant ------>|----- 200 (SDP) ------>|  or Deny: 4xx, all stays as it was
//!  |                    |<---- ACK -------------|
//!  |                    |<---- INVITE, UPDATE --|  nothing new, or another address: answered here
//!
//!  |------ Change ----->|----- INVITE (SDP) --->|
//!  |<----- Changed -----|<---- 200 (SDP) -------|  or Unchanged
//!
//!  |<----- Released ----|<---- BYE -------------|
//! ```
//! One exchange at a time: what the call wants meanwhile waits, what the peer wants gets 491 or 500.

use std::time::Duration;

use super::called::with_timer;
use super::leaving::{Leaving, Reinvite};
use super::passing::Passing;
use super::referring::{self, Referring};
use super::{Output, Received, RequestId, State, Step, hung_up, unanswered};
use crate::cause::{Cause, Guilty, Release, reason_phrase};
use crate::leg::{Order, Terms, Word};
use crate::session::Digit;
use crate::sip::dialog::Dialog;
use crate::sip::digits::{self, Info};
use crate::sip::invite::{PRODUCT, abilities, dated, timed};
use crate::sip::offer_answer::{Asked, Body, OfferAnswer, finish};
use crate::sip::reliable::{Reliable, Repeat, Repeated};
use crate::sip::session_timer::{self, Due, LEAST, SessionTimer};
use crate::sip::transaction::{Failure, LIFETIME, ServerId, T2};
use crate::time::{Instant, soonest};
use crate::wire::sip::{Message, Method, Name, Refresher, SessionExpires};

/// How long the call may think about a peer's re-INVITE: as long as the other side may be asked.
const INVITE_PATIENCE: Duration = Duration::from_secs(40);
/// The same for UPDATE, whose sender gives up after 32 s.
const UPDATE_PATIENCE: Duration = Duration::from_secs(20);
/// How often a change of ours may collide with the peer's before it is given up.
const MOST_GLARES: u8 = 5;

/// An established dialog.
#[derive(Debug)]
pub(super) struct Confirmed {
    pub(super) dialog: Dialog,
    media: OfferAnswer,
    timer: Option<SessionTimer>,
    unacked: Option<Unacked>,
    /// An 18x of ours whose PRACK may still come (RFC 3262 section 3).
    reliable: Reliable,
    theirs: Option<Theirs>,
    ours: Option<Ours>,
    wanted: Option<Wanted>,
    referring: Option<Referring>,
    /// Has the dialog had a REFER before?
    referred: bool,
    passing: Option<Passing>,
    /// Did we send the first INVITE? Then the Call-ID is ours (section 14.1).
    caller: bool,
    /// Does the peer take UPDATE?
    update: bool,
    /// Does it take REFER, or not say so?
    refer: bool,
}

/// A 2xx of ours to an INVITE, until its ACK.
#[derive(Debug)]
pub(super) struct Unacked {
    transaction: ServerId,
    cseq: u32,
    repeated: Repeated,
}

impl Unacked {
    pub(super) fn new(now: Instant, invite: &Received, response: Message) -> Unacked {
        let cseq = invite.message.cseq().map_or(0, |cseq| cseq.number);
        Unacked { transaction: invite.transaction, cseq, repeated: Repeated::sent(now, response, T2) }
    }

    pub(super) fn is_for(&self, ack: &Message) -> bool {
        ack.cseq().is_ok_and(|cseq| cseq.number == self.cseq)
    }

    pub(super) fn transaction(&self) -> ServerId {
        self.transaction
    }

    pub(super) fn timeout(&self) -> Instant {
        self.repeated.timeout()
    }

    pub(super) fn tick(&mut self, now: Instant) -> Repeat {
        self.repeated.tick(now)
    }
}

/// A change that the peer asks for and the call thinks about.
#[derive(Debug)]
struct Theirs {
    received: Received,
    expires: Option<SessionExpires>,
    end: Instant,
}

/// A change or refresh of ours on its way.
#[derive(Clone, Copy, Debug)]
struct Ours {
    id: RequestId,
    method: Method,
    cseq: u32,
    /// `None` is a refresh, which the call knows nothing of.
    change: Option<u8>,
}

/// A change that the call wants, and when it may go out.
#[derive(Debug)]
struct Wanted {
    terms: Terms,
    at: Instant,
    glares: u8,
}

/// INFO: a digit, or nothing that we know.
fn informed(step: &mut Step<'_>, received: &Received) {
    match digits::read(&received.message) {
        Info::Foreign => step.respond(received, step.reply(received, 415).header(Name::Accept, digits::TYPES)),
        Info::Nothing => step.respond(received, step.reply(received, 200)),
        Info::Digit(digit, length) => {
            step.respond(received, step.reply(received, 200));
            step.say(Word::Digit(digit, length));
        }
    }
}

impl Confirmed {
    /// The peer called and we have answered.
    pub(super) fn called(
        dialog: Dialog,
        media: OfferAnswer,
        timer: Option<SessionTimer>,
        invite: &Message,
        unacked: Unacked,
        reliable: Reliable,
    ) -> Confirmed {
        Confirmed {
            unacked: Some(unacked),
            reliable,
            caller: false,
            ..Confirmed::calling(dialog, media, timer, invite)
        }
    }

    /// We called and the peer has answered; `peer` is its message that lists what it takes.
    pub(super) fn calling(
        dialog: Dialog,
        media: OfferAnswer,
        timer: Option<SessionTimer>,
        peer: &Message,
    ) -> Confirmed {
        let update = peer.lists(Name::Allow, "UPDATE");
        let refer = peer.value(Name::Allow).is_none() || peer.lists(Name::Allow, "REFER");
        Confirmed {
            dialog,
            media,
            timer,
            unacked: None,
            reliable: Reliable::default(),
            theirs: None,
            ours: None,
            wanted: None,
            referring: None,
            referred: false,
            passing: None,
            caller: true,
            update,
            refer,
        }
    }

    // Orders of the call.

    pub(super) fn order(mut self: Box<Self>, step: &mut Step<'_>, order: Order) -> State {
        match order {
            Order::Release(release) => return self.leave(step, &release),
            Order::Change(terms) => self.wanted = Some(Wanted { terms, at: step.now.mono, glares: 0 }),
            Order::Grant(terms) => self.grant(step, &terms),
            Order::Deny(release) => self.deny(step, &release),
            Order::Digit(digit, length) => self.dial(step, digit, length),
            Order::Refer(passage) => self.passing = Some(Passing::begin(step, &mut self.dialog, &passage)),
            Order::Transfer(outcome) => {
                self.refer(step, |referring, step, dialog| referring.order(step, dialog, outcome))
            }
            Order::Progress { .. } | Order::Answer { .. } => {}
        }
        self.stay(step)
    }

    /// Every event ends here unless the leg does: a change that waits goes out once nothing is in its
    /// way.
    fn stay(mut self: Box<Self>, step: &mut Step<'_>) -> State {
        let free = self.free();
        if let Some(wanted) = self.wanted.take_if(|wanted| free && wanted.at <= step.now.mono) {
            let offer = self.media.offer(&wanted.terms);
            self.ask(step, Method::Invite, Some(offer), Some(wanted.glares));
        }
        State::Confirmed(self)
    }

    /// Is no exchange open?
    fn free(&self) -> bool {
        self.ours.is_none() && self.theirs.is_none() && self.unacked.is_none() && self.media.stable()
    }

    /// Sends a target refresh request.
    fn ask(&mut self, step: &mut Step<'_>, method: Method, offer: Option<Body>, change: Option<u8>) {
        let builder = dated(self.dialog.request(method).header(Name::UserAgent, PRODUCT), step.now);
        let builder = abilities(builder, &step.base.trunk, step.base.transport());
        let builder = match &self.timer {
            Some(timer) => timed(builder, timer.asks()),
            None => builder,
        };
        let id = step.send(&self.dialog, finish(builder, offer));
        self.ours = Some(Ours { id, method, cseq: self.dialog.local_cseq(), change });
    }

    fn grant(&mut self, step: &mut Step<'_>, terms: &Terms) {
        let Some(Theirs { received, expires, .. }) = self.theirs.take() else {
            return step.note("a change was granted that the peer no longer waits for");
        };
        match self.media.answer(terms, true) {
            Ok(body) => {
                step.agreed(&self.media);
                self.accept(step, received, expires, Some(body));
            }
            Err(fault) => {
                step.note(format!("the change was granted but cannot be agreed: {}", fault.release().why));
                step.decline(&mut self.media, &received, &fault);
            }
        }
    }

    fn deny(&mut self, step: &mut Step<'_>, release: &Release) {
        if let Some(Theirs { received, .. }) = self.theirs.take() {
            self.media.withdraw();
            step.refuse(&received, release, None);
        }
    }

    /// Ends the leg as the call wants: BYE, but not before our 200 is confirmed, and the peer knows what came of its
    /// transfer.
    fn leave(mut self: Box<Self>, step: &mut Step<'_>, release: &Release) -> State {
        self.abandon_theirs(step);
        if let Some(unacked) = self.unacked.take() {
            let (dialog, release) = (self.dialog, release.clone());
            return State::Leaving(Box::new(Leaving::Unconfirmed { dialog, unacked, release }));
        }
        match self.referring.take().and_then(|referring| referring.outlives_call(step)) {
            Some(referring) => Leaving::telling(step, self.dialog, referring, Some(release.clone())),
            None => self.hang_up(step, release),
        }
    }

    pub(super) fn takes_refer(&self) -> bool {
        self.refer
    }

    /// Does something about the peer's REFER.
    fn refer(
        &mut self,
        step: &mut Step<'_>,
        then: impl FnOnce(Referring, &mut Step<'_>, &mut Dialog) -> Option<Referring>,
    ) {
        if let Some(referring) = self.referring.take() {
            self.referring = then(referring, step, &mut self.dialog);
        }
    }

    fn hang_up(self, step: &mut Step<'_>, release: &Release) -> State {
        let reinvite = self.ours.filter(|ours| ours.method == Method::Invite);
        let reinvite = reinvite.map(|Ours { id, cseq, .. }| Reinvite { id, cseq });
        Leaving::bye(step, self.dialog, release, reinvite)
    }

    /// Ends the leg for a reason of its own.
    fn give_up(mut self: Box<Self>, step: &mut Step<'_>, release: Release) -> State {
        self.abandon_theirs(step);
        step.released(release.clone());
        self.hang_up(step, &release)
    }

    /// What the peer asked for is over without a decision (487; section 15.1.2).
    fn abandon_theirs(&mut self, step: &mut Step<'_>) {
        if let Some(Theirs { received, .. }) = self.theirs.take() {
            self.media.withdraw();
            step.respond(&received, step.reply(&received, 487));
        }
    }

    // Requests of the peer.

    pub(super) fn request(mut self: Box<Self>, step: &mut Step<'_>, received: Received) -> State {
        if !self.dialog.owns(&received.message) {
            step.respond(&received, step.reply(&received, 481));
            return State::Confirmed(self);
        }
        if !self.dialog.in_order(&received.message) {
            step.respond(&received, step.reply(&received, 500));
            return State::Confirmed(self);
        }
        match received.message.method() {
            Some(Method::Bye) => {
                step.respond(&received, step.reply(&received, 200));
                self.abandon_theirs(step);
                step.released(hung_up(&received.message, "the peer hung up"));
                return match self.referring.take().and_then(|referring| referring.outlives_call(step)) {
                    Some(referring) => Leaving::telling(step, self.dialog, referring, None),
                    None => State::Over,
                };
            }
            Some(Method::Invite | Method::Update) => self.asked(step, received),
            Some(Method::Prack) if self.reliable.confirm(step.now.mono, &received.message).is_ok() => {
                step.respond(&received, step.reply(&received, 200));
            }
            Some(Method::Info) => informed(step, &received),
            Some(Method::Refer) if self.referring.is_some() => referring::later(step, &received, "another one runs"),
            Some(Method::Refer) => {
                self.referring = Referring::begin(step, received, !self.referred);
                self.referred |= self.referring.is_some();
            }
            Some(Method::Notify) if self.passing.is_some() => {
                self.passing = self.passing.take().and_then(|passing| passing.notified(step, &received));
            }
            Some(Method::Subscribe) if self.referring.is_some() => {
                self.refer(step, |referring, step, dialog| referring.subscribe(step, dialog, &received));
            }
            _ => step.respond_plainly(&received),
        }
        self.stay(step)
    }

    /// Tells the peer of a digit. Its answer changes nothing.
    fn dial(&mut self, step: &mut Step<'_>, digit: Digit, length: Duration) {
        let builder = dated(self.dialog.request(Method::Info).header(Name::UserAgent, PRODUCT), step.now);
        step.send(&self.dialog, digits::write(builder, digit, length));
    }

    /// re-INVITE or UPDATE.
    fn asked(&mut self, step: &mut Step<'_>, received: Received) {
        let wanted = step.base.trunk.switches.enable_session_timer;
        let Ok(expires) = session_timer::answer(&received.message, wanted) else {
            return step.respond(&received, step.reply(&received, 422).header(Name::MinSe, LEAST));
        };
        let invite = received.message.is(Method::Invite);
        if self.theirs.is_some() {
            return step.respond_later(&received);
        }
        if invite && (self.unacked.is_some() || self.ours.is_some_and(|ours| ours.method == Method::Invite)) {
            return step.respond(&received, step.reply(&received, 491));
        }
        match step.take_offer(&mut self.media, &received) {
            None => {}
            Some(true) => self.consider(step, received, expires),
            Some(false) if invite => match self.media.offer_again() {
                Some(offer) => self.accept(step, received, expires, Some(offer)),
                None => step.respond_later(&received),
            },
            Some(false) => self.accept(step, received, expires, None),
        }
    }

    /// An offer in mid-call: what changes nothing for the call is answered here.
    fn consider(&mut self, step: &mut Step<'_>, received: Received, expires: Option<SessionExpires>) {
        match self.media.asked() {
            Ok(Asked::Same) => match self.media.answer_same() {
                Ok(body) => {
                    step.agreed(&self.media);
                    self.accept(step, received, expires, Some(body));
                }
                Err(fault) => step.decline(&mut self.media, &received, &fault),
            },
            Ok(Asked::Change(wish)) => {
                let patience = if received.message.is(Method::Invite) { INVITE_PATIENCE } else { UPDATE_PATIENCE };
                self.theirs = Some(Theirs { received, expires, end: step.now.mono + patience });
                step.say(Word::Change(wish));
            }
            Err(refusal) => step.decline(&mut self.media, &received, &refusal.into()),
        }
    }

    /// Accepts a target refresh request.
    fn accept(&mut self, step: &mut Step<'_>, received: Received, expires: Option<SessionExpires>, body: Option<Body>) {
        self.dialog.refresh(&received.message);
        self.timer = expires.map(|expires| SessionTimer::start(step.now.mono, expires, Refresher::Uas));
        let builder = step.reply(&received, 200).copy(&received.message, Name::RecordRoute);
        let builder = abilities(builder, &step.base.trunk, step.base.transport());
        let message = finish(with_timer(builder, expires), body);
        step.out.push(Output::Respond { transaction: received.transaction, message: message.clone() });
        if received.message.is(Method::Invite) {
            self.unacked = Some(Unacked::new(step.now.mono, &received, message));
        }
    }

    pub(super) fn ack(mut self: Box<Self>, step: &mut Step<'_>, ack: &Message) -> State {
        if self.unacked.take_if(|unacked| unacked.is_for(ack)).is_none() {
            return State::Confirmed(self);
        }
        if self.media.awaits_answer() {
            match self.media.answered(ack, true) {
                Ok(Some(_)) => step.agreed(&self.media),
                Ok(None) if self.media.stream().is_some() => {
                    step.note("the ACK does not answer our offer: all stays as it was");
                    self.media.withdraw();
                }
                Ok(None) => {
                    let why = "the peer's ACK does not answer our offer";
                    return self.give_up(step, Release::new(Guilty::Peer, Cause::PROTOCOL, why));
                }
                Err(fault) => return self.give_up(step, fault.release()),
            }
        }
        self.stay(step)
    }

    /// A CANCEL that crossed our 200 changes nothing (section 9.2); one for a re-INVITE ends that alone.
    pub(super) fn cancelled(mut self: Box<Self>, step: &mut Step<'_>) -> State {
        if self.theirs.as_ref().is_some_and(|theirs| theirs.received.message.is(Method::Invite)) {
            self.abandon_theirs(step);
        }
        self.stay(step)
    }

    // Answers of the peer.

    pub(super) fn response(mut self: Box<Self>, step: &mut Step<'_>, id: RequestId, response: &Message) -> State {
        let status = response.status().unwrap_or_default();
        if self.referring.as_ref().is_some_and(|referring| referring.awaits(id)) {
            if status >= 200 {
                self.refer(step, |referring, step, dialog| referring.answered(step, dialog, Some(status)));
            }
            return State::Confirmed(self);
        }
        if self.passing.as_ref().is_some_and(|passing| passing.awaits(id)) {
            if status >= 200 {
                self.passing = self.passing.take().and_then(|passing| passing.answered(step, status));
            }
            return State::Confirmed(self);
        }
        let Some(ours) = self.ours.filter(|ours| ours.id == id) else {
            step.hang_up_stray(id, response);
            return State::Confirmed(self);
        };
        if status < 200 {
            return State::Confirmed(self);
        }
        self.ours = None;
        match status {
            200..=299 => self.accepted(step, ours, response),
            408 | 481 => {
                let why = format!("the peer answered {status} {} in mid-call", reason_phrase(status));
                self.give_up(step, Release::new(Guilty::Peer, Cause::from_status(status), why))
            }
            status => {
                self.refused(step, ours, status, response);
                self.stay(step)
            }
        }
    }

    fn accepted(mut self: Box<Self>, step: &mut Step<'_>, ours: Ours, response: &Message) -> State {
        self.dialog.refresh(response);
        if ours.method == Method::Invite {
            step.acknowledge(ours.id, &self.dialog, ours.cseq);
        }
        let agreed = response.session_expires();
        self.timer = agreed.map(|agreed| SessionTimer::start(step.now.mono, agreed, Refresher::Uac));
        if !self.media.awaits_answer() {
            return self.stay(step);
        }
        match self.media.answered(response, true) {
            Ok(Some(stream)) if ours.change.is_some() => {
                step.base.told = Some(stream.clone());
                step.say(Word::Changed(stream));
                self.stay(step)
            }
            Ok(Some(_)) => {
                step.agreed(&self.media);
                self.stay(step)
            }
            Ok(None) => {
                let why = "the peer accepted a change without answering our offer";
                self.give_up(step, Release::new(Guilty::Peer, Cause::PROTOCOL, why))
            }
            Err(fault) => self.give_up(step, fault.release()),
        }
    }

    /// All stays as it was; a collision is tried again at a time of its own (section 14.1).
    fn refused(&mut self, step: &mut Step<'_>, ours: Ours, status: u16, response: &Message) {
        let pause = if matches!(status, 405 | 491 | 501) { self.glare_pause(step) } else { LIFETIME };
        match ours.change {
            Some(glares) if status != 491 || glares == MOST_GLARES => {
                self.media.withdraw();
                let why = format!("the peer answered {status} {} to a change", reason_phrase(status));
                step.say(Word::Unchanged(Release::refused(status, response.q850(), why)));
            }
            _ => {
                self.update &= !(ours.method == Method::Update && matches!(status, 405 | 501));
                self.again(ours, step.now.mono + pause);
            }
        }
    }

    /// What `ours` wanted is asked for again at `at`. Something newer that the call wants meanwhile takes
    /// its place.
    fn again(&mut self, ours: Ours, at: Instant) {
        let terms = self.media.offered_terms();
        self.media.withdraw();
        match (ours.change, terms, &mut self.timer) {
            (Some(glares), Some(terms), _) => {
                self.wanted.get_or_insert(Wanted { terms, at, glares: glares + 1 });
            }
            (None, _, Some(timer)) => timer.refresh_at(at),
            _ => {}
        }
    }

    fn glare_pause(&self, step: &mut Step<'_>) -> Duration {
        let (least, spread) = if self.caller { (210, 191) } else { (0, 201) };
        Duration::from_millis(10 * (least + step.random.below(spread)))
    }

    pub(super) fn failed(mut self: Box<Self>, step: &mut Step<'_>, id: RequestId, why: Failure) -> State {
        if self.referring.as_ref().is_some_and(|referring| referring.awaits(id)) {
            self.refer(step, |referring, step, dialog| referring.answered(step, dialog, None));
        }
        if self.passing.as_ref().is_some_and(|passing| passing.awaits(id)) {
            self.passing = self.passing.take().and_then(|passing| passing.failed(step, why));
        }
        let Some(ours) = self.ours.take_if(|ours| ours.id == id) else { return State::Confirmed(self) };
        // The way to the peer is gone: once more by the other one.
        if why == Failure::Transport && step.base.take_detour() {
            self.again(ours, step.now.mono);
            return self.stay(step);
        }
        self.give_up(step, unanswered(why))
    }

    // Time.

    pub(super) fn timeout(&self) -> Option<Instant> {
        let timer = self.timer.as_ref().and_then(SessionTimer::timeout);
        let unacked = self.unacked.as_ref().map(Unacked::timeout);
        let theirs = self.theirs.as_ref().map(|theirs| theirs.end);
        // A change that something else blocks goes out when that ends.
        let wanted = self.wanted.as_ref().filter(|_| self.free()).map(|wanted| wanted.at);
        let referring = self.referring.as_ref().and_then(Referring::timeout);
        [unacked, theirs, wanted, referring].into_iter().fold(timer, soonest)
    }

    pub(super) fn tick(mut self: Box<Self>, step: &mut Step<'_>) -> State {
        let now = step.now.mono;
        match self.unacked.as_mut().map(|unacked| (unacked.transaction, unacked.tick(now))) {
            Some((transaction, Repeat::Again(message))) => step.out.push(Output::Respond { transaction, message }),
            Some((_, Repeat::Lost)) => {
                let why = "the peer never confirmed our answer (ACK)";
                return self.give_up(step, Release::new(Guilty::Peer, Cause::TIMER, why));
            }
            Some((_, Repeat::Wait)) | None => {}
        }
        if let Some(Theirs { received, .. }) = self.theirs.take_if(|theirs| now >= theirs.end) {
            self.media.withdraw();
            step.note("the peer's change was not decided in time");
            step.respond(&received, step.reply(&received, 504));
        }
        self.refer(step, |referring, step, dialog| referring.tick(step, dialog));
        match self.timer.as_mut().and_then(|timer| timer.due(now)) {
            Some(Due::End) => {
                let why = "the session was not refreshed in time (RFC 4028)";
                return self.give_up(step, Release::new(Guilty::Peer, Cause::TIMER, why));
            }
            Some(Due::Refresh) => self.refresh(step),
            None => {}
        }
        self.stay(step)
    }

    /// UPDATE where the peer takes it, else a re-INVITE that changes nothing.
    fn refresh(&mut self, step: &mut Step<'_>) {
        if !self.free() {
            let at = step.now.mono + T2;
            if let Some(timer) = &mut self.timer {
                timer.refresh_at(at);
            }
        } else if self.update {
            self.ask(step, Method::Update, None, None);
        } else {
            let offer = self.media.offer_same();
            self.ask(step, Method::Invite, offer, None);
        }
    }
}
