//! Hold, resume, another codec, and both sides at once.

use super::*;
use crate::session::Direction::{Inactive, SendRecv};

fn both(world: &World) -> [Direction; 2] {
    world.directions().map(Option::unwrap)
}

#[test]
fn lync_holds_and_resumes() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0 8")));
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp");
    world.answer(b, 200, &going("inactive", &plain("0")));
    assert_eq!(world.seen(), "gw1:ACK lync:200+sdp");
    world.ack(a, "");
    assert_eq!(both(&world), [Inactive, Inactive]);
    assert!(world.snapshot().calls[0].held);

    world.ask(a, Method::Invite, "", &secret("0 8"));
    world.answer(b, 200, &plain("0"));
    world.ack(a, "");
    assert_eq!(both(&world), [SendRecv, SendRecv]);
    assert!(!world.snapshot().calls[0].held);
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp gw1:ACK lync:200+sdp");
    world.ask(b, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_gateway_holds_and_resumes() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(b, Method::Invite, "", &going("sendonly", &plain("0 8")));
    assert_eq!(world.seen(), "gw1:100 lync:INVITE+sdp");
    world.answer(a, 200, &going("inactive", &secret("0")));
    assert_eq!(world.seen(), "lync:ACK gw1:200+sdp");
    world.ack(b, "");
    // Toward Microsoft hold is `inactive`, so the gateway hears that its music goes nowhere.
    assert_eq!(both(&world), [Inactive, Inactive]);

    world.ask(b, Method::Invite, "", &plain("0 8"));
    world.answer(a, 200, &secret("0"));
    world.ack(b, "");
    assert_eq!(both(&world), [SendRecv, SendRecv]);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_hold_that_the_other_side_refuses_is_granted() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.answer(b, 488, "");
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp gw1:ACK lync:200+sdp");
    world.ack(a, "");
    assert_eq!(both(&world)[0], Inactive);
    world.ask(a, Method::Invite, "", &secret("0"));
    world.answer(b, 200, &plain("0"));
    world.ack(a, "");
    assert_eq!(both(&world), [SendRecv, SendRecv]);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn another_codec_is_offered_on_and_transcoded_where_it_is_refused() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");
    world.ask(a, Method::Invite, "", &secret("8"));
    world.answer(b, 488, "");
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp gw1:ACK lync:200+sdp");
    assert_eq!(world.media(), "srtp PCMA sendrecv | plain PCMU sendrecv");
    world.ack(a, "");

    world.ask(b, Method::Invite, "", &plain("8"));
    world.answer(a, 200, &secret("8"));
    world.ack(b, "");
    assert_eq!(world.media(), "srtp PCMA sendrecv | plain PCMA sendrecv");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_reinvite_that_changes_nothing_is_answered_here() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &secret("0 8"));
    assert_eq!(world.seen(), "lync:100 lync:200+sdp");
    world.ack(a, "");
    world.ask(b, Method::Invite, "", "");
    assert_eq!(world.seen(), "gw1:100 gw1:200+sdp");
    world.ack(b, &plain("0"));
    world.ask(b, Method::Update, "", "");
    assert_eq!(world.seen(), "");
    assert_eq!(world.told(b, 200).cseq().unwrap().method, Method::Update);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn both_sides_at_once() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    // The gateway's own hold crosses the one it is offered: both are refused for now.
    world.ask(b, Method::Invite, "", &going("inactive", &plain("0")));
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp gw1:100 gw1:491");
    world.answer(b, 491, "");
    assert_eq!(world.seen(), "gw1:ACK");
    world.pass(seconds(5));
    assert_eq!(world.seen(), "gw1:INVITE+sdp");
    world.answer(b, 200, &going("inactive", &plain("0")));
    assert_eq!(world.seen(), "gw1:ACK lync:200+sdp");
    world.ack(a, "");
    assert_eq!(both(&world), [Inactive, Inactive]);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_caller_that_gives_up_its_change_keeps_its_call() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.seen();
    world.cancel(a);
    assert_eq!(world.seen(), "lync:487");
    world.answer(b, 200, &going("inactive", &plain("0")));
    world.ask(a, Method::Invite, "", &secret("0"));
    world.pass(seconds(1));
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_called_party_that_gives_up_its_change_is_told_so() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(b, Method::Invite, "", &going("inactive", &plain("0")));
    world.seen();
    world.cancel(b);
    assert_eq!(world.seen(), "gw1:487");
    world.answer(a, 200, &going("inactive", &secret("0")));
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(b, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_change_whose_other_side_hangs_up_is_not_left_open() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.seen();
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "lync:487 lync:BYE close");
    world.rest();
}

#[test]
fn a_resume_that_the_other_side_refuses_is_granted() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.answer(b, 200, &going("inactive", &plain("0")));
    world.ack(a, "");
    world.ask(a, Method::Invite, "", &secret("0"));
    world.answer(b, 500, "");
    world.ack(a, "");
    assert_eq!(both(&world), [SendRecv, Inactive]);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_side_whose_partner_is_being_changed_is_asked_to_wait() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.answer(b, 200, &going("inactive", &plain("0")));
    // Our 200 to the hold is not confirmed yet, so the gateway's resume waits for that.
    world.seen();
    world.ask(b, Method::Invite, "", &plain("0"));
    assert_eq!(world.seen(), "gw1:100");
    world.ack(a, "");
    assert_eq!(world.seen(), "lync:INVITE+sdp");
    world.answer(a, 200, &secret("0"));
    assert_eq!(world.seen(), "lync:ACK gw1:200+sdp");
    world.ack(b, "");
    assert_eq!(both(&world), [SendRecv, SendRecv]);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_change_by_update() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Update, "", &going("inactive", &secret("0")));
    assert_eq!(world.seen(), "gw1:INVITE+sdp");
    world.answer(b, 200, &going("inactive", &plain("0")));
    let told = world.phones[a].told.last().unwrap();
    assert_eq!((told.status(), told.cseq().unwrap().method), (Some(200), Method::Update));
    assert_eq!(both(&world), [Inactive, Inactive]);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn which_way_sound_goes_is_told_from_the_other_sides_view() {
    let mut world = World::new();
    let a = world.invite(LYNC, &going("sendonly", &secret("0")));
    let b = world.rung(GW1);
    let offered = |world: &World| String::from_utf8_lossy(world.asked(b, Method::Invite).body()).into_owned();
    assert!(offered(&world).contains("a=sendonly"), "{}", offered(&world));
    world.answer(b, 200, &going("recvonly", &plain("0")));
    world.ack(a, "");

    world.ask(a, Method::Invite, "", &secret("0"));
    assert!(offered(&world).contains("a=sendrecv"), "{}", offered(&world));
    world.answer(b, 200, &plain("0"));
    world.ack(a, "");
    world.ask(a, Method::Invite, "", &going("sendonly", &secret("0")));
    assert!(offered(&world).contains("a=sendonly"), "{}", offered(&world));
    world.answer(b, 200, &going("recvonly", &plain("0")));
    world.ack(a, "");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn silence_counts_from_the_answer_on_and_on_hold_as_the_switches_say() {
    let mut world = World::with(ini(&["[Gateway1]\nRTCPCallsOnHold=False"]));
    let watched = |world: &World| {
        let session = world.sessions.values().next_back().unwrap();
        [0, 1].map(|side| session.sides[side].as_ref().is_some_and(|stream| stream.watch.is_some()))
    };
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 183, &plain("0"));
    assert_eq!(watched(&world), [false, false]);
    world.answer(b, 200, &plain("0"));
    world.ack(a, "");
    assert_eq!(watched(&world), [true, true]);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.answer(b, 200, &going("inactive", &plain("0")));
    world.ack(a, "");
    assert_eq!(watched(&world), [true, false]);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

// Digits.

const RELAYED: &str = "Content-Type: application/dtmf-relay\n";

#[test]
fn a_digit_in_signalling_is_pressed_for_who_hears_events() {
    let mut world = World::with(ini(&["[Gateway1]\nDTMF=info"]));
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(b, Method::Info, RELAYED, "Signal=5\r\nDuration=120\r\n");
    assert_eq!(world.seen(), "press:B:5:120");
    world.ask(b, Method::Info, "Content-Type: text/plain\n", "hello");
    assert_eq!(world.seen(), "gw1:415/INFO");
    assert!(header(world.told(b, 415), Name::Accept).contains("application/dtmf-relay"));
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_digit_in_the_sound_is_told_in_signalling() {
    let mut world = World::with(ini(&["[Gateway1]\nDTMF=info"]));
    let (a, b) = world.talk(LYNC, GW1);
    world.hears(Side::A, '#', 90);
    assert_eq!(world.seen(), "gw1:INFO+body");
    let info = world.asked(b, Method::Info);
    assert_eq!(info.body(), b"Signal=#\r\nDuration=90\r\n");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn digits_in_signalling_on_both_sides_stay_there() {
    let mut world = World::with(ini(&["[Gateway1]\nDTMF=info", "[Lync]\nDTMF=info"]));
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Info, RELAYED, "Signal=9\r\nDuration=200\r\n");
    assert_eq!(world.seen(), "gw1:INFO+body");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}
