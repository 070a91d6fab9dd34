//! Lines in virtual time, and one in real time.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Cable, End, Pacer, Side, Wire};
use crate::line::{Alarms, Line, LoopBack};
use crate::{Bearer, DChannel, Span, SpanError};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn readable(fd: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
}

fn frames(channel: &mut dyn DChannel) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    let mut frame = [0; 300];
    while let Some(length) = channel.receive(&mut frame).unwrap() {
        heard.push(frame[..length].to_vec());
    }
    heard
}

/// A line whose time the test lets pass.
struct Lab {
    cable: Cable,
    near: End,
    far: End,
    passed: Duration,
    /// Each change of alarms: when, at which end, what stands then.
    alarms: Vec<(u64, Side, String)>,
}

impl Lab {
    fn new(line: Line) -> Lab {
        let (cable, near, far) = Cable::new(line, 7).unwrap();
        Lab { cable, near, far, passed: Duration::ZERO, alarms: Vec::new() }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.passed + time;
        while self.passed < until {
            self.cable.advance(ms(1));
            self.passed += ms(1);
            for (side, end) in [(Side::Near, &mut self.near), (Side::Far, &mut self.far)] {
                if let Some(alarms) = end.poll().unwrap() {
                    self.alarms.push((self.passed.as_millis() as u64, side, alarms.to_string()));
                }
            }
        }
    }

    fn told(&mut self) -> Vec<(u64, Side, String)> {
        std::mem::take(&mut self.alarms)
    }
}

#[test]
fn octets_cross_exactly_at_eight_thousand_a_second() {
    for line in [Line::T1, Line::E1] {
        let mut lab = Lab::new(line);
        let slots: Vec<_> = line.all().filter(|slot| *slot != line.d_timeslot()).collect();
        let mut sent: Vec<VecDeque<u8>> = vec![VecDeque::new(); slots.len()];
        let mut near: Vec<_> = slots.iter().map(|slot| lab.near.bearer(*slot).unwrap()).collect();
        let mut far: Vec<_> = slots.iter().map(|slot| lab.far.bearer(*slot).unwrap()).collect();
        let mut heard = vec![0; slots.len()];
        for step in 0..500u32 {
            for (at, bearer) in near.iter_mut().enumerate() {
                let octets: Vec<u8> = (0..8).map(|offset| (step * 8 + offset + at as u32) as u8).collect();
                assert_eq!(bearer.write(&octets).unwrap(), 8);
                sent[at].extend(octets);
            }
            lab.pass(ms(1));
            for (at, bearer) in far.iter_mut().enumerate() {
                let mut octets = [0; 64];
                let count = bearer.read(&mut octets).unwrap();
                heard[at] += count;
                // What comes first was in the elastic store: 16 octets of silence.
                let begun = (heard[at] - count..heard[at]).zip(&octets).skip_while(|(place, _)| *place < 16);
                for (_, octet) in begun {
                    assert_eq!(Some(*octet), sent[at].pop_front());
                }
            }
        }
        assert_eq!(heard, vec![4000; slots.len()], "{line:?}");
    }
}

#[test]
fn a_timeslot_is_one_owners() {
    let mut lab = Lab::new(Line::T1);
    let third = Line::T1.timeslot(3).unwrap();
    let bearer = lab.near.bearer(third).unwrap();
    assert!(matches!(lab.near.bearer(third), Err(SpanError::Taken(slot)) if slot == third));
    drop(bearer);
    assert!(lab.near.bearer(third).is_ok());
    let channel = lab.near.d_channel().unwrap();
    assert!(matches!(lab.near.bearer(Line::T1.d_timeslot()), Err(SpanError::Taken(_))));
    assert!(matches!(lab.near.d_channel(), Err(SpanError::Taken(_))));
    drop(channel);
    assert!(lab.near.bearer(Line::T1.d_timeslot()).is_ok(), "a line without D-channel has 24 bearers");
    let of_an_e1 = Line::E1.timeslot(31).unwrap();
    assert!(matches!(lab.near.bearer(of_an_e1), Err(SpanError::NoTimeslot(_))));
}

#[test]
fn a_bearer_is_silent_until_something_is_said_and_forgets_its_owner_before() {
    let mut lab = Lab::new(Line::E1);
    let slot = Line::E1.timeslot(9).unwrap();
    let mut far = lab.far.bearer(slot).unwrap();
    let mut near = lab.near.bearer(slot).unwrap();
    near.write(&[1; 100]).unwrap();
    drop(near);
    let mut near = lab.near.bearer(slot).unwrap();
    lab.pass(ms(3));
    near.write(&[2; 16]).unwrap();
    lab.pass(ms(20));
    let mut octets = [0; 256];
    let count = far.read(&mut octets).unwrap();
    let said: Vec<u8> = octets[..count].iter().copied().filter(|octet| *octet != 0xd5).collect();
    assert_eq!((count, said), (184, vec![2; 16]));
}

#[test]
fn a_bearer_is_ready_each_five_milliseconds() {
    let mut lab = Lab::new(Line::T1);
    let mut bearer = lab.near.bearer(Line::T1.timeslot(1).unwrap()).unwrap();
    for _ in 0..10 {
        for _ in 0..4 {
            lab.pass(ms(1));
            assert!(!readable(bearer.ready()));
        }
        lab.pass(ms(1));
        assert!(readable(bearer.ready()));
        assert_eq!(bearer.read(&mut [0; 100]).unwrap(), 40);
    }
    // Who does not read loses what comes last, and goes on with the oldest.
    lab.pass(ms(500));
    assert_eq!(bearer.read(&mut [0; 4000]).unwrap(), 1024);
}

#[test]
fn frames_cross_at_the_pace_of_the_line() {
    let mut lab = Lab::new(Line::E1);
    let (mut near, mut far) = (lab.near.d_channel().unwrap(), lab.far.d_channel().unwrap());
    let setup: Vec<u8> = (0..200).map(|at| (at * 7) as u8).collect();
    near.send(&setup).unwrap();
    far.send(&[2, 1, 0x7f]).unwrap();
    lab.pass(ms(25));
    assert!(!readable(far.ready()) && readable(near.ready()));
    lab.pass(ms(4));
    assert!(readable(far.ready()));
    assert_eq!(frames(&mut *far), [setup]);
    assert_eq!(frames(&mut *near), [[2, 1, 0x7f]]);
    assert!(!readable(far.ready()) && !readable(near.ready()));
    assert_eq!(lab.near.counters(), Default::default());
}

#[test]
fn a_queue_that_is_full_says_so() {
    let mut lab = Lab::new(Line::T1);
    let mut near = lab.near.d_channel().unwrap();
    let refused = (0..).find_map(|_| near.send(&[1; 260]).err());
    assert_eq!(refused.map(|error| error.kind()), Some(std::io::ErrorKind::WouldBlock));
    assert!(near.send(&[0; 265]).is_err());
    lab.pass(ms(40));
    near.send(&[1; 260]).unwrap();
}

#[test]
fn a_t1_that_is_pulled_is_red_after_2500_ms_and_good_10_s_after_it_is_put_back() {
    let mut lab = Lab::new(Line::T1);
    lab.pass(ms(100));
    lab.cable.disturbance().pull();
    lab.pass(ms(3000));
    assert_eq!(lab.told(), [(2600, Side::Near, "LOS".into()), (2600, Side::Far, "LOS".into())]);
    lab.cable.disturbance().put_back();
    lab.pass(ms(11_000));
    // Each is still red when the plug is in, says so, and hears the other say so.
    let alarms = [(3600, "LOS RAI"), (13_100, "RAI"), (13_600, "none")];
    let both = alarms.map(|(at, alarms)| [(at, Side::Near, alarms.to_owned()), (at, Side::Far, alarms.to_owned())]);
    assert_eq!(lab.told(), both.concat());
    assert_eq!(lab.near.counters().errored_seconds, 4, "0.1 s to 3.1 s");
}

#[test]
fn who_hears_nothing_says_so() {
    let mut lab = Lab::new(Line::T1);
    lab.cable.disturbance().wire(Side::Near, Wire::Cut);
    lab.pass(ms(3100));
    assert_eq!(lab.told(), [(2500, Side::Far, "LOS".into()), (3000, Side::Near, "RAI".into())]);
    lab.cable.disturbance().wire(Side::Near, Wire::Garbled);
    lab.pass(ms(10_000));
    assert_eq!(lab.far.alarms(), Alarms::LOF);
}

#[test]
fn an_e1_takes_a_tenth_of_a_second() {
    let mut lab = Lab::new(Line::E1);
    lab.cable.disturbance().wire(Side::Far, Wire::Cut);
    lab.pass(ms(300));
    lab.cable.disturbance().put_back();
    lab.pass(ms(300));
    let told = |at, side, alarms: &str| (at, side, alarms.to_owned());
    assert_eq!(
        lab.told(),
        [
            told(100, Side::Near, "LOS"),
            told(200, Side::Far, "RAI"),
            told(400, Side::Near, "none"),
            told(500, Side::Far, "none")
        ]
    );
}

#[test]
fn a_span_forced_down_sends_ais_and_carries_nothing() {
    let mut lab = Lab::new(Line::E1);
    let (mut near, mut far) = (lab.near.d_channel().unwrap(), lab.far.d_channel().unwrap());
    lab.near.force_down(true).unwrap();
    lab.pass(ms(150));
    assert_eq!((lab.far.alarms(), lab.near.alarms()), (Alarms::AIS, Alarms::NONE));
    far.send(&[2, 1, 0x7f]).unwrap();
    lab.pass(ms(150));
    assert_eq!((frames(&mut *near).len(), lab.near.alarms()), (0, Alarms::RAI));
    lab.near.force_down(false).unwrap();
    lab.pass(ms(300));
    far.send(&[2, 1, 0x73]).unwrap();
    lab.pass(ms(50));
    assert_eq!(frames(&mut *near), [[2, 1, 0x73]]);
    assert!(lab.far.alarms().is_empty() && lab.near.alarms().is_empty());
}

#[test]
fn clocks_50_ppm_apart_slip_each_2500_ms_at_both_ends() {
    let mut lab = Lab::new(Line::E1);
    lab.cable.disturbance().clock(Side::Near, 25);
    lab.cable.disturbance().clock(Side::Far, -25);
    lab.pass(ms(100_500));
    assert_eq!((lab.near.counters().slips, lab.far.counters().slips), (40, 40));
    assert_eq!(lab.far.counters().errored_seconds, 40);
    assert_eq!(lab.far.counters().code_violations, 0);
}

#[test]
fn a_slip_is_one_octet_more_or_less_and_nothing_else_happens() {
    let clocks = [[500, -500], [-500, 500], [1000, 300], [-300, -1000], [0, 700], [5000, -5000], [-5000, 5000]];
    for ([said_ppm, heard_ppm], from_near) in clocks.into_iter().flat_map(|ppm| [(ppm, true), (ppm, false)]) {
        let (steps, slips) = steps(said_ppm, heard_ppm, from_near);
        assert_eq!(slips, 20_000 * u64::from(i32::unsigned_abs(said_ppm - heard_ppm)) / 125_000);
        let expected = if said_ppm > heard_ppm { [0, slips] } else { [slips, 0] };
        assert_eq!([steps[0], steps[2]], expected, "{said_ppm} {heard_ppm} {from_near}");
    }
}

/// Of the octets heard in 20 s, how many were the one before again, its next, and its next but one; and the slips.
fn steps(said_ppm: i32, heard_ppm: i32, from_near: bool) -> ([u64; 3], u64) {
    let slot = Line::E1.timeslot(1).unwrap();
    let mut lab = Lab::new(Line::E1);
    let sides = if from_near { [Side::Near, Side::Far] } else { [Side::Far, Side::Near] };
    sides.into_iter().zip([said_ppm, heard_ppm]).for_each(|(side, ppm)| lab.cable.disturbance().clock(side, ppm));
    let (mut speaker, mut listener) = (lab.near.bearer(slot).unwrap(), lab.far.bearer(slot).unwrap());
    if !from_near {
        std::mem::swap(&mut speaker, &mut listener);
    }
    let mut numbers = (1..=100u8).cycle();
    let mut octets = [0; 400];
    // Enough to be said, and then as much as is heard, by the speaker's clock.
    let mut count = 80;
    let (mut last, mut steps) = (None, [0; 3]);
    for _ in 0..20_000 {
        octets[..count].fill_with(|| numbers.next().unwrap());
        assert_eq!(speaker.write(&octets[..count]).unwrap(), count);
        lab.pass(ms(1));
        count = listener.read(&mut octets).unwrap();
        for octet in octets[..count].iter().filter(|octet| **octet <= 100) {
            let step = last.map_or(1, |last: u8| (octet + 100 - last) % 100);
            assert!(step <= 2, "{said_ppm} {heard_ppm} {from_near}: {octet} after {last:?}");
            steps[usize::from(step)] += 1;
            last = Some(*octet);
        }
        count = speaker.read(&mut octets).unwrap();
    }
    let listens = if from_near { &lab.far } else { &lab.near };
    (steps, listens.counters().slips)
}

#[test]
fn an_end_whose_clock_is_fast_hears_and_says_more() {
    let mut lab = Lab::new(Line::T1);
    lab.cable.disturbance().clock(Side::Near, 1000);
    let slot = Line::T1.timeslot(1).unwrap();
    let (mut near, mut far) = (lab.near.bearer(slot).unwrap(), lab.far.bearer(slot).unwrap());
    let mut heard = [0; 2];
    for _ in 0..10_000 {
        lab.pass(ms(1));
        heard[0] += near.read(&mut [0; 64]).unwrap();
        heard[1] += far.read(&mut [0; 64]).unwrap();
    }
    assert_eq!(heard, [80_080, 80_000]);
}

#[test]
fn bit_errors_spoil_frames_which_are_counted_and_not_heard() {
    let mut lab = Lab::new(Line::T1);
    let (mut near, mut far) = (lab.near.d_channel().unwrap(), lab.far.d_channel().unwrap());
    lab.cable.disturbance().bit_errors(2e-3);
    let mut good = 0;
    for _ in 0..200 {
        near.send(&[0x55; 60]).unwrap();
        lab.pass(ms(12));
        for frame in frames(&mut *far) {
            assert_eq!(frame, [0x55; 60]);
            good += 1;
        }
    }
    let counters = lab.far.counters();
    assert!((30..120).contains(&good), "of 500 bits one is bad: {good} of 200 frames");
    assert!(counters.bad_hdlc_frames + good >= 190, "{counters:?}");
    assert!((6500..8300).contains(&counters.code_violations), "{counters:?}");
    // 800 blocks of 3 ms, each with an error, and a few errors in 4,800 framing bits.
    assert!((800..830).contains(&counters.frame_errors) && counters.errored_seconds == 2, "{counters:?}");
}

#[test]
fn errors_in_the_framing_alone_lose_a_line_s_frames() {
    for (line, raised) in [(Line::T1, ms(2600)), (Line::E1, ms(200))] {
        let mut lab = Lab::new(line);
        lab.cable.disturbance().bit_errors(0.5);
        lab.pass(raised);
        assert!(lab.near.alarms().contains(Alarms::LOF) && lab.far.alarms().contains(Alarms::LOF), "{line:?}");
        lab.cable.disturbance().bit_errors(0.0);
        lab.pass(ms(11_000));
        assert_eq!((lab.near.alarms(), lab.far.alarms()), (Alarms::NONE, Alarms::NONE), "{line:?}");
    }
}

#[test]
fn what_is_looped_comes_back() {
    let slot = Line::E1.timeslot(5).unwrap();
    // Which end loops, how, and which end hears what near says.
    for (local, kind) in [(true, LoopBack::Local), (false, LoopBack::Line), (false, LoopBack::Payload)] {
        let mut lab = Lab::new(Line::E1);
        let mut bearer = lab.near.bearer(slot).unwrap();
        let mut channel = lab.near.d_channel().unwrap();
        let end = if local { &mut lab.near } else { &mut lab.far };
        end.loop_back(Some(kind)).unwrap();
        bearer.write(&[3; 80]).unwrap();
        channel.send(&[0, 1, 0x7f]).unwrap();
        lab.pass(ms(30));
        let mut octets = [0; 256];
        let count = bearer.read(&mut octets).unwrap();
        assert_eq!(octets[..count].iter().filter(|octet| **octet == 3).count(), 80, "{kind:?}");
        assert_eq!(frames(&mut *channel), [[0, 1, 0x7f]], "{kind:?}");
        let end = if local { &mut lab.near } else { &mut lab.far };
        end.loop_back(None).unwrap();
        channel.send(&[0, 1, 0x7f]).unwrap();
        lab.pass(ms(30));
        assert_eq!(frames(&mut *channel).len(), 0);
    }
}

#[test]
fn the_same_seed_disturbs_the_same_octets() {
    let heard = || {
        let mut lab = Lab::new(Line::E1);
        lab.cable.disturbance().bit_errors(1e-3);
        let mut bearer = lab.far.bearer(Line::E1.timeslot(1).unwrap()).unwrap();
        lab.pass(ms(100));
        let mut octets = vec![0; 800];
        assert_eq!(bearer.read(&mut octets).unwrap(), 800);
        octets
    };
    assert_eq!(heard(), heard());
}

#[test]
fn no_wake_up_is_lost_between_two_threads() {
    let (mut cable, mut near, mut far) = Cable::new(Line::E1, 1).unwrap();
    let mut bearer = far.bearer(Line::E1.timeslot(1).unwrap()).unwrap();
    let (mut said, mut heard) = (near.d_channel().unwrap(), far.d_channel().unwrap());
    // As fast as can be, the line waits for nobody but the reader of its octets.
    let (progress, done) = std::sync::mpsc::sync_channel(20);
    let line = thread::spawn(move || {
        for number in 0..20_000u32 {
            if number % 16 == 0 {
                said.send(&number.to_be_bytes()).unwrap();
            }
            cable.advance(ms(1));
            if number % 5 == 4 && progress.send(()).is_err() {
                return;
            }
        }
    });
    let (mut octets, mut numbers) = (0, Vec::new());
    while octets < 159_000 {
        let mut fds = [bearer.ready(), heard.ready()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = done.try_recv();
        assert!(poll(&mut fds, PollTimeout::from(2000u16)).unwrap() > 0, "woken up at {octets} octets");
        let [bearer_ready, heard_ready] = fds.map(|fd| fd.any() == Some(true));
        if bearer_ready {
            octets += bearer.read(&mut [0; 16]).unwrap();
            octets += bearer.read(&mut [0; 512]).unwrap();
        }
        if heard_ready {
            numbers.extend(frames(&mut *heard));
        }
    }
    drop(done);
    line.join().unwrap();
    assert!(numbers.len() > 1200 && numbers.is_sorted(), "{} frames", numbers.len());
}

#[test]
fn in_real_time_the_line_keeps_its_pace() {
    let pacer = Pacer::start(|| ()).unwrap();
    let (cable, mut near, mut far) = Cable::new(Line::T1, 1).unwrap();
    let slot = Line::T1.timeslot(1).unwrap();
    let (mut said, mut heard) = (near.bearer(slot).unwrap(), far.bearer(slot).unwrap());
    let mut channel = far.d_channel().unwrap();
    near.d_channel().unwrap().send(&[0, 1, 0x7f]).unwrap();
    pacer.add(cable);
    let mut octets = Vec::new();
    while octets.len() < 2400 {
        said.write(&[9; 40]).unwrap();
        assert_eq!(
            poll(&mut [PollFd::new(heard.ready(), PollFlags::POLLIN)], PollTimeout::from(2000u16)).unwrap(),
            1,
            "within two seconds"
        );
        let mut block = [0; 1024];
        let count = heard.read(&mut block).unwrap();
        octets.extend_from_slice(&block[..count]);
    }
    // Everything that was heard took its time.
    assert!(pacer.ticks() >= 300, "{}", pacer.ticks());
    assert!(octets.contains(&9));
    assert_eq!(frames(&mut *channel), [[0, 1, 0x7f]]);
    drop((near, far, said, heard, channel));
    thread::sleep(ms(5));
    drop(pacer);
}

#[test]
fn an_end_is_gone_when_nobody_holds_the_other_or_the_cable() {
    let (mut cable, mut near, mut far) = Cable::new(Line::T1, 1).unwrap();
    let bearer = near.bearer(Line::T1.timeslot(1).unwrap()).unwrap();
    drop(near);
    cable.advance(Duration::from_millis(1));
    assert!(far.poll().is_ok(), "its bearer is held");
    drop(bearer);
    cable.advance(Duration::from_millis(1));
    assert!(matches!(far.poll(), Err(SpanError::Gone)));
    let (cable, mut near, _far) = Cable::new(Line::T1, 1).unwrap();
    drop(cable);
    assert!(matches!(near.poll(), Err(SpanError::Gone)));
}
