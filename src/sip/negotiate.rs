//! Offer and answer.
