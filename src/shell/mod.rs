//! Everything that waits: sockets, clocks, files.

pub mod demo;
pub mod transport;
