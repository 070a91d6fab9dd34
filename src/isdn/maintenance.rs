//! SERVICE (TR 41459, SR-4994): the ends of a line tell each other which timeslots shall not be used.
//!
//! ```text
//! we                        far end
//!  | -- SERVICE ------------> |   in or out of service; after 120 s once more, then left
//!  | <--- SERVICE ACK ------- |
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::timeslots::Slot;
use crate::time::Instant;
use crate::wire::q931::ChangeStatus;

/// How long SERVICE ACKNOWLEDGE is waited for: as long as a RESTART's.
const WAIT: Duration = super::restart::T316;
/// How often SERVICE is sent in all.
const TRIES: u8 = 2;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send SERVICE.
    Send(Slot, ChangeStatus),
    /// The far end does not answer.
    Failed(Slot),
}

#[derive(Clone, Copy, Debug)]
struct Notice {
    status: ChangeStatus,
    until: Instant,
    tries: u8,
}

/// What the far end was told and has not acknowledged.
#[derive(Debug, Default)]
pub struct Notices(BTreeMap<Slot, Notice>);

impl Notices {
    /// When [`Notices::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        self.0.values().map(|notice| notice.until).min()
    }

    /// Tells the far end; what it was told before about this timeslot counts no more.
    pub fn tell(&mut self, now: Instant, slot: Slot, status: ChangeStatus, out: &mut Vec<Output>) {
        self.0.insert(slot, Notice { status, until: now + WAIT, tries: 1 });
        out.push(Output::Send(slot, status));
    }

    /// The far end knows.
    pub fn acknowledged(&mut self, slot: Slot) {
        self.0.remove(&slot);
    }

    /// Messages that were on the way are lost.
    pub fn again(&mut self, now: Instant, out: &mut Vec<Output>) {
        for (slot, notice) in &mut self.0 {
            *notice = Notice { until: now + WAIT, tries: 1, ..*notice };
            out.push(Output::Send(*slot, notice.status));
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.0.retain(|slot, notice| {
            if now < notice.until {
                return true;
            }
            let again = notice.tries < TRIES;
            *notice = Notice { until: now + WAIT, tries: notice.tries + 1, ..*notice };
            out.push(if again { Output::Send(*slot, notice.status) } else { Output::Failed(*slot) });
            again
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChangeStatus::{InService, OutOfService};

    #[test]
    fn the_last_word_on_a_timeslot_is_repeated_once() {
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        let [first, second] = [1, 2].map(|timeslot| Slot { span: 0, timeslot });
        let (mut notices, mut out) = (Notices::default(), Vec::new());
        notices.tell(at(0), first, OutOfService, &mut out);
        notices.tell(at(5), first, InService, &mut out);
        notices.tell(at(10), second, OutOfService, &mut out);
        out.clear();
        notices.acknowledged(second);
        notices.tick(at(124), &mut out);
        assert_eq!(out, []);
        notices.tick(at(125), &mut out);
        notices.again(at(130), &mut out);
        notices.tick(at(250), &mut out);
        notices.tick(at(370), &mut out);
        let again = Output::Send(first, InService);
        assert_eq!((out, notices.timeout()), (vec![again, again, again, Output::Failed(first)], None));
    }
}
