//! Everything that waits: sockets, clocks, files.

pub mod transport;
