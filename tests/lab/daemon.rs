//! The daemon under test: its configuration, its life, what it says about itself.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::child::Running;
use super::{Lab, Paper, seconds, until};

/// Our name, as the certificate has it.
pub const OUR_NAME: &str = "demarc.lab.test";
/// The Lync side's name.
pub const LYNC_NAME: &str = "lync.lab.test";

/// A `[GatewayN]` section.
#[derive(Clone)]
pub struct Gateway {
    /// Where it listens.
    pub address: SocketAddr,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    /// Further lines of its section.
    pub more: Vec<String>,
}

impl Gateway {
    /// A gateway without further settings.
    pub fn new(address: SocketAddr, protocol: &'static str) -> Gateway {
        Gateway { address, protocol, more: Vec::new() }
    }
}

/// What the configuration says. Begin with [`Setup::new`].
pub struct Setup {
    /// The generation of the Lync side.
    pub profile: &'static str,
    /// Where the Lync side listens.
    pub next_hop: SocketAddr,
    /// The gateways, in order of preference.
    pub gateways: Vec<Gateway>,
    /// The port range for media.
    pub ports: (u16, u16),
    /// `[Media] Codecs`.
    pub codecs: &'static str,
    /// Further lines of `[Media]`.
    pub media: Vec<String>,
    /// Lines of `[TrunkConfiguration]`; the Microsoft side gets them too.
    pub trunk_configuration: Vec<String>,
    /// Further lines of `[Trunks]`.
    pub trunks: Vec<String>,
    /// `[Lync] SRTPMode`.
    pub srtp: &'static str,
    /// Days from today on which its certificate begins and ends.
    pub days: (i64, i64),
    /// Lines of `[Clock]`.
    pub clock: Vec<String>,
    /// Further lines of `[Web]`.
    pub web: Vec<String>,
    /// Further environment variables.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// The pattern of the one route.
    pub route: String,
    /// Further sections.
    pub more: String,
}

impl Setup {
    /// One Lync side, these gateways, numbers in Chicago routed to them.
    pub fn new(next_hop: SocketAddr, gateways: &[Gateway]) -> Setup {
        Setup {
            profile: "sfb2019",
            next_hop,
            gateways: gateways.to_vec(),
            ports: (18_000, 18_399),
            codecs: "PCMU PCMA",
            media: Vec::new(),
            trunk_configuration: Vec::new(),
            trunks: Vec::new(),
            srtp: "Required",
            days: (-1, 300),
            clock: Vec::new(),
            web: Vec::new(),
            environment: Vec::new(),
            route: r"^\+1312\d{7}$".to_owned(),
            more: String::new(),
        }
    }

    /// Writes the file, with all that it names.
    pub fn write(&self, lab: &Lab) -> PathBuf {
        lab.write("demarc.ini", self.ini(lab))
    }

    fn ini(&self, lab: &Lab) -> String {
        let paper = Paper { address: Some(lab.net.host(1)), days: self.days, ..Paper::new(OUR_NAME) };
        let leaf = lab.authority.issue(&paper);
        let certificate = lab.write("demarc.pem", leaf.certificate);
        let key = lab.write("demarc.key", leaf.key);
        let roots = lab.write("roots.pem", lab.authority.root());
        let us = lab.net.host(1);
        let switches = self.trunk_configuration.join("\n");
        let trunks = self.trunks.join("\n");
        let mut ini = format!(
            "[Lync]\nProfile={}\nFqdn={us}\nListen={us}:5070\nNextHop={}\nCertificate={}\nPrivateKey={}\n\
             TrustedRoots={}\nTrustedPeers={LYNC_NAME}\nSRTPMode={}\n{switches}\n\n[Trunks]\nTlsListen={us}:5067\nTcpListen={us}:5068\n\
             UdpListen={us}:5068\n{trunks}\n\n[Media]\nAddress={us}\nPorts={}-{}\nCodecs={}\n{}\n\n[Web]\nListen={us}:8085\n{}\n\n",
            self.profile,
            self.next_hop,
            certificate.display(),
            key.display(),
            roots.display(),
            self.srtp,
            self.ports.0,
            self.ports.1,
            self.codecs,
            self.media.join("\n"),
            self.web.join("\n"),
        );
        for (n, gateway) in self.gateways.iter().enumerate() {
            let n = n + 1;
            let _ = write!(
                ini,
                "[Gateway{n}]\nFQDN=gateway{n}.lab.test\nIP={}\nPort={}\nProtocol={}\nVoiceRoutes=LocalRoute\n{}\n\n",
                gateway.address.ip(),
                gateway.address.port(),
                gateway.protocol,
                gateway.more.join("\n"),
            );
        }
        let _ = write!(ini, "[Clock]\n{}\n\n", self.clock.join("\n"));
        let _ = write!(
            ini,
            "[HybridVoiceRoutes]\nLocalRoute={}\n\n[TrunkConfiguration]\n{switches}\n{}",
            self.route, self.more
        );
        ini
    }

    /// Starts the daemon and waits until it says that it is ready.
    #[track_caller]
    pub fn start(&self, lab: &Lab) -> Demarc {
        self.start_with(lab, "DEMARC_LOG", "demarc=debug")
    }

    /// The same with an environment variable, unless it is set already.
    #[track_caller]
    pub fn start_with(&self, lab: &Lab, variable: &str, value: &str) -> Demarc {
        let file = self.write(lab);
        let mut command = Command::new(program());
        command.arg("run").arg("--config").arg(&file).env("RUST_BACKTRACE", "1").env_remove("NOTIFY_SOCKET");
        command.envs(self.environment.iter().cloned());
        if std::env::var_os(variable).is_none() {
            command.env(variable, value);
        }
        let mut demarc = Demarc {
            running: Running::start(&mut command, &lab.log("demarc")),
            log: lab.path("demarc.log"),
            file,
            lync: lab.net.at(1, 5070),
            trunk: lab.net.at(1, 5068),
            tls_trunk: lab.net.at(1, 5067),
            web: lab.net.at(1, 8085),
        };
        until(seconds(10), "demarc is ready", || {
            let ended = demarc.running.ended();
            assert!(ended.is_none(), "demarc ended before it was ready: {ended:?}");
            matches!(get(demarc.web, "/readyz"), Some((200, _))).then_some(())
        });
        demarc
    }
}

fn program() -> std::ffi::OsString {
    std::env::var_os("DEMARC_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_demarc").into())
}

/// Runs one of the program's verbs to its end.
pub fn demarc(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).env_remove("NOTIFY_SOCKET").output().unwrap()
}

/// The running daemon.
pub struct Demarc {
    running: Running,
    log: PathBuf,
    /// Its configuration.
    pub file: PathBuf,
    /// Where the Lync side reaches it.
    pub lync: SocketAddr,
    /// Where gateways reach it, by UDP and TCP.
    pub trunk: SocketAddr,
    /// Where gateways reach it, by TLS.
    pub tls_trunk: SocketAddr,
    /// Its web page.
    pub web: SocketAddr,
}

impl Demarc {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Is it still there?
    pub fn alive(&mut self) -> bool {
        self.running.ended().is_none() && matches!(get(self.web, "/healthz"), Some((200, _)))
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for a line of its log that holds all of these.
    #[track_caller]
    pub fn logs(&self, parts: &[&str]) {
        let says = |line: &str| parts.iter().all(|part| line.contains(part));
        until(seconds(5), &format!("a line of the log holds {parts:?}"), || self.log().lines().any(says).then_some(()));
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Its end, if that comes in time.
    pub fn end(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.running.wait(limit)
    }

    /// Runs a verb that asks it: exit code, standard output, standard error.
    pub fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        let file = self.file.display().to_string();
        let output = demarc(&[&["--config", &file], arguments].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// The sum of a metric over all its labels.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        self.metric_where(name, "")
    }

    /// The sum of a metric over the samples whose labels contain `label`, such as `code="486"`.
    #[track_caller]
    pub fn metric_where(&self, name: &str, label: &str) -> f64 {
        let (status, text) = get(self.web, "/metrics").expect("/metrics answers");
        assert_eq!(status, 200);
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The calls that `/api/calls` shows.
    #[track_caller]
    pub fn calls(&self) -> Vec<serde_json::Value> {
        let (status, text) = get(self.web, "/api/calls").expect("/api/calls answers");
        assert_eq!(status, 200);
        let json: serde_json::Value = serde_json::from_str(&text).expect("/api/calls is JSON");
        match json.get("calls").unwrap_or(&json) {
            serde_json::Value::Array(calls) => calls.clone(),
            other => panic!("/api/calls is no list: {other}"),
        }
    }

    /// Waits until nothing is left of any call.
    #[track_caller]
    pub fn idle_within(&self, limit: Duration) {
        until(limit, "all calls are gone", || {
            (self.calls().is_empty() && self.metric("demarc_calls_active") == 0.0).then_some(())
        });
    }

    /// Waits a moment until nothing is left of any call.
    #[track_caller]
    pub fn idle(&self) {
        self.idle_within(seconds(3));
    }
}

/// One HTTP GET: status and body; `None` while nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let (status, _, body) = get_with(address, path, &format!("Host: {address}\r\n"))?;
    Some((status, body))
}

/// The same with header lines of one's own, each ended by CRLF: status, head, body.
pub fn get_with(address: SocketAddr, path: &str, headers: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, seconds(1)).ok()?;
    stream.set_read_timeout(Some(seconds(3))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n{headers}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head.to_owned(), body.to_owned()))
}
