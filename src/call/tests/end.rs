//! Calls that end badly: each lets go of both sides, says why, and is forgotten in bounded time.

use super::*;
use crate::session::Side;

#[test]
fn a_peer_that_no_longer_knows_the_call_ends_it_for_both() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.seen();
    world.answer(b, 481, "");
    assert_eq!(world.seen(), "gw1:ACK gw1:BYE lync:487 lync:BYE close");
    world.rest();
}

#[test]
fn a_peer_that_answers_no_change_ends_the_call() {
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.seen();
    world.pass(seconds(33));
    assert_eq!(world.seen(), "gw1:BYE lync:487 lync:BYE close");
    assert_eq!(world.end(), "answered 102 by called");
    world.rest();
}

#[test]
fn media_that_fell_silent_ends_the_call_and_says_so() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    let id = world.session();
    world.media_says(MediaReport::Silent(id, Side::B, seconds(30)));
    assert_eq!(world.seen(), "lync:BYE gw1:BYE close");
    for phone in [a, b] {
        assert!(header(world.asked(phone, Method::Bye), Name::Reason).starts_with("Q.850;cause=41;text=\""));
    }
    assert!(world.asked(a, Method::Bye).text(Name::MsDiagnostics).is_some());
    let Some(Report::Ended(end)) = world.reports.iter().rev().find(|report| matches!(report, Report::Ended(_))) else {
        panic!("no end")
    };
    assert!(end.release.why.contains("Gateway1 for 30 s"), "{}", end.release.why);
    world.rest();
}

#[test]
fn no_ports_no_call() {
    let mut world = World::new();
    world.engine = Engine::Refuses;
    let a = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:503 open close");
    assert!(header(world.told(a, 503), Name::Reason).starts_with("Q.850;cause=47;"));
    world.rest();
}

#[test]
fn an_engine_that_does_not_answer_is_not_waited_for() {
    let mut world = World::new();
    world.engine = Engine::Sleeps;
    let a = world.invite(LYNC, &secret("0"));
    world.pass(seconds(3));
    assert_eq!(world.seen(), "lync:100 lync:503 open close");
    assert!(header(world.told(a, 503), Name::Reason).starts_with("Q.850;cause=47;"));
    world.rest();
}

#[test]
fn an_answer_that_is_never_confirmed_ends_the_call() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 200, &plain("0"));
    world.seen();
    world.pass(Duration::from_millis(31_900));
    assert!(world.seen().split(' ').all(|word| word == "lync:200+sdp"));
    world.pass(seconds(2));
    assert_eq!(world.seen(), "lync:BYE gw1:BYE close");
    assert!(header(world.asked(b, Method::Bye), Name::Reason).starts_with("Q.850;cause=102;"));
    assert_eq!(world.end(), "answered 102 by caller");
    assert!(world.asked(a, Method::Bye).text(Name::MsDiagnostics).is_some());
    world.rest();
}

#[test]
fn a_hang_up_before_the_confirmation_waits_for_it() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 200, &plain("0"));
    world.seen();
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "close");
    world.ack(a, "");
    assert_eq!(world.seen(), "lync:BYE");
    world.rest();
}

#[test]
fn a_peer_that_vanished_is_forgotten() {
    for gone in [LYNC, GW1] {
        let mut world = World::new();
        let (a, b) = world.talk(LYNC, GW1);
        world.unreachable.insert(gone);
        world.ask(if gone == LYNC { b } else { a }, Method::Bye, "", "");
        assert!(world.seen().contains("close"));
        assert!(world.snapshot().calls.is_empty());
        world.rest();
    }
}

#[test]
fn a_bye_that_nobody_answers() {
    let mut world = World::new();
    world.rude = true;
    let (a, _) = world.talk(LYNC, GW3);
    world.ask(a, Method::Bye, "", "");
    world.pass(seconds(33));
    // T1 doubling up to T2, for 32 s.
    assert_eq!(world.seen().matches("gw3:BYE").count(), 11);
    world.rest();
}

#[test]
fn both_hang_up_at_once() {
    let mut world = World::new();
    world.rude = true;
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:BYE close");
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.told(b, 200).cseq().unwrap().method, Method::Bye);
    world.reply(b, Method::Bye, 481, "far", "", "");
    world.rest();
}

#[test]
fn a_caller_that_hangs_up_instead_of_cancelling() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 180, "");
    world.seen();
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.seen(), "lync:487 gw1:CANCEL gw1:ACK close");
    world.rest();
}

#[test]
fn after_an_answer_that_cannot_be_used_nobody_else_is_called() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.seen();
    world.answer(b, 200, "");
    let seen = world.seen();
    assert!(!seen.contains("gw2") && seen.starts_with("gw1:ACK gw1:BYE"), "{seen}");
    assert!(seen.contains("lync:502"), "{seen}");
    world.told(a, 502);
    world.rest();
}

#[test]
fn a_caller_that_no_longer_refreshes_its_session_is_gone() {
    let mut world = World::new();
    let more = "Supported: timer\nSession-Expires: 90;refresher=uac\n";
    let a = world.invite_to(LYNC, "+13125556789", more, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 200, &plain("0"));
    world.ack(a, "");
    assert!(header(world.told(a, 200), Name::SessionExpires).starts_with("90"));
    world.pass(seconds(50));
    world.ask(a, Method::Update, more, "");
    world.seen();
    world.pass(seconds(50));
    assert_eq!(world.seen(), "");
    world.pass(seconds(40));
    assert_eq!(world.seen(), "lync:BYE gw1:BYE close");
    assert_eq!(world.end(), "answered 102 by caller");
    world.rest();
}
