//! The daemon as its operator meets it: verbs, signals, bad files, a full box, what its log keeps to itself.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::collections::HashSet;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use demarc::media::codec::g711::{self, Law};
use lab::{Demarc, Dialog, Gateway, Lab, Message, Paper, Peer, Sdp, Setup, connect_from, demarc, get, seconds, until};
use nix::sys::signal::Signal;

const LYNC_NUMBER: &str = "+13125550100";

/// The Microsoft side takes every call at once; the gateway, over TCP, is the test's own voice.
struct Stage {
    gateway: Peer,
    demarc: Demarc,
    setup: Setup,
    _lync: Peer,
    lab: Lab,
}

impl Stage {
    fn set(change: impl FnOnce(&mut Setup)) -> Stage {
        let lab = Lab::new();
        let lync = Peer::answering(&lab);
        let mut setup = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
        setup.trunk_configuration = vec!["OptionsInterval=0".to_owned()];
        change(&mut setup);
        // Everything that anybody could log.
        let demarc = setup.start_with(&lab, "DEMARC_LOG", "trace");
        Stage { gateway: Peer::gateway(lab.net.host(3)), demarc, setup, _lync: lync, lab }
    }

    /// A call that has not been answered.
    fn call(&self) -> Dialog {
        let link = self.gateway.connect(self.demarc.trunk);
        self.gateway.call(&link, LYNC_NUMBER, &Sdp::plain(self.gateway.host, "sendrecv"))
    }

    #[track_caller]
    fn connect(&mut self) -> Dialog {
        let mut call = self.call();
        call.acknowledge(&self.gateway.expect("200 INVITE"));
        call
    }

    /// A call that is refused: the answer.
    #[track_caller]
    fn refused(&mut self, status: u16) -> Message {
        let mut call = self.call();
        let answer = self.gateway.expect(&format!("{status} INVITE"));
        call.acknowledge_refusal(&answer);
        (*answer).clone()
    }

    /// The call is as alive as ever: a refresh is answered on it.
    #[track_caller]
    fn lives(&mut self, call: &mut Dialog) {
        call.request("UPDATE", "", "");
        self.gateway.expect("200 UPDATE");
        assert!(self.demarc.metric("demarc_calls_active") > 0.0);
    }

    #[track_caller]
    fn hang_up(&mut self, call: &mut Dialog) {
        call.request("BYE", "", "");
        self.gateway.expect("200 BYE");
    }

    fn reloads(&self, result: &str) -> f64 {
        self.demarc.metric_where("demarc_config_reloads_total", &format!("\"{result}\""))
    }
}

// A box that is full.

#[test]
fn a_full_port_range_refuses_the_call_and_says_so() {
    // Four ports: one call.
    let mut stage = Stage::set(|setup| setup.ports = (18_000, 18_003));
    let mut call = stage.connect();
    let answer = stage.refused(503);
    assert_eq!(answer.header("Reason"), Some("Q.850;cause=47;text=\"Resource unavailable\""));
    stage.demarc.logs(&["call ended", "cause=47", "all media ports from 18000 to 18003 are in use"]);
    stage.lives(&mut call);
    stage.hang_up(&mut call);
    stage.demarc.idle();
    let mut next = stage.connect();
    stage.hang_up(&mut next);
}

#[test]
fn a_full_trunk_refuses_the_call_and_says_so() {
    let mut stage = Stage::set(|setup| setup.gateways[0].more = vec!["MaxCalls=1".to_owned()]);
    let mut call = stage.connect();
    let answer = stage.refused(503);
    assert!(answer.header("Reason").is_some_and(|reason| reason.starts_with("Q.850;cause=")), "{:?}", answer.headers);
    assert!(answer.header("Retry-After").is_some(), "{:?}", answer.headers);
    stage.demarc.logs(&["request refused", "trunk=\"Gateway1\"", "MaxCalls"]);
    stage.lives(&mut call);
    stage.hang_up(&mut call);
}

// Alarms.

/// What `/api/alarms` says: severity, subject, what.
fn alarms(demarc: &Demarc) -> Vec<(String, String, String)> {
    let (status, text) = get(demarc.web, "/api/alarms").unwrap();
    assert_eq!(status, 200);
    let alarms: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let word = |alarm: &serde_json::Value, key: &str| alarm[key].as_str().unwrap().to_owned();
    alarms.iter().map(|alarm| (word(alarm, "severity"), word(alarm, "subject"), word(alarm, "what"))).collect()
}

#[test]
fn a_trunk_that_is_down_and_a_certificate_that_ends_are_alarms_until_they_are_mended() {
    let mut stage = Stage::set(|setup| setup.trunk_configuration = vec!["OptionsInterval=1s".to_owned()]);
    let demarc = &stage.demarc;
    let down = until(seconds(8), "the trunk is down", || alarms(demarc).pop());
    assert_eq!((down.0.as_str(), down.1.as_str()), ("major", "Gateway1"));
    assert!(down.2.starts_with("Gateway1 is down: OPTIONS to "), "{down:?}");
    let paper = Paper { days: (-1, 5), address: Some(stage.lab.net.host(1)), ..Paper::new("demarc.lab.test") };
    let leaf = stage.lab.authority.issue(&paper);
    stage.lab.write("demarc.pem", leaf.certificate);
    stage.lab.write("demarc.key", leaf.key);
    assert_eq!(demarc.ask(&["reload"]).0, 0);
    demarc.logs(&["certificate alarm: our certificate ends on", "from then on peers refuse us", "renew it and reload"]);
    let both = alarms(demarc);
    // Both are major: the one that has been due for weeks is the older one.
    assert!(both.len() == 2 && both[0].1 == "certificate" && both[1].1 == "Gateway1", "{both:?}");
    let (_, text, _) = demarc.ask(&["status"]);
    assert!(
        text.contains("MAJOR Gateway1, for ")
            && text.contains("MAJOR certificate, for 25d00h: our certificate ends on")
    );
    assert_eq!(demarc.metric_where("demarc_alarms", "major"), 2.0);
    let mut call = stage.connect();
    stage.hang_up(&mut call);
    let left = alarms(&stage.demarc);
    assert!(left.iter().all(|alarm| alarm.1 == "certificate"), "{left:?}");
}

// Files.

#[test]
fn a_configuration_that_cannot_be_used_ends_the_start_with_2() {
    let lab = Lab::new();
    let missing = lab.path("nowhere.ini");
    let folder = lab.folder("folder.ini");
    let noise = lab.write("noise.ini", [0x00, 0xff, 0xfe, 0x80, 0x01, b'\n'].repeat(40));
    let wrong = lab.write("wrong.ini", "[Lync]\nFqdn=ms1.contoso.com\nListen=here\n[Web]\nListen=127.0.0.1:1\n");
    let cases = [
        (&missing, &["cannot be read", "No such file"][..]),
        (&folder, &["cannot be read", "directory"]),
        (&noise, &["noise.ini:1:1"]),
        (&wrong, &["wrong.ini:3:8", "`Listen` has a wrong value", "cannot be used; errors: "]),
    ];
    for (file, words) in cases {
        for verb in ["run", "status", "reload"] {
            // What cannot be read names no daemon, and at the usual place there may be one.
            if (file, verb) == (&noise, "status") {
                continue;
            }
            let output = demarc(&[verb, "--config", &file.display().to_string()]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{verb}: {said}");
            for word in words {
                assert!(said.contains(word), "{verb}: {word} is not in:\n{said}");
            }
        }
    }
}

#[test]
fn a_bad_file_changes_nothing() {
    let mut stage = Stage::set(|_| {});
    let mut call = stage.connect();
    let good = std::fs::read_to_string(&stage.demarc.file).unwrap();
    std::fs::write(&stage.demarc.file, good.replace("Port=5060", "Port=506O")).unwrap();
    stage.demarc.signal(Signal::SIGHUP);
    stage.demarc.logs(&["reload refused, nothing changed"]);
    stage.demarc.logs(&["demarc.ini:", "error: `Port` has a wrong value"]);
    assert_eq!((stage.reloads("bad"), stage.reloads("good")), (1.0, 0.0));
    let (code, _, said) = stage.demarc.ask(&["reload"]);
    assert!(code == 2 && said.contains("`Port` has a wrong value"), "{code}: {said}");
    // Who only looks is answered all the same.
    let (code, shown, said) = stage.demarc.ask(&["calls"]);
    assert!(code == 0 && shown.contains("connected") && said.contains("cannot be used as it is now"), "{code}: {said}");
    // A file that reads well and names a certificate that is not there.
    std::fs::write(&stage.demarc.file, good.replace("demarc.pem", "nowhere.pem")).unwrap();
    let (code, _, said) = stage.demarc.ask(&["reload"]);
    assert!(code == 1 && said.contains("nothing changed") && said.contains("nowhere.pem"), "{code}: {said}");
    assert_eq!((stage.reloads("bad"), stage.reloads("good")), (2.0, 0.0));
    stage.lives(&mut call);
    let mut next = stage.connect();
    stage.hang_up(&mut next);
    stage.hang_up(&mut call);
    stage.demarc.idle();
}

#[test]
fn a_good_file_holds_for_new_calls_and_live_ones_go_on() {
    let mut stage = Stage::set(|_| {});
    let mut call = stage.connect();
    stage.setup.gateways[0].more = vec!["MaxCalls=1".to_owned()];
    stage.setup.write(&stage.lab);
    stage.demarc.signal(Signal::SIGHUP);
    stage.demarc.logs(&["reloaded: new calls use the new configuration, live calls keep theirs"]);
    assert_eq!((stage.reloads("bad"), stage.reloads("good")), (0.0, 1.0));
    stage.lives(&mut call);
    stage.refused(503);
    stage.setup.gateways[0].more.clear();
    stage.setup.write(&stage.lab);
    let (code, said, _) = stage.demarc.ask(&["reload"]);
    assert!(code == 0 && said.starts_with("reloaded"), "{code}: {said}");
    let mut next = stage.connect();
    stage.hang_up(&mut next);
    stage.hang_up(&mut call);
    stage.demarc.idle();
}

// The end.

/// However it was asked to drain: new calls are refused, the live one goes on and can be ended, then the end is good.
#[track_caller]
fn drains(mut stage: Stage, mut call: Dialog) {
    stage.demarc.logs(&["draining: no new calls, waiting for live ones"]);
    assert_eq!(get(stage.demarc.web, "/readyz").map(|(status, _)| status), Some(503));
    let answer = stage.refused(503);
    assert!(answer.header("Retry-After").is_some(), "{:?}", answer.headers);
    let (code, said, _) = stage.demarc.ask(&["status"]);
    assert!(code == 0 && said.contains("draining: 1 calls"), "{code}: {said}");
    stage.lives(&mut call);
    assert_eq!(stage.demarc.end(Duration::from_millis(700)), None, "it waits for the call");
    stage.hang_up(&mut call);
    let end = stage.demarc.end(seconds(5));
    assert_eq!(end.and_then(|end| end.code()), Some(0), "{end:?}");
    assert!(connect_from(stage.lab.net.host(3), stage.demarc.trunk).is_err());
}

#[test]
fn sigterm_waits_for_live_calls() {
    let mut stage = Stage::set(|_| {});
    let call = stage.connect();
    stage.demarc.signal(Signal::SIGTERM);
    drains(stage, call);
}

#[test]
fn the_drain_verb_does_the_same() {
    let mut stage = Stage::set(|_| {});
    let call = stage.connect();
    let (code, said, _) = stage.demarc.ask(&["drain"]);
    assert!(code == 0 && said.contains("no new calls are taken"), "{code}: {said}");
    drains(stage, call);
}

/// The limit is over: the live call is released, not dropped.
#[test]
fn a_drain_that_takes_too_long_ends_the_call() {
    let mut stage = Stage::set(|setup| setup.trunks = vec!["DrainTimeout=1s".to_owned()]);
    let _call = stage.connect();
    stage.demarc.signal(Signal::SIGTERM);
    let bye = stage.gateway.expect("BYE");
    assert!(bye.header("Reason").is_some_and(|reason| reason.contains("Q.850;cause=")), "{:?}", bye.headers);
    bye.answer(200, "OK", "");
    let end = stage.demarc.end(seconds(5));
    assert_eq!(end.and_then(|end| end.code()), Some(0), "{end:?}");
}

#[test]
fn a_second_sigterm_does_not_wait() {
    let mut stage = Stage::set(|_| {});
    let _call = stage.connect();
    stage.demarc.signal(Signal::SIGTERM);
    stage.demarc.logs(&["draining"]);
    stage.demarc.signal(Signal::SIGTERM);
    stage.gateway.expect("BYE").answer(200, "OK", "");
    let end = stage.demarc.end(seconds(5));
    assert_eq!(end.and_then(|end| end.code()), Some(0), "{end:?}");
}

// Views.

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

#[test]
fn the_verbs_show_the_running_daemon() {
    let mut stage = Stage::set(|_| {});
    let (code, said, _) = stage.demarc.ask(&["calls", "--json"]);
    assert_eq!((code, json(&said)), (0, serde_json::json!([])));
    let mut call = stage.connect();

    let (code, said, _) = stage.demarc.ask(&["status"]);
    assert!(code == 0 && said.starts_with(&format!("demarc {}: 1 calls\n", env!("CARGO_PKG_VERSION"))), "{said}");
    for trunk in ["lync", "Gateway1"] {
        assert!(said.lines().any(|line| line.trim_start().starts_with(trunk) && line.contains("1 calls")), "{said}");
    }
    let (code, said, _) = stage.demarc.ask(&["status", "--json"]);
    let status = json(&said);
    assert_eq!((code, &status["calls"], &status["draining"]), (0, &1.into(), &false.into()), "{said}");
    assert_eq!(status["trunks"][1]["name"], "Gateway1", "{said}");

    let (code, said, _) = stage.demarc.ask(&["calls"]);
    assert_eq!((code, said.lines().count()), (0, 2), "{said}");
    for word in ["connected", "Gateway1", "lync", "…100", "PCMU/PCMU"] {
        assert!(said.contains(word), "{word} is not in:\n{said}");
    }
    let (_, said, _) = stage.demarc.ask(&["calls", "--json"]);
    let calls = json(&said);
    let shown = &calls[0];
    assert_eq!((&shown["direction"], &shown["state"]), (&"in".into(), &"connected".into()), "{said}");
    assert_eq!(shown["srtp"], serde_json::json!([false, true]), "{said}");
    let id = shown["id"].as_str().unwrap().to_owned();
    stage.hang_up(&mut call);
    stage.demarc.idle();

    for name in ["last", id.as_str(), &id[..6]] {
        let (code, said, _) = stage.demarc.ask(&["trace", name]);
        assert_eq!(code, 0, "{said}");
        judge_ladder(&said, &id);
    }
    let (code, said, _) = stage.demarc.ask(&["trace", "last", "--redact"]);
    assert!(code == 0 && !said.contains("3125550100") && said.contains("INVITE"), "{said}");
    let (code, said, _) = stage.demarc.ask(&["trace", "last", "--json"]);
    let ladder = json(&said);
    assert_eq!((code, &ladder["id"]), (0, &id.as_str().into()));
    assert!(ladder["rungs"].as_array().is_some_and(|rungs| rungs.len() > 8), "{said}");
    assert!(!said.contains("WVNfX19zZW1jdGwg"), "a key:\n{said}");
    let (code, _, said) = stage.demarc.ask(&["trace", "zzz"]);
    assert!(code == 1 && said.contains("no live or recent call has the id zzz"), "{code}: {said}");
}

/// Both legs, who ended it and why, and no key.
#[track_caller]
fn judge_ladder(text: &str, id: &str) {
    assert!(text.starts_with(&format!("call {id}\n")), "{text}");
    for (what, trunk) in [
        ("INVITE + SDP (TCP)", "Gateway1"),
        ("INVITE + SDP (TLS)", "lync"),
        ("200 OK + SDP (INVITE) (TLS)", "lync"),
        ("200 OK + SDP (INVITE) (TCP)", "Gateway1"),
        ("ACK (TCP)", "Gateway1"),
        ("BYE (TCP)", "Gateway1"),
        ("BYE (TLS)", "lync"),
    ] {
        let shown = text.lines().any(|line| line.contains(what) && line.ends_with(trunk));
        assert!(shown, "{what} with {trunk} is not in:\n{text}");
    }
    assert!(text.contains("Q.850 cause 16 (Normal call clearing)"), "{text}");
    assert!(text.contains(LYNC_NUMBER), "the operator sees the number:\n{text}");
    let keys = text.split("inline:").skip(1).filter(|rest| !rest.starts_with("(secret)")).count();
    assert!(keys == 0 && text.contains("inline:(secret)") && !text.contains("WVNfX19zZW1jdGwg"), "a key:\n{text}");
}

#[test]
fn a_daemon_that_is_not_there_is_a_fault_with_a_remedy() {
    let mut stage = Stage::set(|_| {});
    stage.demarc.signal(Signal::SIGTERM);
    assert!(stage.demarc.end(seconds(5)).is_some());
    for verb in [&["status"][..], &["calls"], &["trace", "last"], &["reload"], &["drain"]] {
        let (code, _, said) = stage.demarc.ask(verb);
        assert!(code == 1 && said.contains("Is it running"), "{verb:?}: {code}: {said}");
    }
}

// Lines.

/// A box whose calls go out on these lines, and on no gateway.
fn with_lines(sections: &str) -> Stage {
    with_lines_and(sections, |_| {})
}

fn with_lines_and(sections: &str, change: impl FnOnce(&mut Setup)) -> Stage {
    Stage::set(|setup| {
        setup.gateways.clear();
        setup.more = format!("\n[Gateway2]\nKind=isdn\nSpan=Span1\nVoiceRoutes=LocalRoute\n{sections}");
        change(setup);
    })
}

fn spans(stage: &Stage) -> serde_json::Value {
    json(&get(stage.demarc.web, "/api/spans").unwrap().1)
}

/// A box with an E1, the exchange at its far end; alarms come and go within 200 ms there.
fn with_line() -> (Stage, impl Fn(&Stage) -> serde_json::Value) {
    with_line_of("")
}

/// Likewise, with more keys of the line's gateway.
fn with_line_of(keys: &str) -> (Stage, impl Fn(&Stage) -> serde_json::Value) {
    once_up(with_lines(&format!("{keys}[Span1]\nLine=E1\nSwitch=euroisdn\nCountryCode=1\n")))
}

/// Waits until the line is up; the box, and how it shows the line.
fn once_up(stage: Stage) -> (Stage, impl Fn(&Stage) -> serde_json::Value) {
    let view = |stage: &Stage| spans(stage)[0].clone();
    let rests = |shown: &serde_json::Value| {
        let idle = shown["timeslots"].as_array().is_some_and(|slots| slots.iter().all(|slot| slot["state"] != "setup"));
        shown["d_channel"] == "up" && idle
    };
    until(seconds(8), "the line is up", || rests(&view(&stage)).then_some(()));
    (stage, view)
}

#[test]
fn a_line_is_shown_with_its_timeslots_and_counted() {
    let (stage, view) = with_line();
    let shown = view(&stage);
    assert_eq!((&shown["name"], &shown["trunk"], &shown["line"]), (&"Span1".into(), &"Gateway2".into(), &"E1".into()));
    assert_eq!(shown["alarms"], serde_json::json!([]), "{shown}");
    assert_eq!(shown["timeslots"].as_array().map(Vec::len), Some(31), "{shown}");
    assert_eq!(shown["timeslots"][15], serde_json::json!({ "timeslot": 16, "state": "dchannel" }));
    assert_eq!(shown["counters"]["slips"], 0, "{shown}");
    let (code, said, _) = stage.demarc.ask(&["spans"]);
    assert!(code == 0 && said.starts_with("Span1      up for ") && said.contains("E1 euroisdn, of Gateway2"), "{said}");
    assert!(said.contains("  D channel  up\n  timeslots  ........ .......D ........ .......\n"), "{said}");
    assert_eq!(json(&stage.demarc.ask(&["spans", "--json"]).1)[0]["name"], "Span1");
    assert_eq!(stage.demarc.metric_where("demarc_span_up", "Span1"), 1.0);
    assert_eq!(stage.demarc.metric_where("demarc_timeslots", "state=\"dchannel\""), 1.0);
    assert_eq!(stage.demarc.metric("demarc_timeslots"), 31.0);
    assert_eq!(stage.demarc.metric("demarc_span_d_channel_up"), 1.0);
    let (_, said, _) = stage.demarc.ask(&["doctor"]);
    assert!(
        said.contains("open, no alarm") && said.contains("the far end answers as the network's side, in euroisdn"),
        "{said}"
    );
    // A line has no address to be asked at.
    assert!(said.contains("joins it to the line's") && !said.contains("Gateway2            "), "{said}");
}

#[test]
fn an_order_to_a_line_is_done_with_yes_alone_and_says_what_it_does() {
    let (stage, view) = with_line();
    let state = |timeslot: usize| view(&stage)["timeslots"][timeslot - 1]["state"].clone();
    let (code, said, _) = stage.demarc.ask(&["spans", "block", "span1", "5"]);
    assert!(
        code == 0 && said.contains("carries no call, and none will") && said.contains("Nothing was done"),
        "{said}"
    );
    assert_ne!(state(5), "blocked-near");
    let (code, said, _) = stage.demarc.ask(&["spans", "block", "span1", "5", "--yes"]);
    assert!(code == 0 && said.starts_with("done: timeslot 5 of Span1"), "{said}");
    assert_eq!(state(5), "blocked-near");
    assert_eq!(stage.demarc.metric_where("demarc_timeslots", "state=\"blocked\""), 1.0);
    stage.demarc.logs(&["Span1: timeslot 5 is blocked here"]);
    assert_eq!(stage.demarc.ask(&["spans", "unblock", "Span1", "--yes"]).0, 0);
    assert_ne!(state(5), "blocked-near");
    for (words, expected) in [
        (&["spans", "block", "Span1", "16"][..], "is the D channel"),
        (&["spans", "block", "Span1", "32"], "Span1 has no timeslot 32"),
        (&["spans", "down", "Span7"], "there is no line Span7"),
    ] {
        let (code, _, said) = stage.demarc.ask(words);
        assert!(code == 1 && said.contains(expected), "{words:?}: {said}");
    }
}

/// The far end sees AIS and answers with RAI; a reload changes nothing of that.
#[test]
fn a_line_that_is_taken_down_is_down_at_both_ends_until_it_is_let_up() {
    let (stage, view) = with_line();
    let (_, said, _) = stage.demarc.ask(&["spans", "down", "Span1"]);
    assert!(said.starts_with("no call is on Span1; the far end sees the line or its D channel fail"), "{said}");
    assert_eq!((&view(&stage)["up"], &view(&stage)["forced_down"]), (&true.into(), &false.into()));
    assert_eq!(stage.demarc.ask(&["spans", "down", "Span1", "--yes"]).0, 0);
    let down = || {
        let shown = view(&stage);
        (shown["up"] == false && shown["forced_down"] == true && shown["alarms"] == serde_json::json!(["RAI"]))
            .then_some(())
    };
    until(seconds(3), "both ends see it", down);
    assert_eq!(stage.demarc.metric_where("demarc_span_alarms", "RAI"), 1.0);
    assert!(alarms(&stage.demarc).iter().any(|(_, subject, what)| subject == "Span1" && what.contains("operator")));
    assert_eq!(stage.demarc.ask(&["reload"]).0, 0);
    assert!(down().is_some());
    assert_eq!(stage.demarc.ask(&["spans", "up", "Span1", "--yes"]).0, 0);
    until(seconds(3), "the line is up again", || (view(&stage)["up"] == true).then_some(()));
}

#[test]
fn a_call_stays_when_its_timeslot_is_blocked_and_ends_when_its_line_is_taken_down() {
    let (stage, view) = with_line();
    let mut lync = Peer::calling(&stage.lab);
    let link = lync.connect(stage.demarc.lync);
    let mut call = lync.call(&link, "+13125556789", &Sdp::encrypted(lync.host, "sendrecv"));
    call.acknowledge(&lync.expect_within("200 INVITE", seconds(6)));
    let shown = view(&stage);
    let slots = shown["timeslots"].as_array().unwrap();
    let busy = slots.iter().find(|slot| slot["state"] == "out").unwrap()["timeslot"].to_string();
    let (_, said, _) = stage.demarc.ask(&["spans", "block", "Span1", &busy, "--yes"]);
    assert!(said.contains("carries a call: it goes on; no further call will use it"), "{said}");
    assert_eq!(stage.demarc.metric_where("demarc_timeslots", "state=\"out\""), 1.0);
    let (_, said, _) = stage.demarc.ask(&["spans", "down", "Span1"]);
    assert!(said.contains("1 call on Span1 ends at once, its parties are cut off"), "{said}");
    assert_eq!(stage.demarc.calls().len(), 1);
    assert_eq!(stage.demarc.ask(&["spans", "down", "Span1", "--yes"]).0, 0);
    lync.expect("BYE").answer(200, "OK", "");
    stage.demarc.idle();
}

/// Three T1s of one D channel, with a second one that stands by (NFAS): calls go over the line that has none.
#[test]
fn calls_of_a_group_live_on_while_its_d_channel_moves_to_the_backup_and_back() {
    let t1 = |number: u8, more: &str| format!("[Span{number}]\nCountryCode=1\nHunt=descending\n{more}");
    let stage = with_lines(&format!(
        "{}{}{}",
        t1(1, ""),
        t1(2, "DChannel=backup Span1\nInterface=1\n"),
        t1(3, "DChannel=Span1\nInterface=2\n")
    ));
    let slots = |state: &str| -> Vec<(u64, u64)> {
        let (shown, mut found) = (spans(&stage), Vec::new());
        for (span, view) in (1..).zip(shown.as_array().unwrap()) {
            let slots = view["timeslots"].as_array().unwrap().iter().filter(|slot| slot["state"] == state);
            found.extend(slots.map(|slot| (span, slot["timeslot"].as_u64().unwrap())));
        }
        found
    };
    let links = || [0, 1].map(|span| spans(&stage)[span]["d_channel"].clone());
    let restarted = || stage.demarc.log().matches("timeslots were restarted by the far end").count() == 3;
    let both_up = || (links() == ["up", "up"] && restarted()).then_some(());
    until(seconds(8), "both D channels are up", both_up);
    assert_eq!(slots("idle").len(), 23 + 23 + 24);
    assert_eq!(slots("dchannel"), [(1, 24), (2, 24)]);

    let mut lync = Peer::calling(&stage.lab);
    let link = lync.connect(stage.demarc.lync);
    let mut first = lync.call(&link, "+13125556789", &Sdp::encrypted(lync.host, "sendrecv"));
    first.acknowledge(&lync.expect_within("200 INVITE", seconds(6)));
    assert_eq!(slots("out"), [(3, 24)], "the line without a D channel");

    assert_eq!(stage.demarc.ask(&["spans", "down", "Span1", "--yes"]).0, 0);
    stage.demarc.logs(&["the D channel of Span2 took over"]);
    let mut second = lync.call(&link, "+13125556789", &Sdp::encrypted(lync.host, "sendrecv"));
    second.acknowledge(&lync.expect_within("200 INVITE", seconds(6)));
    assert_eq!(slots("out"), [(3, 23), (3, 24)]);
    first.request("BYE", "", "");
    lync.expect("200 BYE");
    until(seconds(3), "its timeslot is idle", || (slots("out") == [(3, 23)]).then_some(()));

    assert_eq!(stage.demarc.ask(&["spans", "up", "Span1", "--yes"]).0, 0);
    until(seconds(30), "the first one stands by", || (links() == ["up", "up"]).then_some(()));
    assert_eq!(stage.demarc.ask(&["spans", "down", "Span2", "--yes"]).0, 0);
    stage.demarc.logs(&["the D channel of Span1 took over"]);
    assert_eq!(slots("out"), [(3, 23)], "its call lives on");
    second.request("BYE", "", "");
    lync.expect("200 BYE");
    stage.demarc.idle();
    until(seconds(3), "its timeslot is idle", || slots("out").is_empty().then_some(()));
}

/// The messages on a D channel that was captured: which way, what, to whom.
fn captured(file: &Path) -> Option<Vec<String>> {
    if !lab::installed("tshark", "tshark") {
        return None;
    }
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(file).args(["-Y", "q931", "-T", "fields", "-E", "separator= "]);
    for field in ["lapd.direction", "_ws.col.Info", "q931.called_party_number.digits"] {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn a_bad_simulated_line_calls_on_a_schedule_and_its_d_channel_is_captured() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("span1.pcap");
    let stage = with_lines(&format!(
        "[Span1]\nCountryCode=1\nBitErrors=1e-6\nFrameLoss=0.05\nSlips=600\nCapture={}\n\
         Calls=every 5s +12065550123 to {LYNC_NUMBER} for 1s\n",
        file.display()
    ));
    let ended = || (stage.demarc.metric("demarc_calls_total") >= 1.0).then_some(());
    until(seconds(20), "the exchange calls, and hangs up", ended);
    let (_, said, _) = stage.demarc.ask(&["trace", "last"]);
    assert!(said.contains("SETUP") && said.contains("Q.850 cause 16 (Normal call clearing)"), "{said}");
    let counters = spans(&stage)[0]["counters"].clone();
    for counter in ["slips", "code_violations", "frame_errors", "errored_seconds"] {
        assert!(counters[counter].as_u64() > Some(0), "{counter}: {counters}");
    }
    for verb in ["spans", "doctor"] {
        let (_, said, _) = stage.demarc.ask(&[verb]);
        assert!(said.contains(file.to_str().unwrap()), "{verb}: {said}");
    }
    let Some(messages) = captured(&file) else { return };
    let digits = LYNC_NUMBER.trim_start_matches("+1");
    assert!(
        messages.iter().any(|row| row.starts_with('1') && row.contains("SETUP") && row.ends_with(digits)),
        "{messages:?}"
    );
    assert!(messages.iter().any(|row| row.starts_with('0') && row.contains("CONNECT")), "{messages:?}");
    assert!(!stage.demarc.log().contains("2065550123"), "the schedule's numbers");
}

/// Noise of all octets goes out on a T1 whose far end says it back. What comes is compared frame by frame; whatever is not
/// as it was has a cause that is counted.
#[test]
fn octets_cross_a_line_and_come_back_as_they_were() {
    let plain = |setup: &mut Setup| (setup.srtp, setup.codecs) = ("NotSupported", "PCMU");
    let (stage, view) = once_up(with_lines_and("[Span1]\nCountryCode=1\nEchoTail=off\n", plain));
    let mut lync = Peer::calling(&stage.lab);
    let telephone = UdpSocket::bind((lync.host, 30_000)).unwrap();
    telephone.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut call = lync.call(&lync.connect(stage.demarc.lync), "+13125556789", &Sdp::plain(lync.host, "sendrecv"));
    call.acknowledge(&lync.expect_within("200 INVITE", seconds(6)));
    assert_eq!(view(&stage)["echo_canceller"], serde_json::Value::Null);
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let (mut said, mut heard, mut packet) = (Vec::<[u8; 160]>::new(), Vec::new(), [0; 1500]);
    let begun = Instant::now();
    while begun.elapsed() < seconds(7) {
        if let Ok((length, from)) = telephone.recv_from(&mut packet) {
            // RTP of 12 octets and PCMU.
            if length == 172 && packet[1] & 0x7f == 0 {
                heard.extend_from_slice(&packet[12..length]);
            }
            telephone.connect(from).unwrap();
        }
        let number = begun.elapsed().as_millis() as usize / 20;
        if number > said.len() && said.len() < 300 && telephone.peer_addr().is_ok() {
            let frame = std::array::from_fn(|_| noise());
            let number = said.len() as u16;
            let head =
                [&[0x80, 0][..], &number.to_be_bytes(), &(u32::from(number) * 160).to_be_bytes(), b"said"].concat();
            telephone.send(&[&head[..], &frame].concat()).unwrap();
            said.push(frame);
        }
    }
    let counted = |name: &str| {
        let calls = stage.demarc.calls();
        (0..2).map(|side| calls[0]["media"][side][name].as_u64().unwrap()).sum::<u64>()
    };
    until(seconds(6), "the counters are told", || (counted("received") == 300).then_some(()));
    let came: HashSet<&[u8]> = heard.windows(160).collect();
    let changed = said.iter().filter(|frame| !came.contains(&frame[..])).count() as u64;
    let [late, fitted, concealed] = ["underruns", "fitted", "concealed"].map(counted);
    println!(
        "{changed} of 300 frames changed; {fitted} pieces fitted, {concealed} packets concealed, {late} underruns"
    );
    assert!(changed <= 2 * (fitted + concealed) + 30 * late && changed < 100);
}

/// Two calls of a Lync user's to the exchange: it joins them, or one of its numbers will not.
#[test]
fn a_transfer_between_two_numbers_of_a_line_leaves_the_line_where_its_exchange_joins_them() {
    for (number, joined) in [("+13125553001", true), ("+13125557001", false)] {
        let (stage, view) = with_line_of("LineTransfer=auto\n");
        let mut lync = Peer::calling(&stage.lab);
        let link = lync.connect(stage.demarc.lync);
        let [mut first, second] = ["+13125552000", number].map(|number| {
            let mut call = lync.call(&link, number, &Sdp::encrypted(lync.host, "sendrecv"));
            call.acknowledge(&lync.expect_within("200 INVITE", seconds(15)));
            call
        });
        let replaces = second.replaces().replace('@', "%40").replace(';', "%3B").replace('=', "%3D");
        let target = format!("<sip:{number}@{}?Replaces={replaces}>", stage.demarc.lync.ip());
        first.request("REFER", &format!("Refer-To: {target}\r\n"), "");
        let mut ended = 0;
        while ended < 2 {
            let request = lync.any_within(&["NOTIFY", "BYE"], seconds(5));
            ended += usize::from(request.kind() == "BYE");
            request.answer(200, "OK", "");
        }
        let outcome = if joined { "result=\"reached\"" } else { "result=\"failed\"" };
        let counted = || {
            let mode = stage.demarc.metric_where("demarc_transfers_total", &format!("mode=\"line\",{outcome}"));
            (mode == 1.0).then_some(())
        };
        until(seconds(3), "the exchange has answered", counted);
        let busy = || {
            let shown = view(&stage);
            shown["timeslots"].as_array().unwrap().iter().filter(|slot| slot["state"] == "out").count()
        };
        if joined {
            stage.demarc.idle();
            until(seconds(1), "both timeslots are free", || (busy() == 0).then_some(()));
            stage.demarc.logs(&["call ended: transferred on the line"]);
        } else {
            assert_eq!((busy(), stage.demarc.calls().len()), (2, 1));
            stage.demarc.logs(&["the exchange refuses: the line is not subscribed to it; the call stays here"]);
        }
    }
}

#[test]
fn a_reload_says_which_lines_it_took_the_calls_from() {
    let (mut stage, _) = with_line();
    stage.setup.more += "EchoTail=off\nOverlap=4\n";
    stage.setup.write(&stage.lab);
    let (_, said, _) = stage.demarc.ask(&["reload"]);
    assert!(said.ends_with("live calls keep theirs\n"), "{said}");
    stage.setup.more += "Side=network\n";
    stage.setup.write(&stage.lab);
    let (code, said, _) = stage.demarc.ask(&["reload"]);
    assert!(code == 0 && said.contains("live calls keep theirs; but those on Span1 have ended"), "{code}: {said}");
    let (_, said, _) = stage.demarc.ask(&["reload"]);
    assert!(said.ends_with("live calls keep theirs\n"), "{said}");
}

#[test]
fn a_line_that_is_looped_back_meets_itself_on_its_d_channel() {
    let (stage, view) = with_line();
    let (_, said, _) = stage.demarc.ask(&["spans", "loop", "Span1", "local", "--yes"]);
    assert!(said.starts_with("done: Span1 hears itself instead of the far end"), "{said}");
    assert_eq!(view(&stage)["loop_back"], "local");
    // What is said on the D channel comes back.
    assert_eq!(stage.demarc.ask(&["spans", "restart", "Span1", "1", "--yes"]).0, 0);
    until(seconds(8), "its D channel says so", || view(&stage)["d_channel_fault"].as_str().map(str::to_owned));
    let (_, said, _) = stage.demarc.ask(&["spans"]);
    assert!(said.contains("looped back (local)") && said.contains("last fault: "), "{said}");
    assert_eq!(stage.demarc.ask(&["spans", "loop", "Span1", "off", "--yes"]).0, 0);
    assert_eq!(view(&stage)["loop_back"], serde_json::Value::Null);
}

// What the log keeps to itself.

/// Answered, refused and cancelled calls, both ways, with everything logged that can be logged.
#[test]
fn no_number_and_no_key_reaches_the_log() {
    let mut stage = Stage::set(|setup| setup.ports = (18_000, 18_003));
    let mut call = stage.connect();
    stage.refused(503);
    stage.lives(&mut call);
    stage.hang_up(&mut call);
    stage.demarc.idle();
    let lync = Peer::calling(&stage.lab);
    let link = lync.connect(stage.demarc.lync);
    // To a gateway that does not listen, and to a number that no route takes.
    for number in ["+13125556789", "+442079460000"] {
        lync.call(&link, number, &Sdp::encrypted(lync.host, "sendrecv"));
    }
    stage.demarc.logs(&["call ended", "result=\"failed\"", "[HybridVoiceRoutes]"]);
    stage.demarc.idle();
    let log = stage.demarc.log();
    assert!(log.matches("call begins").count() >= 4 && log.contains("DEBUG"), "{log}");
    for private in ["3125550100", "3125556789", "2079460000", "inline:", "WVNfX19z", "a=crypto"] {
        let line = log.lines().find(|line| line.contains(private));
        assert_eq!(line, None, "{private} stands in the log");
    }
}

#[test]
fn the_operator_may_have_numbers_in_the_log_and_never_keys() {
    let mut stage = Stage::set(|_| {});
    let quiet = std::fs::read_to_string(&stage.demarc.file).unwrap();
    std::fs::write(&stage.demarc.file, quiet + "[Logging]\nNumbers=shown\n").unwrap();
    assert_eq!(stage.demarc.ask(&["reload"]).0, 0);
    let mut call = stage.connect();
    stage.hang_up(&mut call);
    stage.demarc.logs(&["call begins", LYNC_NUMBER]);
    stage.demarc.idle();
    assert!(!stage.demarc.log().contains("inline:"));
}

/// Early media is agreed on and nothing comes in it while the called telephone rings.
#[test]
fn a_caller_with_silent_early_media_hears_its_countrys_ringing() {
    let lab = Lab::new();
    let mut lync = Peer::lync(&lab);
    let mut setup = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
    setup.media = vec!["Tones=de".to_owned()];
    let demarc = setup.start(&lab);
    let mut gateway = Peer::gateway(lab.net.host(3));
    let ear = UdpSocket::bind((gateway.host, 30_000)).unwrap();
    ear.set_read_timeout(Some(seconds(2))).unwrap();
    let link = gateway.connect(demarc.trunk);
    let mut call = gateway.call(&link, LYNC_NUMBER, &Sdp::plain(gateway.host, "sendrecv"));
    let invite = lync.expect("INVITE");
    invite.answer(183, "Session Progress", &Sdp::encrypted(lync.host, "sendrecv"));
    gateway.expect("183 INVITE");
    invite.answer(180, "Ringing", "");
    gateway.expect("180 INVITE");
    let mut heard = Vec::new();
    while heard.len() < 8000 {
        let mut packet = [0; 200];
        assert_eq!((ear.recv(&mut packet).unwrap(), packet[1] & 0x7f), (172, 0), "20 ms of PCMU");
        let mut sound = [0; 160];
        g711::decode(Law::Mu, &packet[12..172], &mut sound);
        heard.extend(sound);
    }
    assert!(lab::share(&heard, 425.0, 8000) > 0.9, "{}", lab::share(&heard, 425.0, 8000));
    call.cancel();
    lync.expect("CANCEL").answer(200, "OK", "");
    invite.answer(487, "Request Terminated", "");
    call.acknowledge_refusal(&gateway.expect("487 INVITE"));
    demarc.idle();
}
