//! The demonstration, as somebody runs it who has never seen the program.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEMARC: &str = env!("CARGO_BIN_EXE_demarc");

/// The configuration that the demonstration names.
fn file(text: &str) -> PathBuf {
    text.split_whitespace().find(|word| word.ends_with("/demarc.ini")).unwrap().into()
}

/// What the demonstration prints, all of it good.
fn good(arguments: &[&str]) -> String {
    let run = Command::new(DEMARC).args(["demo", "--once"]).args(arguments).output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    let log = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{text}\n{log}");
    assert!(text.contains("\nBoth calls and the transfer are good.\n"), "{text}");
    assert_eq!(text.matches("INVITE + SDP (TLS)").count(), 4, "three calls, and one to the transfer's target:\n{text}");
    assert!(!text.contains("a=crypto"), "{text}");
    assert!(!file(&text).parent().unwrap().exists());
    text
}

fn in_this_order(text: &str, steps: &[&str]) {
    let mut rest = text;
    for step in steps {
        rest = rest.split_once(step).unwrap_or_else(|| panic!("no {step}, or too early:\n{text}")).1;
    }
}

#[test]
fn over_a_t1_both_calls_and_the_transfer_are_good_and_nothing_stays_behind() {
    let text = good(&[]);
    let [_, out, back, transfer] = text.split("\ncall ").collect::<Vec<_>>()[..] else {
        panic!("three ladders:\n{text}")
    };
    in_this_order(
        out,
        &["INVITE", "SETUP", "CALL PROCEEDING", "ALERTING", "CONNECT", "200 OK", "BYE", "DISCONNECT", "RELEASE"],
    );
    in_this_order(back, &["SETUP", "INVITE", "ALERTING", "200 OK", "CONNECT", "DISCONNECT", "BYE"]);
    in_this_order(transfer, &["SETUP", "REFER", "202 Accepted (REFER)", "NOTIFY + 200 OK", "BYE", "DISCONNECT"]);
    assert_eq!(transfer.matches("SETUP").count(), 1, "the line's call is kept:\n{transfer}");
}

#[test]
fn over_sip_both_calls_and_the_transfer_are_good_and_nothing_stays_behind() {
    let text = good(&["--gateway", "sip"]);
    let three = |words: &str| text.lines().any(|line| line.matches(words).count() == 3);
    assert!(three("100 % / 100 %") && three("0 / 0"), "{text}");
    assert_eq!(text.matches("Q.850 cause 16").count(), 3, "{text}");
    let transfer = text.split("\ncall ").last().unwrap();
    let steps =
        ["REFER (TLS)", "202 Accepted (REFER)", "INVITE + SDP (TLS)", "NOTIFY + 200 OK", "BYE (TLS)", "BYE (TCP)"];
    in_this_order(transfer, &steps);
    assert!(!transfer.contains("REFER (TCP)"), "{transfer}");
}

#[test]
fn it_stays_up_to_be_asked_until_it_is_interrupted() {
    let mut run = Command::new(DEMARC).arg("demo").stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    for line in lines.by_ref() {
        text += &line.unwrap();
        text.push('\n');
        if text.ends_with("Ctrl-C ends it.\n") {
            break;
        }
    }
    assert!(text.contains("The web page: http://127.0.0.1:"), "{text}");
    let ask = |verb: &[&str]| Command::new(DEMARC).arg("--config").arg(file(&text)).args(verb).output().unwrap();
    let ladder = ask(&["trace", "last"]);
    assert!(String::from_utf8_lossy(&ladder.stdout).contains("a=crypto"), "{ladder:?}");
    assert!(ask(&["check"]).status.success());
    kill(Pid::from_raw(run.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(run.wait().unwrap().success());
    assert!(!file(&text).parent().unwrap().exists());
}
