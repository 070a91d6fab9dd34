//! The peer calls: its INVITE up to our final answer (RFC 3261 section 13.3).
//!
//! ```text
//! peer                 leg                    call
//!  |---- INVITE ------->|------ parties ------->|
//!  |<--- 180 -----------|<----- Progress -------|  Ringing
//!  |<--- 183 (SDP) -----|<----- Progress -------|  with terms; repeated until PRACK when reliable
//!  |---- PRACK -------->|                       |
//!  |<--- 200 (SDP) -----|<----- Answer ---------|  repeated until ACK: `confirmed`
//! ```
//! Microsoft takes SDP in 183 and 200 only, so a 180 never carries any. A description that went out once
//! is repeated unchanged. Each fork of the far end has a To tag of its own as long as the trunk's
//! MaxEarlyDialogs allows; else all share the first.

use std::time::Duration;

use super::confirmed::{Confirmed, Unacked};
use super::{Base, Incoming, Output, RINGING, Received, Rejection, State, Step, excused, hung_up};
use crate::cause::{Cause, Guilty, Release, reason_phrase};
use crate::leg::{Fork, Order, Stage, Terms, Told, Word};
use crate::random::Random;
use crate::sip::dialog::Dialog;
use crate::sip::invite::{PRODUCT, abilities, dated, identified, parties};
use crate::sip::negotiate::{Said, Warning};
use crate::sip::offer_answer::{Body, OfferAnswer, Unusable, described, finish};
use crate::sip::reliable::{Reliable, Repeat};
use crate::sip::response::response_to;
use crate::sip::session_timer::{self, LEAST, SessionTimer, TooSmall};
use crate::sip::user_to_user;
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::{Builder, Message, Method, Name, Refresher, SessionExpires};

/// An INVITE without news for this long is given up by proxies on the way (section 13.3.1.1).
const REASSURE: Duration = Duration::from_secs(60);

/// The peer's INVITE without a final answer.
#[derive(Debug)]
pub(super) struct Called {
    invite: Received,
    /// Did the INVITE carry an offer?
    offered: bool,
    media: OfferAnswer,
    branches: Vec<Branch>,
    expires: Option<SessionExpires>,
    reliably: Reliably,
    /// An answer of the call that waits for a PRACK.
    answer: Option<(Terms, Fork, Box<Told>)>,
    reassure: Reassure,
    end: Instant,
}

/// May provisional responses be reliable? (RFC 3262 section 3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reliably {
    Never,
    WhereItHelps,
    Always,
}

/// The last unreliable 18x, and when it is due again.
#[derive(Debug)]
struct Reassure {
    at: Instant,
    response: Option<Message>,
}

/// One early dialog.
#[derive(Debug)]
struct Branch {
    fork: Fork,
    dialog: Dialog,
    media: OfferAnswer,
    reliable: Reliable,
    /// The answer that went out early.
    early: Option<Body>,
    /// Status of the last 18x, and whether it carried SDP.
    said: Option<(u16, bool)>,
}

impl Called {
    /// Judges an INVITE.
    pub(super) fn begin(
        now: Now,
        random: &mut Random,
        base: &Base,
        invite: Received,
    ) -> Result<(Called, Incoming), Box<Rejection>> {
        let message = &invite.message;
        let tag = random.token();
        let refuse = |release: &Release, warning| refusal(now, base, &invite, &tag, release, warning);
        let reject = |release, builder: Builder| Box::new(Rejection { response: builder.empty_body(), release });
        let dialog = Dialog::called(message, &tag).map_err(|why| {
            let release = Release::new(Guilty::Peer, Cause::PROTOCOL, why.to_string()).with_status(400);
            reject(release.clone(), refuse(&release, None))
        })?;
        let expires = session_timer::answer(message, base.trunk.switches.enable_session_timer).map_err(|TooSmall| {
            let why = "the session interval is below 90 s";
            let release = Release::new(Guilty::Peer, Cause::INTERWORKING, why).with_status(422);
            reject(release.clone(), refuse(&release, None).header(Name::MinSe, LEAST))
        })?;
        let unusable = |fault: &Unusable| {
            let builder = refuse(&fault.release(), fault.warning());
            reject(fault.release(), builder.header(Name::Accept, "application/sdp, multipart/alternative"))
        };
        let offer = described(&base.policy, Said::Offer, message).map_err(|fault| unusable(&fault))?;
        let offered = offer.is_some();
        let media = OfferAnswer::new(base.policy, random, offer);
        let wish = media.wish().transpose().map_err(|refusal| unusable(&refusal.into()))?;
        let incoming = Incoming { parties: parties(&base.trunk, message), wish };
        let reliably = reliably(base, message);
        let first = Branch::new(Fork(0), dialog, &media);
        let called = Called {
            offered,
            media,
            branches: vec![first],
            expires,
            reliably,
            answer: None,
            reassure: Reassure { at: now.mono + REASSURE, response: None },
            end: now.mono + RINGING,
            invite,
        };
        Ok((called, incoming))
    }

    pub(super) fn order(mut self: Box<Self>, step: &mut Step<'_>, order: Order) -> State {
        match order {
            Order::Progress { stage, fork, terms, told } => {
                self.progress(step, stage, fork, terms.as_ref(), &told);
                State::Called(self)
            }
            Order::Answer { terms, fork, told } => self.answer(step, terms, fork, told),
            Order::Release(release) => self.refuse(step, &release, None),
            Order::Change(_) => {
                let why = "the call is not answered yet";
                step.say(Word::Unchanged(Release::new(Guilty::Us, Cause::TEMPORARY, why).with_status(491)));
                State::Called(self)
            }
            Order::Grant(_) | Order::Deny(_) | Order::Digit(..) | Order::Transfer(_) | Order::Refer(_) => {
                State::Called(self)
            }
        }
    }

    fn progress(&mut self, step: &mut Step<'_>, stage: Stage, fork: Fork, terms: Option<&Terms>, told: &Told) {
        let at = self.branch(step, fork);
        let (offered, reliably) = (self.offered, self.reliably);
        let Some(branch) = self.branches.get_mut(at) else { return };
        let body = terms.and_then(|terms| branch.describe(step, offered, reliably, terms));
        let status = match stage {
            Stage::Ringing if body.is_none() => 180,
            Stage::Other(status @ 181..=199) if body.is_none() => status,
            Stage::Ringing | Stage::InBand | Stage::Other(_) => 183,
        };
        let carries_sdp = body.is_some();
        let said = Some((status, carries_sdp));
        if branch.said == said {
            return;
        }
        // Without an offer from either side a reliable 18x would have to carry ours (section 5).
        let reliable = reliably != Reliably::Never && (offered || carries_sdp);
        if reliably == Reliably::Always && !reliable {
            return step
                .note("progress kept back: the caller takes reliable responses only, and there is no offer yet");
        }
        branch.said = said;
        let builder = dialog_forming(step, &self.invite, status, branch.dialog.local_tag());
        let builder = user_to_user::write(builder, told.user_user.as_ref());
        if reliable {
            let rseq = branch.reliable.number();
            let builder = builder.header(Name::Require, "100rel").header(Name::RSeq, rseq);
            let response = finish(builder, body);
            let cseq = self.invite.message.cseq().map_or(0, |cseq| cseq.number);
            let now = branch.reliable.send(step.now.mono, rseq, cseq, response, carries_sdp);
            self.push(step, now);
        } else {
            let response = finish(builder, body);
            self.reassure = Reassure { at: step.now.mono + REASSURE, response: Some(response.clone()) };
            self.push(step, Some(response));
        }
    }

    fn push(&self, step: &mut Step<'_>, response: Option<Message>) {
        let transaction = self.invite.transaction;
        step.out.extend(response.map(|message| Output::Respond { transaction, message }));
    }

    /// Which branch speaks for a fork; made if the peer can take another one.
    fn branch(&mut self, step: &mut Step<'_>, fork: Fork) -> usize {
        if let Some(at) = self.branches.iter().position(|branch| branch.fork == fork) {
            return at;
        }
        if let Some(first) = self.branches.first_mut().filter(|first| first.said.is_none()) {
            first.fork = fork;
            return 0;
        }
        let most = usize::from(step.base.trunk.switches.max_early_dialogs);
        match Dialog::called(&self.invite.message, &step.random.token()) {
            Ok(dialog) if self.branches.len() < most => {
                self.branches.push(Branch::new(fork, dialog, &self.media));
                self.branches.len() - 1
            }
            _ => 0,
        }
    }

    fn answer(mut self: Box<Self>, step: &mut Step<'_>, terms: Terms, fork: Fork, told: Box<Told>) -> State {
        let at = self.branch(step, fork);
        if self.branches.get(at).is_some_and(|branch| branch.reliable.holds_answer()) {
            self.answer = Some((terms, fork, told));
            return State::Called(self);
        }
        let Some(mut branch) = (at < self.branches.len()).then(|| self.branches.swap_remove(at)) else {
            return State::Called(self);
        };
        let body = match branch.conclude(self.offered, &terms) {
            Ok(body) => body,
            Err(fault) => {
                step.released(fault.release());
                self.branches.push(branch);
                return self.refuse(step, &fault.release(), fault.warning());
            }
        };
        let builder = dialog_forming(step, &self.invite, 200, branch.dialog.local_tag());
        let builder = identified(builder, &step.base.trunk, told.party.as_ref());
        let builder = user_to_user::write(builder, told.user_user.as_ref());
        let response = finish(with_timer(builder, self.expires), body);
        step.agreed(&branch.media);
        self.push(step, Some(response.clone()));
        let timer = self.expires.map(|expires| SessionTimer::start(step.now.mono, expires, Refresher::Uas));
        let unacked = Unacked::new(step.now.mono, &self.invite, response);
        let peer = &self.invite.message;
        State::Confirmed(Box::new(Confirmed::called(
            branch.dialog,
            branch.media,
            timer,
            peer,
            unacked,
            branch.reliable,
        )))
    }

    /// Says no, finally.
    fn refuse(self, step: &mut Step<'_>, release: &Release, warning: Option<Warning>) -> State {
        let tag = self.branches.first().map(|branch| branch.dialog.local_tag()).unwrap_or_default();
        let builder = refusal(step.now, step.base, &self.invite, tag, release, warning);
        step.respond(&self.invite, builder);
        State::Over
    }

    pub(super) fn request(mut self: Box<Self>, step: &mut Step<'_>, received: Received) -> State {
        let Some(at) = self.branches.iter().position(|branch| branch.dialog.owns(&received.message)) else {
            step.respond(&received, step.reply(&received, 481));
            return State::Called(self);
        };
        let Some(branch) = self.branches.get_mut(at) else { return State::Called(self) };
        if !branch.dialog.in_order(&received.message) {
            step.respond(&received, step.reply(&received, 500));
            return State::Called(self);
        }
        match received.message.method() {
            Some(Method::Prack) => self.prack(step, at, &received),
            Some(Method::Update) => {
                let changed = early_update(step, &mut branch.dialog, &mut branch.media, &received);
                if changed {
                    branch.early = None;
                    step.agreed(&branch.media);
                }
                State::Called(self)
            }
            Some(Method::Bye) => {
                step.respond(&received, step.reply(&received, 200));
                let release = hung_up(&received.message, "the caller hung up before the answer");
                step.released(release.clone());
                self.refuse(step, &release.with_status(487), None)
            }
            Some(Method::Invite) => {
                step.respond_later(&received);
                State::Called(self)
            }
            _ => {
                step.respond_plainly(&received);
                State::Called(self)
            }
        }
    }

    fn prack(mut self: Box<Self>, step: &mut Step<'_>, at: usize, received: &Received) -> State {
        let Some(branch) = self.branches.get_mut(at) else { return State::Called(self) };
        let Ok(next) = branch.reliable.confirm(step.now.mono, &received.message) else {
            step.respond(received, step.reply(received, 481));
            return State::Called(self);
        };
        if branch.media.awaits_answer() {
            let agreed = branch.media.answered(&received.message, true);
            step.respond(received, step.reply(received, 200));
            match agreed {
                Ok(Some(_)) => step.agreed(&branch.media),
                Ok(None) | Err(_) => return self.give_up(step, "the PRACK has no usable answer to our offer", 500),
            }
        } else if received.message.body().is_empty() {
            step.respond(received, step.reply(received, 200));
        } else if early_update(step, &mut branch.dialog, &mut branch.media, received) {
            branch.early = None;
            step.agreed(&branch.media);
        }
        self.push(step, next);
        match self.answer.take() {
            Some((terms, fork, told)) => self.answer(step, terms, fork, told),
            None => State::Called(self),
        }
    }

    fn give_up(self, step: &mut Step<'_>, why: &'static str, status: u16) -> State {
        let release = Release::new(Guilty::Peer, Cause::from_status(status), why).with_status(status);
        step.released(release.clone());
        self.refuse(step, &release, None)
    }

    pub(super) fn cancelled(self, step: &mut Step<'_>, cancel: &Message) -> State {
        let release = hung_up(cancel, "the caller hung up before the answer");
        step.released(release.clone());
        self.refuse(step, &release.with_status(487), None)
    }

    /// Its early dialogs.
    pub(super) fn dialogs(&self) -> impl Iterator<Item = &Dialog> {
        self.branches.iter().map(|branch| &branch.dialog)
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.branches.iter().any(|branch| branch.dialog.local_tag() == tag)
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        let reliable = self.branches.iter().filter_map(|branch| branch.reliable.timeout()).min();
        let reassure = self.reassure.response.as_ref().map(|_| self.reassure.at);
        soonest(soonest(reliable, reassure), Some(self.end))
    }

    pub(super) fn tick(mut self: Box<Self>, step: &mut Step<'_>) -> State {
        if step.now.mono >= self.end {
            let release = Release::new(Guilty::Nobody, Cause::NO_ANSWER, "nobody answered for ten minutes");
            step.released(release.clone());
            return self.refuse(step, &release, None);
        }
        let repeats: Vec<_> = self.branches.iter_mut().map(|branch| branch.reliable.tick(step.now.mono)).collect();
        for repeat in repeats {
            match repeat {
                Repeat::Wait => {}
                Repeat::Again(response) => self.push(step, Some(response)),
                Repeat::Lost => return self.give_up(step, "the caller never confirmed our progress (PRACK)", 504),
            }
        }
        if step.now.mono >= self.reassure.at {
            self.reassure.at = step.now.mono + REASSURE;
            self.push(step, self.reassure.response.clone());
        }
        State::Called(self)
    }
}

impl Branch {
    fn new(fork: Fork, dialog: Dialog, media: &OfferAnswer) -> Branch {
        Branch { fork, dialog, media: media.clone(), reliable: Reliable::default(), early: None, said: None }
    }

    /// The description for an 18x, if one may go out: our answer, or our offer where it will be
    /// confirmed.
    fn describe(&mut self, step: &mut Step<'_>, offered: bool, reliably: Reliably, terms: &Terms) -> Option<Body> {
        let reliable = reliably != Reliably::Never;
        match (offered, self.media.stable()) {
            _ if self.early.is_some() => {}
            (true, false) => match self.media.answer(terms, reliable) {
                Ok(body) => {
                    step.agreed(&self.media);
                    self.early = Some(body);
                }
                Err(fault) => step.note(format!("no early media: {}", fault.release().why)),
            },
            (false, true) if reliable && self.media.stream().is_none() => return Some(self.media.offer(terms)),
            _ => {}
        }
        self.early.clone()
    }

    /// What stands in our 2xx. `None`: PRACK or UPDATE have agreed on all there is.
    fn conclude(&mut self, offered: bool, terms: &Terms) -> Result<Option<Body>, Unusable> {
        if let Some(early) = self.early.take() {
            self.media.settle();
            return Ok(Some(early));
        }
        if self.media.stable() && self.media.stream().is_some() {
            return Ok(None);
        }
        match offered {
            true => self.media.answer(terms, true).map(Some),
            false => Ok(Some(self.media.offer(terms))),
        }
    }
}

/// UPDATE, or a PRACK with an offer, before the call is answered: answered here, within what was allowed
/// (RFC 3311 section 5.2). True when media changed.
pub(super) fn early_update(
    step: &mut Step<'_>,
    dialog: &mut Dialog,
    media: &mut OfferAnswer,
    received: &Received,
) -> bool {
    let body = match step.take_offer(media, received) {
        None => return false,
        Some(false) => None,
        Some(true) => match media.answer_again() {
            Ok(body) => Some(body),
            Err(fault) => {
                step.decline(media, received, &fault);
                return false;
            }
        },
    };
    dialog.refresh(&received.message);
    let changed = body.is_some();
    let builder = abilities(step.reply(received, 200), &step.base.trunk, step.base.transport());
    let message = finish(builder, body);
    step.out.push(Output::Respond { transaction: received.transaction, message });
    changed
}

/// Begins a response that forms a dialog: route set, Contact, what we can do.
fn dialog_forming(step: &Step<'_>, invite: &Received, status: u16, tag: &str) -> Builder {
    let builder = response_to(&invite.message, invite.flow, status, reason_phrase(status), Some(tag));
    let builder = builder.copy(&invite.message, Name::RecordRoute);
    let builder = abilities(builder, &step.base.trunk, step.base.transport());
    dated(builder.header(Name::Server, PRODUCT), step.now)
}

/// Adds the session interval to a 2xx; a caller that shall refresh must know about it (RFC 4028
/// section 9).
pub(super) fn with_timer(builder: Builder, expires: Option<SessionExpires>) -> Builder {
    let Some(expires) = expires else { return builder };
    let builder = builder.header(Name::SessionExpires, session_timer::header(expires));
    if expires.refresher == Some(Refresher::Uac) { builder.header(Name::Require, "timer") } else { builder }
}

fn reliably(base: &Base, invite: &Message) -> Reliably {
    match base.trunk.switches.enable_100rel {
        false => Reliably::Never,
        true if invite.lists(Name::Require, "100rel") => Reliably::Always,
        true if invite.lists(Name::Supported, "100rel") => Reliably::WhereItHelps,
        true => Reliably::Never,
    }
}

/// Begins a final refusal of an INVITE.
fn refusal(
    now: Now,
    base: &Base,
    invite: &Received,
    tag: &str,
    release: &Release,
    warning: Option<Warning>,
) -> Builder {
    let status = release.final_status();
    let builder = response_to(&invite.message, invite.flow, status, reason_phrase(status), Some(tag));
    let builder = dated(builder.header(Name::Server, PRODUCT), now);
    let builder = user_to_user::write(builder, release.user_user());
    excused(builder, &base.trunk, release, Some(status), warning)
}
