//! Settings to a [`Config`]: what spans several keys, and the value itself.
//!
//! Every step reports what it finds and carries on, so that one run names all faults.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::hop::{Target, Transport, TrunkId};
use crate::session::Codec;

use super::ini::{self, Entry, Extent, Source};
use super::keys::{CODECS, KINDS, LEVELS, NUMBERS, PROFILES, PROTOCOLS, SRTP_MODES, Section};
use super::settings::{Findings, Known, Settings, default, value_or_key};
use super::value::{self, HostPort, Wrong};
use super::{
    Config, Finding, Level, Logging, Media, Peers, Profile, Route, SrtpMode, Switches, TlsIdentity, Trace, Trunk,
    TrunkKind, TrunkListen, Web, cloud_connector,
};

/// The route that gateways without `VoiceRoutes` take part in.
pub const ANY_NUMBER: &str = "AnyNumber";

/// All that is to be said about a file.
#[derive(Debug)]
pub struct Report {
    /// The decoded text that the findings point into.
    pub source: Source,
    /// In file order.
    pub findings: Vec<Finding>,
    /// Present unless a finding is an error.
    pub config: Option<Config>,
}

/// Reads a configuration. `file` is how the file is named in findings; relative paths in it count
/// from its directory.
pub fn check(bytes: &[u8], file: &str) -> Report {
    let (source, document, faults) = ini::read(bytes);
    let mut findings = Findings::new(file, &source);
    faults.iter().for_each(|fault| findings.grammar(fault));
    let settings = Settings::recognise(&document, &mut findings);
    let config = Builder { settings, directory: directory(file), findings: &mut findings }.config();
    let config = if findings.any_error() { None } else { config };
    let findings = findings.into_list();
    Report { source, findings, config }
}

/// The configuration with warnings and notes, or all faults.
pub fn parse(bytes: &[u8], file: &str) -> Result<(Config, Vec<Finding>), Vec<Finding>> {
    let Report { config, findings, .. } = check(bytes, file);
    config.map_or(Err(findings.clone()), |config| Ok((config, findings)))
}

fn directory(file: &str) -> PathBuf {
    Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default()
}

struct Builder<'a, 'f, 's> {
    settings: Settings<'a>,
    directory: PathBuf,
    findings: &'f mut Findings<'s>,
}

/// A listener with its key and place, for conflicts.
struct Listener {
    section: Section,
    key: &'static str,
    at: Option<SocketAddr>,
    stream: bool,
}

/// What every trunk needs to know of the rest.
struct Common {
    fqdn: String,
    listen: TrunkListen,
    own_host: Option<String>,
    address: IpAddr,
    codecs: Vec<Codec>,
}

impl<'a> Builder<'a, '_, '_> {
    /// The whole; `None` only with an error among the findings.
    fn config(mut self) -> Option<Config> {
        let lync_listen = self.lync_listen();
        let trunk_listen = self.trunk_listen();
        let fqdn = self.fqdn();
        let media = self.media(lync_listen);
        let web = self.web();
        self.conflicts(lync_listen, &trunk_listen, &web, media.as_ref());
        self.files();
        let codecs = self.codecs();
        let next_hop = self.next_hop();
        let routes = self.routes();

        // What is missing has been reported; the rest is checked with stand-ins.
        let common = Common {
            fqdn: fqdn.clone().unwrap_or_default(),
            listen: trunk_listen.clone(),
            own_host: self.settings.value(Section::Trunks, "OwnHost", value::host),
            address: media.as_ref().map_or(IpAddr::from([0, 0, 0, 0]), |media| media.address),
            codecs,
        };
        let lync = self.lync(&common, lync_listen, next_hop);
        let (gateways, routes) = self.gateways(&common, routes);

        Some(Config {
            trunks: std::iter::once(lync).chain(gateways).map(Arc::new).collect(),
            lync_listen: lync_listen?,
            identity: self.identity(fqdn?)?,
            trunk_listen,
            media: media?,
            routes,
            web,
            trace: Trace { keep: self.number(Section::Trace, "Keep")? },
            logging: self.logging()?,
            drain_timeout: self.time(Section::Trunks, "DrainTimeout")?,
        })
    }

    // --- The Microsoft side ---

    fn lync_listen(&mut self) -> Option<SocketAddr> {
        let listen = self.listen(Section::Lync, "Listen");
        if listen.is_none() {
            let why = "the Microsoft side could not reach us";
            let at = self.settings.place(Section::Lync, "Listen");
            self.findings.error(&at, "[Lync] Listen cannot be off", why, "Listen=0.0.0.0:5070");
        }
        listen
    }

    fn fqdn(&mut self) -> Option<String> {
        if self.settings.filled(Section::Lync, "Fqdn").is_some() {
            return self.settings.value(Section::Lync, "Fqdn", value::name);
        }
        if let Some(derived) = cloud_connector::fqdn(&self.settings) {
            self.note_derived(derived.from, "Fqdn", &derived.value);
            return Some(derived.value);
        }
        let why = "our certificate and every Contact, Via and From need one name";
        let at = self.settings.place(Section::Lync, "Fqdn");
        self.findings.error(&at, "[Lync] Fqdn is missing", why, "Fqdn=ms1.contoso.com, the name in our certificate");
        None
    }

    fn next_hop(&mut self) -> Vec<HostPort> {
        if self.settings.filled(Section::Lync, "NextHop").is_some() {
            return self.settings.value(Section::Lync, "NextHop", value::hosts).unwrap_or_default();
        }
        if let Some(derived) = cloud_connector::next_hop(&self.settings) {
            let port = derived.value.port.map(|port| format!(":{port}")).unwrap_or_default();
            self.note_derived(derived.from, "NextHop", &format!("{}{port}", derived.value.host));
            return vec![derived.value];
        }
        let why = "calls to the Microsoft side have nowhere to go";
        let at = self.settings.place(Section::Lync, "NextHop");
        self.findings.error(&at, "[Lync] NextHop is missing", why, "NextHop=pool01.contoso.com:5061");
        Vec::new()
    }

    fn note_derived(&mut self, from: &Entry, key: &str, value: &str) {
        let what = format!("[Lync] {key} is taken from here: {value}");
        let instead = format!("{key}= under [Lync], if another is meant");
        self.findings.note(&value_or_key(from), what, format!("[Lync] {key} is not written"), instead);
    }

    fn lync(&mut self, common: &Common, listen: Option<SocketAddr>, next_hop: Vec<HostPort>) -> Trunk {
        let layers = [self.settings.one(Section::Lync), None];
        let profile = PROFILE_VALUES[self.choice(Section::Lync, "Profile", PROFILES)];
        let srtp = SRTP_VALUES[self.choice(Section::Lync, "SRTPMode", SRTP_MODES)];
        let switches = switches(layers, default(Section::Lync, "EnableReferSupport", value::flag));
        let max_calls = layers[0].and_then(|lync| lync.value("MaxCalls", max_calls));
        if profile == Profile::Teams && srtp == SrtpMode::NotSupported {
            let why = "Direct Routing refuses calls without SRTP";
            let at = self.settings.place(Section::Lync, "SRTPMode");
            self.findings.warning(&at, "Teams needs encrypted media", why, "SRTPMode=Required");
        }
        let peers = self.lync_peers(&next_hop);
        let target = |hop: HostPort| Target {
            trunk: TrunkId::LYNC,
            transport: Transport::Tls,
            port: port_of(&hop, Transport::Tls),
            host: hop.host.into(),
        };
        Trunk {
            id: TrunkId::LYNC,
            name: "lync".into(),
            kind: TrunkKind::Microsoft(profile),
            own_host: common.fqdn.clone(),
            own_port: listen.map_or(0, |listen| listen.port()),
            hops: next_hop.into_iter().map(target).collect(),
            peers,
            srtp,
            codecs: common.codecs.clone(),
            switches,
            max_calls,
        }
    }

    fn lync_peers(&mut self, next_hop: &[HostPort]) -> Peers {
        let addresses: Vec<IpAddr> = next_hop.iter().filter_map(|hop| hop.host.parse().ok()).collect();
        let written = self.settings.filled(Section::Lync, "TrustedPeers");
        let names = match written {
            Some(entry) => value::names(&entry.value.text).unwrap_or_default(),
            None => next_hop.iter().map(|hop| hop.host.clone()).filter(|host| !is_address(host)).collect(),
        };
        if written.is_none() && names.is_empty() && !addresses.is_empty() {
            let why = "NextHop is an address, so there is no name that the peer's certificate could be held against";
            let at = self.settings.place(Section::Lync, "NextHop");
            let instead = "TrustedPeers=pool01.contoso.com, the names in the pool's certificates";
            self.findings.error(&at, "[Lync] TrustedPeers is missing", why, instead);
        }
        Peers { names, addresses }
    }

    fn identity(&self, fqdn: String) -> Option<TlsIdentity> {
        let path = |name| self.settings.value(Section::Lync, name, |text| Ok(self.directory.join(text)));
        Some(TlsIdentity {
            fqdn,
            certificate: path("Certificate")?,
            private_key: path("PrivateKey")?,
            trusted_roots: path("TrustedRoots")?,
        })
    }

    /// Says where the files of the identity are expected when nothing is written.
    fn files(&mut self) {
        let keys = ["Certificate", "PrivateKey", "TrustedRoots"];
        let absent: Vec<&str> =
            keys.into_iter().filter(|key| self.settings.filled(Section::Lync, key).is_none()).collect();
        if absent.is_empty() {
            return;
        }
        let paths: Vec<&str> = absent.iter().filter_map(|key| Section::Lync.key(key)).map(|key| key.default).collect();
        let what = format!("[Lync] {} expected at {}", absent.join(", "), paths.join(", "));
        let instead = format!("{}= under [Lync], if the files lie elsewhere", absent.join("=, "));
        let at = self.settings.place(Section::Lync, "");
        self.findings.note(&at, what, "nothing is written, so the default holds", instead);
    }

    // --- Listeners, media, web ---

    fn trunk_listen(&self) -> TrunkListen {
        let listen = |key| self.listen(Section::Trunks, key);
        TrunkListen { tls: listen("TlsListen"), tcp: listen("TcpListen"), udp: listen("UdpListen") }
    }

    /// A listener: the only kind of key where an empty value is not the default, but "off".
    fn listen(&self, section: Section, name: &str) -> Option<SocketAddr> {
        let off = self.settings.one(section).and_then(|known| known.line(name));
        if off.is_some_and(|entry| entry.value.text.is_empty()) {
            return None;
        }
        self.settings.value(section, name, value::listen).flatten()
    }

    fn media(&mut self, lync_listen: Option<SocketAddr>) -> Option<Media> {
        let ports = self.settings.value(Section::Media, "Ports", value::ports)?;
        if ports.1 - ports.0 < 3 {
            let at = self.settings.place(Section::Media, "Ports");
            self.findings.error(&at, "too few ports", "a call takes four", "Ports=49152-57500");
        }
        let threads = self.settings.value(Section::Media, "Threads", |text| value::auto(text, 1, 256)).flatten();
        let threads = threads.and_then(|n| usize::try_from(n).ok());
        Some(Media { address: self.media_address(lync_listen)?, ports, threads })
    }

    fn media_address(&mut self, lync_listen: Option<SocketAddr>) -> Option<IpAddr> {
        if self.settings.filled(Section::Media, "Address").is_some() {
            return self.settings.value(Section::Media, "Address", value::own_address);
        }
        if let Some(listen) = lync_listen.filter(|listen| !listen.ip().is_unspecified()) {
            return Some(listen.ip());
        }
        if let Some(derived) = cloud_connector::address(&self.settings) {
            let what = format!("[Media] Address is taken from here: {}", derived.value);
            let instead = "Address= under [Media], if another is meant";
            self.findings.note(&value_or_key(derived.from), what, "[Media] Address is not written", instead);
            return Some(derived.value);
        }
        let why = "peers must be told where to send sound";
        let at = self.settings.place(Section::Media, "Address");
        self.findings.error(&at, "[Media] Address is missing", why, "Address=192.0.2.10, this machine's address");
        None
    }

    fn codecs(&mut self) -> Vec<Codec> {
        let read = |text: &str| value::choices(text, CODECS);
        let wanted = self.settings.value(Section::Media, "Codecs", read).unwrap_or_default();
        let codecs: Vec<Codec> = wanted.iter().filter_map(|&at| codec(CODECS[at])).collect();
        let Some(line) = self.settings.filled(Section::Media, "Codecs") else { return codecs };
        let silent: Vec<&str> = wanted.iter().map(|&at| CODECS[at]).filter(|name| codec(name).is_none()).collect();
        if codecs.is_empty() && !wanted.is_empty() {
            let why = format!("{} not spoken yet", silent.join(", "));
            self.findings.error(&line.value.span, "no codec is left", why, "Codecs=PCMU PCMA");
        } else if !silent.is_empty() {
            let what = format!("{} not spoken yet", silent.join(", "));
            self.findings.note(&line.value.span, what, "only G.711 is relayed so far", "they may stay");
        }
        codecs
    }

    fn web(&mut self) -> Web {
        let listen = self.listen(Section::Web, "Listen");
        let path = |text: &str| Ok(self.directory.join(text));
        let token_file = self.settings.value(Section::Web, "TokenFile", path);
        if listen.is_some_and(|listen| !listen.ip().is_loopback()) && token_file.is_none() {
            let why = "anyone who reaches this address could read calls and stop the daemon";
            let at = self.settings.place(Section::Web, "Listen");
            let instead = "TokenFile=/etc/demarc/web.token, or Listen=127.0.0.1:8085";
            self.findings.error(&at, "[Web] TokenFile is missing", why, instead);
        }
        Web { listen, token_file }
    }

    fn conflicts(&mut self, lync: Option<SocketAddr>, trunks: &TrunkListen, web: &Web, media: Option<&Media>) {
        let listener = |section, key, at, stream| Listener { section, key, at, stream };
        let all = [
            listener(Section::Lync, "Listen", lync, true),
            listener(Section::Trunks, "TlsListen", trunks.tls, true),
            listener(Section::Trunks, "TcpListen", trunks.tcp, true),
            listener(Section::Trunks, "UdpListen", trunks.udp, false),
            listener(Section::Web, "Listen", web.listen, true),
        ];
        for (index, second) in all.iter().enumerate() {
            for first in &all[..index] {
                self.conflict(first, second);
            }
        }
        if let (Some(udp), Some(media)) = (trunks.udp, media)
            && (media.ports.0..=media.ports.1).contains(&udp.port())
            && meet(udp.ip(), media.address)
        {
            let why = format!("[Media] Ports has {} too", udp.port());
            let at = self.settings.place(Section::Trunks, "UdpListen");
            self.findings.error(&at, "[Trunks] UdpListen lies among the media ports", why, "UdpListen=0.0.0.0:5060");
        }
    }

    fn conflict(&mut self, first: &Listener, second: &Listener) {
        let (Some(a), Some(b)) = (first.at, second.at) else { return };
        if first.stream != second.stream || a.port() != b.port() || !meet(a.ip(), b.ip()) {
            return;
        }
        // The later one is blamed unless it holds by default.
        let written = self.settings.filled(second.section, second.key).is_some();
        let (blamed, other) = if written { (second, first) } else { (first, second) };
        let name = |listener: &Listener| format!("[{}] {}", listener.section.name(), listener.key);
        let what = format!("{} and {} want the same port", name(blamed), name(other));
        let at = self.settings.place(blamed.section, blamed.key);
        self.findings.error(&at, what, format!("{a} and {b} cannot both be opened"), "a port of its own");
    }

    fn logging(&self) -> Option<Logging> {
        let level = LEVEL_VALUES[self.choice(Section::Logging, "Level", LEVELS)];
        let show_numbers = NUMBERS[self.choice(Section::Logging, "Numbers", NUMBERS)] == "shown";
        Some(Logging { level, show_numbers })
    }

    // --- Gateways and routes ---

    fn routes(&self) -> Vec<Route> {
        let lines = self.settings.one(Section::HybridVoiceRoutes).map_or(&[][..], |known| known.free);
        let route = |entry: &Entry| {
            let pattern = value::pattern(&entry.value.text).ok()?;
            Some(Route { name: entry.key.text.clone(), pattern, gateways: Vec::new() })
        };
        lines.iter().filter_map(route).collect()
    }

    fn gateways(&mut self, common: &Common, mut routes: Vec<Route>) -> (Vec<Trunk>, Vec<Route>) {
        self.name_elsewhere();
        let count = self.settings.all(Section::Gateway).count();
        let mut gateways: Vec<Trunk> = Vec::new();
        let mut unrestricted = Vec::new();
        for index in 0..count.min(usize::from(u16::MAX - 1)) {
            let id = TrunkId(u16::try_from(gateways.len() + 1).unwrap_or(u16::MAX));
            let Some(gateway) = self.gateway(common, index, id) else { continue };
            self.duplicate(index, &gateways, &gateway);
            match self.route_names(index, &routes) {
                Some(wanted) => wanted.into_iter().for_each(|at| routes[at].gateways.push(id)),
                None => unrestricted.push(id),
            }
            gateways.push(gateway);
        }
        if gateways.is_empty() {
            let instead = "[Gateway1] with IP, Port and Protocol";
            self.findings.warning(&(0..0), "there is no gateway", "calls have nowhere to go", instead);
        }
        self.take_all(&mut routes, unrestricted);
        self.note_unused(&routes);
        (gateways, routes)
    }

    /// Gateways that name no route take part in all, and in whatever matches none.
    fn take_all(&self, routes: &mut Vec<Route>, unrestricted: Vec<TrunkId>) {
        if unrestricted.is_empty() {
            return;
        }
        for route in routes.iter_mut() {
            route.gateways.extend(&unrestricted);
            route.gateways.sort();
        }
        if let Ok(pattern) = value::pattern(".*") {
            routes.push(Route { name: ANY_NUMBER.into(), pattern, gateways: unrestricted });
        }
    }

    fn note_unused(&mut self, routes: &[Route]) {
        let lines = self.settings.one(Section::HybridVoiceRoutes).map_or(&[][..], |known| known.free);
        for route in routes.iter().filter(|route| route.gateways.is_empty()) {
            let Some(line) = lines.iter().find(|line| line.key.text == route.name) else { continue };
            let what = format!("no gateway takes `{}`", route.name);
            let why = "no VoiceRoutes names it, so its calls are refused";
            self.findings.warning(&line.key.span, what, why, format!("VoiceRoutes={} at a gateway", route.name));
        }
    }

    /// The routes that a gateway names; `None` takes all.
    fn route_names(&mut self, index: usize, routes: &[Route]) -> Option<Vec<usize>> {
        let written = self.settings.one(Section::HybridVoiceRoutes).map(|known| known.free)?;
        let line = self.settings.all(Section::Gateway).nth(index)?.filled("VoiceRoutes")?;
        let mut wanted = Vec::new();
        for (at, word) in value::words(&line.value.text) {
            let is = |name: &str| name.eq_ignore_ascii_case(word);
            match routes.iter().position(|route| is(&route.name)) {
                Some(route) if wanted.contains(&route) => {}
                Some(route) => wanted.push(route),
                // Its pattern is wrong, which has been said.
                None if written.iter().any(|entry| is(&entry.key.text)) => {}
                None => {
                    let known: Vec<&str> = written.iter().map(|entry| entry.key.text.as_str()).collect();
                    let instead = match value::nearest(word, known.iter().copied()) {
                        Some(near) => near.to_owned(),
                        None => format!("one of {}", known.join(", ")),
                    };
                    let start = line.value.span.start;
                    let place = start + at.start..start + at.end;
                    let why = "[HybridVoiceRoutes] has no such name";
                    self.findings.error(&place, format!("unknown route `{word}`"), why, instead);
                }
            }
        }
        Some(wanted)
    }

    fn gateway(&mut self, common: &Common, index: usize, id: TrunkId) -> Option<Trunk> {
        let known = self.settings.all(Section::Gateway).nth(index)?;
        let layers = [Some(known), self.settings.one(Section::TrunkConfiguration)];
        let findings = &mut *self.findings;

        let kind = known.value("Kind", |text| value::choice(text, KINDS)).unwrap_or_default();
        if KINDS[kind] == "isdn" {
            let what = format!("[{}] takes no calls", known.header.text);
            let why = "gateways of Kind=isdn are known, but not built in yet";
            findings.warning(&known.header.span, what, why, "Kind=sip, or leave it for later");
            return None;
        }
        let read = |text: &str| value::choice(text, PROTOCOLS);
        let protocol = known.value("Protocol", read).or_else(|| default(Section::Gateway, "Protocol", read))?;
        let transport = TRANSPORT_VALUES[protocol];
        let fqdn = known.value("FQDN", value::name);
        let addresses = known.value("IP", value::addresses).unwrap_or_default();
        let port = known.value("Port", value::port);
        missing_peer(known, transport, findings);
        let own = own_port(known, transport, &common.listen, findings);
        let srtp = srtp(layers, known, transport, findings);
        let listen_ip = common.listen.of(transport).map(|listen| listen.ip()).filter(|ip| !ip.is_unspecified());
        let own_host = match (&common.own_host, transport) {
            (Some(host), _) => host.clone(),
            (None, Transport::Tls) => common.fqdn.clone(),
            (None, _) => listen_ip.unwrap_or(common.address).to_string(),
        };
        let target = |host: String, port| Target { trunk: id, transport, host: host.into(), port };
        let hops = match (addresses.as_slice(), &fqdn) {
            ([], Some(fqdn)) => vec![target(fqdn.clone(), port)],
            (addresses, _) => {
                let port = port.unwrap_or(transport.default_port());
                addresses.iter().map(|address| target(address.to_string(), Some(port))).collect()
            }
        };
        Some(Trunk {
            id,
            name: known.header.text.clone(),
            kind: TrunkKind::Gateway,
            own_host,
            own_port: own.unwrap_or_default(),
            hops,
            peers: Peers { names: fqdn.into_iter().collect(), addresses },
            srtp,
            codecs: common.codecs.clone(),
            switches: switches(layers, cloud_connector::refer_support(&self.settings)),
            max_calls: known.value("MaxCalls", max_calls),
        })
    }

    fn duplicate(&mut self, index: usize, earlier: &[Trunk], gateway: &Trunk) {
        let Some(known) = self.settings.all(Section::Gateway).nth(index) else { return };
        let at = &known.header.span;
        let same_hop = |other: &&Trunk| {
            let key = |target: &Target| (target.transport, target.host.to_ascii_lowercase(), target.port);
            other.hops.iter().any(|theirs| gateway.hops.iter().any(|ours| key(ours) == key(theirs)))
        };
        let same_address = |other: &&Trunk| {
            let transport = |trunk: &Trunk| trunk.hops.first().map(|hop| hop.transport);
            let shares = |address| gateway.peers.addresses.contains(address);
            transport(gateway) == transport(other) && other.peers.addresses.iter().any(shares)
        };
        if let Some(twin) = earlier.iter().find(same_hop) {
            let what = format!("[{}] is the same peer as [{}]", gateway.name, twin.name);
            let why = "host, port and protocol are equal";
            self.findings.error(at, what, why, "one section, with the routes of both");
        } else if let Some(twin) = earlier.iter().find(same_address) {
            let what = format!("[{}] and [{}] share an address", gateway.name, twin.name);
            let why = format!("calls from there count as [{}]: their source ports tell nothing", twin.name);
            self.findings.warning(at, what, why, "different protocols, or an address for each");
        }
    }

    /// Names of rules that a gateway refers to and that no section has.
    fn name_elsewhere(&mut self) {
        let kinds =
            [Section::DialPlan, Section::CalledNumberRules, Section::CallingNumberRules, Section::ResponseCodeRules];
        for gateway in self.settings.all(Section::Gateway) {
            for kind in kinds {
                let Some(line) = gateway.filled(kind.name()) else { continue };
                let header = format!("{} {}", kind.name(), line.value.text);
                let is = |known: &Known<'_>| known.header.text.eq_ignore_ascii_case(&header);
                if !self.settings.all(kind).any(is) {
                    let what = format!("there is no [{header}]");
                    self.findings.warning(&line.value.span, what, "the name leads nowhere", format!("[{header}]"));
                }
            }
        }
    }

    // --- Readers by the table's forms ---

    fn choice(&self, section: Section, name: &str, words: &[&str]) -> usize {
        self.settings.value(section, name, |text| value::choice(text, words)).unwrap_or_default()
    }

    fn number(&self, section: Section, name: &str) -> Option<usize> {
        let n = self.settings.value(section, name, |text| value::number(text, 0, u32::MAX))?;
        usize::try_from(n).ok()
    }

    fn time(&self, section: Section, name: &str) -> Option<Duration> {
        self.settings.value(section, name, any_time)
    }
}

const PROFILE_VALUES: [Profile; 6] =
    [Profile::Ocs2007R2, Profile::Lync2010, Profile::Lync2013, Profile::Sfb2015, Profile::Sfb2019, Profile::Teams];
const SRTP_VALUES: [SrtpMode; 3] = [SrtpMode::Required, SrtpMode::Optional, SrtpMode::NotSupported];
const TRANSPORT_VALUES: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
const LEVEL_VALUES: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

fn codec(name: &str) -> Option<Codec> {
    Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
}

/// The range was checked with the form.
fn any_time(text: &str) -> Result<Duration, Wrong> {
    value::time(text, Duration::ZERO, Duration::MAX)
}

fn max_calls(text: &str) -> Result<u32, Wrong> {
    value::number(text, 1, u32::MAX)
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// An address has no SRV records: without a port it is the transport's own.
fn port_of(hop: &HostPort, transport: Transport) -> Option<u16> {
    hop.port.or_else(|| is_address(&hop.host).then(|| transport.default_port()))
}

/// Can a packet for one address reach a socket on the other?
fn meet(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

/// A trunk parameter: from the first layer that sets it, else the table's default.
fn layered<T>(layers: [Option<&Known<'_>>; 2], name: &str, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
    let written = layers.into_iter().flatten().find_map(|layer| layer.value(name, &read));
    written.or_else(|| default(Section::TrunkConfiguration, name, &read))
}

/// `refer` is what holds for EnableReferSupport if no layer sets it.
fn switches(layers: [Option<&Known<'_>>; 2], refer: Option<bool>) -> Switches {
    let flag = |name| layered(layers, name, value::flag).unwrap_or_default();
    let time = |name| layered(layers, name, any_time).unwrap_or_default();
    let written = layers.into_iter().flatten().find_map(|layer| layer.value("EnableReferSupport", value::flag));
    let most = layered(layers, "MaxEarlyDialogs", |text| value::number(text, 1, 1000)).unwrap_or(1);
    Switches {
        enable_refer_support: written.or(refer).unwrap_or_else(|| flag("EnableReferSupport")),
        enable_fast_failover_timer: flag("EnableFastFailoverTimer"),
        fast_failover_timeout: time("FastFailoverTimeout"),
        forward_call_history: flag("ForwardCallHistory"),
        forward_pai: flag("ForwardPAI"),
        enable_session_timer: flag("EnableSessionTimer"),
        enable_rtp_latching: flag("EnableRTPLatching"),
        rtcp_active_calls: flag("RTCPActiveCalls"),
        rtcp_calls_on_hold: flag("RTCPCallsOnHold"),
        max_early_dialogs: u16::try_from(most).unwrap_or(u16::MAX),
        remove_plus_from_uri: flag("RemovePlusFromUri"),
        enable_100rel: flag("Enable100rel"),
        options_interval: time("OptionsInterval"),
    }
}

/// Encrypted media needs keys that travel encrypted: only TLS does that.
fn srtp(
    layers: [Option<&Known<'_>>; 2],
    known: &Known<'_>,
    transport: Transport,
    findings: &mut Findings<'_>,
) -> SrtpMode {
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

/// The listener that answers the gateway's requests.
fn own_port(known: &Known<'_>, transport: Transport, listen: &TrunkListen, findings: &mut Findings<'_>) -> Option<u16> {
    let own = listen.of(transport).map(|listen| listen.port());
    if own.is_none() {
        let (key, example) = match transport {
            Transport::Tls => ("TlsListen", "0.0.0.0:5067"),
            Transport::Tcp => ("TcpListen", "0.0.0.0:5068"),
            Transport::Udp => ("UdpListen", "0.0.0.0:5060"),
        };
        let at = known.filled("Protocol").map_or(&known.header.span, |line| &line.value.span);
        let what = format!("[{}] cannot reach us by {transport}", known.header.text);
        let instead = format!("{key}={example} under [Trunks]");
        findings.error(at, what, format!("[Trunks] {key} is off"), instead);
    }
    own
}
