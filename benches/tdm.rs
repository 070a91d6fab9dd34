//! Eight E1 at full load: 240 timeslots on one media thread, SRTP on the other side, each line at its own real pace.
//!
//! Counts ticks that were missed (a line had nothing to say, or took less than it said), how late the thread was for its lines
//! and packets (what 99 of a hundred kept in the worst second, and the worst of each second), and its CPU by the scheduler's account; once plain, once with an echo canceller
//! of 128 ms on every line. All on loopback; the load and the simulated lines run on other threads. Keeps a JSON line for each
//! figure.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark fails by panic and prints its table")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use demarc::config::{Media, SocketIo};
use demarc::media::Engine;
use demarc::media::io::priority::real_time;
use demarc::media::srtp::{GROWTH, Outbound};
use demarc::private::Secret;
use demarc::random::Random;
use demarc::session::{
    Addresses, Codec, Counters, Keys, Late, MediaOrder, MediaReport, Remote, Session, SessionId, Side, Srtp, Stream,
    Suite, Tail, Timeslot,
};
use demarc::wire::rtp::Header;
use firmware_io::simulated::{Cable, End, Pacer};
use firmware_io::{Law, Line, Span};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};

const SPANS: u64 = 8;
const PACKET: usize = 172;
const SECONDS: u32 = 10;
/// Before anything is counted: ends find each other, and every stream begins.
const SETTLING: u32 = 2;
/// Lateness at most.
const LATE: Duration = Duration::from_millis(1);

fn keys(seed: u64) -> Keys {
    Keys::cut(Suite::Aes128CmHmacSha1_80, &Secret(Random::test(seed).octets()))
}

fn stream(remote: Remote, srtp: Option<Srtp>) -> Stream {
    Stream { srtp, ..Stream::new(remote, Codec::Pcma) }
}

/// What became of a run.
struct Figures {
    timeslots: usize,
    missed: u64,
    /// What 99 of a hundred deadlines of each second kept: in the worst second.
    p99: Duration,
    /// The worst of each second, sorted.
    late: Vec<Duration>,
    /// The same of a thread of the same priority that has nearly nothing to do: what this machine does to anybody.
    load_late: Vec<Duration>,
    /// Of a core.
    cpu: f64,
    /// Milliseconds in which the simulated lines themselves were late.
    pacer_late: u64,
    sent: u64,
    received: u64,
}

/// Both ends of all lines, and the engine with a session on each timeslot.
struct Lab {
    engine: Engine,
    reports: Receiver<MediaReport>,
    pacer: Pacer,
    _ends: Vec<(End, End)>,
    socket: UdpSocket,
    ports: Vec<SocketAddr>,
}

impl Lab {
    fn new(timeslot: Timeslot) -> Lab {
        let all = SPANS as u16 * 30;
        let (sender, mut reports) = channel(usize::from(all) * 8);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high, low, 2);
        let config = Media {
            address: address.into(),
            ports: (20_000, 20_003 + 4 * all),
            threads: Some(1),
            jitter: Duration::from_millis(120),
            cores: Vec::new(),
            socket_io: SocketIo::Auto,
        };
        let mut engine = Engine::start(&config, sender).unwrap();
        let pacer = Pacer::start(|| drop(real_time())).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let remote = Remote::Rtp(Addresses {
            rtp: socket.local_addr().unwrap(),
            // A reporting port that nobody reads keeps reports out of the figures.
            rtcp: (Ipv4Addr::LOCALHOST, 9).into(),
        });
        let (mut ends, mut ports) = (Vec::new(), Vec::new());
        for span in 0..SPANS {
            let (cable, mut near, far) = Cable::new(Line::E1, span).unwrap();
            for slot in Line::E1.all().filter(|slot| *slot != Line::E1.d_timeslot()) {
                let id = SessionId(ports.len() as u64);
                engine.order(MediaOrder::Open(id)).unwrap();
                let Some(MediaReport::Opened(_, [port, _])) = reports.blocking_recv() else { panic!("not opened") };
                ports.push((address, port).into());
                let srtp = Srtp { send: keys(1), receive: keys(2) };
                let sides = [Some(stream(remote, Some(srtp))), Some(stream(Remote::Timeslot(timeslot), None))];
                engine.order(MediaOrder::Apply(id, Box::new(Session { sides, ..Session::default() }))).unwrap();
                engine.seize(id, Side::B, near.bearer(slot).unwrap(), Law::A).unwrap();
            }
            pacer.add(cable);
            ends.push((near, far));
        }
        Lab { engine, reports, pacer, _ends: ends, socket, ports }
    }

    /// Packets to every port, spread over each 20 ms; by how much this thread, which only sleeps and sends, was late
    /// itself, at worst in each second.
    fn load(&self, outbound: &mut [Outbound], from: u32, seconds: u32) -> Vec<Duration> {
        let start = Instant::now();
        let mut late = vec![Duration::ZERO; seconds as usize];
        for millisecond in 0..seconds * 1000 {
            let due = Duration::from_millis(millisecond.into());
            due.checked_sub(start.elapsed()).into_iter().for_each(thread::sleep);
            let worst = &mut late[millisecond as usize / 1000];
            *worst = (*worst).max(start.elapsed().saturating_sub(due));
            let sequence = (from * 50 + millisecond / 20) as u16;
            for call in (millisecond as usize % 20..self.ports.len()).step_by(20) {
                let timestamp = u32::from(sequence).wrapping_mul(160);
                let header =
                    Header { marker: false, payload_type: 8, sequence, timestamp, ssrc: 9, length: 12, padded: false };
                let mut octets = [0x5a ^ call as u8; PACKET + GROWTH];
                octets[..12].copy_from_slice(&header.write());
                let length = outbound[call].rtp(&header, &mut octets, PACKET).unwrap();
                self.socket.send_to(&octets[..length], self.ports[call]).unwrap();
            }
        }
        late
    }

    fn run(mut self) -> Figures {
        let mut outbound: Vec<_> = self.ports.iter().map(|_| Outbound::new(&keys(2))).collect();
        self.load(&mut outbound, 0, SETTLING);
        while self.reports.try_recv().is_ok() {}
        let (before, pacer_before) = (cpu(), self.pacer.late_ticks());
        let mut load_late = self.load(&mut outbound, SETTLING, SECONDS);
        load_late.sort();
        let spent = cpu() - before;
        let pacer_late = self.pacer.late_ticks() - pacer_before;
        let (mut late, mut p99) = (Vec::new(), Duration::ZERO);
        while let Ok(report) = self.reports.try_recv() {
            if let MediaReport::Late(Late { most, worst }) = report {
                late.push(worst);
                p99 = p99.max(most);
            }
        }
        late.sort();
        let mut total = Counters::default();
        let mut missed = 0;
        for id in 0..self.ports.len() as u64 {
            self.engine.order(MediaOrder::Close(SessionId(id))).unwrap();
        }
        for _ in 0..self.ports.len() {
            let [a, b] = loop {
                if let Some(MediaReport::Closed(_, counters)) = self.reports.blocking_recv() {
                    break counters;
                }
            };
            missed += b.underruns + b.overruns + b.slips;
            total.sent += a.sent;
            total.received += a.received;
        }
        let cpu = spent.as_secs_f64() / f64::from(SECONDS);
        let (sent, received) = (total.sent, total.received);
        Figures { timeslots: self.ports.len(), missed, p99, late, load_late, cpu, pacer_late, sent, received }
    }
}

/// Time that the media thread ran so far.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path());
    let media =
        tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "media-0"));
    let spent = media.filter_map(|task| fs::read_to_string(task.join("schedstat")).ok());
    Duration::from_nanos(spent.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum())
}

fn main() {
    let _ = real_time();
    let mut rows = Vec::new();
    println!("{:<22}{:>10}{:>10}{:>28}{:>10}", "", "timeslots", "missed", "late: p99, median, worst", "CPU");
    for (name, canceller) in [("plain", None), ("echo cancellers", Some(Tail::Ms128))] {
        let lab = Lab::new(Timeslot { canceller, ..Timeslot::default() });
        let (pace, backend) = (lab.engine.standing().pace, lab.engine.standing().backend);
        let figures = lab.run();
        let [median, worst] = [figures.late.len() / 2, figures.late.len().saturating_sub(1)]
            .map(|at| figures.late.get(at).copied().unwrap_or_default());
        println!(
            "{name:<22}{:>10}{:>10}{:>9} {:>7} {:>7} us{:>8.1} %",
            figures.timeslots,
            figures.missed,
            figures.p99.as_micros(),
            median.as_micros(),
            worst.as_micros(),
            100.0 * figures.cpu,
        );
        println!(
            "  {} packets out, {} in; the simulated lines were late {} times, an idle thread by {} us (median of the worst of \
             each second); {pace}; {backend}",
            figures.sent,
            figures.received,
            figures.pacer_late,
            figures.load_late[figures.load_late.len() / 2].as_micros()
        );
        let runs = 1;
        let row = |figure: &str, unit: &str, ours: f64, most: f64| -> Value {
            let name = format!("tdm_{}_{figure}", name.replace(' ', "_"));
            json!({ "name": name, "unit": unit, "ours": ours, "target": most, "met": ours <= most, "runs": runs })
        };
        rows.push(row("missed", "ticks in 10 s of 240 timeslots", figures.missed as f64, 0.0));
        let late = |figure: &str, unit: &str, late: Duration| {
            row(figure, unit, late.as_micros() as f64, LATE.as_micros() as f64)
        };
        rows.push(late("late_p99", "us, 99 of 100 deadlines in the worst second", figures.p99));
        rows.push(late("late", "us, median of the worst of each second", median));
        rows.push(row("cpu", "share of a core", figures.cpu, 1.0));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("tdm.jsonl"), rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}
