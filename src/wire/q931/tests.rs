//! Frames of libpri 1.6.0, tables of elements, what is wrong with messages, and any octets.

use super::*;
use crate::cause::Cause as Value;
use crate::private::Private;
use crate::session::Codec;

pub(super) const VECTORS: [(Dialect, &str); 6] = [
    (Dialect::Ess4, include_str!("../../../tests/vectors/q931/4ess.txt")),
    (Dialect::Ess5, include_str!("../../../tests/vectors/q931/5ess.txt")),
    (Dialect::Dms100, include_str!("../../../tests/vectors/q931/dms100.txt")),
    (Dialect::EuroIsdn, include_str!("../../../tests/vectors/q931/euroisdn.txt")),
    (Dialect::Ni2, include_str!("../../../tests/vectors/q931/ni2.txt")),
    (Dialect::Qsig, include_str!("../../../tests/vectors/q931/qsig.txt")),
];
pub(super) const NI1: &str = include_str!("../../../tests/vectors/q931/ni1.txt");

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter(|c| *c != b' ').map(|c| (c as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The messages of a trace, and who sent them: what I frames carry behind four octets of header.
pub(super) fn messages(trace: &str) -> Vec<(Side, Vec<u8>)> {
    let frames = trace.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (if words[2] == "tx" { Side::Network } else { Side::User }, hex(words[3]))
    });
    let information = frames.filter(|(_, frame)| frame[2] & 1 == 0);
    information.map(|(side, frame)| (side, frame[4..].to_vec())).collect()
}

/// The contents of an element, read as a value and written again.
fn rewritten(raw: &Raw) -> Option<Vec<u8>> {
    fn again<E: Element>(raw: &Raw) -> Option<Vec<u8>> {
        let mut contents = Vec::new();
        raw.read::<E>()?.write(&mut contents);
        Some(contents)
    }
    match raw.id {
        id::CHANGE_STATUS => again::<ChangeStatus>(raw),
        id::BEARER_CAPABILITY => again::<Bearer>(raw),
        id::CAUSE => again::<Cause>(raw),
        id::CALL_STATE => again::<CallState>(raw),
        id::CHANNEL_IDENTIFICATION => again::<Channel>(raw),
        id::FACILITY => again::<Facility>(raw),
        id::PROGRESS_INDICATOR => again::<Progress>(raw),
        id::NOTIFICATION_INDICATOR => again::<Notification>(raw),
        id::DISPLAY => again::<Display>(raw),
        id::KEYPAD_FACILITY => again::<Keypad>(raw),
        id::CONNECTED_NUMBER => again::<Connected>(raw),
        id::CALLING_PARTY_NUMBER => again::<Calling>(raw),
        id::CALLED_PARTY_NUMBER => again::<Called>(raw),
        id::ORIGINAL_CALLED_NUMBER => again::<OriginalCalled>(raw),
        id::REDIRECTING_NUMBER => again::<Redirecting>(raw),
        id::RESTART_INDICATOR => again::<Restart>(raw),
        id::LOW_LAYER_COMPATIBILITY => again::<CompatibilityLow>(raw),
        id::HIGH_LAYER_COMPATIBILITY => again::<CompatibilityHigh>(raw),
        id::USER_USER => again::<UserUser>(raw),
        id::SENDING_COMPLETE => again::<SendingComplete>(raw),
        _ => None,
    }
}

#[test]
fn every_message_of_libpri_is_read_and_written_again_octet_for_octet() {
    let traces = VECTORS.map(|(_, trace)| trace).into_iter().chain([NI1]);
    let mut seen = 0;
    for (side, octets) in traces.flat_map(messages) {
        let message = Message::read(&octets).unwrap();
        assert_eq!(message.flaw(side), None, "{message:?}");
        assert_eq!(message.reference.to_origin, side == Side::User);
        for raw in message.elements() {
            assert_eq!(rewritten(&raw).as_deref(), Some(raw.contents), "{:02x} in {message:?}", raw.id);
            seen += 1;
        }
    }
    assert_eq!(seen, 82);
}

#[test]
fn a_call_of_libpri_in_words() {
    let kinds = |trace| {
        let name = |(_, octets): (_, Vec<u8>)| Message::read(&octets).unwrap().kind.name();
        messages(trace).into_iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let all = "SETUP, CALL PROCEEDING, ALERTING, CONNECT, CONNECT ACKNOWLEDGE, DISCONNECT, RELEASE, RELEASE COMPLETE";
    for (dialect, trace) in VECTORS {
        let expected =
            if dialect == Dialect::Ni2 { all.replace("ING, ALERT", "ING, FACILITY, ALERT") } else { all.into() };
        assert_eq!(kinds(trace), expected, "{dialect:?}");
    }
}

/// A SETUP as libpri's network side writes it, made of values.
fn setup(dialect: Dialect, reference: u16) -> Vec<u8> {
    let verified = Shown { presentation: Presentation::Allowed, screening: Screening::Passed };
    let calling_shown = match dialect {
        // Its 4ESS and DMS-100 say that the network vouches for the number.
        Dialect::Ess4 | Dialect::Dms100 => Shown { screening: Screening::Network, ..verified },
        _ => verified,
    };
    let national = |digits: &str| Number::new(NumberType::NATIONAL, digits);
    let redirecting = Redirecting {
        number: national("4255550177"),
        shown: Some(Shown::default()),
        reason: Some(Reason::UNCONDITIONAL),
    };
    let name = Name { party: Party::Calling, text: Private("Alice".into()), restricted: false };
    let facilities = match (dialect, dialect.name_in(Side::Network)) {
        (Dialect::EuroIsdn, _) => vec![Diversion { last: Some(redirecting.clone()), first: None }.facility(1, false)],
        (_, NameIn::Setup) => {
            vec![Diversion { last: Some(redirecting.clone()), first: None }.facility(1, true), name.facility(2, true)]
        }
        (_, NameIn::Facility) => vec![Name::announcement(1)],
        (_, NameIn::Nothing) => vec![],
    };
    Builder::new(Reference { value: reference, to_origin: false }, Kind::Setup)
        .with_all(dialect.says_sending_complete().then_some(&SendingComplete))
        .with_all((!dialect.diverts_by_facility()).then_some(&redirecting))
        .with(&Called(national("4255550100")))
        .with(&Calling { number: national("2065550123"), shown: Some(calling_shown) })
        .with_all(&dialect.display(Side::Network, "Alice"))
        .with_all(&facilities)
        .with(&Channel::slot(None, 3, true))
        .with(&Bearer::speech(if dialect == Dialect::EuroIsdn || dialect == Dialect::Qsig {
            Codec::Pcma
        } else {
            Codec::Pcmu
        }))
        .octets()
}

#[test]
fn our_writer_makes_libpris_setup_in_every_dialect() {
    for (dialect, trace) in VECTORS {
        let (_, theirs) = messages(trace).remove(0);
        let reference = Message::read(&theirs).unwrap().reference.value;
        assert_eq!(setup(dialect, reference), theirs, "{dialect:?}");
    }
}

#[test]
fn our_writer_makes_the_rest_of_libpris_call() {
    let from = Reference { value: 1, to_origin: false };
    let to = from.reply();
    let normal = Cause::new(Location::PRIVATE_NEAR, Value::NORMAL);
    let slot = Channel::slot(None, 3, true);
    let ours = [
        setup(Dialect::Ess5, 1),
        Builder::new(to, Kind::CallProceeding).with(&slot).octets(),
        Builder::new(to, Kind::Alerting).octets(),
        Builder::new(to, Kind::Connect).with(&slot).octets(),
        Builder::new(from, Kind::ConnectAck).octets(),
        Builder::new(from, Kind::Disconnect).with(&normal).octets(),
        Builder::new(to, Kind::Release).with(&normal).octets(),
        Builder::new(from, Kind::ReleaseComplete).with(&normal).octets(),
    ];
    let theirs: Vec<Vec<u8>> = messages(VECTORS[1].1).into_iter().map(|(_, octets)| octets).collect();
    assert_eq!(ours.as_slice(), theirs);
}

#[test]
fn names_and_diversions_are_found_in_facilities() {
    let told = |trace| {
        let messages = messages(trace);
        let all = messages.iter().map(|(_, octets)| Message::read(octets).unwrap());
        let facilities: Vec<Facility> = all.flat_map(|message| message.all::<Facility>().collect::<Vec<_>>()).collect();
        let names: Vec<Name> = facilities.iter().filter_map(Name::read).collect();
        let diversions: Vec<Diversion> = facilities.iter().filter_map(Diversion::read).collect();
        (names, diversions, facilities.iter().filter(|facility| Name::follows(facility)).count())
    };
    let alice = Name { party: Party::Calling, text: Private("Alice".into()), restricted: false };
    let from = Redirecting {
        number: Number::new(NumberType::NATIONAL, "4255550177"),
        shown: Some(Shown::default()),
        reason: Some(Reason::UNCONDITIONAL),
    };
    let from = Diversion { last: Some(from), first: None };
    assert_eq!(told(VECTORS[3].1), (vec![], vec![from.clone()], 0));
    assert_eq!(told(VECTORS[4].1), (vec![alice.clone()], vec![], 1));
    assert_eq!(told(VECTORS[5].1), (vec![alice], vec![from], 0));
}

#[test]
fn all_forms_of_a_name_are_read_and_ours_come_back() {
    let read = |argument: &str| {
        let component = rose::Component::invoke(5, 2, &hex(argument));
        Name::read(&Facility::networking(true, &component)).map(|name| (name.party, name.text.0, name.restricted))
    };
    let name = |text: &str, restricted| Some((Party::Connected, text.to_owned(), restricted));
    for (argument, expected) in [
        ("80 03 42 6f 62", name("Bob", false)),
        ("82 03 42 6f 62", name("Bob", true)),
        ("a1 08 04 03 42 6f 62 02 01 01", name("Bob", false)),
        ("30 05 80 03 42 f6 62", name("Böb", false)),
        ("84 00", name("", false)),
        ("87 00", name("", true)),
        ("85 00", None),
        ("80 09 42", None),
        ("", None),
    ] {
        assert_eq!(read(argument), expected, "{argument}");
    }
    for (text, restricted) in [("Böb", false), ("Böb", true), ("", true), ("", false)] {
        let name = Name { party: Party::Called, text: Private(text.into()), restricted };
        assert_eq!(Name::read(&name.facility(1, false)), Some(name));
    }
    // The same operation by ECMA's object, and what means something else in ETSI's profile.
    let object = hex("9f a1 0f 02 01 01 06 04 2b 0c 09 00 80 04 4a 6f 68 6e");
    assert_eq!(Name::read(&Facility(Private(object))).unwrap().text.0, "John");
    let etsi = Facility::supplementary(&rose::Component::invoke(1, 0, &hex("80 03 42 6f 62")));
    assert_eq!(Name::read(&etsi), None);
}

#[test]
fn components_say_what_became_of_an_operation() {
    use rose::{Component, Operation};
    let facility = Facility(Private(hex(
        "91 a2 0b 02 01 07 30 06 02 01 06 82 01 01 a3 06 02 01 08 02 01 0d a4 05 05 00 81 01 02",
    )));
    let found: Vec<Component> = facility.components().collect();
    assert!(matches!(found[0], Component::Result { id: 7, result: Some((Operation::Local(6), _)) }));
    assert_eq!(found[1], Component::Error { id: 8, error: Operation::Local(13) });
    assert_eq!(found[2], Component::Reject { id: None });
}

/// Reads, tells and writes again.
fn round<E: Element + std::fmt::Debug>(octets: &str) -> String {
    let Some(element) = E::read(&hex(octets)) else { return "invalid".to_owned() };
    let mut again = Vec::new();
    element.write(&mut again);
    assert_eq!(again, hex(octets), "{element:?}");
    format!("{element:?}")
}

#[test]
fn channel_identification_by_number_map_and_interface() {
    let slot = |interface, number, exclusive| Some(Channel::slot(interface, number, exclusive));
    let some = |exclusive, choice| Some(Channel { interface: None, exclusive, choice });
    for (octets, expected) in [
        ("a9 83 83", slot(None, 3, true)),
        ("a1 83 97", slot(None, 23, false)),
        ("e9 81 83 85", slot(Some(1), 5, true)),
        ("e9 80", Some(Channel { interface: Some(0), exclusive: true, choice: Choice::Interface })),
        ("a1 83 01 02 83", some(false, Choice::Numbers(vec![1, 2, 3]))),
        ("a9 93 00 00 05", some(true, Choice::Map(Slots { bits: 0b1010, octets: 3 }))),
        ("a9 93 00 01 00 02", some(true, Choice::Map(Slots { bits: 0x10002, octets: 4 }))),
        ("a0", some(false, Choice::None)),
        ("a3", some(false, Choice::Any)),
        ("ac", some(true, Choice::D)),
        ("a9", some(true, Choice::Interface)),
        // Of a basic rate line, a reserved selection, an interface that is missing, of H0, a map of two octets.
        ("89", None),
        ("a2", None),
        ("e9", None),
        ("a9 86 81", None),
        ("a9 93 00 01", None),
        ("a9 83", None),
        ("", None),
    ] {
        assert_eq!(Channel::read(&hex(octets)), expected, "{octets}");
        round::<Channel>(octets);
    }
    assert_eq!(Channel::read(&hex("a9 93 80 00 05")).unwrap().numbers(), [1, 3, 24]);
    assert_eq!(Channel::read(&hex("a9 93 80 00 00 02")).unwrap().numbers(), [1, 31]);
    // Lists without a last one, as some switches write them.
    assert_eq!(Channel::read(&hex("a9 83 05")).unwrap().single(), Some(5));
}

#[test]
fn numbers_with_one_two_and_three_octets_in_front() {
    let shown = |presentation, screening| Some(Shown { presentation, screening });
    let calling = |octets: &str| {
        round::<Calling>(octets);
        Calling::read(&hex(octets)).map(|calling| (calling.number.kind, calling.number.digits.0, calling.shown))
    };
    let restricted = shown(Presentation::Restricted, Screening::Network);
    assert_eq!(
        calling("21 83 32 30"),
        Some((NumberType::NATIONAL, "20".into(), shown(Presentation::Allowed, Screening::Network)))
    );
    assert_eq!(calling("11 a3 34 34"), Some((NumberType::INTERNATIONAL, "44".into(), restricted)));
    assert_eq!(
        calling("00 c3"),
        Some((NumberType::UNKNOWN, String::new(), shown(Presentation::Unavailable, Screening::Network)))
    );
    assert_eq!(calling("c1 35"), Some((NumberType::SUBSCRIBER, "5".into(), None)));
    assert_eq!(calling("21"), None);
    assert_eq!(calling("a1 c4 d6"), None);
    assert_eq!(calling("a1 31 0a"), None);
    let reason = |octets: &str| {
        round::<Redirecting>(octets);
        Redirecting::read(&hex(octets)).map(|from| from.reason)
    };
    assert_eq!(reason("21 00 8f 34"), Some(Some(Reason::UNCONDITIONAL)));
    assert_eq!(reason("21 80 34"), Some(None));
    assert_eq!(reason("a1 34"), Some(None));
    assert_eq!(reason("21 00 0f 80"), None);
    assert_eq!(Called::read(&hex("80 2a 37 30 23")).unwrap().0.digits.0, "*70#");
    assert!(!format!("{:?}", Called::read(&hex("a1 34 32"))).contains("42"));
}

#[test]
fn causes_bearers_progress_and_the_small_ones() {
    let cause =
        |octets: &str| Cause::read(&hex(octets)).map(|cause| (cause.value.0, cause.recommendation, cause.diagnostics));
    for octets in ["82 90", "02 80 90", "81 e4 18 6c", "e2 90", "8a ff"] {
        round::<Cause>(octets);
    }
    assert_eq!(cause("02 80 91 81"), Some((17, Some(0), vec![0x81])));
    assert_eq!(cause("84 e6 33 30 33"), Some((102, None, b"303".to_vec())));
    assert_eq!(cause("82"), None);

    for octets in ["80 90 a2", "90 90 a3", "88 90", "88 98 82", "89 90 21 8f", "80 90 a2 c2 e6", "c0 91 a2"] {
        round::<Bearer>(octets);
    }
    assert_eq!(Bearer::read(&hex("88 98 82")).unwrap().multiplier, Some(2));
    let sound = |octets: &str| Bearer::read(&hex(octets)).map(|bearer| (bearer.is_sound(), bearer.layer1));
    assert_eq!(sound("80 90 a2"), Some((true, Some(Layer1::MU_LAW))));
    assert_eq!(sound("90 90 a3"), Some((true, Some(Layer1::A_LAW))));
    assert_eq!(sound("88 90"), Some((false, None)));
    assert_eq!(sound("80"), None);

    for (octets, audible) in [("82 81", true), ("82 82", true), ("82 83", false), ("80 84", false), ("85 88", true)] {
        round::<Progress>(octets);
        assert_eq!(Progress::read(&hex(octets)).unwrap().is_audible(), audible, "{octets}");
    }
    assert_eq!(Progress::read(&hex("88")), None);
    for octets in ["80", "86", "87"] {
        round::<Restart>(octets);
    }
    assert_eq!(Restart::read(&[0x81]), None);
    assert_eq!(ChangeStatus::read(&[0x82]), Some(ChangeStatus::OutOfService));
    assert_eq!(round::<ChangeStatus>("c0"), "InService");
    assert_eq!(round::<CallState>("0a"), "CallState(10)");
    assert_eq!(round::<Notification>("f9"), "Notification(121)");
    let display = |octets: &str| Display::read(&hex(octets)).map(|display| (display.charset, display.text.0));
    assert_eq!(display("b1 41 6c"), Some((Some(0xb1), "Al".into())));
    assert_eq!(display("d6 6c"), Some((None, "Öl".into())));
}

#[test]
fn shifts_reach_other_codesets_for_one_element_or_for_the_rest() {
    let octets =
        hex("08 02 0001 05 04038090a2 9e 28 01 41 28 01 42 96 28 01 43 9d 03 00 95 01 01 44 98 28 01 45 28 01 46");
    let message = Message::read(&octets).unwrap();
    let found: Vec<(u8, u8, &[u8])> = message.elements().map(|raw| (raw.codeset, raw.id, raw.contents)).collect();
    assert_eq!(
        found[1..],
        [
            (6, 0x28, &b"A"[..]),
            (0, 0x28, b"B"),
            (6, 0x28, b"C"),
            (5, 0x03, b""),
            // A locking shift downward is none.
            (6, 0x01, b"D"),
            (0, 0x28, b"E"),
            (6, 0x28, b"F"),
        ]
    );
    assert_eq!(message.get::<Display>().unwrap().text.0, "B");
    assert_eq!(message.flaw(Side::User), None);
}

#[test]
fn what_is_wrong_becomes_the_cause_that_section_5_8_wants() {
    let flaw = |side, octets: &str| {
        let octets = hex(octets);
        Message::read(&octets).unwrap().flaw(side).map(|flaw| (flaw.grave, flaw.value.0, flaw.diagnostics))
    };
    let user = |octets| flaw(Side::User, octets);
    let grave = |value, diagnostics: &[u8]| Some((true, value, diagnostics.to_vec()));
    let light = |value, diagnostics: &[u8]| Some((false, value, diagnostics.to_vec()));
    for (octets, expected) in [
        ("08020001 42", grave(97, &[0x42])),
        ("08020001 05", grave(96, &[0x04])),
        ("08020001 05 0400", grave(96, &[0x04])),
        ("08020001 05 04038090a2 0201ff", grave(96, &[0x02])),
        ("08020001 05 040180", grave(100, &[0x04])),
        ("08020001 05 04058090a2", grave(100, &[0x04])),
        ("08020001 05 04038090a2 5501ff a8", light(99, &[0x55, 0xa8])),
        ("08020001 05 04038090a2 180189 6c0121", light(100, &[0x18, 0x6c])),
        // The same again counts for nothing, nor does what the standard does not have there.
        ("08020001 05 04038090a2 180189 18 03a98381 0101ff", grave(96, &[0x01])),
        ("08020001 05 04038090a2 1803a98381 180189 080281ff", None),
        // What is known and not used, single octets with a value, an empty number.
        ("08020001 05 04038090a2 3401ff d1 b3 a0 4c00", None),
        ("08020001 45", grave(96, &[0x08])),
        ("08020001 4d", None),
        ("08020001 03", grave(96, &[0x1e])),
        ("08020001 7d 080281e1", grave(96, &[0x14])),
        ("08020000 46 1803a98381", grave(96, &[0x79])),
        ("43020000 07 0101c0 1803a98381", None),
        ("03020000 0f 1803a98381", grave(96, &[0x01])),
        ("03020000 01", grave(97, &[0x01])),
    ] {
        assert_eq!(user(octets), expected, "{octets}");
    }
    assert_eq!(flaw(Side::Network, "08020001 05 04038090a2"), grave(96, &[0x18]));
    let told = Flaw::unexpected(Kind::Connect).cause(Location::USER);
    assert_eq!((told.value, told.diagnostics), (Value::WRONG_STATE, vec![0x07]));
}

#[test]
fn what_is_no_message_of_ours_is_told() {
    let fault = |octets: &str| Message::read(&hex(octets)).unwrap_err();
    assert_eq!(fault(""), Unreadable::Short);
    assert_eq!(fault("08"), Unreadable::Short);
    assert_eq!(fault("0802"), Unreadable::Short);
    assert_eq!(fault("08020001"), Unreadable::Short);
    assert_eq!(fault("4f02000105"), Unreadable::Protocol(0x4f));
    assert_eq!(fault("0800 05"), Unreadable::Reference);
    assert_eq!(fault("0812 0001 05"), Unreadable::Reference);
    let short = hex("08018205");
    assert_eq!(Message::read(&short).unwrap().reference, Reference { value: 2, to_origin: true });
}

#[test]
fn service_has_two_dialects_with_each_others_types() {
    for (dialect, octets) in [(Maintenance::Att, "03020000 0f 0101c2"), (Maintenance::National, "43020000 07 0101c2")] {
        let ours = Builder::new(Reference::GLOBAL, Kind::Service(dialect)).with(&ChangeStatus::OutOfService).octets();
        assert_eq!(ours, hex(octets));
        let ack = Builder::new(Reference::GLOBAL, Kind::ServiceAck(dialect)).octets();
        assert_eq!(Message::read(&ack).unwrap().kind, Kind::ServiceAck(dialect));
    }
}

#[test]
fn a_message_that_would_be_too_long_goes_without_its_ornaments() {
    let full = Builder::new(Reference { value: 1, to_origin: false }, Kind::Setup)
        .with(&Bearer::speech(Codec::Pcmu))
        .with(&UserUser(Private(vec![4; 131])))
        .with(&Facility(Private(vec![0x91; 90])))
        .with(&Display { charset: None, text: Private("x".repeat(82)) })
        .with(&Called(Number::new(NumberType::UNKNOWN, "1".repeat(20))));
    let octets = full.octets();
    let message = Message::read(&octets).unwrap();
    assert!(octets.len() <= LONGEST);
    assert_eq!(format!("{message:?}"), "SETUP 1 04 1c 28 70");
}

#[test]
fn dialects_are_named_as_in_the_configuration() {
    for dialect in Dialect::ALL {
        assert_eq!(Dialect::named(dialect.name()), Some(dialect));
    }
    assert_eq!(Dialect::named("NI2"), Some(Dialect::Ni2));
    assert_eq!(Dialect::named("dass2"), None);
}

#[test]
fn no_octets_panic_and_what_is_valid_survives_the_way_through() {
    bolero::check!().for_each(|octets: &[u8]| {
        for octets in
            [octets, &[&[8, 2, 0, 1, 5], octets].concat(), &[&[8, 2, 0, 1, 0x62, 0x1c, 0x40, 0x9f], octets].concat()]
        {
            let Ok(message) = Message::read(octets) else { continue };
            let _ = (message.flaw(Side::User), message.flaw(Side::Network), format!("{message:?}"));
            for facility in message.all::<Facility>() {
                let _ = (Name::read(&facility), Name::follows(&facility), Diversion::read(&facility));
                super::transfer::said(&facility).for_each(drop);
            }
            for raw in message.elements() {
                let Some(again) = rewritten(&raw) else { continue };
                let twice = rewritten(&Raw { contents: &again, ..raw });
                assert_eq!(twice.as_ref(), Some(&again), "{:02x} {:02x?}", raw.id, raw.contents);
            }
        }
    });
}
