//! What time is it? The kernel says whether somebody disciplines the system's clock; the peers' Dates say who differs
//! from us. Where all of them differ alike, it is ours that is wrong.

use std::io;

use firmware_io::SystemClock;
use jiff::SignedDuration;

use super::Finding;
use super::peers::Seen;
use crate::identity::blame::{self, OFF};

const OURS: &str = "clock";
const PEER: &str = "peer-clock";

pub(super) fn findings(kernel: io::Result<SystemClock>, seen: &[Seen]) -> Vec<Finding> {
    let dated: Vec<(&str, SignedDuration)> =
        seen.iter().filter_map(|seen| Some((seen.trunk.name.as_str(), seen.clock?))).collect();
    let ours = ours(kernel, &dated);
    std::iter::once(ours).chain(dated.iter().map(|(name, offset)| peer(name, *offset))).collect()
}

fn ours(kernel: io::Result<SystemClock>, dated: &[(&str, SignedDuration)]) -> Finding {
    let subject = "clock";
    let notice = "transfers fail with 429 at the servers that check them, and certificates seem expired or not begun";
    if let Some(offset) = all_alike(dated) {
        let by = blame::peer_is_off("every peer", offset);
        let evidence = format!("all peers agree with each other and not with this box: {by}");
        return Finding::fail(OURS, subject, evidence)
            .notice(notice)
            .remedy("set this box's time right: chrony or timesyncd");
    }
    match kernel {
        Ok(SystemClock { synchronised: true, most_error }) => {
            let evidence =
                format!("synchronised; the kernel puts its error at {:.3} s at most", most_error.as_secs_f64());
            Finding::pass(OURS, subject, evidence)
        }
        Ok(SystemClock { synchronised: false, .. }) => {
            Finding::fail(OURS, subject, "nobody keeps the system's clock: the kernel says unsynchronised")
                .notice(format!("as the clock drifts, {notice}"))
                .remedy("run chrony or systemd-timesyncd")
        }
        Err(fault) => Finding::not_checked(OURS, subject, format!("the kernel does not say how it stands: {fault}")),
    }
}

fn peer(name: &str, offset: SignedDuration) -> Finding {
    if offset.abs() <= OFF {
        let evidence = format!("its Date agrees with our clock within {} s", OFF.as_secs());
        return Finding::pass(PEER, name, evidence);
    }
    Finding::fail(PEER, name, blame::peer_is_off(name, offset))
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

    fn judged(kernel: io::Result<SystemClock>, offsets: &[i64]) -> Verdict {
        let dated: Vec<_> = offsets.iter().map(|offset| ("gw", SignedDuration::from_secs(*offset))).collect();
        ours(kernel, &dated).verdict
    }

    #[test]
    fn our_clock_by_the_kernel_and_by_the_peers() {
        let kernel = |synchronised| Ok(SystemClock { synchronised, most_error: Duration::from_millis(20) });
        assert_eq!(judged(kernel(true), &[]), Verdict::Pass);
        assert_eq!(judged(kernel(false), &[0, 1]), Verdict::Fail);
        assert_eq!(judged(kernel(true), &[30, 31]), Verdict::Fail);
        assert_eq!(judged(kernel(true), &[30, -31]), Verdict::Pass);
        assert_eq!(judged(kernel(true), &[30]), Verdict::Pass);
        assert_eq!(judged(Err(io::ErrorKind::PermissionDenied.into()), &[0]), Verdict::NotChecked);
    }

    #[test]
    fn a_peer_that_differs_is_named() {
        assert_eq!(peer("lync", SignedDuration::from_secs(-2)).verdict, Verdict::Pass);
        let finding = peer("lync", SignedDuration::from_secs(-120));
        assert!(finding.evidence.contains("the clock of lync is 2 min behind ours"), "{finding}");
    }
}
