//! From a target to addresses (RFC 3263 section 4.2):
//!
//! 1. an address is itself;
//! 2. a name with a port: A and AAAA;
//! 3. a name alone: SRV (`_sips._tcp`, `_sip._tcp`, `_sip._udp`), ordered by priority and weight (RFC 2782), each
//!    target by A and AAAA; without SRV records A and AAAA on the transport's port.
//!
//! The transport is configured, so NAPTR has nothing to decide. The resolver keeps answers for their TTL and reads
//! the hosts file first. Addresses of one name come in random order, IPv4 before IPv6.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::hop::{Target, Transport};
use crate::random::Random;

/// One query's wait, and how often it is asked: an outage must not eat the ten seconds of a failover.
const QUERY: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 2;
/// Names kept, and how long at most that a name does not exist.
const CACHED: u64 = 1024;
const NEGATIVE: Duration = Duration::from_secs(30);
/// The most SRV targets that are looked up for one send.
const MOST_TARGETS: usize = 8;

/// Why a name gave no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// The name is not one that DNS could hold.
    #[error("'{0}' is no host name")]
    BadName(Arc<str>),
    /// DNS says that there is none.
    #[error("'{0}' has no address in DNS; check the name, or write it into the hosts file")]
    Unknown(Arc<str>),
    /// DNS says that this transport is not offered there (an SRV record whose target is the root).
    #[error("'{0}' does not offer this transport (its SRV record says so)")]
    NotOffered(Arc<str>),
    /// No DNS server answered.
    #[error("no DNS server answered for '{0}'; check the resolver and the network")]
    Silent(Arc<str>),
}

/// The resolver and the randomness that SRV weights need.
pub(super) struct Lookup {
    resolver: TokioResolver,
    random: Mutex<Random>,
}

impl Lookup {
    /// By the system's configuration, or by one DNS server. A system without any still knows its hosts file.
    pub(super) fn new(server: Option<SocketAddr>, random: Random) -> Result<Lookup, NetError> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = match server {
            Some(server) => TokioResolver::builder_with_config(only(server), provider),
            None => TokioResolver::builder_tokio()
                .unwrap_or_else(|_| TokioResolver::builder_with_config(ResolverConfig::default(), provider)),
        };
        tune(builder.options_mut());
        Ok(Lookup { resolver: builder.build()?, random: Mutex::new(random) })
    }

    /// All addresses of a target, in the order to try them.
    pub(super) async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, NoAddress> {
        if let Ok(address) = target.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, target.port.unwrap_or(target.transport.default_port()))]);
        }
        if let Some(port) = target.port {
            return self.host(&target.host, port).await;
        }
        match self.services(target).await? {
            services if services.is_empty() => self.host(&target.host, target.transport.default_port()).await,
            services => self.any(services).await,
        }
    }

    /// Addresses of a name.
    pub(super) async fn host(&self, host: &Arc<str>, port: u16) -> Result<Vec<SocketAddr>, NoAddress> {
        let found = self.resolver.lookup_ip(&**host).await.map_err(|error| failed(&error, host))?;
        let mut addresses: Vec<_> = found.iter().map(|address| SocketAddr::new(address, port)).collect();
        self.shuffle(&mut addresses);
        addresses.sort_by_key(SocketAddr::is_ipv6);
        if addresses.is_empty() { Err(NoAddress::Unknown(host.clone())) } else { Ok(addresses) }
    }

    /// A pool behind one name wants its load spread.
    fn shuffle(&self, addresses: &mut [SocketAddr]) {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        for last in (1..addresses.len()).rev() {
            let other = usize::try_from(random.below(last as u64 + 1)).unwrap_or(last);
            addresses.swap(last, other);
        }
    }

    /// The SRV targets in order; none when there are no records or DNS fails: the hosts file may know more.
    async fn services(&self, target: &Target) -> Result<Vec<(Arc<str>, u16)>, NoAddress> {
        let prefix = match target.transport {
            Transport::Tls => "_sips._tcp",
            Transport::Tcp => "_sip._tcp",
            Transport::Udp => "_sip._udp",
        };
        let Ok(found) = self.resolver.srv_lookup(format!("{prefix}.{}.", target.host.trim_end_matches('.'))).await
        else {
            return Ok(Vec::new());
        };
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                host: srv.target.to_ascii().into(),
            }),
            _ => None,
        });
        let records: Vec<Service> = records.collect();
        if let [Service { host, .. }] = &records[..]
            && &**host == "."
        {
            return Err(NoAddress::NotOffered(target.host.clone()));
        }
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ordered(records, &mut random).into_iter().take(MOST_TARGETS).map(|s| (s.host, s.port)).collect())
    }

    async fn any(&self, services: Vec<(Arc<str>, u16)>) -> Result<Vec<SocketAddr>, NoAddress> {
        let mut addresses = Vec::new();
        let mut told = None;
        for (host, port) in services {
            match self.host(&host, port).await {
                Ok(found) => addresses.extend(found),
                Err(error) => told = Some(error),
            }
        }
        match told {
            Some(error) if addresses.is_empty() => Err(error),
            _ => Ok(addresses),
        }
    }
}

fn failed(error: &NetError, host: &Arc<str>) -> NoAddress {
    match error {
        NetError::Timeout | NetError::NoConnections | NetError::Io(_) | NetError::Busy => {
            NoAddress::Silent(host.clone())
        }
        NetError::Proto(_) | NetError::Msg(_) | NetError::Message(_) => NoAddress::BadName(host.clone()),
        error if error.is_no_records_found() || error.is_nx_domain() => NoAddress::Unknown(host.clone()),
        _ => NoAddress::Silent(host.clone()),
    }
}

/// A resolver that asks one server.
fn only(server: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    ResolverConfig::from_name_servers(vec![NameServerConfig::new(server.ip(), true, connections.to_vec())])
}

fn tune(options: &mut ResolverOpts) {
    options.timeout = QUERY;
    options.attempts = ATTEMPTS;
    options.cache_size = CACHED;
    options.negative_max_ttl = Some(NEGATIVE);
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Always;
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    priority: u16,
    weight: u16,
    port: u16,
    host: Arc<str>,
}

/// RFC 2782: lowest priority first; within one, drawn by weight, those of weight 0 placed first so that they have
/// a small chance.
fn ordered(mut records: Vec<Service>, random: &mut Random) -> Vec<Service> {
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut order = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let same = records.iter().take_while(|record| record.priority == first.priority).count();
        let sum: u64 = records[..same].iter().map(|record| u64::from(record.weight)).sum();
        let drawn = random.below(sum + 1);
        let mut running = 0;
        let chosen = records[..same].iter().position(|record| {
            running += u64::from(record.weight);
            running >= drawn
        });
        order.push(records.remove(chosen.unwrap_or(0)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        Service { priority, weight, port: 5061, host: host.into() }
    }

    #[test]
    fn priority_goes_before_weight_and_weight_decides_the_share() {
        let records = vec![service(20, 0, "backup"), service(10, 60, "a"), service(10, 20, "b"), service(10, 20, "c")];
        let mut random = Random::test(1);
        let mut first_a = 0;
        for _ in 0..1000 {
            let order = ordered(records.clone(), &mut random);
            assert_eq!(order.len(), 4);
            assert_eq!(&*order[3].host, "backup");
            first_a += u32::from(&*order[0].host == "a");
        }
        assert!((540..660).contains(&first_a), "a is first in {first_a} of 1000, 600 expected");
    }

    #[test]
    fn weight_zero_has_a_small_chance() {
        let records = vec![service(1, 0, "idle"), service(1, 9, "busy")];
        let mut random = Random::test(2);
        let idle = (0..1000).filter(|_| &*ordered(records.clone(), &mut random)[0].host == "idle").count();
        assert!((60..140).contains(&idle), "idle is first in {idle} of 1000, 100 expected");
    }
}
