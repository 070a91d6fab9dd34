//! Everything that waits: sockets, clocks, signals, files.

pub mod demo;
