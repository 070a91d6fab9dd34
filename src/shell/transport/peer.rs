//! Who is at the other end: the names in a certificate against a trunk's, its usages against the part it
//! plays, a source address against the gateways'.
//!
//! Key usage: the rule of OpenSSL is replaced by ours, since Microsoft's servers connect with
//! certificates that say serverAuth only. A certificate without extended key usage may do anything.
//!
//! | the peer is | gateways need | Microsoft needs |
//! |---|---|---|
//! | client | clientAuth | clientAuth or serverAuth |
//! | server | serverAuth | serverAuth |
//!
//! anyExtendedKeyUsage alone passes for an authority and never for a leaf: every stock library refuses
//! it there, so a peer that has it fails elsewhere too.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use openssl::nid::Nid;
use openssl::stack::StackRef;
use openssl::x509::{X509, X509ExtendedKeyUsage, X509Ref};

use super::refusal::{Refusal, Role};
use crate::config::{Config, Trunk};
use crate::hop::{Transport, TrunkId};

/// The most names of one certificate that are read: Microsoft's public ones carry some dozens.
const MOST_NAMES: usize = 256;

/// Which usages a client certificate needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUsage {
    /// clientAuth, or no extended key usage at all.
    Strict,
    /// serverAuth does as well.
    ServerOk,
}

impl KeyUsage {
    /// Does every certificate of a verified chain (leaf first) allow this role?
    pub fn judge(self, role: Role, chain: &StackRef<X509>) -> Result<(), Refusal> {
        let accepted = match (role, self) {
            (Role::Server, _) => X509ExtendedKeyUsage::SSL_SERVER,
            (Role::Client, KeyUsage::Strict) => X509ExtendedKeyUsage::SSL_CLIENT,
            (Role::Client, KeyUsage::ServerOk) => X509ExtendedKeyUsage::SSL_CLIENT | X509ExtendedKeyUsage::SSL_SERVER,
        };
        for (depth, certificate) in chain.iter().enumerate() {
            let accepted = if depth == 0 { accepted } else { accepted | X509ExtendedKeyUsage::ANYEKU };
            match certificate.extended_key_usage() {
                Some(usage) if !usage.intersects(accepted) => {
                    return Err(Refusal::KeyUsage { role, seen: usage_names(usage) });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn usage_names(usage: X509ExtendedKeyUsage) -> Vec<&'static str> {
    let known = [
        (X509ExtendedKeyUsage::SSL_SERVER, "serverAuth"),
        (X509ExtendedKeyUsage::SSL_CLIENT, "clientAuth"),
        (X509ExtendedKeyUsage::SMIME, "emailProtection"),
        (X509ExtendedKeyUsage::CODE_SIGN, "codeSigning"),
        (X509ExtendedKeyUsage::OCSP_SIGN, "OCSPSigning"),
        (X509ExtendedKeyUsage::TIMESTAMP, "timeStamping"),
        (X509ExtendedKeyUsage::ANYEKU, "anyExtendedKeyUsage"),
    ];
    known.into_iter().filter(|(bit, _)| usage.contains(*bit)).map(|(_, name)| name).collect()
}

/// The names that a certificate gives its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Host names in lower case: of the subject's alternative names (DNS and `sip:` URIs, RFC 5922
    /// section 7.1), and of its common name only when it has no alternative names.
    pub hosts: Vec<String>,
    /// Addresses of the alternative names.
    pub addresses: Vec<IpAddr>,
}

impl Names {
    /// Reads them.
    pub fn of(certificate: &X509Ref) -> Names {
        let Some(alternatives) = certificate.subject_alt_names() else {
            return Names { hosts: common_name(certificate).into_iter().collect(), addresses: Vec::new() };
        };
        let mut names = Names::default();
        for name in alternatives.iter().take(MOST_NAMES) {
            if let Some(host) = name.dnsname().or_else(|| name.uri().and_then(|uri| uri.strip_prefix("sip:"))) {
                names.hosts.push(printable(host).to_ascii_lowercase());
            } else if let Some(address) = name.ipaddress().and_then(address) {
                names.addresses.push(address);
            }
        }
        names
    }

    /// Does the certificate belong to this host? `*.` on either side covers one label.
    pub fn cover(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| covers(own, host) || covers(host, own))
    }

    /// Does it name the host itself, without a wildcard?
    pub fn carry(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// All of them, to be shown.
    pub fn all(&self) -> Vec<String> {
        self.hosts.iter().cloned().chain(self.addresses.iter().map(IpAddr::to_string)).collect()
    }
}

fn common_name(certificate: &X509Ref) -> Option<String> {
    let entry = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).last()?;
    Some(printable(&entry.data().to_string().ok()?).to_ascii_lowercase())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// A stranger's text, cut and cleaned for a log line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(253).collect()
}

/// A certificate's subject or issuer, to be shown: the common name, or the first part there is.
pub fn shown(name: &openssl::x509::X509NameRef) -> String {
    let part = name.entries_by_nid(Nid::COMMONNAME).last().or_else(|| name.entries().next());
    part.and_then(|entry| entry.data().to_string().ok()).map_or_else(String::new, |text| printable(&text))
}

/// Does `pattern` stand for `host`? A leading `*.` covers exactly one label; case does not count.
fn covers(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.trim_end_matches('.'), host.trim_end_matches('.'));
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((label, rest))) => {
            !label.is_empty() && label != "*" && domain.contains('.') && domain.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}

/// The one whose certificate is expected.
#[derive(Clone, Debug)]
pub enum Expected {
    /// A client on a listener: one of these trunks.
    AnyOf(Vec<Arc<Trunk>>),
    /// The host that we connect to, on a trunk.
    Host {
        /// The trunk.
        trunk: Arc<Trunk>,
        /// A name, or an address when only that is known: then any of the trunk's names does.
        host: Arc<str>,
    },
}

impl Expected {
    /// The trunk that the certificate belongs to.
    pub fn recognise(&self, names: &Names, remote: IpAddr) -> Result<TrunkId, Refusal> {
        match self {
            Expected::AnyOf(trunks) => any_of(trunks, names, remote),
            Expected::Host { trunk, host } => match host.parse::<IpAddr>() {
                Ok(address) if names.addresses.contains(&address) => Ok(trunk.id),
                Ok(address) => any_of(std::slice::from_ref(trunk), names, address),
                Err(_) if names.cover(host) => Ok(trunk.id),
                Err(_) => Err(Refusal::NameMismatch { seen: names.all(), expected: vec![host.to_string()] }),
            },
        }
    }
}

/// The trunk that lists one of the names, or the address if the certificate is for that address. Of
/// several the one wins that also lists the address, then the first in the file.
fn any_of(trunks: &[Arc<Trunk>], names: &Names, remote: IpAddr) -> Result<TrunkId, Refusal> {
    let listed = |trunk: &Trunk| trunk.peers.addresses.contains(&remote);
    let named = |trunk: &Trunk| {
        trunk.peers.names.iter().any(|name| names.cover(name)) || (listed(trunk) && names.addresses.contains(&remote))
    };
    let found = trunks.iter().filter(|trunk| named(trunk)).min_by_key(|trunk| (!listed(trunk), trunk.id));
    found.map(|trunk| trunk.id).ok_or_else(|| Refusal::NameMismatch {
        seen: names.all(),
        expected: trunks.iter().flat_map(|trunk| trunk.peers.names.iter().cloned()).collect(),
    })
}

/// The gateways by source address, for TCP and UDP.
#[derive(Clone, Debug, Default)]
pub struct Addresses(HashMap<IpAddr, Vec<Place>>);

/// One way in which a gateway has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    trunk: TrunkId,
    transport: Option<Transport>,
    port: Option<u16>,
}

impl Addresses {
    /// The addresses that the configuration writes out, together with those that names `found` by
    /// DNS.
    pub fn of(config: &Config, found: &[(TrunkId, IpAddr)]) -> Addresses {
        let mut addresses = Addresses::default();
        for trunk in config.gateways() {
            for &address in &trunk.peers.addresses {
                addresses.add(address, Place { trunk: trunk.id, transport: None, port: None });
            }
            for hop in &trunk.hops {
                let place = Place { trunk: trunk.id, transport: Some(hop.transport), port: hop.port };
                let looked_up = found.iter().filter(|(id, _)| *id == trunk.id).map(|(_, address)| *address);
                let listed = trunk.peers.addresses.iter().copied();
                for address in hop.host.parse().into_iter().chain(looked_up).chain(listed) {
                    addresses.add(address, place);
                }
            }
        }
        addresses
    }

    fn add(&mut self, address: IpAddr, place: Place) {
        let places = self.0.entry(address.to_canonical()).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// Whose address is it? Where gateways share one, the one that listens on the source port wins, then the
    /// one that uses the transport, then the first in the file.
    pub fn trunk(&self, remote: SocketAddr, transport: Transport) -> Option<TrunkId> {
        let places = self.0.get(&remote.ip().to_canonical())?;
        let fit = |place: &&Place| {
            let same = place.transport == Some(transport);
            (!(same && place.port == Some(remote.port())), !same, place.trunk)
        };
        places.iter().min_by_key(fit).map(|place| place.trunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        let table = [
            ("pool01.contoso.com", "POOL01.Contoso.com", true),
            ("*.contoso.com", "fe01.contoso.com", true),
            ("*.contoso.com", "a.b.contoso.com", false),
            ("*.contoso.com", "contoso.com", false),
            ("*.contoso.com", ".contoso.com", false),
            ("*.com", "contoso.com", false),
            ("f*.contoso.com", "fe01.contoso.com", false),
            ("*", "contoso", false),
            ("pool01.contoso.com", "pool01.contoso.com.", true),
        ];
        for (pattern, host, expected) in table {
            assert_eq!(covers(pattern, host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn gateways_behind_one_address_are_told_apart_by_port_then_transport() {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let mut addresses = Addresses::default();
        for (trunk, transport, port) in
            [(1, Transport::Udp, 5060), (2, Transport::Udp, 5080), (3, Transport::Tcp, 5060)]
        {
            addresses.add(address, Place { trunk: TrunkId(trunk), transport: Some(transport), port: Some(port) });
        }
        let whose = |port, transport| addresses.trunk(SocketAddr::new(address, port), transport);
        assert_eq!(whose(5080, Transport::Udp), Some(TrunkId(2)));
        assert_eq!(whose(40000, Transport::Udp), Some(TrunkId(1)));
        assert_eq!(whose(40000, Transport::Tcp), Some(TrunkId(3)));
        assert_eq!(addresses.trunk("192.0.2.2:5060".parse().unwrap(), Transport::Udp), None);
        assert_eq!(addresses.trunk("[::ffff:192.0.2.1]:5080".parse().unwrap(), Transport::Udp), Some(TrunkId(2)));
    }
}
