//! Digits in whatever form each side has them: as events, as tones in the sound, in signalling.
//!
//! [`event`] and [`detect`] read what a side presses, [`dial`] presses what signalling wants, [`press`] says it to the other side:
//! each digit once, with its duration.

pub mod detect;
pub mod dial;
pub mod event;
pub mod press;
pub mod tone;

use crate::session::Digit;

/// A key as it stands: which, since where in the sound, for how many samples so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Which.
    pub digit: Digit,
    /// The sample at which it was pressed.
    pub place: u64,
    /// How long, in samples.
    pub samples: u64,
    /// It is not released yet.
    pub held: bool,
}
