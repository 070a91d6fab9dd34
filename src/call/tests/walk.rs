//! Many calls at once with peers that do as they please, over wires that lose datagrams: when all is
//! over nothing is left, and nothing panicked.

use super::*;
use crate::session::Side;
use crate::time::soonest;

/// What somebody will do.
#[derive(Clone, Debug)]
enum Deed {
    /// Call from one trunk to a number.
    Call(TrunkId, &'static str),
    /// Answer the INVITE with this branch, under this tag.
    Answer {
        id: Id,
        branch: String,
        status: u16,
        tag: &'static str,
        body: String,
    },
    Ack(Id),
    Cancel(Id),
    Change(Id, &'static str),
    Refer(Id, &'static str),
    /// Refer the one's partner to the other's.
    Consulted(Id, Id),
    /// Take a telephone's place.
    Replace(Id),
    /// Answer the REFER with this branch.
    Refuse(Id, String, u16),
    /// Place the call that it asked for.
    Place(TrunkId, String),
    /// Tell of it.
    Tell(Id, &'static str),
    Bye(Id),
    /// A trunk becomes unreachable, or all are reachable.
    Cut(Option<TrunkId>),
    Silent(SessionId, Side),
    Wake,
    Reload(Arc<Config>),
}

struct Walk {
    world: World,
    dice: Random,
    agenda: BTreeMap<(Instant, usize), Deed>,
    planned: usize,
    /// Of each telephone: the INVITEs it has thought about, and how many answers it has read.
    thought: Vec<(BTreeSet<String>, usize)>,
}

/// Gateways may be asked to transfer.
const REFERS: &str = "[TrunkConfiguration]\nEnableReferSupport=True";

fn busy_ini(more: &[&str]) -> Arc<Config> {
    let asks = ["[TrunkConfiguration]\nOptionsInterval=60s", "[Gateway2]\nMaxCalls=20", "[Gateway3]\nAcceptRefer=True"];
    ini(&[&asks, more].concat())
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let plain = busy_ini(&[]);
        let plain = match seed % 4 {
            0 | 3 => plain,
            _ => busy_ini(&[REFERS]),
        };
        let mut world = World::with(if seed.is_multiple_of(2) { plain } else { with_music(plain) });
        world.random = Random::test(seed + 1000);
        world.loss = 10;
        world.takes_refer = true;
        Walk { world, dice: Random::test(seed), agenda: BTreeMap::new(), planned: 0, thought: Vec::new() }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.dice.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.dice.below(of.len() as u64) as usize].clone()
    }

    /// Something will be done within this many milliseconds.
    fn plan(&mut self, within: u64, deed: Deed) {
        let at = self.world.now.mono + Duration::from_millis(self.dice.below(within.max(1)));
        self.planned += 1;
        self.agenda.insert((at, self.planned), deed);
    }

    fn plan_calls(&mut self, calls: usize) {
        let ways = [(LYNC, "+13125556789"), (LYNC, "+442075550100"), (GW1, "+49305550"), (GW3, "+49305550")];
        for _ in 0..calls {
            let (from, number) = self.pick(&ways);
            self.plan(120_000, Deed::Call(from, number));
        }
        for _ in 0..12 {
            let cut = self.pick(&[None, None, Some(GW1), Some(LYNC), Some(GW3)]);
            self.plan(120_000, Deed::Cut(cut));
        }
        for config in
            [busy_ini(&["[Gateway1]\nIP=192.0.2.99", REFERS]), ini_without(&["[Gateway2]"]), busy_ini(&[REFERS])]
        {
            self.plan(120_000, Deed::Reload(config));
        }
    }

    /// Until nobody plans anything and no timer runs for the next while.
    fn go(&mut self, time: Duration) {
        let end = self.world.now.mono + time;
        loop {
            let planned = self.agenda.keys().next().map(|(at, _)| *at);
            match soonest(planned, self.world.switch.timeout()) {
                Some(at) if at > end => break,
                None => break,
                Some(at) if planned == Some(at) => {
                    self.world.now = self.world.now.after(at.since(self.world.now.mono));
                    let Some((_, deed)) = self.agenda.pop_first() else { break };
                    self.world.rude = self.chance(20);
                    self.act(deed);
                }
                Some(at) => self.world.tick(at),
            }
            self.think();
        }
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Call(from, number) => self.call(from, number),
            Deed::Answer { id, branch, status, tag, body } => {
                let phone = &self.world.phones[id];
                let current = phone.asked[&Method::Invite].via().unwrap().branch() == branch;
                if current && !phone.done {
                    self.world.reply(id, Method::Invite, status, tag, "", &body);
                }
            }
            Deed::Ack(id) => self.world.ack(id, ""),
            Deed::Cancel(id) => self.world.cancel(id),
            Deed::Change(id, direction) => {
                let body = going(direction, &sdp_of(self.world.phones[id].trunk));
                self.world.ask(id, Method::Invite, "", &body);
            }
            Deed::Refer(id, target) => {
                self.world.hears_notify = self.chance(80);
                let target = format!("Refer-To: <{target}>\nReferred-By: <sip:alice@contoso.com>\n");
                self.world.ask(id, Method::Refer, &target, "");
            }
            Deed::Consulted(id, other) => {
                self.world.refers_to_call(id, "+13125550111@ms1.contoso.com", other);
            }
            Deed::Replace(id) => {
                let (trunk, replaces) = (self.world.phones[id].trunk, self.world.naming(id));
                self.world.invite_to(trunk, "+13125556789", &format!("Replaces: {replaces}\n"), &sdp_of(trunk));
            }
            Deed::Refuse(id, branch, status) => {
                if self.world.phones[id].asked[&Method::Refer].via().unwrap().branch() == branch {
                    self.world.reply(id, Method::Refer, status, "far", "", "");
                }
            }
            Deed::Place(trunk, user) => _ = self.world.invite_to(trunk, &user, "", &sdp_of(trunk)),
            Deed::Tell(id, line) => {
                let last = if line.starts_with('1') { "active" } else { "terminated" };
                let headers = format!("Event: refer\nSubscription-State: {last}\nContent-Type: message/sipfrag\n");
                self.world.ask(id, Method::Notify, &headers, &format!("SIP/2.0 {line}\r\n"));
            }
            Deed::Bye(id) => self.world.ask(id, Method::Bye, "", ""),
            Deed::Cut(trunk) => self.world.unreachable = trunk.into_iter().collect(),
            Deed::Silent(id, side) => self.world.media_says(MediaReport::Silent(id, side, seconds(30))),
            Deed::Wake => self.world.engine_wakes(),
            Deed::Reload(config) => self.world.reload(config),
        }
    }

    fn call(&mut self, from: TrunkId, number: &str) {
        if self.world.engine != Engine::Sleeps {
            self.world.engine =
                self.pick(&[[Engine::Opens; 8].as_slice(), &[Engine::Refuses, Engine::Sleeps]].concat());
        }
        if self.world.engine == Engine::Sleeps {
            self.plan(2_000, Deed::Wake);
        }
        let offer = if self.chance(10) { String::new() } else { sdp_of(from) };
        let more = if self.chance(50) { "Supported: timer\nSession-Expires: 90\n" } else { "" };
        let id = self.world.invite_to(from, number, more, &offer);
        if self.chance(25) {
            self.plan(15_000, Deed::Cancel(id));
        }
    }

    /// Telephones look at what reached them, and plan.
    fn think(&mut self) {
        self.thought.resize(self.world.phones.len(), Default::default());
        for id in 0..self.world.phones.len() {
            let phone = &self.world.phones[id];
            if let Some(invite) = phone.asked.get(&Method::Invite) {
                let (branch, again) = (invite.via().unwrap().branch().to_owned(), invite.tag(Name::To).is_some());
                if self.thought[id].0.insert(branch.clone()) {
                    if again { self.plan_change(id, branch) } else { self.plan_answer(id, branch) }
                }
            }
            if let Some(refer) = self.world.phones[id].asked.get(&Method::Refer) {
                let branch = refer.via().unwrap().branch().to_owned();
                let user = refer.address(Name::ReferTo).unwrap().uri.user().unwrap_or_default().to_owned();
                if self.thought[id].0.insert(branch.clone()) {
                    self.plan_referred(id, branch, user);
                }
            }
            let read = std::mem::replace(&mut self.thought[id].1, self.world.phones[id].told.len());
            let told = &self.world.phones[id].told[read..];
            let accepts = |told: &Message| told.status() == Some(200) && told.cseq().unwrap().method == Method::Invite;
            if told.iter().any(accepts) {
                self.plan_talk(id);
            }
        }
    }

    /// A call rings.
    fn plan_answer(&mut self, id: Id, branch: String) {
        let body = sdp_of(self.world.phones[id].trunk);
        let answer =
            |status, tag, body: &str| Deed::Answer { id, branch: branch.clone(), status, tag, body: body.to_owned() };
        if self.chance(80) {
            self.plan(100, answer(100, "far", ""));
        }
        let tag = self.pick(&["far", "two"]);
        if self.chance(90) {
            self.plan(4_000, answer(180, "far", ""));
        }
        if self.chance(40) {
            self.plan(8_000, answer(183, tag, &body));
        }
        match self.dice.below(10) {
            0 => {}
            1..=2 => {
                let status = self.pick(&[486, 404, 480, 603, 503, 500, 302]);
                self.plan(9_000, answer(status, "far", ""));
            }
            3 => {
                let bad = self.pick(&[String::new(), "v=0\r\n".to_owned(), plain("18")]);
                self.plan(9_000, answer(200, "far", &bad));
            }
            _ => self.plan(12_000, answer(200, tag, &body)),
        }
    }

    /// A change is asked for.
    fn plan_change(&mut self, id: Id, branch: String) {
        let invite = self.world.asked(id, Method::Invite);
        let offer = String::from_utf8_lossy(invite.body()).into_owned();
        let direction = if offer.contains("inactive") { "inactive" } else { "sendrecv" };
        let body = going(direction, &sdp_of(self.world.phones[id].trunk));
        let status = self.pick(&[200, 200, 200, 200, 491, 488, 500, 481, 0]);
        let body = if status == 200 { body } else { String::new() };
        if status > 0 {
            self.plan(2_000, Deed::Answer { id, branch, status, tag: "far", body });
        }
    }

    /// A gateway is asked to place a call.
    fn plan_referred(&mut self, id: Id, branch: String, user: String) {
        let status = self.pick(&[202, 202, 202, 200, 405, 603, 0]);
        if status > 0 {
            self.plan(6_000, Deed::Refuse(id, branch, status));
        }
        if status < 300 {
            self.plan(9_000, Deed::Tell(id, "180 Ringing"));
            self.plan(9_000, Deed::Place(self.world.phones[id].trunk, user));
            let last = self.pick(&["200 OK", "200 OK", "486 Busy Here", "100 Trying"]);
            self.plan(20_000, Deed::Tell(id, last));
        }
    }

    /// The call is answered, or a change is.
    fn plan_talk(&mut self, id: Id) {
        if self.chance(95) {
            self.plan(300, Deed::Ack(id));
        }
        let session = self.world.session();
        let phone = &self.world.phones[id];
        // The other end, or whoever: a request out of place is part of the game.
        let other = self.world.phones.iter().rposition(|other| other.trunk != phone.trunk && other.done).unwrap_or(id);
        for _ in 0..self.dice.below(3) {
            let (who, direction) = (self.pick(&[id, other]), self.pick(&["inactive", "sendonly", "sendrecv"]));
            self.plan(20_000, Deed::Change(who, direction));
        }
        if self.chance(90) {
            let targets = ["sip:bob@contoso.com", "sip:+13125550111@ms1.contoso.com", "tel:+442075550100", "tel:0"];
            let (who, target) = (self.pick(&[id, other]), self.pick(&targets));
            self.plan(20_000, Deed::Refer(who, target));
            if self.chance(30) {
                self.plan(20_000, Deed::Bye(who));
            }
        }
        if self.chance(20) {
            let second = self.dice.below(self.world.phones.len() as u64) as usize;
            self.plan(10_000, Deed::Consulted(id, second));
        }
        if self.chance(10) {
            self.plan(10_000, Deed::Replace(id));
        }
        match self.dice.below(10) {
            0..=3 => self.plan(40_000, Deed::Bye(id)),
            4..=6 => self.plan(40_000, Deed::Bye(other)),
            7 => {
                self.plan(1, Deed::Bye(id));
                self.plan(1, Deed::Bye(other));
            }
            8 => {
                let side = self.pick(&Side::BOTH);
                self.plan(40_000, Deed::Silent(session, side));
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_peers_do_nothing_is_left() {
    let mut results: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..4 {
        let mut walk = Walk::new(seed);
        walk.plan_calls(300);
        walk.go(seconds(300));
        let most = walk.world.began;
        assert!(most > 200, "seed {seed}: only {most} calls began");
        walk.world.unreachable.clear();
        walk.world.happens(Event::ReleaseAll);
        walk.world.reload(ini(&[]));
        walk.go(seconds(300));
        walk.world.rest();
        for report in &walk.world.reports {
            if let Report::Ended(end) = report {
                *results.entry(end.result()).or_default() += 1;
            }
            if let Report::Transfer { mode, result, .. } = report {
                let way = match result {
                    TransferResult::Reached => "transfer reached",
                    TransferResult::Failed => "transfer failed",
                    TransferResult::Abandoned => "transfer abandoned",
                };
                *results.entry(way).or_default() += 1;
                *results.entry(mode.text()).or_default() += 1;
            }
            let fault = matches!(report, Report::Note { text, .. } if text.contains("a fault in our own program"));
            assert!(!fault, "seed {seed}: a call panicked");
        }
    }
    for way in ["transfer reached", "transfer failed", "transfer abandoned", "handled", "passed", "taken-over"] {
        assert!(results.contains_key(way), "{results:?}");
    }
    assert_eq!(results.len(), 12, "{results:?}");
    assert!(results.values().all(|count| *count >= 5), "every way of ending was walked: {results:?}");
}
