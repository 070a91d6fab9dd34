//! The voices of gateways: a task for each, begun and ended as the configuration says. What they hear goes to the switch.

mod console;
mod rest;
mod trap;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::observe::Observer;
use super::reactor::Control;
use crate::call::Event;
use crate::config::{self, Config};
use crate::gateway::{Voice, Word};
use crate::hop::TrunkId;

/// What a task runs by: the same settings, the same task.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Settings {
    Console(TrunkId, config::Console),
    /// With the file of whom to trust.
    Rest(TrunkId, config::Rest, PathBuf),
    /// With the addresses that gateways send from.
    Traps(config::Traps, Vec<(IpAddr, TrunkId)>),
}

impl Settings {
    fn of(config: &Config) -> Vec<Settings> {
        let mut all = Vec::new();
        let mut senders = Vec::new();
        for trunk in config.gateways() {
            senders.extend(trunk.peers.addresses.iter().map(|address| (*address, trunk.id)));
            all.extend(trunk.voices.console.clone().map(|console| Settings::Console(trunk.id, console)));
            all.extend(trunk.voices.rest.clone().map(|rest| {
                let roots = rest.roots.clone().unwrap_or_else(|| config.identity.trusted_roots.clone());
                Settings::Rest(trunk.id, rest, roots)
            }));
        }
        all.extend(config.traps.clone().map(|traps| Settings::Traps(traps, senders)));
        all
    }

    /// The gateways that are heard by it.
    fn trunks(&self) -> Vec<TrunkId> {
        match self {
            Settings::Console(trunk, _) | Settings::Rest(trunk, ..) => vec![*trunk],
            Settings::Traps(_, senders) => senders.iter().map(|(_, trunk)| *trunk).collect(),
        }
    }

    fn voice(&self) -> Voice {
        match self {
            Settings::Console(..) => Voice::Console,
            Settings::Rest(..) => Voice::Rest,
            Settings::Traps(..) => Voice::Trap,
        }
    }

    /// Whose words are void when this gives way to `next`. A trap is told once: it stands while its gateway may send.
    fn void(&self, next: &[Settings]) -> Vec<TrunkId> {
        let heard =
            |trunk: &TrunkId| next.iter().any(|next| next.voice() == Voice::Trap && next.trunks().contains(trunk));
        let mut trunks = self.trunks();
        trunks.retain(|trunk| self.voice() != Voice::Trap || !heard(trunk));
        trunks
    }
}

/// All voices.
pub struct Voices {
    clock: Clock,
    tell: Teller,
    observer: Observer,
    running: Vec<(Settings, JoinHandle<()>)>,
}

impl Voices {
    /// Silent ones.
    pub fn new(clock: Clock, switch: mpsc::Sender<Control>, observer: Observer) -> Voices {
        Voices { clock, tell: Teller { switch }, observer, running: Vec::new() }
    }

    /// Ends those whose settings changed, and begins what is new.
    pub async fn set(&mut self, config: &Config) {
        let wanted = Settings::of(config);
        let (kept, ended) =
            std::mem::take(&mut self.running).into_iter().partition(|(known, _)| wanted.contains(known));
        self.running = kept;
        for (settings, task) in ended {
            task.abort();
            // Its device and its port are free when it has ended; how it ended says nothing.
            let _ = task.await;
            for trunk in settings.void(&wanted) {
                self.tell.word(trunk, settings.voice(), Word::Anew).await;
            }
        }
        for settings in wanted {
            if !self.running.iter().any(|(known, _)| *known == settings) {
                let task = self.begin(settings.clone());
                self.running.push((settings, task));
            }
        }
    }

    fn begin(&self, settings: Settings) -> JoinHandle<()> {
        let (clock, tell) = (self.clock.clone(), self.tell.clone());
        match settings {
            Settings::Console(trunk, console) => tokio::spawn(console::run(clock, trunk, console, tell)),
            Settings::Rest(trunk, rest, roots) => tokio::spawn(rest::run(clock, trunk, rest, roots, tell)),
            Settings::Traps(traps, senders) => tokio::spawn(trap::run(traps, senders, tell, self.observer.clone())),
        }
    }
}

/// The way of gateways' words to the switch.
#[derive(Clone)]
struct Teller {
    switch: mpsc::Sender<Control>,
}

impl Teller {
    async fn word(&self, trunk: TrunkId, voice: Voice, word: Word) {
        // A switch that has ended needs to know nothing.
        let _ = self.switch.send(Control::Event(Event::Told { trunk, voice, word })).await;
    }
}

/// The first line of a file that holds a secret; `None` where there is none.
async fn first_line(file: impl AsRef<Path>) -> Option<String> {
    let text = tokio::fs::read_to_string(file).await.ok()?;
    text.lines().next().filter(|line| !line.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_traps_said_stands_while_their_gateway_may_send() {
        let traps = |senders: &[(u8, u16)]| {
            let listen = "192.0.2.10:162".parse().unwrap();
            let sender = |&(last, trunk): &(u8, u16)| (IpAddr::from([192, 0, 2, last]), TrunkId(trunk));
            Settings::Traps(config::Traps { listen, community: None }, senders.iter().map(sender).collect())
        };
        let before = traps(&[(20, 1), (21, 2)]);
        assert_eq!(before.void(&[traps(&[(30, 1)])]), [TrunkId(2)], "its address is another, the gateway the same");
        assert_eq!(before.void(&[]), [TrunkId(1), TrunkId(2)]);
        let console = Settings::Console(TrunkId(1), config::Console { device: "/dev/ttyS0".into(), script: None });
        assert_eq!(console.void(&[before]), [TrunkId(1)]);
    }
}
