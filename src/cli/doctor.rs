//! `demarc doctor`: live probes, each with what users would notice and what to do.

use std::path::Path;
use std::sync::Arc;

use super::live::parse;
use super::{BAD, GOOD, WRONG, ask, run, say};
use crate::shell::configuration;
use crate::shell::doctor::{self, Diagnosis, Verdict};

/// Examines the box of this configuration; prints to standard output.
pub fn examine(file: &Path, json: bool) -> u8 {
    let (config, warnings) = match configuration::load(file) {
        Ok((config, warnings)) => (Arc::new(config), warnings),
        Err(faults) => {
            eprintln!("{faults}");
            return BAD;
        }
    };
    let Some((runtime, seed)) = run::start() else { return WRONG };
    let running = ask::get(&config.web, "/api/spans").ok().map(|text| parse(&text));
    let diagnosis = runtime.block_on(doctor::examine(config, &warnings, running.as_ref(), seed));
    print(&diagnosis, json);
    if diagnosis.verdict == Verdict::Pass { GOOD } else { WRONG }
}

/// Prints findings for a person or for a program.
pub(super) fn print(diagnosis: &Diagnosis, json: bool) {
    match json {
        true => say(&format!("{}\n", serde_json::to_string_pretty(diagnosis).unwrap_or_default())),
        false => say(&diagnosis.to_string()),
    }
}
