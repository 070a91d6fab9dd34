//! When what is wrong with the signal becomes an alarm, and when the alarm ends (ANSI T1.403 section 9, T1.231; for E1
//! ITU-T I.431 section 5.9, which asks for a persistence of 100 ms to 1 s).

use crate::line::{Alarms, Line};

/// For how many milliseconds the defect must stand, and be gone.
struct Times {
    raise: u32,
    clear: u32,
}

fn times(line: Line, alarm: Alarms) -> Times {
    match line {
        Line::T1 if alarm == Alarms::RAI => Times { raise: 500, clear: 500 },
        Line::T1 => Times { raise: 2500, clear: 10_000 },
        Line::E1 => Times { raise: 100, clear: 100 },
    }
}

/// The alarms of one end.
#[derive(Debug, Default)]
pub(super) struct Watch {
    stand: Alarms,
    /// For how long each defect has said other than its alarm, milliseconds.
    contrary: [u32; 4],
}

impl Watch {
    /// A millisecond with these defects; the alarms that stand.
    pub(super) fn millisecond(&mut self, line: Line, defects: Alarms) -> Alarms {
        let kinds = [Alarms::LOS, Alarms::LOF, Alarms::AIS, Alarms::RAI];
        for (alarm, contrary) in kinds.into_iter().zip(&mut self.contrary) {
            let (present, stands) = (defects.contains(alarm), self.stand.contains(alarm));
            *contrary = if present == stands { 0 } else { *contrary + 1 };
            let times = times(line, alarm);
            if *contrary >= if present { times.raise } else { times.clear } && present != stands {
                self.stand = self.stand.with(alarm, present);
                *contrary = 0;
            }
        }
        self.stand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_comes_and_goes_at_its_time() {
        // Line, alarm, milliseconds until it stands, until it ends.
        let table = [
            (Line::T1, Alarms::LOS, 2500, 10_000),
            (Line::T1, Alarms::LOF, 2500, 10_000),
            (Line::T1, Alarms::AIS, 2500, 10_000),
            (Line::T1, Alarms::RAI, 500, 500),
            (Line::E1, Alarms::LOS, 100, 100),
            (Line::E1, Alarms::RAI, 100, 100),
        ];
        for (line, alarm, raise, clear) in table {
            let mut watch = Watch::default();
            let mut until = |defects, expected| (1..).find(|_| watch.millisecond(line, defects) == expected);
            assert_eq!(until(alarm, alarm), Some(raise), "{line:?} {alarm}");
            assert_eq!(until(Alarms::NONE, Alarms::NONE), Some(clear), "{line:?} {alarm}");
        }
    }

    #[test]
    fn a_defect_that_comes_and_goes_is_no_alarm_and_ends_none() {
        let mut watch = Watch::default();
        for _ in 0..10 {
            (0..2499).for_each(|_| assert!(watch.millisecond(Line::T1, Alarms::LOS).is_empty()));
            assert!(watch.millisecond(Line::T1, Alarms::NONE).is_empty());
        }
        (0..2500).for_each(|_| _ = watch.millisecond(Line::T1, Alarms::LOS));
        for _ in 0..10 {
            (0..9999).for_each(|_| assert!(watch.millisecond(Line::T1, Alarms::NONE).is_red()));
            assert!(watch.millisecond(Line::T1, Alarms::LOS).is_red());
        }
    }
}
