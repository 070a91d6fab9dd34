use std::collections::HashMap as Map;
use std::time::Duration;

use bytes::Bytes;

use super::super::LIFETIME;
use super::super::ladder::{Ladder, request_text};
use super::*;
use crate::hop::TrunkId;
use Method::{Ack, Cancel, Invite, Options};

fn message(text: String) -> Message {
    Message::parse(Bytes::from(text)).unwrap()
}

/// The peer of a random run.
fn flow(transport: Transport) -> Flow {
    Ladder::over(transport).flow
}

#[test]
fn our_via_stands_on_top_and_nothing_else_changes() {
    let bare = Message::request(Invite, "sip:a@b").other("X-Odd", "1,2").header(Name::Route, "<sip:r;lr>");
    let bare = bare.body("application/sdp", b"v=0\r\n");
    let sent = with_via(&bare, Transport::Udp, "ms1.contoso.com:5070", 0xab);
    let via = sent.via().unwrap();
    assert_eq!((via.transport, via.host, via.port), ("UDP", "ms1.contoso.com", Some(5070)));
    assert_eq!((via.branch(), via.params.value("rport")), ("z9hG4bK00000000000000ab", Some(&b""[..])));
    assert_eq!((sent.uri().unwrap().as_str(), sent.body()), ("sip:a@b", &b"v=0\r\n"[..]));
    assert!(bare.lines().all(|line| sent.lines().filter(|other| *other == line).count() == 1));
    assert_eq!(sent.lines().count(), bare.lines().count() + 1);
    let over_tls = with_via(&bare, Transport::Tls, "ms1.contoso.com", 1);
    assert_eq!(over_tls.via().unwrap().params.value("rport"), None);
}

#[test]
fn a_response_to_nothing_of_ours_is_counted_and_dropped() {
    let mut t = Ladder::over(Transport::Udp);
    t.requests(Options);
    t.sees(0, "send OPTIONS");
    let text = |branch: &str, cseq: &str| {
        format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP demarc.example;branch={branch}\r\nCSeq: {cseq}\r\n\r\n")
    };
    let ours = t.sent[0].via().unwrap().branch().to_owned();
    for (branch, cseq) in [
        ("z9hG4bK0000000000000000", "1 OPTIONS"),
        ("z9hG4bK", "1 OPTIONS"),
        ("nonsense", "1 OPTIONS"),
        (&ours, "1 INVITE"),
        (&ours, "1 CANCEL"),
        (&ours, "nonsense"),
    ] {
        t.receives_message(message(text(branch, cseq)));
    }
    t.receives_message(message("SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n".to_owned()));
    t.sees(0, "");
    assert_eq!(t.table.strays(), 7);
    t.receives_message(message(text(&ours, "1 OPTIONS")));
    t.sees(0, "response 200");
}

#[test]
fn the_acknowledgement_of_a_2xx_is_no_transaction() {
    let mut t = Ladder::over(Transport::Udp);
    let ack = message(request_text(Ack, ""));
    Transactions::acknowledge(Hop::Flow(t.flow), "demarc.example", &ack, &mut Random::test(1), &mut t.out);
    t.sees(0, "send ACK");
    assert!(t.sent[0].via().unwrap().branch().starts_with(COOKIE));
    t.ends(0);
}

#[test]
fn a_cancel_follows_its_invite_to_the_connection_that_answered() {
    let mut t = Ladder::over(Transport::Tls);
    let host = Arc::from("pool01.contoso.com");
    let target = Target { trunk: TrunkId(1), transport: Transport::Tls, host, port: None };
    let invite = message(request_text(Invite, ""));
    let hop = Hop::Target(target.clone());
    t.client = Some(t.table.request(t.now, 7, hop, "demarc.example", &invite, &mut Random::test(1), &mut t.out));
    let hops = |t: &Ladder| {
        let sent = t.out.iter().filter_map(|output| match output {
            Output::Send { hop, .. } => Some(hop.clone()),
            _ => None,
        });
        sent.collect::<Vec<_>>()
    };
    assert_eq!(hops(&t), [Hop::Target(target)]);
    t.sees(0, "send INVITE");
    t.hears(Invite, 180);
    t.cancels();
    assert_eq!(hops(&t), [Hop::Flow(t.flow)]);
}

#[test]
fn peers_of_two_trunks_may_choose_the_same_branch() {
    let mut t = Ladder::over(Transport::Udp);
    t.receives(Invite, ";branch=z9hG4bK1");
    t.sees(0, "request INVITE, send 100");
    t.flow.trunk = TrunkId(2);
    t.receives(Cancel, ";branch=z9hG4bK1");
    t.receives(Invite, ";branch=z9hG4bK1");
    t.sees(0, "send 481, request INVITE, send 100");
}

#[test]
fn sent_by_is_part_of_the_match_in_any_case() {
    let mut t = Ladder::over(Transport::Udp);
    for (sent_by, told) in
        [("GW.example", "request OPTIONS"), ("gw.EXAMPLE", ""), ("gw.example:5070", "request OPTIONS")]
    {
        let via = format!("Via: SIP/2.0/UDP {sent_by};branch=z9hG4bK1\r\n");
        t.receives_message(message(request_text(Options, &via)));
        t.sees(0, told);
    }
}

#[test]
fn a_full_table_refuses_what_is_new_and_nothing_else() {
    let mut t = Ladder::over(Transport::Udp);
    t.table = Transactions::bounded(1);
    t.receives(Invite, ";branch=z9hG4bK1");
    t.sees(0, "request INVITE, send 100");
    t.receives(Options, ";branch=z9hG4bK2");
    let refusal = t.out.iter().find_map(|output| match output {
        Output::Send { message, ticket: None, .. } => Some(message.clone()),
        _ => None,
    });
    assert_eq!(refusal.unwrap().number(Name::RetryAfter), Some(RETRY_AFTER));
    t.receives(Invite, ";branch=z9hG4bK1");
    t.receives(Cancel, ";branch=z9hG4bK1");
    t.sees(0, "send 503, send 100, send 200, cancelled");
}

#[test]
fn a_late_answer_of_the_user_goes_nowhere() {
    let mut t = Ladder::over(Transport::Tcp);
    t.receives(Options, ";branch=z9hG4bK1");
    t.answers(Options, 200);
    t.answers(Options, 500);
    t.sees(0, "request OPTIONS, send 200");
    t.ends(0);
}

#[test]
fn a_message_that_lacks_lines_does_no_harm() {
    let mut t = Ladder::over(Transport::Udp);
    t.requests(Invite);
    t.sees(0, "send INVITE");
    let answer = response_to(&t.sent[0], t.flow, 486, "", Some("peer")).empty_body();
    let mut texts = vec![answer.bytes().to_vec()];
    for method in [Invite, Ack, Cancel, Options, Method::Other] {
        let via = ["Via: SIP/2.0/UDP gw;branch=z9hG4bK1;rport\r\n", "Via: SIP/2.0/UDP gw\r\n"];
        texts.extend(via.map(|via| request_text(method, via).into_bytes()));
    }
    for text in texts {
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.trim_end().split("\r\n").collect();
        for missing in 1u32..1 << (lines.len() - 1) {
            let kept = lines.iter().enumerate().filter(|(at, _)| *at == 0 || missing >> (at - 1) & 1 == 0);
            let kept: Vec<&str> = kept.map(|(_, line)| *line).collect();
            t.receives_message(message(kept.join("\r\n") + "\r\n\r\n"));
            t.out.clear();
        }
    }
    t.now = t.now.after(LIFETIME);
    t.table.tick(t.now, &mut t.out);
}

/// What the user of a random run was told about one request.
#[derive(Debug, Default)]
struct Outcome {
    invite: bool,
    accepted: bool,
    over: bool,
}

/// Peers and users that do anything at any time.
struct Chaos {
    table: Transactions<u32>,
    random: Random,
    now: Now,
    out: Vec<Output<u32>>,
    sent: Vec<(Flow, Message)>,
    tickets: Vec<Ticket>,
    clients: Vec<ClientId>,
    servers: Vec<(ServerId, Flow, Message)>,
    peers: Vec<(Flow, Message)>,
    outcomes: Map<u32, Outcome>,
}

impl Chaos {
    fn pick<T: Clone>(random: &mut Random, from: &[T]) -> Option<T> {
        let recent = &from[from.len().saturating_sub(40)..];
        recent.get(random.below(recent.len() as u64) as usize).cloned()
    }

    fn anything(&mut self) {
        match self.random.below(12) {
            0 => self.request(),
            1 => {
                let Some(id) = Chaos::pick(&mut self.random, &self.clients) else { return };
                self.table.cancel(self.now, id, &[], &mut self.out);
            }
            2..=4 => self.hear(),
            5 => self.receive(),
            6 => self.receive_more(),
            7 | 8 => self.respond(),
            9 if self.random.below(4) == 0 => {
                let Some(ticket) = Chaos::pick(&mut self.random, &self.tickets) else { return };
                self.table.unsent(self.now, ticket, &mut self.out);
            }
            _ => {
                let step = Duration::from_millis(self.random.below(1500));
                self.pass(step);
            }
        }
        self.digest();
        self.check();
    }

    fn some_flow(&mut self) -> Flow {
        flow([Transport::Udp, Transport::Tls][self.random.below(2) as usize])
    }

    fn some_status(&mut self) -> u16 {
        [100, 180, 183, 200, 202, 302, 404, 408, 487, 503, 603][self.random.below(11) as usize]
    }

    fn request(&mut self) {
        let user = self.outcomes.len() as u32;
        let method = [Invite, Options][self.random.below(2) as usize];
        let hop = Hop::Flow(self.some_flow());
        let bare = message(request_text(method, ""));
        self.outcomes.insert(user, Outcome { invite: method == Invite, ..Outcome::default() });
        let id = self.table.request(self.now, user, hop, "demarc.example", &bare, &mut self.random, &mut self.out);
        self.clients.push(id);
    }

    /// A peer answers something we sent, perhaps long ago or twice.
    fn hear(&mut self) {
        let Some((flow, request)) = Chaos::pick(&mut self.random, &self.sent) else { return };
        let status = self.some_status();
        let answer = response_to(&request, flow, status, "", Some("peer")).empty_body();
        self.table.receive(self.now, flow, answer, &mut self.random, &mut self.out);
    }

    fn receive(&mut self) {
        let (flow, method) = (self.some_flow(), [Invite, Options][self.random.below(2) as usize]);
        let cookie = ["", "z9hG4bK"][self.random.below(2) as usize];
        let branch = self.random.token();
        let via = format!("Via: SIP/2.0/{} gw.example;branch={cookie}{branch}\r\n", flow.transport);
        let request = message(request_text(method, &via));
        self.peers.push((flow, request.clone()));
        self.table.receive(self.now, flow, request, &mut self.random, &mut self.out);
    }

    /// A peer repeats, acknowledges or cancels.
    fn receive_more(&mut self) {
        let Some((flow, request)) = Chaos::pick(&mut self.random, &self.peers) else { return };
        let via = format!("Via: {}\r\n", request.text(Name::Via).unwrap());
        let again = match self.random.below(3) {
            0 => request,
            1 => message(request_text(Ack, &via)),
            _ => message(request_text(Cancel, &via)),
        };
        self.table.receive(self.now, flow, again, &mut self.random, &mut self.out);
    }

    fn respond(&mut self) {
        let status = self.some_status();
        let Some((id, flow, request)) = Chaos::pick(&mut self.random, &self.servers) else { return };
        let answer = response_to(&request, flow, status, "", Some("us")).empty_body();
        self.table.respond(self.now, id, answer, &mut self.out);
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.table.tick(self.now, &mut self.out);
        assert!(self.table.timeout().is_none_or(|due| due > self.now.mono), "a timer that was due is still due");
    }

    fn digest(&mut self) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Send { hop, message, ticket } => {
                    self.tickets.extend(ticket);
                    let Hop::Flow(flow) = hop else { continue };
                    if message.method().is_some() {
                        self.sent.push((flow, message));
                    }
                }
                Output::Request { id, flow, message } => self.servers.push((id, flow, message)),
                Output::Response { user, message, .. } => self.told(user, message.status().unwrap()),
                Output::Failed { user, .. } => self.told(user, 408),
                Output::Ack { .. } | Output::Cancelled { .. } | Output::NotAcknowledged { .. } => {}
            }
        }
    }

    /// A user hears one end, or one acceptance with its repeats.
    fn told(&mut self, user: u32, status: u16) {
        let outcome = self.outcomes.get_mut(&user).unwrap();
        assert!(!outcome.over, "{status} after the end");
        match status {
            100..200 => assert!(!outcome.accepted, "a provisional after a 2xx"),
            200..300 if outcome.invite => outcome.accepted = true,
            _ => {
                assert!(!outcome.accepted, "{status} after a 2xx");
                outcome.over = true;
            }
        }
    }

    /// Every entry has its deadline and its key, and there are no others.
    fn check(&self) {
        let clients = self.table.clients.iter().map(|(id, entry)| (entry.machine.timeout(), Ticket::Client(*id)));
        let servers = self.table.servers.iter().map(|(id, entry)| (entry.machine.timeout(), Ticket::Server(*id)));
        let due: BTreeSet<_> = clients.chain(servers).filter_map(|(at, ticket)| Some((at?, ticket))).collect();
        assert_eq!(due, self.table.deadlines);
        assert_eq!(self.table.keys.len(), self.table.servers.len());
        assert!(self.table.keys.iter().all(|(key, id)| self.table.servers[id].key == *key));
    }
}

#[test]
fn ten_thousand_random_events_leave_nothing_behind() {
    for seed in 0..4 {
        let mut chaos = Chaos {
            table: Transactions::default(),
            random: Random::test(seed),
            now: Now::virtual_start(),
            out: Vec::new(),
            sent: Vec::new(),
            tickets: Vec::new(),
            clients: Vec::new(),
            servers: Vec::new(),
            peers: Vec::new(),
            outcomes: Map::new(),
        };
        let mut most = 0;
        for _ in 0..10_000 {
            chaos.anything();
            most = most.max(chaos.table.len());
        }
        assert!(most > 20, "only {most} at once: the run tests nothing");
        // The users do what they owe: they give up what rings, and answer what waits.
        for id in std::mem::take(&mut chaos.clients) {
            chaos.table.cancel(chaos.now, id, &[], &mut chaos.out);
        }
        for (id, flow, request) in std::mem::take(&mut chaos.servers) {
            let refusal = response_to(&request, flow, 480, "", Some("us")).empty_body();
            chaos.table.respond(chaos.now, id, refusal, &mut chaos.out);
        }
        for _ in 0..300 {
            chaos.pass(LIFETIME / 100);
            chaos.digest();
        }
        chaos.check();
        assert_eq!((chaos.table.len(), chaos.table.timeout()), (0, None), "seed {seed}");
        assert!(chaos.outcomes.values().all(|outcome| outcome.over || outcome.accepted), "seed {seed}: unheard");
    }
}
