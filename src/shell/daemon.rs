//! The daemon: puts the parts together, listens to signals and operators, and ends in order.
//!
//! 1. Observer, media engine, transports, switch, pages: each says what kept it from starting.
//! 2. READY to systemd.
//! 3. SIGHUP or `demarc reload`: a good file replaces the configuration for new calls, a bad one
//!    changes nothing.
//! 4. SIGTERM or `demarc drain`: no new calls, live ones end by themselves within the drain limit;
//!    a second SIGTERM ends them at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::interval_at;
use tracing::{info, warn};

use super::bearer::Bearers;
use super::clock::Clock;
use super::configuration;
use super::exchange::Exchanges;
use super::gateway::Voices;
use super::ntp;
use super::observe::{News, Observer};
use super::reactor::{Control, Reactor};
use super::sip_reader::SipReader;
use super::span::Spans;
use super::transport::{self, Options, Transports};
use super::web::{self, Order, Pages};
use crate::call::{Event, Switch};
use crate::config::{self, Config, SocketIo};
use crate::media::{self, Backend, Engine, Pace, Standing};
use crate::random::Random;

/// Events from the network that may wait for the reactor.
const NETWORK_QUEUE: usize = 16_384;
/// Reports of the media plane that may wait.
const MEDIA_QUEUE: usize = 4_096;
/// Frames, alarms and timeslots of lines that may wait for the reactor.
const SPAN_QUEUE: usize = 4_096;
/// How long the start waits for NTP servers: the first certificates deserve the true time, the first call does not wait.
const FIRST_VERDICT: Duration = Duration::from_secs(3);
/// How often the log names certificates that end soon.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long the last messages may take after the last call.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why the daemon did not start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// A listener, a certificate or a key.
    #[error("{0}")]
    Transport(#[from] transport::StartError),
    /// The media engine.
    #[error("{0}")]
    Media(#[from] media::StartError),
    /// The page's address.
    #[error("[Web] Listen={0} cannot be bound: {1}")]
    Web(SocketAddr, std::io::Error),
    /// The page's token.
    #[error("[Web] TokenFile={file} cannot be read: {fault}", file = .file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// Why.
        fault: std::io::Error,
    },
    /// Simulated lines.
    #[error("no thread for simulated lines: {0}")]
    Spans(std::io::Error),
    /// Signals of the operating system.
    #[error("signals cannot be listened to: {0}")]
    Signal(std::io::Error),
}

/// A running box.
pub struct Daemon {
    config: Arc<Config>,
    file: PathBuf,
    control: mpsc::Sender<Control>,
    new_servers: mpsc::Sender<config::Clock>,
    voices: Voices,
    observer: Observer,
    transports: Arc<Transports<SipReader>>,
    exchanges: Arc<Exchanges>,
    orders: mpsc::Receiver<Order>,
    reactor: JoinHandle<Engine>,
    /// Where the pages are served.
    pub web: Option<SocketAddr>,
}

impl Daemon {
    /// Starts everything; ready for calls when it returns. `file` is what a reload reads again.
    pub async fn start(config: Arc<Config>, file: PathBuf, seed: [u8; 32]) -> Result<Daemon, StartFault> {
        let (clock, standing) = Clock::corrected();
        let mut random = Random::seeded(seed);
        let observer = Observer::start(config.clone());
        let clock_random = Random::seeded(random.octets());
        let new_servers = ntp::start(clock.clone(), standing, config.clock.clone(), clock_random, observer.clone());
        let _ = tokio::time::timeout(FIRST_VERDICT, clock.judged()).await;
        let (media_reports, media) = mpsc::channel(MEDIA_QUEUE);
        let engine = Engine::start(&config.media, media_reports)?;
        let (events, network) = mpsc::channel(NETWORK_QUEUE);
        let options = Options { clock: clock.clone(), ..Options::default() };
        let transports =
            Arc::new(Transports::start(config.clone(), SipReader::new(clock.clone()), events, options).await?);
        let (spans_out, from_spans) = mpsc::channel(SPAN_QUEUE);
        let (opened_out, opened) = mpsc::channel(SPAN_QUEUE);
        let exchanges = Arc::new(Exchanges::new(clock.clone(), Random::seeded(random.octets())));
        let far_ends = Exchanges::far_ends(&exchanges);
        let spans =
            Spans::start(&config.spans, spans_out, opened_out, far_ends, clock.clone()).map_err(StartFault::Spans)?;
        let switch = Switch::new(clock.now(), config.clone(), Random::seeded(random.octets()));
        let (control, control_in) = mpsc::channel(256);
        let (orders_out, orders) = mpsc::channel(16);
        let pages = |token| Pages {
            control: control.clone(),
            observer: observer.clone(),
            transports: transports.clone(),
            clock: clock.clone(),
            orders: orders_out.clone(),
            token,
        };
        let web = serve_pages(&config, pages).await?;
        announce(&transports, &engine, config.media.socket_io, &observer);
        let mut voices = Voices::new(clock.clone(), control.clone(), observer.clone());
        let reactor = Reactor {
            switch,
            clock,
            network,
            media,
            control: control_in,
            transports: transports.clone(),
            engine,
            spans,
            from_spans,
            opened,
            bearers: Bearers::default(),
            observer: observer.clone(),
        };
        let reactor = tokio::spawn(reactor.run());
        voices.set(&config).await;
        Ok(Daemon { config, file, control, new_servers, voices, observer, transports, exchanges, orders, reactor, web })
    }

    /// Runs until a signal or an order ends it.
    pub async fn run(mut self) -> Result<(), StartFault> {
        let mut hangup = listen(SignalKind::hangup())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut daily = interval_at(tokio::time::Instant::now() + DAY, DAY);
        notify(&[NotifyState::Ready]);
        info!("ready");
        loop {
            tokio::select! {
                _ = daily.tick() => warn_of_certificates(&self.transports),
                _ = hangup.recv() => drop(self.reload().await),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                Some(order) = self.orders.recv() => match order {
                    // A caller who went away is not our trouble.
                    Order::Reload(reply) => drop(reply.send(self.reload().await)),
                    Order::Drain(reply) => {
                        drop(reply.send(Ok("draining: no new calls are taken\n".to_owned())));
                        break;
                    }
                },
            }
        }
        self.drain(&mut terminate, &mut interrupt).await;
        self.stop().await;
        Ok(())
    }

    /// Reads the file again. A bad one changes nothing.
    async fn reload(&mut self) -> Result<String, String> {
        notify(&[NotifyState::Reloading]);
        let result = self.try_reload().await;
        let (good, what) = match &result {
            Ok(what) => (true, what.clone()),
            Err(what) => (false, what.clone()),
        };
        self.observer.tell(News::Reload { good, what });
        notify(&[NotifyState::Ready]);
        result
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        let loaded =
            configuration::load(&self.file).map_err(|faults| format!("reload refused, nothing changed:\n{faults}"));
        let (config, warnings) = loaded?;
        warnings.iter().for_each(|finding| warn!("{finding}"));
        let config = Arc::new(config);
        let refused = |fault: transport::StartError| format!("reload refused, nothing changed: {fault}");
        self.transports.reload(config.clone()).await.map_err(refused)?;
        crate::private::show(config.logging.show_numbers);
        self.observer.tell(News::Config(config.clone()));
        self.send(Control::Event(Event::Reload(config.clone()))).await;
        // The clock task ends only with us.
        let _ = self.new_servers.send(config.clock.clone()).await;
        self.voices.set(&config).await;
        announce_certificates(&self.transports, &self.observer);
        let before = std::mem::replace(&mut self.config, config);
        Ok(reloaded(before.lines_ended_by(&self.config)))
    }

    /// No new calls; waits for the last one, for the drain limit, or for a second signal.
    async fn drain(&mut self, terminate: &mut Signal, interrupt: &mut Signal) {
        notify(&[NotifyState::Stopping]);
        // Listeners stay open: a peer may need a new connection to end a live call.
        self.send(Control::Event(Event::Drain)).await;
        let (reply, idle) = oneshot::channel();
        self.send(Control::Idle(reply)).await;
        let limit = self.config.drain_timeout;
        info!(limit_seconds = limit.as_secs(), "draining: no new calls, waiting for live ones");
        tokio::select! {
            _ = idle => return,
            () = tokio::time::sleep(limit) => warn!("the drain limit is over: live calls are ended"),
            _ = terminate.recv() => warn!("a second signal: live calls are ended"),
            _ = interrupt.recv() => warn!("a second signal: live calls are ended"),
        }
        self.send(Control::Event(Event::ReleaseAll)).await;
        let (reply, idle) = oneshot::channel();
        self.send(Control::Idle(reply)).await;
        let _ = tokio::time::timeout(Duration::from_secs(5), idle).await;
    }

    /// Ends the reactor and joins the media threads.
    pub async fn stop(self) {
        self.transports.stop_accepting();
        tokio::time::sleep(GOODBYE).await;
        self.send(Control::Stop).await;
        if let Ok(engine) = self.reactor.await {
            engine.stop();
        }
        info!("ended");
    }

    /// To ask the reactor, for whoever runs the daemon in its own process.
    pub fn control(&self) -> mpsc::Sender<Control> {
        self.control.clone()
    }

    /// The exchanges at the far ends of simulated lines.
    pub fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    /// To ask for ladders.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    async fn send(&self, control: Control) {
        // Only a reactor that has ended does not listen, and then nothing is left to tell.
        let _ = self.control.send(control).await;
    }
}

async fn serve_pages(
    config: &Config,
    pages: impl Fn(Option<Arc<str>>) -> Pages,
) -> Result<Option<SocketAddr>, StartFault> {
    let Some(listen) = config.web.listen else { return Ok(None) };
    let token = match &config.web.token_file {
        Some(file) => {
            let text =
                std::fs::read_to_string(file).map_err(|fault| StartFault::Token { file: file.clone(), fault })?;
            Some(Arc::from(text.trim()))
        }
        None => None,
    };
    let listener = TcpListener::bind(listen).await.map_err(|fault| StartFault::Web(listen, fault))?;
    let bound = listener.local_addr().ok();
    let pages = pages(token);
    tokio::spawn(async move {
        if let Err(fault) = web::serve(listener, pages).await {
            warn!("the pages are no longer served: {fault}");
        }
    });
    Ok(bound)
}

fn announce(transports: &Transports<SipReader>, engine: &Engine, wished: SocketIo, observer: &Observer) {
    for warning in transports.warnings() {
        warn!("{warning}");
    }
    announce_media(engine.standing(), wished);
    announce_certificates(transports, observer);
}

fn announce_media(standing: Standing, wished: SocketIo) {
    match standing.pace {
        Pace::RealTime => info!("{}", Pace::RealTime),
        pace => warn!("{pace}"),
    }
    match (standing.backend, wished) {
        (Backend::NoRing(_), SocketIo::Uring) => warn!("[Media] SocketIo=uring: {}", standing.backend),
        (backend, _) => info!("{backend}"),
    }
    if let Some((core, error)) = standing.unpinned {
        let why = std::io::Error::from_raw_os_error(error);
        warn!("[Media] Cores: no media thread can keep to core {core} ({why}): the system places it");
    }
}

fn announce_certificates(transports: &Transports<SipReader>, observer: &Observer) {
    for expiry in transports.expiries() {
        observer.tell(News::Certificate { role: expiry.role, expires: expiry.at.as_second() });
    }
    warn_of_certificates(transports);
}

fn warn_of_certificates(transports: &Transports<SipReader>) {
    for alarm in transports.alarms() {
        warn!("certificate alarm: {}", alarm.text);
    }
}

fn listen(kind: SignalKind) -> Result<Signal, StartFault> {
    signal(kind).map_err(StartFault::Signal)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(states) {
        warn!("systemd was not told: {fault}");
    }
}

/// What a reload did; these lines were begun anew.
fn reloaded<'a>(ended: impl Iterator<Item = &'a Arc<config::Span>>) -> String {
    let lines = ended.map(|span| span.name.as_str()).collect::<Vec<_>>().join(", ");
    let but =
        if lines.is_empty() { String::new() } else { format!("; but those on {lines} have ended, as it changed") };
    format!("reloaded: new calls use the new configuration, live calls keep theirs{but}")
}
