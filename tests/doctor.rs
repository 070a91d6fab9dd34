//! `demarc doctor` among peers that are not ours: SIPp as a gateway, openssl as a server behind TLS.

#![allow(clippy::unwrap_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::process::{Command, Stdio};

use lab::{Chrony, Gateway, Lab, Leaf, Peer, Running, Scenario, Setup, Sipp, Wall, demarc, seconds, until};
use serde_json::Value;

/// The findings of `demarc doctor --json`, and its exit code.
fn findings(lab: &Lab, setup: &Setup) -> (Vec<Value>, i32) {
    let file = setup.write(lab).display().to_string();
    let output = demarc(&["doctor", "--json", "--config", &file]);
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = whole["findings"].as_array().unwrap().clone();
    let fails = list.iter().any(|finding| finding["verdict"] == "fail");
    assert_eq!(whole["verdict"] == "fail", fails, "{whole:#}");
    (list, output.status.code().unwrap())
}

/// The one finding of this code about this subject.
#[track_caller]
fn finding<'a>(findings: &'a [Value], code: &str, subject: &str) -> &'a Value {
    let is = |finding: &&Value| finding["code"] == code && finding["subject"] == subject;
    findings.iter().find(is).unwrap_or_else(|| panic!("no {code} about {subject} in {findings:#?}"))
}

/// A gateway of SIPp's that answers OPTIONS with these methods in Allow and this Date.
fn gateway(lab: &Lab, protocol: &str, allow: &str, date: &str) -> Sipp {
    let keys = [("allow", allow), ("date", date)];
    let local = lab.net.at(3, 5060);
    Sipp::start(lab, &Scenario { name: "gateway_answers_options", local, protocol, calls: None, keys: &keys })
}

#[test]
fn trunks_that_answer_pass_and_say_what_they_can() {
    if !lab::installed("sipp", "sip-tester") {
        return;
    }
    for protocol in ["UDP", "TCP"] {
        let lab = Lab::new();
        let lync = Peer::answering(&lab);
        let setup = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), protocol)]);
        let _gateway = gateway(&lab, protocol, "INVITE, ACK, BYE, CANCEL", "Fri, 20 Nov 2015 23:00:00 GMT");
        let (findings, code) = findings(&lab, &setup);
        let (lync, gateway) = (finding(&findings, "options", "lync"), finding(&findings, "options", "Gateway1"));
        assert_eq!((&lync["verdict"], &gateway["verdict"]), (&"pass".into(), &"pass".into()), "{findings:#?}");
        assert!(lync["evidence"].as_str().unwrap().contains("TLSv1."), "{lync}");
        // The default is to pass REFER on, and this gateway does not take it.
        let refer = finding(&findings, "refer", "transfer, Gateway1");
        assert!(refer["verdict"] == "fail" && refer["remedy"].as_str().unwrap().contains("EnableReferSupport=False"));
        let clock = finding(&findings, "peer-clock", "Gateway1");
        assert!(clock["verdict"] == "fail" && clock["evidence"].as_str().unwrap().contains("behind ours"), "{clock}");
        for rule in ["name", "usage", "dates", "chain", "signature", "key"] {
            let finding = finding(&findings, &format!("certificate-{rule}"), "certificate, sfb2019");
            assert_eq!(finding["verdict"], "pass", "{finding}");
        }
        assert_eq!(code, 1);
    }
}

#[test]
fn a_gateway_that_takes_refer_passes_and_the_daemon_may_run_meanwhile() {
    if !lab::installed("sipp", "sip-tester") {
        return;
    }
    let lab = Lab::new();
    let lync = Peer::answering(&lab);
    let setup = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
    let _gateway = gateway(&lab, "TCP", "INVITE,REFER ,NOTIFY", "x");
    let _daemon = setup.start(&lab);
    let (findings, _) = findings(&lab, &setup);
    assert_eq!(finding(&findings, "refer", "transfer, Gateway1")["verdict"], "pass");
    assert_eq!(finding(&findings, "options", "Gateway1")["verdict"], "pass");
}

#[test]
fn a_pool_with_another_s_certificate_and_a_gateway_that_is_not_there() {
    if !lab::installed("openssl", "openssl") {
        return;
    }
    let lab = Lab::new();
    let leaf = lab.authority.leaf("somebody.lab.test");
    let pool = lab.net.at(2, 5061);
    let _server = server(&lab, &leaf, &pool.to_string());
    let setup = Setup::new(pool, &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
    let (findings, code) = findings(&lab, &setup);
    let lync = finding(&findings, "options", "lync");
    let evidence = lync["evidence"].as_str().unwrap();
    assert!(lync["verdict"] == "fail" && evidence.contains("is for somebody.lab.test"), "{lync}");
    assert!(lync["notice"].as_str().unwrap().contains("calls from the telephone network"), "{lync}");
    let gateway = finding(&findings, "options", "Gateway1");
    assert!(gateway["evidence"].as_str().unwrap().contains("refused the connection"), "{gateway}");
    assert_eq!(finding(&findings, "refer", "transfer, Gateway1")["verdict"], "not-checked");
    assert_eq!(code, 1);
}

#[test]
fn a_gateway_that_is_silent_costs_ten_seconds() {
    let lab = Lab::new();
    let at = lab.net.at(3, 5060);
    let _silent = std::net::UdpSocket::bind(at).unwrap();
    let setup = Setup::new(lab.net.at(2, 5061), &[Gateway::new(at, "UDP")]);
    let began = std::time::Instant::now();
    let (findings, _) = findings(&lab, &setup);
    assert!(began.elapsed() < seconds(15), "{:?}", began.elapsed());
    let gateway = finding(&findings, "options", "Gateway1");
    assert!(gateway["evidence"].as_str().unwrap().contains("found no answer within 10 s"), "{gateway}");
}

#[test]
fn the_box_s_own_clock_is_held_against_ntp_servers() {
    let lab = Lab::new();
    if !Chrony::installed() {
        return;
    }
    let chronies: Vec<Chrony> = (10..13).map(|last| Chrony::start(&lab, last, Some("+0s"))).collect();
    let servers: Vec<String> = chronies.iter().map(|chrony| chrony.address.to_string()).collect();
    for (ahead, verdict, words) in [(0.0, "pass", "s from true time"), (30.0, "fail", "+30.0")] {
        let Some(wall) = Wall::ahead(&lab, ahead, 0.0) else { return };
        let mut setup = Setup::new(lab.net.at(2, 5061), &[]);
        setup.clock = vec![format!("Servers={}", servers.join(" "))];
        let file = setup.write(&lab);
        let mut command = Command::new(env!("CARGO_BIN_EXE_demarc"));
        command.args(["doctor", "--json", "--config"]).arg(file).envs(wall.environment());
        let whole: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let clock = finding(whole["findings"].as_array().unwrap(), "clock", "clock").clone();
        assert!(clock["verdict"] == verdict && clock["evidence"].as_str().unwrap().contains(words), "{clock}");
    }
}

/// `openssl s_server` behind this certificate.
fn server(lab: &Lab, leaf: &Leaf, at: &str) -> Running {
    let (certificate, key) = (lab.write("server.pem", &leaf.certificate), lab.write("server.key", &leaf.key));
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-accept", at, "-cert"]).arg(certificate).arg("-key").arg(key);
    command.stdin(Stdio::null());
    let running = Running::start(&mut command, &lab.log("s_server"));
    until(seconds(5), "s_server listens", || std::net::TcpStream::connect(at).ok());
    running
}

#[test]
fn files_that_are_wrong_are_named() {
    let lab = Lab::new();
    let setup = Setup::new(lab.net.at(2, 5061), &[]);
    let file = setup.write(&lab);
    std::fs::remove_file(lab.path("demarc.key")).unwrap();
    let output = demarc(&["doctor", "--config", &file.display().to_string()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("FAIL") && said.contains("demarc.key: cannot be read"), "{said}");
    let output = demarc(&["doctor", "--config", "/nowhere.ini"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Certificates as openssl makes them, by everybody's rules.
#[test]
fn openssl_s_certificates_by_the_rules_of_each_generation() {
    if !lab::installed("openssl", "openssl") {
        return;
    }
    let lab = Lab::new();
    let make = |name: &str, options: &[&str]| {
        let (file, key) = (lab.path(&format!("{name}.pem")), lab.path(&format!("{name}.key")));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-nodes", "-days", "300", "-subj", "/CN=ms1.contoso.com", "-keyout"]).arg(key);
        command.arg("-out").arg(&file).args(options).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        file.display().to_string()
    };
    let rsa = ["-newkey", "rsa:2048"];
    let kinds = [
        ("plain", make("plain", &rsa)),
        ("sha1", make("sha1", &[&rsa[..], &["-sha1"]].concat())),
        ("pss", make("pss", &[&rsa[..], &["-sigopt", "rsa_padding_mode:pss"]].concat())),
        ("server", make("server", &[&rsa[..], &["-addext", "extendedKeyUsage=serverAuth"]].concat())),
        ("ec", make("ec", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])),
    ];
    for (kind, peer, fails) in [
        ("plain", "sfb2015", None),
        ("plain", "teams", None),
        ("plain", "lync2010", Some("certificate-signature")),
        ("sha1", "lync2010", None),
        ("sha1", "lync2013", None),
        ("sha1", "teams", Some("certificate-signature")),
        ("pss", "lync2013", Some("certificate-signature")),
        ("pss", "carrier", None),
        ("server", "teams", None),
        ("server", "carrier", Some("certificate-usage")),
        ("ec", "teams", Some("certificate-key")),
        ("ec", "sfb2019", None),
    ] {
        let file = &kinds.iter().find(|(name, _)| *name == kind).unwrap().1;
        let output =
            demarc(&["certificate", file, "--peer", peer, "--roots", file, "--name", "ms1.contoso.com", "--json"]);
        let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = whole["findings"].as_array().unwrap();
        let failing = list.iter().find(|finding| finding["verdict"] == "fail").map(|finding| finding["code"].clone());
        assert_eq!(failing, fails.map(Value::from), "{kind} {peer}: {whole:#}");
        assert_eq!(output.status.code(), Some(i32::from(fails.is_some())));
    }
}
