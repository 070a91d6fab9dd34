//! Transfers by the thousand: whatever crosses whatever, over wires that lose datagrams, nothing is left over.

use super::*;

/// What somebody may do next.
const DEEDS: u64 = 17;

struct Crossing {
    world: World,
    dice: Random,
    /// The first call's two telephones.
    pair: (Id, Id),
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
        Crossing { world, dice: Random::test(seed), pair }
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
                let replaces = world.naming(id).replace(';', "%3B").replace('=', "%3D");
                let by = self.pair.0;
                world.ask(by, Method::Refer, &format!("Refer-To: <sip:bob@contoso.com?Replaces={replaces}>\n"), "");
            }
            4 => _ = world.talk_again(),
            5 => _ = world.invite_to(trunk, "+13125556789", &format!("Replaces: {}\n", world.naming(id)), &sdp),
            6 => world.ask(id, Method::Bye, "", ""),
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
            15 => world.hears_notify = !world.hears_notify,
            _ => world.pass(Duration::from_millis(self.dice.below(9000))),
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

/// Of so many scenarios, how many transfers came to which end.
fn walk(scenarios: u64) -> BTreeMap<String, usize> {
    let configs = configs();
    let mut ends = BTreeMap::new();
    for seed in 0..scenarios {
        let mut crossing = Crossing::begin(seed, configs[seed as usize % configs.len()].clone());
        for _ in 0..14 {
            crossing.step();
        }
        for report in crossing.end().reports {
            match report {
                Report::Transfer { mode, result, .. } => {
                    *ends.entry(format!("{} {}", mode.text(), result.text())).or_default() += 1;
                }
                Report::Note { text, .. } => assert!(!text.contains("a fault in our own"), "seed {seed}: {text}"),
                _ => {}
            }
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
}

/// `cargo test --release --lib crossings -- --ignored --nocapture`; so many scenarios by the time that it takes is the figure.
#[test]
#[ignore = "takes minutes: a million scenarios"]
fn a_million() {
    println!("{:?}", walk(1_000_000));
}
