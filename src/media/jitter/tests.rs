//! Packets of 20 ms at 8 kHz in virtual time.

use super::*;

const MOST: Duration = Duration::from_millis(120);
const TICKS: u32 = 160;

/// A buffer, and in what order its packets were played: `7`, lost ones as `-`, with the next one's help as `+`.
struct Rig {
    buffer: Buffer,
    now: u64,
    said: String,
    /// Is a packet let by that need not be kept?
    passes: bool,
}

fn written(next: &Next<'_>) -> String {
    match next {
        Next::Packet { kind: Kind::Sound, payload, .. } => format!("{} ", payload[0]),
        Next::Packet { payload, .. } => format!("({}) ", payload[0]),
        Next::Lost { ticks, next, .. } => {
            assert_eq!(*ticks, TICKS);
            if next.is_some() { "+ ".into() } else { "- ".into() }
        }
    }
}

impl Rig {
    fn new() -> Rig {
        Rig { buffer: Buffer::new(8000, MOST), now: 0, said: String::new(), passes: true }
    }

    fn at(&self) -> Instant {
        Instant::at(Duration::from_millis(self.now))
    }

    /// Packet `number` of an unbroken stream comes at `now` ms.
    fn comes(&mut self, now: u64, number: u16) {
        self.packet(now, number, u32::from(number) * TICKS, Kind::Sound);
    }

    fn packet(&mut self, now: u64, sequence: u16, timestamp: u32, kind: Kind) {
        self.until(now);
        let ticks = if kind == Kind::Sound { TICKS } else { 0 };
        let payload = [sequence as u8];
        let arrival = Arrival { sequence, timestamp, ticks, kind, payload: &payload };
        if self.passes && self.buffer.passes(&arrival, self.at()) {
            let said = Next::Packet { kind, timestamp, payload: &payload };
            self.said += &written(&said);
        } else {
            self.buffer.insert(&arrival, self.at());
        }
        self.play();
    }

    /// Time passes; what is due is played.
    fn until(&mut self, now: u64) {
        while let Some(due) = self.buffer.due().map(|due| due.since_start().as_micros().div_ceil(1000) as u64)
            && due <= now
        {
            assert!(due >= self.now || self.now == now, "it was due before");
            self.now = self.now.max(due);
            self.play();
        }
        self.now = now;
    }

    fn play(&mut self) {
        let now = self.at();
        while let Some(next) = self.buffer.next(now) {
            let said = written(&next);
            self.said += &said;
        }
    }

    fn said(&mut self) -> String {
        std::mem::take(&mut self.said).trim_end().to_owned()
    }
}

#[test]
fn what_is_in_order_is_played_at_once() {
    let mut rig = Rig::new();
    for number in 0..5 {
        rig.comes(20 * u64::from(number), number);
        assert_eq!(rig.said(), number.to_string());
    }
}

#[test]
fn a_swapped_pair_is_put_right() {
    let mut rig = Rig::new();
    (0..3).for_each(|number| rig.comes(20 * u64::from(number), number));
    rig.comes(61, 4);
    assert_eq!(rig.said(), "0 1 2", "3 may still come");
    rig.comes(63, 3);
    assert_eq!(rig.said(), "3 4");
    assert_eq!(rig.buffer.troubles(), Troubles::default());
}

#[test]
fn only_what_is_out_of_order_waits() {
    let mut rig = Rig::new();
    (0..50).for_each(|number| rig.comes(20 * u64::from(number) + u64::from(number % 5), number));
    assert_eq!(rig.buffer.wait(), Duration::ZERO);
    for pair in (50..1050u16).step_by(2) {
        let due = 20 * u64::from(pair);
        rig.comes(due + 21, pair + 1);
        rig.comes(due + 25, pair);
    }
    let wait = rig.buffer.wait().as_micros();
    assert!((1800..=2200).contains(&wait), "every second one waits 4 ms: {wait}");
}

#[test]
fn a_lost_packet_is_concealed_with_the_help_of_the_next() {
    let mut rig = Rig::new();
    (0..3).for_each(|number| rig.comes(20 * u64::from(number), number));
    rig.comes(80, 4);
    assert_eq!(rig.said(), "0 1 2", "3 was expected at 60: 10 ms more");
    rig.comes(100, 5);
    assert_eq!(rig.said(), "+ 4 5");
    assert_eq!(rig.buffer.troubles().lost, 1);
}

#[test]
fn of_several_lost_packets_the_last_one_is_helped() {
    let mut rig = Rig::new();
    (0..3).for_each(|number| rig.comes(20 * u64::from(number), number));
    rig.comes(100, 5);
    rig.comes(120, 6);
    assert_eq!(rig.said(), "0 1 2 - + 5 6");
}

#[test]
fn a_packet_that_comes_after_its_concealment_is_not_played() {
    let mut rig = Rig::new();
    (0..3).for_each(|number| rig.comes(20 * u64::from(number), number));
    rig.comes(80, 4);
    rig.comes(100, 5);
    rig.comes(101, 3);
    rig.comes(102, 5);
    assert_eq!(rig.said(), "0 1 2 + 4 5");
    assert_eq!(rig.buffer.troubles(), Troubles { lost: 1, late: 2, twice: 0 });
}

#[test]
fn a_source_that_stops_fades_out_and_comes_back() {
    let mut rig = Rig::new();
    (0..3).for_each(|number| rig.comes(20 * u64::from(number), number));
    rig.until(5000);
    assert_eq!(rig.said(), "0 1 2 - - -", "60 ms");
    assert_eq!(rig.buffer.due(), None);
    rig.packet(5000, 3, 250 * TICKS, Kind::Sound);
    rig.packet(5020, 4, 251 * TICKS, Kind::Sound);
    assert_eq!(rig.said(), "3 4", "it had paused without a packet: nothing was lost");
}

#[test]
fn a_stall_is_caught_up_and_waited_for_the_next_time() {
    let mut rig = Rig::new();
    (0..100).for_each(|number| rig.comes(20 * u64::from(number), number));
    rig.said();
    // The network stands still for 50 ms, several times.
    for stall in 1..20u16 {
        let first = 100 * stall;
        let at = |number: u16| 20 * u64::from(number);
        (0..3).for_each(|number| rig.comes(at(first + 2) + 10, first + number));
        (3..100).for_each(|number| rig.comes(at(first + number), first + number));
    }
    let troubles = rig.buffer.troubles();
    assert!(troubles.lost > 0 && troubles.lost < 15, "it learns to wait: {troubles:?}");
}

#[test]
fn a_pause_and_digits_are_no_loss() {
    let mut rig = Rig::new();
    (0..3).for_each(|number| rig.comes(20 * u64::from(number), number));
    rig.packet(60, 3, 3 * TICKS, Kind::Noise);
    rig.until(900);
    rig.packet(900, 4, 45 * TICKS, Kind::Sound);
    rig.packet(920, 5, 46 * TICKS, Kind::Event);
    rig.packet(940, 6, 46 * TICKS, Kind::Event);
    rig.until(1000);
    rig.packet(1000, 7, 50 * TICKS, Kind::Sound);
    assert_eq!(rig.said(), "0 1 2 (3) 4 (5) (6) 7");
    assert_eq!(rig.buffer.troubles(), Troubles::default());
}

#[test]
fn numbers_and_times_may_wrap_and_jump() {
    let mut rig = Rig::new();
    for step in 0..4u16 {
        let sequence = 65534u16.wrapping_add(step);
        let timestamp = (u32::MAX - 200).wrapping_add(u32::from(step) * TICKS);
        rig.packet(20 * u64::from(step), sequence, timestamp, Kind::Sound);
    }
    assert_eq!(rig.said(), "254 255 0 1");
    rig.packet(80, 2, 77_777_777, Kind::Sound);
    rig.packet(100, 5000, 77_777_937, Kind::Sound);
    rig.packet(120, 5001, 77_778_097, Kind::Sound);
    assert_eq!(rig.said(), "2 136 137", "no burst of concealment");
}

#[test]
fn times_that_stand_still_do_not_silence_a_peer() {
    let mut rig = Rig::new();
    (0..50).for_each(|number| rig.packet(20 * u64::from(number), number, 0, Kind::Sound));
    let played = rig.said().split(' ').filter(|word| *word != "-").count();
    assert!(played > 40, "{played} of 50");
}

#[test]
fn a_missing_packet_is_waited_for_no_longer_than_allowed() {
    let mut buffer = Buffer::new(8000, Duration::from_millis(15));
    let at = |milliseconds| Instant::at(Duration::from_millis(milliseconds));
    let sound = |sequence: u16| Arrival {
        sequence,
        timestamp: u32::from(sequence) * TICKS,
        ticks: TICKS,
        kind: Kind::Sound,
        payload: &[1],
    };
    buffer.insert(&sound(0), at(0));
    assert!(matches!(buffer.next(at(0)), Some(Next::Packet { .. })));
    assert_eq!(buffer.due(), Some(at(35)));
}

/// A stream through a network that loses, delays, repeats and reorders: each packet is played at most once, in order,
/// and all that came in time is.
#[test]
fn what_comes_in_time_is_played_once_and_in_order() {
    bolero::check!().with_type().with_iterations(500).for_each(|fates: &Vec<(u8, u8)>| {
        let fates = &fates[..fates.len().min(150)];
        let mut coming: Vec<(u64, u16)> = Vec::new();
        for (number, (fate, delay)) in (0u16..).zip(fates) {
            let sent = 20 * u64::from(number) + 5;
            match fate % 8 {
                0 => (),
                1 => coming.extend([(sent, number), (sent + u64::from(*delay) / 8, number)]),
                2 => coming.push((sent + u64::from(*delay) / 4, number)),
                _ => coming.push((sent + u64::from(*delay) / 64, number)),
            }
        }
        coming.sort();
        let mut rig = Rig::new();
        coming.iter().for_each(|(at, number)| rig.comes(*at, *number));
        rig.until(10_000);
        let played: Vec<u16> = rig.said.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(played.is_sorted_by(|a, b| a < b), "{}", rig.said);
        let lost = rig.said.matches(['-', '+']).count() as u64;
        let troubles = rig.buffer.troubles();
        assert_eq!(lost, troubles.lost);
        assert_eq!(played.len() as u64 + troubles.late + troubles.twice, coming.len() as u64);
    });
}

#[test]
fn a_path_that_has_become_longer_for_good_is_got_used_to() {
    for longer in [40, 150, 500, 1900] {
        let mut rig = Rig::new();
        (0..100).for_each(|number| rig.comes(20 * u64::from(number), number));
        (100..1000).for_each(|number| rig.comes(20 * u64::from(number) + longer, number));
        let Troubles { lost, late, .. } = rig.buffer.troubles();
        assert!(lost <= 20 && late <= 20, "{longer} ms longer: {lost} lost, {late} late");
    }
}

#[test]
fn a_clock_that_is_wrong_by_200_ppm_is_followed() {
    for (ppm, name) in [(-200i64, "slow"), (200, "fast")] {
        let mut rig = Rig::new();
        // Ten minutes: 120 ms.
        for number in 0..30_000u64 {
            let at = 20 * number;
            rig.comes(at.saturating_add_signed(-(at as i64 * ppm / 1_000_000)), number as u16);
        }
        assert_eq!(rig.buffer.troubles(), Troubles::default(), "{name}");
        let ahead = rig.buffer.expected().map(|expected| expected.since(rig.at()).as_millis());
        assert!(ahead.is_some_and(|ahead| (18..=21).contains(&ahead)), "{name}: {ahead:?}");
    }
}

#[test]
fn what_passes_is_played_as_if_it_had_been_kept() {
    bolero::check!().with_type().for_each(|packets: &Vec<(u8, i8, i8, bool)>| {
        let [passing, keeping] = [true, false].map(|passes| {
            let (mut rig, mut now, mut sequence) = (Rig { passes, ..Rig::new() }, 0, 0u16);
            for (wait, step, slip, sound) in packets {
                now += u64::from(wait / 4);
                sequence = sequence.wrapping_add_signed(i16::from(*step / 16).max(-3) + 1);
                let timestamp =
                    u32::from(sequence).wrapping_mul(TICKS).wrapping_add_signed(i32::from(*slip / 64) * 160);
                rig.packet(now, sequence, timestamp, if *sound { Kind::Sound } else { Kind::Event });
            }
            rig.until(now + 1000);
            (rig.said, rig.buffer.troubles())
        });
        assert_eq!(passing, keeping);
    });
}
