//! The torture messages of RFC 4475, each over a TCP connection of its own: the answer is right, nothing falls over,
//! and after each of them a normal call works.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::{Gateway, Lab, Peer, Sdp, Setup, connect_from};

const PATIENCE: Duration = Duration::from_secs(2);
/// How long nothing must come where nothing may come.
const SILENCE: Duration = Duration::from_millis(700);

/// A message and the answers that are right.
struct Case {
    name: String,
    message: Vec<u8>,
    right: Vec<String>,
    why: String,
}

impl Case {
    /// A line of the table: name, section, start line, verdict, answers, why.
    fn read(folder: &Path, line: &str) -> Case {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, _, _, _, right, why] = fields[..] else { panic!("not a line of the table: {line}") };
        let mut message = fs::read(folder.join(format!("messages/{name}.dat"))).unwrap();
        if !message.windows(4).any(|w| w == b"\r\n\r\n") {
            message.extend_from_slice(b"\r\n");
        }
        let right = right.split(',').map(str::to_owned).collect();
        Case { name: name.to_owned(), message, right, why: why.to_owned() }
    }

    fn allows(&self, word: &str) -> bool {
        self.right.iter().any(|have| have == word)
    }

    fn may_stay_silent(&self) -> bool {
        self.allows("drop") || self.allows("wait")
    }

    /// `process` is any final answer but those that blame the message or us.
    fn judge(&self, answer: Answer) -> bool {
        match answer {
            Answer::None => self.may_stay_silent(),
            Answer::Closed => self.may_stay_silent() || self.allows("400"),
            Answer::Status(status) => {
                let taken = status >= 200 && ![400, 500, 505].contains(&status);
                self.allows(&status.to_string()) || (self.allows("process") && taken)
            }
        }
    }
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None,
    Closed,
    Status(u16),
}

/// Sends a message and waits for its final answer.
fn feed(lab: &Lab, to: SocketAddr, case: &Case) -> Answer {
    let mut stream = connect_from(lab.net.host(3), to).unwrap();
    stream.write_all(&case.message).unwrap();
    let end = Instant::now() + if case.may_stay_silent() { SILENCE } else { PATIENCE };
    let (mut heard, mut part) = (Vec::new(), [0; 8192]);
    let answer = loop {
        if let Some(status) = statuses(&heard).into_iter().find(|&status| status >= 200) {
            break Answer::Status(status);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break statuses(&heard).pop().map_or(Answer::None, Answer::Status);
        }
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut part) {
            Ok(0) => break statuses(&heard).pop().map_or(Answer::Closed, Answer::Status),
            Ok(n) => heard.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break Answer::Closed,
            Err(_) => {}
        }
    };
    let _ = stream.shutdown(Shutdown::Both);
    answer
}

/// The statuses of all responses in what was heard.
fn statuses(heard: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(heard);
    text.lines().filter_map(|line| line.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()).collect()
}

fn corpus() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places: Vec<PathBuf> = match std::env::var_os("DEMARC_PEERS") {
        Some(folder) => vec![folder.into()],
        None => vec![here.join("../shared/peers"), here.join("../../shared/peers")],
    };
    let found = places.into_iter().map(|place| place.join("rfc4475")).find(|place| place.join("expect.tsv").is_file());
    if found.is_none() {
        println!("skipped: the messages of RFC 4475 are not there (set DEMARC_PEERS to the folder that holds rfc4475)");
    }
    found
}

/// OPTIONS, then a whole call, from the gateway to the Microsoft side.
fn normal_call(gateway: &mut Peer, to: SocketAddr) {
    let link = gateway.connect(to);
    gateway.probe(&link);
    gateway.expect("200 OPTIONS");
    let mut call = gateway.call(&link, "+13125550100", &Sdp::plain(gateway.host, "sendrecv"));
    let answer = gateway.expect("200 INVITE");
    call.acknowledge(&answer);
    call.request("BYE", "", "");
    gateway.expect("200 BYE");
    link.close();
}

#[test]
fn torture_messages_are_answered_and_do_no_harm() {
    let Some(corpus) = corpus() else { return };
    let table = fs::read_to_string(corpus.join("expect.tsv")).unwrap();
    let cases: Vec<Case> = table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| Case::read(&corpus, line))
        .collect();
    assert_eq!(cases.len(), 50);

    let lab = Lab::new();
    let lync = Peer::answering(&lab);
    let mut demarc = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), "TCP")]).start(&lab);
    let mut gateway = Peer::gateway(lab.net.host(3));
    normal_call(&mut gateway, demarc.trunk);

    let mut wrong = Vec::new();
    for case in &cases {
        let answer = feed(&lab, demarc.trunk, case);
        let right = case.judge(answer);
        println!(
            "{} {:11} {answer:?}, right: {}",
            if right { "ok  " } else { "FAIL" },
            case.name,
            case.right.join(",")
        );
        if !right {
            wrong.push(format!("{}: {answer:?}, right: {} ({})", case.name, case.right.join(","), case.why));
        }
        assert!(demarc.alive(), "{} brought it down", case.name);
        normal_call(&mut gateway, demarc.trunk);
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_judge_knows_right_from_wrong() {
    let case = |right: &str| Case {
        name: String::new(),
        message: Vec::new(),
        right: right.split(',').map(str::to_owned).collect(),
        why: String::new(),
    };
    assert!(case("process").judge(Answer::Status(481)));
    assert!(!case("process").judge(Answer::Status(400)));
    assert!(!case("process").judge(Answer::Status(100)), "a provisional answer is no answer");
    assert!(case("400").judge(Answer::Closed));
    assert!(!case("416,404").judge(Answer::Closed));
    assert!(case("drop").judge(Answer::None));
    assert!(!case("drop").judge(Answer::Status(200)));
    assert!(!case("400").judge(Answer::None));
}
