//! A side of a session that is a timeslot: its bearer, and the sound on it.
//!
//! ```text
//! packets ─▶ outbound (pace, digits as tones) ─┐
//! tones, music ────────────────────────────────┼─▶ gain ─▶ law ─────┬──────▶ bearer
//! other line ─▶ store (slips), law ────────────┘                    │ echo
//! packets ◀─ inbound (digits, packet time) ◀─┬─ gain ◀─ canceller ◀─┴─────── bearer
//! other line ◀─ law ◀────────────────────────┘
//! ```
//!
//! The span is the clock: for each block that comes, one goes, whatever there is to say. So much is said in advance as a late
//! wake-up may cost ([`LEAD`]). If it was later still, the line had nothing to say: what it should have said by then is left
//! out, so that the delay stays what it was.

pub mod inbound;
pub mod outbound;
pub mod store;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use firmware_io::Bearer;

use crate::media::codec::g711::{self, Law};
use crate::media::echo::{BLOCK, Canceller};
use crate::media::kernels::Kernels;
use crate::media::mix::Gain;
use crate::session::{Counters, Machine, Tail, Timeslot};
use crate::time::Instant;
use store::Store;

/// Octets that are said in advance: 10 ms.
const LEAD: usize = 2 * BLOCK;
/// Octets that are read at once: half a second, more than a driver keeps. What is read at once was on the line before anything
/// that is said after.
const ROOM: usize = 100 * BLOCK;
/// Readings of what waits in a bearer that is seized: more than any driver keeps.
const STALE: usize = 64;
/// How long a block is.
const PACE: Duration = Duration::from_millis(5);
/// What is forgotten of a lateness with each block: octets that a driver has lost shift the line's pace for good.
const FORGOTTEN: Duration = Duration::from_micros(100);
/// The mean square above which a line says something: -42 dBm0. It is never silent.
const AUDIBLE: i64 = 16_500;

/// A line's bearer and the law that is spoken on it.
pub struct Seized {
    bearer: Box<dyn Bearer>,
    law: Law,
    /// What the line said: whole blocks, and the beginning of the next.
    octets: [u8; ROOM],
    filled: usize,
    /// Octets that were said in advance.
    ahead: usize,
    /// When the next block is due, by the fastest of those shortly before.
    due: Option<Instant>,
    underruns: u64,
    overruns: u64,
}

impl Seized {
    /// Says silence in advance; what waits to be read is of another call.
    pub fn new(mut bearer: Box<dyn Bearer>, law: Law) -> io::Result<Seized> {
        let mut octets = [0; ROOM];
        for _ in 0..STALE {
            if bearer.read(&mut octets)? == 0 {
                break;
            }
        }
        let ahead = bearer.write(&[law.silence(); LEAD])?;
        Ok(Seized { bearer, law, octets, filled: 0, ahead, due: None, underruns: 0, overruns: 0 })
    }

    /// Readable when there is something to do.
    pub fn ready(&self) -> BorrowedFd<'_> {
        self.bearer.ready()
    }

    /// The bearer, to go home.
    pub fn release(self) -> Box<dyn Bearer> {
        self.bearer
    }

    /// The law that is spoken.
    pub fn law(&self) -> Law {
        self.law
    }

    /// Does the card take the echo out of what it reads?
    pub fn cancels_echo(&self) -> bool {
        self.bearer.cancels_echo()
    }

    /// The next whole block that the line said, and when it was due.
    pub fn read(&mut self, now: Instant) -> io::Result<Option<([u8; BLOCK], Instant)>> {
        if self.filled < BLOCK {
            let count = self.bearer.read(&mut self.octets[self.filled..])?;
            self.filled += count;
            self.underruns += u64::from(count > self.ahead);
            self.ahead = self.ahead.saturating_sub(count);
        }
        if self.filled < BLOCK {
            return Ok(None);
        }
        let block = std::array::from_fn(|at| self.octets[at]);
        self.octets.copy_within(BLOCK..self.filled, 0);
        self.filled -= BLOCK;
        let due = self.due.map_or(now, |due| due.min(now));
        self.due = Some(due + PACE + FORGOTTEN);
        Ok(Some((block, due)))
    }

    /// What the line hears next. What is more than shall be said in advance is late, and not said.
    pub fn write(&mut self, octets: &[u8; BLOCK]) -> io::Result<()> {
        if self.ahead < LEAD {
            let taken = self.bearer.write(octets)?;
            self.overruns += u64::from(taken < BLOCK);
            self.ahead += taken;
        }
        Ok(())
    }

    /// What went wrong, beside that.
    pub fn count(&self, counters: &mut Counters) {
        (counters.underruns, counters.overruns) = (self.underruns, self.overruns);
    }
}

/// The sound on a line.
pub struct Line {
    law: Law,
    receive: Gain,
    transmit: Gain,
    tail: Option<Tail>,
    canceller: Canceller,
    /// What another line says.
    store: Store,
    blocks: u32,
}

/// What a line said in a block.
pub struct Block {
    /// How many were before it.
    pub number: u32,
    /// Without echo.
    pub sound: [i16; BLOCK],
    /// The same in the line's law.
    pub octets: [u8; BLOCK],
    /// Nothing was done with it.
    pub as_it_came: bool,
    /// It is a modem's or a fax's: not talk.
    pub untouched: bool,
    /// That began with this block.
    pub began: Option<Machine>,
}

impl Block {
    /// Does the line say something? It is never silent.
    pub fn is_audible(&self) -> bool {
        let squares: i64 = self.sound.iter().map(|sample| i64::from(*sample) * i64::from(*sample)).sum();
        squares > AUDIBLE * BLOCK as i64
    }
}

impl Line {
    /// Of this law, with this done to its sound. It may allocate: nothing waits for it.
    pub fn new(law: Law, timeslot: &Timeslot) -> Line {
        let canceller = timeslot.canceller.map_or_else(Canceller::idle, Canceller::new);
        let mut line = Line {
            law,
            receive: Gain::UNITY,
            transmit: Gain::UNITY,
            tail: timeslot.canceller,
            canceller,
            store: Store::new(),
            blocks: 0,
        };
        line.set(timeslot);
        line
    }

    /// May it go on with this law and this done to its sound?
    pub fn suits(&self, law: Law, timeslot: &Timeslot) -> bool {
        (self.law, self.tail) == (law, timeslot.canceller)
    }

    /// From now on these gains.
    pub fn set(&mut self, timeslot: &Timeslot) {
        self.receive = Gain::of_db(timeslot.receive_gain);
        self.transmit = Gain::of_db(timeslot.transmit_gain);
    }

    /// Silence on this line.
    pub fn silence(&self) -> [u8; BLOCK] {
        [self.law.silence(); BLOCK]
    }

    /// Sound as octets of this line.
    pub fn encode(&self, sound: &[i16; BLOCK]) -> [u8; BLOCK] {
        let mut octets = [0; BLOCK];
        g711::encode(self.law, sound, &mut octets);
        octets
    }

    fn decode(&self, octets: &[u8; BLOCK]) -> [i16; BLOCK] {
        let mut sound = [0; BLOCK];
        g711::decode(self.law, octets, &mut sound);
        sound
    }

    /// What another line says, to be heard by this one.
    pub fn put(&mut self, octets: &[u8; BLOCK], law: Law, now: Instant) {
        let mut octets = *octets;
        if law != self.law {
            g711::convert(law, &mut octets);
        }
        self.store.put(&octets, now);
    }

    /// The next of what another line says, or silence.
    pub fn take(&mut self, now: Instant) -> [u8; BLOCK] {
        let mut octets = self.silence();
        self.store.take(&mut octets, self.law.silence(), now);
        octets
    }

    /// A block each way: `heard` is what the line is to hear, to which its gain is put; `said` what came from it meanwhile.
    pub fn exchange(&mut self, heard: &mut [u8; BLOCK], said: &[u8; BLOCK]) -> Block {
        if self.transmit != Gain::UNITY && self.canceller.untouched().is_none() {
            *heard = self.encode(&louder(self.transmit, &self.decode(heard)));
        }
        let came = self.decode(said);
        let mut sound = came;
        let before = self.canceller.untouched();
        self.canceller.cancel(&self.decode(heard), &mut sound);
        let machine = self.canceller.untouched();
        let (untouched, began) = (machine.is_some(), machine.filter(|_| machine != before));
        let number = self.blocks;
        self.blocks = self.blocks.wrapping_add(1);
        if self.receive != Gain::UNITY && !untouched {
            sound = louder(self.receive, &sound);
        }
        let as_it_came = sound == came;
        let octets = if as_it_came { *said } else { self.encode(&sound) };
        Block { number, sound, octets, as_it_came, untouched, began }
    }

    /// What went wrong on the line, beside that.
    pub fn count(&self, counters: &mut Counters) {
        counters.slips = self.store.slips();
    }
}

fn louder(gain: Gain, sound: &[i16; BLOCK]) -> [i16; BLOCK] {
    let mut louder = [0; BLOCK];
    Kernels::best().amplify(gain, sound, &mut louder);
    louder
}
