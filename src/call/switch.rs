//! The root machine: everything that happens comes in as an [`Event`], everything the box does goes
//! out as an [`Output`]. It owns the transactions, the calls and the watch over the trunks, and
//! finds for each message the one that it belongs to.

pub(super) mod line;
mod referral;

use std::borrow::Cow;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::b2bua::{Act, Around, CALLER, Call, CallKey, Caller, Half, LegKey};
use super::leg::{Heard, Leg, Output as LegOutput};
use super::register::{Asked, Entry, Register};
use super::report::{Report, Snapshot, TrunkView, Way};
use super::trunk::{Reachability, TrunkWatch};
use crate::cause::{Cause, Guilty, Release, reason_phrase};
use crate::config::{Config, Trunk};
use crate::gateway::{Voice, Word};
use crate::hop::{Flow, Hop, SpanId, Transport, TrunkId};
use crate::identity::window::Window;
use crate::leg::Parties;
use crate::random::Random;
use crate::route;
use crate::session::{MediaOrder, MediaReport, SessionId};
use crate::sip::invite;
use crate::sip::leg::{self, Incoming, RequestId};
use crate::sip::options;
use crate::sip::reason::excused;
use crate::sip::response::response_to;
use crate::sip::transaction::{self, Failure, Ticket, Transactions};
use crate::sip::uas;
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::{Builder, Message, Method, Name, Replaces, Uri};
use line::Lines;
pub use line::{FromSpan, SpanOrder};

/// Seconds after which a peer may try again when this box is full or draining.
const RETRY_AFTER: u32 = 20;

/// Everything that can happen to the box.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "media threads, whose reports are the largest, allocate nothing")]
pub enum Event {
    /// A message from a known peer.
    Received {
        /// Where it came in.
        flow: Flow,
        /// The message, validated.
        message: Message,
    },
    /// The transport could not send what [`Output::Send`] asked for.
    Unsent {
        /// The ticket of the order.
        ticket: Ticket,
        /// Why, in words.
        why: Cow<'static, str>,
    },
    /// A TLS handshake with a peer failed for the dates of a certificate.
    Window {
        /// Whose.
        trunk: TrunkId,
        /// The peer's address.
        remote: IpAddr,
        /// What was seen.
        window: Window,
    },
    /// Something came from a line.
    Span(SpanId, FromSpan),
    /// An operator wants something of a line.
    SpanOrder(SpanId, SpanOrder),
    /// Word from the media plane.
    Media(MediaReport),
    /// Word from a gateway of itself.
    Told {
        /// Which gateway.
        trunk: TrunkId,
        /// By which voice.
        voice: Voice,
        /// What.
        word: Word,
    },
    /// A new configuration: new calls use it, live calls keep theirs.
    Reload(Arc<Config>),
    /// Take no new calls.
    Drain,
    /// End every call: the drain took too long.
    ReleaseAll,
    /// A deadline has passed, or somebody wants a look.
    Tick,
}

/// Everything the box can do.
#[derive(Debug)]
pub enum Output {
    /// Send a message.
    Send {
        /// Where to.
        hop: Hop,
        /// What.
        message: Message,
        /// What to say in [`Event::Unsent`] when it cannot be sent; `None`: nobody cares.
        ticket: Option<Ticket>,
    },
    /// Send a frame on a line's D channel.
    Frame(SpanId, Vec<u8>),
    /// Tell the media plane.
    Media(MediaOrder),
    /// Tell the operators.
    Report(Report),
}

/// Whose request a client transaction carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Leg(CallKey, LegKey, RequestId),
    Options(TrunkId),
}

/// One event's surroundings: the moment, what the transactions said that is not heeded yet, and
/// what goes out.
struct Turn<'a> {
    now: Now,
    said: Vec<transaction::Output<Asker>>,
    out: &'a mut Vec<Output>,
}

/// The root machine.
pub struct Switch {
    config: Arc<Config>,
    random: Random,
    transactions: Transactions<Asker>,
    calls: Register,
    trunks: Vec<TrunkWatch>,
    lines: Lines,
    draining: bool,
    /// What the transport said last: the reason behind [`Failure::Transport`].
    last_unsent: Cow<'static, str>,
}

impl Switch {
    /// An idle switch; the first OPTIONS are due at once.
    pub fn new(now: Now, config: Arc<Config>, mut random: Random) -> Switch {
        let trunks = config.trunks.iter().map(|trunk| TrunkWatch::new(now, trunk.clone())).collect();
        Switch {
            lines: Lines::new(now, &mut random, &config),
            config,
            random,
            transactions: Transactions::default(),
            calls: Register::default(),
            trunks,
            draining: false,
            last_unsent: Cow::Borrowed(""),
        }
    }

    /// Takes one event and says what to do. Deadlines that have passed by `now` are honoured first.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Output>) {
        let mut turn = Turn { now, said: Vec::new(), out };
        self.tick(&mut turn);
        match event {
            Event::Received { flow, message } => self.received(flow, message, &mut turn),
            Event::Unsent { ticket, why } => {
                self.last_unsent = why;
                self.transactions.unsent(now, ticket, &mut turn.said);
            }
            Event::Window { trunk, remote, window } => self.watch_window(trunk, remote, window, &mut turn),
            Event::Span(span, came) => self.span_says(span, came, &mut turn),
            Event::SpanOrder(span, order) => self.order_span(span, order, &mut turn),
            Event::Media(report) => self.media(report, &mut turn),
            Event::Told { trunk, voice, word } => self.told(trunk, voice, word, &mut turn),
            Event::Reload(config) => self.reload(config, &mut turn),
            Event::Drain => self.draining = true,
            Event::ReleaseAll => self.release_all(&mut turn),
            Event::Tick => {}
        }
        self.heed(&mut turn);
    }

    /// When [`Event::Tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let trunks = self.trunks.iter().map(TrunkWatch::timeout).fold(None, soonest);
        let lines = self.lines.timeout();
        soonest(soonest(self.transactions.timeout(), lines), soonest(trunks, self.calls.timeout()))
    }

    /// Live calls, ending ones included until their ports are home.
    pub fn live_calls(&self) -> usize {
        self.calls.live().len()
    }

    /// Everything an operator may ask.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        Snapshot {
            calls: self.calls.live().iter().map(|call| call.view(now)).collect(),
            trunks: self.trunks.iter().map(|watch| trunk_view(watch, now)).collect(),
            spans: self.lines.views(now, &self.config),
            alarms: self.trunks.iter().flat_map(|watch| watch.alarms(now)).chain(self.lines.alarms(now)).collect(),
            transactions: self.transactions.len(),
            draining: self.draining,
        }
    }

    // Messages.

    fn received(&mut self, flow: Flow, message: Message, turn: &mut Turn<'_>) {
        if message.method().is_some() {
            let news = self.watch_mut(flow.trunk).and_then(|watch| watch.alive(turn.now, false));
            turn.out.extend(news.map(|why| came_up(flow.trunk, why)));
        }
        self.ladder(flow.trunk, flow.transport, Way::Received, &message, turn);
        if flow.transport == Transport::Tls {
            self.watch_handshake(flow, turn);
        }
        self.watch_clock(flow.trunk, &message, turn);
        self.explain_refused_identity(flow.trunk, &message, turn);
        count(flow.trunk, &message, turn);
        self.transactions.receive(turn.now, flow, message, &mut self.random, &mut turn.said);
    }

    /// Carries out what the transactions say, and what follows from it, until all is done.
    fn heed(&mut self, turn: &mut Turn<'_>) {
        while !turn.said.is_empty() {
            for said in std::mem::take(&mut turn.said) {
                self.heed_one(said, turn);
            }
        }
    }

    fn heed_one(&mut self, said: transaction::Output<Asker>, turn: &mut Turn<'_>) {
        use transaction::Output as Said;
        match said {
            Said::Send { hop, message, ticket } => self.send(hop, message, ticket, turn),
            Said::Request { id, flow, message } => self.request(Asked { id, flow, message }, turn),
            Said::Ack { message, .. } => {
                if let Some((key, leg)) = self.calls.owner(&message) {
                    self.tell(key, leg, Heard::Ack(message), turn);
                }
            }
            Said::Cancelled { cancel, .. } => self.cancelled(cancel, turn),
            Said::Response { user: Asker::Leg(key, leg, id), flow, message } => {
                self.tell(key, leg, Heard::Response(flow, id, message), turn);
            }
            Said::Response { user: Asker::Options(trunk), message, .. } => self.options_answered(trunk, &message, turn),
            Said::Failed { user: Asker::Leg(key, leg, id), why } => self.leg_failed(key, leg, id, why, turn),
            Said::Failed { user: Asker::Options(trunk), why } => self.options_failed(trunk, why, turn),
            // The leg has said its last word; a caller who never acknowledges is simply forgotten.
            Said::NotAcknowledged { .. } => {}
        }
    }

    fn send(&self, hop: Hop, message: Message, ticket: Option<Ticket>, turn: &mut Turn<'_>) {
        self.ladder(hop.trunk(), hop.transport(), Way::Sent, &message, turn);
        count(hop.trunk(), &message, turn);
        turn.out.push(Output::Send { hop, message, ticket });
    }

    // Requests.

    fn request(&mut self, asked: Asked, turn: &mut Turn<'_>) {
        if asked.message.tag(Name::To).is_some() {
            return match self.calls.owner(&asked.message) {
                Some((key, leg)) if asked.message.is(Method::Refer) => self.referred(key, leg, asked, turn),
                Some((key, leg)) => self.tell(key, leg, Heard::Request(asked.flow, asked.id, asked.message), turn),
                None => self.refuse(&asked, 481, "no call of ours has this dialog", turn),
            };
        }
        let accepted = self.config.trunk(asked.flow.trunk).map(|trunk| invite::accepted(trunk)).unwrap_or_default();
        if let Err(rejection) = uas::inspect(&asked.message, &accepted) {
            let response = rejection.response(&asked.message, asked.flow, &self.random.token(), &accepted);
            let (status, why) = (rejection.status(), rejection.to_string());
            let release = Release::new(Guilty::Peer, Cause::from_status(status), why).with_status(status);
            return self.refuse_with(&asked, response, release, turn);
        }
        match asked.message.method() {
            Some(Method::Invite) => self.invite(asked, turn),
            Some(Method::Options) => self.options(&asked, turn),
            Some(Method::Refer) => self.refuse(&asked, 603, "a REFER outside a call has nobody to transfer", turn),
            _ => self.refuse(&asked, 481, "this request needs a dialog", turn),
        }
    }

    /// A new call, unless something speaks against it; or a leg that takes another's place.
    fn invite(&mut self, asked: Asked, turn: &mut Turn<'_>) {
        if asked.message.value(Name::Replaces).is_some() {
            return self.replace(asked, turn);
        }
        let trunk = match self.takes_call(asked.flow.trunk) {
            Ok(trunk) => trunk,
            Err(release) => return self.refuse_for(&asked, release, turn),
        };
        if self.begun_by(&asked.message).is_some() {
            return self.refuse(&asked, 482, "the same INVITE came twice by different ways", turn);
        }
        let invite = asked.message.clone();
        match leg::Leg::incoming(turn.now, &mut self.random, trunk.clone(), asked.flow, asked.id, invite.clone()) {
            Ok((leg, Incoming { parties, wish })) => {
                let caller = Caller { trunk, leg: Leg::Sip(Box::new(leg)), parties, wish, invite: Some(invite) };
                let key = self.calls.next_key();
                let id = self.random.token().into();
                self.begin(key, id, Some(asked), caller, turn);
            }
            Err(rejection) => {
                turn.out.push(refused(asked.flow.trunk, rejection.release.final_status(), rejection.release.why));
                self.transactions.respond(turn.now, asked.id, rejection.response, &mut turn.said);
            }
        }
    }

    /// The trunk, if it may call now.
    fn takes_call(&self, trunk: TrunkId) -> Result<Arc<Trunk>, Release> {
        let refused = |status, why| Release::new(Guilty::Us, Cause::from_status(status), why).with_status(status);
        let watch = self.watch(trunk).ok_or_else(|| refused(403, "the trunk was removed by a reload"))?;
        if self.draining {
            return Err(refused(503, "the box is draining and takes no new calls"));
        }
        if !watch.has_room() {
            return Err(Release::new(Guilty::Us, Cause::NO_CIRCUIT, "the trunk carries MaxCalls calls already"));
        }
        Ok(watch.trunk.clone())
    }

    /// An INVITE with Replaces (RFC 3891 section 3). Who replaces a leg must come by the same trunk: nobody else may
    /// take a call away.
    fn replace(&mut self, asked: Asked, turn: &mut Turn<'_>) {
        let mut values = asked.message.all(Name::Replaces);
        let Some(replaces) = values.next().and_then(Replaces::parse).filter(|_| values.next().is_none()) else {
            return self.refuse(&asked, 400, "Replaces cannot be read", turn);
        };
        let call = |key| self.calls.get(key).map(|entry: &Entry| &entry.call);
        let found = self.calls.replaced(&replaces).filter(|(key, leg)| {
            let half = call(*key).and_then(|call| call.half(*leg));
            half.is_some_and(|half| half.trunk.id == asked.flow.trunk && !half.leg.is_called())
        });
        let Some((key, leg)) = found else {
            return self.refuse(&asked, 481, "Replaces names no dialog of this trunk's", turn);
        };
        if replaces.early_only {
            return self.refuse(&asked, 486, "the dialog that Replaces names is answered already", turn);
        }
        let trunk = call(key).and_then(|call| call.half(leg)).map(|half| half.trunk.clone());
        let (Some(side), Some(trunk)) = (call(key).and_then(|call| call.replaceable(leg)), trunk) else {
            return self.refuse(&asked, 491, "the call is being transferred, or over", turn);
        };
        match leg::Leg::incoming(turn.now, &mut self.random, trunk.clone(), asked.flow, asked.id, asked.message.clone())
        {
            Ok((leg, Incoming { parties, .. })) => {
                let half = Half { key: CALLER, trunk, leg: Leg::Sip(Box::new(leg)) };
                self.step(key, turn, |call, around| call.replace(side, half, parties.calling, around));
            }
            Err(rejection) => {
                turn.out.push(refused(asked.flow.trunk, rejection.release.final_status(), rejection.release.why));
                self.transactions.respond(turn.now, asked.id, rejection.response, &mut turn.said);
            }
        }
    }

    /// Two calls become one if the dialog is ours, and of the trunk that asks.
    fn join(&mut self, key: CallKey, replaces: &str, turn: &mut Turn<'_>) {
        let found = Replaces::parse(replaces.as_bytes()).and_then(|replaces| self.calls.replaced(&replaces));
        let trunk = |key, leg| Some(self.calls.get(key)?.call.trunk_of(leg)?.id);
        let by =
            self.calls.get(key).and_then(|entry| entry.call.transfer()).and_then(|transfer| trunk(key, transfer.by()));
        let mut moved = None;
        if let Some((other, leg)) = found.filter(|(other, leg)| *other != key && trunk(*other, *leg) == by) {
            self.step(other, turn, |call, around| moved = call.give(leg, around).map(|moved| (other, moved)));
        }
        let Some((other, moved)) = moved else {
            return self.step(key, turn, |call, around| call.not_ours(around));
        };
        let (before, mut after) = (moved.key(), None);
        self.step(key, turn, |call, around| after = call.join(moved, around));
        self.transactions.hand_over(|asker| match (asker, after) {
            (Asker::Leg(call, leg, id), Some(after)) if (call, leg) == (other, before) => Asker::Leg(key, after, id),
            (asker, _) => asker,
        });
        if let Some(after) = after {
            self.calls.hand_over((other, before), (key, after));
            self.lines.hand_over((other, before), (key, after));
            self.step(key, turn, |call, around| call.shorten(around));
        }
    }

    fn begin(&mut self, key: CallKey, id: Arc<str>, asked: Option<Asked>, mut caller: Caller, turn: &mut Turn<'_>) {
        // Few INVITEs carry a token, so nobody keeps an index of them.
        let token = caller.invite.as_ref().and_then(invite::passage_token);
        let referred = token.and_then(|token| self.calls.referred(token));
        if let Some(Parties { called, referral, .. }) = referred {
            caller.parties = Parties { called, referral, ..caller.parties };
        }
        let (called, calling) = (caller.parties.called.clone(), caller.parties.calling.clone());
        let (trunk, way) = (caller.trunk.id, Way::Received);
        turn.out.push(Output::Report(Report::Began { call: id.clone(), from: trunk, called: called.clone(), calling }));
        if let Some(Asked { flow, message, .. }) = &asked {
            let (transport, message) = (flow.transport, message.clone());
            turn.out.push(Output::Report(Report::Message { call: id.clone(), trunk, transport, way, message }));
        }
        let is_up = |id| self.watch(id).is_none_or(TrunkWatch::is_up);
        let referral = caller.parties.referral.as_ref();
        let attempts = match referral.and_then(|referral| Uri::parse(referral.target.get().as_bytes())) {
            Some(target) => route::refer(&self.config, TrunkId::LYNC, target, is_up),
            None => route::hunt(&self.config, trunk, called.get(), is_up),
        };
        let mut acts = Vec::new();
        let mut around = Around { now: turn.now, random: &mut self.random, trunks: &self.trunks, out: &mut acts };
        let call = Call::begin(key, id, self.config.clone(), caller, attempts, &mut around);
        self.calls.keep(key, Entry::new(call, asked), &mut self.trunks);
        self.perform(key, acts, turn);
    }

    fn options(&mut self, asked: &Asked, turn: &mut Turn<'_>) {
        let Some(trunk) = self.config.trunk(asked.flow.trunk).cloned() else {
            return self.refuse(asked, 403, "the trunk was removed by a reload", turn);
        };
        let answer = options::answer(turn.now, &trunk, &asked.message, asked.flow, &self.random.token());
        self.transactions.respond(turn.now, asked.id, answer, &mut turn.said);
    }

    fn cancelled(&mut self, cancel: Message, turn: &mut Turn<'_>) {
        // With a tag in To it is a change that is given up, else the call itself.
        let cancelled = match cancel.tag(Name::To) {
            Some(_) => self.calls.owner(&cancel),
            None => self.begun_by(&cancel).map(|key| (key, CALLER)),
        };
        if let Some((key, leg)) = cancelled {
            self.tell(key, leg, Heard::Cancelled(cancel), turn);
        }
    }

    /// The call that began with this INVITE, or with the one that this CANCEL gives up.
    fn begun_by(&self, message: &Message) -> Option<CallKey> {
        self.calls.of_call_id(message).find(|(_, call)| call.began_with(message)).map(|(key, _)| key)
    }

    /// Refuses a request that belongs to no call.
    fn refuse(&mut self, asked: &Asked, status: u16, why: &'static str, turn: &mut Turn<'_>) {
        let release = Release::new(Guilty::Us, Cause::from_status(status), why).with_status(status);
        self.refuse_for(asked, release, turn);
    }

    /// The same for a cause that says more than the status.
    fn refuse_for(&mut self, asked: &Asked, release: Release, turn: &mut Turn<'_>) {
        let (status, tag) = (release.final_status(), self.random.token());
        let response = response_to(&asked.message, asked.flow, status, reason_phrase(status), Some(&tag));
        let response = response.maybe(Name::RetryAfter, (status == 503).then_some(RETRY_AFTER));
        self.refuse_with(asked, response, release, turn);
    }

    /// Sends a refusal, with who we are and why.
    fn refuse_with(&mut self, asked: &Asked, response: Builder, release: Release, turn: &mut Turn<'_>) {
        let status = release.final_status();
        let response = invite::dated(response.header(Name::Server, invite::PRODUCT), turn.now);
        let response = match self.config.trunk(asked.flow.trunk) {
            Some(trunk) => excused(response, trunk, &release, Some(status), None),
            None => response.header(Name::Reason, release.cause.reason_header()),
        };
        turn.out.push(refused(asked.flow.trunk, status, release.why));
        self.transactions.respond(turn.now, asked.id, response.empty_body(), &mut turn.said);
    }

    // Answers to OPTIONS, and their absence.

    fn options_answered(&mut self, trunk: TrunkId, answer: &Message, turn: &mut Turn<'_>) {
        if answer.status().is_some_and(|status| status >= 200) {
            let news = self.watch_mut(trunk).and_then(|watch| watch.alive(turn.now, true));
            turn.out.extend(news.map(|why| came_up(trunk, why)));
        }
    }

    fn options_failed(&mut self, trunk: TrunkId, why: Failure, turn: &mut Turn<'_>) {
        let why = self.failure(why);
        let news = self.watch_mut(trunk).and_then(|watch| watch.missed(turn.now, &why));
        turn.out.extend(news.map(|why| Output::Report(Report::Trunk { trunk, up: false, why })));
    }

    fn leg_failed(&mut self, key: CallKey, leg: LegKey, id: RequestId, why: Failure, turn: &mut Turn<'_>) {
        if let Some(entry) = self.calls.get(key) {
            let text = format!("a request found no answer: {}", self.failure(why));
            turn.out.push(Output::Report(Report::Note { call: entry.call.id.clone(), text: text.into() }));
        }
        self.tell(key, leg, Heard::Failed(id, why), turn);
    }

    fn failure(&self, why: Failure) -> Cow<'static, str> {
        match why {
            Failure::Timeout => Cow::Borrowed("nothing came back in 32 s"),
            Failure::Transport => self.last_unsent.clone(),
        }
    }

    // Time, media, configuration.

    fn tick(&mut self, turn: &mut Turn<'_>) {
        self.transactions.tick(turn.now, &mut turn.said);
        self.tick_lines(turn);
        self.probe(turn);
        while let Some(key) = self.calls.due(turn.now) {
            self.step(key, turn, |call, around| call.tick(around));
        }
        self.heed(turn);
    }

    fn probe(&mut self, turn: &mut Turn<'_>) {
        for watch in &mut self.trunks {
            if let Some(hop) = watch.due(turn.now) {
                let options = options::probe(turn.now, &mut self.random, &watch.trunk, &hop);
                let (asker, sent_by) = (Asker::Options(watch.id()), watch.trunk.sent_by());
                let said = &mut turn.said;
                self.transactions.request(turn.now, asker, hop, &sent_by, &options, &mut self.random, said);
            }
        }
    }

    fn media(&mut self, report: MediaReport, turn: &mut Turn<'_>) {
        let key = |id: SessionId| CallKey(id.0);
        match report {
            MediaReport::Opened(id, _) if !self.calls.contains(key(id)) => {
                turn.out.push(Output::Media(MediaOrder::Close(id)));
            }
            MediaReport::Opened(id, ports) => self.step(key(id), turn, |call, around| call.opened(ports, around)),
            MediaReport::Refused(id, why) => self.step(key(id), turn, |call, around| call.no_ports(why, around)),
            MediaReport::Unopened(id, side, why) => {
                self.step(key(id), turn, |call, around| call.unopened(side, why, around));
            }
            MediaReport::Silent(id, side, silence) => {
                self.step(key(id), turn, |call, around| call.silent(side, silence, around));
            }
            MediaReport::Late(late) => turn.out.push(Output::Report(Report::Late(late.worst))),
            MediaReport::Digit(id, side, digit, length) => {
                self.step(key(id), turn, |call, around| call.pressed(side, digit, length, around));
            }
            MediaReport::Machine(id, side, machine) => {
                self.step(key(id), turn, |call, around| call.machine(side, machine, around));
            }
            MediaReport::Counted(id, counters) => {
                self.step(key(id), turn, |call, around| call.counted(counters, around));
            }
            MediaReport::Closed(id, counters) => {
                self.step(key(id), turn, |call, around| call.closed(counters, around));
            }
        }
    }

    fn told(&mut self, trunk: TrunkId, voice: Voice, word: Word, turn: &mut Turn<'_>) {
        // A reload may have removed it.
        let Some(watch) = self.watch_mut(trunk) else { return };
        let news = watch.gateway.hear(turn.now.mono, voice, word);
        turn.out.extend(news.map(|news| Output::Report(Report::Gateway { trunk, news })));
    }

    /// Trunks are recognised by number; one whose hops changed is asked anew, its calls still count.
    fn reload(&mut self, config: Arc<Config>, turn: &mut Turn<'_>) {
        let now = turn.now;
        let old = std::mem::take(&mut self.trunks);
        let watch = |trunk: &Arc<Trunk>| match old.iter().find(|watch| watch.id() == trunk.id) {
            Some(watch) => watch.renewed(now, trunk.clone()),
            None => TrunkWatch::new(now, trunk.clone()),
        };
        self.trunks = config.trunks.iter().map(watch).collect();
        self.config = config.clone();
        self.reload_lines(&config, turn);
    }

    fn release_all(&mut self, turn: &mut Turn<'_>) {
        for key in self.calls.keys() {
            let release = Release::new(Guilty::Us, Cause::TEMPORARY, "the box is shutting down");
            self.step(key, turn, |call, around| call.release(release, around));
        }
    }

    // Calls.

    fn tell(&mut self, key: CallKey, leg: LegKey, heard: Heard, turn: &mut Turn<'_>) {
        self.step(key, turn, |call, around| call.hear(leg, heard, around));
    }

    /// Lets one call take one step and carries out what it says. A panic ends this call, not the
    /// process: its legs fall silent, its ports come home.
    fn step(&mut self, key: CallKey, turn: &mut Turn<'_>, act: impl FnOnce(&mut Call, &mut Around<'_>)) {
        let Some(mut entry) = self.calls.take(key) else { return };
        let mut acts = Vec::new();
        let mut around = Around { now: turn.now, random: &mut self.random, trunks: &self.trunks, out: &mut acts };
        let sound = catch_unwind(AssertUnwindSafe(|| act(&mut entry.call, &mut around))).is_ok();
        if sound && !entry.call.is_over() {
            self.calls.keep(key, entry, &mut self.trunks);
            return self.perform(key, acts, turn);
        }
        self.calls.forget(key, &entry, &mut self.trunks);
        if !sound {
            let text = "a fault in our own program ended this call: please report it with the ladder".into();
            acts.push(Act::Report(Report::Note { call: entry.call.id.clone(), text }));
            acts.push(Act::Media(MediaOrder::Close(SessionId(key.0))));
            // Of no effect where the caller has its final answer.
            if let Some(asked) = &entry.asked {
                self.refuse(asked, 500, "a fault in our own program", turn);
            }
            self.abandon_on_lines(key, turn);
        }
        self.perform(key, acts, turn);
    }

    fn perform(&mut self, key: CallKey, acts: Vec<Act>, turn: &mut Turn<'_>) {
        for act in acts {
            match act {
                Act::Leg(leg, output) => self.leg_sends(key, leg, output, turn),
                Act::Join(replaces) => self.join(key, &replaces, turn),
                Act::JoinOnLine(legs) => self.join_on_line(key, legs, turn),
                Act::Media(order) => turn.out.push(Output::Media(order)),
                Act::Report(report) => turn.out.push(Output::Report(report)),
            }
        }
    }

    fn leg_sends(&mut self, key: CallKey, leg: LegKey, output: LegOutput, turn: &mut Turn<'_>) {
        let sent_by =
            self.calls.get(key).and_then(|entry| entry.call.trunk_of(leg)).map(Trunk::sent_by).unwrap_or_default();
        let output = match output {
            LegOutput::Sip(output) => output,
            LegOutput::Place(line, setup) => return self.place_on_line((key, leg), line, *setup, turn),
            LegOutput::Line(order) => return self.order_line((key, leg), order, turn),
            // The call keeps its legs' words and notes to itself.
            LegOutput::Word(_) | LegOutput::Note(_) => return,
        };
        let (now, random, said) = (turn.now, &mut self.random, &mut turn.said);
        match output {
            leg::Output::Request { id, hop, message } => {
                let asker = Asker::Leg(key, leg, id);
                let client = self.transactions.request(now, asker, hop, &sent_by, &message, random, said);
                let entry = self.calls.get_mut(key).filter(|_| message.is(Method::Invite));
                if let Some(entry) = entry {
                    entry.invited(leg, id, client);
                }
            }
            leg::Output::Cancel { id, reason } => {
                let invites = self.calls.get(key).map_or(&[][..], |entry| &entry.invites);
                if let Some((.., client)) = invites.iter().find(|(of, request, _)| (*of, *request) == (leg, id)) {
                    self.transactions.cancel(now, *client, &[(Name::Reason, &reason)], said);
                }
            }
            leg::Output::Ack { hop, message } => {
                Transactions::<Asker>::acknowledge(hop, &sent_by, &message, random, said);
            }
            leg::Output::Respond { transaction, message } => self.transactions.respond(now, transaction, message, said),
            leg::Output::Word(_) | leg::Output::Note(_) => {}
        }
    }

    fn watch(&self, trunk: TrunkId) -> Option<&TrunkWatch> {
        self.trunks.iter().find(|watch| watch.id() == trunk)
    }

    fn watch_mut(&mut self, trunk: TrunkId) -> Option<&mut TrunkWatch> {
        self.trunks.iter_mut().find(|watch| watch.id() == trunk)
    }

    fn ladder(&self, trunk: TrunkId, transport: Transport, way: Way, message: &Message, turn: &mut Turn<'_>) {
        if let Some((_, call)) = self.calls.of_call_id(message).next() {
            let (call, message) = (call.id.clone(), message.clone());
            turn.out.push(Output::Report(Report::Message { call, trunk, transport, way, message }));
        }
    }
}

fn count(trunk: TrunkId, message: &Message, turn: &mut Turn<'_>) {
    if let (Some(status), Ok(cseq)) = (message.status(), message.cseq()) {
        turn.out.push(Output::Report(Report::Response { trunk, method: cseq.method, status }));
    }
}

fn came_up(trunk: TrunkId, why: Cow<'static, str>) -> Output {
    Output::Report(Report::Trunk { trunk, up: true, why })
}

fn refused(trunk: TrunkId, status: u16, why: Cow<'static, str>) -> Output {
    Output::Report(Report::Refused { trunk, status, why })
}

/// A trunk as operators see it.
fn trunk_view(watch: &TrunkWatch, now: Now) -> TrunkView {
    let (up, since) = match watch.reachability() {
        Reachability::Unknown => (None, None),
        Reachability::Up { since, .. } => (Some(true), Some(since)),
        Reachability::Down { since } => (Some(false), Some(since)),
    };
    TrunkView {
        name: watch.trunk.name.clone(),
        up,
        since_seconds: since.map_or(0.0, |since| now.mono.since(since).as_secs_f64()),
        why: watch.why().to_owned(),
        calls: watch.calls,
        max_calls: watch.trunk.max_calls,
        clock_offset_seconds: watch.clock.offset().map(|offset| offset.as_secs()),
        clock_age_seconds: watch.clock.last_heard().map(|heard| now.mono.since(heard).as_secs_f64()),
        identity_offset_seconds: watch.clock.identity().map(|(offset, _)| offset.as_secs_f64()),
        identity_age_seconds: watch.clock.identity().map(|(_, heard)| now.mono.since(heard).as_secs_f64()),
        gateway: watch.gateway.view(now.mono),
    }
}
