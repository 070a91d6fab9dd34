//! ICE as a lite agent (RFC 8445 section 2.5): we have an address that everybody can reach, the peer does the work.
//!
//! 1. The peer checks a way: a binding request under our credentials. We answer where it came from.
//! 2. It nominates one: USE-CANDIDATE. From then on media goes there.
//! 3. It may nominate another, and may begin anew with other credentials (an ICE restart); media goes the old way until
//!    a new one is nominated.
//!
//! ```text
//! a request                                 | answer            | RFC
//! not STUN, not a binding request           | none              |
//! without USERNAME or MESSAGE-INTEGRITY     | 400               | 8489 section 9.1.3
//! of somebody else, or of a wrong password  | 401               | 8489 section 9.1.3
//! with an attribute that we do not know     | 420               | 8489 section 6.3.1
//! from who means to be controlled           | 487               | 8445 section 7.3.1.1
//! else                                      | where it is from  | 8445 section 7.3.1.2
//! ```
//!
//! Until the peer has proven itself it gets no answer that is longer than its question: nobody can use us to flood
//! somebody else. Bounded work, no allocation.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::media::peer::Channel;
use crate::session::Ice;
use crate::time::Instant;
use crate::wire::stun::{Class, Integrity, Key, Message, Role, Writer};

/// Ways that the peer may have checked at a time, for each port; of more, the one unchecked for the longest is forgotten.
const WAYS: usize = 8;
/// Who nominates all ways at once means the one of the highest priority (RFC 5245 section 8.1.1.2); who nominates one
/// after the other means the last. A burst of the first kind is over after this long.
const BURST: Duration = Duration::from_secs(2);

/// A way that the peer has checked.
#[derive(Clone, Copy, Debug)]
struct Way {
    peer: SocketAddr,
    checked: Instant,
}

/// The way that media goes.
#[derive(Clone, Copy, Debug)]
struct Nominated {
    peer: SocketAddr,
    priority: u32,
    at: Instant,
}

/// The ways of one port.
#[derive(Clone, Debug, Default)]
struct Checked {
    ways: [Option<Way>; WAYS],
    nominated: Option<Nominated>,
}

impl Checked {
    fn check(&mut self, peer: SocketAddr, now: Instant) {
        let known = self.ways.iter().position(|way| way.is_some_and(|way| way.peer == peer));
        let place = match known {
            Some(known) => self.ways.get_mut(known),
            // An empty place comes before every other.
            None => self.ways.iter_mut().min_by_key(|way| way.map(|way| way.checked)),
        };
        if let Some(place) = place {
            *place = Some(Way { peer, checked: now });
        }
    }

    fn nominate(&mut self, peer: SocketAddr, priority: u32, now: Instant) {
        let stays = self.nominated.is_some_and(|nominated| {
            nominated.peer != peer && priority < nominated.priority && now.since(nominated.at) < BURST
        });
        if !stays {
            self.nominated = Some(Nominated { peer, priority, at: now });
        }
    }
}

/// What came of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where in the buffer it lies; to be sent to where the datagram came from.
    pub octets: Range<usize>,
    /// The peer has proven itself.
    pub proven: bool,
}

/// Our end of ICE on one side of a call.
pub struct Agent {
    agreed: Ice,
    username: String,
    key: Key,
    channels: [Checked; 2],
}

impl Agent {
    /// Waits for checks under these credentials.
    pub fn new(agreed: &Ice) -> Agent {
        let username = format!("{}:{}", agreed.local.fragment, agreed.remote.fragment);
        let key = Key::new(&agreed.local.password.0);
        Agent { agreed: agreed.clone(), username, key, channels: Default::default() }
    }

    /// Goes on under these credentials. When they are new, so are the checks; media goes on as nominated before.
    #[must_use]
    pub fn renewed(self, agreed: &Ice) -> Agent {
        if self.agreed == *agreed {
            return self;
        }
        let mut channels = self.channels;
        // The first to be nominated under new credentials wins, whatever its priority.
        for nominated in channels.iter_mut().filter_map(|checked| checked.nominated.as_mut()) {
            nominated.priority = 0;
        }
        Agent { channels, ..Agent::new(agreed) }
    }

    /// Where media goes; `None` before a nomination.
    pub fn destination(&self, channel: Channel) -> Option<SocketAddr> {
        self.channels[channel as usize].nominated.map(|nominated| nominated.peer)
    }

    /// May media come from there? The peer may use any way that it has checked.
    pub fn admits(&self, channel: Channel, from: SocketAddr) -> bool {
        self.destination(channel) == Some(from)
            || self.channels[channel as usize].ways.iter().flatten().any(|way| way.peer == from)
    }

    /// Takes a STUN datagram of `length` octets; the answer is written over it.
    pub fn take(
        &mut self,
        channel: Channel,
        from: SocketAddr,
        buffer: &mut [u8],
        length: usize,
        now: Instant,
    ) -> Option<Answer> {
        let request = Message::read(buffer.get(..length)?).filter(|message| message.class() == Class::Request)?;
        let transaction = request.transaction();
        let verdict = self.judge(&request);
        if let Verdict::Good { priority, nominates } = verdict {
            let checked = &mut self.channels[channel as usize];
            checked.check(from, now);
            if nominates {
                checked.nominate(from, priority, now);
            }
        }
        let class = if verdict.is_good() { Class::Success } else { Class::Error };
        let message = |buffer| Writer::new(buffer, class, &transaction);
        let (proven, octets) = match verdict {
            Verdict::Stranger(code) => (false, message(&mut buffer[..length]).error(code).finish()),
            Verdict::Unknown(kind) => (true, message(buffer).error(420).unknown(&[kind]).integrity(&self.key).finish()),
            Verdict::Conflict => (true, message(buffer).error(487).integrity(&self.key).finish()),
            Verdict::Good { .. } => (true, message(buffer).mapped(from).integrity(&self.key).finish()),
        };
        octets.map(|octets| Answer { octets: 0..octets, proven })
    }

    fn judge(&self, request: &Message<'_>) -> Verdict {
        match (request.username(), request.integrity(&self.key)) {
            (None, _) | (_, Integrity::Absent) => return Verdict::Stranger(400),
            (Some(username), Integrity::Right) if username == self.username.as_bytes() => {}
            _ => return Verdict::Stranger(401),
        }
        if let Some(kind) = request.unknown().next() {
            return Verdict::Unknown(kind);
        }
        match request.role() {
            // A lite agent never takes the lead from a full one.
            Some(Role::Controlled(_)) => Verdict::Conflict,
            _ => Verdict::Good { priority: request.priority().unwrap_or(0), nominates: request.nominates() },
        }
    }
}

/// What a request is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Of nobody that we know: this error.
    Stranger(u16),
    Unknown(u16),
    Conflict,
    Good {
        priority: u32,
        nominates: bool,
    },
}

impl Verdict {
    fn is_good(self) -> bool {
        matches!(self, Verdict::Good { .. })
    }
}

#[cfg(test)]
mod tests;
