//! How busy and how punctual a media thread is, and whether packets shall gather before it wakes.

use std::time::Duration;

use crate::media::io::{Gather, Woken};
use crate::session::{Codec, Session};
use crate::time::Instant;

/// What a session costs its thread, in tenths of a microsecond a packet as they were measured. One that has nothing agreed
/// counts as one that is relayed.
pub fn weight(session: &Session) -> u32 {
    let [Some(a), Some(b)] = &session.sides else { return RELAYED };
    let either = |codec| a.codec == codec || b.codec == codec;
    match () {
        () if a.codec == b.codec => RELAYED,
        () if either(Codec::Opus) => 400,
        () if either(Codec::G722) => 130,
        () => 100,
    }
}

/// What a relayed packet costs, in the unit of [`weight`].
pub const RELAYED: u32 = 60;

/// How late deadlines were met, at worst within a second.
#[derive(Debug, Default)]
pub struct Lateness {
    since: Instant,
    worst: Duration,
}

impl Lateness {
    /// A deadline was met; the worst of the second before this one.
    pub fn note(&mut self, due: Instant, now: Instant) -> Option<Duration> {
        let over = (now.since(self.since) >= Duration::from_secs(1)).then_some(self.worst);
        if over.is_some() {
            *self = Lateness { since: now, worst: Duration::ZERO };
        }
        self.worst = self.worst.max(now.since(due));
        over
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
/// come evenly, a wake-up for each costs more than all other work; where they come in lumps, waiting for more finds nothing
/// and costs a wake-up itself. So it is tried, and gone on with while it brings enough.
#[derive(Debug, Default)]
pub struct Pause {
    since: Instant,
    /// Packets a second, by the last wake-ups.
    rate: f32,
    /// Packets that gathered each time.
    worth: f32,
    /// It was not worth it: not before then.
    rest: Instant,
}

impl Pause {
    /// What a pause adds to a packet's delay at most.
    const MOST: Duration = Duration::from_micros(400);
    /// Packets that a wake-up shall find.
    const WANTED: usize = 12;
    /// Packets a second from which on it is tried.
    const SOME: f32 = 4000.0;
    /// Packets that make it worth while.
    const ENOUGH: f32 = 3.0;
    /// From one trial to the next.
    const REST: Duration = Duration::from_millis(200);

    /// What a wake-up found.
    pub fn woken(&mut self, now: Instant, woken: Woken) {
        let time = now.since(std::mem::replace(&mut self.since, now)).as_secs_f32().max(1e-6);
        // What a tenth of a second showed counts; a long silence counts at once.
        let weight = (time * 10.0).min(1.0);
        self.rate += (woken.packets as f32 / time - self.rate) * weight;
        if woken.gathered {
            self.worth += (woken.packets as f32 - self.worth) / 8.0;
        }
        if self.worth < Pause::ENOUGH {
            (self.rest, self.worth) = (now + Pause::REST, 2.0 * Pause::ENOUGH);
        }
    }

    /// What the next wake-up shall wait for.
    pub fn gather(&self) -> Option<Gather> {
        let gathering = self.rate >= Pause::SOME && self.since >= self.rest;
        let most = Duration::from_secs_f32(Pause::WANTED as f32 / self.rate.max(1.0)).min(Pause::MOST);
        gathering.then_some(Gather { packets: Pause::WANTED, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pause after two seconds of so many packets a second, of which so many gather each time.
    fn pause(rate: u32, gathered: usize) -> Option<Duration> {
        let (mut pause, mut now) = (Pause::default(), Duration::ZERO);
        while now < Duration::from_secs(2) {
            let gathers = pause.gather().is_some();
            let packets = if gathers { gathered } else { 1 };
            now += Duration::from_secs(1) * packets as u32 / rate;
            pause.woken(Instant::at(now), Woken { packets, gathered: gathers, called: false });
        }
        pause.gather().map(|gather| gather.most)
    }

    #[test]
    fn the_worst_lateness_of_a_second_is_told_in_the_next() {
        let (mut lateness, at) = (Lateness::default(), |milliseconds| Instant::at(Duration::from_millis(milliseconds)));
        let told: Vec<_> = [(990, 991), (995, 999), (1500, 1501), (1990, 1992), (2600, 2600)]
            .into_iter()
            .filter_map(|(due, met)| lateness.note(at(due), at(met)))
            .collect();
        assert_eq!(told, [4, 2].map(Duration::from_millis));
    }

    #[test]
    fn load_is_the_share_of_time_at_work() {
        let (mut load, at) = (Load::default(), |milliseconds| Instant::at(Duration::from_millis(milliseconds)));
        (0..1000).for_each(|step| load.worked(at(10 * step + 3), at(10 * step + 10)));
        assert!((68..=70).contains(&load.percent()), "{}", load.percent());
        load.worked(at(20_000), at(20_001));
        assert_eq!(load.percent(), 0, "it rested");
    }

    #[test]
    fn a_packet_waits_for_others_where_they_come() {
        assert_eq!([50, 1000, 3500].map(|rate| pause(rate, 8)), [None; 3]);
        assert_eq!(pause(10_000, 8), Some(Pause::MOST));
        assert_eq!(pause(10_000, 1), None, "they do not");
    }

    #[test]
    fn it_is_tried_again_after_a_rest() {
        let (mut pause, mut trials) = (Pause::default(), 0);
        for step in 0..10_000u64 {
            let gathered = pause.gather().is_some();
            trials += usize::from(gathered);
            let packets = if gathered { 0 } else { 2 };
            pause.woken(Instant::at(Duration::from_micros(100 * step)), Woken { packets, gathered, called: false });
        }
        assert!((10..60).contains(&trials), "{trials} in a second");
    }

    #[test]
    fn a_silence_ends_the_waiting() {
        let mut pause = Pause::default();
        let woken = |packets| Woken { packets, gathered: false, called: false };
        (0..4000).for_each(|packet| pause.woken(Instant::at(Duration::from_micros(100 * packet)), woken(1)));
        assert!(pause.gather().is_some());
        pause.woken(Instant::at(Duration::from_secs(2)), woken(0));
        assert_eq!(pause.gather(), None);
    }
}
