//! Two calls that an exchange shall join: libpri asks our exchange for it in every dialect, and answers where it can.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use demarc::exchange::{Exchange, Output};
use demarc::isdn::line::{self, Line, Report, Unjoined};
use demarc::isdn::timeslots::CallId;
use demarc::time::Instant;
use demarc::tone::COUNTRIES;
use demarc::wire::q931::{Dialect, Side};

mod lab;

use lab::{Cable, Ours, terms};

impl Ours for Exchange {
    type Output = Output;

    fn start(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.span(now, 0, true, out);
    }

    fn timeout(&self) -> Option<Instant> {
        self.timeout()
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.tick(now, out);
    }

    fn receive(&mut self, now: Instant, octets: &[u8], out: &mut Vec<Output>) {
        self.receive(now, 0, octets, out);
    }

    fn frame(output: Output) -> Result<Vec<u8>, Output> {
        match output {
            Output::Frame { octets, .. } => Ok(octets),
            told => Err(told),
        }
    }
}

/// Two calls of ours to libpri that are up: in our words and in libpri's.
fn two_calls(cable: &mut Cable<Line>) -> [(CallId, String); 2] {
    [(); 2].map(|()| {
        cable.events.clear();
        let call = cable.calls();
        assert!(cable.comes(1000, |cable| cable.last("ring", "call").is_some()));
        let theirs = cable.last("ring", "call").unwrap().to_owned();
        cable.takes(&theirs);
        assert!(cable.answered(call));
        (call, theirs)
    })
}

fn joined(cable: &Cable<Line>) -> Option<Result<(), Unjoined>> {
    cable.told.iter().find_map(|told| match told {
        line::Output::Joined { outcome, .. } => Some(*outcome),
        _ => None,
    })
}

fn no_rule_was_broken(cable: &Cable<Line>) {
    assert!(!cable.reported(|report| matches!(report, Report::Call { .. })), "{:?}", cable.told);
}

#[test]
fn libpri_joins_two_calls_by_explicit_call_transfer_or_refuses() {
    let refused = "the exchange refuses: it is not available";
    for (answer, expected) in [("yes", None), ("no", Some(refused))] {
        let Some(mut cable) = Cable::up(Side::User, ("euroisdn", Dialect::EuroIsdn), 0, 1) else { return };
        let [(a, first), (b, second)] = two_calls(&mut cable);
        cable.act(|line, now, out| line.join(now, [a, b], out)).unwrap();
        assert!(cable.comes(1000, |cable| cable.last("join", "id").is_some()), "{:?}", cable.events);
        assert_eq!(["call", "with"].map(|key| cable.last("join", key).unwrap()), [&first, &second]);
        let id = cable.last("join", "id").unwrap().to_owned();
        cable.orders(&format!("joined {first} {id} {answer}"));
        if expected.is_none() {
            // The result comes with DISCONNECT.
            cable.orders(&format!("hangup {first} 16"));
            cable.orders(&format!("hangup {second} 16"));
        }
        assert!(cable.comes(1000, |cable| joined(cable).is_some()), "{:?}", cable.told);
        let why = joined(&cable).unwrap().err().map(|why| why.to_string());
        assert_eq!(why.as_deref(), expected);
        for call in [a, b] {
            cable.hangs_up(call);
        }
        assert!(cable.comes(5000, Cable::all_idle));
        no_rule_was_broken(&cable);
    }
}

/// libpri serves no two B-channel transfer, and replaces no path by itself.
#[test]
fn a_libpri_that_joins_no_calls_leaves_them_alone() {
    for dialect in [Dialect::Ni2, Dialect::Ess5, Dialect::Ess4, Dialect::Qsig] {
        let Some(mut cable) = Cable::up(Side::User, (dialect.name(), dialect), 0, 1) else { return };
        let [(a, _), (b, _)] = two_calls(&mut cable);
        cable.act(|line, now, out| line.join(now, [a, b], out)).unwrap();
        cable.run(cable.now + 31_000);
        assert_eq!(joined(&cable), Some(Err(Unjoined::Silent)), "{dialect:?}: {:?}", cable.told);
        assert!(cable.ours.is_active(a) && cable.ours.is_active(b), "{dialect:?}");
        no_rule_was_broken(&cable);
    }
}

#[test]
fn our_exchange_joins_two_calls_of_libpris() {
    for dialect in Dialect::ALL {
        for (number, joins) in [("3125552000", true), ("3125557001", false)] {
            let exchange = Exchange::new(terms(Side::Network, dialect, 1), &COUNTRIES[0]);
            let Some(mut cable) = Cable::new(exchange, Side::Network, dialect.name(), 0, 1) else { return };
            assert!(cable.comes(60_000, |cable| cable.libpri_is_up));
            cable.run(cable.now + 1000);
            let calls = [3, 4].map(|timeslot| {
                cable.events.clear();
                cable.orders(&format!("dial {timeslot} any {number} 4255550100"));
                assert!(cable.comes(5000, |cable| cable.last("answer", "call").is_some()), "{:?}", cable.events);
                cable.last("answer", "call").unwrap().to_owned()
            });
            cable.events.clear();
            cable.orders(&format!("join {} {}", calls[0], calls[1]));
            cable.run(cable.now + 1000);
            let ended = calls.iter().filter(|call| {
                let ended = format!("disconnect call={call} ");
                cable.events.iter().any(|event| event.starts_with(&ended) && event.ends_with("cause=16"))
            });
            let busy = if joins { 0 } else { 2 };
            assert_eq!(ended.count(), 2 - busy, "{dialect:?}: {:?}", cable.events);
            let line = cable.ours.line();
            assert_eq!(line.free() + busy, line.timeslots().count() - 1, "{dialect:?}");
            assert!(cable.complaints.is_empty(), "{dialect:?}: {:?}", cable.complaints);
        }
    }
}
