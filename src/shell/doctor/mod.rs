//! The doctor: what is wrong, or soon will be, as findings that say what users would notice and what to do.
//!
//! 1. The configuration, which whoever calls has read.
//! 2. Our certificate, by the rules of each generation of peers that we speak to ([`certificate`]).
//! 3. Every trunk, live and within a bound in time: its name in DNS, TLS, OPTIONS ([`peers`]). The switch itself asks, so
//!    that what is tried is what calls will try.
//! 4. The clock: the word of the NTP servers, of the kernel, and the peers' Dates ([`clock`]).
//! 5. Lines, as the running daemon sees them: only one can have a line open ([`spans`]).
//! 6. Transfers, dry: who will act on a REFER, what the gateway sees ([`refer`]).

pub mod certificate;
mod clock;
mod peers;
mod refer;
mod spans;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use self::peers::Seen;
use super::clock::Clock;
use super::observe::Observer;
use super::{ntp, transport};
use crate::config::{self, Config};
use crate::random::Random;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Looked at, and good.
    Pass,
    /// Wrong.
    Fail,
    /// Could not be looked at.
    NotChecked,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// What it is about: a trunk, a file, the clock.
    pub subject: String,
    /// What users would notice; empty where all is well.
    pub notice: String,
    /// What was seen.
    pub evidence: String,
    /// What to do; empty where nothing is to be done.
    pub remedy: String,
    /// The rule, for programs.
    pub code: &'static str,
}

impl Finding {
    fn pass(code: &'static str, subject: impl Into<String>, evidence: impl Into<String>) -> Finding {
        let (subject, evidence) = (subject.into(), evidence.into());
        Finding { verdict: Verdict::Pass, subject, notice: String::new(), evidence, remedy: String::new(), code }
    }

    fn fail(code: &'static str, subject: impl Into<String>, evidence: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fail, ..Finding::pass(code, subject, evidence) }
    }

    fn not_checked(code: &'static str, subject: impl Into<String>, evidence: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::NotChecked, ..Finding::pass(code, subject, evidence) }
    }

    fn notice(self, notice: impl Into<String>) -> Finding {
        Finding { notice: notice.into(), ..self }
    }

    fn remedy(self, remedy: impl Into<String>) -> Finding {
        Finding { remedy: remedy.into(), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::NotChecked => "not checked",
        };
        writeln!(f, "{verdict:<12} {:<20} {}", self.subject, self.evidence)?;
        for (what, text) in [("notice", &self.notice), ("remedy", &self.remedy)] {
            if !text.is_empty() {
                writeln!(f, "{:33} {what}: {text}", "")?;
            }
        }
        Ok(())
    }
}

/// The whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Fails if one finding fails; passes if none does and certificate and peers were looked at.
    pub verdict: Verdict,
    /// One by one.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Of findings.
    pub fn of(findings: Vec<Finding>) -> Diagnosis {
        let any = |verdict| findings.iter().any(|finding| finding.verdict == verdict);
        let unseen = |finding: &Finding| finding.verdict == Verdict::NotChecked && MATTERS.contains(&finding.code);
        let verdict = match (any(Verdict::Fail), findings.iter().any(unseen)) {
            (true, _) => Verdict::Fail,
            (false, true) => Verdict::NotChecked,
            (false, false) => Verdict::Pass,
        };
        Diagnosis { verdict, findings }
    }
}

/// Without these nothing can be called good.
const MATTERS: [&str; 2] = [certificate::FILES, peers::OPTIONS];

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| finding.fmt(f))?;
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count();
        let (passed, failed, unseen) = (count(Verdict::Pass), count(Verdict::Fail), count(Verdict::NotChecked));
        writeln!(f, "passed: {passed}, failed: {failed}, not checked: {unseen}")
    }
}

/// How long NTP servers may take to be judged.
const SERVERS: Duration = Duration::from_secs(6);

/// Looks at everything; takes at most some twenty seconds. `running` is what the running daemon says of its lines
/// (`/api/spans`), if one answers.
pub async fn examine(
    config: Arc<Config>,
    warnings: &[config::Finding],
    running: Option<&serde_json::Value>,
    seed: [u8; 32],
) -> Diagnosis {
    let mut random = Random::seeded(seed);
    let (clock, standing) = Clock::corrected();
    let (settings, clock_random) = (config.clock.clone(), Random::seeded(random.octets()));
    // Its end ends the questions to the servers.
    let _servers = ntp::start(clock.clone(), standing, settings, clock_random, Observer::start(config.clone()));
    let _ = tokio::time::timeout(SERVERS, clock.judged()).await;
    let mut findings = vec![configuration(warnings)];
    findings.extend(own_certificate(&config, clock.now().wall));
    findings.extend(spans::findings(&config.spans, running));
    match peers::ask(&config, clock.clone(), random).await {
        Ok(seen) => {
            findings.extend(seen.iter().flat_map(Seen::findings));
            findings.extend(clock::findings(&clock.standing(), &config.clock, &seen));
            findings.extend(config.gateways().iter().map(|gateway| {
                let allow = seen.iter().find(|seen| seen.trunk.id == gateway.id).and_then(Seen::takes_refer);
                refer::dry_run(config.lync(), gateway, allow)
            }));
        }
        Err(fault) => {
            findings.push(Finding::not_checked(peers::OPTIONS, "trunks", fault.to_string()));
            findings.extend(clock::findings(&clock.standing(), &config.clock, &[]));
        }
    }
    Diagnosis::of(findings)
}

fn configuration(warnings: &[config::Finding]) -> Finding {
    let evidence = match warnings {
        [] => "no fault".to_owned(),
        [only] => format!("can be used, with a warning: {only}"),
        [first, rest @ ..] => {
            format!("can be used, with a warning: {first}; and {} more: see demarc check", rest.len())
        }
    };
    Finding::pass("configuration", "configuration", evidence)
}

/// Our certificate by the rules of the Microsoft side, and by those of gateways where one speaks TLS.
fn own_certificate(config: &Config, wall: jiff::Timestamp) -> Vec<Finding> {
    let papers = match transport::papers(&config.identity) {
        Ok(papers) => papers,
        Err(fault) => {
            let finding = Finding::fail(certificate::FILES, "certificate", fault.to_string());
            return vec![
                finding.notice("the daemon does not start").remedy("set Certificate=, PrivateKey=, TrustedRoots="),
            ];
        }
    };
    let peers = certificate::Peers::of(config);
    peers.flat_map(|peers| certificate::judge(&papers, Some(&config.identity.fqdn), peers, wall)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_fails_with_one_and_passes_when_what_matters_was_seen() {
        let whole = |findings: &[Finding]| Diagnosis::of(findings.to_vec()).verdict;
        let (good, bad) = (Finding::pass("a", "s", "e"), Finding::fail("a", "s", "e"));
        assert_eq!(whole(&[good.clone(), bad]), Verdict::Fail);
        assert_eq!(whole(&[good.clone(), Finding::not_checked("refer", "s", "e")]), Verdict::Pass);
        assert_eq!(whole(&[good, Finding::not_checked(peers::OPTIONS, "s", "e")]), Verdict::NotChecked);
    }

    #[test]
    fn json_is_the_contracts() {
        let finding = Finding::not_checked("refer", "Gateway1", "seen").notice("n").remedy("r");
        let json = serde_json::to_value(Diagnosis::of(vec![finding])).unwrap();
        let expected = serde_json::json!({"verdict": "pass", "findings": [{
            "verdict": "not-checked", "subject": "Gateway1", "notice": "n", "evidence": "seen", "remedy": "r", "code": "refer"
        }]});
        assert_eq!(json, expected);
    }
}
