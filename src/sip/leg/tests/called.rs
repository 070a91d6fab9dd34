//! The peer calls us.

use super::*;

#[test]
fn a_call_rings_is_answered_and_hung_up() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(ringing());
    assert_eq!(bench.seen(), "180");
    bench.order(answer());
    assert_eq!(bench.seen(), "[Media] 200+sdp");
    assert_eq!(bench.stream().remote.addresses().unwrap().rtp.to_string(), "192.0.2.20:5000");
    let ok = bench.last_response(200);
    assert_eq!(ok.text(Name::Contact), Some("<sip:ms1.contoso.com:5067;transport=tls>"));
    assert_eq!(ok.text(Name::Date), Some("Fri, 20 Nov 2026 23:00:00 GMT"));
    assert!(ok.text(Name::Server).unwrap().starts_with("RTCC/7.0.0.0 demarc/"));
    assert_eq!(ok.tag(Name::To), bench.last_response(180).tag(Name::To));
    bench.ack(10, "");
    assert_eq!(bench.pass(seconds(100)), []);
    bench.peer(Method::Bye, "Reason: Q.850;cause=31\n", "");
    assert_eq!(bench.seen(), "200 [Released 31]");
    assert!(bench.leg.is_over());
}

#[test]
fn early_media_goes_out_as_183_and_is_repeated_unchanged() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(Order::Progress { stage: Stage::Ringing, fork: Fork(0), terms: Some(terms()), told: Box::default() });
    assert_eq!(bench.seen(), "[Media] 183+sdp");
    bench.order(in_band());
    assert_eq!(bench.seen(), "", "no second 183");
    bench.order(ringing());
    assert_eq!(bench.seen(), "180");
    bench.order(Order::Answer {
        terms: Terms { codecs: vec![Codec::Pcma], ..terms() },
        fork: Fork(0),
        told: Box::default(),
    });
    assert_eq!(bench.seen(), "200+sdp");
    assert_eq!(bench.last_response(200).body(), bench.last_response(183).body());
}

#[test]
fn other_progress_keeps_its_status() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    for (stage, status) in [(Stage::Other(181), "181"), (Stage::Other(182), "182"), (Stage::InBand, "183")] {
        bench.order(Order::Progress { stage, fork: Fork(0), terms: None, told: Box::default() });
        assert_eq!(bench.seen(), status);
    }
}

#[test]
fn a_2xx_is_repeated_until_the_ack_and_then_given_up() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(answer());
    bench.seen();
    assert_eq!(bench.pass(seconds(8)), [500, 1500, 3500, 7500]);
    let moments = bench.pass(seconds(25));
    assert_eq!(moments, [3500, 7500, 11500, 15500, 19500, 23500, 24000]);
    assert!(bench.seen().ends_with("200+sdp [Released 102] BYE"));
    bench.reply(Method::Bye, 481, "", "", "");
    assert!(bench.leg.is_over());
}

#[test]
fn reliable_progress_waits_for_its_prack() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("Supported: 100rel\n", &usual()));
    bench.order(in_band());
    bench.order(ringing());
    assert_eq!(bench.seen(), "[Media] 183+sdp");
    assert_eq!(bench.last_response(183).text(Name::Require), Some("100rel"));
    bench.order(answer());
    assert_eq!(bench.seen(), "", "the 2xx waits for the PRACK");
    assert_eq!(bench.pass(seconds(2)), [500, 1500]);
    bench.seen();
    bench.peer(Method::Prack, "RAck: 1 10 INVITE\n", "");
    assert_eq!(bench.seen(), "200 180 200+sdp");
    bench.ack(10, "");
    assert_eq!(bench.pass(seconds(100)), []);
}

#[test]
fn unconfirmed_progress_ends_the_call_with_504() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("Require: 100rel\n", &usual()));
    bench.order(ringing());
    assert_eq!(bench.pass(seconds(40)), [500, 1500, 3500, 7500, 15500, 31500, 32000]);
    assert!(bench.seen().ends_with("180 [Released 102] 504"));
}

#[test]
fn forks_of_the_far_end_share_a_tag_or_have_their_own() {
    for (most, same) in [(1, true), (20, false)] {
        let mut trunk = trunk(MICROSOFT);
        trunk.switches.max_early_dialogs = most;
        let mut bench = Bench::called(trunk, invite("", &usual()));
        bench.order(ringing());
        bench.order(Order::Progress {
            stage: Stage::InBand,
            fork: Fork(1),
            terms: Some(terms()),
            told: Box::default(),
        });
        let tag = |status| bench.last_response(status).tag(Name::To).unwrap().to_owned();
        assert_eq!(tag(180) == tag(183), same, "{most}");
        let second = tag(183);
        bench.order(Order::Answer { terms: terms(), fork: Fork(1), told: Box::default() });
        assert_eq!(bench.last_response(200).tag(Name::To), Some(second.as_str()));
    }
}

#[test]
fn a_call_without_an_offer_gets_ours() {
    let mut bench = Bench::called(trunk(TrunkKind::Gateway), invite("Supported: 100rel\n", ""));
    bench.order(ringing());
    assert_eq!(bench.seen(), "180");
    assert_eq!(bench.last_response(180).value(Name::RSeq), None);
    bench.order(answer());
    assert_eq!(bench.seen(), "200+sdp");
    bench.ack(10, &usual());
    assert_eq!(bench.seen(), "[Media]");
}

#[test]
fn an_offer_in_reliable_progress_is_answered_in_the_prack() {
    let mut bench = Bench::called(trunk(TrunkKind::Gateway), invite("Supported: 100rel\n", ""));
    bench.order(in_band());
    assert_eq!(bench.seen(), "183+sdp");
    bench.peer(Method::Prack, "RAck: 1 10 INVITE\n", &usual());
    assert_eq!(bench.seen(), "200 [Media]");
    bench.order(answer());
    assert_eq!(bench.seen(), "200");
}

#[test]
fn a_refusal_says_why_to_everybody() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(ringing());
    bench.seen();
    bench.order(Order::Release(crate::cause::Release::refused(486, None, "busy")));
    assert_eq!(bench.seen(), "486");
    let busy = bench.last_response(486);
    assert_eq!(busy.text(Name::Reason), Some("Q.850;cause=17;text=\"User busy\""));
    let public = "10486;reason=\"The gateway refused the call\";component=\"MediationServer\";SipResponseCode=\"486\";SipResponseText=\"Busy Here\"";
    assert_eq!(busy.text(Name::MsDiagnosticsPublic), Some(public));
    let private = public.replace(";component", ";source=\"ms1.contoso.com\";component");
    assert_eq!(busy.text(Name::MsDiagnostics), Some(private.as_str()));
    assert!(busy.value(Name::Date).is_some() && busy.value(Name::Server).is_some());
    assert_eq!(busy.tag(Name::To), bench.last_response(180).tag(Name::To));
    assert!(bench.leg.is_over());
}

#[test]
fn gateways_are_spared_microsofts_headers() {
    let mut bench = Bench::called(trunk(TrunkKind::Gateway), invite("", &usual()));
    bench.order(Order::Release(crate::cause::Release::refused(404, None, "")));
    let refusal = bench.last_response(404);
    assert!(refusal.value(Name::MsDiagnostics).is_none() && refusal.value(Name::Reason).is_some());
}

#[test]
fn cancel_before_the_answer_ends_the_call() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(ringing());
    bench.seen();
    bench.cancel("Reason: Q.850;cause=26\n");
    assert_eq!(bench.seen(), "200 [Released 26] 487");
    assert!(bench.leg.is_over());
}

#[test]
fn cancel_that_crosses_the_answer_changes_nothing() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(answer());
    bench.seen();
    bench.cancel("");
    assert_eq!(bench.seen(), "200");
    bench.ack(10, "");
    bench.peer(Method::Bye, "", "");
    assert_eq!(bench.seen(), "200 [Released 16]");
}

#[test]
fn bye_before_the_answer_is_a_cancel() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(ringing());
    bench.seen();
    bench.peer(Method::Bye, "", "");
    assert_eq!(bench.seen(), "200 [Released 16] 487");
}

#[test]
fn a_release_before_the_ack_waits_for_it() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(answer());
    bench.seen();
    bench.order(Order::Release(crate::cause::Release::normal("")));
    assert_eq!(bench.seen(), "");
    assert_eq!(bench.pass(seconds(1)), [500]);
    bench.seen();
    bench.ack(10, "");
    assert_eq!(bench.seen(), "BYE");
    bench.reply(Method::Bye, 200, "", "", "");
    assert!(bench.leg.is_over());
}

#[test]
fn update_before_the_answer_moves_media() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("Supported: 100rel\n", &usual()));
    bench.order(in_band());
    bench.peer(Method::Prack, "RAck: 1 10 INVITE\n", "");
    bench.seen();
    bench.peer(Method::Update, "", &sdp(6000, "8", "sendrecv"));
    assert_eq!(bench.seen(), "200+sdp [Media]");
    assert_eq!((bench.stream().remote.addresses().unwrap().rtp.port(), bench.stream().codec), (6000, Codec::Pcma));
    bench.order(answer());
    assert_eq!(bench.seen(), "200", "what UPDATE agreed on stands");
}

#[test]
fn update_before_our_answer_is_out_of_turn() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(in_band());
    bench.seen();
    bench.peer(Method::Update, "", &sdp(6000, "8", "sendrecv"));
    assert_eq!(bench.seen(), "500");
    assert!(bench.last_response(500).value(Name::RetryAfter).is_some());
    bench.peer(Method::Update, "", "");
    assert_eq!(bench.seen(), "200");
}

#[test]
fn nobody_hears_a_call_ring_for_ten_minutes() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(ringing());
    let moments = bench.pass(seconds(700));
    assert_eq!(moments.first(), Some(&60_000), "proxies on the way are reassured");
    assert_eq!(moments.last(), Some(&600_000));
    assert!(bench.seen().ends_with("180 [Released 19] 480"));
    assert!(bench.leg.is_over());
}

#[test]
fn the_peers_session_timer_is_answered() {
    let more = "Supported: timer\nSession-Expires: 600;refresher=uac\n";
    let mut bench = Bench::called(trunk(MICROSOFT), invite(more, &usual()));
    bench.order(answer());
    let ok = bench.last_response(200);
    assert_eq!(ok.text(Name::SessionExpires), Some("600;refresher=uac"));
    assert!(ok.lists(Name::Require, "timer"));
    bench.ack(10, "");
    bench.seen();
    assert_eq!(bench.pass(seconds(600)), [568_000], "32 s before the end");
    assert_eq!(bench.seen(), "[Released 102] BYE");
}

#[test]
fn a_prack_that_crosses_the_answer_is_taken() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("Supported: 100rel\n", &usual()));
    bench.order(ringing());
    bench.order(answer());
    bench.peer(Method::Prack, "RAck: 1 10 INVITE\n", "");
    assert_eq!(bench.seen(), "180 [Media] 200+sdp 200");
    bench.peer(Method::Prack, "RAck: 1 10 INVITE\n", "");
    assert_eq!(bench.seen(), "481");
}

#[test]
fn srtp_keys_are_agreed_and_the_chosen_part_is_named() {
    let mut trunk = trunk(MICROSOFT);
    trunk.srtp = SrtpMode::Required;
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
    let offer = usual() + &format!("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^31\r\n");
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\nContent-Disposition: session; handling=optional; ms-proxy-2007fallback\r\n\r\n{}\r\n--b\r\nContent-Type: application/sdp\r\nContent-ID: <second>\r\n\r\n{offer}\r\n--b--\r\n",
        usual()
    );
    let text = String::from_utf8_lossy(invite("", &body).bytes()).replace(
        "Content-Type: application/sdp\r\nContent-L",
        "Content-Type: multipart/alternative;boundary=b\r\nContent-L",
    );
    let mut bench = Bench::called(trunk, Message::parse(text.into_bytes().into()).unwrap());
    bench.order(answer());
    let ok = bench.last_response(200);
    assert_eq!(ok.text(Name::MsAcceptedContentId), Some("<second>"));
    assert!(String::from_utf8_lossy(ok.body()).contains("RTP/SAVP 0"));
    assert!(bench.stream().srtp.is_some());
}

#[test]
fn without_keys_a_call_is_refused_where_srtp_is_required() {
    let mut trunk = trunk(MICROSOFT);
    trunk.srtp = SrtpMode::Required;
    let rejection = Bench::try_called(trunk, invite("", &usual())).err().unwrap();
    assert_eq!(rejection.response.status(), Some(488));
    let warning = "308 lcs.microsoft.com \"Encryption Levels not compatible\"";
    assert_eq!(rejection.response.text(Name::Warning), Some(warning));
    assert!(rejection.response.text(Name::MsDiagnostics).unwrap().starts_with("52017;"));
}
