//! The one table of sections and keys.
//!
//! From it come the reader, its messages, and the sample `config/demarc.ini` with its help
//! ([`sample`]). A key that is not here does not exist.

use std::fmt;
use std::time::Duration;

use super::value::{Form, nearest};
use crate::tone::COUNTRY_NAMES;

use Effect::{Listeners, Live, NewCalls, Restart, Spans};
use Form::{
    Addresses, Auto, Calls, Capture, Choice, Choices, CodeRule, DChannel, Flag, Gain, Host, Hosts, List, Listen, Name,
    Names, Number, Numbers, OwnAddress, Path, Pattern, Port, Ports, PortsOfCards, Search, Share, Step, Text, Time,
    Translation, Typed, Url,
};
use Section::{
    Announcements, CalledNumberRules, CallingNumberRules, Cdr, Clock, Common, Console, DialPlan, EdgeServer, Gateway,
    HybridVoiceRoutes, Logging, Lync, Media, MediationServer, Network, PrimaryCms, ResponseCodeRules, Span, Trace,
    TrunkConfiguration, Trunks, Web,
};

/// The kinds of sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// The Microsoft side.
    Lync,
    /// Where gateways reach us.
    Trunks,
    /// Sound.
    Media,
    /// What callers hear of refusals.
    Announcements,
    /// A gateway, numbered.
    Gateway,
    /// Which numbers go where.
    HybridVoiceRoutes,
    /// The parameters of Set-CsTrunkConfiguration.
    TrunkConfiguration,
    /// Inbound normalization, named.
    DialPlan,
    /// Translation of called numbers, named.
    CalledNumberRules,
    /// Translation of calling numbers, named.
    CallingNumberRules,
    /// Translation of refusals, named.
    ResponseCodeRules,
    /// How a serial console is read, named.
    Console,
    /// A T1 or E1 line, numbered.
    Span,
    /// Time sources.
    Clock,
    /// The page and the JSON interface.
    Web,
    /// Call detail records.
    Cdr,
    /// Ladders of past calls.
    Trace,
    /// The log.
    Logging,
    /// CloudConnector.ini: the site.
    Common,
    /// CloudConnector.ini: Windows networks.
    Network,
    /// CloudConnector.ini: Central Management Store.
    PrimaryCms,
    /// CloudConnector.ini: the Mediation Server, whose place we take.
    MediationServer,
    /// CloudConnector.ini: the Edge Server.
    EdgeServer,
}

/// How a section's header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// `[Lync]`.
    Single,
    /// `[Gateway1]`, `[Gateway2]`, ...
    Numbered,
    /// `[DialPlan Chicago]`.
    Named,
}

/// A row of the table of sections.
struct SectionRow {
    section: Section,
    name: &'static str,
    header: Header,
    /// The form of every value, where the keys are names of the operator's choice.
    free: Option<Form>,
    standing: Standing,
    help: &'static str,
}

/// What a key does today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It acts.
    Acts,
    /// Accepted and checked; nothing reads it yet.
    NotYet,
    /// It belongs to Cloud Connector's Windows machines.
    Windows,
}

/// When a changed value acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// At the reload.
    Live,
    /// For calls that begin after the reload.
    NewCalls,
    /// At the reload, which opens the listener anew; live calls stay.
    Listeners,
    /// At the reload, which takes the line down and up.
    Spans,
    /// When the daemon starts.
    Restart,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::Live => "at once",
            Effect::NewCalls => "new calls",
            Effect::Listeners => "listener restart",
            Effect::Spans => "span restart",
            Effect::Restart => "restart",
        })
    }
}

/// A row of the table of keys.
#[derive(Debug)]
pub struct Key {
    /// Where it stands.
    pub section: Section,
    /// Its name, as documents write it.
    pub name: &'static str,
    /// Other spellings of the same key.
    pub aliases: &'static [&'static str],
    /// Where the key stands as often as is wanted, a name of the operator's choice behind it (`Alarm Fan`): an example
    /// of the name and the value.
    pub family: Option<(&'static str, &'static str)>,
    /// What its value looks like.
    pub form: Form,
    /// What holds without it, in the file's own words; empty when there is nothing, or when the
    /// help says what it is derived from.
    pub default: &'static str,
    /// When a change acts.
    pub effect: Effect,
    /// What it does today.
    pub standing: Standing,
    /// One paragraph.
    pub help: &'static str,
    /// The value in the sample; without one the sample shows the key commented out.
    pub sample: Option<&'static str>,
}

impl Key {
    const fn aliases(self, aliases: &'static [&'static str]) -> Key {
        Key { aliases, ..self }
    }

    const fn sample(self, value: &'static str) -> Key {
        Key { sample: Some(value), ..self }
    }

    const fn not_yet(self) -> Key {
        Key { standing: Standing::NotYet, ..self }
    }

    const fn family(self, name: &'static str, value: &'static str) -> Key {
        Key { family: Some((name, value)), ..self }
    }

    /// The operator's own name in a key of a family: `Fan` of `Alarm Fan`.
    pub fn label<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (start, label) = self.family.and_then(|_| name.split_at_checked(self.name.len()))?;
        let fits = start.eq_ignore_ascii_case(self.name) && label.starts_with([' ', '\t']);
        Some(label.trim()).filter(|label| fits && !label.is_empty())
    }

    /// Does a file mean this key by `name`?
    pub fn is(&self, name: &str) -> bool {
        if self.family.is_some() {
            return self.label(name).is_some();
        }
        std::iter::once(&self.name).chain(self.aliases).any(|known| known.eq_ignore_ascii_case(name))
    }
}

const fn key(
    section: Section,
    name: &'static str,
    form: Form,
    default: &'static str,
    effect: Effect,
    help: &'static str,
) -> Key {
    let (aliases, standing) = (&[] as &[&str], Standing::Acts);
    Key { section, name, aliases, family: None, form, default, effect, standing, help, sample: None }
}

const fn windows(section: Section, name: &'static str) -> Key {
    let help = "Belongs to Cloud Connector's Windows machines.";
    Key { standing: Standing::Windows, ..key(section, name, Text, "", Live, help) }
}

const fn own(section: Section, name: &'static str, header: Header, help: &'static str) -> SectionRow {
    SectionRow { section, name, header, free: None, standing: Standing::Acts, help }
}

const fn later(section: Section, name: &'static str, header: Header, help: &'static str) -> SectionRow {
    SectionRow { section, name, header, free: None, standing: Standing::NotYet, help }
}

const fn rules(section: Section, name: &'static str, form: Form, help: &'static str) -> SectionRow {
    SectionRow { section, name, header: Header::Named, free: Some(form), standing: Standing::NotYet, help }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const ZERO: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The most slips a minute on a simulated line.
pub const MOST_SLIPS: u32 = 600;

/// The words of `Profile`, in the order of [`super::Profile`].
pub const PROFILES: &[&str] = &["ocs2007r2", "lync2010", "lync2013", "sfb2015", "sfb2019", "teams"];
/// The words of `SRTPMode`, in the order of [`super::SrtpMode`].
pub const SRTP_MODES: &[&str] = &["Required", "Optional", "NotSupported"];
/// The words of `Protocol`, in the order of [`crate::hop::Transport`].
pub const PROTOCOLS: &[&str] = &["UDP", "TCP", "TLS"];
/// The words of `Codecs`, in the order of [`crate::session::Codec::ALL`].
pub const CODECS: &[&str] = &["opus", "G722", "PCMU", "PCMA"];
/// The words of `DTMF`, in the order of [`super::Dtmf`].
pub const DTMF: &[&str] = &["auto", "inband", "info"];
/// The words of `SocketIo`, in the order of [`super::SocketIo`].
pub const SOCKET_IO: &[&str] = &["auto", "uring", "epoll"];
/// The words of `ReferrerIdentity`, in the order of [`super::ReferrerIdentity`].
pub const REFERRER_IDENTITIES: &[&str] = &["relay", "refuse"];
/// The words of `CryptoSuites`, in the order of [`crate::session::Suite::ALL`].
pub const SUITES: &[&str] = &[
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM",
];
/// The words of `Speed`.
pub const SPEEDS: &[&str] = &["1200", "2400", "4800", "9600", "19200", "38400", "57600", "115200"];
/// The words of `Kind`.
pub const KINDS: &[&str] = &["sip", "vx1200", "isdn"];
/// The tones of `[Announcements]`.
pub const ANNOUNCED_TONES: &[&str] = &["busy", "congestion", "sit"];
/// The words of `Driver`.
pub const DRIVERS: &[&str] = &["simulated", "dahdi", "e1d"];
/// The words of `Line`.
pub const LINES: &[&str] = &["T1", "E1"];
/// The words of `Switch`, in the order of [`crate::wire::q931::Dialect::ALL`].
pub const SWITCHES: &[&str] = &["ni2", "5ess", "dms100", "4ess", "euroisdn", "qsig"];
/// The words of `Side` of a line.
pub const SIDES: &[&str] = &["user", "network"];
/// The words of `Timeslot`: is it that one or none?
pub const TIMESLOTS: &[&str] = &["exclusive", "preferred"];
/// The words of `LineTransfer`.
pub const LINE_TRANSFERS: &[&str] = &["no", "auto"];
/// The words of `Hunt`, in the order of [`super::Hunt::ALL`].
pub const HUNTS: &[&str] = &["opposite", "ascending", "descending", "least-recent", "most-recent"];
/// The most that a line is made louder or softer by, dB.
pub const MOST_GAIN: i8 = 12;
/// The words of `EchoTail`.
pub const ECHO_TAILS: &[&str] = &["off", "64ms", "128ms"];
/// The words of `Level`, in the order of [`super::Level`].
pub const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];
/// The words of `Numbers`.
pub const NUMBERS: &[&str] = &["hidden", "shown"];

#[rustfmt::skip]
static SECTIONS: &[SectionRow] = &[
    own(Lync, "Lync", Header::Single, "The Microsoft side: a Lync or Skype for Business pool, or Teams Direct Routing. Keys of [TrunkConfiguration] that stand here hold for this side; without one here, the default holds, not the value of [TrunkConfiguration], which describes gateways."),
    own(Trunks, "Trunks", Header::Single, "Where gateways reach us."),
    own(Media, "Media", Header::Single, "Where sound goes."),
    own(Announcements, "Announcements", Header::Single, "What a caller from the telephone network hears before it is told that its call is refused: busy, congestion or sit (the special information tone), by the country in Tones, or a sound file as in HoldMusic. It comes as early media (183), so the caller's telephone must have offered sound. A key that is left out: the refusal goes out at once."),
    own(Gateway, "Gateway", Header::Numbered, "A gateway: [Gateway1], [Gateway2] and so on; the order in the file is the order of preference. Any key of [TrunkConfiguration] may be repeated here for this gateway alone."),
    SectionRow { section: HybridVoiceRoutes, name: "HybridVoiceRoutes", header: Header::Single, free: Some(Pattern), standing: Standing::Acts, help: "Name=pattern, matched against the called number; the first match in file order takes the call, to the gateways whose VoiceRoutes name it. Without this section every gateway takes every call." },
    own(TrunkConfiguration, "TrunkConfiguration", Header::Single, "How gateways are spoken to, by the parameters of Set-CsTrunkConfiguration. Each may be overridden in a gateway's own section."),
    rules(DialPlan, "DialPlan", Translation, "Inbound normalization: name = pattern => translation, .NET meaning; the first match in file order wins."),
    rules(CalledNumberRules, "CalledNumberRules", Translation, "What a gateway is sent as the called number: name = pattern => translation."),
    rules(CallingNumberRules, "CallingNumberRules", Translation, "What a gateway is sent as the calling number: name = pattern => translation."),
    SectionRow { section: ResponseCodeRules, name: "ResponseCodeRules", header: Header::Named, free: Some(CodeRule), standing: Standing::Acts, help: "What a refusal before the answer becomes: name = SIP[/Q.850 cause] => SIP[/Q.850 cause]; the first line that fits wins. It is applied before anything else looks at the refusal: one that becomes a 5xx sends the call on to the next gateway. Without a cause on the left any fits, with 0 as the status any does; a line's refusal has the status that stands for its cause (RFC 3398). Without a cause on the right the refusal's own stays, if it had one." },
    own(Console, "Console", Header::Named, "How a gateway's serial console is read: [Console NAME], named by ConsoleScript of a gateway. Each round wakes it by an empty line, logs in where it asks for that, sends the commands and searches their answers for alarms. Nothing but what stands here is ever sent."),
    own(Span, "Span", Header::Numbered, "A T1 or E1 line: [Span1], [Span2] and so on."),
    own(Clock, "Clock", Header::Single, "Where the true time comes from: signed transfers fail when the clock is off."),
    own(Web, "Web", Header::Single, "The web page, the JSON interface, /metrics, /healthz and /readyz."),
    later(Cdr, "CDR", Header::Single, "Call detail records."),
    own(Trace, "Trace", Header::Single, "Ladders of past calls."),
    own(Logging, "Logging", Header::Single, "The log."),
    own(Common, "Common", Header::Single, "CloudConnector.ini: the site."),
    own(Network, "Network", Header::Single, "CloudConnector.ini: the networks of the Windows host."),
    own(PrimaryCms, "PrimaryCMS", Header::Single, "CloudConnector.ini: the Central Management Store."),
    own(MediationServer, "MediationServer", Header::Single, "CloudConnector.ini: the Mediation Server whose place we take."),
    own(EdgeServer, "EdgeServer", Header::Single, "CloudConnector.ini: the Edge Server."),
];

/// All keys, in the order of the sample.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key(Lync, "Profile", Choice(PROFILES), "sfb2015", Listeners, "The generation of the Microsoft side. TLS floor, certificate rules and dialect follow from it.").sample("sfb2015"),
    key(Lync, "Fqdn", Host, "", Restart, "The one name from which Contact, Via, Record-Route, From host, TLS and OPTIONS identity derive; the certificate must carry it. In a CloudConnector.ini: PoolName (else ServerName) of [MediationServer] with VirtualMachineDomain.").sample("ms1.contoso.com"),
    key(Lync, "Listen", Listen, "0.0.0.0:5070", Listeners, "Where the pool reaches us, by mutual TLS."),
    key(Lync, "NextHop", Hosts, "", NewCalls, "Where calls to the Microsoft side go: one or more of host:port, or a name to be resolved by SRV, in order of preference. With an address, the name checked is any of TrustedPeers. In a CloudConnector.ini: the Edge Server's internal pool, else OnlineSipFederationFqdn, at port 5061.").sample("pool01.contoso.com:5061"),
    key(Lync, "Certificate", Path, "/etc/demarc/tls/demarc.pem", Live, "Our certificate with its whole chain, PEM, ours first. A relative path counts from this file's directory.").sample("/etc/demarc/tls/ms1.pem"),
    key(Lync, "PrivateKey", Path, "/etc/demarc/tls/demarc.key", Live, "The certificate's key, PEM.").sample("/etc/demarc/tls/ms1.key"),
    key(Lync, "TrustedRoots", Path, "/etc/demarc/tls/roots.pem", Live, "The certificate authorities that peers' certificates must come from, PEM.").sample("/etc/demarc/tls/roots.pem"),
    key(Lync, "TrustedPeers", Names, "", Live, "The names that the Microsoft side's certificates may carry; *. covers one label. Nothing is answered before the peer is one of them. Without this key: the names in NextHop.").sample("pool01.contoso.com fe01.contoso.com"),
    key(Lync, "SRTPMode", Choice(SRTP_MODES), "Required", NewCalls, "May, must or must not media to the Microsoft side be encrypted?"),
    key(Lync, "ReferrerIdentity", Choice(REFERRER_IDENTITIES), "relay", NewCalls, "A transfer whose signed Referred-By is dated wrongly, cannot be read, or (but for teams, which signs none) is missing. relay: it goes on as it came, and what is wrong stands in the call's ladder; refuse: 429 with ms-diagnostics 1020, as Microsoft's own servers answer."),
    key(Lync, "ResponseCodeRules", Text, "", NewCalls, "The [ResponseCodeRules NAME] for this side's refusals: what a gateway or line is told."),
    key(Lync, "MaxCalls", Number(1, 100_000), "", NewCalls, "Most calls at once with the Microsoft side; without this key there is no limit."),

    key(Trunks, "TlsListen", Listen, "0.0.0.0:5067", Listeners, "Where gateways reach us by TLS."),
    key(Trunks, "TcpListen", Listen, "0.0.0.0:5068", Listeners, "Where gateways reach us by TCP."),
    key(Trunks, "UdpListen", Listen, "", Listeners, "Where gateways reach us by UDP; off unless set."),
    key(Trunks, "TrapListen", Listen, "", Live, "Where gateways send SNMP traps (v1, v2c), such as 0.0.0.0:162: what they say of lines (linkDown, linkUp, dsx1LineStatusChange) is shown as the gateway's. Off unless set. Only the addresses in IP of gateways count."),
    key(Trunks, "TrapCommunityFile", Path, "", Live, "The file whose first line is the community that traps must carry. Without this key any will do."),
    key(Trunks, "OwnHost", Host, "", NewCalls, "How we call ourselves toward gateways, in Contact, Via and From. Without this key: Fqdn under TLS, where it must agree with the certificate; otherwise the listener's address, or the media address when the listener has none of its own, so that a gateway needs no DNS."),
    key(Trunks, "DrainTimeout", Time(ZERO, DAY), "60s", Live, "How long a stopping daemon waits for its calls to end before it ends them."),

    key(Media, "Address", OwnAddress, "", NewCalls, "Our address in SDP, on both sides. Without this key: the address in [Lync] Listen if that is one machine's; in a CloudConnector.ini the IP of [MediationServer].").sample("192.0.2.10"),
    key(Media, "Ports", Ports, "49152-57500", NewCalls, "First and last port for RTP and RTCP. A call takes four."),
    key(Media, "Codecs", Choices(CODECS), "opus G722 PCMU PCMA", NewCalls, "Codecs, the preferred one first: toward the Microsoft side all of them, toward gateways its G.711 (see Codecs of a gateway). Siren and RTAudio are never spoken: no open decoder exists."),
    key(Media, "JitterBuffer", Time(Duration::from_millis(20), SECOND), "120ms", Restart, "How long a packet that is missing is waited for at most where sound is transcoded; how long really follows the jitter that is seen. What both sides code alike is passed on at once."),
    key(Media, "HoldMusic", Path, "", NewCalls, "A sound file that each side hears while the other side holds: WAV (PCM of 8 to 32 bits or floating point, at any usual rate) or Ogg Opus, of up to 10 minutes; several channels are mixed, a minute takes 3 MB of memory. With it a hold is not passed on, so that the held side can listen; what the holder plays itself comes first. Without it a hold is passed on as it is, and what the held side hears is its own affair. A relative path counts from this file's directory."),
    key(Media, "Tones", Choice(COUNTRY_NAMES), "us", NewCalls, "The country (ISO 3166, but uk) whose ringing tone a caller hears while the called telephone rings, where there is early media but nothing in it."),
    key(Media, "Threads", Auto(1, 256), "auto", Restart, "Media threads; auto lets the machine decide."),
    key(Media, "Cores", Numbers(0, 1023), "", Restart, "The processor cores that media threads keep to, counted from 0: the first thread to the first of these, and so on in turn. Without this key the system places them, which is better unless these cores are kept free of all else."),
    key(Media, "SocketIo", Choice(SOCKET_IO), "auto", Restart, "How media threads talk to their sockets. auto: by io_uring where the system has it and allows it, else by epoll; the log says which."),

    key(Announcements, "Busy", Path, "", NewCalls, "The called telephone is busy (486, 600; Q.850 17).").sample("busy"),
    key(Announcements, "Unassigned", Path, "", NewCalls, "Nobody has the called number (404, 410, 484, 604; Q.850 1, 3, 22, 28).").sample("sit"),
    key(Announcements, "Congestion", Path, "", NewCalls, "A network or server on the way fails (5xx).").sample("congestion"),
    key(Announcements, "Other", Path, "", NewCalls, "Any other refusal."),
    key(Announcements, "Longest", Time(SECOND, MINUTE), "10s", NewCalls, "How long it sounds at most; a file ends with its end."),

    key(Gateway, "FQDN", Name, "", NewCalls, "The gateway's name. Under TLS its certificate must carry it."),
    key(Gateway, "IP", Addresses, "", NewCalls, "The gateway's address; several are tried in order. Without one the FQDN is looked up.").sample("192.0.2.20"),
    key(Gateway, "Port", Port, "", NewCalls, "The port that the gateway listens on. Without one: 5060, or 5061 under TLS; a gateway with an FQDN alone is looked up by SRV.").sample("5060"),
    key(Gateway, "Protocol", Choice(PROTOCOLS), "TCP", NewCalls, "TCP, TLS, or UDP. TLS needs the FQDN, UDP needs [Trunks] UdpListen.").sample("TCP"),
    key(Gateway, "VoiceRoutes", List, "", NewCalls, "The names in [HybridVoiceRoutes] whose calls this gateway takes. Without one it takes all calls.").sample("LocalRoute"),
    key(Gateway, "MaxCalls", Number(1, 100_000), "", NewCalls, "Most calls at once through this gateway; without this key there is no limit."),
    key(Gateway, "Codecs", Choices(CODECS), "", NewCalls, "The codecs spoken with this gateway, the preferred one first. Without this key: PCMU and PCMA, in the order of [Media] Codecs. Where the two sides share no codec, this box transcodes."),
    key(Gateway, "Kind", Choice(KINDS), "sip", Restart, "What the gateway is: sip; vx1200 is a SIP gateway whose state can be read beside its calls (Console, Rest); isdn is lines of ours: see Span."),
    key(Gateway, "LineTransfer", Choice(LINE_TRANSFERS), "no", NewCalls, "Kind=isdn: what becomes of a call whose two ends are on one line after a transfer. no: it stays in this box and takes two timeslots; auto: the exchange is asked to join the two, which frees both (ni2, 5ess, 4ess: two B-channel transfer; dms100: release link trunk; euroisdn: explicit call transfer; qsig: path replacement). The carrier must have enabled that; where it refuses, nobody hears anything of it."),
    key(Gateway, "Span", List, "", Spans, "Kind=isdn: the lines of this trunk, hunted in order."),
    key(Gateway, "Console", Path, "", Live, "Kind=vx1200: the serial console that the gateway's alarms are read from, such as /dev/ttyUSB0. It never acts on calls."),
    key(Gateway, "ConsoleScript", Text, "", Live, "Kind=vx1200: the [Console NAME] by which the console is read. Without one it is not opened; only that it is there is watched."),
    key(Gateway, "Rest", Url, "", Live, "Kind=vx1200: where the gateway's REST interface (UX and SBC 1000 and 2000) tells the state of its T1 and E1 ports. It is only asked, never told anything."),
    key(Gateway, "RestUser", Text, "", Live, "Who asks: a user of the gateway with the access level REST."),
    key(Gateway, "RestPasswordFile", Path, "", Live, "The file whose first line is that user's password."),
    key(Gateway, "RestRoots", Path, "", Live, "The certificate authorities that the REST interface's certificate may come from, or that certificate itself, PEM. Without this key: [Lync] TrustedRoots. The certificate must carry the name or address in Rest."),
    key(Gateway, "RestPorts", PortsOfCards, "", Live, "The T1 and E1 ports that are asked for: 1:1 1:2."),
    key(Gateway, "RestInterval", Time(Duration::from_secs(10), HOUR), "60s", Live, "Time between rounds of questions."),
    key(Gateway, "DialPlan", Text, "", NewCalls, "The [DialPlan NAME] for calls from this gateway.").not_yet(),
    key(Gateway, "CalledNumberRules", Text, "", NewCalls, "The [CalledNumberRules NAME] for calls to this gateway.").not_yet(),
    key(Gateway, "CallingNumberRules", Text, "", NewCalls, "The [CallingNumberRules NAME] for calls to this gateway.").not_yet(),
    key(Gateway, "ResponseCodeRules", Text, "", NewCalls, "The [ResponseCodeRules NAME] for this gateway's refusals, or its lines'."),

    key(TrunkConfiguration, "EnableReferSupport", Flag, "True", NewCalls, "Can the gateway receive REFER? If not, we place a transfer's new call ourselves."),
    key(TrunkConfiguration, "AcceptRefer", Flag, "False", NewCalls, "May the gateway send REFER? If not it is refused, as Microsoft does, and the gateway transfers by re-INVITE."),
    key(TrunkConfiguration, "EnableFastFailoverTimer", Flag, "True", NewCalls, "Go to the next gateway when this one shows neither progress nor an answer in time."),
    key(TrunkConfiguration, "FastFailoverTimeout", Time(SECOND, MINUTE), "10s", NewCalls, "How long the fast failover timer runs."),
    key(TrunkConfiguration, "ForwardCallHistory", Flag, "False", NewCalls, "Tell who was called before, by History-Info, to gateways by Diversion as well, on lines as redirecting and original called number; and Referred-By on transfers."),
    key(TrunkConfiguration, "ForwardPAI", Flag, "False", NewCalls, "Send P-Asserted-Identity, of who calls and of who answers, and believe the gateway's when it is a telephone number.").aliases(&["Forward PAI"]),
    key(TrunkConfiguration, "SRTPMode", Choice(SRTP_MODES), "Required", NewCalls, "May, must or must not media to a TLS gateway be encrypted? Under TCP and UDP it never is: the keys would travel in the clear."),
    key(TrunkConfiguration, "DTMF", Choice(DTMF), "auto", NewCalls, "How digits travel. auto: as RTP events (RFC 4733) where the peer agrees on them, else as tones in the sound; inband: as tones only; info: in SIP INFO. Where the two sides differ, this box converts."),
    key(TrunkConfiguration, "CryptoSuites", Choices(SUITES), "AES_CM_128_HMAC_SHA1_80 AES_CM_128_HMAC_SHA1_32 AES_256_CM_HMAC_SHA1_80 AES_256_CM_HMAC_SHA1_32 AEAD_AES_128_GCM AEAD_AES_256_GCM", NewCalls, "The SRTP suites that are allowed, the best one first: it is offered, and of an offer the best is taken. Microsoft's side speaks the first."),
    key(TrunkConfiguration, "EnableSessionTimer", Flag, "False", NewCalls, "Offer session timers (RFC 4028). The peer's are answered either way."),
    key(TrunkConfiguration, "EnableRTPLatching", Flag, "False", NewCalls, "Follow the gateway's media address where it differs from what it signalled (NAT)."),
    key(TrunkConfiguration, "RTCPActiveCalls", Flag, "True", NewCalls, "The gateway sends RTCP on live calls: 30 s of silence end the call."),
    key(TrunkConfiguration, "RTCPCallsOnHold", Flag, "True", NewCalls, "The same for calls on hold."),
    key(TrunkConfiguration, "MaxEarlyDialogs", Number(1, 1000), "20", NewCalls, "Most forked responses that the gateway can take for a call it placed; 1 makes all forks look like one."),
    key(TrunkConfiguration, "RemovePlusFromUri", Flag, "False", NewCalls, "Strip the leading + from numbers sent to the gateway."),
    key(TrunkConfiguration, "Enable100rel", Flag, "True", NewCalls, "Ask for and give reliable provisional responses (RFC 3262)."),
    key(TrunkConfiguration, "OptionsInterval", Time(ZERO, HOUR), "60s", Live, "Time between OPTIONS of ours; 0 sends none."),
    key(TrunkConfiguration, "ConcentratedTopology", Flag, "True", NewCalls, "Media ends at a known address.").not_yet(),
    key(TrunkConfiguration, "EnableBypass", Flag, "False", NewCalls, "Media straight between client and gateway.").not_yet(),
    key(TrunkConfiguration, "Enable3pccRefer", Flag, "False", NewCalls, "Transfer by third-party call control: this box places the new call and connects the two, and the gateway is sent no REFER, whatever EnableReferSupport says beside it. Microsoft's media may then bypass the mediation server; here it never does."),
    key(TrunkConfiguration, "EnableSignalBoost", Flag, "False", NewCalls, "The gateway raises the volume itself.").not_yet(),
    key(TrunkConfiguration, "EnablePIDFLOSupport", Flag, "False", NewCalls, "Send the caller's location on emergency calls.").not_yet(),
    key(TrunkConfiguration, "EnableMobileTrunkSupport", Flag, "False", NewCalls, "The trunk belongs to a mobile carrier.").not_yet(),
    key(TrunkConfiguration, "EnableOnlineVoice", Flag, "False", NewCalls, "Users have hosted voice mail.").not_yet(),
    key(TrunkConfiguration, "ForwardAnonymousCallGatewayPAI", Flag, "False", NewCalls, "Keep the gateway's asserted identity when an anonymous call is forwarded out.").not_yet(),
    key(TrunkConfiguration, "AcceptGatewayPAIForOutboundCalls", Flag, "False", NewCalls, "Show forwarded numbers.").not_yet(),

    key(Console, "Speed", Choice(SPEEDS), "9600", Live, "Bits a second; always 8 data bits, no parity, 1 stop bit."),
    key(Console, "Prompt", Search, "", Live, "What the last line looks like when a command may be typed, blanks at its end aside; without it no command is sent."),
    key(Console, "More", Search, "", Live, "What the last line looks like when a long answer stops for a key: it gets a space."),
    key(Console, "Interval", Time(Duration::from_secs(10), HOUR), "60s", Live, "Time between rounds."),
    key(Console, "Login", Step, "", Live, "A step of logging in: what the last line looks like => what is typed then. The steps are taken in file order. A password stands in a file, ${file:/etc/demarc/vx1200.password}, or is a systemd credential, ${credential:vx1200}.").family("Password", "[Pp]assword: *$ => ${credential:vx1200}"),
    key(Console, "Command", Typed, "", Live, "A command of every round, in file order; only commands that change nothing belong here.").family("Alarms", "show alarms"),
    key(Console, "Alarm", Search, "", Live, "An alarm, and what an answer looks like while it stands; ^ and $ are a line's ends. A name whose last word is LOS, LOF, AIS, RAI or down is an alarm of a line, T1-1 LOS of the line T1-1. It is over when a later answer to the same command lacks it, or as Clear says.").family("Fan", "^FAN +FAILED"),
    key(Console, "Clear", Search, "", Live, "What says that the alarm of the same name is over: it then stands until an answer to any command looks like this.").family("Fan", "^FAN +OK"),

    key(Span, "Driver", Choice(DRIVERS), "simulated", Spans, "What the line is reached through. simulated: a cable in this process with a telephone exchange at its far end, to try things with; dahdi: a card; e1d: osmo-e1d. What the service needs for the last two: /usr/share/demarc/lines.conf."),
    key(Span, "Line", Choice(LINES), "T1", Spans, "The kind of line. T1 has 24 timeslots in \u{b5}-law and its D channel in 24, E1 has 31 in A-law and its D channel in 16."),
    key(Span, "Device", Text, "", Spans, "dahdi: the span's number; e1d: the socket's path, then :interface:line when not 0:0."),
    key(Span, "Switch", Choice(SWITCHES), "ni2", Spans, "The telephone exchange's dialect."),
    key(Span, "Side", Choice(SIDES), "user", Spans, "Our side of the line: user toward a carrier, network toward a private exchange that is used to one."),
    key(Span, "DChannel", DChannel, "own", Spans, "Where the calls of this line are set up. own: in its own D timeslot; Span1: in that of [Span1], and this line has a bearer more (NFAS); backup Span1: in that of [Span1], and when it fails in its own."),
    key(Span, "Interface", Number(0, 127), "", Spans, "The line's number where one D channel serves several, as the carrier counts them."),
    key(Span, "Hunt", Choice(HUNTS), "opposite", NewCalls, "In which order timeslots are taken. opposite: the network's side from the first on, the user's from the last on, so that both seldom want the same one at once; least-recent: the one that has been free for longest, so that a bad one is met least often."),
    key(Span, "Timeslot", Choice(TIMESLOTS), "exclusive", NewCalls, "What our SETUP asks for. exclusive: the timeslot that it names or none; preferred: that one, or another that the exchange has free."),
    key(Span, "Overlap", Number(1, 32), "", NewCalls, "Called numbers come digit by digit, as from a private exchange. One is whole with so many digits, with #, when the far end says so (sending complete), or 15 s after its last digit. Without this key the number that a call begins with is whole."),
    key(Span, "DisconnectTones", Flag, "False", NewCalls, "Where an exchange refuses a call and puts a tone or an announcement behind that (DISCONNECT with progress indicator 8), the caller hears it, for up to 30 s; no other gateway is tried then. Without this the caller is told at once."),
    key(Span, "CountryCode", Number(1, 999), "", NewCalls, "The country whose national numbers this line knows: with 1, +13125556789 is called as the national number 3125556789, and a national caller is shown with +1. Without this key numbers with + are called as international ones."),
    key(Span, "EchoTail", Choice(ECHO_TAILS), "128ms", NewCalls, "The longest echo that is taken out of what the line says; by the card where it can, else here. Fax and modem calls are left alone."),
    key(Span, "ReceiveGain", Gain(MOST_GAIN), "0", NewCalls, "By how much what the line says is made louder, in dB; less than 0 makes it softer. Fax and modem calls are left alone."),
    key(Span, "TransmitGain", Gain(MOST_GAIN), "0", NewCalls, "The same of what the line hears. Both 0 leave every octet as it is."),
    key(Span, "Capture", Capture, "", Spans, "A file for all frames of the D channel, which Wireshark opens as LAPD. At 32 MB it becomes NAME.pcap.1 and is begun anew. It holds the numbers and names of all calls in the clear, whatever [Logging] Numbers says: only the daemon's user can read it; take the key out again, and delete the file, once it has served. Such as /var/lib/demarc/span1.pcap."),
    key(Span, "Calls", Calls, "", Spans, "simulated: calls that the exchange makes, comma separated. A caller speaks, and hangs up after 20 s, or as for says: every 5m +12065550123 to +14255550100 for 30s."),
    key(Span, "BitErrors", Share, "", Spans, "simulated: the share of bits that are turned over on the way; 1e-6 is a bad line."),
    key(Span, "FrameLoss", Share, "", Spans, "simulated: the share of the D channel's frames that are lost, either way; the data link repeats them."),
    key(Span, "Slips", Number(0, MOST_SLIPS), "0", Spans, "simulated: frames of 125 \u{b5}s a minute that are left out, as on a line whose ends have clocks of their own."),

    key(Clock, "Servers", Hosts, "", Live, "NTP servers, space separated; port 123 unless written. Three or more outvote one that is wrong. Our dates follow what they say."),
    key(Clock, "MaxAhead", Time(MILLISECOND, HOUR), "1s", Live, "How far our time may be ahead of true time before an alarm is raised: signed transfers are refused."),
    key(Clock, "MaxBehind", Time(MILLISECOND, HOUR), "60s", Live, "How far our time may be behind."),
    key(Clock, "Discipline", Flag, "No", Live, "Yes: bring the system's clock to the true time as well, never by a step: 1 s takes 33 min. Not while chrony or timesyncd does so, nor from farther than 10 s; needs CAP_SYS_TIME: see /usr/share/demarc/discipline.conf."),

    key(Web, "Listen", Listen, "127.0.0.1:8085", Restart, "Where; empty is off. Anything but loopback needs TokenFile."),
    key(Web, "TokenFile", Path, "", Restart, "A file that holds the bearer token which callers must show."),

    key(Cdr, "Database", Text, "/var/lib/demarc/cdr.sqlite", Restart, "Where records are kept: a file, or postgres://...").not_yet(),

    key(Trace, "Keep", Number(0, 1_000_000), "5000", Live, "Calls whose ladders are kept."),
    key(Trace, "Hep", Hosts, "", Live, "host:port of a HEP collector.").not_yet(),

    key(Logging, "Level", Choice(LEVELS), "info", Restart, "The least that is logged."),
    key(Logging, "Numbers", Choice(NUMBERS), "hidden", Live, "Do telephone numbers and addresses of persons stand in the log?"),

    key(Common, "VirtualMachineDomain", Name, "", Restart, "The domain of the Mediation Server's name."),
    key(Common, "OnlineSipFederationFqdn", Name, "", NewCalls, "The next hop where there is no Edge Server."),
    windows(Common, "SIPDomains"),
    windows(Common, "ServerName"),
    windows(Common, "IP"),
    windows(Common, "SiteName"),
    windows(Common, "HardwareType"),
    windows(Common, "CountryCode"),
    windows(Common, "City"),
    windows(Common, "State"),
    windows(Common, "BaseVMIP"),
    windows(Common, "WSUSServer"),
    windows(Common, "WSUSStatusServer"),
    windows(Network, "WSUSServer"),
    windows(Network, "WSUSStatusServer"),
    windows(Network, "CorpnetSwitchName"),
    windows(Network, "InternetSwitchName"),
    windows(Network, "ManagementSwitchName"),
    windows(Network, "CorpnetIPPrefixLength"),
    windows(Network, "CorpnetDefaultGateway"),
    windows(Network, "CorpnetDNSIPAddress"),
    windows(Network, "InternetIPPrefixLength").aliases(&["InternetIPPrefix"]),
    windows(Network, "InternetDefaultGateway"),
    windows(Network, "InternetDNSIPAddress"),
    windows(Network, "ManagementIPPrefix"),
    windows(Network, "ManagementIPPrefixLength"),
    key(Network, "EnableReferSupport", Flag, "", NewCalls, "The same as in [TrunkConfiguration], which comes first."),
    windows(PrimaryCms, "ServerName"),
    windows(PrimaryCms, "IP"),
    windows(PrimaryCms, "ShareName").aliases(&["CmsFileStore"]),
    key(MediationServer, "PoolName", Name, "", Restart, "Our name in the pool."),
    key(MediationServer, "ServerName", Name, "", Restart, "Our name without a pool."),
    key(MediationServer, "IP", OwnAddress, "", NewCalls, "Our address."),
    key(EdgeServer, "InternalPoolName", Name, "", NewCalls, "The next hop."),
    key(EdgeServer, "InternalServerName", Name, "", NewCalls, "The next hop where there is no pool name.").aliases(&["InternalMachineName"]),
    windows(EdgeServer, "InternalServerIPs").aliases(&["InternalMachineIPs"]),
    windows(EdgeServer, "ExternalSIPPoolName"),
    windows(EdgeServer, "ExternalSIPIPs"),
    windows(EdgeServer, "ExternalMRFQDNPoolName"),
    windows(EdgeServer, "ExternalMRIPs"),
    windows(EdgeServer, "ExternalMRPublicIPs"),
    windows(EdgeServer, "ExternalMRPortRange"),
];

impl SectionRow {
    /// What a header of this kind carries after the fixed word; `None` for another kind.
    fn label<'a>(&self, header: &'a str) -> Option<&'a str> {
        let (start, label) = header.split_at_checked(self.name.len())?;
        let fits = start.eq_ignore_ascii_case(self.name)
            && match self.header {
                Header::Single => label.is_empty(),
                Header::Numbered => !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()),
                Header::Named => label.starts_with(' ') && !label.trim().is_empty(),
            };
        fits.then_some(label.trim())
    }

    fn example(&self) -> String {
        match self.header {
            Header::Single => self.name.to_owned(),
            Header::Numbered => format!("{}1", self.name),
            Header::Named if self.section == Console => format!("{} Vx1200", self.name),
            Header::Named => format!("{} Chicago", self.name),
        }
    }
}

impl Section {
    fn row(self) -> Option<&'static SectionRow> {
        SECTIONS.iter().find(|row| row.section == self)
    }

    /// The kind that a header names.
    pub fn of(header: &str) -> Option<Section> {
        SECTIONS.iter().find(|row| row.label(header).is_some()).map(|row| row.section)
    }

    /// The fixed word of its header.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// The form of all values, where keys are names of the operator's choice.
    pub fn free(self) -> Option<Form> {
        self.row().and_then(|row| row.free)
    }

    /// What the section does today.
    pub fn standing(self) -> Standing {
        self.row().map_or(Standing::Acts, |row| row.standing)
    }

    /// The headers that one may have meant.
    pub fn nearest(header: &str) -> Option<String> {
        let examples: Vec<String> = SECTIONS.iter().map(SectionRow::example).collect();
        nearest(header, examples.iter().map(String::as_str)).map(str::to_owned)
    }

    /// The keys that may stand in a section of this kind.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        let also = matches!(self, Gateway | Lync).then_some(TrunkConfiguration);
        let rank = move |key: &&Key| key.section == self;
        KEYS.iter().filter(rank).chain(KEYS.iter().filter(move |key| Some(key.section) == also))
    }

    /// The key that a name means in this section.
    pub fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.is(name))
    }
}

/// The commented sample: `config/demarc.ini`.
pub fn sample() -> String {
    let mut out = String::from(SAMPLE_HEAD);
    for row in SECTIONS.iter().filter(|row| !is_cloud_connector(row.section)) {
        write_section(&mut out, row);
    }
    write_ignored(&mut out);
    out
}

const SAMPLE_HEAD: &str = "\
; demarc: every section and key, with what holds when it is absent.
; A line that starts with ; or # is a comment; nothing else is. `demarc check` names every fault.
; A CloudConnector.ini may be used as it is, or its sections copied in here.
; Each key says what it takes, and when a change to it acts.
";

/// What a CloudConnector.ini may have besides.
fn write_ignored(out: &mut String) {
    out.push('\n');
    write_comment(
        out,
        "From a CloudConnector.ini the following is accepted and ignored, for it belongs to Windows machines.",
    );
    for row in SECTIONS.iter().filter(|row| is_cloud_connector(row.section)) {
        let ignored = KEYS.iter().filter(|key| key.section == row.section && key.standing == Standing::Windows);
        let names: Vec<&str> = ignored.map(|key| key.name).collect();
        if !names.is_empty() {
            write_comment(out, &format!("[{}] {}", row.name, names.join(" ")));
        }
    }
}

fn is_cloud_connector(section: Section) -> bool {
    matches!(section, Common | Network | PrimaryCms | MediationServer | EdgeServer)
}

/// An example line for sections whose keys are free.
fn free_example(section: Section) -> &'static str {
    match section {
        HybridVoiceRoutes => r"LocalRoute=^\+1312\d{7}$",
        DialPlan => r"FourDigits=^(\d{4})$ => +1312555$1",
        CalledNumberRules => r"NoPlus=^\+(\d+)$ => $1",
        CallingNumberRules => r"MainNumber=^\+1312555\d{4}$ => +13125550100",
        _ => "Congestion=486/34 => 503",
    }
}

fn write_section(out: &mut String, row: &SectionRow) {
    let live = row.section == HybridVoiceRoutes || KEYS.iter().any(|k| k.section == row.section && k.sample.is_some());
    let mark = if live { "" } else { ";" };
    out.push('\n');
    write_comment(out, row.help);
    if row.standing == Standing::NotYet {
        write_comment(out, "Accepted; has no effect yet.");
    }
    out.push_str(&format!("{mark}[{}]\n", row.example()));
    if row.free.is_some() {
        out.push_str(&format!("{mark}{}\n", free_example(row.section)));
    }
    for key in KEYS.iter().filter(|key| key.section == row.section) {
        write_key(out, key);
    }
}

fn write_key(out: &mut String, key: &Key) {
    out.push('\n');
    write_comment(out, key.help);
    let standing = if key.standing == Standing::NotYet { "; has no effect yet" } else { "" };
    write_comment(out, &format!("({}; changes act: {}{standing})", key.form, key.effect));
    if let Some((name, value)) = key.family {
        return out.push_str(&format!(";{} {name}={value}\n", key.name));
    }
    match key.sample {
        Some(value) => out.push_str(&format!("{}={value}\n", key.name)),
        None => out.push_str(&format!(";{}={}\n", key.name, key.default)),
    }
}

/// Wraps a paragraph into comment lines of at most 100 characters.
fn write_comment(out: &mut String, paragraph: &str) {
    let mut column = 0;
    for word in paragraph.split(' ') {
        if column > 0 && column + 1 + word.len() > 98 {
            out.push('\n');
            column = 0;
        }
        out.push_str(if column == 0 { "; " } else { " " });
        out.push_str(word);
        column += 1 + word.len();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_sample_is_the_generated_one() {
        let (committed, generated) = (include_str!("../../config/demarc.ini"), sample());
        let differing = committed.lines().zip(generated.lines()).find(|(committed, generated)| committed != generated);
        assert_eq!(differing, None, "write it anew: demarc check --sample > config/demarc.ini");
        assert_eq!(committed.len(), generated.len());
    }

    #[test]
    fn every_default_and_sample_has_its_key_s_form() {
        for key in KEYS {
            let family = key.family.map(|(_, value)| value);
            for text in [key.default, key.sample.unwrap_or_default(), family.unwrap_or_default()]
                .into_iter()
                .filter(|text| !text.is_empty())
            {
                assert_eq!(key.form.check(text), Ok(()), "{}={text}", key.name);
            }
        }
    }

    #[test]
    fn no_key_stands_twice_in_a_section() {
        for row in SECTIONS {
            let mut seen = Vec::new();
            for key in KEYS.iter().filter(|key| key.section == row.section) {
                for name in std::iter::once(&key.name).chain(key.aliases) {
                    assert!(!seen.contains(&name.to_ascii_lowercase()), "[{}] {name}", row.name);
                    seen.push(name.to_ascii_lowercase());
                }
            }
        }
    }

    #[test]
    fn a_family_s_key_needs_a_name_of_its_own() {
        let label = |name| Console.key(name).and_then(|key| key.label(name));
        assert_eq!(label("alarm T1-1 LOS"), Some("T1-1 LOS"));
        assert_eq!(label("Login  user"), Some("user"));
        for none in ["Alarm", "Alarm ", "AlarmFan", "Speed", "Speed x"] {
            assert_eq!(label(none), None, "{none}");
        }
    }

    #[test]
    fn headers_are_told_apart() {
        assert_eq!(Section::of("lync"), Some(Lync));
        assert_eq!(Section::of("GATEWAY12"), Some(Gateway));
        assert_eq!(Section::of("DialPlan Chicago"), Some(DialPlan));
        assert_eq!(Section::of("console vx"), Some(Console));
        for unknown in ["Gateway", "Gateway1a", "DialPlan", "DialPlan ", "Lync1", "é", ""] {
            assert_eq!(Section::of(unknown), None, "{unknown}");
        }
        assert_eq!(Section::nearest("Gatway1"), Some("Gateway1".into()));
    }
}
