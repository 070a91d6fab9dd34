//! Our certificates as operators see them: what they say, and what each generation of peers would say of them.

use jiff::Timestamp;
use openssl::asn1::Asn1TimeRef;
use openssl::x509::{X509, X509ExtendedKeyUsage};
use serde::Serialize;

use crate::config::Config;
use crate::shell::doctor::certificate::{Peers, judge, key};
use crate::shell::doctor::{Diagnosis, Finding, Verdict};
use crate::shell::transport::{Names, Papers, shown, timestamp};

/// What `/api/certificates` shows.
#[derive(Debug, Serialize)]
pub struct Certificates {
    /// Our chain, ours first.
    chain: Vec<Certificate>,
    /// The roots that we trust.
    roots: Vec<Certificate>,
    /// All generations of peers, in the order of `demarc certificate`.
    peers: Vec<Opinion>,
}

#[derive(Debug, Serialize)]
struct Certificate {
    subject: String,
    issuer: String,
    names: Vec<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    key: String,
    signature: &'static str,
    /// None: for anything.
    usages: Option<Vec<&'static str>>,
}

/// What one generation would say.
#[derive(Debug, Serialize)]
struct Opinion {
    peer: &'static str,
    /// Do we speak to it?
    configured: bool,
    verdict: Verdict,
    findings: Vec<Finding>,
}

impl Certificates {
    /// Verifies signatures: takes a few milliseconds.
    pub fn of(papers: &Papers, config: &Config, wall: Timestamp) -> Certificates {
        let ours: Vec<Peers> = Peers::of(config).collect();
        let opinion = |(peer, peers)| {
            let Diagnosis { verdict, findings } =
                Diagnosis::of(judge(papers, Some(&config.identity.fqdn), peers, wall));
            Opinion { peer, configured: ours.contains(&peers), verdict, findings }
        };
        Certificates {
            chain: papers.chain.iter().map(Certificate::of).collect(),
            roots: papers.roots.iter().map(Certificate::of).collect(),
            peers: Peers::ALL.into_iter().map(opinion).collect(),
        }
    }
}

impl Certificate {
    fn of(certificate: &X509) -> Certificate {
        let signature = certificate.signature_algorithm().object().nid();
        Certificate {
            subject: shown(certificate.subject_name()),
            issuer: shown(certificate.issuer_name()),
            names: Names::of(certificate).all(),
            not_before: date(certificate.not_before()),
            not_after: date(certificate.not_after()),
            key: certificate.public_key().map_or("cannot be read".to_owned(), |public| key(&public)),
            signature: signature.long_name().unwrap_or("an unknown algorithm"),
            usages: certificate.extended_key_usage().map(usages),
        }
    }
}

fn date(time: &Asn1TimeRef) -> Option<String> {
    timestamp(time).map(|at| at.to_string())
}

fn usages(usage: X509ExtendedKeyUsage) -> Vec<&'static str> {
    let known = [
        (X509ExtendedKeyUsage::SSL_SERVER, "serverAuth"),
        (X509ExtendedKeyUsage::SSL_CLIENT, "clientAuth"),
        (X509ExtendedKeyUsage::ANYEKU, "anyExtendedKeyUsage"),
    ];
    known.into_iter().filter(|(bit, _)| usage.contains(*bit)).map(|(_, name)| name).collect()
}
