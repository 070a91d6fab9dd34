//! A trombone: a transfer left a call whose two ends are on lines of one trunk (LineTransfer). The exchange can join them
//! itself, which frees both timeslots.
//!
//! 1. The transfer is done; the exchange is asked. `shorten`
//! 2. It joins the two and ends both calls: so do we. Or it does not, and the call goes on through this box: nobody hears
//!    anything of it. `shortened`

use super::b2bua::{Act, Around, Call};
use super::report::{Report, TransferResult};
use crate::cause::Release;
use crate::isdn::line::Unjoined;
use crate::session::Side;

impl Call {
    /// Asks for it where the trunk allows that.
    pub(super) fn shorten(&self, around: &mut Around<'_>) {
        let trunk = |side| self.half(self.key_of(side)).map(|half| &half.trunk);
        let (Some(a), Some(b)) = (trunk(Side::A), trunk(Side::B)) else { return };
        let settled = self.is_connected() && self.transfer().is_none();
        if let (true, true, Some(a), Some(b)) =
            (settled, a.line_transfer && a.id == b.id, self.key_of(Side::A), self.key_of(Side::B))
        {
            around.out.push(Act::JoinOnLine([a, b]));
        }
    }

    /// What came of it.
    pub(super) fn shortened(&mut self, outcome: Result<(), Unjoined>, around: &mut Around<'_>) {
        let result = match outcome {
            Ok(()) => TransferResult::Reached,
            Err(Unjoined::Ended) => TransferResult::Abandoned,
            Err(_) => TransferResult::Failed,
        };
        if let Some(trunk) = self.half(self.key_of(Side::A)).map(|half| half.trunk.id) {
            around.out.push(Act::Report(Report::Shortened { trunk, result }));
        }
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
