//! The voices of gateways: a task for each, begun and ended as the configuration says. What they hear goes to the switch.

mod rest;

use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::reactor::Control;
use crate::call::Event;
use crate::config::{self, Config};
use crate::gateway::{Voice, Word};
use crate::hop::TrunkId;

/// What a task runs by: the same settings, the same task.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Settings {
    /// With the file of whom to trust.
    Rest(config::Rest, PathBuf),
}

impl Settings {
    fn voice(&self) -> Voice {
        match self {
            Settings::Rest(..) => Voice::Rest,
        }
    }

    fn of(config: &Config) -> Vec<(TrunkId, Settings)> {
        let mut all = Vec::new();
        for trunk in config.gateways() {
            let voices = &trunk.voices;
            all.extend(voices.rest.clone().map(|rest| {
                let roots = rest.roots.clone().unwrap_or_else(|| config.identity.trusted_roots.clone());
                (trunk.id, Settings::Rest(rest, roots))
            }));
        }
        all
    }
}

struct Running {
    settings: Settings,
    teller: Teller,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends it: what it said is void, and its device is free when this returns.
    async fn end(self) {
        self.task.abort();
        // It was told to end; that it did is all there is to know.
        let _ = self.task.await;
        self.teller.tell(Word::Anew).await;
    }
}

/// All voices.
pub struct Voices {
    clock: Clock,
    switch: mpsc::Sender<Control>,
    running: Vec<Running>,
}

impl Voices {
    /// Silent ones.
    pub fn new(clock: Clock, switch: mpsc::Sender<Control>) -> Voices {
        Voices { clock, switch, running: Vec::new() }
    }

    /// Ends those whose settings changed, and begins what is new.
    pub async fn set(&mut self, config: &Config) {
        let mut wanted = Settings::of(config);
        for running in std::mem::take(&mut self.running) {
            match wanted
                .iter()
                .position(|(trunk, settings)| running.teller.trunk == *trunk && running.settings == *settings)
            {
                Some(at) => {
                    wanted.remove(at);
                    self.running.push(running);
                }
                None => running.end().await,
            }
        }
        for (trunk, settings) in wanted {
            let running = self.begin(trunk, settings);
            self.running.push(running);
        }
    }

    fn begin(&self, trunk: TrunkId, settings: Settings) -> Running {
        let teller = Teller { trunk, voice: settings.voice(), switch: self.switch.clone() };
        let (clock, to) = (self.clock.clone(), teller.clone());
        let task = match settings.clone() {
            Settings::Rest(rest, roots) => tokio::spawn(rest::run(clock, rest, roots, to)),
        };
        Running { settings, teller, task }
    }
}

/// The way of a gateway's words to the switch.
#[derive(Clone)]
struct Teller {
    trunk: TrunkId,
    voice: Voice,
    switch: mpsc::Sender<Control>,
}

impl Teller {
    async fn tell(&self, word: Word) {
        let Teller { trunk, voice, .. } = *self;
        // A switch that has ended needs to know nothing.
        let _ = self.switch.send(Control::Event(Event::Told { trunk, voice, word })).await;
    }
}
