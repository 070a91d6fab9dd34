//! All alarms that stand, from whoever raised them: the switch (trunks, their clocks), the clock, our certificates.

use crate::alarm::Alarm;
use crate::call::Snapshot;
use crate::clock::Standing;
use crate::time::Now;

/// The worst first, of equals the oldest.
pub fn gather(now: Now, snapshot: &Snapshot, clock: &Standing, certificates: Vec<Alarm>) -> Vec<Alarm> {
    let clock = clock
        .concerns
        .iter()
        .map(|known| Alarm::new(now, known.since, known.concern.severity(), "clock", known.concern.text()));
    let mut alarms: Vec<Alarm> = snapshot.alarms.iter().cloned().chain(clock).chain(certificates).collect();
    alarms.sort_by_key(|alarm| (alarm.severity, alarm.since));
    alarms
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::alarm::{Severity, Text};
    use crate::clock::{Concern, Doubt, Lasting};

    #[test]
    fn the_worst_comes_first_and_of_equals_the_oldest() {
        let start = Now::virtual_start();
        let now = start.after(Duration::from_secs(600));
        let alarm = |minute: u32, severity, subject: &str| {
            let since = start.mono + Duration::from_secs(60) * minute;
            Alarm::new(now, since, severity, subject, Text::new("", "", ""))
        };
        let trunks = vec![alarm(5, Severity::Major, "Gateway2"), alarm(4, Severity::Critical, "lync")];
        let snapshot = Snapshot { alarms: trunks, ..Snapshot::default() };
        let concerns = vec![Lasting { since: start.mono, concern: Concern::Unknown(Doubt::Silence) }];
        let clock = Standing { concerns, ..Standing::default() };
        let all = gather(now, &snapshot, &clock, vec![alarm(1, Severity::Warning, "certificate")]);
        let seen: Vec<(&str, f64)> = all.iter().map(|alarm| (alarm.subject.as_str(), alarm.age_seconds)).collect();
        assert_eq!(seen, [("lync", 360.0), ("clock", 600.0), ("Gateway2", 300.0), ("certificate", 540.0)]);
        assert!(all[1].text.what.contains("no NTP server"), "{}", all[1].text);
    }
}
