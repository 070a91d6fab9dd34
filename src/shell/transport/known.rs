//! Which addresses are gateways', kept fresh: those that the configuration writes out, and those behind its names.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::peer::Addresses;
use super::table::key;
use super::{Reader, Rules, Shared};
use crate::config::{Config, Trunk};
use crate::hop::{Target, Transport, TrunkId};

/// Names are looked up again this often: from the resolver's cache while their TTL lasts.
const FRESH: Duration = Duration::from_secs(30);

/// What was found behind names; the trunk of these targets does not count.
pub(super) type Found = HashMap<Target, Vec<IpAddr>>;

/// Looks the names up again and again.
pub(super) async fn keep_fresh<R: Reader>(shared: Arc<Shared<R>>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FRESH) => {}
            () = shared.reloaded.notified() => {}
        }
        refresh(&shared).await;
    }
}

/// Looks up the names by which gateways are known. A name that cannot be looked up now keeps what it had.
pub(super) async fn refresh<R: Reader>(shared: &Arc<Shared<R>>) {
    let mut answers = JoinSet::new();
    for (_, target) in names(&shared.rules().config) {
        let shared = Arc::clone(shared);
        answers.spawn(async move { shared.lookup.addresses(&target).await.map(|addresses| (target, addresses)) });
    }
    let mut fresh = Found::new();
    while let Some(answer) = answers.join_next().await {
        if let Ok(Ok((target, addresses))) = answer {
            fresh.insert(target, addresses.iter().map(SocketAddr::ip).collect());
        }
    }
    let mut found = shared.found.lock().unwrap_or_else(PoisonError::into_inner);
    found.extend(fresh);
    let mut rules = shared.rules.write().unwrap_or_else(PoisonError::into_inner);
    let wanted = names(&rules.config);
    found.retain(|target, _| wanted.iter().any(|(_, wanted)| wanted == target));
    let addresses = Arc::new(Addresses::of(&rules.config, &behind(&wanted, &found)));
    *rules = Arc::new(Rules { addresses, ..(**rules).clone() });
}

/// The addresses for a new configuration, from what is known already.
pub(super) fn recall<R: Reader>(shared: &Shared<R>, config: &Config) -> Addresses {
    let found = shared.found.lock().unwrap_or_else(PoisonError::into_inner);
    Addresses::of(config, &behind(&names(config), &found))
}

fn behind(wanted: &[(TrunkId, Target)], found: &Found) -> Vec<(TrunkId, IpAddr)> {
    let addresses = |target| found.get(target).into_iter().flatten();
    wanted.iter().flat_map(|(trunk, target)| addresses(target).map(|address| (*trunk, *address))).collect()
}

/// The names that stand for gateways' addresses. A port that is given keeps SRV out.
fn names(config: &Config) -> Vec<(TrunkId, Target)> {
    let named = |host: &str| host.parse::<IpAddr>().is_err() && !host.starts_with("*.");
    let of = |trunk: &Arc<Trunk>| {
        let hops = trunk.hops.iter().map(|hop| Target { trunk: TrunkId::LYNC, ..key(hop) });
        let peers = trunk.peers.names.iter().map(|name| Target {
            trunk: TrunkId::LYNC,
            transport: Transport::Udp,
            host: name.as_str().into(),
            port: Some(0),
        });
        let id = trunk.id;
        hops.chain(peers).filter(|target| named(&target.host)).map(move |target| (id, target)).collect::<Vec<_>>()
    };
    config.gateways().iter().flat_map(of).collect()
}
