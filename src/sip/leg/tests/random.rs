//! Anything at any time: a leg neither panics nor speaks out of turn nor lives forever.

use super::*;
use crate::cause::Release;

fn pick<T: Clone>(dice: &mut Random, of: &[T]) -> T {
    of[dice.below(of.len() as u64) as usize].clone()
}

fn body(dice: &mut Random) -> String {
    let formats = pick(dice, &["0 8", "8", "0", "18", "101"]);
    let direction = pick(dice, &["sendrecv", "inactive", "sendonly", "recvonly"]);
    let port = pick(dice, &[0, 5000, 6000]);
    pick(dice, &[String::new(), usual(), sdp(port, formats, direction), "v=0\r\nrubbish".into()])
}

fn an_order(dice: &mut Random) -> Order {
    let fork = Fork(dice.below(4) as u16);
    let terms = pick(dice, &[terms(), held(), Terms { codecs: vec![Codec::Pcma], ..terms() }]);
    match dice.below(7) {
        0 => Order::Progress { stage: Stage::Ringing, fork, terms: None, told: Box::default() },
        1 => Order::Progress { stage: Stage::InBand, fork, terms: Some(terms), told: Box::default() },
        2 => Order::Progress { stage: Stage::Other(dice.below(700) as u16), fork, terms: None, told: Box::default() },
        3 => Order::Answer { terms, fork, told: Box::default() },
        4 => Order::Change(terms),
        5 => Order::Grant(terms),
        _ => Order::Deny(Release::refused(488, None, "")),
    }
}

fn something(bench: &mut Bench, dice: &mut Random) {
    const METHODS: [Method; 8] = {
        use Method::{Info, Invite, Options, Prack, Refer, Update};
        [Invite, Update, Prack, Invite, Update, Options, Refer, Info]
    };
    let more =
        pick(dice, &["", "Session-Expires: 90\nSupported: timer\n", "RAck: 1 10 INVITE\n", "RAck: 2 10 INVITE\n"]);
    let body = body(dice);
    match dice.below(12) {
        0..=3 => {
            let order = an_order(dice);
            bench.order(order);
        }
        4..=5 => bench.peer(pick(dice, &METHODS), more, &body),
        6 => bench.ack(pick(dice, &[bench.cseq, 10]), &body),
        7 => {
            bench.pass(Duration::from_millis(dice.below(20_000)));
        }
        8 if dice.below(8) == 0 => bench.cancel(""),
        9 if dice.below(16) == 0 => bench.peer(Method::Bye, "", ""),
        _ => {
            let method = pick(dice, &[Method::Invite, Method::Invite, Method::Update, Method::Bye, Method::Prack]);
            let status = pick(dice, &[100, 180, 183, 183, 200, 200, 422, 481, 486, 491, 500, 302]);
            let more = pick(dice, &["", "Require: 100rel\nRSeq: 1\n", "Require: 100rel\nRSeq: 2\n", "Min-SE: 1800\n"]);
            let tag = pick(dice, &["far", "far", "two", ""]);
            if bench.sent.iter().any(|message| message.is(method)) {
                bench.reply(method, status, tag, more, &body);
            }
        }
    }
}

#[test]
fn whatever_happens_a_leg_ends_and_ends_once() {
    let mut endings = [0; 2];
    for seed in 0..600 {
        let mut dice = Random::test(seed);
        let kind = pick(&mut dice, &[TrunkKind::Gateway, MICROSOFT]);
        let mut trunk = trunk(kind);
        trunk.switches.enable_session_timer = seed % 3 == 0;
        trunk.switches.max_early_dialogs = pick(&mut dice, &[1, 2, 20]);
        let first =
            pick(&mut dice, &["", "Supported: 100rel\n", "Require: 100rel\nSupported: timer\nSession-Expires: 90\n"]);
        let offer = pick(&mut dice, &[usual(), String::new()]);
        let mut bench = if seed % 2 == 0 { Bench::calling(trunk) } else { Bench::called(trunk, invite(first, &offer)) };
        for _ in 0..40 {
            something(&mut bench, &mut dice);
        }
        bench.order(Order::Release(Release::normal("")));
        let said = bench.words.len();
        bench.pass(seconds(300));
        assert!(bench.leg.is_over(), "seed {seed}");
        assert_eq!(bench.words.len(), said, "seed {seed}: a word after the release");
        let releases = bench.words.iter().filter(|word| matches!(word, Word::Released(_))).count();
        assert!(releases <= 1, "seed {seed}");
        let last = matches!(bench.words.last(), Some(Word::Released(_)));
        assert!(releases == 0 || last, "seed {seed}: a word after the leg was over");
        endings[releases] += 1;
    }
    assert!(endings.iter().all(|count| *count > 50), "both endings were tried: {endings:?}");
}
