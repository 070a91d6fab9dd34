//! The media plane: moves sound between the two sides of a call, on threads of its own.
//!
//! [`engine`] opens ports and hands sessions out to the threads; [`thread`] owns sessions, sockets and the
//! time; [`bridge`] is a call's media and knows neither. The way of a packet: [`io`] (in) ->
//! [`peer`] (source, payload type, [`srtp`], [`reception`]) -> [`bridge`] (way) -> [`peer`] ([`splice`],
//! [`srtp`]) -> [`io`] (out), in one buffer, without lock, allocation or log line. Where the sides speak
//! differently it goes [`transcode`]: [`playout`] ([`jitter`], [`codec`], [`conceal`]) -> [`speech`] ([`dtmf`]) ->
//! [`packetize`]. Where nobody waits for a packet but a clock for its samples, [`pace`] stands behind the playout: a [`line`]
//! has such a clock, and perhaps an [`echo`]; [`mix`] is for more than two, [`tap`] for recordings.

pub mod bridge;
pub mod clock;
pub mod codec;
pub mod conceal;
pub mod deadlines;
pub mod dtmf;
pub mod ear;
pub mod echo;
pub mod engine;
pub mod ice;
pub mod io;
pub mod jitter;
pub mod kernels;
pub mod line;
pub mod load;
pub mod mix;
pub mod pace;
pub mod packetize;
pub mod peer;
pub mod pitch;
pub mod playout;
pub mod ports;
pub mod quality;
pub mod reception;
pub mod resample;
pub mod sound;
pub mod source;
pub mod speech;
pub mod splice;
pub mod srtp;
pub mod tap;
pub mod thread;
pub mod tone;
pub mod transcode;

#[cfg(test)]
mod tests;

pub use engine::{Behind, Engine, Standing, StartError};
pub use io::Backend;
pub use io::priority::Pace;
