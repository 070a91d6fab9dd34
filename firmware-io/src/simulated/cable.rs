//! A cable and both its ends, a millisecond a time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::end::{End, Port};
use super::way::{Signal, Way};
use crate::line::Line;

const MILLISECOND: Duration = Duration::from_millis(1);
/// A millisecond of an end's clock, nanoseconds.
const TICK_NS: i64 = 1_000_000;
/// No clock is worse: 5,000 ppm.
const WORST_PPM: i32 = 5000;

/// One of the two ends of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first that [`Cable::new`] gives.
    Near,
    /// The second.
    Far,
}

/// What a direction of a cable does with the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// It carries it.
    Good,
    /// It is broken: nothing comes (LOS).
    Cut,
    /// It carries pulses without framing, as between ends configured differently (LOF).
    Garbled,
}

/// What happens to a cable and its clocks; may be changed from any thread at any time.
#[derive(Debug)]
pub struct Disturbance {
    /// By side that sends.
    wires: [AtomicU8; 2],
    clocks: [AtomicI32; 2],
    /// The bits of an f64.
    error_rate: AtomicU64,
}

impl Disturbance {
    fn new() -> Disturbance {
        Disturbance {
            wires: [AtomicU8::new(0), AtomicU8::new(0)],
            clocks: [AtomicI32::new(0), AtomicI32::new(0)],
            error_rate: AtomicU64::new(0f64.to_bits()),
        }
    }

    /// Pulls the plug: nothing comes at either end.
    pub fn pull(&self) {
        self.wire(Side::Near, Wire::Cut);
        self.wire(Side::Far, Wire::Cut);
    }

    /// Puts the plug back, and mends what was cut or garbled.
    pub fn put_back(&self) {
        self.wire(Side::Near, Wire::Good);
        self.wire(Side::Far, Wire::Good);
    }

    /// What becomes of what this side sends.
    pub fn wire(&self, sender: Side, wire: Wire) {
        let code = match wire {
            Wire::Good => 0,
            Wire::Cut => 1,
            Wire::Garbled => 2,
        };
        self.wires[sender as usize].store(code, Ordering::Relaxed);
    }

    /// How fast the side's clock runs, parts per million before true time; at most 5,000 either way.
    pub fn clock(&self, side: Side, ppm: i32) {
        self.clocks[side as usize].store(ppm.clamp(-WORST_PPM, WORST_PPM), Ordering::Relaxed);
    }

    /// The share of bits that are turned over on the way, 0 to 1.
    pub fn bit_errors(&self, rate: f64) {
        self.error_rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    fn signal(&self, sender: usize, sent: Signal) -> Signal {
        match self.wires[sender].load(Ordering::Relaxed) {
            0 => sent,
            1 => Signal::Nothing,
            _ => Signal::Unframed,
        }
    }

    fn ppm(&self, side: usize) -> i64 {
        self.clocks[side].load(Ordering::Relaxed).into()
    }
}

/// A cable with a span at either end.
#[derive(Debug)]
pub struct Cable {
    ports: [Port; 2],
    /// By side that sends.
    ways: [Way; 2],
    /// How far each end's clock is into its next millisecond.
    phase_ns: [i64; 2],
    /// Time that passed and was too short to move anything.
    rest: Duration,
    disturbance: Arc<Disturbance>,
}

impl Cable {
    /// A good cable and its ends. Everything that happens by chance on it follows from the seed.
    pub fn new(line: Line, seed: u64) -> io::Result<(Cable, End, End)> {
        let (near_port, near) = Port::new(line)?;
        let (far_port, far) = Port::new(line)?;
        let cable = Cable {
            ports: [near_port, far_port],
            ways: [Way::new(line, seed), Way::new(line, !seed)],
            phase_ns: [TICK_NS / 2; 2],
            rest: Duration::ZERO,
            disturbance: Arc::new(Disturbance::new()),
        };
        Ok((cable, near, far))
    }

    /// What may be done to the cable.
    pub fn disturbance(&self) -> Arc<Disturbance> {
        Arc::clone(&self.disturbance)
    }

    /// Lets time pass on the line. Nothing is allocated, nothing waits.
    pub fn advance(&mut self, elapsed: Duration) {
        self.rest += elapsed;
        while self.rest >= MILLISECOND {
            self.rest -= MILLISECOND;
            self.millisecond();
        }
    }

    /// Does anybody hold an end, a bearer or a D-channel of it?
    pub fn is_in_use(&self) -> bool {
        self.ports.iter().any(Port::is_in_use)
    }

    fn millisecond(&mut self) {
        let [near, far] = [0, 1].map(|side| self.disturbance.ppm(side));
        self.ways[0].drift(near - far);
        self.ways[1].drift(far - near);
        for (side, ppm) in [near, far].into_iter().enumerate() {
            // A part per million of a millisecond is a nanosecond.
            self.phase_ns[side] += TICK_NS + ppm;
            while self.phase_ns[side] >= TICK_NS {
                self.phase_ns[side] -= TICK_NS;
                self.tick(side);
            }
        }
        for (port, way) in self.ports.iter_mut().zip(self.ways.iter().rev()) {
            port.millisecond(way.signal());
        }
        for (port, far) in self.ports.iter().zip(self.ports.iter().rev()) {
            if !far.is_in_use() {
                port.lose();
            }
        }
    }

    /// A millisecond by the clock of one side.
    fn tick(&mut self, side: usize) {
        let rate = f64::from_bits(self.disturbance.error_rate.load(Ordering::Relaxed));
        let (heard, damage) = self.ways[1 - side].take();
        let (said, signal) = self.ports[side].tick(heard, damage);
        self.ways[side].put(said, self.disturbance.signal(side, signal), rate);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.ports.iter().for_each(Port::lose);
    }
}
