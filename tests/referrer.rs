//! A transfer's referrer as the running daemon sees it: the Microsoft side signs, SIPp is the gateway, the ladder and the
//! metrics tell.

#![allow(clippy::unwrap_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::time::Duration;

use demarc::time::sip_date;
use jiff::{SignedDuration, Timestamp};
use lab::{Chrony, Demarc, Dialog, Gateway, Lab, Peer, Scenario, Sdp, Setup, Sipp, Wall};

struct Stage {
    lync: Peer,
    demarc: Demarc,
    call: Dialog,
    _gateway: Sipp,
    _lab: Lab,
}

impl Stage {
    /// A call from the Microsoft side to the gateway, up and talking.
    fn set(lines: &[&str]) -> Option<Stage> {
        Stage::set_in(Lab::new(), lines, |_| {})
    }

    fn set_in(lab: Lab, lines: &[&str], change: impl FnOnce(&mut Setup)) -> Option<Stage> {
        if !lab::installed("sipp", "sip-tester") {
            return None;
        }
        let mut lync = Peer::answering(&lab);
        let mut setup = Setup::new(lync.address, &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
        setup.trunk_configuration = vec!["OptionsInterval=0".to_owned()];
        change(&mut setup);
        let demarc = setup.start_with(&lab, "DEMARC_LOG", "demarc=debug");
        if !lines.is_empty() {
            let file = std::fs::read_to_string(&demarc.file).unwrap();
            std::fs::write(&demarc.file, file.replace("[Lync]\n", &format!("[Lync]\n{}\n", lines.join("\n")))).unwrap();
            assert_eq!(demarc.ask(&["reload"]).0, 0);
        }
        let local = lab.net.at(3, 5060);
        let scenario = Scenario { name: "gateway_early_media", local, protocol: "TCP", calls: None, keys: &[] };
        let gateway = Sipp::start(&lab, &scenario);
        let link = lync.connect(demarc.lync);
        let mut call = lync.call(&link, "+13125556789", &Sdp::encrypted(lync.host, "sendrecv"));
        call.acknowledge(&lync.expect("200 INVITE"));
        Some(Stage { lync, demarc, call, _gateway: gateway, _lab: lab })
    }

    /// The Microsoft side asks for a transfer; what it signed is off by so many seconds.
    fn refer(&mut self, ahead: i64) {
        let date = sip_date(Timestamp::now() + SignedDuration::from_secs(ahead));
        let lines = format!(
            "Refer-To: <sip:carol@contoso.com>\r\nReferred-By: <sip:bob@contoso.com>;ms-identity=\"MIIB:{date}\";\
             ms-identity-info=\"sip:fe01.contoso.com:5061;transport=Tls\";ms-identity-alg=rsa-sha1\r\n"
        );
        self.call.request("REFER", &lines, "");
    }

    fn ladder(&self) -> String {
        self.demarc.ask(&["trace", "last"]).1
    }

    fn verdicts(&self, verdict: &str) -> f64 {
        self.demarc.metric_where("demarc_referrer_identities_total", &format!("verdict=\"{verdict}\""))
    }
}

#[test]
fn a_signer_whose_clock_is_ahead_stands_in_the_ladder_the_log_and_the_metrics() {
    let Some(mut stage) = Stage::set(&[]) else { return };
    stage.refer(30);
    stage.demarc.logs(&["referrer's identity: signed by fe01.contoso.com, dated", "ahead of our clock"]);
    assert!(stage.ladder().contains("a server that checks it will refuse the transfer"), "{}", stage.ladder());
    assert!(!stage.demarc.log().lines().any(|line| line.contains("bob@")), "a name in the log");
    assert_eq!(stage.verdicts("ahead"), 1.0);
}

#[test]
fn the_box_whose_clock_is_wrong_is_named_when_it_refuses() {
    let Some(mut stage) = Stage::set(&[]) else { return };
    stage.refer(0);
    let late = sip_date(Timestamp::now() - Duration::from_secs(120));
    let lines = format!(
        "Date: {late}\r\nEvent: refer\r\nSubscription-State: terminated;reason=noresource\r\n\
         Content-Type: message/sipfrag;version=2.0\r\nms-diagnostics: 1020;source=\"edge.contoso.com\";\
         HRESULT=\"0xC3E93EE0(SIP_E_CRYPT_REFERRER_DATE_SKEWED)\"\r\n"
    );
    stage.call.request("NOTIFY", &lines, "SIP/2.0 429 Provide Referrer Identity\r\n");
    stage.demarc.logs(&["SIP_E_CRYPT_REFERRER_DATE_SKEWED) by edge.contoso.com", "the clock of lync", "behind ours"]);
    assert!(stage.ladder().contains("set its time right"), "{}", stage.ladder());
}

/// The box is half a minute behind: by its own clock every identity is dated ahead, by the true time none is.
#[test]
fn a_box_whose_clock_is_wrong_judges_by_the_true_time() {
    if !Chrony::installed() {
        return;
    }
    for (servers, verdict) in [(0, "ahead"), (3, "valid")] {
        let lab = Lab::new();
        let Some(wall) = Wall::ahead(&lab, -30.0, 0.0) else { return };
        let chronies: Vec<Chrony> = (0..servers).map(|n| Chrony::start(&lab, 10 + n, Some("+0s"))).collect();
        let servers: Vec<String> = chronies.iter().map(|chrony| chrony.address.to_string()).collect();
        let stage = Stage::set_in(lab, &[], |setup| {
            setup.clock = vec![format!("Servers={}", servers.join(" "))];
            setup.environment = wall.environment().to_vec();
        });
        let Some(mut stage) = stage else { return };
        stage.refer(0);
        stage.demarc.logs(&["referrer's identity: signed by fe01.contoso.com"]);
        assert_eq!(stage.verdicts(verdict), 1.0, "{}", stage.ladder());
    }
}

#[test]
fn a_transfer_with_a_bad_identity_is_refused_as_microsoft_does_it() {
    let Some(mut stage) = Stage::set(&["ReferrerIdentity=refuse"]) else { return };
    stage.refer(-3600);
    let answer = stage.lync.expect("429 REFER");
    let line = answer.header("ms-diagnostics").unwrap();
    assert!(line.starts_with("1020;") && line.contains("signer=\"fe01.contoso.com\""), "{line}");
    assert!(answer.header("Date").is_some() && answer.header("Reason").is_some(), "{:?}", answer.headers);
    // The call is as it was.
    stage.call.request("UPDATE", "", "");
    stage.lync.expect("200 UPDATE");
}
