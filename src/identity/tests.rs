use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::blame::Refused;
use super::*;
use crate::config::Profile;
use crate::time::Now;
use crate::wire::sip::{Diagnostic, Message, Method, Name};

const TOLERANCE: Tolerance = Tolerance { ahead: SECOND, behind: Duration::from_secs(60) };
const SECOND: Duration = Duration::from_secs(1);

/// A value with this ms-identity, with everything around it that Microsoft's servers write.
fn referred_by(identity: &str) -> String {
    format!(
        "\"Bob\" <sip:bob@contoso.com>;tag=9;epid=01ab;ms-referee-uri=\"sip:+1312;phone-context=dialstring@contoso.com;\
         user=phone\";ms-identity=\"{identity}\";ms-identity-info=\"sip:fe01.contoso.com:5061;transport=Tls\";\
         ms-identity-alg=rsa-sha1;ms-identity-cookie=\"c\""
    )
}

fn wall() -> Timestamp {
    Now::virtual_start().wall
}

fn judged(value: &str) -> Judgement {
    judge(Some(value.as_bytes()), None, wall(), TOLERANCE)
}

/// The verdict on a Referred-By signed at this time of 2026-11-20, when it is 23:00:00 here.
fn at(time: &str) -> Verdict {
    judged(&referred_by(&format!("MIIB+/==:Fri, 20 Nov 2026 {time} GMT"))).verdict
}

#[test]
fn the_ms_identity_family_is_read_whole() {
    let value = referred_by("MIIB+/==:Fri, 20 Nov 2026 23:00:00 GMT");
    let read = ReferredBy::parse(value.as_bytes()).unwrap();
    let identity = read.identity.unwrap();
    assert_eq!(read.referrer.as_str(), "sip:bob@contoso.com");
    assert_eq!(identity.signature, "MIIB+/==");
    assert_eq!(identity.signed_at(), Ok(Some(wall())));
    assert_eq!((identity.algorithm(), identity.signer()), (Some("rsa-sha1"), Some("fe01.contoso.com")));
    assert_eq!(identity.cookie(), Some("c"));
    let referee = identity.referee().unwrap();
    assert_eq!(referee.user(), Some("+1312;phone-context=dialstring"));
}

#[test]
fn values_as_they_are_seen() {
    let bad = |fault| Err(fault);
    for (value, expected) in [
        ("<sip:u@d>;tag=1;epid=2", Ok(false)),
        ("sip:u@d", Ok(false)),
        ("<sip:u@d>;ms-identity=\"MIIB\"", Ok(true)),
        ("<sip:u@d>;;MS-Identity = MIIB ;ms-identity-alg=rsa-sha1", Ok(true)),
        ("<sip:h:5061;x-m=8:orgid:7de1;x-t=1;x-ti=2;xtt=aHR0%3D>", Ok(false)),
        ("<sip:u@d>;ms-identity", bad(Malformed::Signature)),
        ("<sip:u@d>;ms-identity=\"\"", bad(Malformed::Signature)),
        ("<sip:u@d>;ms-identity=\"a b\"", bad(Malformed::Signature)),
        ("<sip:u@d>;ms-identity=\"\u{e9}\"", bad(Malformed::Signature)),
        ("ms-identity=\"MIIB\"", bad(Malformed::Referrer)),
        ("<sip:u@d", bad(Malformed::Referrer)),
        ("", bad(Malformed::Referrer)),
    ] {
        let read = ReferredBy::parse(value.as_bytes()).map(|read| read.identity.is_some());
        assert_eq!(read, expected, "{value}");
    }
}

#[test]
fn verdicts_by_date() {
    for (time, expected) in [
        ("23:00:00", Verdict::Valid),
        ("23:00:01", Verdict::Valid),
        ("23:00:02", Verdict::Ahead(2 * SECOND)),
        ("23:00:30", Verdict::Ahead(30 * SECOND)),
        ("22:59:00", Verdict::Valid),
        ("22:58:59", Verdict::Behind(61 * SECOND)),
        ("18:00:00", Verdict::Behind(5 * 3600 * SECOND)),
        ("25:00:00", Verdict::Malformed(Malformed::Date)),
    ] {
        assert_eq!(at(time), expected, "{time}");
    }
}

#[test]
fn without_a_date_of_its_own_the_message_s_counts() {
    let judged = |sent| judge(Some(referred_by("MIIB").as_bytes()), sent, wall(), TOLERANCE).verdict;
    assert_eq!(judged(None), Verdict::Undated);
    assert_eq!(judged(Some(wall())), Verdict::Valid);
    assert_eq!(judged(Some(wall() + 30 * SECOND)), Verdict::Ahead(30 * SECOND));
}

#[test]
fn garbage_is_a_verdict_and_no_more() {
    assert_eq!(judge(None, Some(wall()), wall(), TOLERANCE).verdict, Verdict::Absent);
    for (value, fault) in [
        ("<sip:u@d>;ms-identity=\"MIIB:\"", Malformed::Date),
        ("<sip:u@d>;ms-identity=\"MIIB:2026-11-20T23:00:00Z\"", Malformed::Date),
        ("<sip:u@d>;ms-identity=\":Fri, 20 Nov 2026 23:00:00 GMT\"", Malformed::Signature),
        ("nobody", Malformed::Referrer),
    ] {
        assert_eq!(judged(value).verdict, Verdict::Malformed(fault), "{value}");
    }
}

/// Signed by OpenSSL, which writes the moment of the test.
#[test]
fn the_signing_time_inside_a_cms_signature_is_found() {
    use openssl::{asn1::Asn1Time, cms, hash::MessageDigest, pkey::PKey, rsa::Rsa, x509::X509};
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build();
    let flags = cms::CMSOptions::DETACHED | cms::CMSOptions::CMS_NOCERTS | cms::CMSOptions::BINARY;
    let signed = cms::CmsContentInfo::sign(Some(&certificate), Some(&key), None, Some(b"referrer"), flags).unwrap();
    let value = referred_by(&openssl::base64::encode_block(&signed.to_der().unwrap()));
    let dated = ReferredBy::parse(value.as_bytes()).unwrap().identity.unwrap().signed_at().unwrap().unwrap();
    let age = certificate.not_before().diff(&Asn1Time::from_unix(dated.as_second()).unwrap()).unwrap();
    assert!(age.days == 0 && (0..60).contains(&age.secs), "{dated}");
}

#[test]
fn both_forms_of_a_time_in_a_signature() {
    let time = |kind: u8, text: &str| {
        let value = [&[text.len() as u8 + 2, kind, text.len() as u8], text.as_bytes()].concat();
        signing_time(&[b"\x30\x82", SIGNING_TIME, &value].concat()).map(|at| at.to_string())
    };
    assert_eq!(time(0x17, "261120230000Z").as_deref(), Some("2026-11-20T23:00:00Z"));
    assert_eq!(time(0x17, "991120230000Z").as_deref(), Some("1999-11-20T23:00:00Z"));
    assert_eq!(time(0x18, "20551120230000Z").as_deref(), Some("2055-11-20T23:00:00Z"));
    assert_eq!(time(0x17, "261120230000"), None);
    assert_eq!(time(0x04, "261120230000Z"), None);
    assert_eq!(time(0x17, ""), None);
    assert_eq!(signing_time(SIGNING_TIME), None);
}

#[test]
fn no_value_panics_and_every_one_is_relayed_as_it_came() {
    bolero::check!().with_type::<(Vec<u8>, bool)>().for_each(|(value, inside)| {
        let value = if *inside { [b"<sip:u@d>;ms-identity=\"", &value[..]].concat() } else { value.clone() };
        let judged = judge(Some(&value), None, wall(), TOLERANCE);
        let refusal = judged.refusal(ReferrerIdentity::Refuse, TrunkKind::Microsoft(Profile::Sfb2019));
        assert_eq!(refusal.is_some(), !matches!(judged.verdict, Verdict::Valid | Verdict::Undated));
    });
    let value = referred_by("MIIB+/==:Fri, 20 Nov 2026 23:00:00 GMT").replace(";epid", " ;; EPID");
    let text = format!("REFER sip:a@b SIP/2.0\r\nb: {value}\r\n\r\n");
    let refer = Message::parse(bytes::Bytes::from(text)).unwrap();
    let invite = Message::request(Method::Invite, "sip:c@d").copy(&refer, Name::ReferredBy).empty_body();
    assert_eq!(invite.value(Name::ReferredBy), Some(value.as_bytes()));
}

#[test]
fn what_is_refused() {
    let signed = |time: &str| judged(&referred_by(&format!("MIIB:Fri, 20 Nov 2026 {time} GMT")));
    let absent = judged("<sip:bob@contoso.com>");
    let (sfb, teams) = (TrunkKind::Microsoft(Profile::Sfb2019), TrunkKind::Microsoft(Profile::Teams));
    for (judged, kind, expected) in [
        (signed("23:00:00"), sfb, false),
        (signed("23:00:30"), sfb, true),
        (signed("23:00:30"), teams, true),
        (signed("23:00:30"), TrunkKind::Gateway, false),
        (judged("nobody"), teams, true),
        (absent.clone(), sfb, true),
        (absent.clone(), teams, false),
        (judged(&referred_by("MIIB")), sfb, false),
    ] {
        assert_eq!(judged.refusal(ReferrerIdentity::Refuse, kind).is_some(), expected, "{judged} {kind:?}");
        assert_eq!(judged.refusal(ReferrerIdentity::Relay, kind), None);
    }
}

#[test]
fn a_refusal_has_microsoft_s_form_and_names_nobody_in_public() {
    let judged = judged(&referred_by("MIIB:Fri, 20 Nov 2026 23:00:30 GMT"));
    let release = judged.refusal(ReferrerIdentity::Refuse, TrunkKind::Microsoft(Profile::Lync2013)).unwrap();
    assert_eq!(release.final_status(), 429);
    assert!(!release.why.contains("bob"), "{}", release.why);
    let trunk = crate::sip::leg::tests::trunk(TrunkKind::Microsoft(Profile::Lync2013));
    let answer = Message::response(429, "Provide Referrer Identity");
    let answer = crate::sip::reason::excused(answer, &trunk, &release, Some(429), None).empty_body();
    let line = answer.text(Name::MsDiagnostics).unwrap();
    let wanted = "1020;reason=\"Identity of the referrer could not be verified with the ms-identity parameter\";\
        ErrorType=\"Invalid signature\";Referrer=\"sip:bob@contoso.com\";\
        HRESULT=\"0xC3E93EE0(SIP_E_CRYPT_REFERRER_DATE_SKEWED)\";cause=\"Invalid signature\";signer=\"fe01.contoso.com\";\
        source=\"ms1.contoso.com\";";
    assert!(line.starts_with(wanted), "{line}");
    let public = answer.text(Name::MsDiagnosticsPublic).unwrap();
    assert!(!public.contains("bob") && !public.contains("fe01"), "{public}");
}

// Whose clock is it?

const SKEWED: &str = "1020;reason=\"Identity of the referrer could not be verified with the ms-identity parameter\";\
    ErrorType=\"Invalid signature\";Referrer=\"sip:bob@contoso.com\";\
    HRESULT=\"0xC3E93EE0(SIP_E_CRYPT_REFERRER_DATE_SKEWED)\";cause=\"Invalid signature\";signer=\"fe01.contoso.com\";\
    source=\"edge.contoso.com\"";

/// The words for a signer and a refuser whose clocks are off by so many seconds.
fn why(signer: i64, refuser: i64, trusted: bool) -> String {
    let sent = wall() + SignedDuration::from_secs(signer);
    let identity = judge(Some(referred_by("MIIB").as_bytes()), Some(sent), wall(), TOLERANCE);
    let (diagnostic, clock) = (Diagnostic::parse(SKEWED.as_bytes()), Some(SignedDuration::from_secs(refuser)));
    Refused { by: "lync", diagnostic, identity: Some(&identity), clock, window: None, trusted }.why()
}

#[test]
fn the_guilty_clock_is_named() {
    let head = "the referrer's identity was refused (429, ms-diagnostics 1020, SIP_E_CRYPT_REFERRER_DATE_SKEWED) by \
                edge.contoso.com: ";
    for (signer, refuser, trusted, words) in [
        (30, 1, true, "the clock of fe01.contoso.com, which signed, is 30 s ahead of ours: set its time right"),
        (-18_000, 0, true, "the clock of fe01.contoso.com, which signed, is 5 h behind ours"),
        (0, -120, true, "the clock of lync, where the refusal came from, is 2 min behind ours: set its time right"),
        (-1, 2, true, "no clock that is seen from here is off by more than 5 s: look at the clock of edge.contoso.com"),
        (
            30,
            -90,
            false,
            "two clocks are off: that of fe01.contoso.com, which signed, is 30 s ahead of ours, that of lync \
                          is 1 min 30 s behind ours",
        ),
        (-30, -31, false, "ours is 30 s ahead of theirs; set this box's time right"),
        (-30, -31, true, "two clocks are off"),
    ] {
        let why = why(signer, refuser, trusted);
        assert!(why.starts_with(head) && why.contains(words), "{signer} {refuser}: {why}");
        assert_eq!(why.ends_with("; our own clock is compared with no time server"), !trusted, "{why}");
        assert!(!why.contains("bob"), "{why}");
    }
}

#[test]
fn a_refusal_that_says_nothing_more() {
    let bare = Refused { by: "Gateway1", diagnostic: None, identity: None, clock: None, window: None, trusted: true };
    assert!(
        bare.why().starts_with("the referrer's identity was refused (429) by Gateway1: no clock"),
        "{}",
        bare.why()
    );
    let unsigned = judge(None, None, wall(), TOLERANCE);
    let why = Refused { identity: Some(&unsigned), ..bare }.why();
    assert!(why.contains("there was no signed identity to check"), "{why}");
}
