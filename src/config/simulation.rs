//! What happens on a simulated line: calls that its exchange makes, and what goes wrong on the cable.

use std::time::Duration;

use super::keys::DRIVERS;
use super::settings::{Findings, Known};
use super::trunk::misplaced;
use super::value;
use crate::private::Private;

/// The keys that only a simulated line has.
const KEYS: [&str; 4] = ["Calls", "BitErrors", "FrameLoss", "Slips"];

/// What happens on a simulated line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// Calls that its exchange makes.
    pub calls: Vec<ScheduledCall>,
    /// The share of bits that are turned over on the way.
    pub bit_errors: Share,
    /// The share of the D channel's frames that are lost, either way.
    pub frame_loss: Share,
    /// How many frames of 125 µs come too much a minute, since the far end's clock is fast, and are left out.
    pub slips: u16,
}

/// A call that an exchange makes again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledCall {
    /// The time from one to the next; the first comes after as long.
    pub every: Duration,
    /// Who calls.
    pub from: Private<String>,
    /// Who is called.
    pub to: Private<String>,
    /// How long it lasts after the answer.
    pub lasts: Duration,
}

/// A share of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Thousand millionths.
    billionths: u32,
}

impl Share {
    /// `None` where it is not 0 to 1.
    pub fn new(share: f64) -> Option<Share> {
        (0.0..=1.0).contains(&share).then(|| Share { billionths: (share * 1e9).round() as u32 })
    }

    /// 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.billionths) / 1e9
    }
}

impl Simulation {
    /// How much faster the far end's clock runs, parts per million: a frame too much is 125 µs of a minute.
    pub fn clock_ppm(&self) -> i32 {
        (i32::from(self.slips) * 125 + 30) / 60
    }
}

/// What the section says of it. Elsewhere than on a simulated line that means nothing.
pub fn simulation(known: &Known<'_>, driver: usize, findings: &mut Findings<'_>) -> Simulation {
    if DRIVERS.get(driver) != Some(&"simulated") {
        misplaced(known, "simulated lines", "Driver", &KEYS, findings);
        return Simulation::default();
    }
    let share = |key| known.value(key, value::share).unwrap_or_default();
    let slips = known.value("Slips", |text| value::number(text, 0, super::keys::MOST_SLIPS));
    Simulation {
        calls: known.value("Calls", value::calls).unwrap_or_default(),
        bit_errors: share("BitErrors"),
        frame_loss: share("FrameLoss"),
        slips: slips.and_then(|slips| u16::try_from(slips).ok()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Section;
    use super::*;

    #[test]
    fn its_keys_are_in_the_table() {
        for key in KEYS {
            assert!(Section::Span.key(key).is_some(), "{key}");
        }
    }

    #[test]
    fn slips_are_the_drift_of_a_clock() {
        let ppm = |slips| Simulation { slips, ..Simulation::default() }.clock_ppm();
        assert_eq!([0, 1, 24, 600].map(ppm), [0, 2, 50, 1250]);
    }
}
