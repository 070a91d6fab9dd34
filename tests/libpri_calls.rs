//! What calls say and what becomes of them, with libpri as the far end, in virtual time: both roles, every dialect, both ways.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use demarc::cause::Cause;
use demarc::isdn::call::{Order, Setup, Word};
use demarc::isdn::line::{Line, Output, Report};
use demarc::private::Private;
use demarc::session::Codec;
use demarc::wire::q931::{Bearer, Calling, Dialect, Message, Name, Number, NumberType, Party, Shown, Side};

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
    for (dialect, side) in
        Dialect::ALL.into_iter().flat_map(|dialect| [(dialect, Side::User), (dialect, Side::Network)])
    {
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

#[test]
fn after_an_outage_both_ends_agree_on_what_is_left() {
    for side in [Side::User, Side::Network] {
        let Some(mut cable) = quiet(side, Dialect::Ni2) else { return };
        let call = cable.calls();
        cable.run(cable.now + 50);
        let theirs = cable.last("ring", "call").unwrap().to_owned();
        cable.orders(&format!("answer {theirs}"));
        cable.run(cable.now + 50);
        assert!(cable.answered(call));
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
