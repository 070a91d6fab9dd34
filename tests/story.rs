//! The three ways of failing that this box is there for, each as its administrator meets it: SIPp is the gateway, a scripted
//! peer behind mutual TLS is the Microsoft side, chrony has the true time.

#![allow(clippy::unwrap_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::time::{Duration, SystemTime};

use demarc::time::sip_date;
use jiff::Timestamp;
use lab::{
    Chrony, Demarc, Dialog, Gateway, Lab, Peer, Received, Scenario, Sdp, Setup, Sipp, Wall, get, seconds, until,
};

const BOB: &str = "sip:bob@contoso.com;gruu;opaque=user:epid:x";

struct Stage {
    lync: Peer,
    demarc: Demarc,
    gateway: Sipp,
    call: Dialog,
    lab: Lab,
}

impl Stage {
    /// A call from the Microsoft side to a gateway that plays this scenario.
    fn set(lab: Lab, scenario: &str, keys: &[(&str, &str)], change: impl FnOnce(&mut Setup)) -> Option<Stage> {
        if !lab::installed("sipp", "sip-tester") {
            return None;
        }
        let mut lync = Peer::lync(&lab);
        let local = lab.net.at(3, 5060);
        let mut setup = Setup::new(lync.address, &[Gateway::new(local, "TCP")]);
        setup.trunk_configuration = vec!["OptionsInterval=0".to_owned()];
        change(&mut setup);
        let demarc = setup.start_with(&lab, "DEMARC_LOG", "demarc=debug");
        let gateway = Sipp::start(&lab, &Scenario { name: scenario, local, protocol: "TCP", calls: None, keys });
        let link = lync.connect(demarc.lync);
        let mut call = lync.call(&link, "+13125556789", &Sdp::encrypted(lync.host, "sendrecv"));
        call.acknowledge(&lync.expect_within("200 INVITE", seconds(8)));
        Some(Stage { lync, demarc, gateway, call, lab })
    }

    /// The Microsoft side refers the gateway to Bob; the INVITE to him.
    #[track_caller]
    fn refer(&mut self) -> Received {
        let date = sip_date(Timestamp::now());
        let lines = format!(
            "Refer-To: <{BOB}>\r\nReferred-By: <sip:alice@contoso.com>;ms-identity=\"MIIB:{date}\";\
             ms-identity-info=\"sip:fe01.contoso.com:5061;transport=Tls\";ms-identity-alg=rsa-sha1\r\n"
        );
        self.call.request("REFER", &lines, "");
        self.lync.expect("202 REFER");
        self.notified("SIP/2.0 100 Trying");
        self.lync.expect_within("INVITE", seconds(6))
    }

    /// The transferor hears of the new call.
    #[track_caller]
    fn notified(&mut self, line: &str) -> Received {
        let notify = self.lync.expect("NOTIFY");
        notify.answer(200, "OK", "");
        assert_eq!(notify.body.lines().next(), Some(line));
        notify
    }

    /// Bob answers, the transferor is let go, Bob hangs up once the gateway has come so far.
    #[track_caller]
    fn bob_talks(&mut self, invite: &Received, gateway: &str) {
        invite.answer(200, "OK", &Sdp::encrypted(self.lync.host, "sendrecv"));
        self.lync.expect("ACK");
        self.notified("SIP/2.0 200 OK");
        self.lync.expect("BYE").answer(200, "OK", "");
        self.gateway.expect(gateway);
        let mut bob = Dialog::called(invite);
        bob.request("BYE", "", "");
        self.lync.expect("200 BYE");
        self.gateway.expect("BYE");
        self.demarc.idle();
    }

    fn transfers(&self, mode: &str, result: &str) -> f64 {
        let labels = format!("mode=\"{mode}\",result=\"{result}\"");
        self.demarc.metric_where("demarc_transfers_total", &labels)
    }
}

/// By how many seconds the Date of a message is off, of its own grain.
fn off(message: &Received) -> i64 {
    let date = message.header("Date").unwrap();
    let said = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", date).unwrap().to_datetime().unwrap();
    let said = said.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
    said - SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Our clock is half a minute ahead, which once broke every transfer and was never found.
#[test]
fn a_box_whose_clock_is_ahead_transfers_and_says_what_is_wrong() {
    if !Chrony::installed() {
        return;
    }
    let lab = Lab::new();
    let Some(wall) = Wall::ahead(&lab, 30.0, 0.0) else { return };
    let chronies: Vec<Chrony> = (10..13).map(|last| Chrony::start(&lab, last, Some("+0s"))).collect();
    let servers: Vec<String> = chronies.iter().map(|chrony| chrony.address.to_string()).collect();
    let stage = Stage::set(lab, "gateway_is_held", &[], |setup| {
        setup.trunk_configuration.push("EnableReferSupport=False".to_owned());
        setup.clock = vec![format!("Servers={}", servers.join(" "))];
        setup.environment = wall.environment().to_vec();
    });
    let Some(mut stage) = stage else { return };
    until(seconds(15), "the true time is known", || (stage.demarc.metric("demarc_clock_trusted") == 1.0).then_some(()));
    stage.demarc.logs(&["clock alarm: we are 30.0 s ahead of 3 servers", "transfers signed here would be refused"]);
    stage.call.request("INVITE", "", &Sdp::encrypted(stage.lync.host, "inactive"));
    let held = stage.lync.expect("200 INVITE");
    stage.call.acknowledge(&held);
    let invite = stage.refer();
    assert!((-2..=1).contains(&off(&invite)), "the INVITE to the target is off by {} s", off(&invite));
    stage.bob_talks(&invite, "resumed");
    assert_eq!(stage.transfers("handled", "reached"), 1.0);
    assert_eq!(stage.demarc.metric_where("demarc_referrer_identities_total", "verdict=\"valid\""), 1.0);
    let (_, clock) = get(stage.demarc.web, "/api/clock").unwrap();
    assert!(clock.contains("ahead of 3 servers"), "{clock}");
    drop(stage.lab);
}

/// Another box's clock is wrong, and it blames the transferor.
#[test]
fn a_target_whose_clock_is_wrong_is_named_and_the_call_stays() {
    let stage = Stage::set(Lab::new(), "gateway_is_held", &[], |setup| {
        setup.trunk_configuration.push("EnableReferSupport=False".to_owned());
    });
    let Some(mut stage) = stage else { return };
    stage.call.request("INVITE", "", &Sdp::encrypted(stage.lync.host, "inactive"));
    let held = stage.lync.expect("200 INVITE");
    stage.call.acknowledge(&held);
    let invite = stage.refer();
    let late = sip_date(Timestamp::now() - Duration::from_secs(120));
    let lines = format!(
        "Date: {late}\r\nms-diagnostics: 1020;reason=\"The Referred-By date is skewed\";source=\"edge.contoso.com\";\
         HRESULT=\"0xC3E93EE0(SIP_E_CRYPT_REFERRER_DATE_SKEWED)\"\r\n"
    );
    invite.answer_with(429, "Provide Referrer Identity", &lines, "");
    stage.lync.expect("ACK");
    let told = stage.notified("SIP/2.0 429 Provide Referrer Identity");
    assert!(
        told.body.contains("ms-diagnostics: 1020;reason=\"The Referred-By date is skewed\";source=\"edge"),
        "{}",
        told.body
    );
    let (_, ladder, _) = stage.demarc.ask(&["trace", "last"]);
    assert!(ladder.contains("the clock of lync") && ladder.contains("behind ours"), "{ladder}");
    assert!(ladder.contains("set its time right"), "{ladder}");
    assert_eq!(stage.transfers("handled", "failed"), 1.0);
    stage.call.request("INVITE", "", &Sdp::encrypted(stage.lync.host, "sendrecv"));
    let resumed = stage.lync.expect("200 INVITE");
    stage.call.acknowledge(&resumed);
    stage.gateway.expect("resumed");
    stage.call.request("BYE", "", "");
    stage.lync.expect("200 BYE");
    stage.demarc.idle();
}

/// The gateway is said to take REFER, and does not.
#[test]
fn a_refer_that_the_gateway_cannot_take_is_taken_over() {
    for (scenario, status) in [("gateway_refuses_refer", "405"), ("gateway_ignores_refer", "")] {
        let keys = [("status", status), ("reason", "Method Not Allowed")];
        let Some(mut stage) = Stage::set(Lab::new(), scenario, &keys, |_| {}) else { return };
        let invite = stage.refer();
        assert_eq!(invite.uri(), BOB);
        stage.bob_talks(&invite, "REFER");
        stage.demarc.logs(&["this box places the call itself"]);
        assert_eq!(stage.transfers("taken-over", "reached"), 1.0, "{scenario}");
    }
}
