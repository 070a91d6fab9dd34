//! Bytes to values and back: one module a protocol. Nothing here waits, and no input panics.

pub mod multipart;
pub mod ntp;
pub mod q921;
pub mod q931;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod stun;
pub mod telephone_event;
