//! One side of a call wants its partner connected with somebody else: REFER (RFC 3515, RFC 5589), carried out here.
//!
//! 1. The transferor's REFER names a target; ways to it are hunted as for any call. The transferor hears 202 and
//!    `100 Trying`. `Hunting`
//!    A gateway that takes REFER (EnableReferSupport) is asked to place that call itself, through us, and its NOTIFYs
//!    are told on; one that refuses or says nothing loses its turn, and we go on as above. `Passing`, `Passed`
//!    A REFER with Replaces means a call of ours, talking or ringing, which is joined with this one: see `replace`.
//! 2. The target rings or speaks: the transferor hears of it. So does the other side, unless the two still talk. `Alerting`
//! 3. The transferor may hang up meanwhile; then the other side waits for the target alone.
//! 4. The target answers: it takes the transferor's seat, one new session joins it with the other side, which sees a
//!    re-INVITE at most; the transferor hears 200 and a BYE. Where both are on one line now, see `trombone`.
//! 5. Or nobody answers: the transferor hears why and the call goes on as it was. Only where the transferor has gone is
//!    it over.
//!
//! The target's leg takes over the transferor's ports as well: there is nothing to open and nothing left over.

use std::collections::VecDeque;
use std::time::Duration;

use super::b2bua::{Act, Around, Call, Half, LegKey, RINGING, State as CallState, passed};
use super::report::{Report, TransferMode, TransferResult};
use super::trunk::TrunkWatch;
use crate::cause::{Cause, Guilty, Release};
use crate::config::{Profile, Trunk, TrunkKind};
use crate::hop::TrunkId;
use crate::leg::{Order, Outcome, Parties, Passage, Referral, Stage, Terms, Word};
use crate::private::Private;
use crate::route::{self, Attempt};
use crate::session::{Play, Side, Stream};
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::Uri;

/// A gateway that has not answered our REFER by then is taken for one that cannot: the transferor's own patience is 30 s.
const ANSWERS: Duration = Duration::from_secs(4);

/// A transfer that is under way.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The leg that asked for it.
    by: LegKey,
    /// Whose place the target will take.
    side: Side,
    /// The transferor has hung up.
    gone: bool,
    /// Whom to call, and on whose behalf.
    parties: Parties,
    attempts: VecDeque<Attempt>,
    target: Option<LegKey>,
    /// The target was called in another call, at whose ports it speaks until it is asked to speak here.
    moved: bool,
    mode: TransferMode,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The gateway has our REFER.
    Passing {
        token: String,
        until: Instant,
    },
    /// It has taken it.
    Passed {
        token: String,
        until: Instant,
    },
    Hunting {
        silence: Option<Instant>,
        until: Instant,
    },
    Alerting {
        ringing: bool,
        early: Option<Box<Stream>>,
        until: Instant,
    },
}

impl Transfer {
    pub(super) fn timeout(&self) -> Instant {
        match &self.state {
            &State::Hunting { silence, until } => soonest(silence, Some(until)).unwrap_or(until),
            State::Passing { until, .. } | State::Passed { until, .. } | State::Alerting { until, .. } => *until,
        }
    }

    /// The referral of the call that a gateway places by itself, known by this token.
    pub(super) fn referral(&self, wanted: &str) -> Option<&Parties> {
        match &self.state {
            State::Passing { token, .. } | State::Passed { token, .. } if token == wanted => Some(&self.parties),
            _ => None,
        }
    }

    /// Is the leg needed by the transfer?
    pub(super) fn needs(&self, key: LegKey) -> bool {
        self.by == key || self.target == Some(key)
    }

    pub(super) fn target(&self) -> Option<LegKey> {
        self.target
    }

    pub(super) fn by(&self) -> LegKey {
        self.by
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    pub(super) fn is_by(&self, key: LegKey) -> bool {
        self.by == key
    }

    /// Does nobody talk on the transferor's side any more: is it gone, or does it hold?
    fn apart(&self, streams: &[Option<Stream>; 2]) -> bool {
        let talks = |stream: &Stream| stream.direction.receives() && stream.direction.sends();
        self.gone || !streams[self.side.index()].as_ref().is_some_and(talks)
    }

    /// What both sides of the media are while the transfer runs, of what they agreed with us.
    pub(super) fn heard(&self, streams: &[Option<Stream>; 2]) -> [Option<Stream>; 2] {
        let mut heard = streams.clone();
        if let (true, State::Alerting { early: Some(early), .. }) = (self.apart(streams), &self.state) {
            heard[self.side.index()] = Some(Stream { watch: None, ..Stream::clone(early) });
        } else if self.gone {
            heard[self.side.index()] = None;
        }
        heard
    }

    /// Does the waiting side hear a ring tone of ours?
    pub(super) fn rings(&self, streams: &[Option<Stream>; 2]) -> Option<Side> {
        let silent = matches!(self.state, State::Alerting { ringing: true, early: None, .. });
        (silent && self.apart(streams)).then_some(self.side.other())
    }
}

impl Call {
    /// The leg on `side` sent a REFER.
    pub(super) fn transfer_asked(&mut self, side: Side, referral: Referral, around: &mut Around<'_>) {
        let Some(by) = self.key_of(side) else { return };
        if !self.is_connected() || self.transfer().is_some() {
            let why = "the other side's transfer is under way, or the call is not answered yet";
            let later = Release::new(Guilty::Peer, Cause::TEMPORARY, why).with_status(491);
            return self.order(by, Order::Transfer(Outcome::Refused(later)), around);
        }
        let attempts = self.ways_to(side, &referral, around);
        let replaces = referral.replaces.clone();
        let parties = self.referred(side, referral);
        self.order(by, Order::Transfer(Outcome::Taken), around);
        let state = State::Hunting { silence: None, until: around.now.mono + RINGING };
        let mode = self.mode(side, &parties, around);
        self.begin_transfer(Transfer {
            by,
            side,
            gone: false,
            parties,
            attempts,
            target: None,
            moved: false,
            mode,
            state,
        });
        match mode {
            TransferMode::Handled if replaces.is_some() => {
                around.out.extend(replaces.map(|Private(replaces)| Act::Join(replaces)));
            }
            TransferMode::Passed => self.pass(side, around),
            TransferMode::Handled | TransferMode::TakenOver => self.call_first(around),
        }
    }

    /// The dialog that the target shall replace is none of ours: the target is called and told of it.
    pub(super) fn not_ours(&mut self, around: &mut Around<'_>) {
        self.call_first(around);
        self.settle(around);
    }

    fn call_first(&mut self, around: &mut Around<'_>) {
        let why = "there is no way to the target of the transfer: no [HybridVoiceRoutes] pattern matches it";
        self.call_target(Release::new(Guilty::Us, Cause::NO_ROUTE, why), around);
    }

    /// Who shall place the new call. Teams wants it back from us, and what is replaced has names of our making only here.
    fn mode(&self, side: Side, parties: &Parties, around: &mut Around<'_>) -> TransferMode {
        let (Some(asks), Some(asked)) = (self.half(self.key_of(side)), self.half(self.key_of(side.other()))) else {
            return TransferMode::Handled;
        };
        let teams = TrunkKind::Microsoft(Profile::Teams);
        let replaces = parties.referral.as_ref().is_none_or(|referral| referral.replaces.is_some());
        let gateways = asked.trunk.kind == TrunkKind::Gateway && asked.trunk.switches.enable_refer_support;
        if !gateways || asks.trunk.kind == teams || asks.trunk.kind == TrunkKind::Gateway || replaces {
            return TransferMode::Handled;
        }
        if asked.leg.takes_refer() {
            return TransferMode::Passed;
        }
        let name = &asked.trunk.name;
        let text = format!(
            "{name} does not list REFER in its Allow, so this box places the transfer's call (EnableReferSupport=False says so for good)"
        );
        self.note(text, around);
        TransferMode::TakenOver
    }

    /// Asks the gateway to place the new call.
    fn pass(&mut self, side: Side, around: &mut Around<'_>) {
        let token = around.random.token();
        let until = around.now.mono + ANSWERS;
        let (Some(asked), Some(transfer)) = (self.key_of(side.other()), self.transfer_mut()) else { return };
        transfer.state = State::Passing { token: token.clone(), until };
        let referred_by = transfer.parties.referral.as_ref().and_then(|referral| referral.referred_by.clone());
        let number = transfer.parties.called.clone();
        self.order(asked, Order::Refer(Box::new(Passage { number, token, referred_by })), around);
    }

    /// The gateway says what comes of our REFER.
    pub(super) fn passed(&mut self, side: Side, outcome: Outcome, around: &mut Around<'_>) {
        let until = around.now.mono + RINGING;
        let Some(transfer) = self.transfer_mut().filter(|transfer| transfer.side.other() == side) else { return };
        let by = transfer.by;
        let token = match &transfer.state {
            State::Passing { token, .. } | State::Passed { token, .. } => token.clone(),
            State::Hunting { .. } | State::Alerting { .. } => return,
        };
        match outcome {
            Outcome::Refused(release) => return self.take_over(&release.why, around),
            Outcome::Taken | Outcome::At(_) => transfer.state = State::Passed { token, until },
            Outcome::Reached | Outcome::Failed(_) => {}
        }
        match outcome {
            Outcome::At(status) => self.order(by, Order::Transfer(Outcome::At(status)), around),
            Outcome::Reached => self.gateway_transferred(around),
            Outcome::Failed(release) => self.transfer_failed(release, around),
            Outcome::Taken | Outcome::Refused(_) => {}
        }
    }

    /// The gateway has its new call, and neither side needs this one.
    fn gateway_transferred(&mut self, around: &mut Around<'_>) {
        let Some(transfer) = self.take_transfer() else { return };
        self.note("the gateway has reached the target of the transfer", around);
        self.report_transfer(&transfer, TransferResult::Reached, around);
        self.order(transfer.by, Order::Transfer(Outcome::Reached), around);
        self.end(Release::normal("transferred"), "us", around);
    }

    /// The gateway does not do it: we do.
    fn take_over(&mut self, why: &str, around: &mut Around<'_>) {
        let until = around.now.mono + RINGING;
        let Some(transfer) = self.transfer_mut() else { return };
        transfer.mode = TransferMode::TakenOver;
        transfer.state = State::Hunting { silence: None, until };
        let text = format!(
            "the gateway does not transfer ({why}): this box places the call itself; EnableReferSupport=False saves the wait"
        );
        self.note(text, around);
        self.call_first(around);
    }

    fn ways_to(&self, side: Side, referral: &Referral, around: &Around<'_>) -> VecDeque<Attempt> {
        let from = self.half(self.key_of(side)).map(|half| half.trunk.id);
        let (Some(from), Some(target)) = (from, Uri::parse(referral.target.0.as_bytes())) else {
            return VecDeque::new();
        };
        let is_up = |id| around.trunks.iter().find(|watch| watch.id() == id).is_none_or(TrunkWatch::is_up);
        route::refer(&self.config, from, target, is_up).into()
    }

    /// The other side calls whom the referral names.
    fn referred(&self, side: Side, referral: Referral) -> Parties {
        let called = Uri::parse(referral.target.0.as_bytes()).and_then(Uri::user).unwrap_or_default().to_owned();
        let parties = match side {
            Side::A => Parties { calling: self.parties.called.clone(), ..Parties::default() },
            Side::B => self.parties.clone(),
        };
        // A gateway's words mean nothing to Microsoft's servers: to them it is a call like any other.
        let microsoft = self.half(self.key_of(side)).is_some_and(|half| half.trunk.id == TrunkId::LYNC);
        let referral = microsoft.then(|| Box::new(referral));
        // Nobody diverted this call, and nobody has told the target anything yet.
        Parties { called: Private(called), referral, diversions: Vec::new(), user_user: None, ..parties }
    }

    /// Tries the next way to the target, or lets the transfer fail for the last reason.
    fn call_target(&mut self, mut failure: Release, around: &mut Around<'_>) {
        while let Some(attempt) = self.transfer_mut().and_then(|transfer| transfer.attempts.pop_front()) {
            match self.dial_target(&attempt, around) {
                Ok(()) => return,
                Err(why) => {
                    self.note(format!("{} is passed over: {}", attempt.egress, why.why), around);
                    failure = why;
                }
            }
        }
        self.transfer_failed(failure, around);
    }

    fn dial_target(&mut self, attempt: &Attempt, around: &mut Around<'_>) -> Result<(), Release> {
        let Some(transfer) = self.transfer() else { return Ok(()) };
        let (side, parties) = (transfer.side, transfer.parties.clone());
        let (key, silence) = self.dial(attempt, &parties, |call, trunk| call.terms_for_target(side, trunk), around)?;
        let until = around.now.mono + RINGING;
        if let Some(transfer) = self.transfer_mut() {
            transfer.target = Some(key);
            transfer.state = State::Hunting { silence, until };
        }
        Ok(())
    }

    /// What the waiting side speaks, both ways, whatever hold it is in now.
    fn terms_for_target(&self, side: Side, trunk: &Trunk) -> Result<Terms, Release> {
        self.spoken(side, trunk).ok_or_else(|| {
            Release::new(Guilty::Us, Cause::TEMPORARY, "the side that is to be transferred has no media agreed")
        })
    }

    /// The target's leg says something.
    pub(super) fn target_says(&mut self, word: Word, around: &mut Around<'_>) {
        match word {
            Word::Progress { stage, media, .. } => self.target_progressed(stage, media, around),
            Word::Answer { media, .. } => self.target_answered(media, around),
            Word::Released(release) => self.target_refused(release, around),
            _ => {}
        }
    }

    fn target_progressed(&mut self, stage: Stage, media: Option<Stream>, around: &mut Around<'_>) {
        let until = around.now.mono + RINGING;
        let Some(transfer) = self.transfer_mut() else { return };
        let before = match &mut transfer.state {
            State::Alerting { early, .. } => early.take(),
            _ => None,
        };
        transfer.attempts.clear();
        let early = media.map(Box::new).or(before).filter(|_| !transfer.moved);
        let ringing = stage == Stage::Ringing || transfer.moved;
        transfer.state = State::Alerting { ringing, early, until };
        let status = match stage {
            Stage::Ringing => 180,
            Stage::InBand => 183,
            Stage::Other(status) => status,
        };
        let by = transfer.by;
        self.order(by, Order::Transfer(Outcome::At(status)), around);
        self.apply(around);
    }

    /// The target rings already, called in another call. What it says before it answers goes to ports that are closed, so
    /// the side that waits hears our ring tone.
    pub(super) fn ring(&mut self, half: Half, around: &mut Around<'_>) -> Option<LegKey> {
        let until = around.now.mono + RINGING;
        let by = self.transfer()?.by;
        let key = self.add_leg(half);
        let transfer = self.transfer_mut()?;
        transfer.attempts.clear();
        (transfer.target, transfer.moved) = (Some(key), true);
        transfer.state = State::Alerting { ringing: true, early: None, until };
        self.note("the transfer takes over a call of the transferor's that rings", around);
        self.order(by, Order::Transfer(Outcome::At(180)), around);
        self.apply(around);
        Some(key)
    }

    /// The target takes the transferor's seat.
    fn target_answered(&mut self, media: Stream, around: &mut Around<'_>) {
        let Some(transfer) = self.take_transfer() else { return };
        let (side, other) = (transfer.side, transfer.side.other());
        self.note("the transfer has reached its target", around);
        self.report_transfer(&transfer, TransferResult::Reached, around);
        self.order(transfer.by, Order::Transfer(Outcome::Reached), around);
        self.order(transfer.by, Order::Release(Release::normal("transferred")), around);
        let change = self.take_change();
        let Some(target) = transfer.target else { return };
        self.sit(side, target, transfer.parties.called, media.clone());
        self.apply(around);
        if transfer.moved {
            self.speak(side, around);
        }
        match change {
            Some(change) if change.asked == other => self.grant(other, Some(change.wish.direction), around),
            crossing => self.resume(other, &media, crossing.is_some(), around),
        }
        self.shorten(around);
    }

    /// A side that was held, or is just being asked to hold, is asked to speak.
    fn resume(&mut self, side: Side, partner: &Stream, crossing: bool, around: &mut Around<'_>) {
        let agreed = |stream: &Stream| stream.direction == partner.direction.reversed();
        let fits = !crossing && self.stream(side).is_some_and(agreed);
        if let (false, Some(key), Some(terms)) = (fits, self.key_of(side), self.mirrored(partner, side)) {
            self.order(key, Order::Change(terms), around);
        }
    }

    fn target_refused(&mut self, release: Release, around: &mut Around<'_>) {
        let theirs = (500..600).contains(&release.final_status()) && release.guilty == Guilty::Network;
        let hunting = self.transfer().is_some_and(|transfer| matches!(transfer.state, State::Hunting { .. }));
        match hunting && theirs {
            true => self.call_target(release, around),
            false => self.transfer_failed(release, around),
        }
    }

    /// All stays as it was, if there is somebody left for it.
    fn transfer_failed(&mut self, release: Release, around: &mut Around<'_>) {
        let Some(transfer) = self.take_transfer() else { return };
        let status = release.final_status();
        self.note(format!("the transfer failed with {status}: {}", release.why), around);
        self.report_transfer(&transfer, TransferResult::Failed, around);
        self.order(transfer.by, Order::Transfer(Outcome::Failed(release.clone())), around);
        match transfer.gone {
            true => self.end(release, "them", around),
            false => self.apply(around),
        }
    }

    /// The transferor hung up: that ends the call for itself alone.
    pub(super) fn transferor_left(&mut self, around: &mut Around<'_>) {
        let Some(transfer) = self.transfer_mut() else { return };
        transfer.gone = true;
        let other = transfer.side.other();
        self.note("the transferor hung up; the other side waits for the target", around);
        // What the other side asked of the transferor is granted: nobody is left to say no.
        if let Some(change) = self.take_change().filter(|change| change.asked == other) {
            self.grant(other, Some(change.wish.direction), around);
        }
        self.apply(around);
    }

    /// Is the side that is waiting to be transferred alone?
    pub(super) fn is_alone(&self, side: Side) -> bool {
        self.transfer().is_some_and(|transfer| transfer.gone && transfer.side.other() == side)
    }

    /// The call is over before the transfer: the transferor hears so, the target is given up with the rest.
    pub(super) fn abandon_transfer(&mut self, release: &Release, around: &mut Around<'_>) {
        let Some(transfer) = self.take_transfer() else { return };
        // A gateway that has its new call may hang up without telling so.
        let (result, outcome) = match transfer.state {
            State::Passed { .. } if release.cause == Cause::NORMAL => (TransferResult::Reached, Outcome::Reached),
            _ => (TransferResult::Abandoned, Outcome::Failed(release.clone())),
        };
        self.report_transfer(&transfer, result, around);
        self.order(transfer.by, Order::Transfer(outcome), around);
    }

    /// A deadline of the transfer's own has passed: the target is silent, or nobody answers.
    pub(super) fn transfer_due(&mut self, now: Now, around: &mut Around<'_>) {
        let Some(transfer) = self.transfer() else { return };
        let target = transfer.target;
        let (release, again) = match transfer.state {
            State::Passing { until, .. } if until <= now.mono => {
                return self.take_over("it does not answer our REFER", around);
            }
            State::Hunting { until, .. } | State::Passed { until, .. } | State::Alerting { until, .. }
                if until <= now.mono =>
            {
                (Release::new(Guilty::Nobody, Cause::NO_ANSWER, "nobody answered the transfer"), false)
            }
            State::Hunting { silence, .. } if passed(silence, now) => {
                let why = "the target made no progress in the time of EnableFastFailoverTimer";
                (Release::new(Guilty::Network, Cause::NO_RESPONSE, why).with_status(504), true)
            }
            _ => return,
        };
        if let Some(target) = target {
            self.order(target, Order::Release(release.clone()), around);
        }
        match again {
            true => self.target_refused(release, around),
            false => self.transfer_failed(release, around),
        }
    }

    /// What the waiting side hears from ourselves.
    pub(super) fn plays_while_transferred(&self, transfer: &Transfer) -> Option<[Option<Play>; 2]> {
        let side = transfer.rings(&self.streams)?;
        self.stream(side).filter(|stream| stream.direction.sends())?;
        let mut plays = [None, None];
        plays[side.index()] = Some(Play::Tone(self.config.sounds.tones.ring));
        Some(plays)
    }

    fn begin_transfer(&mut self, begun: Transfer) {
        if let CallState::Connected { transfer, .. } = &mut self.state {
            *transfer = Some(Box::new(begun));
        }
    }

    pub(super) fn transfer(&self) -> Option<&Transfer> {
        match &self.state {
            CallState::Connected { transfer, .. } => transfer.as_deref(),
            _ => None,
        }
    }

    fn transfer_mut(&mut self) -> Option<&mut Transfer> {
        match &mut self.state {
            CallState::Connected { transfer, .. } => transfer.as_deref_mut(),
            _ => None,
        }
    }

    pub(super) fn take_transfer(&mut self) -> Option<Transfer> {
        match &mut self.state {
            CallState::Connected { transfer, .. } => transfer.take().map(|transfer| *transfer),
            _ => None,
        }
    }

    pub(super) fn report_transfer(&self, transfer: &Transfer, result: TransferResult, around: &mut Around<'_>) {
        if let Some(trunk) = self.half(self.key_of(transfer.side.other())).map(|half| half.trunk.id) {
            around.out.push(Act::Report(Report::Transfer { trunk, mode: transfer.mode, result }));
        }
    }
}
