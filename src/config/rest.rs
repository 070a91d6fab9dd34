//! The REST interface of a gateway (UX and SBC 1000 and 2000).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{KINDS, Section};
use super::settings::{Findings, Known, default};
use super::value::{self, HostPort, PortOfCard};
use crate::private::Private;

/// How a gateway's state is asked for by REST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Where; port 443 unless written.
    pub host: HostPort,
    /// Who asks.
    pub user: Private<String>,
    /// The file that holds the password.
    pub password: PathBuf,
    /// Whom its certificate may come from, PEM; without it those whom the Microsoft side's may.
    pub roots: Option<PathBuf>,
    /// What is asked for.
    pub ports: Vec<PortOfCard>,
    /// How often.
    pub interval: Duration,
}

/// The REST interface of a gateway, if it has one that acts. Paths count from `directory`.
pub fn rest(gateway: &Known<'_>, directory: &Path, findings: &mut Findings<'_>) -> Option<Rest> {
    let url = gateway.filled("Rest")?;
    let kind = gateway.value("Kind", |text| value::choice(text, KINDS)).unwrap_or_default();
    let lacking = match KINDS[kind] {
        "vx1200" => ["RestUser", "RestPasswordFile", "RestPorts"].into_iter().find(|key| gateway.filled(key).is_none()),
        _ => Some("Kind=vx1200"),
    };
    if let Some(lacking) = lacking {
        let what = format!("[{}] is not asked by REST", gateway.header.text);
        findings.warning(&url.value.span, what, format!("{lacking} is missing"), lacking);
        return None;
    }
    let path = |text: &str| Ok(directory.join(text));
    let interval = |text: &str| value::time(text, Duration::ZERO, Duration::MAX);
    Some(Rest {
        host: gateway.value("Rest", value::https)?,
        user: Private(gateway.filled("RestUser")?.value.text.clone()),
        password: gateway.value("RestPasswordFile", path)?,
        roots: gateway.value("RestRoots", path),
        ports: gateway.value("RestPorts", value::ports_of_cards)?,
        interval: gateway
            .value("RestInterval", interval)
            .or_else(|| default(Section::Gateway, "RestInterval", interval))?,
    })
}
