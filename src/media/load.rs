//! How busy and how punctual a media thread is, and whether packets shall gather before it wakes.

use std::time::Duration;

use crate::media::io::Gather;
use crate::session::{Codec, Late, Remote, Session};
use crate::time::Instant;

/// What a session costs its thread, in tenths of a microsecond a packet as they were measured. One that has nothing agreed
/// counts as one that is relayed.
pub fn weight(session: &Session) -> u32 {
    let [Some(a), Some(b)] = &session.sides else { return RELAYED };
    match [a.remote, b.remote] {
        [Remote::Timeslot(line), _] | [_, Remote::Timeslot(line)] if line.canceller.is_some() => return CANCELLED,
        [Remote::Timeslot(_), _] | [_, Remote::Timeslot(_)] => return LINE,
        [Remote::Rtp(_), Remote::Rtp(_)] => {}
    }
    let either = |codec| a.codec == codec || b.codec == codec;
    match () {
        () if a.codec == b.codec => RELAYED,
        () if either(Codec::Opus) => 400,
        () if either(Codec::G722) => 130,
        () => RELAYED,
    }
}

/// What a relayed packet costs, in the unit of [`weight`].
pub const RELAYED: u32 = 60;
/// What 20 ms of a timeslot and the packet that they become cost; the same with a canceller of 128 ms.
const LINE: u32 = 180;
const CANCELLED: u32 = 360;

/// How late deadlines were met within a second.
#[derive(Debug)]
pub struct Lateness {
    since: Instant,
    worst: Duration,
    met: u32,
    /// How many of them in each [`Lateness::BIN`], later ones in the last.
    bins: [u32; Lateness::BINS],
}

impl Default for Lateness {
    fn default() -> Lateness {
        Lateness::since(Instant::START)
    }
}

impl Lateness {
    const BIN: Duration = Duration::from_micros(20);
    const BINS: usize = 128;

    fn since(since: Instant) -> Lateness {
        Lateness { since, worst: Duration::ZERO, met: 0, bins: [0; Lateness::BINS] }
    }

    /// A deadline was met; how late those of the second before this one were.
    pub fn note(&mut self, due: Instant, now: Instant) -> Option<Late> {
        let over =
            (now.since(self.since) >= Duration::from_secs(1)).then(|| Late { most: self.most(), worst: self.worst });
        if over.is_some() {
            *self = Lateness::since(now);
        }
        let late = now.since(due);
        let bin = (late.as_micros() / Lateness::BIN.as_micros()).min(Lateness::BINS as u128 - 1);
        self.bins[bin as usize] += 1;
        (self.met, self.worst) = (self.met + 1, self.worst.max(late));
        over
    }

    /// What 99 of a hundred were not later than.
    fn most(&self) -> Duration {
        let mut rest = self.met - self.met / 100;
        let bin = self.bins.iter().position(|met| {
            rest = rest.saturating_sub(*met);
            rest == 0
        });
        let bin = bin.filter(|bin| bin + 1 < Lateness::BINS);
        bin.map_or(self.worst, |bin| self.worst.min(Lateness::BIN * (bin as u32 + 1)))
    }
}

/// How busy the thread is: the share of time in which it does not wait.
#[derive(Debug, Default)]
pub struct Load {
    since: Instant,
    share: f32,
}

impl Load {
    /// From one wake-up to the end of its work; before that it waited.
    pub fn worked(&mut self, woken: Instant, done: Instant) {
        let whole = done.since(std::mem::replace(&mut self.since, done)).as_secs_f32().max(1e-6);
        let share = (done.since(woken).as_secs_f32() / whole).min(1.0);
        // A second is forgotten after a second.
        self.share += (share - self.share) * whole.min(1.0);
    }

    /// In percent.
    pub fn percent(&self) -> u8 {
        (self.share * 100.0) as u8
    }
}

/// Whether packets shall gather while the thread sleeps. A packet of few is served at once. Where there are more and they
/// come evenly, a wake-up for each costs more than all other work; where they come in lumps, waiting for more only adds
/// wake-ups. So both are tried from time to time, and what costs less is gone on with.
#[derive(Debug, Default)]
pub struct Pause {
    since: Instant,
    /// Packets a second, by the last wake-ups.
    rate: f32,
    gathering: bool,
    /// What a packet cost without and with gathering, in seconds.
    costs: [Option<f32>; 2],
    window: Window,
    /// Windows since both were tried.
    windows: u32,
}

/// A stretch of time in which one way is gone.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Instant,
    /// What the thread had spent by then.
    spent: Duration,
    packets: usize,
}

impl Pause {
    /// What a pause adds to a packet's delay at most.
    const MOST: Duration = Duration::from_micros(400);
    /// Packets that a wake-up shall find, or those of this time where that is more.
    const WANTED: usize = 12;
    const ENOUGH: Duration = Duration::from_micros(250);
    /// Packets a second from which on it is tried.
    const SOME: f32 = 4000.0;
    /// How long one way is gone before it is judged.
    const WINDOW: Duration = Duration::from_millis(100);
    /// From one trial to the next.
    const TRIALS: u32 = 20;
    /// The share of the cost that gathering must leave: it delays packets.
    const WORTH: f32 = 0.9;
    /// A thread at work for more of the time than that goes on with gathering: while it tried the dearer way it would fall behind.
    const BUSY: f32 = 0.65;

    /// A wake-up found so many packets; `spent` is the processor's time that the thread has taken in all.
    pub fn woken(&mut self, now: Instant, packets: usize, spent: impl FnOnce() -> Duration) {
        let time = now.since(std::mem::replace(&mut self.since, now)).as_secs_f32().max(1e-6);
        // What a tenth of a second showed counts; a long silence counts at once.
        let weight = (time * 10.0).min(1.0);
        self.rate += (packets as f32 / time - self.rate) * weight;
        self.window.packets += packets;
        if now.since(self.window.since) >= Pause::WINDOW {
            self.judge(Window { since: now, spent: spent(), packets: 0 });
        }
    }

    fn judge(&mut self, next: Window) {
        let before = std::mem::replace(&mut self.window, next);
        if self.rate < Pause::SOME {
            *self = Pause { since: self.since, rate: self.rate, window: next, ..Pause::default() };
            return;
        }
        let spent = next.spent.saturating_sub(before.spent);
        let busy = spent > next.since.since(before.since).mul_f32(Pause::BUSY);
        let cost = spent.as_secs_f32() / before.packets.max(1) as f32;
        let known = &mut self.costs[usize::from(self.gathering)];
        *known = Some(known.map_or(cost, |known| known + (cost - known) / 4.0));
        self.windows = (self.windows + 1) % Pause::TRIALS;
        self.gathering = match (self.windows, self.costs) {
            _ if busy && self.gathering => true,
            (0, _) | (_, [None, _]) => false,
            (1, _) | (_, [_, None]) => true,
            (_, [Some(without), Some(with)]) => with < without * Pause::WORTH,
        };
    }

    /// What the next wake-up shall wait for.
    pub fn gather(&self) -> Option<Gather> {
        let packets = Pause::WANTED.max((self.rate * Pause::ENOUGH.as_secs_f32()) as usize);
        let most = Duration::from_secs_f32(packets as f32 / self.rate.max(1.0)).min(Pause::MOST);
        let gathering = self.gathering && self.rate >= Pause::SOME;
        gathering.then_some(Gather { packets, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of ten seconds in which packets gathered, where so many came a second and one cost so many µs,
    /// without and with gathering.
    fn share(rate: u32, costs: [u64; 2]) -> f32 {
        let (mut pause, mut spent, mut gathered) = (Pause::default(), Duration::ZERO, 0);
        for packet in 0..10 * rate {
            let gathers = pause.gather().is_some();
            gathered += u32::from(gathers);
            spent += Duration::from_micros(costs[usize::from(gathers)]);
            let now = Instant::at(Duration::from_secs(1) * packet / rate);
            pause.woken(now, 1, || spent);
        }
        gathered as f32 / (10 * rate) as f32
    }

    #[test]
    fn packets_gather_where_that_costs_less() {
        assert_eq!(share(3500, [20, 5]), 0.0, "few are served at once");
        assert!(share(10_000, [20, 10]) > 0.9);
        assert!(share(10_000, [10, 12]) < 0.1, "it is tried all the same");
        assert!(share(10_000, [20, 19]) < 0.1, "it must be worth its delay");
    }

    #[test]
    fn what_has_become_dearer_is_left() {
        let (mut pause, mut spent) = (Pause::default(), Duration::ZERO);
        let mut second = |from: u64, costs: [u64; 2]| {
            let gathering = (0..10_000).filter(|packet| {
                let gathers = pause.gather().is_some();
                spent += Duration::from_micros(costs[usize::from(gathers)]);
                pause.woken(Instant::at(Duration::from_micros(1_000_000 * from + 100 * packet)), 1, || spent);
                gathers
            });
            gathering.count()
        };
        for at in 0..5 {
            second(at, [20, 10]);
        }
        assert!(second(5, [20, 10]) > 7000);
        for at in 6..26 {
            second(at, [10, 20]);
        }
        assert!(second(26, [10, 20]) < 3000);
    }

    #[test]
    fn a_busy_thread_tries_nothing_dearer() {
        assert!(share(60_000, [15, 12]) > 0.95, "72 % of its time, and no window without");
        assert!(share(60_000, [10, 6]) < 0.95, "36 %: one of twenty windows");
    }

    #[test]
    fn a_pause_is_as_long_as_the_packets_need() {
        let pause = |rate| {
            let gather = Pause { rate, gathering: true, ..Pause::default() }.gather()?;
            Some((gather.packets, gather.most.as_micros()))
        };
        assert_eq!(pause(10_000.0), Some((12, Pause::MOST.as_micros())));
        assert_eq!(pause(48_000.0), Some((12, 250)));
        assert_eq!(pause(192_000.0), Some((48, 250)), "many calls gather for as long as fewer do");
        assert_eq!(pause(100.0), None, "a silence ends the waiting");
    }

    #[test]
    fn the_worst_lateness_of_a_second_is_told_in_the_next() {
        let (mut lateness, at) = (Lateness::default(), |milliseconds| Instant::at(Duration::from_millis(milliseconds)));
        let told: Vec<_> = [(990, 991), (995, 999), (1500, 1501), (1990, 1992), (2600, 2600)]
            .into_iter()
            .filter_map(|(due, met)| lateness.note(at(due), at(met)))
            .map(|late| late.worst)
            .collect();
        assert_eq!(told, [4, 2].map(Duration::from_millis));
    }

    #[test]
    fn of_a_hundred_deadlines_the_latest_is_left_out_of_what_is_usual() {
        let at = |microseconds| Instant::at(Duration::from_micros(microseconds));
        let usual = |late: &dyn Fn(u64) -> u64| {
            let mut lateness = Lateness::default();
            let told = (0..=1000).filter_map(|number| {
                let due = 1000 * number;
                lateness.note(at(due), at(due + late(number)))
            });
            let told: Vec<_> = told.map(|late| (late.most.as_micros(), late.worst.as_micros())).collect();
            told[0]
        };
        assert_eq!(usual(&|_| 5), (5, 5));
        assert_eq!(usual(&|number| if number % 100 == 7 { 900 } else { 50 }), (60, 900));
        assert_eq!(usual(&|number| if number % 50 == 7 { 900 } else { 50 }), (900, 900));
        assert_eq!(usual(&|_| 30_000).0, 30_000, "beyond all bins");
    }

    #[test]
    fn load_is_the_share_of_time_at_work() {
        let (mut load, at) = (Load::default(), |milliseconds| Instant::at(Duration::from_millis(milliseconds)));
        (0..1000).for_each(|step| load.worked(at(10 * step + 3), at(10 * step + 10)));
        assert!((68..=70).contains(&load.percent()), "{}", load.percent());
        load.worked(at(20_000), at(20_001));
        assert_eq!(load.percent(), 0, "it rested");
    }
}
