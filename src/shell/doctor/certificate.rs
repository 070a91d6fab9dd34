//! Our certificate by the rules of those who look at it. A chain that satisfies OpenSSL may still be refused there.
//!
//! | rule | OCS 2007 R2, Lync 2010 | Lync 2013, SfB 2015 and 2019 | Teams | gateways |
//! |---|---|---|---|---|
//! | carries our name | must | must | must | must |
//! | usage | serverAuth | serverAuth | serverAuth | serverAuth and clientAuth |
//! | signed with | SHA-1, no PSS | SHA-1 or SHA-2, no PSS | SHA-2 | SHA-2 |
//! | key | RSA 1024 | RSA 1024 or EC | RSA 2048 | RSA 2048 or EC |
//! | says where its revocation list is | wanted | wanted | - | - |
//!
//! Sources: Microsoft's certificate pages for Lync Server 2013 and Skype for Business Server 2015, its Direct Routing page,
//! gateway vendors' notes on Lync 2010; toward gateways what stock TLS libraries ask.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKeyRef, Public};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509ExtendedKeyUsage, X509PurposeId, X509Ref, X509StoreContext};

use super::Finding;
use crate::config::{Config, Profile, Trunk, TrunkKind};
use crate::hop::Transport;
use crate::shell::transport::{Names, Papers, shown, timestamp};

/// The code for files that cannot be read.
pub const FILES: &str = "certificate-files";

/// An end this near is worth a word.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Who looks at the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// The Microsoft side.
    Microsoft(Profile),
    /// Carriers and gateways that speak TLS.
    Carrier,
}

impl Peers {
    /// All of them, by the names that `--peer` takes.
    pub const ALL: [(&'static str, Peers); 7] = [
        ("ocs2007r2", Peers::Microsoft(Profile::Ocs2007R2)),
        ("lync2010", Peers::Microsoft(Profile::Lync2010)),
        ("lync2013", Peers::Microsoft(Profile::Lync2013)),
        ("sfb2015", Peers::Microsoft(Profile::Sfb2015)),
        ("sfb2019", Peers::Microsoft(Profile::Sfb2019)),
        ("teams", Peers::Microsoft(Profile::Teams)),
        ("carrier", Peers::Carrier),
    ];

    /// Those that we speak to: the Microsoft side, and gateways where one speaks TLS.
    pub fn of(config: &Config) -> impl Iterator<Item = Peers> {
        let tls = |trunk: &Arc<Trunk>| trunk.hops.iter().any(|hop| hop.transport == Transport::Tls);
        let microsoft = match config.lync().kind {
            TrunkKind::Microsoft(profile) => Some(Peers::Microsoft(profile)),
            TrunkKind::Gateway | TrunkKind::Isdn => None,
        };
        microsoft.into_iter().chain(config.gateways().iter().any(tls).then_some(Peers::Carrier))
    }

    fn name(self) -> &'static str {
        Peers::ALL.iter().find(|(_, peers)| *peers == self).map_or("", |(name, _)| name)
    }
}

/// What a generation of peers asks of a certificate.
struct Rules {
    name: &'static str,
    sha1: bool,
    sha2: bool,
    pss: bool,
    least_bits: u32,
    elliptic: bool,
    client: bool,
    revocation_list: bool,
}

impl Rules {
    fn of(peers: Peers) -> Rules {
        use Profile::{Lync2010, Ocs2007R2, Teams};
        let on_premises = Rules {
            name: peers.name(),
            sha1: true,
            sha2: true,
            pss: false,
            least_bits: 1024,
            elliptic: true,
            client: false,
            revocation_list: true,
        };
        let stock = Rules { sha1: false, pss: true, least_bits: 2048, revocation_list: false, ..on_premises };
        match peers {
            Peers::Microsoft(Ocs2007R2 | Lync2010) => Rules { sha2: false, elliptic: false, ..on_premises },
            Peers::Microsoft(Teams) => Rules { elliptic: false, ..stock },
            Peers::Microsoft(_) => on_premises,
            Peers::Carrier => Rules { client: true, ..stock },
        }
    }
}

/// Judges a chain for one kind of peers at one moment; `host` is the name that they know its owner by, where it is known.
pub fn judge(papers: &Papers, host: Option<&str>, peers: Peers, wall: Timestamp) -> Vec<Finding> {
    let rules = Rules::of(peers);
    let Some(own) = papers.chain.first() else { return Vec::new() };
    let judge = Judge { subject: format!("certificate, {}", rules.name), rules, wall };
    let chain = &papers.chain;
    let always = [judge.usage(own), judge.dates(chain), judge.chain(papers), judge.signatures(chain), judge.key(own)];
    host.map(|host| judge.name(own, host)).into_iter().chain(always).chain(judge.revocation(own)).collect()
}

struct Judge {
    rules: Rules,
    subject: String,
    wall: Timestamp,
}

impl Judge {
    fn pass(&self, code: &'static str, evidence: impl Into<String>) -> Finding {
        Finding::pass(code, self.subject.as_str(), evidence)
    }

    fn fail(&self, code: &'static str, evidence: impl Into<String>, remedy: &str) -> Finding {
        let notice = "peers refuse TLS with us: no call goes through";
        Finding::fail(code, self.subject.as_str(), evidence).notice(notice).remedy(remedy)
    }

    fn name(&self, own: &X509Ref, host: &str) -> Finding {
        let (code, names) = ("certificate-name", Names::of(own));
        let all = names.all().join(", ");
        let address = host.parse().is_ok_and(|address| names.addresses.contains(&address));
        match names.cover(host) || address {
            true => self.pass(code, format!("is for {all}")),
            false => {
                self.fail(code, format!("is for {all}, not for {host}"), "have it issued for Fqdn=, or change Fqdn=")
            }
        }
    }

    fn usage(&self, own: &X509Ref) -> Finding {
        let code = "certificate-usage";
        let usage = own.extended_key_usage();
        let lacks = |bit| usage.is_some_and(|usage| !usage.contains(bit));
        if lacks(X509ExtendedKeyUsage::SSL_SERVER) {
            return self.fail(code, "lacks the usage serverAuth", "have it issued with serverAuth and clientAuth");
        }
        if self.rules.client && lacks(X509ExtendedKeyUsage::SSL_CLIENT) {
            let evidence = "lacks the usage clientAuth, which stock TLS libraries ask of whoever connects";
            return self
                .fail(code, evidence, "have it issued with clientAuth as well, or let the gateway not ask for it")
                .notice("calls to TLS gateways fail; their calls to us work");
        }
        self.pass(code, if usage.is_some() { "its usages are right" } else { "may be used for anything" })
    }

    fn dates(&self, chain: &[X509]) -> Finding {
        let code = "certificate-dates";
        let name = |certificate: &X509| shown(certificate.subject_name());
        let not_begun = chain.iter().find(|own| timestamp(own.not_before()).is_some_and(|from| from > self.wall));
        if let Some(own) = not_begun {
            return self.fail(code, format!("{} has not begun", name(own)), "wait, or set this box's clock right");
        }
        let ends = chain.iter().filter_map(|own| Some((timestamp(own.not_after())?, own)));
        let Some((end, own)) = ends.min_by_key(|(end, _)| *end) else {
            return self.fail(code, "its dates cannot be read", "have it issued anew");
        };
        let left = end.duration_since(self.wall);
        if left.is_negative() {
            return self.fail(code, format!("{} ended on {end}", name(own)), "renew it and reload");
        }
        let evidence = format!("{} ends first, on {end}, in {} days", name(own), left.as_hours() / 24);
        match left < SOON {
            true => self.fail(code, evidence, "renew it and reload").notice("from that day on no call goes through"),
            false => self.pass(code, evidence),
        }
    }

    /// Does the chain reach one of our roots? Only the links count here: dates and usages have findings of their own.
    fn chain(&self, papers: &Papers) -> Finding {
        let code = "certificate-chain";
        if papers.roots.is_empty() {
            return Finding::not_checked(code, self.subject.as_str(), "no roots are given that it could reach");
        }
        match linked(papers) {
            Ok(None) => self.pass(code, format!("{} certificate(s), up to a trusted root", papers.chain.len())),
            Ok(Some(fault)) => {
                let remedy = "write all intermediate certificates behind ours into Certificate=, and the root into TrustedRoots=";
                self.fail(code, format!("reaches no root of TrustedRoots=: {fault}"), remedy)
            }
            Err(fault) => Finding::not_checked(code, self.subject.as_str(), fault.to_string()),
        }
    }

    /// A root's own signature counts for nothing.
    fn signatures(&self, chain: &[X509]) -> Finding {
        let code = "certificate-signature";
        let is_root = |own: &X509| own.issuer_name().to_der().ok() == own.subject_name().to_der().ok();
        let mut kinds = Vec::new();
        for own in chain.iter().filter(|own| chain.len() == 1 || !is_root(own)) {
            let nid = own.signature_algorithm().object().nid();
            let (name, good) = self.signature(nid);
            if !good {
                let evidence = format!(
                    "{} is signed with {name}, which {} does not take",
                    shown(own.subject_name()),
                    self.rules.name
                );
                return self.fail(code, evidence, self.better_signature());
            }
            kinds.push(name);
        }
        kinds.dedup();
        self.pass(code, format!("signed with {}", kinds.join(", ")))
    }

    fn signature(&self, nid: Nid) -> (String, bool) {
        let name = nid.long_name().unwrap_or("an unknown algorithm").to_owned();
        let lower = name.to_ascii_lowercase();
        let good = match () {
            () if lower.contains("md5") || lower.contains("md2") => false,
            () if nid == Nid::RSASSAPSS => self.rules.pss,
            () if lower.contains("sha1") => self.rules.sha1,
            () => self.rules.sha2,
        };
        (name, good)
    }

    fn better_signature(&self) -> &'static str {
        match self.rules.sha2 {
            true => "have it issued with sha256WithRSAEncryption (PKCS #1 v1.5, not PSS)",
            false => "have it issued with sha1WithRSAEncryption by the pool's own authority, or upgrade the pool",
        }
    }

    fn key(&self, own: &X509Ref) -> Finding {
        let code = "certificate-key";
        let Ok(public) = own.public_key() else {
            return self.fail(code, "its key cannot be read", "have it issued for an RSA key of 2048 bits");
        };
        let good = match public.id() {
            Id::RSA | Id::RSA_PSS => public.bits() >= self.rules.least_bits,
            Id::EC => self.rules.elliptic,
            _ => false,
        };
        match good {
            true => self.pass(code, key(&public)),
            false => self.fail(
                code,
                format!("{}, which {} does not take", key(&public), self.rules.name),
                "have it issued for an RSA key of 2048 bits",
            ),
        }
    }

    /// Servers that do not insist on revocation lists take it without: hence no failure.
    fn revocation(&self, own: &X509Ref) -> Option<Finding> {
        let code = "certificate-revocation";
        if !self.rules.revocation_list {
            return None;
        }
        Some(match own.crl_distribution_points() {
            Some(_) => self.pass(code, "says where its revocation list is"),
            None => {
                Finding::not_checked(code, self.subject.as_str(), "does not say where its revocation list is (CDP)")
                    .notice("servers that insist on looking it up refuse us")
                    .remedy("have it issued with a CRL distribution point, as Microsoft asks")
            }
        })
    }
}

/// `RSA key of 2048 bits`.
pub fn key(public: &PKeyRef<Public>) -> String {
    let kind = match public.id() {
        Id::RSA | Id::RSA_PSS => "RSA",
        Id::EC => "elliptic",
        _ => "unusual",
    };
    format!("{kind} key of {} bits", public.bits())
}

/// The fault in the links of a chain; `None` when it is whole.
fn linked(papers: &Papers) -> Result<Option<&'static str>, openssl::error::ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for root in &papers.roots {
        store.add_cert(root.clone())?;
    }
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_auth_level(0);
    parameters.set_flags(X509VerifyFlags::NO_CHECK_TIME)?;
    parameters.set_purpose(X509PurposeId::ANY)?;
    store.set_param(&parameters)?;
    let mut between = Stack::new()?;
    for certificate in papers.chain.iter().skip(1) {
        between.push(certificate.clone())?;
    }
    let Some(own) = papers.chain.first() else { return Ok(None) };
    let mut context = X509StoreContext::new()?;
    let store = store.build();
    context.init(&store, own, &between, |context| {
        let good = context.verify_cert()?;
        Ok((!good).then(|| context.error().error_string()))
    })
}

#[cfg(test)]
mod tests;
