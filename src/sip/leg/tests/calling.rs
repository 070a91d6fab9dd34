//! We call the peer.

use super::*;
use crate::cause::Release;

#[test]
fn a_call_rings_is_answered_and_hung_up() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    assert_eq!(bench.seen(), "INVITE+sdp");
    bench.reply(Method::Invite, 100, "", "", "");
    bench.reply(Method::Invite, 180, "far", "", "");
    bench.reply(Method::Invite, 180, "far", "", "");
    assert_eq!(bench.seen(), "[Ringing 0]");
    bench.reply(Method::Invite, 200, "far", "", &usual());
    assert_eq!(bench.seen(), "ACK [Answer 0]");
    assert_eq!(bench.stream().codec, Codec::Pcmu);
    bench.order(Order::Release(Release::normal("")));
    assert_eq!(bench.seen(), "BYE");
    let bye = bench.last(Method::Bye);
    assert_eq!(bye.text(Name::Reason), Some("Q.850;cause=16;text=\"Normal call clearing\""));
    assert_eq!(bye.text(Name::CSeq), Some("2 BYE"));
    assert_eq!(bye.uri().unwrap().as_str(), "sip:192.0.2.20:5068;transport=tcp");
    bench.reply(Method::Bye, 200, "", "", "");
    assert_eq!(bench.until_over(), seconds(32), "a late 2xx would still be confirmed");
}

#[test]
fn every_repeated_2xx_gets_the_same_ack() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 200, "far", "", &usual());
    bench.reply(Method::Invite, 200, "far", "", &usual());
    assert_eq!(bench.seen(), "INVITE+sdp ACK [Answer 0] ACK");
}

#[test]
fn forks_are_told_apart_and_late_ones_hung_up() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 180, "one", "", "");
    bench.reply(Method::Invite, 183, "two", "", &usual());
    bench.seen();
    bench.reply(Method::Invite, 200, "two", "", &usual());
    assert_eq!(bench.seen(), "ACK [Answer 1]");
    bench.reply(Method::Invite, 200, "one", "", &usual());
    assert_eq!(bench.seen(), "ACK BYE");
    assert_eq!(bench.last(Method::Bye).tag(Name::To), Some("one"));
    bench.reply(Method::Invite, 200, "one", "", &usual());
    assert_eq!(bench.seen(), "ACK");
}

#[test]
fn early_media_is_heard_and_stands_when_the_answer_repeats_nothing() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 183, "far", "", &usual());
    bench.reply(Method::Invite, 180, "far", "", &sdp(6000, "8", "sendrecv"));
    assert_eq!(bench.seen(), "INVITE+sdp [InBand 0 media] [InBand 0 media]");
    bench.reply(Method::Invite, 200, "far", "", "");
    assert_eq!(bench.seen(), "ACK [Answer 0]");
    assert_eq!(bench.stream().remote.addresses().unwrap().rtp.port(), 6000);
}

#[test]
fn other_progress_keeps_its_status() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 181, "far", "", "");
    bench.reply(Method::Invite, 183, "far", "", "");
    assert_eq!(bench.seen(), "INVITE+sdp [Other(181) 0] [InBand 0]");
}

#[test]
fn reliable_progress_is_confirmed_once_and_in_order() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.seen();
    bench.reply(Method::Invite, 183, "far", "Require: 100rel\nRSeq: 7\n", &usual());
    assert_eq!(bench.seen(), "PRACK [InBand 0 media]");
    assert_eq!(bench.last(Method::Prack).text(Name::RAck), Some("7 1 INVITE"));
    bench.reply(Method::Prack, 200, "", "", "");
    bench.reply(Method::Invite, 183, "far", "Require: 100rel\nRSeq: 7\n", &usual());
    bench.reply(Method::Invite, 180, "far", "Require: 100rel\nRSeq: 9\n", "");
    assert_eq!(bench.seen(), "", "a repetition, and one that overtook another");
    bench.reply(Method::Invite, 180, "far", "Require: 100rel\nRSeq: 8\n", "");
    assert_eq!(bench.seen(), "PRACK [Ringing 0]");
    // What the 183 agreed on is firm: another description in the 2xx is none of ours.
    bench.reply(Method::Invite, 200, "far", "", &sdp(6000, "8", "sendrecv"));
    assert_eq!(bench.seen(), "ACK [Answer 0]");
    assert_eq!(bench.stream().remote.addresses().unwrap().rtp.port(), 5000);
}

#[test]
fn update_of_an_early_dialog_is_answered() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 183, "far", "", &usual());
    bench.seen();
    bench.peer(Method::Update, "", &sdp(6000, "0", "sendrecv"));
    assert_eq!(bench.seen(), "491", "our offer has no firm answer yet");
    bench.reply(Method::Invite, 183, "far", "Require: 100rel\nRSeq: 1\n", &usual());
    bench.seen();
    bench.peer(Method::Update, "", &sdp(6000, "0", "sendrecv"));
    assert_eq!(bench.seen(), "200+sdp [InBand 0 media]");
}

#[test]
fn a_refusal_brings_status_and_cause() {
    for (status, more, heard, cause) in [
        (486, "", 486, 17),
        (503, "Reason: SIP;cause=503, Q.850 ; cause = 34 ;text=\"x\"\n", 503, 34),
        (401, "WWW-Authenticate: Digest realm=\"x\"\n", 403, 21),
        (302, "", 480, 18),
        (600, "", 600, 17),
    ] {
        let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
        bench.seen();
        bench.reply(Method::Invite, status, "far", more, "");
        assert_eq!(bench.seen(), format!("ACK [Released {cause}]"));
        assert!(matches!(&bench.words[0], Word::Released(release) if release.final_status() == heard));
        assert!(bench.leg.is_over());
    }
}

#[test]
fn too_short_an_interval_is_asked_again_once() {
    let mut trunk = trunk(TrunkKind::Gateway);
    trunk.switches.enable_session_timer = true;
    let mut bench = Bench::calling(trunk);
    assert_eq!(bench.last(Method::Invite).text(Name::SessionExpires), Some("1800"));
    bench.reply(Method::Invite, 422, "far", "Min-SE: 3600\n", "");
    assert_eq!(bench.seen(), "INVITE+sdp ACK INVITE+sdp");
    assert_eq!(bench.last(Method::Invite).text(Name::SessionExpires), Some("3600"));
    assert_eq!(bench.last(Method::Invite).text(Name::CSeq), Some("2 INVITE"));
    bench.reply(Method::Invite, 422, "far", "Min-SE: 7200\n", "");
    assert_eq!(bench.seen(), "ACK [Released 41]");
}

#[test]
fn a_release_cancels_once_the_peer_has_said_anything() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.order(Order::Release(Release::normal("")));
    assert_eq!(bench.seen(), "INVITE+sdp");
    bench.reply(Method::Invite, 180, "far", "", "");
    assert_eq!(bench.seen(), "CANCEL");
    assert!(bench.last(Method::Cancel).value(Name::Reason).is_some());
    bench.reply(Method::Cancel, 200, "far", "", "");
    bench.reply(Method::Invite, 487, "far", "", "");
    assert_eq!(bench.seen(), "ACK");
    assert!(bench.leg.is_over());
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_hung_up() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 180, "far", "", "");
    bench.order(Order::Release(Release::normal("")));
    bench.seen();
    bench.reply(Method::Invite, 200, "far", "", &usual());
    assert_eq!(bench.seen(), "ACK BYE");
    bench.reply(Method::Invite, 200, "far", "", &usual());
    assert_eq!(bench.seen(), "ACK");
    bench.reply(Method::Bye, 200, "", "", "");
    assert_eq!(bench.until_over(), seconds(32));
}

#[test]
fn a_peer_that_ignores_the_cancel_is_forgotten() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 180, "far", "", "");
    bench.order(Order::Release(Release::normal("")));
    assert_eq!(bench.until_over(), seconds(32));
}

#[test]
fn a_silent_peer_counts_as_unreachable() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.seen();
    assert_eq!(bench.pass(seconds(40)), [32_000]);
    assert_eq!(bench.seen(), "[Released 102]");
    assert!(bench.leg.is_over());
}

#[test]
fn a_peer_that_rings_forever_is_cancelled() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 180, "far", "", "");
    bench.seen();
    assert_eq!(bench.pass(seconds(601)), [600_000]);
    assert_eq!(bench.seen(), "[Released 19] CANCEL");
}
