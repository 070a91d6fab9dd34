//! A peer, a network and ticks in virtual time. All is µ-law of 20 ms; the peer says a tone, unless told otherwise.

use super::*;
use crate::media::codec::Encoder;
use crate::media::peer::Kind;
use crate::session::Opus;
use crate::wire::rtp::Header;

const MOST: Duration = Duration::from_millis(120);
const FRAME: usize = 160;
const RATE: u32 = 8000;
/// The steepest step of the tone, with what µ-law adds to it.
const STEEPEST: i32 = 3100;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A tone of 437 Hz.
fn tone(at: u64) -> f64 {
    8000.0 * (std::f64::consts::TAU * 437.0 / f64::from(RATE) * (at % 8000) as f64).sin()
}

/// Syllables of a buzz of 120 Hz, and gaps between them with a faint noise.
fn words(at: u64) -> f64 {
    let noise = f64::from((at as u32).wrapping_mul(2_654_435_761) >> 16) / 65_536.0 * 40.0 - 20.0;
    let time = at as f64 / f64::from(RATE);
    let word = (time * 1.7).fract();
    let loud = if word < 0.7 { (word / 0.7 * std::f64::consts::PI).sin() } else { 0.0 };
    let buzz = (1..6).map(|n| (std::f64::consts::TAU * 120.0 * f64::from(n) * time).sin() / f64::from(n)).sum::<f64>();
    noise + loud * 5000.0 * buzz
}

struct Rig {
    pace: PacedPlayout,
    encoder: Encoder,
    /// How fast the peer's clock runs, in millionths.
    ppm: i64,
    /// What it says at a sample of its time.
    says: fn(u64) -> f64,
    /// The next packet.
    number: u64,
    /// Packets on their way: when they come, which, and of which source.
    coming: Vec<(Duration, u64, u32)>,
    ssrc: u32,
    known: Option<u32>,
    now: Duration,
    /// Ticks come so much after whole packet times.
    phase: Duration,
    heard: Vec<i16>,
    last: i16,
    /// The steepest step that was heard.
    steepest: i32,
    /// The loudest sample of a tick in which sound was left out or repeated.
    loudest_change: u16,
    /// The least and most delay.
    delay: (Duration, Duration),
}

impl Rig {
    fn new() -> Rig {
        Rig::with(Codec::Pcmu, RATE)
    }

    fn with(codec: Codec, rate: u32) -> Rig {
        Rig {
            pace: PacedPlayout::new(codec, rate, MOST).unwrap(),
            encoder: Encoder::new(codec, rate, &Opus::default()).unwrap(),
            ppm: 0,
            says: tone,
            number: 0,
            coming: Vec::new(),
            ssrc: 1,
            known: None,
            now: Duration::ZERO,
            phase: ms(7),
            heard: Vec::new(),
            last: 0,
            steepest: 0,
            loudest_change: 0,
            delay: (Duration::MAX, Duration::ZERO),
        }
    }

    /// When the peer has the sound of its packet `number` together.
    fn sent(&self, number: u64) -> Duration {
        Duration::from_nanos((number + 1) * 20_000 * (1_000_000 - self.ppm) as u64 / 1000)
    }

    /// Goes on for so long; what `network` says of a packet is its delay, or that it is lost.
    fn goes_on(&mut self, time: Duration, mut network: impl FnMut(u64) -> Option<Duration>) {
        let end = self.now + time;
        while self.now < end {
            self.now += ms(20);
            let now = self.now + self.phase;
            while self.sent(self.number) <= now {
                if let Some(delay) = network(self.number) {
                    self.coming.push((self.sent(self.number) + delay, self.number, self.ssrc));
                }
                self.number += 1;
            }
            self.coming.sort_by_key(|coming| std::cmp::Reverse(coming.0));
            while let Some((at, number, ssrc)) = self.coming.pop_if(|coming| coming.0 <= now) {
                self.comes(at, number, ssrc);
            }
            self.tick(now);
        }
    }

    fn comes(&mut self, at: Duration, number: u64, ssrc: u32) {
        let sound: Vec<i16> =
            (0..FRAME as u64).map(|sample| (self.says)(number * FRAME as u64 + sample) as i16).collect();
        let mut payload = [0; 480];
        let octets = self.encoder.encode(&sound, &mut payload).unwrap();
        self.packet(at, number, ssrc, Kind::Sound, &payload[..octets]);
    }

    fn packet(&mut self, at: Duration, number: u64, ssrc: u32, kind: Kind, payload: &[u8]) {
        let first = self.known.replace(ssrc) != Some(ssrc);
        let header = Header {
            marker: false,
            payload_type: 0,
            sequence: number as u16,
            timestamp: (number * FRAME as u64) as u32,
            ssrc,
            length: 12,
            padded: false,
        };
        let heard = Heard { kind, header, payload: 0..payload.len(), first };
        self.pace.hear(&heard, payload, Instant::at(at), &mut |_| panic!("no event"));
    }

    fn tick(&mut self, now: Duration) {
        let mut sound = [1; FRAME];
        if let Some(delay) = self.pace.delay(Instant::at(now)) {
            self.delay = (self.delay.0.min(delay), self.delay.1.max(delay));
        }
        let before = self.pace.adjustments();
        self.pace.tick(Instant::at(now), &mut sound, &mut |_| panic!("no event"));
        let Adjustments { repeated, left_out, .. } = self.pace.adjustments();
        if (repeated, left_out) != (before.repeated, before.left_out) {
            self.loudest_change = self.loudest_change.max(loudest(&sound));
        }
        for sample in sound {
            self.steepest = self.steepest.max((i32::from(sample) - i32::from(self.last)).abs());
            self.last = sample;
        }
        self.heard.extend(sound);
    }

    /// What was heard so far is judged no more.
    fn judge_from_here(&mut self) -> Adjustments {
        self.heard.clear();
        (self.steepest, self.loudest_change, self.delay) = (0, 0, (Duration::MAX, Duration::ZERO));
        self.pace.adjustments()
    }
}

fn no_delay(_: u64) -> Option<Duration> {
    Some(Duration::ZERO)
}

/// Any number, the same at every run.
fn random(number: u64) -> u64 {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state ^ (state >> 31)
}

fn loudest(sound: &[i16]) -> u16 {
    sound.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
}

#[test]
fn sound_begins_after_the_delay_and_goes_on_unchanged() {
    for phase in [0, 7, 19] {
        let mut rig = Rig { phase: ms(phase), ..Rig::new() };
        rig.goes_on(ms(10_000), no_delay);
        let begins = rig.heard.iter().position(|sample| sample.abs() > 1000).unwrap();
        let wanted: Vec<i16> = (0..10_000 * 8).map(|at| tone(at) as i16).collect();
        let off = |(heard, said): (&i16, &i16)| (i32::from(*heard) - i32::from(*said)).abs();
        let shift = (begins.saturating_sub(20)..begins + 20)
            .min_by_key(|shift| rig.heard[*shift..].iter().zip(&wanted).skip(100).map(off).max())
            .unwrap();
        let worst = rig.heard[shift..].iter().zip(&wanted).skip(100).map(off).max();
        assert!(worst < Some(300), "phase {phase}: {worst:?}");
        assert_eq!(
            (rig.pace.troubles(), rig.pace.adjustments().repeated, rig.pace.adjustments().left_out),
            Default::default()
        );
        assert_eq!(rig.pace.delay(Instant::at(rig.now + rig.phase)), Some(ms(30 - 20)), "after the tick took its part");
    }
}

/// An hour with a clock that is wrong, without a gap in the sound: what has to be made up for is 720 ms.
fn an_hour_at(ppm: i64, says: fn(u64) -> f64) -> Rig {
    let mut rig = Rig { ppm, says, ..Rig::new() };
    rig.goes_on(ms(1000), no_delay);
    let before = rig.judge_from_here();
    // A little unrest, as any network has.
    for _ in 0..60 {
        rig.goes_on(ms(60_000), |number| Some(Duration::from_micros(random(number) % 3000)));
        rig.heard.clear();
    }
    assert_eq!((rig.pace.adjustments().filled, rig.pace.troubles()), (before.filled, Troubles::default()), "{ppm}");
    rig
}

#[test]
fn a_fast_clock_is_made_up_for_without_a_click_for_an_hour() {
    let rig = an_hour_at(200, tone);
    let Adjustments { left_out, repeated, .. } = rig.pace.adjustments();
    assert!((600..900).contains(&(left_out / 8)) && repeated < 200, "{:?}", rig.pace.adjustments());
    assert!(rig.steepest < STEEPEST, "{}", rig.steepest);
    assert!(rig.delay.0 >= ms(20) && rig.delay.1 <= ms(55), "{:?}", rig.delay);
}

#[test]
fn a_slow_clock_is_made_up_for_without_a_click_for_an_hour() {
    let rig = an_hour_at(-200, tone);
    let Adjustments { left_out, repeated, .. } = rig.pace.adjustments();
    assert!((600..900).contains(&(repeated / 8)) && left_out < 200, "{:?}", rig.pace.adjustments());
    assert!(rig.steepest < STEEPEST, "{}", rig.steepest);
    assert!(rig.delay.0 >= ms(20) && rig.delay.1 <= ms(55), "{:?}", rig.delay);
}

#[test]
fn the_delay_follows_the_network_up_and_down() {
    let mut rig = Rig::new();
    rig.goes_on(ms(10_000), |number| Some(Duration::from_micros(random(number) % 2000)));
    assert!(rig.delay.1 < ms(45), "{:?}", rig.delay);
    rig.goes_on(ms(10_000), |number| Some(Duration::from_micros(random(number) % 60_000)));
    rig.judge_from_here();
    let before = rig.pace.troubles();
    rig.goes_on(ms(30_000), |number| Some(Duration::from_micros(random(number) % 60_000)));
    let missed = rig.pace.troubles().late - before.late;
    assert!(rig.delay.0 > ms(60) && rig.delay.1 < ms(120), "{:?}", rig.delay);
    assert!(missed <= 15, "{missed} of 1500 came too late");
    assert!(rig.steepest < STEEPEST * 3 / 2, "{}", rig.steepest);
    rig.goes_on(ms(60_000), |number| Some(Duration::from_micros(random(number) % 2000)));
    rig.judge_from_here();
    rig.goes_on(ms(5000), |number| Some(Duration::from_micros(random(number) % 2000)));
    assert!(rig.delay.1 < ms(50) && rig.steepest < STEEPEST, "{:?} {}", rig.delay, rig.steepest);
}

#[test]
fn what_is_no_talk_is_held_for_minutes_whatever_the_network_and_the_clock_do() {
    for ppm in [50, -50] {
        let mut rig = Rig { ppm, ..Rig::new() };
        rig.goes_on(ms(1000), no_delay);
        rig.pace.set_steady(true);
        rig.goes_on(ms(1000), no_delay);
        let before = rig.judge_from_here();
        rig.goes_on(ms(300_000), |number| Some(Duration::from_micros(random(number) % 12_000)));
        assert_eq!((rig.pace.adjustments(), rig.pace.troubles()), (before, Troubles::default()), "{ppm} ppm");
        assert!(rig.delay.1 < ms(90), "{:?}", rig.delay);
        rig.pace.set_steady(false);
        rig.goes_on(ms(10_000), no_delay);
        rig.judge_from_here();
        rig.goes_on(ms(1000), no_delay);
        assert!(rig.delay.1 < ms(50), "talk waits no longer than before: {:?}", rig.delay);
    }
}

#[test]
fn what_is_no_talk_slips_when_a_whole_cushion_is_used_up() {
    for ppm in [1000, -1000] {
        let mut rig = Rig { ppm, ..Rig::new() };
        rig.goes_on(ms(1000), no_delay);
        rig.pace.set_steady(true);
        rig.goes_on(ms(1000), no_delay);
        let before = rig.judge_from_here();
        let mut slips = 0;
        for _ in 0..2000 {
            let then = rig.pace.adjustments();
            rig.goes_on(ms(100), no_delay);
            slips += u32::from(rig.pace.adjustments() != then);
        }
        let Adjustments { repeated, left_out, filled, .. } = rig.pace.adjustments();
        let moved = (repeated - before.repeated).max(left_out - before.left_out);
        // 200 ms in all, a cushion less at the end.
        assert!((8 * 165..=8 * 235).contains(&moved), "{ppm} ppm: {moved} samples");
        assert!(repeated == before.repeated || left_out == before.left_out, "{ppm} ppm: one way only");
        assert!(slips <= 24 && filled == before.filled, "{ppm} ppm: {slips} slips");
        assert_eq!(rig.pace.troubles(), Troubles::default());
    }
}

#[test]
fn what_waits_too_long_is_left_out_between_words() {
    let mut rig = Rig { says: words, ..Rig::new() };
    // The noise is learned; then the network loses its unrest.
    rig.goes_on(ms(30_000), |number| Some(Duration::from_micros(random(number) % 40_000)));
    let before = rig.judge_from_here();
    rig.goes_on(ms(60_000), no_delay);
    let left_out = rig.pace.adjustments().left_out - before.left_out;
    assert!((200..400).contains(&left_out), "{left_out}");
    assert!(rig.delay.0 < ms(40) && rig.loudest_change < 300, "{:?} {}", rig.delay, rig.loudest_change);
    assert!(loudest(&rig.heard) > 7000);
}

#[test]
fn lost_packets_are_concealed_and_move_nothing() {
    let mut rig = Rig::new();
    rig.goes_on(ms(3000), no_delay);
    let (before, delay) = (rig.judge_from_here(), rig.pace.delay(Instant::at(rig.now)));
    rig.goes_on(ms(2000), |number| (!(160..163).contains(&number)).then_some(Duration::ZERO));
    assert_eq!(
        (rig.pace.troubles().lost, rig.pace.adjustments(), rig.pace.delay(Instant::at(rig.now))),
        (3, before, delay)
    );
    assert!(rig.steepest < STEEPEST * 3 / 2, "{}", rig.steepest);
    assert_eq!(loudest(&rig.heard[16_000 - FRAME..]) / 100, 79, "it is back");
}

#[test]
fn packets_that_come_twice_or_swapped_are_said_once() {
    let mut rig = Rig::new();
    rig.goes_on(ms(3000), no_delay);
    let before = rig.judge_from_here();
    rig.goes_on(ms(3000), |number| Some(if number % 7 == 0 { ms(22) } else { Duration::ZERO }));
    for number in 200..210 {
        rig.comes(rig.now, number, 1);
    }
    rig.goes_on(ms(1000), no_delay);
    assert!(rig.pace.adjustments().filled == before.filled && rig.steepest < STEEPEST, "{}", rig.steepest);
    assert_eq!(rig.pace.troubles().lost, rig.pace.troubles().late - 10);
}

#[test]
fn a_pause_is_filled_with_its_noise_and_sets_the_delay_anew() {
    let mut rig = Rig::new();
    rig.goes_on(ms(2000), |number| Some(Duration::from_micros(random(number) % 60_000)));
    // Comfort noise of -50 dBov, and no packets for three seconds.
    rig.packet(rig.now + ms(30), rig.number, 1, Kind::Noise, &[50]);
    rig.judge_from_here();
    rig.goes_on(ms(3000), |_| None);
    let pause = &rig.heard[4000..];
    assert!((50..1000).contains(&loudest(pause)), "{}", loudest(pause));
    assert!(rig.steepest < STEEPEST, "it ends without a click: {}", rig.steepest);
    rig.goes_on(ms(2000), no_delay);
    assert!(loudest(&rig.heard[rig.heard.len() - FRAME..]) > 7000);
    // A second pause, without a word.
    rig.goes_on(ms(3000), |_| None);
    assert_eq!(loudest(&rig.heard[rig.heard.len() - 16_000..]), 0);
}

#[test]
fn a_standstill_of_the_network_is_caught_up() {
    let mut rig = Rig { says: words, ..Rig::new() };
    rig.goes_on(ms(10_000), no_delay);
    // Half a second comes at once.
    rig.goes_on(ms(1000), |number| Some(ms((500 + 500 * 20).max(number * 20) - number * 20 + 100).min(ms(500))));
    rig.goes_on(ms(30_000), no_delay);
    rig.judge_from_here();
    rig.goes_on(ms(5000), no_delay);
    assert!(rig.delay.1 < ms(170), "{:?}", rig.delay);
    assert!(loudest(&rig.heard) > 4000);
}

#[test]
fn another_source_is_joined_on() {
    let mut rig = Rig::new();
    rig.goes_on(ms(2000), no_delay);
    rig.judge_from_here();
    (rig.ssrc, rig.number) = (2, rig.number + 5_000_000);
    let away = rig.sent(rig.number).saturating_sub(rig.now);
    let before = rig.now;
    for step in 0..100u64 {
        rig.now = before + ms(20 * (step + 1));
        let number = rig.number + step;
        rig.comes(rig.now, number, 2);
        rig.tick(rig.now + rig.phase);
    }
    assert!(away > Duration::ZERO && rig.steepest < STEEPEST * 3 / 2, "{}", rig.steepest);
    assert!(loudest(&rig.heard[rig.heard.len() - FRAME..]) > 7000);
    assert!(rig.pace.delay(Instant::at(rig.now + rig.phase)) < Some(ms(60)));
}

#[test]
fn any_packets_at_any_time_are_survived_and_ticks_are_full() {
    bolero::check!().with_type().with_iterations(300).for_each(|steps: &Vec<(u8, u16, u16)>| {
        let mut rig = Rig::new();
        for (what, number, wait) in steps.iter().take(200) {
            let number = u64::from(*number) * if what & 64 == 0 { 1 } else { 99_991 };
            match what % 8 {
                0 => rig.packet(rig.now, number, u32::from(what / 8), Kind::Noise, &[*what]),
                1 => rig.packet(rig.now, number, 1, Kind::Sound, &vec![*what; usize::from(*wait) % 1400]),
                2 => rig.now += Duration::from_micros(u64::from(*wait) * 40),
                3 => rig.comes(rig.now, rig.number + number % 4, u32::from(what / 128)),
                _ => {
                    rig.comes(rig.now, rig.number, 1);
                    rig.number += 1;
                    rig.now += ms(20);
                    rig.tick(rig.now);
                }
            }
        }
    });
}

#[test]
fn every_codec_keeps_the_pace_at_every_rate_it_has() {
    for (codec, rate) in [(Codec::Pcma, 8000), (Codec::G722, 16_000), (Codec::Opus, 8000), (Codec::Opus, 48_000)] {
        let mut pace = PacedPlayout::new(codec, rate, MOST).unwrap();
        let mut encoder = Encoder::new(codec, rate, &Opus::default()).unwrap();
        let frame = rate as usize / 50;
        let step = std::f64::consts::TAU * 437.0 / f64::from(rate);
        let (mut last, mut steepest, mut loudest) = (0i32, 0, 0);
        // Its clock is wrong by a whole percent, so that there is something to do.
        for number in 0..1500u64 {
            let at = ms(20 * number);
            for came in [number * 101 / 100, number * 101 / 100 + 1] {
                if came * 100 / 101 != number {
                    continue;
                }
                let sound: Vec<i16> = (0..frame)
                    .map(|at| ((came as usize * frame + at) as f64 * step).sin() * 8000.0)
                    .map(|at| at as i16)
                    .collect();
                let mut payload = [0; 1400];
                let octets = encoder.encode(&sound, &mut payload).unwrap();
                let ticks = crate::media::codec::ticks(codec, rate, frame);
                let (sequence, timestamp) = (came as u16, came as u32 * ticks);
                let header =
                    Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1, length: 12, padded: false };
                let heard = Heard { kind: Kind::Sound, header, payload: 0..octets, first: came == 0 };
                pace.hear(&heard, &payload[..octets], Instant::at(at), &mut |_| {});
            }
            let mut sound = vec![0; frame];
            pace.tick(Instant::at(at + ms(5)), &mut sound, &mut |_| {});
            for sample in sound.into_iter().map(i32::from) {
                if number > 50 {
                    (steepest, loudest) = (steepest.max((sample - last).abs()), loudest.max(sample));
                }
                last = sample;
            }
        }
        let own = (8000.0 * step) as i32;
        assert!(pace.adjustments().left_out > 0, "{codec:?} {rate}: {:?}", pace.adjustments());
        assert!(loudest > 7000 && steepest < own * 5 / 4 + 400, "{codec:?} {rate}: {loudest} {steepest} of {own}");
    }
}
