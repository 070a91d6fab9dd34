//! SIP's machines: transactions below, the user agent server's first checks beside them.

pub mod response;
pub mod transaction;
pub mod uas;
