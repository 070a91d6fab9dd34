//! What a peer hears from ourselves, in virtual time.

use std::sync::Arc;

use super::tests::{Rig, packet};
use super::*;
use crate::media::codec::{Decoder, MOST_SAMPLES};
use crate::session::{Codec, Direction, Sound};
use crate::tone;
use crate::wire::rtp::Header;

const RING: tone::Cadence = tone::COUNTRIES[0].ring;

/// A sound whose every sample says when it is: a second of it.
fn ramp() -> Arc<Sound> {
    let narrow: Vec<i16> = (0..8000).map(|at| at * 4).collect();
    let wide = narrow.iter().flat_map(|sample| [*sample; 2]).collect();
    Arc::new(Sound::new(narrow, wide).unwrap())
}

/// What was said to this side, in order, each packet one place and one packet time behind the last.
#[track_caller]
fn said(rig: &mut Rig, side: Side, ticks: u32) -> Vec<(Header, Vec<u8>)> {
    let packets: Vec<_> = rig.spoken.drain(..).collect();
    assert!(packets.iter().all(|(to, _)| *to == side), "nobody else hears it");
    let packets: Vec<_> =
        packets.into_iter().map(|(_, octets)| (Header::read(&octets).unwrap(), octets[12..].to_vec())).collect();
    for pair in packets.windows(2) {
        let (before, after) = (pair[0].0, pair[1].0);
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        assert_eq!(after.timestamp, before.timestamp.wrapping_add(ticks));
        assert!(!after.marker);
    }
    packets
}

fn loudness(codec: Codec, packets: &[(Header, Vec<u8>)]) -> f64 {
    let mut decoder = Decoder::new(codec, 8000).unwrap();
    let (mut sound, mut squares, mut count) = ([0; MOST_SAMPLES], 0.0, 0);
    for (_, payload) in packets {
        let length = decoder.decode(payload, &mut sound).unwrap();
        squares += sound[..length].iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        count += length;
    }
    (squares / f64::from(count as u32)).sqrt()
}

#[test]
fn a_tone_is_heard_where_nobody_else_can_be_in_every_codec_and_packet_time() {
    for codec in Codec::ALL {
        for ptime_ms in [10, 20, 60] {
            let mut rig = Rig::new(|[a, _]| (a.codec, a.ptime_ms) = (codec, ptime_ms));
            rig.session.sides[1] = None;
            rig.session.plays[0] = Some(Play::Tone(RING));
            rig.apply();
            rig.run(1199);
            let packets = said(&mut rig, Side::A, codec.clock_rate() / 1000 * u32::from(ptime_ms));
            assert_eq!(packets.len(), 1200 / usize::from(ptime_ms), "{}", codec.name());
            assert!(packets[0].0.marker);
            let level = loudness(codec, &packets);
            assert!((4800.0..5400.0).contains(&level), "{}: {level}", codec.name());
        }
    }
}

#[test]
fn a_held_side_hears_music_over_and_over_and_then_the_other_side_in_one_stream() {
    let mut rig = Rig::new(|_| ());
    let before = rig.sound(Side::A, 9, 1).unwrap();
    rig.wait(20);
    rig.session.plays[1] = Some(Play::Music(ramp()));
    rig.change(Side::A, |a| a.direction = Direction::Inactive);
    for sequence in 2..102 {
        assert_eq!(rig.sound(Side::A, 9, sequence), None, "who holds may go on sending: nobody hears it");
        rig.run(20);
    }
    let packets = said(&mut rig, Side::B, 160);
    let (first, last) = (packets[0].0, packets[packets.len() - 1].0);
    assert_eq!((first.ssrc, first.sequence, first.marker), (before.ssrc, before.sequence.wrapping_add(1), true));
    assert!((160..180).contains(&first.timestamp.wrapping_sub(before.timestamp)));
    assert_eq!(packets.len(), 101);
    assert_eq!(packets[0].1, packets[50].1, "it begins again");
    assert_ne!(packets[0].1, packets[1].1);

    rig.session.plays[1] = None;
    rig.change(Side::A, |a| a.direction = Direction::SendRecv);
    rig.wait(19);
    let after = rig.sound(Side::A, 9, 103).unwrap();
    assert_eq!((after.ssrc, after.sequence, after.marker), (first.ssrc, last.sequence.wrapping_add(1), true));
    assert!(after.timestamp.wrapping_sub(last.timestamp) >= 160);
    rig.run(1000);
    assert!(rig.spoken.is_empty(), "the music has stopped");
}

#[test]
fn nothing_is_played_where_we_may_not_send() {
    let mut rig = Rig::new(|[a, b]| (a.direction, b.direction) = (Direction::Inactive, Direction::Inactive));
    rig.session.plays[1] = Some(Play::Music(ramp()));
    rig.apply();
    rig.run(1000);
    assert!(rig.spoken.is_empty());
}

#[test]
fn a_change_that_is_none_of_its_own_does_not_begin_it_again() {
    let mut rig = Rig::new(|[a, _]| a.direction = Direction::Inactive);
    rig.session.plays[1] = Some(Play::Music(ramp()));
    rig.apply();
    rig.run(90);
    rig.session.plays[1] = Some(Play::Music(ramp()));
    rig.change(Side::A, |a| a.payload_type = 96);
    rig.run(100);
    assert_eq!(said(&mut rig, Side::B, 160).len(), 10);
}

/// The other side says packets, then nothing, then packets again, in its own codec or another one.
fn early_media(codec: Codec) {
    let mut rig = Rig::new(|[a, b]| {
        (b.codec, b.payload_type) = (codec, codec.payload_type());
        a.comfort_noise = None;
    });
    rig.session.plays[0] = Some(Play::Tone(RING));
    rig.apply();
    let speak = |rig: &mut Rig, sequence| {
        let heard = rig.rtp(Side::B, &packet(codec.payload_type(), 9, sequence, &[1; 160]));
        // Transcoded or not: packets to A.
        let own = rig.spoken.drain(..).map(|(_, octets)| Header::read(&octets).unwrap()).next_back();
        heard.map(|(header, _)| header).or(own)
    };
    let mut last = None;
    for sequence in 1..60 {
        rig.run(20);
        last = speak(&mut rig, sequence);
        assert!(last.is_some(), "it is heard at once: {sequence} {}", codec.name());
        assert!(rig.spoken.is_empty(), "and nothing beside it");
    }
    let last = last.unwrap();
    rig.run(499);
    rig.spoken.clear();
    rig.run(200);
    let packets = said(&mut rig, Side::A, 160);
    assert_eq!(packets.len(), 10, "it has stopped: the tone is heard");
    assert!((450 * 8..520 * 8).contains(&packets[0].0.timestamp.wrapping_sub(last.timestamp)), "half a second later");
    let again = speak(&mut rig, 95).unwrap();
    let before = packets[9].0;
    assert_eq!((again.sequence, again.marker), (before.sequence.wrapping_add(1), true), "its turn ends ours");
    rig.run(499);
    rig.spoken.clear();
    rig.run(200);
    assert_eq!(said(&mut rig, Side::A, 160)[0].1, packets[0].1, "the tone begins again");
}

#[test]
fn a_tone_waits_while_the_other_side_is_heard() {
    early_media(Codec::Pcmu);
    early_media(Codec::Pcma);
}

#[test]
fn a_tone_leaves_the_pauses_of_the_other_side_alone() {
    let mut rig = Rig::new(|_| ());
    rig.session.plays[0] = Some(Play::Tone(RING));
    rig.apply();
    for sequence in 1..5 {
        rig.rtp(Side::B, &packet(13, 9, sequence, &[60])).unwrap();
        rig.run(2000);
    }
    assert!(rig.spoken.is_empty());
}

#[test]
fn an_announcement_is_heard_once_in_place_of_the_other_side() {
    let mut rig = Rig::new(|_| ());
    rig.session.plays[0] = Some(Play::Announcement(ramp()));
    rig.apply();
    for sequence in 1..50 {
        assert_eq!(rig.sound(Side::B, 9, sequence), None);
        rig.run(20);
    }
    assert_eq!(said(&mut rig, Side::A, 160).len(), 50, "a second");
    assert!(rig.sound(Side::B, 9, 50).is_some());
    rig.run(2000);
    assert!(rig.spoken.is_empty());
}

#[test]
fn who_wakes_up_late_says_a_few_packets_and_leaves_the_rest_out() {
    let mut rig = Rig::new(|[a, _]| a.direction = Direction::Inactive);
    rig.session.plays[1] = Some(Play::Music(ramp()));
    rig.apply();
    rig.run(19);
    let first = said(&mut rig, Side::B, 160)[0].0;
    rig.wait(42);
    rig.run(0);
    assert_eq!(said(&mut rig, Side::B, 160).len(), 3, "40 ms late");
    rig.wait(400);
    rig.run(0);
    let packets = said(&mut rig, Side::B, 160);
    assert_eq!(packets.len(), 1, "400 ms late");
    let (late, _) = packets[0];
    assert_eq!((late.sequence.wrapping_sub(first.sequence), late.marker), (4, true));
    assert_eq!(late.timestamp.wrapping_sub(first.timestamp), 160 * 23, "its timestamp says when it is");
}
