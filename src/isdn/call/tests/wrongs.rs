//! What section 5.8 asks for.

use super::*;

fn active() -> Ladder {
    let mut ladder = Ladder::calls(Side::User);
    ladder.hears(Kind::Connect, "1803a98383").out.clear();
    ladder
}

#[test]
fn messages_out_of_turn_get_status_101_and_change_nothing() {
    for kind in [Kind::SetupAck, Kind::CallProceeding, Kind::Alerting, Kind::Connect, Kind::ConnectAck, Kind::Restart] {
        let (fault, status) = (format!("! {kind} #101"), format!("-> STATUS #101 about [{:02x}] in 10", kind.code()));
        let elements = if kind == Kind::Restart { "790180" } else { "" };
        active().hears(kind, elements).says([&fault, &status]).is_in(CallState::ACTIVE);
    }
    let mut ladder = Ladder::called(Side::User);
    ladder.out.clear();
    ladder.hears(Kind::Connect, "").says(["! CONNECT #101", "-> STATUS #101 about [07] in 9"]);
    ladder.hears(Kind::ConnectAck, "").says(["! CONNECT ACKNOWLEDGE #101", "-> STATUS #101 about [0f] in 9"]);
    // What crosses our DISCONNECT is not out of turn.
    let mut ladder = Ladder::calls(Side::User);
    ladder.hangs_up().out.clear();
    ladder.hears(Kind::Connect, "").hears(Kind::Information, "70028131").says([]);
}

#[test]
fn a_second_setup_is_ignored() {
    let mut ladder = Ladder::called(Side::User);
    ladder.out.clear();
    ladder.hears(Kind::Setup, "04038090a2 1803a98383").hears(Kind::Setup, "").says([]);
}

#[test]
fn what_nobody_knows_gets_status() {
    active().hears(Kind::Other(0x42), "").says(["! unknown message 0x42 #97", "-> STATUS #97 about [42] in 10"]);
    active().hears(Kind::Segment, "").says(["! SEGMENT #97", "-> STATUS #97 about [60] in 10"]);
    active().hears(Kind::Notify, "").says(["! NOTIFY #96", "-> STATUS #96 about [27] in 10"]);
    active().hears(Kind::Notify, "2701f9 0201ff").says(["! NOTIFY #96", "-> STATUS #96 about [02] in 10"]);
    // Acted on, and told in the state that follows.
    let mut ladder = Ladder::calls(Side::User);
    ladder.hears(Kind::CallProceeding, "").out.clear();
    ladder.hears(Kind::Alerting, "5501ff").says(["Ringing", "! ALERTING #99", "-> STATUS #99 about [55] in 4"]);
    ladder.hears(Kind::Connect, "4c0121").says([
        "-> CONNECT ACKNOWLEDGE",
        "Answer",
        "! CONNECT #100",
        "-> STATUS #100 about [4c] in 10",
    ]);
}

#[test]
fn a_setup_with_something_wrong_is_refused_or_taken_with_a_remark() {
    let called = |elements| Ladder::called_with(access(Side::User), elements).map(|_| ()).unwrap_err();
    assert_eq!(called("1803a98383"), "RELEASE COMPLETE #96 about [04]");
    assert_eq!(called("04038090a2"), "RELEASE COMPLETE #96 about [18]");
    assert_eq!(called("040180 1803a98383"), "RELEASE COMPLETE #100 about [04]");
    assert_eq!(called("04028890 1803a98383"), "RELEASE COMPLETE #65");
    let mut ladder = Ladder::called_with(access(Side::User), "04038090a2 1803a98383 5501ff 70028131").unwrap();
    ladder.says(["-> CALL PROCEEDING slot [3]", "Setup 1", "! SETUP #99", "-> STATUS #99 about [55] in 9"]);
}

#[test]
fn an_end_without_a_cause_is_an_end() {
    active().hears(Kind::Disconnect, "").says(["Released #31", "-> RELEASE #96 about [08]"]);
    active().hears(Kind::Disconnect, "080182").says(["Released #31", "-> RELEASE #100 about [08]"]);
    active().hears(Kind::Release, "").says(["-> RELEASE COMPLETE #96 about [08]", "Released #31", "slot freed"]);
    active().hears(Kind::Release, "080182").says(["-> RELEASE COMPLETE #100 about [08]", "Released #31", "slot freed"]);
    active().hears(Kind::ReleaseComplete, "").says(["Released #31", "slot freed"]);
}

#[test]
fn hold_and_suspend_are_not_for_primary_rate_lines() {
    for (asked, refused) in [
        (Kind::Hold, "-> HOLD REJECT #69"),
        (Kind::Retrieve, "-> RETRIEVE REJECT #69"),
        (Kind::Suspend, "-> SUSPEND REJECT #69"),
        (Kind::Resume, "-> RESUME REJECT #69"),
    ] {
        active().hears(asked, "").says([refused]).is_in(CallState::ACTIVE);
    }
}

#[test]
fn the_far_end_asks_what_we_know() {
    active().hears(Kind::StatusEnquiry, "").says(["-> STATUS #30 in 10"]);
    let mut ladder = active();
    ladder.hangs_up().out.clear();
    ladder.hears(Kind::StatusEnquiry, "").says(["-> STATUS #30 in 11"]);
}

#[test]
fn we_ask_what_the_far_end_knows() {
    let asks = || {
        let mut ladder = active();
        ladder.call.enquire(ladder.now, &mut ladder.out);
        ladder.call.enquire(ladder.now, &mut ladder.out);
        ladder.says(["-> STATUS ENQUIRY"]);
        ladder
    };
    asks().hears(Kind::Status, "0802829e 14010a").waits(seconds(60)).says([]);
    asks().hears(Kind::Status, "0802829e 140100").says(["! 10 here, 0 there", "Released #101", "slot freed"]);
    asks().hears(Kind::Status, "0802829e 140104").says(["! 10 here, 4 there", "Released #101", "-> RELEASE #101"]);
    let mut silent = asks();
    silent.waits(seconds(4)).waits(seconds(4)).says(["-> STATUS ENQUIRY", "-> STATUS ENQUIRY"]);
    silent.waits(seconds(4)).says(["! T322", "Released #41", "-> DISCONNECT #41"]);
}

#[test]
fn a_complaint_of_the_far_end_is_told_and_does_no_harm() {
    active().hears(Kind::Status, "080382e355 14010a").says(["! ours #99"]).is_in(CallState::ACTIVE);
    active().hears(Kind::Status, "080382e507 140107").says(["! ours #101"]).is_in(CallState::ACTIVE);
    active().hears(Kind::Status, "080382e507 140100").says([
        "! ours #101",
        "! 10 here, 0 there",
        "Released #101",
        "slot freed",
    ]);
    let mut ladder = active();
    ladder.hangs_up().out.clear();
    ladder.hears(Kind::Status, "0802829e 140100").says(["! 11 here, 0 there", "slot freed"]);
}

#[test]
fn messages_to_no_call_are_answered_by_what_they_are() {
    let answer = |octets: &str| {
        stray(&Message::read(&hex(octets)).unwrap(), access(Side::User).location).map(|octets| told(&octets))
    };
    let none: Option<String> = None;
    for (octets, expected) in [
        ("08020001 07", Some("RELEASE COMPLETE #81".to_owned())),
        ("08020001 45 08028190", Some("RELEASE COMPLETE #81".to_owned())),
        ("08020001 4d 08028190", Some("RELEASE COMPLETE #81".to_owned())),
        ("08020001 42", Some("RELEASE COMPLETE #81".to_owned())),
        ("08020001 5a", none.clone()),
        ("08028001 05 04038090a2", none.clone()),
        ("08020001 75", Some("STATUS #30 in 0".to_owned())),
        ("08020001 7d 0802819e 140100", none.clone()),
        ("08020001 7d 0802819e 14010a", Some("RELEASE COMPLETE #101".to_owned())),
        ("08020000 07", Some("STATUS #81 in 0".to_owned())),
        ("08020000 46 790187", none.clone()),
        ("08020000 7d 080281e1 140100", none),
    ] {
        assert_eq!(answer(octets), expected, "{octets}");
    }
}

#[test]
fn no_message_panics_in_any_state() {
    bolero::check!().for_each(|octets: &[u8]| {
        for (begin, kinds) in [
            (0, &[][..]),
            (0, &[Kind::SetupAck][..]),
            (0, &[Kind::CallProceeding][..]),
            (0, &[Kind::Alerting][..]),
            (0, &[Kind::Connect][..]),
            (0, &[Kind::Disconnect][..]),
            (1, &[][..]),
        ] {
            let mut ladder = if begin == 0 { Ladder::calls(Side::User) } else { Ladder::called(Side::Network) };
            for kind in kinds {
                ladder.hears(*kind, "");
            }
            let message = [&[8, 2, 0, 1], octets].concat();
            if let Ok(message) = Message::read(&message) {
                ladder.call.receive(ladder.now, &message, &mut ladder.out);
            }
            ladder.waits(seconds(1000));
        }
    });
}
