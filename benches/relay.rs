//! Calls with SRTP on one side and RTP on the other, 20 ms packets both ways, relayed and transcoded: is any packet lost
//! or changed, how late does it come, and what does it cost? Beside rtpengine, in turn.
//!
//! ```text
//! rtpload  --mutual TLS, SRTP-->  demarc     --UDP, RTP-->  rtpload
//! rtpload  --SRTP-->              rtpengine  --RTP-->       rtpload, which tells rtpengine what to do
//! ```
//!
//! rtpload (benches/rtpload) checks every packet, and its own delay without a server is shown first. Either server has
//! one media thread. Where the machine permits, the server has one core, the loader another, both in real time, so that
//! neighbours change nothing; CPU is read from schedstat over all threads. A run whose load left late says little of the
//! server and is repeated. [`WORKS`] names the work and its limits. `WORK` (all) names one of them alone; `RUNS` (5),
//! `SECONDS` (5), `CALLS` (as the work has them) and `SLOTS` (20: the calls' packets come in 20 lumps per 20 ms; more slots spread them) may be set;
//! `DEMARC_BIN` names another daemon. Where the kernel has io_uring, the relay is measured with epoll, too.

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

use demarc::media::codec::Encoder;
use demarc::media::resample::Resampler;
use demarc::session::{Codec, Opus};
use serde_json::{Value, json};

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::{Lab, Running, get, seconds, until};

/// A kind of work.
struct Work {
    name: &'static str,
    /// The Microsoft side's codec and the gateway's, as rtpload names them.
    codecs: [&'static str; 2],
    calls: u64,
    /// Is rtpengine measured too?
    rival: bool,
    /// And demarc by epoll?
    epoll: bool,
    limits: &'static [Limit],
}

/// What is asked of a figure of rtpload's.
struct Limit {
    row: &'static str,
    figure: &'static str,
    unit: &'static str,
    asked: Asked,
}

enum Asked {
    /// At most so many times rtpengine's.
    OfRtpengine(f64),
    AtMost(f64),
    AtLeast(f64),
}

const COST: &str = "srv_us_per_packet";

/// A figure of rtpload's in µs beside rtpengine's.
const fn beside(row: &'static str, figure: &'static str, share: f64) -> Limit {
    Limit { row, figure, unit: "µs", asked: Asked::OfRtpengine(share) }
}

const WORKS: [Work; 6] = [
    Work {
        name: "relay",
        codecs: ["pcmu", "pcmu"],
        calls: 500,
        rival: true,
        epoll: true,
        limits: &[beside("cpu", COST, 0.4), beside("p99", "lat_us_p99", 1.0)],
    },
    Work {
        name: "pcma",
        codecs: ["pcmu", "pcma"],
        calls: 200,
        rival: true,
        epoll: true,
        limits: &[beside("cpu", COST, 0.25), beside("p50", "lat_us_p50", 0.1)],
    },
    Work {
        name: "g722",
        codecs: ["g722", "pcmu"],
        calls: 200,
        rival: true,
        epoll: false,
        limits: &[beside("cpu", COST, 0.35)],
    },
    // More would be too many for rtpengine.
    Work {
        name: "opus",
        codecs: ["opus", "pcmu"],
        calls: 40,
        rival: true,
        epoll: false,
        limits: &[beside("cpu", COST, 0.3)],
    },
    Work {
        name: "opus_core",
        codecs: ["opus", "pcmu"],
        calls: 150,
        rival: false,
        epoll: false,
        limits: &[Limit { row: "calls", figure: "srv_calls_per_core", unit: "calls", asked: Asked::AtLeast(150.0) }],
    },
    Work {
        name: "memory",
        codecs: ["pcmu", "pcmu"],
        calls: 1000,
        rival: false,
        epoll: false,
        limits: &[Limit { row: "rss", figure: "srv_rss_mb", unit: "MB", asked: Asked::AtMost(60.0) }],
    },
];

/// Calls on one core: none may be lost, and 99 of 100 packets come within so many µs.
const CROWD: u64 = 1800;
const CROWD_DELAY: f64 = 5000.0;
/// Numbers of calls that are tried; more than the last no two threads of the loader can drive.
const CROWDS: [u64; 6] = [1000, 1200, 1500, CROWD, 2100, 2400];
/// The loader's own lateness, 99th percentile in µs, from which a run says nothing.
const LUMPS: f64 = 1000.0;
/// Calls that one thread of the loader drives.
const ONE_THREAD: u64 = 1200;
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
    /// What Opus legs send.
    opus: PathBuf,
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
            "{who:<22}{:>9.3}{:>9.3}{:>9.3}{:>12.2}{:>12.4}{:>9.1}{:>9.0}{:>9.0}  {}",
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
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let only = std::env::var("WORK").ok();
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let place = Place::find();
    let lab = Lab::new();
    let speech = opus_packets(&lab);
    let opus = speech.clone().unwrap_or_default();
    let load = Load { program: build(), opus, seconds: number("SECONDS", 5), slots: number("SLOTS", 20), place };
    let runs = number("RUNS", 5) as usize;
    println!("{} s, {runs} runs, in turn; {}\n", load.seconds, place.describe());
    println!(
        "{:<22}{:>9}{:>9}{:>9}{:>12}{:>12}{:>9}{:>9}{:>9}",
        "", "p50 ms", "p99 ms", "p99.9 ms", "µs/packet", "s/call-min", "RSS MB", "threads", "late µs"
    );
    load.punctual(&WORKS[0], &["--driver", "direct", "--a", "srtp", "--b", "srtp"], None).print("no server");
    let rival = lab::installed("rtpengine", "rtpengine-daemon");
    let mut rows = Rows::default();
    for work in WORKS.into_iter().filter(|work| wanted(work.name)) {
        let work = &Work { calls: number("CALLS", work.calls), ..work };
        if speech.is_none() && work.codecs.contains(&"opus") {
            println!("{:<22}skipped: no speech for Opus", work.name);
            continue;
        }
        let (mut ours, mut theirs, mut epoll) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(demarc(&load, work, "auto"));
            epoll.extend((work.epoll).then(|| demarc(&load, work, "epoll")));
            theirs.extend((rival && work.rival).then(|| rtpengine(&load, work)));
        }
        work.limits.iter().for_each(|limit| rows.judge(work, limit, &ours, &theirs));
        rows.epoll(work, &ours, &epoll);
    }
    if wanted("crowd") {
        rows.crowd(crowd(&load));
    }
    rows.write();
    assert_eq!(rows.faulty, 0, "runs in which demarc lost or changed packets");
}

/// 20 s of telephone speech in Opus at 48 kHz, as rtpload reads it.
fn opus_packets(lab: &Lab) -> Option<PathBuf> {
    let speech = lab::samples(&lab::speech(lab, "demo-instruct")?);
    let mut resampler = Resampler::new(8000, 48_000).unwrap();
    let mut sound = vec![0; resampler.room(speech.len())];
    let length = resampler.process(&speech, &mut sound);
    let mut encoder = Encoder::new(Codec::Opus, 48_000, &Opus::default()).unwrap();
    encoder.complexity(5);
    let (mut payload, mut file) = ([0; 400], Vec::new());
    for frame in sound[..length].chunks_exact(960).take(1000) {
        let octets = encoder.encode(frame, &mut payload).unwrap();
        file.extend_from_slice(&(octets as u16).to_be_bytes());
        file.extend_from_slice(&payload[..octets]);
    }
    Some(lab.write("opus", file))
}

/// The most calls that one core carried without a fault and within the delay; 0 when even the fewest were too many.
fn crowd(load: &Load) -> u64 {
    let mut most = 0;
    for calls in CROWDS {
        let work = Work { name: "crowd", codecs: ["pcmu"; 2], calls, rival: false, epoll: false, limits: &[] };
        let run = demarc(load, &work, "auto");
        if !run.faults().is_empty() || run.number("lat_us_p99") > CROWD_DELAY || run.number("pace_late_us_p99") > LUMPS
        {
            break;
        }
        most = calls;
    }
    most
}

/// What becomes of the figures.
#[derive(Default)]
struct Rows {
    lines: Vec<Value>,
    /// Runs of ours that failed the gate.
    faulty: usize,
}

impl Rows {
    fn judge(&mut self, work: &Work, limit: &Limit, ours: &[Run], theirs: &[Run]) {
        let faulty = ours.iter().filter(|run| !run.faults().is_empty()).count();
        self.faulty += faulty;
        let value = median(ours, limit.figure);
        let (rival, rival_value, target) = match limit.asked {
            Asked::OfRtpengine(share) if !theirs.is_empty() => ("rtpengine", median(theirs, limit.figure), share),
            Asked::OfRtpengine(_) => return,
            Asked::AtMost(most) | Asked::AtLeast(most) => ("limit", most, 1.0),
        };
        let ratio = value / rival_value;
        let enough = if matches!(limit.asked, Asked::AtLeast(_)) { ratio >= target } else { ratio <= target };
        let name = format!("{}_{}_{}", work.name, work.calls, limit.row);
        self.row(json!({
            "name": name, "unit": limit.unit, "ours": value, "rival": rival, "rival_value": rival_value, "ratio": ratio,
            "target": target, "met": enough && faulty == 0, "runs": ours.len(),
        }));
    }

    /// Beside ourselves with epoll.
    fn epoll(&mut self, work: &Work, ours: &[Run], epoll: &[Run]) {
        if epoll.is_empty() {
            return;
        }
        let (value, rival) = (median(ours, COST), median(epoll, COST));
        self.row(json!({
            "name": format!("{}_{}_epoll", work.name, work.calls), "unit": "µs", "ours": value, "rival": "own epoll",
            "rival_value": rival, "ratio": value / rival, "target": 1.0, "met": value <= rival, "runs": ours.len(),
        }));
    }

    fn crowd(&mut self, calls: u64) {
        self.row(json!({
            "name": "crowd", "unit": "calls on one core", "ours": calls, "rival": "limit", "rival_value": CROWD,
            "ratio": calls as f64 / CROWD as f64, "target": 1.0, "met": calls >= CROWD, "runs": 1,
        }));
    }

    fn row(&mut self, row: Value) {
        let met = if row["met"] == true { "met" } else { "missed" };
        println!(
            "{}: {} {}, {:.2} times {} {}, target {}: {met}\n",
            row["name"],
            row["ours"],
            row["unit"],
            row["ratio"].as_f64().unwrap_or(f64::NAN),
            row["rival"],
            row["rival_value"],
            row["target"]
        );
        self.lines.push(row);
    }

    fn write(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        fs::create_dir_all(&folder).unwrap();
        let lines: String = self.lines.iter().map(|row| format!("{row}\n")).collect();
        fs::write(folder.join("relay.jsonl"), lines).unwrap();
    }
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
    fn punctual(&self, work: &Work, arguments: &[&str], server: Option<u32>) -> Run {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let run = self.run(work, arguments, server);
            if run.number("pace_late_us_p99") <= LUMPS {
                return run;
            }
            println!("{:<22}rejected: the load left {:.0} µs late", "", run.number("pace_late_us_p99"));
            last = Some(run);
        }
        last.expect("at least one attempt")
    }

    fn run(&self, work: &Work, arguments: &[&str], server: Option<u32>) -> Run {
        let mut command = Command::new(&self.program);
        let threads = if work.calls > ONE_THREAD { 2 } else { 1 };
        for (option, value) in [
            ("--calls", work.calls),
            ("--secs", self.seconds),
            ("--slots", self.slots),
            ("--cps", 200),
            ("--threads", threads),
        ] {
            command.args([option, &value.to_string()]);
        }
        let [a, b] = work.codecs;
        command.args(["--json", "--codec-a", a, "--codec-b", b]).arg("--opus").arg(&self.opus);
        command.args(arguments);
        if let Some(process) = server {
            command.args(["--pid", &process.to_string()]);
        }
        if let Some([server, loader]) = self.place.cores {
            command.args(["--cpus", &format!("{loader},{}", server - 1)]);
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

/// `io` as in `SocketIo`.
fn demarc(load: &Load, work: &Work, io: &str) -> Run {
    let lab = Lab::new();
    let [lync, web] = [5070, 8085].map(|port| lab.net.at(1, port));
    let (caller, callee) = (lab.net.at(2, 5061), lab.net.at(3, 5060));
    let ini = lab.write("demarc.ini", configuration(&lab, caller, callee, io));
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
    let run = load.punctual(work, arguments.as_flattened(), Some(demarc.id()));
    let how = if io == "epoll" { "epoll" } else { "demarc" };
    run.print(&format!("{how} {} {}", work.name, work.calls));
    until(seconds(5), "all calls are gone", || {
        let (_, text) = get(web, "/metrics")?;
        let mut active = text.lines().filter(|line| line.starts_with("demarc_calls_active"));
        active.all(|line| line.ends_with(" 0")).then_some(())
    });
    run
}

fn configuration(lab: &Lab, caller: SocketAddr, callee: SocketAddr, io: &str) -> String {
    let leaf = lab.authority.leaf(US);
    let certificate = lab.write("demarc.pem", leaf.certificate);
    let key = lab.write("demarc.key", leaf.key);
    let roots = lab.write("roots.pem", lab.authority.root());
    let us = lab.net.host(1);
    format!(
        "[Lync]\nProfile=sfb2019\nFqdn={US}\nListen={us}:5070\nNextHop={caller}\nCertificate={}\nPrivateKey={}\n\
         TrustedRoots={}\nTrustedPeers={LYNC}\nSRTPMode=Required\n\n\
         [Trunks]\nTlsListen=\nTcpListen=\nUdpListen={us}:5068\n\n\
         [Media]\nAddress={us}\nPorts=20000-29999\nCodecs=opus G722 PCMU PCMA\nThreads=1\nSocketIo={io}\n\n[Web]\nListen={us}:8085\n\n\
         [Gateway1]\nIP={}\nPort={}\nProtocol=UDP\nVoiceRoutes=All\n\n[HybridVoiceRoutes]\nAll=.*\n",
        certificate.display(),
        key.display(),
        roots.display(),
        callee.ip(),
        callee.port(),
    )
}

fn rtpengine(load: &Load, work: &Work) -> Run {
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
    let run = load.punctual(work, &arguments, Some(rtpengine.id()));
    run.print(&format!("rtpengine {} {}", work.name, work.calls));
    run
}
