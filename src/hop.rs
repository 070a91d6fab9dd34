//! Where a message came from and where it shall go.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A trunk: 0 is the Microsoft side, `[Gateway3]` is 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrunkId(pub u16);

impl TrunkId {
    /// The Microsoft side.
    pub const LYNC: TrunkId = TrunkId(0);
}

/// A T1 or E1 line: `[Span3]` is 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub u16);

/// A transport of SIP (RFC 3261 section 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams: messages are repeated by timers.
    Udp,
    /// A stream in the clear.
    Tcp,
    /// A stream under TLS; toward Microsoft always with certificates on both sides.
    Tls,
}

impl Transport {
    /// Does the transport itself repeat what is lost?
    pub fn reliable(self) -> bool {
        self != Transport::Udp
    }

    /// The word in a Via header (`UDP`, `TCP`, `TLS`).
    pub fn via(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// The word in a URI's `transport=` parameter.
    pub fn uri(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }

    /// The port that a URI without one means: 5060, or 5061 under TLS.
    pub fn default_port(self) -> u16 {
        if self == Transport::Tls { 5061 } else { 5060 }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.via())
    }
}

/// One connection, or one pair of addresses over UDP, that a message came in on. The shell gave it
/// its trunk when it recognised the peer: nothing reaches a machine from a peer nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The shell's number for the connection; 0 over UDP.
    pub connection: u64,
    /// The peer's trunk.
    pub trunk: TrunkId,
    /// How it came.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// A peer by name, to be looked up (RFC 3263) and connected to by the shell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whose certificate rules, names and addresses apply.
    pub trunk: TrunkId,
    /// The transport to use.
    pub transport: Transport,
    /// A host name or an address (IPv6 without brackets).
    pub host: Arc<str>,
    /// A port; without one the name is looked up by SRV first.
    pub port: Option<u16>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}/{}", self.host, self.transport),
            None => write!(f, "{}/{}", self.host, self.transport),
        }
    }
}

/// The next hop of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    /// Back where something came from; when the connection is gone, a new one to the same address.
    Flow(Flow),
    /// To a name.
    Target(Target),
}

impl Hop {
    /// The trunk this hop belongs to.
    pub fn trunk(&self) -> TrunkId {
        match self {
            Hop::Flow(flow) => flow.trunk,
            Hop::Target(target) => target.trunk,
        }
    }

    /// The transport this hop uses.
    pub fn transport(&self) -> Transport {
        match self {
            Hop::Flow(flow) => flow.transport,
            Hop::Target(target) => target.transport,
        }
    }

    /// The host as a SIP URI writes it.
    pub fn host(&self) -> String {
        match self {
            Hop::Flow(flow) => in_uri(&flow.remote.ip().to_string()),
            Hop::Target(target) => in_uri(&target.host),
        }
    }

    /// Host and port, where there is one, as a SIP URI writes them.
    pub fn host_port(&self) -> String {
        let port = match self {
            Hop::Flow(flow) => Some(flow.remote.port()),
            Hop::Target(target) => target.port,
        };
        let host = self.host();
        port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }
}

/// A host as a SIP URI or a Via writes it: an IPv6 address in brackets (RFC 3261 section 25.1).
pub fn in_uri(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let hop = |host: &str, port| {
            let (trunk, transport) = (TrunkId(1), Transport::Tcp);
            Hop::Target(Target { trunk, transport, host: host.into(), port })
        };
        let texts = [("gw", None), ("gw", Some(5060)), ("2001:db8::1", None), ("2001:db8::1", Some(5061))];
        assert_eq!(
            texts.map(|(host, port)| hop(host, port).host_port()),
            ["gw", "gw:5060", "[2001:db8::1]", "[2001:db8::1]:5061"]
        );
        assert_eq!(hop("2001:db8::1", Some(5061)).host(), "[2001:db8::1]");
    }
}
