//! What peers should not send.

use super::*;

#[test]
fn an_invite_that_makes_no_call_is_refused_with_a_reason() {
    let status = |invite: Message| {
        let rejection = Bench::try_called(trunk(MICROSOFT), invite).err().unwrap();
        assert!(rejection.response.tag(Name::To).is_some());
        assert!(rejection.response.value(Name::MsDiagnostics).is_some());
        rejection.response
    };
    let contactless = Message::parse(
        String::from_utf8_lossy(invite("", &usual()).bytes()).replace("Contact:", "X-Contact:").into_bytes().into(),
    );
    assert_eq!(status(contactless.unwrap()).status(), Some(400));
    assert_eq!(status(invite("", "nonsense")).status(), Some(400));
    let foreign = status(invite("", &sdp(5000, "3 18", "sendrecv")));
    assert_eq!(foreign.status(), Some(488));
    assert_eq!(foreign.text(Name::Warning), Some("305 ms1.contoso.com \"Incompatible media format\""));
    let short = status(invite("Supported: timer\nSession-Expires: 30\n", &usual()));
    assert_eq!((short.status(), short.text(Name::MinSe)), (Some(422), Some("90")));
    let other = message(
        "INVITE sip:1@b SIP/2.0",
        "Via: SIP/2.0/TLS x;branch=z9hG4bK3\nFrom: <sip:a@b>;tag=1\nTo: <sip:1@b>\nCall-ID: 1\nCSeq: 1 INVITE\nContact: <sip:a@b>\nContent-Type: text/plain\nX-: ",
        "",
    );
    let body = String::from_utf8_lossy(other.bytes()).replace("Content-Length: 0", "Content-Length: 5") + "hello";
    assert_eq!(status(Message::parse(body.into_bytes().into()).unwrap()).status(), Some(415));
}

#[test]
fn provisional_responses_may_be_anything() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.seen();
    bench.reply(Method::Invite, 183, "far", "", "v=0\r\nrubbish");
    assert_eq!(bench.seen(), "[InBand 0]", "rubbish is no early media");
    bench.reply(Method::Invite, 180, "", "", "");
    assert_eq!(bench.seen(), "[Ringing 1]", "no tag is a tag like any other");
    bench.reply(Method::Invite, 180, "far", "Require: 100rel\nRSeq: many\n", "");
    assert_eq!(bench.seen(), "[Ringing 0]");
    for fork in 0..200 {
        bench.reply(Method::Invite, 180, &format!("f{fork}"), "", "");
    }
    assert_eq!(bench.seen().matches("Ringing").count(), 62, "64 early dialogs and no more");
}

#[test]
fn an_answer_that_cannot_be_used_is_hung_up() {
    for (body, cause) in [(String::new(), 111), ("v=0\r\nrubbish".into(), 111), (sdp(5000, "18", "sendrecv"), 111)] {
        let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
        bench.seen();
        bench.reply(Method::Invite, 200, "far", "", &body);
        assert_eq!(bench.seen(), format!("ACK [Released {cause}] BYE"), "{body}");
    }
}

#[test]
fn a_prack_for_nothing_gets_481_and_confirms_nothing() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("Supported: 100rel\n", &usual()));
    bench.order(in_band());
    bench.seen();
    for rack in ["RAck: 2 10 INVITE\n", "RAck: 1 11 INVITE\n", "RAck: x\n", ""] {
        bench.peer(Method::Prack, rack, "");
        assert_eq!(bench.seen(), "481");
    }
    bench.order(answer());
    assert_eq!(bench.seen(), "");
}

#[test]
fn an_ack_without_an_answer_to_our_offer_ends_the_call() {
    for body in ["", "v=0\r\nrubbish"] {
        let mut bench = Bench::called(trunk(TrunkKind::Gateway), invite("", ""));
        bench.order(answer());
        bench.seen();
        bench.ack(10, body);
        assert_eq!(bench.seen(), "[Released 111] BYE");
    }
}

#[test]
fn an_ack_with_another_number_confirms_nothing() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(answer());
    bench.ack(9, "");
    assert_eq!(bench.pass(seconds(1)), [500]);
}

#[test]
fn old_and_foreign_requests_leave_the_call_alone() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(answer());
    bench.ack(10, "");
    bench.seen();
    bench.peer_numbered(Method::Bye, 9, "", "");
    assert_eq!(bench.seen(), "500");
    bench.remote = bench.remote.replace("theirs", "other");
    bench.peer(Method::Bye, "", "");
    assert_eq!(bench.seen(), "481");
    let owned = message("BYE sip:a SIP/2.0", &format!("To: {}\nCall-ID: call-1\n", bench.local), "");
    let foreign = message("BYE sip:a SIP/2.0", &format!("To: {}\nCall-ID: call-2\n", bench.local), "");
    assert!(bench.leg.owns(&owned) && !bench.leg.owns(&foreign));
}

#[test]
fn what_is_ordered_at_the_wrong_time_is_harmless() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(Order::Change(held()));
    bench.order(Order::Grant(terms()));
    assert_eq!(bench.seen(), "[Unchanged 491]");
    bench.order(answer());
    bench.order(answer());
    bench.order(ringing());
    assert_eq!(bench.seen(), "[Media] 200+sdp");
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.order(answer());
    bench.order(Order::Change(held()));
    assert_eq!(bench.seen(), "INVITE+sdp [Unchanged 491]");
}

#[test]
fn terms_that_the_peers_offer_cannot_meet_refuse_the_call() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &sdp(5000, "8", "sendrecv")));
    let narrow = Terms { codecs: vec![Codec::Pcmu], ..terms() };
    bench.order(Order::Progress {
        stage: Stage::InBand,
        fork: Fork(0),
        terms: Some(narrow.clone()),
        told: Box::default(),
    });
    assert_eq!(bench.seen(), "183", "no early media then");
    bench.order(Order::Answer { terms: narrow, fork: Fork(0), told: Box::default() });
    assert_eq!(bench.seen(), "[Released 88] 488");
    assert!(bench.last_response(488).value(Name::Warning).is_some());
}

#[test]
fn more_answers_than_anybody_has_forks_are_not_listened_to() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    for fork in 0..200 {
        bench.reply(Method::Invite, 200, &format!("f{fork}"), "", &usual());
    }
    assert_eq!(bench.seen().matches("ACK").count(), 64);
}
