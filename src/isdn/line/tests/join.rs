//! Two calls that the exchange shall join, in each scheme, and what may come between.

use super::*;

/// `1` calls us, `2` is called by us; both are up. The references are 7 of theirs and 1 of ours.
fn two_calls(dialect: Dialect) -> Ladder {
    let mut t = Ladder::up(Side::User, dialect, &[T1]);
    t.far("SETUP 7 slot 5!");
    t.orders(1, Order::Answer(Box::default()));
    t.far("CONNECT ACKNOWLEDGE 7");
    let mut setup = setup();
    setup.facilities.extend(dialect.candidate());
    t.act(|line, now, out| {
        line.place(now, setup, out).unwrap();
    });
    t.far("CALL PROCEEDING 1*");
    t
}

fn answered(dialect: Dialect) -> Ladder {
    let mut t = two_calls(dialect);
    t.far("CONNECT 1*");
    t.told.clear();
    t
}

impl Ladder {
    fn joins(&mut self, calls: [u32; 2]) -> Result<(), Unjoined> {
        let mut asked = Ok(());
        self.act(|line, now, out| asked = line.join(now, calls.map(CallId), out));
        asked
    }

    /// The far end sends facilities, in FACILITY or in the message that is named.
    fn far_facility(&mut self, message: &str, facility: &Facility) {
        let mut octets = written(message);
        octets.extend([id::FACILITY, facility.0.get().len() as u8]);
        octets.extend(facility.0.get());
        let mut said = Vec::new();
        self.far[0].send(self.now, octets, &mut said).unwrap();
        self.carry(0, said);
    }
}

/// Our first number.
const FIRST: i64 = 16;

#[test]
fn two_calls_are_joined_by_two_b_channel_transfer() {
    for dialect in [Dialect::Ni2, Dialect::Ess5, Dialect::Ess4] {
        let mut t = answered(dialect);
        assert_eq!(t.joins([1, 2]), Ok(()));
        t.sees(0, "FACILITY 7* join 1");
        t.far_facility("FACILITY 7", &Ask::Join(Reference { value: 1, to_origin: false }).result(FIRST, 0));
        t.sees(0, "");
        t.far("DISCONNECT 1* cause 16");
        t.sees(0, "1, 2: joined; 2: released 16; RELEASE 1 cause 16");
        t.hangs_up(1);
        t.sees(0, "DISCONNECT 7* cause 16");
    }
    // The flag of a reference tells whose it is.
    let mut t = answered(Dialect::Ni2);
    assert_eq!(t.joins([2, 1]), Ok(()));
    t.sees(0, "FACILITY 1 join 7*");
}

#[test]
fn two_calls_are_joined_by_explicit_call_transfer() {
    let mut t = answered(Dialect::EuroIsdn);
    assert_eq!(t.joins([1, 2]), Ok(()));
    t.sees(0, "FACILITY 1 link?");
    t.far_facility("FACILITY 1*", &Ask::Link.result(FIRST, 300));
    t.sees(0, "FACILITY 7* join link 300");
    // The result comes with the end of the call.
    t.far_facility("DISCONNECT 7 cause 16", &Ask::JoinLink(300).result(FIRST + 1, 0));
    t.sees(0, "1, 2: joined; 1: released 16; RELEASE 7* cause 16");
}

#[test]
fn two_calls_are_joined_by_a_release_link_trunk_that_offered_it() {
    let mut t = two_calls(Dialect::Dms100);
    t.far_facility("ALERTING 1*", &Ask::Candidate.result(1, 0x0a_0b0c));
    t.far("CONNECT 1*");
    t.told.clear();
    assert_eq!(t.joins([1, 2]), Ok(()));
    t.sees(0, "FACILITY 7* join link 658188");
    t.far_facility("FACILITY 7", &Ask::ThirdParty(0).result(2, 0));
    t.far("DISCONNECT 7 cause 16");
    t.sees(0, "1, 2: joined; 1: released 16; RELEASE 7* cause 16");
    // The candidate may be the first of both.
    let mut t = two_calls(Dialect::Dms100);
    t.far_facility("CONNECT 1*", &Ask::Candidate.result(1, 5));
    t.told.clear();
    assert_eq!(t.joins([2, 1]), Ok(()));
    t.sees(0, "FACILITY 7* join link 5");

    assert_eq!(answered(Dialect::Dms100).joins([1, 2]), Err(Unjoined::NotOffered));
}

#[test]
fn a_private_exchange_replaces_the_path_of_two_calls() {
    let mut t = answered(Dialect::Qsig);
    assert_eq!(t.joins([1, 2]), Ok(()));
    t.sees(0, "FACILITY 7* transferred; FACILITY 1 transferred");
    t.far_facility("FACILITY 1*", &Ask::Propose { identity: 12 }.facility(3));
    t.sees(0, "FACILITY 7* propose 12");
    t.far_facility("FACILITY 7", &Ask::Propose { identity: 12 }.result(3, 0));
    t.sees(0, "FACILITY 1 done");
    t.far("DISCONNECT 7 cause 16");
    t.sees(0, "1, 2: joined; 1: released 16; RELEASE 7* cause 16");

    // It has no better one.
    let mut t = answered(Dialect::Qsig);
    assert_eq!(t.joins([1, 2]), Ok(()));
    t.sees(0, "FACILITY 7* transferred; FACILITY 1 transferred");
    t.sees(30_000, "1, 2: the exchange does not answer");
}

#[test]
fn an_exchange_that_has_joined_two_calls_and_does_not_end_them_has_four_seconds() {
    let mut t = answered(Dialect::Ni2);
    assert_eq!(t.joins([1, 2]), Ok(()));
    t.far_facility("FACILITY 7", &Ask::Join(Reference { value: 1, to_origin: false }).result(FIRST, 0));
    t.told.clear();
    t.sees(3_999, "");
    t.sees(4_000, "1, 2: joined");
}

#[test]
fn calls_that_are_not_joined_go_on() {
    let join = Ask::Join(Reference { value: 1, to_origin: false });
    let rejected = Facility(Private(vec![0x91, 0xa4, 5, 5, 0, 0x81, 1, 1]));
    for (answer, why) in [
        (Some(join.error(FIRST, 0)), "the exchange refuses: the line is not subscribed to it"),
        (Some(join.error(FIRST, 44)), "the exchange refuses: error 44"),
        (Some(rejected), "the exchange refuses: it does not understand what it is asked"),
        // To something else.
        (Some(join.error(FIRST + 1, 0)), ""),
        (None, ""),
    ] {
        let mut t = answered(Dialect::Ni2);
        assert_eq!(t.joins([1, 2]), Ok(()));
        assert_eq!(t.joins([2, 1]), Err(Unjoined::NotUp), "one at a time");
        t.sees(0, "FACILITY 7* join 1");
        if let Some(answer) = &answer {
            t.far_facility("FACILITY 7", answer);
        }
        t.sees(0, &if why.is_empty() { String::new() } else { format!("1, 2: {why}") });
        t.sees(10_000, if why.is_empty() { "1, 2: the exchange does not answer" } else { "" });
        assert!(t.line.is_active(CallId(1)) && t.line.is_active(CallId(2)));
        // A yes that comes too late is two calls that the exchange ends.
        t.far_facility("FACILITY 7", &join.result(FIRST, 0));
        t.told.clear();
        t.far("DISCONNECT 7 cause 16");
        t.sees(10_000, "1: released 16; RELEASE 7* cause 16");
    }
}

#[test]
fn who_hangs_up_meanwhile_ends_the_attempt() {
    let mut t = answered(Dialect::EuroIsdn);
    assert_eq!(t.joins([1, 2]), Ok(()));
    t.sees(0, "FACILITY 1 link?");
    t.far("DISCONNECT 7 cause 16");
    t.sees(0, "1, 2: a call ended first; 1: released 16; RELEASE 7* cause 16");
    t.far_facility("FACILITY 1*", &Ask::Link.result(FIRST, 300));
    t.sees(0, "");

    let mut t = answered(Dialect::EuroIsdn);
    assert_eq!(t.joins([1, 2]), Ok(()));
    t.hangs_up(1);
    t.told.clear();
    t.far_facility("FACILITY 1*", &Ask::Link.result(FIRST, 300));
    t.sees(0, "");
    assert!(t.line.is_active(CallId(2)));
}

#[test]
fn only_calls_that_are_up_are_joined_and_only_by_an_exchange() {
    let mut t = two_calls(Dialect::Ni2);
    assert_eq!(t.joins([1, 2]), Err(Unjoined::NotUp));
    assert_eq!(t.joins([1, 1]), Err(Unjoined::NotUp));
    assert_eq!(t.joins([1, 9]), Err(Unjoined::NotUp));

    let mut t = Ladder::t1(Side::Network);
    for reference in [7, 8] {
        t.far(&format!("SETUP {reference} slot {reference}!"));
        t.orders(reference - 6, Order::Answer(Box::default()));
    }
    assert_eq!(t.joins([1, 2]), Err(Unjoined::Exchange));
}
