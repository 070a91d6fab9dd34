//! Who asks for a transfer, when that was signed, and whose clock is wrong when somebody refuses it.

use std::net::IpAddr;

use super::*;
use crate::identity::Verdict;
use crate::identity::window::Window;

/// A Referred-By, signed at this time of the day on which the world begins at 23:00:00.
fn signed(time: &str) -> String {
    format!(
        "Refer-To: <sip:carol@contoso.com>\nReferred-By: <sip:bob@contoso.com>;ms-identity=\"MIIB:Fri, 20 Nov 2026 {time} \
         GMT\";ms-identity-info=\"sip:fe01.contoso.com:5061;transport=Tls\";ms-identity-alg=rsa-sha1\n"
    )
}

fn verdicts(world: &World) -> Vec<Verdict> {
    let of = |report: &Report| match report {
        Report::Referrer { verdict, .. } => Some(*verdict),
        _ => None,
    };
    world.reports.iter().filter_map(of).collect()
}

#[test]
fn every_referrer_gets_a_verdict_in_the_ladder_and_the_metrics() {
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, &signed("23:00:00"), "");
    world.ask(a, Method::Refer, &signed("23:00:30"), "");
    let lync = world.snapshot().trunks.remove(0);
    assert_eq!((lync.identity_offset_seconds.map(f64::round), lync.identity_age_seconds), (Some(30.0), Some(0.0)));
    world.pass(seconds(5));
    assert_eq!(world.snapshot().trunks[0].identity_age_seconds, Some(5.0));
    world.ask(a, Method::Refer, "Refer-To: <sip:carol@contoso.com>\n", "");
    world.ask(a, Method::Refer, "Refer-To: <sip:carol@contoso.com>\nb: <sip:x\n", "");
    let [valid, Verdict::Ahead(by), absent, Verdict::Malformed(_)] = verdicts(&world)[..] else {
        panic!("{:?}", verdicts(&world));
    };
    assert_eq!((valid, by, absent), (Verdict::Valid, seconds(30), Verdict::Absent));
    assert_eq!(world.notes("referrer's identity: ").len(), 4);
    let [ahead] = world.notes("ahead of our clock")[..] else { panic!() };
    assert!(ahead.contains("signed by fe01.contoso.com, dated 30 s ahead of our clock"), "{ahead}");
    assert!(ahead.contains("the signature is not checked") && !ahead.contains("bob"), "{ahead}");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_bad_identity_is_refused_where_the_configuration_wants_that() {
    let mut world = World::with(ini(&["[Lync]\nReferrerIdentity=refuse"]));
    let (a, b) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, &signed("22:58:00"), "");
    assert_eq!(world.seen(), "lync:429/REFER");
    let told = world.told(a, 429);
    assert!(header(told, Name::MsDiagnostics).starts_with("1020;"), "{told:?}");
    // A gateway signs nothing.
    world.ask(b, Method::Refer, "Refer-To: <sip:carol@contoso.com>\n", "");
    assert!(!world.seen().contains("429"));
    // The call goes on.
    world.ask(a, Method::Update, "", "");
    world.told(a, 200);
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_refusal_by_a_server_whose_clock_is_wrong_names_it() {
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, &signed("23:00:00"), "");
    let heads = "Date: Fri, 20 Nov 2026 22:58:00 GMT\nEvent: refer\nSubscription-State: terminated;reason=noresource\n\
                 Content-Type: message/sipfrag;version=2.0\n\
                 ms-diagnostics: 10003;source=\"x\"\nms-diagnostics: 1020;source=\"edge.contoso.com\"\n";
    world.ask(a, Method::Notify, heads, "SIP/2.0 429 Provide Referrer Identity\r\n");
    let [why] = world.notes("was refused (429")[..] else { panic!("{:?}", world.reports) };
    let words = "the clock of lync, where the refusal came from, is 2 min behind ours: set its time right";
    assert!(why.contains("by edge.contoso.com") && why.contains(words), "{why}");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_refused_invite_is_explained_as_well() {
    let mut world = World::new();
    world.invite(GW1, &plain("0"));
    let b = world.rung(LYNC);
    let heads = "Date: Fri, 20 Nov 2026 23:00:00 GMT\nms-diagnostics: 1020;source=\"edge.contoso.com\"\n";
    world.reply(b, Method::Invite, 429, "far", heads, "");
    let [why] = world.notes("was refused (429")[..] else { panic!("{:?}", world.reports) };
    assert!(why.contains("look at the clock of edge.contoso.com"), "{why}");
    world.rest();
}

#[test]
fn a_peer_whose_clock_is_wrong_stands_in_every_ladder_once() {
    let mut world = World::new();
    // Half a second is the part of a Date that is cut off on average.
    let late = "Date: Fri, 20 Nov 2026 22:58:00 GMT\n";
    for calls in 1..3 {
        let (a, b) = world.talk(LYNC, GW1);
        (0..5).for_each(|_| world.ask(a, Method::Update, late, ""));
        (0..5).for_each(|_| world.ask(b, Method::Update, "Date: Fri, 20 Nov 2026 23:00:00 GMT\n", ""));
        assert_eq!(world.notes("the clock of lync is 1 min 59 s behind ours: transfers").len(), calls);
        assert_eq!(world.notes("the clock of ").len(), calls);
        world.ask(a, Method::Bye, "", "");
    }
    let trunks = world.snapshot().trunks;
    assert_eq!((trunks[0].clock_offset_seconds, trunks[1].clock_offset_seconds), (Some(-119), Some(1)));
    assert_eq!(trunks[2].clock_offset_seconds, None);
    let off = |report: &&Report| matches!(report, Report::PeerClock { good: false, .. });
    assert_eq!(world.reports.iter().filter(off).count(), 1);
}

#[test]
fn a_handshake_that_fails_for_a_certificates_dates_is_an_alarm_and_explains_a_refusal() {
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    let remote = IpAddr::from([192, 0, 2, 200]);
    let window = Window::TheirsNotBegun { from: world.now.wall + seconds(7200) };
    (0..2).for_each(|_| world.happens(Event::Window { trunk: LYNC, remote, window }));
    let off = |report: &&Report| matches!(report, Report::PeerClock { good: false, .. });
    assert_eq!(world.reports.iter().filter(off).count(), 1);
    let alarms = world.snapshot().alarms;
    assert_eq!((alarms.len(), alarms[0].subject.as_str()), (1, "lync"));
    let heads = "Date: Fri, 20 Nov 2026 23:00:00 GMT\nEvent: refer\nSubscription-State: terminated;reason=noresource\n\
                 ms-diagnostics: 1020;source=\"edge.contoso.com\"\n";
    world.ask(a, Method::Notify, heads, "SIP/2.0 429 Provide Referrer Identity\r\n");
    let [why] = world.notes("was refused (429")[..] else { panic!("{:?}", world.reports) };
    assert!(
        why.contains("no Date that is seen from here is off, but the certificate that lync shows begins on"),
        "{why}"
    );
    world.ask(a, Method::Bye, "", "");
    // The peer that was heard is another one of the same trunk.
    assert_eq!(world.snapshot().alarms.len(), 1);
    world.rest();
}
