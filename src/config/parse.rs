//! Settings to a [`Config`]: what spans several keys, and the value itself.
//!
//! Every step reports what it finds and carries on, so that one run names all faults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::session::Codec;
use crate::tone::{COUNTRIES, COUNTRY_NAMES, SPECIAL_INFORMATION, Tones};

use super::ini::{self, Entry, Extent, Source};
use super::keys::{ANNOUNCED_TONES, LEVELS, NUMBERS, REFERRER_IDENTITIES, SOCKET_IO, Section};
use super::settings::{Findings, Settings, value_or_key};
use super::trunk::{self, Own};
use super::value::{self, HostPort};
use super::{
    Announced, Announcements, Clock, Config, Finding, Level, Logging, Media, ReferrerIdentity, SocketIo, SoundFile,
    Sounds, TlsIdentity, Trace, Traps, TrunkListen, Web, cloud_connector, span, voice_routes,
};

const SOCKET_IO_VALUES: [SocketIo; 3] = [SocketIo::Auto, SocketIo::Uring, SocketIo::Epoll];
const LEVEL_VALUES: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

/// All that is to be said about a file.
#[derive(Debug)]
pub struct Report {
    /// The decoded text that the findings point into.
    pub source: Source,
    /// In file order.
    pub findings: Vec<Finding>,
    /// Present unless a finding is an error.
    pub config: Option<Config>,
    /// Where a daemon that runs with an earlier form of this file can be asked.
    pub web: Web,
}

impl Report {
    /// Adds what only reading a file that is named at `at` can show: the configuration can be used, but hardly as meant.
    pub fn warning(&mut self, file: &str, at: &Extent, what: String, why: String, instead: String) {
        let mut findings = Findings::new(file, &self.source);
        findings.warning(at, what, why, instead);
        self.findings.extend(findings.into_list());
        self.findings.sort_by_key(|finding| (finding.span.start, finding.severity));
    }
}

/// Reads a configuration. `file` is how the file is named in findings; relative paths in it count
/// from its directory.
pub fn check(bytes: &[u8], file: &str) -> Report {
    let (source, document, faults) = ini::read(bytes);
    let mut findings = Findings::new(file, &source);
    faults.iter().for_each(|fault| findings.grammar(fault));
    let settings = Settings::recognise(&document, &mut findings);
    let mut builder = Builder { settings: &settings, directory: directory(file), findings: &mut findings };
    let web = builder.web();
    let config = builder.config(web.clone());
    let config = if findings.any_error() { None } else { config };
    let findings = findings.into_list();
    Report { source, findings, config, web }
}

/// The configuration with warnings and notes, or all faults.
pub fn parse(bytes: &[u8], file: &str) -> Result<(Config, Vec<Finding>), Vec<Finding>> {
    let Report { config, findings, .. } = check(bytes, file);
    config.map_or(Err(findings.clone()), |config| Ok((config, findings)))
}

fn directory(file: &str) -> PathBuf {
    Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default()
}

struct Builder<'a, 'f> {
    settings: &'a Settings<'a>,
    directory: PathBuf,
    findings: &'a mut Findings<'f>,
}

/// A listener with its key and place, for conflicts.
struct Listener {
    section: Section,
    key: &'static str,
    at: Option<SocketAddr>,
    stream: bool,
}

impl Builder<'_, '_> {
    /// The whole; `None` only with an error among the findings.
    fn config(mut self, web: Web) -> Option<Config> {
        let lync_listen = self.lync_listen();
        let trunk_listen = self.trunk_listen();
        let fqdn = self.fqdn();
        let media = self.media(lync_listen);
        let sounds = self.sounds();
        self.conflicts(lync_listen, &trunk_listen, &web, media.as_ref());
        self.note_files();

        // What is missing has been reported; the rest is checked with stand-ins.
        let own = Own {
            fqdn: fqdn.clone().unwrap_or_default(),
            lync_port: lync_listen.map_or(0, |listen| listen.port()),
            listen: trunk_listen.clone(),
            host: self.settings.value(Section::Trunks, "OwnHost", value::host),
            address: media.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |media| media.address),
            codecs: self.codecs(),
            directory: self.directory.clone(),
        };
        let next_hop = self.next_hop();
        let lync = trunk::microsoft(self.settings, &own, next_hop, self.findings);
        let spans = span::spans(self.settings, self.findings);
        let gateways = trunk::gateways(self.settings, &own, &spans, self.findings);
        span::idle(self.settings, &spans, self.findings);
        let routes = voice_routes::routes(self.settings, &gateways, self.findings);
        let gateways = gateways.into_iter().map(|(_, gateway)| gateway);

        Some(Config {
            trunks: std::iter::once(lync).chain(gateways).map(Arc::new).collect(),
            spans: spans.into_iter().map(Arc::new).collect(),
            lync_listen: lync_listen?,
            identity: self.identity(fqdn?)?,
            trunk_listen,
            traps: self.traps(),
            media: media?,
            sounds,
            routes,
            clock: self.clock()?,
            web,
            trace: self.trace()?,
            referrer_identity: self.referrer_identity(),
            logging: self.logging(),
            drain_timeout: self.drain_timeout()?,
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
            let name = self.settings.value(Section::Lync, "Fqdn", value::host)?;
            if name.parse::<IpAddr>().is_ok() {
                let at = self.settings.place(Section::Lync, "Fqdn");
                let why = "Microsoft's servers know their peers by name, Teams answers 403 to an address";
                self.findings.warning(
                    &at,
                    "`Fqdn` is an address",
                    why,
                    "Fqdn=ms1.contoso.com, the name in our certificate",
                );
            }
            return Some(name);
        }
        if let Some(derived) = cloud_connector::fqdn(self.settings) {
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
        if let Some(derived) = cloud_connector::next_hop(self.settings) {
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
    fn note_files(&mut self) {
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

    fn traps(&self) -> Option<Traps> {
        let path = |text: &str| Ok(self.directory.join(text));
        let community = self.settings.value(Section::Trunks, "TrapCommunityFile", path);
        Some(Traps { listen: self.listen(Section::Trunks, "TrapListen")?, community })
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
        let any = |text: &str| value::time(text, Duration::ZERO, Duration::MAX);
        let jitter = self.settings.value(Section::Media, "JitterBuffer", any)?;
        let core = |text: &str| value::numbers(text, 0, 1023);
        let cores = self.settings.value(Section::Media, "Cores", core).unwrap_or_default();
        let cores = cores.into_iter().filter_map(|core| usize::try_from(core).ok()).collect();
        let choice = |text: &str| value::choice(text, SOCKET_IO);
        let socket_io = SOCKET_IO_VALUES[self.settings.value(Section::Media, "SocketIo", choice).unwrap_or_default()];
        Some(Media { address: self.media_address(lync_listen)?, ports, threads, jitter, cores, socket_io })
    }

    fn sounds(&self) -> Sounds {
        let hold_music = self.settings.filled(Section::Media, "HoldMusic").map(|entry| self.sound_file(entry));
        let country = self.settings.value(Section::Media, "Tones", |text| value::choice(text, COUNTRY_NAMES));
        let tones = &COUNTRIES[country.unwrap_or_default()];
        Sounds { hold_music, tones, announcements: self.announcements(tones) }
    }

    fn announcements(&self, tones: &Tones) -> Announcements {
        let announced = |key| {
            let entry = self.settings.filled(Section::Announcements, key)?;
            Some(match value::choice(&entry.value.text, ANNOUNCED_TONES) {
                Ok(tone) => Announced::Tone([tones.busy, tones.congestion, SPECIAL_INFORMATION][tone]),
                Err(_) => Announced::File(self.sound_file(entry)),
            })
        };
        let any = |text: &str| value::time(text, Duration::ZERO, Duration::MAX);
        Announcements {
            busy: announced("Busy"),
            unassigned: announced("Unassigned"),
            congestion: announced("Congestion"),
            other: announced("Other"),
            longest: self.settings.value(Section::Announcements, "Longest", any).unwrap_or_default(),
        }
    }

    fn sound_file(&self, entry: &Entry) -> SoundFile {
        let path = self.directory.join(&entry.value.text);
        SoundFile { path, named_at: entry.value.span.clone(), sound: None }
    }

    fn media_address(&mut self, lync_listen: Option<SocketAddr>) -> Option<IpAddr> {
        if self.settings.filled(Section::Media, "Address").is_some() {
            return self.settings.value(Section::Media, "Address", value::own_address);
        }
        if let Some(listen) = lync_listen.filter(|listen| !listen.ip().is_unspecified()) {
            return Some(listen.ip());
        }
        if let Some(derived) = cloud_connector::address(self.settings) {
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
        self.settings.value(Section::Media, "Codecs", value::codecs).unwrap_or_default()
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
            listener(Section::Trunks, "TrapListen", self.listen(Section::Trunks, "TrapListen"), false),
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

    fn logging(&self) -> Logging {
        let choice = |name, words| self.settings.value(Section::Logging, name, |text| value::choice(text, words));
        let level = LEVEL_VALUES[choice("Level", LEVELS).unwrap_or_default()];
        Logging { level, show_numbers: NUMBERS[choice("Numbers", NUMBERS).unwrap_or_default()] == "shown" }
    }

    fn clock(&self) -> Option<Clock> {
        let bound =
            |name| self.settings.value(Section::Clock, name, |text| value::time(text, Duration::ZERO, Duration::MAX));
        Some(Clock {
            servers: self.settings.value(Section::Clock, "Servers", value::hosts).unwrap_or_default(),
            max_ahead: bound("MaxAhead")?,
            max_behind: bound("MaxBehind")?,
            discipline: self.settings.value(Section::Clock, "Discipline", value::flag)?,
        })
    }

    fn trace(&self) -> Option<Trace> {
        let keep = self.settings.value(Section::Trace, "Keep", |text| value::number(text, 0, u32::MAX))?;
        Some(Trace { keep: usize::try_from(keep).ok()? })
    }

    fn referrer_identity(&self) -> ReferrerIdentity {
        let read = |text: &str| value::choice(text, REFERRER_IDENTITIES);
        match self.settings.value(Section::Lync, "ReferrerIdentity", read) {
            Some(1) => ReferrerIdentity::Refuse,
            _ => ReferrerIdentity::Relay,
        }
    }

    fn drain_timeout(&self) -> Option<Duration> {
        self.settings.value(Section::Trunks, "DrainTimeout", |text| value::time(text, Duration::ZERO, Duration::MAX))
    }
}

/// Can a packet for one address reach a socket on the other?
fn meet(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}
