//! TLS handshakes, both directions: the peer's chain, usages and name are judged while the handshake
//! still runs, so that a refused peer gets its alert and not one byte more.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use openssl::error::ErrorStack;
use openssl::ssl::{self, ErrorCode, Ssl, SslVerifyMode};
use openssl::x509::{X509StoreContextRef, X509VerifyResult};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::identity::{Side, timestamp};
use super::peer::{Expected, KeyUsage, Names, shown};
use super::refusal::{Refusal, Role};
use crate::hop::TrunkId;

/// X509_V_ERR numbers of OpenSSL that have a reason of their own.
mod verify {
    pub(super) const NO_ISSUER: i32 = 2;
    pub(super) const NOT_YET_VALID: i32 = 9;
    pub(super) const EXPIRED: i32 = 10;
    pub(super) const SELF_SIGNED: i32 = 18;
    pub(super) const SELF_SIGNED_ROOT: i32 = 19;
    pub(super) const NO_LOCAL_ISSUER: i32 = 20;
    pub(super) const LEAF_SIGNATURE: i32 = 21;
    pub(super) const LEAF_KEY: i32 = 66;
    pub(super) const CA_KEY: i32 = 67;
    pub(super) const CA_DIGEST: i32 = 68;
}

/// OpenSSL's library number for TLS, its reasons that have one of ours, and the base of those that
/// stand for an alert of the peer.
mod reason {
    pub(super) const LIBRARY: i32 = 20;
    pub(super) const HTTP: i32 = 156;
    pub(super) const NO_SHARED_CIPHER: i32 = 193;
    pub(super) const NO_CERTIFICATE: i32 = 199;
    pub(super) const UNSUPPORTED_PROTOCOL: i32 = 258;
    pub(super) const WRONG_VERSION: i32 = 267;
    pub(super) const UNEXPECTED_EOF: i32 = 294;
    pub(super) const NO_SHARED_SIGNATURE: i32 = 376;
    pub(super) const NO_SUITABLE_SIGNATURE: i32 = 118;
    pub(super) const RECORD_TYPE: i32 = 443;
    pub(super) const ALERT: i32 = 1000;
}

/// A peer that passed.
pub(super) struct Secured {
    pub(super) stream: SslStream<TcpStream>,
    pub(super) trunk: TrunkId,
    pub(super) names: Names,
}

/// A handshake that failed: why, and the connection, so that the alert can reach the peer.
pub(super) struct Failed {
    pub(super) reason: Refusal,
    pub(super) stream: Option<SslStream<TcpStream>>,
}

impl From<ErrorStack> for Failed {
    fn from(stack: ErrorStack) -> Failed {
        Failed { reason: of_stack(&stack), stream: None }
    }
}

/// Who must be there, and which part they play.
pub(super) struct Judge {
    pub(super) expected: Expected,
    pub(super) role: Role,
    pub(super) remote: IpAddr,
}

/// The verdict on the peer's certificate, passed while the handshake runs.
type Verdict = OnceLock<Result<(TrunkId, Names), Refusal>>;

/// Runs the handshake. Nothing is read or written beyond it unless the peer passed, its certificates judged as of `wall`.
pub(super) async fn run(
    side: &Side,
    stream: TcpStream,
    judge: Judge,
    wall: jiff::Timestamp,
) -> Result<Secured, Failed> {
    let mut ssl = Ssl::new(&side.settings)?;
    ssl.param_mut().set_time(wall.as_second());
    let (role, usage) = (judge.role, side.usage);
    if let Expected::Host { host, .. } = &judge.expected
        && host.parse::<IpAddr>().is_err()
    {
        ssl.set_hostname(host)?;
    }
    let verdict = Arc::new(Verdict::new());
    let slot = Arc::clone(&verdict);
    ssl.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |good, chain| {
        verify_step(good, chain, usage, &judge, &slot)
    });
    let mut stream = SslStream::new(ssl, stream)?;
    let shaken = match role {
        Role::Client => Pin::new(&mut stream).accept().await,
        Role::Server => Pin::new(&mut stream).connect().await,
    };
    match (shaken, verdict.get()) {
        (Ok(()), Some(Ok((trunk, names)))) => Ok(Secured { trunk: *trunk, names: names.clone(), stream }),
        (_, Some(Err(reason))) => Err(Failed { reason: reason.clone(), stream: Some(stream) }),
        (Err(error), _) => Err(Failed { reason: of_error(&error), stream: Some(stream) }),
        // Anonymous suites are not in our lists, and sessions are not resumed.
        (Ok(()), None) => Err(Failed { reason: Refusal::NoCertificate, stream: Some(stream) }),
    }
}

/// One certificate of the chain, root first; our own rules follow when OpenSSL is content with the leaf.
/// A refusal of ours reaches the peer as the alert handshake_failure.
fn verify_step(good: bool, chain: &mut X509StoreContextRef, usage: KeyUsage, judge: &Judge, verdict: &Verdict) -> bool {
    let judged = if !good {
        Err(of_chain(chain))
    } else if chain.error_depth() == 0 {
        judge_leaf(chain, usage, judge)
    } else {
        return true;
    };
    if good && judged.is_err() {
        chain.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    let passed = judged.is_ok();
    // The first verdict stands: after a refusal nothing that follows can make it good.
    let _ = verdict.set(judged);
    passed
}

fn judge_leaf(chain: &X509StoreContextRef, usage: KeyUsage, judge: &Judge) -> Result<(TrunkId, Names), Refusal> {
    let certificates = chain.chain().ok_or(Refusal::NoCertificate)?;
    usage.judge(judge.role, certificates)?;
    let names = certificates.get(0).map(Names::of).ok_or(Refusal::NoCertificate)?;
    Ok((judge.expected.recognise(&names, judge.remote)?, names))
}

/// The fault that OpenSSL found in the chain.
fn of_chain(chain: &X509StoreContextRef) -> Refusal {
    let code = chain.error().as_raw();
    let Some(certificate) = chain.current_cert() else {
        return Refusal::Chain { subject: String::new(), code, fault: chain.error().error_string() };
    };
    let subject = shown(certificate.subject_name());
    match code {
        verify::SELF_SIGNED => Refusal::SelfSigned { subject },
        verify::NO_ISSUER | verify::NO_LOCAL_ISSUER | verify::LEAF_SIGNATURE | verify::SELF_SIGNED_ROOT => {
            Refusal::UnknownIssuer { issuer: shown(certificate.issuer_name()) }
        }
        verify::EXPIRED => Refusal::Expired { subject, on: timestamp(certificate.not_after()).unwrap_or_default() },
        verify::NOT_YET_VALID => {
            Refusal::NotYetValid { subject, from: timestamp(certificate.not_before()).unwrap_or_default() }
        }
        verify::LEAF_KEY | verify::CA_KEY => Refusal::WeakKey { subject },
        verify::CA_DIGEST => Refusal::WeakSignature { subject },
        code => Refusal::Chain { subject, code, fault: chain.error().error_string() },
    }
}

/// Why a handshake, or a read after it, failed in TLS.
pub(super) fn of_error(error: &ssl::Error) -> Refusal {
    match error.ssl_error() {
        Some(stack) => of_stack(stack),
        None if error.code() == ErrorCode::SSL => Refusal::Other(0),
        None => Refusal::HungUp,
    }
}

fn of_stack(stack: &ErrorStack) -> Refusal {
    let found = stack.errors().iter().find(|error| error.library_code() == reason::LIBRARY);
    match found.map(openssl::error::Error::reason_code) {
        Some(reason::NO_CERTIFICATE) => Refusal::NoCertificate,
        Some(reason::HTTP | reason::WRONG_VERSION | reason::RECORD_TYPE) => Refusal::NotTls,
        Some(reason::UNSUPPORTED_PROTOCOL) => Refusal::Version,
        Some(reason::NO_SHARED_CIPHER | reason::NO_SHARED_SIGNATURE | reason::NO_SUITABLE_SIGNATURE) => {
            Refusal::NoSharedCipher
        }
        Some(reason::UNEXPECTED_EOF) => Refusal::HungUp,
        Some(code) => u8::try_from(code - reason::ALERT).map_or(Refusal::Other(code), Refusal::Alert),
        None => Refusal::Other(0),
    }
}
