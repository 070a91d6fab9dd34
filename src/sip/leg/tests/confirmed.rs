//! Mid-call.

use super::*;
use crate::cause::{Cause, Guilty, Release};

/// The peer called, we answered.
fn called(kind: TrunkKind, more: &str) -> Bench {
    let mut bench = Bench::called(trunk(kind), invite(more, &usual()));
    bench.order(answer());
    bench.ack(10, "");
    bench.seen();
    bench
}

/// We called, the peer answered.
fn calling(more: &str) -> Bench {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 200, "far", more, &usual());
    bench.seen();
    bench
}

#[test]
fn hold_by_the_peer_is_the_calls_to_grant() {
    let mut bench = called(MICROSOFT, "");
    bench.peer(Method::Invite, "", &sdp(5000, "0 8", "inactive"));
    assert_eq!(bench.seen(), "[Change Inactive]");
    bench.order(Order::Grant(held()));
    assert_eq!(bench.seen(), "[Media] 200+sdp");
    assert_eq!(bench.stream().direction, Direction::Inactive);
    bench.ack(11, "");
    bench.peer(Method::Update, "", &usual());
    assert_eq!(bench.seen(), "[Change SendRecv]");
    bench.order(Order::Grant(terms()));
    assert_eq!(bench.seen(), "[Media] 200+sdp");
    assert_eq!(bench.pass(seconds(100)), [], "an UPDATE has no ACK");
}

#[test]
fn a_change_may_be_denied_or_time_out() {
    let mut bench = called(MICROSOFT, "");
    bench.peer(Method::Invite, "", &sdp(5000, "8", "sendrecv"));
    bench.order(Order::Deny(Release::new(Guilty::Network, Cause::INCOMPATIBLE, "").with_status(488)));
    assert_eq!(bench.seen(), "[Change SendRecv] 488");
    for (method, limit) in [(Method::Invite, 40_000), (Method::Update, 20_000)] {
        bench.peer(method, "", &sdp(5000, "8", "sendrecv"));
        bench.seen();
        assert_eq!(bench.pass(seconds(60)), [limit]);
        assert_eq!(bench.seen(), "504");
    }
    bench.order(Order::Grant(terms()));
    assert_eq!(bench.seen(), "", "too late");
}

#[test]
fn refreshes_and_moves_are_answered_without_asking() {
    let mut bench = called(MICROSOFT, "");
    bench.peer(Method::Invite, "", &usual());
    assert_eq!(bench.seen(), "200+sdp");
    bench.ack(11, "");
    bench.peer(Method::Update, "Contact: <sip:192.0.2.21:5060;transport=tcp>\n", &sdp(7000, "0", "sendrecv"));
    assert_eq!(bench.seen(), "[Media] 200+sdp");
    assert_eq!(bench.stream().remote.addresses().unwrap().rtp.port(), 7000);
    bench.order(Order::Release(Release::normal("")));
    assert_eq!(bench.last(Method::Bye).uri().unwrap().as_str(), "sip:192.0.2.21:5060;transport=tcp");
}

#[test]
fn a_reinvite_without_an_offer_gets_ours() {
    let mut bench = called(TrunkKind::Gateway, "");
    bench.peer(Method::Invite, "", "");
    assert_eq!(bench.seen(), "200+sdp");
    bench.ack(11, &sdp(7000, "8", "sendrecv"));
    assert_eq!(bench.seen(), "[Media]");
    assert_eq!((bench.stream().codec, bench.stream().remote.addresses().unwrap().rtp.port()), (Codec::Pcma, 7000));
}

#[test]
fn our_change_is_a_reinvite_with_a_new_version() {
    let mut bench = calling("");
    let first = bench.last(Method::Invite);
    bench.order(Order::Change(held()));
    assert_eq!(bench.seen(), "INVITE+sdp");
    let hold = bench.last(Method::Invite);
    let version = |message: &Message| {
        let text = String::from_utf8_lossy(message.body()).into_owned();
        text.lines().nth(1).unwrap().split(' ').nth(2).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(version(&hold), version(&first) + 1);
    assert!(String::from_utf8_lossy(hold.body()).contains("a=inactive"));
    bench.reply(Method::Invite, 200, "", "", &sdp(5000, "0", "inactive"));
    assert_eq!(bench.seen(), "ACK [Changed]");
    assert_eq!(bench.last(Method::Ack).text(Name::CSeq), Some("2 ACK"));
    bench.reply(Method::Invite, 200, "", "", &sdp(5000, "0", "inactive"));
    assert_eq!(bench.seen(), "ACK");
}

#[test]
fn a_refused_change_leaves_all_as_it_was() {
    let mut bench = calling("");
    bench.order(Order::Change(held()));
    bench.seen();
    bench.reply(Method::Invite, 488, "", "", "");
    assert_eq!(bench.seen(), "ACK [Unchanged 488]");
    bench.peer(Method::Bye, "", "");
    assert_eq!(bench.seen(), "200 [Released 16]");
}

#[test]
fn glare_is_tried_again_later_by_the_caller_than_by_the_called() {
    for (mut bench, least, most) in [(calling(""), 2_100, 4_000), (called(MICROSOFT, ""), 0, 2_000)] {
        bench.order(Order::Change(held()));
        bench.seen();
        bench.reply(Method::Invite, 491, "", "", "");
        let moments = bench.pass(seconds(5));
        assert!(moments.len() == 1 && (least..=most).contains(&moments[0]) && moments[0] % 10 == 0, "{moments:?}");
        assert_eq!(bench.seen(), "ACK INVITE+sdp");
        bench.reply(Method::Invite, 200, "", "", &sdp(5000, "0", "inactive"));
        assert_eq!(bench.seen(), "ACK [Changed]");
    }
}

#[test]
fn endless_glare_is_given_up() {
    let mut bench = calling("");
    bench.order(Order::Change(held()));
    for _ in 0..6 {
        bench.reply(Method::Invite, 491, "", "", "");
        bench.pass(seconds(5));
    }
    assert!(bench.seen().ends_with("ACK [Unchanged 491]"));
}

#[test]
fn the_peers_change_during_ours_gets_491() {
    let mut bench = calling("");
    bench.order(Order::Change(held()));
    bench.seen();
    bench.peer(Method::Invite, "", &sdp(5000, "0", "inactive"));
    bench.peer(Method::Update, "", &sdp(5000, "0", "inactive"));
    assert_eq!(bench.seen(), "491 491");
}

#[test]
fn a_second_change_before_the_first_is_answered_gets_500() {
    let mut bench = called(MICROSOFT, "");
    bench.peer(Method::Invite, "", &sdp(5000, "0", "inactive"));
    bench.peer(Method::Update, "", &sdp(5000, "0", "sendrecv"));
    assert_eq!(bench.seen(), "[Change Inactive] 500");
    assert!(bench.last_response(500).value(Name::RetryAfter).is_some());
}

#[test]
fn our_change_waits_for_the_peers() {
    let mut bench = called(MICROSOFT, "");
    bench.peer(Method::Invite, "", &sdp(5000, "8", "sendrecv"));
    bench.order(Order::Change(held()));
    bench.order(Order::Grant(terms()));
    assert_eq!(bench.seen(), "[Change SendRecv] [Media] 200+sdp");
    bench.ack(11, "");
    assert_eq!(bench.seen(), "INVITE+sdp");
}

#[test]
fn a_peer_that_lost_the_call_is_released() {
    for status in [481, 408] {
        let mut bench = calling("");
        bench.order(Order::Change(held()));
        bench.seen();
        bench.reply(Method::Invite, status, "", "", "");
        let cause = if status == 481 { 41 } else { 102 };
        assert_eq!(bench.seen(), format!("ACK [Released {cause}] BYE"));
    }
}

#[test]
fn a_peer_that_fell_silent_is_released() {
    let mut bench = calling("");
    bench.order(Order::Change(held()));
    bench.seen();
    assert_eq!(bench.pass(seconds(33)), [32_000]);
    assert_eq!(bench.seen(), "[Released 102] BYE");
    bench.until_over();
}

#[test]
fn crossing_byes_are_both_answered() {
    let mut bench = called(MICROSOFT, "");
    bench.order(Order::Release(Release::normal("")));
    bench.peer(Method::Bye, "", "");
    assert_eq!(bench.seen(), "BYE 200");
    bench.reply(Method::Bye, 481, "", "", "");
    assert!(bench.leg.is_over());
}

#[test]
fn a_bye_leaves_no_request_unanswered() {
    let mut bench = called(MICROSOFT, "");
    bench.peer(Method::Invite, "", &sdp(5000, "0", "inactive"));
    bench.seen();
    bench.peer(Method::Bye, "", "");
    assert_eq!(bench.seen(), "200 487 [Released 16]");
}

#[test]
fn a_reinvite_accepted_after_our_bye_is_still_confirmed() {
    let mut bench = calling("");
    bench.order(Order::Change(held()));
    bench.order(Order::Release(Release::normal("")));
    bench.seen();
    bench.reply(Method::Invite, 200, "", "", &usual());
    assert_eq!(bench.seen(), "ACK");
}

#[test]
fn we_refresh_by_update_at_half_time() {
    let mut bench = calling("Allow: INVITE, UPDATE\nSession-Expires: 1800;refresher=uac\n");
    for _ in 0..3 {
        assert_eq!(bench.pass(seconds(900)), [900_000]);
        bench.reply(Method::Update, 200, "", "Session-Expires: 1800;refresher=uac\n", "");
        assert_eq!(bench.seen(), "UPDATE");
        let update = bench.last(Method::Update);
        assert_eq!(update.text(Name::SessionExpires), Some("1800;refresher=uac"));
        assert!(update.value(Name::Contact).is_some());
    }
}

#[test]
fn without_update_we_refresh_by_a_reinvite_that_changes_nothing() {
    let mut bench = calling("Allow: INVITE\nSession-Expires: 90;refresher=uac\n");
    assert_eq!(bench.pass(seconds(45)), [45_000]);
    assert_eq!(bench.seen(), "INVITE+sdp");
    bench.reply(Method::Invite, 200, "", "Session-Expires: 90;refresher=uac\n", &usual());
    assert_eq!(bench.seen(), "ACK");
}

#[test]
fn a_refused_update_is_followed_by_a_reinvite() {
    let mut bench = calling("Allow: INVITE, UPDATE\nSession-Expires: 90;refresher=uac\n");
    bench.pass(seconds(45));
    bench.reply(Method::Update, 405, "", "", "");
    bench.pass(seconds(5));
    assert_eq!(bench.seen(), "UPDATE INVITE+sdp");
}

#[test]
fn the_peers_refresh_begins_the_interval_anew() {
    let timer = "Supported: timer\nSession-Expires: 90;refresher=uac\n";
    let mut bench = called(MICROSOFT, timer);
    assert_eq!(bench.pass(seconds(50)), []);
    bench.peer(Method::Update, timer, "");
    assert_eq!(bench.seen(), "200");
    assert_eq!(bench.last_response(200).text(Name::SessionExpires), Some("90;refresher=uac"));
    assert_eq!(bench.pass(seconds(100)), [60_000]);
    assert_eq!(bench.seen(), "[Released 102] BYE");
}

#[test]
fn other_methods_are_answered_and_change_nothing() {
    let mut bench = called(MICROSOFT, "");
    for (method, seen) in [
        (Method::Options, "200"),
        (Method::Info, "200"),
        (Method::Notify, "481"),
        (Method::Prack, "481"),
        (Method::Subscribe, "481"),
        (Method::Refer, "400"),
        (Method::Message, "405"),
    ] {
        bench.peer(method, "", "");
        assert_eq!(bench.seen(), seen);
    }
    assert!(bench.last_response(405).lists(Name::Allow, "UPDATE"));
}

#[test]
fn requests_to_microsoft_take_its_own_connection_and_gateways_are_called_by_name() {
    let mut bench = called(MICROSOFT, "");
    bench.order(Order::Release(Release::normal("")));
    assert_eq!(bench.hops.last(), Some(&Hop::Flow(bench.flow)));
    let mut bench = calling("");
    bench.order(Order::Release(Release::normal("")));
    let Some(Hop::Target(target)) = bench.hops.last() else { panic!() };
    assert_eq!((target.to_string(), target.trunk), ("192.0.2.20:5068/TCP".into(), TrunkId(1)));
    let mut bench = calling("Contact: <sip:gw@example.com;gruu;opaque=srvr:x>\n");
    bench.order(Order::Release(Release::normal("")));
    assert_eq!(bench.hops.last(), Some(&Hop::Flow(bench.flow)));
}

#[test]
fn an_abnormal_end_is_told_to_microsoft() {
    let mut bench = called(MICROSOFT, "");
    bench.order(Order::Release(Release::new(Guilty::Network, Cause::NETWORK_OUT_OF_ORDER, "")));
    let bye = bench.last(Method::Bye);
    assert!(bye.text(Name::Reason).unwrap().starts_with("Q.850;cause=38"));
    assert!(bye.text(Name::MsDiagnostics).unwrap().contains("source=\"ms1.contoso.com\""));
}

#[test]
fn a_lost_connection_costs_no_call() {
    let mut bench = called(MICROSOFT, "");
    bench.order(Order::Change(held()));
    assert_eq!(bench.hops.last(), Some(&Hop::Flow(bench.flow)));
    bench.unsent();
    assert_eq!(bench.seen(), "INVITE+sdp INVITE+sdp");
    let Some(Hop::Target(target)) = bench.hops.last() else { panic!() };
    assert_eq!(target.to_string(), "192.0.2.20:5060/TLS", "though the Contact says TCP");
    bench.unsent();
    assert_eq!(bench.seen(), "[Released 38] BYE");

    // A gateway whose Contact nobody listens at.
    let mut bench = calling("");
    bench.order(Order::Change(held()));
    bench.unsent();
    assert_eq!(bench.hops.last(), Some(&Hop::Flow(bench.flow)));
    bench.reply(Method::Invite, 200, "", "", &sdp(5000, "0", "inactive"));
    assert_eq!(bench.seen(), "INVITE+sdp INVITE+sdp ACK [Changed]");

    let mut bench = called(MICROSOFT, "");
    bench.order(Order::Release(Release::normal("")));
    bench.unsent();
    assert_eq!(bench.seen(), "BYE BYE");
    bench.unsent();
    assert!(bench.leg.is_over());
}

#[test]
fn a_refresh_that_the_peer_cannot_take_now_is_repeated_without_haste() {
    let mut bench = calling("Allow: INVITE, UPDATE\nSession-Expires: 1800;refresher=uac\n");
    bench.pass(seconds(900));
    bench.reply(Method::Update, 503, "", "", "");
    assert_eq!(bench.pass(seconds(50)), [32_000]);
    assert_eq!(bench.seen(), "UPDATE UPDATE");
}

#[test]
fn a_reinvite_may_be_cancelled_alone() {
    let mut bench = called(MICROSOFT, "");
    bench.peer(Method::Invite, "", &sdp(5000, "0", "inactive"));
    bench.cancel_reinvite();
    assert_eq!(bench.seen(), "[Change Inactive] 200 487");
    bench.order(Order::Grant(held()));
    bench.peer(Method::Invite, "", &sdp(5000, "0", "inactive"));
    assert_eq!(bench.seen(), "[Change Inactive]");
}

#[test]
fn a_reinvite_before_the_ack_has_to_wait() {
    let mut bench = Bench::called(trunk(MICROSOFT), invite("", &usual()));
    bench.order(answer());
    bench.seen();
    bench.peer(Method::Invite, "", &usual());
    assert_eq!(bench.seen(), "491");
}

#[test]
fn the_2xx_decides_target_and_route() {
    let mut bench = Bench::calling(trunk(TrunkKind::Gateway));
    bench.reply(Method::Invite, 183, "far", "Record-Route: <sip:192.0.2.30;lr>\n", "");
    bench.reply(
        Method::Invite,
        200,
        "far",
        "Record-Route: <sip:192.0.2.31;lr>\nContact: <sip:b@192.0.2.32>\n",
        &usual(),
    );
    let ack = bench.last(Method::Ack);
    assert_eq!(ack.uri().unwrap().as_str(), "sip:b@192.0.2.32");
    assert_eq!(ack.text(Name::Route), Some("<sip:192.0.2.31;lr>"));
    assert!(matches!(bench.hops.last(), Some(Hop::Target(target)) if &*target.host == "192.0.2.31"));
}
