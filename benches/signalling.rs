//! CPU per call of the daemon as a B2BUA, beside Kamailio as a stateful proxy, in one run.
//!
//! ```text
//! SIPp  --UDP or TCP-->  demarc    --mutual TLS-->  a scripted peer that answers
//! SIPp  --UDP or TCP-->  Kamailio  --UDP or TCP-->  SIPp that answers
//! ```
//!
//! A call is INVITE, 180, 200, ACK, BYE, 200, no pause, no media packets. demarc opens its media ports and encrypts one
//! leg, which Kamailio need not. CPU is read from schedstat over all tasks of the process tree. `RUNS` (3), `CALLS`
//! (2000) and `RATE` (250 a second) may be set; `DEMARC_BIN` names another daemon.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panic and prints its table"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::{Gateway, Lab, Peer, Running, Setup, seconds, until};

/// The most that a B2BUA call may cost, in units of a proxied call.
const TARGET: f64 = 2.5;

struct Load {
    calls: u64,
    rate: u64,
}

/// One run.
#[derive(Clone, Copy)]
struct Figure {
    /// CPU per call.
    milliseconds: f64,
    /// Calls completed a second.
    rate: f64,
    failed: u64,
}

fn main() {
    if !lab::installed("sipp", "sip-tester") || !lab::installed("kamailio", "kamailio") {
        return;
    }
    let setting = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let load = Load { calls: setting("CALLS", 2000), rate: setting("RATE", 250) };
    let runs = setting("RUNS", 3);
    println!("{} calls at {} a second, {runs} runs, in turn\n", load.calls, load.rate);
    println!("{:<10}{:<6}{:>12}{:>12}{:>16}{:>10}", "", "", "ms/call", "calls/s", "calls/s/core", "failed");
    let mut rows = String::new();
    for protocol in ["UDP", "TCP"] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(demarc(&load, protocol));
            theirs.push(kamailio(&load, protocol));
        }
        let (ours, theirs) = (report("demarc", protocol, &ours), report("kamailio", protocol, &theirs));
        let ratio = ours.milliseconds / theirs.milliseconds;
        let met = ratio <= TARGET && ours.failed == 0;
        println!(
            "{:<10}{protocol:<6}{ratio:>12.2} times Kamailio, at most {TARGET}: {}",
            "",
            if met { "met" } else { "missed" }
        );
        rows += &serde_json::json!({
            "name": format!("signalling {protocol}"), "unit": "ms of CPU a call", "ours": ours.milliseconds,
            "rival": "kamailio, stateful proxy", "rival_value": theirs.milliseconds, "ratio": ratio, "target": TARGET,
            "met": met, "runs": runs,
        })
        .to_string();
        rows.push('\n');
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("signalling.jsonl"), rows).unwrap();
}

/// The median run by cost, with all failures.
fn report(who: &str, protocol: &str, runs: &[Figure]) -> Figure {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
    let mut median = sorted[sorted.len() / 2];
    median.failed = runs.iter().map(|run| run.failed).sum();
    let Figure { milliseconds, rate, failed } = median;
    println!("{who:<10}{protocol:<6}{milliseconds:>12.3}{rate:>12.0}{:>16.0}{failed:>10}", 1000.0 / milliseconds);
    median
}

fn demarc(load: &Load, protocol: &'static str) -> Figure {
    let lab = Lab::new();
    let lync = Peer::answering(&lab);
    let mut setup = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), protocol)]);
    setup.trunk_configuration.push("OptionsInterval=0".to_owned());
    setup.ports = (16_000, 19_999);
    let demarc = setup.start_with(&lab, "DEMARC_LOG", "demarc=info");
    offer(&lab, load, protocol, demarc.trunk, demarc.id())
}

fn kamailio(load: &Load, protocol: &'static str) -> Figure {
    let lab = Lab::new();
    let (proxy, far) = (lab.net.at(1, 5068), lab.net.at(2, 6070));
    let transport = if protocol == "TCP" { "t1" } else { "u1" };
    let mut answering = Command::new("sipp");
    answering.args(["-sn", "uas", "-nostdin", "-t", transport, "-i", &far.ip().to_string(), "-p", "6070"]);
    let _far = Running::start(&mut answering, &lab.path("uas.screen"));
    let configuration = lab.write("kamailio.cfg", kamailio_configuration(proxy, far, protocol));
    let mut command = Command::new("/usr/sbin/kamailio");
    command.arg("-f").arg(configuration).args(["-DD", "-m", "64", "-M", "8", "-Y"]).arg(lab.folder("run"));
    let kamailio = Running::start(&mut command, &lab.log("kamailio"));
    until(seconds(10), "Kamailio listens", || std::net::TcpStream::connect(proxy).ok());
    offer(&lab, load, protocol, proxy, kamailio.id())
}

/// Lets SIPp call and reads what that cost the server.
fn offer(lab: &Lab, load: &Load, protocol: &str, server: SocketAddr, process: u32) -> Figure {
    let local = lab.net.at(3, 5060);
    let statistics = lab.path("statistics.csv");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/caller_loads.xml");
    let mut command = Command::new("sipp");
    command.arg("-sf").arg(file).args(["-nostdin", "-aa", "-t", if protocol == "TCP" { "t1" } else { "u1" }]);
    command.args(["-i", &local.ip().to_string(), "-p", "5060", "-key", "number", "+13125550100"]);
    command.args(["-r", &load.rate.to_string(), "-m", &load.calls.to_string(), "-l", "400", "-timeout", "120"]);
    command.args(["-trace_stat", "-fd", "1", "-stf"]).arg(&statistics).arg(server.to_string());
    let (before, begin) = (cpu(process), Instant::now());
    let mut sipp = Running::start(&mut command, &lab.path("uac.screen"));
    sipp.wait(seconds(150)).expect("SIPp ends by itself");
    let elapsed = begin.elapsed();
    std::thread::sleep(Duration::from_millis(200));
    let spent = cpu(process) - before;
    let done = column(&statistics, "SuccessfulCall(C)");
    Figure {
        milliseconds: spent.as_secs_f64() * 1000.0 / done.max(1) as f64,
        rate: done as f64 / elapsed.as_secs_f64(),
        failed: load.calls - done.min(load.calls),
    }
}

/// The last value of a column of SIPp's statistics.
fn column(statistics: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(statistics).unwrap_or_default();
    let mut lines = text.lines();
    let at = lines.next().and_then(|head| head.split(';').position(|column| column == name));
    let value = at.and_then(|at| lines.last()?.split(';').nth(at)?.parse().ok());
    value.unwrap_or(0)
}

/// CPU time of a process and its children, all tasks.
fn cpu(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().filter_map(Result::ok);
    tasks
        .map(|task| {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let own = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).map(Duration::from_nanos);
            let children = read("children").split_whitespace().filter_map(|id| id.parse().ok()).map(cpu).sum();
            own.unwrap_or_default() + children
        })
        .sum()
}

/// A stateful proxy that records its route and knows one way to go.
fn kamailio_configuration(own: SocketAddr, far: SocketAddr, protocol: &str) -> String {
    let transport = protocol.to_lowercase();
    let modules: String =
        ["tm", "sl", "rr", "pv", "maxfwd", "siputils"].map(|name| format!("loadmodule \"{name}.so\"\n")).concat();
    format!(
        "#!KAMAILIO\ndebug=0\nlog_stderror=yes\nchildren=1\ntcp_children=1\nauto_aliases=no\n\
         listen=udp:{own}\nlisten=tcp:{own}\nmpath=\"{}\"\n{modules}\
         request_route {{\n\
         if (!mf_process_maxfwd_header(\"10\")) {{ sl_send_reply(\"483\", \"Too Many Hops\"); exit; }}\n\
         if (!has_totag()) record_route();\n\
         $du = \"sip:{far};transport={transport}\";\n\
         t_relay();\n}}\n",
        format_args!("/usr/lib/{}-linux-gnu/kamailio/modules/", std::env::consts::ARCH),
    )
}
