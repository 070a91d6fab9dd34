//! The end of calls: from either end, at once, unanswered, with tones, without a data link.

use super::*;
use crate::wire::q931::Location;

fn active(side: Side) -> Ladder {
    let mut ladder = Ladder::calls(side);
    ladder.hears(Kind::Connect, "1803a98383").out.clear();
    ladder
}

#[test]
fn the_far_end_hangs_up() {
    let mut ladder = active(Side::User);
    ladder
        .hears(Kind::Disconnect, "08028291")
        .says(["Released #17", "-> RELEASE #17"])
        .is_in(CallState::RELEASE_REQUEST);
    ladder.hears(Kind::ReleaseComplete, "").says(["slot freed"]);
    // With a last word of the user's.
    let mut told = active(Side::User);
    told.hears(Kind::Disconnect, "08028290 7e020441");
    let Output::Word(Word::Released(release)) = told.out.remove(0) else { panic!("no end") };
    assert_eq!(release.user_user(), Some(&Private(b"\x04A".to_vec())));
    // A user's own refusal, and the network's (RFC 3398 section 7.2.4.1).
    for (location, status) in [(0, 603), (2, 403)] {
        let mut refused = Ladder::calls(Side::User);
        refused.out.clear();
        refused.hears(Kind::ReleaseComplete, &format!("0802{:02x}95", 0x80 + location));
        let Output::Word(Word::Released(release)) = refused.out.remove(0) else { panic!("no end") };
        assert_eq!(release.final_status(), status);
    }
    // With RELEASE, or RELEASE COMPLETE, at once.
    active(Side::User).hears(Kind::Release, "08028290").says(["-> RELEASE COMPLETE", "Released #16", "slot freed"]);
    active(Side::Network).hears(Kind::ReleaseComplete, "080282a9").says(["Released #41", "slot freed"]);
}

#[test]
fn a_cause_says_where_it_arose() {
    let public = Access { location: Location::PUBLIC_NEAR, ..access(Side::Network) };
    for (access, location) in [(access(Side::User), Location::PRIVATE_NEAR), (public, Location::PUBLIC_NEAR)] {
        let mut ladder = Ladder::calls_with(access, &setup(), Channel::slot(None, 3, true));
        ladder.hears(Kind::CallProceeding, "").hangs_up();
        let Some(Output::Message(octets)) = ladder.out.pop() else { panic!("no DISCONNECT") };
        assert_eq!(Message::read(&octets).unwrap().get::<q931::Cause>().unwrap().location, location);
    }
}

#[test]
fn a_setup_is_refused_at_once() {
    let mut ladder = Ladder::calls(Side::User);
    ladder.out.clear();
    ladder.hears(Kind::ReleaseComplete, "08028281").says(["Released #1", "slot freed"]);
}

#[test]
fn both_hang_up_at_once() {
    let mut ladder = active(Side::User);
    ladder.hangs_up().says(["-> DISCONNECT #16"]).is_in(CallState::DISCONNECT_REQUEST);
    ladder.hears(Kind::Disconnect, "08028290").says(["-> RELEASE #16"]).is_in(CallState::RELEASE_REQUEST);
    ladder.hears(Kind::Release, "08028290").says(["slot freed"]);
    assert_eq!(active(Side::Network).hangs_up().call.state(), CallState::DISCONNECT_INDICATION);
}

#[test]
fn nobody_answers_disconnect() {
    let mut ladder = active(Side::User);
    ladder.hangs_up().says(["-> DISCONNECT #16"]);
    ladder.waits(seconds(30)).says(["! T305", "-> RELEASE #16"]);
    ladder.waits(seconds(4)).says(["! T308", "-> RELEASE #16"]);
    ladder.waits(seconds(4)).says(["! T308", "slot unsure"]);
    ladder.hears(Kind::ReleaseComplete, "").says([]);
}

#[test]
fn an_exchange_leaves_its_tones_in_the_timeslot_for_t306() {
    let mut ladder = Ladder::called(Side::Network);
    ladder.out.clear();
    let tones = Order::Release { cause: Cause::BUSY, tones: true };
    ladder.orders(tones.clone()).says(["-> DISCONNECT #17 heard"]);
    ladder.waits(seconds(30)).says(["-> RELEASE #17"]);
    let mut ladder = Ladder::called(Side::Network);
    ladder.orders(tones).out.clear();
    ladder.hears(Kind::Release, "08028190").says(["-> RELEASE COMPLETE", "slot freed"]);
    // A user has none.
    let mut ladder = Ladder::called(Side::User);
    ladder.out.clear();
    ladder.orders(Order::Release { cause: Cause::BUSY, tones: true }).says(["-> DISCONNECT #17"]);
}

#[test]
fn tones_are_listened_to_where_that_is_wanted() {
    let listens = || {
        let access = Access { listens: true, ..access(Side::User) };
        let mut ladder = Ladder::calls_with(access, &setup(), Channel::slot(None, 3, true));
        ladder.hears(Kind::CallProceeding, "").out.clear();
        ladder.hears(Kind::Disconnect, "08028291 1e028288").says(["Heard"]).is_in(CallState::DISCONNECT_INDICATION);
        ladder
    };
    listens().hangs_up().says(["-> RELEASE #16"]);
    listens().waits(seconds(30)).says(["Released #17", "-> RELEASE #17"]);
    listens().hears(Kind::Release, "08028291").says(["-> RELEASE COMPLETE", "Released #17", "slot freed"]);
    let mut deaf = Ladder::calls(Side::User);
    deaf.out.clear();
    deaf.hears(Kind::Disconnect, "08028291 1e028288").says(["Released #17", "-> RELEASE #17"]);
}

#[test]
fn a_call_that_is_up_outlives_its_data_link() {
    let mut ladder = active(Side::User);
    ladder.call.link_down(ladder.now, &mut ladder.out);
    ladder.call.enquire(ladder.now, &mut ladder.out);
    ladder.waits(seconds(89)).says([]).is_in(CallState::ACTIVE);
    ladder.call.link_up(ladder.now, &mut ladder.out);
    ladder.says(["-> STATUS ENQUIRY"]).hears(Kind::Status, "08028 29e 14010a").waits(seconds(100)).says([]);

    ladder.call.link_down(ladder.now, &mut ladder.out);
    ladder.waits(seconds(90)).says(["! T309", "Released #27", "slot unsure"]);

    // Hung up meanwhile: nobody hears it.
    let mut ladder = active(Side::User);
    ladder.call.link_down(ladder.now, &mut ladder.out);
    ladder.hangs_up().says(["slot unsure"]);
}

#[test]
fn a_call_that_is_not_up_ends_with_its_data_link() {
    let mut ladder = Ladder::calls(Side::User);
    ladder.hears(Kind::Alerting, "").out.clear();
    ladder.call.link_down(ladder.now, &mut ladder.out);
    ladder.says(["Released #27", "slot unsure"]);
    let mut ladder = active(Side::User);
    ladder.hangs_up().out.clear();
    ladder.call.link_down(ladder.now, &mut ladder.out);
    ladder.says(["slot unsure"]);
}

#[test]
fn a_data_link_that_begins_anew_ends_numbers_in_the_midst() {
    let mut ladder = Ladder::calls(Side::User);
    ladder.hears(Kind::SetupAck, "").out.clear();
    ladder.call.link_up(ladder.now, &mut ladder.out);
    ladder.says(["Released #41", "-> DISCONNECT #41"]);
    let mut ladder = Ladder::calls(Side::User);
    ladder.hears(Kind::Alerting, "").out.clear();
    ladder.call.link_up(ladder.now, &mut ladder.out);
    ladder.says([]).is_in(CallState::DELIVERED);
}

#[test]
fn restarts_and_alarms_end_a_call_without_a_message() {
    let mut ladder = active(Side::User);
    ladder.call.abort(Cause::TEMPORARY, "the far end restarted the timeslot", &mut ladder.out);
    ladder.says(["Released #41", "slot unsure"]);
    ladder.call.abort(Cause::TEMPORARY, "again", &mut ladder.out);
    ladder.says([]);
}
