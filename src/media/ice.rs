//! ICE as a lite agent (RFC 8445 section 2.5): we have an address that everybody can reach, the peer does the work.
//!
//! 1. The peer checks a way: a binding request under our credentials. We answer where it came from. Media may come that way
//!    from then on; ours takes the way of the highest priority.
//! 2. It nominates one: USE-CANDIDATE. From then on our media goes there and nowhere else.
//! 3. It may nominate another, and may begin anew with other credentials (an ICE restart); media goes the old way until
//!    a new one is nominated, and until then checks under the old credentials are still answered.
//!
//! An offer of ours that is forked is answered by several peers, who check at the same time, each under the same
//! credentials of ours and its own. What each has checked is kept apart: the one that signalling has chosen counts.
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
//! somebody else. Bounded work, no allocation. Full ICE, with checks of our own, would stand beside this.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::media::peer::Channel;
use crate::session::{Credentials, Ice};
use crate::time::Instant;
use crate::wire::stun::{Class, Integrity, Key, Message, Role, Writer};

/// Ways that the peer may have checked at a time, for each port; of more, the one unchecked for the longest is forgotten.
const WAYS: usize = 8;
/// Who nominates all ways at once means the one of the highest priority (RFC 5245 section 8.1.1.2); who nominates one
/// after the other means the last. A burst of the first kind is over after this long.
const BURST: Duration = Duration::from_secs(2);

/// Which of the peers that answer one offer of ours: a digest of both fragments.
type Fork = u64;

fn fork(username: &[u8]) -> Fork {
    let mut hasher = DefaultHasher::new();
    username.hash(&mut hasher);
    hasher.finish()
}

/// A way that a peer has checked.
#[derive(Clone, Copy, Debug)]
struct Way {
    peer: SocketAddr,
    fork: Fork,
    priority: u32,
    checked: Instant,
    nominated: Option<Instant>,
}

/// The ways of one port.
#[derive(Clone, Debug, Default)]
struct Checked {
    ways: [Option<Way>; WAYS],
    /// The nominated way that media takes.
    taken: Option<Way>,
}

impl Checked {
    fn of(&self, fork: Fork) -> impl Iterator<Item = Way> {
        self.ways.iter().flatten().copied().filter(move |way| way.fork == fork)
    }

    /// Notes a way that was checked; what was nominated before stays so.
    fn note(&mut self, way: Way) {
        let same = |known: &Way| (known.peer, known.fork) == (way.peer, way.fork);
        let known = self.ways.iter().position(|known| known.as_ref().is_some_and(same));
        let place = match known {
            Some(known) => self.ways.get_mut(known),
            // An empty place comes before every other.
            None => self.ways.iter_mut().min_by_key(|way| way.map(|way| way.checked)),
        };
        if let Some(place) = place {
            let before = place.filter(same).and_then(|known| known.nominated);
            *place = Some(Way { nominated: way.nominated.or(before), ..way });
        }
    }

    fn nominate(&mut self, way: Way) {
        let stays = self.taken.is_some_and(|taken| {
            let burst = taken.nominated.is_some_and(|at| way.checked.since(at) < BURST);
            taken.peer != way.peer && way.priority < taken.priority && burst
        });
        if !stays {
            self.taken = Some(way);
        }
    }

    /// Signalling has chosen another peer of those that answer: what it has nominated already counts.
    fn choose(&mut self, fork: Fork) {
        self.taken = self.of(fork).filter(|way| way.nominated.is_some()).max_by_key(|way| way.priority);
    }

    /// New credentials: the first to be nominated under them wins, whatever its priority.
    fn restart(&mut self) {
        self.ways = Default::default();
        self.taken = self.taken.map(|taken| Way { nominated: None, ..taken });
    }

    fn destination(&self, fork: Fork) -> Option<SocketAddr> {
        let best = || self.of(fork).max_by_key(|way| way.priority);
        self.taken.or_else(best).map(|way| way.peer)
    }
}

/// What checks are made under.
struct Local {
    fragment: String,
    key: Key,
}

impl Local {
    fn new(credentials: &Credentials) -> Local {
        Local { fragment: credentials.fragment.clone(), key: Key::new(&credentials.password.0) }
    }

    /// USERNAME is our fragment, a colon, the peer's (RFC 8445 section 7.2.2).
    fn is_meant(&self, username: &[u8]) -> bool {
        username.strip_prefix(self.fragment.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'))
    }
}

/// What came of a STUN datagram. Answers are to be sent to where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The peer has proven itself; the answer lies here in the buffer.
    Proven(Range<usize>),
    /// It proves nothing; the answer, if it gets one.
    Refused(Option<Range<usize>>),
    /// The peer keeps a way open and wants no answer.
    Kept,
}

/// Our end of ICE on one side of a call.
pub struct Agent {
    agreed: Ice,
    fork: Fork,
    local: Local,
    /// Before the restart that has not led to a nomination yet.
    former: Option<Local>,
    channels: [Checked; 2],
}

impl Agent {
    /// Waits for checks under these credentials.
    pub fn new(agreed: &Ice) -> Agent {
        let username = format!("{}:{}", agreed.local.fragment, agreed.remote.fragment);
        Agent {
            agreed: agreed.clone(),
            fork: fork(username.as_bytes()),
            local: Local::new(&agreed.local),
            former: None,
            channels: Default::default(),
        }
    }

    /// Goes on under these credentials: the same, another peer's, or new ones of our own.
    #[must_use]
    pub fn renewed(mut self, agreed: &Ice) -> Agent {
        if self.agreed == *agreed {
            return self;
        }
        let agent = Agent::new(agreed);
        if self.agreed.local == agreed.local {
            self.channels.iter_mut().for_each(|checked| checked.choose(agent.fork));
            return Agent { channels: self.channels, former: self.former, ..agent };
        }
        self.channels.iter_mut().for_each(Checked::restart);
        Agent { channels: self.channels, former: Some(self.local), ..agent }
    }

    /// Where media goes; `None` before a check.
    pub fn destination(&self, channel: Channel) -> Option<SocketAddr> {
        self.channels[channel as usize].destination(self.fork)
    }

    /// May media come from there? The peer may use any way that it has checked (RFC 8445 section 12.2).
    pub fn admits(&self, channel: Channel, from: SocketAddr) -> bool {
        let checked = &self.channels[channel as usize];
        checked.taken.is_some_and(|taken| taken.peer == from) || checked.of(self.fork).any(|way| way.peer == from)
    }

    /// Takes a STUN datagram of `length` octets; the answer is written over it.
    pub fn take(
        &mut self,
        channel: Channel,
        from: SocketAddr,
        buffer: &mut [u8],
        length: usize,
        now: Instant,
    ) -> Taken {
        let Some(message) = buffer.get(..length).and_then(Message::read) else { return Taken::Refused(None) };
        match message.class() {
            Class::Request => {}
            Class::Indication if self.admits(channel, from) => return Taken::Kept,
            Class::Indication | Class::Success | Class::Error => return Taken::Refused(None),
        }
        let transaction = message.transaction();
        let verdict = self.judge(&message, from, now);
        let class = if verdict.is_good() { Class::Success } else { Class::Error };
        let answer = |buffer| Writer::new(buffer, class, &transaction);
        let written = match &verdict {
            Verdict::Stranger(code) => {
                return Taken::Refused(answer(&mut buffer[..length]).error(*code).finish().map(|end| 0..end));
            }
            Verdict::Unknown(local, kind) => answer(buffer).error(420).unknown(&[*kind]).integrity(&local.key).finish(),
            Verdict::Conflict(local) => answer(buffer).error(487).integrity(&local.key).finish(),
            Verdict::Good(local, _) => answer(buffer).mapped(from).integrity(&local.key).finish(),
        };
        if let Verdict::Good(_, Some(way)) = verdict {
            self.check(channel, way);
        }
        written.map_or(Taken::Refused(None), |end| Taken::Proven(0..end))
    }

    fn judge(&self, request: &Message<'_>, from: SocketAddr, now: Instant) -> Verdict<'_> {
        let Some(username) = request.username() else { return Verdict::Stranger(400) };
        let known = [Some(&self.local), self.former.as_ref()];
        let Some(local) = known.into_iter().flatten().find(|local| local.is_meant(username)) else {
            return Verdict::Stranger(401);
        };
        match request.integrity(&local.key) {
            Integrity::Absent => return Verdict::Stranger(400),
            Integrity::Wrong => return Verdict::Stranger(401),
            Integrity::Right => {}
        }
        if let Some(kind) = request.unknown().next() {
            return Verdict::Unknown(local, kind);
        }
        // A lite agent never takes the lead from a full one.
        if let Some(Role::Controlled(_)) = request.role() {
            return Verdict::Conflict(local);
        }
        let way = Way {
            peer: from,
            fork: fork(username),
            priority: request.priority().unwrap_or(0),
            checked: now,
            nominated: request.nominates().then_some(now),
        };
        Verdict::Good(local, Some(way).filter(|_| std::ptr::eq(local, &self.local)))
    }

    fn check(&mut self, channel: Channel, way: Way) {
        let checked = &mut self.channels[channel as usize];
        checked.note(way);
        if way.nominated.is_some() && way.fork == self.fork {
            checked.nominate(way);
            self.former = None;
        }
    }
}

/// What a request is worth.
enum Verdict<'a> {
    /// Of nobody that we know: this error.
    Stranger(u16),
    Unknown(&'a Local, u16),
    Conflict(&'a Local),
    /// Under former credentials it opens no way.
    Good(&'a Local, Option<Way>),
}

impl Verdict<'_> {
    fn is_good(&self) -> bool {
        matches!(self, Verdict::Good(..))
    }
}

#[cfg(test)]
mod tests;
