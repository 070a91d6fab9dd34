//! Our certificate, its key, the roots we trust, and the two TLS settings made of them: one toward
//! Microsoft, with the floor of its generation, one toward gateways.
//!
//! | peer | versions | level | suites |
//! |---|---|---|---|
//! | ocs2007r2, lync2010, lync2013 | 1.0 and up | 0: SHA-1 chains pass | [`COMPATIBLE`] and CBC by RSA |
//! | sfb2015, sfb2019, gateways | 1.2 and up | 2 | [`COMPATIBLE`] |
//! | teams | 1.2 and up | 2 | the four ECDHE-RSA ones |
//!
//! No session is ever resumed: resumption would skip the peer's certificate, and connections are few and
//! live long.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVersion};
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{X509, X509ExtendedKeyUsage, X509PurposeId};

use super::peer::{KeyUsage, Names};
use crate::alarm::{Alarm, Severity, Text};
use crate::config::{Config, Profile, TlsIdentity, TrunkKind};
use crate::time::Now;

/// Schannel before Server 2016 shares with an RSA certificate only CBC under ECDHE, or GCM by RSA key
/// exchange: hence the last six.
const COMPATIBLE: &str = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:\
    ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:\
    ECDHE-RSA-AES128-SHA:AES256-GCM-SHA384:AES128-GCM-SHA256";
const LEGACY: &str = ":AES256-SHA256:AES128-SHA256:AES256-SHA:AES128-SHA";
const TEAMS: &str = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-SHA384:\
    ECDHE-RSA-AES128-SHA256";
const TLS13: &str = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

/// An expiry this near is worth a warning, and this near it is pressing.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
const PRESSING: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What a kind of peers may use.
struct Floor {
    minimum: SslVersion,
    level: u32,
    suites: String,
}

impl Floor {
    fn of(kind: TrunkKind) -> Floor {
        let (minimum, level, suites) = match kind {
            TrunkKind::Microsoft(profile) if old(profile) => (SslVersion::TLS1, 0, format!("{COMPATIBLE}{LEGACY}")),
            TrunkKind::Microsoft(Profile::Teams) => (SslVersion::TLS1_2, 2, TEAMS.to_owned()),
            TrunkKind::Microsoft(_) | TrunkKind::Gateway | TrunkKind::Isdn => {
                (SslVersion::TLS1_2, 2, COMPATIBLE.to_owned())
            }
        };
        Floor { minimum, level, suites }
    }
}

/// Generations that may know nothing newer than TLS 1.0 and SHA-1.
fn old(profile: Profile) -> bool {
    matches!(profile, Profile::Ocs2007R2 | Profile::Lync2010 | Profile::Lync2013)
}

/// TLS toward one kind of peers, in both directions.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) settings: SslContext,
    pub(super) usage: KeyUsage,
}

/// Both sides, and what there is to say about our own certificate.
pub(super) struct Tls {
    pub(super) microsoft: Side,
    pub(super) gateways: Side,
    pub(super) expiries: Vec<Expiry>,
    /// When our whole chain is good: from, until.
    pub(super) window: [Timestamp; 2],
    pub(super) warnings: Vec<Warning>,
    /// Our chain and the roots, as they were read.
    pub(super) papers: Arc<Papers>,
}

impl Tls {
    pub(super) fn of(&self, kind: TrunkKind) -> &Side {
        if kind == TrunkKind::Gateway { &self.gateways } else { &self.microsoft }
    }
}

/// When certificates of ours end, for `demarc_certificate_expiry_timestamp_seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// `own`, `chain` (our intermediate that ends first) or `roots` (the root that ends first).
    pub role: &'static str,
    /// The moment.
    pub at: Timestamp,
}

impl Expiry {
    /// What operators must know of it within 30 days of the end.
    pub fn alarm(self, now: Now) -> Option<Alarm> {
        let Expiry { role, at } = self;
        let ended = at <= now.wall;
        let since = if ended { at } else { at.checked_sub(SOON).unwrap_or(at) };
        if since > now.wall {
            return None;
        }
        let severity = match (role, ended) {
            ("roots", true) => Severity::Major,
            ("roots", false) => Severity::Warning,
            (_, true) => Severity::Critical,
            (_, false) if at.duration_since(now.wall) < PRESSING => Severity::Major,
            (_, false) => Severity::Warning,
        };
        let refused = "peers refuse us by TLS, and no call passes there";
        let (whose, breaks, remedy) = match role {
            "own" => ("our certificate", refused, "renew it and reload"),
            "chain" => ("a certificate of our chain", refused, "replace it and reload"),
            _ => ("a root that we trust", "we refuse the peers whose certificates it issued", "replace it and reload"),
        };
        let what = format!("{whose} {} on {at}", if ended { "ended" } else { "ends" });
        let breaks = if ended { breaks.to_owned() } else { format!("from then on {breaks}") };
        Some(Alarm::dated(now, since, severity, "certificate", Text::new(what, breaks, remedy)))
    }
}

/// Something that works and will hurt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The generation of the peers needs TLS 1.0 and lets SHA-1 pass.
    OldTls(Profile),
    /// Our certificate does not carry our own name.
    OwnName {
        /// `Fqdn=`.
        fqdn: String,
        /// The names it carries.
        seen: Vec<String>,
    },
    /// Our certificate may not be used by a server.
    OwnUsage,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::OldTls(profile) => write!(
                f,
                "the Microsoft side may use TLS 1.0 and SHA-1 certificates, as {profile:?} needs; set Profile= to a newer generation when the pool is upgraded"
            ),
            Warning::OwnName { fqdn, seen } => write!(
                f,
                "our certificate is for {}, not for {fqdn}: peers will refuse it; have it issued for {fqdn} or change Fqdn=",
                seen.join(", ")
            ),
            Warning::OwnUsage => f.write_str(
                "our certificate lacks the usage serverAuth: peers will refuse it; have it issued with serverAuth and clientAuth",
            ),
        }
    }
}

/// Why our certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}; check the path and that the daemon's user may read it", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no certificate or key in PEM.
    #[error("{}: holds no {what} in PEM; a key must be without a passphrase", file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// The key belongs to another certificate.
    #[error("{}: is not the key of the first certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// `Certificate=`.
        certificate: PathBuf,
        /// `PrivateKey=`.
        key: PathBuf,
    },
    /// OpenSSL takes the certificate for too weak.
    #[error("{}: cannot be used ({source}); a key of 2048 bits and a SHA-256 signature are the least", certificate.display())]
    Weak {
        /// `Certificate=`.
        certificate: PathBuf,
        /// OpenSSL's words.
        source: ErrorStack,
    },
    /// OpenSSL itself is at fault.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] ErrorStack),
}

/// Our chain and the roots that we trust, for who judges them.
pub struct Papers {
    /// Our chain, ours first.
    pub chain: Vec<X509>,
    /// The roots.
    pub roots: Vec<X509>,
}

/// Reads the files as [`load`] does. Blocks on the disk.
pub fn papers(identity: &TlsIdentity) -> Result<Papers, IdentityError> {
    let Loaded { chain, roots, .. } = Loaded::read(identity)?;
    Ok(Papers { chain, roots })
}

/// The files' contents.
struct Loaded {
    chain: Vec<X509>,
    key: PKey<Private>,
    roots: Vec<X509>,
}

impl Loaded {
    fn read(identity: &TlsIdentity) -> Result<Loaded, IdentityError> {
        let key = read(&identity.private_key)?;
        // An empty answer keeps OpenSSL from asking the terminal for a passphrase.
        let key = PKey::private_key_from_pem_callback(&key, |_| Ok(0))
            .map_err(|_| IdentityError::NotPem { file: identity.private_key.clone(), what: "private key" })?;
        let loaded =
            Loaded { chain: certificates(&identity.certificate)?, key, roots: certificates(&identity.trusted_roots)? };
        let fits = loaded.chain[0].public_key().is_ok_and(|public| public.public_eq(&loaded.key));
        if fits {
            Ok(loaded)
        } else {
            Err(IdentityError::KeyMismatch {
                certificate: identity.certificate.clone(),
                key: identity.private_key.clone(),
            })
        }
    }

    /// When all of our chain is good; a date that cannot be read bounds nothing.
    fn window(&self) -> [Timestamp; 2] {
        let from = self.chain.iter().filter_map(|c| timestamp(c.not_before())).max();
        let until = self.chain.iter().filter_map(|c| timestamp(c.not_after())).min();
        [from.unwrap_or(Timestamp::MIN), until.unwrap_or(Timestamp::MAX)]
    }

    fn expiries(&self) -> Vec<Expiry> {
        let soonest = |certificates: &[X509]| certificates.iter().filter_map(|c| timestamp(c.not_after())).min();
        let groups = [("own", &self.chain[..1]), ("chain", &self.chain[1..]), ("roots", &self.roots[..])];
        groups.into_iter().filter_map(|(role, group)| soonest(group).map(|at| Expiry { role, at })).collect()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(file).map_err(|source| IdentityError::Unreadable { file: file.to_owned(), source })
}

/// The certificates of a PEM file: at least one. Blocks on the disk.
pub fn certificates(file: &Path) -> Result<Vec<X509>, IdentityError> {
    match X509::stack_from_pem(&read(file)?) {
        Ok(stack) if !stack.is_empty() => Ok(stack),
        _ => Err(IdentityError::NotPem { file: file.to_owned(), what: "certificate" }),
    }
}

/// A certificate's date as a point in time; `None` if it cannot be read.
pub fn timestamp(time: &Asn1TimeRef) -> Option<Timestamp> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Timestamp::from_second(i64::from(since.days) * 86_400 + i64::from(since.secs)).ok()
}

/// Reads the files and makes both sides. Blocks on the disk.
pub(super) fn load(config: &Config) -> Result<Tls, IdentityError> {
    let loaded = Loaded::read(&config.identity)?;
    let kind = config.lync().kind;
    let side = |kind, usage| {
        let weak = |source| IdentityError::Weak { certificate: config.identity.certificate.clone(), source };
        Ok::<_, IdentityError>(Side { settings: settings(&loaded, &Floor::of(kind), weak)?, usage })
    };
    Ok(Tls {
        microsoft: side(kind, KeyUsage::ServerOk)?,
        gateways: side(TrunkKind::Gateway, KeyUsage::Strict)?,
        warnings: warnings(kind, &config.identity.fqdn, &loaded.chain[0]),
        expiries: loaded.expiries(),
        window: loaded.window(),
        papers: Arc::new(Papers { chain: loaded.chain, roots: loaded.roots }),
    })
}

fn warnings(kind: TrunkKind, fqdn: &str, own: &X509) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let TrunkKind::Microsoft(profile) = kind
        && old(profile)
    {
        warnings.push(Warning::OldTls(profile));
    }
    let names = Names::of(own);
    if !names.cover(fqdn) {
        warnings.push(Warning::OwnName { fqdn: fqdn.to_owned(), seen: names.all() });
    }
    if own.extended_key_usage().is_some_and(|usage| !usage.contains(X509ExtendedKeyUsage::SSL_SERVER)) {
        warnings.push(Warning::OwnUsage);
    }
    warnings
}

/// The version floor is set before the level: level 0 alone would open everything.
fn settings(
    loaded: &Loaded,
    floor: &Floor,
    weak: impl Fn(ErrorStack) -> IdentityError,
) -> Result<SslContext, IdentityError> {
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    builder.set_min_proto_version(Some(floor.minimum))?;
    builder.set_max_proto_version(Some(SslVersion::TLS1_3))?;
    builder.set_security_level(floor.level);
    builder.set_cipher_list(&floor.suites)?;
    builder.set_ciphersuites(TLS13)?;
    builder.set_options(
        SslOptions::NO_TICKET
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    // Writes are tried again from wherever the bytes are by then.
    builder.set_mode(
        SslMode::AUTO_RETRY
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::RELEASE_BUFFERS,
    );
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_num_tickets(0)?;
    builder.set_certificate(&loaded.chain[0]).map_err(&weak)?;
    for intermediate in &loaded.chain[1..] {
        builder.add_extra_chain_cert(intermediate.clone()).map_err(&weak)?;
    }
    builder.set_private_key(&loaded.key).map_err(&weak)?;
    builder.set_cert_store(store(&loaded.roots)?);
    builder.verify_param_mut().set_purpose(X509PurposeId::ANY)?;
    Ok(builder.build())
}

fn store(roots: &[X509]) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for root in roots {
        store.add_cert(root.clone())?;
    }
    Ok(store.build())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_end_is_told_thirty_days_before_and_presses_more_and_more() {
        let days = |count: i64| SignedDuration::from_hours(24 * count);
        let now = Now::virtual_start();
        for (role, left, expected) in [
            ("own", 31, None),
            (
                "own",
                29,
                Some((
                    Severity::Warning,
                    1,
                    "our certificate ends on 2026-12-19T23:00:00Z: from then on peers refuse us",
                )),
            ),
            ("chain", 6, Some((Severity::Major, 24, "a certificate of our chain ends on "))),
            ("own", 0, Some((Severity::Critical, 0, "our certificate ended on 2026-11-20T23:00:00Z: peers refuse us"))),
            ("own", -2, Some((Severity::Critical, 2, "our certificate ended on "))),
            ("roots", 6, Some((Severity::Warning, 24, "a root that we trust ends on "))),
            ("roots", -1, Some((Severity::Major, 1, "a root that we trust ended on "))),
        ] {
            let alarm = Expiry { role, at: now.wall + days(left) }.alarm(now);
            assert_eq!(alarm.is_some(), expected.is_some(), "{role} {left}");
            let (Some(alarm), Some((severity, age, text))) = (alarm, expected) else { continue };
            assert_eq!((alarm.severity, alarm.age_seconds), (severity, days(age).as_secs_f64()), "{role} {left}");
            assert!(alarm.text.to_string().starts_with(text), "{}", alarm.text);
        }
        // A clock that is a month ahead would tell too early: who calls, gives the true time.
        assert!(
            Expiry { role: "own", at: now.wall + days(31) }.alarm(now.skewed(Duration::from_secs(2_592_000))).is_some()
        );
    }
}
