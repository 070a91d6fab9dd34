//! Who asks for a transfer, and when was that signed? Referred-By (RFC 3892) with Microsoft's additions ([MS-SIPAE]
//! 2.2.5), read without changing a byte; a verdict on its date; our refusal; and whose clock is wrong when somebody
//! else refuses ([`blame`]), or no handshake succeeds ([`window`]).
//!
//! 1. A Microsoft server signs the Referred-By of a REFER: ms-identity, over referrer, referee and date.
//! 2. The INVITE to the target carries it as it came.
//! 3. A server there checks it. A date too far from its own clock gets 429 with ms-diagnostics 1020, and the transfer
//!    fails, whichever of the clocks is wrong.
//!
//! How the signature is made is unpublished: it is never checked here. Its date can be read in two forms, behind the
//! signature's first colon (RFC 1123, GMT) or as the signing time inside it (CMS, RFC 5652 section 11.3); a signature
//! without one is as old as its message says (Date).

pub mod blame;
pub mod window;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::Offset};
use memchr::memmem;

use crate::cause::{Cause, Diagnostics, Guilty, Release};
use crate::config::{Profile, ReferrerIdentity, TrunkKind};
use crate::private::Private;
use crate::wire::sip::{Address, Params, Uri, date};

/// The number in ms-diagnostics for an identity that is refused.
pub const UNVERIFIED: u32 = 1020;

/// A Referred-By, as parts of the value that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferredBy<'a> {
    /// The referrer.
    pub referrer: Uri<'a>,
    /// What a Microsoft server signed; `None` without ms-identity.
    pub identity: Option<Identity<'a>>,
}

/// The ms-identity family of parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    params: Params<'a>,
    /// ms-identity up to its first colon: base64 of what was signed.
    pub signature: &'a str,
    /// What stands behind that colon.
    stamp: Option<&'a str>,
}

/// Where a Referred-By cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// No referrer.
    #[error("its address is none")]
    Referrer,
    /// ms-identity holds no base64.
    #[error("its ms-identity is no base64")]
    Signature,
    /// Behind the signature stands something that is no date.
    #[error("what its ms-identity has behind the colon is no date")]
    Date,
}

impl<'a> ReferredBy<'a> {
    /// Reads a value. Bounded work; the dates are read by [`Identity::signed_at`].
    pub fn parse(value: &'a [u8]) -> Result<ReferredBy<'a>, Malformed> {
        let address = Address::parse(value).ok_or(Malformed::Referrer)?;
        let identity = match address.params.value("ms-identity") {
            Some(_) => Some(Identity::parse(address.params)?),
            None => None,
        };
        Ok(ReferredBy { referrer: address.uri, identity })
    }
}

impl<'a> Identity<'a> {
    fn parse(params: Params<'a>) -> Result<Identity<'a>, Malformed> {
        let text = params.text("ms-identity").ok_or(Malformed::Signature)?;
        // Base64 has no colon, a date has.
        let (signature, stamp) = text.split_once(':').map_or((text, None), |(left, right)| (left, Some(right)));
        let digits = signature.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+/=".contains(&octet));
        (digits && !signature.is_empty()).then_some(Identity { params, signature, stamp }).ok_or(Malformed::Signature)
    }

    /// When it was signed; `None` when it does not say.
    pub fn signed_at(&self) -> Result<Option<Timestamp>, Malformed> {
        match self.stamp {
            Some(stamp) => date(stamp.as_bytes()).map(Some).ok_or(Malformed::Date),
            None => Ok(openssl::base64::decode_block(self.signature).ok().and_then(|der| signing_time(&der))),
        }
    }

    /// The algorithm, such as `rsa-sha1`.
    pub fn algorithm(&self) -> Option<&'a str> {
        self.params.text("ms-identity-alg")
    }

    /// The host that signed, by ms-identity-info.
    pub fn signer(&self) -> Option<&'a str> {
        let uri = Uri::parse(self.params.text("ms-identity-info")?.as_bytes())?;
        Some(uri.host()).filter(|host| !host.is_empty())
    }

    /// ms-identity-cookie.
    pub fn cookie(&self) -> Option<&'a str> {
        self.params.text("ms-identity-cookie")
    }

    /// Whom the signer took for the one who shall place the call; without it, the To of the REFER.
    pub fn referee(&self) -> Option<Uri<'a>> {
        Uri::parse(self.params.text("ms-referee-uri")?.as_bytes())
    }
}

impl fmt::Debug for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("signer", &self.signer()).field("algorithm", &self.algorithm()).finish()
    }
}

/// The attribute signing-time of a CMS signature: its identifier, and the SET that begins its value.
const SIGNING_TIME: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05\x31";

/// The signing time in a CMS signature, found by its identifier alone.
fn signing_time(der: &[u8]) -> Option<Timestamp> {
    let set = der.get(memmem::find(der, SIGNING_TIME)? + SIGNING_TIME.len()..)?;
    let &[_, kind, length, ref rest @ ..] = set else { return None };
    let text = std::str::from_utf8(rest.get(..usize::from(length))?).ok()?;
    let text = match kind {
        // UTCTime stands for 1950 to 2049.
        0x17 if text.as_bytes().first()? >= &b'5' => format!("19{text}"),
        0x17 => format!("20{text}"),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let civil = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Offset::UTC.to_timestamp(civil).ok()
}

/// How far the date of an identity may be from true time before servers refuse it. Microsoft publishes no figure; these
/// are `[Clock] MaxAhead` and `MaxBehind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Into the future.
    pub ahead: Duration,
    /// Into the past.
    pub behind: Duration,
}

/// What there is to say about the date of a referrer's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance.
    Valid,
    /// Dated into the future by so much.
    Ahead(Duration),
    /// Dated into the past by so much.
    Behind(Duration),
    /// Signed, but neither it nor its message says when.
    Undated,
    /// Nobody signed.
    Absent,
    /// It cannot be read.
    Malformed(Malformed),
}

impl Verdict {
    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Ahead(_) => "ahead",
            Verdict::Behind(_) => "behind",
            Verdict::Undated => "undated",
            Verdict::Absent => "absent",
            Verdict::Malformed(_) => "malformed",
        }
    }
}

/// A verdict and what it stands on. Prints as a sentence for the ladder, which names no person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Its date minus our time, where it has a date.
    pub offset: Option<SignedDuration>,
    /// The host that signed.
    pub signer: Option<String>,
    referrer: Private<String>,
}

/// Judges the Referred-By of a REFER that came at `wall`; `sent` is the Date of the REFER.
pub fn judge(value: Option<&[u8]>, sent: Option<Timestamp>, wall: Timestamp, tolerance: Tolerance) -> Judgement {
    let mut judged =
        Judgement { verdict: Verdict::Absent, offset: None, signer: None, referrer: Private(String::new()) };
    let Some(value) = value else { return judged };
    let read = ReferredBy::parse(value).and_then(|read| match read.identity {
        Some(identity) => Ok((read, Some((identity, identity.signed_at()?)))),
        None => Ok((read, None)),
    });
    match read {
        Err(fault) => judged.verdict = Verdict::Malformed(fault),
        Ok((read, signed)) => {
            judged.referrer = Private(read.referrer.as_str().to_owned());
            if let Some((identity, at)) = signed {
                judged.signer = identity.signer().map(str::to_owned);
                judged.offset = at.or(sent).map(|at| at.duration_since(wall));
                judged.verdict = judged.offset.map_or(Verdict::Undated, |offset| of_offset(offset, tolerance));
            }
        }
    }
    judged
}

fn of_offset(offset: SignedDuration, tolerance: Tolerance) -> Verdict {
    let by = offset.unsigned_abs();
    match offset.is_negative() {
        false if by > tolerance.ahead => Verdict::Ahead(by),
        true if by > tolerance.behind => Verdict::Behind(by),
        _ => Verdict::Valid,
    }
}

impl Judgement {
    /// The refusal, 429 with ms-diagnostics 1020 as Microsoft's own servers give it, where the policy wants one. Teams
    /// signs nothing, so that there only a bad identity is refused and not a missing one.
    pub fn refusal(&self, policy: ReferrerIdentity, kind: TrunkKind) -> Option<Release> {
        let signs = matches!(kind, TrunkKind::Microsoft(profile) if profile != Profile::Teams);
        let bad = match self.verdict {
            Verdict::Valid | Verdict::Undated => false,
            Verdict::Ahead(_) | Verdict::Behind(_) | Verdict::Malformed(_) => true,
            Verdict::Absent => signs,
        };
        if !bad || policy == ReferrerIdentity::Relay || kind == TrunkKind::Gateway {
            return None;
        }
        let reason = "Identity of the referrer could not be verified with the ms-identity parameter";
        let diagnostics = Diagnostics { more: Private(self.attributes()), ..Diagnostics::new(UNVERIFIED, reason) };
        let release = Release::new(Guilty::Peer, Cause::REJECTED, self.to_string()).with_status(429);
        Some(Release { diagnostics: Some(diagnostics), ..release })
    }

    /// What Microsoft adds to 1020, in its order. Only the error for a date is known by name.
    fn attributes(&self) -> String {
        let skewed = matches!(self.verdict, Verdict::Ahead(_) | Verdict::Behind(_));
        let error = if skewed { "ErrorType=\"Invalid signature\";" } else { "" };
        let code = if skewed {
            ";HRESULT=\"0xC3E93EE0(SIP_E_CRYPT_REFERRER_DATE_SKEWED)\";cause=\"Invalid signature\""
        } else {
            ""
        };
        let signer = self.signer.as_deref().map_or(String::new(), |signer| format!(";signer=\"{}\"", quotable(signer)));
        format!("{error}Referrer=\"{}\"{code}{signer}", quotable(self.referrer.get()))
    }
}

/// A stranger's text inside quotes.
fn quotable(text: &str) -> String {
    text.chars().filter(|letter| *letter != '"' && *letter != '\\' && !letter.is_control()).collect()
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signer = self.signer.as_deref().unwrap_or("an unnamed server");
        let refused = "a server that checks it will refuse the transfer (429, ms-diagnostics 1020)";
        match self.verdict {
            Verdict::Absent => return f.write_str("referrer's identity: absent, nobody signed the Referred-By"),
            Verdict::Malformed(fault) => {
                return write!(f, "referrer's identity: malformed, {fault}; it is not checked");
            }
            Verdict::Undated => write!(f, "referrer's identity: signed by {signer}, which does not say when")?,
            Verdict::Valid => write!(f, "referrer's identity: signed by {signer}, its date is good")?,
            Verdict::Ahead(by) => {
                write!(
                    f,
                    "referrer's identity: signed by {signer}, dated {} ahead of our clock: {refused}",
                    blame::Span(by)
                )?;
            }
            Verdict::Behind(by) => {
                write!(
                    f,
                    "referrer's identity: signed by {signer}, dated {} behind our clock: {refused}",
                    blame::Span(by)
                )?;
            }
        }
        f.write_str("; the signature is not checked: how it is made is unpublished")
    }
}
