//! Two legs of ours call each other over UDP that loses messages.

use std::net::SocketAddr;

use super::*;
use crate::cause::Release;
use crate::time::Instant;

/// One end: a leg on its transactions, and what its call does with its words.
struct End {
    transactions: Transactions<RequestId>,
    leg: Option<Leg>,
    clients: HashMap<RequestId, ClientId>,
    trunk: Arc<Trunk>,
    flow: Flow,
    caller: bool,
    words: Vec<Word>,
}

/// A message on its way to the other end.
struct OnTheWay {
    at: Instant,
    to: usize,
    message: Message,
}

struct Pair {
    now: Now,
    random: Random,
    ends: [End; 2],
    wire: Vec<OnTheWay>,
    /// Of 100 messages, so many are lost.
    loss: u64,
    /// When the called end answers.
    answer: Option<Instant>,
}

impl End {
    fn new(caller: bool) -> End {
        let mut trunk = trunk(TrunkKind::Gateway);
        trunk.own_host = if caller { "192.0.2.1" } else { "192.0.2.2" }.into();
        trunk.own_port = 5060;
        let (own, other): (SocketAddr, SocketAddr) =
            ("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap());
        let (local, remote) = if caller { (own, other) } else { (other, own) };
        let flow = Flow { connection: 0, trunk: trunk.id, transport: Transport::Udp, local, remote };
        End {
            transactions: Transactions::default(),
            leg: None,
            clients: HashMap::new(),
            trunk: Arc::new(trunk),
            flow,
            caller,
            words: Vec::new(),
        }
    }

    /// Terms with a media port of its own.
    fn terms(&self, direction: Direction) -> Terms {
        Terms { local: SocketAddr::new(self.flow.local.ip(), 40_000), direction, ..terms() }
    }
}

impl Pair {
    fn new(seed: u64, loss: u64) -> Pair {
        let ends = [End::new(true), End::new(false)];
        let mut pair =
            Pair { now: Now::virtual_start(), random: Random::test(seed), ends, wire: Vec::new(), loss, answer: None };
        let mut out = Vec::new();
        let end = &mut pair.ends[0];
        let hop = Hop::Flow(end.flow);
        let parties = Parties { called: Private("+13125556789".into()), ..Parties::default() };
        let terms = end.terms(Direction::SendRecv);
        let leg = Leg::outgoing(pair.now, &mut pair.random, end.trunk.clone(), hop, &parties, &terms, &mut out);
        end.leg = Some(leg);
        pair.carry_out(0, out);
        pair
    }

    /// Until both ends have nothing left to do; true when the caller reached its goal.
    fn run(&mut self) -> bool {
        for _ in 0..5000 {
            let timers = self.ends.iter().flat_map(|end| {
                [end.transactions.timeout(), end.leg.as_ref().and_then(Leg::timeout)].into_iter().flatten()
            });
            let arrivals = self.wire.iter().map(|message| message.at);
            let Some(at) = timers.chain(arrivals).chain(self.answer).min() else { break };
            self.now = self.now.after(at.since(self.now.mono));
            self.deliver();
            if self.answer.take_if(|at| *at <= self.now.mono).is_some() {
                let terms = self.ends[1].terms(Direction::SendRecv);
                self.order(1, Order::Answer { terms, fork: Fork(0), told: Box::default() });
            }
            for end in 0..2 {
                self.tick(end);
            }
        }
        self.ends.iter().all(|end| end.leg.as_ref().is_none_or(Leg::is_over))
    }

    fn deliver(&mut self) {
        while let Some(next) = self.wire.iter().position(|message| message.at <= self.now.mono) {
            let OnTheWay { to, message, .. } = self.wire.swap_remove(next);
            let mut out = Vec::new();
            let end = &mut self.ends[to];
            end.transactions.receive(self.now, end.flow, message, &mut self.random, &mut out);
            self.route(to, out);
        }
    }

    fn tick(&mut self, at: usize) {
        let mut out = Vec::new();
        self.ends[at].transactions.tick(self.now, &mut out);
        self.route(at, out);
        let mut out = Vec::new();
        if let Some(leg) = &mut self.ends[at].leg {
            leg.tick(self.now, &mut self.random, &mut out);
        }
        self.carry_out(at, out);
    }

    fn order(&mut self, at: usize, order: Order) {
        let mut out = Vec::new();
        if let Some(leg) = &mut self.ends[at].leg {
            leg.order(self.now, &mut self.random, order, &mut out);
        }
        self.carry_out(at, out);
    }

    fn route(&mut self, at: usize, outputs: Vec<transaction::Output<RequestId>>) {
        for output in outputs {
            let (now, random, mut out) = (self.now, &mut self.random, Vec::new());
            let end = &mut self.ends[at];
            match (output, &mut end.leg) {
                (transaction::Output::Send { message, .. }, _) => {
                    let lost = random.below(100) < self.loss;
                    let at_time = now.mono + Duration::from_millis(5 + random.below(20));
                    self.wire.extend((!lost).then(|| OnTheWay { at: at_time, to: 1 - at, message }));
                }
                (transaction::Output::Request { id, flow, message }, None) => {
                    let called = Leg::incoming(now, random, end.trunk.clone(), flow, id, message);
                    end.leg = Some(called.unwrap().0);
                    self.answer = Some(now.mono + seconds(3));
                    let terms = Some(end.terms(Direction::SendRecv));
                    self.order(
                        at,
                        Order::Progress { stage: Stage::InBand, fork: Fork(0), terms, told: Box::default() },
                    );
                }
                (transaction::Output::Request { id, flow, message }, Some(leg)) => {
                    leg.request(now, random, flow, id, message, &mut out)
                }
                (transaction::Output::Ack { message, .. }, Some(leg)) => leg.ack(now, random, &message, &mut out),
                (transaction::Output::Response { user, flow, message }, Some(leg)) => {
                    leg.response(now, random, flow, user, &message, &mut out)
                }
                (transaction::Output::Failed { user, why }, Some(leg)) => leg.failed(now, random, user, why, &mut out),
                _ => {}
            }
            self.carry_out(at, out);
        }
    }

    fn carry_out(&mut self, at: usize, outputs: Vec<Output>) {
        for output in outputs {
            let (now, random, mut out) = (self.now, &mut self.random, Vec::new());
            let end = &mut self.ends[at];
            match output {
                Output::Request { id, hop, message } => {
                    let client =
                        end.transactions.request(now, id, hop, &end.trunk.own_host, &message, random, &mut out);
                    end.clients.insert(id, client);
                }
                Output::Cancel { id, .. } => end.transactions.cancel(now, end.clients[&id], &[], &mut out),
                Output::Ack { hop, message } => {
                    Transactions::acknowledge(hop, &end.trunk.own_host, &message, random, &mut out)
                }
                Output::Respond { transaction, message } => {
                    end.transactions.respond(now, transaction, message, &mut out)
                }
                Output::Word(word) => {
                    end.words.push(word.clone());
                    self.hear(at, word);
                }
                Output::Note(_) => {}
            }
            self.route(at, out);
        }
    }

    /// What the calls do: the caller holds once answered and hangs up once held; the called agrees.
    fn hear(&mut self, at: usize, word: Word) {
        let (caller, held) = (self.ends[at].caller, self.ends[at].terms(Direction::Inactive));
        match word {
            Word::Answer { .. } if caller => self.order(at, Order::Change(held)),
            Word::Changed(_) if caller => self.order(at, Order::Release(Release::normal("done"))),
            Word::Change(_) => self.order(at, Order::Grant(held)),
            _ => {}
        }
    }

    fn heard(&self, at: usize, what: fn(&Word) -> bool) -> bool {
        self.ends[at].words.iter().any(what)
    }
}

#[test]
fn a_call_is_set_up_held_and_released_whatever_is_lost() {
    let mut held = 0;
    for seed in 0..200 {
        let loss = [0, 10, 30][seed as usize % 3];
        let mut pair = Pair::new(seed, loss);
        assert!(pair.run(), "seed {seed}: a leg lives on");
        let changed = pair.heard(0, |word| matches!(word, Word::Changed(_)));
        assert!(changed || loss > 0, "seed {seed}: {:?}", pair.ends[0].words);
        if changed {
            held += 1;
            assert!(pair.heard(1, |word| matches!(word, Word::Released(_))), "seed {seed}: the called end never heard");
            let stream = |end: &End| {
                let media = end.words.iter().rev().find_map(|word| match word {
                    Word::Media(stream) | Word::Changed(stream) => Some(stream.clone()),
                    _ => None,
                });
                media.unwrap()
            };
            let [a, b] = [stream(&pair.ends[0]), stream(&pair.ends[1])];
            assert_eq!((a.codec, a.direction, b.direction), (b.codec, Direction::Inactive, Direction::Inactive));
            assert_eq!(a.remote.addresses().unwrap().rtp, "192.0.2.2:40000".parse().unwrap());
            assert_eq!(b.remote.addresses().unwrap().rtp, "192.0.2.1:40000".parse().unwrap());
        }
    }
    assert!(held > 190, "timers carry nearly every call through: {held} of 200");
}
