//! What SRTP costs: ns of CPU to protect and to unprotect a packet of 20 ms of G.711 under each suite, beside
//! webrtc-srtp and Debian's libsrtp; and Galois/counter mode alone, RustCrypto's beside OpenSSL's.
//!
//! All contenders work in turn on batches of 250 packets; the median of `ROUNDS` (21) counts. CPU is the thread's own.
//! Every packet is compared with what it was. libsrtp.c is the same work by libsrtp.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panic and prints its table"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use bytes::Bytes;
use demarc::media::srtp::{GROWTH, Inbound, Outbound};
use demarc::private::Secret;
use demarc::session::{Keys, Suite};
use demarc::wire::rtp::Header;
use nix::time::{ClockId, clock_gettime};
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use serde_json::{Value, json};
use webrtc_srtp::context::Context;
use webrtc_srtp::option::srtp_replay_protection;
use webrtc_srtp::protection_profile::ProtectionProfile;

#[path = "../tests/lab/mod.rs"]
mod lab;

const BATCH: u16 = 250;
const BATCHES: u16 = 8;
const HEADER: usize = 12;
const PLAIN: usize = HEADER + 160;
const TAG: usize = 16;

/// ns that a packet may cost one way.
const LIMIT: f64 = 300.0;

/// ns to protect a packet, and to unprotect it.
type Cost = [f64; 2];

/// A packet in a buffer with room for its growth.
struct Packet {
    octets: [u8; PLAIN + GROWTH],
    length: usize,
}

impl From<Vec<u8>> for Packet {
    fn from(plain: Vec<u8>) -> Packet {
        let mut octets = [0; PLAIN + GROWTH];
        octets[..PLAIN].copy_from_slice(&plain);
        Packet { octets, length: PLAIN }
    }
}

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

fn plain(sequence: u16) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 9, length: HEADER, padded: false };
    [&header.write()[..], &[sequence as u8; PLAIN - HEADER]].concat()
}

fn cpu() -> f64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    now.tv_sec() as f64 * 1e9 + now.tv_nsec() as f64
}

fn measure<P: From<Vec<u8>> + AsRef<[u8]>>(mut protect: impl FnMut(&mut P), mut unprotect: impl FnMut(&mut P)) -> Cost {
    let mut spent = [0.0; 2];
    for batch in 0..BATCHES {
        let sequences = batch * BATCH..(batch + 1) * BATCH;
        let mut packets: Vec<P> = sequences.clone().map(|sequence| plain(sequence).into()).collect();
        let start = cpu();
        packets.iter_mut().for_each(&mut protect);
        let between = cpu();
        packets.iter_mut().for_each(&mut unprotect);
        let end = cpu();
        spent = [spent[0] + between - start, spent[1] + end - between];
        assert!(sequences.zip(packets).all(|(sequence, packet)| packet.as_ref() == plain(sequence)));
    }
    spent.map(|spent| spent / f64::from(BATCHES * BATCH))
}

fn keys(suite: Suite) -> Keys {
    Keys::cut(suite, &Secret([7; Keys::LONGEST]))
}

fn ours(suite: Suite) -> Cost {
    let (mut outbound, mut inbound) = (Outbound::new(&keys(suite)), Inbound::new(&keys(suite)));
    measure::<Packet>(
        |packet| {
            let header = Header::read(&packet.octets).unwrap();
            packet.length = outbound.rtp(&header, &mut packet.octets, packet.length).unwrap();
        },
        |packet| {
            let header = Header::read(&packet.octets).unwrap();
            packet.length = inbound.rtp(&header, &mut packet.octets[..packet.length]).unwrap();
        },
    )
}

fn webrtc(suite: Suite) -> Cost {
    let (keys, replay) = (keys(suite), || Some(srtp_replay_protection(128)));
    let profile = match suite {
        Suite::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::Aes128CmHmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::Aes256CmHmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        Suite::Aes256CmHmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let context = || Context::new(keys.key(), keys.salt(), profile, replay(), None).unwrap();
    let (mut outbound, mut inbound) = (context(), context());
    measure::<Bytes>(
        |packet| *packet = outbound.encrypt_rtp(packet).unwrap(),
        |packet| *packet = inbound.decrypt_rtp(packet).unwrap(),
    )
}

/// Debian's library behind libsrtp.c.
struct Libsrtp {
    child: Child,
    asks: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
}

impl Libsrtp {
    /// `None`, with the reason said, when it cannot be had.
    fn start(lab: &lab::Lab) -> Option<Libsrtp> {
        let (source, program) = (concat!(env!("CARGO_MANIFEST_DIR"), "/benches/libsrtp.c"), lab.path("libsrtp"));
        let built = Command::new("cc").args(["-O2", source, "-lsrtp2", "-o"]).arg(&program).output();
        if !built.is_ok_and(|built| built.status.success()) {
            lab::missing("libsrtp cannot be linked (apt-get install gcc libsrtp2-dev)");
            return None;
        }
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, replies) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Some(Libsrtp { child, asks, replies })
    }

    fn cost(&mut self, suite: Suite) -> Cost {
        writeln!(self.asks, "{} {BATCHES}", suite.name()).unwrap();
        let reply = self.replies.next().unwrap().unwrap();
        let mut figures = reply.split(' ').map(|figure| figure.parse().expect("a figure"));
        [figures.next().unwrap(), figures.next().unwrap()]
    }
}

impl Drop for Libsrtp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Galois/counter mode alone, as RustCrypto does it.
fn rust_crypto<Gcm: KeyInit + AeadInOut>(key: &[u8]) -> Cost {
    let gcm = Gcm::new_from_slice(key).unwrap();
    let nonce = || aes_gcm::aead::Nonce::<Gcm>::default();
    measure::<Packet>(
        |packet| {
            let (front, tag) = packet.octets.split_at_mut(PLAIN);
            let (header, payload) = front.split_at_mut(HEADER);
            let sealed = gcm.encrypt_inout_detached(&nonce(), header, payload.into()).unwrap();
            tag[..TAG].copy_from_slice(&sealed);
        },
        |packet| {
            let (front, tag) = packet.octets.split_at_mut(PLAIN);
            let (header, payload) = front.split_at_mut(HEADER);
            let tag = aes_gcm::aead::Tag::<Gcm>::try_from(&tag[..TAG]).unwrap();
            gcm.decrypt_inout_detached(&nonce(), header, payload.into(), &tag).unwrap();
        },
    )
}

/// The same as OpenSSL does it.
fn open_ssl(key: &[u8]) -> Cost {
    let cipher = if key.len() == 16 { Cipher::aes_128_gcm() } else { Cipher::aes_256_gcm() };
    let (mut seal, mut open) = (CipherCtx::new().unwrap(), CipherCtx::new().unwrap());
    seal.encrypt_init(Some(cipher), Some(key), None).unwrap();
    open.decrypt_init(Some(cipher), Some(key), None).unwrap();
    let nonce = [0; 12];
    measure::<Packet>(
        |packet| {
            let (front, tag) = packet.octets.split_at_mut(PLAIN);
            let (header, payload) = front.split_at_mut(HEADER);
            seal.encrypt_init(None, None, Some(&nonce)).unwrap();
            seal.cipher_update(header, None).unwrap();
            seal.cipher_update_inplace(payload, PLAIN - HEADER).unwrap();
            seal.cipher_final(&mut []).unwrap();
            seal.tag(&mut tag[..TAG]).unwrap();
        },
        |packet| {
            let (front, tag) = packet.octets.split_at_mut(PLAIN);
            let (header, payload) = front.split_at_mut(HEADER);
            open.decrypt_init(None, None, Some(&nonce)).unwrap();
            open.cipher_update(header, None).unwrap();
            open.cipher_update_inplace(payload, PLAIN - HEADER).unwrap();
            open.set_tag(&tag[..TAG]).unwrap();
            open.cipher_final(&mut []).unwrap();
        },
    )
}

/// A contender's costs, round by round.
#[derive(Default)]
struct Costs(Vec<Cost>);

impl Costs {
    /// Nothing when it could not be had.
    fn median(&self) -> Option<Cost> {
        let way = |way: usize| {
            let mut values: Vec<f64> = self.0.iter().map(|cost| cost[way]).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some([way(0)?, way(1)?])
    }
}

/// Shows what the contenders cost, and makes a row of ours, the first, beside each rival: its name, and the most that
/// ours may be of its cost.
fn judge(name: &str, costs: &[Costs], rivals: &[(&str, f64)], rounds: usize) -> Vec<Value> {
    let medians: Vec<_> = costs.iter().map(Costs::median).collect();
    let shown = medians.iter().map(|cost| match cost {
        Some([protect, unprotect]) => format!("{protect:>9.0}{unprotect:>7.0}"),
        None => format!("{:>9}{:>7}", "-", "-"),
    });
    println!("{name:<28}{}", shown.collect::<String>());
    let ours: f64 = medians[0].unwrap().iter().sum();
    let rows = rivals.iter().zip(&medians[1..]).filter_map(|((rival, target), cost)| {
        let theirs: f64 = (*cost)?.iter().sum();
        Some(row(&format!("{name}_{rival}"), [ours, theirs], rival, *target, rounds))
    });
    rows.collect()
}

fn row(name: &str, [ours, theirs]: [f64; 2], rival: &str, target: f64, rounds: usize) -> Value {
    let (name, ratio) = (format!("srtp_{name}").to_lowercase().replace('-', "_"), ours / theirs);
    json!({
        "name": name, "unit": "ns there and back", "ours": ours, "rival": rival, "rival_value": theirs,
        "ratio": ratio, "target": target, "met": ratio <= target, "runs": rounds,
    })
}

fn suites(rounds: usize) -> Vec<Value> {
    let lab = lab::Lab::new();
    let (mut libsrtp, mut rows) = (Libsrtp::start(&lab), Vec::new());
    println!("ns to protect and unprotect {PLAIN} octets");
    println!("{:<28}{:>16}{:>16}{:>16}", "", "ours", "webrtc-srtp", "libsrtp");
    for suite in Suite::ALL {
        let mut costs: [Costs; 3] = Default::default();
        for _ in 0..rounds {
            costs[0].0.push(ours(suite));
            costs[1].0.push(webrtc(suite));
            costs[2].0.extend(libsrtp.as_mut().map(|libsrtp| libsrtp.cost(suite)));
        }
        let libsrtp = if matches!(suite, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm) { 0.5 } else { 0.15 };
        rows.extend(judge(suite.name(), &costs, &[("webrtc-srtp", 0.75), ("libsrtp", libsrtp)], rounds));
        let both = costs[0].median().unwrap().iter().sum();
        rows.push(row(&format!("{}_limit", suite.name()), [both, 2.0 * LIMIT], "limit", 1.0, rounds));
    }
    rows
}

fn ciphers(rounds: usize) -> Vec<Value> {
    println!("\n{:<28}{:>16}{:>16}", "the cipher alone", "RustCrypto", "OpenSSL");
    let ciphers = [
        ("AES-128-GCM", rust_crypto::<Aes128Gcm> as fn(&[u8]) -> Cost, &[7; 16][..]),
        ("AES-256-GCM", rust_crypto::<Aes256Gcm>, &[7; 32]),
    ];
    let judged = ciphers.map(|(name, rust_crypto, key)| {
        let mut costs: [Costs; 2] = Default::default();
        for _ in 0..rounds {
            costs[0].0.push(rust_crypto(key));
            costs[1].0.push(open_ssl(key));
        }
        judge(name, &costs, &[("openssl", 1.0)], rounds)
    });
    judged.into_iter().flatten().collect()
}

fn main() {
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(21);
    let rows = [suites(rounds), ciphers(rounds)].concat();
    rows.iter().filter(|row| row["met"] != true).for_each(|row| println!("missed: {row}"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("srtp.jsonl"), rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}
