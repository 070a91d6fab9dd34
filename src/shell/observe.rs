//! The observer: one task that turns reports into log lines, metrics and ladders, and answers
//! questions about them. The reactor never waits for it: when its queue is full, reports are lost
//! and counted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::{debug, info, warn};

use super::ladder::Ladders;
use super::metrics::Metrics;
use super::notice::Notice;
use super::transport;
use crate::alarm::Alarm;
use crate::call::{CallEnd, Report, Snapshot};
use crate::clock::concern::apart;
use crate::clock::{self, Standing};
use crate::config::Config;
use crate::hop::{Flow, SpanId, TrunkId};
use crate::session::Mos;

/// Reports that may wait.
const QUEUE: usize = 8192;
/// Notices that a listener may be behind.
const BEHIND: usize = 256;
/// Listeners at once.
const LISTENERS: usize = 16;

/// A question or an order to the observer.
pub enum Ask {
    /// The exposition text of all metrics, gauges as of this snapshot, this standing of the clock and these alarms,
    /// refusals as the transports counted them.
    Metrics {
        snapshot: Box<Snapshot>,
        refusals: Refusals,
        clock: Box<Standing>,
        alarms: Vec<Alarm>,
        reply: oneshot::Sender<String>,
    },
    /// A ladder as text.
    Ladder { id: String, redact: bool, reply: oneshot::Sender<Option<String>> },
    /// A ladder as JSON.
    LadderJson { id: String, redact: bool, reply: oneshot::Sender<Option<serde_json::Value>> },
    /// The ids of recent calls, newest first.
    Recent(oneshot::Sender<Vec<Arc<str>>>),
}

/// Refused peers so far: trunk (`None` for a stranger), kind, count. The news tell only some of them.
pub type Refusals = Vec<(Option<TrunkId>, &'static str, u64)>;

/// News that come from the shell itself.
#[derive(Debug)]
pub enum News {
    /// From the switch, with the time of day it was made.
    Report(jiff::Timestamp, Report),
    /// A peer was turned away, or turned us away.
    TurnedAway(transport::Refused),
    /// A peer sent something that is no message or may be read two ways.
    Unreadable { trunk: TrunkId, peer: SocketAddr, fault: String },
    /// A connection is up.
    Opened { flow: Flow, security: Option<transport::Security> },
    /// A connection is over.
    Closed { flow: Flow, why: transport::Closed },
    /// A certificate of ours: role, end.
    Certificate { role: &'static str, expires: i64 },
    /// A reload: worked or not, what happened.
    Reload { good: bool, what: String },
    /// An SNMP trap came: from whom, and what it was.
    Trap { trunk: Option<TrunkId>, result: &'static str },
    /// The clock.
    Clock(clock::Report),
    /// New names for trunks, and how many ladders to keep.
    Config(Arc<Config>),
}

/// The near end of the observer: cheap to clone.
#[derive(Clone)]
pub struct Observer {
    news: mpsc::Sender<News>,
    asks: mpsc::Sender<Ask>,
    dropped: Arc<AtomicU64>,
    notices: broadcast::WeakSender<Arc<Notice>>,
}

impl Observer {
    /// Starts the task. It ends when every near end is gone.
    pub fn start(config: Arc<Config>) -> Observer {
        let (news, news_in) = mpsc::channel(QUEUE);
        let (asks, asks_in) = mpsc::channel(64);
        let dropped = Arc::new(AtomicU64::new(0));
        let notices = broadcast::Sender::new(BEHIND);
        let near = notices.downgrade();
        let task = Task {
            metrics: Metrics::new(env!("CARGO_PKG_VERSION")),
            ladders: Ladders::new(config.trace.keep),
            names: Names::new(&config),
            notices,
            dropped: dropped.clone(),
        };
        tokio::spawn(task.run(news_in, asks_in));
        Observer { news, asks, dropped, notices: near }
    }

    /// Tells; never waits.
    pub fn tell(&self, news: News) {
        if self.news.try_send(news).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// To hear what happens from now on; `None` when enough listen, or the observer is gone.
    pub fn listen(&self) -> Option<broadcast::Receiver<Arc<Notice>>> {
        let notices = self.notices.upgrade()?;
        (notices.receiver_count() < LISTENERS).then(|| notices.subscribe())
    }

    /// Asks and waits for the answer; `None` when the observer is gone.
    pub async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// What operators call trunks and spans.
pub struct Names {
    trunks: HashMap<TrunkId, String>,
    spans: HashMap<SpanId, String>,
}

impl Names {
    fn new(config: &Config) -> Names {
        let trunks = config.trunks.iter().map(|trunk| (trunk.id, &*trunk.name));
        Names::of(trunks, config.spans.iter().map(|span| (span.id, &*span.name)))
    }

    /// These names.
    pub fn of<'a>(
        trunks: impl IntoIterator<Item = (TrunkId, &'a str)>,
        spans: impl IntoIterator<Item = (SpanId, &'a str)>,
    ) -> Names {
        Names {
            trunks: trunks.into_iter().map(|(id, name)| (id, name.to_owned())).collect(),
            spans: spans.into_iter().map(|(id, name)| (id, name.to_owned())).collect(),
        }
    }

    /// A trunk's.
    pub fn trunk(&self, trunk: TrunkId) -> &str {
        self.trunks.get(&trunk).map_or("removed", String::as_str)
    }

    /// A span's.
    pub fn span(&self, span: SpanId) -> &str {
        self.spans.get(&span).map_or("removed", String::as_str)
    }
}

fn tell_clock(report: &clock::Report) {
    match report {
        clock::Report::Known { offset, error, servers } => info!(
            offset_seconds = offset.as_secs_f64(),
            error_seconds = error.as_secs_f64(),
            servers,
            "the true time is known: the system's clock is {} it, and what leaves here is corrected",
            apart(*offset)
        ),
        clock::Report::Stepped(by) => {
            warn!(by_seconds = by.as_secs_f64(), "the system's clock was stepped; our dates follow the true time");
        }
        clock::Report::Raised(concern) => warn!("clock alarm: {concern}"),
        clock::Report::Cleared(concern) => info!("clock alarm is over: {concern}"),
    }
}

struct Task {
    metrics: Metrics,
    ladders: Ladders,
    names: Names,
    notices: broadcast::Sender<Arc<Notice>>,
    dropped: Arc<AtomicU64>,
}

impl Task {
    async fn run(mut self, mut news: mpsc::Receiver<News>, mut asks: mpsc::Receiver<Ask>) {
        loop {
            tokio::select! {
                biased;
                Some(item) = news.recv() => self.hear(item),
                Some(ask) = asks.recv() => self.answer(ask),
                else => return,
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        self.metrics.dropped(self.dropped.swap(0, Ordering::Relaxed));
        // A caller who went away is not our trouble.
        match ask {
            Ask::Metrics { snapshot, refusals, clock, alarms, reply } => {
                self.metrics.clock(&clock);
                self.metrics.alarms(&alarms);
                self.count_refusals(&refusals);
                drop(reply.send(self.metrics.expose(&snapshot)));
            }
            Ask::Ladder { id, redact, reply } => drop(reply.send(self.ladders.render(&id, redact))),
            Ask::LadderJson { id, redact, reply } => drop(reply.send(self.ladders.json(&id, redact))),
            Ask::Recent(reply) => drop(reply.send(self.ladders.ids().cloned().collect())),
        }
    }

    fn hear(&mut self, news: News) {
        if self.notices.receiver_count() > 0
            && let Some(notice) = Notice::of(&news, &self.names)
        {
            // The last listener may have gone just now.
            let _ = self.notices.send(Arc::new(notice));
        }
        match news {
            News::Report(at, report) => self.report(at, report),
            News::TurnedAway(refused) => {
                let trunk = refused.trunk.map_or("stranger", |trunk| self.name(trunk));
                warn!(trunk, reason = refused.reason.kind(), "{refused}");
            }
            News::Unreadable { trunk, peer, fault } => warn!(trunk = self.name(trunk), %peer, "{fault}"),
            News::Opened { flow, security } => {
                let tls = security.map(|security| format!("{} {}", security.version, security.cipher));
                debug!(trunk = self.name(flow.trunk), peer = %flow.remote, transport = %flow.transport, tls, "connection opened");
            }
            News::Closed { flow, why } => {
                debug!(trunk = self.name(flow.trunk), peer = %flow.remote, "connection closed: {why:?}");
            }
            News::Certificate { role, expires } => self.metrics.certificate(role, expires),
            News::Reload { good: true, what } => {
                info!("{what}");
                self.metrics.reloaded("good");
            }
            News::Reload { good: false, what } => {
                warn!("{what}");
                self.metrics.reloaded("bad");
            }
            News::Trap { trunk, result } => {
                let trunk = trunk.map_or("stranger", |trunk| self.name(trunk));
                self.metrics.trap(trunk, result);
                debug!(trunk, result, "SNMP trap");
            }
            News::Clock(report) => tell_clock(&report),
            News::Config(config) => {
                self.names = Names::new(&config);
                self.ladders.keep(config.trace.keep);
            }
        }
    }

    fn report(&mut self, at: jiff::Timestamp, report: Report) {
        match report {
            Report::Began { call, from, called, calling } => {
                info!(%call, from = self.name(from), %called, %calling, "call begins");
            }
            Report::Message { call, trunk, transport, way, message } => {
                let name = self.name(trunk).to_owned();
                self.ladders.message(&call, at, name, transport.via(), way, &message);
            }
            Report::Signal { call, span, way, octets } => {
                let name = self.names.span(span).to_owned();
                self.ladders.signal(&call, at, name, way, octets);
            }
            Report::Note { call, text } => {
                info!(%call, "{text}");
                self.ladders.note(&call, at, text);
            }
            Report::Ended(end) => self.ended(&end),
            Report::Transfer { trunk, mode, result } => {
                self.metrics.transferred(self.name(trunk), mode.text(), result.text());
            }
            Report::Shortened { trunk, result } => self.metrics.transferred(self.name(trunk), "line", result.text()),
            Report::Late(worst) => self.metrics.late(worst),
            Report::Media { trunk, grown } => self.metrics.packets(self.name(trunk), &grown),
            Report::Response { trunk, method, status } => {
                self.metrics.response(self.name(trunk), method.text(), status);
            }
            Report::Trunk { trunk, up: true, why } => info!(trunk = self.name(trunk), "up: {why}"),
            Report::Trunk { trunk, up: false, why } => warn!(trunk = self.name(trunk), "down: {why}"),
            Report::PeerClock { trunk, good: true, why } => info!(trunk = self.name(trunk), "{why}"),
            Report::PeerClock { trunk, good: false, why } => warn!(trunk = self.name(trunk), "{why}"),
            Report::Gateway { trunk, news } if news.good => info!(trunk = self.name(trunk), "{}", news.what),
            Report::Gateway { trunk, news } => warn!(trunk = self.name(trunk), "{}", news.what),
            Report::Referrer { trunk, verdict } => self.metrics.referrer(self.name(trunk), verdict.label()),
            Report::Line { line, good: true, text } => info!(line = line.0, "Span{}: {text}", line.0),
            Report::Line { line, good: false, text } => warn!(line = line.0, "Span{}: {text}", line.0),
            Report::Refused { trunk, status, why } => {
                info!(trunk = self.name(trunk), status, "request refused: {why}");
            }
        }
    }

    fn ended(&mut self, end: &CallEnd) {
        let gateway = end.gateway.map_or("none", |trunk| self.name(trunk));
        let setup = end.setup.map(|setup| setup.as_secs_f64());
        info!(
            call = %end.call, gateway, result = end.result(), ended_by = end.ended_by, cause = end.release.cause.0,
            setup_seconds = setup, duration_seconds = end.duration.map(|time| time.as_secs_f64()),
            lost = end.media[0].lost + end.media[1].lost, mos = end.mos().map(Mos::score), "call ended: {}", end.release.why
        );
        self.metrics.ended(gateway, end.heading, end.result(), setup);
        if let (Some(mos), Some(_)) = (end.mos(), end.setup) {
            self.metrics.sounded(mos);
        }
        self.ladders.end(end);
    }

    fn count_refusals(&self, refusals: &Refusals) {
        for (trunk, reason, count) in refusals {
            let peer = trunk.map_or("stranger", |trunk| self.name(trunk));
            self.metrics.handshakes_failed(peer, reason, *count);
        }
    }

    fn name(&self, trunk: TrunkId) -> &str {
        self.names.trunk(trunk)
    }
}
