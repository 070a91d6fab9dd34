//! One way after the other: which failures lead to the next gateway, and what the caller hears when
//! none is left.

use super::*;

#[test]
fn a_gateway_that_cannot_be_reached_is_passed_over() {
    let mut world = World::new();
    world.unreachable.insert(GW1);
    let a = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 gw2:INVITE+sdp open");
    let b = world.rung(GW2);
    world.answer(b, 200, &plain("0"));
    world.ack(a, "");
    assert_eq!(world.snapshot().calls[0].to.as_deref(), Some("Gateway2"));
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_5xx_before_any_progress_leads_to_the_next() {
    for status in [500, 503, 504] {
        let mut world = World::new();
        let a = world.invite(LYNC, &secret("0"));
        let first = world.rung(GW1);
        world.answer(first, 100, "");
        world.answer(first, status, "");
        assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp gw1:ACK gw2:INVITE+sdp open");
        let b = world.rung(GW2);
        world.answer(b, 200, &plain("0"));
        world.ack(a, "");
        world.ask(b, Method::Bye, "", "");
        world.rest();
    }
}

#[test]
fn a_rule_makes_a_refusal_one_that_leads_to_the_next_or_another_for_the_caller() {
    let rules = "[ResponseCodeRules A]\nCongestion=486/34 => 503\nAbsent=480 => 404\n[Gateway1]\nResponseCodeRules=a\n";
    let config = read(&INI.replace("[Gateway1]\n", rules));
    for (status, reason, next, told) in [
        (486, "Reason: Q.850;cause=34\n", true, None),
        (486, "Reason: Q.850;cause=17\n", false, Some((486, "cause=17"))),
        (480, "", false, Some((404, "cause=1;"))),
        (480, "Reason: Q.850;cause=20\n", false, Some((404, "cause=20"))),
    ] {
        let mut world = World::with(config.clone());
        let a = world.invite(LYNC, &secret("0"));
        let first = world.rung(GW1);
        world.reply(first, Method::Invite, status, "far", reason, "");
        assert_eq!(world.seen().contains("gw2:INVITE"), next, "{status} {reason}");
        match told {
            None => world.answer(world.rung(GW2), 404, ""),
            Some((status, cause)) => assert!(header(world.told(a, status), Name::Reason).contains(cause), "{cause}"),
        }
        let by_rule = world.notes("; rule `").len() == 1;
        assert_eq!(by_rule, next || told.is_some_and(|(status, _)| status == 404), "{status} {reason}");
        world.rest();
    }
}

#[test]
fn ten_seconds_of_silence_lead_to_the_next() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let first = world.rung(GW1);
    world.answer(first, 100, "");
    world.seen();
    world.pass(Duration::from_millis(9_999));
    assert_eq!(world.seen(), "");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.seen(), "gw1:CANCEL gw2:INVITE+sdp gw1:ACK");
    let b = world.rung(GW2);
    world.answer(b, 180, "");
    world.pass(seconds(30));
    world.answer(b, 200, &plain("0"));
    world.ack(a, "");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_silent_gateway_that_answers_after_all_is_hung_up() {
    let mut world = World::new();
    world.rude = true;
    let a = world.invite(LYNC, &secret("0"));
    let first = world.rung(GW1);
    world.answer(first, 100, "");
    world.pass(seconds(10));
    let b = world.rung(GW2);
    world.answer(b, 180, "");
    world.seen();
    world.answer(first, 200, &plain("0"));
    assert_eq!(world.seen(), "gw1:ACK gw1:BYE");
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.seen(), "gw2:ACK lync:200+sdp");
    world.ack(a, "");
    world.rude = false;
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw2:BYE close");
    world.rest();
}

#[test]
fn without_the_fast_timer_a_silent_gateway_has_its_32_seconds() {
    let mut world = World::with(ini(&["[TrunkConfiguration]\nEnableFastFailoverTimer=False"]));
    let a = world.invite(LYNC, &secret("0"));
    world.seen();
    world.pass(seconds(31));
    assert_eq!(world.seen(), "");
    world.pass(seconds(2));
    assert_eq!(world.seen(), "gw2:INVITE+sdp");
    world.cancel(a);
    world.rest();
}

#[test]
fn what_the_called_party_decides_is_final() {
    for status in [486, 404, 403, 480, 603] {
        let mut world = World::new();
        let a = world.invite(LYNC, &secret("0"));
        let b = world.rung(GW1);
        world.answer(b, status, "");
        assert_eq!(world.seen(), format!("lync:100 gw1:INVITE+sdp gw1:ACK lync:{status} open close"));
        assert!(!world.told(a, status).lists(Name::Require, "100rel"));
        world.rest();
    }
}

#[test]
fn after_ringing_nobody_else_is_tried() {
    for progress in [180, 183] {
        let mut world = World::new();
        world.invite(LYNC, &secret("0"));
        let b = world.rung(GW1);
        world.answer(b, progress, "");
        world.seen();
        world.answer(b, 503, "");
        assert_eq!(world.seen(), "gw1:ACK lync:503 close");
        world.rest();
    }
}

#[test]
fn the_last_failure_is_told_with_its_cause_and_numbers() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let first = world.rung(GW1);
    world.answer(first, 503, "");
    let b = world.rung(GW2);
    world.reply(b, Method::Invite, 486, "far", "Reason: Q.850;cause=34\n", "");
    let told = world.told(a, 486);
    assert!(header(told, Name::Reason).starts_with("Q.850;cause=34;"), "{}", header(told, Name::Reason));
    let diagnostics = header(told, Name::MsDiagnostics);
    assert!(diagnostics.starts_with("10486;reason=\""), "{diagnostics}");
    assert!(diagnostics.contains("source=\"ms1.contoso.com\"") && diagnostics.contains("SipResponseCode=\"486\""));
    let public = header(told, Name::MsDiagnosticsPublic);
    assert!(public.starts_with("10486;reason=\"") && !public.contains("ms1.contoso.com"), "{public}");
    world.rest();
}

#[test]
fn when_no_gateway_can_be_reached_the_caller_hears_so() {
    let mut world = World::new();
    world.unreachable.extend([GW1, GW2]);
    let a = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:503 open close");
    assert!(header(world.told(a, 503), Name::Reason).starts_with("Q.850;cause=38;"));
    assert_eq!(world.end(), "refused 38 by called");
    world.rest();

    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    world.pass(seconds(10));
    world.pass(seconds(10));
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp gw2:INVITE+sdp lync:504 open close");
    assert!(header(world.told(a, 504), Name::MsDiagnostics).starts_with("62504;"));
    world.rest();
}

#[test]
fn toward_a_gateway_there_is_a_reason_and_nothing_of_microsofts() {
    let mut world = World::new();
    let a = world.invite(GW1, &plain("0"));
    let b = world.rung(LYNC);
    world.answer(b, 486, "");
    let told = world.told(a, 486);
    assert!(header(told, Name::Reason).starts_with("Q.850;cause=17;"));
    assert_eq!(told.text(Name::MsDiagnostics), None);
    world.rest();
}

#[test]
fn nobody_answers() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 180, "");
    world.seen();
    world.pass(seconds(199));
    let said = world.seen();
    assert!(said.split(' ').all(|word| word == "lync:180"), "{said}");
    world.pass(seconds(2));
    assert_eq!(world.seen(), "lync:480 gw1:CANCEL gw1:ACK close");
    assert!(header(world.told(a, 480), Name::Reason).starts_with("Q.850;cause=19;"));
    assert_eq!(world.end(), "no-answer 19 by us");
    world.rest();
}

#[test]
fn a_number_that_no_route_takes() {
    let mut world = World::new();
    let a = world.invite_to(LYNC, "+4930555", "", &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:404 open close");
    assert_eq!(world.end(), "failed 3 by us");
    let notes = |report: &Report| matches!(report, Report::Note { text, .. } if text.contains("[HybridVoiceRoutes]"));
    assert!(world.reports.iter().any(notes), "the operator is told what to do");
    assert!(header(world.told(a, 404), Name::Reason).starts_with("Q.850;cause=3;"));
    world.rest();
}

// Trunks that are down.

#[test]
fn a_trunk_that_misses_its_options_is_tried_last() {
    let mut world = World::with(ini(&["[TrunkConfiguration]\nOptionsInterval=60s"]));
    world.deaf.insert(GW1);
    world.pass(seconds(40));
    let up: Vec<_> = world.snapshot().trunks.iter().map(|trunk| trunk.up).collect();
    assert_eq!(up, [Some(true), Some(false), Some(true), Some(true)]);

    let a = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 gw2:INVITE+sdp open");
    // Last, not never.
    let b = world.rung(GW2);
    world.answer(b, 503, "");
    assert_eq!(world.seen(), "gw2:ACK gw1:INVITE+sdp");
    world.cancel(a);

    world.deaf.clear();
    world.pass(seconds(60));
    assert_eq!(world.snapshot().trunks[1].up, Some(true));
    world.seen();
    let a = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 gw1:INVITE+sdp open");
    world.cancel(a);
    world.rest();
}

#[test]
fn a_trunk_that_was_up_goes_down_after_three_misses() {
    let mut world = World::with(ini(&["[TrunkConfiguration]\nOptionsInterval=60s"]));
    world.pass(seconds(1));
    world.unreachable.insert(GW1);
    let up = |world: &World| world.snapshot().trunks[1].up;
    // Asked at 60 s, 65 s and 70 s.
    world.pass(seconds(68));
    assert_eq!(up(&world), Some(true));
    world.pass(seconds(2));
    assert_eq!(up(&world), Some(false));
    let why = world.snapshot().trunks[1].why.clone();
    assert!(why.contains("connection refused"), "{why}");
    // Its own request proves it alive.
    world.unreachable.clear();
    let a = world.invite(GW1, &plain("0"));
    assert_eq!(up(&world), Some(true));
    world.cancel(a);
    world.rest();
}

// Limits.

#[test]
fn a_full_gateway_is_passed_over_and_a_full_trunk_takes_no_calls() {
    let mut world = World::with(ini(&["[Gateway1]\nMaxCalls=1"]));
    let (a, _) = world.talk(LYNC, GW1);
    let second = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 gw2:INVITE+sdp open");
    world.cancel(second);
    world.seen();
    let third = world.invite(GW1, &plain("0"));
    assert_eq!(world.seen(), "gw1:100 gw1:503");
    assert!(world.told(third, 503).number(Name::RetryAfter).is_some());

    world.ask(a, Method::Bye, "", "");
    world.seen();
    let fourth = world.invite(GW1, &plain("0"));
    assert_eq!(world.seen(), "gw1:100 lync:INVITE+sdp open");
    world.cancel(fourth);
    world.rest();
}

#[test]
fn when_every_gateway_is_full_there_is_no_circuit() {
    let mut world = World::with(ini(&["[Gateway1]\nMaxCalls=1", "[Gateway2]\nMaxCalls=1"]));
    let (first, _) = world.talk(LYNC, GW1);
    let (second, _) = world.talk(LYNC, GW2);
    let a = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:503 open close");
    assert!(header(world.told(a, 503), Name::Reason).starts_with("Q.850;cause=34;"));
    world.ask(first, Method::Bye, "", "");
    world.ask(second, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_full_microsoft_side_takes_no_more_calls() {
    let mut world = World::with(ini(&["[Lync]\nMaxCalls=1"]));
    let (a, _) = world.talk(LYNC, GW1);
    let out = world.invite(LYNC, &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:503");
    assert!(world.told(out, 503).number(Name::RetryAfter).is_some());
    let inward = world.invite(GW1, &plain("0"));
    assert_eq!(world.seen(), "gw1:100 gw1:503 open close");
    assert!(header(world.told(inward, 503), Name::Reason).starts_with("Q.850;cause=34;"));
    world.ask(a, Method::Bye, "", "");
    world.rest();
}
