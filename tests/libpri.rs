//! libpri, which has run in the field for twenty years, as the other end of the D channel; in virtual time.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use demarc::isdn::call::Order;
use demarc::isdn::line::{Line, Output, Report};
use demarc::isdn::link::{Condition, Link, Output as Linked, Parameters};
use demarc::isdn::restart::What;
use demarc::isdn::timeslots::{End, Slot, View};
use demarc::wire::q931::{Dialect, Side};

mod lab;

use lab::{Cable, Ours, line};

/// A STATUS ENQUIRY for a call that nobody knows.
const ENQUIRY: [u8; 5] = [8, 2, 0, 9, 0x75];

impl Cable<Link> {
    fn answers(&self) -> usize {
        self.told.iter().filter(|told| matches!(told, Linked::Data(_))).count()
    }

    fn both_are_up(&self) -> bool {
        self.ours.condition() == Condition::Up && self.libpri_is_up
    }

    fn asks(&mut self) {
        self.act(|link, now, out| link.send(now, ENQUIRY.to_vec(), out)).unwrap();
    }
}

#[test]
fn the_link_comes_up_on_either_side_and_lives_on_a_line_that_loses_frames() {
    for side in [Side::User, Side::Network] {
        for loss in [0, 10, 30] {
            let (mut slowest, mut frames, mut answers, mut interruptions) = (0, 0, 0, 0);
            for seed in 0..20 {
                let link = Link::new(side, Parameters::default());
                let Some(mut cable) = Cable::new(link, side, "ni2", loss, seed) else { return };
                assert!(cable.comes(60_000, Cable::both_are_up));
                slowest = slowest.max(cable.now);
                for _ in 0..20 {
                    if cable.ours.down().is_none() {
                        cable.asks();
                    }
                    cable.run(cable.now + 700);
                }
                cable.run(cable.now + 60_000);
                cable.loss = 0;
                assert!(cable.comes(30_000, Cable::both_are_up));
                let before = cable.answers();
                cable.asks();
                assert!(cable.comes(1_000, |cable| cable.answers() > before));
                frames += cable.frames;
                answers += cable.answers();
                assert!(cable.answers() <= 21);
                interruptions += cable.events.iter().filter(|event| *event == "down").count();
            }
            println!(
                "{side:?}, {loss} % lost: up after at most {slowest} ms; {frames} frames, {answers} answers, libpri saw \
                 the link down {interruptions} times"
            );
            assert!(loss > 0 || (slowest < 100 && interruptions == 0 && answers == 20 * 21));
        }
    }
}

const SWITCHES: [(&str, Dialect); 7] = [
    ("ni2", Dialect::Ni2),
    ("ni1", Dialect::Ni2),
    ("5ess", Dialect::Ess5),
    ("dms100", Dialect::Dms100),
    ("4ess", Dialect::Ess4),
    ("euroisdn", Dialect::EuroIsdn),
    ("qsig", Dialect::Qsig),
];

#[test]
fn calls_go_up_and_down_on_either_side_of_every_switch() {
    for side in [Side::User, Side::Network] {
        for switch in SWITCHES {
            let Some(mut cable) = Cable::up(side, switch, 0, 1) else { return };
            cable.run(cable.now + 1000);
            assert!(cable.reported(|report| matches!(report, Report::Restarted { by: End::Near, .. })), "{switch:?}");
            for by_us in [true, false] {
                assert!(cable.out_and_down(by_us, 1000), "{side:?}, {switch:?}: {:?}", cable.events);
                assert!(cable.in_and_down(by_us, 1000), "{side:?}, {switch:?}: {:?}", cable.events);
            }
            assert!(cable.all_idle());
            assert!(!cable.reported(|report| matches!(report, Report::Call { .. })), "{:?}", cable.told);
        }
    }
}

#[test]
fn on_a_line_that_loses_frames_calls_take_longer_and_every_timeslot_comes_back() {
    for side in [Side::User, Side::Network] {
        for loss in [10, 30] {
            let (mut tried, mut connected, mut healed) = (0, 0, 0);
            for seed in 0..10 {
                let Some(mut cable) = Cable::up(side, SWITCHES[0], loss, seed) else { return };
                for round in 0..4 {
                    let up = |cable: &Cable<Line>| cable.ours.is_up() && cable.libpri_is_up;
                    tried += 2;
                    if cable.comes(60_000, up) {
                        connected += usize::from(cable.out_and_down(round % 2 == 0, 20_000));
                    }
                    if cable.comes(60_000, up) {
                        connected += usize::from(cable.in_and_down(round % 2 == 0, 20_000));
                    }
                }
                cable.loss = 0;
                assert!(cable.comes(600_000, Cable::all_idle), "seed {seed}: {:?}", cable.events);
                assert!(cable.out_and_down(true, 1000) && cable.in_and_down(false, 1000));
                healed += cable.told.iter().filter(|told| matches!(told, Output::Report(Report::Healed(_)))).count();
            }
            println!("{side:?}, {loss} % lost: {connected} of {tried} calls connected, {healed} timeslots healed");
            assert!(connected * 100 >= tried * if loss == 10 { 90 } else { 50 });
        }
    }
}

#[test]
fn calls_from_both_ends_for_one_timeslot_both_go_up() {
    for side in [Side::User, Side::Network] {
        for switch in SWITCHES {
            let Some(mut cable) = Cable::up(side, switch, 0, 1) else { return };
            cable.run(cable.now + 1000);
            cable.told.clear();
            let first = if side == Side::Network { 1 } else { cable.ours.timeslots().count() - 1 };
            let ours = cable.calls();
            cable.orders(&format!("dial {first} any 3125550199 3125550100"));
            let theirs = cable.last("dialled", "call").unwrap().to_owned();
            cable.run(cable.now + 100);
            let incoming = cable.incoming().unwrap();
            cable.order(incoming, Order::Answer(Box::default()));
            let rang = cable.last("ring", "call").unwrap().to_owned();
            // As the exchange, libpri's user has the last word on the timeslot.
            let free = if side == Side::User { " 9" } else { "" };
            cable.orders(&format!("proceeding {rang}{free}"));
            cable.orders(&format!("answer {rang}{free}"));
            cable.run(cable.now + 1000);
            let up = cable.events.iter().any(|event| event.starts_with(&format!("answer call={theirs}")));
            assert!(up, "{side:?} {switch:?}: {:?} {:?}", cable.events, cable.told);
            assert!(cable.answered(ours), "{side:?} {switch:?}: {:?} {:?}", cable.events, cable.told);
        }
    }
}

#[test]
fn restarts_and_blocked_timeslots_are_understood_both_ways() {
    for side in [Side::User, Side::Network] {
        // libpri's ni1 misreads SERVICE.
        for switch @ (_, dialect) in SWITCHES.into_iter().filter(|(name, _)| *name != "ni1") {
            let Some(mut cable) = Cable::up(side, switch, 0, 1) else { return };
            cable.run(cable.now + 1000);
            let slot = Slot { span: 0, timeslot: 5 };
            cable.told.clear();
            cable.orders("restart 5");
            cable.run(cable.now + 100);
            assert!(cable.last("restart-ack", "channel").is_some(), "{side:?} {switch:?}: {:?}", cable.events);
            assert!(cable.reported(|report| *report == Report::Restarted { by: End::Far, slots: vec![slot] }));
            cable.act(|line, now, out| line.restart(now, What::Slot(slot), out));
            cable.run(cable.now + 100);
            assert_eq!(cable.last("restart", "channel"), Some("5"));
            assert!(cable.reported(|report| *report == Report::Restarted { by: End::Near, slots: vec![slot] }));

            cable.act(|line, now, out| line.block(now, slot, true, out));
            cable.run(cable.now + 100);
            assert_eq!(cable.view(5), View::BlockedNear);
            if dialect.maintenance().is_none() {
                assert_eq!(cable.last("status", "channel"), None);
                continue;
            }
            assert_eq!((cable.last("status", "channel"), cable.last("status", "status")), (Some("5"), Some("2")));
            cable.orders("status 6 2");
            cable.run(cable.now + 100);
            assert_eq!(cable.view(6), View::BlockedFar, "{side:?} {switch:?}: {:?}", cable.events);
            assert_eq!(cable.last("status-ack", "channel"), Some("6"));
            cable.run(cable.now + 300_000);
            assert!(!cable.reported(|report| matches!(report, Report::NoticeUnanswered(_))), "{side:?} {switch:?}");
        }
    }
}

#[test]
fn a_call_outlives_an_interruption_of_the_data_link() {
    for side in [Side::User, Side::Network] {
        let Some(mut cable) = Cable::up(side, SWITCHES[0], 0, 1) else { return };
        cable.run(cable.now + 1000);
        cable.orders("timer T309 90000");
        let call = cable.talks();
        cable.loss = 100;
        cable.run(cable.now + 40_000);
        assert!(!cable.ours.is_up() && !cable.libpri_is_up);
        cable.loss = 0;
        assert!(cable.comes(10_000, |cable| cable.ours.is_up() && cable.libpri_is_up));
        cable.run(cable.now + 60_000);
        assert!(!cable.released(call), "{:?}", cable.told);
        cable.hangs_up(call);
        cable.run(cable.now + 1000);
        assert!(cable.all_idle(), "{:?} {:?}", cable.ours.timeslots().collect::<Vec<_>>(), cable.events);
        assert!(!cable.reported(|report| matches!(report, Report::Call { .. })), "{:?}", cable.told);
    }
}

#[test]
fn a_box_that_starts_anew_in_the_midst_of_calls_finds_every_timeslot_usable() {
    for side in [Side::User, Side::Network] {
        for switch @ (_, dialect) in SWITCHES {
            let Some(mut cable) = Cable::up(side, switch, 0, 1) else { return };
            cable.run(cable.now + 1000);
            let call = cable.calls();
            cable.run(cable.now + 50);
            let theirs = cable.last("ring", "call").unwrap().to_owned();
            let slot = cable.ours.slot_of(call).unwrap().timeslot;
            cable.orders(&format!("answer {theirs}"));
            cable.run(cable.now + 50);
            assert!(cable.answered(call));
            cable.ours = line(side, dialect, 1);
            (cable.told, cable.events) = (Vec::new(), Vec::new());
            cable.act(Ours::start);
            assert!(cable.comes(10_000, |cable| cable.last("restart", "channel") == Some("-1")), "{:?}", cable.events);
            cable.run(cable.now + 10_000);
            let call = cable.calls();
            assert_eq!(cable.ours.slot_of(call).unwrap().timeslot, slot);
            assert!(cable.comes(1000, |cable| cable.last("ring", "call").is_some()), "{:?}", cable.events);
            cable.hangs_up(call);
            cable.run(cable.now + 1000);
            for by_us in [true, false] {
                assert!(cable.out_and_down(by_us, 1000), "{side:?} {switch:?}: {:?}", cable.events);
                assert!(cable.in_and_down(by_us, 1000), "{side:?} {switch:?}: {:?}", cable.events);
            }
        }
    }
}

#[test]
fn timeslots_of_several_spans_are_told_apart_on_one_d_channel() {
    for side in [Side::User, Side::Network] {
        for switch in SWITCHES.into_iter().filter(|(_, dialect)| !dialect.is_private()) {
            let Some(mut cable) = Cable::group(side, switch, 2, 0, 1) else { return };
            cable.run(cable.now + 1000);
            let restarted = |report: &Report| matches!(report, Report::Restarted { by: End::Near, .. });
            let count = |told: &&Output| matches!(told, Output::Report(report) if restarted(report));
            assert_eq!(cable.told.iter().filter(count).count(), 2, "{side:?} {switch:?}: {:?}", cable.events);
            // The user's end hunts from above.
            let last = cable.ours.timeslots().last().unwrap().0.timeslot;
            let expected = if side == Side::User { format!("1.{last}") } else { "0.1".to_owned() };
            let ours = cable.calls();
            cable.orders("dial 1.7 exclusive 3125550199 3125550100");
            cable.run(cable.now + 100);
            assert_eq!(cable.last("ring", "channel"), Some(&expected[..]), "{side:?} {switch:?}");
            let theirs = cable.incoming().unwrap();
            assert_eq!(cable.ours.slot_of(theirs), Some(Slot { span: 1, timeslot: 7 }));
            let rang = cable.last("ring", "call").unwrap().to_owned();
            cable.orders(&format!("answer {rang}"));
            cable.order(theirs, Order::Answer(Box::default()));
            cable.run(cable.now + 100);
            assert!(cable.answered(ours) && cable.last("answer", "call").is_some(), "{side:?} {switch:?}");
            cable.hangs_up(ours);
            cable.hangs_up(theirs);
            cable.run(cable.now + 1000);
            assert!(cable.all_idle());
        }
    }
}
