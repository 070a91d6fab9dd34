//! openssl knocks at the running daemon: who may not speak gets no octet of SIP, and the log says what to do.

#![allow(clippy::unwrap_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use lab::{Authority, Demarc, Gateway, LYNC_NAME, Lab, Leaf, Liar, Paper, Peer, Running, Setup, get, seconds, until};

const GATEWAY_NAME: &str = "gateway1.lab.test";
const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// A daemon that nobody else talks to.
fn start(profile: &'static str) -> Option<(Demarc, Lab)> {
    if !lab::installed("openssl", "openssl") {
        return None;
    }
    let lab = Lab::new();
    let mut setup = Setup::new(lab.net.at(2, 5061), &[Gateway::new(lab.net.at(3, 5061), "TLS")]);
    setup.profile = profile;
    setup.trunk_configuration = vec!["OptionsInterval=0".to_owned()];
    let demarc = setup.start(&lab);
    Some((demarc, lab))
}

/// Connects from the address ending in `from`, sends OPTIONS as soon as its own side thinks that it may, and gives
/// back all that comes within the time that an answer takes.
fn knock(lab: &Lab, from: u8, to: SocketAddr, leaf: Option<&Leaf>, version: &str) -> String {
    let host = lab.net.host(from);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-no_ign_eof", version, "-connect", &to.to_string()]);
    command.args(["-bind", &format!("{host}:0")]);
    if let Some(leaf) = leaf {
        command.arg("-cert").arg(lab.write(&format!("{from}.pem"), &leaf.certificate));
        command.arg("-key").arg(lab.write(&format!("{from}.key"), &leaf.key));
    }
    let said = lab.path(&format!("{from}.said"));
    let output = std::fs::File::create(&said).unwrap();
    let mut client = command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::null()).spawn().unwrap();
    let options = format!(
        "OPTIONS sip:{to};transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS {host}:5061;branch=z9hG4bKknock\r\nMax-Forwards: 70\r\n\
         From: <sip:{host}>;tag=knock\r\nTo: <sip:{to}>\r\nCall-ID: knock@{host}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let mut input = client.stdin.take().unwrap();
    // Whoever is refused may be gone when we write.
    let _ = input.write_all(options.as_bytes());
    let heard = || std::fs::read_to_string(&said).unwrap();
    // An answer ends the wait, and so does being shown the door.
    until(seconds(10), "an answer, or the end of the connection", || {
        (client.try_wait().unwrap().is_some() || heard().contains("\r\n\r\n")).then_some(())
    });
    let _ = client.kill();
    let _ = client.wait();
    heard()
}

#[track_caller]
fn failures(demarc: &Demarc, reason: &str) -> f64 {
    demarc.metric_where("demarc_tls_handshake_failures_total", &format!("reason=\"{reason}\""))
}

#[test]
fn whoever_is_not_known_gets_no_answer_and_the_log_says_what_to_do() {
    let Some((mut demarc, lab)) = start("sfb2019") else { return };
    let of_today = Paper::new(LYNC_NAME);
    let cases = [
        (
            "no_certificate",
            None,
            "the peer showed no certificate; give the peer a certificate and let it present it (mutual TLS)",
        ),
        (
            "unknown_issuer",
            Some(Authority::named("somebody's root").issue(&of_today)),
            "the certificate's issuer 'somebody's root' is not trusted; add the issuer's root to TrustedRoots=",
        ),
        (
            "self_signed",
            Some(of_today.self_signed()),
            "the certificate of 'lync.lab.test' is self-signed; give the peer a certificate of an authority that TrustedRoots= holds",
        ),
        (
            "expired",
            Some(lab.authority.issue(&Paper { days: (-90, -2), ..Paper::new(LYNC_NAME) })),
            "renew that certificate; if it is good, our clock is ahead",
        ),
        (
            "name_mismatch",
            Some(lab.authority.leaf("other.lab.test")),
            "the certificate is for other.lab.test, expected lync.lab.test; write one of the names it carries into TrustedPeers=",
        ),
    ];
    for (from, (reason, leaf, advice)) in (50..).zip(&cases) {
        for (knocks, version) in (1..).zip(VERSIONS) {
            let said = knock(&lab, from, demarc.lync, leaf.as_ref(), version);
            assert_eq!(said, "", "{reason} over {version}");
            until(seconds(3), "the refusal is counted", || {
                (failures(&demarc, reason) == f64::from(knocks)).then_some(())
            });
        }
        demarc.logs(&[&lab.net.host(from).to_string(), "refused on the Microsoft listener", advice]);
    }
    assert!(demarc.alive());
    assert_eq!(demarc.metric("demarc_sip_responses_total"), 0.0, "nobody was answered");
    let good = knock(&lab, 60, demarc.lync, Some(&lab.authority.leaf(LYNC_NAME)), "-tls1_3");
    assert!(good.starts_with("SIP/2.0 200 "), "the pool itself is answered:\n{good}");
}

/// Teams and Skype for Business show certificates that are for servers alone; gateways get no such grace.
#[test]
fn a_certificate_for_servers_passes_for_microsoft_and_not_for_a_gateway() {
    for profile in ["teams", "sfb2019"] {
        let Some((demarc, lab)) = start(profile) else { return };
        let server = |name| lab.authority.issue(&Paper { usages: &["serverAuth"], ..Paper::new(name) });
        for (from, version) in (50..).zip(VERSIONS) {
            let said = knock(&lab, from, demarc.lync, Some(&server(LYNC_NAME)), version);
            assert!(said.starts_with("SIP/2.0 200 "), "{profile} over {version}: {said:?}");
            let said = knock(&lab, from + 10, demarc.tls_trunk, Some(&server(GATEWAY_NAME)), version);
            assert_eq!(said, "", "{profile} over {version}");
        }
        demarc.logs(&["the certificate may not be used as a client's: its extended key usage is serverAuth"]);
        demarc.logs(&["have the certificate issued with the usages serverAuth and clientAuth"]);
        until(seconds(3), "both are counted", || (failures(&demarc, "key_usage") == 2.0).then_some(()));
        let said = knock(&lab, 70, demarc.tls_trunk, Some(&lab.authority.leaf(GATEWAY_NAME)), "-tls1_2");
        assert!(said.starts_with("SIP/2.0 200 "), "the gateway itself is answered:\n{said}");
    }
}

/// A gateway's certificate opens the gateways' door only, and the pool's the pool's.
#[test]
fn a_good_certificate_at_the_wrong_door_is_refused() {
    let Some((demarc, lab)) = start("sfb2019") else { return };
    for (from, door, name) in [(50, demarc.lync, GATEWAY_NAME), (51, demarc.tls_trunk, LYNC_NAME)] {
        let said = knock(&lab, from, door, Some(&lab.authority.leaf(name)), "-tls1_3");
        assert_eq!(said, "", "{name} at {door}");
        demarc.logs(&[&lab.net.host(from).to_string(), &format!("the certificate is for {name}, expected")]);
    }
    assert_eq!(failures(&demarc, "name_mismatch"), 2.0);
}

/// `openssl s_server` where the pool should be, with this certificate and so many hours ahead of us.
fn pool(lab: &Lab, leaf: &Leaf, version: &str, ahead: i64) -> Running {
    let (certificate, key) = (lab.write("pool.pem", &leaf.certificate), lab.write("pool.key", &leaf.key));
    let at = (jiff::Timestamp::now().as_second() + ahead * 3600).to_string();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", version, "-accept", &lab.net.at(2, 5061).to_string(), "-attime", &at]);
    command
        .args(["-Verify", "1", "-verify_return_error"])
        .arg("-CAfile")
        .arg(lab.write("pool.roots", lab.authority.root()));
    command.arg("-cert").arg(certificate).arg("-key").arg(key);
    Running::start(&mut command, &lab.log("s_server"))
}

/// What stands in `/api/alarms` about a certificate that the pool shows or does not take.
fn window(demarc: &Demarc) -> Option<String> {
    let alarms: Vec<serde_json::Value> = serde_json::from_str(&get(demarc.web, "/api/alarms")?.1).ok()?;
    let found = alarms.into_iter().find(|alarm| {
        alarm["what"].as_str().is_some_and(|what| what.contains("certificate") && !what.contains("is down"))
    })?;
    assert_eq!((&found["subject"], &found["severity"]), (&"lync".into(), &"major".into()));
    Some(found.to_string())
}

/// A pool's clock shows in what it says of our certificate, and in its own.
#[test]
fn a_handshake_that_fails_for_a_certificates_dates_names_the_clock() {
    if !lab::installed("openssl", "openssl") {
        return;
    }
    let of_today = (-1, 300);
    for (version, ahead, ours, theirs, words) in [
        ("-tls1_2", 400 * 24, of_today, of_today, " days ahead of ours at least, or "),
        ("-tls1_3", 400 * 24, of_today, of_today, " days ahead of ours at least, or "),
        ("-tls1_2", -2, (0, 300), of_today, "does not take our certificate, which began "),
        ("-tls1_3", -2, (0, 300), of_today, "does not take our certificate, which began "),
        ("-tls1_3", 0, of_today, (3, 300), "days ahead of ours at least; ours is compared with no time server"),
    ] {
        let lab = Lab::new();
        let server = pool(&lab, &lab.authority.issue(&Paper { days: theirs, ..Paper::new(LYNC_NAME) }), version, ahead);
        let mut setup = Setup::new(lab.net.at(2, 5061), &[Gateway::new(lab.net.at(3, 5061), "TLS")]);
        setup.trunk_configuration = vec!["OptionsInterval=1s".to_owned()];
        setup.days = ours;
        // An honest one, that only the first cases hear of.
        let server_of_time = Liar::start(&lab, 20, |_, _| {});
        if ahead != 0 {
            setup.clock = vec![format!("Servers={}", server_of_time.address)];
        }
        let demarc = setup.start(&lab);
        let alarm = until(seconds(15), words, || window(&demarc));
        assert!(alarm.contains(words), "{version} {ahead}: {alarm}");
        assert_eq!(alarm.contains("ours is right to "), ahead != 0, "{alarm}");
        demarc.logs(&["lync", words]);
        if version == "-tls1_2" {
            continue;
        }
        drop(server);
        let _pool = Peer::lync(&lab);
        until(seconds(15), "the alarm is over", || window(&demarc).is_none().then_some(()));
        demarc.logs(&["the dates of certificates are good to both sides again"]);
    }
}
