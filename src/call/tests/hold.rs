//! What a side hears from ourselves: music while the other side holds, ringing before it answers.

use super::*;
use crate::session::Direction::{Inactive, RecvOnly, SendRecv};

fn both(world: &World) -> [Direction; 2] {
    world.directions().map(Option::unwrap)
}

#[test]
fn without_music_a_hold_is_passed_on_and_nothing_is_played() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0 8")));
    world.answer(b, 200, &going("inactive", &plain("0")));
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp gw1:ACK lync:200+sdp");
    assert_eq!(world.plays(), "- | -");
}

#[test]
fn the_gateway_hears_music_while_lync_holds() {
    let mut world = World::with(with_music(ini(&[])));
    let (a, b) = world.talk(LYNC, GW1);
    assert_eq!(world.plays(), "- | -");
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0 8")));
    assert_eq!(world.seen(), "lync:100 lync:200+sdp", "the gateway is not asked");
    world.ack(a, "");
    assert_eq!((both(&world), world.plays().as_str()), ([Inactive, SendRecv], "- | music"));
    assert!(world.snapshot().calls[0].held);

    world.ask(a, Method::Invite, "", &secret("0 8"));
    assert_eq!(world.seen(), "lync:100 lync:200+sdp");
    world.ack(a, "");
    assert_eq!((both(&world), world.plays().as_str()), ([SendRecv, SendRecv], "- | -"));
    assert!(!world.snapshot().calls[0].held);
    world.ask(b, Method::Bye, "", "");
    world.rest();
}

#[test]
fn lync_hears_music_while_a_gateway_holds() {
    for direction in ["sendonly", "inactive"] {
        let mut world = World::with(with_music(ini(&[])));
        let (a, b) = world.talk(LYNC, GW1);
        world.ask(b, Method::Invite, "", &going(direction, &plain("0 8")));
        assert_eq!(world.seen(), "gw1:100 gw1:200+sdp", "Microsoft has no media on a held call: it is not told");
        world.ack(b, "");
        let gateway = if direction == "sendonly" { RecvOnly } else { Inactive };
        assert_eq!((both(&world), world.plays().as_str()), ([SendRecv, gateway], "music | -"));
        world.ask(b, Method::Invite, "", &plain("0 8"));
        world.ack(b, "");
        assert_eq!((both(&world), world.plays().as_str()), ([SendRecv, SendRecv], "- | -"));
        world.ask(a, Method::Bye, "", "");
        world.rest();
    }
}

#[test]
fn when_both_hold_nobody_listens_and_each_resumes_by_itself() {
    let mut world = World::with(with_music(ini(&[])));
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0 8")));
    world.ack(a, "");
    world.ask(b, Method::Invite, "", &going("inactive", &plain("0 8")));
    world.ack(b, "");
    assert_eq!((both(&world), world.plays().as_str()), ([Inactive, Inactive], "- | -"));
    world.seen();

    // It may have been held by somebody before us: it is asked to listen, and still holds.
    world.ask(a, Method::Invite, "", &secret("0 8"));
    world.answer(b, 200, &going("inactive", &plain("0")));
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp gw1:ACK lync:200+sdp");
    world.ack(a, "");
    assert_eq!((both(&world), world.plays().as_str()), ([SendRecv, Inactive], "music | -"));

    world.ask(b, Method::Invite, "", &plain("0 8"));
    assert_eq!(world.seen(), "gw1:100 gw1:200+sdp");
    world.ack(b, "");
    assert_eq!((both(&world), world.plays().as_str()), ([SendRecv, SendRecv], "- | -"));
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_hold_in_another_codec_is_asked_for_without_the_hold() {
    let mut world = World::with(with_music(ini(&[])));
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("8")));
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp");
    let offer = String::from_utf8_lossy(world.asked(b, Method::Invite).body()).into_owned();
    assert!(offer.contains("a=sendrecv") && offer.contains("RTP/AVP 8 0"), "{offer}");
    world.answer(b, 200, &plain("8"));
    assert_eq!(world.seen(), "gw1:ACK lync:200+sdp");
    world.ack(a, "");
    assert_eq!((both(&world), world.plays().as_str()), ([Inactive, SendRecv], "- | music"));
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_caller_with_early_media_hears_its_country_ring() {
    for (lines, tone) in [("", "Two(440, 480)"), ("[Media]\nTones=UK", "Two(400, 450)")] {
        let more: &[&str] = if lines.is_empty() { &[] } else { &[lines] };
        let mut world = World::with(ini(more));
        let a = world.invite(LYNC, &secret("0 8"));
        let b = world.rung(GW1);
        world.answer(b, 183, &plain("0"));
        assert_eq!(world.plays(), "- | -", "what is in the band speaks for itself");
        world.answer(b, 180, "");
        assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp lync:183+sdp lync:180 open");
        assert_eq!(world.plays(), format!("{tone} | -"));
        world.answer(b, 183, &plain("0"));
        assert_eq!(world.plays(), "- | -");
        world.answer(b, 180, "");
        world.answer(b, 200, &plain("0"));
        assert_eq!(world.plays(), "- | -");
        world.ack(a, "");
        world.ask(a, Method::Bye, "", "");
        world.rest();
    }
}

#[test]
fn a_caller_without_early_media_rings_by_itself() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0 8"));
    let b = world.rung(GW1);
    world.answer(b, 180, "");
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp lync:180 open");
    assert!(world.sessions.is_empty(), "nothing to play into");
    world.cancel(a);
    world.rest();
}
