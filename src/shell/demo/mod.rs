//! `demarc demo`: two calls through a box on this machine, and how they were.

pub mod pki;
pub mod quality;
pub mod sound;
