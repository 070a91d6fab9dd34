//! `demarc certificate`: a chain by the rules of a generation of peers.

use std::path::PathBuf;

use super::{BAD, GOOD, WRONG, doctor};
use crate::shell::clock::Clock;
use crate::shell::doctor::certificate::{Peers, judge};
use crate::shell::doctor::{Diagnosis, Verdict};
use crate::shell::transport::{IdentityError, Papers, certificates};

/// Arguments of `demarc certificate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Certificate {
    /// The chain, PEM, the owner's first.
    file: PathBuf,
    /// Whose rules; without it, everybody's.
    #[arg(long, value_name = "PROFILE", value_parser = Peers::ALL.map(|(name, _)| name))]
    peer: Option<String>,
    /// The roots that the peers trust, PEM.
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// The name that the peers know the owner by.
    #[arg(long, value_name = "HOST")]
    name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Certificate {
    /// Judges it; prints to standard output.
    pub fn run(&self) -> u8 {
        let papers = match self.papers() {
            Ok(papers) => papers,
            Err(fault) => {
                eprintln!("{fault}");
                return BAD;
            }
        };
        let wanted = |name: &str| self.peer.as_deref().is_none_or(|peer| peer == name);
        let peers = Peers::ALL.into_iter().filter(|(name, _)| wanted(name)).map(|(_, peers)| peers);
        let wall = Clock::start().now().wall;
        let diagnosis =
            Diagnosis::of(peers.flat_map(|peers| judge(&papers, self.name.as_deref(), peers, wall)).collect());
        doctor::print(&diagnosis, self.json);
        if diagnosis.verdict == Verdict::Fail { WRONG } else { GOOD }
    }

    fn papers(&self) -> Result<Papers, IdentityError> {
        let roots = self.roots.as_ref().map(|roots| certificates(roots)).transpose()?;
        Ok(Papers { chain: certificates(&self.file)?, roots: roots.unwrap_or_default() })
    }
}
