//! Transfers that go to the gateway.

use super::*;

pub(super) fn passing() -> Arc<Config> {
    ini(&["[TrunkConfiguration]\nEnableReferSupport=True"])
}

/// A call from Lync to a gateway that takes REFER, which Lync refers to Bob.
pub(super) fn referred_gateway(world: &mut World) -> (Id, Id) {
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.reply(b, Method::Invite, 200, "far", "Allow: REFER, NOTIFY\n", &plain("0"));
    world.ack(a, "");
    world.seen();
    world.ask(a, Method::Refer, &format!("{BOB}{SIGNED}"), "");
    (a, b)
}

fn notify(world: &mut World, id: Id, line: &str, state: &str) {
    let headers = format!("Event: refer\nSubscription-State: {state}\nContent-Type: message/sipfrag\n");
    world.ask(id, Method::Notify, &headers, &format!("SIP/2.0 {line}\r\n"));
}

#[test]
fn a_gateway_that_takes_refer_places_the_call_itself() {
    let mut world = World::with(passing());
    let (a, b) = referred_gateway(&mut world);
    assert_eq!(world.seen(), "lync:NOTIFY=100 gw1:REFER");
    let refer = world.asked(b, Method::Refer);
    assert_eq!(
        refer.text(Name::ReferredBy),
        Some("<sip:alice@contoso.com>;tag=a;;epid=\"b\""),
        "nothing of Microsoft's"
    );
    let target = refer.address(Name::ReferTo).unwrap().uri;
    assert_eq!((target.host(), target.port()), ("192.0.2.10", Some(5068)));
    let user = target.user().unwrap().to_owned();
    world.reply(b, Method::Refer, 202, "far", "", "");
    notify(&mut world, b, "100 Trying", "active;expires=60");
    // The gateway's new call reaches whom Microsoft meant, in Microsoft's own words.
    let again = world.invite_to(GW1, &user, "", &plain("0"));
    let bob = world.rung(LYNC);
    let invite = world.asked(bob, Method::Invite);
    assert_eq!(invite.uri().unwrap().as_str(), "sip:bob@contoso.com;gruu;opaque=user:epid:x");
    assert_eq!(invite.value(Name::ReferredBy), SIGNED.split_once(": ").map(|(_, value)| value.trim_end().as_bytes()));
    world.answer(bob, 200, &secret("0"));
    world.ack(again, "");
    world.seen();
    notify(&mut world, b, "180 Ringing", "active");
    assert_eq!(world.seen(), "lync:NOTIFY=180");
    notify(&mut world, b, "200 OK", "terminated;reason=noresource");
    assert_eq!(world.seen(), "lync:NOTIFY=200! gw1:BYE lync:BYE close");
    assert_eq!(results(&world), "passed reached");
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(bob, Method::Bye, "", "");
    let _ = a;
    world.rest();
}

#[test]
fn by_third_party_call_control_no_gateway_is_sent_a_refer() {
    let mut world = World::with(ini(&["[TrunkConfiguration]\nEnableReferSupport=True\nEnable3pccRefer=True"]));
    referred_gateway(&mut world);
    assert_eq!(world.seen(), "lync:NOTIFY=100 lync:INVITE+sdp");
    let bob = world.rung(LYNC);
    world.answer(bob, 200, &secret("0"));
    assert_eq!(results(&world), "handled reached");
    world.ask(bob, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_gateway_that_cannot_refer_loses_its_turn() {
    for status in [405, 501, 403, 481] {
        let mut world = World::with(passing());
        let (_, b) = referred_gateway(&mut world);
        world.seen();
        world.reply(b, Method::Refer, status, "far", "", "");
        assert_eq!(world.seen(), "lync:INVITE+sdp", "{status}");
        assert!(noted(&world, "EnableReferSupport=False"));
        let bob = world.rung(LYNC);
        world.answer(bob, 200, &secret("0"));
        assert_eq!(world.seen(), "lync:ACK lync:NOTIFY=200! lync:BYE");
        assert_eq!(results(&world), "taken-over reached");
        world.ask(bob, Method::Bye, "", "");
        world.rest();
    }
}

#[test]
fn a_gateway_that_does_not_answer_a_refer_loses_its_turn_after_4_s() {
    let mut world = World::with(passing());
    let (_, b) = referred_gateway(&mut world);
    world.seen();
    world.pass(Duration::from_millis(3900));
    assert_eq!(world.seen(), "");
    world.pass(Duration::from_millis(200));
    assert_eq!(world.seen(), "lync:INVITE+sdp");
    let bob = world.rung(LYNC);
    world.answer(bob, 200, &secret("0"));
    // What it says now is too late.
    world.reply(b, Method::Refer, 202, "far", "", "");
    notify(&mut world, b, "486 Busy Here", "terminated");
    assert_eq!(results(&world), "taken-over reached");
    assert_eq!(world.snapshot().calls.len(), 1);
    world.ask(bob, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_gateway_whose_allow_lacks_refer_is_not_asked() {
    let mut world = World::with(passing());
    let (a, _) = world.talk(LYNC, GW1);
    world.ask(a, Method::Refer, BOB, "");
    assert_eq!(world.seen(), "lync:NOTIFY=100 lync:INVITE+sdp");
    assert!(noted(&world, "does not list REFER"));
    let bob = world.rung(LYNC);
    world.answer(bob, 486, "");
    assert_eq!(results(&world), "taken-over failed");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn a_call_that_the_gateway_cannot_place_leaves_the_first_as_it_was() {
    for (line, state, told) in
        [("486 Busy Here", "terminated", "486"), ("100 Trying", "terminated;reason=noresource", "500")]
    {
        let mut world = World::with(passing());
        let (a, b) = referred_gateway(&mut world);
        world.reply(b, Method::Refer, 202, "far", "", "");
        world.seen();
        notify(&mut world, b, line, state);
        assert_eq!(world.seen(), format!("lync:NOTIFY={told}!"));
        assert_eq!(world.snapshot().calls.len(), 1);
        assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");
        world.ask(a, Method::Bye, "", "");
        world.rest();
    }
}

#[test]
fn a_gateway_that_took_a_refer_and_falls_silent() {
    let mut world = World::with(passing());
    let (a, b) = referred_gateway(&mut world);
    world.reply(b, Method::Refer, 202, "far", "", "");
    world.seen();
    world.pass(seconds(201));
    assert_eq!(world.seen(), "lync:NOTIFY=480!");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}

#[test]
fn the_transferor_hangs_up_while_the_gateway_dials() {
    let mut world = World::with(passing());
    let (a, b) = referred_gateway(&mut world);
    world.reply(b, Method::Refer, 202, "far", "", "");
    world.ask(a, Method::Bye, "", "");
    world.seen();
    assert_eq!(world.snapshot().calls.len(), 1);
    notify(&mut world, b, "200 OK", "terminated");
    assert_eq!(world.seen(), "lync:NOTIFY=200! gw1:BYE close");
    world.rest();

    // A gateway may simply hang up when it has its call.
    let mut world = World::with(passing());
    let (_, b) = referred_gateway(&mut world);
    world.reply(b, Method::Refer, 202, "far", "", "");
    world.seen();
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "lync:NOTIFY=200! lync:BYE close");
    assert_eq!(results(&world), "passed reached");
    world.rest();
}

#[test]
fn a_number_is_passed_on_as_a_number() {
    let mut world = World::with(passing());
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.reply(b, Method::Invite, 200, "far", "Allow: REFER\n", &plain("0"));
    world.ack(a, "");
    world.ask(a, Method::Refer, "Refer-To: <sip:+13125550111@contoso.com;user=phone>\n", "");
    let refer_to = world.asked(b, Method::Refer).address(Name::ReferTo).unwrap().uri.as_str().to_owned();
    assert!(refer_to.starts_with("sip:+13125550111@192.0.2.10:5068;transport=tcp;user=phone;x-refer="), "{refer_to}");
    world.reply(b, Method::Refer, 603, "far", "", "");
    world.ask(a, Method::Bye, "", "");
    world.rest();
}
