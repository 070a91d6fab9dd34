//! A trombone: a transfer left a call whose two ends are on lines of one trunk (LineTransfer). The exchange can join them
//! itself, which frees both timeslots.
//!
//! ```text
//!  line -- call -- line        line -- call -- Microsoft's servers -- call -- line
//!                                       a number as target comes back to us: a spiral, under the same Call-ID
//! ```
//!
//! 1. The transfer is done; the exchange is asked. `shorten`
//! 2. It joins the two and ends both calls: so do we. Or it does not, and the call goes on through this box: nobody hears
//!    anything of it. `shortened`

use super::b2bua::{Act, Around, Call, LegKey};
use super::report::TransferResult;
use crate::cause::Release;
use crate::isdn::line::Unjoined;
use crate::session::Side;

impl Call {
    /// Asks for it where a trunk allows that.
    pub(super) fn shorten(&self, around: &mut Around<'_>) {
        let allows = |side| self.half(self.key_of(side)).is_some_and(|half| half.trunk.line_transfer);
        let settled = self.is_connected() && self.transfer().is_none();
        if let (true, Some(a), Some(b)) =
            (settled && Side::BOTH.into_iter().any(allows), self.key_of(Side::A), self.key_of(Side::B))
        {
            around.out.push(Act::JoinOnLine([a, b]));
        }
    }

    /// Who talks with the leg of this Call-ID.
    pub(super) fn beyond(&self, call_id: &str) -> Option<LegKey> {
        let is = |side: &Side| self.half(self.key_of(*side)).is_some_and(|half| half.leg.call_id() == Some(call_id));
        let settled = self.is_connected() && self.transfer().is_none();
        let side = Side::BOTH.into_iter().find(is).filter(|_| settled)?;
        self.key_of(side.other())
    }

    /// What came of it.
    pub(super) fn shortened(&mut self, outcome: Result<(), Unjoined>, around: &mut Around<'_>) {
        match outcome {
            Ok(()) => self.end(Release::normal("transferred on the line"), "us", around),
            Err(Unjoined::Ended) => {}
            Err(why) => {
                self.note(
                    format!("the line's exchange does not join the two ends: {why}; the call stays here"),
                    around,
                );
            }
        }
        self.settle(around);
    }
}

impl From<Result<(), Unjoined>> for TransferResult {
    fn from(outcome: Result<(), Unjoined>) -> TransferResult {
        match outcome {
            Ok(()) => TransferResult::Reached,
            Err(Unjoined::Ended) => TransferResult::Abandoned,
            Err(_) => TransferResult::Failed,
        }
    }
}
