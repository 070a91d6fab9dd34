//! Protocol machines of SIP: pure, time and randomness come in as arguments.

pub mod negotiate;
