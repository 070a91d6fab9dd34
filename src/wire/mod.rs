//! Texts and bytes: what stands on the wire, and the values read from it. Nothing here decides.

pub mod multipart;
pub mod sdp;
