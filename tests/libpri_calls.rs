//! What calls say and what becomes of them, with libpri as the far end, in virtual time: both roles, every dialect, both ways.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use demarc::cause::Cause;
use demarc::isdn::call::{Answer, Order, Setup, Word};
use demarc::isdn::line::{Line, Output, Report};
use demarc::private::Private;
use demarc::session::Codec;
use demarc::wire::q931::{
    Bearer, Calling, Connected, Dialect, Message, Name, Number, NumberType, OriginalCalled, Party, Reason, Redirecting,
    Shown, Side, UserUser,
};

mod lab;

use lab::Cable;

/// A line whose link is up, with nothing said yet.
fn quiet(side: Side, dialect: Dialect) -> Option<Cable<Line>> {
    let mut cable = Cable::up(side, (dialect.name(), dialect), 0, 1)?;
    cable.run(cable.now + 1000);
    cable.forget();
    Some(cable)
}

fn setup(dialect: Dialect) -> Setup {
    let law = if matches!(dialect, Dialect::EuroIsdn | Dialect::Qsig) { Codec::Pcma } else { Codec::Pcmu };
    let calling = Number::new(NumberType::NATIONAL, "2065550123");
    Setup {
        calling: Some(Calling { number: calling, shown: Some(Shown::default()) }),
        name: Some(Name { party: Party::Calling, text: Private("Alice".to_owned()), restricted: false }),
        ..Setup::new(Bearer::speech(law), Number::new(NumberType::NATIONAL, "4255550100"))
    }
}

/// Each switch, with us at either end.
fn everywhere() -> impl Iterator<Item = (Dialect, Side)> {
    Dialect::ALL.into_iter().flat_map(|dialect| [(dialect, Side::User), (dialect, Side::Network)])
}

/// What a user tells, as IA5.
fn told(text: &str) -> UserUser {
    UserUser(Private([b"\x04", text.as_bytes()].concat()))
}

fn national(digits: &str) -> Number {
    Number::new(NumberType::NATIONAL, digits)
}

fn from(digits: &str, reason: Reason) -> Redirecting {
    Redirecting { number: national(digits), shown: Some(Shown::default()), reason: Some(reason) }
}

/// The last word of our calls that this reads.
fn last<T>(cable: &Cable<Line>, read: impl Fn(&Word) -> Option<T>) -> T {
    let word = |told: &Output| if let Output::Word { word, .. } = told { read(word) } else { None };
    cable.told.iter().rev().find_map(word).unwrap()
}

/// What our calls said, in short.
fn words(cable: &Cable<Line>) -> Vec<String> {
    let word = |told: &Output| match told {
        Output::Word { word: Word::Facility(_), .. } => None,
        Output::Word { word, .. } => Some(short(word)),
        _ => None,
    };
    cable.told.iter().filter_map(word).collect()
}

fn short(word: &Word) -> String {
    match word {
        Word::Setup(setup) => {
            let calling = setup.calling.as_ref().map_or("nobody", |calling| calling.number.digits.get());
            format!("Setup {} from {calling}", setup.called.digits.get())
        }
        Word::Progress { ringing, audible } => format!("Progress {ringing} {audible}"),
        Word::Answer(_) => "Answer".to_owned(),
        Word::Released(release) => format!("Released {}", release.cause.0),
        word => format!("{word:?}").split('(').next().unwrap().to_owned(),
    }
}

/// Nobody broke a rule: neither end complains, and each message of libpri's has what it must have.
fn is_spotless(cable: &Cable<Line>, far: Side) -> bool {
    let flawed = |told: &Output| match told {
        Output::Message { sent: false, octets, .. } => Message::read(octets).is_ok_and(|read| read.flaw(far).is_some()),
        Output::Report(report) => matches!(report, Report::Call { .. } | Report::Unreadable(_) | Report::Unsent(_)),
        _ => false,
    };
    cable.complaints.is_empty() && !cable.told.iter().any(flawed)
}

#[test]
fn calls_go_both_ways_from_either_end_in_every_dialect() {
    for (dialect, side) in everywhere() {
        let Some(mut cable) = quiet(side, dialect) else { return };
        let call = cable.places(setup(dialect));
        let slot = cable.ours.slot_of(call).unwrap();
        cable.run(cable.now + 50);
        let theirs = cable.last("ring", "call").unwrap().to_owned();
        for order in ["proceeding", "alerting", "answer"] {
            cable.orders(&format!("{order} {theirs}"));
            cable.run(cable.now + 50);
        }
        assert_eq!(words(&cable), ["Proceeding", "Progress true false", "Answer"], "{dialect:?} {side:?}");
        let ring = ["called", "calling", "channel"].map(|key| cable.last("ring", key).unwrap());
        assert_eq!(ring, ["4255550100", "2065550123", &slot.timeslot.to_string()], "{dialect:?} {side:?}");
        // Names that come in SETUP, or on its display.
        let in_setup = side == Side::Network && dialect != Dialect::Ni2
            || matches!((dialect, side), (Dialect::Ni2 | Dialect::Qsig, _));
        assert_eq!(cable.last("ring", "name") == Some("Alice"), in_setup, "{dialect:?} {side:?}");
        cable.hangs_up(call);
        cable.run(cable.now + 50);
        assert_eq!(cable.last("disconnect", "cause"), Some("16"), "{dialect:?} {side:?}: {:?}", cable.events);
        cable.run(cable.now + 1000);
        assert!(cable.all_idle() && is_spotless(&cable, side.other()), "{dialect:?} {side:?}: {:?}", cable.told);

        cable.forget();
        cable.orders("dial 5 exclusive 4255550100 2065550123");
        cable.run(cable.now + 50);
        let call = cable.incoming().unwrap();
        cable.order(call, Order::Alert { audible: false });
        cable.run(cable.now + 50);
        cable.order(call, Order::Answer(Box::default()));
        cable.run(cable.now + 50);
        assert_eq!(words(&cable), ["Setup 4255550100 from 2065550123"], "{dialect:?} {side:?}");
        assert!(cable.last("proceeding", "call").is_some() && cable.last("ringing", "call").is_some());
        let theirs = cable.last("answer", "call").unwrap().to_owned();
        cable.orders(&format!("hangup {theirs} 17"));
        cable.run(cable.now + 1000);
        assert_eq!(words(&cable).last().unwrap(), "Released 17", "{dialect:?} {side:?}");
        assert!(cable.last("hangup", "call").is_some() && cable.all_idle(), "{:?}", cable.events);

        // A call that is refused.
        cable.forget();
        cable.orders("dial 5 exclusive 4255550100 2065550123");
        cable.run(cable.now + 50);
        let call = cable.incoming().unwrap();
        cable.order(call, Order::Release { cause: Cause::UNALLOCATED, tones: false });
        cable.run(cable.now + 50);
        let event = ["disconnect", "hangup"].into_iter().find(|event| cable.last(event, "cause").is_some()).unwrap();
        assert_eq!(cable.last(event, "cause"), Some("1"), "{:?}", cable.events);
        cable.run(cable.now + 1000);
        assert!(cable.all_idle() && is_spotless(&cable, side.other()), "{dialect:?} {side:?}: {:?}", cable.told);
    }
}

/// What we say, as libpri hears it.
#[test]
fn libpri_hears_who_was_called_before_who_answers_and_what_users_tell() {
    for (dialect, side) in everywhere() {
        let Some(mut cable) = quiet(side, dialect) else { return };
        let call = cable.places(Setup {
            redirecting: Some(from("4255550177", Reason::BUSY)),
            original: Some(OriginalCalled(from("4255550166", Reason::UNCONDITIONAL))),
            user_user: Some(told("hello")),
            ..setup(dialect)
        });
        cable.run(cable.now + 50);
        let redirected = ["last", "reason", "first", "reason1"].map(|key| cable.last("redirected", key).unwrap());
        // libpri looks for who was called first in facilities only, and ETSI's have no reason for it.
        let first = match dialect {
            Dialect::EuroIsdn => ["4255550166", "0"],
            Dialect::Qsig => ["4255550166", "15"],
            _ => ["", "-1"],
        };
        assert_eq!(redirected, ["4255550177", "1", first[0], first[1]], "{dialect:?} {side:?}");
        assert_eq!(cable.last("told", "text"), Some("hello"), "{dialect:?} {side:?}");
        let theirs = cable.last("ring", "call").unwrap().to_owned();
        cable.orders(&format!("answer {theirs}"));
        cable.run(cable.now + 50);
        cable.order(call, Order::Enclose(told("bye")));
        cable.hangs_up(call);
        cable.run(cable.now + 1000);
        assert_eq!(cable.last("told", "text"), Some("bye"), "{dialect:?} {side:?}");

        cable.orders("dial 5 exclusive 4255550100 2065550123");
        cable.run(cable.now + 50);
        let call = cable.incoming().unwrap();
        cable.order(call, Order::Enclose(told("rings")));
        cable.order(call, Order::Alert { audible: false });
        cable.run(cable.now + 50);
        assert_eq!(cable.last("told", "text"), Some("rings"), "{dialect:?} {side:?}");
        let name = Some(Name { party: Party::Connected, text: Private("Bob".to_owned()), restricted: false });
        let connected = Some(Connected { number: national("4255550199"), shown: Some(Shown::default()) });
        let answer = Answer { connected, name, user_user: Some(told("hi")) };
        cable.order(call, Order::Answer(Box::new(answer)));
        cable.run(cable.now + 50);
        let expected = match dialect {
            Dialect::EuroIsdn => ["4255550199", ""],
            Dialect::Qsig => ["4255550199", "Bob"],
            _ => ["", ""],
        };
        assert_eq!(
            ["number", "name"].map(|key| cable.last("connected", key).unwrap()),
            expected,
            "{dialect:?} {side:?}"
        );
        assert_eq!(cable.last("told", "text"), Some("hi"), "{dialect:?} {side:?}");
        assert!(is_spotless(&cable, side.other()), "{dialect:?} {side:?}: {:?}", cable.told);
    }
}

/// What libpri says, as we hear it.
#[test]
fn we_hear_of_libpri_who_was_called_before_who_answers_and_what_users_tell() {
    for (dialect, side) in everywhere() {
        let Some(mut cable) = quiet(side, dialect) else { return };
        for order in ["as Alice", "tells hello", "redirected 4255550177 1 4255550166 15"] {
            cable.orders(order);
        }
        cable.orders("dial 5 exclusive 4255550100 2065550123");
        cable.run(cable.now + 50);
        let setup = last(&cable, |word| if let Word::Setup(setup) = word { Some(setup.clone()) } else { None });
        // A user of ETSI's has no place for a name.
        let named = (dialect, side) != (Dialect::EuroIsdn, Side::Network);
        let name = setup.name.as_ref().map(|name| name.text.get().as_str());
        assert_eq!(name, named.then_some("Alice"), "{dialect:?} {side:?}");
        assert_eq!(setup.name_follows, (dialect, side) == (Dialect::Ni2, Side::User));
        assert_eq!(setup.redirecting, Some(from("4255550177", Reason::BUSY)), "{dialect:?} {side:?}");
        let reason = (dialect == Dialect::Qsig).then_some(Reason::UNCONDITIONAL);
        let first = matches!(dialect, Dialect::EuroIsdn | Dialect::Qsig);
        let original = OriginalCalled(Redirecting { reason, ..from("4255550166", Reason::UNKNOWN) });
        assert_eq!(setup.original, first.then_some(original), "{dialect:?} {side:?}");
        assert_eq!(setup.user_user, Some(told("hello")));
        let theirs = cable.last("dialled", "call").unwrap().to_owned();
        cable.orders(&format!("tells {theirs} bye"));
        cable.orders(&format!("hangup {theirs} 17"));
        cable.run(cable.now + 1000);
        let release =
            last(&cable, |word| if let Word::Released(release) = word { Some(release.clone()) } else { None });
        assert_eq!(release.user_user(), Some(&told("bye").0), "{dialect:?} {side:?}");

        cable.places(self::setup(dialect));
        cable.run(cable.now + 50);
        let theirs = cable.last("ring", "call").unwrap().to_owned();
        for order in ["proceeding", "tells", "alerting", "connected", "answer"] {
            let more = match order {
                "tells" => " rings",
                "connected" => " 4255550199 Bob",
                _ => "",
            };
            cable.orders(&format!("{order} {theirs}{more}"));
            cable.run(cable.now + 50);
        }
        let rings = last(&cable, |word| if let Word::UserUser(told) = word { Some(told.clone()) } else { None });
        assert_eq!(rings, told("rings"), "{dialect:?} {side:?}");
        let answer = last(&cable, |word| if let Word::Answer(answer) = word { Some(answer.clone()) } else { None });
        let connected = answer.connected.as_ref().map(|connected| connected.number.digits.get().as_str());
        let name = answer.name.as_ref().map(|name| name.text.get().as_str());
        let named = (dialect == Dialect::Qsig).then_some("Bob");
        assert_eq!((connected, name), (Some("4255550199"), named), "{dialect:?} {side:?}");
        assert!(is_spotless(&cable, side.other()), "{dialect:?} {side:?}: {:?}", cable.told);
    }
}

#[test]
fn after_an_outage_both_ends_agree_on_what_is_left() {
    for side in [Side::User, Side::Network] {
        let Some(mut cable) = quiet(side, Dialect::Ni2) else { return };
        let call = cable.talks();
        // libpri gives its calls up after 6 s without a link, we wait for 90; then we ask, and hear that it forgot.
        cable.forget();
        cable.loss = 100;
        cable.run(cable.now + 40_000);
        assert!(!cable.released(call), "{:?}", words(&cable));
        cable.loss = 0;
        assert!(cable.comes(30_000, |cable| cable.released(call)), "{:?}", cable.told);
        println!("{side:?}: libpri told {:?}, our call {:?}", cable.events, words(&cable));
        assert!(cable.comes(1000, Cable::all_idle) && cable.out_and_down(true, 1000), "{:?}", cable.events);
    }
}
