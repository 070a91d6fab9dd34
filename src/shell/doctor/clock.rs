//! What time is it? The NTP servers of `[Clock]` say by how much the system's clock is off, the kernel whether somebody keeps
//! it, the peers' Dates who differs from us. Where all of them differ alike, it is ours that is wrong.

use jiff::SignedDuration;

use super::Finding;
use super::peers::Seen;
use crate::clock::{Standing, Trust};
use crate::config;
use crate::identity::blame::{self, OFF};

const OURS: &str = "clock";
const PEER: &str = "peer-clock";

pub(super) fn findings(standing: &Standing, limits: &config::Clock, seen: &[Seen]) -> Vec<Finding> {
    let dated: Vec<(&str, SignedDuration)> =
        seen.iter().filter_map(|seen| Some((seen.trunk.name.as_str(), seen.clock?))).collect();
    let ours = ours(standing, limits, &dated);
    std::iter::once(ours).chain(dated.iter().map(|(name, offset)| peer(name, *offset))).collect()
}

/// The NTP servers' word counts most, then that of all peers together, then the kernel's.
fn ours(standing: &Standing, limits: &config::Clock, dated: &[(&str, SignedDuration)]) -> Finding {
    let subject = "clock";
    let notice = "transfers fail with 429 at the servers that check them, and certificates seem expired or not begun";
    if let (Trust::Good { .. }, Some(offset), Some(error)) =
        (&standing.trust, standing.offset_seconds, standing.error_seconds)
    {
        let evidence =
            format!("{offset:+.3} s from true time, to {error:.3} s, by {} server(s)", standing.servers.len());
        if (-limits.max_behind.as_secs_f64()..=limits.max_ahead.as_secs_f64()).contains(&offset) {
            return Finding::pass(OURS, subject, evidence);
        }
        let notice = "demarc corrects its own dates by it; the log, and whatever else runs here, is wrong";
        return Finding::fail(OURS, subject, evidence)
            .notice(notice)
            .remedy("chrony, systemd-timesyncd, or [Clock] Discipline=Yes");
    }
    if let Some(offset) = all_alike(dated) {
        let by = blame::peer_is_off("every peer", offset);
        let evidence = format!("all peers agree with each other and not with this box: {by}");
        return Finding::fail(OURS, subject, evidence)
            .notice(notice)
            .remedy("set this box's time right: chrony or timesyncd");
    }
    if !limits.servers.is_empty() {
        let silent = "no server of [Clock] Servers= answered within the time of this run".to_owned();
        let evidence = standing.concerns.first().map_or(silent, |known| known.concern.to_string());
        return Finding::fail(OURS, subject, evidence).notice(notice).remedy("check [Clock] Servers= and UDP port 123");
    }
    let Some(kernel) = &standing.kernel else {
        return Finding::not_checked(OURS, subject, "the kernel does not say how it stands")
            .remedy("set [Clock] Servers=");
    };
    let keeper = kernel.keeper.map_or(String::new(), |keeper| format!(" by {keeper}"));
    match kernel.synchronised {
        true => {
            let evidence = format!(
                "synchronised{keeper}; its error is {:.3} s at most, says the kernel",
                kernel.max_error_seconds
            );
            Finding::pass(OURS, subject, evidence)
        }
        false => Finding::fail(OURS, subject, "nobody keeps the system's clock: the kernel says unsynchronised")
            .notice(format!("as the clock drifts, {notice}"))
            .remedy("set [Clock] Servers=, or run chrony or systemd-timesyncd"),
    }
}

fn peer(name: &str, offset: SignedDuration) -> Finding {
    if offset.abs() <= OFF {
        let evidence = format!("its Date agrees with our clock within {} s", OFF.as_secs());
        return Finding::pass(PEER, name, evidence);
    }
    Finding::fail(PEER, name, blame::peer_is_off(name, offset).to_string())
        .notice("transfers that are signed or checked there fail with 429")
        .remedy("set that machine's time right, or ours if all peers differ alike")
}

/// By how much two peers or more differ from us, where all differ by the same.
fn all_alike(dated: &[(&str, SignedDuration)]) -> Option<SignedDuration> {
    let first = dated.first().filter(|_| dated.len() > 1)?.1;
    let alike = |offset: SignedDuration| offset.abs() > OFF && (offset - first).abs() <= OFF / 2;
    dated.iter().all(|(_, offset)| alike(*offset)).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Verdict;
    use super::*;
    use crate::clock::Kernel;

    /// What the kernel says, what NTP servers do (their offset; `None`: there are none), what the peers' Dates do.
    fn judged(synchronised: bool, ntp: Option<f64>, offsets: &[i64]) -> Verdict {
        let kernel =
            Kernel { synchronised, max_error_seconds: 0.02, frequency_ppm: 0.0, keeper: None, settable: false };
        let dated: Vec<_> = offsets.iter().map(|offset| ("gw", SignedDuration::from_secs(*offset))).collect();
        let good = Trust::Good { offset: SignedDuration::ZERO, error: Duration::ZERO };
        let standing = Standing {
            trust: ntp.map_or(Trust::None, |_| good),
            offset_seconds: ntp,
            error_seconds: ntp.map(|_| 0.01),
            kernel: Some(kernel),
            ..Standing::default()
        };
        let (max_ahead, max_behind) = (Duration::from_secs(1), Duration::from_secs(60));
        ours(&standing, &config::Clock { max_ahead, max_behind, ..config::Clock::default() }, &dated).verdict
    }

    #[test]
    fn our_clock_by_servers_peers_and_kernel() {
        for (synchronised, ntp, offsets, expected) in [
            (true, None, &[][..], Verdict::Pass),
            (false, None, &[0, 1], Verdict::Fail),
            (true, None, &[30, 31], Verdict::Fail),
            (true, None, &[30, -31], Verdict::Pass),
            (true, None, &[30], Verdict::Pass),
            (false, Some(0.02), &[30, 31], Verdict::Pass),
            (true, Some(30.0), &[0, 0], Verdict::Fail),
            (true, Some(-59.0), &[], Verdict::Pass),
            (true, Some(-61.0), &[], Verdict::Fail),
        ] {
            assert_eq!(judged(synchronised, ntp, offsets), expected, "{synchronised} {ntp:?} {offsets:?}");
        }
    }

    #[test]
    fn a_peer_that_differs_is_named() {
        assert_eq!(peer("lync", SignedDuration::from_secs(-2)).verdict, Verdict::Pass);
        let finding = peer("lync", SignedDuration::from_secs(-120));
        assert!(finding.evidence.contains("the clock of lync is 2 min behind ours"), "{finding}");
    }
}
