//! ISDN primary rate lines, without I/O: the data link of a D channel, its calls, the timeslots of a line.

pub mod link;
pub mod maintenance;
pub mod restart;
pub mod signalling;
pub mod timeslots;
