//! Packets of a 440 Hz tone in virtual time.

use super::*;
use crate::media::codec::{Decoder, Encoder, MOST_SAMPLES, ticks};
use crate::media::packetize::Packet;
use crate::media::peer::{Heard, Kind};
use crate::session::{Addresses, Opus, Remote};
use crate::wire::rtp::Header;

/// A packet that was said: when (ms), marker, sequence, timestamp, sound in ms at the other end's rate.
#[derive(Debug, PartialEq)]
struct Said {
    at: u64,
    marker: bool,
    sequence: u16,
    timestamp: u32,
    loudness: f64,
    samples: usize,
}

fn only(said: super::Said<'_>) -> Packet<'_> {
    match said {
        super::Said::Packet(packet) => packet,
        super::Said::Digit(..) => panic!("a digit"),
    }
}

fn stream(codec: Codec, ptime_ms: u8) -> Stream {
    let address = ([192, 0, 2, 1], 5000).into();
    Stream {
        opus: Opus { fec: true, ..Opus::default() },
        ptime_ms,
        ..Stream::new(Remote::Rtp(Addresses { rtp: address, rtcp: address }), codec)
    }
}

/// Twenty packets of a tone through a transcoder; some are lost.
fn tone(from: Codec, to: Codec, packet_ms: u8, lost: &[u16]) -> Vec<Said> {
    let mut transcoder =
        Transcoder::new(&stream(from, 20), &stream(to, packet_ms), Duration::from_millis(120)).unwrap();
    let rate = from.sound_rate();
    let mut encoder = Encoder::new(from, rate, &Opus::default()).unwrap();
    let mut decoder = Decoder::new(to, to.sound_rate()).unwrap();
    let (mut said, samples) = (Vec::new(), rate as usize / 50);
    let mut hear = |at: u64, packet: super::Said<'_>| {
        let packet = only(packet);
        let mut sound = [0; MOST_SAMPLES];
        let samples = decoder.decode(packet.payload, &mut sound).unwrap();
        let energy: f64 = sound[..samples].iter().map(|sample| f64::from(*sample).powi(2)).sum();
        let loudness = (energy / samples as f64).sqrt();
        let Packet { marker, sequence, timestamp, .. } = packet;
        said.push(Said { at, marker, sequence, timestamp, loudness, samples });
    };
    for number in 0..20u16 {
        let at = u64::from(number) * 20;
        let now = Instant::at(Duration::from_millis(at));
        while let Some(due) = transcoder.due().filter(|due| *due < now) {
            transcoder.tick(due, &mut |packet| hear(due.since_start().as_millis() as u64, packet));
        }
        let sound: Vec<i16> = (0..samples)
            .map(|sample| {
                let place = (usize::from(number) * samples + sample) as f64;
                (8000.0 * (place * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin()) as i16
            })
            .collect();
        let mut payload = [0; 1200];
        let octets = encoder.encode(&sound, &mut payload).unwrap();
        if lost.contains(&number) {
            continue;
        }
        let (sequence, timestamp) = (number + 7, u32::from(number) * ticks(from, rate, samples) + 99);
        let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1, length: 12, padded: false };
        let packet = Heard { kind: Kind::Sound, header, payload: 12..12 + octets, first: number == 0 };
        transcoder.hear(&packet, &payload[..octets], now, &mut |packet| hear(at, packet));
    }
    said
}

fn pairs() -> impl Iterator<Item = (Codec, Codec)> {
    Codec::ALL.into_iter().flat_map(|from| Codec::ALL.map(|to| (from, to))).filter(|(from, to)| from != to)
}

#[test]
fn every_codec_becomes_every_other_at_every_packet_time() {
    for (from, to) in pairs() {
        for packet_ms in [10, 20, 30, 40, 60] {
            let case = format!("{} to {} in {packet_ms} ms", from.name(), to.name());
            let said = tone(from, to, packet_ms, &[]);
            let step = to.clock_rate() / 1000 * u32::from(packet_ms);
            assert_eq!(said.len(), 400 / usize::from(packet_ms), "{case}");
            for (number, packet) in (0u16..).zip(&said) {
                assert_eq!((packet.sequence, packet.timestamp), (number + 1, step * u32::from(number)), "{case}");
                assert_eq!(packet.samples, to.sound_rate() as usize / 1000 * usize::from(packet_ms), "{case}");
                assert_eq!(packet.marker, number == 0, "{case}");
                let end = u64::from(packet_ms) * (u64::from(number) + 1);
                assert_eq!(packet.at, (end - 1) / 20 * 20, "{case}: it leaves with the packet that fills it");
            }
            let loud = said.last().unwrap().loudness;
            assert!((4500.0..7000.0).contains(&loud), "{case}: {loud}");
        }
    }
}

fn noise(sequence: u16, timestamp: u32) -> (Heard, [u8; 1]) {
    let header = Header { marker: false, payload_type: 13, sequence, timestamp, ssrc: 1, length: 12, padded: false };
    (Heard { kind: Kind::Noise, header, payload: 12..13, first: sequence == 1 }, [45])
}

#[test]
fn a_pause_is_filled_with_its_noise_for_who_knows_no_comfort_noise() {
    let from = Stream { comfort_noise: Some(13), ..stream(Codec::Pcmu, 20) };
    let mut transcoder = Transcoder::new(&from, &stream(Codec::Pcma, 20), Duration::from_millis(120)).unwrap();
    let mut said: Vec<(u64, u32, usize)> = Vec::new();
    let (heard, payload) = noise(1, 160);
    let at = |milliseconds| Instant::at(Duration::from_millis(milliseconds));
    transcoder.hear(&heard, &payload, at(5), &mut |packet| {
        said.push((5, only(packet).timestamp, only(packet).payload.len()))
    });
    for milliseconds in 6..100 {
        let due = transcoder.due().unwrap();
        assert!(due >= at(milliseconds - 1));
        if due <= at(milliseconds) {
            transcoder.tick(at(milliseconds), &mut |packet| {
                said.push((milliseconds, only(packet).timestamp, only(packet).payload.len()));
            });
        }
    }
    assert_eq!(said, [5, 25, 45, 65, 85].map(|at| (at, (at as u32 - 5) * 8, 160)));
}

#[test]
fn a_pause_is_passed_on_to_who_knows_comfort_noise() {
    let knows = |codec| Stream { comfort_noise: Some(13), ..stream(codec, 20) };
    let mut transcoder = Transcoder::new(&knows(Codec::Pcmu), &knows(Codec::Pcma), Duration::from_millis(120)).unwrap();
    let mut said = Vec::new();
    let (heard, payload) = noise(1, 160);
    transcoder.hear(&heard, &payload, Instant::START, &mut |packet| {
        said.push((only(packet).kind, only(packet).payload.to_vec()))
    });
    assert_eq!(said, [(Kind::Noise, vec![45])]);
    assert_eq!(transcoder.due(), None);
}

#[test]
fn a_loss_is_filled_and_nothing_moves() {
    for (from, to) in pairs() {
        let case = format!("{} to {}", from.name(), to.name());
        let said = tone(from, to, 20, &[10, 15, 16]);
        assert_eq!(said.len(), 20, "{case}");
        let step = to.clock_rate() / 50;
        for (number, packet) in (0u16..).zip(&said) {
            assert_eq!((packet.sequence, packet.timestamp), (number + 1, step * u32::from(number)), "{case}");
        }
        let quietest = said[3..].iter().map(|packet| packet.loudness).fold(f64::MAX, f64::min);
        // What Opus makes up of a tone is its own affair.
        let least = if from == Codec::Opus { 100.0 } else { 2500.0 };
        assert!(quietest > least, "{case}: the tone goes on, {quietest}");
        assert!(said[10].at <= 240, "{case}: {} ms", said[10].at);
    }
}

#[test]
fn between_the_laws_codes_are_what_the_tables_say() {
    use crate::media::codec::g711::{self, Law};
    for (from, to, law) in [(Codec::Pcmu, Codec::Pcma, Law::Mu), (Codec::Pcma, Codec::Pcmu, Law::A)] {
        let mut transcoder = Transcoder::new(&stream(from, 20), &stream(to, 20), Duration::ZERO).unwrap();
        let mut codes: Vec<u8> = (0..160).map(|at| 95 + at).collect();
        let header =
            Header { marker: false, payload_type: 0, sequence: 1, timestamp: 0, ssrc: 1, length: 12, padded: false };
        let heard = Heard { kind: Kind::Sound, header, payload: 0..160, first: true };
        let mut said = Vec::new();
        transcoder.hear(&heard, &codes, Instant::START, &mut |packet| said.extend_from_slice(only(packet).payload));
        g711::convert(law, &mut codes);
        assert_eq!(said, codes);
    }
}
