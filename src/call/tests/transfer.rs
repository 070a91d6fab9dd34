//! Transfers that this box carries out: blind, to users and numbers, with everything that can go wrong.

use super::*;
use crate::session::Direction::{Inactive, SendRecv};

mod passed;
mod replace;

/// A user of Microsoft's, as its servers name one to a mediation server.
const BOB: &str = "Refer-To: <sip:bob@contoso.com;gruu;opaque=user:epid:x>\n";
/// Signed, with everything that a careless copy loses.
const SIGNED: &str = "REFERRED-BY: <sip:alice@contoso.com>;ms-referee-uri=\"sip:+13125556789@contoso.com;user=phone\";ms-identity=\"MII/+=:Fri, 20 Nov 2026 23:00:00 GMT\" ;ms-identity-alg=rsa-sha1;tag=a;;epid=\"b\"\n";

fn noted(world: &World, words: &str) -> bool {
    world.reports.iter().any(|report| matches!(report, Report::Note { text, .. } if text.contains(words)))
}

/// `handled reached`, of every transfer so far.
fn results(world: &World) -> String {
    let shown = |report: &Report| match report {
        Report::Transfer { mode, result, .. } => Some(format!("{} {}", mode.text(), result.text())),
        _ => None,
    };
    world.reports.iter().filter_map(shown).collect::<Vec<_>>().join(", ")
}

/// A call from Lync to a gateway, whose Lync side holds it and then refers it to Bob: all three telephones.
fn held_and_referred(world: &mut World) -> (Id, Id, Id) {
    let (a, b) = world.talk(LYNC, GW1);
    world.holds(a, b);
    world.ask(a, Method::Refer, &format!("{BOB}{SIGNED}"), "");
    assert_eq!(world.told(a, 202).cseq().unwrap().method, Method::Refer);
    assert_eq!(world.seen(), "lync:NOTIFY=100 lync:INVITE+sdp");
    (a, b, world.rung(LYNC))
}

#[test]
fn a_blind_transfer_to_a_user() {
    let mut world = World::new();
    let (a, b, bob) = held_and_referred(&mut world);
    world.answer(bob, 180, "");
    assert_eq!(world.seen(), "lync:NOTIFY=180");
    world.answer(bob, 200, &secret("0"));
    // The gateway sees nothing but that it is resumed.
    assert_eq!(world.seen(), "lync:ACK lync:NOTIFY=200! gw1:INVITE+sdp lync:BYE");
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.seen(), "gw1:ACK");
    assert_eq!(world.directions().map(Option::unwrap), [SendRecv, SendRecv]);
    assert_eq!(world.snapshot().calls.len(), 1);
    assert_eq!(world.snapshot().trunks[0].calls, [0, 1], "the transferor counts no more");
    assert_eq!(results(&world), "handled reached");
    world.ask(bob, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:BYE close");
    assert_eq!(world.end(), "answered 16 by caller");
    let _ = a;
    world.rest();
}

#[test]
fn the_new_invite_says_what_the_refer_said() {
    let mut world = World::new();
    let (a, _, bob) = held_and_referred(&mut world);
    let invite = world.asked(bob, Method::Invite);
    assert_eq!(invite.uri().unwrap().as_str(), "sip:bob@contoso.com;gruu;opaque=user:epid:x");
    let value = SIGNED.split_once(": ").unwrap().1.trim_end();
    assert_eq!(invite.value(Name::ReferredBy), Some(value.as_bytes()));
    // The signer took this one for the referee.
    assert_eq!(invite.address(Name::From).unwrap().uri.as_str(), "sip:+13125556789@contoso.com;user=phone");
    world.answer(bob, 603, "");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn the_transferor_hangs_up_right_after_the_202() {
    let mut world = World::new();
    let (a, b, bob) = held_and_referred(&mut world);
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.seen(), "");
    assert_eq!(world.snapshot().calls.len(), 1);
    world.answer(bob, 180, "");
    // It still listens, as RFC 5589 has it.
    assert_eq!(world.seen(), "lync:NOTIFY=180");
    world.answer(bob, 200, &secret("0"));
    assert_eq!(world.seen(), "lync:ACK lync:NOTIFY=200! gw1:INVITE+sdp");
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:ACK lync:BYE close");
    world.rest();
}

#[test]
fn a_transferor_that_hung_up_may_refuse_to_hear_more() {
    let mut world = World::new();
    world.hears_notify = false;
    let (a, b, bob) = held_and_referred(&mut world);
    world.ask(a, Method::Bye, "", "");
    world.reply(a, Method::Notify, 481, "far", "", "");
    world.answer(bob, 180, "");
    world.answer(bob, 200, &secret("0"));
    assert_eq!(world.seen(), "lync:ACK gw1:INVITE+sdp", "nothing more to the transferor");
    world.answer(b, 200, &plain("0"));
    world.ask(b, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_target_that_refuses_leaves_the_call_as_it_was() {
    for (status, told) in [(486, 486), (404, 404), (603, 603), (429, 429), (302, 480)] {
        let mut world = World::new();
        let (a, b, bob) = held_and_referred(&mut world);
        world.answer(bob, status, "");
        assert_eq!(world.seen(), format!("lync:ACK lync:NOTIFY={told}!"));
        assert_eq!(results(&world), "handled failed");
        assert_eq!(world.directions().map(Option::unwrap), [Inactive, Inactive]);
        // It is resumed, and may be transferred once more.
        world.ask(a, Method::Invite, "", &secret("0"));
        world.answer(b, 200, &plain("0"));
        world.ack(a, "");
        assert_eq!(world.directions().map(Option::unwrap), [SendRecv, SendRecv]);
        world.seen();
        world.ask(a, Method::Refer, BOB, "");
        assert_eq!(world.seen(), "lync:NOTIFY=100 lync:INVITE+sdp");
        assert!(header(world.asked(a, Method::Notify), Name::Event).starts_with("refer;id="));
        let bob = world.rung(LYNC);
        world.answer(bob, 486, "");
        world.ask(a, Method::Bye, "", "");
        world.rest();
    }
}

/// What the last NOTIFY says, line by line.
fn told(world: &World, id: Id) -> Vec<String> {
    let body = std::str::from_utf8(world.asked(id, Method::Notify).body()).unwrap();
    body.strip_suffix("\r\n").unwrap().split("\r\n").map(str::to_owned).collect()
}

#[test]
fn a_transferor_hears_why_it_failed() {
    // Microsoft's own words go on as they are.
    let mut world = World::new();
    let (a, _, bob) = held_and_referred(&mut world);
    let said =
        "ms-diagnostics: 1020;reason=\"Identity; of the referrer\";;HRESULT=\"0xC3E93EE0\";Source= fe01.contoso.com";
    world.reply(bob, Method::Invite, 429, "far", &format!("{said}\nWarning: 399 fe01 \"skewed\"\n"), "");
    let reason = "Reason: Q.850;cause=31;text=\"Normal, unspecified\"";
    assert_eq!(
        told(&world, a),
        ["SIP/2.0 429 Provide Referrer Identity", reason, "Warning: 399 fe01 \"skewed\"", said]
    );
    world.ask(a, Method::Bye, "", "");
    world.rest();

    // A gateway has none of them: they are made here.
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, "Refer-To: <sip:+442075550100@ms1.contoso.com>\n", "");
    let target = world.rung(GW3);
    world.reply(target, Method::Invite, 480, "far", "Reason: Q.850;cause=18\n", "");
    let lines = told(&world, a);
    assert_eq!(
        lines[..2],
        ["SIP/2.0 480 Temporarily Unavailable", "Reason: Q.850;cause=18;text=\"No user responding\""]
    );
    assert!(lines[2].starts_with("ms-diagnostics: 10480;"), "{lines:?}");
    // And so is what this box finds by itself.
    world.ask(a, Method::Refer, "Refer-To: <tel:911>\n", "");
    let lines = told(&world, a);
    assert_eq!(lines[..2], ["SIP/2.0 404 Not Found", "Reason: Q.850;cause=3;text=\"No route to destination\""]);
    assert!(lines[2].starts_with("ms-diagnostics: 62404;"), "{lines:?}");
    world.ask(a, Method::Bye, "", "");
    world.rest();

    // A gateway that may refer hears nothing of Microsoft's.
    let mut world = World::with(ini(&["[Gateway1]\nAcceptRefer=True"]));
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(b, Method::Refer, "Refer-To: <sip:+13125550111@ms1.contoso.com>\n", "");
    let target = world.rung(LYNC);
    world.reply(target, Method::Invite, 486, "far", &format!("{said}\n"), "");
    assert_eq!(told(&world, b), ["SIP/2.0 486 Busy Here", "Reason: Q.850;cause=17;text=\"User busy\""]);
    world.ask(a, Method::Bye, "", "");
    world.rest();

    // What a gateway tells of its own call goes on.
    let mut world = World::with(passed::passing());
    let (a, b) = passed::referred_gateway(&mut world);
    world.reply(b, Method::Refer, 202, "far", "", "");
    let headers = "Event: refer\nSubscription-State: terminated\nContent-Type: message/sipfrag\n";
    let body = "SIP/2.0 480 x\r\nReason: Q.850;cause=20\r\n";
    world.ask(b, Method::Notify, headers, body);
    let lines = told(&world, a);
    assert_eq!(
        lines[..2],
        ["SIP/2.0 480 Temporarily Unavailable", "Reason: Q.850;cause=20;text=\"Subscriber absent\""]
    );
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_target_that_refuses_when_the_transferor_has_gone_ends_the_call() {
    let mut world = World::new();
    let (a, _, bob) = held_and_referred(&mut world);
    world.ask(a, Method::Bye, "", "");
    world.answer(bob, 486, "");
    assert_eq!(world.seen(), "lync:ACK lync:NOTIFY=486! gw1:BYE close");
    assert_eq!(world.end(), "answered 17 by them");
    world.rest();
}

#[test]
fn a_target_that_never_answers() {
    let mut world = World::new();
    let (a, _, bob) = held_and_referred(&mut world);
    world.answer(bob, 180, "");
    world.seen();
    world.pass(seconds(201));
    assert_eq!(world.seen(), "lync:CANCEL lync:NOTIFY=480! lync:ACK");
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_pool_that_is_silent_or_broken() {
    let mut world = World::with(ini(&["[Lync]\nNextHop=pool01.contoso.com:5061 pool02.contoso.com:5061"]));
    let (a, b, first) = held_and_referred(&mut world);
    world.answer(first, 503, "");
    assert_eq!(world.seen(), "lync:ACK lync:INVITE+sdp");
    let second = world.rung(LYNC);
    world.answer(second, 200, &secret("0"));
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.seen(), "lync:ACK lync:NOTIFY=200! gw1:INVITE+sdp lync:BYE gw1:ACK");
    world.ask(b, Method::Bye, "", "");
    let _ = a;
    world.rest();

    let mut world = World::new();
    let (a, ..) = held_and_referred(&mut world);
    world.pass(seconds(11));
    assert!(world.seen().ends_with("lync:NOTIFY=504!"), "silence is over after FastFailoverTimeout");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn who_waits_hears_ringing_and_early_media_only_once_nobody_talks_to_it() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, BOB, "");
    let bob = world.rung(LYNC);
    world.answer(bob, 180, "");
    assert_eq!(world.plays(), "- | -", "they still talk");
    world.ask(a, Method::Bye, "", "");
    assert_ne!(world.plays(), "- | -");
    assert!(world.media().starts_with("- |"));
    world.answer(bob, 183, &secret("0"));
    assert_eq!((world.plays().as_str(), world.media().as_str()), ("- | -", "srtp PCMU sendrecv | plain PCMU sendrecv"));
    world.answer(bob, 200, &secret("0"));
    world.seen();
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "lync:BYE close", "nobody was asked for a change that is none");
    world.rest();
}

#[test]
fn the_call_ends_under_the_transfer() {
    let mut world = World::new();
    let (_, b, bob) = held_and_referred(&mut world);
    world.answer(bob, 180, "");
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "lync:NOTIFY=180 lync:NOTIFY=487! lync:CANCEL lync:BYE lync:ACK close");
    assert_eq!(results(&world), "handled abandoned");
    world.rest();

    // A 200 that crosses our CANCEL is confirmed and hung up.
    let mut world = World::new();
    let (_, b, bob) = held_and_referred(&mut world);
    world.answer(bob, 180, "");
    world.rude = true;
    world.ask(b, Method::Bye, "", "");
    world.answer(bob, 200, &secret("0"));
    assert!(world.seen().ends_with("lync:ACK lync:BYE close"));
    world.rude = false;
    world.rest();
}

#[test]
fn one_transfer_at_a_time() {
    let mut world = World::new();
    let (a, b, bob) = held_and_referred(&mut world);
    world.ask(a, Method::Refer, BOB, "");
    assert_eq!(world.seen(), "lync:491/REFER");
    world.answer(bob, 200, &secret("0"));
    world.answer(b, 200, &plain("0"));
    // Bob transfers it on.
    world.seen();
    world.ask(bob, Method::Refer, BOB, "");
    assert_eq!(world.seen(), "lync:NOTIFY=100 lync:INVITE+sdp");
    let carol = world.rung(LYNC);
    world.answer(carol, 200, &secret("0"));
    assert_eq!(world.seen(), "lync:ACK lync:NOTIFY=200! lync:BYE");
    world.ask(carol, Method::Bye, "", "");
    world.rest();
}

#[test]
fn what_cannot_be_followed_is_refused() {
    for refer_to in
        ["", "Refer-To: bob\n", "Refer-To: <sip:b@h;method=BYE>\n", "Refer-To: <sip:b@h>\nRefer-To: <sip:c@h>\n"]
    {
        let mut world = World::new();
        let (a, _) = world.talk(LYNC, GW1);
        world.ask(a, Method::Refer, refer_to, "");
        assert_eq!(world.seen(), "lync:400/REFER", "{refer_to}");
        world.ask(a, Method::Bye, "", "");
        world.rest();
    }
    // Outside a dialog nobody is there to be transferred.
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    world.ask(a, Method::Refer, BOB, "");
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp lync:603/REFER open");
    world.cancel(a);
    world.rest();
}

#[test]
fn gateways_may_not_refer_unless_they_are_allowed() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    assert!(header(world.asked(b, Method::Invite), Name::Allow).contains("INVITE"));
    assert!(!world.asked(b, Method::Invite).lists(Name::Allow, "REFER"));
    assert!(world.told(a, 200).lists(Name::Allow, "REFER") && world.told(a, 200).lists(Name::Allow, "NOTIFY"));
    world.ask(b, Method::Refer, "Refer-To: <sip:+13125550111@ms1.contoso.com>\n", "");
    assert_eq!(world.seen(), "gw1:405/REFER");
    assert!(noted(&world, "AcceptRefer"));
    world.ask(a, Method::Bye, "", "");
    world.rest();

    let mut world = World::with(ini(&["[Gateway1]\nAcceptRefer=True"]));
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(b, Method::Refer, "Refer-To: <sip:+13125550111@ms1.contoso.com>\nReferred-By: <sip:x@gw>\n", "");
    assert_eq!(world.seen(), "gw1:NOTIFY=100 lync:INVITE+sdp");
    let target = world.rung(LYNC);
    let invite = world.asked(target, Method::Invite);
    assert_eq!(invite.uri().unwrap().as_str(), "sip:+13125550111@pool01.contoso.com:5061;transport=tls;user=phone");
    assert_eq!(invite.value(Name::ReferredBy), None);
    world.answer(target, 200, &secret("0"));
    assert_eq!(world.seen(), "lync:ACK gw1:NOTIFY=200! gw1:BYE");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_number_at_our_own_host_goes_to_the_telephone_network() {
    let mut world = World::with(ini(&["[TrunkConfiguration]\nForwardCallHistory=True"]));
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, &format!("Refer-To: <sip:+442075550100@ms1.contoso.com;user=phone>\n{SIGNED}"), "");
    assert_eq!(world.seen(), "lync:NOTIFY=100 gw3:INVITE+sdp");
    let target = world.rung(GW3);
    let invite = world.asked(target, Method::Invite);
    assert_eq!(invite.uri().unwrap().user(), Some("+442075550100"));
    assert_eq!(invite.text(Name::ReferredBy), Some("<sip:alice@contoso.com>;tag=a;;epid=\"b\""));
    world.answer(target, 200, &plain("0"));
    assert_eq!(world.seen(), "gw3:ACK lync:NOTIFY=200! lync:BYE");
    assert_eq!(world.media(), "plain PCMU sendrecv | plain PCMU sendrecv");
    let calls: Vec<_> = world.snapshot().trunks.iter().map(|trunk| trunk.calls[1]).collect();
    assert_eq!(calls, [0, 1, 0, 1]);
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw3:BYE close");
    let _ = a;
    world.rest();
}

#[test]
fn there_may_be_no_way_to_the_target() {
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, "Refer-To: <tel:911>\n", "");
    assert_eq!(world.seen(), "lync:NOTIFY=100 lync:NOTIFY=404!");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn to_teams_the_invite_goes_back_to_the_proxy_and_never_replaces() {
    let mut world = World::with(ini(&["[Lync]\nProfile=teams", "[Lync]\nNextHop=sip.pstnhub.microsoft.com:5061"]));
    let target = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:7de185bd-d73d;x-t=8ab232fc";
    let by = "<sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:1;x-t=2;x-ti=3;xtt=c2lw%3D>";
    let (a, _) = world.talk(LYNC, GW1);
    let replaces = "Replaces=c%40h%3Bto-tag%3D1%3Bfrom-tag%3D2";
    world.ask(a, Method::Refer, &format!("Refer-To: <{target}?{replaces}>\nREFERRED-BY: {by}\n"), "");
    let bob = world.rung(LYNC);
    let invite = world.asked(bob, Method::Invite);
    assert_eq!(invite.uri().unwrap().as_str(), target);
    assert_eq!((invite.text(Name::ReferredBy), invite.value(Name::Replaces)), (Some(by), None));
    world.answer(bob, 486, "");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_consultation_call_that_is_not_ours_is_replaced_by_whom_it_concerns() {
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, "Refer-To: <sip:bob@contoso.com?Replaces=c%40h%3Bto-tag%3D1%3Bfrom-tag%3D2>\n", "");
    let bob = world.rung(LYNC);
    let invite = world.asked(bob, Method::Invite);
    assert_eq!(invite.uri().unwrap().as_str(), "sip:bob@contoso.com");
    assert_eq!(invite.text(Name::Replaces), Some("c@h;to-tag=1;from-tag=2"));
    assert!(invite.lists(Name::Require, "replaces"));
    world.answer(bob, 481, "");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_peer_may_want_no_news_or_no_more() {
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, &format!("{BOB}Refer-Sub: false\n"), "");
    assert_eq!(world.seen(), "lync:INVITE+sdp");
    let bob = world.rung(LYNC);
    world.answer(bob, 180, "");
    world.answer(bob, 200, &secret("0"));
    assert_eq!(world.seen(), "lync:ACK lync:BYE");
    world.ask(bob, Method::Bye, "", "");
    world.rest();

    let mut world = World::new();
    let (a, b, bob) = held_and_referred(&mut world);
    world.ask(a, Method::Subscribe, "Event: refer\nExpires: 0\n", "");
    assert_eq!(world.seen(), "lync:NOTIFY=100!");
    world.answer(bob, 180, "");
    world.answer(bob, 200, &secret("0"));
    assert_eq!(world.seen(), "lync:ACK lync:BYE gw1:INVITE+sdp");
    world.answer(b, 200, &plain("0"));
    world.ask(bob, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_lost_202_is_sent_again_and_the_target_called_once() {
    let mut world = World::with(ini(&["[Gateway3]\nAcceptRefer=True"]));
    let (_, b) = world.talk(LYNC, GW3);
    world.phones[b].cseq += 1;
    let cseq = world.phones[b].cseq;
    for seen in ["gw3:NOTIFY=100 lync:INVITE+sdp", "", ""] {
        world.say(b, "REFER", "same", cseq, "Refer-To: <sip:+1@ms1.contoso.com>\n", "");
        assert_eq!(world.seen(), seen);
    }
    let told: Vec<_> = world.phones[b].told.iter().filter_map(Message::status).collect();
    assert_eq!(told, [202, 202, 202]);
    world.ask(b, Method::Bye, "", "");
    let target = world.rung(LYNC);
    world.answer(target, 486, "");
    world.rest();
}

#[test]
fn notifies_that_nobody_answers_change_nothing() {
    let mut world = World::new();
    world.hears_notify = false;
    let (a, b, bob) = held_and_referred(&mut world);
    world.answer(bob, 180, "");
    world.answer(bob, 200, &secret("0"));
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.seen(), "lync:ACK gw1:INVITE+sdp gw1:ACK", "the first NOTIFY still waits");
    world.pass(seconds(6));
    // The transferor is released all the same.
    assert!(world.seen().contains("lync:BYE"));
    assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");
    world.ask(b, Method::Bye, "", "");
    let _ = a;
    world.rest();
}

#[test]
fn a_reload_in_the_middle_changes_nothing() {
    let mut world = World::new();
    let (_, b, bob) = held_and_referred(&mut world);
    world.reload(ini(&[]));
    world.answer(bob, 200, &secret("0"));
    world.answer(b, 200, &plain("0"));
    world.ask(bob, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_caller_from_the_telephone_network_is_transferred_too() {
    let mut world = World::new();
    let (gateway, alice) = world.talk(GW1, LYNC);
    world.ask(alice, Method::Refer, BOB, "");
    let bob = world.rung(LYNC);
    assert_ne!(bob, alice);
    world.answer(bob, 200, &secret("0 8"));
    assert_eq!(world.seen(), "lync:NOTIFY=100 lync:INVITE+sdp lync:ACK lync:NOTIFY=200! lync:BYE");
    assert_eq!(world.snapshot().trunks.iter().map(|trunk| trunk.calls[0]).sum::<u32>(), 2);
    // Who was put there may hold, and resume.
    world.ask(bob, Method::Invite, "", &going("inactive", &secret("0")));
    world.answer(gateway, 200, &going("inactive", &plain("0")));
    world.ack(bob, "");
    assert_eq!(world.directions().map(Option::unwrap), [Inactive, Inactive]);
    world.ask(gateway, Method::Bye, "", "");
    assert_eq!(world.end(), "answered 16 by caller");
    world.rest();
}

#[test]
fn the_transferors_hold_may_cross_its_refer() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Invite, "", &going("inactive", &secret("0")));
    world.ask(a, Method::Refer, BOB, "");
    let bob = world.rung(LYNC);
    world.answer(bob, 200, &secret("0"));
    world.answer(b, 200, &going("inactive", &plain("0")));
    // The hold is over with the one who wanted it: the gateway is resumed.
    world.pass(seconds(6));
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.directions().map(Option::unwrap), [SendRecv, SendRecv]);
    world.ask(bob, Method::Bye, "", "");
    world.rest();
}
