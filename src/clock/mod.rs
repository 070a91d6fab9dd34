//! The clock: what the true time is, asked of NTP servers (RFC 5905), and whether the system's clock has it.
//!
//! 1. Each server ([`source`]) is asked in its own rhythm; of its last answers the best one counts.
//! 2. The judge ([`mod@judge`]) finds what more than half of the servers say, and what that may be off.
//! 3. The verdict is the [`Truth`]: true time as a line over the machine's raw clock. A step or a slew of the system's
//!    clock leaves it alone; between verdicts its error grows as a crystal wanders.
//! 4. Every second both clocks of the system are looked at: the offset is the system's clock minus the truth, a jump
//!    between two looks is a step (and the servers are asked again), a steady growth is drift ([`slope`]).
//! 5. With `Discipline=Yes` the system's clock is slewed to the truth ([`discipline`]).
//! 6. What will break is a [`Concern`], raised and cleared.

pub mod concern;
pub mod discipline;
pub mod judge;
pub mod slope;
pub mod source;

#[cfg(test)]
mod tests;

pub use concern::Concern;
pub use discipline::Kernel;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use crate::config;
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::ntp;
use discipline::{Hindrance, Steering};
use judge::{Candidate, judge};
use slope::Slope;
use source::{Source, lasts, wander};

/// How often the clocks are compared.
const LOOK: Duration = Duration::from_secs(1);
/// A jump of the system's clock between two looks (RFC 5905: STEPT).
const STEP: SignedDuration = SignedDuration::from_millis(128);
/// chrony slews by up to a twelfth; what is more is a step.
const MOST_SLEW: u32 = 10;
/// No clock drifts by so much between two looks: somebody sets it.
const SLEW: SignedDuration = SignedDuration::from_millis(5);
/// After a step the servers must have confirmed the truth within this: the machine may have slept.
const CONFIRM: Duration = Duration::from_secs(30);

/// The clocks of the system at one moment, uncorrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The monotonic clock, for deadlines. Who disciplines the system's clock bends this one too.
    pub mono: Instant,
    /// The machine's oscillator, counted from anywhere, which nobody bends: CLOCK_MONOTONIC_RAW.
    pub raw: Duration,
    /// The system's time of day.
    pub system: Timestamp,
}

impl Reading {
    /// The system's time at the zero of the raw clock, since 1970.
    fn base(self) -> SignedDuration {
        self.system.as_duration() - signed(self.raw)
    }
}

fn signed(raw: Duration) -> SignedDuration {
    SignedDuration::try_from(raw).unwrap_or_default()
}

/// True time, as far as it is known: a line over the raw clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// True time at the zero of the raw clock, since 1970.
    base: SignedDuration,
    /// When it was measured.
    at: Duration,
    /// What it may have been off then.
    error: Duration,
}

impl Truth {
    /// The true time of day.
    pub fn wall(&self, raw: Duration) -> Timestamp {
        Timestamp::from_duration(self.base.saturating_add(signed(raw))).unwrap_or_default()
    }

    /// What it may be off by now.
    pub fn error(&self, raw: Duration) -> Duration {
        self.error + wander(raw.saturating_sub(self.at))
    }
}

/// Can the true time be told?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Yes.
    Good {
        /// The system's clock minus true time: positive is ahead.
        offset: SignedDuration,
        /// What the offset may be off.
        error: Duration,
    },
    /// Servers are asked, but their word does not do.
    Suspect(Doubt),
    /// No server is configured, or none has had time to answer.
    #[default]
    None,
}

/// Why the true time cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// No server has a word that counts.
    #[error("no NTP server gives a usable answer")]
    Silence,
    /// They contradict each other.
    #[error("the {0} NTP servers that answer contradict each other, and no majority agrees")]
    NoMajority(usize),
    /// The last verdict is too old, or the servers are too vague.
    #[error("the true time is known to {0:?} only")]
    Vague(Duration),
    /// The clocks jumped apart and no server has said which one is right.
    #[error("the system's clock was stepped, or the machine slept, and no NTP server has answered since")]
    Stepped,
}

/// What is worth telling the operators.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The true time can be told, after a time when it could not.
    Known {
        /// The system's clock minus true time.
        offset: SignedDuration,
        /// What it may be off.
        error: Duration,
        /// How many servers agree.
        servers: usize,
    },
    /// The system's clock jumped by this.
    Stepped(SignedDuration),
    /// Something will break.
    Raised(Concern),
    /// It will not any more.
    Cleared(Concern),
}

/// What goes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Ask a server.
    Query {
        /// Its place in the list.
        server: usize,
        /// What tells its answer from a forged one.
        nonce: u64,
        /// The packet.
        packet: [u8; ntp::LENGTH],
        /// Look its name up again: it did not answer lately.
        afresh: bool,
    },
    /// Let the system's clock gain this, slowly.
    Slew(SignedDuration),
    /// Tell the operators.
    Report(Report),
}

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A packet came back for a query.
    Answer {
        /// The server's place in the list.
        server: usize,
        /// When the query left, by the raw clock.
        sent: Duration,
        /// When the packet came, by the raw clock.
        received: Duration,
        /// The packet.
        packet: &'a [u8],
    },
    /// The query could not be sent.
    Unsent {
        /// The server's place in the list.
        server: usize,
        /// Of the query.
        nonce: u64,
    },
    /// How the kernel runs the clock.
    Kernel(Option<Kernel>),
    /// The kernel refused to slew the clock.
    Forbidden,
    /// Other servers or bounds.
    Settings(config::Clock),
    /// A deadline has passed.
    Tick,
}

/// Keeps the true time: all servers, the judge, and the watch over the system's clock.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    settings: config::Clock,
    sources: Vec<Source>,
    /// Who was believed last.
    believed: Vec<bool>,
    truth: Option<Truth>,
    doubt: Option<Doubt>,
    /// A step that no server has explained.
    stepped: Option<Duration>,
    looked: Reading,
    kernel: Option<Kernel>,
    kernel_asked: bool,
    steering: Steering,
    hindrance: Option<Hindrance>,
    /// The system's clock over the raw one, and the raw one over the truth.
    gains: [Slope; 2],
    trust: Trust,
    concerns: Vec<Lasting>,
}

/// A concern that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting {
    /// Since when.
    pub since: Instant,
    /// Which.
    pub concern: Concern,
}

impl Timekeeper {
    /// Asks all servers at once.
    pub fn new(now: Reading, settings: config::Clock) -> Timekeeper {
        let mut keeper = Timekeeper {
            settings: config::Clock::default(),
            sources: Vec::new(),
            believed: Vec::new(),
            truth: None,
            doubt: None,
            stepped: None,
            looked: now,
            kernel: None,
            kernel_asked: false,
            steering: Steering::default(),
            hindrance: None,
            gains: [
                Slope::new(Duration::from_secs(4), Duration::from_secs(16)),
                Slope::new(Duration::from_secs(30), Duration::from_secs(120)),
            ],
            trust: Trust::None,
            concerns: Vec::new(),
        };
        keeper.set(now, settings);
        keeper
    }

    /// Takes one input and says what to do.
    pub fn handle(&mut self, now: Reading, input: Input<'_>, random: &mut Random, out: &mut Vec<Output>) {
        match input {
            Input::Answer { server, sent, received, packet } => {
                if let Some(source) = self.sources.get_mut(server) {
                    source.answered(now.mono, [sent, received], packet, random);
                    self.weigh(now);
                }
            }
            Input::Unsent { server, nonce } => {
                if let Some(source) = self.sources.get_mut(server) {
                    source.unsent(nonce);
                }
            }
            Input::Kernel(kernel) => (self.kernel, self.kernel_asked) = (kernel, true),
            Input::Forbidden => self.steering.refused(),
            Input::Settings(settings) => self.set(now, settings),
            Input::Tick => {}
        }
        self.ask(now.mono, random, out);
        if now.mono >= self.looked.mono + LOOK {
            self.look(now, out);
            // What grew old, and who fell silent.
            self.weigh(now);
        }
        self.reconsider(now, out);
        self.steer(now.mono, out);
        self.raise(now, out);
    }

    /// When [`Input::Tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let due = self.sources.iter().fold(None, |due, source| soonest(due, source.timeout()));
        soonest(due, Some(self.looked.mono + LOOK))
    }

    /// Servers of the same name keep what they know.
    fn set(&mut self, now: Reading, settings: config::Clock) {
        let mut old = std::mem::take(&mut self.sources);
        // One that refused us is given another chance.
        let source = |name: &String| match old.iter().position(|source| source.name == *name && !source.denied()) {
            Some(at) => old.swap_remove(at),
            None => Source::new(name.clone(), now.mono),
        };
        let names: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        self.sources = names.iter().map(source).collect();
        self.believed = vec![false; self.sources.len()];
        self.settings = settings;
        self.steering = Steering::default();
        self.weigh(now);
    }

    fn ask(&mut self, now: Instant, random: &mut Random, out: &mut Vec<Output>) {
        for (server, source) in self.sources.iter_mut().enumerate() {
            if let Some(nonce) = source.tick(now, random) {
                out.push(Output::Query { server, nonce, packet: ntp::query(nonce), afresh: !source.reachable() });
            }
        }
    }

    /// Compares the two clocks of the system with where they were.
    fn look(&mut self, now: Reading, out: &mut Vec<Output>) {
        let jump = now.base() - self.looked.base();
        let slew = signed(now.raw.saturating_sub(self.looked.raw) / MOST_SLEW);
        self.looked = now;
        if jump.abs() > STEP + slew {
            out.push(Output::Report(Report::Stepped(jump)));
            self.stepped = Some(now.raw);
            self.sources.iter_mut().for_each(|source| source.renew(now));
        }
        if jump.abs() > SLEW {
            self.gains[0].forget();
        }
        self.gains[0].push(now.mono, now.base());
    }

    /// What do the servers say together?
    fn weigh(&mut self, now: Reading) {
        if self.sources.iter().any(|source| !source.tried()) && self.truth.is_none() {
            return;
        }
        self.stepped.take_if(|stepped| self.sources.iter().any(|source| source.heard_since(*stepped)));
        if self.stepped.is_some_and(|stepped| now.raw.saturating_sub(stepped) > CONFIRM) {
            (self.truth, self.doubt) = (None, Some(Doubt::Stepped));
            return;
        }
        let said = self.sources.iter().enumerate().filter_map(|(n, source)| Some((n, source.candidate(now.raw)?)));
        let (who, candidates): (Vec<usize>, Vec<Candidate>) = said.unzip();
        let Some(verdict) = judge(&candidates) else {
            let doubt = if candidates.is_empty() { Doubt::Silence } else { Doubt::NoMajority(candidates.len()) };
            self.doubt = (!self.sources.is_empty()).then_some(doubt);
            return;
        };
        self.believed.fill(false);
        who.iter().zip(verdict.believed).for_each(|(n, believed)| self.believed[*n] = believed);
        self.truth = Some(Truth { base: verdict.base, at: now.raw, error: verdict.error });
        self.doubt = None;
        if self.stepped.is_none() {
            self.gains[1].push(now.mono, SignedDuration::ZERO - verdict.base);
        }
    }

    /// The truth while it is good enough: a reading of the time is corrected by it.
    pub fn truth(&self) -> Option<Truth> {
        self.truth.filter(|_| matches!(self.trust, Trust::Good { .. }))
    }

    /// Parts per million that the system's clock gains on true time.
    fn drift(&self) -> Option<f64> {
        let [system, mono] = &self.gains;
        Some(system.ppm()? + mono.ppm().unwrap_or(0.0))
    }

    fn reconsider(&mut self, now: Reading, out: &mut Vec<Output>) {
        let known = matches!(self.trust, Trust::Good { .. });
        self.trust = self.trust_at(now);
        if let Trust::Good { offset, error } = self.trust
            && !known
        {
            out.push(Output::Report(Report::Known { offset, error, servers: self.agreeing() }));
        }
    }

    fn steer(&mut self, now: Instant, out: &mut Vec<Output>) {
        let due = self.settings.discipline && self.kernel_asked;
        let wanted = due.then(|| self.steering.step(now, self.trust, self.kernel));
        self.hindrance = wanted.and_then(|steered| match steered {
            Ok(slew) => {
                out.extend(slew.map(Output::Slew));
                None
            }
            Err(hindrance) => Some(hindrance),
        });
    }

    fn raise(&mut self, now: Reading, out: &mut Vec<Output>) {
        let concerns = self.concerns_at(now);
        let old = std::mem::take(&mut self.concerns);
        let gone = old.iter().filter(|known| !concerns.iter().any(|new| new.is_same(&known.concern)));
        out.extend(gone.map(|known| Output::Report(Report::Cleared(known.concern.clone()))));
        for concern in concerns {
            let since = old.iter().find(|known| known.concern.is_same(&concern)).map(|known| known.since);
            if since.is_none() {
                out.push(Output::Report(Report::Raised(concern.clone())));
            }
            self.concerns.push(Lasting { since: since.unwrap_or(now.mono), concern });
        }
    }

    fn trust_at(&self, now: Reading) -> Trust {
        let most = self.vaguest();
        match (self.truth, self.doubt) {
            _ if self.sources.is_empty() => Trust::None,
            (Some(truth), _) if truth.error(now.raw) <= most => {
                Trust::Good { offset: now.base() - truth.base, error: truth.error(now.raw) }
            }
            (_, Some(doubt)) => Trust::Suspect(doubt),
            (Some(truth), None) => Trust::Suspect(Doubt::Vague(truth.error(now.raw))),
            (None, None) => Trust::None,
        }
    }

    /// The error beyond which a truth is none.
    fn vaguest(&self) -> Duration {
        self.settings.max_ahead.min(self.settings.max_behind)
    }

    fn agreeing(&self) -> usize {
        self.believed.iter().filter(|believed| **believed).count()
    }

    /// What is wrong now. A concern that stands is cleared only when its cause is clearly gone.
    fn concerns_at(&self, now: Reading) -> Vec<Concern> {
        let mut concerns = Vec::new();
        match self.trust {
            Trust::None => {}
            Trust::Suspect(doubt) => concerns.push(Concern::Unknown(doubt)),
            Trust::Good { offset, error } => {
                let left = lasts(self.vaguest().saturating_sub(error));
                concerns.extend(self.doubt.map(|doubt| Concern::Fading { doubt, left }));
                let stands = |wanted: fn(&Concern) -> bool| self.concerns.iter().any(|known| wanted(&known.concern));
                concerns.extend(concern::offset(&self.settings, offset, self.agreeing(), stands(Concern::is_off)));
                let drift = self.drift().filter(|_| !concerns.iter().any(Concern::is_off));
                let drift =
                    drift.and_then(|ppm| concern::drift(&self.settings, offset, ppm, stands(Concern::is_drift)));
                concerns.extend(drift);
                concerns.extend(self.falsetickers(now));
                concerns.extend(self.hindrance.map(Concern::Unsteered));
            }
        }
        concerns
    }

    fn falsetickers(&self, now: Reading) -> impl Iterator<Item = Concern> {
        let outvoted = self.sources.iter().zip(&self.believed).filter(|(_, believed)| !**believed);
        outvoted.filter_map(move |(source, _)| {
            let (candidate, truth) = (source.candidate(now.raw)?, self.truth?);
            Some(Concern::Falseticker { server: source.name.clone(), ahead: candidate.base - truth.base })
        })
    }

    /// How things stand.
    pub fn standing(&self) -> Standing {
        let now = self.looked;
        let server = |(source, believed): (&Source, &bool)| ServerStanding {
            name: source.name.clone(),
            believed: *believed,
            offset_seconds: source.candidate(now.raw).map(|said| (now.base() - said.base).as_secs_f64()),
            distance_seconds: source.candidate(now.raw).map(|said| said.distance.as_secs_f64()),
            delay_seconds: source.delay(now.raw).map(|delay| delay.as_secs_f64()),
            stratum: source.stratum(),
            reach: format!("{:08b}", source.reach()),
            poll_seconds: source.poll().as_secs(),
            fault: source.fault().map(|fault| fault.to_string()),
        };
        let (offset, error) = match self.trust {
            Trust::Good { offset, error } => (Some(offset.as_secs_f64()), Some(error.as_secs_f64())),
            _ => (None, None),
        };
        Standing {
            truth: self.truth(),
            trust: self.trust,
            offset_seconds: offset,
            error_seconds: error,
            drift_ppm: self.drift().filter(|_| self.truth.is_some()),
            servers: self.sources.iter().zip(&self.believed).map(server).collect(),
            kernel: self.kernel,
            concerns: self.concerns.clone(),
        }
    }
}

/// How the clock stands, for readings of the time and for operators.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Standing {
    /// What readings are corrected by.
    #[serde(skip)]
    pub truth: Option<Truth>,
    /// In a word, and why.
    #[serde(flatten)]
    pub trust: Trust,
    /// The system's clock minus true time.
    pub offset_seconds: Option<f64>,
    /// What the offset may be off.
    pub error_seconds: Option<f64>,
    /// What the system's clock gains, parts per million.
    pub drift_ppm: Option<f64>,
    /// Each server.
    pub servers: Vec<ServerStanding>,
    /// Who else keeps the system's clock, and how well.
    pub kernel: Option<Kernel>,
    /// What will break.
    #[serde(rename = "alarms", serialize_with = "as_texts")]
    pub concerns: Vec<Lasting>,
}

/// How a server stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServerStanding {
    /// As configured.
    pub name: String,
    /// Does the majority share its word?
    pub believed: bool,
    /// The system's clock minus its time.
    pub offset_seconds: Option<f64>,
    /// What its word may be off.
    pub distance_seconds: Option<f64>,
    /// There and back.
    pub delay_seconds: Option<f64>,
    /// Its distance from a reference clock, as it says.
    pub stratum: u8,
    /// The last eight queries, the newest last: 1 was answered.
    pub reach: String,
    /// How often it is asked.
    pub poll_seconds: u64,
    /// What is wrong with it.
    pub fault: Option<String>,
}

impl Serialize for Trust {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Words {
            trust: &'static str,
            why: Option<String>,
        }
        let (trust, why) = match self {
            Trust::Good { .. } => ("good", None),
            Trust::Suspect(doubt) => ("suspect", Some(doubt.to_string())),
            Trust::None => ("none", None),
        };
        Words { trust, why }.serialize(serializer)
    }
}

fn as_texts<S: Serializer>(concerns: &[Lasting], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(concerns.iter().map(|known| known.concern.to_string()))
}
