//! Both ends of a T1 or E1, without a card.
//!
//! A [`Cable`] joins two [`End`]s, each a [`Span`](crate::Span). It knows no clock: it is told how much time has passed, and moves a
//! chunk of eight frames (1 ms) a time, so that a test runs hours of a line in a second. A [`Pacer`] is the thread that
//! tells all cables of a box in real time.
//!
//! ```text
//!             said                              heard
//!  Bearer ──▶ ring ──┐                        ┌── ring ──▶ Bearer
//!  DChannel ▶ HDLC ──┴▶ way: errors, cut, ────┴── HDLC ──▶ DChannel
//!                       elastic store, slips      alarms, counters
//! ```
//!
//! The line is simulated by its octets, its signals, and the errors in its framing bits; what those bits say, and line code, are
//! not on it.

mod alarm;
mod cable;
mod end;
mod framer;
mod pacer;
mod ring;
#[cfg(test)]
mod tests;
mod way;

pub use cable::{Cable, Disturbance, Side, Wire};
pub use end::End;
pub use pacer::Pacer;
