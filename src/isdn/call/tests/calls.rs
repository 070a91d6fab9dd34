//! Calls that come up.

use super::*;
use crate::wire::q931::{Connected, Name, Notification, OriginalCalled, Redirecting};

#[test]
fn we_call_and_the_far_end_rings_and_answers() {
    for (side, states) in [(Side::User, [1, 3, 4, 10]), (Side::Network, [6, 9, 7, 10])] {
        let [initiated, proceeding, delivered, active] = states.map(CallState);
        let mut ladder = Ladder::calls(side);
        ladder.says(["-> SETUP slot [3] 4255550100"]).is_in(initiated);
        ladder.hears(Kind::CallProceeding, "1803a98383").says(["slot [3] agreed", "Proceeding"]).is_in(proceeding);
        ladder.hears(Kind::Alerting, "").says(["Ringing"]).is_in(delivered);
        ladder.hears(Kind::Connect, "").says(["-> CONNECT ACKNOWLEDGE", "Answer"]).is_in(active);
        assert_eq!(ladder.call.timeout(), None);
        ladder.hangs_up().says(["-> DISCONNECT #16"]);
        ladder.hears(Kind::Release, "").says(["-> RELEASE COMPLETE", "slot freed"]).is_in(CallState::NULL);
        assert!(ladder.call.is_over() && ladder.call.timeout().is_none());
    }
}

#[test]
fn we_are_called_and_ring_and_answer() {
    let mut user = Ladder::called(Side::User);
    user.says(["-> CALL PROCEEDING slot [3]", "Setup 2060"]).is_in(CallState::INCOMING_PROCEEDING);
    user.orders(Order::Alert { audible: false }).says(["-> ALERTING"]).is_in(CallState::RECEIVED);
    user.orders(Order::Answer(Box::default())).says(["-> CONNECT"]).is_in(CallState::CONNECT_REQUEST);
    user.hears(Kind::ConnectAck, "").says([]).is_in(CallState::ACTIVE);

    // The exchange does not wait, and takes the acknowledgement that comes.
    let mut network = Ladder::called(Side::Network);
    network.says(["-> CALL PROCEEDING slot [3]", "Setup 2060"]).is_in(CallState::OUTGOING_PROCEEDING);
    network.orders(Order::Answer(Box::default())).says(["-> CONNECT"]).is_in(CallState::ACTIVE);
    network.hears(Kind::ConnectAck, "").says([]).waits(seconds(100)).says([]).is_in(CallState::ACTIVE);
}

#[test]
fn private_exchanges_are_users_to_each_other() {
    let qsig = Access::new(Side::Network, Dialect::Qsig, Codec::Pcma);
    let mut called = Ladder::called_with(qsig.clone(), "04038090a3 1803a98383 700480323036").unwrap();
    called.says(["-> CALL PROCEEDING slot [3]", "Setup 206"]).is_in(CallState::INCOMING_PROCEEDING);
    called.orders(Order::Answer(Box::default())).says(["-> CONNECT"]).is_in(CallState::CONNECT_REQUEST);
    let mut calls = Ladder::calls_with(qsig, &setup(), Channel::slot(None, 3, true));
    calls.is_in(CallState::INITIATED);
}

#[test]
fn nobody_answers_setup() {
    let mut ladder = Ladder::calls(Side::User);
    ladder.says(["-> SETUP slot [3] 4255550100"]);
    ladder.waits(seconds(4)).says(["-> SETUP slot [3] 4255550100"]);
    ladder.waits(seconds(4)).says(["! T303", "-> RELEASE COMPLETE #102 T303", "Released #18", "slot unsure"]);
}

#[test]
fn every_timer_of_call_set_up_ends_the_call_with_its_cause() {
    let none: [&str; 0] = [];
    for (side, kind, elements, timer, wait, cause) in [
        (Side::User, Kind::SetupAck, "", 304, 30, 28),
        (Side::Network, Kind::SetupAck, "", 304, 20, 28),
        (Side::User, Kind::CallProceeding, "", 310, 60, 18),
        (Side::Network, Kind::CallProceeding, "", 310, 10, 18),
        (Side::User, Kind::Progress, "1e028281", 301, 180, 19),
        (Side::User, Kind::Alerting, "", 301, 180, 19),
        (Side::Network, Kind::Alerting, "", 301, 180, 19),
    ] {
        let mut ladder = Ladder::calls(side);
        ladder.hears(kind, elements).out.clear();
        ladder.waits(seconds(wait) - Duration::from_millis(1)).says(none);
        let (fault, released) = (format!("! T{timer}"), format!("Released #{cause}"));
        let disconnect = format!("-> DISCONNECT #102 T{timer}");
        ladder.waits(Duration::from_millis(1)).says([&fault, &released, &disconnect]);
    }
    let mut unacknowledged = Ladder::called(Side::User);
    unacknowledged.orders(Order::Answer(Box::default())).out.clear();
    unacknowledged.waits(seconds(4)).says(["! T313", "Released #102", "-> DISCONNECT #102 T313"]);
}

#[test]
fn progress_indicators_say_when_to_listen() {
    for (heard, audible) in [(1, true), (2, true), (8, true), (3, false), (4, false)] {
        let indicator = format!("1e0282{:02x}", 0x80 | heard);
        let mut ladder = Ladder::calls(Side::User);
        ladder.hears(Kind::CallProceeding, "").out.clear();
        let words: &[&str] = if audible { &["Heard"] } else { &[] };
        ladder.hears(Kind::Progress, &indicator);
        let said: Vec<String> = ladder.out.drain(..).map(|output| said(&output)).collect();
        assert_eq!(said, words, "{heard}");
        // T310 stops where something is heard.
        ladder.waits(seconds(60));
        assert_eq!(ladder.out.is_empty(), audible, "{heard}");
    }
    let mut ladder = Ladder::calls(Side::User);
    ladder.out.clear();
    ladder.hears(Kind::CallProceeding, "1e028288").says(["slot [3] agreed", "Heard"]);
    ladder.hears(Kind::Alerting, "1e028288").says(["Ringing, heard"]).is_in(CallState::DELIVERED);
    ladder.hears(Kind::Progress, "1e028288").says(["Heard"]).is_in(CallState::DELIVERED);
}

#[test]
fn what_the_other_leg_has_to_be_heard_is_told_to_the_caller() {
    let mut ladder = Ladder::called(Side::User);
    ladder.out.clear();
    ladder.orders(Order::Progress).says(["-> PROGRESS heard"]);
    ladder.orders(Order::Alert { audible: true }).says(["-> ALERTING heard"]);
    ladder.orders(Order::Alert { audible: false }).says([]);
    ladder.orders(Order::Progress).says(["-> PROGRESS heard"]);
    ladder.orders(Order::Answer(Box::default())).says(["-> CONNECT"]);
    ladder.orders(Order::Progress).orders(Order::Alert { audible: true }).says([]);
}

#[test]
fn the_far_end_may_give_another_timeslot_unless_ours_was_exclusive() {
    let calls = |channel| {
        let mut ladder = Ladder::calls_with(access(Side::User), &setup(), channel);
        ladder.out.clear();
        ladder
    };
    calls(Channel::slot(None, 3, false))
        .hears(Kind::CallProceeding, "1803a98385")
        .says(["slot [5] agreed", "Proceeding"]);
    calls(Channel::slot(None, 3, false)).hears(Kind::Alerting, "").says(["slot [3] agreed", "Ringing"]);
    calls(Channel::any()).hears(Kind::SetupAck, "1803a98385").says(["slot [5] agreed", "-> INFORMATION whole"]);
    calls(Channel::any()).hears(Kind::CallProceeding, "").says(["Released #96", "-> DISCONNECT #96"]);
    calls(Channel::slot(None, 3, true))
        .hears(Kind::CallProceeding, "1803a98385")
        .says(["Released #6", "-> DISCONNECT #6"]);
    calls(Channel::slot(Some(1), 3, true))
        .hears(Kind::CallProceeding, "1804e9818383")
        .says(["slot [3] agreed", "Proceeding"]);
    // An interface that only one end names.
    let mut named = calls(Channel::slot(None, 3, true));
    named.hears(Kind::CallProceeding, "1804e9818383").says(["slot [3] agreed", "Proceeding"]);
    // It is told once.
    let mut ladder = calls(Channel::slot(None, 3, false));
    ladder.hears(Kind::CallProceeding, "1803a98385").out.clear();
    ladder.hears(Kind::Connect, "1803a98307").says(["-> CONNECT ACKNOWLEDGE", "Answer"]);
    assert_eq!(ladder.call.channel().single(), Some(5));
}

#[test]
fn digits_come_one_by_one_until_the_number_is_whole() {
    let overlap = || Access { overlap: Some(Overlap { length: 4 }), ..access(Side::Network) };
    let begins = |elements: &str| Ladder::called_with(overlap(), &format!("04038090a2 {elements}")).unwrap();
    let mut ladder = begins("70028132");
    ladder.says(["-> SETUP ACKNOWLEDGE slot [3]"]).is_in(CallState::OVERLAP_SENDING);
    ladder.hears(Kind::Information, "70028130").says([]);
    ladder.waits(seconds(14)).hears(Kind::Information, "70028136").waits(seconds(14)).says([]);
    ladder.hears(Kind::Information, "70028130").says(["-> CALL PROCEEDING", "Setup 2060"]);
    ladder.hears(Kind::Information, "2c0139").says(["Digits 9"]);

    // The other ways of being whole: said so, "#", T302, and all at once.
    let mut complete = begins("");
    complete.hears(Kind::Information, "a1 700281 30").says([
        "-> SETUP ACKNOWLEDGE slot [3]",
        "-> CALL PROCEEDING",
        "Setup 0",
    ]);
    begins("700381 3123").says(["-> CALL PROCEEDING slot [3]", "Setup 1"]);
    begins("700581 32303630").says(["-> CALL PROCEEDING slot [3]", "Setup 2060"]);
    begins("a1 700281 31").says(["-> CALL PROCEEDING slot [3]", "Setup 1"]);
    begins("700381 3132").waits(seconds(15)).says(["-> SETUP ACKNOWLEDGE slot [3]", "-> CALL PROCEEDING", "Setup 12"]);
    begins("").waits(seconds(15)).says(["-> SETUP ACKNOWLEDGE slot [3]", "-> DISCONNECT #28"]);
    begins("2c04 2a373031").says(["-> CALL PROCEEDING slot [3]", "Setup *701"]);
    // Who hangs up in the midst of the number was never heard of.
    begins("").hears(Kind::ReleaseComplete, "").says(["-> SETUP ACKNOWLEDGE slot [3]", "slot freed"]);
}

#[test]
fn we_send_digits_one_by_one() {
    let part = Setup { complete: false, called: Number::new(NumberType::UNKNOWN, "42"), ..setup() };
    let mut ladder = Ladder::calls_with(access(Side::User), &part, Channel::slot(None, 3, true));
    ladder.says(["-> SETUP slot [3] 42"]);
    ladder.hears(Kind::SetupAck, "1803a98383").says(["slot [3] agreed"]).is_in(CallState::OVERLAP_SENDING);
    ladder.waits(seconds(29)).orders(Order::Digits { digits: Private("55".into()), whole: false });
    ladder.waits(seconds(29)).orders(Order::Digits { digits: Private("0".into()), whole: true });
    ladder.says(["-> INFORMATION 55", "-> INFORMATION 0 whole"]);
    ladder.hears(Kind::CallProceeding, "").says(["Proceeding"]);
}

#[test]
fn names_and_numbers_reach_the_other_leg() {
    let alice = "28 06 b1 416c696365";
    let mut displayed =
        Ladder::called_with(access(Side::User), &format!("04038090a2 1803a98383 {alice} 70028131")).unwrap();
    displayed.says(["-> CALL PROCEEDING slot [3]", "Setup 1 from Alice"]);
    // Announced, then told in a FACILITY; or not told.
    let follows = "1c159f8b0100a10f02010106072a8648ce1500040a0100";
    let name = "1c139f8b0100a10d02010202010080 05416c696365";
    let announced =
        || Ladder::called_with(access(Side::User), &format!("04038090a2 1803a98383 {follows} 70028131")).unwrap();
    let mut in_time = announced();
    in_time.says(["-> CALL PROCEEDING slot [3]"]);
    in_time.hears(Kind::Facility, name).says(["Setup 1 from Alice"]);
    let mut late = announced();
    late.waits(Duration::from_millis(499)).says(["-> CALL PROCEEDING slot [3]"]);
    late.waits(Duration::from_millis(1)).says(["Setup 1"]);
    late.hears(Kind::Facility, name).says(["Name Alice"]);
    let mut gone = announced();
    gone.hears(Kind::Disconnect, "08028190").says(["-> CALL PROCEEDING slot [3]", "-> RELEASE #16"]);

    let mut answered = Ladder::calls(Side::User);
    answered.hears(Kind::Connect, "4c04a1323036").out.remove(0);
    answered.says(["slot [3] agreed", "-> CONNECT ACKNOWLEDGE", "Answer by 206"]);
}

#[test]
fn setup_says_all_in_each_dialect_and_the_far_end_reads_it() {
    let national = |digits: &str| Number::new(NumberType::NATIONAL, digits);
    let whole = Setup {
        calling: Some(Calling { number: national("2065550123"), shown: Some(Default::default()) }),
        name: Some(Name { party: Party::Calling, text: Private("Alice".into()), restricted: false }),
        redirecting: Some(Redirecting {
            number: national("4255550177"),
            shown: Some(Default::default()),
            reason: Some(q931::Reason::BUSY),
        }),
        original: Some(OriginalCalled(Redirecting {
            number: national("4255550166"),
            shown: Some(Default::default()),
            reason: Some(q931::Reason::UNCONDITIONAL),
        })),
        user_user: Some(UserUser(Private(b"\x04hello".to_vec()))),
        ..setup()
    };
    for dialect in Dialect::ALL {
        for side in [Side::User, Side::Network] {
            let mut ladder =
                Ladder::calls_with(Access::new(side, dialect, Codec::Pcmu), &whole, Channel::slot(None, 3, true));
            let Output::Message(octets) = ladder.out.remove(0) else { panic!("no SETUP") };
            let message = Message::read(&octets).unwrap();
            assert_eq!(message.flaw(side), None);
            let read = Setup::read(&message).unwrap();
            let named = side == Side::Network || matches!(dialect, Dialect::Ni2 | Dialect::Qsig);
            let complete = dialect == Dialect::EuroIsdn;
            let expected = Setup { name: whole.name.clone().filter(|_| named), complete, ..whole.clone() };
            let name_follows = (dialect, side) == (Dialect::Ni2, Side::Network);
            // ETSI has no room for the first reason.
            let without_reason = |OriginalCalled(from)| OriginalCalled(Redirecting { reason: None, ..from });
            let etsi = dialect == Dialect::EuroIsdn;
            let original = expected.original.clone().map(|from| if etsi { without_reason(from) } else { from });
            assert_eq!(read, Setup { name_follows, original, ..expected }, "{dialect:?} {side:?}");
            ladder.hears(Kind::CallProceeding, "");
            let facility = ladder.out.iter().any(|output| said(output) == "-> FACILITY");
            assert_eq!(facility, name_follows, "{dialect:?} {side:?}");
        }
    }
}

#[test]
fn what_users_and_services_tell_each_other_goes_through() {
    let last = |ladder: &mut Ladder| match ladder.out.pop() {
        Some(Output::Message(octets)) => format!("{:?}", Message::read(&octets).unwrap()),
        other => panic!("{other:?}"),
    };
    let answer = Answer {
        connected: Some(Connected { number: Number::new(NumberType::NATIONAL, "4255550100"), shown: None }),
        name: None,
        user_user: Some(UserUser(Private(b"\x04hi".to_vec()))),
    };
    let (bearer, called) = ("04038090a2", "7005a132303630");
    let mut ladder = Ladder::called(Side::User);
    for (dialect, connect) in [(Dialect::Ni2, "CONNECT 1* 7e"), (Dialect::EuroIsdn, "CONNECT 1* 4c 7e")] {
        let access = Access::new(Side::User, dialect, Codec::Pcmu);
        ladder = Ladder::called_with(access, &format!("{bearer} 1803a98383 {called}")).unwrap();
        ladder.orders(Order::Enclose(UserUser(Private(vec![4, 1]))));
        ladder.orders(Order::Alert { audible: false });
        assert_eq!(last(&mut ladder), "ALERTING 1* 7e");
        ladder.orders(Order::Answer(Box::new(answer.clone())));
        assert_eq!(last(&mut ladder), connect);
    }
    ladder.hears(Kind::ConnectAck, "").out.clear();
    ladder.orders(Order::Notify(Notification(0x79))).says(["-> NOTIFY"]);
    ladder.orders(Order::UserUser(UserUser(Private(vec![4])))).says(["-> USER INFORMATION"]);
    ladder.hears(Kind::Notify, "2701f9").says(["Notice"]);
    ladder.hears(Kind::UserInformation, "7e020441").says(["UserUser"]);
    ladder.hears(Kind::Facility, "1c0991a106020101020106").says(["Facility"]);
    ladder.hears(Kind::CongestionControl, "").says([]);
    ladder.orders(Order::Enclose(UserUser(Private(vec![4, 2]))));
    ladder.orders(Order::Release { cause: Cause::NORMAL, tones: false });
    assert_eq!(last(&mut ladder), "DISCONNECT 1* 08 7e");
    // What comes with a message is heard before it.
    let mut caller = Ladder::calls(Side::User);
    caller.hears(Kind::CallProceeding, "").out.clear();
    caller.hears(Kind::Alerting, "7e020441").says(["UserUser", "Ringing"]);
}
