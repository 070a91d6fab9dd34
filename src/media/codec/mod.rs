//! Sound and its codes.

pub mod g711;
