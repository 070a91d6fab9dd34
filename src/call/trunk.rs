//! Is the peer there? OPTIONS to every trunk, and what its silence means.
//!
//! 1. OPTIONS every `options_interval` (60 s).
//! 2. Any answer, and any request of the peer's own, proves it alive.
//! 3. A silent or unreachable peer is asked again after 5 s; three misses in a row take it down.
//! 4. Down, it is asked every 10 s; one answer brings it back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::peer_clock::PeerClock;
use crate::alarm::{Alarm, Severity, Text};
use crate::config::{Trunk, TrunkKind};
use crate::gateway;
use crate::hop::{Hop, TrunkId};
use crate::time::{Instant, Now};

const AGAIN_AFTER_MISS: Duration = Duration::from_secs(5);
const AGAIN_WHEN_DOWN: Duration = Duration::from_secs(10);
const MISSES_UNTIL_DOWN: u8 = 3;

/// What is known of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// Nobody has asked yet.
    Unknown,
    /// It answers.
    Up {
        /// Since.
        since: Instant,
        /// Requests in a row that found no answer.
        misses: u8,
    },
    /// It does not answer.
    Down {
        /// Since.
        since: Instant,
    },
}

/// One trunk's watch.
#[derive(Debug)]
pub(super) struct TrunkWatch {
    pub trunk: Arc<Trunk>,
    state: Reachability,
    probe: Probe,
    why: Cow<'static, str>,
    /// Its clock.
    pub clock: PeerClock,
    /// What it says of itself.
    pub gateway: gateway::Standing,
    /// Live calls: in, out.
    pub calls: [u32; 2],
}

/// When OPTIONS is due, or that one is out.
#[derive(Clone, Copy, Debug)]
enum Probe {
    Off,
    Due(Instant),
    Out,
}

impl TrunkWatch {
    /// Begins to watch; the first OPTIONS is due at once.
    pub fn new(now: Now, trunk: Arc<Trunk>) -> TrunkWatch {
        let probe = if sends_options(&trunk) { Probe::Due(now.mono) } else { Probe::Off };
        let (clock, gateway, calls) = Default::default();
        TrunkWatch { trunk, state: Reachability::Unknown, probe, why: "not asked yet".into(), clock, gateway, calls }
    }

    /// The watch under a new configuration of the same trunk: live calls still count; what was known
    /// of the peer holds while it stays where it was.
    pub fn renewed(&self, now: Now, trunk: Arc<Trunk>) -> TrunkWatch {
        let gateway = self.gateway.clone();
        let fresh = TrunkWatch { calls: self.calls, gateway, ..TrunkWatch::new(now, trunk) };
        if fresh.trunk.hops != self.trunk.hops {
            return fresh;
        }
        let probe = match (fresh.probe, self.probe) {
            (Probe::Off, _) | (_, Probe::Off) => fresh.probe,
            (_, probe) => probe,
        };
        TrunkWatch { probe, state: self.state, why: self.why.clone(), clock: self.clock.clone(), ..fresh }
    }

    pub fn id(&self) -> TrunkId {
        self.trunk.id
    }

    /// May a call go there? Unknown counts as yes.
    pub fn is_up(&self) -> bool {
        !matches!(self.state, Reachability::Down { .. })
    }

    pub fn reachability(&self) -> Reachability {
        self.state
    }

    pub fn why(&self) -> &str {
        &self.why
    }

    /// What operators must know of it.
    pub fn alarms(&self, now: Now) -> impl Iterator<Item = Alarm> {
        let name = &self.trunk.name;
        self.down(now).into_iter().chain(self.clock.alarms(now, name)).chain(self.gateway.alarms(now, name))
    }

    fn down(&self, now: Now) -> Option<Alarm> {
        let Reachability::Down { since } = self.state else { return None };
        let name = &self.trunk.name;
        let (severity, breaks) = match self.trunk.kind {
            TrunkKind::Microsoft(_) => (Severity::Critical, "calls from the telephone network find nobody"),
            TrunkKind::Gateway | TrunkKind::Isdn => {
                (Severity::Major, "its calls go to other gateways, and fail where there is none")
            }
        };
        let remedy = format!("bring {name} back, or the way to it; demarc doctor looks closer");
        let text = Text::new(format!("{name} is down: {}", self.why), breaks, remedy);
        Some(Alarm::new(now, since, severity, name, text))
    }

    /// Is there room for one more call?
    pub fn has_room(&self) -> bool {
        self.trunk.max_calls.is_none_or(|most| self.calls[0] + self.calls[1] < most)
    }

    pub fn timeout(&self) -> Option<Instant> {
        match self.probe {
            Probe::Due(at) => Some(at),
            Probe::Off | Probe::Out => None,
        }
    }

    /// Where to send the OPTIONS that is due now.
    pub fn due(&mut self, now: Now) -> Option<Hop> {
        match self.probe {
            Probe::Due(at) if at <= now.mono => {
                self.probe = Probe::Out;
                self.trunk.hops.first().cloned().map(Hop::Target)
            }
            _ => None,
        }
    }

    /// Something came from the peer. The sentence to report when this changes the verdict.
    pub fn alive(&mut self, now: Now, answered: bool) -> Option<Cow<'static, str>> {
        if answered && let Probe::Out = self.probe {
            self.probe = Probe::Due(now.mono + self.trunk.switches.options_interval);
        }
        let since = match self.state {
            Reachability::Up { since, .. } => since,
            _ => now.mono,
        };
        let news = !matches!(self.state, Reachability::Up { .. });
        self.state = Reachability::Up { since, misses: 0 };
        self.why = if answered { "answers OPTIONS".into() } else { "sends requests".into() };
        news.then(|| self.why.clone())
    }

    /// A D channel of its lines came up or went down; `up`: one of them is up. The sentence to report when this changes
    /// the verdict.
    pub fn line(&mut self, now: Now, up: bool, why: String) -> Option<Cow<'static, str>> {
        self.why = why.into();
        let news = match (self.state, up) {
            (Reachability::Up { .. }, true) | (Reachability::Down { .. }, false) => return None,
            (_, true) => Reachability::Up { since: now.mono, misses: 0 },
            (_, false) => Reachability::Down { since: now.mono },
        };
        self.state = news;
        Some(self.why.clone())
    }

    /// The OPTIONS that was out found no answer. The sentence to report when this takes it down.
    pub fn missed(&mut self, now: Now, why: &str) -> Option<Cow<'static, str>> {
        let misses = match self.state {
            Reachability::Up { misses, .. } => misses + 1,
            Reachability::Unknown => MISSES_UNTIL_DOWN,
            Reachability::Down { .. } => 0,
        };
        let pause = if misses == 0 || misses >= MISSES_UNTIL_DOWN { AGAIN_WHEN_DOWN } else { AGAIN_AFTER_MISS };
        self.probe = Probe::Due(now.mono + pause);
        let hop = self.trunk.hops.first().map(ToString::to_string).unwrap_or_default();
        self.why = format!("OPTIONS to {hop} found no answer: {why}").into();
        match self.state {
            Reachability::Up { since, .. } if misses < MISSES_UNTIL_DOWN => {
                self.why =
                    format!("{}; it counts as up until the {MISSES_UNTIL_DOWN}rd time, this was {misses}", self.why)
                        .into();
                self.state = Reachability::Up { since, misses };
                None
            }
            Reachability::Down { .. } => None,
            _ => {
                self.state = Reachability::Down { since: now.mono };
                Some(self.why.clone())
            }
        }
    }
}

fn sends_options(trunk: &Trunk) -> bool {
    !trunk.switches.options_interval.is_zero() && !trunk.hops.is_empty()
}
