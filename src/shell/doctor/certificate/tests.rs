use std::sync::LazyLock;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509Builder, X509Name, X509NameBuilder};

use super::super::Verdict;
use super::*;
use crate::time::Now;

const HOST: &str = "ms1.contoso.com";
const SFB: Peers = Peers::Microsoft(Profile::Sfb2019);
const LYNC2010: Peers = Peers::Microsoft(Profile::Lync2010);
const TEAMS: Peers = Peers::Microsoft(Profile::Teams);

/// What a leaf says.
struct Leaf {
    key: PKey<Private>,
    digest: MessageDigest,
    name: &'static str,
    days: (i64, i64),
    client: bool,
}

fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

fn elliptic() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn good() -> Leaf {
    Leaf { key: rsa(2048), digest: MessageDigest::sha256(), name: HOST, days: (-10, 300), client: true }
}

fn named(name: &str) -> X509Name {
    let mut builder: X509NameBuilder = X509Name::builder().unwrap();
    builder.append_entry_by_text("CN", name).unwrap();
    builder.build()
}

fn draft(subject: &str, issuer: &str, key: &PKey<Private>, days: (i64, i64)) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&named(subject)).unwrap();
    builder.set_issuer_name(&named(issuer)).unwrap();
    builder.set_pubkey(key).unwrap();
    let at = |days: i64| Asn1Time::from_unix(Now::virtual_start().wall.as_second() + days * 86_400).unwrap();
    builder.set_not_before(&at(days.0)).unwrap();
    builder.set_not_after(&at(days.1)).unwrap();
    builder
}

fn root(name: &str) -> (X509, PKey<Private>) {
    let key = rsa(2048);
    let mut root = draft(name, name, &key, (-100, 3000));
    root.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    root.sign(&key, MessageDigest::sha256()).unwrap();
    (root.build(), key)
}

/// Whom all trust.
static ROOT: LazyLock<(X509, PKey<Private>)> = LazyLock::new(|| root("root"));

impl Leaf {
    fn papers(&self) -> Papers {
        let mut leaf = draft(self.name, "root", &self.key, self.days);
        let names = SubjectAlternativeName::new().dns(self.name).build(&leaf.x509v3_context(None, None)).unwrap();
        leaf.append_extension(names).unwrap();
        let mut usages = ExtendedKeyUsage::new();
        usages.server_auth();
        if self.client {
            usages.client_auth();
        }
        leaf.append_extension(usages.build().unwrap()).unwrap();
        leaf.sign(&ROOT.1, self.digest).unwrap();
        Papers { chain: vec![leaf.build()], roots: vec![ROOT.0.clone()] }
    }
}

fn judged(papers: &Papers, peers: Peers) -> Vec<Finding> {
    judge(papers, Some(HOST), peers, Now::virtual_start().wall)
}

/// The codes of the findings that fail.
fn failing(papers: &Papers, peers: Peers) -> Vec<&'static str> {
    let findings = judged(papers, peers);
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Fail);
    failed.map(|finding| finding.code.strip_prefix("certificate-").unwrap()).collect()
}

/// Peers, and the codes that fail there.
type Expected = &'static [(Peers, &'static [&'static str])];

#[test]
fn each_generation_refuses_what_its_rules_say() {
    let sha1 = || Leaf { digest: MessageDigest::sha1(), ..good() };
    let cases: [(&str, Leaf, Expected); 8] = [
        ("good", good(), &[(SFB, &[]), (TEAMS, &[]), (Peers::Carrier, &[]), (LYNC2010, &["signature"])]),
        ("sha1", sha1(), &[(SFB, &[]), (LYNC2010, &[]), (TEAMS, &["signature"]), (Peers::Carrier, &["signature"])]),
        ("short", Leaf { key: rsa(1024), ..good() }, &[(SFB, &[]), (TEAMS, &["key"]), (Peers::Carrier, &["key"])]),
        ("elliptic", Leaf { key: elliptic(), ..good() }, &[(SFB, &[]), (TEAMS, &["key"]), (Peers::Carrier, &[])]),
        ("server", Leaf { client: false, ..good() }, &[(SFB, &[]), (TEAMS, &[]), (Peers::Carrier, &["usage"])]),
        ("name", Leaf { name: "other.contoso.com", ..good() }, &[(SFB, &["name"]), (TEAMS, &["name"])]),
        ("over", Leaf { days: (-10, -1), ..good() }, &[(SFB, &["dates"]), (Peers::Carrier, &["dates"])]),
        ("early", Leaf { days: (1, 300), ..good() }, &[(TEAMS, &["dates"])]),
    ];
    for (what, leaf, expected) in cases {
        let papers = leaf.papers();
        for (peers, codes) in expected {
            assert_eq!(failing(&papers, *peers), *codes, "{what} {peers:?}");
        }
    }
}

#[test]
fn an_end_within_a_month_is_said() {
    let findings = judged(&Leaf { days: (-10, 20), ..good() }.papers(), SFB);
    let dates = findings.iter().find(|finding| finding.code == "certificate-dates").unwrap();
    assert!(dates.evidence.contains("in 20 days") && dates.notice.contains("from that day on"), "{dates}");
}

#[test]
fn pss_and_md5_are_refused_on_premises() {
    let takes = |peers, nid| {
        let judge = Judge { rules: Rules::of(peers), subject: String::new(), wall: Now::virtual_start().wall };
        judge.signature(nid).1
    };
    for (nid, sfb, teams, lync) in [
        (Nid::RSASSAPSS, false, true, false),
        (Nid::MD5WITHRSAENCRYPTION, false, false, false),
        (Nid::SHA1WITHRSAENCRYPTION, true, false, true),
        (Nid::SHA256WITHRSAENCRYPTION, true, true, false),
        (Nid::SHA512WITHRSAENCRYPTION, true, true, false),
        (Nid::ECDSA_WITH_SHA256, true, true, false),
    ] {
        assert_eq!((takes(SFB, nid), takes(TEAMS, nid), takes(LYNC2010, nid)), (sfb, teams, lync), "{nid:?}");
    }
}

#[test]
fn a_missing_revocation_list_is_said_and_does_not_fail() {
    let findings = judged(&good().papers(), SFB);
    let revocation = findings.iter().find(|finding| finding.code == "certificate-revocation").unwrap();
    assert_eq!(revocation.verdict, Verdict::NotChecked);
    assert!(judged(&good().papers(), TEAMS).iter().all(|finding| finding.code != "certificate-revocation"));
}

#[test]
fn a_chain_must_reach_a_root() {
    let papers = Papers { roots: vec![root("another").0], ..good().papers() };
    let findings = judged(&papers, SFB);
    let chain = findings.iter().find(|finding| finding.code == "certificate-chain").unwrap();
    assert_eq!(chain.verdict, Verdict::Fail, "{chain}");
}
