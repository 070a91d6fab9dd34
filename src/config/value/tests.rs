//! Values, good and wrong.

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn times_are_read_in_four_units() {
    let read = |text| time(text, S(0), S(3600)).ok();
    assert_eq!(read("10s"), Some(S(10)));
    assert_eq!(read("10"), Some(S(10)));
    assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(read("2m"), Some(S(120)));
    assert_eq!(read("1h"), Some(S(3600)));
    for wrong in ["", "s", "10d", "-1s", "2h", "99999999999999999999", "10µs", "µ"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn hosts_take_names_addresses_and_brackets() {
    let read = |text| host_port(text).ok().map(|h| (h.host, h.port));
    assert_eq!(read("Pool01.Contoso.com:5061"), Some(("pool01.contoso.com".into(), Some(5061))));
    assert_eq!(read("pool01"), Some(("pool01".into(), None)));
    assert_eq!(read("192.0.2.1:5061"), Some(("192.0.2.1".into(), Some(5061))));
    assert_eq!(read("[2001:db8::1]:5061"), Some(("2001:db8::1".into(), Some(5061))));
    assert_eq!(read("2001:db8::1"), Some(("2001:db8::1".into(), None)));
    for wrong in ["pool:0", "pool:x", "po ol", "pool:70000", ":5061", "0.0.0.0:1", "a..b"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn a_capture_goes_to_a_file_of_its_own() {
    for good in ["/var/lib/demarc/span1.pcap", "/span1.pcap"] {
        assert_eq!(capture(good), Ok(good.into()));
    }
    for odd in ["", "span1.pcap", "/", "/var/lib", "/tmp/../etc/x.pcap", "/dev/shm/x.pcap", "/proc/x.pcap", "/tmp/.."] {
        assert!(capture(odd).is_err(), "{odd}");
    }
}

#[test]
fn calls_on_a_schedule_are_read_or_the_wrong_one_is_underlined() {
    let read = calls("every 5m +12065550123 to 4255550100 for 30s, every 5s 1 to 2").unwrap();
    let shown =
        |call: &ScheduledCall| (call.every.as_secs(), call.from.0.clone(), call.to.0.clone(), call.lasts.as_secs());
    let shown: Vec<_> = read.iter().map(shown).collect();
    assert_eq!(shown, [(300, "+12065550123".into(), "4255550100".into(), 30), (5, "1".into(), "2".into(), 20)]);
    for wrong in ["every 1s 1 to 2", "every 1m 1 to", "1 to 2", "every 1m a to 2", "every 1m 1 to 2 for 0", ""] {
        assert!(calls(wrong).is_err(), "{wrong}");
    }
    assert_eq!(calls("every 5s 1 to 2, every 5s 1").map_err(|wrong| wrong.at), Err(17..27));
}

#[test]
fn a_share_is_from_0_to_1() {
    assert_eq!(share("1e-6").map(Share::share), Ok(1e-6));
    assert_eq!((share("0").map(Share::share), share("1").map(Share::share)), (Ok(0.0), Ok(1.0)));
    for wrong in ["-1", "2", "NaN", "inf", "1%", ""] {
        assert!(share(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_wrong_word_in_a_list_is_the_one_underlined() {
    assert_eq!(hosts("pool01:5061 po!ol").map_err(|wrong| wrong.at), Err(12..17));
    assert_eq!(choices("PCMU PCMB", &["PCMU", "PCMA"]).map_err(|wrong| wrong.at), Err(5..9));
}

#[test]
fn dotnet_patterns_compile_or_say_why_not() {
    for good in [".*", r"^\+1312\d{7}$", r"^\+(?!1425)(\d+)$", r"^(?<a>\d)\k<a>$", "^(?'a'1)$", r"^9(\d*){1,5}$"] {
        assert!(pattern(good).is_ok(), "{good}");
    }
    assert!(pattern("^(?'a'1)$").is_ok_and(|regex| regex.is_match("1").unwrap_or(false)));
    let at = |text| pattern(text).map(drop).map_err(|wrong| wrong.at);
    assert_eq!(at("^[0-9-[5]]$"), Err(5..7));
    assert_eq!(at("^[a&&b]$"), Err(3..4));
    assert_eq!(at(r"^\+1(312"), Err(7..8));
    assert_eq!(at("*"), Err(0..1));
    assert_eq!(at("ü("), Err(2..3));
}

#[test]
fn a_runaway_pattern_ends() {
    let regex = pattern(r"^(?=(\d))(\d|\d\d|\1)+x$").ok();
    let digits = "5".repeat(64);
    assert!(regex.is_some_and(|regex| !regex.is_match(&digits).unwrap_or(false)));
}

#[test]
fn doubts_name_what_is_rarely_meant() {
    let at = |text| doubts(text).into_iter().map(|doubt| (doubt.at, doubt.instead)).collect::<Vec<_>>();
    assert_eq!(at(r"^(\d11)$"), [(2..6, r"\d{11} if 11 digits are meant".to_owned())]);
    assert_eq!(at("[0-9]{10}"), [(0..0, "^[0-9]{10}".to_owned())]);
    assert_eq!(at("^1$ ; all")[0].0, 4..9);
    for fine in [".*", "(^1|^2)", r"^(?:\+1)\d{10}$", r"^\d{11}$", r"^\d911234$"] {
        assert_eq!(at(fine), [], "{fine}");
    }
}

#[test]
fn rules_have_two_sides() {
    assert!(Form::Translation.check(r"^(\d{4})$ => +1312555$1").is_ok());
    assert!(Form::Translation.check("^(").is_err());
    assert!(Form::Translation.check("=> 1").is_err());
    assert!(Form::CodeRule.check("486/34 => 503").is_ok());
    assert!(Form::CodeRule.check("0/-1 => 503").is_ok());
    assert_eq!(code_rule("0/18 => 480/19").ok(), Some([(None, Some(Cause(18))), (Some(480), Some(Cause(19)))]));
    assert_eq!(code_rule("486 => 0/34").map_err(|wrong| wrong.at), Err(7..11));
    assert_eq!(Form::CodeRule.check("486 => 5030").map_err(|wrong| wrong.at), Err(7..11));
    assert_eq!(Form::CodeRule.check("200 => 503").map_err(|wrong| wrong.at), Err(0..3));
}

#[test]
fn secrets_are_named_and_never_written() {
    let secret = |text| match typed(text) {
        Ok(Typed::Secret(source)) => Some(source),
        _ => None,
    };
    assert_eq!(secret("${file:/etc/pw}"), Some(SecretSource::File("/etc/pw".into())));
    assert_eq!(secret("${credential:vx-1}"), Some(SecretSource::Credential("vx-1".into())));
    assert_eq!(typed("show $x}"), Ok(Typed::Text("show $x}".into())));
    for wrong in ["${file:pw}", "${credential:../x}", "${credential:..}", "${env:X}", "${}", "a\u{7}", &"x".repeat(201)]
    {
        assert!(typed(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn steps_are_searched_by_lines() {
    let found = |text, screen: &str| step(text).is_ok_and(|(expect, _)| expect.is_in(screen));
    assert!(found("^login: *$ => operator", "hello\nlogin: "));
    assert!(!found("^login: *$ => operator", "last login: today"));
    assert!(found("RETURN =>", "press RETURN"));
    assert_eq!(step("ogin: => ${x:y}").map(drop).map_err(|wrong| wrong.at), Err(9..15));
    assert_eq!(step("ogin( => x").map(drop).map_err(|wrong| wrong.at), Err(4..5));
    assert!(step("=> x").is_err() && step("login").is_err());
}

#[test]
fn gateways_are_asked_by_https_for_ports_of_cards() {
    let read = |text| https(text).ok().map(|at| (at.host, at.port));
    assert_eq!(read("https://192.0.2.20"), Some(("192.0.2.20".into(), None)));
    assert_eq!(read("HTTPS://Gw1.contoso.com:8443/"), Some(("gw1.contoso.com".into(), Some(8443))));
    for wrong in ["http://192.0.2.20", "192.0.2.20", "https://", "https://gw1/rest", "https://a@b", "https:/é"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
    let ports = |text| ports_of_cards(text).map(|ports| ports.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(ports("1:1 2:8"), Ok(vec!["1:1".to_owned(), "2:8".to_owned()]));
    assert_eq!(ports("1:1 2").map_err(|wrong| wrong.at), Err(4..5));
    assert!(ports("0:1").is_err() && ports("1:1000").is_err());
}

#[test]
fn the_nearest_word_is_near() {
    let known = ["Protocol", "Port", "FQDN"];
    assert_eq!(nearest("Protocl", known.into_iter()), Some("Protocol"));
    assert_eq!(nearest("fqnd", known.into_iter()), Some("FQDN"));
    assert_eq!(nearest("Elephant", known.into_iter()), None);
}
