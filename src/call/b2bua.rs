//! One call: two legs and a plan.
//!
//! 1. The caller's INVITE is a leg; ports are asked for. `Opening`
//! 2. The first attempt goes out with the ports in its offer. `Hunting`
//! 3. A refused connection, a 5xx or 10 s of silence: the next attempt. A 4xx or 6xx: the caller hears it.
//! 4. The far end rings or speaks; from here on nobody else is tried. `Alerting`
//! 5. It answers; both legs' agreements become the media session. `Connected`
//! 6. A change that one side wants is offered to the other and its answer carried back. A transfer that one side wants
//!    is carried out by `transfer`.
//! 7. A refusal may be heard before it is told (`announce`). `Announcing`
//! 8. One leg ends, the other is released with its cause; ports go home; the legs finish. `Ending`

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::change::Change;
use super::leg::{Heard, Leg, Output as LegOutput};
use super::report::{CallEnd, CallView, Heading, Progress, Report, masked};
use super::terms;
use super::transfer::Transfer;
use super::trunk::TrunkWatch;
use crate::cause::{Cause, Guilty, Release};
use crate::config::{Config, Switches, Trunk};
use crate::hop::TrunkId;
use crate::leg::{Fork, Order, Parties, Stage, Terms, Told, Wish, Word};
use crate::private::Private;
use crate::random::Random;
use crate::route::{Attempt, Egress};
use crate::session::{Counters, Digit, MediaOrder, Play, SessionId, Side, Sound, Stream};
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::{Message, Name, Replaces};

/// The engine owes us ports; longer than this and it is stuck.
const OPENING: Duration = Duration::from_secs(3);
/// Without an answer a call ends, as long as RFC 3261's timer C lets a proxy wait.
pub(super) const RINGING: Duration = Duration::from_secs(200);
/// The engine owes us the last counters.
const CLOSING: Duration = Duration::from_secs(3);

/// A call's place in the switch; also the name of its media session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey(pub u64);

/// A leg's place in its call: 0 is the caller, the attempts follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LegKey(pub u16);

pub(super) const CALLER: LegKey = LegKey(0);

/// What a call needs from around it for one step.
pub(super) struct Around<'a> {
    pub now: Now,
    pub random: &'a mut Random,
    pub trunks: &'a [TrunkWatch],
    pub out: &'a mut Vec<Act>,
}

/// What a call does.
#[derive(Debug)]
pub(super) enum Act {
    /// A leg sends something.
    Leg(LegKey, LegOutput),
    /// A transfer names a dialog by Call-ID, our tag and the peer's: who is in it on the other side shall join this call, if
    /// it is one of ours. Else [`Call::not_ours`].
    Join(String),
    /// The exchange shall join these legs, if one line has both. [`Call::shortened`] tells what came of it.
    JoinOnLine([LegKey; 2]),
    /// The media plane shall do something.
    Media(MediaOrder),
    /// Operators shall hear of it.
    Report(Report),
}

#[derive(Debug)]
pub(super) enum State {
    Opening { until: Instant },
    Hunting { silence: Option<Instant>, until: Instant },
    Alerting { until: Instant, ringing: bool },
    Connected { change: Option<Change>, transfer: Option<Box<Transfer>> },
    Announcing { release: Release, by: &'static str, play: Play, until: Instant },
    Ending { release: Release, by: &'static str, media: Closing },
}

/// Where the ports are on their way home.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Closing {
    Waiting { until: Instant },
    Done,
}

#[derive(Debug)]
pub(super) struct Half {
    pub(super) key: LegKey,
    pub(super) trunk: Arc<Trunk>,
    pub(super) leg: Leg,
}

/// A call. See the ladder at the head of this file.
#[derive(Debug)]
pub struct Call {
    key: CallKey,
    /// The correlation id in every log line, ladder and record.
    pub id: Arc<str>,
    pub(super) config: Arc<Config>,
    heading: Heading,
    pub(super) parties: Parties,
    pub(super) wish: Option<Wish>,
    invite: Option<Message>,
    /// Who sits on both sides, a transfer's target, and legs that are still saying goodbye.
    legs: Vec<Half>,
    /// Who sits on each side: the caller and the attempt that counts, until a transfer puts somebody else there.
    seats: [Option<LegKey>; 2],
    next_leg: u16,
    attempts: VecDeque<Attempt>,
    last_failure: Option<Release>,
    ports: [u16; 2],
    pub(super) streams: [Option<Stream>; 2],
    pub(super) state: State,
    began: Now,
    answered: Option<Now>,
    media: [Counters; 2],
    words: VecDeque<(LegKey, Word)>,
}

/// A caller's INVITE or SETUP that became a leg.
pub(super) struct Caller {
    pub trunk: Arc<Trunk>,
    pub leg: Leg,
    pub parties: Parties,
    pub wish: Option<Wish>,
    /// The INVITE, to know the same one by another way; none on a line.
    pub invite: Option<Message>,
}

impl Call {
    /// A call begins: asks for ports and tries `attempts` when they are there.
    pub(super) fn begin(
        key: CallKey,
        id: Arc<str>,
        config: Arc<Config>,
        caller: Caller,
        attempts: Vec<Attempt>,
        around: &mut Around<'_>,
    ) -> Call {
        let heading = if caller.trunk.id == TrunkId::LYNC { Heading::Out } else { Heading::In };
        let mut call = Call {
            key,
            id,
            config,
            heading,
            parties: caller.parties,
            wish: caller.wish,
            invite: caller.invite,
            legs: vec![Half { key: CALLER, trunk: caller.trunk, leg: caller.leg }],
            seats: [Some(CALLER), None],
            next_leg: 1,
            attempts: attempts.into(),
            last_failure: None,
            ports: [0; 2],
            streams: [None, None],
            state: State::Opening { until: around.now.mono + OPENING },
            began: around.now,
            answered: None,
            media: Default::default(),
            words: VecDeque::new(),
        };
        around.out.push(Act::Media(MediaOrder::Open(call.session())));
        if call.attempts.is_empty() {
            let why = "no [HybridVoiceRoutes] pattern matches the called number: add one, or a gateway that takes it";
            call.end(Release::new(Guilty::Us, Cause::NO_ROUTE, why), "us", around);
        }
        call.settle(around);
        call
    }

    pub(super) fn session(&self) -> SessionId {
        SessionId(self.key.0)
    }

    /// Something happened to one of our legs.
    pub(super) fn hear(&mut self, key: LegKey, heard: Heard, around: &mut Around<'_>) {
        self.with_leg(key, around, |leg, now, random, out| leg.hear(now, random, heard, out));
        self.settle(around);
    }

    /// The ports are there.
    pub(super) fn opened(&mut self, ports: [u16; 2], around: &mut Around<'_>) {
        self.ports = ports;
        if let State::Opening { .. } = self.state {
            self.attempt(around);
        }
        self.settle(around);
    }

    /// There are no ports.
    pub(super) fn no_ports(&mut self, why: String, around: &mut Around<'_>) {
        self.end(Release::new(Guilty::Us, Cause::NO_RESOURCE, why), "us", around);
        self.closed(self.media, around);
        self.settle(around);
    }

    /// A side's timeslot cannot be opened: nobody would hear anybody.
    pub(super) fn unopened(&mut self, side: Side, why: String, around: &mut Around<'_>) {
        let trunk = self.half(self.key_of(side)).map_or("a line", |half| half.trunk.name.as_str());
        self.end(Release::new(Guilty::Us, Cause::NO_RESOURCE, format!("{trunk}: {why}")), "us", around);
        self.settle(around);
    }

    /// Counters while the call lives.
    pub(super) fn counted(&mut self, media: [Counters; 2], around: &mut Around<'_>) {
        for side in Side::BOTH {
            let grown = media[side.index()].since(&self.media[side.index()]);
            if let Some(trunk) = self.half(self.key_of(side)).map(|half| half.trunk.id) {
                around.out.push(Act::Report(Report::Media { trunk, grown }));
            }
        }
        self.media = media;
    }

    /// The ports are home.
    pub(super) fn closed(&mut self, counters: [Counters; 2], around: &mut Around<'_>) {
        self.counted(counters, around);
        if let State::Ending { media, .. } = &mut self.state
            && *media != Closing::Done
        {
            *media = Closing::Done;
            self.report_end(around);
        }
    }

    /// A digit was heard in the sound of `side` that the other side takes in signalling.
    pub(super) fn pressed(&mut self, side: Side, digit: Digit, length: Duration, around: &mut Around<'_>) {
        if let Some(other) = self.key_of(side.other()) {
            self.order(other, Order::Digit(digit, length), around);
        }
        self.settle(around);
    }

    /// Nothing is heard from one side any more.
    pub(super) fn silent(&mut self, side: Side, silence: Duration, around: &mut Around<'_>) {
        let trunk = self.half(self.key_of(side)).map_or("a peer", |half| half.trunk.name.as_str());
        let why = format!(
            "neither RTP nor RTCP came from {trunk} for {} s: it is gone or its media is blocked (switches \
             RTCPActiveCalls and RTCPCallsOnHold)",
            silence.as_secs()
        );
        self.end(Release::new(Guilty::Peer, Cause::TEMPORARY, why), "us", around);
        self.settle(around);
    }

    /// Ends the call from our side, for an operator or at the end of a drain.
    pub(super) fn release(&mut self, release: Release, around: &mut Around<'_>) {
        self.end(release, "us", around);
        self.settle(around);
    }

    /// When the call or one of its legs wants [`Call::tick`].
    pub(super) fn timeout(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Opening { until } | State::Alerting { until, .. } | State::Announcing { until, .. } => Some(*until),
            State::Hunting { silence, until } => soonest(*silence, Some(*until)),
            State::Ending { media: Closing::Waiting { until }, .. } => Some(*until),
            State::Connected { transfer, .. } => transfer.as_ref().map(|transfer| transfer.timeout()),
            State::Ending { .. } => None,
        };
        self.legs.iter().map(|half| half.leg.timeout()).fold(own, soonest)
    }

    /// Deadlines that have passed.
    pub(super) fn tick(&mut self, around: &mut Around<'_>) {
        let due: Vec<LegKey> =
            self.legs.iter().filter(|half| passed(half.leg.timeout(), around.now)).map(|half| half.key).collect();
        for key in due {
            self.with_leg(key, around, |leg, now, random, out| leg.tick(now, random, out));
        }
        self.settle(around);
        self.own_deadline(around);
        self.settle(around);
    }

    /// Nothing is left to do: the legs have said goodbye and the ports are home.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Ending { media: Closing::Done, .. })
            && self.legs.iter().all(|half| half.leg.is_over())
    }

    /// The call is history for operators: its ports are home, though a leg may still repeat itself.
    pub(super) fn is_past(&self) -> bool {
        matches!(self.state, State::Ending { media: Closing::Done, .. })
    }

    /// The leg that an in-dialog request belongs to.
    pub(super) fn leg_of(&self, message: &Message) -> Option<LegKey> {
        self.legs.iter().find(|half| half.leg.owns(message)).map(|half| half.key)
    }

    /// Is this the caller's INVITE by another way, or a CANCEL for it: the same Call-ID, From tag and
    /// CSeq number (RFC 3261 sections 8.2.2.2 and 9.1)?
    pub(super) fn began_with(&self, message: &Message) -> bool {
        let number = |message: &Message| message.cseq().map(|cseq| cseq.number);
        let Some(mine) = &self.invite else { return false };
        mine.call_id() == message.call_id()
            && mine.tag(Name::From) == message.tag(Name::From)
            && number(mine) == number(message)
    }

    /// The leg whose dialog a Replaces names.
    pub(super) fn replaced(&self, replaces: &Replaces<'_>) -> Option<LegKey> {
        self.legs.iter().find(|half| half.leg.is_named_by(replaces)).map(|half| half.key)
    }

    /// The trunk that a leg is on.
    pub(super) fn trunk_of(&self, key: LegKey) -> Option<&Trunk> {
        self.half(key).map(|half| &*half.trunk)
    }

    /// The Call-IDs of all legs.
    pub(super) fn call_ids(&self) -> impl Iterator<Item = &str> {
        self.legs.iter().filter_map(|half| half.leg.call_id())
    }

    /// The trunks that carry this call, for the limits.
    pub(super) fn trunks(&self) -> impl Iterator<Item = TrunkId> {
        let live = !matches!(self.state, State::Ending { .. });
        let target = self.transfer().and_then(Transfer::target);
        let keys = self.seats.into_iter().flatten().chain(target);
        keys.filter_map(|key| self.half(key)).map(|half| half.trunk.id).filter(move |_| live)
    }

    /// In or out, seen from the telephone network.
    pub(super) fn heading(&self) -> Heading {
        self.heading
    }

    /// The call as operators see it.
    pub(super) fn view(&self, now: Now) -> CallView {
        let stream = |side: Side| self.stream(side);
        let name = |key| self.half(key).map(|half| half.trunk.name.clone());
        CallView {
            id: self.id.clone(),
            direction: self.heading,
            from: self.key_of(Side::A).and_then(name).unwrap_or_default(),
            to: self.key_of(Side::B).and_then(name),
            called: masked(&self.parties.called),
            calling: masked(&self.parties.calling),
            state: self.progress(),
            began: self.began.wall.to_string(),
            age_seconds: now.mono.since(self.began.mono).as_secs_f64(),
            codecs: Side::BOTH.map(|side| stream(side).map(|stream| stream.codec.name())),
            srtp: Side::BOTH.map(|side| stream(side).is_some_and(|stream| stream.srtp.is_some())),
            held: Side::BOTH.iter().any(|side| stream(*side).is_some_and(|stream| !stream.direction.receives())),
            media: self.media,
        }
    }

    fn progress(&self) -> Progress {
        match self.state {
            State::Opening { .. } | State::Hunting { .. } => Progress::Hunting,
            State::Alerting { .. } | State::Announcing { .. } => Progress::Alerting,
            State::Connected { .. } => Progress::Connected,
            State::Ending { .. } => Progress::Ending,
        }
    }

    // Hunting.

    /// Tries the next way that has room and a codec in common, or tells the caller that there is none.
    fn attempt(&mut self, around: &mut Around<'_>) {
        while let Some(attempt) = self.attempts.pop_front() {
            match self.place(&attempt, around) {
                Ok(()) => return,
                Err(failure) => {
                    self.note(format!("{} is passed over: {}", attempt.egress, failure.why), around);
                    self.last_failure = Some(failure);
                }
            }
        }
        let failure = self.last_failure.take();
        let release =
            failure.unwrap_or_else(|| Release::new(Guilty::Us, Cause::NO_ROUTE, "there is no way left to try"));
        self.refused(release, "them", around);
    }

    fn place(&mut self, attempt: &Attempt, around: &mut Around<'_>) -> Result<(), Release> {
        let parties = self.parties.clone();
        let (key, silence) = self.dial(attempt, &parties, Call::first_terms, around)?;
        self.seats[Side::B.index()] = Some(key);
        self.state = State::Hunting { silence, until: around.now.mono + RINGING };
        Ok(())
    }

    /// Calls `parties` on one way: the new leg, and until when it may be silent.
    pub(super) fn dial(
        &mut self,
        attempt: &Attempt,
        parties: &Parties,
        terms: impl FnOnce(&Call, &Trunk) -> Result<Terms, Release>,
        around: &mut Around<'_>,
    ) -> Result<(LegKey, Option<Instant>), Release> {
        let gone = || Release::new(Guilty::Us, Cause::NO_ROUTE, "the trunk is no longer configured");
        let trunk = self.config.trunk(attempt.trunk).cloned().ok_or_else(gone)?;
        let room = around.trunks.iter().find(|watch| watch.id() == trunk.id).is_none_or(TrunkWatch::has_room);
        if !room {
            let why = format!("{} carries MaxCalls calls already", trunk.name);
            return Err(Release::new(Guilty::Us, Cause::NO_CIRCUIT, why));
        }
        let terms = terms(self, &trunk)?;
        let key = LegKey(self.next_leg);
        self.next_leg += 1;
        // On a line T303 and T310 wait; an international call may need more than the fast failover timer.
        let waits = trunk.switches.enable_fast_failover_timer && matches!(attempt.egress, Egress::Hop(_));
        let fast = waits.then_some(trunk.switches.fast_failover_timeout);
        self.note(format!("trying {} at {}{}", trunk.name, attempt.egress, by_route(&attempt.route)), around);
        let mut said = Vec::new();
        let way = (&*self.config, trunk.clone(), &attempt.egress);
        let leg = Leg::outgoing(around.now, around.random, way, parties, &terms, &mut said)?;
        self.legs.push(Half { key, trunk, leg });
        self.say(key, said, around);
        Ok((key, fast.map(|fast| around.now.mono + fast)))
    }

    fn first_terms(&self, to: &Trunk) -> Result<Terms, Release> {
        let local = terms::local(&self.config, self.ports[Side::B.index()]);
        let from = self.half(CALLER).map(|half| half.trunk.clone());
        from.and_then(|from| terms::offer_to_called(self.wish.as_ref(), &from, to, local)).ok_or_else(|| {
            let why = "the caller offers no codec that its own trunk may speak: see Codecs";
            Release::new(Guilty::Us, Cause::INCOMPATIBLE, why).with_status(488)
        })
    }

    /// The attempt failed before it made progress; another one is tried after a 5xx of the network's,
    /// an unreachable peer, silence. Not after an answer that cannot be used: somebody picked up, and
    /// would be called twice.
    fn failed_over(&mut self, release: &Release, around: &mut Around<'_>) -> bool {
        let hunting = matches!(self.state, State::Hunting { .. });
        let theirs = (500..600).contains(&release.final_status()) && release.guilty == Guilty::Network;
        if !hunting || !theirs || self.attempts.is_empty() {
            return false;
        }
        self.note(format!("the next way is tried: {}", release.why), around);
        self.last_failure = Some(release.clone());
        self.attempt(around);
        true
    }

    // What legs say.

    /// Lets what legs said take effect until nobody says anything more.
    pub(super) fn settle(&mut self, around: &mut Around<'_>) {
        while let Some((key, word)) = self.words.pop_front() {
            let target = self.transfer().and_then(Transfer::target) == Some(key);
            let word = if target || self.is_called(key) { self.translated(key, word) } else { word };
            match (word, self.side_of(key)) {
                _ if self.is_ending() => {}
                (word, _) if target => self.target_says(word, around),
                (Word::Released(release), _) => self.released(key, release, around),
                (word, Some(side)) => self.party_says(side, word, around),
                (_, None) => {}
            }
        }
        let (seats, transfer) = (
            self.seats,
            match &self.state {
                State::Connected { transfer, .. } => transfer.as_deref(),
                _ => None,
            },
        );
        let needed = |key| seats.contains(&Some(key)) || transfer.is_some_and(|transfer| transfer.needs(key));
        self.legs.retain(|half| needed(half.key) || !half.leg.is_over());
    }

    fn party_says(&mut self, side: Side, word: Word, around: &mut Around<'_>) {
        match word {
            Word::Progress { stage, fork, media, told } if side == Side::B => {
                self.progressed(stage, fork, media, told, around);
            }
            Word::Answer { fork, media, told } if side == Side::B => self.answered(fork, media, told, around),
            Word::Media(stream) => self.agreed(side, stream, around),
            Word::Change(wish) => self.change_asked(side, wish, around),
            Word::Changed(stream) => self.changed(side, stream, around),
            Word::Unchanged(_) => self.unchanged(around),
            Word::Digit(digit, length) => self.dialled(side, digit, length, around),
            Word::Referred(outcome) => self.passed(side, outcome, around),
            Word::Transfer(referral) => self.transfer_asked(side, *referral, around),
            Word::Progress { .. } | Word::Answer { .. } | Word::Released(_) => {}
        }
    }

    fn progressed(
        &mut self,
        stage: Stage,
        fork: Fork,
        media: Option<Stream>,
        told: Box<Told>,
        around: &mut Around<'_>,
    ) {
        if matches!(self.state, State::Connected { .. }) {
            return;
        }
        let until = around.now.mono + RINGING;
        self.state = State::Alerting { until, ringing: stage == Stage::Ringing };
        self.attempts.clear();
        let terms = media.as_ref().and_then(|stream| self.mirrored(stream, Side::A));
        if media.is_some() {
            self.streams[Side::B.index()] = media;
        }
        if self.streams.iter().any(Option::is_some) {
            self.apply(around);
        }
        self.order(CALLER, Order::Progress { stage, fork, terms, told }, around);
    }

    fn answered(&mut self, fork: Fork, media: Stream, told: Box<Told>, around: &mut Around<'_>) {
        self.attempts.clear();
        self.answered = Some(around.now);
        self.state = State::Connected { change: None, transfer: None };
        let terms = self.mirrored(&media, Side::A);
        self.streams[Side::B.index()] = Some(media);
        self.apply(around);
        if let Some(terms) = terms {
            self.order(CALLER, Order::Answer { terms, fork, told }, around);
        }
    }

    pub(super) fn agreed(&mut self, side: Side, stream: Stream, around: &mut Around<'_>) {
        self.streams[side.index()] = Some(stream);
        self.apply(around);
    }

    // The end.

    fn released(&mut self, key: LegKey, release: Release, around: &mut Around<'_>) {
        let release = self.explained(key, release, around);
        match self.side_of(key) {
            Some(_) if self.transfer().is_some_and(|transfer| transfer.is_by(key)) => self.transferor_left(around),
            Some(Side::A) => self.end(release, "caller", around),
            Some(Side::B) if !self.failed_over(&release, around) => self.refused(release, "called", around),
            Some(Side::B) | None => {}
        }
    }

    /// Has this leg been called, without an answer yet?
    fn is_called(&self, key: LegKey) -> bool {
        let unanswered = matches!(self.state, State::Hunting { .. } | State::Alerting { .. });
        unanswered && self.key_of(Side::B) == Some(key)
    }

    /// A refusal as the rules of its trunk want it told.
    fn translated(&self, key: LegKey, word: Word) -> Word {
        match (word, self.trunk_of(key)) {
            (Word::Released(release), Some(trunk)) => Word::Released(release.translated(&trunk.refusals)),
            (word, _) => word,
        }
    }

    /// With what the gateway itself says that may be behind it.
    fn explained(&self, key: LegKey, release: Release, around: &Around<'_>) -> Release {
        let trunk = self.half(key).map(|half| half.trunk.id);
        let watch = around.trunks.iter().find(|watch| Some(watch.id()) == trunk);
        match watch.and_then(|watch| watch.gateway.blame(around.now.mono, &release)) {
            Some(because) => Release { why: format!("{}; {because}", release.why).into(), ..release },
            None => release,
        }
    }

    /// Ends every leg that still lives with this cause and sends the ports home.
    pub(super) fn end(&mut self, release: Release, by: &'static str, around: &mut Around<'_>) {
        if self.is_ending() {
            return;
        }
        self.note(format!("ended by {by}, cause {}: {}", release.cause, release.why), around);
        self.abandon_transfer(&release, around);
        let media = Closing::Waiting { until: around.now.mono + CLOSING };
        self.state = State::Ending { release: release.clone(), by, media };
        around.out.push(Act::Media(MediaOrder::Close(self.session())));
        let keys: Vec<LegKey> = self.legs.iter().map(|half| half.key).collect();
        for key in keys {
            self.order(key, Order::Release(release.clone()), around);
        }
    }

    fn report_end(&mut self, around: &mut Around<'_>) {
        let State::Ending { release, by, .. } = &self.state else { return };
        let gateway = match self.heading {
            Heading::In => self.key_of(Side::A),
            Heading::Out => self.key_of(Side::B),
        };
        let since = |answered: Now| around.now.mono.since(answered.mono);
        let end = CallEnd {
            call: self.id.clone(),
            gateway: self.half(gateway).map(|half| half.trunk.id),
            heading: self.heading,
            setup: self.answered.map(|answered| answered.mono.since(self.began.mono)),
            duration: self.answered.map(since),
            release: release.clone(),
            ended_by: by,
            media: self.media,
        };
        around.out.push(Act::Report(Report::Ended(Box::new(end))));
    }

    fn own_deadline(&mut self, around: &mut Around<'_>) {
        let now = around.now;
        match &mut self.state {
            State::Opening { until } if *until <= now.mono => {
                let why = "the media engine gave no ports in time";
                self.end(Release::new(Guilty::Us, Cause::NO_RESOURCE, why), "us", around);
            }
            State::Connected { transfer: Some(_), .. } => self.transfer_due(now, around),
            State::Announcing { release, by, until, .. } if *until <= now.mono => {
                let (release, by) = (release.clone(), *by);
                self.end(release, by, around);
            }
            State::Hunting { silence, .. } if passed(*silence, now) => self.give_up_on_silence(around),
            State::Hunting { until, .. } | State::Alerting { until, .. } if *until <= now.mono => {
                self.end(Release::new(Guilty::Nobody, Cause::NO_ANSWER, "nobody answered"), "us", around);
            }
            State::Ending { media, .. } if matches!(*media, Closing::Waiting { until } if until <= now.mono) => {
                *media = Closing::Done;
                self.report_end(around);
            }
            _ => {}
        }
    }

    fn give_up_on_silence(&mut self, around: &mut Around<'_>) {
        let Some(key) = self.key_of(Side::B) else { return };
        let name = self.half(Some(key)).map_or("the gateway", |half| half.trunk.name.as_str());
        let why = format!("{name} made no progress in the time of EnableFastFailoverTimer");
        let release = Release::new(Guilty::Network, Cause::NO_RESPONSE, why).with_status(504);
        self.order(key, Order::Release(release.clone()), around);
        if !self.failed_over(&release, around) {
            self.end(release, "us", around);
        }
    }

    // Legs and media.

    pub(super) fn order(&mut self, key: LegKey, order: Order, around: &mut Around<'_>) {
        self.with_leg(key, around, |leg, now, random, out| leg.order(now, random, order, out));
    }

    fn with_leg(
        &mut self,
        key: LegKey,
        around: &mut Around<'_>,
        act: impl FnOnce(&mut Leg, Now, &mut Random, &mut Vec<LegOutput>),
    ) {
        let Some(half) = self.legs.iter_mut().find(|half| half.key == key) else { return };
        let mut said = Vec::new();
        act(&mut half.leg, around.now, around.random, &mut said);
        self.say(key, said, around);
    }

    fn say(&mut self, key: LegKey, said: Vec<LegOutput>, around: &mut Around<'_>) {
        for output in said {
            match output {
                LegOutput::Word(word) => self.words.push_back((key, word)),
                LegOutput::Note(text) => self.note(text, around),
                output => around.out.push(Act::Leg(key, output)),
            }
        }
    }

    pub(super) fn apply(&mut self, around: &mut Around<'_>) {
        let trunk = |side| self.half(self.key_of(side)).map(|half| half.trunk.clone());
        let (Some(a), Some(b)) = (trunk(Side::A), trunk(Side::B)) else { return };
        let both: [&Switches; 2] = [&a.switches, &b.switches];
        let streams = self.transfer().map_or_else(|| self.streams.clone(), |transfer| transfer.heard(&self.streams));
        let session = terms::session(&streams, self.plays(), both, self.answered.is_some());
        around.out.push(Act::Media(MediaOrder::Apply(self.session(), Box::new(session))));
    }

    /// What each side hears from ourselves.
    fn plays(&self) -> [Option<Play>; 2] {
        if let Some(plays) = self.transfer().and_then(|transfer| self.plays_while_transferred(transfer)) {
            return plays;
        }
        match (&self.state, self.hold_music()) {
            (State::Alerting { ringing: true, .. }, _) => terms::ringing(&self.streams, self.config.sounds.tones.ring),
            (State::Announcing { play, .. }, _) => [Some(play.clone()), None],
            (State::Connected { .. }, Some(music)) => terms::held(&self.streams, music),
            _ => [None, None],
        }
    }

    pub(super) fn hold_music(&self) -> Option<&Arc<Sound>> {
        self.config.sounds.hold_music.as_ref().and_then(|file| file.sound.as_ref())
    }

    pub(super) fn stream(&self, side: Side) -> Option<&Stream> {
        self.streams[side.index()].as_ref()
    }

    pub(super) fn note(&self, text: impl Into<Cow<'static, str>>, around: &mut Around<'_>) {
        around.out.push(Act::Report(Report::Note { call: self.id.clone(), text: text.into() }));
    }

    pub(super) fn local(&self, side: Side) -> std::net::SocketAddr {
        terms::local(&self.config, self.ports[side.index()])
    }

    /// What `side` may agree on, now that the other side speaks `stream`.
    pub(super) fn mirrored(&self, stream: &Stream, side: Side) -> Option<Terms> {
        let half = self.half(self.key_of(side))?;
        Some(terms::mirror(stream, &half.trunk, self.local(side)))
    }

    pub(super) fn key_of(&self, side: Side) -> Option<LegKey> {
        self.seats[side.index()]
    }

    pub(super) fn side_of(&self, key: LegKey) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| self.key_of(*side) == Some(key))
    }

    /// The leg on `side` leaves this call.
    pub(super) fn take_leg(&mut self, side: Side) -> Option<Half> {
        let key = self.seats[side.index()].take()?;
        let at = self.legs.iter().position(|half| half.key == key)?;
        Some(self.legs.swap_remove(at))
    }

    /// A leg from elsewhere, under a key of this call.
    pub(super) fn add_leg(&mut self, half: Half) -> LegKey {
        let key = LegKey(self.next_leg);
        self.next_leg += 1;
        self.legs.push(Half { key, ..half });
        key
    }

    /// Somebody else, `user`, sits on `side` from now on, and nothing is agreed there yet.
    pub(super) fn vacate(&mut self, side: Side, key: LegKey, user: Private<String>) {
        self.seats[side.index()] = Some(key);
        self.streams[side.index()] = None;
        match side {
            Side::A => self.parties.calling = user,
            Side::B => self.parties.called = user,
        }
    }

    /// Somebody else, `user`, sits on `side` from now on and speaks `stream`.
    pub(super) fn sit(&mut self, side: Side, key: LegKey, user: Private<String>, stream: Stream) {
        self.vacate(side, key, user);
        self.streams[side.index()] = Some(stream);
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    pub(super) fn is_alerting(&self) -> bool {
        matches!(self.state, State::Alerting { .. })
    }

    pub(super) fn half(&self, key: impl Into<Option<LegKey>>) -> Option<&Half> {
        let key = key.into()?;
        self.legs.iter().find(|half| half.key == key)
    }

    fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending { .. })
    }
}

pub(super) fn passed(deadline: Option<Instant>, now: Now) -> bool {
    deadline.is_some_and(|deadline| deadline <= now.mono)
}

fn by_route(route: &str) -> String {
    if route.is_empty() { String::new() } else { format!(" by route {route}") }
}
