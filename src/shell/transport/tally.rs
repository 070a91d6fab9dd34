//! Refusals, counted all and told some: a scan of ports must not fill the log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::refusal::Refused;
use crate::hop::TrunkId;

/// At most one line in this time for one address and kind of refusal.
pub(super) const QUIET: Duration = Duration::from_secs(10);
/// The most addresses and kinds remembered for that.
const REMEMBERED: usize = 1024;

/// The count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: HashMap<(Option<TrunkId>, &'static str), u64>,
    told: HashMap<(IpAddr, &'static str), Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    unsaid: u64,
}

impl Tally {
    /// Counts one; gives it back when it shall be told.
    pub(super) fn refuse(&mut self, now: Instant, mut refused: Refused) -> Option<Refused> {
        let kind = refused.reason.kind();
        *self.counts.entry((refused.trunk, kind)).or_default() += 1;
        let place = (refused.remote.ip(), kind);
        match self.told.get_mut(&place) {
            Some(told) if now - told.at < QUIET => {
                told.unsaid += 1;
                None
            }
            Some(told) => {
                refused.unsaid = told.unsaid;
                *told = Told { at: now, unsaid: 0 };
                Some(refused)
            }
            None => {
                self.make_room(now);
                let room = self.told.len() < REMEMBERED;
                room.then(|| {
                    self.told.insert(place, Told { at: now, unsaid: 0 });
                    refused
                })
            }
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.told.len() >= REMEMBERED {
            self.told.retain(|_, told| now - told.at < QUIET);
        }
    }

    /// All counts.
    pub(super) fn counts(&self) -> Vec<(Option<TrunkId>, &'static str, u64)> {
        self.counts.iter().map(|((trunk, kind), count)| (*trunk, *kind, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::transport::Refusal;

    fn refused(address: [u8; 4]) -> Refused {
        Refused { remote: (address, 5060).into(), at: None, trunk: None, reason: Refusal::Slow, unsaid: 0 }
    }

    #[test]
    fn all_are_counted_and_one_in_a_while_is_told() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        assert!(tally.refuse(now, refused([192, 0, 2, 1])).is_some());
        assert!(tally.refuse(now, refused([192, 0, 2, 1])).is_none());
        assert!(tally.refuse(now, refused([192, 0, 2, 2])).is_some());
        let later = tally.refuse(now + QUIET, refused([192, 0, 2, 1]));
        assert_eq!(later.map(|refused| refused.unsaid), Some(1));
        assert_eq!(tally.counts(), [(None, "timeout", 4)]);
    }

    #[test]
    fn a_scan_from_everywhere_stays_small() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        for n in 0..5000_u16 {
            let [high, low] = n.to_be_bytes();
            tally.refuse(now, refused([10, 0, high, low]));
        }
        assert_eq!(tally.told.len(), REMEMBERED);
        assert_eq!(tally.counts(), [(None, "timeout", 5000)]);
    }
}
