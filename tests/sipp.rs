//! SIPp as the gateway, a scripted peer behind mutual TLS as the Microsoft side: one test, one story.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::net::{SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use demarc::media::codec::g711::{self, Law};
use demarc::wire::rtp::Header;
use lab::{BadLine, Demarc, Dialog, Gateway, Lab, Peer, Received, Scenario, Sdp, Setup, Sipp, seconds, until};

const GATEWAY_NUMBER: &str = "+13125556789";
const LYNC_NUMBER: &str = "+13125550100";
const BOTH: [&str; 2] = ["UDP", "TCP"];

/// The Microsoft side and the daemon; SIPp joins as each test wants it.
struct Stage {
    lync: Peer,
    demarc: Demarc,
    lab: Lab,
}

impl Stage {
    /// With as many gateways, at x.x.x.3, .4 and so on, reached by `protocol`.
    fn set(protocol: &'static str, gateways: u8) -> Option<Stage> {
        Stage::set_with(protocol, gateways, &[])
    }

    /// With one gateway and further sections.
    fn set_more(protocol: &'static str, more: &str) -> Option<Stage> {
        Stage::set_all(protocol, 1, &[], &[], more)
    }

    /// With gateways whose refusals are told by `[ResponseCodeRules A]`, which this text holds.
    fn set_with_rules(protocol: &'static str, gateways: u8, rules: &str) -> Option<Stage> {
        Stage::set_all(protocol, gateways, &["ResponseCodeRules=A"], &[], rules)
    }

    /// With lines of `[TrunkConfiguration]`.
    fn set_with(protocol: &'static str, gateways: u8, switches: &[&str]) -> Option<Stage> {
        Stage::set_each(protocol, gateways, &[], switches)
    }

    /// The same with lines for each gateway.
    fn set_each(protocol: &'static str, gateways: u8, each: &[&str], switches: &[&str]) -> Option<Stage> {
        Stage::set_all(protocol, gateways, each, switches, "")
    }

    fn set_all(
        protocol: &'static str,
        gateways: u8,
        each: &[&str],
        switches: &[&str],
        sections: &str,
    ) -> Option<Stage> {
        if !lab::installed("sipp", "sip-tester") {
            return None;
        }
        let lab = Lab::new();
        let lync = Peer::lync(&lab);
        let more: Vec<String> = each.iter().map(|&line| line.to_owned()).collect();
        let gateway = |n| Gateway { more: more.clone(), ..Gateway::new(lab.net.at(3 + n, 5060), protocol) };
        let list: Vec<Gateway> = (0..gateways).map(gateway).collect();
        let mut setup = Setup::new(lync.address, &list);
        let silence = ["OptionsInterval=0"];
        let asked = switches.iter().any(|line| line.starts_with("OptionsInterval="));
        let silence = if asked { &[][..] } else { &silence };
        setup.trunk_configuration = silence.iter().chain(switches).map(|&line| line.to_owned()).collect();
        setup.more = sections.to_owned();
        let demarc = setup.start(&lab);
        Some(Stage { lync, demarc, lab })
    }

    /// A gateway that plays a scenario.
    fn gateway(&self, name: &str, protocol: &str) -> Sipp {
        self.nth_gateway(0, name, protocol, &[])
    }

    /// The gateway at x.x.x.(3 + n), with values for its scenario.
    fn nth_gateway(&self, n: u8, name: &str, protocol: &str, keys: &[(&str, &str)]) -> Sipp {
        let local = self.lab.net.at(3 + n, 5060);
        Sipp::start(&self.lab, &Scenario { name, local, protocol, calls: None, keys })
    }

    /// The gateway calls the Microsoft side.
    fn caller(&self, name: &str, protocol: &str) -> Sipp {
        let (local, calls) = (self.lab.net.at(3, 5060), Some(self.demarc.trunk));
        let keys = [("number", LYNC_NUMBER)];
        Sipp::start(&self.lab, &Scenario { name, local, protocol, calls, keys: &keys })
    }

    /// The Microsoft side calls the gateway.
    fn call(&self) -> Dialog {
        let link = self.lync.connect(self.demarc.lync);
        self.lync.call(&link, GATEWAY_NUMBER, &self.sdp("sendrecv"))
    }

    fn sdp(&self, direction: &str) -> String {
        Sdp::encrypted(self.lync.host, direction)
    }

    /// Calls, is answered, acknowledges.
    #[track_caller]
    fn connect(&mut self) -> Dialog {
        let mut call = self.call();
        let answer = self.lync.expect_within("200 INVITE", seconds(8));
        judge_answer(&answer);
        call.acknowledge(&answer);
        call
    }

    /// The Microsoft side hangs up.
    #[track_caller]
    fn hang_up(&mut self, call: &mut Dialog) {
        call.request("BYE", "", "");
        self.lync.expect("200 BYE");
    }
}

/// An answer to the Microsoft side: encrypted media, the time of day, who we are.
#[track_caller]
fn judge_answer(answer: &Received) {
    assert!(answer.body.contains("RTP/SAVP"), "an encrypted stream is never answered plainly:\n{}", answer.body);
    assert!(answer.body.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"), "{}", answer.body);
    assert!(answer.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{:?}", answer.headers);
    assert!(
        answer.header("Server").is_some_and(|name| name.starts_with("RTCC/7.0.0.0 demarc/")),
        "{:?}",
        answer.headers
    );
}

/// A refusal toward the Microsoft side tells the cause twice over, and the time of day.
#[track_caller]
fn judge_refusal(answer: &Received, cause: &str) {
    let reason = answer.header("Reason").unwrap_or_default();
    assert!(reason.contains(&format!("Q.850;cause={cause}")), "Reason is {reason:?}");
    assert!(answer.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{:?}", answer.headers);
    assert!(answer.header("ms-diagnostics").is_some(), "{:?}", answer.headers);
}

// The Microsoft side calls.

#[test]
fn early_media_then_the_answer() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.gateway("gateway_early_media", protocol);
        let mut call = stage.call();
        let early = stage.lync.expect("183 INVITE");
        assert!(early.body.contains("RTP/SAVP"), "early media is offered to the caller:\n{}", early.body);
        let answer = stage.lync.expect("200 INVITE");
        judge_answer(&answer);
        call.acknowledge(&answer);
        gateway.expect("ACK");
        stage.hang_up(&mut call);
        gateway.expect("BYE");
        assert_eq!(gateway.account(), ["INVITE", "ACK", "BYE"], "over {protocol}");
        stage.demarc.idle();
    }
}

#[test]
fn ringing_then_the_answer() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.gateway("gateway_rings", protocol);
        let mut call = stage.call();
        stage.lync.any_within(&["180 INVITE", "183 INVITE"], seconds(5));
        let answer = stage.lync.expect("200 INVITE");
        judge_answer(&answer);
        call.acknowledge(&answer);
        gateway.expect("ACK");
        stage.hang_up(&mut call);
        gateway.expect("BYE");
        assert_eq!(gateway.account(), ["INVITE", "ACK", "BYE"], "over {protocol}");
        stage.demarc.idle();
    }
}

#[test]
fn busy_is_told_and_no_other_gateway_tried() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 2) else { return };
        let keys = [("status", "486"), ("reason", "Busy Here")];
        let first = stage.nth_gateway(0, "gateway_refuses", protocol, &keys);
        let second = stage.nth_gateway(1, "gateway_rings", protocol, &[]);
        let mut call = stage.call();
        let answer = stage.lync.expect("486 INVITE");
        judge_refusal(&answer, "17");
        call.acknowledge_refusal(&answer);
        first.expect("ACK");
        stage.demarc.idle();
        assert!(second.account().is_empty(), "a busy number stays busy: {:?}", second.account());
    }
}

/// A rule makes of a busy line one that another gateway may do better; a cause that the gateway did not mean fits none.
#[test]
fn a_rule_sends_a_refused_call_to_the_second_gateway() {
    for (rule, tried) in [("486 => 503", true), ("486/34 => 503", false)] {
        let rules = format!("[ResponseCodeRules A]\nBusy={rule}\n");
        let Some(mut stage) = Stage::set_with_rules("TCP", 2, &rules) else { return };
        let keys = [("status", "486"), ("reason", "Busy Here")];
        let first = stage.nth_gateway(0, "gateway_refuses", "TCP", &keys);
        let second = stage.nth_gateway(1, "gateway_rings", "TCP", &[]);
        let mut call = stage.call();
        let answer = stage.lync.any_within(&["200 INVITE", "486 INVITE"], seconds(8));
        assert_eq!(answer.status() == Some(200), tried, "{rule}");
        first.expect("ACK");
        if tried {
            call.acknowledge(&answer);
            stage.hang_up(&mut call);
            second.expect("BYE");
        } else {
            call.acknowledge_refusal(&answer);
        }
        stage.demarc.idle();
    }
}

/// What a simulated line of `Gateway4`'s does is in the last digits of the number.
fn with_line() -> Option<Stage> {
    let line = "[Gateway4]\nKind=isdn\nSpan=Span1\nVoiceRoutes=LocalRoute\nResponseCodeRules=A\n\
                [Span1]\nCountryCode=1\n[ResponseCodeRules A]\nCongestion=0/42 => 486/17\n";
    let stage = Stage::set_all("TCP", 0, &[], &[], line)?;
    let up = || stage.demarc.metric("demarc_span_d_channel_up") == 1.0;
    until(seconds(8), "the line is up", || up().then_some(()));
    Some(stage)
}

#[test]
fn a_lines_refusal_comes_with_its_cause_or_as_the_rules_have_it() {
    let Some(mut stage) = with_line() else { return };
    let link = stage.lync.connect(stage.demarc.lync);
    for (digits, status, cause) in
        [("0001", 404, "1;"), ("0017", 486, "17"), ("0021", 403, "21"), ("0034", 503, "34"), ("0042", 486, "17")]
    {
        let mut call = stage.lync.call(&link, &format!("+1312555{digits}"), &stage.sdp("sendrecv"));
        let answer = stage.lync.expect(&format!("{status} INVITE"));
        judge_refusal(&answer, cause);
        call.acknowledge_refusal(&answer);
    }
    stage.demarc.idle();
    stage.demarc.logs(&["rule `Congestion` made 486, cause 17 of 503, cause 42"]);
}

/// The number answers, hangs up, and calls back a second later.
#[test]
fn a_line_that_calls_hears_the_cause_of_the_refusal() {
    for (status, reason, cause) in
        [(486, "", "17 (User busy)"), (480, "Reason: Q.850;cause=20\r\n", "20 (Subscriber absent)")]
    {
        let Some(mut stage) = with_line() else { return };
        let link = stage.lync.connect(stage.demarc.lync);
        let mut call = stage.lync.call(&link, "+13125556001", &stage.sdp("sendrecv"));
        call.acknowledge(&stage.lync.expect("200 INVITE"));
        let bye = stage.lync.expect("BYE");
        assert!(bye.header("Reason").is_some_and(|reason| reason.contains("Q.850;cause=16")), "{:?}", bye.headers);
        bye.answer(200, "OK", "");
        stage.lync.expect("INVITE").answer_with(status, "Refused", reason, "");
        stage.lync.expect("ACK");
        stage.demarc.idle();
        let (_, ladder, _) = stage.demarc.ask(&["trace", "last"]);
        let disconnect = ladder.lines().find(|row| row.contains("DISCONNECT")).unwrap_or_default();
        assert!(disconnect.contains(cause), "{ladder}");
    }
}

#[test]
fn who_was_called_before_who_answers_and_what_users_tell_goes_through() {
    for protocol in BOTH {
        let switches = ["ForwardCallHistory=True", "ForwardPAI=True"];
        let Some(mut stage) = Stage::set_with(protocol, 1, &switches) else { return };
        let gateway = stage.gateway("gateway_tells", protocol);
        let link = stage.lync.connect(stage.demarc.lync);
        let history = "History-Info: <sip:+13125550177@sip.contoso.com;user=phone?Reason=SIP;cause=302;text=\"Moved\">;index=1\r\n";
        let more = format!("{history}User-to-User: 0468656c6c6f;encoding=hex\r\n");
        let mut call = stage.lync.call_with(&link, GATEWAY_NUMBER, &more, &stage.sdp("sendrecv"));
        let rings = stage.lync.expect("180 INVITE");
        assert_eq!(rings.header("User-to-User"), Some("0472696e6773;encoding=hex;purpose=isdn-uui"));
        let answer = stage.lync.expect("200 INVITE");
        judge_answer(&answer);
        assert_eq!(answer.header("User-to-User"), Some("046869;encoding=hex;purpose=isdn-uui"));
        let bob = answer.header("P-Asserted-Identity").unwrap_or_default();
        assert!(bob.starts_with("\"Bob\" <sip:+13125550199@"), "{bob}");
        assert_eq!(answer.header("Privacy"), Some("id"));
        call.acknowledge(&answer);
        call.request("BYE", "User-to-User: 04627965\r\n", "");
        stage.lync.expect("200 BYE");
        gateway.expect("BYE 04627965;encoding=hex;purpose=isdn-uui");
        let us = stage.demarc.trunk.ip();
        let diversion = format!("<sip:+13125550177@{us};user=phone>;reason=unconditional;counter=1;privacy=off");
        let told = [diversion.as_str(), "INVITE 0468656c6c6f;encoding=hex;purpose=isdn-uui"];
        assert!(gateway.account().starts_with(&told.map(String::from)), "over {protocol}: {:?}", gateway.account());
        stage.demarc.idle();
    }
}

#[test]
fn the_second_gateway_takes_over_after_503() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 2) else { return };
        let keys = [("status", "503"), ("reason", "Service Unavailable")];
        let first = stage.nth_gateway(0, "gateway_refuses", protocol, &keys);
        let second = stage.nth_gateway(1, "gateway_rings", protocol, &[]);
        let mut call = stage.connect();
        assert_eq!(first.account(), ["INVITE", "ACK"], "over {protocol}");
        stage.hang_up(&mut call);
        second.expect("BYE");
        stage.demarc.idle();
    }
}

#[test]
fn the_last_503_is_told() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let keys = [("status", "503"), ("reason", "Service Unavailable")];
    let gateway = stage.nth_gateway(0, "gateway_refuses", "TCP", &keys);
    let mut call = stage.call();
    let answer = stage.lync.any_within(&["503 INVITE", "504 INVITE", "500 INVITE"], seconds(5));
    judge_refusal(&answer, "");
    call.acknowledge_refusal(&answer);
    gateway.expect("ACK");
    stage.demarc.idle();
}

#[test]
fn the_second_gateway_takes_over_when_the_first_refuses_the_connection() {
    let Some(mut stage) = Stage::set("TCP", 2) else { return };
    let second = stage.nth_gateway(1, "gateway_rings", "TCP", &[]);
    let mut call = stage.connect();
    stage.hang_up(&mut call);
    second.expect("BYE");
    stage.demarc.idle();
}

#[test]
fn the_second_gateway_takes_over_after_silence() {
    for (protocol, switches, limit) in [("UDP", &[][..], 10), ("TCP", &["FastFailoverTimeout=2s"], 2)] {
        let Some(mut stage) = Stage::set_with(protocol, 2, switches) else { return };
        let first = stage.nth_gateway(0, "gateway_is_silent", protocol, &[]);
        let second = stage.nth_gateway(1, "gateway_rings", protocol, &[]);
        let begin = Instant::now();
        let mut call = stage.call();
        let answer = stage.lync.expect_within("200 INVITE", seconds(14));
        let waited = begin.elapsed();
        assert!(waited > seconds(limit - 1) && waited < seconds(limit + 3), "failover after {waited:?}");
        call.acknowledge(&answer);
        stage.hang_up(&mut call);
        second.expect("BYE");
        assert_eq!(first.account(), ["INVITE"], "over {protocol}");
        stage.demarc.idle();
    }
}

#[test]
fn the_caller_gives_up_while_it_rings() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.gateway("gateway_is_cancelled", protocol);
        let mut call = stage.call();
        stage.lync.any_within(&["180 INVITE", "183 INVITE"], seconds(5));
        call.cancel();
        stage.lync.expect("200 CANCEL");
        let answer = stage.lync.expect("487 INVITE");
        call.acknowledge_refusal(&answer);
        gateway.expect("ACK");
        assert_eq!(gateway.account(), ["INVITE", "CANCEL", "ACK"], "over {protocol}");
        stage.demarc.idle();
    }
}

/// The 200 is on its way when the CANCEL arrives: the gateway must get its ACK, and a BYE.
#[test]
fn the_callers_cancel_crosses_the_answer() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.gateway("gateway_answers_into_cancel", protocol);
        let mut call = stage.call();
        stage.lync.any_within(&["180 INVITE", "183 INVITE"], seconds(5));
        call.cancel();
        stage.lync.expect("200 CANCEL");
        let answer = stage.lync.expect("487 INVITE");
        call.acknowledge_refusal(&answer);
        gateway.expect("BYE");
        assert_eq!(gateway.account(), ["INVITE", "CANCEL", "ACK", "BYE"], "over {protocol}");
        stage.demarc.idle();
    }
}

#[test]
fn the_gateway_holds_and_takes_up_again() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.gateway("gateway_holds", protocol);
        let mut call = stage.connect();
        let hold = stage.lync.expect("INVITE");
        assert!(["a=inactive", "a=sendonly"].iter().any(|line| hold.body.contains(line)), "a hold:\n{}", hold.body);
        hold.answer(200, "OK", &stage.sdp(if hold.body.contains("a=inactive") { "inactive" } else { "recvonly" }));
        stage.lync.expect("ACK");
        gateway.expect("held");
        let resume = stage.lync.expect("INVITE");
        assert!(
            !["a=inactive", "a=sendonly"].iter().any(|line| resume.body.contains(line)),
            "no hold:\n{}",
            resume.body
        );
        resume.answer(200, "OK", &stage.sdp("sendrecv"));
        stage.lync.expect("ACK");
        gateway.expect("resumed");
        stage.hang_up(&mut call);
        gateway.expect("BYE");
        stage.demarc.idle();
    }
}

/// `DTMF=info`: on both sides: a digit goes through each way, and what is not a digit is refused with what is known.
#[test]
fn digits_travel_in_info() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set_with(protocol, 1, &["DTMF=info"]) else { return };
        let gateway = stage.gateway("gateway_presses", protocol);
        let mut call = stage.connect();
        call.press('7');
        stage.lync.expect("200 INFO");
        gateway.expect("heard 7");
        let pressed = stage.lync.expect("INFO");
        assert_eq!(pressed.header("Content-Type"), Some("application/dtmf-relay"));
        assert_eq!(pressed.body, "Signal=5\r\nDuration=200\r\n");
        pressed.answer(200, "OK", "");
        gateway.expect("pressed 5");
        gateway.expect("not known");
        stage.lync.refute("INFO", Duration::from_millis(300));
        stage.hang_up(&mut call);
        gateway.expect("BYE");
        assert_eq!(gateway.account(), ["INVITE", "ACK", "heard 7", "pressed 5", "not known", "BYE"], "over {protocol}");
        stage.demarc.idle();
    }
}

/// RFC 4028: the gateway refreshes by re-INVITE and by UPDATE; an interval below 90 s is refused with 422.
#[test]
fn the_gateway_refreshes_its_session() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.gateway("gateway_refreshes", protocol);
        let mut call = stage.connect();
        gateway.expect("refreshed by INVITE");
        gateway.expect("refreshed by UPDATE");
        gateway.expect("too small");
        stage.lync.refute("BYE", Duration::from_millis(300));
        stage.hang_up(&mut call);
        gateway.expect("BYE");
        stage.demarc.idle();
    }
}

/// RFC 4028: with an interval of 90 s the refresh is due after 45.
#[test]
fn we_refresh_the_gateways_session() {
    let switches = ["EnableSessionTimer=True", "RTCPActiveCalls=False", "RTCPCallsOnHold=False"];
    let Some(mut stage) = Stage::set_with("TCP", 1, &switches) else { return };
    let gateway = stage.gateway("gateway_is_refreshed", "TCP");
    let mut call = stage.connect();
    gateway.expect_within("refreshed", seconds(60));
    sleep(seconds(1));
    stage.hang_up(&mut call);
    gateway.expect("BYE");
    stage.demarc.idle();
}

/// A line that loses the first message of every kind and repeats all others.
fn bad_line(lab: &Lab, daemon: SocketAddr) -> (BadLine, SocketAddr, SocketAddr) {
    let (front, back, gateway) = (lab.net.at(3, 5060), lab.net.at(13, 5062), lab.net.at(13, 5060));
    (BadLine::lay(daemon, front, back, gateway), back, gateway)
}

#[test]
fn lost_and_repeated_messages_do_no_harm() {
    let Some(mut stage) = Stage::set("UDP", 1) else { return };
    let (_line, _, local) = bad_line(&stage.lab, stage.demarc.trunk);
    let contact = stage.lab.net.at(3, 5060).to_string();
    let keys = [("contact", contact.as_str())];
    let scenario = Scenario { name: "gateway_on_a_bad_line", local, protocol: "UDP", calls: None, keys: &keys };
    let gateway = Sipp::start(&stage.lab, &scenario);
    let mut call = stage.connect();
    gateway.expect("ACK");
    stage.hang_up(&mut call);
    gateway.expect("BYE");
    assert_eq!(gateway.account(), ["INVITE", "ACK", "BYE"]);
    stage.demarc.idle();
}

#[test]
fn lost_and_repeated_messages_of_a_caller_do_no_harm() {
    let Some(mut stage) = Stage::set("UDP", 1) else { return };
    let (_line, back, local) = bad_line(&stage.lab, stage.demarc.trunk);
    let contact = stage.lab.net.at(3, 5060).to_string();
    let keys = [("contact", contact.as_str()), ("number", LYNC_NUMBER)];
    let scenario = Scenario { name: "caller_on_a_bad_line", local, protocol: "UDP", calls: Some(back), keys: &keys };
    let gateway = Sipp::start(&stage.lab, &scenario);
    let invite = stage.lync.expect("INVITE");
    stage.lync.refute("INVITE", Duration::from_millis(800));
    invite.answer(200, "OK", &stage.sdp("sendrecv"));
    stage.lync.expect("ACK");
    stage.lync.expect_within("BYE", seconds(10)).answer(200, "OK", "");
    gateway.finish(seconds(10));
    stage.demarc.idle();
}

/// Neither messages nor media come any more: the dead call is found within 30 s and the other side told.
#[test]
fn a_gateway_disappears_in_the_middle_of_a_call() {
    // Both at once: the watch takes its 30 s whatever is configured.
    let disappears = |protocol| {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let mut gateway = stage.gateway("gateway_rings", protocol);
        let _call = stage.connect();
        gateway.expect("ACK");
        gateway.cut();
        let bye = stage.lync.expect_within("BYE", seconds(40));
        assert!(bye.header("Reason").is_some_and(|reason| reason.contains("Q.850;cause=41")), "{:?}", bye.headers);
        bye.answer(200, "OK", "");
        stage.demarc.idle_within(seconds(40));
    };
    std::thread::scope(|scope| {
        BOTH.map(|protocol| scope.spawn(move || disappears(protocol))).map(|t| t.join().unwrap())
    });
}

/// The caller hangs up while the gateway cannot be reached: its call is over at once, ours soon.
#[test]
fn hanging_up_on_a_gateway_that_is_gone() {
    let Some(mut stage) = Stage::set("UDP", 1) else { return };
    let mut gateway = stage.gateway("gateway_rings", "UDP");
    let mut call = stage.connect();
    gateway.expect("ACK");
    gateway.cut();
    stage.hang_up(&mut call);
    stage.demarc.idle_within(seconds(40));
}

#[test]
fn an_answer_without_a_common_codec_ends_both_legs() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let gateway = stage.gateway("gateway_without_a_common_codec", "TCP");
    let mut call = stage.call();
    let answer = stage.lync.any_within(&["488 INVITE", "500 INVITE", "502 INVITE", "503 INVITE"], seconds(5));
    judge_refusal(&answer, "");
    call.acknowledge_refusal(&answer);
    gateway.expect("BYE");
    assert_eq!(gateway.account(), ["INVITE", "ACK", "BYE"]);
    stage.demarc.idle();
}

// What the Microsoft side may not do.

#[test]
fn an_offer_without_keys_is_refused() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let link = stage.lync.connect(stage.demarc.lync);
    let mut call = stage.lync.call(&link, GATEWAY_NUMBER, &Sdp::plain(stage.lync.host, "sendrecv"));
    let answer = stage.lync.expect("488 INVITE");
    judge_refusal(&answer, "");
    call.acknowledge_refusal(&answer);
    stage.demarc.idle();
}

#[test]
fn an_offer_without_a_common_codec_is_refused() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let link = stage.lync.connect(stage.demarc.lync);
    let media = "m=audio 30000 RTP/SAVP 18\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 \
                 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^31\r\na=rtpmap:18 G729/8000\r\n";
    let mut call = stage.lync.call(&link, GATEWAY_NUMBER, &Sdp::of(stage.lync.host, "sendrecv", media));
    let answer = stage.lync.expect("488 INVITE");
    judge_refusal(&answer, "");
    call.acknowledge_refusal(&answer);
    stage.demarc.idle();
}

#[test]
fn a_number_that_no_route_takes_is_refused() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let gateway = stage.gateway("gateway_rings", "TCP");
    let link = stage.lync.connect(stage.demarc.lync);
    let mut call = stage.lync.call(&link, "+442079460000", &stage.sdp("sendrecv"));
    let answer = stage.lync.any_within(&["404 INVITE", "403 INVITE", "484 INVITE"], seconds(5));
    judge_refusal(&answer, "");
    call.acknowledge_refusal(&answer);
    assert!(gateway.account().is_empty());
    stage.demarc.idle();
}

// The gateway calls.

#[test]
fn a_gateway_calls_and_hangs_up() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.caller("caller_calls", protocol);
        let invite = stage.lync.expect("INVITE");
        assert!(invite.uri().contains(LYNC_NUMBER), "called {}", invite.uri());
        assert!(invite.body.contains("RTP/SAVP"), "{}", invite.body);
        assert!(invite.header("Date").is_some(), "{:?}", invite.headers);
        invite.answer(180, "Ringing", "");
        gateway.expect("180");
        invite.answer(200, "OK", &stage.sdp("sendrecv"));
        stage.lync.expect("ACK");
        let bye = stage.lync.expect("BYE");
        assert!(bye.header("Reason").is_some_and(|reason| reason.contains("Q.850;cause=16")), "{:?}", bye.headers);
        bye.answer(200, "OK", "");
        gateway.finish(seconds(5));
        stage.demarc.idle();
    }
}

#[test]
fn a_calling_gateway_hears_busy() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.caller("caller_is_refused", protocol);
        let invite = stage.lync.expect("INVITE");
        invite.answer(486, "Busy Here", "");
        stage.lync.expect("ACK");
        gateway.finish(seconds(5));
        stage.demarc.idle();
    }
}

/// American busy tone: two pitches, half a second on and half a second off.
#[test]
fn a_calling_gateway_hears_the_busy_tone_first() {
    let more = "[Announcements]\nBusy=busy\nLongest=2s\n";
    let Some(mut stage) = Stage::set_more(BOTH[0], more) else { return };
    let ear = UdpSocket::bind(stage.lab.net.at(3, 30_000)).unwrap();
    ear.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let gateway = stage.caller("caller_is_refused", BOTH[0]);
    let invite = stage.lync.expect("INVITE");
    invite.answer(486, "Busy Here", "");
    let refused = Instant::now();
    stage.lync.expect("ACK");
    gateway.expect("183");
    let (mut packet, mut sound) = ([0; 1500], Vec::new());
    while gateway.account().iter().all(|line| !line.contains("486")) && refused.elapsed() < seconds(5) {
        let Ok(length) = ear.recv(&mut packet) else { continue };
        if let Some(header) = Header::read(&packet[..length]).filter(|header| header.payload_type == 0) {
            let mut samples = [0; 160];
            g711::decode(Law::Mu, &packet[header.length..length], &mut samples);
            sound.extend(samples);
        }
    }
    assert!((1900..2900).contains(&refused.elapsed().as_millis()), "{:?}", refused.elapsed());
    assert!((14_000..=16_200).contains(&sound.len()), "{} samples", sound.len());
    for (half, on) in sound.chunks_exact(4000).zip([true, false].into_iter().cycle()) {
        let found = [480.0, 620.0].map(|hertz| lab::share(&half[200..3800], hertz, 8000));
        assert_eq!(found.map(|share| share > 0.3), [on; 2], "{found:?}");
    }
    gateway.finish(seconds(5));
    stage.demarc.idle();
}

#[test]
fn a_calling_gateway_gives_up() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set(protocol, 1) else { return };
        let gateway = stage.caller("caller_cancels", protocol);
        let invite = stage.lync.expect("INVITE");
        invite.answer(180, "Ringing", "");
        let cancel = stage.lync.expect("CANCEL");
        cancel.answer(200, "OK", "");
        invite.answer(487, "Request Terminated", "");
        stage.lync.expect("ACK");
        gateway.finish(seconds(5));
        stage.demarc.idle();
    }
}

#[test]
fn a_calling_gateway_that_repeats_itself_makes_one_call() {
    let Some(mut stage) = Stage::set("UDP", 1) else { return };
    let gateway = stage.caller("caller_repeats_itself", "UDP");
    let invite = stage.lync.expect("INVITE");
    stage.lync.refute("INVITE", Duration::from_millis(300));
    invite.answer(200, "OK", &stage.sdp("sendrecv"));
    stage.lync.expect("ACK");
    let bye = stage.lync.expect("BYE");
    bye.answer(200, "OK", "");
    gateway.finish(seconds(5));
    stage.lync.refute("BYE", Duration::from_millis(200));
    stage.demarc.idle();
}

#[test]
fn the_microsoft_side_hangs_up_on_a_calling_gateway() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let mut gateway = Peer::gateway(stage.lab.net.host(3));
    let link = gateway.connect(stage.demarc.trunk);
    let mut outer = gateway.call(&link, LYNC_NUMBER, &Sdp::plain(gateway.host, "sendrecv"));
    let invite = stage.lync.expect("INVITE");
    invite.answer(200, "OK", &stage.sdp("sendrecv"));
    let mut inner = Dialog::called(&invite);
    stage.lync.expect("ACK");
    let answer = gateway.expect("200 INVITE");
    assert!(answer.body.contains("RTP/AVP"), "{}", answer.body);
    outer.acknowledge(&answer);
    inner.request("BYE", "", "");
    stage.lync.expect("200 BYE");
    gateway.expect("BYE").answer(200, "OK", "");
    stage.demarc.idle();
}

/// RFC 4028 section 9: the answer to an interval below our smallest is 422 with Min-SE.
#[test]
fn a_calling_gateways_interval_is_too_small() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let mut gateway = Peer::gateway(stage.lab.net.host(3));
    let link = gateway.connect(stage.demarc.trunk);
    let extra = "Supported: timer\r\nSession-Expires: 30\r\n";
    let mut call = gateway.call_with(&link, LYNC_NUMBER, extra, &Sdp::plain(gateway.host, "sendrecv"));
    let answer = gateway.expect("422 INVITE");
    assert_eq!(answer.header("Min-SE"), Some("90"));
    call.acknowledge_refusal(&answer);
    stage.lync.refute("INVITE", Duration::from_millis(200));
    stage.demarc.idle();
}

/// Who is not in the configuration gets no call through.
#[test]
fn a_stranger_gets_no_call_through() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let stranger = Peer::gateway(stage.lab.net.host(99));
    let link = stranger.connect(stage.demarc.trunk);
    stranger.call(&link, LYNC_NUMBER, &Sdp::plain(stranger.host, "sendrecv"));
    stage.lync.refute("INVITE", seconds(1));
    stage.demarc.idle();
}

// OPTIONS.

#[test]
fn a_trunk_is_up_while_its_options_are_answered() {
    let Some(stage) = Stage::set_with("UDP", 1, &["OptionsInterval=1s"]) else { return };
    let trunk_up = |stage: &Stage| stage.demarc.metric_where("demarc_trunk_up", "Gateway1");
    let mut gateway = stage.gateway("gateway_rings", "UDP");
    until(seconds(10), "the trunk is up", || (trunk_up(&stage) == 1.0).then_some(()));
    gateway.cut();
    until(seconds(45), "the trunk is down", || (trunk_up(&stage) == 0.0).then_some(()));
}

#[test]
fn options_are_answered_on_both_sides() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let link = stage.lync.connect(stage.demarc.lync);
    stage.lync.probe(&link);
    let answer = stage.lync.expect("200 OPTIONS");
    assert!(answer.header("Allow").is_some_and(|allow| allow.contains("INVITE")), "{:?}", answer.headers);
    let mut gateway = Peer::gateway(stage.lab.net.host(3));
    let link = gateway.connect(stage.demarc.trunk);
    gateway.probe(&link);
    gateway.expect("200 OPTIONS");
}

// The scenarios themselves, with nothing between caller and gateway.

#[test]
fn the_scenarios_alone() {
    if !lab::installed("sipp", "sip-tester") {
        return;
    }
    let pairs = [
        ("caller_calls", "gateway_early_media", "UDP", &["INVITE", "ACK", "BYE"][..]),
        ("caller_calls", "gateway_early_media", "TCP", &["INVITE", "ACK", "BYE"]),
        ("caller_calls", "gateway_rings", "TCP", &["INVITE", "ACK", "BYE"]),
        ("caller_cancels", "gateway_is_cancelled", "UDP", &["INVITE", "CANCEL", "ACK"]),
        ("caller_repeats_itself", "gateway_rings", "UDP", &["INVITE", "ACK", "BYE"]),
    ];
    for (caller, gateway, protocol, account) in pairs {
        let lab = Lab::new();
        let address = lab.net.at(3, 5060);
        let there = Scenario { name: gateway, local: address, protocol, calls: None, keys: &[] };
        let there = Sipp::start(&lab, &there);
        let keys = [("number", GATEWAY_NUMBER)];
        let here = Scenario { name: caller, local: lab.net.at(4, 5060), protocol, calls: Some(address), keys: &keys };
        Sipp::start(&lab, &here).finish(seconds(10));
        assert_eq!(there.account(), account, "{caller} and {gateway} over {protocol}\n{}", there.surprises());
    }
}

#[test]
fn the_bad_line_alone() {
    if !lab::installed("sipp", "sip-tester") {
        return;
    }
    let lab = Lab::new();
    let (there, here) = (lab.net.at(13, 5060), lab.net.at(1, 5060));
    let (front, back) = (lab.net.at(3, 5060), lab.net.at(13, 5062));
    let _line = BadLine::lay(here, front, back, there);
    let contact = front.to_string();
    let keys = [("contact", contact.as_str()), ("number", GATEWAY_NUMBER)];
    let protocol = "UDP";
    let gateway = Scenario { name: "gateway_on_a_bad_line", local: there, protocol, calls: None, keys: &keys };
    let gateway = Sipp::start(&lab, &gateway);
    let caller = Scenario { name: "caller_calls", local: here, protocol, calls: Some(front), keys: &keys };
    Sipp::start(&lab, &caller).finish(seconds(15));
    assert_eq!(gateway.account(), ["INVITE", "ACK", "BYE"], "{}", gateway.surprises());
}

/// A scenario that needs a partner with a mind of its own: the scripted peer, over TCP.
fn alone(name: &str) -> Option<(Sipp, Peer, Dialog, Lab)> {
    if !lab::installed("sipp", "sip-tester") {
        return None;
    }
    let lab = Lab::new();
    let local = lab.net.at(3, 5060);
    let gateway = Sipp::start(&lab, &Scenario { name, local, protocol: "TCP", calls: None, keys: &[] });
    let peer = Peer::gateway(lab.net.host(4));
    let link = peer.connect(local);
    let call = peer.call(&link, GATEWAY_NUMBER, &Sdp::plain(peer.host, "sendrecv"));
    Some((gateway, peer, call, lab))
}

// The Microsoft side transfers its call; the gateway is never asked more than to hold and resume.

/// Signed, as a front end writes it.
const REFERRED_BY: &str = "<sip:alice@contoso.com>;ms-referee-uri=\"sip:+13125556789@contoso.com;user=phone\";ms-identity=\"MIIB:Fri, 20 Nov 2026 23:00:00 GMT\";ms-identity-alg=rsa-sha1";
/// This box transfers by itself.
const HANDLED: [&str; 1] = ["EnableReferSupport=False"];
/// A user, as its pool names it.
const BOB: &str = "sip:bob@contoso.com;gruu;opaque=user:epid:x";

impl Stage {
    /// The Microsoft side holds its call and refers the gateway to somebody; the INVITE to whom that is.
    #[track_caller]
    fn hold_and_refer(&mut self, call: &mut Dialog, refer_to: &str) -> Received {
        call.request("INVITE", "", &self.sdp("inactive"));
        let held = self.lync.expect("200 INVITE");
        call.acknowledge(&held);
        self.refer(call, refer_to);
        self.lync.expect("INVITE")
    }

    /// REFER, 202, `100 Trying`.
    #[track_caller]
    fn refer(&mut self, call: &mut Dialog, refer_to: &str) {
        call.request("REFER", &format!("Refer-To: <{refer_to}>\r\nReferred-By: {REFERRED_BY}\r\n"), "");
        self.lync.expect("202 REFER");
        self.notified("SIP/2.0 100 Trying", "active");
    }

    /// The transferor hears of the new call.
    #[track_caller]
    fn notified(&mut self, line: &str, state: &str) {
        let notify = self.lync.expect("NOTIFY");
        notify.answer(200, "OK", "");
        let mut told = notify.body.lines();
        assert_eq!((notify.header("Event"), told.next()), (Some("refer"), Some(line)));
        let why: Vec<&str> = told.filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
        assert_eq!(why.contains(&"Reason") && why.contains(&"ms-diagnostics"), line.as_bytes()[8] >= b'3', "{why:?}");
        let said = notify.header("Subscription-State").unwrap_or_default();
        assert!(said.starts_with(state), "{line} is said to be {said}");
    }

    /// Bob answers.
    #[track_caller]
    fn bob_answers(&mut self, invite: &Received) -> Dialog {
        invite.answer(200, "OK", &self.sdp("sendrecv"));
        self.lync.expect("ACK");
        Dialog::called(invite)
    }
}

#[test]
fn a_user_is_called_as_the_refer_says_and_the_gateway_resumed() {
    for protocol in BOTH {
        let Some(mut stage) = Stage::set_with(protocol, 1, &HANDLED) else { return };
        let gateway = stage.gateway("gateway_is_held", protocol);
        let mut call = stage.connect();
        let invite = stage.hold_and_refer(&mut call, BOB);
        assert_eq!(invite.uri(), BOB);
        assert_eq!(invite.header("Referred-By"), Some(REFERRED_BY));
        invite.answer(180, "Ringing", "");
        stage.notified("SIP/2.0 180 Ringing", "active");
        let mut bob = stage.bob_answers(&invite);
        stage.notified("SIP/2.0 200 OK", "terminated");
        gateway.expect("resumed");
        stage.lync.expect("BYE").answer(200, "OK", "");
        stage.hang_up(&mut bob);
        gateway.expect("BYE");
        assert_eq!(gateway.account(), ["INVITE", "ACK", "held", "resumed", "BYE"], "over {protocol}");
        stage.demarc.idle();
    }
}

#[test]
fn a_transferor_may_hang_up_right_after_the_202() {
    let Some(mut stage) = Stage::set_with("UDP", 1, &HANDLED) else { return };
    let gateway = stage.gateway("gateway_is_held", "UDP");
    let mut call = stage.connect();
    let invite = stage.hold_and_refer(&mut call, BOB);
    stage.hang_up(&mut call);
    sleep(seconds(1));
    assert_eq!(stage.demarc.calls().len(), 1, "the gateway waits for the target");
    let mut bob = stage.bob_answers(&invite);
    gateway.expect("resumed");
    stage.hang_up(&mut bob);
    gateway.expect("BYE");
    stage.demarc.idle();
}

#[test]
fn a_failing_target_leaves_the_call_to_be_resumed() {
    for (status, reason) in [(486, "Busy Here"), (429, "Provide Referrer Identity")] {
        let Some(mut stage) = Stage::set_with("TCP", 1, &HANDLED) else { return };
        let gateway = stage.gateway("gateway_is_held", "TCP");
        let mut call = stage.connect();
        let invite = stage.hold_and_refer(&mut call, BOB);
        invite.answer(status, reason, "");
        stage.notified(&format!("SIP/2.0 {status} {reason}"), "terminated");
        call.request("INVITE", "", &stage.sdp("sendrecv"));
        let resumed = stage.lync.expect("200 INVITE");
        assert!(resumed.body.contains("a=sendrecv"), "{}", resumed.body);
        call.acknowledge(&resumed);
        gateway.expect("resumed");
        stage.hang_up(&mut call);
        gateway.expect("BYE");
        stage.demarc.idle();
    }
}

#[test]
fn a_gateway_that_refuses_or_ignores_a_refer_loses_its_turn() {
    let cases = [("gateway_refuses_refer", "405"), ("gateway_refuses_refer", "501"), ("gateway_ignores_refer", "")];
    for (name, status) in cases {
        let Some(mut stage) = Stage::set("TCP", 1) else { return };
        let gateway = stage.nth_gateway(0, name, "TCP", &[("status", status), ("reason", "No")]);
        let mut call = stage.connect();
        let began = Instant::now();
        stage.refer(&mut call, BOB);
        gateway.expect("REFER");
        let invite = stage.lync.expect_within("INVITE", seconds(6));
        println!("{name} {status}: the target is called after {:?}", began.elapsed());
        assert_eq!(invite.uri(), BOB);
        let mut bob = stage.bob_answers(&invite);
        stage.notified("SIP/2.0 200 OK", "terminated");
        stage.lync.expect("BYE").answer(200, "OK", "");
        stage.hang_up(&mut bob);
        gateway.expect("BYE");
        stage.demarc.idle();
    }
}

#[test]
fn an_attended_transfer_joins_two_calls() {
    let Some(mut stage) = Stage::set("UDP", 1) else { return };
    let gateway = stage.gateway("gateway_is_joined", "UDP");
    let mut first = stage.connect();
    let second = stage.connect();
    let replaces = second.replaces().replace('@', "%40").replace(';', "%3B").replace('=', "%3D");
    let ours = stage.demarc.lync.ip();
    stage.refer(&mut first, &format!("sip:{GATEWAY_NUMBER}@{ours};user=phone?Replaces={replaces}"));
    stage.notified("SIP/2.0 200 OK", "terminated");
    for _ in 0..2 {
        stage.lync.expect("BYE").answer(200, "OK", "");
        gateway.expect("joined");
    }
    assert_eq!(stage.demarc.calls().len(), 1, "one call is left");
}

#[test]
fn a_consultation_call_that_rings_is_taken_over() {
    let Some(mut stage) = Stage::set_each("UDP", 2, &["MaxCalls=1"], &HANDLED) else { return };
    let here = stage.nth_gateway(0, "gateway_rings", "UDP", &[]);
    let there = stage.nth_gateway(1, "gateway_is_taken_over", "UDP", &[]);
    let mut first = stage.connect();
    stage.lync.any_within(&["180 INVITE", "183 INVITE"], seconds(1));
    let mut second = stage.call();
    let rings = stage.lync.any_within(&["180 INVITE", "183 INVITE"], seconds(5));
    second.learn(&rings);
    let replaces = second.replaces().replace('@', "%40").replace(';', "%3B").replace('=', "%3D");
    let ours = stage.demarc.lync.ip();
    stage.refer(&mut first, &format!("sip:{GATEWAY_NUMBER}@{ours};user=phone?Replaces={replaces}"));
    let ended = stage.lync.expect("487 INVITE");
    second.acknowledge_refusal(&ended);
    stage.notified("SIP/2.0 180 Ringing", "active");
    stage.notified("SIP/2.0 200 OK", "terminated");
    stage.lync.expect("BYE").answer(200, "OK", "");
    there.expect("joined");
    assert_eq!(there.account(), ["INVITE", "ACK", "joined"], "it was called once");
    assert_eq!(here.account(), ["INVITE", "ACK"], "it saw nothing");
    assert_eq!(stage.demarc.calls().len(), 1, "one call is left");
}

#[test]
fn an_invite_with_replaces_takes_over_a_call() {
    let Some(mut stage) = Stage::set("TCP", 1) else { return };
    let gateway = stage.gateway("gateway_rings", "TCP");
    let call = stage.connect();
    let link = stage.lync.connect(stage.demarc.lync);
    let replaces = format!("Replaces: {}\r\nRequire: replaces\r\n", call.replaces());
    let mut other = stage.lync.call_with(&link, GATEWAY_NUMBER, &replaces, &stage.sdp("sendrecv"));
    let answer = stage.lync.expect("200 INVITE");
    judge_answer(&answer);
    other.acknowledge(&answer);
    stage.lync.expect("BYE").answer(200, "OK", "");
    stage.hang_up(&mut other);
    gateway.expect("BYE");
    assert_eq!(gateway.account(), ["INVITE", "ACK", "BYE"], "the gateway saw nothing");
    stage.demarc.idle();
}

#[test]
fn the_hold_scenario_alone() {
    let Some((gateway, mut peer, mut call, _lab)) = alone("gateway_holds") else { return };
    call.acknowledge(&peer.expect("200 INVITE"));
    for direction in ["recvonly", "sendrecv"] {
        peer.expect("INVITE").answer(200, "OK", &Sdp::plain(peer.host, direction));
        peer.expect("ACK");
    }
    call.request("BYE", "", "");
    peer.expect("200 BYE");
    assert_eq!(gateway.account(), ["INVITE", "ACK", "held", "resumed", "BYE"], "{}", gateway.surprises());
}

#[test]
fn the_refresh_scenarios_alone() {
    let Some((gateway, mut peer, mut call, _lab)) = alone("gateway_refreshes") else { return };
    call.acknowledge(&peer.expect("200 INVITE"));
    let extra = "Session-Expires: 90;refresher=uac\r\n";
    peer.expect("INVITE").answer_with(200, "OK", extra, &Sdp::plain(peer.host, "sendrecv"));
    peer.expect("UPDATE").answer_with(200, "OK", extra, "");
    peer.expect("UPDATE").answer_with(422, "Session Interval Too Small", "Min-SE: 90\r\n", "");
    gateway.expect("too small");
    call.request("BYE", "", "");
    peer.expect("200 BYE");

    for method in ["UPDATE", "INVITE"] {
        let Some((gateway, mut peer, mut call, _lab)) = alone("gateway_is_refreshed") else { return };
        call.acknowledge(&peer.expect("200 INVITE"));
        call.request(method, "Session-Expires: 90;refresher=uac\r\n", "");
        let answer = peer.expect(&format!("200 {method}"));
        if method == "INVITE" {
            call.acknowledge(&answer);
        }
        gateway.expect("refreshed");
        call.request("BYE", "", "");
        peer.expect("200 BYE");
        assert_eq!(gateway.account(), ["INVITE", "ACK", "refreshed", "BYE"], "{}", gateway.surprises());
    }
}

#[test]
fn the_crossing_scenario_alone() {
    let Some((gateway, mut peer, mut call, _lab)) = alone("gateway_answers_into_cancel") else { return };
    peer.expect("180 INVITE");
    call.cancel();
    peer.expect("200 CANCEL");
    call.acknowledge(&peer.expect("200 INVITE"));
    call.request("BYE", "", "");
    peer.expect("200 BYE");
    assert_eq!(gateway.account(), ["INVITE", "CANCEL", "ACK", "BYE"], "{}", gateway.surprises());
}

/// OPTIONS may come at any time; the scenarios take no offence.
#[test]
fn the_scenarios_answer_options() {
    let Some((gateway, mut peer, mut call, lab)) = alone("gateway_rings") else { return };
    peer.probe(&peer.connect(lab.net.at(3, 5060)));
    peer.expect("200 OPTIONS");
    call.acknowledge(&peer.expect("200 INVITE"));
    call.request("BYE", "", "");
    peer.expect("200 BYE");
    assert_eq!(gateway.account(), ["INVITE", "ACK", "BYE"], "{}", gateway.surprises());
}

/// The scripted peer calls itself: both ends of mutual TLS are its own.
#[test]
fn the_scripted_peer_alone() {
    let lab = Lab::new();
    let mut peer = Peer::answering(&lab);
    let link = peer.connect(peer.address);
    let mut call = peer.call(&link, LYNC_NUMBER, &Sdp::encrypted(peer.host, "sendrecv"));
    peer.expect("180 INVITE");
    let answer = peer.expect("200 INVITE");
    assert!(answer.body.contains("RTP/SAVP"));
    call.acknowledge(&answer);
    call.request("BYE", "", "");
    peer.expect("200 BYE");
    peer.probe(&link);
    peer.expect("200 OPTIONS");
}
