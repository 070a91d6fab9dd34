//! Digits from any way to any other: each is heard once, for as long as it was pressed.

use std::time::Duration;

use super::tests::{Rig, packet};
use super::*;
use crate::media::codec::g711::{self, Law};
use crate::media::dtmf::detect::{Detector, Heard};
use crate::media::dtmf::tone::Generator;
use crate::session::TelephoneEvent;
use crate::wire::rtp::Header;
use crate::wire::telephone_event;

const DIALLED: &str = "159#*0D";
/// Milliseconds: how long a key is pressed, and the pause behind it.
const PRESSED: u32 = 120;
const PAUSE: u32 = 100;

fn events(clock_rate: u32) -> Digits {
    Digits::Events(TelephoneEvent { payload_type: 101, clock_rate })
}

/// Side A presses all keys in its way; packets of 20 ms, as a telephone sends them.
fn dial(from: Digits, to: Digits) -> Rig {
    let mut rig = Rig::new(|[a, b]| {
        (a.digits, b.digits) = (from, to);
        (a.comfort_noise, b.comfort_noise) = (None, None);
    });
    let (mut sequence, mut time) = (0u16, 0u32);
    for key in DIALLED.chars() {
        let digit = Digit::of(key).unwrap();
        let mut tone = Generator::new(digit, 8000);
        let began = time;
        if from == Digits::Info {
            rig.bridge.press(Side::A, digit, Duration::from_millis(PRESSED.into()));
        }
        while time < began + 8 * (PRESSED + PAUSE) {
            let pressed = time < began + 8 * PRESSED;
            match from {
                Digits::Events(events) if pressed => {
                    let duration = (time + 160 - began) * (events.clock_rate / 8000);
                    let end = time + 160 >= began + 8 * PRESSED;
                    for _ in 0..if end { 3 } else { 1 } {
                        let event = telephone_event::TelephoneEvent {
                            event: digit.event(),
                            end,
                            volume: 10,
                            duration: duration as u16,
                        };
                        send(&mut rig, 101, sequence, began, &event.write());
                        sequence += 1;
                    }
                }
                _ => {
                    let mut sound = [0; 160];
                    if pressed && from == Digits::Tones {
                        tone.read(&mut sound);
                    }
                    let mut codes = [0; 160];
                    g711::encode(Law::Mu, &sound, &mut codes);
                    send(&mut rig, 0, sequence, time, &codes);
                    sequence += 1;
                }
            }
            time += 160;
            rig.run(20);
        }
    }
    rig.run(400);
    rig
}

fn send(rig: &mut Rig, payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) {
    let mut octets = packet(payload_type, 9, sequence, payload);
    octets[4..8].copy_from_slice(&timestamp.to_be_bytes());
    rig.rtp(Side::A, &octets);
}

/// The digits that B hears as events: key and duration in ms, each by its end, which must come three times.
fn as_events(rig: &Rig, clock_rate: u32) -> Vec<(char, u32)> {
    let mut ends: Vec<(u32, char, u32, u32)> = Vec::new();
    for (_, octets) in rig.spoken.iter().filter(|(side, _)| *side == Side::B) {
        let header = Header::read(octets).unwrap();
        if header.payload_type != 101 {
            continue;
        }
        let event = telephone_event::TelephoneEvent::read(&octets[12..]).unwrap();
        let (key, length) =
            (Digit::of_event(event.event).unwrap().key(), u32::from(event.duration) * 1000 / clock_rate);
        if !event.end {
            continue;
        }
        match ends.last_mut() {
            Some(last) if last.0 == header.timestamp => last.3 += 1,
            _ => ends.push((header.timestamp, key, length, 1)),
        }
    }
    assert!(ends.iter().all(|end| end.3 == 3), "{ends:?}");
    ends.into_iter().map(|(_, key, length, _)| (key, length)).collect()
}

/// The digits that B hears in its sound.
fn as_tones(rig: &Rig) -> String {
    let (mut detector, mut heard, mut digits) = (Detector::new(8000), Heard::Nothing, String::new());
    for (_, octets) in rig.spoken.iter().filter(|(side, _)| *side == Side::B) {
        if octets[1] & 0x7f != 0 {
            continue;
        }
        for codes in octets[12..].chunks(80) {
            let mut sound = [0; 80];
            g711::decode(Law::Mu, codes, &mut sound);
            let now = detector.hear(&sound);
            if let (Heard::Digit(digit, _), Heard::Nothing | Heard::Doubt) = (now, heard) {
                digits.push(digit.key());
            }
            heard = now;
        }
    }
    digits
}

fn in_signalling(rig: &Rig) -> Vec<(char, u32)> {
    let digit = |report: &MediaReport| match report {
        MediaReport::Digit(_, Side::A, digit, length) => Some((digit.key(), length.as_millis() as u32)),
        _ => None,
    };
    rig.told.iter().filter_map(digit).collect()
}

#[track_caller]
fn all(heard: &[(char, u32)], off_by: u32) {
    assert_eq!(heard.iter().map(|digit| digit.0).collect::<String>(), DIALLED);
    for (key, length) in heard {
        assert!(length.abs_diff(PRESSED) <= off_by, "{key} for {length} ms");
    }
}

#[test]
fn events_on_another_clock_stay_events() {
    for (from, to) in [(8000, 48_000), (48_000, 8000)] {
        let rig = dial(events(from), events(to));
        all(&as_events(&rig, to), 0);
        assert_eq!(as_tones(&rig), "");
    }
}

#[test]
fn events_become_tones() {
    let rig = dial(events(8000), Digits::Tones);
    assert_eq!(as_tones(&rig), DIALLED);
    assert_eq!(as_events(&rig, 8000), []);
}

#[test]
fn tones_become_events_and_are_not_heard_as_well() {
    for clock_rate in [8000, 48_000] {
        let rig = dial(Digits::Tones, events(clock_rate));
        all(&as_events(&rig, clock_rate), 30);
        assert_eq!(as_tones(&rig), "");
    }
}

#[test]
fn what_is_pressed_is_told_in_signalling_and_not_heard_as_well() {
    let rig = dial(events(8000), Digits::Info);
    all(&in_signalling(&rig), 0);
    let rig = dial(Digits::Tones, Digits::Info);
    all(&in_signalling(&rig), 30);
    assert_eq!(as_tones(&rig), "");
}

#[test]
fn what_signalling_says_is_pressed() {
    let rig = dial(Digits::Info, events(48_000));
    all(&as_events(&rig, 48_000), 1);
    let rig = dial(Digits::Info, Digits::Tones);
    assert_eq!(as_tones(&rig), DIALLED);
}
