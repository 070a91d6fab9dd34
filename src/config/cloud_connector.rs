//! What a CloudConnector.ini (Cloud Connector Edition 1.4.2 to 2.1) says in its own way.
//!
//! We take the Mediation Server's place: its name and address are ours, and the Edge Server's
//! internal pool is where the Microsoft side begins. Spellings that changed between releases are
//! aliases in the table of keys; keys that moved between sections are handled here.

use std::net::IpAddr;

use super::ini::Entry;
use super::keys::Section;
use super::settings::Settings;
use super::value::{HostPort, flag, name, own_address};

/// The port of Edge and Front End pools for SIP over TLS.
const POOL_PORT: u16 = 5061;

/// A value and the line that it came from.
pub struct Derived<'a, T> {
    /// The value.
    pub value: T,
    /// The line.
    pub from: &'a Entry,
}

/// Our name: the Mediation Server's pool, else the server, in the virtual machines' domain.
pub fn fqdn<'a>(settings: &Settings<'a>) -> Option<Derived<'a, String>> {
    machine(settings, Section::MediationServer, ["PoolName", "ServerName"])
}

/// Our address: the Mediation Server's.
pub fn address<'a>(settings: &Settings<'a>) -> Option<Derived<'a, IpAddr>> {
    let from = settings.filled(Section::MediationServer, "IP")?;
    Some(Derived { value: own_address(&from.value.text).ok()?, from })
}

/// Where calls to the Microsoft side go: the Edge Server, else the federation's front door.
pub fn next_hop<'a>(settings: &Settings<'a>) -> Option<Derived<'a, HostPort>> {
    let edge = machine(settings, Section::EdgeServer, ["InternalPoolName", "InternalServerName"]);
    let found = edge.or_else(|| {
        let from = settings.filled(Section::Common, "OnlineSipFederationFqdn")?;
        Some(Derived { value: name(&from.value.text).ok()?, from })
    })?;
    Some(Derived { value: HostPort { host: found.value, port: Some(POOL_PORT) }, from: found.from })
}

/// `EnableReferSupport` under `[Network]`, where one of Microsoft's pages has it.
pub fn refer_support(settings: &Settings<'_>) -> Option<bool> {
    let line = settings.filled(Section::Network, "EnableReferSupport")?;
    flag(&line.value.text).ok()
}

/// The full name of a machine: names in the file carry no domain.
fn machine<'a>(settings: &Settings<'a>, section: Section, keys: [&str; 2]) -> Option<Derived<'a, String>> {
    let from = keys.iter().find_map(|key| settings.filled(section, key))?;
    let host = from.value.text.as_str();
    let full = match settings.value(Section::Common, "VirtualMachineDomain", name) {
        Some(domain) if !host.contains('.') => format!("{host}.{domain}"),
        _ => host.to_owned(),
    };
    Some(Derived { value: name(&full).ok()?, from })
}
