//! ISDN primary rate lines, without I/O: what a D channel carries, and the timeslots beside it.

pub mod call;
pub mod leg;
pub mod line;
pub mod link;
pub mod maintenance;
pub mod restart;
pub mod signalling;
pub mod timeslots;
