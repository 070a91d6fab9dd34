//! Why a peer was not let in, or did not let us in: the reason as a type, for metrics and tests, and as
//! a sentence that tells the operator what to do.

use std::fmt;
use std::net::SocketAddr;

use jiff::Timestamp;

use super::Listener;
use crate::hop::TrunkId;

/// The part that the peer's certificate plays in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer connected to us.
    Client,
    /// We connected to the peer.
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Role::Client { "client" } else { "server" })
    }
}

/// A connection or datagram that came to nothing, by the rule it broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No gateway has this address: nothing was read.
    UnknownAddress,
    /// A limit on connections is reached.
    TooMany {
        /// The limit.
        limit: usize,
        /// What it bounds.
        of: Bound,
    },
    /// The system gave us no socket for it.
    Accept(std::io::ErrorKind),
    /// The handshake took too long.
    Slow,
    /// The connection ended in the middle of the handshake.
    HungUp,
    /// What came was not TLS.
    NotTls,
    /// The versions of TLS do not meet.
    Version,
    /// No cipher suite, group or signature algorithm in common.
    NoSharedCipher,
    /// The peer showed no certificate.
    NoCertificate,
    /// The chain ends at nobody we trust.
    UnknownIssuer {
        /// The issuer that was not found.
        issuer: String,
    },
    /// The certificate vouches for itself.
    SelfSigned {
        /// Its subject.
        subject: String,
    },
    /// A certificate of the chain has ended.
    Expired {
        /// Whose.
        subject: String,
        /// When it ended.
        on: Timestamp,
    },
    /// A certificate of the chain has not begun.
    NotYetValid {
        /// Whose.
        subject: String,
        /// When it begins.
        from: Timestamp,
    },
    /// The certificate is good and belongs to somebody else.
    NameMismatch {
        /// The names it carries.
        seen: Vec<String>,
        /// The names that would have done.
        expected: Vec<String>,
    },
    /// The extended key usage does not allow the part that the peer plays.
    KeyUsage {
        /// That part.
        role: Role,
        /// The usages it carries.
        seen: Vec<&'static str>,
    },
    /// A signature in the chain is by SHA-1 or MD5.
    WeakSignature {
        /// In whose certificate.
        subject: String,
    },
    /// A key in the chain is too short.
    WeakKey {
        /// In whose certificate.
        subject: String,
    },
    /// Another fault of the chain, in OpenSSL's words.
    Chain {
        /// Whose certificate.
        subject: String,
        /// X509_V_ERR.
        code: i32,
        /// The fault.
        fault: &'static str,
    },
    /// The peer refused us with this TLS alert (RFC 8446 section 6).
    Alert(u8),
    /// TLS failed for another reason: OpenSSL's number for it.
    Other(i32),
}

/// What a limit bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// All connections.
    All,
    /// Connections of one address.
    Address,
    /// Connections whose peer is not known yet.
    Strangers,
    /// The same, of one address.
    AddressStrangers,
}

impl Refusal {
    /// The label in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::UnknownAddress => "unknown_address",
            Refusal::TooMany { .. } => "too_many",
            Refusal::Accept(_) => "accept",
            Refusal::Slow => "timeout",
            Refusal::HungUp => "hung_up",
            Refusal::NotTls => "not_tls",
            Refusal::Version => "protocol_version",
            Refusal::NoSharedCipher => "no_shared_cipher",
            Refusal::NoCertificate => "no_certificate",
            Refusal::UnknownIssuer { .. } => "unknown_issuer",
            Refusal::SelfSigned { .. } => "self_signed",
            Refusal::Expired { .. } => "expired",
            Refusal::NotYetValid { .. } => "not_yet_valid",
            Refusal::NameMismatch { .. } => "name_mismatch",
            Refusal::KeyUsage { .. } => "key_usage",
            Refusal::WeakSignature { .. } => "weak_signature",
            Refusal::WeakKey { .. } => "weak_key",
            Refusal::Chain { .. } => "chain",
            Refusal::Alert(_) => "refused_by_peer",
            Refusal::Other(_) => "other",
        }
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Refusal::UnknownAddress => {
                "if this is a gateway of yours, write its address as IP= (or its name as FQDN=) into its [Gateway] section"
            }
            Refusal::TooMany { .. } => "look for what opens so many connections at that address; nothing was answered",
            Refusal::Accept(_) => "raise the daemon's limit of open files (LimitNOFILE=)",
            Refusal::Slow => "look for a firewall or a port check between the peer and us; a TLS peer speaks at once",
            Refusal::HungUp => "look at the peer's own log: it gave up before it named a reason",
            Refusal::NotTls => "set the peer to TLS on this port, or let it use the TCP port of [Trunks]",
            Refusal::Version => "allow TLS 1.2 on the peer; if its generation cannot, say so by Profile= in [Lync]",
            Refusal::NoSharedCipher => {
                "allow one of the ECDHE-RSA suites with AES on the peer, or set the Profile= of its generation"
            }
            Refusal::NoCertificate => "give the peer a certificate and let it present it (mutual TLS)",
            Refusal::UnknownIssuer { .. } => {
                "add the issuer's root to TrustedRoots=, or let the peer send its intermediate certificates"
            }
            Refusal::SelfSigned { .. } => "give the peer a certificate of an authority that TrustedRoots= holds",
            Refusal::Expired { .. } => "renew that certificate; if it is good, our clock is ahead",
            Refusal::NotYetValid { .. } => "set our clock right, or wait until the certificate begins",
            Refusal::NameMismatch { .. } => {
                "write one of the names it carries into TrustedPeers= (gateways: FQDN=), or have it issued for the name expected"
            }
            Refusal::KeyUsage { .. } => {
                "have the certificate issued with the usages serverAuth and clientAuth; anyExtendedKeyUsage does not do"
            }
            Refusal::WeakSignature { .. } => {
                "have the certificate signed with SHA-256; older peers need their Profile= set"
            }
            Refusal::WeakKey { .. } => "have the certificate issued for an RSA key of 2048 bits or more",
            Refusal::Chain { .. } => "have the peer's certificate chain checked and issued anew",
            Refusal::Alert(alert) => alert_remedy(*alert),
            Refusal::Other(_) => "run `demarc certificate` on the peer's chain and ours",
        }
    }
}

/// The peer's alert, read as advice.
fn alert_remedy(alert: u8) -> &'static str {
    match alert {
        40 | 71 => "the peer found no cipher suite in common, or wants a certificate of another kind from us",
        42 | 43 | 46 => "the peer does not take our certificate: check its usages, signature and chain",
        44 => "the peer says that our certificate is revoked: replace it",
        45 => "the peer says that our certificate has expired: renew it, or set the peer's clock right",
        48 => "add our issuer's root to the peer's trusted roots, and our intermediates to Certificate=",
        70 => "allow TLS 1.2 on the peer; if its generation cannot, say so by Profile= in [Lync]",
        112 => "the peer does not know the name that we asked for: check NextHop=",
        116 => "the peer wants a certificate from us: check Certificate=",
        _ => "look at the peer's own log for the reason",
    }
}

/// An alert's name (RFC 8446 section 6).
fn alert_name(alert: u8) -> &'static str {
    match alert {
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        112 => "unrecognized_name",
        116 => "certificate_required",
        _ => "alert",
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::UnknownAddress => f.write_str("no gateway has this address"),
            Refusal::TooMany { limit, of } => match of {
                Bound::All => write!(f, "all {limit} connections are in use"),
                Bound::Address => write!(f, "the address has {limit} connections already"),
                Bound::Strangers => write!(f, "{limit} peers have yet to show who they are"),
                Bound::AddressStrangers => write!(f, "{limit} peers at the address have yet to show who they are"),
            },
            Refusal::Accept(kind) => write!(f, "a connection could not be accepted ({kind})"),
            Refusal::Slow => f.write_str("the TLS handshake was not finished in time"),
            Refusal::HungUp => f.write_str("the peer hung up during the TLS handshake"),
            Refusal::NotTls => f.write_str("what came was not TLS"),
            Refusal::Version => f.write_str("no version of TLS in common"),
            Refusal::NoSharedCipher => f.write_str("no TLS cipher suite or signature algorithm in common"),
            Refusal::NoCertificate => f.write_str("the peer showed no certificate"),
            Refusal::UnknownIssuer { issuer } => write!(f, "the certificate's issuer '{issuer}' is not trusted"),
            Refusal::SelfSigned { subject } => write!(f, "the certificate of '{subject}' is self-signed"),
            Refusal::Expired { subject, on } => write!(f, "the certificate of '{subject}' expired on {on}"),
            Refusal::NotYetValid { subject, from } => {
                write!(f, "the certificate of '{subject}' is not valid before {from}")
            }
            Refusal::NameMismatch { seen, expected } => {
                write!(f, "the certificate is for {}, expected {}", listed(seen), listed(expected))
            }
            Refusal::KeyUsage { role, seen } => {
                write!(f, "the certificate may not be used as a {role}'s: its extended key usage is {}", listed(seen))
            }
            Refusal::WeakSignature { subject } => write!(f, "the certificate of '{subject}' has a weak signature"),
            Refusal::WeakKey { subject } => write!(f, "the certificate of '{subject}' has a weak key"),
            Refusal::Chain { subject, fault, .. } => write!(f, "the certificate of '{subject}': {fault}"),
            Refusal::Alert(alert) => write!(f, "the peer refused us by TLS alert {alert} ({})", alert_name(*alert)),
            Refusal::Other(code) => write!(f, "TLS failed (OpenSSL reason {code})"),
        }
    }
}

fn listed<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    }
}

/// One refusal as it happened. Prints as the line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The peer's address.
    pub remote: SocketAddr,
    /// Where it knocked; `None` when we were the ones who connected.
    pub at: Option<Listener>,
    /// The trunk that the connection was for, or that has the address; `None` for a stranger.
    pub trunk: Option<TrunkId>,
    /// Why.
    pub reason: Refusal,
    /// How many of the same address and kind went unsaid since the last one told.
    pub unsaid: u64,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(listener) => write!(f, "{} refused on the {listener}: ", self.remote)?,
            None => write!(f, "no connection to {}: ", self.remote)?,
        }
        write!(f, "{}; {}", self.reason, self.reason.remedy())?;
        if self.unsaid > 0 { write!(f, " ({} more like it)", self.unsaid) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_what_happened_and_what_to_do() {
        let reason = Refusal::NameMismatch {
            seen: vec!["a.contoso.com".to_owned(), "b.contoso.com".to_owned()],
            expected: vec!["pool01.contoso.com".to_owned()],
        };
        let remote = ([192, 0, 2, 1], 49152).into();
        let refused = Refused { remote, at: Some(Listener::Microsoft), trunk: None, reason, unsaid: 2 };
        assert_eq!(
            refused.to_string(),
            "192.0.2.1:49152 refused on the Microsoft listener: the certificate is for a.contoso.com, b.contoso.com, expected \
             pool01.contoso.com; write one of the names it carries into TrustedPeers= (gateways: FQDN=), or have it issued for \
             the name expected (2 more like it)"
        );
    }
}
