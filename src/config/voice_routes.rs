//! `[HybridVoiceRoutes]` with the gateways that take each route.

use crate::hop::TrunkId;

use super::ini::Entry;
use super::keys::Section;
use super::settings::{Findings, Known, Settings};
use super::value;
use super::{Route, Trunk};

/// The route of what no other matches, for the gateways without `VoiceRoutes`.
pub const ANY_NUMBER: &str = "AnyNumber";

/// The routes in file order. A gateway that names none takes part in all of them, and in whatever
/// matches none.
pub fn routes(settings: &Settings<'_>, gateways: &[(&Known<'_>, Trunk)], findings: &mut Findings<'_>) -> Vec<Route> {
    let section = settings.one(Section::HybridVoiceRoutes);
    let lines = section.map_or(&[][..], |known| known.free);
    let mut routes: Vec<Route> = lines.iter().filter_map(route).collect();
    let mut unrestricted = Vec::new();
    for (known, gateway) in gateways {
        match known.filled("VoiceRoutes") {
            Some(line) if lines.is_empty() => {
                let why = "[HybridVoiceRoutes] has no route, so the gateway takes every call";
                let instead = "[HybridVoiceRoutes] with a line for each name, or no VoiceRoutes";
                findings.warning(&line.value.span, "these routes do not exist", why, instead);
                unrestricted.push(gateway.id);
            }
            Some(line) => take_named(line, lines, gateway.id, &mut routes, findings),
            None => unrestricted.push(gateway.id),
        }
    }
    take_all(&mut routes, unrestricted);
    for (route, line) in routes.iter().filter_map(|route| Some((route, lines.iter().find(|line| is(line, route))?))) {
        if route.gateways.is_empty() {
            let what = format!("no gateway takes `{}`", route.name);
            let why = "no VoiceRoutes names it, so its calls are refused";
            findings.warning(&line.key.span, what, why, format!("VoiceRoutes={} at a gateway", route.name));
        }
    }
    routes
}

/// A line whose pattern is wrong makes none; that has been said.
fn route(line: &Entry) -> Option<Route> {
    let pattern = value::pattern(&line.value.text).ok()?;
    Some(Route { name: line.key.text.clone(), pattern, gateways: Vec::new() })
}

fn is(line: &Entry, route: &Route) -> bool {
    line.key.text.eq_ignore_ascii_case(&route.name)
}

fn take_named(line: &Entry, known: &[Entry], gateway: TrunkId, routes: &mut [Route], findings: &mut Findings<'_>) {
    for (at, word) in value::words(&line.value.text) {
        let wanted = routes.iter_mut().find(|route| route.name.eq_ignore_ascii_case(word));
        match wanted {
            Some(route) if route.gateways.contains(&gateway) => {}
            Some(route) => route.gateways.push(gateway),
            None if known.iter().any(|entry| entry.key.text.eq_ignore_ascii_case(word)) => {}
            None => {
                let names: Vec<&str> = known.iter().map(|entry| entry.key.text.as_str()).collect();
                let near = value::nearest(word, names.iter().copied()).map(str::to_owned);
                let instead = near.unwrap_or_else(|| format!("one of {}", names.join(", ")));
                let start = line.value.span.start;
                let why = "[HybridVoiceRoutes] has no such name";
                findings.error(&(start + at.start..start + at.end), format!("unknown route `{word}`"), why, instead);
            }
        }
    }
}

fn take_all(routes: &mut Vec<Route>, unrestricted: Vec<TrunkId>) {
    if unrestricted.is_empty() {
        return;
    }
    for route in routes.iter_mut() {
        route.gateways.extend(&unrestricted);
        route.gateways.sort();
    }
    if let Ok(pattern) = value::pattern(".*") {
        routes.push(Route { name: ANY_NUMBER.into(), pattern, gateways: unrestricted });
    }
}
