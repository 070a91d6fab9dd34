//! Ladders in virtual time: a leg on its transactions, a peer that says what the test writes.

mod called;
mod calling;
mod confirmed;
mod hostile;
mod pair;
mod random;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Leg, Output, Rejection, RequestId};
use crate::config::{Peers, Profile, SrtpMode, Switches, Trunk, TrunkKind};
use crate::hop::{Flow, Hop, Target, Transport, TrunkId};
use crate::leg::{Fork, Order, Parties, Stage, Terms, Word};
use crate::private::Private;
use crate::random::Random;
use crate::session::{Codec, Direction, Stream};
use crate::sip::response::response_to;
use crate::sip::transaction::{self, ClientId, Ticket, Transactions};
use crate::time::{Now, soonest};
use crate::wire::sip::{Message, Method, Name};

/// A trunk of this kind with every switch as these tests begin.
pub(crate) fn trunk(kind: TrunkKind) -> Trunk {
    Trunk {
        id: if kind == TrunkKind::Gateway { TrunkId(1) } else { TrunkId::LYNC },
        name: "Gateway1".into(),
        kind,
        own_host: "ms1.contoso.com".into(),
        own_port: 5067,
        hops: Vec::new(),
        spans: Vec::new(),
        line_transfer: false,
        peers: Peers::default(),
        srtp: SrtpMode::NotSupported,
        suites: crate::session::Suites::new(crate::session::Suite::ALL),
        codecs: Codec::ALL.to_vec(),
        switches: Switches {
            enable_refer_support: true,
            accept_refer: false,
            enable_fast_failover_timer: true,
            fast_failover_timeout: Duration::from_secs(10),
            forward_call_history: false,
            forward_pai: false,
            enable_session_timer: false,
            enable_rtp_latching: false,
            rtcp_active_calls: true,
            rtcp_calls_on_hold: true,
            max_early_dialogs: 20,
            remove_plus_from_uri: false,
            enable_100rel: true,
            dtmf: crate::config::Dtmf::Auto,
            options_interval: Duration::from_secs(60),
        },
        refusals: Vec::new(),
        max_calls: None,
        voices: Default::default(),
    }
}

const MICROSOFT: TrunkKind = TrunkKind::Microsoft(Profile::Sfb2019);

fn terms() -> Terms {
    Terms {
        local: "192.0.2.10:40000".parse().unwrap(),
        codecs: Codec::ALL.to_vec(),
        direction: Direction::SendRecv,
        telephone_event: true,
        comfort_noise: false,
    }
}

fn held() -> Terms {
    Terms { direction: Direction::Inactive, ..terms() }
}

/// A peer's description: its port, its formats, its direction.
fn sdp(port: u16, formats: &str, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\na={direction}\r\n"
    )
}

fn usual() -> String {
    sdp(5000, "0 8", "sendrecv")
}

fn ringing() -> Order {
    Order::Progress { stage: Stage::Ringing, fork: Fork(0), terms: None, told: Box::default() }
}

fn in_band() -> Order {
    Order::Progress { stage: Stage::InBand, fork: Fork(0), terms: Some(terms()), told: Box::default() }
}

fn answer() -> Order {
    Order::Answer { terms: terms(), fork: Fork(0), told: Box::default() }
}

/// A leg, its transactions, and a log of what it sends and says.
struct Bench {
    now: Now,
    random: Random,
    transactions: Transactions<RequestId>,
    leg: Leg,
    flow: Flow,
    clients: HashMap<RequestId, ClientId>,
    /// Everything sent, in order.
    sent: Vec<Message>,
    hops: Vec<Hop>,
    tickets: Vec<Option<Ticket>>,
    words: Vec<Word>,
    log: Vec<String>,
    /// From and To of the peer's next request in the dialog.
    remote: String,
    local: String,
    cseq: u32,
    branch: String,
}

fn flow(trunk: &Trunk) -> Flow {
    let transport = if trunk.kind == TrunkKind::Gateway { Transport::Tcp } else { Transport::Tls };
    let (local, remote) = ("192.0.2.10:5067".parse().unwrap(), "192.0.2.20:33000".parse().unwrap());
    Flow { connection: 1, trunk: trunk.id, transport, local, remote }
}

fn message(start: &str, headers: &str, body: &str) -> Message {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    let head = format!("{start}\n{headers}{kind}Content-Length: {}\n\n", body.len()).replace('\n', "\r\n");
    Message::parse(Bytes::from(head + body)).unwrap()
}

/// A peer's INVITE; `more` are header lines with their line ends.
fn invite(more: &str, body: &str) -> Message {
    let headers = format!(
        "Via: SIP/2.0/TLS pool01.contoso.com:5061;branch=z9hG4bKinvite
From: \"Bob\" <sip:+13125550100@contoso.com;user=phone>;tag=theirs
To: <sip:+13125556789@ms1.contoso.com;user=phone>
Call-ID: call-1
CSeq: 10 INVITE
Max-Forwards: 70
Contact: <sip:192.0.2.20:5060;transport=tcp>
Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK
{more}"
    );
    message("INVITE sip:+13125556789@ms1.contoso.com;user=phone SIP/2.0", &headers, body)
}

impl Bench {
    /// The peer calls us.
    fn called(trunk: Trunk, invite: Message) -> Bench {
        Bench::try_called(trunk, invite).unwrap()
    }

    fn try_called(trunk: Trunk, invite: Message) -> Result<Bench, Box<Rejection>> {
        let (now, mut random, flow) = (Now::virtual_start(), Random::test(1), flow(&trunk));
        let mut transactions = Transactions::default();
        let mut out = Vec::new();
        transactions.receive(now, flow, invite.clone(), &mut random, &mut out);
        let id = out.iter().find_map(|output| match output {
            transaction::Output::Request { id, .. } => Some(*id),
            _ => None,
        });
        let (leg, _) = Leg::incoming(now, &mut random, Arc::new(trunk), flow, id.unwrap(), invite.clone())?;
        let remote = invite.text(Name::From).unwrap().to_owned();
        Ok(Bench::new(now, random, transactions, leg, flow, remote, 10))
    }

    /// We call the peer.
    fn calling(trunk: Trunk) -> Bench {
        let (now, mut random, flow) = (Now::virtual_start(), Random::test(1), flow(&trunk));
        let target = Target { trunk: trunk.id, transport: flow.transport, host: "gw.example".into(), port: Some(5068) };
        let parties = Parties { called: Private("+13125556789".into()), ..Parties::default() };
        let mut out = Vec::new();
        let leg = Leg::outgoing(now, &mut random, Arc::new(trunk), Hop::Target(target), &parties, &terms(), &mut out);
        let mut bench = Bench::new(now, random, Transactions::default(), leg, flow, String::new(), 0);
        bench.carry_out(out);
        let invite = bench.last(Method::Invite);
        bench.local = invite.text(Name::From).unwrap().to_owned();
        bench.remote = format!("{};tag=far", invite.text(Name::To).unwrap());
        bench
    }

    fn new(
        now: Now,
        random: Random,
        transactions: Transactions<RequestId>,
        leg: Leg,
        flow: Flow,
        remote: String,
        cseq: u32,
    ) -> Bench {
        let (clients, sent, hops, tickets, words, log) = Default::default();
        Bench {
            now,
            random,
            transactions,
            leg,
            flow,
            clients,
            sent,
            hops,
            tickets,
            words,
            log,
            remote,
            local: String::new(),
            cseq,
            branch: String::new(),
        }
    }

    /// What was sent and said since the last look: `180`, `183+sdp`, `BYE`, `[Ringing 0]`.
    fn seen(&mut self) -> String {
        std::mem::take(&mut self.log).join(" ")
    }

    fn order(&mut self, order: Order) {
        let mut out = Vec::new();
        self.leg.order(self.now, &mut self.random, order, &mut out);
        self.carry_out(out);
    }

    /// The peer sends a request in the dialog, with the next CSeq.
    fn peer(&mut self, method: Method, more: &str, body: &str) {
        self.cseq += 1;
        self.peer_numbered(method, self.cseq, more, body);
    }

    fn peer_numbered(&mut self, method: Method, cseq: u32, more: &str, body: &str) {
        let branch = self.random.token();
        self.branch.clone_from(&branch);
        let headers = format!(
            "Via: SIP/2.0/TCP 192.0.2.20;branch=z9hG4bK{branch}\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: {cseq} {method}\n{more}",
            self.remote,
            self.local,
            self.leg.call_id()
        );
        self.receive(message(&format!("{method} sip:ms1.contoso.com:5067 SIP/2.0"), &headers, body));
    }

    /// The peer confirms our 2xx to its INVITE number `cseq`.
    fn ack(&mut self, cseq: u32, body: &str) {
        self.peer_numbered(Method::Ack, cseq, "", body);
    }

    /// The peer gives up its first INVITE.
    fn cancel(&mut self, more: &str) {
        let headers = format!(
            "Via: SIP/2.0/TLS pool01.contoso.com:5061;branch=z9hG4bKinvite\nFrom: {}\nTo: <sip:+13125556789@ms1.contoso.com;user=phone>\nCall-ID: call-1\nCSeq: 10 CANCEL\n{more}",
            self.remote
        );
        self.receive(message("CANCEL sip:+13125556789@ms1.contoso.com;user=phone SIP/2.0", &headers, ""));
    }

    /// The peer gives up its last re-INVITE.
    fn cancel_reinvite(&mut self) {
        let headers = format!(
            "Via: SIP/2.0/TCP 192.0.2.20;branch=z9hG4bK{}\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: {} CANCEL\n",
            self.branch,
            self.remote,
            self.local,
            self.leg.call_id(),
            self.cseq
        );
        self.receive(message("CANCEL sip:ms1.contoso.com:5067 SIP/2.0", &headers, ""));
    }

    /// The peer answers our last request with this method, under its tag `tag`.
    fn reply(&mut self, method: Method, status: u16, tag: &str, more: &str, body: &str) {
        let request = self.last(method);
        let head = response_to(&request, self.flow, status, "x", Some(tag).filter(|tag| !tag.is_empty())).empty_body();
        let mut lines = String::new();
        for line in head.lines().filter(|line| line.name != Name::ContentLength) {
            lines += &format!("{}: {}\n", line.text.escape_ascii(), String::from_utf8_lossy(line.value));
        }
        if !more.contains("Contact") {
            lines += "Contact: <sip:192.0.2.20:5068;transport=tcp>\n";
        }
        self.receive(message(&format!("SIP/2.0 {status} x"), &(lines + more), body));
    }

    /// What was sent last could not be sent.
    fn unsent(&mut self) {
        let ticket = self.tickets.last().copied().flatten().unwrap();
        let mut out = Vec::new();
        self.transactions.unsent(self.now, ticket, &mut out);
        self.route(out);
    }

    /// Our last request with this method.
    fn last(&self, method: Method) -> Message {
        self.sent.iter().rev().find(|message| message.is(method)).cloned().unwrap()
    }

    /// Our last response with this status.
    fn last_response(&self, status: u16) -> Message {
        self.sent.iter().rev().find(|message| message.status() == Some(status)).cloned().unwrap()
    }

    fn receive(&mut self, message: Message) {
        let mut out = Vec::new();
        self.transactions.receive(self.now, self.flow, message, &mut self.random, &mut out);
        self.route(out);
    }

    /// What transactions tell goes to the leg.
    fn route(&mut self, outputs: Vec<transaction::Output<RequestId>>) {
        let (now, random) = (self.now, &mut self.random);
        let mut out = Vec::new();
        let mut sent = Vec::new();
        for output in outputs {
            match output {
                transaction::Output::Send { message, hop, ticket } => sent.push((message, hop, ticket)),
                transaction::Output::Request { id, flow, message } => {
                    self.leg.request(now, random, flow, id, message, &mut out)
                }
                transaction::Output::Ack { message, .. } => self.leg.ack(now, random, &message, &mut out),
                transaction::Output::Cancelled { cancel, .. } => self.leg.cancelled(now, random, &cancel, &mut out),
                transaction::Output::Response { user, flow, message } => {
                    self.leg.response(now, random, flow, user, &message, &mut out)
                }
                transaction::Output::Failed { user, why } => self.leg.failed(now, random, user, why, &mut out),
                transaction::Output::NotAcknowledged { .. } => {}
            }
        }
        sent.into_iter().for_each(|(message, hop, ticket)| self.note_sent(message, hop, ticket));
        self.carry_out(out);
    }

    fn note_sent(&mut self, message: Message, hop: Hop, ticket: Option<Ticket>) {
        if message.status() == Some(100) {
            return;
        }
        let name = match message.method() {
            Some(method) => method.to_string(),
            None => message.status().unwrap().to_string(),
        };
        if message.status().is_some() && message.cseq().unwrap().method == Method::Invite && self.local.is_empty() {
            self.local = message.text(Name::To).unwrap().to_owned();
        }
        self.log.push(if message.body().is_empty() { name } else { name + "+sdp" });
        self.sent.push(message);
        self.hops.push(hop);
        self.tickets.push(ticket);
    }

    /// What the leg does goes to the transactions.
    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            let mut out = Vec::new();
            let (now, random) = (self.now, &mut self.random);
            match output {
                Output::Request { id, hop, message } => {
                    let client = self.transactions.request(now, id, hop, "ms1.contoso.com", &message, random, &mut out);
                    self.clients.insert(id, client);
                }
                Output::Cancel { id, reason } => {
                    self.transactions.cancel(now, self.clients[&id], &[(Name::Reason, &reason)], &mut out)
                }
                Output::Ack { hop, message } => {
                    Transactions::acknowledge(hop, "ms1.contoso.com", &message, random, &mut out)
                }
                Output::Respond { transaction, message } => {
                    self.transactions.respond(now, transaction, message, &mut out)
                }
                Output::Word(word) => {
                    self.log.push(format!("[{}]", named(&word)));
                    self.words.push(word);
                }
                Output::Note(_) => {}
            }
            self.route(out);
        }
    }

    /// Lets time pass, every timer at its own moment; gives the times (ms from now) at which something
    /// was sent or said.
    fn pass(&mut self, time: Duration) -> Vec<u128> {
        let (start, end) = (self.now, self.now.after(time));
        let mut moments = Vec::new();
        while let Some(at) = soonest(self.leg.timeout(), self.transactions.timeout()).filter(|at| *at <= end.mono) {
            self.now = self.now.after(at.since(self.now.mono));
            let before = self.log.len();
            let mut out = Vec::new();
            self.transactions.tick(self.now, &mut out);
            self.route(out);
            let mut out = Vec::new();
            self.leg.tick(self.now, &mut self.random, &mut out);
            self.carry_out(out);
            moments.extend((self.log.len() > before).then(|| at.since(start.mono).as_millis()));
            let next = soonest(self.leg.timeout(), self.transactions.timeout());
            assert!(next.is_none_or(|next| next > at), "a timer that stays due");
        }
        self.now = end;
        moments
    }

    /// Until nothing is left of the leg: how long that took.
    fn until_over(&mut self) -> Duration {
        let start = self.now.mono;
        while !self.leg.is_over() {
            let next = self.leg.timeout().into_iter().chain(self.transactions.timeout()).min();
            let at = next.expect("a leg that is not over waits for something");
            self.pass(at.since(self.now.mono));
        }
        self.now.mono.since(start)
    }

    /// The last word about media.
    fn stream(&self) -> Stream {
        let stream = |word: &Word| match word {
            Word::Media(stream) | Word::Changed(stream) | Word::Answer { media: stream, .. } => Some(stream.clone()),
            Word::Progress { media, .. } => media.clone(),
            _ => None,
        };
        self.words.iter().rev().find_map(stream).unwrap()
    }
}

fn named(word: &Word) -> String {
    match word {
        Word::Progress { stage, fork, media, .. } => {
            format!("{stage:?} {}{}", fork.0, if media.is_some() { " media" } else { "" })
        }
        Word::Answer { fork, .. } => format!("Answer {}", fork.0),
        Word::Media(_) => "Media".into(),
        Word::Change(wish) => format!("Change {:?}", wish.direction),
        Word::Changed(_) => "Changed".into(),
        Word::Unchanged(release) => format!("Unchanged {}", release.final_status()),
        Word::Released(release) => format!("Released {}", release.cause.0),
        Word::Digit(digit, length) => format!("Digit {} {length:?}", digit.key()),
        Word::Transfer(_) => "Transfer".into(),
        Word::Referred(outcome) => format!("Referred {outcome:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
