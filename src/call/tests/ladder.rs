//! Calls that go well, in both directions, and calls that the caller gives up.

use super::*;

#[test]
fn from_lync_to_a_gateway() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0 8 101"));
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp open");
    let b = world.rung(GW1);
    let offer = String::from_utf8_lossy(world.asked(b, Method::Invite).body()).into_owned();
    assert!(offer.contains("m=audio 40006 RTP/AVP 0 8"), "{offer}");

    world.answer(b, 100, "");
    world.answer(b, 183, &plain("0"));
    assert_eq!(world.seen(), "lync:183+sdp");
    assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");
    world.answer(b, 180, "");
    assert_eq!(world.seen(), "lync:180");
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.seen(), "gw1:ACK lync:200+sdp");
    world.ack(a, "");

    let view = &world.snapshot().calls[0];
    assert_eq!((view.codecs, view.srtp, view.held), ([Some("PCMU"); 2], [true, false], false));
    assert_eq!((view.from.as_str(), view.to.as_deref()), ("lync", Some("Gateway1")));
    assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");

    world.pass(seconds(60));
    assert_eq!(world.seen(), "");
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:BYE close");
    assert_eq!(world.end(), "answered 16 by caller");
    world.rest();
}

#[test]
fn from_a_gateway_to_lync() {
    let mut world = World::new();
    let a = world.invite(GW2, &plain("8 0"));
    assert_eq!(world.seen(), "gw2:100 lync:INVITE+sdp open");
    let b = world.rung(LYNC);
    world.answer(b, 183, &secret("8"));
    world.answer(b, 180, "");
    world.answer(b, 200, &secret("8"));
    assert_eq!(world.seen(), "gw2:183+sdp gw2:180 lync:ACK gw2:200+sdp");
    world.ack(a, "");
    assert_eq!(world.media(), "plain PCMA sendrecv | srtp PCMA sendrecv");

    world.ask(b, Method::Bye, "Reason: Q.850;cause=31\n", "");
    assert_eq!(world.seen(), "gw2:BYE close");
    assert!(header(world.asked(a, Method::Bye), Name::Reason).starts_with("Q.850;cause=31"));
    assert_eq!(world.end(), "answered 31 by called");
    world.rest();
}

#[test]
fn ringing_without_sound_and_the_answer() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0 8"));
    let b = world.rung(GW1);
    world.answer(b, 180, "");
    world.answer(b, 180, "");
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp lync:180 open");
    world.answer(b, 200, &plain("8"));
    world.ack(a, "");
    assert_eq!(world.media(), "srtp PCMA sendrecv | plain PCMA sendrecv");
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:ACK lync:200+sdp lync:BYE close");
    world.rest();
}

#[test]
fn over_udp_what_is_lost_is_said_again() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW3);
    // Its 200 once more: our ACK was lost.
    world.answer(b, 200, &plain("0 8"));
    assert_eq!(world.seen(), "gw3:ACK");
    world.rude = true;
    world.ask(a, Method::Bye, "", "");
    world.pass(seconds(2));
    assert_eq!(world.seen(), "gw3:BYE gw3:BYE gw3:BYE close");
    world.reply(b, Method::Bye, 200, "far", "", "");
    world.pass(seconds(10));
    assert_eq!(world.seen(), "");
    world.rest();
}

#[test]
fn an_invite_without_an_offer_gets_one() {
    for (from, to, offer, answer) in [(LYNC, GW1, plain("0 8"), secret("0")), (GW1, LYNC, secret("0 8"), plain("0"))] {
        let mut world = World::new();
        let a = world.invite(from, "");
        let b = world.rung(to);
        assert!(!world.asked(b, Method::Invite).body().is_empty());
        world.answer(b, 180, "");
        world.answer(b, 200, &offer);
        world.seen();
        let ours = String::from_utf8_lossy(world.told(a, 200).body()).into_owned();
        assert!(ours.contains(if from == LYNC { "RTP/SAVP 0" } else { "RTP/AVP 0" }), "{ours}");
        world.ack(a, &answer);
        let sides = if from == LYNC { ["srtp", "plain"] } else { ["plain", "srtp"] };
        assert_eq!(world.media(), format!("{} PCMU sendrecv | {} PCMU sendrecv", sides[0], sides[1]));
        world.ask(a, Method::Bye, "", "");
        world.rest();
    }
}

#[test]
fn an_offer_of_ours_that_the_ack_does_not_answer_ends_the_call() {
    let mut world = World::new();
    let a = world.invite(GW1, "");
    let b = world.rung(LYNC);
    world.answer(b, 200, &secret("0"));
    world.seen();
    world.ack(a, "");
    assert_eq!(world.seen(), "gw1:BYE lync:BYE close");
    assert_eq!(world.end(), "answered 111 by caller");
    world.rest();
}

// CANCEL.

#[test]
fn cancelled_before_there_are_ports() {
    let mut world = World::new();
    world.engine = Engine::Sleeps;
    let a = world.invite(LYNC, &secret("0"));
    world.cancel(a);
    assert_eq!(world.seen(), "lync:100 lync:487 open close");
    // The ports come all the same: they are on their way home already.
    world.engine_wakes();
    assert_eq!(world.seen(), "");
    assert_eq!(world.end(), "cancelled 16 by caller");
    world.rest();
}

#[test]
fn cancelled_before_the_far_end_said_anything() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.cancel(a);
    // A CANCEL waits for a provisional response (RFC 3261 section 9.1).
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp lync:487 open close");
    world.answer(b, 100, "");
    assert_eq!(world.seen(), "gw1:CANCEL gw1:ACK");
    assert!(header(world.asked(b, Method::Cancel), Name::Reason).starts_with("Q.850;cause=16"));
    world.rest();
}

#[test]
fn cancelled_and_the_far_end_never_says_anything() {
    let mut world = World::new();
    world.rude = true;
    let a = world.invite(LYNC, &secret("0"));
    world.cancel(a);
    world.rest();
    assert_eq!(world.end(), "cancelled 16 by caller");
}

#[test]
fn cancelled_after_trying_or_ringing() {
    for status in [100, 180] {
        let mut world = World::new();
        let a = world.invite(GW1, &plain("0"));
        let b = world.rung(LYNC);
        world.answer(b, status, "");
        world.seen();
        world.cancel(a);
        assert_eq!(world.seen(), "gw1:487 lync:CANCEL lync:ACK close");
        world.rest();
    }
}

#[test]
fn a_cancel_that_crosses_the_far_ends_answer() {
    let mut world = World::new();
    world.rude = true;
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 180, "");
    world.seen();
    world.cancel(a);
    assert_eq!(world.seen(), "lync:487 gw1:CANCEL close");
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.seen(), "gw1:ACK gw1:BYE");
    world.reply(b, Method::Cancel, 200, "far", "", "");
    world.reply(b, Method::Bye, 200, "far", "", "");
    assert_eq!(world.end(), "cancelled 16 by caller");
    world.rest();
}

#[test]
fn a_cancel_that_crosses_our_answer_changes_nothing() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 200, &plain("0"));
    world.seen();
    world.cancel(a);
    assert_eq!(world.seen(), "");
    world.ack(a, "");
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

// Forks.

#[test]
fn forks_of_the_far_end_are_shown_as_forks() {
    let mut world = World::new();
    let a = world.invite(GW1, &plain("0"));
    let b = world.rung(LYNC);
    world.reply(b, Method::Invite, 180, "one", "", "");
    world.reply(b, Method::Invite, 180, "two", "", "");
    assert_eq!(world.seen(), "gw1:100 lync:INVITE+sdp gw1:180 gw1:180 open");
    let tags: Vec<_> = world.phones[a].told.iter().filter_map(|told| told.tag(Name::To)).collect();
    assert_ne!(tags[0], tags[1]);
    let second = tags[1].to_owned();
    world.reply(b, Method::Invite, 200, "two", "", &secret("0"));
    assert_eq!(world.told(a, 200).tag(Name::To), Some(second.as_str()));
    world.ack(a, "");
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.asked(b, Method::Bye).tag(Name::To), Some("two"));
    world.rest();
}

#[test]
fn a_gateway_that_takes_one_early_dialog_sees_one() {
    let mut world = World::with(ini(&["[Gateway1]\nMaxEarlyDialogs=1"]));
    let a = world.invite(GW1, &plain("0"));
    let b = world.rung(LYNC);
    world.reply(b, Method::Invite, 180, "one", "", "");
    world.reply(b, Method::Invite, 183, "two", "", &secret("0"));
    world.reply(b, Method::Invite, 200, "two", "", &secret("0"));
    let tags: BTreeSet<_> = world.phones[a].told.iter().filter_map(|told| told.tag(Name::To)).collect();
    assert_eq!(tags.len(), 1);
    world.ack(a, "");
    assert_eq!(world.media(), "plain PCMU sendrecv | srtp PCMU sendrecv");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_second_fork_that_answers_is_hung_up() {
    let mut world = World::new();
    let a = world.invite(GW1, &plain("0"));
    let b = world.rung(LYNC);
    world.reply(b, Method::Invite, 200, "one", "", &secret("0"));
    world.ack(a, "");
    world.seen();
    world.reply(b, Method::Invite, 200, "two", "", &secret("0"));
    assert_eq!(world.seen(), "lync:ACK lync:BYE");
    assert_eq!(world.asked(b, Method::Bye).tag(Name::To), Some("two"));
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.asked(b, Method::Bye).tag(Name::To), Some("one"));
    world.rest();
}

// Reliable progress.

#[test]
fn progress_is_reliable_on_both_sides_where_both_can() {
    let mut world = World::new();
    let a = world.invite_to(LYNC, "+13125556789", "Supported: 100rel\n", &secret("0"));
    let b = world.rung(GW1);
    assert!(world.asked(b, Method::Invite).lists(Name::Supported, "100rel"));
    world.seen();
    world.reply(b, Method::Invite, 183, "far", "Require: 100rel\nRSeq: 7\n", &plain("0"));
    assert_eq!(world.seen(), "gw1:PRACK lync:183+sdp");
    assert_eq!(world.asked(b, Method::Prack).text(Name::RAck), Some("7 1 INVITE"));
    assert!(world.told(a, 183).lists(Name::Require, "100rel"));
    // The answer waits for the caller's PRACK, because the 183 carried ours.
    world.answer(b, 200, "");
    assert_eq!(world.seen(), "gw1:ACK");
    let rack = format!("RAck: {} 1 INVITE\n", header(world.told(a, 183), Name::RSeq));
    world.ask(a, Method::Prack, &rack, "");
    assert!(world.seen().starts_with("lync:200"));
    world.phones[a].invited.1 = 1;
    world.ack(a, "");
    assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn progress_that_the_caller_never_confirms_ends_the_call() {
    let mut world = World::new();
    world.invite_to(LYNC, "+13125556789", "Supported: 100rel\n", &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 183, &plain("0"));
    world.pass(seconds(33));
    assert!(world.seen().ends_with("lync:504 gw1:CANCEL gw1:ACK open close"));
    world.rest();
}

#[test]
fn codecs_are_those_that_both_sides_can() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("9 8 18 0 101"));
    let b = world.rung(GW1);
    let offer = String::from_utf8_lossy(world.asked(b, Method::Invite).body()).into_owned();
    assert!(offer.contains("RTP/AVP 8 0 101"), "the caller's order: {offer}");
    world.answer(b, 200, &plain("0 101"));
    world.ack(a, "");
    assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");
    world.ask(b, Method::Bye, "", "");
    world.rest();
}
