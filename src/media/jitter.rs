//! The order of a peer's packets, and how long a missing one is waited for.
//!
//! ```text
//! in order  ----------------------------------------------------->  plays at once
//! a gap     -- wait: expected arrival + allowance -- it comes ---->  plays
//!                                                 \- it does not ->  lost: concealed, with the next one as a hint
//! silence   -- concealed until it has faded -- nothing ----------->  until the peer speaks again
//! ```
//!
//! What stands behind a packet in time, not in number, decides whether it comes too late: who pauses without packets
//! (DTX) has lost none. Far ends have buffers of their own, so nothing that is in order is held back.

use std::time::Duration;

use crate::media::peer::Kind;
use crate::time::Instant;

/// Packets that may wait behind a missing one.
const SLOTS: usize = 16;
/// Octets of the longest payload: G.711 of 60 ms is 480, Opus stays below what an Ethernet frame holds.
const PAYLOAD: usize = 1500;
/// Concealment has faded to nothing after this long.
const FADED: Duration = Duration::from_millis(60);
/// The least wait for a missing packet, in packet times: the one behind it, which may help, is there by then.
const PATIENCE: (u32, u32) = (3, 2);
/// After so many late packets in a row it is not the network that is wrong: nothing is concealed until the peer's
/// timestamps keep up again.
const LATE: u8 = 5;
/// The fastest path is the fastest of so many packets, so that it follows a peer whose clock is slower than ours.
const WINDOW: u32 = 100;
/// Of so many when all of them come later than any is waited for: the path has become longer.
const DETOUR: u32 = 10;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A packet, in its order.
    Packet {
        /// What it carries.
        kind: Kind,
        /// Its RTP timestamp.
        timestamp: u32,
        /// Its octets.
        payload: &'a [u8],
    },
    /// So many ticks of sound are missing.
    Lost {
        /// The RTP timestamp of the first missing tick.
        timestamp: u32,
        /// How much, in ticks of the RTP clock.
        ticks: u32,
        /// The payload that follows directly, when it is there already.
        next: Option<&'a [u8]>,
    },
}

/// A packet as it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its sequence number.
    pub sequence: u16,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// How long its sound is, in ticks of the RTP clock; 0 of what is not sound.
    pub ticks: u32,
    /// What it carries.
    pub kind: Kind,
    /// Its octets.
    pub payload: &'a [u8],
}

/// What did not go smoothly, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Concealed.
    pub lost: u64,
    /// Came after they had been concealed.
    pub late: u64,
    /// Came twice.
    pub twice: u64,
}

struct Slot {
    sequence: u16,
    timestamp: u32,
    ticks: u32,
    kind: Kind,
    length: u16,
    came: Instant,
}

/// Packets of one source in their order.
pub struct Buffer {
    slots: [Slot; SLOTS],
    /// A bit for each slot that holds a packet.
    taken: u16,
    octets: Box<[[u8; PAYLOAD]]>,
    place: Option<Place>,
    punctuality: Punctuality,
    /// How long packets of sound waited here of late, in microseconds.
    waited: u32,
    troubles: Troubles,
}

/// Where the source stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The number that is expected next.
    sequence: u16,
    /// The timestamp at which sound is expected next.
    timestamp: u32,
    /// Ticks of the last packet of sound.
    ticks: u32,
    /// Ticks concealed since.
    concealed: u32,
    /// Packets in a row that came too late.
    late: u8,
}

impl Buffer {
    /// For a source whose timestamps count at `clock_rate` Hz; a missing packet is waited for at most for `most`.
    pub fn new(clock_rate: u32, most: Duration) -> Buffer {
        Buffer {
            slots: std::array::from_fn(|_| Slot::EMPTY),
            taken: 0,
            octets: vec![[0; PAYLOAD]; SLOTS].into_boxed_slice(),
            place: None,
            punctuality: Punctuality::new(clock_rate, most),
            waited: 0,
            troubles: Troubles::default(),
        }
    }

    /// Begins anew with another source.
    pub fn restart(&mut self) {
        self.taken = 0;
        self.place = None;
        self.punctuality.restart();
    }

    /// How long sound waits here, on average of late. What is in order does not.
    pub fn wait(&self) -> Duration {
        Duration::from_micros(self.waited.into())
    }

    /// What did not go smoothly so far.
    pub fn troubles(&self) -> Troubles {
        self.troubles
    }

    /// A packet that is in order while nothing waits need not be kept: `true` when it is to be played now, before what
    /// [`Buffer::next`] says.
    pub fn passes(&mut self, arrival: &Arrival<'_>, now: Instant) -> bool {
        let Some(place) = self.place.as_mut() else { return false };
        let slot = Slot::of(arrival, now);
        let missing = slot.timestamp.wrapping_sub(place.timestamp) as i32;
        if self.taken != 0 || arrival.sequence != place.sequence || place.is_past(&slot, missing) {
            return false;
        }
        if arrival.kind == Kind::Sound {
            self.punctuality.note(arrival.timestamp, now);
            note_wait(&mut self.waited, Duration::ZERO);
        }
        place.play(&slot, &self.punctuality);
        true
    }

    /// Takes a packet. [`Buffer::next`] says what can be played now.
    pub fn insert(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let place = *self.place.get_or_insert(Place {
            sequence: arrival.sequence,
            timestamp: arrival.timestamp,
            ticks: arrival.ticks,
            concealed: 0,
            late: 0,
        });
        if arrival.kind == Kind::Sound {
            self.punctuality.note(arrival.timestamp, now);
        }
        let ahead = arrival.sequence.wrapping_sub(place.sequence);
        if ahead > 1 << 15 {
            self.troubles.late += 1;
            return;
        }
        if usize::from(ahead) >= SLOTS {
            // The peer went on far away: what waits has no continuation any more.
            self.taken = 0;
            self.place =
                Some(Place { sequence: arrival.sequence, timestamp: arrival.timestamp, concealed: 0, ..place });
        }
        let at = usize::from(arrival.sequence) % SLOTS;
        if self.taken & 1 << at != 0 {
            self.troubles.twice += 1;
            return;
        }
        let slot = Slot::of(arrival, now);
        let length = usize::from(slot.length);
        self.octets[at][..length].copy_from_slice(&arrival.payload[..length]);
        self.slots[at] = slot;
        self.taken |= 1 << at;
    }

    /// What is to be played now; `None` until a packet comes or [`Buffer::due`].
    pub fn next(&mut self, now: Instant) -> Option<Next<'_>> {
        loop {
            let place = self.place.as_mut()?;
            let Some(at) = first(self.taken, place.sequence) else { return self.without(now) };
            let slot = &self.slots[at];
            let missing = slot.timestamp.wrapping_sub(place.timestamp) as i32;
            if place.is_past(slot, missing) {
                self.taken &= !(1 << at);
                place.sequence = slot.sequence.wrapping_add(1);
                place.late += 1;
                self.troubles.late += 1;
                continue;
            }
            let in_order = slot.sequence == place.sequence || place.ticks == 0;
            if in_order || missing <= 0 || missing > far(place.ticks) || faded(place, &self.punctuality) {
                self.taken &= !(1 << at);
                if slot.kind == Kind::Sound {
                    note_wait(&mut self.waited, now.since(slot.came));
                }
                place.play(slot, &self.punctuality);
                let (kind, timestamp, length) = (slot.kind, slot.timestamp, slot.length);
                let payload = &self.octets[at][..usize::from(length)];
                return Some(Next::Packet { kind, timestamp, payload });
            }
            if now < self.punctuality.overdue(place) {
                return None;
            }
            let ticks = place.ticks.clamp(1, missing.unsigned_abs());
            let (timestamp, last) = (place.timestamp, ticks == missing.unsigned_abs());
            conceal(place, ticks);
            if last {
                place.sequence = slot.sequence;
            }
            self.troubles.lost += 1;
            let length = usize::from(slot.length);
            let next = (last && slot.kind == Kind::Sound).then(|| &self.octets[at][..length]);
            return Some(Next::Lost { timestamp, ticks, next });
        }
    }

    /// Nothing waits: the source is late, or has stopped.
    fn without(&mut self, now: Instant) -> Option<Next<'_>> {
        let place = self.place.as_mut()?;
        if place.ticks == 0 || faded(place, &self.punctuality) || now < self.punctuality.overdue(place) {
            return None;
        }
        let (timestamp, ticks) = (place.timestamp, place.ticks);
        conceal(place, ticks);
        self.troubles.lost += 1;
        Some(Next::Lost { timestamp, ticks, next: None })
    }

    /// When the sound that follows all that was played would come by the fastest path; `None` before any came.
    pub fn expected(&self) -> Option<Instant> {
        self.punctuality.expected(self.place?.timestamp)
    }

    /// How late nearly all packets are at most, within what is waited for.
    pub fn lateness(&self) -> Duration {
        self.punctuality.late.usual().min(self.punctuality.most)
    }

    /// When [`Buffer::next`] has something to say though no packet comes.
    pub fn due(&self) -> Option<Instant> {
        let place = self.place.as_ref().filter(|place| place.ticks > 0 && !faded(place, &self.punctuality))?;
        Some(self.punctuality.overdue(place))
    }
}

impl Place {
    /// Was the time of this packet concealed? Not when that happens again and again: there are peers whose timestamps
    /// do not keep up with their sound.
    fn is_past(&self, slot: &Slot, missing: i32) -> bool {
        let past = missing < 0 && missing > -far(self.ticks);
        past && slot.kind == Kind::Sound && self.concealed > 0 && self.late < LATE
    }

    fn play(&mut self, slot: &Slot, punctuality: &Punctuality) {
        self.sequence = slot.sequence.wrapping_add(1);
        if slot.kind == Kind::Sound {
            if slot.timestamp == self.timestamp {
                self.late = 0;
            }
            self.timestamp = slot.timestamp.wrapping_add(slot.ticks);
            self.ticks = slot.ticks;
            self.concealed = if self.late < LATE { 0 } else { punctuality.ticks(FADED) };
        } else {
            // The peer says something else, or that it pauses: no sound is missing.
            self.concealed = punctuality.ticks(FADED);
        }
    }
}

impl Slot {
    const EMPTY: Slot =
        Slot { sequence: 0, timestamp: 0, ticks: 0, kind: Kind::Sound, length: 0, came: Instant::START };

    fn of(arrival: &Arrival<'_>, came: Instant) -> Slot {
        let Arrival { sequence, timestamp, ticks, kind, payload } = *arrival;
        Slot { sequence, timestamp, ticks, kind, length: payload.len().min(PAYLOAD) as u16, came }
    }
}

/// Of the slots that are taken the one that comes first, counted from `sequence`.
fn first(taken: u16, sequence: u16) -> Option<usize> {
    let from = usize::from(sequence) % SLOTS;
    let ahead = taken.rotate_right(from as u32).trailing_zeros() as usize;
    (taken != 0).then_some((from + ahead) % SLOTS)
}

/// Half of the past is forgotten after 88 packets.
fn note_wait(waited: &mut u32, wait: Duration) {
    let wait = u32::try_from(wait.as_micros()).unwrap_or(u32::MAX);
    *waited = *waited - *waited / 128 + wait / 128;
}

fn conceal(place: &mut Place, ticks: u32) {
    place.timestamp = place.timestamp.wrapping_add(ticks);
    place.concealed += ticks;
}

fn faded(place: &Place, punctuality: &Punctuality) -> bool {
    place.concealed >= punctuality.ticks(FADED)
}

/// A step of timestamps beyond this is no loss: the source paused or began anew.
fn far(ticks: u32) -> i32 {
    (ticks.max(1) as i32).saturating_mul(SLOTS as i32)
}

/// When packets come, measured against the fastest of them.
#[derive(Debug)]
struct Punctuality {
    clock_rate: u32,
    most: Duration,
    reference: Option<Reference>,
    /// Packets since the fastest path was last reconsidered, and by how much all of them were late.
    noted: u32,
    least: Duration,
    late: Lateness,
}

/// The timestamp that would arrive at this time by the fastest path.
#[derive(Clone, Copy, Debug)]
struct Reference {
    timestamp: u32,
    at: Instant,
}

impl Punctuality {
    fn new(clock_rate: u32, most: Duration) -> Punctuality {
        let late = Lateness::default();
        Punctuality { clock_rate, most, reference: None, noted: 0, least: Duration::MAX, late }
    }

    fn restart(&mut self) {
        self.reference = None;
    }

    fn begin(&mut self, timestamp: u32, at: Instant) {
        self.reference = Some(Reference { timestamp, at });
        (self.noted, self.least) = (0, Duration::MAX);
    }

    fn ticks(&self, time: Duration) -> u32 {
        (time.as_micros() as u64 * u64::from(self.clock_rate) / 1_000_000) as u32
    }

    fn time(&self, ticks: u32) -> Duration {
        Duration::from_micros(u64::from(ticks) * 1_000_000 / u64::from(self.clock_rate.max(1)))
    }

    /// A packet with this timestamp came.
    fn note(&mut self, timestamp: u32, now: Instant) {
        let Some(expected) = self.expected(timestamp).filter(|expected| close(*expected, now)) else {
            return self.begin(timestamp, now);
        };
        let lateness = now.since(expected);
        self.late.note(lateness);
        (self.noted, self.least) = (self.noted + 1, self.least.min(lateness));
        if lateness.is_zero() {
            self.begin(timestamp, now);
        } else if self.noted >= WINDOW || self.noted >= DETOUR && self.least >= self.most {
            self.begin(timestamp, expected + self.least);
        }
    }

    /// When a packet with this timestamp would come by the fastest path.
    fn expected(&self, timestamp: u32) -> Option<Instant> {
        let Reference { timestamp: known, at } = self.reference?;
        let step = timestamp.wrapping_sub(known) as i32;
        let time = self.time(step.unsigned_abs());
        Some(if step >= 0 { at + time } else { Instant::at(at.since_start().saturating_sub(time)) })
    }

    /// Until when the packet that is expected next is waited for.
    fn overdue(&self, place: &Place) -> Instant {
        let least = self.time(place.ticks) * PATIENCE.0 / PATIENCE.1;
        let allowance = self.late.usual().max(least).min(self.most);
        self.expected(place.timestamp).map_or(Instant::START, |expected| expected + allowance)
    }
}

/// Within what a network delays: beyond it the source's time has jumped.
fn close(expected: Instant, now: Instant) -> bool {
    const JUMP: Duration = Duration::from_secs(2);
    now.since(expected) < JUMP && expected.since(now) < JUMP
}

/// How late packets are: a histogram that forgets, so that its high percentile follows the network within seconds.
#[derive(Debug)]
struct Lateness {
    shares: [f32; Lateness::BINS],
    /// What a packet counts for now: more than the one before, which is the same as to forget.
    weight: f32,
    /// The bin that nearly all packets keep, looked for from time to time.
    usual: u32,
    noted: u32,
}

impl Default for Lateness {
    fn default() -> Lateness {
        let mut shares = [0.0; Lateness::BINS];
        shares[0] = 1.0;
        Lateness { shares, weight: 1.0 - Lateness::KEPT, usual: 0, noted: 0 }
    }
}

impl Lateness {
    const BIN: Duration = Duration::from_millis(5);
    const BINS: usize = 64;
    /// Of the past, per packet: half is forgotten after some 350 packets, 7 s.
    const KEPT: f32 = 0.998;
    /// The share of packets that is not waited for.
    const GIVEN_UP: f32 = 0.003;
    /// It is looked what is usual every so many packets.
    const OFTEN: u32 = 16;

    fn note(&mut self, late: Duration) {
        let bin = (late.as_micros() / Lateness::BIN.as_micros()) as usize;
        let bin = bin.min(Lateness::BINS - 1);
        self.weight /= Lateness::KEPT;
        self.shares[bin] += self.weight;
        self.noted += 1;
        // A packet that is later than usual counts at once.
        if bin as u32 > self.usual || self.noted.is_multiple_of(Lateness::OFTEN) {
            self.look();
        }
    }

    fn look(&mut self) {
        let whole = 1.0 / self.shares.iter().sum::<f32>();
        self.shares.iter_mut().for_each(|share| *share *= whole);
        self.weight = 1.0 - Lateness::KEPT;
        let mut beyond = 0.0;
        let bin = self.shares.iter().rposition(|share| {
            beyond += share;
            beyond > Lateness::GIVEN_UP
        });
        self.usual = bin.unwrap_or(0) as u32;
    }

    /// What nearly all packets keep.
    fn usual(&self) -> Duration {
        Lateness::BIN * (self.usual + 1)
    }
}

#[cfg(test)]
mod tests;
