//! The live connections: whom a message can be handed to at once. The lock is held for a look-up and never across
//! a wait.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::Unsent;
use super::peer::Names;
use super::refusal::{Bound, Refusal};
use crate::config::Config;
use crate::hop::{Flow, Target, Transport, TrunkId};

/// What a connection's task is told to do.
pub(super) enum Order {
    /// Write these bytes; the ticket is named if that fails. Keep-alives have none.
    Write(Bytes, Option<u64>),
    /// Write nothing more: what was queued before has been written.
    Finish,
}

/// A connection's trunk: a reload can give the same trunk another number.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<AtomicU16>);

impl Place {
    pub(super) fn new(trunk: TrunkId) -> Place {
        Place(Arc::new(AtomicU16::new(trunk.0)))
    }

    pub(super) fn get(&self) -> TrunkId {
        TrunkId(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, trunk: TrunkId) {
        self.0.store(trunk.0, Ordering::Relaxed);
    }
}

/// A connection, from its first message (when we open it) or its handshake (when the peer did).
struct Entry {
    orders: mpsc::Sender<Order>,
    place: Place,
    /// Names that the peer proved by TLS.
    names: Names,
    /// Why it was opened; `None` when the peer opened it.
    target: Option<Target>,
}

/// What one address has opened.
#[derive(Clone, Copy, Debug, Default)]
struct Accepted {
    all: usize,
    strangers: usize,
}

/// All of them.
#[derive(Default)]
pub(super) struct Table {
    entries: HashMap<u64, Entry>,
    targets: HashMap<Target, u64>,
    accepted: HashMap<IpAddr, Accepted>,
    strangers: usize,
    total: usize,
    last: u64,
}

/// Numbers of connections that we opened are even, of those that peers opened odd.
pub(super) fn ours(connection: u64) -> bool {
    connection.is_multiple_of(2)
}

/// A target as a key: names do not differ by case.
pub(super) fn key(target: &Target) -> Target {
    Target { host: target.host.to_ascii_lowercase().into(), ..target.clone() }
}

impl Table {
    fn number(&mut self, ours: bool) -> u64 {
        self.last += 2;
        self.last + u64::from(!ours)
    }

    /// Counts an accepted connection in, unless a limit is reached. Without its own limit on strangers one silent
    /// address could take all their seats.
    pub(super) fn admit(&mut self, address: IpAddr, stranger: bool, limits: &super::Limits) -> Result<(), Refusal> {
        let here = self.accepted.get(&address).copied().unwrap_or_default();
        let bounds = [
            (true, self.total, limits.connections, Bound::All),
            (true, here.all, limits.per_address, Bound::Address),
            (stranger, self.strangers, limits.strangers, Bound::Strangers),
            (stranger, here.strangers, limits.strangers_per_address, Bound::AddressStrangers),
        ];
        if let Some((.., limit, of)) = bounds.into_iter().find(|(counts, now, limit, _)| *counts && now >= limit) {
            return Err(Refusal::TooMany { limit, of });
        }
        let here = self.accepted.entry(address).or_default();
        here.all += 1;
        here.strangers += usize::from(stranger);
        self.strangers += usize::from(stranger);
        self.total += 1;
        Ok(())
    }

    /// The peer of an admitted connection is a stranger no more.
    pub(super) fn known(&mut self, address: IpAddr) {
        self.strangers = self.strangers.saturating_sub(1);
        if let Some(here) = self.accepted.get_mut(&address) {
            here.strangers = here.strangers.saturating_sub(1);
        }
    }

    /// An admitted connection is over.
    pub(super) fn dismiss(&mut self, address: IpAddr) {
        self.total = self.total.saturating_sub(1);
        if let Some(here) = self.accepted.get_mut(&address) {
            here.all = here.all.saturating_sub(1);
            if here.all == 0 {
                self.accepted.remove(&address);
            }
        }
    }

    /// Enters a connection that the peer opened.
    pub(super) fn enter(&mut self, orders: mpsc::Sender<Order>, place: Place, names: Names) -> u64 {
        let number = self.number(false);
        self.entries.insert(number, Entry { orders, place, names, target: None });
        number
    }

    /// Enters a connection that we are about to open.
    pub(super) fn open(&mut self, target: &Target, orders: mpsc::Sender<Order>, place: Place) -> u64 {
        let number = self.number(true);
        self.total += 1;
        self.targets.insert(target.clone(), number);
        self.entries.insert(number, Entry { orders, place, names: Names::default(), target: Some(target.clone()) });
        number
    }

    /// How many there are in all.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// The connection that serves a target.
    pub(super) fn serving(&self, target: &Target) -> Option<u64> {
        self.targets.get(target).copied()
    }

    /// Lets a connection of a peer serve a target too, if the peer proved that name by TLS and has the same trunk.
    pub(super) fn alias(&mut self, flow: &Flow, target: &Target) -> bool {
        let proven = self.entries.get(&flow.connection).is_some_and(|entry| {
            entry.place.get() == target.trunk && flow.transport == Transport::Tls && entry.names.carry(&target.host)
        });
        if proven {
            self.targets.entry(target.clone()).or_insert(flow.connection);
        }
        proven
    }

    /// Hands a message to a connection's task.
    pub(super) fn hand(&self, number: u64, bytes: Bytes, ticket: u64) -> Result<(), Unsent> {
        let entry = self.entries.get(&number).ok_or(Unsent::Closed)?;
        entry.orders.try_send(Order::Write(bytes, Some(ticket))).map_err(|error| match error {
            TrySendError::Full(_) => Unsent::QueueFull,
            TrySendError::Closed(_) => Unsent::Closed,
        })
    }

    /// Forgets a connection: nothing can be handed to it from here on.
    pub(super) fn leave(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number) {
            self.targets.retain(|_, serving| *serving != number);
            if entry.target.is_some() {
                self.total = self.total.saturating_sub(1);
            }
        }
    }

    /// Gives connections their trunks' numbers in a new configuration. A trunk that is gone keeps its connections
    /// until their calls end, under a number that no configuration has.
    pub(super) fn renumber(&mut self, old: &Config, new: &Config) {
        let number = |id: TrunkId| {
            let name = old.trunk(id).map(|trunk| trunk.name.as_str());
            new.trunks
                .iter()
                .find(|trunk| Some(trunk.name.as_str()) == name)
                .map_or(TrunkId(u16::MAX), |trunk| trunk.id)
        };
        for entry in self.entries.values_mut() {
            entry.place.set(number(entry.place.get()));
            if let Some(target) = &mut entry.target {
                target.trunk = number(target.trunk);
            }
        }
        let targets = std::mem::take(&mut self.targets);
        self.targets = targets
            .into_iter()
            .map(|(target, serving)| (Target { trunk: number(target.trunk), ..target }, serving))
            .collect();
    }
}

/// The peer's address without the IPv6 dress of an IPv4 one.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
