//! Replaces: two calls become one.

use super::*;

/// Lync talks with two gateways, holds both, and refers the first to the second: the four telephones.
fn consulted(world: &mut World) -> [Id; 4] {
    let (first, here) = world.talk(LYNC, GW1);
    let (second, there) = world.talk(LYNC, GW3);
    world.holds(first, here);
    world.holds(second, there);
    world.refers_to_call(first, "+442075550100@ms1.contoso.com", second);
    [first, here, second, there]
}

#[test]
fn an_attended_transfer_joins_two_calls_of_ours() {
    let mut world = World::new();
    let [_, here, _, there] = consulted(&mut world);
    // Nobody is called; both gateways are asked to speak, the second at other ports.
    assert_eq!(world.seen(), "lync:NOTIFY=100 lync:BYE gw3:INVITE+sdp gw1:INVITE+sdp lync:NOTIFY=200! lync:BYE close");
    world.answer(there, 200, &plain("0"));
    world.answer(here, 200, &plain("0"));
    assert_eq!(world.seen(), "gw3:ACK gw1:ACK");
    assert_eq!(world.snapshot().calls.len(), 1);
    let session = world.sessions.values().next().unwrap();
    let directions = [0, 1].map(|side| session.sides[side].as_ref().map(|stream| stream.direction));
    assert_eq!(directions, [Some(SendRecv), Some(SendRecv)]);
    assert_eq!(results(&world), "handled reached");
    let carried: u32 = world.snapshot().trunks.iter().flat_map(|trunk| trunk.calls).sum();
    assert_eq!(carried, 2, "both gateways, and Lync no more");
    // The leg that moved is known in its new call.
    world.ask(there, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:BYE close");
    world.rest();
}

#[test]
fn an_attended_transfer_ends_from_the_other_side_too() {
    let mut world = World::new();
    let [_, here, _, there] = consulted(&mut world);
    world.answer(there, 488, "");
    world.answer(here, 200, &plain("0"));
    world.seen();
    world.ask(here, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw3:BYE close");
    world.rest();
}

/// Lync talks with a gateway and calls another, which rings; then refers the first to the second: all four telephones.
fn semi_attended(world: &mut World) -> [Id; 4] {
    let (first, here) = world.talk(LYNC, GW1);
    world.holds(first, here);
    let second = world.invite_to(LYNC, "+442075550100", "", &secret("0"));
    let there = world.rung(GW3);
    world.answer(there, 180, "");
    world.seen();
    world.refers_to_call(first, "+442075550100@ms1.contoso.com", second);
    [first, here, second, there]
}

#[test]
fn a_target_that_rings_for_the_transferor_rings_on_for_the_transferee() {
    let mut world = World::new();
    let [_, here, _, there] = semi_attended(&mut world);
    // Nobody is called anew; the transferor's own call is over.
    assert_eq!(world.seen(), "lync:NOTIFY=100 lync:487 lync:NOTIFY=180 close");
    assert_eq!(world.snapshot().calls.len(), 1);
    let carried: u32 = world.snapshot().trunks.iter().flat_map(|trunk| trunk.calls).sum();
    assert_eq!(carried, 3, "the target counts as well");
    world.answer(there, 200, &plain("0"));
    // It spoke at the ports of a call that is no more.
    assert_eq!(world.seen(), "gw3:ACK lync:NOTIFY=200! gw3:INVITE+sdp gw1:INVITE+sdp lync:BYE");
    world.answer(there, 200, &plain("0"));
    world.answer(here, 200, &plain("0"));
    assert_eq!(world.seen(), "gw3:ACK gw1:ACK");
    let session = world.sessions.values().next().unwrap();
    assert!(session.sides.iter().flatten().all(|side| side.direction == SendRecv && side.srtp.is_none()));
    assert_eq!(session.sides.iter().flatten().count(), 2);
    assert_eq!(results(&world), "handled reached");
    world.ask(there, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:BYE close");
    world.rest();
}

#[test]
fn a_target_that_rings_and_then_refuses_leaves_the_call_as_it_was() {
    let mut world = World::new();
    let [first, here, _, there] = semi_attended(&mut world);
    world.seen();
    world.answer(there, 486, "");
    assert_eq!(world.seen(), "gw3:ACK lync:NOTIFY=486!");
    assert_eq!(results(&world), "handled failed");
    world.ask(first, Method::Invite, "", &secret("0"));
    world.answer(here, 200, &plain("0"));
    world.ack(first, "");
    let session = world.sessions.values().next().unwrap();
    assert!(session.sides.iter().flatten().all(|side| side.direction == SendRecv));
    world.ask(first, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_transferor_may_give_up_its_own_call_and_leave_before_the_target_answers() {
    let mut world = World::new();
    let [first, here, second, there] = semi_attended(&mut world);
    world.seen();
    // Its CANCEL comes too late to stop the ringing.
    world.cancel(second);
    world.ask(first, Method::Bye, "", "");
    assert_eq!(world.seen(), "lync:481/CANCEL");
    assert_eq!(world.snapshot().calls.len(), 1);
    // Held as it is, the other side hears ringing once it is resumed by its own wish.
    world.ask(here, Method::Invite, "", &plain("0"));
    world.ack(here, "");
    world.answer(there, 183, &plain("0"));
    world.seen();
    world.answer(there, 200, &plain("0"));
    assert!(world.seen().starts_with("gw3:ACK lync:NOTIFY=200! gw3:INVITE+sdp"));
    world.answer(there, 200, &plain("0"));
    world.ask(here, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw3:ACK gw3:BYE close");
    world.rest();
}

#[test]
fn a_ringing_target_is_given_up_with_the_call() {
    let mut world = World::new();
    let [_, here, ..] = semi_attended(&mut world);
    world.seen();
    world.ask(here, Method::Bye, "", "");
    assert_eq!(world.seen(), "lync:NOTIFY=487! gw3:CANCEL lync:BYE gw3:ACK close");
    assert_eq!(results(&world), "handled abandoned");
    world.rest();

    // Nobody answers.
    let mut world = World::new();
    let [first, ..] = semi_attended(&mut world);
    world.seen();
    world.pass(seconds(201));
    assert_eq!(world.seen(), "gw3:CANCEL lync:NOTIFY=480! gw3:ACK");
    world.ask(first, Method::Bye, "", "");
    world.rest();
}

#[test]
fn nobody_joins_a_call_of_another_trunk() {
    let mut world = World::with(ini(&["[Gateway1]\nAcceptRefer=True"]));
    let (_, here) = world.talk(LYNC, GW1);
    let (second, there) = world.talk(LYNC, GW3);
    world.refers_to_call(here, "+13125550111@ms1.contoso.com", second);
    assert_eq!(world.seen(), "gw1:NOTIFY=100 lync:INVITE+sdp", "called anew");
    world.ask(there, Method::Bye, "", "");
    world.ask(here, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_request_that_is_under_way_moves_with_its_leg() {
    let mut world = World::new();
    let (first, here) = world.talk(LYNC, GW1);
    let (second, there) = world.talk(LYNC, GW3);
    // The second gateway is just being asked to hold.
    world.ask(second, Method::Invite, "", &going("inactive", &secret("0")));
    world.seen();
    world.refers_to_call(first, "+442075550100@ms1.contoso.com", second);
    world.answer(there, 200, &going("inactive", &plain("0")));
    // Confirmed by its new call, and asked to speak at the new ports.
    assert!(world.seen().ends_with("gw3:ACK gw3:INVITE+sdp close"));
    world.answer(there, 200, &plain("0"));
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(here, Method::Bye, "", "");
    world.rest();
}

#[test]
fn an_invite_with_replaces_takes_a_legs_place() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    world.holds(a, b);
    let replaces = format!("Replaces: {}\nRequire: replaces\n", world.naming(a));
    let c = world.invite_to(LYNC, "+13125556789", &replaces, &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:200+sdp lync:BYE gw1:INVITE+sdp");
    world.ack(c, "");
    world.answer(b, 200, &plain("0"));
    assert_eq!(world.directions().map(Option::unwrap), [SendRecv, SendRecv]);
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:ACK lync:BYE close");
    world.rest();
}

#[test]
fn a_replaces_that_may_not_be() {
    let mut world = World::new();
    let (a, b) = world.talk(LYNC, GW1);
    let named = world.naming(a);
    for (trunk, replaces, seen) in [
        (LYNC, "nonsense".to_owned(), "lync:400"),
        (LYNC, "c@h;to-tag=1;from-tag=2".to_owned(), "lync:481"),
        (LYNC, format!("{named};early-only"), "lync:486"),
        // Another trunk takes no call away.
        (GW2, named.clone(), "gw2:481"),
    ] {
        world.invite_to(trunk, "+13125556789", &format!("Replaces: {replaces}\n"), &sdp_of(trunk));
        assert_eq!(world.seen(), format!("{}:100 {seen}", name(trunk)), "{replaces}");
    }
    // An early dialog is not replaced at the one who is called (RFC 3891 section 3).
    let ringing = world.invite_to(LYNC, "+442075550100", "", &secret("0"));
    let there = world.rung(GW3);
    world.answer(there, 180, "");
    world.seen();
    let early = format!("Replaces: {}\n", world.naming(ringing));
    world.invite_to(LYNC, "+13125556789", &early, &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:481");
    world.cancel(ringing);
    world.ask(a, Method::Refer, BOB, "");
    world.seen();
    world.invite_to(LYNC, "+13125556789", &format!("Replaces: {named}\n"), &secret("0"));
    assert_eq!(world.seen(), "lync:100 lync:491");
    world.ask(b, Method::Bye, "", "");
    world.rest();
}
