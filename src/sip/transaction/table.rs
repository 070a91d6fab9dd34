//! All transactions under way: which one a message belongs to (RFC 3261 sections 17.1.3, 17.2.3, 9.2).

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use super::client::Client;
use super::client_invite::InviteClient;
use super::server::Server;
use super::server_invite::InviteServer;
use super::{ClientInput, ClientOutput, Failure, ServerInput, ServerOutput};
use crate::cause::{Cause, reason_phrase};
use crate::hop::{Flow, Hop, Target, Transport};
use crate::random::Random;
use crate::sip::invite::{PRODUCT, dated};
use crate::sip::response::{response_hop, response_target, response_to};
use crate::time::{Instant, Now};
use crate::wire::sip::{Builder, Message, Method, Name, Start, Via};

/// What every branch of RFC 3261 begins with (section 8.1.1.7).
const COOKIE: &str = "z9hG4bK";

/// Seconds after which a refused peer may come back: the better part of [`super::LIFETIME`], in which most
/// transactions end.
const RETRY_AFTER: u32 = 20;

/// A request of ours. Its branch is the cookie and this number; a CANCEL shares the number of its INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    branch: u64,
    cancel: bool,
}

/// A peer's request, to be answered by [`Transactions::respond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u64);

/// Whose message a [`Output::Send`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ticket {
    /// Of a request of ours.
    Client(ClientId),
    /// Of an answer of ours.
    Server(ServerId),
}

impl Ticket {
    /// The ticket as a number for the transport; never 0, which stands for nobody.
    pub fn to_bits(self) -> u64 {
        match self {
            Ticket::Server(ServerId(id)) => id << 2 | 1,
            Ticket::Client(ClientId { branch, cancel }) => branch << 2 | 2 | u64::from(cancel),
        }
    }

    /// The ticket that gave this number.
    pub fn from_bits(bits: u64) -> Option<Ticket> {
        match bits & 3 {
            0 => None,
            1 => Some(Ticket::Server(ServerId(bits >> 2))),
            kind => Some(Ticket::Client(ClientId { branch: bits >> 2, cancel: kind == 3 })),
        }
    }
}

/// What transactions do and tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<U> {
    /// Put this on the wire.
    Send {
        /// Where to.
        hop: Hop,
        /// What.
        message: Message,
        /// What to call [`Transactions::unsent`] with when it cannot be sent; `None`: nobody cares.
        ticket: Option<Ticket>,
    },
    /// A new request; never an ACK or a CANCEL.
    Request {
        /// To answer it by.
        id: ServerId,
        /// How it came.
        flow: Flow,
        /// The request.
        message: Message,
    },
    /// An ACK that belongs to a 2xx, or to nothing we know.
    Ack {
        /// How it came.
        flow: Flow,
        /// The ACK.
        message: Message,
    },
    /// The peer gives up its INVITE, which waits for a final answer. The CANCEL itself is answered.
    Cancelled {
        /// The INVITE's transaction.
        id: ServerId,
        /// The CANCEL: its Reason may be worth reading.
        cancel: Message,
    },
    /// The peer answered: each provisional, one final; each repeated or forked 2xx to an INVITE.
    Response {
        /// Who asked.
        user: U,
        /// How it came.
        flow: Flow,
        /// The answer.
        message: Message,
    },
    /// There will be no answer.
    Failed {
        /// Who asked.
        user: U,
        /// Why not.
        why: Failure,
    },
    /// The peer never acknowledged our refusal of its INVITE (timer H).
    NotAcknowledged {
        /// The INVITE's transaction.
        id: ServerId,
    },
}

/// All transactions under way. `U` is the user's token for a request of ours.
///
/// An entry lives as long as its machine; nothing outlives its timers, except an INVITE that its
/// user neither answers nor cancels.
#[derive(Debug)]
pub struct Transactions<U> {
    clients: HashMap<ClientId, Outgoing<U>>,
    servers: HashMap<ServerId, Incoming>,
    keys: HashMap<Arc<str>, ServerId>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    last_id: u64,
    most: usize,
    strays: u64,
    scratch: String,
}

#[derive(Debug)]
struct Outgoing<U> {
    /// `None` for a CANCEL: nobody waits for its answer.
    user: Option<U>,
    method: Method,
    hop: Hop,
    machine: ClientMachine,
}

#[derive(Debug)]
enum ClientMachine {
    Invite(InviteClient),
    Other(Client),
}

#[derive(Debug)]
struct Incoming {
    key: Arc<str>,
    flow: Flow,
    hop: Hop,
    /// Where answers go once the connection is gone.
    elsewhere: Option<Target>,
    machine: ServerMachine,
}

#[derive(Debug)]
enum ServerMachine {
    Invite(InviteServer),
    Other(Server),
}

impl<U: Copy> Default for Transactions<U> {
    fn default() -> Transactions<U> {
        Transactions::bounded(Transactions::<U>::MOST)
    }
}

impl<U: Copy> Transactions<U> {
    /// Above this many, new requests are refused with 503. A call has about six transactions of up to
    /// 32 s: enough for 300 calls a second, in about 200 MB.
    pub const MOST: usize = 65_536;

    /// Empty, with a bound of its own.
    pub fn bounded(most: usize) -> Transactions<U> {
        Transactions {
            clients: HashMap::new(),
            servers: HashMap::new(),
            keys: HashMap::new(),
            deadlines: BTreeSet::new(),
            last_id: 0,
            most,
            strays: 0,
            scratch: String::new(),
        }
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Is none under way?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages dropped so far: responses that answer nothing of ours, and what has no readable Via.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// When [`Transactions::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Sends a request (no ACK, no CANCEL) that is whole but for its top Via. `sent_by` is the host, with a
    /// port if it is not the transport's own, that stands in our Via.
    #[allow(clippy::too_many_arguments)]
    pub fn request(
        &mut self,
        now: Now,
        user: U,
        hop: Hop,
        sent_by: &str,
        message: &Message,
        random: &mut Random,
        out: &mut Vec<Output<U>>,
    ) -> ClientId {
        // 62 bits: the other two make it a ticket.
        let id = ClientId { branch: random.u64() >> 2, cancel: false };
        let request = with_via(message, hop.transport(), sent_by, id.branch);
        self.open_client(now, id, Some(user), hop, request, out);
        id
    }

    /// Sends the ACK for a 2xx, whole but for its top Via: no transaction of its own (RFC 3261 section 13.2.2.4).
    pub fn acknowledge(hop: Hop, sent_by: &str, ack: &Message, random: &mut Random, out: &mut Vec<Output<U>>) {
        let message = with_via(ack, hop.transport(), sent_by, random.u64());
        out.push(Output::Send { hop, message, ticket: None });
    }

    /// Cancels an INVITE of ours, with these headers (Reason) in the CANCEL; it goes out once the peer has
    /// said anything. An INVITE that has its final answer stays as it is: the user hears what came.
    pub fn cancel(&mut self, now: Now, id: ClientId, headers: &[(Name, &str)], out: &mut Vec<Output<U>>) {
        self.step_client(now, id, None, ClientInput::Cancel(headers), out);
    }

    /// Requests under way may get another user.
    pub fn hand_over(&mut self, to: impl Fn(U) -> U) {
        for client in self.clients.values_mut() {
            client.user = client.user.map(&to);
        }
    }

    /// Answers a peer's request. The user repeats its 2xx to an INVITE here as well.
    pub fn respond(&mut self, now: Now, id: ServerId, response: Message, out: &mut Vec<Output<U>>) {
        if let Some(status) = response.status() {
            self.step_server(now, id, ServerInput::Respond(status, response), out);
        }
    }

    /// The transport could not send. A request fails at once; an answer whose connection is gone is tried
    /// once more on a new one (RFC 3261 section 18.2.2).
    pub fn unsent(&mut self, now: Now, ticket: Ticket, out: &mut Vec<Output<U>>) {
        match ticket {
            Ticket::Client(id) => self.step_client(now, id, None, ClientInput::Unsent, out),
            Ticket::Server(id) => self.resend(id, out),
        }
    }

    /// A valid message came in: one that has the headers every message has.
    pub fn receive(&mut self, now: Now, flow: Flow, message: Message, random: &mut Random, out: &mut Vec<Output<U>>) {
        match message.method() {
            _ if message.via().is_err() => self.strays += 1,
            None => self.receive_response(now, flow, message, out),
            Some(Method::Ack) => self.receive_ack(now, flow, message, out),
            Some(method) => self.receive_request(now, flow, method, message, random, out),
        }
    }

    /// Carries out what is due.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Output<U>>) {
        while self.timeout().is_some_and(|at| at <= now.mono) {
            let Some((_, ticket)) = self.deadlines.pop_first() else { return };
            match ticket {
                Ticket::Client(id) => self.step_client(now, id, None, ClientInput::Tick, out),
                Ticket::Server(id) => self.step_server(now, id, ServerInput::Tick, out),
            }
        }
    }

    fn receive_response(&mut self, now: Now, flow: Flow, message: Message, out: &mut Vec<Output<U>>) {
        let ours = |id: &ClientId, method| self.clients.get(id).is_some_and(|entry| entry.method == method);
        let id = client_id(&message).filter(|(id, method)| ours(id, *method));
        match (id, message.status()) {
            (Some((id, _)), Some(status)) => {
                self.step_client(now, id, Some(flow), ClientInput::Response(status, message), out)
            }
            _ => self.strays += 1,
        }
    }

    fn receive_ack(&mut self, now: Now, flow: Flow, message: Message, out: &mut Vec<Output<U>>) {
        match self.find(flow, b"INVITE", &message) {
            Some(id) => self.step_server(now, id, ServerInput::Ack(message), out),
            None => out.push(Output::Ack { flow, message }),
        }
    }

    fn receive_request(
        &mut self,
        now: Now,
        flow: Flow,
        method: Method,
        message: Message,
        random: &mut Random,
        out: &mut Vec<Output<U>>,
    ) {
        let Start::Request { text, .. } = message.start() else { return };
        if let Some(id) = self.find(flow, text, &message) {
            return self.step_server(now, id, ServerInput::Repeated, out);
        }
        let key = Arc::from(self.scratch.as_str());
        let invite = if method == Method::Cancel { self.find(flow, b"INVITE", &message) } else { None };
        if self.len() >= self.most && invite.is_none() {
            return out.push(overload(now, flow, &message, random));
        }
        let before = out.len();
        let id = self.open_server(now, flow, key, &message, out);
        match method {
            Method::Cancel => self.answer_cancel(now, id, invite, message, random, out),
            // Before its 100, so that whoever keeps a ladder knows the call when the 100 passes.
            _ => out.insert(before, Output::Request { id, flow, message }),
        }
    }

    /// A CANCEL is answered for what it names, whatever becomes of that (RFC 3261 section 9.2).
    fn answer_cancel(
        &mut self,
        now: Now,
        id: ServerId,
        invite: Option<ServerId>,
        cancel: Message,
        random: &mut Random,
        out: &mut Vec<Output<U>>,
    ) {
        let Some(flow) = self.servers.get(&id).map(|entry| entry.flow) else { return };
        let invited = invite.and_then(|invite| match &self.servers.get(&invite)?.machine {
            ServerMachine::Invite(machine) => Some((invite, machine)),
            ServerMachine::Other(_) => None,
        });
        let status = if invited.is_some() { 200 } else { 481 };
        let tag = invited.and_then(|(_, machine)| machine.last()?.tag(Name::To)).map(str::to_owned);
        let open = invited.filter(|(_, machine)| machine.is_open()).map(|(invite, _)| invite);
        let tag = tag.unwrap_or_else(|| random.token());
        let answer = own_answer(now, &cancel, flow, status, &tag).empty_body();
        self.respond(now, id, answer, out);
        out.extend(open.map(|id| Output::Cancelled { id, cancel }));
    }

    fn open_client(
        &mut self,
        now: Now,
        id: ClientId,
        user: Option<U>,
        hop: Hop,
        request: Message,
        out: &mut Vec<Output<U>>,
    ) {
        let method = request.method().unwrap_or(Method::Other);
        let mut said = Vec::with_capacity(1);
        let machine = match method {
            Method::Invite => ClientMachine::Invite(InviteClient::start(now, hop.transport(), request, &mut said)),
            _ => ClientMachine::Other(Client::start(now, hop.transport(), request, &mut said)),
        };
        self.reschedule(Ticket::Client(id), None, machine.timeout());
        self.clients.insert(id, Outgoing { user, method, hop, machine });
        self.tell_client(now, id, None, said, out);
    }

    /// `flow` is where a response came on. Over a stream it becomes the hop, so that ACK and CANCEL follow
    /// their INVITE when its name has several addresses.
    fn step_client(
        &mut self,
        now: Now,
        id: ClientId,
        flow: Option<Flow>,
        input: ClientInput,
        out: &mut Vec<Output<U>>,
    ) {
        let Some(entry) = self.clients.get_mut(&id) else { return };
        if let Some(flow) = flow.filter(|flow| flow.transport.reliable()) {
            entry.hop = Hop::Flow(flow);
        }
        let mut said = Vec::new();
        let before = entry.machine.timeout();
        entry.machine.step(now, entry.hop.transport(), input, &mut said);
        let after = entry.machine.timeout();
        self.reschedule(Ticket::Client(id), before, after);
        self.tell_client(now, id, flow, said, out);
    }

    fn tell_client(
        &mut self,
        now: Now,
        id: ClientId,
        flow: Option<Flow>,
        said: Vec<ClientOutput>,
        out: &mut Vec<Output<U>>,
    ) {
        let Some(entry) = self.clients.get(&id) else { return };
        let (user, hop) = (entry.user, entry.hop.clone());
        if entry.machine.is_over() {
            self.clients.remove(&id);
        }
        for output in said {
            match (output, user, flow) {
                (ClientOutput::Send(message), ..) => {
                    out.push(Output::Send { hop: hop.clone(), message, ticket: Some(Ticket::Client(id)) })
                }
                (ClientOutput::Cancel(cancel), ..) => {
                    let id = ClientId { cancel: true, ..id };
                    self.open_client(now, id, None, hop.clone(), cancel, out)
                }
                (ClientOutput::Response(message), Some(user), Some(flow)) => {
                    out.push(Output::Response { user, flow, message })
                }
                (ClientOutput::Failed(why), Some(user), _) => out.push(Output::Failed { user, why }),
                (ClientOutput::Response(_) | ClientOutput::Failed(_), ..) => {}
            }
        }
    }

    fn open_server(
        &mut self,
        now: Now,
        flow: Flow,
        key: Arc<str>,
        request: &Message,
        out: &mut Vec<Output<U>>,
    ) -> ServerId {
        self.last_id += 1;
        let id = ServerId(self.last_id);
        let mut said = Vec::new();
        let machine = if request.is(Method::Invite) {
            let trying = response_to(request, flow, 100, reason_phrase(100), None).empty_body();
            ServerMachine::Invite(InviteServer::start(trying, &mut said))
        } else {
            ServerMachine::Other(Server::start(now))
        };
        self.reschedule(Ticket::Server(id), None, machine.timeout());
        self.keys.insert(key.clone(), id);
        let (hop, elsewhere) = (response_hop(request, flow), response_target(request, flow));
        self.servers.insert(id, Incoming { key, flow, hop, elsewhere, machine });
        self.tell_server(id, said, out);
        id
    }

    fn step_server(&mut self, now: Now, id: ServerId, input: ServerInput, out: &mut Vec<Output<U>>) {
        let Some(entry) = self.servers.get_mut(&id) else { return };
        let mut said = Vec::new();
        let before = entry.machine.timeout();
        entry.machine.step(now, entry.flow.transport, input, &mut said);
        let after = entry.machine.timeout();
        self.reschedule(Ticket::Server(id), before, after);
        self.tell_server(id, said, out);
    }

    fn tell_server(&mut self, id: ServerId, said: Vec<ServerOutput>, out: &mut Vec<Output<U>>) {
        let Some(entry) = self.servers.get(&id) else { return };
        out.extend(said.into_iter().map(|output| match output {
            ServerOutput::Send(message) => {
                Output::Send { hop: entry.hop.clone(), message, ticket: Some(Ticket::Server(id)) }
            }
            ServerOutput::Ack(message) => Output::Ack { flow: entry.flow, message },
            ServerOutput::NotAcknowledged => Output::NotAcknowledged { id },
        }));
        if entry.machine.is_over() {
            self.keys.remove(&entry.key);
            self.servers.remove(&id);
        }
    }

    /// The last answer again, over a new connection; a 2xx to an INVITE waits for its user to repeat it.
    fn resend(&mut self, id: ServerId, out: &mut Vec<Output<U>>) {
        let Some(entry) = self.servers.get_mut(&id) else { return };
        let Some(target) = entry.elsewhere.take() else { return };
        entry.hop = Hop::Target(target);
        let (hop, last) = (entry.hop.clone(), entry.machine.last().cloned());
        out.extend(last.map(|message| Output::Send { hop, message, ticket: Some(Ticket::Server(id)) }));
    }

    fn reschedule(&mut self, ticket: Ticket, before: Option<Instant>, after: Option<Instant>) {
        if before != after {
            before.map(|at| self.deadlines.remove(&(at, ticket)));
            after.map(|at| self.deadlines.insert((at, ticket)));
        }
    }

    /// The transaction that a request with this method and the rest of `message` belongs to. Leaves its
    /// key in `scratch`.
    fn find(&mut self, flow: Flow, method: &[u8], message: &Message) -> Option<ServerId> {
        self.scratch.clear();
        write_key(&mut self.scratch, flow, method, message);
        self.keys.get(self.scratch.as_str()).copied()
    }
}

impl ClientMachine {
    fn step(&mut self, now: Now, transport: Transport, input: ClientInput, said: &mut Vec<ClientOutput>) {
        match self {
            ClientMachine::Invite(machine) => *machine = std::mem::take(machine).step(now, transport, input, said),
            ClientMachine::Other(machine) => *machine = std::mem::take(machine).step(now, transport, input, said),
        }
    }

    fn timeout(&self) -> Option<Instant> {
        match self {
            ClientMachine::Invite(machine) => machine.timeout(),
            ClientMachine::Other(machine) => machine.timeout(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            ClientMachine::Invite(machine) => machine.is_over(),
            ClientMachine::Other(machine) => machine.is_over(),
        }
    }
}

impl ServerMachine {
    fn step(&mut self, now: Now, transport: Transport, input: ServerInput, said: &mut Vec<ServerOutput>) {
        match self {
            ServerMachine::Invite(machine) => *machine = std::mem::take(machine).step(now, transport, input, said),
            ServerMachine::Other(machine) => *machine = std::mem::take(machine).step(now, transport, input, said),
        }
    }

    fn timeout(&self) -> Option<Instant> {
        match self {
            ServerMachine::Invite(machine) => machine.timeout(),
            ServerMachine::Other(machine) => machine.timeout(),
        }
    }

    fn last(&self) -> Option<&Message> {
        match self {
            ServerMachine::Invite(machine) => machine.last(),
            ServerMachine::Other(machine) => machine.last(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            ServerMachine::Invite(machine) => machine.is_over(),
            ServerMachine::Other(machine) => machine.is_over(),
        }
    }
}

/// The message with a Via of ours on top. Over UDP it asks for `rport` (RFC 3581).
fn with_via(message: &Message, transport: Transport, sent_by: &str, branch: u64) -> Message {
    let rport = if transport.reliable() { "" } else { ";rport" };
    let via = format_args!("SIP/2.0/{transport} {sent_by};branch={COOKIE}{branch:016x}{rport}").to_string();
    let has_body = !message.body().is_empty();
    let rebuilt = |name| name == Name::ContentLength || (name == Name::ContentType && has_body);
    let head = Builder::with_start_of(message).header(Name::Via, via);
    let head = message.lines().filter(|line| !rebuilt(line.name)).fold(head, Builder::line);
    let content_type = message.text(Name::ContentType).unwrap_or("application/octet-stream");
    if has_body { head.body(content_type, message.body()) } else { head.empty_body() }
}

/// Which request of ours a response answers, and that request's method.
fn client_id(response: &Message) -> Option<(ClientId, Method)> {
    let method = response.cseq().ok()?.method;
    let branch = response.via().ok()?.branch().strip_prefix(COOKIE)?;
    let branch = u64::from_str_radix(branch, 16).ok().filter(|_| branch.len() == 16)?;
    Some((ClientId { branch, cancel: method == Method::Cancel }, method))
}

/// What makes two requests the same transaction (RFC 3261 section 17.2.3). The trunk is part of it: no peer
/// can reach another's calls by a guessed branch.
fn write_key(key: &mut String, flow: Flow, method: &[u8], message: &Message) {
    let Ok(via) = message.via() else { return };
    let _ = write!(key, "{} {} ", flow.trunk.0, method.escape_ascii());
    let branch = via.branch();
    match branch.get(..COOKIE.len()) {
        Some(cookie) if cookie.eq_ignore_ascii_case(COOKIE) => key.push_str(branch),
        _ => write_old_key(key, &via, message),
    }
    key.push(' ');
    key.extend(via.host.chars().map(|letter| letter.to_ascii_lowercase()));
    let _ = write!(key, " {:?}", via.port);
}

/// The key of a request from before RFC 3261. To's tag is left out: the INVITE's and its ACK's differ.
fn write_old_key(key: &mut String, via: &Via, message: &Message) {
    let Start::Request { uri, .. } = message.start() else { return };
    let number = message.cseq().map_or(0, |cseq| cseq.number);
    let (tag, call_id) = (message.tag(Name::From).unwrap_or_default(), message.call_id().unwrap_or_default());
    let _ = write!(key, "{} {number} {tag} {call_id} ", uri.escape_ascii());
    let _ = write!(key, "{}", via.params.as_bytes().escape_ascii());
}

/// Begins a final answer that no user of ours gives: with who we are, when, and for a refusal why.
fn own_answer(now: Now, request: &Message, flow: Flow, status: u16, tag: &str) -> Builder {
    let answer = response_to(request, flow, status, reason_phrase(status), Some(tag)).header(Name::Server, PRODUCT);
    dated(answer, now).maybe(Name::Reason, (status >= 300).then(|| Cause::from_status(status).reason_header()))
}

/// A refusal that costs no transaction.
fn overload<U>(now: Now, flow: Flow, request: &Message, random: &mut Random) -> Output<U> {
    let refusal = own_answer(now, request, flow, 503, &random.token());
    let message = refusal.header(Name::RetryAfter, RETRY_AFTER).empty_body();
    Output::Send { hop: response_hop(request, flow), message, ticket: None }
}

#[cfg(test)]
mod tests;
