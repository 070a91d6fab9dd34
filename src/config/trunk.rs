//! The trunks: the Microsoft side, then the gateways in file order.
//!
//! A trunk parameter is looked up in the trunk's own section, then (gateways only) in
//! `[TrunkConfiguration]`, then in the table's defaults.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cause::RefusalRule;
use crate::hop::{SpanId, Target, Transport, TrunkId};
use crate::session::{Codec, Suites};
use crate::wire::q921::Side;

use super::cloud_connector;
use super::console;
use super::ini::{Entry, Extent};
use super::keys::{DTMF, KINDS, LINE_TRANSFERS, PROFILES, PROTOCOLS, SRTP_MODES, Section};
use super::rest;
use super::settings::{Findings, Known, Settings, default};
use super::value::{self, HostPort, Wrong};
use super::{Dtmf, Peers, Profile, Span, SrtpMode, Switches, Trunk, TrunkKind, TrunkListen, Voices};

const PROFILE_VALUES: [Profile; 6] =
    [Profile::Ocs2007R2, Profile::Lync2010, Profile::Lync2013, Profile::Sfb2015, Profile::Sfb2019, Profile::Teams];
const SRTP_VALUES: [SrtpMode; 3] = [SrtpMode::Required, SrtpMode::Optional, SrtpMode::NotSupported];
const TRANSPORT_VALUES: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

const DTMF_VALUES: [Dtmf; 3] = [Dtmf::Auto, Dtmf::Inband, Dtmf::Info];

/// The most gateways: each is compared with all before it, and the largest sites have some dozens.
const MOST_GATEWAYS: usize = 1000;

/// What trunks need to know of the rest of the file.
pub struct Own {
    /// Our name.
    pub fqdn: String,
    /// The port of `[Lync] Listen`.
    pub lync_port: u16,
    /// Where gateways reach us.
    pub listen: TrunkListen,
    /// `[Trunks] OwnHost`.
    pub host: Option<String>,
    /// The media address.
    pub address: IpAddr,
    /// The codecs that can be spoken, best first.
    pub codecs: Vec<Codec>,
    /// Where relative paths count from.
    pub directory: PathBuf,
}

impl Own {
    /// How we call ourselves under a transport: only TLS holds the name against a certificate, so
    /// elsewhere an address spares the gateway the DNS.
    fn host(&self, transport: Transport) -> String {
        let listen = self.listen.of(transport).map(|listen| listen.ip()).filter(|ip| !ip.is_unspecified());
        match (&self.host, transport) {
            (Some(host), _) => host.clone(),
            (None, Transport::Tls) => self.fqdn.clone(),
            (None, _) => listen.unwrap_or(self.address).to_string(),
        }
    }
}

/// Sections that may set a parameter, the first one wins.
type Layers<'k> = [Option<&'k Known<'k>>; 2];

/// The Microsoft side.
pub fn microsoft(settings: &Settings<'_>, own: &Own, next_hop: Vec<HostPort>, findings: &mut Findings<'_>) -> Trunk {
    let layers = [settings.one(Section::Lync), None];
    let choice = |name, words| settings.value(Section::Lync, name, |text| value::choice(text, words));
    let profile = PROFILE_VALUES[choice("Profile", PROFILES).unwrap_or_default()];
    let srtp = SRTP_VALUES[choice("SRTPMode", SRTP_MODES).unwrap_or_default()];
    if profile == Profile::Teams && srtp == SrtpMode::NotSupported {
        let why = "Direct Routing refuses calls without SRTP";
        let at = settings.place(Section::Lync, "SRTPMode");
        findings.warning(&at, "Teams needs encrypted media", why, "SRTPMode=Required");
    }
    if let Some(known) = layers[0] {
        dangling(settings, known, findings);
    }
    let peers = microsoft_peers(settings, &next_hop, findings);
    let target = |hop: HostPort| {
        // An address has no SRV records.
        let port = hop.port.or_else(|| is_address(&hop.host).then(|| Transport::Tls.default_port()));
        Target { trunk: TrunkId::LYNC, transport: Transport::Tls, host: hop.host.into(), port }
    };
    Trunk {
        id: TrunkId::LYNC,
        name: "lync".into(),
        kind: TrunkKind::Microsoft(profile),
        own_host: own.fqdn.clone(),
        own_port: own.lync_port,
        hops: next_hop.into_iter().map(target).collect(),
        spans: Vec::new(),
        line_transfer: false,
        peers,
        srtp,
        suites: suites(layers),
        codecs: own.codecs.clone(),
        switches: switches(layers, None),
        refusals: refusals(settings, layers[0]),
        max_calls: max_calls(layers[0]),
        voices: Voices::default(),
    }
}

fn microsoft_peers(settings: &Settings<'_>, next_hop: &[HostPort], findings: &mut Findings<'_>) -> Peers {
    let addresses: Vec<IpAddr> = next_hop.iter().filter_map(|hop| hop.host.parse().ok()).collect();
    let written = settings.filled(Section::Lync, "TrustedPeers");
    let names = match written {
        Some(entry) => value::names(&entry.value.text).unwrap_or_default(),
        None => next_hop.iter().map(|hop| hop.host.clone()).filter(|host| !is_address(host)).collect(),
    };
    if written.is_none() && names.is_empty() && !addresses.is_empty() {
        let why = "NextHop is an address, so there is no name that the peer's certificate could be held against";
        let at = settings.place(Section::Lync, "NextHop");
        let instead = "TrustedPeers=pool01.contoso.com, the names in the pool's certificates";
        findings.error(&at, "[Lync] TrustedPeers is missing", why, instead);
    }
    Peers { names, addresses }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// The gateways that take calls, with their sections.
pub fn gateways<'a>(
    settings: &'a Settings<'a>,
    own: &Own,
    spans: &[Span],
    findings: &mut Findings<'_>,
) -> Vec<(&'a Known<'a>, Trunk)> {
    let mut gateways: Vec<(&Known<'_>, Trunk)> = Vec::new();
    if let Some(known) = settings.all(Section::Gateway).nth(MOST_GATEWAYS) {
        let what = format!("[{}] is one gateway too many", known.header.text);
        let why = format!("there may be {MOST_GATEWAYS}");
        findings.error(&known.header.span, what, why, "several IPs in one section, or a second machine");
    }
    for known in settings.all(Section::Gateway).take(MOST_GATEWAYS) {
        dangling(settings, known, findings);
        let Some(id) = number(known, findings) else { continue };
        if let Some(gateway) = gateway(settings, own, known, id, spans, findings) {
            duplicate(&known.header.span, &gateways, &gateway, findings);
            shared_line(&known.header.span, &gateways, &gateway, spans, findings);
            shared_console(known, &gateways, &gateway, findings);
            gateways.push((known, gateway));
        }
    }
    if settings.all(Section::Gateway).next().is_none() {
        let instead = "[Gateway1] with IP, Port and Protocol";
        findings.warning(&(0..0), "there is no gateway", "calls have nowhere to go", instead);
    }
    gateways
}

/// The number in `[Gateway3]`: it names the trunk before and after a reload.
fn number(known: &Known<'_>, findings: &mut Findings<'_>) -> Option<TrunkId> {
    match known.label().parse::<u16>() {
        Ok(number) if (1..u16::MAX).contains(&number) => Some(TrunkId(number)),
        _ => {
            let why = "the number in the section's name tells gateways apart, also across a reload";
            findings.error(&known.header.span, "a gateway has no usable number", why, "[Gateway1] to [Gateway65534]");
            None
        }
    }
}

fn gateway(
    settings: &Settings<'_>,
    own: &Own,
    known: &Known<'_>,
    id: TrunkId,
    spans: &[Span],
    findings: &mut Findings<'_>,
) -> Option<Trunk> {
    if is_isdn(known) {
        misplaced(
            known,
            "SIP gateways",
            "Kind",
            &["FQDN", "IP", "Port", "Protocol", "Codecs", "Console", "Rest"],
            findings,
        );
        return isdn(settings, own, known, id, spans, findings);
    }
    misplaced(known, "Kind=isdn", "Kind", &["Span", "LineTransfer"], findings);
    let layers = [Some(known), settings.one(Section::TrunkConfiguration)];
    let read = |text: &str| value::choice(text, PROTOCOLS);
    let protocol = known.value("Protocol", read).or_else(|| default(Section::Gateway, "Protocol", read))?;
    let transport = TRANSPORT_VALUES[protocol];
    missing_peer(known, transport, findings);
    let fqdn = known.value("FQDN", value::name);
    let addresses = known.value("IP", value::addresses).unwrap_or_default();
    let port = known.value("Port", value::port);
    Some(Trunk {
        id,
        name: known.header.text.clone(),
        kind: TrunkKind::Gateway,
        own_host: own.host(transport),
        own_port: own_port(known, transport, &own.listen, findings),
        hops: hops(id, transport, fqdn.as_deref(), &addresses, port),
        spans: Vec::new(),
        line_transfer: false,
        peers: Peers { names: fqdn.into_iter().collect(), addresses },
        srtp: srtp(layers, known, transport, findings),
        suites: suites(layers),
        codecs: known.value("Codecs", value::codecs).unwrap_or_else(|| narrow(&own.codecs)),
        switches: switches(layers, cloud_connector::refer_support(settings)),
        refusals: refusals(settings, Some(known)),
        max_calls: max_calls(Some(known)),
        voices: Voices {
            console: console::console(settings, known, findings),
            rest: rest::rest(known, &own.directory, findings),
        },
    })
}

const G711: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

/// What every gateway speaks: G.711, in the order of the whole list.
fn narrow(codecs: &[Codec]) -> Vec<Codec> {
    let named: Vec<Codec> = codecs.iter().copied().filter(|codec| G711.contains(codec)).collect();
    if named.is_empty() { G711.to_vec() } else { named }
}

fn is_isdn(known: &Known<'_>) -> bool {
    known.value("Kind", |text| value::choice(text, KINDS)).is_some_and(|kind| KINDS[kind] == "isdn")
}

/// Keys that say nothing of such a section, but of `others`, which have another value of the key `by`.
pub(super) fn misplaced(known: &Known<'_>, others: &str, by: &str, keys: &[&str], findings: &mut Findings<'_>) {
    for entry in keys.iter().filter_map(|key| known.filled(key)) {
        let what = format!("`{}` has no effect at [{}]", entry.key.text, known.header.text);
        findings.note(&entry.key.span, what, format!("it is for {others}"), format!("nothing, or another {by}"));
    }
}

/// A group of lines. What is said on a line is G.711 in the line's own law.
fn isdn(
    settings: &Settings<'_>,
    own: &Own,
    known: &Known<'_>,
    id: TrunkId,
    spans: &[Span],
    findings: &mut Findings<'_>,
) -> Option<Trunk> {
    let layers = [Some(known), settings.one(Section::TrunkConfiguration)];
    let own_spans = members(settings, known, spans, findings);
    let first = own_spans.first().and_then(|id| spans.iter().find(|span| span.id == *id))?;
    Some(Trunk {
        id,
        name: known.header.text.clone(),
        kind: TrunkKind::Isdn,
        own_host: own.address.to_string(),
        own_port: 0,
        hops: Vec::new(),
        line_transfer: line_transfer(known, first, findings),
        spans: own_spans,
        peers: Peers::default(),
        srtp: SrtpMode::NotSupported,
        suites: Suites::new([]),
        codecs: vec![Codec::from(first.line.law())],
        switches: Switches { enable_refer_support: false, ..switches(layers, None) },
        refusals: refusals(settings, Some(known)),
        max_calls: max_calls(Some(known)),
        voices: Voices::default(),
    })
}

/// Only an exchange joins calls; of two private ones either does.
fn line_transfer(known: &Known<'_>, first: &Span, findings: &mut Findings<'_>) -> bool {
    let word = known.value("LineTransfer", |text| value::choice(text, LINE_TRANSFERS));
    let auto = word.is_some_and(|word| LINE_TRANSFERS[word] == "auto");
    let asks = first.side == Side::User || first.dialect.is_private();
    if let (true, false, Some(line)) = (auto, asks, known.filled("LineTransfer")) {
        let what = format!("nobody joins calls on [{}]", first.name);
        let why = "with Side=network we are its exchange, and the far end is not asked";
        findings.warning(&line.value.span, what, why, "LineTransfer=no");
    }
    auto && asks
}

/// The lines that `Span` names: each is there, and in one group only.
fn members(settings: &Settings<'_>, known: &Known<'_>, spans: &[Span], findings: &mut Findings<'_>) -> Vec<SpanId> {
    let Some(entry) = known.filled("Span") else {
        let what = format!("[{}] has no lines", known.header.text);
        findings.error(&known.header.span, what, "Kind=isdn needs some", "Span=Span1, and a section [Span1]");
        return Vec::new();
    };
    let mut members = Vec::new();
    for (at, word) in value::words(&entry.value.text) {
        let at = entry.value.span.start + at.start..entry.value.span.start + at.end;
        match spans.iter().find(|span| span.name.eq_ignore_ascii_case(word)) {
            Some(span) if members.contains(&span.id) => {
                findings.warning(&at, format!("`{word}` stands twice"), "once is enough", "each line once");
            }
            Some(span) => members.push(span.id),
            // What is wrong with it is said there.
            None if settings.all(Section::Span).any(|span| span.header.text.eq_ignore_ascii_case(word)) => {}
            None => {
                let instead = format!("a section [{word}] with Driver and Line");
                findings.error(&at, format!("there is no [{word}]"), "calls have nowhere to go", instead);
            }
        }
    }
    members
}

/// The addresses in order; without one the name, which without a port is looked up by SRV.
fn hops(
    trunk: TrunkId,
    transport: Transport,
    fqdn: Option<&str>,
    addresses: &[IpAddr],
    port: Option<u16>,
) -> Vec<Target> {
    let target = |host: &str, port| Target { trunk, transport, host: host.into(), port };
    match (addresses, fqdn) {
        ([], Some(fqdn)) => vec![target(fqdn, port)],
        (addresses, _) => {
            let port = port.unwrap_or(transport.default_port());
            addresses.iter().map(|address| target(&address.to_string(), Some(port))).collect()
        }
    }
}

/// A gateway must be findable, and under TLS have a name.
fn missing_peer(known: &Known<'_>, transport: Transport, findings: &mut Findings<'_>) {
    let named = known.filled("FQDN").is_some();
    let at: &Extent = &known.header.span;
    if !named && known.filled("IP").is_none() {
        let what = format!("[{}] has neither FQDN nor IP", known.header.text);
        findings.error(at, what, "it cannot be reached", "IP=192.0.2.20, or delete the section");
    } else if !named && transport == Transport::Tls {
        let why = "under TLS its certificate is held against the name";
        let at = known.filled("Protocol").map_or(at, |line| &line.value.span);
        let what = format!("[{}] has no FQDN", known.header.text);
        findings.error(at, what, why, "FQDN=gw1.contoso.com, the name in the gateway's certificate");
    }
}

/// The port of the listener that takes the gateway's requests.
fn own_port(known: &Known<'_>, transport: Transport, listen: &TrunkListen, findings: &mut Findings<'_>) -> u16 {
    if let Some(listen) = listen.of(transport) {
        return listen.port();
    }
    let (key, example) = match transport {
        Transport::Tls => ("TlsListen", "0.0.0.0:5067"),
        Transport::Tcp => ("TcpListen", "0.0.0.0:5068"),
        Transport::Udp => ("UdpListen", "0.0.0.0:5060"),
    };
    let at = known.filled("Protocol").map_or(&known.header.span, |line| &line.value.span);
    let what = format!("[{}] cannot reach us by {transport}", known.header.text);
    let instead = format!("{key}={example} under [Trunks]");
    findings.error(at, what, format!("[Trunks] {key} is off"), instead);
    0
}

/// Encrypted media needs keys that travel encrypted: only TLS does that.
fn srtp(layers: Layers<'_>, known: &Known<'_>, transport: Transport, findings: &mut Findings<'_>) -> SrtpMode {
    let read = |text: &str| value::choice(text, SRTP_MODES);
    let wanted = SRTP_VALUES[layered(layers, "SRTPMode", read).unwrap_or_default()];
    if transport == Transport::Tls || wanted == SrtpMode::NotSupported {
        return wanted;
    }
    if let Some(line) = layers.into_iter().flatten().find_map(|layer| layer.filled("SRTPMode")) {
        let what = format!("media to [{}] is not encrypted", known.header.text);
        let why = format!("under {transport} the keys would travel in the clear, so SRTPMode is NotSupported there");
        findings.note(&line.value.span, what, why, "Protocol=TLS at the gateway, if it can");
    }
    SrtpMode::NotSupported
}

/// Two sections for one peer: what comes from there could belong to either.
fn duplicate(at: &Extent, earlier: &[(&Known<'_>, Trunk)], gateway: &Trunk, findings: &mut Findings<'_>) {
    let key = |target: &Target| (target.transport, target.host.clone(), target.port);
    let same_hop = |twin: &&Trunk| twin.hops.iter().any(|hop| gateway.hops.iter().any(|ours| key(ours) == key(hop)));
    let transport = |trunk: &Trunk| trunk.hops.first().map(|hop| hop.transport);
    let same_address = |twin: &&Trunk| {
        let shares = |address| gateway.peers.addresses.contains(address);
        transport(gateway) == transport(twin) && twin.peers.addresses.iter().any(shares)
    };
    let mut twins = earlier.iter().map(|(_, twin)| twin);
    if let Some(twin) = twins.clone().find(same_hop) {
        let what = format!("[{}] is the same peer as [{}]", gateway.name, twin.name);
        findings.error(at, what, "host, port and protocol are equal", "one section, with the routes of both");
    } else if let Some(twin) = twins.find(same_address) {
        let what = format!("[{}] and [{}] share an address", gateway.name, twin.name);
        let why = format!("calls from there count as [{}]: their source ports tell nothing", twin.name);
        findings.warning(at, what, why, "different protocols, or an address for each");
    }
}

/// Two groups that share a line, or the D channel that tells of their calls.
fn shared_line(
    at: &Extent,
    earlier: &[(&Known<'_>, Trunk)],
    gateway: &Trunk,
    spans: &[Span],
    findings: &mut Findings<'_>,
) {
    let signalled_by = |id: SpanId| spans.iter().find(|span| span.id == id).map(Span::signalled_by);
    let shares = |twin: &Trunk, same: &dyn Fn(SpanId, SpanId) -> bool| {
        twin.spans.iter().any(|theirs| gateway.spans.iter().any(|ours| same(*theirs, *ours)))
    };
    for (_, twin) in earlier {
        let (shared, instead) = match () {
            () if shares(twin, &|theirs, ours| theirs == ours) => ("line", "each line in one gateway"),
            () if shares(twin, &|theirs, ours| signalled_by(theirs) == signalled_by(ours)) => {
                ("D channel", "all lines of a D channel in one gateway")
            }
            () => continue,
        };
        let what = format!("[{}] and [{}] share a {shared}", gateway.name, twin.name);
        return findings.error(at, what, "calls from there could belong to either", instead);
    }
}

/// A serial line has one reader.
fn shared_console(known: &Known<'_>, earlier: &[(&Known<'_>, Trunk)], gateway: &Trunk, findings: &mut Findings<'_>) {
    let Some(line) = known.filled("Console") else { return };
    let device = |trunk: &Trunk| trunk.voices.console.as_ref().map(|console| console.device.clone());
    let twin = earlier.iter().find(|(_, twin)| device(twin).is_some() && device(twin) == device(gateway));
    if let Some((_, twin)) = twin {
        let what = format!("the console is the one of [{}]", twin.name);
        findings.error(&line.value.span, what, "a serial line has one reader", "the device of this gateway");
    }
}

/// The rules that `ResponseCodeRules` names. A line that is wrong makes none; that has been said.
fn refusals(settings: &Settings<'_>, trunk: Option<&Known<'_>>) -> Vec<RefusalRule> {
    let Some(name) = trunk.and_then(|known| known.filled("ResponseCodeRules")) else { return Vec::new() };
    let is = |known: &&Known<'_>| known.label().eq_ignore_ascii_case(&name.value.text);
    let lines = settings.all(Section::ResponseCodeRules).find(is).map_or(&[][..], |known| known.free);
    let rule = |line: &Entry| {
        let [(status, cause), (told_status, told_cause)] = value::code_rule(&line.value.text).ok()?;
        Some(RefusalRule { name: line.key.text.clone(), status, cause, told_status: told_status?, told_cause })
    };
    lines.iter().filter_map(rule).collect()
}

/// Names of rules that a trunk refers to and that no section has.
fn dangling(settings: &Settings<'_>, gateway: &Known<'_>, findings: &mut Findings<'_>) {
    let kinds =
        [Section::DialPlan, Section::CalledNumberRules, Section::CallingNumberRules, Section::ResponseCodeRules];
    for kind in kinds {
        let Some(line) = gateway.filled(kind.name()) else { continue };
        let header = format!("[{} {}]", kind.name(), line.value.text);
        let is = |known: &Known<'_>| known.label().eq_ignore_ascii_case(&line.value.text);
        if !settings.all(kind).any(is) {
            findings.warning(&line.value.span, format!("there is no {header}"), "the name leads nowhere", header);
        }
    }
}

fn max_calls(known: Option<&Known<'_>>) -> Option<u32> {
    known.and_then(|known| known.value("MaxCalls", |text| value::number(text, 1, u32::MAX)))
}

/// A trunk parameter: from the first layer that sets it, else the table's default.
fn layered<T>(layers: Layers<'_>, name: &str, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
    let written = layers.into_iter().flatten().find_map(|layer| layer.value(name, &read));
    written.or_else(|| default(Section::TrunkConfiguration, name, &read))
}

fn suites(layers: Layers<'_>) -> Suites {
    Suites::new(layered(layers, "CryptoSuites", value::suites).unwrap_or_default())
}

/// May the peer be sent REFER? Microsoft's Control Panel has one choice of three for what became two keys, so the first
/// layer that sets either has decided. `None`: no layer does.
fn refers(layers: Layers<'_>) -> Option<bool> {
    layers.into_iter().flatten().find_map(|layer| match layer.value("Enable3pccRefer", value::flag) {
        Some(true) => Some(false),
        _ => layer.value("EnableReferSupport", value::flag),
    })
}

/// `refer` is what holds for EnableReferSupport if no layer sets it.
fn switches(layers: Layers<'_>, refer: Option<bool>) -> Switches {
    let flag = |name| layered(layers, name, value::flag).unwrap_or_default();
    // The range was checked with the form.
    let time = |name| layered(layers, name, |text| value::time(text, Duration::ZERO, Duration::MAX));
    let forks = layered(layers, "MaxEarlyDialogs", |text| value::number(text, 1, u32::from(u16::MAX))).unwrap_or(1);
    Switches {
        enable_refer_support: refers(layers).or(refer).unwrap_or_else(|| flag("EnableReferSupport")),
        accept_refer: flag("AcceptRefer"),
        enable_fast_failover_timer: flag("EnableFastFailoverTimer"),
        fast_failover_timeout: time("FastFailoverTimeout").unwrap_or_default(),
        dtmf: DTMF_VALUES[layered(layers, "DTMF", |text| value::choice(text, DTMF)).unwrap_or_default()],
        forward_call_history: flag("ForwardCallHistory"),
        forward_pai: flag("ForwardPAI"),
        enable_session_timer: flag("EnableSessionTimer"),
        enable_rtp_latching: flag("EnableRTPLatching"),
        rtcp_active_calls: flag("RTCPActiveCalls"),
        rtcp_calls_on_hold: flag("RTCPCallsOnHold"),
        max_early_dialogs: u16::try_from(forks).unwrap_or(u16::MAX),
        remove_plus_from_uri: flag("RemovePlusFromUri"),
        enable_100rel: flag("Enable100rel"),
        options_interval: time("OptionsInterval").unwrap_or_default(),
    }
}
