//! demarc: an open mediation server.
//!
//! The map of the house is in `ARCHITECTURE.md`. Floors, lowest first:
//! values ([`time`], [`private`], [`random`], [`hop`], [`cause`], [`alarm`], [`session`], [`tone`], [`leg`]);
//! texts and bytes ([`config`], `wire`); protocol machines (`sip`, `isdn`, `clock`, `identity`, `console`, `gateway`);
//! calls (`call`, `exchange`). `media` has its own threads; `shell` holds everything that waits: sockets, clocks, files.

pub mod alarm;
pub mod call;
pub mod cause;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod exchange;
pub mod gateway;
pub mod hop;
pub mod identity;
pub mod isdn;
pub mod leg;
pub mod media;
pub mod private;
pub mod random;
pub mod route;
pub mod session;
pub mod shell;
pub mod sip;
pub mod time;
pub mod tone;
pub mod wire;
