//! Why a request is refused or a dialog ends, as headers: Reason (RFC 3326, RFC 6432), Warning, and
//! toward Microsoft `ms-diagnostics` with its public twin.

use std::borrow::Cow;

use crate::cause::{Diagnostics, Guilty, Release, Words, reason_phrase};
use crate::config::{Trunk, TrunkKind};
use crate::private::Private;
use crate::sip::negotiate::Warning;
use crate::sip::user_to_user;
use crate::wire::sip::{Builder, Message, Name};

/// What a peer's refusal becomes: its cause and its own words, under the `status` that the other side shall hear.
pub fn refused_by(refusal: &Message, status: u16, why: impl Into<Cow<'static, str>>) -> Release {
    let written = |name| refusal.value(name).map(|value| Private(String::from_utf8_lossy(value).into_owned()));
    let (warning, diagnostics) = (written(Name::Warning), written(Name::MsDiagnostics));
    let words = Words { warning, diagnostics, user_user: user_to_user::read(refusal) };
    Release::refused(status, refusal.q850(), why).with_words(words)
}

/// How a transfer's new call stands, for those who asked for it (RFC 3515 section 2.4.5): a status line, and behind it what
/// RFC 3420 has room for, the headers that say why.
pub fn fragment(trunk: &Trunk, status: u16, release: Option<&Release>) -> Vec<u8> {
    let line = Builder::response(status, reason_phrase(status));
    match release {
        Some(release) => excused(line, trunk, release, Some(status), None).fragment(),
        None => line.fragment(),
    }
}

/// Headers that say why: Reason always, ms-diagnostics and its public twin toward Microsoft on every
/// failure, Warning where the description was at fault (a 488 always has one: RFC 3261 section 21.4.26). What a peer said
/// of its refusal goes before what we would say of it.
pub fn excused(
    builder: Builder,
    trunk: &Trunk,
    release: &Release,
    status: Option<u16>,
    warning: Option<Warning>,
) -> Builder {
    let words = release.words.as_deref();
    let said = words.and_then(|words| words.warning.as_ref()).map(|warning| warning.get().clone());
    let ours = |warning: Warning| warning.header(&trunk.own_host);
    let warning = warning.map(ours).or(said).or_else(|| (status == Some(488)).then(|| ours(Warning::FORMAT)));
    let builder = builder.header(Name::Reason, release.cause.reason_header()).maybe(Name::Warning, warning);
    let failure = status.is_some() || release.guilty != Guilty::Nobody;
    if !failure || !matches!(trunk.kind, TrunkKind::Microsoft(_)) {
        return builder;
    }
    if let Some(Private(said)) = words.and_then(|words| words.diagnostics.as_ref()) {
        return builder.header(Name::MsDiagnostics, said);
    }
    let Diagnostics { number, reason, more } = diagnostics(release);
    let more = match more.get().as_str() {
        "" => String::new(),
        more => format!(";{more}"),
    };
    let said = status.map_or(String::new(), |status| {
        format!(";SipResponseCode=\"{status}\";SipResponseText=\"{}\"", reason_phrase(status))
    });
    let (source, component) = (&trunk.own_host, "component=\"MediationServer\"");
    builder
        .header(
            Name::MsDiagnostics,
            format_args!("{number};reason=\"{reason}\"{more};source=\"{source}\";{component}{said}"),
        )
        .header(Name::MsDiagnosticsPublic, format_args!("{number};reason=\"{reason}\";{component}{said}"))
}

/// The number for Microsoft: the release's own; 10xxx for a gateway's 4xx (the range that [MS-OCER]
/// gives the Mediation Server), else the range for applications (61xxx expected, 62xxx not).
fn diagnostics(release: &Release) -> Diagnostics {
    let status = u32::from(release.final_status());
    let (range, reason) = match release.guilty {
        Guilty::Network if (400..500).contains(&status) => (10_000, "The gateway refused the call"),
        Guilty::Network => (62_000, "The telephone network failed the call"),
        Guilty::Nobody => (61_000, "The call ended before it was answered"),
        Guilty::Peer => (62_000, "The request cannot be met"),
        Guilty::Us => (62_000, "The mediation server cannot take the call"),
    };
    release.diagnostics.clone().unwrap_or_else(|| Diagnostics::new(range + status, reason))
}
