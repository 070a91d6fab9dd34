//! rtpload: N real-time bidirectional RTP/SRTP calls through a media server, every packet
//! verified at the far end, with the server's CPU time, loss, latency and jitter reported.

mod codec;
mod engine;
mod hist;
mod net;
mod ng;
mod procstat;
mod rtcp;
mod sdp;
mod sip;
mod srtp;
mod transport;

use codec::Codec;
use engine::{DRAIN, Leg, MEASURE, Report, STOP, WARM, Worker};
use ng::{Ben, Ng};
use srtp::{MASTER_LEN, Srtp};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};
use transport::{Identity, Transport};

const USAGE: &str = "\
rtpload --driver direct|ng|sip [options]
  --calls N         concurrent calls (default 100)        --secs S     measured seconds (20)
  --warm S          seconds before measuring (3)          --threads T  media threads (1)
  --cpus 2,3        pin media thread i to the i-th CPU    --burst N    messages per sendmmsg (8)
  --slots N         slots in 20 ms, over which the calls spread (20)
  --a srtp|rtp      caller side transport (rtp)           --b srtp|rtp callee side (rtp)
  --codec-a C       pcmu|pcma|g722|opus (pcmu)            --codec-b C
  --opus FILE       what Opus legs send: 20 ms packets, each behind its length in two octets
  --pid P           server whose CPU time is reported     --tree       with its children
  --ng HOST:PORT    rtpengine control port (127.0.0.1:2223)
  --server H:P --user U --uac H:P --uas H:P   SIP driver: INVITEs go to sip:U@H:P, the
                    server must route them to the uas address
  --host H          what URIs call the server (as --server)   --caller U   who calls (load)
  --tls-cert F --tls-key F --tls-roots F --tls-name N   the caller speaks mutual TLS, PEM files;
                    N is the name in the server's certificate; requests to it may come to --uac
  --mki none|both|only   crypto lines offered: without, with and without, with (none)
  --rtcp S          seconds between a leg's RTCP reports, 0 is off (5)
  --cps N           call set-up rate, SIP driver (50)     --json       one JSON line
  --rt PRIO         SCHED_FIFO for the media threads (0 = off)
  --ip A            local IPv4 address of the media sockets (127.0.0.1)
  --srtp-bench      cost of this program's own SRTP, then exit
  --label TEXT      copied into the report";

const OPTIONS: &[&str] = &[
    "driver",
    "calls",
    "secs",
    "warm",
    "threads",
    "cpus",
    "burst",
    "slots",
    "a",
    "b",
    "codec-a",
    "codec-b",
    "opus",
    "pid",
    "tree",
    "ng",
    "server",
    "user",
    "uac",
    "uas",
    "host",
    "caller",
    "tls-cert",
    "tls-key",
    "tls-roots",
    "tls-name",
    "mki",
    "rtcp",
    "cps",
    "json",
    "rt",
    "ip",
    "srtp-bench",
    "label",
];

struct Args(HashMap<String, String>);

impl Args {
    fn parse() -> Self {
        let mut m = HashMap::new();
        let mut it = std::env::args().skip(1).peekable();
        while let Some(k) = it.next() {
            let Some(k) = k.strip_prefix("--").map(String::from) else { die(USAGE) };
            let v = it.next_if(|v| !v.starts_with("--")).unwrap_or_else(|| "1".into());
            m.insert(k, v);
        }
        if m.contains_key("help") || m.is_empty() {
            die(USAGE);
        }
        // A mistyped option would measure something else than was asked for.
        if let Some(k) = m.keys().find(|k| !OPTIONS.contains(&k.as_str())) {
            die(&format!("--{k}: no such option\n\n{USAGE}"));
        }
        Self(m)
    }
    fn get<T: std::str::FromStr>(&self, k: &str, d: &str) -> T {
        let v = self.0.get(k).map_or(d, |v| v);
        v.parse().unwrap_or_else(|_| die(&format!("--{k}: cannot use '{v}'")))
    }
    fn has(&self, k: &str) -> bool {
        self.0.contains_key(k)
    }
}

fn die(m: &str) -> ! {
    eprintln!("{m}");
    std::process::exit(2)
}

fn master(n: u64) -> [u8; MASTER_LEN] {
    let mut k = [0u8; MASTER_LEN];
    let mut x = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for b in k.iter_mut() {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *b = (x >> 24) as u8;
    }
    k
}

/// Where the two media legs of one call send, and the keys the server answered with.
struct Wired {
    a: sdp::Media,
    b: sdp::Media,
}

struct Plan {
    codec: [Codec; 2],
    srtp: [bool; 2],
    local: Vec<[SocketAddrV4; 2]>,
    /// Are crypto lines without, and with, an MKI offered?
    mki: [bool; 2],
}

impl Plan {
    /// Our crypto line of a call's side: every line has a key of its own.
    fn line(&self, call: usize, side: usize, tag: u32, mki: bool) -> sdp::Crypto {
        let key = master(((call * 2 + side) * 16) as u64 + u64::from(tag));
        sdp::Crypto { tag, key, mki: if mki { vec![1] } else { Vec::new() } }
    }
    /// With MKI first: a server that takes the first line gets the harder one.
    fn offered(&self, call: usize, side: usize) -> Vec<sdp::Crypto> {
        let [without, with] = self.mki;
        let lines = [with.then_some(true), without.then_some(false)].into_iter().flatten().filter(|_| self.srtp[side]);
        lines.zip(1..).map(|(mki, tag)| self.line(call, side, tag, mki)).collect()
    }
    fn offer(&self, call: usize, side: usize) -> String {
        self.sdp(call, side, &self.offered(call, side))
    }
    /// Takes the line that was chosen of the offer.
    fn answered(&self, call: usize, side: usize, offer: &sdp::Media) -> Option<sdp::Crypto> {
        offer.crypto.as_ref().map(|c| self.line(call, side, c.tag, !c.mki.is_empty()))
    }
    fn answer(&self, call: usize, side: usize, offer: &sdp::Media) -> String {
        self.sdp(call, side, self.answered(call, side, offer).as_slice())
    }
    fn sdp(&self, call: usize, side: usize, lines: &[sdp::Crypto]) -> String {
        let local = self.local[call % self.local.len()][side];
        sdp::build(local, self.codec[side], lines, call as u64 + 1)
    }
    /// How we protect, and how the server does, once it said what it takes or gives.
    fn keys(&self, call: usize, side: usize, got: &sdp::Media) -> [Option<Srtp>; 2] {
        let ours = match side {
            0 => self.offered(call, 0).into_iter().find(|l| Some(l.tag) == got.crypto.as_ref().map(|c| c.tag)),
            _ => self.answered(call, side, got),
        };
        [ours, got.crypto.clone()].map(|line| line.map(|l| Srtp::new(&l.key, 10, l.mki)))
    }
}

enum Driver {
    Direct,
    Ng(Ng),
    Sip(Box<sip::Sip>),
}

impl Driver {
    fn wire(&mut self, p: &Plan, n: usize) -> Result<Wired, String> {
        match self {
            // Each end talks straight to the other: the loader's own floor.
            Driver::Direct => {
                let b = sdp::parse(&p.offer(n, 0))?;
                let a = sdp::parse(&p.answer(n, 1, &b))?;
                Ok(Wired { a, b })
            }
            Driver::Ng(ng) => wire_ng(ng, p, n),
            Driver::Sip(s) => {
                let (seen, got) = s.call(n, &p.offer(n, 0), &mut |o| Ok(p.answer(n, 1, &sdp::parse(o)?)))?;
                Ok(Wired { a: sdp::parse(&got)?, b: sdp::parse(&seen)? })
            }
        }
    }
}

fn proto(srtp: bool) -> Ben {
    if srtp { "RTP/SAVP".into() } else { "RTP/AVP".into() }
}

fn wire_ng(ng: &mut Ng, p: &Plan, n: usize) -> Result<Wired, String> {
    let id = format!("rtpload-{}-{n}", std::process::id());
    let mut offer = vec![
        ("command", "offer".into()),
        ("call-id", id.as_str().into()),
        ("from-tag", "a".into()),
        ("ICE", "remove".into()),
        ("DTLS", "off".into()),
        ("rtcp-mux", Ben::list(&["demux"])),
        ("replace", Ben::list(&["origin", "session-connection"])),
        ("transport-protocol", proto(p.srtp[1])),
        ("sdp", p.offer(n, 0).as_str().into()),
    ];
    if p.codec[0] != p.codec[1] {
        let l = |c: &str| Ben::List(vec![c.into()]);
        offer.push(("codec", Ben::dict([("mask", l(p.codec[0].name())), ("transcode", l(p.codec[1].name()))])));
    }
    let dict = |v: Vec<(&str, Ben)>| Ben::Dict(v.into_iter().map(|(k, v)| (k.to_string(), v)).collect());
    let r = ng.call(&dict(offer))?;
    let b = sdp::parse(r.get("sdp").ok_or("offer: no sdp")?)?;
    // The callee answers with the payload number it was offered for its codec.
    let mut answer_sdp = p.answer(n, 1, &b);
    let want = p.codec[1].pt();
    if let Some(pt) = b.pts.first().filter(|pt| **pt != want && want >= 96) {
        answer_sdp = answer_sdp
            .replace(&format!("AVP {want}\r"), &format!("AVP {pt}\r"))
            .replace(&format!("rtpmap:{want} "), &format!("rtpmap:{pt} "));
    }
    let r = ng.call(&dict(vec![
        ("command", "answer".into()),
        ("call-id", id.as_str().into()),
        ("from-tag", "a".into()),
        ("to-tag", "b".into()),
        ("ICE", "remove".into()),
        ("rtcp-mux", Ben::list(&["demux"])),
        ("replace", Ben::list(&["origin", "session-connection"])),
        ("transport-protocol", proto(p.srtp[0])),
        ("sdp", answer_sdp.as_str().into()),
    ]))?;
    let a = sdp::parse(r.get("sdp").ok_or("answer: no sdp")?)?;
    Ok(Wired { a, b })
}

fn sip_driver(args: &Args) -> std::io::Result<sip::Sip> {
    let server: SocketAddr = args.get("server", "127.0.0.1:5060");
    let uac = args.get("uac", "127.0.0.1:6060");
    let caller = if args.has("tls-cert") {
        let file = |k: &str| args.get::<String>(k, "").into();
        let name = args.get("tls-name", &server.ip().to_string());
        let (certificate, key, roots) = (file("tls-cert"), file("tls-key"), file("tls-roots"));
        Transport::tls(uac, server, &Identity { certificate, key, roots, server: name })?
    } else {
        Transport::udp(uac, server)?
    };
    let names = sip::Names {
        user: args.get("user", "load"),
        caller: args.get("caller", "load"),
        host: args.get("host", &server.to_string()),
    };
    sip::Sip::new(caller, args.get("uas", "127.0.0.1:6070"), server, names)
}

fn main() {
    let args = Args::parse();
    if args.has("srtp-bench") {
        let (p, u) = srtp::bench();
        println!("AES_CM_128_HMAC_SHA1_80, 172-byte packet: protect {p:.0} ns, unprotect {u:.0} ns");
        return;
    }
    let calls = args.get::<usize>("calls", "100").max(1);
    let threads = args.get::<usize>("threads", "1").clamp(1, calls);
    let secs: f64 = args.get("secs", "20");
    let codec = ["codec-a", "codec-b"].map(|k| {
        let c: String = args.get(k, "pcmu");
        Codec::parse(&c).unwrap_or_else(|| die("unknown codec"))
    });
    let opus = match std::fs::read(args.get::<String>("opus", "")) {
        _ if !codec.contains(&Codec::Opus) => Vec::new(),
        Ok(file) => codec::opus_frames(&file).unwrap_or_else(|| die("--opus: no packets behind their lengths")),
        Err(e) => die(&format!("--opus: {e}")),
    };
    let srtp = ["a", "b"].map(|k| match args.get::<String>(k, "rtp").as_str() {
        "srtp" => true,
        "rtp" => false,
        v => die(&format!("--{k}: srtp or rtp, not '{v}'")),
    });
    let ip: Ipv4Addr = args.get("ip", "127.0.0.1");
    // By thread, side, and RTP or RTCP.
    let socks: Vec<[[UdpSocket; 2]; 2]> = (0..threads)
        .map(|_| [0, 1].map(|_| net::bind_pair(ip, 16 << 20).unwrap_or_else(|e| die(&e.to_string()))))
        .collect();
    let v4 = |s: &UdpSocket| match s.local_addr() {
        Ok(SocketAddr::V4(a)) => a,
        _ => die("IPv4 only"),
    };
    let mki = match args.get::<String>("mki", "none").as_str() {
        "none" => [true, false],
        "both" => [true, true],
        "only" => [false, true],
        v => die(&format!("--mki: none, both or only, not '{v}'")),
    };
    let plan = Plan { codec, srtp, local: socks.iter().map(|s| [v4(&s[0][0]), v4(&s[1][0])]).collect(), mki };
    let kind: String = args.get("driver", "ng");
    let mut driver = match kind.as_str() {
        "direct" => Driver::Direct,
        "ng" => Driver::Ng(Ng::connect(args.get("ng", "127.0.0.1:2223")).unwrap_or_else(|e| die(&e.to_string()))),
        "sip" => Driver::Sip(Box::new(sip_driver(&args).unwrap_or_else(|e| die(&e.to_string())))),
        _ => die(USAGE),
    };
    let pid: u32 = args.get("pid", "0");
    let pids = match pid {
        0 => vec![],
        p if args.has("tree") => procstat::children(p),
        p => vec![p],
    };

    let before = procstat::cpu(&pids);
    let t_setup = Instant::now();
    let gap = Duration::from_secs_f64(1.0 / args.get::<f64>("cps", "50").max(0.1));
    let mut legs: Vec<Vec<Leg>> = (0..threads).map(|_| Vec::new()).collect();
    for n in 0..calls {
        if kind == "sip" {
            let due = t_setup + gap * n as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let w = driver.wire(&plan, n).unwrap_or_else(|e| die(&format!("call {n}: {e}")));
        for side in [0, 1] {
            let got = if side == 0 { &w.a } else { &w.b };
            if got.srtp != srtp[side] {
                die(&format!("call {n}: side {side} came back with srtp={}", got.srtp));
            }
            let id = (n * 2 + side) as u32;
            let keys = plan.keys(n, side, got);
            if srtp[side] && keys.iter().any(Option::is_none) {
                die(&format!("call {n}: side {side} took a crypto line that was not offered"));
            }
            legs[n % threads].push(Leg::new(id, id ^ 1, [got.addr, got.rtcp], codec[side], keys));
        }
    }
    let setup_s = t_setup.elapsed().as_secs_f64();
    let after_setup = procstat::cpu(&pids);

    let phase = Arc::new(AtomicU8::new(WARM));
    let cpus: Vec<usize> = args.get::<String>("cpus", "").split(',').filter_map(|c| c.parse().ok()).collect();
    let start_ns = net::mono_ns() + 20_000_000;
    let burst = args.get::<usize>("burst", "8").clamp(1, net::BATCH);
    let rt: i32 = args.get("rt", "0");
    let by_ssrc = kind == "direct";
    let slots = args.get::<u64>("slots", "20").clamp(1, 400);
    let rtcp_every = if by_ssrc { 0 } else { (args.get::<f64>("rtcp", "5") * 50.0 * slots as f64) as u64 };
    let handles: Vec<_> = socks
        .into_iter()
        .zip(legs)
        .enumerate()
        .map(|(i, (socks, legs))| {
            let [[rtp_a, rtcp_a], [rtp_b, rtcp_b]] = socks;
            let (socks, rtcp) = ([rtp_a, rtp_b], [rtcp_a, rtcp_b]);
            let w = Worker {
                socks,
                rtcp,
                slots,
                rtcp_every,
                legs,
                opus: opus.clone(),
                phase: phase.clone(),
                burst,
                start_ns,
                by_ssrc,
            };
            let cpu = cpus.get(i).copied();
            std::thread::spawn(move || {
                if let Some(c) = cpu {
                    net::pin(c);
                }
                if rt > 0 && !net::real_time(rt) {
                    eprintln!("no real-time priority here");
                }
                w.run()
            })
        })
        .collect();
    let mut wait = |s: f64| {
        let end = Instant::now() + Duration::from_secs_f64(s);
        while Instant::now() < end {
            if let Driver::Sip(s) = &mut driver {
                s.poll();
            }
            std::thread::sleep(Duration::from_millis(20).min(end.saturating_duration_since(Instant::now())));
        }
    };
    wait(args.get("warm", "3"));
    let c0 = procstat::cpu(&pids);
    let t0 = Instant::now();
    phase.store(MEASURE, Relaxed);
    wait(secs);
    phase.store(DRAIN, Relaxed);
    let c1 = procstat::cpu(&pids);
    let wall = t0.elapsed().as_secs_f64();
    wait(0.6);
    phase.store(STOP, Relaxed);
    let mut rep = Report::default();
    for h in handles {
        rep.merge(&h.join().unwrap_or_else(|_| die("media thread failed")));
    }
    let (mut unanswered, mut unreleased, mut ended_early) = (0, 0, 0);
    match &mut driver {
        Driver::Ng(ng) => {
            for n in 0..calls {
                let id = format!("rtpload-{}-{n}", std::process::id());
                let _ = ng.call(&Ben::dict([
                    ("command", "delete".into()),
                    ("call-id", id.as_str().into()),
                    ("from-tag", "a".into()),
                    ("delete-delay", Ben::Int(0)),
                ]));
            }
        }
        Driver::Sip(s) => {
            (unanswered, unreleased) = s.hang_up();
            ended_early = s.ended_early;
        }
        Driver::Direct => {}
    }

    let cpu_s = c1.run_s - c0.run_s;
    let per_call_min = cpu_s / calls as f64 / wall * 60.0;
    let marked = codec[0].is_g711() && codec[1].is_g711();
    let (lost, of) = if marked {
        (rep.sent_window.saturating_sub(rep.recv_window), rep.sent_window)
    } else {
        (rep.seq_loss, rep.seq_expected)
    };
    let us = |v: u64| v as f64 / 1000.0;
    let legs = (calls * 2) as f64;
    let fields: Vec<(&str, String)> = vec![
        ("label", format!("\"{}\"", args.get::<String>("label", &kind))),
        ("calls", calls.to_string()),
        ("wall_s", format!("{wall:.2}")),
        ("setup_s", format!("{setup_s:.2}")),
        ("sent", of.to_string()),
        ("lost", lost.to_string()),
        ("loss_pct", format!("{:.4}", 100.0 * lost as f64 / of.max(1) as f64)),
        ("recv_window", rep.recv_window.to_string()),
        ("auth_fail", rep.auth_fail.to_string()),
        ("corrupt", rep.corrupt.to_string()),
        ("after_end", rep.after_end.to_string()),
        ("not_exact", rep.not_exact.to_string()),
        ("seq_break", rep.seq_break.to_string()),
        ("ts_break", rep.ts_break.to_string()),
        ("reordered", rep.reordered.to_string()),
        ("wrong_pt", rep.wrong_pt.to_string()),
        ("wrong_len", rep.wrong_len.to_string()),
        ("stray", rep.stray.to_string()),
        ("silent_legs", rep.silent_legs.to_string()),
        ("send_errors", rep.send_errors.to_string()),
        ("ended_early", ended_early.to_string()),
        ("bye_unanswered", unanswered.to_string()),
        ("bye_unseen", unreleased.to_string()),
        ("rtcp_sent", rep.rtcp_sent.to_string()),
        ("rtcp_recv", rep.rtcp_recv.to_string()),
        ("rtcp_bad", rep.rtcp_bad.to_string()),
        ("rtcp_silent_legs", rep.rtcp_silent_legs.to_string()),
        ("rtcp_reported_lost", rep.rtcp_reported_lost.to_string()),
        ("lat_us_min", format!("{:.1}", us(if rep.latency.count > 0 { rep.latency.min } else { 0 }))),
        ("lat_us_p50", format!("{:.1}", us(rep.latency.q(0.5)))),
        ("lat_us_p99", format!("{:.1}", us(rep.latency.q(0.99)))),
        ("lat_us_p999", format!("{:.1}", us(rep.latency.q(0.999)))),
        ("lat_us_max", format!("{:.1}", us(rep.latency.max))),
        ("lat_us_mean", format!("{:.1}", rep.latency.mean() / 1000.0)),
        ("jit_us_mean", format!("{:.1}", rep.jitter_sum_ns / legs / 1000.0)),
        ("jit_us_worst", format!("{:.1}", rep.jitter_max_ns / 1000.0)),
        ("ipdv_us_p50", format!("{:.1}", us(rep.jitter.q(0.5)))),
        ("ipdv_us_p99", format!("{:.1}", us(rep.jitter.q(0.99)))),
        ("ipdv_us_p999", format!("{:.1}", us(rep.jitter.q(0.999)))),
        ("pace_late_us_p99", format!("{:.1}", us(rep.late.q(0.99)))),
        ("pace_late_us_max", format!("{:.1}", us(rep.late.max))),
        ("loader_cpu_pct", format!("{:.1}", 100.0 * rep.loader_cpu_s / wall)),
        ("srv_cpu_pct", format!("{:.2}", 100.0 * cpu_s / wall)),
        ("srv_user_s", format!("{:.2}", c1.user_s - c0.user_s)),
        ("srv_sys_s", format!("{:.2}", c1.sys_s - c0.sys_s)),
        ("srv_cpu_s_per_call_min", format!("{per_call_min:.5}")),
        ("srv_us_per_packet", format!("{:.3}", cpu_s * 1e6 / rep.recv_window.max(1) as f64)),
        ("srv_calls_per_core", format!("{:.0}", if cpu_s > 0.0 { calls as f64 * wall / cpu_s } else { 0.0 })),
        ("srv_rss_mb", format!("{:.1}", c1.rss_kb as f64 / 1024.0)),
        ("srv_threads", c1.threads.to_string()),
        ("srv_setup_cpu_ms_per_call", format!("{:.3}", (after_setup.run_s - before.run_s) * 1000.0 / calls as f64)),
        ("srv_preempted", (c1.involuntary - c0.involuntary).to_string()),
    ];
    if args.has("json") {
        let s: Vec<String> = fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        println!("{{{}}}", s.join(","));
    } else {
        for (k, v) in &fields {
            println!("{k:>26}  {v}");
        }
    }
    let bad = rep.auth_fail + rep.corrupt + rep.wrong_pt + rep.silent_legs + rep.send_errors + rep.rtcp_bad;
    if bad > 0 {
        eprintln!("FAULTS: {bad} (auth, corrupt, payload type, silent, unsendable or bad RTCP)");
        std::process::exit(1);
    }
}
