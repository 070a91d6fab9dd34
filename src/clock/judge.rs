//! Whom to believe: the selection of RFC 5905 section 11.2.1 (Marzullo's idea).
//!
//! 1. Each server says that the true time lies within an interval: its time, give or take its root distance.
//! 2. The smallest interval that more than half of them share is found; the servers outside it are falsetickers.
//! 3. The truth is the mean of the others, weighted by how sure they are; its error reaches to the farther end of
//!    the shared interval.

use std::time::Duration;

use jiff::SignedDuration;

/// What one server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its time, as [`Truth::base`](super::Truth) counts.
    pub base: SignedDuration,
    /// What it may be off: its root distance.
    pub distance: Duration,
}

/// What more than half of them say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The truth.
    pub base: SignedDuration,
    /// What it may be off.
    pub error: Duration,
    /// Who was believed, in the order of the candidates.
    pub believed: Vec<bool>,
}

impl Candidate {
    /// Both ends of its interval.
    pub fn ends(&self) -> [SignedDuration; 2] {
        let reach = signed(self.distance);
        [self.base.saturating_sub(reach), self.base.saturating_add(reach)]
    }

    /// Does its interval meet another?
    pub fn meets(&self, [low, high]: [SignedDuration; 2]) -> bool {
        let [own_low, own_high] = self.ends();
        own_low <= high && own_high >= low
    }
}

/// The verdict; `None` without a majority.
pub fn judge(candidates: &[Candidate]) -> Option<Verdict> {
    let shared = shared(candidates)?;
    let believed: Vec<bool> = candidates.iter().map(|candidate| candidate.meets(shared)).collect();
    let base = mean(candidates.iter().zip(&believed).filter(|(_, believed)| **believed).map(|(one, _)| one), shared);
    let error = (base - shared[0]).max(shared[1] - base).unsigned_abs();
    Some(Verdict { base, error, believed })
}

/// The interval that the most share, if they are more than half.
fn shared(candidates: &[Candidate]) -> Option<[SignedDuration; 2]> {
    let lows = candidates.iter().map(|candidate| candidate.ends()[0]);
    // Every densest region begins at somebody's lower end.
    let region = |low: SignedDuration| {
        let around = candidates.iter().filter(|candidate| candidate.meets([low, low]));
        (around.clone().count(), around.map(|candidate| candidate.ends()[1]).min().map(|high| [low, high]))
    };
    let width = |[low, high]: [SignedDuration; 2]| high - low;
    let (count, found) = lows.map(region).max_by(|(count, a), (more, b)| {
        // Of two regions as dense as each other the narrower one says more.
        count.cmp(more).then(b.map(width).cmp(&a.map(width)))
    })?;
    found.filter(|_| count * 2 > candidates.len())
}

/// Weighted by the inverse of the distance, and never outside what all of them share.
fn mean<'a>(candidates: impl Iterator<Item = &'a Candidate>, [low, high]: [SignedDuration; 2]) -> SignedDuration {
    let (mut sum, mut weights) = (0.0, 0.0);
    for candidate in candidates {
        let weight = 1.0 / candidate.distance.as_secs_f64().max(1e-6);
        sum += (candidate.base - low).as_secs_f64() * weight;
        weights += weight;
    }
    let offset = SignedDuration::try_from_secs_f64(sum / weights).unwrap_or_default();
    low.saturating_add(offset).clamp(low, high)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(i64, u64)]) -> Vec<Candidate> {
        let one = |&(base, distance): &(i64, u64)| Candidate {
            base: SignedDuration::from_millis(base),
            distance: Duration::from_millis(distance),
        };
        list.iter().map(one).collect()
    }

    /// Milliseconds, and who is believed.
    fn judged(list: &[(i64, u64)]) -> Option<(i128, u128, String)> {
        let verdict = judge(&candidates(list))?;
        let believed = verdict.believed.iter().map(|believed| if *believed { '+' } else { '-' }).collect();
        Some((verdict.base.as_millis(), verdict.error.as_millis(), believed))
    }

    #[test]
    fn more_than_half_must_agree() {
        let said = |base, error, who: &str| Some((base, error, who.to_owned()));
        assert_eq!(judged(&[]), None);
        assert_eq!(judged(&[(7, 10)]), said(7, 10, "+"));
        assert_eq!(judged(&[(0, 10), (30_000, 10)]), None);
        assert_eq!(judged(&[(0, 10), (30_000, 10), (-120_000, 10)]), None);
        // One falseticker of three, wherever it stands in the list.
        assert_eq!(judged(&[(0, 10), (30_000, 10), (4, 10)]), said(2, 8, "+-+"));
        assert_eq!(judged(&[(30_000, 10), (0, 10), (4, 10)]), said(2, 8, "-++"));
        // Two of four are no majority, three of five are one, even if they are wrong.
        assert_eq!(judged(&[(0, 10), (2, 10), (30_000, 10), (30_002, 10)]), None);
        assert_eq!(judged(&[(0, 10), (2, 10), (30_000, 9), (30_000, 9), (30_000, 9)]), said(30_000, 9, "--+++"));
        // A vague server neither outvotes nor blurs a sure one.
        assert_eq!(judged(&[(0, 5), (200, 1000), (2, 5)]), said(1, 4, "+++"));
    }

    #[test]
    fn the_truth_lies_within_the_error_while_a_majority_is_right() {
        bolero::check!().with_type::<Vec<(i16, u8, bool)>>().for_each(|servers| {
            let (honest, liars): (Vec<_>, Vec<_>) = servers.iter().partition(|(.., honest)| *honest);
            if honest.len() <= liars.len() {
                return;
            }
            // The true time is 0: an honest server's interval holds it.
            let honest =
                honest.iter().map(|(base, more, _)| (i64::from(*base), base.unsigned_abs() as u64 + *more as u64 + 1));
            let liars = liars.iter().map(|(base, distance, _)| (i64::from(*base), u64::from(*distance) + 1));
            let list: Vec<_> = honest.chain(liars).collect();
            let verdict = judge(&candidates(&list)).expect("a majority shares the truth");
            // With liars among them the densest region may be another one, but it holds a majority's word.
            if servers.iter().all(|(.., honest)| *honest) {
                assert!(verdict.base.unsigned_abs() <= verdict.error, "{list:?} {verdict:?}");
            }
        });
    }
}
