//! Gateways that tell of themselves beside their calls, well and badly: by REST, by a serial console, by SNMP traps.

#![allow(clippy::unwrap_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use lab::{Authority, Demarc, Gateway, Lab, Paper, Peer, Reply, Rest, Sdp, Setup, Tty, get, seconds, until};
use serde_json::Value;

/// A gateway of this class with further lines; nobody answers its SIP.
fn gateway(lab: &Lab, last: u8, lines: &[String]) -> Gateway {
    let more = [&["Kind=vx1200".to_owned()], lines].concat();
    Gateway { more, ..Gateway::new(lab.net.at(last, 5060), "TCP") }
}

/// What `/api/trunks` shows of a gateway.
fn shown(demarc: &Demarc, name: &str) -> Value {
    let (status, text) = get(demarc.web, "/api/trunks").unwrap();
    assert_eq!(status, 200);
    let trunks: Value = serde_json::from_str(&text).unwrap();
    trunks.as_array().unwrap().iter().find(|trunk| trunk["name"] == name).unwrap()["gateway"].clone()
}

/// The alarms of a line, `LOS RAI`; `None` while it is unknown.
fn alarms(demarc: &Demarc, name: &str, line: &str) -> Option<String> {
    let lines = shown(demarc, name)["lines"].clone();
    let line = lines.as_array()?.iter().find(|known| known["name"] == line)?.clone();
    Some(line["alarms"].as_array()?.iter().map(|alarm| alarm["alarm"].as_str().unwrap()).collect::<Vec<_>>().join(" "))
}

fn good(body: &str) -> Reply {
    Some((200, String::new(), body.to_owned()))
}

fn logged_in(session: &str) -> Reply {
    let cookie = format!("Set-Cookie: PHPSESSID={session}; path=/\r\n");
    Some((200, cookie, "<root><status><http_code>200</http_code></status></root>".to_owned()))
}

fn port(down: u8, alarm: u8) -> Reply {
    good(&format!(
        "<?xml version=\"1.0\"?>\n<root><status><http_code>200</http_code></status><telcods1port id=\"1\">\
         <rt_PortOperatorStatus>{down}</rt_PortOperatorStatus><rt_PortAlarmStatus>{alarm}</rt_PortAlarmStatus>\
         </telcods1port></root>"
    ))
}

/// Lines that ask the REST interface at `at`.
fn rest_lines(lab: &Lab, at: SocketAddr) -> Vec<String> {
    let password = lab.write("rest.password", "p&ss w=rd\n");
    let roots = lab.write("rest-roots.pem", lab.authority.root());
    vec![
        format!("Rest=https://{at}"),
        "RestUser=demarc".to_owned(),
        format!("RestPasswordFile={}", password.display()),
        format!("RestRoots={}", roots.display()),
        "RestPorts=1:1 1:2".to_owned(),
        "RestInterval=10s".to_owned(),
    ]
}

#[test]
fn gateways_are_asked_by_rest_and_bad_answers_are_told_apart() {
    let lab = Lab::new();
    let lync = Peer::answering(&lab);
    let at = |last| lab.net.at(last, 8443);
    let leaf = |authority: &Authority, last| {
        authority.issue(&Paper { address: Some(lab.net.host(last)), ..Paper::new("gateway.lab.test") })
    };
    let well = Rest::start(at(20), &leaf(&lab.authority, 20), |count, asked| match (count, asked.what.as_str()) {
        (0, "POST /rest/login") => logged_in("one"),
        (1, "GET /rest/linecard/1/telcods1port/1") => port(1, 3),
        (3, _) => Some((401, String::new(), String::new())),
        (4, "POST /rest/login") => logged_in("two"),
        _ => port(0, 0),
    });
    let _refusing = Rest::start(at(21), &leaf(&lab.authority, 21), |_, _| Some((401, String::new(), String::new())));
    let _nonsense = Rest::start(at(22), &leaf(&lab.authority, 22), |count, _| match count {
        0 => logged_in("x"),
        _ => good("<html><body>Welcome</body>"),
    });
    let _hanging = Rest::start(at(23), &leaf(&lab.authority, 23), |_, _| None);
    let _stranger = Rest::start(at(24), &leaf(&Authority::named("another"), 24), |_, _| logged_in("x"));
    let _elsewhere = Rest::start(at(25), &leaf(&lab.authority, 26), |_, _| logged_in("x"));
    let _endless = Rest::start(at(26), &leaf(&lab.authority, 26), |count, _| match count {
        0 => logged_in("x"),
        _ => good(&"x".repeat(1 << 20)),
    });
    let gateways: Vec<Gateway> = (20..28).map(|last| gateway(&lab, last, &rest_lines(&lab, at(last)))).collect();
    let demarc = Setup::new(lync.address, &gateways).start(&lab);

    demarc.logs(&["its REST interface is read", "Gateway1"]);
    demarc.logs(&["alarm: line 1:1 LOS, as its REST interface says", "Gateway1"]);
    assert_eq!(alarms(&demarc, "Gateway1", "1:1").as_deref(), Some("LOS"));
    assert_eq!(alarms(&demarc, "Gateway1", "1:2").as_deref(), Some(""));
    assert_eq!(demarc.metric_where("demarc_gateway_alarms", "trunk=\"Gateway1\",alarm=\"LOS\""), 1.0);
    assert_eq!(demarc.metric_where("demarc_gateway_heard", "trunk=\"Gateway1\",voice=\"rest\""), 1.0);
    for (gateway, why) in [
        ("Gateway2", "it refuses the log-in"),
        ("Gateway3", "its answer is none that can be read"),
        ("Gateway5", "its certificate is not accepted"),
        ("Gateway6", "its certificate is not accepted"),
        ("Gateway7", "its answer is none that can be read"),
        ("Gateway8", "it cannot be reached: "),
    ] {
        demarc.logs(&[gateway, "its REST interface cannot be read: ", why]);
    }
    assert_eq!(demarc.metric_where("demarc_gateway_heard", "trunk=\"Gateway2\""), 0.0);

    until(seconds(20), "Gateway4 is given up, Gateway1 logs in anew", || {
        let hung = demarc.log().contains("it does not answer in time");
        (hung && alarms(&demarc, "Gateway1", "1:1").as_deref() == Some("")).then_some(())
    });
    demarc.logs(&["alarm is over: line 1:1 LOS", "Gateway1"]);
    let asked = well.asked();
    assert_eq!(asked[0].body, "Username=demarc&Password=p%26ss+w%3Drd");
    let cookies: Vec<&str> = asked.iter().map(|asked| asked.cookie.as_str()).take(6).collect();
    let (one, two) = ("PHPSESSID=one", "PHPSESSID=two");
    assert_eq!(cookies, ["", one, one, one, "", two]);
    assert!(!demarc.log().contains("p&ss") && !demarc.log().contains("PHPSESSID"), "no secret in the log");
}

#[test]
fn a_reload_ends_and_begins_what_is_asked() {
    let lab = Lab::new();
    let lync = Peer::answering(&lab);
    let leaf = lab.authority.issue(&Paper { address: Some(lab.net.host(20)), ..Paper::new("gateway.lab.test") });
    let _rest = Rest::start(lab.net.at(20, 8443), &leaf, |_, asked| match asked.what.as_str() {
        "POST /rest/login" => logged_in("one"),
        _ => port(1, 4),
    });
    let lines = rest_lines(&lab, lab.net.at(20, 8443));
    let demarc = Setup::new(lync.address, &[gateway(&lab, 20, &lines)]).start(&lab);
    demarc.logs(&["alarm: line 1:2 LOF"]);
    let ini = std::fs::read_to_string(&demarc.file).unwrap();
    std::fs::write(&demarc.file, ini.replace("RestPorts=1:1 1:2", "RestPorts=2:1")).unwrap();
    demarc.signal(nix::sys::signal::Signal::SIGHUP);
    until(seconds(5), "another port is asked for", || alarms(&demarc, "Gateway1", "2:1"));
    assert_eq!(alarms(&demarc, "Gateway1", "1:2"), None, "what was told of ports before is void");
    std::fs::write(&demarc.file, ini.replace("Rest=https", ";Rest=https")).unwrap();
    demarc.signal(nix::sys::signal::Signal::SIGHUP);
    until(seconds(5), "nothing is asked", || shown(&demarc, "Gateway1").is_null().then_some(()));
}

/// A console whose log-in wants `operator` and a password, and which answers `show ds1` as `ds1` says.
fn vx(ds1: &'static str) -> impl Fn(&str) -> Option<String> + Send + 'static {
    move |typed| {
        let said = match typed {
            "" => "\r\nVX1200 login: ".to_owned(),
            "operator" => "operator\r\nPassword: ".to_owned(),
            "s3cret" => "\r\nWelcome\r\nvx> ".to_owned(),
            "show ds1" => format!("show ds1\r\n{ds1}\r\nvx> "),
            other => format!("{other}: unknown\r\nvx> "),
        };
        Some(said)
    }
}

/// Lines that name a console and its script.
fn console_lines(device: &Path) -> Vec<String> {
    vec![format!("Console={}", device.display()), "ConsoleScript=Vx".to_owned()]
}

fn script(lab: &Lab) -> String {
    let password = lab.write("console.password", "s3cret\n");
    format!(
        "\n[Console Vx]\nPrompt=^vx>$\nInterval=10s\nLogin user=login:$ => operator\nLogin password=assword:$ => \
         ${{file:{}}}\nCommand ds1=show ds1\nAlarm T1-1 LOS=^1 .*LOS\n",
        password.display()
    )
}

/// The daemon among these gateways, with [`script`].
fn with_consoles(lab: &Lab, lync: &Peer, gateways: &[Gateway]) -> Demarc {
    let mut setup = Setup::new(lync.address, gateways);
    setup.more = script(lab);
    setup.start(lab)
}

#[test]
fn a_console_is_read_through_log_in_loss_and_return() {
    let lab = Lab::new();
    let lync = Peer::answering(&lab);
    let device = lab.path("ttyVX");
    let console = Tty::start(&device, vx("1 down LOS\r\n2 up"));
    let demarc = with_consoles(&lab, &lync, &[gateway(&lab, 20, &console_lines(&device))]);
    until(seconds(12), "a first round", || demarc.log().contains("its console is read").then_some(()));
    demarc.logs(&["Gateway1", "alarm: line T1-1 LOS, as its console says"]);
    assert_eq!(console.typed(), ["", "operator", "s3cret", "show ds1"]);
    let (_, alarms) = get(demarc.web, "/api/alarms").unwrap();
    assert!(alarms.contains("Gateway1 says by its console: line T1-1 LOS"), "{alarms}");
    console.pull();
    demarc.logs(&["Gateway1", "its console cannot be read: the line went away"]);
    assert_eq!(of_the_line(&demarc), "LOS", "what was said last stands");
    let console = Tty::start(&device, vx("1 up\r\n2 up"));
    until(seconds(12), "the alarm is over", || of_the_line(&demarc).is_empty().then_some(()));
    assert_eq!(console.typed().last().map(String::as_str), Some("show ds1"));
    assert!(!demarc.log().contains("s3cret"), "no secret in the log");
}

fn of_the_line(demarc: &Demarc) -> String {
    alarms(demarc, "Gateway1", "T1-1").unwrap()
}

#[test]
fn consoles_that_misbehave_are_told_of_and_hurt_no_call() {
    let lab = Lab::new();
    let lync = Peer::answering(&lab);
    let paths: Vec<_> = (0..5).map(|n| lab.path(&format!("tty{n}"))).collect();
    let _silent = Tty::start(&paths[0], |_| None);
    let _noise = Tty::start(&paths[1], |_| Some("\u{ff}\u{fe}\u{80}\u{99}".repeat(4)));
    let flood = Tty::start(&paths[2], |_| Some("\u{0}x\r\n".repeat(40_000)));
    let _held = Tty::start(&paths[3], vx("1 up"));
    let holder = std::fs::File::open(&paths[3]).unwrap();
    let holder = nix::fcntl::Flock::lock(holder, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    let mut gateways: Vec<Gateway> =
        (20..).zip(&paths).map(|(last, path)| gateway(&lab, last, &console_lines(path))).collect();
    gateways.push(gateway(&lab, 30, &[format!("Console={}", lab.path("tty-none").display())]));
    gateways.push(Gateway::new(lab.net.at(3, 5060), "TCP"));
    let mut voice = Peer::gateway(lab.net.host(3));
    let demarc = with_consoles(&lab, &lync, &gateways);
    let cannot = "its console cannot be read: ";
    demarc.logs(&["Gateway4", cannot, "another program holds it"]);
    demarc.logs(&["Gateway5", cannot, "there is no such device"]);
    demarc.logs(&["Gateway6", cannot, "there is no such device"]);
    until(seconds(12), "the flood begins", || (!flood.typed().is_empty()).then_some(()));
    let link = voice.connect(demarc.trunk);
    let mut call = voice.call(&link, "+13125550100", &Sdp::plain(voice.host, "sendrecv"));
    let answer = voice.expect("200 INVITE");
    call.acknowledge(&answer);
    call.request("BYE", "", "");
    voice.expect("200 BYE");
    until(seconds(20), "all are told apart", || {
        let log = demarc.log();
        let told = |gateway: &str, why: &str| {
            log.lines().any(|line| line.contains(gateway) && line.contains(cannot) && line.contains(why))
        };
        (told("Gateway1", "nothing comes back") && told("Gateway2", "no text") && told("Gateway3", "does not end"))
            .then_some(())
    });
    drop(holder);
    until(seconds(20), "the console is free", || {
        demarc.log().lines().any(|line| line.contains("Gateway4") && line.contains("its console is read")).then_some(())
    });
    demarc.idle();
}

/// Where the daemon hears traps.
const TRAPS: u16 = 10_162;

/// Sends a trap by Debian's snmptrap.
fn trap(lab: &Lab, from: Ipv4Addr, version: &str, community: &str, arguments: &[&str]) {
    let to = lab.net.at(1, TRAPS);
    let mut command = Command::new("snmptrap");
    command.env("SNMP_PERSISTENT_DIR", lab.path("snmp"));
    command.args(["-m", "", &format!("--clientaddr={from}"), "-v", version, "-c", community, &to.to_string()]);
    assert!(command.args(arguments).status().unwrap().success());
}

#[test]
fn traps_of_net_snmp_s_tell_of_lines() {
    let lab = Lab::new();
    if !lab::installed("snmptrap", "snmp") {
        return;
    }
    let lync = Peer::answering(&lab);
    let mut setup = Setup::new(lync.address, &[gateway(&lab, 20, &[]), gateway(&lab, 21, &[])]);
    let to = lab.net.at(1, TRAPS);
    let community = lab.write("community", "agreed\n");
    setup.trunks = vec![format!("TrapListen={to}"), format!("TrapCommunityFile={}", community.display())];
    let demarc = setup.start(&lab);
    let line = |gateway: &str, index: u32| alarms(&demarc, gateway, &format!("ifIndex {index}"));
    let (status, oper) = ("1.3.6.1.2.1.10.18.6.1.10.1001", "1.3.6.1.2.1.2.2.1.8.5");
    let (link_down, link_up) = ("1.3.6.1.6.3.1.1.5.3", "1.3.6.1.6.3.1.1.5.4");
    let changed = "1.3.6.1.2.1.10.18.15.0.1";

    let (one, two) = (lab.net.host(20), lab.net.host(21));
    let index = ["1.3.6.1.2.1.2.2.1.1.5", "i", "5"];
    let link = |trap, status| [&["", trap][..], &index, &[oper, "i", status]].concat();
    trap(&lab, one, "2c", "agreed", &link(link_down, "2"));
    demarc.logs(&["Gateway1", "alarm: line ifIndex 5 down, as its SNMP trap says"]);
    trap(&lab, one, "2c", "agreed", &link(link_up, "1"));
    demarc.logs(&["Gateway1", "alarm is over: line ifIndex 5 down"]);
    trap(&lab, two, "2c", "agreed", &["", changed, status, "i", "96"]);
    until(seconds(3), "LOS and LOF", || (line("Gateway2", 1001).as_deref() == Some("LOS LOF")).then_some(()));
    let old = |bits| ["1.3.6.1.2.1.10.18.15", "192.0.2.1", "6", "1", "", status, "i", bits];
    trap(&lab, two, "1", "agreed", &old("2"));
    until(seconds(3), "RAI", || (line("Gateway2", 1001).as_deref() == Some("RAI")).then_some(()));
    let heard = |gateway: &str, result: &str| {
        demarc.metric_where("demarc_traps_total", &format!("trunk=\"{gateway}\",result=\"{result}\""))
    };
    trap(&lab, two, "2c", "other", &["", changed, status, "i", "1"]);
    trap(&lab, lab.net.host(40), "2c", "agreed", &["", changed, status, "i", "1"]);
    UdpSocket::bind((two, 0)).unwrap().send_to(b"no trap", to).unwrap();
    until(seconds(3), "three are turned away", || {
        let turned_away = [("Gateway2", "community"), ("stranger", "stranger"), ("Gateway2", "malformed")];
        turned_away.iter().all(|(gateway, result)| heard(gateway, result) == 1.0).then_some(())
    });
    assert_eq!(line("Gateway2", 1001).as_deref(), Some("RAI"), "nothing of that was believed");
    demarc.logs(&["carry another community than that in [Trunks] TrapCommunityFile"]);
    trap(&lab, two, "1", "agreed", &old("1"));
    until(seconds(3), "all is well", || (line("Gateway2", 1001).as_deref() == Some("")).then_some(()));
    assert_eq!((heard("Gateway1", "heard"), heard("Gateway2", "heard")), (2.0, 3.0));
}

#[test]
fn a_call_that_a_dead_line_ended_says_so() {
    let lab = Lab::new();
    if !lab::installed("snmptrap", "snmp") {
        return;
    }
    let lync = Peer::answering(&lab);
    let mut voice = Peer::gateway(lab.net.host(3));
    let mut setup = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
    setup.trunks = vec![format!("TrapListen={}", lab.net.at(1, TRAPS))];
    let demarc = setup.start(&lab);
    let link = voice.connect(demarc.trunk);
    let mut connect = || {
        let mut call = voice.call(&link, "+13125550100", &Sdp::plain(voice.host, "sendrecv"));
        let answer = voice.expect("200 INVITE");
        call.acknowledge(&answer);
        call
    };
    let (mut live, mut next) = (connect(), connect());
    trap(&lab, voice.host, "2c", "any", &["", "1.3.6.1.2.1.10.18.15.0.1", "1.3.6.1.2.1.10.18.6.1.10.7", "i", "64"]);
    demarc.logs(&["Gateway1", "alarm: line ifIndex 7 LOS"]);
    live.request("BYE", "Reason: Q.850;cause=38\r\n", "");
    demarc.logs(&["call ended: ", "its line ifIndex 7 LOS stands since ", "as its SNMP trap says"]);
    next.request("BYE", "", "");
    demarc.idle();
    let ends = demarc
        .log()
        .lines()
        .filter(|line| line.contains("call ended: "))
        .map(|line| line.contains("ifIndex"))
        .collect::<Vec<_>>();
    assert_eq!(ends, [true, false], "who hangs up as usual is not told of the line");
}
