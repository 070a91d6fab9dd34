//! Bytes and values: one file a standard. Nothing here keeps state or waits.

pub mod rtcp;
pub mod rtp;
