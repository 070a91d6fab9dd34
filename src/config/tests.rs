//! Whole files: what they become, and every fault with its place.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::tone::SPECIAL_INFORMATION;
use crate::wire::q921::Side;
use crate::wire::q931::Dialect;

/// The least that is complete; a case below replaces lines of it.
const LEAST: &str = "\
[Lync]
Fqdn=ms1.contoso.com
NextHop=pool01.contoso.com:5061
Certificate=ms1.pem
PrivateKey=ms1.key
TrustedRoots=roots.pem
[Media]
Address=192.0.2.10
[Gateway1]
IP=192.0.2.20
Port=5060
";

const CCE_142: &str = include_str!("../../config/examples/cloudconnector-1.4.2.ini");
const CCE_20: &str = include_str!("../../config/examples/cloudconnector-2.0.ini");
const CCE_21: &str = include_str!("../../config/examples/cloudconnector-2.1.ini");

fn good(text: &str) -> Config {
    match parse(text.as_bytes(), "/etc/demarc/demarc.ini") {
        Ok((config, _)) => config,
        Err(findings) => panic!("{findings:#?}"),
    }
}

/// `line:column+length severity what | instead` of everything but notes.
fn faults(text: &str) -> Vec<String> {
    let report = check(text.as_bytes(), "demarc.ini");
    let severe = report.findings.iter().filter(|finding| finding.severity != Severity::Note);
    severe.map(shown).collect()
}

fn notes(text: &str) -> Vec<String> {
    let report = check(text.as_bytes(), "demarc.ini");
    report.findings.iter().filter(|finding| finding.severity == Severity::Note).map(shown).collect()
}

fn shown(finding: &Finding) -> String {
    let Finding { line, column, length, severity, what, instead, .. } = finding;
    format!("{line}:{column}+{length} {severity} {what} | {instead}")
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

#[test]
fn the_least_is_complete() {
    let config = good(LEAST);
    assert_eq!(faults(LEAST), [""; 0]);
    assert_eq!(notes(LEAST), [""; 0]);
    assert_eq!(config.identity.fqdn, "ms1.contoso.com");
    assert_eq!(config.identity.certificate, Path::new("/etc/demarc/ms1.pem"));
    assert_eq!(config.lync_listen.to_string(), "0.0.0.0:5070");
    let jitter = Duration::from_millis(120);
    assert_eq!(
        config.media,
        Media {
            address: address(10),
            ports: (49152, 57500),
            threads: None,
            jitter,
            cores: Vec::new(),
            socket_io: SocketIo::Auto,
        }
    );
    assert_eq!((&config.sounds.hold_music, config.sounds.tones.country), (&None, "us"));
    assert_eq!(config.web.listen.map(|listen| listen.to_string()).as_deref(), Some("127.0.0.1:8085"));
    assert_eq!(config.trace.keep, 5000);
    assert_eq!(config.drain_timeout, Duration::from_secs(60));
    assert_eq!(config.logging, Logging { level: Level::Info, show_numbers: false });
    assert_eq!(config.trunk_listen.udp, None);

    let lync = config.lync();
    assert_eq!(lync.kind, TrunkKind::Microsoft(Profile::Sfb2015));
    assert_eq!((lync.own_host.as_str(), lync.own_port), ("ms1.contoso.com", 5070));
    assert_eq!(lync.hops[0].to_string(), "pool01.contoso.com:5061/TLS");
    assert_eq!(lync.peers.names, ["pool01.contoso.com"]);
    assert_eq!(lync.srtp, SrtpMode::Required);
    assert_eq!(lync.codecs, Codec::ALL);

    let gateway = &config.gateways()[0];
    assert_eq!((gateway.id, gateway.name.as_str()), (TrunkId(1), "Gateway1"));
    assert_eq!((gateway.own_host.as_str(), gateway.own_port), ("192.0.2.10", 5068));
    assert_eq!(gateway.hops[0].to_string(), "192.0.2.20:5060/TCP");
    assert_eq!(gateway.peers, Peers { names: vec![], addresses: vec![address(20)] });
    assert_eq!(gateway.srtp, SrtpMode::NotSupported);
    assert_eq!(gateway.switches.fast_failover_timeout, Duration::from_secs(10));
    assert_eq!(gateway.switches.options_interval, Duration::from_secs(60));
    assert_eq!(gateway.switches.max_early_dialogs, 20);
    assert!(gateway.switches.enable_refer_support && gateway.switches.enable_100rel);
    assert!(!gateway.switches.forward_pai);

    assert_eq!(config.routes.len(), 1);
    assert_eq!(config.routes[0].gateways, [TrunkId(1)]);
    assert!(config.routes[0].pattern.is_match("+13125550100").unwrap());
}

#[test]
fn the_sample_says_what_its_text_says() {
    let config = good(&keys::sample());
    assert_eq!(config.identity.private_key, Path::new("/etc/demarc/tls/ms1.key"));
    assert_eq!(config.lync().peers.names, ["pool01.contoso.com", "fe01.contoso.com"]);
    assert_eq!(config.gateways().len(), 1);
    assert_eq!(config.routes.len(), 1);
    assert_eq!(config.routes[0].name, "LocalRoute");
    assert_eq!(config.routes[0].gateways, [TrunkId(1)]);
    assert!(config.routes[0].pattern.is_match("+13125550100").unwrap());
    assert!(!config.routes[0].pattern.is_match("+442075550100").unwrap());
}

/// Every commented-out default of the sample may be made live without changing anything.
#[test]
fn a_default_written_out_changes_nothing() {
    let written = good(&keys::sample());
    let filled = |line: &str| line.split_once('=').is_some_and(|(key, value)| !value.is_empty() && !key.contains(' '));
    let live: Vec<String> = keys::sample()
        .lines()
        .map(|line| match line.strip_prefix(';') {
            Some(rest) if rest.starts_with('[') || filled(rest) => rest.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    // A section of a line is a line.
    let all = Config { spans: Vec::new(), ..good(&live.join("\n")) };
    assert_eq!(format!("{written:?}"), format!("{all:?}"));
}

#[test]
fn cloud_connector_files_are_taken_as_they_are() {
    for text in [CCE_142, CCE_20, CCE_21] {
        assert_eq!(faults(text), [""; 0]);
        let ignored = notes(text).iter().filter(|note| note.contains("is ignored")).count();
        assert!(ignored >= 29, "{ignored}");
    }

    let config = good(CCE_142);
    assert_eq!(config.identity.fqdn, "cc-mspool.cce.local");
    assert_eq!(config.identity.certificate, Path::new("/etc/demarc/tls/demarc.pem"));
    assert_eq!(config.media.address.to_string(), "192.168.0.240");
    assert_eq!(config.lync().hops[0].to_string(), "cc-edgepool.cce.local:5061/TLS");
    assert_eq!(config.lync().peers.names, ["cc-edgepool.cce.local"]);
    // EnableReferSupport stands under [Network] there, and speaks of gateways only.
    assert!(!config.gateways()[0].switches.enable_refer_support);
    assert!(config.lync().switches.enable_refer_support);

    let config = good(CCE_20);
    let gateways = config.gateways();
    assert_eq!((gateways[0].own_host.as_str(), gateways[0].own_port), ("cce-mspool.cce.local", 5067));
    assert_eq!(gateways[0].peers.names, ["sbc1.contoso.com"]);
    assert_eq!((gateways[0].srtp, gateways[1].srtp), (SrtpMode::Required, SrtpMode::NotSupported));
    assert!(gateways.iter().all(|gateway| gateway.switches.forward_pai));
    let taken: Vec<_> = config.routes.iter().map(|route| (route.name.as_str(), route.gateways.clone())).collect();
    let (first, second) = (TrunkId(1), TrunkId(2));
    let expected = [("TollFree", vec![first]), ("LocalRoute", vec![first, second]), ("International", vec![second])];
    assert_eq!(taken, expected);

    let config = good(CCE_21);
    assert_eq!(config.routes.len(), 1);
    assert_eq!(config.routes[0].gateways, [first, second]);
}

#[test]
fn a_cloud_connector_file_in_utf_16_is_the_same_configuration() {
    let windows = CCE_21.replace('\n', "\r\n");
    let bytes: Vec<u8> = [0xFF, 0xFE].into_iter().chain(windows.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let (config, findings) = parse(&bytes, "demarc.ini").unwrap();
    let (expected, same) = parse(CCE_21.as_bytes(), "demarc.ini").unwrap();
    assert_eq!(format!("{config:?}"), format!("{expected:?}"));
    let places = |list: &[Finding]| list.iter().map(shown).collect::<Vec<_>>();
    assert_eq!(places(&findings), places(&same));
}

#[test]
fn a_file_with_nothing_in_it_says_all_that_is_missing() {
    let expected = [
        "1:1+0 error [Lync] Fqdn is missing | Fqdn=ms1.contoso.com, the name in our certificate",
        "1:1+0 error [Media] Address is missing | Address=192.0.2.10, this machine's address",
        "1:1+0 error [Lync] NextHop is missing | NextHop=pool01.contoso.com:5061",
        "1:1+0 warning there is no gateway | [Gateway1] with IP, Port and Protocol",
    ];
    assert_eq!(faults(""), expected);
}

/// Each case: a line of [`LEAST`] and what takes its place; the faults that come of it.
#[test]
fn every_fault_has_its_place_and_its_remedy() {
    let port_range = "a whole number from 1 to 100000";
    let cases: &[(&str, &str, &[&str])] = &[
        // Grammar.
        ("Port=5060", "Port 5060", &["11:1+9 error this line has no `=` | Key=Value, or ; before a remark"]),
        ("Port=5060", "=5060", &["11:1+5 error the key is missing | Key=Value"]),
        ("Port=5060", "Port=5060\nport=5060", &["12:1+4 error `port` stands twice | one of the two lines"]),
        (
            "Port=5060",
            "Port=5060\n[GATEWAY1]\nMaxCalls=3",
            &["12:2+8 warning [GATEWAY1] stands twice | all its keys in one section"],
        ),
        // Names.
        ("Port=5060", "Prot=5060", &["11:1+4 warning unknown key `Prot` | Port=5060"]),
        ("Port=5060", "Ports=1-2", &["11:1+5 warning unknown key `Ports` | Port=1-2"]),
        ("Port=5060", "Profile=x", &["11:1+7 warning unknown key `Profile` | Profile belongs in [Lync]"]),
        ("Port=5060", "[Wbe]", &["11:2+3 warning unknown section [Wbe] | [Web]"]),
        // Forms.
        ("Port=5060", "Port=0", &["11:6+1 error `Port` has a wrong value | a port from 1 to 65535"]),
        (
            "Port=5060",
            "Port=5060 ; SIP",
            &["11:6+10 error `Port` has a wrong value | the remark on a line of its own: Port=5060"],
        ),
        ("Port=5060", "MaxCalls=-1", &[&format!("11:10+2 error `MaxCalls` has a wrong value | {port_range}")]),
        (
            "Port=5060",
            "EnableReferSupport=maybe",
            &["11:20+5 error `EnableReferSupport` has a wrong value | True or False"],
        ),
        ("Port=5060", "Protocol=TSL", &["11:10+3 error `Protocol` has a wrong value | TLS (one of UDP, TCP, TLS)"]),
        (
            "Port=5060",
            "OptionsInterval=10d",
            &["11:17+3 error `OptionsInterval` has a wrong value | 0 to 1h, for example 10s, 500ms, 2m"],
        ),
        (
            "IP=192.0.2.20",
            "IP=192.0.2.20 192.0.2",
            &["10:15+7 error `IP` has a wrong value | an address, for example 192.0.2.10"],
        ),
        (
            "Fqdn=ms1.contoso.com",
            "Fqdn=192.0.2.1",
            &["2:6+9 warning `Fqdn` is an address | Fqdn=ms1.contoso.com, the name in our certificate"],
        ),
        (
            "Address=192.0.2.10",
            "Address=0.0.0.0",
            &["8:9+7 error `Address` has a wrong value | the address of one machine, such as 192.0.2.10"],
        ),
        (
            "Address=192.0.2.10",
            "Address=192.0.2.10\nPorts=57500-49152",
            &["9:7+11 error `Ports` has a wrong value | 49152-57500"],
        ),
        (
            "Address=192.0.2.10",
            "Address=192.0.2.10\nPorts=5000-5002",
            &["9:7+9 error too few ports | Ports=49152-57500"],
        ),
        // Patterns.
        (
            "Port=5060",
            "[HybridVoiceRoutes]\nLocal=^\\+1(312",
            &["12:14+1 error `Local` has a wrong value | a regular expression, for example ^\\+1312\\d{7}$"],
        ),
        (
            "Port=5060",
            "VoiceRoutes=Local\n[HybridVoiceRoutes]\nLocal=^(\\d11)$",
            &["13:9+4 warning `Local` may match other than is meant | \\d{11} if 11 digits are meant"],
        ),
        (
            "Port=5060",
            "VoiceRoutes=Local\n[HybridVoiceRoutes]\nLocal=\\+1\\d*",
            &["13:7+6 warning `Local` may match other than is meant | ^\\+1\\d*"],
        ),
        (
            "Port=5060",
            "[DialPlan A]\nX=^(\\d{4}$ => $1",
            &["12:10+1 error `X` has a wrong value | a regular expression, for example ^\\+1312\\d{7}$"],
        ),
        // What spans several keys.
        (
            "Port=5060",
            "VoiceRoutes=Locl, Far\n[HybridVoiceRoutes]\nLocal=^1",
            &[
                "11:13+4 error unknown route `Locl` | Local",
                "11:19+3 error unknown route `Far` | one of Local",
                "13:1+5 warning no gateway takes `Local` | VoiceRoutes=Local at a gateway",
            ],
        ),
        (
            "Port=5060",
            "Protocol=TLS",
            &["11:10+3 error [Gateway1] has no FQDN | FQDN=gw1.contoso.com, the name in the gateway's certificate"],
        ),
        (
            "Port=5060",
            "Protocol=UDP",
            &["11:10+3 error [Gateway1] cannot reach us by UDP | UdpListen=0.0.0.0:5060 under [Trunks]"],
        ),
        (
            "IP=192.0.2.20",
            "IP=",
            &["9:2+8 error [Gateway1] has neither FQDN nor IP | IP=192.0.2.20, or delete the section"],
        ),
        (
            "Port=5060",
            "[Gateway2]\nIP=192.0.2.20",
            &["11:2+8 error [Gateway2] is the same peer as [Gateway1] | one section, with the routes of both"],
        ),
        (
            "Port=5060",
            "[Gateway2]\nIP=192.0.2.20\nPort=5062",
            &[
                "11:2+8 warning [Gateway2] and [Gateway1] share an address | different protocols, or an address for each",
            ],
        ),
        ("Port=5060", "Kind=isdn", &["9:2+8 error [Gateway1] has no lines | Span=Span1, and a section [Span1]"]),
        ("Port=5060", "DialPlan=Chicago", &["11:10+7 warning there is no [DialPlan Chicago] | [DialPlan Chicago]"]),
        (
            "NextHop=pool01.contoso.com:5061",
            "NextHop=192.0.2.1:5061",
            &[
                "3:9+14 error [Lync] TrustedPeers is missing | TrustedPeers=pool01.contoso.com, the names in the pool's certificates",
            ],
        ),
        (
            "NextHop=pool01.contoso.com:5061",
            "NextHop=",
            &["3:1+7 error [Lync] NextHop is missing | NextHop=pool01.contoso.com:5061"],
        ),
        ("[Media]", "Listen=\n[Media]", &["7:1+6 error [Lync] Listen cannot be off | Listen=0.0.0.0:5070"]),
        (
            "[Media]",
            "Listen=192.0.2.10:5068\n[Media]",
            &["7:8+15 error [Lync] Listen and [Trunks] TcpListen want the same port | a port of its own"],
        ),
        (
            "[Media]",
            "[Trunks]\nUdpListen=0.0.0.0:50000\n[Media]",
            &["8:11+13 error [Trunks] UdpListen lies among the media ports | UdpListen=0.0.0.0:5060"],
        ),
        (
            "[Media]",
            "Profile=teams\nSRTPMode=NotSupported\n[Media]",
            &["8:10+12 warning Teams needs encrypted media | SRTPMode=Required"],
        ),
        (
            "[Media]",
            "[Web]\nListen=0.0.0.0:8085\n[Media]",
            &["8:8+12 error [Web] TokenFile is missing | TokenFile=/etc/demarc/web.token, or Listen=127.0.0.1:8085"],
        ),
    ];
    for (line, instead, expected) in cases {
        assert!(LEAST.contains(&format!("{line}\n")), "{line}");
        let text = LEAST.replacen(&format!("{line}\n"), &format!("{instead}\n"), 1);
        assert_eq!(&faults(&text), expected, "{instead}");
        let unusable = expected.iter().any(|fault| fault.contains(" error "));
        assert_eq!(check(text.as_bytes(), "demarc.ini").config.is_none(), unusable, "{instead}");
    }
}

#[test]
fn all_faults_come_in_one_go() {
    let text = "[Lync]\nFqdn=a b\nNextHop=pool:x\nnothing\n[Media]\nAddress=here\n[Gateway1]\nPort=x\nProtocol=x\n";
    let errors = faults(text).len();
    assert_eq!(errors, 7, "{:#?}", faults(text));
}

#[test]
fn what_has_no_effect_is_said_in_a_note() {
    let text = format!(
        "{LEAST}Console=/dev/ttyUSB0\nEnableBypass=True\nSRTPMode=Required\n         [Clock]\nServers=time1.contoso.com:123\n[CDR]\nDatabase=postgres://db\n[Trace]\nHep=192.0.2.9:9060\n"
    );
    assert_eq!(faults(&text), [""; 0]);
    let expected = [
        "12:9+12 note the console of [Gateway1] is not read | Kind=vx1200",
        "13:1+12 note `EnableBypass` has no effect yet | it may stay",
        "14:10+8 note media to [Gateway1] is not encrypted | Protocol=TLS at the gateway, if it can",
        "17:2+3 note [CDR] has no effect yet | it may stay",
        "20:1+3 note `Hep` has no effect yet | it may stay",
    ];
    assert_eq!(notes(&text), expected);
}

#[test]
fn rules_for_refusals_are_read_in_their_order_and_belong_to_the_trunks_that_name_them() {
    let lines = "[ResponseCodeRules A]\nCongestion=486/34 => 503\nAny=0/-1 => 480/19\n";
    let text = format!("{LEAST}ResponseCodeRules=a\n{lines}");
    assert_eq!(faults(&text), [""; 0]);
    let (config, _) = parse(text.as_bytes(), "demarc.ini").unwrap();
    let rules: Vec<_> = config.trunks[1].refusals.iter().map(|rule| (rule.name.as_str(), rule.status)).collect();
    assert_eq!(rules, [("Congestion", Some(486)), ("Any", None)]);
    assert!(config.trunks[0].refusals.is_empty());
    let nowhere = LEAST.replacen("[Lync]\n", "[Lync]\nResponseCodeRules=B\n", 1);
    assert_eq!(faults(&nowhere), ["2:19+1 warning there is no [ResponseCodeRules B] | [ResponseCodeRules B]"]);
}

/// The interface's own listing, without its remarks.
#[test]
fn every_agreed_section_and_key_is_known() {
    let text = r"
[Lync]
Profile=sfb2015
Fqdn=ms1.contoso.com
Listen=0.0.0.0:5070
NextHop=pool01.contoso.com:5061
Certificate=/etc/demarc/tls/ms1.pem
PrivateKey=/etc/demarc/tls/ms1.key
TrustedRoots=/etc/demarc/tls/roots.pem
TrustedPeers=pool01.contoso.com fe01.contoso.com
SRTPMode=Required
[Trunks]
TlsListen=0.0.0.0:5067
TcpListen=0.0.0.0:5068
UdpListen=
[Media]
Address=192.0.2.10
Ports=49152-57500
Codecs=opus G722 PCMU PCMA
Threads=auto
[Gateway1]
FQDN=gw1.contoso.com
IP=192.0.2.20
Port=5067
Protocol=TLS
VoiceRoutes=LocalRoute
Kind=sip
Span=Span1
Console=/dev/ttyUSB0
DialPlan=Chicago
CalledNumberRules=Chicago-out
CallingNumberRules=Chicago-cli
ResponseCodeRules=Chicago-codes
MaxCalls=23
EnableReferSupport=False
[HybridVoiceRoutes]
LocalRoute=^\+1312\d{7}$
[TrunkConfiguration]
EnableReferSupport=True
EnableFastFailoverTimer=True
ForwardCallHistory=False
ForwardPAI=False
[DialPlan Chicago]
FourDigits=^(\d{4})$ => +1312555$1
[CalledNumberRules Chicago-out]
[CallingNumberRules Chicago-cli]
[ResponseCodeRules Chicago-codes]
Congestion=486/34 => 503
[Span1]
Driver=simulated
Line=T1
Device=1
Switch=ni2
Side=user
[Clock]
Servers=time1.contoso.com time2.contoso.com
MaxAhead=1s
MaxBehind=60s
Discipline=No
[Web]
Listen=127.0.0.1:8085
TokenFile=/etc/demarc/web.token
[CDR]
Database=/var/lib/demarc/cdr.sqlite
[Trace]
Keep=5000
Hep=
";
    assert_eq!(faults(text), [""; 0]);
    assert_eq!(good(text).gateways()[0].max_calls, Some(23));
    // One note for each thing that nothing reads yet: four keys of the gateway, two sections; and Span at Kind=sip.
    assert_eq!(notes(text).len(), 7, "{:#?}", notes(text));
}

#[test]
fn music_is_looked_for_beside_the_file_and_tones_by_country() {
    let config = good(&LEAST.replace("[Media]\n", "[Media]\nHoldMusic=music/hold.opus\nTones=DE\n"));
    let music = config.sounds.hold_music.unwrap();
    assert_eq!(music.path, Path::new("/etc/demarc/music/hold.opus"));
    assert_eq!((music.named_at.len(), music.sound), ("music/hold.opus".len(), None));
    assert_eq!(config.sounds.tones.country, "de");
    assert!(good(&LEAST.replace("[Media]\n", "[Media]\nHoldMusic=\n")).sounds.hold_music.is_none());
}

#[test]
fn a_gateway_s_own_word_goes_before_the_common_one() {
    let text = format!(
        "{LEAST}EnableReferSupport=True\nOptionsInterval=0\n[Gateway2]\nFQDN=GW2.contoso.com\n\
         [TrunkConfiguration]\nenablerefersupport=no\nMaxEarlyDialogs=1\nFastFailoverTimeout=1500ms\n"
    );
    let config = good(&text);
    let [first, second] = config.gateways() else { panic!("two gateways") };
    assert!(first.switches.enable_refer_support && !second.switches.enable_refer_support);
    assert_eq!(first.switches.options_interval, Duration::ZERO);
    assert_eq!((first.switches.max_early_dialogs, second.switches.max_early_dialogs), (1, 1));
    assert_eq!(second.switches.fast_failover_timeout, Duration::from_millis(1500));
    // The Microsoft side keeps the defaults.
    assert!(config.lync().switches.enable_refer_support);
    assert_eq!(config.lync().switches.max_early_dialogs, 20);
    // A name alone is looked up by SRV.
    assert_eq!(second.hops[0].to_string(), "gw2.contoso.com/TCP");
}

#[test]
fn third_party_call_control_goes_before_refer() {
    for (first, common, refers) in [
        ("", "Enable3pccRefer=True", false),
        ("", "Enable3pccRefer=False", true),
        ("", "EnableReferSupport=True\nEnable3pccRefer=True", false),
        ("", "EnableReferSupport=False\nEnable3pccRefer=False", false),
        ("EnableReferSupport=True", "Enable3pccRefer=True", true),
        ("Enable3pccRefer=True", "EnableReferSupport=True", false),
        ("Enable3pccRefer=False", "Enable3pccRefer=True", false),
    ] {
        let config = good(&format!("{LEAST}{first}\n[TrunkConfiguration]\n{common}\n"));
        assert_eq!(config.gateways()[0].switches.enable_refer_support, refers, "{first} | {common}");
    }
}

#[test]
fn gateways_are_bounded() {
    let gateway = |n: usize| format!("[Gateway{n}]\nIP=10.0.{}.{}\n", n / 256, n % 256);
    let text: String = std::iter::once(LEAST.to_owned()).chain((2..=1001).map(gateway)).collect();
    let expected =
        "2010:2+11 error [Gateway1001] is one gateway too many | several IPs in one section, or a second machine";
    assert_eq!(faults(&text), [expected]);
}

#[test]
fn an_own_name_follows_from_the_protocol() {
    let own = |text: &str| good(&format!("{LEAST}{text}")).gateways()[0].own_host.clone();
    assert_eq!(own("[Trunks]\nTcpListen=192.0.2.11:5068\n"), "192.0.2.11");
    assert_eq!(own("[Trunks]\nOwnHost=trunk.contoso.com\n"), "trunk.contoso.com");
    assert_eq!(own("Protocol=TLS\nFQDN=gw1.contoso.com\n"), "ms1.contoso.com");
}

#[test]
fn a_gateway_keeps_its_number_wherever_it_stands() {
    let config = good(&format!("{LEAST}[Gateway7]\nIP=192.0.2.27\n[Gateway3]\nIP=192.0.2.23\n"));
    let ids: Vec<_> = config.gateways().iter().map(|gateway| gateway.id).collect();
    assert_eq!(ids, [TrunkId(1), TrunkId(7), TrunkId(3)]);
}

#[test]
fn a_gateway_without_routes_takes_what_is_left() {
    let routes = "[Gateway2]\nIP=192.0.2.21\n[HybridVoiceRoutes]\nLocal=^\\+1\n";
    let config = good(&format!("{LEAST}VoiceRoutes=local\n{routes}"));
    let taken: Vec<_> = config.routes.iter().map(|route| (route.name.as_str(), route.gateways.clone())).collect();
    let (first, second) = (TrunkId(1), TrunkId(2));
    assert_eq!(taken, [("Local", vec![first, second]), (voice_routes::ANY_NUMBER, vec![second])]);
}

/// Bytes of good files, damaged: whatever comes of it, there is no panic, every place lies in the
/// text, and a configuration exists exactly when no error was found.
#[test]
fn no_damage_breaks_the_reader() {
    let seeds = [keys::sample(), LEAST.into(), CCE_142.into(), CCE_20.into(), CCE_21.into()];
    bolero::check!().with_type::<(u8, Vec<(u16, u8, u8)>)>().with_iterations(2000).for_each(|(which, damage)| {
        let mut bytes = seeds[usize::from(*which) % seeds.len()].clone().into_bytes();
        for &(at, how, octet) in damage.iter().take(8) {
            damaged(&mut bytes, usize::from(at), how, octet);
        }
        let report = check(&bytes, "demarc.ini");
        assert_eq!(report.config.is_some(), report.findings.iter().all(|f| f.severity != Severity::Error));
        for finding in &report.findings {
            assert!(report.source.text().get(finding.span.clone()).is_some(), "{finding}");
            assert!(finding.line >= 1 && finding.column >= 1);
        }
    });
}

fn damaged(bytes: &mut Vec<u8>, at: usize, how: u8, octet: u8) {
    let at = at % (bytes.len() + 1);
    match how {
        0..60 => bytes.insert(at, octet),
        60..160 => bytes.insert(at, *b"=[]\n;\\(){}*+\xFF\0".get(usize::from(octet) % 14).unwrap_or(&b'=')),
        160..250 => bytes.drain(at..(at + usize::from(octet % 16)).min(bytes.len())).for_each(drop),
        250..253 => bytes.truncate(at),
        _ => bytes.rotate_left(at),
    }
}

#[test]
fn lines_and_the_groups_that_take_calls_on_them() {
    let text = format!(
        "{LEAST}Kind=isdn\nSpan=Span2, span1\n[Span1]\nDriver=dahdi\nDevice=1\nLine=E1\nSwitch=euroisdn\n\
         [Span2]\nDriver=e1d\nDevice=/run/e1d.ctl:1:2\nLine=E1\nSwitch=euroisdn\nDChannel=Span1\nInterface=1\n\
         Hunt=ascending\nEchoTail=off\n[Span3]\nSide=network\nTimeslot=preferred\nOverlap=4\nDisconnectTones=True\n\
         ReceiveGain=-6\nTransmitGain=3\n[Gateway2]\nKind=isdn\nSpan=Span3\n"
    );
    assert_eq!(faults(&text), [""; 0]);
    let config = good(&text);
    let trunk = &config.gateways()[0];
    assert_eq!(
        (trunk.kind, &trunk.spans[..], &trunk.codecs[..]),
        (TrunkKind::Isdn, &[SpanId(2), SpanId(1)][..], &[Codec::Pcma][..])
    );
    let [first, second, third] = &config.spans[..] else { panic!("{:?}", config.spans) };
    assert_eq!((&first.driver, first.dialect, first.side), (&Driver::Dahdi(1), Dialect::EuroIsdn, Side::User));
    assert_eq!(second.driver, Driver::E1d("/run/e1d.ctl:1:2".parse().unwrap()));
    assert_eq!((second.d_channel, second.interface, second.hunt), (DChannel::Of(SpanId(1)), Some(1), Hunt::Ascending));
    assert_eq!((first.bearers().count(), second.bearers().count(), second.echo_tail), (30, 31, None));
    assert!(!trunk.line_transfer);
    assert_eq!((&third.driver, third.side, third.bearers().count()), (&Driver::Simulated, Side::Network, 23));
    let wishes = |span: &Span| (span.exclusive, span.overlap, span.disconnect_tones);
    assert_eq!((wishes(first), wishes(third)), ((true, None, false), (false, Some(4), true)));
    assert_eq!([first, third].map(|span| (span.receive_gain, span.transmit_gain)), [(0, 0), (-6, 3)]);
    for gain in ["13", "-13", "1.5", "loud", "300"] {
        assert_eq!(faults(&text.replace("ReceiveGain=-6", &format!("ReceiveGain={gain}"))).len(), 1, "{gain}");
    }
}

#[test]
fn a_line_that_changes_begins_all_lines_of_its_d_channel_anew() {
    let lines = |second: &str, third: &str| {
        good(&format!(
            "{LEAST}[Gateway2]\nKind=isdn\nSpan=Span1 Span3\n[Span1]\n[Span2]\nDChannel=Span1\n{second}\n[Span3]\n{third}\n"
        ))
    };
    let before = lines("Interface=1", "");
    let ended = |after: &Config| before.lines_ended_by(after).map(|span| span.id.0).collect::<Vec<_>>();
    assert_eq!(ended(&before), [0; 0]);
    assert_eq!(ended(&lines("Interface=2", "")), [1, 2]);
    assert_eq!(ended(&lines("Interface=1", "Side=network")), [3]);
    assert_eq!(ended(&good(LEAST)), [1, 2, 3]);
    assert_eq!(
        ended(&lines(
            "Interface=1\nEchoTail=off\nReceiveGain=3",
            "CountryCode=49\nHunt=ascending\nOverlap=4\nTransmitGain=-3\nTimeslot=preferred"
        )),
        [0; 0],
        "of the next call"
    );
}

#[test]
fn a_simulated_line_has_its_faults_and_calls() {
    let keys = "Capture=/a.pcap\nBitErrors=1e-6\nFrameLoss=0.01\nSlips=24\nCalls=every 10s 1 to 2\n";
    let text = format!("{LEAST}[Gateway2]\nKind=isdn\nSpan=Span1 Span2\n[Span1]\n{keys}[Span2]\nCapture=/b.pcap\n");
    assert_eq!(faults(&text), [""; 0]);
    let span = good(&text).spans.swap_remove(0);
    let Simulation { calls, bit_errors, frame_loss, slips } = &span.simulation;
    assert_eq!((calls.len(), bit_errors.share(), frame_loss.share(), *slips), (1, 1e-6, 0.01, 24));
    assert_eq!(span.capture.as_deref(), Some(std::path::Path::new("/a.pcap")));
    let same = faults(&text.replace("/b.pcap", "/a.pcap"));
    assert!(same.len() == 2 && same[1].contains("[Span2] and [Span1] capture into one file"), "{same:?}");
}

#[test]
fn every_order_of_hunting_has_its_word() {
    let hunts = [Hunt::Opposite, Hunt::Ascending, Hunt::Descending, Hunt::LeastRecent, Hunt::MostRecent];
    for (word, hunt) in keys::HUNTS.iter().zip(hunts) {
        assert_eq!(good(&format!("{LEAST}[Span1]\nHunt={word}\n")).spans[0].hunt, hunt, "{word}");
    }
    assert_eq!(good(&format!("{LEAST}[Span1]\n")).spans[0].hunt, Hunt::Opposite);
}

#[test]
fn a_line_that_cannot_be_used_is_told_of() {
    for (lines, expected) in [
        ("[Span0]", "error a line has no usable number | [Span1] to [Span65535]"),
        ("[Span1]\nDriver=dahdi", "error the line has no Device | Device=1"),
        ("[Span1]\nDriver=dahdi\nDevice=0", "error this is no span of DAHDI's | Device=1"),
        (
            "[Span1]\nDriver=dahdi\nDevice=1\n[Span2]\nDriver=dahdi\nDevice=1",
            "error [Span2] is the same line as [Span1] | the number of another line",
        ),
        ("[Span1]\nDChannel=mine", "error `DChannel` has a wrong value | own, Span1, or backup Span1"),
        ("[Span1]\nDChannel=Span2", "error [Span2] has no D channel of its own | the line of the group that has one"),
        ("[Span1]\n[Span2]\nDChannel=backup Span1", "error [Span2] has no Interface | Interface=1"),
        (
            "[Span1]\n[Span2]\nDChannel=Span1\nInterface=1\nSwitch=5ess",
            "error [Span1] and [Span2] are not alike | the same values in both sections",
        ),
        ("[Gateway2]\nKind=isdn\nSpan=Span9", "error there is no [Span9] | a section [Span9] with Driver and Line"),
        ("[Span1]\nCapture=span1.pcap", "error `Capture` has a wrong value | /var/lib/demarc/span1.pcap"),
        (
            "[Span1]\n[Gateway2]\nKind=isdn\nSpan=Span1\n[Gateway3]\nKind=isdn\nSpan=Span1",
            "error [Gateway3] and [Gateway2] share a line | each line in one gateway",
        ),
        (
            "[Span1]\n[Span2]\nDChannel=Span1\nInterface=1\n[Gateway2]\nKind=isdn\nSpan=Span1\n[Gateway3]\nKind=isdn\nSpan=Span2",
            "error [Gateway3] and [Gateway2] share a D channel | all lines of a D channel in one gateway",
        ),
        (
            "[Span1]\n[Span2]\nDChannel=Span1\nInterface=0",
            "error [Span2] has the Interface of [Span1] | the line's own number",
        ),
        (
            "[Span1]\n[Span2]\nDChannel=Span1\nInterface=1\n[Span3]\nDChannel=backup Span1\nInterface=1",
            "error [Span3] has the Interface of [Span2] | the line's own number",
        ),
        (
            "[Span1]\n[Span2]\nDChannel=backup Span1\nInterface=1\n[Span3]\nDChannel=backup Span1\nInterface=2",
            "error [Span3] is a second backup beside [Span2] | DChannel=Span1",
        ),
        (
            "[Span1]\nSwitch=qsig\n[Span2]\nSwitch=qsig\nDChannel=Span1\nInterface=1",
            "error [Span2] cannot share a D channel | DChannel=own",
        ),
        // What is wrong with a line is said there, and not by who names it.
        ("[Gateway2]\nKind=isdn\nSpan=Span1\n[Span1]\nDriver=dahdi", "error the line has no Device | Device=1"),
    ] {
        let found = faults(&format!("{LEAST}{lines}\n"));
        let said = found.iter().filter_map(|fault| fault.split_once(' ').map(|(_, said)| said));
        assert_eq!(said.filter(|said| said.starts_with("error")).collect::<Vec<_>>(), [expected], "{lines}");
    }
}

#[test]
fn only_an_exchange_is_asked_to_join_calls() {
    let text = |keys: &str| format!("{LEAST}Kind=isdn\nSpan=Span1\nLineTransfer=Auto\n[Span1]\n{keys}\n");
    for (keys, asked) in [("", true), ("Side=network", false), ("Side=network\nSwitch=qsig", true)] {
        assert_eq!(good(&text(keys)).gateways()[0].line_transfer, asked, "{keys}");
        let told: &[&str] =
            if asked { &[] } else { &["14:14+4 warning nobody joins calls on [Span1] | LineTransfer=no"] };
        assert_eq!(faults(&text(keys)), told, "{keys}");
    }
}

#[test]
fn what_is_written_for_lines_and_acts_on_none_is_told_of() {
    let idle = |lines: &str| faults(&format!("{LEAST}{lines}\n"));
    let nobodys = "12:2+5 warning no gateway has [Span1] | Span=Span1 at a gateway of Kind=isdn";
    assert_eq!(idle("[Span1]"), [nobodys]);
    assert_eq!(idle("[Span1]\n[Span2]\nDChannel=Span1\nInterface=1"), [nobodys]);
    let group = "[Span2]\nDChannel=Span1\nInterface=1\n[Span1]\n[Gateway2]\nKind=isdn\nSpan=span2";
    assert_eq!(idle(group), [""; 0]);
    assert_eq!(
        notes(&format!("{LEAST}Span=Span1\n[Gateway2]\nKind=isdn\nSpan=Span1\nIP=192.0.2.21\n[Span1]\n")),
        [
            "12:1+4 note `Span` has no effect at [Gateway1] | nothing, or another Kind",
            "16:1+2 note `IP` has no effect at [Gateway2] | nothing, or another Kind",
        ]
    );
    let card = format!("{LEAST}[Gateway2]\nKind=isdn\nSpan=Span1\n[Span1]\nDriver=dahdi\nDevice=1\nSlips=3\n");
    assert_eq!(notes(&card), ["18:1+5 note `Slips` has no effect at [Span1] | nothing, or another Driver"]);
    let captured = idle(&group.replace("Interface=1", "Interface=1\nCapture=/a.pcap"));
    let what = "[Span2] has no D channel to capture | Capture in [Span1], and in the line with the backup";
    assert!(captured[0].ends_with(what), "{captured:?}");
}

/// [`LEAST`] with a console and its script.
fn with_console(gateway: &str, script: &str) -> String {
    format!("{LEAST}Kind=vx1200\n{gateway}\n[Console Vx]\n{script}\n")
}

#[test]
fn a_console_has_a_script() {
    let script = "Speed=19200\nPrompt=^vx> *$\nMore=^--More--\nLogin user=login: *$ => operator\n\
                  Login Password=assword: *$ => ${credential:vx}\nCommand ds1=show ds1\nCommand fans=show fans\n\
                  Alarm T1-1 LOS=^1 .*LOS\nAlarm fan=FAILED\nClear FAN=OK";
    let text = with_console("Console=/dev/ttyUSB0\nConsoleScript=vx", script);
    let config = good(&text);
    assert_eq!(faults(&text), [""; 0]);
    let console = config.gateways()[0].voices.console.clone().unwrap();
    let script = console.script.unwrap();
    assert_eq!((console.device, script.speed), ("/dev/ttyUSB0".into(), 19200));
    assert_eq!(script.interval, Duration::from_secs(60));
    assert_eq!(script.commands, [Typed::Text("show ds1".into()), Typed::Text("show fans".into())]);
    assert_eq!(script.login[1].1, Typed::Secret(SecretSource::Credential("vx".into())));
    let alarms: Vec<_> = script.alarms.iter().map(|alarm| (alarm.name.as_str(), alarm.clear.is_some())).collect();
    assert_eq!(alarms, [("T1-1 LOS", false), ("fan", true)]);
    assert!(script.more.is_some() && script.prompt.is_in("show fans\nvx> "));
}

#[test]
fn a_console_without_a_script_is_only_watched() {
    let config = good(&with_console("Console=/dev/ttyS0", "Prompt=>"));
    assert_eq!(config.gateways()[0].voices.console, Some(Console { device: "/dev/ttyS0".into(), script: None }));
}

#[test]
fn what_is_wrong_with_a_console_is_said_where_it_stands() {
    let console = "Console=/dev/ttyUSB0\nConsoleScript=Vx";
    let found = |gateway: &str, script: &str| faults(&with_console(gateway, script));
    assert_eq!(
        found(console, "Command a=show alarms"),
        [r"15:2+10 warning [Console Vx] has no Prompt | Prompt=^\S+[>#]$"]
    );
    assert_eq!(found(console, "Prompt=>"), ["15:2+10 warning [Console Vx] asks nothing | Command Alarms=show alarms"]);
    assert_eq!(
        found(console, "Prompt=>\nCommand a=reload now\nClear Fan=OK"),
        [
            "17:11+10 warning this command does not look harmless | a command that only shows",
            "18:1+9 warning there is no alarm `Fan` to clear | Alarm Fan=",
        ]
    );
    assert_eq!(
        found("Console=/dev/ttyUSB0\nConsoleScript=Wx", "Prompt=>"),
        ["14:15+2 warning there is no [Console Wx] | [Console Wx]"]
    );
    assert_eq!(
        found(console, "Prompt=>\nCommand a=show\nLogin a=user => ${env:x}\ncommand A=list"),
        [
            "18:17+8 error `Login a` has a wrong value | a line as it would be typed, or ${file:/path} or \
             ${credential:name} where a secret belongs",
            "19:1+9 error `command A` stands twice | one of the two lines",
        ]
    );
    let sip = LEAST.replace("Port=5060", "Port=5060\nConsole=/dev/ttyUSB0");
    assert_eq!(notes(&sip), ["12:9+12 note the console of [Gateway1] is not read | Kind=vx1200"]);
    let twice = with_console(console, "Prompt=>\nCommand a=show")
        + "[Gateway2]\nIP=192.0.2.21\nKind=vx1200\nConsole=/dev/ttyUSB0\n";
    assert_eq!(faults(&twice), ["21:9+12 error the console is the one of [Gateway1] | the device of this gateway"]);
}

#[test]
fn a_gateway_is_asked_by_rest_once_all_is_there() {
    let with = |lines: &str| format!("{LEAST}Kind=vx1200\nRest=https://192.0.2.20\n{lines}");
    let whole = with("RestUser=demarc\nRestPasswordFile=vx.password\nRestPorts=1:1 1:2\n");
    let rest = good(&whole).gateways()[0].voices.rest.clone().unwrap();
    assert_eq!((rest.host.to_string().as_str(), rest.ports.len()), ("192.0.2.20", 2));
    assert_eq!(rest.password, Path::new("/etc/demarc/vx.password"));
    assert_eq!((rest.interval, rest.roots), (Duration::from_secs(60), None));
    let lacking = |text: &str, key: &str| {
        assert_eq!(faults(text), [format!("13:6+18 warning [Gateway1] is not asked by REST | {key}")]);
        assert_eq!(good(text).gateways()[0].voices.rest, None);
    };
    lacking(&with("RestUser=demarc\nRestPorts=1:1\n"), "RestPasswordFile");
    lacking(&with("RestUser=demarc\nRestPasswordFile=a\n"), "RestPorts");
    lacking(&whole.replace("vx1200", "sip"), "Kind=vx1200");
    assert_eq!(
        faults(&whole.replace("https", "http"))[0],
        "13:6+17 error `Rest` has a wrong value | https://192.0.2.20, or with a name or a port"
    );
}

#[test]
fn traps_have_a_port_of_their_own() {
    let with = |lines: &str| format!("{LEAST}[Trunks]\n{lines}\n");
    assert_eq!(good(&with("TrapCommunityFile=community")).traps, None);
    let traps = good(&with("TrapListen=0.0.0.0:162\nTrapCommunityFile=community")).traps.unwrap();
    assert_eq!(traps.community.as_deref(), Some(Path::new("/etc/demarc/community")));
    assert_eq!(
        faults(&with("UdpListen=0.0.0.0:5060\nTrapListen=192.0.2.10:5060")),
        ["14:12+15 error [Trunks] TrapListen and [Trunks] UdpListen want the same port | a port of its own"]
    );
}

#[test]
fn an_announcement_is_a_tone_of_the_country_or_a_file() {
    let config = good(
        &LEAST
            .replace("[Media]\n", "[Announcements]\nBusy=Busy\nUnassigned=sit\nOther=closed.opus\n[Media]\nTones=de\n"),
    );
    let germany = config.sounds.tones;
    let mut announcements = config.sounds.announcements;
    let tone = |status| match announcements.of(status) {
        Some(Announced::Tone(tone)) => Some(*tone),
        _ => None,
    };
    assert_eq!([486, 600, 503].map(tone), [Some(germany.busy), Some(germany.busy), None]);
    assert_eq!(tone(404), Some(SPECIAL_INFORMATION));
    assert_eq!(announcements.longest, Duration::from_secs(10));
    let files: Vec<_> = announcements.files().map(|(key, file)| (key, file.path.clone())).collect();
    assert_eq!(files, [("Other", "/etc/demarc/closed.opus".into())]);
    assert_eq!(good(LEAST).sounds.announcements.of(486), None);
}
