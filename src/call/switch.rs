//! The root machine: everything that happens comes in as an [`Event`], everything the box does goes
//! out as an [`Output`]. It owns the transactions, the calls and the watch over the trunks, and
//! finds for each message the one that it belongs to.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::b2bua::{Act, Around, Call, CallKey, Caller, Heard, LegKey};
use super::report::{Heading, Report, Snapshot, TrunkView, Way};
use super::trunk::{Reachability, TrunkWatch};
use crate::cause::{Cause, Guilty, Release, reason_phrase};
use crate::config::{Config, Trunk};
use crate::hop::{Flow, Hop, Transport, TrunkId};
use crate::random::Random;
use crate::route;
use crate::session::{MediaOrder, MediaReport, SessionId};
use crate::sip::invite;
use crate::sip::leg::{Leg, Output as LegOutput, RequestId};
use crate::sip::options;
use crate::sip::reason::excused;
use crate::sip::response::response_to;
use crate::sip::transaction::{self, ClientId, Failure, ServerId, Ticket, Transactions};
use crate::sip::uas;
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::{Message, Method, Name};

/// Seconds after which a peer may try again when this box is full or draining.
const RETRY_AFTER: u32 = 20;

/// Everything that can happen to the box.
#[derive(Debug)]
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
    /// Word from the media plane.
    Media(MediaReport),
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

/// A call with what the switch indexes it by.
struct Entry {
    call: Call,
    call_ids: Vec<String>,
    deadline: Option<Instant>,
    /// The trunks whose live calls it counts among.
    carriers: Vec<TrunkId>,
    /// INVITEs that can still be cancelled.
    invites: Vec<(LegKey, RequestId, ClientId)>,
}

type Said = Vec<transaction::Output<Asker>>;

/// The root machine.
pub struct Switch {
    config: Arc<Config>,
    random: Random,
    transactions: Transactions<Asker>,
    heard: Vec<transaction::Output<Asker>>,
    calls: HashMap<CallKey, Entry>,
    /// Which calls a Call-ID belongs to: nearly always one.
    by_call_id: HashMap<String, Vec<CallKey>>,
    deadlines: BTreeSet<(Instant, CallKey)>,
    trunks: Vec<TrunkWatch>,
    next_call: u64,
    draining: bool,
    /// What the transport said last: the reason behind [`Failure::Transport`].
    last_unsent: Cow<'static, str>,
}

impl Switch {
    /// An idle switch; the first OPTIONS are due at once.
    pub fn new(now: Now, config: Arc<Config>, random: Random) -> Switch {
        let trunks = config.trunks.iter().map(|trunk| TrunkWatch::new(now, trunk.clone())).collect();
        Switch {
            config,
            random,
            transactions: Transactions::default(),
            heard: Vec::new(),
            calls: HashMap::new(),
            by_call_id: HashMap::new(),
            deadlines: BTreeSet::new(),
            trunks,
            next_call: 1,
            draining: false,
            last_unsent: Cow::Borrowed(""),
        }
    }

    /// Takes one event and says what to do. Deadlines that have passed by `now` are honoured first.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Output>) {
        self.tick(now, out);
        match event {
            Event::Received { flow, message } => self.received(now, flow, message, out),
            Event::Unsent { ticket, why } => self.unsent(now, ticket, why, out),
            Event::Media(report) => self.media(now, report, out),
            Event::Reload(config) => self.reload(now, config),
            Event::Drain => self.draining = true,
            Event::ReleaseAll => self.release_all(now, out),
            Event::Tick => {}
        }
    }

    /// When [`Event::Tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let trunks = self.trunks.iter().map(TrunkWatch::timeout).fold(None, soonest);
        let calls = self.deadlines.first().map(|(at, _)| *at);
        soonest(self.transactions.timeout(), soonest(trunks, calls))
    }

    /// Live calls, ending ones included.
    pub fn live_calls(&self) -> usize {
        self.calls.values().filter(|entry| !entry.call.is_past()).count()
    }

    /// Everything an operator may ask.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        let mut calls: Vec<(&CallKey, &Entry)> = self.calls.iter().filter(|(_, entry)| !entry.call.is_past()).collect();
        calls.sort_by_key(|(key, _)| **key);
        Snapshot {
            calls: calls.iter().map(|(_, entry)| entry.call.view(now)).collect(),
            trunks: self.trunks.iter().map(|watch| trunk_view(watch, now)).collect(),
            transactions: self.transactions.len(),
            draining: self.draining,
        }
    }

    // Messages.

    fn received(&mut self, now: Now, flow: Flow, message: Message, out: &mut Vec<Output>) {
        if message.method().is_some()
            && let Some(watch) = self.trunks.iter_mut().find(|watch| watch.id() == flow.trunk)
            && let Some(why) = watch.alive(now, false)
        {
            out.push(Output::Report(Report::Trunk { trunk: flow.trunk, up: true, why }));
        }
        self.ladder(flow.trunk, flow.transport, Way::Received, &message, out);
        self.count(flow.trunk, &message, out);
        let mut heard = std::mem::take(&mut self.heard);
        self.transactions.receive(now, flow, message, &mut self.random, &mut heard);
        self.heed(now, heard, out);
    }

    fn unsent(&mut self, now: Now, ticket: Ticket, why: Cow<'static, str>, out: &mut Vec<Output>) {
        let mut heard = std::mem::take(&mut self.heard);
        self.last_unsent = why;
        self.transactions.unsent(now, ticket, &mut heard);
        self.heed(now, heard, out);
    }

    /// Carries out what the transactions say, and what follows from it, until all is done.
    fn heed(&mut self, now: Now, mut heard: Said, out: &mut Vec<Output>) {
        while !heard.is_empty() {
            for said in std::mem::take(&mut heard) {
                self.heed_one(now, said, &mut heard, out);
            }
        }
        self.heard = heard;
    }

    fn heed_one(&mut self, now: Now, said: transaction::Output<Asker>, heard: &mut Said, out: &mut Vec<Output>) {
        match said {
            transaction::Output::Send { hop, message, ticket } => self.send(hop, message, ticket, out),
            transaction::Output::Request { id, flow, message } => self.request(now, id, flow, message, heard, out),
            transaction::Output::Ack { message, .. } => {
                if let Some((key, leg)) = self.owner(&message) {
                    self.step(now, key, heard, out, |call, around| call.hear(leg, Heard::Ack(message), around));
                }
            }
            transaction::Output::Cancelled { cancel, .. } => self.cancelled(now, cancel, heard, out),
            transaction::Output::Response { user, flow, message } => {
                self.response(now, user, flow, message, heard, out)
            }
            transaction::Output::Failed { user, why } => self.failed(now, user, why, heard, out),
            // The leg has said its last word; a caller who never acknowledges is simply forgotten.
            transaction::Output::NotAcknowledged { .. } => {}
        }
    }

    fn send(&mut self, hop: Hop, message: Message, ticket: Option<Ticket>, out: &mut Vec<Output>) {
        self.ladder(hop.trunk(), hop.transport(), Way::Sent, &message, out);
        self.count(hop.trunk(), &message, out);
        out.push(Output::Send { hop, message, ticket });
    }

    fn request(
        &mut self,
        now: Now,
        id: ServerId,
        flow: Flow,
        message: Message,
        heard: &mut Said,
        out: &mut Vec<Output>,
    ) {
        if message.tag(Name::To).is_some() {
            return match self.owner(&message) {
                Some((key, leg)) => {
                    self.step(now, key, heard, out, |call, around| {
                        call.hear(leg, Heard::Request(flow, id, message), around)
                    });
                }
                None => self.answer(now, id, flow, &message, 481, "no call of ours has this dialog", heard, out),
            };
        }
        let accepted = self.config.trunk(flow.trunk).map(|trunk| invite::accepted(trunk)).unwrap_or_default();
        if let Err(rejection) = uas::inspect(&message, &accepted) {
            self.refused(flow.trunk, rejection.status(), rejection.to_string().into(), out);
            let response = rejection.response(&message, flow, &self.random.token(), &accepted);
            let response = invite::dated(response.header(Name::Server, invite::PRODUCT), now);
            let cause = Cause::from_status(rejection.status()).reason_header();
            return self.transactions.respond(now, id, response.header(Name::Reason, cause).empty_body(), heard);
        }
        match message.method() {
            Some(Method::Invite) => self.invite(now, id, flow, message, heard, out),
            Some(Method::Options) => self.options(now, id, flow, &message, heard),
            _ => self.answer(now, id, flow, &message, 481, "this request needs a dialog", heard, out),
        }
    }

    /// A new call, unless something speaks against it.
    fn invite(
        &mut self,
        now: Now,
        id: ServerId,
        flow: Flow,
        message: Message,
        heard: &mut Said,
        out: &mut Vec<Output>,
    ) {
        let Some(watch) = self.trunks.iter().find(|watch| watch.id() == flow.trunk) else {
            return self.answer(now, id, flow, &message, 403, "the trunk was removed by a reload", heard, out);
        };
        if self.draining {
            return self.answer(now, id, flow, &message, 503, "the box is draining and takes no new calls", heard, out);
        }
        if !watch.has_room() {
            let why = "the trunk carries MaxCalls calls already";
            return self.answer(now, id, flow, &message, 503, why, heard, out);
        }
        if self.begun_by(&message).is_some() {
            let why = "the same INVITE came twice by different ways";
            return self.answer(now, id, flow, &message, 482, why, heard, out);
        }
        let trunk = watch.trunk.clone();
        match Leg::incoming(now, &mut self.random, trunk.clone(), flow, id, message.clone()) {
            Ok((leg, incoming)) => {
                let tag = message.tag(Name::From).map(str::to_owned);
                let number = message.cseq().map_or(0, |cseq| cseq.number);
                let caller = Caller { trunk, leg, parties: incoming.parties, wish: incoming.wish, tag, number };
                self.begin(now, flow, &message, caller, heard, out);
            }
            Err(rejection) => {
                self.refused(flow.trunk, rejection.release.final_status(), rejection.release.why, out);
                self.transactions.respond(now, id, rejection.response, heard);
            }
        }
    }

    fn begin(
        &mut self,
        now: Now,
        flow: Flow,
        invite: &Message,
        caller: Caller,
        heard: &mut Said,
        out: &mut Vec<Output>,
    ) {
        let key = CallKey(self.next_call);
        self.next_call += 1;
        let id: Arc<str> = self.random.token().into();
        let (called, calling) = (caller.parties.called.clone(), caller.parties.calling.clone());
        out.push(Output::Report(Report::Began { call: id.clone(), from: flow.trunk, called: called.clone(), calling }));
        let (trunk, transport, way) = (flow.trunk, flow.transport, Way::Received);
        out.push(Output::Report(Report::Message { call: id.clone(), trunk, transport, way, message: invite.clone() }));
        let is_up = |id| self.trunks.iter().find(|watch| watch.id() == id).is_none_or(TrunkWatch::is_up);
        let attempts = route::hunt(&self.config, flow.trunk, called.get(), is_up);
        let mut acts = Vec::new();
        let mut around = Around { now, random: &mut self.random, trunks: &self.trunks, out: &mut acts };
        let call = Call::begin(key, id, self.config.clone(), caller, attempts, &mut around);
        self.keep(key, Entry { call, call_ids: Vec::new(), deadline: None, carriers: Vec::new(), invites: Vec::new() });
        self.perform(now, key, acts, heard, out);
    }

    fn options(&mut self, now: Now, id: ServerId, flow: Flow, message: &Message, heard: &mut Said) {
        let Some(trunk) = self.config.trunk(flow.trunk).cloned() else { return };
        let answer = options::answer(now, &trunk, message, flow, &self.random.token());
        self.transactions.respond(now, id, answer, heard);
    }

    /// Answers a request that belongs to no call.
    fn answer(
        &mut self,
        now: Now,
        id: ServerId,
        flow: Flow,
        message: &Message,
        status: u16,
        why: &'static str,
        heard: &mut Said,
        out: &mut Vec<Output>,
    ) {
        self.refused(flow.trunk, status, why.into(), out);
        let release = Release::new(Guilty::Us, Cause::from_status(status), why).with_status(status);
        let tag = self.random.token();
        let response = response_to(message, flow, status, reason_phrase(status), Some(&tag));
        let response = invite::dated(response.header(Name::Server, invite::PRODUCT), now);
        let response = response.maybe(Name::RetryAfter, (status == 503).then_some(RETRY_AFTER));
        let response = match self.config.trunk(flow.trunk) {
            Some(trunk) => excused(response, trunk, &release, Some(status), None),
            None => response,
        };
        self.transactions.respond(now, id, response.empty_body(), heard);
    }

    fn cancelled(&mut self, now: Now, cancel: Message, heard: &mut Said, out: &mut Vec<Output>) {
        // With a tag in To it is a change that is given up, else the call itself.
        let cancelled = match cancel.tag(Name::To) {
            Some(_) => self.owner(&cancel),
            None => self.begun_by(&cancel).map(|key| (key, LegKey(0))),
        };
        if let Some((key, leg)) = cancelled {
            self.step(now, key, heard, out, |call, around| call.hear(leg, Heard::Cancelled(cancel), around));
        }
    }

    fn response(
        &mut self,
        now: Now,
        asker: Asker,
        flow: Flow,
        message: Message,
        heard: &mut Said,
        out: &mut Vec<Output>,
    ) {
        match asker {
            Asker::Leg(key, leg, id) => {
                self.step(now, key, heard, out, |call, around| {
                    call.hear(leg, Heard::Response(flow, id, message), around)
                });
            }
            Asker::Options(trunk) if message.status().is_some_and(|status| status >= 200) => {
                let watch = self.trunks.iter_mut().find(|watch| watch.id() == trunk);
                if let Some(why) = watch.and_then(|watch| watch.alive(now, true)) {
                    out.push(Output::Report(Report::Trunk { trunk, up: true, why }));
                }
            }
            Asker::Options(_) => {}
        }
    }

    fn failed(&mut self, now: Now, asker: Asker, why: Failure, heard: &mut Said, out: &mut Vec<Output>) {
        match asker {
            Asker::Leg(key, leg, id) => {
                self.step(now, key, heard, out, |call, around| call.hear(leg, Heard::Failed(id, why), around));
            }
            Asker::Options(trunk) => {
                let watch = self.trunks.iter_mut().find(|watch| watch.id() == trunk);
                let why = match why {
                    Failure::Timeout => Cow::Borrowed("nothing came back in 32 s"),
                    Failure::Transport => self.last_unsent.clone(),
                };
                if let Some(why) = watch.and_then(|watch| watch.missed(now, &why)) {
                    out.push(Output::Report(Report::Trunk { trunk, up: false, why }));
                }
            }
        }
    }

    // Time, media, configuration.

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        let mut heard = std::mem::take(&mut self.heard);
        self.transactions.tick(now, &mut heard);
        self.probe(now, &mut heard);
        while let Some((at, key)) = self.deadlines.first().copied()
            && at <= now.mono
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.calls.get_mut(&key) {
                entry.deadline = None;
            }
            self.step(now, key, &mut heard, out, |call, around| call.tick(around));
        }
        self.heed(now, heard, out);
    }

    fn probe(&mut self, now: Now, heard: &mut Said) {
        for watch in &mut self.trunks {
            if let Some(hop) = watch.due(now) {
                let options = options::probe(now, &mut self.random, &watch.trunk, &hop);
                let (asker, sent_by) = (Asker::Options(watch.id()), sent_by(&watch.trunk));
                self.transactions.request(now, asker, hop, &sent_by, &options, &mut self.random, heard);
            }
        }
    }

    fn media(&mut self, now: Now, report: MediaReport, out: &mut Vec<Output>) {
        let mut heard = std::mem::take(&mut self.heard);
        let key = |id: SessionId| CallKey(id.0);
        match report {
            MediaReport::Opened(id, ports) if self.calls.contains_key(&key(id)) => {
                self.step(now, key(id), &mut heard, out, |call, around| call.opened(ports, around));
            }
            MediaReport::Opened(id, _) => out.push(Output::Media(MediaOrder::Close(id))),
            MediaReport::Refused(id, why) => {
                self.step(now, key(id), &mut heard, out, |call, around| call.no_ports(why, around));
            }
            MediaReport::Silent(id, side, silence) => {
                self.step(now, key(id), &mut heard, out, |call, around| call.silent(side, silence, around));
            }
            MediaReport::Counted(id, counters) => {
                self.step(now, key(id), &mut heard, out, |call, around| call.counted(counters, around));
            }
            MediaReport::Closed(id, counters) => {
                self.step(now, key(id), &mut heard, out, |call, around| call.closed(counters, around));
            }
        }
        self.heed(now, heard, out);
    }

    /// Trunks are recognised by name; those that are gone are no longer asked.
    fn reload(&mut self, now: Now, config: Arc<Config>) {
        let mut old = std::mem::take(&mut self.trunks);
        for trunk in &config.trunks {
            let known = old.iter().position(|watch| watch.trunk.name == trunk.name);
            self.trunks.push(match known.map(|at| old.swap_remove(at)) {
                Some(mut watch) => {
                    watch.keep(now, trunk.clone());
                    watch
                }
                None => TrunkWatch::new(now, trunk.clone()),
            });
        }
        self.config = config;
    }

    fn release_all(&mut self, now: Now, out: &mut Vec<Output>) {
        let mut heard = std::mem::take(&mut self.heard);
        let keys: Vec<CallKey> = self.calls.keys().copied().collect();
        for key in keys {
            let release = Release::new(Guilty::Us, Cause::TEMPORARY, "the box is shutting down");
            self.step(now, key, &mut heard, out, |call, around| call.release(release, around));
        }
        self.heed(now, heard, out);
    }

    // Calls.

    /// Lets one call take one step and carries out what it says. A panic ends this call, not the
    /// process: its legs fall silent, its ports come home.
    fn step(
        &mut self,
        now: Now,
        key: CallKey,
        heard: &mut Said,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Call, &mut Around<'_>),
    ) {
        let Some(mut entry) = self.calls.remove(&key) else { return };
        let mut acts = Vec::new();
        let mut around = Around { now, random: &mut self.random, trunks: &self.trunks, out: &mut acts };
        let sound = catch_unwind(AssertUnwindSafe(|| act(&mut entry.call, &mut around))).is_ok();
        if sound && !entry.call.is_over() {
            self.keep(key, entry);
        } else {
            self.forget(key, &entry);
            if !sound {
                let text = "a fault in our own program ended this call: please report it with the ladder".into();
                acts.push(Act::Report(Report::Note { call: entry.call.id.clone(), text }));
                acts.push(Act::Media(MediaOrder::Close(SessionId(key.0))));
            }
        }
        self.perform(now, key, acts, heard, out);
    }

    fn perform(&mut self, now: Now, key: CallKey, acts: Vec<Act>, heard: &mut Said, out: &mut Vec<Output>) {
        for act in acts {
            match act {
                Act::Leg(leg, output) => self.leg_sends(now, key, leg, output, heard),
                Act::Media(order) => out.push(Output::Media(order)),
                Act::Report(report) => out.push(Output::Report(report)),
            }
        }
    }

    fn leg_sends(&mut self, now: Now, key: CallKey, leg: LegKey, output: LegOutput, heard: &mut Said) {
        match output {
            LegOutput::Request { id, hop, message } => {
                let (asker, sent_by) = (Asker::Leg(key, leg, id), self.sent_by(key, hop.trunk()));
                let client = self.transactions.request(now, asker, hop, &sent_by, &message, &mut self.random, heard);
                if message.is(Method::Invite)
                    && let Some(entry) = self.calls.get_mut(&key)
                {
                    entry.invites.push((leg, id, client));
                }
            }
            LegOutput::Cancel { id, reason } => {
                let invites = self.calls.get(&key).map_or(&[][..], |entry| &entry.invites);
                if let Some((.., client)) = invites.iter().find(|(of, request, _)| (*of, *request) == (leg, id)) {
                    self.transactions.cancel(now, *client, &[(Name::Reason, &reason)], heard);
                }
            }
            LegOutput::Ack { hop, message } => {
                let sent_by = self.sent_by(key, hop.trunk());
                Transactions::<Asker>::acknowledge(hop, &sent_by, &message, &mut self.random, heard);
            }
            LegOutput::Respond { transaction, message } => self.transactions.respond(now, transaction, message, heard),
            // The call keeps its legs' words and notes to itself.
            LegOutput::Word(_) | LegOutput::Note(_) => {}
        }
    }

    /// Puts a call back in its place and brings the indexes up to date.
    fn keep(&mut self, key: CallKey, mut entry: Entry) {
        let fresh: Vec<String> = entry
            .call
            .call_ids()
            .filter(|id| !entry.call_ids.iter().any(|known| known == id))
            .map(str::to_owned)
            .collect();
        for id in fresh {
            self.by_call_id.entry(id.clone()).or_default().push(key);
            entry.call_ids.push(id);
        }
        let deadline = entry.call.timeout();
        if deadline != entry.deadline {
            self.move_deadline(key, entry.deadline, deadline);
            entry.deadline = deadline;
        }
        let carriers: Vec<TrunkId> = entry.call.trunks().collect();
        if carriers != entry.carriers {
            self.recount(entry.call.heading(), &entry.carriers, &carriers);
            entry.carriers = carriers;
        }
        self.calls.insert(key, entry);
    }

    /// Moves one call's weight from some trunks to others.
    fn recount(&mut self, heading: Heading, from: &[TrunkId], to: &[TrunkId]) {
        for watch in &mut self.trunks {
            let count = &mut watch.calls[heading as usize];
            *count += to.iter().filter(|id| **id == watch.trunk.id).count() as u32;
            *count = count.saturating_sub(from.iter().filter(|id| **id == watch.trunk.id).count() as u32);
        }
    }

    fn move_deadline(&mut self, key: CallKey, from: Option<Instant>, to: Option<Instant>) {
        if let Some(at) = from {
            self.deadlines.remove(&(at, key));
        }
        if let Some(at) = to {
            self.deadlines.insert((at, key));
        }
    }

    fn forget(&mut self, key: CallKey, entry: &Entry) {
        self.move_deadline(key, entry.deadline, None);
        self.recount(entry.call.heading(), &entry.carriers, &[]);
        for id in &entry.call_ids {
            if let Some(keys) = self.by_call_id.get_mut(id) {
                keys.retain(|known| *known != key);
                if keys.is_empty() {
                    self.by_call_id.remove(id);
                }
            }
        }
    }

    // Finding and telling.

    /// Our name in a call's Via: by the call's own configuration, which a reload leaves alone.
    fn sent_by(&self, key: CallKey, trunk: TrunkId) -> String {
        let own = self.calls.get(&key).and_then(|entry| entry.call.trunk(trunk));
        own.or_else(|| self.config.trunk(trunk)).map(|trunk| sent_by(trunk)).unwrap_or_default()
    }

    fn candidates(&self, message: &Message) -> Vec<CallKey> {
        let call_id = message.call_id().unwrap_or_default();
        self.by_call_id.get(call_id).cloned().unwrap_or_default()
    }

    /// The call and leg that an in-dialog request belongs to.
    fn owner(&self, message: &Message) -> Option<(CallKey, LegKey)> {
        self.candidates(message).into_iter().find_map(|key| {
            let entry = self.calls.get(&key)?;
            entry.call.leg_of(message).map(|leg| (key, leg))
        })
    }

    /// The call that began with this INVITE, or with the one that this CANCEL gives up. A second INVITE
    /// that finds one came by another way (RFC 3261 section 8.2.2.2).
    fn begun_by(&self, message: &Message) -> Option<CallKey> {
        let begun = |key: &CallKey| self.calls.get(key).is_some_and(|entry| entry.call.began_with(message));
        self.candidates(message).into_iter().find(begun)
    }

    fn ladder(&self, trunk: TrunkId, transport: Transport, way: Way, message: &Message, out: &mut Vec<Output>) {
        let Some(key) = self.candidates(message).first().copied() else { return };
        if let Some(entry) = self.calls.get(&key) {
            let call = entry.call.id.clone();
            out.push(Output::Report(Report::Message { call, trunk, transport, way, message: message.clone() }));
        }
    }

    fn count(&self, trunk: TrunkId, message: &Message, out: &mut Vec<Output>) {
        if let (Some(status), Ok(cseq)) = (message.status(), message.cseq()) {
            out.push(Output::Report(Report::Response { trunk, method: cseq.method, status }));
        }
    }

    fn refused(&self, trunk: TrunkId, status: u16, why: Cow<'static, str>, out: &mut Vec<Output>) {
        out.push(Output::Report(Report::Refused { trunk, status, why }));
    }
}

/// Our name in a Via toward a trunk.
fn sent_by(trunk: &Trunk) -> String {
    let bare = !trunk.own_host.contains(':');
    let host = if bare { trunk.own_host.clone() } else { format!("[{}]", trunk.own_host) };
    format!("{host}:{}", trunk.own_port)
}

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
    }
}
