//! Calls: the back-to-back user agent.
//!
//! [`Switch`] is the root machine: everything that happens comes in as an [`Event`], everything it
//! does goes out as an [`Output`]. Its parts: [`Call`] (two legs and a plan), `terms` (what one side
//! agreed becomes what the other may), `change` (hold, resume), `announce` (a refusal that is heard first), `transfer` (REFER), `replace` (Replaces), `register` (which call a message belongs to), `trunk` (is the peer there?), `peer_clock` (what time is it there?), `report` (what operators see).

mod announce;
mod b2bua;
mod change;
mod leg;
mod peer_clock;
mod register;
mod replace;
mod report;
mod switch;
mod terms;
#[cfg(test)]
mod tests;
mod transfer;
mod trombone;
mod trunk;

pub use b2bua::{Call, CallKey};
pub use report::{
    CallEnd, CallView, CaptureView, Heading, Progress, Report, Snapshot, SpanCounters, SpanView, TimeslotView,
    TransferMode, TransferResult, TrunkView, Way,
};
pub use switch::{Event, FromSpan, Output, SpanOrder, Switch};
pub use trunk::Reachability;
