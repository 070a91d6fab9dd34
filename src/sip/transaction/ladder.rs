//! Ladder tests: one transaction table under virtual time, what it does told in a line.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::cause::reason_phrase;
use crate::hop::{Flow, Hop, TrunkId};
use crate::random::Random;
use crate::sip::response::response_to;
use crate::wire::sip::Method;

/// A table, its peer and its user.
pub(super) struct Ladder {
    pub(super) table: Transactions<u32>,
    pub(super) flow: Flow,
    pub(super) out: Vec<Output<u32>>,
    pub(super) now: Now,
    random: Random,
    /// Every request we sent.
    pub(super) sent: Vec<Message>,
    pub(super) client: Option<ClientId>,
    pub(super) server: Option<ServerId>,
}

impl Ladder {
    pub(super) fn over(transport: Transport) -> Ladder {
        let (local, remote) = ("192.0.2.10:5060".parse().unwrap(), "192.0.2.20:5060".parse().unwrap());
        Ladder {
            table: Transactions::default(),
            flow: Flow { connection: 1, trunk: TrunkId(1), transport, local, remote },
            out: Vec::new(),
            now: Now::virtual_start(),
            random: Random::test(1),
            sent: Vec::new(),
            client: None,
            server: None,
        }
    }

    /// The user sends a request.
    pub(super) fn requests(&mut self, method: Method) {
        let text = request_text(method, "");
        let message = Message::parse(Bytes::from(text)).unwrap();
        let (hop, sent_by) = (Hop::Flow(self.flow), "demarc.example");
        let id = self.table.request(self.now, 7, hop, sent_by, &message, &mut self.random, &mut self.out);
        self.client = Some(id);
    }

    /// The user cancels it.
    pub(super) fn cancels(&mut self) {
        let reason = [(Name::Reason, "Q.850;cause=16")];
        self.table.cancel(self.now, self.client.unwrap(), &reason, &mut self.out);
    }

    /// The peer answers the last request that has this method.
    pub(super) fn hears(&mut self, method: Method, status: u16) {
        let request = self.sent.iter().rfind(|request| request.is(method)).unwrap();
        let answer = response_to(request, self.flow, status, reason_phrase(status), Some("peer")).empty_body();
        self.receives_message(answer);
    }

    /// The peer sends a request with this branch.
    pub(super) fn receives(&mut self, method: Method, branch: &str) {
        let via = format!("Via: SIP/2.0/{} 192.0.2.20{branch}\r\n", self.flow.transport);
        self.receives_message(Message::parse(Bytes::from(request_text(method, &via))).unwrap());
    }

    pub(super) fn receives_message(&mut self, message: Message) {
        self.table.receive(self.now, self.flow, message, &mut self.random, &mut self.out);
        let new = self.out.iter().rev().find_map(|output| match output {
            Output::Request { id, .. } => Some(*id),
            _ => None,
        });
        self.server = new.or(self.server);
    }

    /// The user answers the last request received.
    pub(super) fn answers(&mut self, method: Method, status: u16) {
        let via = format!("Via: SIP/2.0/{} 192.0.2.20;branch=z9hG4bK1\r\n", self.flow.transport);
        let request = Message::parse(Bytes::from(request_text(method, &via))).unwrap();
        let answer = response_to(&request, self.flow, status, reason_phrase(status), Some("us")).empty_body();
        self.table.respond(self.now, self.server.unwrap(), answer, &mut self.out);
    }

    /// Nothing happens until `ms` after the start; then, or by what was done then, exactly this.
    #[track_caller]
    pub(super) fn sees(&mut self, ms: u64, wanted: &str) {
        let at = Instant::at(Duration::from_millis(ms));
        while let Some(due) = self.table.timeout().filter(|due| *due <= at) {
            if due > self.now.mono {
                assert_eq!(self.told(), "", "before {ms} ms, at {:?}", self.now.mono);
            }
            self.now = self.now.after(due.since(self.now.mono));
            self.table.tick(self.now, &mut self.out);
        }
        if at > self.now.mono {
            assert_eq!(self.told(), "", "before {ms} ms, at {:?}", self.now.mono);
            self.now = self.now.after(at.since(self.now.mono));
        }
        assert_eq!(self.told(), wanted, "at {ms} ms");
    }

    /// Nothing more happens, and the last transaction ends exactly then.
    #[track_caller]
    pub(super) fn ends(&mut self, ms: u64) {
        if Duration::from_millis(ms) > self.now.mono.since_start() {
            self.sees(ms - 1, "");
            assert!(!self.table.is_empty(), "over before {ms} ms");
        }
        self.sees(ms, "");
        assert_eq!(self.table.len(), 0, "not over at {ms} ms");
        assert_eq!(self.table.timeout(), None);
    }

    /// What went out since the last call, in words.
    fn told(&mut self) -> String {
        let told: Vec<String> = self.out.iter().map(word).collect();
        for output in self.out.drain(..) {
            if let Output::Send { message, .. } = output
                && message.method().is_some()
            {
                self.sent.push(message);
            }
        }
        told.join(", ")
    }
}

fn word(output: &Output<u32>) -> String {
    let start = |message: &Message| match (message.method(), message.status()) {
        (Some(method), _) => method.to_string(),
        (None, status) => status.unwrap_or_default().to_string(),
    };
    match output {
        Output::Send { message, .. } => format!("send {}", start(message)),
        Output::Request { message, .. } => format!("request {}", start(message)),
        Output::Ack { .. } => "ack".to_owned(),
        Output::Cancelled { .. } => "cancelled".to_owned(),
        Output::Response { message, .. } => format!("response {}", start(message)),
        Output::Failed { why, .. } => format!("failed {why:?}"),
        Output::NotAcknowledged { .. } => "not acknowledged".to_owned(),
    }
}

/// A request with these Via lines.
pub(super) fn request_text(method: Method, via: &str) -> String {
    format!(
        "{method} sip:+13125556789@gw.example SIP/2.0\r\n{via}Max-Forwards: 70\r\n\
         Route: <sip:edge.example;lr>\r\nRoute: <sip:core.example;lr>\r\n\
         From: <sip:+12065550100@demarc.example>;tag=us\r\nTo: <sip:+13125556789@gw.example>\r\n\
         Call-ID: 1@demarc.example\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}
