//! Recorded calls in words, tables of what else may be said, and any octets.

use super::*;
use crate::wire::q931::tests::{NI1, VECTORS, hex, messages};
use crate::wire::q931::{Builder, Reference};

fn lines(trace: &str, people: People) -> Vec<String> {
    messages(trace).iter().map(|(_, octets)| Message::read(octets).unwrap().line(people)).collect()
}

fn line(octets: &str) -> String {
    Message::read(&hex(octets)).unwrap().line(People::Whole)
}

/// The elements of a message, without its head.
fn elements(octets: &str, people: People) -> Vec<String> {
    let octets = hex(&format!("08020001 05 {octets}"));
    Message::read(&octets).unwrap().text(people).lines().skip(1).map(|line| line.trim_start().to_owned()).collect()
}

#[test]
fn a_national_call_in_lines() {
    assert_eq!(
        lines(VECTORS[4].1, People::Masked),
        [
            "SETUP to …100 from …123, redirected by …177 (unconditional), timeslot 3 exclusive, speech µ-law",
            "CALL PROCEEDING timeslot 3 exclusive",
            "FACILITY calling name (hidden)",
            "ALERTING",
            "CONNECT timeslot 3 exclusive",
            "CONNECT ACKNOWLEDGE",
            "DISCONNECT cause 16 (Normal call clearing) from the local user's private network",
            "RELEASE cause 16 (Normal call clearing) from the local user's private network",
            "RELEASE COMPLETE cause 16 (Normal call clearing) from the local user's private network",
        ]
    );
}

#[test]
fn every_recorded_setup_in_a_line() {
    let setups = VECTORS.map(|(_, trace)| trace).into_iter().chain([NI1]);
    let told: Vec<String> = setups.map(|trace| lines(trace, People::Whole).remove(0)).collect();
    let american = "SETUP to 4255550100 from 2065550123, redirected by 4255550177 (unconditional), timeslot 3 exclusive, \
                    speech µ-law";
    let etsi = american.replace("µ-law", "A-law");
    let qsig = etsi.replace("(unconditional), ", "(unconditional), calling name \"Alice\", ");
    assert_eq!(told, [american, american, american, &etsi, american, &qsig, american]);
}

#[test]
fn a_setup_as_a_whole() {
    let (_, octets) = messages(VECTORS[4].1).remove(0);
    let text = |people| Message::read(&octets).unwrap().text(people);
    assert_eq!(
        text(People::Whole),
        "SETUP, call reference 1 of the sender\n  \
         bearer capability: speech, 64 kbit/s, µ-law\n  \
         channel identification: timeslot 3 exclusive\n  \
         facility: the name follows\n  \
         display: \"Alice\"\n  \
         calling party number: 2065550123, national, ISDN plan, presentation allowed, user provided, verified and passed\n  \
         called party number: 4255550100, national, ISDN plan\n  \
         redirecting number: 4255550177, national, ISDN plan, presentation allowed, user provided, not screened, unconditional\n"
    );
    let masked = text(People::Masked);
    assert!(masked.contains("called party number: …100, national") && masked.contains("display: (hidden)"), "{masked}");
}

#[test]
fn nobody_is_named_in_a_redacted_trace() {
    let traces = VECTORS.map(|(_, trace)| trace).into_iter().chain([NI1]);
    for (_, octets) in traces.flat_map(messages) {
        let message = Message::read(&octets).unwrap();
        let told = message.line(People::Hidden) + &message.text(People::Hidden);
        let hex_of_alice = "41 6c 69 63 65";
        for word in ["100", "123", "177", "Alice", hex_of_alice] {
            assert!(!told.contains(word), "{word} in {told}");
        }
    }
}

#[test]
fn ends_and_questions_in_a_line() {
    for (octets, expected) in [
        ("08020001 45 08028491", "DISCONNECT cause 17 (User busy) from the remote user's network"),
        ("08020001 45 08 02ec91", "DISCONNECT cause 17 of the network's codes from location 12"),
        ("08020001 75", "STATUS ENQUIRY"),
        (
            "08020001 7d 080281e1 14010a",
            "STATUS cause 97 (Message type unknown) from the local user's private network, state 10 (active)",
        ),
        ("08020001 5a 08058266", "RELEASE COMPLETE"),
        (
            "08020001 03 1e02 8288",
            "PROGRESS progress 8 (tones or announcements in the band) from the local user's network",
        ),
        ("08020001 6e 2701 f9", "NOTIFY notice 121 (remote hold)"),
        ("08020001 7b 7002 8135", "INFORMATION digits 5"),
        ("08020001 05 6c02 00a3", "SETUP from no number (restricted)"),
        ("08020001 05 6c04 21a3 3430", "SETUP from 40 (restricted)"),
        ("08020001 07 4c05 2183 343131", "CONNECT connected 411"),
        ("08020001 05 7403 010080", "SETUP redirected (unknown reason)"),
        ("08020000 46 1803a98381 7901 80", "RESTART of timeslots, timeslot 1 exclusive"),
        ("08020000 46 1804e9808381 790187", "RESTART of all interfaces, timeslot 1 of interface 0 exclusive"),
        ("43020000 07 0101c2 1803a98397", "SERVICE out of service, timeslot 23 exclusive"),
        ("08020001 42", "unknown message 0x42"),
    ] {
        assert_eq!(line(octets), expected, "{octets}");
    }
}

#[test]
fn diagnostics_are_told_by_what_they_are_of() {
    for (octets, expected) in [
        (
            "0803 82e0 04",
            "cause: 96 (Mandatory element missing) from the local user's network, about bearer capability",
        ),
        ("0804 82e3 5528", "cause: 99 (Element unknown) from the local user's network, about element 0x55, display"),
        ("0803 80e5 07", "cause: 101 (Message not compatible with the call's state) from the user, about CONNECT"),
        ("0805 82e6 333033", "cause: 102 (Recovery on timer expiry) from the local user's network, about T303"),
        ("0804 8296 3431", "cause: 22 (Number changed) from the local user's network, about (hidden, length 2)"),
    ] {
        assert_eq!(elements(octets, People::Masked), [expected]);
    }
}

#[test]
fn what_is_not_understood_is_told_by_its_octets_unless_it_may_name_somebody() {
    for (octets, expected) in [
        ("0401 80", ["bearer capability: 80"; 3]),
        ("3401 ff", ["signal: ff"; 3]),
        ("5502 01ff", ["element 0x55: 01 ff", "element 0x55: 01 ff", "element 0x55: (hidden, length 2)"]),
        (
            "7102 8031",
            [
                "called party subaddress: 80 31",
                "called party subaddress: (hidden, length 2)",
                "called party subaddress: (hidden, length 2)",
            ],
        ),
        (
            "6c02 00b1",
            ["calling party number: no digits, unknown type, unknown plan, presentation restricted, user provided, verified and passed";
                3],
        ),
        (
            "6c01 21",
            [
                "calling party number: 21",
                "calling party number: (hidden, length 1)",
                "calling party number: (hidden, length 1)",
            ],
        ),
        (
            "9e 2801 41",
            [
                "element 0x28 of codeset 6: 41",
                "element 0x28 of codeset 6: (hidden, length 1)",
                "element 0x28 of codeset 6: (hidden, length 1)",
            ],
        ),
        (
            "7009 8131",
            [
                "called party number, which is cut off: 81 31",
                "called party number, which is cut off: (hidden, length 2)",
                "called party number, which is cut off: (hidden, length 2)",
            ],
        ),
        ("a1", ["sending complete"; 3]),
    ] {
        let told = [People::Whole, People::Masked, People::Hidden].map(|people| elements(octets, people).join("; "));
        assert_eq!(told, expected, "{octets}");
    }
}

#[test]
fn a_far_ends_text_steers_no_terminal() {
    assert_eq!(elements("2805 1b5b324a41", People::Whole), ["display: \"?[2JA\""]);
}

#[test]
fn no_octets_panic_and_none_makes_a_second_line() {
    bolero::check!().for_each(|octets: &[u8]| {
        for octets in
            [octets, &[&[8, 2, 0, 1, 5], octets].concat(), &[&[8, 2, 0, 1, 0x62, 0x1c, 0x40, 0x9f], octets].concat()]
        {
            let Ok(message) = Message::read(octets) else { continue };
            for people in [People::Whole, People::Masked, People::Hidden] {
                assert!(!message.line(people).contains(char::is_control));
                assert_eq!(message.text(people).lines().count(), 1 + message.elements().count());
            }
        }
    });
}

#[test]
fn what_an_exchange_is_asked_is_said_in_words() {
    let call = Reference { value: 5, to_origin: true };
    for (ask, words) in [
        (Ask::Join(call), "FACILITY join with call 5*"),
        (Ask::Link, "FACILITY which link has the call?"),
        (Ask::Candidate, "FACILITY which link has the call?"),
        (Ask::JoinLink(7), "FACILITY join with the call of link 7"),
        (Ask::ThirdParty(7), "FACILITY join with the call of link 7"),
        (Ask::Complete { primary: true }, "FACILITY the call was transferred"),
        (Ask::Propose { identity: 42 }, "FACILITY replace the path"),
    ] {
        let octets = Builder::new(call, Kind::Facility).with(&ask.facility(16)).octets();
        let message = Message::read(&octets).unwrap();
        assert!(message.text(People::Hidden).contains(words.trim_start_matches("FACILITY ")), "{ask:?}");
        assert_eq!(message.line(People::Masked), words);
    }
    let ask = Ask::Link;
    for (answer, words) in [
        (ask.result(16, 300), "FACILITY done, link 300"),
        (Ask::Join(call).result(16, 0), "FACILITY done"),
        (ask.error(16, 0), "FACILITY refused: the line is not subscribed to it"),
    ] {
        let octets = Builder::new(call, Kind::Facility).with(&answer).octets();
        assert_eq!(Message::read(&octets).unwrap().line(People::Hidden), words);
    }
}
