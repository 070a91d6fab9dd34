//! Everything that waits: sockets, clocks, signals, files. Machines below are handed what happened
//! and say what to do; this floor carries it out.

mod alarms;
mod bearer;
pub mod clock;
pub mod configuration;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod exchange;
mod gateway;
mod kernel;
mod ladder;
mod metrics;
mod notice;
mod ntp;
mod observe;
mod reactor;
mod sip_reader;
pub mod span;
mod speech;
pub mod transport;
mod web;
