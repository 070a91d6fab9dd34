//! SNMP traps of all gateways, at one port. Only addresses of gateways are listened to; the rest is counted.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tracing::warn;

use super::{Teller, first_line};
use crate::config::Traps;
use crate::gateway::trap::{self, Unheard};
use crate::gateway::{Voice, Word};
use crate::hop::TrunkId;
use crate::shell::observe::{News, Observer};

/// How long a port that is taken is waited for.
const AGAIN: Duration = Duration::from_secs(10);
/// A trap about lines takes some hundred octets; what is cut off cannot be read.
const LONGEST: usize = 4096;

/// Listens until it is aborted.
pub(super) async fn run(traps: Traps, senders: Vec<(IpAddr, TrunkId)>, tell: Teller, observer: Observer) {
    let Some(community) = community(&traps).await else { return };
    let socket = bound(&traps).await;
    let mut complained = HashSet::new();
    let mut packet = [0; LONGEST];
    loop {
        // An error is that of an earlier packet of somebody else's: there is nothing to do about it.
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
        let from = from.ip().to_canonical();
        let Some((_, trunk)) = senders.iter().find(|(address, _)| *address == from) else {
            observer.tell(News::Trap { trunk: None, result: "stranger" });
            continue;
        };
        let read = trap::read(packet.get(..length).unwrap_or_default(), community.as_deref());
        let result = read.as_ref().map_or_else(|why| why.label(), |_| "heard");
        observer.tell(News::Trap { trunk: Some(*trunk), result });
        match read {
            Ok(words) => {
                complained.remove(trunk);
                for word in std::iter::once(Word::Heard).chain(words) {
                    tell.word(*trunk, Voice::Trap, word).await;
                }
            }
            Err(Unheard::Community) if complained.insert(*trunk) => {
                warn!("SNMP traps from {from} carry another community than that in [Trunks] TrapCommunityFile");
            }
            Err(_) => {}
        }
    }
}

/// The community that is wanted, if any; `None` when nobody can know it.
async fn community(traps: &Traps) -> Option<Option<String>> {
    let Some(file) = &traps.community else { return Some(None) };
    let line = first_line(file).await;
    if line.is_none() {
        warn!("[Trunks] TrapCommunityFile={} cannot be read, or is empty: SNMP traps are not heard", file.display());
    }
    line.map(Some)
}

async fn bound(traps: &Traps) -> UdpSocket {
    let mut complained = false;
    loop {
        match UdpSocket::bind(traps.listen).await {
            Ok(socket) => return socket,
            Err(fault) if !complained => {
                complained = true;
                warn!("[Trunks] TrapListen={} cannot be bound ({fault}): SNMP traps are not heard yet", traps.listen);
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}
