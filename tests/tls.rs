//! The transports against Debian's openssl: who is let in, who is not and why, and what it costs the others.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use demarc::config::{
    Announcements, Config, Level, Logging, Media, Peers, Profile, Sounds, SrtpMode, Switches, TlsIdentity, Trace,
    Trunk, TrunkKind, TrunkListen, Web,
};
use demarc::hop::{Flow, Hop, Target, Transport, TrunkId};
use demarc::shell::transport::{
    Bound, Closed, Event, IdentityError, Limits, Listener, NoAddress, Options, Read, Reader, Refusal, Refused, Role,
    StartError, Transports, Unsent, Warning,
};
use demarc::tone::COUNTRIES;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc;

/// Nothing here takes this long; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const OWN: &str = "ms1.contoso.com";
const POOL: &str = "pool01.contoso.com";
const GATEWAY: &str = "gw1.contoso.com";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

// ---- messages: lines ----

#[derive(Clone, Debug)]
struct Lines;

impl Reader for Lines {
    type Message = String;
    type Fault = &'static str;

    fn next(&mut self, buffer: &mut BytesMut) -> Read<String, &'static str> {
        if buffer.starts_with(b"\r\n\r\n") {
            let _ = buffer.split_to(4);
            return Read::Pong(Bytes::from_static(b"\r\n"));
        }
        if buffer.len() < 4 && buffer.starts_with(b"\r") {
            return Read::More;
        }
        match buffer.iter().position(|octet| *octet == b'\n') {
            None => Read::More,
            Some(end) => self.datagram(buffer.split_to(end + 1).freeze()),
        }
    }

    fn datagram(&mut self, datagram: Bytes) -> Read<String, &'static str> {
        match std::str::from_utf8(&datagram).map(str::trim_end) {
            Ok("nonsense") => {
                Read::Refuse { answer: Some(Bytes::from_static(b"bad\n")), close: true, fault: "nonsense" }
            }
            Ok(line) => Read::Message(line.to_owned()),
            Err(_) => Read::Refuse { answer: None, close: true, fault: "not text" },
        }
    }
}

// ---- certificates ----

struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate and its key.
struct Leaf {
    chain: Vec<X509>,
    key: PKey<Private>,
}

#[derive(Clone, Copy, PartialEq)]
enum Usage {
    None,
    Server,
    Client,
    Both,
    Any,
}

fn key() -> PKey<Private> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap()
}

/// Teams wants RSA of us.
fn own_key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

/// Days from today at which it begins and ends.
fn builder(subject: &str, days: (i64, i64), key: &PKey<Private>) -> X509Builder {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, subject).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = [0; 8];
    openssl::rand::rand_bytes(&mut serial).unwrap();
    builder.set_serial_number(&BigNum::from_slice(&serial).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name.build()).unwrap();
    builder.set_pubkey(key).unwrap();
    let at = |days: i64| Asn1Time::from_unix(jiff::Timestamp::now().as_second() + days * 86_400).unwrap();
    builder.set_not_before(&at(days.0)).unwrap();
    builder.set_not_after(&at(days.1)).unwrap();
    builder
}

impl Authority {
    fn new(name: &str) -> Authority {
        let key = key();
        let mut builder = builder(name, (-1, 400), &key);
        let subject = builder_name(name);
        builder.set_issuer_name(&subject).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Authority { certificate: builder.build(), key }
    }

    fn issue(&self, host: &str, usage: Usage, days: (i64, i64), digest: MessageDigest) -> Leaf {
        self.leaf("the holder", Some(host), usage, days, digest)
    }

    /// A leaf with a common name, and one alternative name or none.
    fn leaf(&self, common: &str, host: Option<&str>, usage: Usage, days: (i64, i64), digest: MessageDigest) -> Leaf {
        let key = if host == Some(OWN) { own_key() } else { key() };
        let mut builder = builder(common, days, &key);
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        if let Some(host) = host {
            let context = builder.x509v3_context(Some(&self.certificate), None);
            let names = SubjectAlternativeName::new().dns(host).build(&context).unwrap();
            builder.append_extension(names).unwrap();
        }
        let mut allowed = ExtendedKeyUsage::new();
        match usage {
            Usage::None => {}
            Usage::Server => drop(allowed.server_auth()),
            Usage::Client => drop(allowed.client_auth()),
            Usage::Both => drop(allowed.server_auth().client_auth()),
            Usage::Any => drop(allowed.other("2.5.29.37.0")),
        }
        if usage != Usage::None {
            builder.append_extension(allowed.build().unwrap()).unwrap();
        }
        builder.sign(&self.key, digest).unwrap();
        Leaf { chain: vec![builder.build()], key }
    }

    /// An authority below this one whose own certificate is for `usage` only.
    fn intermediate(&self, usage: &str) -> Authority {
        let key = key();
        let mut builder = builder("Contoso Issuing", (-1, 90), &key);
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.append_extension(ExtendedKeyUsage::new().other(usage).build().unwrap()).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Authority { certificate: builder.build(), key }
    }

    fn good(&self, host: &str, usage: Usage) -> Leaf {
        self.issue(host, usage, (-1, 90), MessageDigest::sha256())
    }
}

fn builder_name(name: &str) -> openssl::x509::X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    builder.build()
}

impl Leaf {
    fn self_signed(host: &str) -> Leaf {
        let key = key();
        let mut builder = builder(host, (-1, 90), &key);
        builder.set_issuer_name(&builder_name(host)).unwrap();
        let names = SubjectAlternativeName::new().dns(host).build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Leaf { chain: vec![builder.build()], key }
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        let pem: Vec<u8> = self.chain.iter().flat_map(|one| one.to_pem().unwrap()).collect();
        std::fs::write(&certificate, pem).unwrap();
        std::fs::write(&key, self.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        (certificate, key)
    }
}

// ---- the configuration ----

fn trunk(id: u16, name: &str, kind: TrunkKind, peers: Peers, hops: Vec<Target>) -> Arc<Trunk> {
    Arc::new(Trunk {
        id: TrunkId(id),
        name: name.to_owned(),
        kind,
        own_host: OWN.to_owned(),
        own_port: 5070,
        spans: Vec::new(),
        line_transfer: false,
        hops,
        peers,
        srtp: SrtpMode::Required,
        suites: demarc::session::Suites::new([]),
        codecs: Vec::new(),
        switches: Switches {
            enable_refer_support: true,
            accept_refer: false,
            enable_fast_failover_timer: true,
            fast_failover_timeout: Duration::from_secs(10),
            forward_call_history: false,
            forward_pai: false,
            enable_session_timer: false,
            enable_rtp_latching: false,
            rtcp_active_calls: true,
            rtcp_calls_on_hold: true,
            max_early_dialogs: 20,
            remove_plus_from_uri: false,
            enable_100rel: false,
            dtmf: demarc::config::Dtmf::Auto,
            options_interval: Duration::ZERO,
        },
        refusals: Vec::new(),
        max_calls: None,
        voices: Default::default(),
    })
}

fn target(trunk: u16, transport: Transport, host: &str, port: Option<u16>) -> Target {
    Target { trunk: TrunkId(trunk), transport, host: host.into(), port }
}

fn named(name: &str) -> Peers {
    Peers { names: vec![name.to_owned()], addresses: Vec::new() }
}

/// The Microsoft side, a TLS gateway, and a TCP and UDP gateway on 127.0.0.1; every listener on a free port.
fn config(directory: &Path, profile: Profile) -> Config {
    let any = SocketAddr::new(LOOPBACK, 0);
    let plain = Peers { names: Vec::new(), addresses: vec![LOOPBACK] };
    Config {
        spans: Vec::new(),
        trunks: vec![
            trunk(0, "lync", TrunkKind::Microsoft(profile), named(POOL), Vec::new()),
            trunk(1, "Gateway1", TrunkKind::Gateway, named(GATEWAY), Vec::new()),
            trunk(2, "Gateway2", TrunkKind::Gateway, plain, Vec::new()),
        ],
        lync_listen: any,
        identity: TlsIdentity {
            fqdn: OWN.to_owned(),
            certificate: directory.join("own.pem"),
            private_key: directory.join("own.key"),
            trusted_roots: directory.join("roots.pem"),
        },
        traps: None,
        trunk_listen: TrunkListen { tls: Some(any), tcp: Some(any), udp: Some(any) },
        media: Media {
            address: LOOPBACK,
            ports: (49152, 57500),
            threads: None,
            jitter: Duration::ZERO,
            cores: Vec::new(),
            socket_io: Default::default(),
        },
        sounds: Sounds { hold_music: None, tones: &COUNTRIES[0], announcements: Announcements::default() },
        routes: Vec::new(),
        clock: Default::default(),
        web: Web { listen: None, token_file: None },
        trace: Trace { keep: 0 },
        referrer_identity: demarc::config::ReferrerIdentity::Relay,
        logging: Logging { level: Level::Info, show_numbers: false },
        drain_timeout: Duration::ZERO,
    }
}

// ---- the transports under test, which answer "got: " and the line ----

struct House {
    directory: tempfile::TempDir,
    authority: Authority,
    config: Config,
    transports: Transports<Lines>,
    events: mpsc::Receiver<Event<Lines>>,
}

impl House {
    async fn new(profile: Profile) -> House {
        House::with(profile, Options::default(), |_| {}).await
    }

    async fn with(profile: Profile, options: Options, change: impl FnOnce(&mut Config)) -> House {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("Contoso Root");
        authority.good(OWN, Usage::Both).write(directory.path(), "own");
        std::fs::write(directory.path().join("roots.pem"), authority.certificate.to_pem().unwrap()).unwrap();
        let mut config = config(directory.path(), profile);
        change(&mut config);
        let (sender, events) = mpsc::channel(64);
        let transports = Transports::start(Arc::new(config.clone()), Lines, sender, options).await.unwrap();
        House { directory, authority, config, transports, events }
    }

    fn at(&self, listener: Listener) -> SocketAddr {
        self.transports.address(listener).unwrap()
    }

    async fn event(&mut self) -> Event<Lines> {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("an open channel")
    }

    async fn refused(&mut self) -> Refused {
        loop {
            match self.event().await {
                Event::Refused(refused) => return refused,
                Event::Received { message, .. } => panic!("'{message}' was read from a peer that must be refused"),
                _ => {}
            }
        }
    }

    async fn received(&mut self) -> (Flow, String) {
        loop {
            match self.event().await {
                Event::Received { flow, message } => return (flow, message),
                Event::Refused(refused) => panic!("{refused}"),
                Event::Unsent { why, .. } => panic!("{why}"),
                _ => {}
            }
        }
    }

    async fn unsent(&mut self) -> (u64, Unsent) {
        loop {
            match self.event().await {
                Event::Unsent { ticket, why } => return (ticket, why),
                Event::Received { message, .. } => panic!("'{message}' came"),
                _ => {}
            }
        }
    }

    /// Refused connections are counted until they are gone.
    async fn settles_at(&self, connections: usize) {
        let settled = async {
            while self.transports.connections() != connections {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("refused connections do not linger");
    }

    async fn closed(&mut self) -> (Flow, Closed) {
        loop {
            if let Event::Closed { flow, why } = self.event().await {
                return (flow, why);
            }
        }
    }

    /// Waits for a line and answers it on its flow.
    async fn answer(&mut self) -> (Flow, String) {
        let (flow, line) = self.received().await;
        self.transports.send(&Hop::Flow(flow), format!("got: {line}\n").into(), 1).unwrap();
        (flow, line)
    }

    fn client(&self, listener: Listener, leaf: Option<&Leaf>, version: &str) -> Foreign {
        let mut arguments = vec!["s_client".to_owned(), "-connect".to_owned(), self.at(listener).to_string()];
        arguments.extend(["-quiet", "-no_ign_eof", version].map(str::to_owned));
        arguments.extend(self.certificate("peer", leaf));
        Foreign::start(&arguments)
    }

    /// A TLS server of openssl that wants a certificate of our authority, and its port.
    fn server(&self, leaf: &Leaf, version: &str, roots: &str) -> (Foreign, u16) {
        let mut arguments =
            ["s_server", "-accept", "127.0.0.1:0", "-Verify", "2", "-verify_return_error"].map(str::to_owned).to_vec();
        arguments.extend(["-CAfile".to_owned(), self.directory.path().join(roots).display().to_string()]);
        arguments.push(version.to_owned());
        arguments.extend(self.certificate("server", Some(leaf)));
        let mut server = Foreign::start(&arguments);
        let line = server.line_with("ACCEPT");
        let port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
        (server, port)
    }

    fn certificate(&self, name: &str, leaf: Option<&Leaf>) -> Vec<String> {
        let Some(leaf) = leaf else { return Vec::new() };
        let (certificate, key) = leaf.write(self.directory.path(), name);
        // openssl takes the leaf of the one file and the rest of the other.
        let files = [("-cert", &certificate), ("-cert_chain", &certificate), ("-key", &key)];
        files.into_iter().flat_map(|(option, file)| [option.to_owned(), file.display().to_string()]).collect()
    }

    fn send(&self, target: &Target, text: &str, ticket: u64) {
        self.transports.send(&Hop::Target(target.clone()), Bytes::from(text.to_owned()), ticket).unwrap();
    }
}

/// A process of openssl, ended with the test.
struct Foreign {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Foreign {
    fn start(arguments: &[String]) -> Foreign {
        let mut command = Command::new("openssl");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl is installed");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Foreign { child, input, output }
    }

    /// A refused client is gone when we write: that is no failure of the test.
    fn say(&mut self, line: &str) {
        let _ = writeln!(self.input, "{line}");
    }

    fn line_with(&mut self, text: &str) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if line.contains(text) {
                return line;
            }
            line.clear();
        }
        panic!("openssl ended before it said '{text}'");
    }

    /// Everything it says until it ends by itself.
    fn rest(mut self) -> String {
        let mut all = String::new();
        self.output.read_to_string(&mut all).unwrap();
        all
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- who connects to us ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_peer_speaks_and_is_answered() {
    let mut house = House::new(Profile::Sfb2019).await;
    assert_eq!(house.transports.warnings(), []);
    for (listener, host, trunk) in [(Listener::Microsoft, POOL, 0), (Listener::Tls, GATEWAY, 1)] {
        for version in ["-tls1_2", "-tls1_3"] {
            for usage in [Usage::Both, Usage::None, Usage::Client] {
                let leaf = house.authority.good(host, usage);
                let mut client = house.client(listener, Some(&leaf), version);
                client.say("hello");
                let (flow, line) = house.answer().await;
                assert_eq!((flow.trunk, flow.transport, line.as_str()), (TrunkId(trunk), Transport::Tls, "hello"));
                client.line_with("got: hello");
                drop(client);
                assert_eq!(house.closed().await.1, Closed::ByPeer);
            }
        }
    }
    assert_eq!(house.transports.refusals(), []);
    assert_eq!(house.transports.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_else_is_refused_by_name_of_the_fault_before_a_byte_is_answered() {
    let mut house = House::new(Profile::Sfb2019).await;
    let (ours, stranger) = (&house.authority, Authority::new("Fabrikam Root"));
    let sha256 = MessageDigest::sha256();
    let both = Usage::Both;
    let cases = [
        ("no_certificate", None),
        ("unknown_issuer", Some(stranger.good(POOL, both))),
        ("self_signed", Some(Leaf::self_signed(POOL))),
        ("name_mismatch", Some(ours.good("pool02.contoso.com", both))),
        ("expired", Some(ours.issue(POOL, both, (-90, -2), sha256))),
        ("not_yet_valid", Some(ours.issue(POOL, both, (2, 90), sha256))),
        ("weak_signature", Some(ours.issue(POOL, both, (-1, 90), MessageDigest::sha1()))),
        ("key_usage", Some(ours.good(POOL, Usage::Any))),
    ];
    let mut seen = 0;
    for (kind, leaf) in &cases {
        for version in ["-tls1_2", "-tls1_3"] {
            let weak = *kind == "weak_signature";
            let mut client = match leaf {
                Some(leaf) if weak => house.weak_client(leaf, version),
                leaf => house.client(Listener::Microsoft, leaf.as_ref(), version),
            };
            client.say("hello");
            // The second of a kind from one address is counted and not told.
            if version == "-tls1_2" {
                let refused = house.refused().await;
                assert_eq!(refused.reason.kind(), *kind, "{refused}");
                assert_eq!((refused.at, refused.trunk), (Some(Listener::Microsoft), None));
                check_detail(&refused.reason);
            }
            let said = tokio::task::spawn_blocking(move || client.rest()).await.unwrap();
            assert_eq!(said, "", "{kind} {version}");
            seen += 1;
            let counted: u64 = house.transports.refusals().iter().map(|(_, _, count)| count).sum();
            assert_eq!(counted, seen, "{kind} {version}");
        }
        assert!(house.transports.refusals().contains(&(None, kind, 2)), "{kind}: {:?}", house.transports.refusals());
    }
    assert!(house.events.try_recv().is_err());
    house.settles_at(0).await;
}

/// The reasons carry what the operator needs.
fn check_detail(reason: &Refusal) {
    match reason {
        Refusal::UnknownIssuer { issuer } => assert_eq!(issuer, "Fabrikam Root"),
        Refusal::SelfSigned { subject } => assert_eq!(subject, POOL),
        Refusal::NameMismatch { seen, expected } => {
            assert_eq!((seen, expected), (&vec!["pool02.contoso.com".to_owned()], &vec![POOL.to_owned()]));
        }
        Refusal::Expired { on, .. } => {
            let days = (jiff::Timestamp::now().as_second() - on.as_second()) / 86_400;
            assert_eq!(days, 2);
        }
        Refusal::KeyUsage { role, seen } => assert_eq!((role, seen), (&Role::Client, &vec!["anyExtendedKeyUsage"])),
        _ => {}
    }
}

impl House {
    /// openssl itself shows no weak certificate and speaks no TLS 1.0 unless told to.
    fn weak_client(&self, leaf: &Leaf, version: &str) -> Foreign {
        self.client_of(Listener::Microsoft, leaf, &[version, "-cipher", "ALL:@SECLEVEL=0"])
    }

    fn client_of(&self, listener: Listener, leaf: &Leaf, options: &[&str]) -> Foreign {
        let mut arguments = ["s_client", "-quiet", "-no_ign_eof", "-connect"].map(str::to_owned).to_vec();
        arguments.push(self.at(listener).to_string());
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        arguments.extend(self.certificate("peer", Some(leaf)));
        Foreign::start(&arguments)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_for_servers_passes_for_microsoft_and_not_for_gateways() {
    for profile in [Profile::Teams, Profile::Sfb2015] {
        let mut house = House::new(profile).await;
        let mut client = house.client(Listener::Microsoft, Some(&house.authority.good(POOL, Usage::Server)), "-tls1_2");
        client.say("hello");
        house.answer().await;
        client.line_with("got: hello");

        let leaf = house.authority.good(GATEWAY, Usage::Server);
        let mut client = house.client(Listener::Tls, Some(&leaf), "-tls1_2");
        client.say("hello");
        let refused = house.refused().await;
        assert_eq!(refused.reason, Refusal::KeyUsage { role: Role::Client, seen: vec!["serverAuth"] });
        assert_eq!(client.rest(), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_common_name_counts_only_without_alternative_names() {
    let cases = [
        (POOL, None, true),
        ("Pool01.Contoso.com", None, true),
        (POOL, Some("fe01.contoso.com"), false),
        ("the holder", Some("*.contoso.com"), true),
        ("the holder", Some("*.com"), false),
    ];
    for (common, host, passes) in cases {
        let mut house = House::new(Profile::Sfb2019).await;
        let leaf = house.authority.leaf(common, host, Usage::Both, (-1, 90), MessageDigest::sha256());
        let mut client = house.client(Listener::Microsoft, Some(&leaf), "-tls1_3");
        client.say("hello");
        if passes {
            house.answer().await;
            client.line_with("got: hello");
        } else {
            let expected = vec![POOL.to_owned()];
            let seen = vec![host.unwrap_or(common).to_owned()];
            assert_eq!(house.refused().await.reason, Refusal::NameMismatch { seen, expected });
            assert_eq!(client.rest(), "");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usages_of_an_issuer_bind_its_leaves() {
    for (usage, passes) in [("clientAuth", true), ("2.5.29.37.0", true), ("emailProtection", false)] {
        let mut house = House::new(Profile::Sfb2019).await;
        let issuing = house.authority.intermediate(usage);
        let mut leaf = issuing.good(GATEWAY, Usage::Both);
        leaf.chain.push(issuing.certificate);
        let mut client = house.client(Listener::Tls, Some(&leaf), "-tls1_2");
        client.say("hello");
        if passes {
            house.answer().await;
            client.line_with("got: hello");
        } else {
            let expected = Refusal::KeyUsage { role: Role::Client, seen: vec!["emailProtection"] };
            assert_eq!(house.refused().await.reason, expected);
            assert_eq!(client.rest(), "");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_survives_a_slow_reader() {
    let mut house = House::new(Profile::Sfb2019).await;
    let mut client = house.client(Listener::Microsoft, Some(&house.authority.good(POOL, Usage::Both)), "-tls1_3");
    client.say("hello");
    let (flow, _) = house.received().await;
    // More than the pipe, both sockets' buffers and a TLS record hold.
    let large: String = (0..1_200_000).map(|n: u32| char::from(b'a' + (n % 26) as u8)).collect();
    house.transports.send(&Hop::Flow(flow), format!("{large}\n").into(), 1).unwrap();
    house.transports.send(&Hop::Flow(flow), "short\n".into(), 2).unwrap();
    client.say("still there");
    house.received().await;
    assert_eq!(client.line_with("abc").trim_end(), large);
    client.line_with("short");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_0_is_for_old_generations_only_and_announced() {
    let mut house = House::new(Profile::Sfb2019).await;
    let client = |house: &House| {
        let leaf = house.authority.good(POOL, Usage::Both);
        house.weak_client(&leaf, "-tls1")
    };
    let refused_client = client(&house);
    assert_eq!(house.refused().await.reason, Refusal::Version);
    assert_eq!(refused_client.rest(), "");

    let mut house = House::new(Profile::Lync2010).await;
    assert_eq!(house.transports.warnings(), [Warning::OldTls(Profile::Lync2010)]);
    let mut client = client(&house);
    client.say("hello");
    house.answer().await;
    client.line_with("got: hello");

    // Gateways keep their own floor.
    let leaf = house.authority.good(GATEWAY, Usage::Both);
    let gateway = house.client_of(Listener::Tls, &leaf, &["-tls1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert_eq!(house.refused().await.reason, Refusal::Version);
    assert_eq!(gateway.rest(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_generation_finds_a_suite_and_teams_keeps_to_its_four() {
    for (profile, suite, passes) in [
        (Profile::Sfb2015, "ECDHE-RSA-AES256-SHA384", true),
        (Profile::Sfb2015, "ECDHE-RSA-AES128-SHA", true),
        (Profile::Sfb2015, "AES256-GCM-SHA384", true),
        (Profile::Sfb2015, "AES256-SHA", false),
        (Profile::Lync2013, "AES256-SHA", true),
        (Profile::Teams, "ECDHE-RSA-AES128-SHA256", true),
        (Profile::Teams, "ECDHE-RSA-AES128-SHA", false),
        (Profile::Teams, "AES256-GCM-SHA384", false),
    ] {
        let mut house = House::new(profile).await;
        let leaf = house.authority.good(POOL, Usage::Both);
        let mut client = house.client_of(Listener::Microsoft, &leaf, &["-tls1_2", "-cipher", suite]);
        client.say("hello");
        if passes {
            house.answer().await;
            client.line_with("got: hello");
        } else {
            assert_eq!(house.refused().await.reason, Refusal::NoSharedCipher, "{profile:?} {suite}");
            assert_eq!(client.rest(), "");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_tls_is_named_so() {
    let mut house = House::new(Profile::Sfb2019).await;
    let mut plain = TcpStream::connect(house.at(Listener::Microsoft)).await.unwrap();
    plain.write_all(b"OPTIONS sip:ms1.contoso.com SIP/2.0\r\n\r\n").await.unwrap();
    assert_eq!(house.refused().await.reason, Refusal::NotTls);
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"SIP") && answer.len() <= 7, "at most an alert: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_holds_nothing_up_and_is_sent_away() {
    let limits = Limits { handshake: Duration::from_secs(3), strangers: 2, ..Limits::default() };
    let mut house = House::with(Profile::Sfb2019, Options { limits, ..Options::default() }, |_| {}).await;
    let mut silent = TcpStream::connect(house.at(Listener::Microsoft)).await.unwrap();

    let mut client = house.client(Listener::Microsoft, Some(&house.authority.good(POOL, Usage::Both)), "-tls1_3");
    client.say("hello");
    let spoke = house.answer().await;
    client.line_with("got: hello");
    assert_eq!(spoke.1, "hello");

    assert_eq!(house.refused().await.reason, Refusal::Slow);
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap(), 0);
    house.settles_at(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_one_address_have_their_limits() {
    for (strangers, strangers_per_address, of) in [(1, 9, Bound::Strangers), (9, 1, Bound::AddressStrangers)] {
        let limits = Limits { strangers, strangers_per_address, ..Limits::default() };
        let mut house = House::with(Profile::Sfb2019, Options { limits, ..Options::default() }, |_| {}).await;
        let silent = TcpStream::connect(house.at(Listener::Microsoft)).await.unwrap();
        let _second = TcpStream::connect(house.at(Listener::Microsoft)).await.unwrap();
        assert_eq!(house.refused().await.reason, Refusal::TooMany { limit: 1, of });
        drop(silent);
        house.settles_at(0).await;
        let _third = TcpStream::connect(house.at(Listener::Microsoft)).await.unwrap();
        house.settles_at(1).await;
    }

    let limits = Limits { per_address: 2, ..Limits::default() };
    let mut house = House::with(Profile::Sfb2019, Options { limits, ..Options::default() }, |_| {}).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut one = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
        one.write_all(b"hello\n").await.unwrap();
        house.received().await;
        held.push(one);
    }
    let mut third = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    assert!(matches!(house.refused().await.reason, Refusal::TooMany { limit: 2, of: Bound::Address }));
    assert_eq!(third.read(&mut [0; 16]).await.unwrap_or(0), 0);
    drop(held.pop());
    house.closed().await;
    let mut fourth = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    fourth.write_all(b"again\n").await.unwrap();
    assert_eq!(house.received().await.1, "again");
}

// ---- gateways by address ----

#[tokio::test]
async fn an_unknown_address_is_closed_unread() {
    let mut house = House::new(Profile::Sfb2019).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stranger = socket.connect(house.at(Listener::Tcp)).await.unwrap();
    let _ = stranger.write_all(b"hello\n").await;
    let refused = house.refused().await;
    assert_eq!((refused.reason, refused.trunk), (Refusal::UnknownAddress, None));
    assert_eq!(stranger.read(&mut [0; 16]).await.unwrap_or(0), 0);

    let stranger = UdpSocket::bind("127.0.0.9:0").await.unwrap();
    let known = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(b"hello\n", house.at(Listener::Udp)).await.unwrap();
    known.send_to(b"world\n", house.at(Listener::Udp)).await.unwrap();
    let (flow, line) = house.answer().await;
    assert_eq!((flow.trunk, line.as_str()), (TrunkId(2), "world"));
    let mut buffer = [0; 64];
    let (length, _) = known.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"got: world\n");
    // The same address was told a moment ago: this one is only counted.
    assert_eq!(house.transports.refusals(), [(None, "unknown_address", 2)]);
    assert_eq!(house.transports.trunk_of("127.0.0.1:9".parse().unwrap(), Transport::Tcp), Some(TrunkId(2)));
}

#[tokio::test]
async fn nonsense_is_answered_then_closed_and_keep_alives_are_answered() {
    let mut house = House::new(Profile::Sfb2019).await;
    let mut gateway = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    gateway.write_all(b"\r\n\r\nhel").await.unwrap();
    let mut pong = [0; 2];
    gateway.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\r\n");
    gateway.write_all(b"lo\nworld\nnonsense\n").await.unwrap();
    assert_eq!((house.received().await.1, house.received().await.1), ("hello".to_owned(), "world".to_owned()));
    let mut rest = String::new();
    gateway.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bad\n");
    assert!(matches!(house.event().await, Event::Unreadable { fault: "nonsense", .. }));
    drop(gateway);
    assert_eq!(house.closed().await.1, Closed::Unreadable);
}

#[tokio::test]
async fn a_message_without_end_is_cut_off_by_size_and_by_time() {
    let limits = Limits { message: Duration::from_millis(300), ..Limits::default() };
    let mut house = House::with(Profile::Sfb2019, Options { limits, ..Options::default() }, |_| {}).await;
    let mut gateway = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    let _ = gateway.write_all(&vec![b'x'; 300_000]).await;
    assert_eq!(house.closed().await.1, Closed::TooLarge);

    let mut gateway = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    gateway.write_all(b"hel").await.unwrap();
    assert_eq!(house.closed().await.1, Closed::Unfinished);
    assert_eq!(gateway.read(&mut [0; 16]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn an_answer_to_a_keep_alive_begins_no_message() {
    let limits = Limits { message: Duration::from_millis(100), idle: Duration::from_millis(400), ..Limits::default() };
    let mut house = House::with(Profile::Sfb2019, Options { limits, ..Options::default() }, |_| {}).await;
    let mut gateway = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    gateway.write_all(b"\r\n").await.unwrap();
    assert_eq!(house.closed().await.1, Closed::Idle);
}

#[tokio::test]
async fn a_silent_connection_ends_after_the_idle_limit() {
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let mut house = House::with(Profile::Sfb2019, Options { limits, ..Options::default() }, |_| {}).await;
    let _gateway = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    assert_eq!(house.closed().await.1, Closed::Idle);
}

// ---- whom we connect to ----

/// A port that is taken, so that no other test gets it, and where nobody listens.
fn nobody_at(port: u16) -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::new(LOOPBACK, port)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_connect_send_and_reuse() {
    let mut house = House::new(Profile::Sfb2019).await;
    for version in ["-tls1_2", "-tls1_3"] {
        // An address: any name of the trunk does.
        let leaf = house.authority.good(POOL, Usage::Server);
        let (mut server, port) = house.server(&leaf, version, "roots.pem");
        let target = target(0, Transport::Tls, "127.0.0.1", Some(port));
        house.send(&target, "first\n", 1);
        house.send(&target, "second\n", 2);
        server.line_with("first");
        server.line_with("second");
        server.say("hello");
        let (flow, line) = house.received().await;
        assert_eq!((flow.trunk, flow.remote.port(), line.as_str()), (TrunkId(0), port, "hello"));
        house.transports.send(&Hop::Flow(flow), "third\n".into(), 3).unwrap();
        server.line_with("third");
        assert_eq!(house.transports.connections(), 1);
        drop(server);
        house.closed().await;
        assert_eq!(house.transports.connections(), 0);
        let _held = nobody_at(port);
        // Nobody is there now: the flow's address is tried again, and refuses.
        house.transports.send(&Hop::Flow(flow), "fourth\n".into(), 4).unwrap();
        assert_eq!(house.unsent().await, (4, Unsent::Refused(flow.remote)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_bad_certificate_is_sent_nothing() {
    let mut house = House::new(Profile::Sfb2019).await;
    let ours = &house.authority;
    let cases = [
        ("expired", ours.issue(POOL, Usage::Both, (-90, -2), MessageDigest::sha256())),
        ("name_mismatch", ours.good("pool02.contoso.com", Usage::Both)),
        ("key_usage", ours.good(POOL, Usage::Client)),
        ("self_signed", Leaf::self_signed(POOL)),
        ("unknown_issuer", Authority::new("Fabrikam Root").good(POOL, Usage::Both)),
    ];
    for (ticket, (kind, leaf)) in (1..).zip(&cases) {
        let (mut server, port) = house.server(leaf, "-tls1_3", "roots.pem");
        house.send(&target(0, Transport::Tls, "127.0.0.1", Some(port)), "secret\n", ticket);
        let refused = house.refused().await;
        assert_eq!((refused.at, refused.trunk, refused.reason.kind()), (None, Some(TrunkId(0)), *kind), "{refused}");
        let (lost, why) = house.unsent().await;
        assert_eq!((lost, why), (ticket, Unsent::Tls { reason: refused.reason }));
        server.child.kill().unwrap();
        assert!(!server.rest().contains("secret"), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_our_certificate_is_named_even_under_tls_1_3() {
    let mut house = House::new(Profile::Sfb2019).await;
    let fabrikam = Authority::new("Fabrikam Root");
    std::fs::write(house.directory.path().join("other.pem"), fabrikam.certificate.to_pem().unwrap()).unwrap();
    let leaf = house.authority.good(POOL, Usage::Both);
    for (ticket, version) in [(1, "-tls1_2"), (2, "-tls1_3")] {
        let (_server, port) = house.server(&leaf, version, "other.pem");
        house.send(&target(0, Transport::Tls, "127.0.0.1", Some(port)), "hello\n", ticket);
        // unknown_ca: the message was written under TLS 1.3 and yet comes back as unsent.
        let (lost, why) = house.unsent().await;
        assert_eq!((lost, why), (ticket, Unsent::Tls { reason: Refusal::Alert(48) }), "{version}");
    }
    assert_eq!(house.transports.refusals(), [(Some(TrunkId(0)), "refused_by_peer", 2)]);
}

#[tokio::test]
async fn what_cannot_be_sent_says_why() {
    let mut house = House::new(Profile::Sfb2019).await;
    let (_held, closed) = nobody_at(0);
    house.send(&target(2, Transport::Tcp, "127.0.0.1", Some(closed.port())), "hello\n", 7);
    assert_eq!(house.unsent().await, (7, Unsent::Refused(closed)));

    let gone = target(9, Transport::Tcp, "127.0.0.1", Some(5060));
    assert_eq!(house.transports.send(&Hop::Target(gone), Bytes::new(), 8), Err(Unsent::NoTrunk));

    // The port of a connection that the peer opened and closed is of no use to anybody.
    let mut gateway = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    gateway.write_all(b"hello\n").await.unwrap();
    let (flow, _) = house.received().await;
    drop(gateway);
    house.closed().await;
    assert_eq!(house.transports.send(&Hop::Flow(flow), "late\n".into(), 9), Err(Unsent::Closed));
}

#[tokio::test]
async fn a_peer_that_does_not_read_fills_only_its_own_queue() {
    let limits = Limits { queue: 4, write: Duration::from_millis(300), ..Limits::default() };
    let mut house = House::with(Profile::Sfb2019, Options { limits, ..Options::default() }, |_| {}).await;
    let mut deaf = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    deaf.write_all(b"hello\n").await.unwrap();
    let (flow, _) = house.received().await;
    let large = Bytes::from(vec![b'x'; 8 << 20]);
    let mut handed = 0;
    while house.transports.send(&Hop::Flow(flow), large.clone(), handed).is_ok() {
        handed += 1;
        tokio::task::yield_now().await;
    }
    assert_eq!(house.transports.send(&Hop::Flow(flow), large.clone(), 99), Err(Unsent::QueueFull));

    let mut other = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    other.write_all(b"hello\n").await.unwrap();
    house.answer().await;
    let mut answer = [0; 11];
    other.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"got: hello\n");

    // The one on its way comes back like those behind it.
    for ticket in 0..handed {
        assert_eq!(house.unsent().await, (ticket, Unsent::Closed));
    }
    assert_eq!(house.closed().await.1, Closed::NotReading);
    drop(deaf);
}

// ---- names ----

/// A DNS server for one zone: SRV and A records; anything else does not exist.
async fn dns(
    services: Vec<(&'static str, u16, u16, &'static str)>,
    hosts: Vec<(&'static str, Ipv4Addr)>,
) -> SocketAddr {
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, SRV};
    use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
            let question = query.queries[0].clone();
            let asked = question.name().to_ascii().to_ascii_lowercase();
            let asked = asked.trim_end_matches('.').to_owned();
            let records: Vec<RData> = match question.query_type() {
                RecordType::SRV => services
                    .iter()
                    .filter(|(name, ..)| *name == asked)
                    .map(|(_, priority, port, host)| {
                        RData::SRV(SRV::new(*priority, 10, *port, Name::from_ascii(host).unwrap()))
                    })
                    .collect(),
                RecordType::A => {
                    hosts.iter().filter(|(name, _)| *name == asked).map(|(_, ip)| RData::A(A(*ip))).collect()
                }
                _ => Vec::new(),
            };
            let exists =
                hosts.iter().any(|(name, _)| *name == asked) || services.iter().any(|(name, ..)| *name == asked);
            if !exists {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            for record in records {
                answer.add_answer(Record::from_rdata(question.name().clone(), 60, record));
            }
            answer.add_query(question);
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_name_is_looked_up_by_srv_and_the_next_address_tried() {
    let live = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = live.local_addr().unwrap().port();
    let (_held, dead) = nobody_at(0);
    let services = vec![
        ("_sip._tcp.carrier.example", 10, dead.port(), "a.carrier.example."),
        ("_sip._tcp.carrier.example", 20, port, "b.carrier.example."),
        ("_sip._tcp.nothere.example", 0, 0, "."),
    ];
    let hosts = vec![("a.carrier.example", Ipv4Addr::LOCALHOST), ("b.carrier.example", Ipv4Addr::LOCALHOST)];
    let dns = Some(dns(services, hosts).await);
    let options = Options { dns, ..Options::default() };
    let mut house = House::with(Profile::Sfb2019, options, |_| {}).await;

    house.send(&target(2, Transport::Tcp, "Carrier.example", None), "hello\n", 1);
    let (mut served, _) = tokio::time::timeout(PATIENCE, live.accept()).await.unwrap().unwrap();
    let mut line = [0; 6];
    served.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"hello\n");
    // The same name in another case is the same connection.
    house.send(&target(2, Transport::Tcp, "carrier.EXAMPLE", None), "again\n", 2);
    served.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"again\n");

    house.send(&target(2, Transport::Tcp, "nothere.example", None), "hello\n", 3);
    assert_eq!(house.unsent().await, (3, NoAddress::NotOffered("nothere.example".into()).into()));
    house.send(&target(2, Transport::Tcp, "unknown.example", Some(5060)), "hello\n", 4);
    assert_eq!(house.unsent().await, (4, NoAddress::Unknown("unknown.example".into()).into()));
}

#[tokio::test]
async fn without_dns_the_hosts_file_still_answers() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let options = Options { dns: Some(silent.local_addr().unwrap()), ..Options::default() };
    let mut house = House::with(Profile::Sfb2019, options, |_| {}).await;
    let gateway = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = gateway.local_addr().unwrap().port();
    house.send(&target(2, Transport::Tcp, "localhost", Some(port)), "hello\n", 1);
    let _served = tokio::time::timeout(PATIENCE, gateway.accept()).await.unwrap().unwrap();
    house.send(&target(2, Transport::Tcp, "gw9.contoso.com", Some(5060)), "hello\n", 2);
    assert_eq!(house.unsent().await, (2, NoAddress::Silent("gw9.contoso.com".into()).into()));
}

#[tokio::test]
async fn a_gateway_known_by_name_is_recognised_by_the_address_behind_it() {
    let dns = Some(dns(Vec::new(), vec![("gw3.contoso.com", Ipv4Addr::new(127, 0, 0, 7))]).await);
    let options = Options { dns, ..Options::default() };
    let mut house = House::with(Profile::Sfb2019, options, |config| {
        let hop = target(3, Transport::Udp, "gw3.contoso.com", Some(5060));
        config.trunks.push(trunk(3, "Gateway3", TrunkKind::Gateway, named("gw3.contoso.com"), vec![hop]));
    })
    .await;
    let gateway = UdpSocket::bind("127.0.0.7:0").await.unwrap();
    gateway.send_to(b"hello\n", house.at(Listener::Udp)).await.unwrap();
    assert_eq!(house.received().await.0.trunk, TrunkId(3));

    let port = gateway.local_addr().unwrap().port();
    house.send(&target(3, Transport::Udp, "gw3.contoso.com", Some(port)), "by name\n", 1);
    let mut buffer = [0; 64];
    let (length, from) = gateway.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..length], from), (&b"by name\n"[..], house.at(Listener::Udp)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_reached_by_name_must_have_that_name() {
    let hosts = vec![(POOL, Ipv4Addr::LOCALHOST), ("fe01.contoso.com", Ipv4Addr::LOCALHOST)];
    let options = Options { dns: Some(dns(Vec::new(), hosts).await), ..Options::default() };
    let mut house = House::with(Profile::Sfb2019, options, |_| {}).await;
    let leaf = house.authority.good("pool01.CONTOSO.com", Usage::Both);
    let (mut server, port) = house.server(&leaf, "-tls1_3", "roots.pem");
    house.send(&target(0, Transport::Tls, POOL, Some(port)), "to the pool\n", 1);
    server.line_with("to the pool");

    // A name of the trunk, and yet not the host that was asked for.
    let (_server, port) = house.server(&leaf, "-tls1_3", "roots.pem");
    house.send(&target(0, Transport::Tls, "fe01.contoso.com", Some(port)), "to the front end\n", 2);
    let (ticket, why) = house.unsent().await;
    let (seen, expected) = (vec![POOL.to_owned()], vec!["fe01.contoso.com".to_owned()]);
    assert_eq!((ticket, why), (2, Unsent::Tls { reason: Refusal::NameMismatch { seen, expected } }));
}

#[tokio::test]
async fn our_own_connections_are_kept_alive() {
    let limits = Limits { keep_alive: Duration::from_millis(100), ..Limits::default() };
    let house = House::with(Profile::Sfb2019, Options { limits, ..Options::default() }, |_| {}).await;
    let gateway = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    house.send(&target(2, Transport::Tcp, "127.0.0.1", Some(gateway.local_addr().unwrap().port())), "hello\n", 1);
    let (mut served, _) = gateway.accept().await.unwrap();
    let mut read = [0; 14];
    tokio::time::timeout(PATIENCE, served.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(&read, b"hello\n\r\n\r\n\r\n\r\n");
}

// ---- a new configuration ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_shows_the_new_certificate_and_keeps_the_live_connection() {
    let mut house = House::new(Profile::Sfb2019).await;
    let leaf = house.authority.good(POOL, Usage::Both);
    let mut old = house.client(Listener::Microsoft, Some(&leaf), "-tls1_3");
    old.say("before");
    house.answer().await;
    old.line_with("got: before");
    let before = house.transports.expiries();
    assert_eq!(before.iter().map(|expiry| expiry.role).collect::<Vec<_>>(), ["own", "roots"]);

    let renewed = house.authority.issue(OWN, Usage::Both, (-1, 200), MessageDigest::sha256());
    renewed.write(house.directory.path(), "own");
    house.transports.reload(Arc::new(house.config.clone())).await.unwrap();
    assert!(house.transports.expiries()[0].at > before[0].at);
    assert_eq!(shown_by(house.at(Listener::Microsoft)).await, renewed.chain[0].to_der().unwrap());

    old.say("after");
    house.answer_ignoring_refusals().await;
    old.line_with("got: after");

    // A file that cannot be used leaves the good one in place, and says which.
    std::fs::write(house.directory.path().join("own.key"), "rubbish").unwrap();
    let error = house.transports.reload(Arc::new(house.config.clone())).await.unwrap_err();
    assert!(matches!(&error, StartError::Identity(IdentityError::NotPem { what: "private key", .. })), "{error}");
    leaf.write(house.directory.path(), "other");
    std::fs::copy(house.directory.path().join("other.key"), house.directory.path().join("own.key")).unwrap();
    let error = house.transports.reload(Arc::new(house.config.clone())).await.unwrap_err();
    assert!(matches!(&error, StartError::Identity(IdentityError::KeyMismatch { .. })), "{error}");
    assert_eq!(shown_by(house.at(Listener::Microsoft)).await, renewed.chain[0].to_der().unwrap());
    old.say("still");
    house.answer_ignoring_refusals().await;
    old.line_with("got: still");
}

impl House {
    async fn answer_ignoring_refusals(&mut self) {
        loop {
            if let Event::Received { flow, message } = self.event().await {
                self.transports.send(&Hop::Flow(flow), format!("got: {message}\n").into(), 1).unwrap();
                return;
            }
        }
    }
}

/// The certificate that a listener shows to somebody who has none.
async fn shown_by(address: SocketAddr) -> Vec<u8> {
    tokio::task::spawn_blocking(move || {
        let output = Command::new("openssl")
            .args(["s_client", "-tls1_3", "-connect", &address.to_string()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        X509::from_pem(&output.stdout).unwrap().to_der().unwrap()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_reload_renumbers_live_connections_and_moves_listeners() {
    let mut house = House::new(Profile::Sfb2019).await;
    let mut gateway = TcpStream::connect(house.at(Listener::Tcp)).await.unwrap();
    gateway.write_all(b"hello\n").await.unwrap();
    assert_eq!(house.received().await.0.trunk, TrunkId(2));

    // Gateway1 is gone, Gateway2 has its number; UDP is off.
    let mut config = house.config.clone();
    let second = Trunk { id: TrunkId(1), ..(*config.trunks[2]).clone() };
    config.trunks.truncate(1);
    config.trunks.push(Arc::new(second));
    config.trunk_listen.udp = None;
    house.transports.reload(Arc::new(config)).await.unwrap();
    gateway.write_all(b"again\n").await.unwrap();
    assert_eq!(house.received().await.0.trunk, TrunkId(1));
    assert_eq!(house.transports.address(Listener::Udp), None);
    let udp = target(1, Transport::Udp, "127.0.0.1", Some(9));
    assert_eq!(house.transports.send(&Hop::Target(udp), "x\n".into(), 5), Err(Unsent::NoUdp));

    house.transports.stop_accepting();
    gateway.write_all(b"draining\n").await.unwrap();
    assert_eq!(house.received().await.1, "draining");
}

#[tokio::test]
async fn our_own_certificate_is_looked_at_when_it_is_read() {
    let house = House::new(Profile::Sfb2019).await;
    let directory = house.directory.path();
    house.authority.issue("old.contoso.com", Usage::Client, (-9, 9), MessageDigest::sha256()).write(directory, "own");
    house.transports.reload(Arc::new(house.config.clone())).await.unwrap();
    let name = Warning::OwnName { fqdn: OWN.to_owned(), seen: vec!["old.contoso.com".to_owned()] };
    assert_eq!(house.transports.warnings(), [name, Warning::OwnUsage]);
    let alarms = house.transports.alarms();
    assert!(alarms[0].text.what.starts_with("our certificate ends on "), "{alarms:?}");

    house.authority.issue(OWN, Usage::Both, (-9, 9), MessageDigest::sha1()).write(directory, "own");
    let error = house.transports.reload(Arc::new(house.config.clone())).await.unwrap_err();
    assert!(matches!(&error, StartError::Identity(IdentityError::Weak { .. })), "{error}");
    std::fs::remove_file(directory.join("roots.pem")).unwrap();
    let error = house.transports.reload(Arc::new(house.config.clone())).await.unwrap_err();
    assert!(matches!(&error, StartError::Identity(IdentityError::Unreadable { .. })), "{error}");
    assert!(error.to_string().contains("roots.pem"), "{error}");
}

#[tokio::test]
async fn a_taken_port_says_which_listener_and_which_key() {
    let house = House::new(Profile::Sfb2019).await;
    let taken = house.at(Listener::Tcp);
    let mut config = house.config.clone();
    config.trunk_listen.tls = Some(taken);
    let error = house.transports.reload(Arc::new(config)).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { listener: Listener::Tls, .. }));
    assert!(error.to_string().contains("TlsListen in [Trunks]"), "{error}");
    assert!(house.transports.address(Listener::Tls).is_some(), "the old listener stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peers_connection_carries_our_requests_only_for_a_name_it_proved() {
    let mut house = House::new(Profile::Sfb2019).await;
    let mut client = house.client(Listener::Microsoft, Some(&house.authority.good(POOL, Usage::Both)), "-tls1_3");
    client.say("hello");
    let (flow, _) = house.received().await;
    assert!(!house.transports.alias(&flow, &target(0, Transport::Tls, "fe01.contoso.com", Some(5061))));
    assert!(!house.transports.alias(&flow, &target(1, Transport::Tls, POOL, Some(5061))));
    let pool = target(0, Transport::Tls, POOL, Some(5061));
    assert!(house.transports.alias(&flow, &pool));
    house.send(&pool, "request\n", 1);
    client.line_with("request");
}
