//! Are the trunks there? The daemon's own switch asks each by OPTIONS over the daemon's own transports, without its
//! listeners, so that it may run meanwhile.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::mpsc;

use super::Finding;
use crate::call::{Event, Output, Switch};
use crate::config::{Config, Trunk, TrunkKind};
use crate::hop::TrunkId;
use crate::random::Random;
use crate::shell::clock::Clock;
use crate::shell::sip_reader::SipReader;
use crate::shell::transport::{self, NoAddress, Options, Security, StartError, Transports};
use crate::sip::transaction::Ticket;
use crate::time::Now;
use crate::wire::sip::{Message, Name};

/// The most that all OPTIONS take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// The most that the names take afterwards; most are known by then.
const NAMES: Duration = Duration::from_secs(3);
/// The code of what matters most.
pub(super) const OPTIONS: &str = "options";

/// What was seen of a trunk.
pub(super) struct Seen {
    pub trunk: Arc<Trunk>,
    names: Vec<Named>,
    security: Option<Security>,
    /// The answer to OPTIONS: status, and how long it took.
    answer: Option<(u16, Duration)>,
    /// Why there is none.
    why: String,
    allow: Option<String>,
    server: Option<String>,
    /// Its clock minus ours, by one Date.
    pub clock: Option<SignedDuration>,
}

/// A trunk's name in DNS.
struct Named {
    name: Arc<str>,
    /// How many addresses it has, or why none; `None` when time ran out.
    addresses: Option<Result<usize, NoAddress>>,
}

/// Asks all trunks at once, but for those that are lines: see [`super::spans`].
pub(super) async fn ask(config: &Config, clock: Clock, random: Random) -> Result<Vec<Seen>, StartError> {
    let config = Arc::new(asking(config));
    let (events, network) = mpsc::channel(256);
    let options = Options { clock: clock.clone(), ..Options::default() };
    let transports = Transports::start(config.clone(), SipReader::new(clock.clone()), events, options).await?;
    let began = clock.now();
    let mut probe = Probe {
        switch: Switch::new(began, config.clone(), random),
        seen: config.trunks.iter().map(|trunk| Seen::nothing(trunk.clone())).collect(),
        clock,
        began,
        transports,
    };
    // What has not answered by then is a finding.
    let _ = tokio::time::timeout(LIMIT, probe.run(network)).await;
    let _ = tokio::time::timeout(NAMES, probe.look_up()).await;
    probe.name_the_reasons();
    Ok(probe.seen)
}

/// The configuration of who asks and does not listen: any port of the same addresses. Lines cannot be asked.
fn asking(config: &Config) -> Config {
    let mut config = config.clone();
    config.spans.clear();
    config.trunks.retain(|trunk| trunk.kind != TrunkKind::Isdn);
    config.lync_listen.set_port(0);
    let listeners = &mut config.trunk_listen;
    for listener in [&mut listeners.tls, &mut listeners.tcp, &mut listeners.udp].into_iter().flatten() {
        listener.set_port(0);
    }
    for trunk in &mut config.trunks {
        Arc::make_mut(trunk).switches.options_interval = LIMIT * 2;
    }
    config
}

struct Probe {
    switch: Switch,
    seen: Vec<Seen>,
    clock: Clock,
    began: Now,
    transports: Transports<SipReader>,
}

impl Probe {
    /// Until every trunk that can be asked has answered or failed.
    async fn run(&mut self, mut network: mpsc::Receiver<transport::Event<SipReader>>) {
        self.handle(Event::Tick);
        while self.switch.snapshot(self.clock.now()).trunks.iter().any(|trunk| trunk.up.is_none()) {
            let deadline = self.switch.timeout();
            let event = tokio::select! {
                Some(event) = network.recv() => self.note(event),
                () = self.clock.until(deadline) => Some(Event::Tick),
            };
            event.into_iter().for_each(|event| self.handle(event));
        }
    }

    async fn look_up(&mut self) {
        for seen in &mut self.seen {
            let hops = seen.trunk.hops.iter().filter(|hop| hop.host.parse::<IpAddr>().is_err());
            for (hop, named) in hops.zip(&mut seen.names) {
                named.addresses = Some(self.transports.addresses(hop).await.map(|addresses| addresses.len()));
            }
        }
    }

    /// Keeps what is of interest; what the switch must hear is given back.
    fn note(&mut self, event: transport::Event<SipReader>) -> Option<Event> {
        match event {
            transport::Event::Received { flow, message } => {
                let now = self.clock.now();
                let took = now.mono.since(self.began.mono);
                if let Some(seen) = self.of(flow.trunk) {
                    seen.heard(&message, took, now);
                }
                Some(Event::Received { flow, message })
            }
            transport::Event::Unsent { ticket, why } => {
                let ticket = Ticket::from_bits(ticket)?;
                Some(Event::Unsent { ticket, why: Cow::Owned(why.to_string()) })
            }
            transport::Event::Opened { flow, security } => {
                self.of(flow.trunk)?.security = security;
                None
            }
            _ => None,
        }
    }

    fn handle(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut out = Vec::new();
            self.switch.handle(self.clock.now(), event, &mut out);
            for output in out {
                let Output::Send { hop, message, ticket } = output else { continue };
                let bits = ticket.map_or(0, Ticket::to_bits);
                let sent = self.transports.send(&hop, message.bytes().clone(), bits);
                if let (Err(why), Some(ticket)) = (sent, ticket) {
                    events.push(Event::Unsent { ticket, why: Cow::Owned(why.to_string()) });
                }
            }
        }
    }

    fn of(&mut self, trunk: TrunkId) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|seen| seen.trunk.id == trunk)
    }

    fn name_the_reasons(&mut self) {
        let trunks = self.switch.snapshot(self.clock.now()).trunks;
        for (seen, view) in self.seen.iter_mut().zip(trunks) {
            seen.why = match view.up {
                None => format!("OPTIONS found no answer within {} s", LIMIT.as_secs()),
                Some(_) => view.why,
            };
        }
    }
}

impl Seen {
    fn nothing(trunk: Arc<Trunk>) -> Seen {
        let named = trunk.hops.iter().filter(|hop| hop.host.parse::<IpAddr>().is_err());
        let names = named.map(|hop| Named { name: hop.host.clone(), addresses: None }).collect();
        let (security, answer, why, allow, server, clock) = Default::default();
        Seen { trunk, names, security, answer, why, allow, server, clock }
    }

    fn heard(&mut self, message: &Message, took: Duration, now: Now) {
        let text = |name| message.text(name).map(str::to_owned);
        self.clock = message.date().map(|date| date.duration_since(now.wall)).or(self.clock);
        if let Some(status) = message.status().filter(|status| *status >= 200) {
            self.answer = Some((status, took));
            (self.allow, self.server) = (text(Name::Allow), text(Name::Server));
        }
    }

    /// Does its Allow list REFER? `None` when it has shown none.
    pub fn takes_refer(&self) -> Option<bool> {
        let listed = |allow: &String| allow.split(',').any(|method| method.trim() == "REFER");
        self.allow.as_ref().map(listed)
    }

    pub fn findings(&self) -> Vec<Finding> {
        let names = self.names.iter().map(|named| named.finding(&self.trunk.name));
        names.chain([self.options()]).collect()
    }

    fn options(&self) -> Finding {
        let name = self.trunk.name.as_str();
        if self.trunk.hops.is_empty() {
            let evidence = "there is no address to ask: calls to it have nowhere to go";
            return Finding::fail(OPTIONS, name, evidence).remedy("NextHop=, or IP= and FQDN=");
        }
        let Some((status, took)) = self.answer else {
            let side = if self.trunk.id == TrunkId::LYNC { "calls from the telephone network" } else { "calls out" };
            return Finding::fail(OPTIONS, name, self.why.as_str())
                .notice(format!("{side} that need it fail, or take longer until another takes them"))
                .remedy("follow the reason above; the peer's own log says more");
        };
        let secured = self.security.as_ref().map_or(String::new(), |security| {
            format!(" over {} with {}, as {}", security.version, security.cipher, security.peer.all().join(", "))
        });
        let server = self.server.as_ref().map_or(String::new(), |server| format!("; it is {}", server.escape_debug()));
        let evidence = format!("answers OPTIONS with {status} in {:.3} s{secured}{server}", took.as_secs_f64());
        Finding::pass(OPTIONS, name, evidence)
    }
}

impl Named {
    fn finding(&self, trunk: &str) -> Finding {
        let (code, name) = ("dns", &self.name);
        match &self.addresses {
            None => Finding::not_checked(code, trunk, format!("there was no time to look up {name}")),
            Some(Ok(addresses)) => Finding::pass(code, trunk, format!("{name} has {addresses} address(es)")),
            Some(Err(fault)) => Finding::fail(code, trunk, fault.to_string())
                .notice("calls to it have nowhere to go")
                .remedy("a record in DNS, a line in the hosts file, or an address in the configuration"),
        }
    }
}
