//! One NTP server (RFC 5905 sections 9 and 10).
//!
//! 1. At the start, and when it answers again: a burst of four queries, 2 s apart.
//! 2. Then every 64 s; while its word stays the same, less often, up to 256 s. Without answers: after 8 s, 16 s ...
//! 3. An answer must repeat the query's random origin, once, and be from a server that knows the time itself.
//!    A kiss-o'-death is obeyed.
//! 4. Of the last eight samples the one with the least distance counts: delay is what makes a sample vague.
//!
//! Samples are taken on the raw clock: a step or a slew of the system's clock leaves them true.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::SignedDuration;

use super::judge::Candidate;
use super::{Reading, signed};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ntp::{Answer, Kiss, NotNtp};

/// How long an answer is waited for; also the pace of a burst (RFC 5905 appendix A.5.1: 2 s).
const WAIT: Duration = Duration::from_secs(2);
const BURST: u8 = 4;
/// Exponents of two, seconds. In 256 s a clock that wanders is off by 13 ms at most: rarer queries would save nothing.
const POLL: (u8, u8) = (6, 8);
/// The first pause after a silence.
const EAGER: u8 = 3;
/// Samples that must agree before a server is asked less often.
const CALM: u8 = 8;
const SAMPLES: usize = 8;
/// What a clock nobody disciplines may gain or lose, parts per million.
const WANDER: u32 = 50;
/// The least a sample may be off, whatever it says of itself (RFC 5905: MINDISP).
const LEAST: Duration = Duration::from_millis(5);
/// A server farther from true time than this is no use (RFC 5905: MAXDIST).
const FARTHEST: Duration = Duration::from_millis(1500);
/// The stratum that means "not synchronised".
const UNSYNCHRONISED: u8 = 16;

/// What is wrong with a server, as of its last answer or its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing came back.
    #[error("it does not answer; check the name, the network and UDP port 123")]
    Silent,
    /// The name has no address, or the query could not be sent.
    #[error("it cannot be reached; check its name in DNS and the route to it")]
    Unreachable,
    /// It says that it does not know the time.
    #[error("it is not synchronised itself")]
    Unsynchronised,
    /// Its time is too vague.
    #[error("it is too far from a reference clock")]
    Far,
    /// It wants fewer queries.
    #[error("it wants to be asked less often (kiss-o'-death RATE)")]
    Rate,
    /// It refuses.
    #[error("it refuses to serve us (kiss-o'-death)")]
    Denied,
    /// Only answers to no query of ours came: somebody else wrote them, or its origin timestamp is wrong.
    #[error("its answers belong to no query of ours: they are forged, or the server is broken")]
    Forged,
    /// Its times contradict each other.
    #[error("its timestamps are impossible")]
    Impossible,
    /// It does not speak NTP.
    #[error("{0}")]
    NotNtp(#[from] NotNtp),
}

/// When the server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next query is due then; so many of a burst are still to come.
    Resting { until: Instant, burst: u8 },
    /// A query is out.
    Asked { nonce: u64, at: Instant, burst: u8 },
    /// It told us to go away.
    Denied,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// By the raw clock, as all times here that are no deadlines.
    at: Duration,
    base: SignedDuration,
    delay: Duration,
    /// From the server to the reference clock.
    root: Duration,
}

impl Sample {
    fn candidate(&self, now: Duration) -> Candidate {
        let age = wander(now.saturating_sub(self.at));
        Candidate { base: self.base, distance: self.root + self.delay / 2 + age + LEAST }
    }
}

/// What a clock may have gained or lost after so long.
pub(super) fn wander(elapsed: Duration) -> Duration {
    elapsed * WANDER / 1_000_000
}

/// How long it takes a clock to gain or lose that.
pub(super) fn lasts(error: Duration) -> Duration {
    error.saturating_mul(1_000_000 / WANDER)
}

/// A server that is asked.
#[derive(Clone, Debug)]
pub struct Source {
    /// As configured.
    pub name: String,
    state: State,
    poll: u8,
    /// The least that the server bears.
    least_poll: u8,
    calm: u8,
    /// One bit a query, the newest lowest: was there a good answer?
    reach: u8,
    tried: bool,
    fault: Option<Fault>,
    stratum: u8,
    /// Samples before this may be of another time: the machine may have slept.
    renewed: Option<Duration>,
    samples: VecDeque<Sample>,
}

impl Source {
    /// A server that is asked at once.
    pub fn new(name: String, now: Instant) -> Source {
        Source {
            name,
            state: State::Resting { until: now, burst: BURST },
            poll: POLL.0,
            least_poll: POLL.0,
            calm: 0,
            reach: 0,
            tried: false,
            fault: None,
            stratum: 0,
            renewed: None,
            samples: VecDeque::new(),
        }
    }

    /// When [`Source::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until, .. } => Some(until),
            State::Asked { at, .. } => Some(at + WAIT),
            State::Denied => None,
        }
    }

    /// The nonce of the query to send, if one is due.
    pub fn tick(&mut self, now: Instant, random: &mut Random) -> Option<u64> {
        if let State::Asked { at, burst, .. } = self.state
            && now >= at + WAIT
        {
            self.missed(now, burst, random);
        }
        match self.state {
            State::Resting { until, burst } if now >= until => {
                let nonce = random.u64();
                self.state = State::Asked { nonce, at: now, burst: burst.saturating_sub(1) };
                Some(nonce)
            }
            _ => None,
        }
    }

    /// Has it had its first chance to answer?
    pub fn tried(&self) -> bool {
        self.tried
    }

    /// Has it answered any of the last eight queries?
    pub fn reachable(&self) -> bool {
        self.reach != 0
    }

    /// The last eight queries, one bit each, the newest lowest.
    pub fn reach(&self) -> u8 {
        self.reach
    }

    /// Has it told us to go away?
    pub fn denied(&self) -> bool {
        self.state == State::Denied
    }

    /// Has it answered since?
    pub fn heard_since(&self, then: Duration) -> bool {
        self.samples.front().is_some_and(|sample| sample.at >= then)
    }

    /// What is wrong with it.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Its distance from a reference clock, as it says.
    pub fn stratum(&self) -> u8 {
        self.stratum
    }

    /// How often it is asked.
    pub fn poll(&self) -> Duration {
        Duration::from_secs(1 << self.poll)
    }

    /// There and back, in its best sample.
    pub fn delay(&self, now: Duration) -> Option<Duration> {
        self.best(now).map(|sample| sample.delay)
    }

    /// What it says of the time; `None` while it has nothing to say.
    pub fn candidate(&self, now: Duration) -> Option<Candidate> {
        self.best(now).filter(|_| self.reachable()).map(|sample| sample.candidate(now))
    }

    fn best(&self, now: Duration) -> Option<&Sample> {
        self.samples.iter().min_by_key(|sample| sample.candidate(now).distance)
    }

    /// Asks soon: something has changed and the old samples may not hold. They serve until a newer one comes.
    pub fn renew(&mut self, now: Reading) {
        self.renewed = Some(now.raw);
        self.poll = self.least_poll;
        match self.state {
            // A query that went out before may have been under way while the clocks stood still.
            State::Resting { .. } | State::Asked { .. } => {
                self.state = State::Resting { until: now.mono, burst: self.burst() }
            }
            State::Denied => {}
        }
    }

    /// The query could not be sent.
    pub fn unsent(&mut self, nonce: u64) {
        if matches!(self.state, State::Asked { nonce: asked, .. } if asked == nonce) {
            self.fault = Some(Fault::Unreachable);
        }
    }

    /// Takes what came back. What does not belong to the query that is out leaves everything as it was.
    pub fn answered(&mut self, now: Instant, [sent, received]: [Duration; 2], packet: &[u8], random: &mut Random) {
        let State::Asked { nonce, burst, at } = self.state else { return };
        let answer = match Answer::read(packet) {
            Ok(answer) if answer.origin == nonce => answer,
            Ok(_) => return self.fault = Some(Fault::Forged),
            Err(fault) => return self.fault = Some(fault.into()),
        };
        self.stratum = answer.stratum;
        match answer.kiss() {
            Some(Kiss::Deny) => {
                (self.state, self.tried, self.reach) = (State::Denied, true, 0);
                return self.fault = Some(Fault::Denied);
            }
            Some(Kiss::Rate) => {
                self.least_poll = (self.poll.max(POLL.0) + 1).min(POLL.1);
                (self.poll, self.tried, self.reach) = (self.least_poll, true, self.reach << 1);
                self.rest(now, at, 0, random);
                return self.fault = Some(Fault::Rate);
            }
            None => {}
        }
        match sample(&answer, sent, received) {
            Ok(sample) => {
                let burst = if self.reachable() { burst } else { burst.max(self.burst() - 1) };
                self.keep(sample);
                self.rest(now, at, burst, random);
            }
            Err(fault) => {
                self.failed(now, burst, random);
                self.fault = Some(fault);
            }
        }
    }

    /// A server that wants fewer queries gets no burst.
    fn burst(&self) -> u8 {
        if self.least_poll > POLL.0 { 1 } else { BURST }
    }

    fn keep(&mut self, sample: Sample) {
        if self.renewed.take_if(|renewed| sample.at >= *renewed).is_some() {
            self.samples.clear();
        }
        let news = sample.candidate(sample.at);
        let same = self.candidate(sample.at).is_some_and(|old| news.meets(old.ends()));
        self.calm = if same { self.calm + 1 } else { 0 };
        if !same {
            self.poll = self.least_poll;
        } else if self.calm >= CALM {
            (self.calm, self.poll) = (0, (self.poll + 1).min(POLL.1));
        }
        self.samples.truncate(SAMPLES - 1);
        self.samples.push_front(sample);
        (self.tried, self.fault, self.reach) = (true, None, self.reach << 1 | 1);
    }

    /// Nothing came that counts.
    fn missed(&mut self, now: Instant, burst: u8, random: &mut Random) {
        if !matches!(self.fault, Some(Fault::Unreachable | Fault::Forged | Fault::NotNtp(_))) {
            self.fault = Some(Fault::Silent);
        }
        self.failed(now, burst, random);
    }

    fn failed(&mut self, now: Instant, burst: u8, random: &mut Random) {
        let was_reachable = self.reachable();
        (self.tried, self.reach, self.poll) = (true, self.reach << 1, self.poll.min(self.least_poll));
        if !self.reachable() {
            let eager = if self.least_poll > POLL.0 { self.least_poll } else { EAGER };
            let first = was_reachable || burst > 0;
            self.poll = if first { eager } else { (self.poll + 1).min(self.least_poll) };
        }
        self.rest(now, now, burst, random);
    }

    /// The next of a burst follows at its pace, else the pause is as long as the poll interval, a sixteenth more or
    /// less, so that a thousand boxes that start together do not ask together.
    fn rest(&mut self, now: Instant, asked: Instant, burst: u8, random: &mut Random) {
        let pause = self.poll();
        let until = match burst {
            0 => now + pause * 15 / 16 + pause / 8 * u32::try_from(random.below(1000)).unwrap_or(0) / 1000,
            _ => now.max(asked + WAIT),
        };
        self.state = State::Resting { until, burst };
    }
}

/// The checks of RFC 5905 section 8 that need no memory, and the arithmetic.
fn sample(answer: &Answer, sent: Duration, received: Duration) -> Result<Sample, Fault> {
    if answer.leap == 3 || answer.stratum == 0 || answer.stratum >= UNSYNCHRONISED {
        return Err(Fault::Unsynchronised);
    }
    let (Some(receive), Some(transmit)) = (answer.receive.since_1970(), answer.transmit.since_1970()) else {
        return Err(Fault::Impossible);
    };
    let held = transmit.checked_sub(receive).filter(|held| !held.is_negative()).ok_or(Fault::Impossible)?;
    let (held, away) = (held.unsigned_abs(), received.saturating_sub(sent));
    // Its clock and ours have a grain.
    let delay = match away.checked_sub(held) {
        Some(delay) => delay,
        None if held - away <= LEAST => Duration::ZERO,
        None => return Err(Fault::Impossible),
    };
    let root = answer.root_delay / 2 + answer.root_dispersion + answer.precision;
    if root + delay / 2 > FARTHEST {
        return Err(Fault::Far);
    }
    let (out, back) = (receive - signed(sent), transmit - signed(received));
    Ok(Sample { at: received, base: out + (back - out) / 2, delay, root })
}
