//! All live calls and what finds one: by Call-ID, by deadline, by trunk.

use std::collections::{BTreeSet, HashMap};

use super::b2bua::{Call, CallKey, LegKey};
use super::report::Heading;
use super::trunk::TrunkWatch;
use crate::hop::{Flow, TrunkId};
use crate::identity::Judgement;
use crate::leg::Parties;
use crate::sip::leg::RequestId;
use crate::sip::transaction::{ClientId, ServerId};
use crate::time::{Instant, Now};
use crate::wire::sip::{Message, Replaces};

/// A peer's request that waits for our answer.
#[derive(Clone)]
pub(super) struct Asked {
    pub id: ServerId,
    pub flow: Flow,
    pub message: Message,
}

/// A call with what it is indexed by.
pub(super) struct Entry {
    pub call: Call,
    /// The INVITE that began it, if one did, for when the call cannot answer it any more.
    pub asked: Option<Asked>,
    call_ids: Vec<String>,
    deadline: Option<Instant>,
    /// The trunks whose live calls it counts among.
    carriers: Vec<TrunkId>,
    /// The INVITE of each leg that can still be cancelled.
    pub invites: Vec<(LegKey, RequestId, ClientId)>,
    /// What was seen of the identity of who last asked for a transfer.
    pub referrer: Option<Judgement>,
    /// The trunks whose wrong clocks stand in its ladder already.
    pub clocks_told: Vec<TrunkId>,
}

impl Entry {
    pub fn new(call: Call, asked: Option<Asked>) -> Entry {
        let (call_ids, carriers, invites, clocks_told) = Default::default();
        Entry { call, asked, call_ids, deadline: None, carriers, invites, referrer: None, clocks_told }
    }

    /// A leg sent an INVITE: the one before is answered.
    pub fn invited(&mut self, leg: LegKey, id: RequestId, client: ClientId) {
        self.invites.retain(|(of, ..)| *of != leg);
        self.invites.push((leg, id, client));
    }
}

/// All live calls.
#[derive(Default)]
pub(super) struct Register {
    calls: HashMap<CallKey, Entry>,
    /// Which calls a Call-ID belongs to: nearly always one.
    by_call_id: HashMap<String, Vec<CallKey>>,
    deadlines: BTreeSet<(Instant, CallKey)>,
    last_key: u64,
}

impl Register {
    /// A key that no call had before.
    pub fn next_key(&mut self) -> CallKey {
        self.last_key += 1;
        CallKey(self.last_key)
    }

    /// The next deadline of any call.
    pub fn timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A call whose deadline has passed.
    pub fn due(&mut self, now: Now) -> Option<CallKey> {
        let (_, key) = self.deadlines.first().copied().filter(|(at, _)| *at <= now.mono)?;
        self.deadlines.pop_first();
        if let Some(entry) = self.calls.get_mut(&key) {
            entry.deadline = None;
        }
        Some(key)
    }

    /// All keys, in no order.
    pub fn keys(&self) -> Vec<CallKey> {
        self.calls.keys().copied().collect()
    }

    pub fn contains(&self, key: CallKey) -> bool {
        self.calls.contains_key(&key)
    }

    pub fn get(&self, key: CallKey) -> Option<&Entry> {
        self.calls.get(&key)
    }

    pub fn get_mut(&mut self, key: CallKey) -> Option<&mut Entry> {
        self.calls.get_mut(&key)
    }

    /// Calls that operators call live, oldest first.
    pub fn live(&self) -> Vec<&Call> {
        let mut live: Vec<_> = self.calls.iter().filter(|(_, entry)| !entry.call.is_past()).collect();
        live.sort_by_key(|(key, _)| **key);
        live.into_iter().map(|(_, entry)| &entry.call).collect()
    }

    /// The calls with a leg of this message's Call-ID.
    pub fn of_call_id<'a>(&'a self, message: &Message) -> impl Iterator<Item = (CallKey, &'a Call)> {
        self.with_call_id(message.call_id().unwrap_or_default())
    }

    /// The calls with a leg of this Call-ID.
    pub fn with_call_id<'a>(&'a self, call_id: &str) -> impl Iterator<Item = (CallKey, &'a Call)> + use<'a> {
        let keys = self.by_call_id.get(call_id);
        keys.into_iter().flatten().filter_map(|key| Some((*key, &self.calls.get(key)?.call)))
    }

    /// Whom the call with this token shall reach, and on whose behalf: a gateway places it that was asked to.
    pub fn referred(&self, token: &str) -> Option<Parties> {
        let mut calls = self.calls.values();
        calls.find_map(|entry| entry.call.transfer()?.referral(token)).cloned()
    }

    /// The call and leg whose dialog a Replaces names.
    pub fn replaced(&self, replaces: &Replaces<'_>) -> Option<(CallKey, LegKey)> {
        let keys = self.by_call_id.get(replaces.call_id).into_iter().flatten();
        keys.filter_map(|key| Some((*key, self.calls.get(key)?.call.replaced(replaces)?))).next()
    }

    /// The call and leg that an in-dialog request belongs to.
    pub fn owner(&self, message: &Message) -> Option<(CallKey, LegKey)> {
        self.of_call_id(message).find_map(|(key, call)| call.leg_of(message).map(|leg| (key, leg)))
    }

    /// A leg has moved, and with it the INVITE by which it can be cancelled.
    pub fn hand_over(&mut self, from: (CallKey, LegKey), to: (CallKey, LegKey)) {
        let Some(entry) = self.calls.get_mut(&from.0) else { return };
        let moved: Vec<_> = entry.invites.extract_if(.., |(leg, ..)| *leg == from.1).collect();
        if let Some(entry) = self.calls.get_mut(&to.0) {
            entry.invites.extend(moved.into_iter().map(|(_, id, client)| (to.1, id, client)));
        }
    }

    /// Takes a call out of its place for one step.
    pub fn take(&mut self, key: CallKey) -> Option<Entry> {
        self.calls.remove(&key)
    }

    /// Puts a call in its place and brings the indexes up to date.
    pub fn keep(&mut self, key: CallKey, mut entry: Entry, trunks: &mut [TrunkWatch]) {
        let known = &entry.call_ids;
        let fresh: Vec<String> =
            entry.call.call_ids().filter(|id| !known.iter().any(|known| known == id)).map(str::to_owned).collect();
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
            recount(trunks, entry.call.heading(), &entry.carriers, &carriers);
            entry.carriers = carriers;
        }
        self.calls.insert(key, entry);
    }

    /// Takes a call that was taken out of all indexes.
    pub fn forget(&mut self, key: CallKey, entry: &Entry, trunks: &mut [TrunkWatch]) {
        self.move_deadline(key, entry.deadline, None);
        recount(trunks, entry.call.heading(), &entry.carriers, &[]);
        for id in &entry.call_ids {
            if let Some(keys) = self.by_call_id.get_mut(id) {
                keys.retain(|known| *known != key);
                if keys.is_empty() {
                    self.by_call_id.remove(id);
                }
            }
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
}

/// Moves one call's weight from some trunks to others.
fn recount(trunks: &mut [TrunkWatch], heading: Heading, from: &[TrunkId], to: &[TrunkId]) {
    for watch in trunks {
        let here = |ids: &[TrunkId]| ids.iter().filter(|id| **id == watch.trunk.id).count() as u32;
        let (gone, come) = (here(from), here(to));
        let count = &mut watch.calls[heading as usize];
        *count = (*count + come).saturating_sub(gone);
    }
}
