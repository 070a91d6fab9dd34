//! Gateways that tell of themselves beside their calls: by REST, well and badly.

#![allow(clippy::unwrap_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::net::SocketAddr;

use lab::{Authority, Demarc, Gateway, Lab, Paper, Peer, Rest, Said, Setup, get, seconds, until};
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

fn good(body: &str) -> Said {
    Some((200, String::new(), body.to_owned()))
}

fn logged_in(session: &str) -> Said {
    let cookie = format!("Set-Cookie: PHPSESSID={session}; path=/\r\n");
    Some((200, cookie, "<root><status><http_code>200</http_code></status></root>".to_owned()))
}

fn port(down: u8, alarm: u8) -> Said {
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
