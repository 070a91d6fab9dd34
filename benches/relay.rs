//! 200 calls with SRTP on one side and RTP on the other, 20 ms packets both ways: is any packet lost or changed, how late
//! does it come, and what does it cost? Beside rtpengine, in turn.
//!
//! ```text
//! rtpload  --mutual TLS, SRTP-->  demarc     --UDP, RTP-->  rtpload
//! rtpload  --SRTP-->              rtpengine  --RTP-->       rtpload, which tells rtpengine what to do
//! ```
//!
//! rtpload (benches/rtpload) checks every packet, and its own delay without a server is shown first. Either server has
//! one media thread. Where the machine permits, the server has one core, the loader another, both in real time, so that
//! neighbours change nothing; CPU is read from schedstat over all threads. A run whose load left late says little of the
//! server and is repeated. `RUNS` (3), `CALLS` (200), `SECONDS` (20) and `SLOTS` (20: the calls' packets come in 20 lumps per 20 ms; more
//! slots spread them) may be set; `DEMARC_BIN` names another daemon.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panic and prints its table"
)]

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::{Lab, Running, get, seconds, until};

/// The most that a packet may be late at the 99th percentile, ms.
const DELAY: f64 = 3.0;
/// The most that a packet may cost, in units of rtpengine's.
const COST: f64 = 0.5;
/// The loader's own lateness, 99th percentile in µs, from which a run says nothing.
const LUMPS: f64 = 1000.0;
/// How often a run is repeated for the loader's sake.
const ATTEMPTS: usize = 4;
/// What must be zero in every run.
const GATE: [&str; 16] = [
    "lost",
    "auth_fail",
    "corrupt",
    "not_exact",
    "seq_break",
    "ts_break",
    "reordered",
    "wrong_pt",
    "wrong_len",
    "stray",
    "silent_legs",
    "send_errors",
    "ended_early",
    "bye_unanswered",
    "bye_unseen",
    "rtcp_bad",
];

const US: &str = "demarc.lab.test";
const LYNC: &str = "lync.lab.test";

struct Load {
    program: PathBuf,
    calls: u64,
    seconds: u64,
    slots: u64,
    place: Place,
}

/// Where programs run.
#[derive(Clone, Copy)]
struct Place {
    /// Server's and loader's, when there are enough.
    cores: Option<[usize; 2]>,
    real_time: bool,
}

impl Place {
    fn find() -> Place {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = (count >= 4 && lab::installed("taskset", "util-linux")).then_some([count - 2, count - 1]);
        let permitted = Command::new("chrt").args(["-f", "5", "true"]).output().is_ok_and(|done| done.status.success());
        Place { cores, real_time: cores.is_some() && permitted }
    }

    fn describe(self) -> String {
        match self.cores {
            Some([server, loader]) => {
                let policy = if self.real_time { "real time" } else { "no real-time priority here" };
                format!("server on core {server}, loader on core {loader}, {policy}")
            }
            None => "fewer than four cores: server and loader share them".to_owned(),
        }
    }

    /// A command for a server; the process that starts becomes the server itself.
    fn server(self, program: impl Into<OsString>) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some([core, _]) = self.cores {
            words.extend(["taskset".into(), "-c".into(), core.to_string().into()]);
        }
        if self.real_time {
            words.extend(["chrt", "-f", "5"].map(OsString::from));
        }
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}

/// What rtpload says of one run.
struct Run(Value);

impl Run {
    fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("rtpload says nothing of {name}: {}", self.0))
    }

    fn faults(&self) -> Vec<String> {
        let faulty = GATE.iter().filter(|name| self.number(name) != 0.0);
        faulty.map(|name| format!("{name}={}", self.number(name))).collect()
    }

    fn print(&self, who: &str) {
        let ms = |name| self.number(name) / 1000.0;
        println!(
            "{who:<10}{:>9.3}{:>9.3}{:>9.3}{:>12.2}{:>12.4}{:>9.1}{:>9.0}{:>9.0}  {}",
            ms("lat_us_p50"),
            ms("lat_us_p99"),
            ms("lat_us_p999"),
            self.number("srv_us_per_packet"),
            self.number("srv_cpu_s_per_call_min"),
            self.number("srv_rss_mb"),
            self.number("srv_threads"),
            self.number("pace_late_us_p99"),
            if self.faults().is_empty() { "clean".to_owned() } else { self.faults().join(" ") },
        );
    }
}

fn main() {
    let setting = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let place = Place::find();
    let [calls, seconds, slots] = [("CALLS", 200), ("SECONDS", 20), ("SLOTS", 20)].map(|(name, n)| setting(name, n));
    let load = Load { program: build(), calls, seconds, slots, place };
    let runs = setting("RUNS", 3);
    println!("{calls} calls for {seconds} s, {runs} runs, in turn; {}\n", place.describe());
    println!(
        "{:<10}{:>9}{:>9}{:>9}{:>12}{:>12}{:>9}{:>9}{:>9}",
        "", "p50 ms", "p99 ms", "p99.9 ms", "µs/packet", "s/call-min", "RSS MB", "threads", "late µs"
    );
    load.punctual(&["--driver", "direct", "--a", "srtp", "--b", "srtp"], None).print("no server");
    let rival = lab::installed("rtpengine", "rtpengine-daemon");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(demarc(&load));
        theirs.extend(rival.then(|| rtpengine(&load)));
    }
    report(&load, &ours, &theirs);
    let faulty = ours.iter().filter(|run| !run.faults().is_empty()).count();
    assert_eq!(faulty, 0, "runs in which demarc lost or changed packets");
}

/// Prints the ratios and leaves the rows.
fn report(load: &Load, ours: &[Run], theirs: &[Run]) {
    let clean = ours.iter().all(|run| run.faults().is_empty());
    let calls = load.calls;
    let row = |name: String, unit, value: f64, rival, rival_value: f64, target| {
        let ratio = value / rival_value;
        let met = ratio <= target && clean;
        println!(
            "{value:.3} {unit}, {ratio:.2} times {rival} {rival_value:.3}, at most {target}: {}",
            if met { "met" } else { "missed" }
        );
        json!({
            "name": name, "unit": unit, "ours": value, "rival": rival, "rival_value": rival_value, "ratio": ratio,
            "target": target, "met": met, "runs": ours.len(),
        })
    };
    println!();
    let delay = median(ours, "lat_us_p99") / 1000.0;
    let mut rows = vec![row(format!("relay_srtp_{calls}"), "ms p99", delay, "limit", DELAY, 1.0)];
    if !theirs.is_empty() {
        let [cost, rival] = [ours, theirs].map(|runs| median(runs, "srv_us_per_packet"));
        let name = format!("relay_srtp_{calls}_cpu");
        rows.push(row(name, "µs of CPU a packet", cost, "rtpengine", rival, COST));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.join("relay.jsonl"), lines).unwrap();
}

fn median(runs: &[Run], name: &str) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(|run| run.number(name)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The loader, built beside the gateway's own packages.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/rtpload");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]);
    cargo.arg(root.join("benches/rtpload/Cargo.toml")).arg("--target-dir").arg(&target);
    assert!(cargo.status().unwrap().success(), "the load generator does not build");
    target.join("release/rtpload")
}

impl Load {
    /// One run against a server, repeated while the loader's pace is to blame for what it measures.
    fn punctual(&self, arguments: &[&str], server: Option<u32>) -> Run {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let run = self.run(arguments, server);
            if run.number("pace_late_us_p99") <= LUMPS {
                return run;
            }
            println!("{:<10}rejected: the load left {:.0} µs late", "", run.number("pace_late_us_p99"));
            last = Some(run);
        }
        last.expect("at least one attempt")
    }

    fn run(&self, arguments: &[&str], server: Option<u32>) -> Run {
        let mut command = Command::new(&self.program);
        for (option, value) in [("--calls", self.calls), ("--secs", self.seconds), ("--slots", self.slots)] {
            command.args([option, &value.to_string()]);
        }
        command.arg("--json");
        command.args(arguments);
        if let Some(process) = server {
            command.args(["--pid", &process.to_string()]);
        }
        if let Some([_, core]) = self.place.cores {
            command.args(["--cpus", &core.to_string()]);
        }
        if self.place.real_time {
            command.args(["--rt", "6"]);
        }
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        let value = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
        Run(value.unwrap_or_else(|| panic!("rtpload: {}", String::from_utf8_lossy(&done.stderr))))
    }
}

fn demarc(load: &Load) -> Run {
    let lab = Lab::new();
    let [lync, web] = [5070, 8085].map(|port| lab.net.at(1, port));
    let (caller, callee) = (lab.net.at(2, 5061), lab.net.at(3, 5060));
    let ini = lab.write("demarc.ini", configuration(&lab, caller, callee));
    let program = std::env::var_os("DEMARC_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_demarc").into());
    let mut command = load.place.server(program);
    command.arg("run").arg("--config").arg(ini).env_remove("NOTIFY_SOCKET");
    let mut demarc = Running::start(&mut command, &lab.log("demarc"));
    until(seconds(10), "demarc is ready", || {
        assert!(demarc.ended().is_none(), "demarc ended before it was ready");
        matches!(get(web, "/readyz"), Some((200, _))).then_some(())
    });
    let leaf = lab.authority.leaf(LYNC);
    let certificate = lab.write("lync.pem", leaf.certificate).display().to_string();
    let key = lab.write("lync.key", leaf.key).display().to_string();
    let roots = lab.path("roots.pem").display().to_string();
    let [server, uac, uas] = [lync, caller, callee].map(|address| address.to_string());
    let (host, media) = (format!("{US}:5070"), lab.net.host(3).to_string());
    let arguments = [
        ["--driver", "sip"],
        ["--a", "srtp"],
        ["--b", "rtp"],
        ["--server", &server],
        ["--host", &host],
        ["--tls-name", US],
        ["--tls-cert", &certificate],
        ["--tls-key", &key],
        ["--tls-roots", &roots],
        ["--uac", &uac],
        ["--uas", &uas],
        ["--user", "+13125556789"],
        ["--caller", "+14255550100"],
        ["--ip", &media],
    ];
    let run = load.punctual(arguments.as_flattened(), Some(demarc.id()));
    run.print("demarc");
    until(seconds(5), "all calls are gone", || {
        let (_, text) = get(web, "/metrics")?;
        let mut active = text.lines().filter(|line| line.starts_with("demarc_calls_active"));
        active.all(|line| line.ends_with(" 0")).then_some(())
    });
    run
}

fn configuration(lab: &Lab, caller: SocketAddr, callee: SocketAddr) -> String {
    let leaf = lab.authority.leaf(US);
    let certificate = lab.write("demarc.pem", leaf.certificate);
    let key = lab.write("demarc.key", leaf.key);
    let roots = lab.write("roots.pem", lab.authority.root());
    let us = lab.net.host(1);
    format!(
        "[Lync]\nProfile=sfb2019\nFqdn={US}\nListen={us}:5070\nNextHop={caller}\nCertificate={}\nPrivateKey={}\n\
         TrustedRoots={}\nTrustedPeers={LYNC}\nSRTPMode=Required\n\n\
         [Trunks]\nTlsListen=\nTcpListen=\nUdpListen={us}:5068\n\n\
         [Media]\nAddress={us}\nPorts=20000-29999\nCodecs=PCMU PCMA\nThreads=1\n\n[Web]\nListen={us}:8085\n\n\
         [Gateway1]\nIP={}\nPort={}\nProtocol=UDP\nVoiceRoutes=All\n\n[HybridVoiceRoutes]\nAll=.*\n",
        certificate.display(),
        key.display(),
        roots.display(),
        callee.ip(),
        callee.port(),
    )
}

fn rtpengine(load: &Load) -> Run {
    let lab = Lab::new();
    let (us, control) = (lab.net.host(1), lab.net.at(1, 2223).to_string());
    let mut command = load.place.server("rtpengine");
    // Userspace, as demarc is; none of the files of its package.
    command.args(["-f", "-E", "--config-file=none", "--table=-1", "--num-threads=1", "--log-level=3"]);
    command.args(["-m", "20000", "-M", "29999", "--timeout=60", "--offer-timeout=60"]);
    command.arg(format!("--interface={us}")).arg(format!("--listen-ng={control}"));
    let rtpengine = Running::start(&mut command, &lab.log("rtpengine"));
    // Its control port is UDP: nobody says when it listens, and the loader asks four times in two seconds.
    std::thread::sleep(seconds(1));
    let media = lab.net.host(3).to_string();
    let arguments = ["--driver", "ng", "--ng", &control, "--a", "srtp", "--b", "rtp", "--ip", &media];
    let run = load.punctual(&arguments, Some(rtpengine.id()));
    run.print("rtpengine");
    run
}
