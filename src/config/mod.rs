//! A checked configuration: a plain value. Made from INI text, or a list of all its faults.
//!
//! Everything else reads [`Config`]; nobody else reads the file. A call keeps the configuration
//! that it was born with.
//!
//! The way of a file: [`ini`] takes the bytes apart and keeps their places; [`settings`] looks
//! sections and keys up in the one table ([`keys`]) and checks each value's form ([`value`]);
//! [`mod@parse`] checks what spans several keys and builds the value, with [`trunk`] and
//! [`voice_routes`], [`console`] and [`rest`] for their parts and [`cloud_connector`] for what a CloudConnector.ini says in
//! its own way. Each adds [`finding`]s; nothing stops at the first.

pub mod cloud_connector;
mod console;
pub mod finding;
pub mod ini;
pub mod keys;
pub mod parse;
mod render;
mod rest;
pub mod settings;
pub mod simulation;
pub mod span;
pub mod trunk;
pub mod value;
pub mod voice_routes;

#[cfg(test)]
mod tests;

pub use console::{AlarmRule, Console, Script};
pub use finding::{Finding, Severity};
pub use ini::Extent;
pub use parse::{Report, check, parse};
pub use render::render;
pub use rest::Rest;
pub use simulation::{ScheduledCall, Share, Simulation};
pub use span::{DChannel, Driver, Hunt, Span, go_on};
pub use value::{HostPort, PortOfCard, Search, SecretSource, Typed};

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cause::RefusalRule;
use crate::hop::{SpanId, Target, Transport, TrunkId, in_uri};
use crate::session::{Codec, Sound, Suites};
use crate::tone::{Cadence, Tones};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// All trunks: the Microsoft side first, then the gateways in file order.
    pub trunks: Vec<Arc<Trunk>>,
    /// The lines, in file order.
    pub spans: Vec<Arc<Span>>,
    /// Where the Microsoft side reaches us.
    pub lync_listen: SocketAddr,
    /// Our certificate, its key and whom we trust.
    pub identity: TlsIdentity,
    /// Where gateways reach us.
    pub trunk_listen: TrunkListen,
    /// Where their SNMP traps reach us; `None` is off.
    pub traps: Option<Traps>,
    /// Media addresses, ports and codecs.
    pub media: Media,
    /// What we play ourselves.
    pub sounds: Sounds,
    /// `[HybridVoiceRoutes]` in file order: the first whose pattern matches takes the call.
    pub routes: Vec<Route>,
    /// Where the true time comes from.
    pub clock: Clock,
    /// The page, the JSON interface, metrics.
    pub web: Web,
    /// How much of past calls is kept in memory.
    pub trace: Trace,
    /// What becomes of a transfer whose referrer's identity is bad.
    pub referrer_identity: ReferrerIdentity,
    /// What is logged.
    pub logging: Logging,
    /// How long a stopping daemon waits for its calls to end.
    pub drain_timeout: Duration,
}

impl Config {
    /// The Microsoft side.
    pub fn lync(&self) -> &Arc<Trunk> {
        &self.trunks[0]
    }

    /// A trunk by its number; `None` after a reload that removed it.
    pub fn trunk(&self, id: TrunkId) -> Option<&Arc<Trunk>> {
        self.trunks.iter().find(|trunk| trunk.id == id)
    }

    /// A line by its number; `None` after a reload that removed it.
    pub fn span(&self, id: SpanId) -> Option<&Arc<Span>> {
        self.spans.iter().find(|span| span.id == id)
    }

    /// The lines of a D channel, the one that has it first, then the others in file order.
    pub fn lines_of(&self, line: SpanId) -> impl Iterator<Item = &Arc<Span>> {
        span::sharing(&self.spans, line)
    }

    /// The lines whose calls end when `new` takes this one's place: a D channel is begun anew when one of its lines changed.
    pub fn lines_ended_by(&self, new: &Config) -> impl Iterator<Item = &Arc<Span>> {
        self.spans.iter().filter(|span| {
            let line = span.signalled_by();
            !go_on(self.lines_of(line), new.lines_of(line))
        })
    }

    /// The gateways in file order.
    pub fn gateways(&self) -> &[Arc<Trunk>] {
        &self.trunks[1..]
    }
}

/// A way in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// 0 for the Microsoft side, else the number in the section's name (`[Gateway3]`): it means the
    /// same trunk before and after a reload.
    pub id: TrunkId,
    /// `lync`, or the gateway's section name (`Gateway1`): the name in logs, metrics, commands.
    pub name: String,
    /// Which dialect is spoken there.
    pub kind: TrunkKind,
    /// The name or address that we give ourselves there: Contact, Via, From host.
    pub own_host: String,
    /// The port on which this trunk reaches us, for Contact.
    pub own_port: u16,
    /// Where requests go, in order of preference; none on lines.
    pub hops: Vec<Target>,
    /// The lines of an ISDN trunk, in the order in which they are hunted.
    pub spans: Vec<SpanId>,
    /// Its exchange joins the two ends of a call that a transfer left on one line.
    pub line_transfer: bool,
    /// Who counts as this trunk.
    pub peers: Peers,
    /// May, must or must not media be encrypted?
    pub srtp: SrtpMode,
    /// In which suites, the best one first?
    pub suites: Suites,
    /// The codecs to offer and accept, best first.
    pub codecs: Vec<Codec>,
    /// The parameters of Set-CsTrunkConfiguration, as they hold here.
    pub switches: Switches,
    /// What its refusals become.
    pub refusals: Vec<RefusalRule>,
    /// Most calls at once; `None` is no limit.
    pub max_calls: Option<u32>,
    /// What tells of a gateway's state beside its calls.
    pub voices: Voices,
}

/// What tells of a gateway's state beside its calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voices {
    /// Its serial console.
    pub console: Option<Console>,
    /// Its REST interface.
    pub rest: Option<Rest>,
}

/// The dialect of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkKind {
    /// Microsoft, of some generation.
    Microsoft(Profile),
    /// A SIP gateway.
    Gateway,
    /// T1 or E1 lines.
    Isdn,
}

/// A generation of Microsoft peers: TLS floor, certificate rules and dialect follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Office Communications Server 2007 R2.
    Ocs2007R2,
    /// Lync Server 2010.
    Lync2010,
    /// Lync Server 2013.
    Lync2013,
    /// Skype for Business Server 2015.
    Sfb2015,
    /// Skype for Business Server 2019.
    Sfb2019,
    /// Teams Direct Routing.
    Teams,
}

/// How a peer is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// Names that its certificate may carry (lower case; `*.` covers one label).
    pub names: Vec<String>,
    /// Addresses it may come from, for TCP and UDP.
    pub addresses: Vec<IpAddr>,
}

/// Set-CsTrunkConfiguration's SRTPMode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpMode {
    /// Only encrypted media.
    Required,
    /// Encrypted where the peer can.
    Optional,
    /// Never encrypted.
    NotSupported,
}

/// What becomes of a transfer that the Microsoft side asks for with a bad referrer's identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferrerIdentity {
    /// It goes on: who checks the identity shall refuse it.
    #[default]
    Relay,
    /// It is refused here, as a Microsoft server would.
    Refuse,
}

/// How digits travel on a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtmf {
    /// As RTP events where the peer agrees, else as tones.
    Auto,
    /// As tones.
    Inband,
    /// In SIP INFO.
    Info,
}

/// The parameters of Set-CsTrunkConfiguration that act on the wire, by Microsoft's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Shall the peer receive REFER? Not if Enable3pccRefer says that this box connects the two itself.
    pub enable_refer_support: bool,
    /// May the peer send REFER? Microsoft always may.
    pub accept_refer: bool,
    /// Give up on a silent gateway after 10 s.
    pub enable_fast_failover_timer: bool,
    /// How long the fast failover timer runs.
    pub fast_failover_timeout: Duration,
    /// How digits travel.
    pub dtmf: Dtmf,
    /// Send History-Info.
    pub forward_call_history: bool,
    /// Send and accept P-Asserted-Identity.
    pub forward_pai: bool,
    /// Offer session timers; the peer's are answered either way.
    pub enable_session_timer: bool,
    /// Follow the peer's media address (NAT).
    pub enable_rtp_latching: bool,
    /// The peer sends RTCP on live calls: silence means it is gone.
    pub rtcp_active_calls: bool,
    /// The same for held calls.
    pub rtcp_calls_on_hold: bool,
    /// Most early dialogs that the peer can take for an INVITE it sent; 1 collapses forks.
    pub max_early_dialogs: u16,
    /// Strip the leading `+` from numbers sent there.
    pub remove_plus_from_uri: bool,
    /// Ask for and give reliable provisional responses (RFC 3262).
    pub enable_100rel: bool,
    /// Seconds between OPTIONS of ours; zero sends none.
    pub options_interval: Duration,
}

/// Files of the TLS identity; read by the shell, never by the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The one name from which Contact, Via, TLS and OPTIONS identity derive.
    pub fqdn: String,
    /// Our chain, leaf first, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub private_key: PathBuf,
    /// Whom we trust, PEM.
    pub trusted_roots: PathBuf,
}

/// `[Trunks]`: listeners for gateways; `None` is off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrunkListen {
    /// TLS, 5067 by custom.
    pub tls: Option<SocketAddr>,
    /// TCP, 5068 by custom.
    pub tcp: Option<SocketAddr>,
    /// UDP.
    pub udp: Option<SocketAddr>,
}

/// `[Trunks]`: SNMP traps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traps {
    /// Where they come in.
    pub listen: SocketAddr,
    /// The file of the community that they must carry.
    pub community: Option<PathBuf>,
}

impl Trunk {
    /// Our host and port as a Via names them (RFC 3261 section 18.1.1).
    pub fn sent_by(&self) -> String {
        format!("{}:{}", in_uri(&self.own_host), self.own_port)
    }
}

impl TrunkListen {
    /// The listener of a transport.
    pub fn of(&self, transport: Transport) -> Option<SocketAddr> {
        match transport {
            Transport::Tls => self.tls,
            Transport::Tcp => self.tcp,
            Transport::Udp => self.udp,
        }
    }
}

/// `[Media]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The address in our SDP.
    pub address: IpAddr,
    /// First and last port for RTP and RTCP.
    pub ports: (u16, u16),
    /// Media threads; `None` lets the machine decide.
    pub threads: Option<usize>,
    /// How long a missing packet is waited for at most where sound is transcoded.
    pub jitter: Duration,
    /// The cores that the threads keep to, in turn; none lets the system place them.
    pub cores: Vec<usize>,
    /// How the threads talk to their sockets.
    pub socket_io: SocketIo,
}

/// How media threads talk to their sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketIo {
    /// By io_uring where it can be had, else by epoll.
    #[default]
    Auto,
    /// By io_uring; a warning when it cannot be had.
    Uring,
    /// By epoll.
    Epoll,
}

/// `[Media]`: what we play ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sounds {
    /// What a held side hears; without it a hold is passed on.
    pub hold_music: Option<SoundFile>,
    /// Of the country where our callers are.
    pub tones: &'static Tones,
    /// What callers hear of a refusal.
    pub announcements: Announcements,
}

/// `[Announcements]`: what a caller from the telephone network hears before it is told of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcements {
    /// Of a busy telephone.
    pub busy: Option<Announced>,
    /// Of a number that nobody has.
    pub unassigned: Option<Announced>,
    /// Of a network or server that fails.
    pub congestion: Option<Announced>,
    /// Of any other refusal.
    pub other: Option<Announced>,
    /// How long it sounds at most.
    pub longest: Duration,
}

/// What sounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// This tone.
    Tone(Cadence),
    /// This file, once.
    File(SoundFile),
}

impl Announcements {
    /// What is heard of a refusal with this SIP status.
    pub fn of(&self, status: u16) -> Option<&Announced> {
        match status {
            486 | 600 => self.busy.as_ref(),
            404 | 410 | 484 | 604 => self.unassigned.as_ref(),
            500..=599 => self.congestion.as_ref(),
            _ => self.other.as_ref(),
        }
    }

    /// The files among them, each with its key.
    pub fn files(&mut self) -> impl Iterator<Item = (&'static str, &mut SoundFile)> {
        let Announcements { busy, unassigned, congestion, other, .. } = self;
        let all = [("Busy", busy), ("Unassigned", unassigned), ("Congestion", congestion), ("Other", other)];
        all.into_iter().filter_map(|(key, announced)| match announced {
            Some(Announced::File(file)) => Some((key, file)),
            Some(Announced::Tone(_)) | None => None,
        })
    }
}

/// A sound file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundFile {
    /// The file.
    pub path: PathBuf,
    /// Where the configuration names it, for who finds it wanting.
    pub named_at: Extent,
    /// What is in it; filled in by who may read files, `None` when it cannot be played.
    pub sound: Option<Arc<Sound>>,
}

/// One line of `[HybridVoiceRoutes]` with the gateways that take it.
#[derive(Clone, Debug)]
pub struct Route {
    /// The key: the route's name.
    pub name: String,
    /// Matched against the called number (.NET meaning, backtracking bounded).
    pub pattern: fancy_regex::Regex,
    /// Gateways whose `VoiceRoutes` name it, in file order.
    pub gateways: Vec<TrunkId>,
}

/// `[Clock]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// NTP servers; port 123 unless written.
    pub servers: Vec<HostPort>,
    /// How far our time may be ahead of true time.
    pub max_ahead: Duration,
    /// How far it may be behind.
    pub max_behind: Duration,
    /// Is the system's clock steered as well?
    pub discipline: bool,
}

/// `[Web]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where; `None` is off.
    pub listen: Option<SocketAddr>,
    /// A file holding the bearer token; needed for anything but loopback.
    pub token_file: Option<PathBuf>,
}

/// `[Trace]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Calls whose ladders are kept.
    pub keep: usize,
}

/// `[Logging]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The least that is logged.
    pub level: Level,
    /// Do telephone numbers and addresses of persons stand in the log?
    pub show_numbers: bool,
}

/// How much is logged, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What is broken.
    Error,
    /// What will break.
    Warn,
    /// What happened.
    Info,
    /// Why it happened.
    Debug,
    /// Every step.
    Trace,
}
