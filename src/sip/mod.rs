//! Protocol machines of SIP: pure, time and randomness come in as arguments.

pub mod negotiate;
pub mod response;
pub mod transaction;
pub mod uas;
