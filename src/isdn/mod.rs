//! ISDN primary rate lines: the D channel's data link, without I/O.

pub mod link;
