//! The web page: who may open it and what it asks, and what a browser that is not ours makes of it.

#![allow(clippy::unwrap_used, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use lab::{Browser, Demarc, Gateway, Lab, Peer, Sdp, Setup, get, get_with, seconds, until};
use nix::sys::signal::Signal;
use serde_json::json;

const TOKEN: &str = "a token of the lab";
const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
const ESCAPE: &str = "\u{E00C}";
/// A display name that would be a program if it ever became markup.
const MISCHIEF: &str = "<img src=x onerror=document.title='owned'>";

/// A gateway that nobody answers for, a line with the exchange at its far end.
fn setup(lab: &Lab) -> Setup {
    let mut setup = Setup::new(lab.net.at(2, 5061), &[Gateway::new(lab.net.at(3, 5060), "TCP")]);
    setup.trunk_configuration = vec!["OptionsInterval=1s".to_owned(), "RTCPActiveCalls=False".to_owned()];
    setup.more = "\n[Gateway2]\nKind=isdn\nSpan=Span1\nVoiceRoutes=LocalRoute\n[Span1]\nCountryCode=1\n".to_owned();
    setup
}

fn with_token(setup: &mut Setup, lab: &Lab) {
    let file = lab.write("web.token", format!("{TOKEN}\n"));
    setup.web = vec![format!("TokenFile={}", file.display())];
}

// Who may open what.

#[test]
fn the_page_opens_without_the_token_and_the_box_does_not() {
    let lab = Lab::new();
    let mut setup = setup(&lab);
    with_token(&mut setup, &lab);
    let demarc = setup.start(&lab);
    let status = |path: &str, headers: &str| get_with(demarc.web, path, headers).unwrap().0;
    let (good, bad) = (format!("Authorization: Bearer {TOKEN}\r\n"), "Authorization: Bearer another token\r\n");
    for (path, without, with) in [
        ("/", 200, 200),
        ("/page.js", 200, 200),
        ("/page.css", 200, 200),
        ("/healthz", 200, 200),
        ("/nothing", 401, 404),
        ("/metrics", 401, 200),
        ("/api/status", 401, 200),
        ("/api/calls", 401, 200),
        ("/api/calls/last/ladder", 401, 404),
        ("/api/spans", 401, 200),
        ("/api/trunks", 401, 200),
        ("/api/clock", 401, 200),
        ("/api/alarms", 401, 200),
        ("/api/certificates", 401, 200),
        ("/api/reload", 401, 405),
    ] {
        assert_eq!((status(path, ""), status(path, bad), status(path, &good)), (without, without, with), "{path}");
    }
    // Who knows the token may ask by any name.
    assert_eq!(status("/api/status", &format!("{good}Host: box.contoso.com:8085\r\n")), 200);
}

#[test]
fn without_a_token_who_asks_by_a_name_of_his_own_learns_nothing() {
    let lab = Lab::new();
    let demarc = setup(&lab).start(&lab);
    let host = |name: &str| get_with(demarc.web, "/api/calls", &format!("Host: {name}\r\n")).unwrap().0;
    assert_eq!((host("rebound.example:8085"), host("localhost:8085"), host(&demarc.web.to_string())), (421, 200, 200));
}

#[test]
fn the_page_says_that_nothing_but_itself_may_run_in_it() {
    let lab = Lab::new();
    let demarc = setup(&lab).start(&lab);
    for (path, kind) in [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")] {
        let (_, head, _) = get_with(demarc.web, path, "").unwrap();
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"] {
            assert!(policy.split("; ").any(|have| have == part), "{path}: {part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(head.contains(&format!("content-type: {kind}; charset=utf-8")), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
}

// What the JSON interface says of our certificates.

#[test]
fn certificates_are_shown_with_what_each_generation_of_peers_would_say() {
    let lab = Lab::new();
    let mut setup = setup(&lab);
    setup.gateways[0].protocol = "TLS";
    let demarc = setup.start(&lab);
    let shown: serde_json::Value = serde_json::from_str(&get(demarc.web, "/api/certificates").unwrap().1).unwrap();
    let own = &shown["chain"][0];
    assert_eq!((&own["subject"], &shown["roots"][0]["subject"]), (&json!("demarc.lab.test"), &own["issuer"]), "{own}");
    assert_eq!(own["usages"], json!(["serverAuth", "clientAuth"]));
    assert!(own["not_before"].as_str() < own["not_after"].as_str(), "{own}");
    let peers = shown["peers"].as_array().unwrap();
    let configured = peers.iter().filter(|peer| peer["configured"] == true).map(|peer| peer["peer"].as_str().unwrap());
    assert_eq!((peers.len(), configured.collect::<Vec<_>>()), (7, vec!["sfb2019", "carrier"]));
    assert!(peers.iter().all(|peer| peer["findings"].as_array().is_some_and(|all| all.len() > 4)), "{shown}");
    // A reload that brings another certificate shows that one.
    let before = own["not_after"].clone();
    setup.days = (-1, 200);
    setup.write(&lab);
    assert_eq!(demarc.ask(&["reload"]).0, 0);
    let shown: serde_json::Value = serde_json::from_str(&get(demarc.web, "/api/certificates").unwrap().1).unwrap();
    assert_ne!(shown["chain"][0]["not_after"], before);
}

// What happens, as it happens.

#[test]
fn a_listener_hears_calls_and_trunks_and_no_number() {
    let lab = Lab::new();
    let mut lync = Peer::lync(&lab);
    let demarc = setup(&lab).start(&lab);
    line_is_up(&demarc);
    let mut stream = TcpStream::connect(demarc.web).unwrap();
    stream.set_read_timeout(Some(seconds(10))).unwrap();
    write!(stream, "GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", demarc.web).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "content-type: text/event-stream"));
    let link = lync.connect(demarc.lync);
    let mut call = lync.call(&link, "+13125556789", &Sdp::encrypted(lync.host, "sendrecv"));
    call.acknowledge(&lync.expect_within("200 INVITE", seconds(6)));
    call.request("BYE", "", "");
    let mut heard = Vec::new();
    for line in lines {
        let Some(event) = line.strip_prefix("data: ") else { continue };
        assert!(!line.contains("6789") && !line.contains("5550100"), "{line}");
        heard.push(serde_json::from_str::<serde_json::Value>(event).unwrap());
        if heard.last().unwrap()["event"] == "call-ended" {
            break;
        }
    }
    let of = |name: &str| heard.iter().find(|event| event["event"] == name).unwrap();
    let (began, ended) = (of("call-began"), of("call-ended"));
    assert_eq!((&began["from"], &began["call"]), (&json!("lync"), &ended["call"]));
    assert_eq!(
        (&ended["gateway"], &ended["result"], &ended["cause"]),
        (&json!("Gateway2"), &json!("answered"), &json!(16))
    );
}

// In a browser.

fn line_is_up(demarc: &Demarc) {
    until(seconds(10), "the line is up", || {
        let spans: serde_json::Value = serde_json::from_str(&get(demarc.web, "/api/spans")?.1).ok()?;
        let slots = spans[0]["timeslots"].as_array()?;
        (spans[0]["d_channel"] == "up" && slots.iter().all(|slot| slot["state"] != "setup")).then_some(())
    });
}

#[test]
fn a_browser_shows_the_alarm_the_trunks_the_timeslots_and_the_call() {
    let lab = Lab::new();
    if !Browser::installed() {
        return;
    }
    let mut lync = Peer::lync(&lab);
    let mut demarc = setup(&lab).start(&lab);
    line_is_up(&demarc);
    assert_eq!(demarc.ask(&["spans", "block", "Span1", "5", "--yes"]).0, 0);
    let link = lync.connect(demarc.lync);
    let name = format!("P-Asserted-Identity: \"{MISCHIEF}\" <sip:+13125550100@lync.lab.test>\r\n");
    let mut call = lync.call_with(&link, "+13125556789", &name, &Sdp::encrypted(lync.host, "sendrecv"));
    call.acknowledge(&lync.expect_within("200 INVITE", seconds(6)));

    let browser = Browser::start(&lab);
    browser.open(&format!("http://{}/", demarc.web));
    browser.shows("#standing", &["1 call"]);
    browser.shows("#alarms", &["MAJOR", "Gateway1 is down", "What to do: ", "since 20"]);
    browser.shows("#trunks", &["lync\tup for ", "Gateway1\tDOWN for ", "Gateway2\tup for ", "\t0, 1\t"]);
    browser.shows("#lines", &["Span1 up for ", "T1 ni2, of Gateway2; D channel up", "slips 0", "o we call"]);
    let slot = |number: u32| browser.text(&format!("#line-Span1 li:nth-child({number})")).replace('\n', "");
    assert_eq!(
        (browser.count("#line-Span1 li"), slot(1), slot(5), slot(24)),
        (24, "1.".into(), "5b".into(), "24D".into())
    );
    assert_eq!(browser.count("#line-Span1 li.out"), 1);
    browser.shows("#calls", &["connected", "lync\tGateway2", "…789", "PCMU (SRTP) / PCMU"]);
    browser.shows("#clock", &["not compared with any other"]);
    browser.shows("#certificates", &["ours\tdemarc.lab.test", "good for "]);
    assert_eq!(browser.url(), format!("http://{}/", demarc.web));

    // By keyboard alone, to the call and into its ladder; the page being filled anew takes nobody's place away.
    let focused = || browser.run("return document.activeElement.dataset.call ?? ''").as_str().unwrap().to_owned();
    browser.press(TAB);
    let id = focused();
    assert_eq!(id.len(), demarc.calls()[0]["id"].as_str().unwrap().len());
    let age = browser.text("#calls td:nth-child(3)");
    until(seconds(8), "the page is filled anew", || (browser.text("#calls td:nth-child(3)") != age).then_some(()));
    assert_eq!(focused(), id);
    browser.press(ENTER);
    browser.shows("dialog[open]", &[&format!("Call {id}"), "SETUP", "CONNECT", MISCHIEF]);
    assert_eq!(
        (browser.count("img"), browser.run("return document.title")),
        (0, json!("major: Gateway1 (1) - demarc"))
    );
    browser.press(ESCAPE);
    until(seconds(3), "the ladder is closed", || (browser.count("dialog[open]") == 0).then_some(()));

    // Who asks for the last call keeps reading that one.
    browser.run("document.querySelector('[data-call=last]').click()");
    browser.shows("dialog[open]", &[&format!("Call {id}"), "SETUP"]);
    browser.press(ESCAPE);

    // On a telephone, at night.
    browser.emulate(
        "setDeviceMetricsOverride",
        &json!({ "width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": true }),
    );
    assert_eq!(browser.run("return [innerWidth, document.documentElement.scrollWidth]"), json!([360, 360]));
    let paper = || browser.run("return getComputedStyle(document.body).backgroundColor");
    let day = paper();
    browser.emulate("setEmulatedMedia", &json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] }));
    assert_ne!(paper(), day);

    // The call ends, then the box.
    call.request("BYE", "", "");
    browser.shows("#calls", &["No call."]);
    assert_eq!(browser.complaints(), json!([]));
    demarc.signal(Signal::SIGTERM);
    assert!(demarc.end(seconds(5)).is_some());
    browser.shows("#standing", &["The box does not answer", "old."]);
}

/// What no lab brings about in a few seconds: made up, and put in by the page's own functions.
#[test]
fn a_browser_shows_whatever_the_json_interface_may_say() {
    let lab = Lab::new();
    if !Browser::installed() {
        return;
    }
    let demarc = setup(&lab).start(&lab);
    let browser = Browser::start(&lab);
    browser.open(&format!("http://{}/", demarc.web));
    browser.shows("#trunks", &["lync"]);
    // From now on nobody else fills it.
    browser.run("clearTimeout(next)");
    let shows = |part: &str, script: String, words: &[&str]| {
        browser.run(&format!("fill('{part}', {script})"));
        let seen = browser.text(&format!("#{part}"));
        words.iter().for_each(|word| assert!(seen.contains(word), "{word} is not in:\n{seen}"));
    };
    for (seconds, shown) in
        [(0.4, "0s"), (75.0, "1m15s"), (3600.0, "1h00m"), (172_800.0, "2d00h"), (266_400.0, "3d02h")]
    {
        assert_eq!(browser.run(&format!("return duration({seconds})")), json!(shown));
    }
    let server = json!({ "name": "time1", "believed": false, "offset_seconds": -0.0004, "fault": "no answer" });
    let clock = json!({ "trust": "good", "offset_seconds": 30.0, "error_seconds": 0.0054, "servers": [server] });
    shows("clock", format!("clock({clock})"), &["+30.000 s off", "to 5 ms", "time1\tno\t-0.000 s\tno answer"]);
    let clock = json!({ "trust": "suspect", "why": "the servers contradict each other", "servers": [] });
    shows("clock", format!("clock({clock})"), &["the servers contradict each other"]);
    let gateway = json!({ "voices": [{ "voice": "rest", "heard": false, "why": "no answer" }],
        "lines": [{ "name": "Port 1", "alarms": [{ "alarm": "LOS" }] }], "alarms": [{ "name": MISCHIEF }] });
    let trunk = json!({ "name": "Gateway1", "up": null, "since_seconds": 3, "why": "", "calls": [1, 2], "max_calls": 23,
        "clock_offset_seconds": -40, "gateway": gateway });
    let words = ["not asked yet", "1, 2 of 23", "-40 s", "rest: not heard, no answer", "line Port 1: LOS", MISCHIEF];
    shows("trunks", format!("[table(['', '', '', '', ''], [trunk({trunk})])]"), &words);
    let slots = [json!({ "timeslot": 1, "state": "blocked-far" }), json!({ "timeslot": 2, "state": "new" })];
    let line = json!({ "name": "Span1", "trunk": null, "line": "E1", "switch": "qsig", "up": false, "alarms": ["LOS", "RAI"],
        "since_seconds": 9, "why": "", "loop_back": "local", "d_channel": "establishing", "d_channel_stands_by": true, "d_channel_fault": "nobody answers",
        "timeslots": slots, "counters": null, "capture": { "file": "/tmp/d.pcap", "missed": 3 } });
    let words = [
        "Span1 DOWN (LOS RAI) for 9s",
        "E1 qsig, of no trunk",
        "establishing, stands by; last fault: nobody answers",
        "looped back (local)",
        "captured to /tmp/d.pcap",
        "no counters",
        "?",
    ];
    shows("lines", format!("[line({line})]"), &words);
    assert_eq!(browser.count("img"), 0);

    // A full box of sixteen lines: filled anew well within the two seconds between.
    let slots: Vec<_> = (1..=31).map(|timeslot| json!({ "timeslot": timeslot, "state": "in" })).collect();
    let side = json!({ "lost": 0, "mos_received": 4.1, "mos_sent": null });
    let spans = (0..16).map(|at| {
        let mut full = line.clone();
        (full["name"], full["timeslots"]) = (json!(format!("Span{at}")), json!(slots));
        full
    });
    let calls = (0..480).map(|at| {
        json!({ "id": format!("call{at}"), "state": "connected", "age_seconds": at, "from": "lync", "to": "Gateway1",
            "calling": "", "called": "", "codecs": ["PCMU", null], "srtp": [true, false], "media": [side, side] })
    });
    let (spans, calls) = (json!(spans.collect::<Vec<_>>()), json!(calls.collect::<Vec<_>>()));
    browser.run(&format!("window.full = {{ spans: {spans}, calls: {calls} }}"));
    let fill = "const began = performance.now(); fill('lines', full.spans.map(line)); \
                fill('calls', [callTable(full.calls)]); document.body.offsetHeight; return performance.now() - began";
    let times = [browser.run(fill), browser.run(fill)].map(|time| time.as_f64().unwrap());
    println!("a full box is shown in {times:.0?} ms");
    assert_eq!((browser.count("#lines li"), browser.count("#calls tbody tr")), (496, 480));
    assert!(times.iter().all(|time| *time < 1000.0), "{times:?}");
}

#[test]
fn a_browser_is_asked_for_the_token_and_keeps_it_for_its_session() {
    let lab = Lab::new();
    if !Browser::installed() {
        return;
    }
    let mut setup = setup(&lab);
    with_token(&mut setup, &lab);
    let demarc = setup.start(&lab);
    let (browser, page) = (Browser::start(&lab), format!("http://{}/", demarc.web));
    browser.open(&page);
    browser.shows("#token", &["The token of this box"]);
    assert_eq!(browser.text("#box"), "");
    browser.press(&format!("something{ENTER}"));
    browser.shows("#token", &["This is not its token."]);
    browser.press(&format!("{TOKEN}{ENTER}"));
    browser.shows("#trunks", &["lync"]);
    assert_eq!((browser.text("#token"), browser.url()), (String::new(), page.clone()));
    browser.open(&page);
    browser.shows("#trunks", &["lync"]);
}
