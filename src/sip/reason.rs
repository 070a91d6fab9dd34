//! Why a request is refused or a dialog ends, as headers: Reason (RFC 3326, RFC 6432), Warning, and
//! toward Microsoft `ms-diagnostics` with its public twin.

use crate::cause::{Diagnostics, Guilty, Release, reason_phrase};
use crate::config::{Trunk, TrunkKind};
use crate::sip::negotiate::Warning;
use crate::wire::sip::{Builder, Name};

/// Headers that say why: Reason always, ms-diagnostics and its public twin toward Microsoft on every
/// failure, Warning where the description was at fault (a 488 always has one: RFC 3261 section 21.4.26).
pub fn excused(
    builder: Builder,
    trunk: &Trunk,
    release: &Release,
    status: Option<u16>,
    warning: Option<Warning>,
) -> Builder {
    let warning = warning.or((status == Some(488)).then_some(Warning::FORMAT));
    let builder = builder
        .header(Name::Reason, release.cause.reason_header())
        .maybe(Name::Warning, warning.map(|warning| warning.header(&trunk.own_host)));
    let failure = status.is_some() || release.guilty != Guilty::Nobody;
    if !failure || !matches!(trunk.kind, TrunkKind::Microsoft(_)) {
        return builder;
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
