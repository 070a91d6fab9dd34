//! Transfers by the thousand: whatever crosses whatever, over wires that lose datagrams, nothing is left over. And a
//! transfer that reaches nobody leaves the two who talk as they are, unless one of them hung up, fell silent or had its
//! place taken.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;
use crate::cause::Release;

/// What somebody may do next.
const DEEDS: u64 = 18;

struct Crossing {
    world: World,
    dice: Random,
    /// The first call's two telephones.
    pair: (Id, Id),
    /// Who hung up, or had its place taken by an INVITE with Replaces.
    parted: BTreeSet<Id>,
}

fn configs() -> Vec<Arc<Config>> {
    let refers = "[TrunkConfiguration]\nEnableReferSupport=True";
    let allowed = "[Gateway3]\nAcceptRefer=True";
    vec![ini(&[allowed]), ini(&[refers, allowed]), with_music(ini(&[])), ini(&["[Lync]\nProfile=teams", refers])]
}

impl Crossing {
    fn begin(seed: u64, config: Arc<Config>) -> Crossing {
        let mut world = World::with(config);
        world.random = Random::test(seed + 7);
        world.takes_refer = !seed.is_multiple_of(3);
        let (from, to) = [(LYNC, GW1), (LYNC, GW3), (GW1, LYNC), (GW3, LYNC)][seed as usize / 4 % 4];
        let pair = world.talk(from, to);
        world.loss = 10;
        Crossing { world, dice: Random::test(seed), pair, parted: BTreeSet::new() }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.dice.below(limit as u64) as usize
    }

    /// One of them all does one thing.
    fn step(&mut self) {
        let id = self.below(self.world.phones.len());
        let trunk = self.world.phones[id].trunk;
        let sdp = if trunk == LYNC { secret("0 8") } else { plain("0 8") };
        let world = &mut self.world;
        match self.dice.below(DEEDS) {
            0..=2 => {
                let targets = ["sip:bob@contoso.com", "sip:+442075550100@ms1.contoso.com", "tel:+13125550111"];
                let target = targets[self.dice.below(3) as usize];
                let (a, b) = self.pair;
                let by = if self.dice.below(4) == 0 { b } else { a };
                world.ask(by, Method::Refer, &format!("Refer-To: <{target}>\n"), "");
            }
            3 => {
                world.refers_to_call(self.pair.0, "bob@contoso.com", id);
            }
            4 => _ = world.talk_again(),
            5 => {
                let loss = std::mem::take(&mut world.loss);
                let new = world.invite_to(trunk, "+13125556789", &format!("Replaces: {}\n", world.naming(id)), &sdp);
                world.loss = loss;
                if world.phones[new].told.iter().any(|response| response.status() == Some(200)) {
                    self.parted.insert(id);
                }
            }
            6 => {
                self.parted.insert(id);
                world.ask(id, Method::Bye, "", "");
            }
            7..=10 if world.phones[id].asked.contains_key(&Method::Invite) && !world.phones[id].done => {
                let status = [180, 183, 200, 200, 200, 486, 503, 429][self.dice.below(8) as usize];
                world.answer(id, status, if status == 200 || status == 183 { &sdp } else { "" });
            }
            11 if world.phones[id].asked.contains_key(&Method::Refer) => {
                let status = [202, 202, 405, 603][self.dice.below(4) as usize];
                world.reply(id, Method::Refer, status, "far", "", "");
            }
            12 if world.phones[id].asked.contains_key(&Method::Refer) => {
                let (line, state) = [("180 x", "active"), ("200 OK", "terminated"), ("486 x", "terminated")]
                    [self.dice.below(3) as usize];
                let headers = format!("Event: refer\nSubscription-State: {state}\nContent-Type: message/sipfrag\n");
                world.ask(id, Method::Notify, &headers, &format!("SIP/2.0 {line}\r\n"));
            }
            13 => {
                world.ask(id, Method::Invite, "", &going(["inactive", "sendrecv"][self.dice.below(2) as usize], &sdp))
            }
            14 => world.ack(id, ""),
            // Somebody whom the transferor calls, and who rings.
            16 => {
                world.invite_to(LYNC, "+13125556789", "", &secret("0 8"));
                let rung = world.rung(GW1);
                if !world.phones[rung].done {
                    world.answer(rung, 180, "");
                }
            }
            15 => world.hears_notify = !world.hears_notify,
            _ => world.pass(Duration::from_millis(self.dice.below(9000))),
        }
    }

    /// Everybody does what it owes the switch, and nobody is reached by a transfer that still runs.
    fn nobody_is_reached(&mut self) {
        let (a, b) = self.pair;
        let world = &mut self.world;
        (world.loss, world.hears_notify) = (0, true);
        for _ in 0..3 {
            for id in 0..world.phones.len() {
                world.ack(id, "");
                if world.phones[id].asked.contains_key(&Method::Notify) {
                    world.reply(id, Method::Notify, 200, "far", "", "");
                }
                if world.phones[id].asked.contains_key(&Method::Refer) {
                    world.reply(id, Method::Refer, 603, "far", "", "");
                    let ended = "Event: refer\nSubscription-State: terminated\nContent-Type: message/sipfrag\n";
                    world.ask(id, Method::Notify, ended, "SIP/2.0 486 Busy Here\r\n");
                }
                let stays = id == a || id == b;
                // What it said before may be lost.
                if world.phones[id].asked.contains_key(&Method::Invite) && world.phones[id].owes[0].is_some() {
                    let sdp = if world.phones[id].trunk == LYNC { secret("0 8") } else { plain("0 8") };
                    world.answer(id, if stays { 200 } else { 486 }, if stays { &sdp } else { "" });
                }
            }
            world.pass(seconds(5));
        }
    }

    /// Did a transfer come to this end?
    fn came_to(&self, end: impl Fn(TransferResult) -> bool) -> bool {
        self.world.reports.iter().any(|report| matches!(report, Report::Transfer { result, .. } if end(*result)))
    }

    /// Why the first call is over, if it is.
    fn over(&self) -> Option<&Release> {
        let first = self.world.reports.iter().find_map(|report| match report {
            Report::Began { call, .. } => Some(call.clone()),
            _ => None,
        });
        self.world.reports.iter().find_map(|report| match report {
            Report::Ended(end) if Some(&end.call) == first.as_ref() => Some(&end.release),
            _ => None,
        })
    }

    /// A transfer that reached nobody left the first call as it was: it is up unless one of the two hung up, had its
    /// place taken, or let the switch wait in vain. Was there anything to keep?
    fn is_kept(&mut self) -> bool {
        let (a, b) = self.pair;
        if self.came_to(|end| end == TransferResult::Reached) || [a, b].iter().any(|id| self.parted.contains(id)) {
            return false;
        }
        if let Some(release) = self.over() {
            assert!(self.world.failed(a) || self.world.failed(b), "nobody failed: {}", release.why);
            return false;
        }
        self.talks();
        self.came_to(|end| end != TransferResult::Reached)
    }

    /// The two who began still talk with each other: what one of them presses goes to the other.
    fn talks(&mut self) {
        let (a, b) = self.pair;
        let first = SessionId(1);
        let world = &mut self.world;
        assert_eq!(world.ports.get(&first), Some(&Ports::Open), "the ports are gone");
        let encrypted =
            world.sessions[&first].sides.each_ref().map(|side| side.as_ref().map(|side| side.srtp.is_some()));
        assert_eq!(encrypted, [a, b].map(|id| Some(world.phones[id].trunk == LYNC)), "somebody else sits there");
        for id in [a, b] {
            world.seen();
            world.ask(id, Method::Info, "Content-Type: application/dtmf-relay\n", "Signal=5\r\nDuration=160\r\n");
            assert_eq!(world.phones[id].told.last().and_then(Message::status), Some(200), "the dialog is gone");
            assert!(world.seen().contains(":5:160"), "the other side does not hear it");
        }
    }

    fn end(mut self) -> World {
        self.world.loss = 0;
        self.world.happens(Event::ReleaseAll);
        self.world.rest();
        self.world
    }
}

impl World {
    /// One more call of Microsoft's to a gateway, answered.
    fn talk_again(&mut self) -> (Id, Id) {
        let loss = std::mem::take(&mut self.loss);
        let pair = self.talk(LYNC, GW1);
        self.loss = loss;
        pair
    }
}

/// Counts to which end each transfer of one scenario came, and whether the call had to outlive it.
fn cross(seed: u64, config: Arc<Config>, ends: &mut BTreeMap<String, usize>) {
    let mut crossing = Crossing::begin(seed, config);
    for _ in 0..14 {
        crossing.step();
    }
    crossing.nobody_is_reached();
    *ends.entry("kept".to_owned()).or_default() += usize::from(crossing.is_kept());
    for report in crossing.end().reports {
        match report {
            Report::Transfer { mode, result, .. } => {
                *ends.entry(format!("{} {}", mode.text(), result.text())).or_default() += 1;
            }
            Report::Note { text, .. } => {
                assert!(!text.contains("a fault in our own"), "{text}");
                *ends.entry("rang already".to_owned()).or_default() += usize::from(text.contains("that rings"));
            }
            _ => {}
        }
    }
}

/// So many scenarios; the one that fails is named.
fn walk(scenarios: u64) -> BTreeMap<String, usize> {
    let configs = configs();
    let mut ends = BTreeMap::new();
    for seed in 0..scenarios {
        let config = configs[seed as usize % configs.len()].clone();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| cross(seed, config, &mut ends))) {
            eprintln!("that was seed {seed}");
            resume_unwind(panic);
        }
    }
    ends
}

#[test]
fn whatever_crosses_a_transfer_nothing_is_left() {
    let ends = walk(2000);
    for mode in ["handled", "passed", "taken-over"] {
        for result in ["reached", "failed", "abandoned"] {
            assert!(ends.contains_key(&format!("{mode} {result}")), "{mode} {result} was never walked: {ends:?}");
        }
    }
    assert!(ends["rang already"] > 0, "nobody was taken over while it rang: {ends:?}");
    assert!(ends["kept"] > 400, "few calls had a failed transfer to outlive: {ends:?}");
}

/// `cargo test --release --lib crossings -- --ignored --nocapture`; so many scenarios by the time that it takes is the figure.
#[test]
#[ignore = "takes minutes: a million scenarios"]
fn a_million() {
    println!("{:?}", walk(1_000_000));
}
