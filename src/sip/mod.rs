//! Protocol machines of SIP: pure, time and randomness come in as arguments.

pub mod dialog;
pub mod digits;
pub mod diversion;
pub mod invite;
pub mod leg;
pub mod negotiate;
pub mod offer_answer;
pub mod options;
pub mod reason;
pub mod refer;
pub mod reliable;
pub mod response;
pub mod session_timer;
pub mod transaction;
pub mod uas;
pub mod user_to_user;
