//! SRTP beside libsrtp, both ways: what one seals, the other opens.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use demarc::media::srtp::{GROWTH, Inbound, Outbound};
use demarc::private::Secret;
use demarc::random::Random;
use demarc::session::{Keys, Suite};
use demarc::wire::rtcp::Writer;
use demarc::wire::rtp::Header;

/// The suites that libsrtp's Python face has names for.
const SUITES: [Suite; 4] =
    [Suite::Aes128CmHmacSha1_80, Suite::Aes128CmHmacSha1_32, Suite::AeadAes128Gcm, Suite::AeadAes256Gcm];

struct Libsrtp {
    child: Child,
    asks: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
}

impl Libsrtp {
    /// `None`, with the reason said, when there is none.
    fn start() -> Option<Libsrtp> {
        let python = lab::python()?;
        let loads =
            Command::new(&python).args(["-c", "import pylibsrtp"]).output().is_ok_and(|done| done.status.success());
        if !loads {
            println!("skipped: there is no pylibsrtp (run .ci/peers)");
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libsrtp.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, replies) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Some(Libsrtp { child, asks, replies })
    }

    fn ask(&mut self, keys: &Keys, operation: &str, packet: &[u8]) -> Option<Vec<u8>> {
        writeln!(self.asks, "{} {} {operation} {}", keys.suite().name(), hex(keys.octets()), hex(packet)).unwrap();
        let reply = self.replies.next().unwrap().unwrap();
        (reply != "refused").then(|| octets(&reply))
    }
}

impl Drop for Libsrtp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn packet(sequence: u16) -> (Header, Vec<u8>) {
    let timestamp = u32::from(sequence) * 160;
    let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 9, length: 12, padded: false };
    (header, [&header.write()[..], &[sequence as u8; 160]].concat())
}

fn sealed(seal: impl FnOnce(&mut [u8]) -> Option<usize>, plain: &[u8]) -> Vec<u8> {
    let mut buffer = [plain, &[0; GROWTH]].concat();
    let length = seal(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn what_one_seals_the_other_opens() {
    let Some(mut libsrtp) = Libsrtp::start() else { return };
    for suite in SUITES {
        let keys = Keys::cut(suite, &Secret(Random::test(1).octets()));
        let (mut outbound, mut inbound) = (Outbound::new(&keys), Inbound::new(&keys));
        let report = Writer::report(9, None, None).named(9, b"0123456789abcdef").octets().to_vec();
        // Over a wrap of the sequence number.
        for sequence in (0..200u16).map(|step| step.wrapping_add(65_436)) {
            let (header, plain) = packet(sequence);
            let ours = sealed(|buffer| outbound.rtp(&header, buffer, plain.len()), &plain);
            assert_eq!(libsrtp.ask(&keys, "unprotect", &ours), Some(plain.clone()), "{suite:?} {sequence}");
            let mut theirs = libsrtp.ask(&keys, "protect", &plain).unwrap();
            let length = inbound.rtp(&header, &mut theirs).unwrap();
            assert_eq!(theirs[..length], plain, "{suite:?} {sequence}");

            let ours = sealed(|buffer| outbound.rtcp(9, buffer, report.len()), &report);
            assert_eq!(libsrtp.ask(&keys, "unprotect_rtcp", &ours), Some(report.clone()), "{suite:?} {sequence}");
            let mut theirs = libsrtp.ask(&keys, "protect_rtcp", &report).unwrap();
            let length = inbound.rtcp(&mut theirs).unwrap();
            assert_eq!(theirs[..length], report, "{suite:?} {sequence}");
        }
        let (header, plain) = packet(500);
        let mut forged = sealed(|buffer| outbound.rtp(&header, buffer, plain.len()), &plain);
        forged[20] ^= 1;
        assert_eq!(libsrtp.ask(&keys, "unprotect", &forged), None, "{suite:?}");
    }
}
