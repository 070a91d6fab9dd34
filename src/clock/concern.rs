//! What a wrong clock will break, and when, in words for operators.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;

use super::Doubt;
use super::discipline::Hindrance;
use crate::alarm::{Severity, Text};
use crate::config;

/// A drift is told when it will reach a bound within this.
const HORIZON: Duration = Duration::from_secs(24 * 3600);
/// Any crystal drifts by so much, parts per million: below it a forecast is noise.
const USUAL: f64 = 20.0;

/// Something about time that will break calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Concern {
    /// The system's clock is off by more than is allowed.
    Off {
        /// The system's clock minus true time.
        offset: SignedDuration,
        /// How many servers say so.
        servers: usize,
    },
    /// The system's clock will be off by more than is allowed.
    Drift {
        /// What it gains, parts per million.
        ppm: f64,
        /// When it is too much.
        after: Duration,
    },
    /// The true time is still known from before.
    Fading {
        /// Why nobody can tell it now.
        doubt: Doubt,
        /// How long it will do.
        left: Duration,
    },
    /// Nobody can tell the true time.
    Unknown(Doubt),
    /// `Discipline=Yes` cannot be done.
    Unsteered(Hindrance),
    /// A server contradicts the majority.
    Falseticker {
        /// As configured.
        server: String,
        /// Its time minus true time.
        ahead: SignedDuration,
    },
}

impl Concern {
    /// The same cause, whatever the figures?
    pub fn is_same(&self, other: &Concern) -> bool {
        match (self, other) {
            (Concern::Falseticker { server: a, .. }, Concern::Falseticker { server: b, .. }) => a == b,
            (Concern::Unknown(a), Concern::Unknown(b)) => std::mem::discriminant(a) == std::mem::discriminant(b),
            (Concern::Unsteered(a), Concern::Unsteered(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }

    /// Is it [`Concern::Off`]?
    pub fn is_off(&self) -> bool {
        matches!(self, Concern::Off { .. })
    }

    /// Is it [`Concern::Drift`]?
    pub fn is_drift(&self) -> bool {
        matches!(self, Concern::Drift { .. })
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Concern::Unknown(_) => Severity::Major,
            Concern::Off { .. } | Concern::Fading { .. } | Concern::Unsteered(_) => Severity::Minor,
            Concern::Drift { .. } | Concern::Falseticker { .. } => Severity::Warning,
        }
    }

    /// What is wrong, what breaks, what to do.
    pub fn text(&self) -> Text {
        match self {
            Concern::Off { offset, servers } => {
                let whom = if *servers == 1 { "1 server".to_owned() } else { format!("{servers} servers") };
                Text::new(
                    format!("we are {} {whom}", apart(*offset)),
                    "transfers signed here would be refused; demarc corrects its own dates by it",
                    "set the system's clock (chrony or timesyncd)",
                )
            }
            Concern::Drift { ppm, after } => {
                let (verb, daily) = (if *ppm > 0.0 { "gains" } else { "loses" }, ppm.abs() * 0.0864);
                let after = hours(*after);
                Text::new(
                    format!("the system's clock {verb} {daily:.1} s a day"),
                    format!("in {after} transfers signed here would be refused; demarc corrects its own dates by it"),
                    "have the system's clock disciplined (chrony or timesyncd)",
                )
            }
            Concern::Fading { doubt, left } => Text::new(
                doubt.to_string(),
                format!("our dates follow the last that was known, which will do for {}", hours(*left)),
                "check [Clock] Servers",
            ),
            Concern::Unknown(doubt) => Text::new(
                doubt.to_string(),
                "dates leave as the system's clock has them, and if it is wrong, transfers are refused",
                "check [Clock] Servers",
            ),
            Concern::Unsteered(hindrance) => Text::new(
                format!("[Clock] Discipline=Yes is not done: {hindrance}"),
                "the system's clock stays as it is; demarc corrects its own dates by it",
                hindrance.remedy(),
            ),
            Concern::Falseticker { server, ahead } => Text::new(
                format!("the NTP server {server} is {} the others", apart(*ahead)),
                "it is not believed, and one server fewer may fail",
                "correct or remove it",
            ),
        }
    }
}

/// Is the offset beyond what is allowed? One that was is cleared below four fifths of it.
pub fn offset(settings: &config::Clock, offset: SignedDuration, servers: usize, stands: bool) -> Option<Concern> {
    let bound = bound(settings, offset);
    let bound = if stands { bound * 4 / 5 } else { bound };
    (offset.unsigned_abs() > bound).then_some(Concern::Off { offset, servers })
}

/// Will it be beyond within a day? One that comes nearer to the truth is being set right.
pub fn drift(settings: &config::Clock, offset: SignedDuration, ppm: f64, stands: bool) -> Option<Concern> {
    let usual = if stands { USUAL * 0.8 } else { USUAL };
    let nears = ppm.is_sign_negative() != offset.is_negative();
    if ppm.abs() < usual || nears {
        return None;
    }
    let bound = if ppm > 0.0 { settings.max_ahead.as_secs_f64() } else { -settings.max_behind.as_secs_f64() };
    let seconds = (bound - offset.as_secs_f64()) / (ppm * 1e-6);
    let after = Duration::try_from_secs_f64(seconds).ok()?;
    (after < HORIZON).then_some(Concern::Drift { ppm, after })
}

fn bound(settings: &config::Clock, offset: SignedDuration) -> Duration {
    if offset.is_negative() { settings.max_behind } else { settings.max_ahead }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

/// "30.0 s ahead of", "120.0 s behind".
pub fn apart(offset: SignedDuration) -> String {
    let word = if offset.is_negative() { "behind" } else { "ahead of" };
    let seconds = offset.unsigned_abs().as_secs_f64();
    if seconds < 1.0 { format!("{:.0} ms {word}", seconds * 1000.0) } else { format!("{seconds:.1} s {word}") }
}

fn hours(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes < 120 { format!("{minutes} min") } else { format!("{} h", minutes / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> config::Clock {
        config::Clock { max_ahead: Duration::from_secs(1), max_behind: Duration::from_secs(60), ..Default::default() }
    }

    #[test]
    fn a_concern_says_what_breaks_and_when() {
        let seconds = SignedDuration::from_secs;
        let off = |at, stands| offset(&settings(), at, 3, stands);
        assert_eq!(
            off(seconds(30), false).unwrap().to_string(),
            "we are 30.0 s ahead of 3 servers: transfers signed here would be refused; demarc corrects its own dates by \
             it; set the system's clock (chrony or timesyncd)"
        );
        assert_eq!(off(SignedDuration::from_millis(900), false), None);
        assert!(off(SignedDuration::from_millis(900), true).is_some(), "it stands until the offset is well below");
        assert_eq!(off(SignedDuration::from_millis(790), true), None);
        assert_eq!(off(seconds(-59), false), None);
        assert!(off(seconds(-61), false).unwrap().to_string().starts_with("we are 61.0 s behind 3 servers: "));
    }

    #[test]
    fn a_drift_is_told_a_day_ahead() {
        let drifts = |at: i64, ppm| drift(&settings(), SignedDuration::from_millis(at), ppm, false);
        let told = drifts(100, 500.0).unwrap();
        assert!(told.to_string().starts_with("the system's clock gains 43.2 s a day: in 30 min transfers"), "{told}");
        assert_eq!(drifts(-900, 500.0), None, "somebody slews it");
        assert!(drifts(-1, -1000.0).unwrap().to_string().contains("loses 86.4 s a day: in 16 h"));
        assert_eq!(drifts(-1, -500.0), None, "the bound behind us is wide");
        assert_eq!(drifts(990, 10.0), None, "any crystal does that");
    }
}
