//! Where a call goes: pure functions over the configuration.
//!
//! Number rules (normalization, translation) will stand here as well; so far a number is matched
//! as it came.

use std::fmt;

use crate::config::{Config, Profile, TrunkKind};
use crate::hop::{SpanId, Target, TrunkId};
use crate::wire::sip::Uri;

/// One try at reaching the called number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The trunk to use.
    pub trunk: TrunkId,
    /// Where on it.
    pub egress: Egress,
    /// The route that chose it; empty toward Microsoft.
    pub route: String,
}

/// Where a call leaves us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Egress {
    /// At a hop of a SIP trunk.
    Hop(Target),
    /// On a line, or any of the lines whose calls are set up over its D channel.
    Line(SpanId),
}

impl fmt::Display for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Egress::Hop(hop) => hop.fmt(f),
            Egress::Line(SpanId(number)) => write!(f, "Span{number}"),
        }
    }
}

/// All tries in order: toward Microsoft the next hops as configured; toward the telephone network
/// every `[HybridVoiceRoutes]` line that matches, in file order, and its gateways in order. Nobody
/// is tried twice. Trunks that are known to be down come last, not never: knowledge can be stale.
/// Empty when no route matches.
pub fn hunt(config: &Config, from: TrunkId, called: &str, is_up: impl Fn(TrunkId) -> bool) -> Vec<Attempt> {
    let mut attempts = match from {
        TrunkId::LYNC => to_gateways(config, called),
        _ => of_trunk(config, TrunkId::LYNC, ""),
    };
    attempts.sort_by_key(|attempt| !is_up(attempt.trunk));
    attempts
}

/// The tries at a target that `from` refers us to (RFC 3515). Microsoft's servers know best where their users and their
/// conferences are, and who may call a number, so they get the call back; unless the target's host is ourselves, or there
/// is none (`tel:`): then it is a number for the telephone network. Teams gets every call back.
pub fn refer(config: &Config, from: TrunkId, target: Uri<'_>, is_up: impl Fn(TrunkId) -> bool) -> Vec<Attempt> {
    let user = target.user().unwrap_or_default();
    let teams = config.lync().kind == TrunkKind::Microsoft(Profile::Teams);
    let ours = target.is_tel() || config.trunks.iter().any(|trunk| trunk.own_host.eq_ignore_ascii_case(target.host()));
    match from {
        TrunkId::LYNC if !ours || teams => {
            let mut attempts = of_trunk(config, TrunkId::LYNC, "");
            attempts.sort_by_key(|attempt| !is_up(attempt.trunk));
            attempts
        }
        from => hunt(config, from, user, is_up),
    }
}

fn to_gateways(config: &Config, called: &str) -> Vec<Attempt> {
    let matching = config.routes.iter().filter(|route| route.pattern.is_match(called).unwrap_or(false));
    let mut attempts = Vec::new();
    for route in matching {
        for gateway in &route.gateways {
            if !attempts.iter().any(|attempt: &Attempt| attempt.trunk == *gateway) {
                attempts.extend(of_trunk(config, *gateway, &route.name));
            }
        }
    }
    attempts
}

fn of_trunk(config: &Config, trunk: TrunkId, route: &str) -> Vec<Attempt> {
    let Some(found) = config.trunk(trunk) else { return Vec::new() };
    let hops = found.hops.iter().cloned().map(Egress::Hop);
    let egresses = hops.chain(lines(config, &found.spans).into_iter().map(Egress::Line));
    egresses.map(|egress| Attempt { trunk, egress, route: route.to_owned() }).collect()
}

/// The D channels that set up calls on these spans, each once.
fn lines(config: &Config, spans: &[SpanId]) -> Vec<SpanId> {
    let mut lines = Vec::new();
    for span in spans.iter().filter_map(|id| config.span(*id)) {
        let line = span.signalled_by();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
