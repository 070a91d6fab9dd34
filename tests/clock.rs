//! The clock among clocks: the daemon on a box whose time of day is wrong, jumps or drifts, among NTP servers that are
//! right (Debian's chronyd), wrong (the same under libfaketime), not synchronised, or hostile.

#![allow(clippy::unwrap_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::thread::sleep;
use std::time::SystemTime;

use lab::{
    Chrony, Demarc, Dialog, Gateway, Lab, Liar, Line, Message, Peer, Phone, Sdp, Setup, Wall, get, pesq, recording,
    samples, seconds, speech, until,
};
use nix::sys::signal::Signal;

const LYNC_NUMBER: &str = "+13125550100";
/// How far a measured offset may be from the truth.
const GRAIN: f64 = 0.020;

/// A box between a Microsoft side that takes every call and a gateway that is the test's own voice.
struct Stage {
    gateway: Peer,
    demarc: Demarc,
    _lync: Peer,
}

impl Stage {
    fn set(lab: &Lab, wall: &Wall, servers: &[String]) -> Stage {
        let lync = Peer::answering(lab);
        let mut setup = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
        setup.trunk_configuration = vec!["OptionsInterval=1s".to_owned()];
        setup.clock = vec![format!("Servers={}", servers.join(" "))];
        setup.environment = wall.environment().to_vec();
        let demarc = setup.start(lab);
        Stage { gateway: Peer::gateway(lab.net.host(3)), demarc, _lync: lync }
    }

    #[track_caller]
    fn connect(&mut self) -> (Dialog, Message) {
        let link = self.gateway.connect(self.demarc.trunk);
        let mut call = self.gateway.call(&link, LYNC_NUMBER, &Sdp::plain(self.gateway.host, "sendrecv"));
        let answer = self.gateway.expect("200 INVITE");
        call.acknowledge(&answer);
        (call, (*answer).clone())
    }

    /// A whole call, whose 200 must carry the true time.
    #[track_caller]
    fn call_says_the_true_time(&mut self) {
        let (mut call, answer) = self.connect();
        says_the_true_time(&answer);
        call.request("BYE", "", "");
        self.gateway.expect("200 BYE");
    }

    /// What `/api/clock` shows.
    #[track_caller]
    fn clock(&self) -> serde_json::Value {
        let (status, text) = get(self.demarc.web, "/api/clock").unwrap();
        assert_eq!(status, 200);
        serde_json::from_str(&text).unwrap()
    }

    #[track_caller]
    fn trusts(&self) {
        until(seconds(15), "the true time is known", || {
            (self.demarc.metric("demarc_clock_trusted") == 1.0).then_some(())
        });
    }

    /// The offset of one server in the metrics, if it is there.
    fn offset(&self, server: &str) -> Option<f64> {
        let (_, text) = get(self.demarc.web, "/metrics").unwrap();
        let name = format!("demarc_clock_offset_seconds{{source=\"{server}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
    }

    #[track_caller]
    fn offset_is(&self, server: &str, expected: f64) {
        let off = || self.offset(server).filter(|offset| (offset - expected).abs() < GRAIN);
        until(seconds(8), &format!("{server} is {expected} s away ({:?})", self.offset(server)), off);
    }
}

/// To the grain of a Date header and of a slow machine.
#[track_caller]
fn says_the_true_time(message: &Message) {
    let date = message.header("Date").unwrap();
    let said = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", date).unwrap().to_datetime().unwrap();
    let said = said.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((-1..=1).contains(&(now - said)), "Date: {date} is {} s behind", now - said);
}

/// To the grain of a measured offset.
#[track_caller]
fn says_the_step(demarc: &Demarc, seconds_ahead: f64) {
    let by =
        |line: &str| line.split_once("the system's clock was stepped")?.1.split_once("by_seconds=")?.1.parse().ok();
    until(seconds(8), &format!("a step by {seconds_ahead} s is said"), || {
        demarc.log().lines().filter_map(by).any(|by: f64| (by - seconds_ahead).abs() < GRAIN).then_some(())
    });
}

#[test]
fn a_box_that_is_thirty_seconds_ahead_says_the_true_time_among_all_kinds_of_servers() {
    let lab = Lab::new();
    if !Chrony::installed() {
        return;
    }
    let Some(wall) = Wall::ahead(&lab, 30.0, 0.0) else { return };
    let offsets = [Some("+0s"), Some("+0s"), Some("+0s"), Some("+30s"), Some("-120s"), None];
    let chronies: Vec<Chrony> = (10..).zip(offsets).map(|(last, offset)| Chrony::start(&lab, last, offset)).collect();
    let hostile = [
        Liar::start(&lab, 20, |answer, _| answer[31] ^= 1),
        Liar::start(&lab, 21, |answer, first| *answer = first.unwrap_or(*answer)),
        Liar::start(&lab, 22, |answer, _| {
            (answer[0], answer[1]) = (0xe4, 0);
            answer[12..16].copy_from_slice(b"DENY");
        }),
        Liar::start(&lab, 23, |answer, _| answer[40..].fill(0)),
    ];
    let addresses = chronies.iter().map(|chrony| chrony.address).chain(hostile.iter().map(|liar| liar.address));
    let servers: Vec<String> = addresses.map(|address| address.to_string()).collect();
    let mut stage = Stage::set(&lab, &wall, &servers);
    stage.trusts();
    for (server, expected) in servers.iter().zip([30.0, 30.0, 30.0, 0.0, 150.0]) {
        stage.offset_is(server, expected);
    }
    for (server, fault) in servers[5..].iter().zip([
        "it is not synchronised itself",
        "its answers belong to no query",
        "its answers belong to no query",
        "it refuses to serve us",
        "its timestamps are impossible",
    ]) {
        until(seconds(5), &format!("{server}: {fault}"), || {
            let clock = stage.clock();
            let found =
                clock["servers"].as_array().unwrap().iter().find(|one| one["name"] == **server).unwrap().clone();
            found["fault"].as_str().is_some_and(|text| text.starts_with(fault)).then_some(())
        });
    }
    stage.demarc.logs(&["clock alarm: we are 30.0 s ahead of", "transfers signed here would be refused"]);
    stage.demarc.logs(&["clock alarm: the NTP server", "is 120.0 s behind the others"]);
    let (_, alarms) = get(stage.demarc.web, "/api/alarms").unwrap();
    let alarms: Vec<serde_json::Value> = serde_json::from_str(&alarms).unwrap();
    let ours = alarms.iter().find(|alarm| alarm["severity"] == "minor").unwrap();
    assert!(
        ours["subject"] == "clock" && ours["what"].as_str().unwrap().starts_with("we are 30.0 s ahead of"),
        "{ours}"
    );
    assert!(ours["breaks"].as_str().unwrap().contains("transfers signed here would be refused"), "{ours}");
    assert!(ours["age_seconds"].as_f64().unwrap() < 60.0, "{ours}");
    let (_, status, _) = stage.demarc.ask(&["status"]);
    assert!(status.contains("MINOR clock, for ") && status.contains("corrected by -30.0"), "{status}");
    let clock = stage.clock();
    assert_eq!(clock["trust"], "good");
    // The lab's own chronyds, seen as /proc names them.
    assert_eq!(clock["kernel"]["keeper"], "chronyd");
    assert!((clock["offset_seconds"].as_f64().unwrap() - 30.0).abs() < GRAIN, "{clock}");
    stage.call_says_the_true_time();
}

#[test]
fn a_step_and_a_drift_under_a_live_call_go_unnoticed_by_it() {
    let lab = Lab::new();
    if !Chrony::installed() {
        return;
    }
    let Some(wall) = Wall::ahead(&lab, 0.0, 0.0) else { return };
    let chronies: Vec<Chrony> = (10..13).map(|last| Chrony::start(&lab, last, Some("+0s"))).collect();
    let servers: Vec<String> = chronies.iter().map(|chrony| chrony.address.to_string()).collect();
    let mut stage = Stage::set(&lab, &wall, &servers);
    stage.trusts();
    let (mut call, answer) = stage.connect();
    says_the_true_time(&answer);
    wall.set(30.0, 0.0);
    stage.call_says_the_true_time();
    says_the_step(&stage.demarc, 30.0);
    stage.demarc.logs(&["clock alarm: we are 30.0 s ahead of 3 servers"]);
    servers.iter().for_each(|server| stage.offset_is(server, 30.0));
    stage.call_says_the_true_time();
    wall.set(0.0, 500.0);
    stage.demarc.logs(&["clock alarm is over", "30.0 s ahead of 3 servers"]);
    let drift = until(seconds(25), "the drift is measured", || stage.clock()["drift_ppm"].as_f64());
    assert!((drift - 500.0).abs() < 25.0, "{drift} ppm");
    stage.demarc.logs(&["clock alarm: the system's clock gains", "s a day: in 3", "min"]);
    stage.call_says_the_true_time();
    call.request("UPDATE", "", "");
    stage.gateway.expect("200 UPDATE");
    call.request("BYE", "", "");
    stage.gateway.expect("200 BYE");
    stage.demarc.idle();
}

/// Two of baresip's telephones talk, one encrypted, while the clock is set forward and back by half a minute.
#[test]
fn speech_goes_on_through_a_step() {
    let lab = Lab::new();
    if !Chrony::installed() || !lab::installed("baresip", "baresip-core") {
        return;
    }
    let (Some(wall), Some(said_by_lync)) = (Wall::ahead(&lab, 0.0, 0.0), speech(&lab, "demo-congrats")) else { return };
    let Some(said_by_gateway) = speech(&lab, "demo-abouttotry") else { return };
    let chronies: Vec<Chrony> = (10..13).map(|last| Chrony::start(&lab, last, Some("+0s"))).collect();
    let servers: Vec<String> = chronies.iter().map(|chrony| chrony.address.to_string()).collect();
    let pcmu = "pcmu/8000/1";
    let mut lync = Phone::start(&lab, "lync", 0, LYNC_NUMBER, Line::Tls, pcmu, &said_by_lync);
    let mut gateway = Phone::start(&lab, "gateway", 1, "+13125556789", Line::Udp, pcmu, &said_by_gateway);
    let mut setup = Setup::new(lync.address, &[Gateway::new(gateway.address, "UDP")]);
    setup.clock = vec![format!("Servers={}", servers.join(" "))];
    setup.environment = wall.environment().to_vec();
    let demarc = setup.start(&lab);
    lync.dial(&format!("sip:+13125556789@{}", demarc.lync));
    lync.expect("CALL_ESTABLISHED");
    gateway.expect("CALL_ESTABLISHED");
    sleep(seconds(5));
    wall.set(30.0, 0.0);
    says_the_step(&demarc, 30.0);
    sleep(seconds(3));
    wall.set(0.0, 0.0);
    says_the_step(&demarc, -30.0);
    sleep(seconds(5));
    lync.command("hangup", "");
    gateway.expect("CALL_CLOSED");
    demarc.idle();
    let moved = |side: &str, way: &str| {
        let labels = format!("side=\"{side}\",direction=\"{way}\"");
        demarc.metric_where("demarc_rtp_packets_total", &labels)
    };
    // What came in on one side went out on the other, but for what was under way when the call ended.
    for (from, to) in [("lync", "Gateway1"), ("Gateway1", "lync")] {
        let (came, went) = (moved(from, "received"), moved(to, "sent"));
        assert!(came > 600.0 && came - went <= 2.0, "{came} came from {from}, {went} went to {to}");
    }
    assert_eq!(demarc.metric("demarc_rtp_lost_packets_total"), 0.0);
    for (who, said, heard) in
        [("the gateway", &said_by_lync, gateway.heard()), ("the Lync side", &said_by_gateway, lync.heard())]
    {
        let heard = samples(&heard);
        let (before, after) = heard.split_at(heard.len().min(5 * 8000));
        for (when, part) in [("before", before), ("after", after)] {
            let Some(verdict) = pesq(said, &recording(&lab, when, part)) else { return };
            assert!(verdict.pesq >= 4.0 && verdict.seconds >= 4.5, "{who} heard badly {when} the step: {verdict:?}");
        }
    }
}

#[test]
fn certificates_are_judged_by_the_true_time() {
    let lab = Lab::new();
    // Two years ahead every certificate of the lab has expired.
    let Some(wall) = Wall::ahead(&lab, 730.0 * 86_400.0, 0.0) else { return };
    let server = Liar::start(&lab, 10, |_, _| {});
    let mut stage = Stage::set(&lab, &wall, &[server.address.to_string()]);
    stage.trusts();
    stage.demarc.logs(&["up: ", "lync"]);
    stage.call_says_the_true_time();
    let (_, alarms) = get(stage.demarc.web, "/api/alarms").unwrap();
    assert!(!alarms.contains("certificate") && !stage.demarc.log().contains("certificate alarm"), "{alarms}");
}

#[test]
fn without_servers_it_is_said_once_until_a_reload_names_one() {
    let lab = Lab::new();
    let Some(wall) = Wall::ahead(&lab, -30.0, 0.0) else { return };
    let liar = Liar::start(&lab, 10, |_, _| {});
    let server = liar.address.to_string();
    let mut stage = Stage::set(&lab, &wall, &[]);
    assert_eq!(stage.clock()["trust"], "none");
    assert_eq!(stage.demarc.metric("demarc_clock_trusted"), 0.0);
    assert_eq!(stage.demarc.log().matches("[Clock] Servers is not set").count(), 1);
    let ini = std::fs::read_to_string(&stage.demarc.file).unwrap();
    std::fs::write(&stage.demarc.file, ini.replace("Servers=", &format!("Servers={server}"))).unwrap();
    stage.demarc.signal(Signal::SIGHUP);
    stage.trusts();
    stage.offset_is(&server, -30.0);
    stage.call_says_the_true_time();
}
