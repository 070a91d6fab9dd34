//! `[Clock] Discipline=Yes`: the system's clock is brought to the true time.
//!
//! It is slewed by 500 ppm, never stepped: 1 s takes 33 min. Nobody else may keep it at the same time, the true time must
//! be known, and the clock must not be farther off than [`FARTHEST`]: such a clock is set once, by hand. The kernel allows
//! it to who has CAP_SYS_TIME: what is missing is told before the first order.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;

use super::Trust;
use crate::time::Instant;

/// How often the order is given anew.
const PACE: Duration = Duration::from_secs(16);
/// Nearer than this the clock is left alone.
const NEAR: SignedDuration = SignedDuration::from_millis(1);
/// What 500 ppm can make good within six hours.
const FARTHEST: SignedDuration = SignedDuration::from_secs(10);

/// How the kernel runs the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kernel {
    /// Somebody keeps it synchronised.
    pub synchronised: bool,
    /// What it may be off, by the word of who keeps it.
    pub max_error_seconds: f64,
    /// The correction of the oscillator.
    pub frequency_ppm: f64,
    /// The program that keeps it, if one is seen.
    pub keeper: Option<&'static str>,
    /// May this process set it (CAP_SYS_TIME)?
    pub settable: bool,
}

/// Why the clock is not steered although it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// The kernel does not say who keeps it.
    #[error("the kernel does not tell the state of its clock")]
    Unknown,
    /// Two would pull at it.
    #[error("{0} keeps the system's clock already")]
    Keeper(&'static str),
    /// It is too far off.
    #[error("the system's clock is more than 10 s off, too far to be slewed")]
    Far,
    /// The kernel refuses.
    #[error("the kernel does not let us: CAP_SYS_TIME is missing")]
    Forbidden,
}

impl Hindrance {
    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Hindrance::Unknown => "set Discipline=No, and let chrony or timesyncd keep the system's clock",
            Hindrance::Keeper(_) => "stop it, or set Discipline=No",
            Hindrance::Far => "set it once by hand (date -s)",
            Hindrance::Forbidden => {
                "install /usr/share/demarc/discipline.conf as a drop-in of demarc.service, or set Discipline=No"
            }
        }
    }
}

/// Steers, if it is wanted.
#[derive(Clone, Debug, Default)]
pub struct Steering {
    ordered: Option<Instant>,
    forbidden: bool,
}

impl Steering {
    /// What the system's clock shall gain from now on, if a new order is due.
    pub fn step(
        &mut self,
        now: Instant,
        trust: Trust,
        kernel: Option<Kernel>,
    ) -> Result<Option<SignedDuration>, Hindrance> {
        let Trust::Good { offset, .. } = trust else { return Ok(None) };
        let kernel = kernel.ok_or(Hindrance::Unknown)?;
        if kernel.synchronised || kernel.keeper.is_some() {
            return Err(Hindrance::Keeper(kernel.keeper.unwrap_or("another program")));
        }
        if self.forbidden || !kernel.settable {
            return Err(Hindrance::Forbidden);
        }
        if offset.abs() > FARTHEST {
            return Err(Hindrance::Far);
        }
        if offset.abs() < NEAR || self.ordered.is_some_and(|last| now < last + PACE) {
            return Ok(None);
        }
        self.ordered = Some(now);
        Ok(Some(-offset))
    }

    /// The kernel refused; it is not asked again before a reload.
    pub fn refused(&mut self) {
        self.forbidden = true;
    }
}
