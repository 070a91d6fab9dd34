//! Which ways a number leads, in which order.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::config;

fn config(gateways: &str) -> Config {
    let text = format!(
        "[Lync]\nFqdn=ms1.contoso.com\nNextHop=pool01.contoso.com:5061 pool02.contoso.com\n[Media]\nAddress=192.0.2.10\n{gateways}"
    );
    match config::parse(text.as_bytes(), "/etc/demarc/demarc.ini") {
        Ok((config, _)) => config,
        Err(findings) => panic!("{findings:#?}"),
    }
}

/// The host, or the line.
fn host(attempt: &Attempt) -> String {
    match &attempt.egress {
        Egress::Hop(hop) => hop.host.to_string(),
        line => line.to_string(),
    }
}

const THREE: &str = "\
[Gateway1]
IP=192.0.2.21
VoiceRoutes=Local
[Gateway2]
IP=192.0.2.22 192.0.2.32
VoiceRoutes=Local Far
[Gateway3]
IP=192.0.2.23
VoiceRoutes=Far
[HybridVoiceRoutes]
Local=^\\+1(\\d{10})$
Far=^\\+
";

/// `route:host` of each attempt, in order, while these trunks are down.
fn ways(config: &Config, from: TrunkId, called: &str, down: &[u16]) -> String {
    let down: BTreeSet<TrunkId> = down.iter().map(|id| TrunkId(*id)).collect();
    let attempts = hunt(config, from, called, |id| !down.contains(&id));
    attempts.iter().map(|attempt| format!("{}:{}", attempt.route, host(attempt))).collect::<Vec<_>>().join(" ")
}

#[test]
fn routes_in_file_order_and_their_gateways_in_order() {
    let config = config(THREE);
    let cases = [
        ("+13125556789", &[][..], "Local:192.0.2.21 Local:192.0.2.22 Local:192.0.2.32 Far:192.0.2.23"),
        ("+442075550100", &[], "Far:192.0.2.22 Far:192.0.2.32 Far:192.0.2.23"),
        ("2160", &[], ""),
        ("", &[], ""),
        // Down is last, not never, and the rest keeps its order.
        ("+13125556789", &[1], "Local:192.0.2.22 Local:192.0.2.32 Far:192.0.2.23 Local:192.0.2.21"),
        ("+13125556789", &[1, 2, 3], "Local:192.0.2.21 Local:192.0.2.22 Local:192.0.2.32 Far:192.0.2.23"),
    ];
    for (called, down, expected) in cases {
        assert_eq!(ways(&config, TrunkId::LYNC, called, down), expected, "{called} {down:?}");
    }
}

#[test]
fn toward_microsoft_the_next_hops_as_written() {
    let config = config(THREE);
    let expected = ":pool01.contoso.com :pool02.contoso.com";
    assert_eq!(ways(&config, TrunkId(2), "+13125556789", &[]), expected);
    assert_eq!(ways(&config, TrunkId(2), "whatever", &[0]), expected);
}

#[test]
fn a_target_is_microsofts_to_find_unless_it_is_a_number_of_ours() {
    let config = config(THREE);
    let ways = |config: &Config, from, target: &str| {
        let target = Uri::parse(target.as_bytes()).unwrap();
        let attempts = refer(config, TrunkId(from), target, |id| id != TrunkId(1));
        attempts.iter().map(host).collect::<Vec<_>>().join(" ")
    };
    let pools = "pool01.contoso.com pool02.contoso.com";
    for (from, target, expected) in [
        (0, "sip:bob@contoso.com", pools),
        (0, "sip:+442075550100@contoso.com;user=phone", pools),
        (0, "sip:org@contoso.com;gruu;opaque=app:conf:audio-video:id:X", pools),
        (0, "sip:+442075550100@MS1.contoso.com;user=phone", "192.0.2.22 192.0.2.32 192.0.2.23"),
        (0, "tel:+442075550100", "192.0.2.22 192.0.2.32 192.0.2.23"),
        (0, "sip:2160@ms1.contoso.com", ""),
        (2, "sip:2160@ms1.contoso.com", pools),
    ] {
        assert_eq!(ways(&config, from, target), expected, "{from} {target}");
    }
    let mut teams = config.clone();
    Arc::make_mut(&mut teams.trunks[0]).kind = TrunkKind::Microsoft(Profile::Teams);
    assert_eq!(ways(&teams, 0, "sip:+442075550100@ms1.contoso.com"), pools, "even an external number");
}

#[test]
fn without_routes_every_gateway_takes_every_number() {
    let config = config("[Gateway1]\nIP=192.0.2.21\n[Gateway2]\nIP=192.0.2.22\n");
    let ways: Vec<_> = hunt(&config, TrunkId::LYNC, "2160", |_| true);
    let hosts: Vec<String> = ways.iter().map(host).collect();
    assert_eq!(hosts, ["192.0.2.21", "192.0.2.22"]);
}

#[test]
fn a_pattern_that_backtracks_without_end_matches_nothing() {
    let config =
        config("[Gateway1]\nIP=192.0.2.21\nVoiceRoutes=Bad\n[HybridVoiceRoutes]\nBad=^(?=(1|11)+$)(?:(1+)+)+\\2$\n");
    assert_eq!(ways(&config, TrunkId::LYNC, &"1".repeat(64).replace("11111111", "1111111x"), &[]), "");
}

#[test]
fn lines_are_hunted_by_their_d_channels() {
    let config = config(
        "[Gateway1]\nKind=isdn\nSpan=Span3 Span2 Span1\n[Span1]\n[Span2]\nDChannel=Span1\nInterface=1\n[Span3]\n\
         [Gateway2]\nIP=192.0.2.22\n",
    );
    assert_eq!(ways(&config, TrunkId::LYNC, "2160", &[]), "AnyNumber:Span3 AnyNumber:Span1 AnyNumber:192.0.2.22");
    assert_eq!(ways(&config, TrunkId::LYNC, "2160", &[1]), "AnyNumber:192.0.2.22 AnyNumber:Span3 AnyNumber:Span1");
}
