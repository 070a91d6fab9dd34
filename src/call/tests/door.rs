//! What is refused before it becomes a call, and what a reload or a drain leaves alone.

use super::*;

// Descriptions.

#[test]
fn no_codec_in_common() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("18"));
    assert_eq!(world.seen(), "lync:100 lync:488");
    let told = world.told(a, 488);
    assert!(header(told, Name::Warning).starts_with("30"), "{}", header(told, Name::Warning));
    assert!(told.text(Name::MsDiagnostics).is_some());
    world.rest();
}

#[test]
fn a_codec_that_its_own_trunk_may_not_speak() {
    let mut world = World::with(ini(&["[Media]\nCodecs=PCMA"]));
    let a = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:488 open close");
    let told = world.told(a, 488);
    assert!(header(told, Name::Warning).starts_with("305 "), "{}", header(told, Name::Warning));
    world.rest();
}

#[test]
fn encryption_is_required_and_not_offered() {
    let mut world = World::new();
    let a = world.invite(LYNC, &plain("0"));
    assert_eq!(world.seen(), "lync:100 lync:488");
    let told = world.told(a, 488);
    assert!(told.text(Name::Warning).is_some() && told.text(Name::MsDiagnostics).is_some());
    world.rest();
}

#[test]
fn encryption_is_required_and_not_answered() {
    let mut world = World::new();
    world.invite(GW1, &plain("0"));
    let b = world.rung(LYNC);
    world.seen();
    world.answer(b, 200, &plain("0"));
    let seen = world.seen();
    assert!(seen.starts_with("lync:ACK lync:BYE gw1:"), "{seen}");
    assert_eq!(world.sessions.len(), 0);
    world.rest();
}

#[test]
fn a_codec_that_only_one_side_has() {
    let mut world = World::with(ini(&["[Media]\nCodecs=PCMA"]));
    let a = world.invite(GW1, &plain("0"));
    assert_eq!(world.seen(), "gw1:100 gw1:488 open close");
    assert!(header(world.told(a, 488), Name::Reason).starts_with("Q.850;cause=88;"));
    world.rest();
}

// Requests.

#[test]
fn the_same_invite_by_another_way_is_refused() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    world.seen();
    // The same request but for its branch: a proxy forked it to us twice.
    world.say(a, "INVITE", "another", 1, "", &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:482");
    world.cancel(a);
    world.rest();
}

#[test]
fn a_new_try_with_the_old_names_is_a_new_call() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    // The old call's ports are still on their way home.
    world.engine = Engine::Sleeps;
    world.answer(b, 486, "");
    world.seen();
    // RFC 3261 section 8.1.3.5: same Call-ID, To and From, the next CSeq.
    world.ask(a, Method::Invite, "", &secret("0"));
    world.engine_wakes();
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp open");
    let (branch, cseq) = world.phones[a].invited.clone();
    world.say(a, "CANCEL", &branch, cseq, "", "");
    assert_eq!(world.seen(), "lync:487 close");
    world.rest();
}

#[test]
fn an_old_call_id_leads_to_the_new_call_alone() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    world.cancel(a);
    world.pass(seconds(200));
    world.reports.clear();
    world.ask(a, Method::Invite, "", &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 404, "");
    let refusal = |report: &Report| matches!(report, Report::Message { trunk: LYNC, message, .. } if message.status() == Some(404));
    assert!(world.reports.iter().any(refusal), "the new call's ladder has its refusal");
    world.rest();
}

#[test]
fn an_unknown_dialog() {
    let mut world = World::new();
    let (a, _) = world.talk(LYNC, GW1);
    let far = std::mem::replace(&mut world.phones[a].far, "<sip:x@ms1.contoso.com>;tag=nobody".into());
    for method in [Method::Bye, Method::Invite, Method::Update] {
        world.ask(a, method, "", "");
        assert_eq!(world.phones[a].told.last().and_then(Message::status), Some(481));
    }
    world.phones[a].far = far;
    world.seen();
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:BYE close");
    world.rest();
}

#[test]
fn what_an_invite_may_not_ask() {
    let cases = [
        ("INVITE", "Require: foo\n", 420, Name::Unsupported),
        ("INVITE", "Accept: text/plain\n", 406, Name::Reason),
        ("INVITE", "Supported: timer\nSession-Expires: 30\n", 422, Name::MinSe),
        ("FETCH", "", 501, Name::Allow),
        ("REGISTER", "", 405, Name::Allow),
        ("BYE", "", 481, Name::Reason),
    ];
    for (method, more, status, says) in cases {
        let mut world = World::new();
        let a = world.invite(LYNC, &secret("0"));
        world.cancel(a);
        world.pass(seconds(60));
        world.phones[a].call_id = "fresh".into();
        world.phones[a].far = "<sip:+13125556789@ms1.contoso.com>".into();
        world.phones[a].invited = ("fresh".into(), 7);
        let body = if method == "INVITE" { secret("0") } else { String::new() };
        world.say(a, method, "fresh", 7, more, &body);
        let told = world.phones[a].told.last().unwrap();
        assert_eq!(told.status(), Some(status), "{method} {more}");
        assert!(told.text(says).is_some(), "{method} {more}: {says:?}");
        assert!(world.reports.iter().any(|report| matches!(report, Report::Refused { .. })));
        world.rest();
    }
}

#[test]
fn options_are_answered() {
    let mut world = World::new();
    let a = world.invite(GW1, &plain("0"));
    world.cancel(a);
    world.pass(seconds(60));
    world.phones[a].far = "<sip:ms1.contoso.com>".into();
    world.ask(a, Method::Options, "", "");
    let told = world.phones[a].told.last().unwrap();
    assert_eq!(told.status(), Some(200));
    assert!(told.text(Name::Allow).is_some() && told.text(Name::Contact).is_some());
    world.rest();
}

// Reload and drain.

#[test]
fn a_live_call_outlives_a_reload() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.reload(ini(&["[Gateway1]\nMaxCalls=7"]));
    assert_eq!(world.snapshot().trunks[1].max_calls, Some(7));
    world.ask(b, Method::Invite, "", &going("inactive", &plain("0")));
    world.answer(a, 200, &going("inactive", &secret("0")));
    assert_eq!(world.seen(), "gw1:100 lync:INVITE+sdp lync:ACK gw1:200+sdp");
    world.ack(b, "");
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "lync:BYE close");
    world.rest();
}

#[test]
fn a_live_call_outlives_its_gateway() {
    for from_gateway in [false, true] {
        let mut world = World::new();
        let (a, b) = world.talk(LYNC, GW1);
        world.reload(ini_without(&["[Gateway1]"]));
        assert_eq!(world.snapshot().trunks.len(), 3);
        assert_eq!(world.snapshot().calls.len(), 1);
        let stranger = world.invite(GW1, &plain("0"));
        assert_eq!(world.seen(), "gw1:100 gw1:403");
        assert_eq!(world.told(stranger, 403).text(Name::MsDiagnostics), None);
        if from_gateway {
            world.ask(b, Method::Bye, "", "");
            assert_eq!(world.seen(), "lync:BYE close");
        } else {
            world.ask(a, Method::Bye, "", "");
            assert_eq!(world.seen(), "gw1:BYE close");
            let via = world.asked(b, Method::Bye).via().unwrap();
            assert_eq!((via.host, via.port), ("192.0.2.10", Some(5068)));
        }
        world.rest();
    }
}

#[test]
fn a_gateway_that_moved_keeps_its_count_of_calls() {
    let mut world = World::with(ini(&["[Gateway1]\nMaxCalls=1"]));
    let (a, _) = world.talk(LYNC, GW1);
    world.reload(ini(&["[Gateway1]\nMaxCalls=1", "[Gateway1]\nIP=192.0.2.99"]));
    world.invite(GW1, &plain("0"));
    assert_eq!(world.seen(), "gw1:100 gw1:503");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_call_that_rings_during_a_reload_goes_on() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 180, "");
    world.reload(ini_without(&["[Gateway1]", "[Gateway2]"]));
    world.seen();
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.seen(), "gw1:ACK lync:200+sdp");
    world.ack(a, "");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_drain_takes_no_new_calls_and_lets_live_ones_talk() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    let ringing = world.invite(LYNC, &secret("0"));
    let callee = world.rung(GW1);
    world.answer(callee, 180, "");
    world.happens(Event::Drain);
    assert!(world.snapshot().draining);
    world.seen();
    let late = world.invite(GW1, &plain("0"));
    assert_eq!(world.seen(), "gw1:100 gw1:503");
    assert!(world.told(late, 503).number(Name::RetryAfter).is_some_and(|after| after > 0));
    world.holds(a, b);

    world.happens(Event::ReleaseAll);
    let mut seen: Vec<_> = world.seen().split(' ').map(str::to_owned).collect();
    seen.sort();
    assert_eq!(seen, ["close", "close", "gw1:ACK", "gw1:BYE", "gw1:CANCEL", "lync:503", "lync:BYE"]);
    assert!(world.told(ringing, 503).text(Name::Reason).is_some());
    assert!(world.snapshot().calls.is_empty());
    world.rest();
}
