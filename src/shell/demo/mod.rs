//! `demarc demo`: a whole box on this machine, a telephone at each end of it, two calls and a
//! transfer, and how they were.
//!
//! 1. The stage: certificates, ports, a configuration. [`stage`], [`pki`]
//! 2. Two telephones where the pool would be (mutual TLS, SRTP); one at the exchange of a T1 ([`line`]), or where a gateway
//!    would be (TCP, plain G.711). [`telephone`], [`handset`], [`tape`]
//! 3. The box itself, started from that configuration as `demarc run` would.
//! 4. The Lync side calls; the far end says back what it hears. Then the far end calls; both speak.
//!    [`speech`](super::speech)
//! 5. The Lync side calls once more and transfers the far end to its colleague. The gateway takes no REFER: the box
//!    calls the colleague, and the gateway keeps its call as it is. [`call`]
//! 6. The result in figures and in one sentence, and the ladder of each call. [`result`]

mod call;
mod handset;
mod line;
mod pki;
mod result;

mod stage;
mod tape;
mod telephone;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use self::call::{Call, Disturbance, Transfer};
use self::result::Outcome;
pub use self::stage::Network;
use self::stage::Stage;
use self::tape::Part;
use self::telephone::Telephone;
use super::clock::Clock;
use super::configuration;
use super::daemon::{self, Daemon};
use super::observe::Ask;
use super::speech::{Speech, Voice};
use super::transport;
use crate::hop::{SpanId, TrunkId};
use crate::random::Random;

use crate::time::Instant;

/// How long the speech of a call is: 5 s.
const FRAMES: usize = 250;
/// For everything together.
const LIMIT: Duration = Duration::from_secs(40);

const LYNC: &str = "Lync side";
const COLLEAGUE: &str = "colleague";
const GATEWAY: &str = "gateway";
const EXCHANGE: &str = "exchange";
/// The line of a demonstration over a T1, and the telephone at its exchange.
const LINE: SpanId = SpanId(1);
const TELEPHONE: &str = "3125556789";

/// What did not happen.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Stage(#[from] stage::Fault),
    #[error("the telephone of the {0} did not start: {1}")]
    Telephone(&'static str, transport::StartError),
    #[error("the box refuses its configuration:\n{0}")]
    Configuration(String),
    #[error(transparent)]
    Line(#[from] line::NotInService),
    #[error("the telephone of the exchange did not start: {0}")]
    Exchange(std::io::Error),
    #[error("the box did not start: {0}")]
    Box(#[from] daemon::StartFault),
    #[error(transparent)]
    Call(#[from] Disturbance),
    #[error("the calls were not over within {limit} s", limit = LIMIT.as_secs())]
    Late,
    #[error("interrupted")]
    Interrupted,
}

/// Runs the demonstration. True only if all was good. Without `once` the box stays up for
/// whoever wants to look at it, until it is interrupted.
pub async fn run(network: Network, once: bool, seed: [u8; 32]) -> bool {
    let mut random = Random::seeded(seed);
    let progress = Progress { clock: Clock::start() };
    let shown = tokio::select! {
        shown = show(network, once, &progress, &mut random) => shown,
        () = interrupted() => Err(Failure::Interrupted),
    };
    match shown {
        Ok((show, good)) if once => {
            show.daemon.stop().await;
            good
        }
        Ok((show, good)) => good & show.stay().await,
        Err(failure) => {
            print(&format!("\nThe demonstration failed: {failure}."));
            false
        }
    }
}

/// Waits for somebody who wants to end it: so that no key stays behind.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Everything that runs.
struct Show {
    stage: Stage,
    lync: Telephone,
    colleague: Telephone,
    /// What stands for the telephone network, and the telephone there.
    far: &'static str,
    gateway: Telephone,
    daemon: Daemon,
}

/// The steps, in order.
async fn show(network: Network, once: bool, progress: &Progress, random: &mut Random) -> Result<(Show, bool), Failure> {
    let stage = Stage::build(network, random, !once)?;
    progress.step(&format!("the configuration of this demonstration: {}", stage.file().display()));
    let mut show = Show::start(network, stage, progress, random).await?;
    let calls = tokio::time::timeout(LIMIT, show.calls(progress, random)).await;
    let calls = calls.unwrap_or(Err(Failure::Late));
    let ladders = show.ladders().await;
    let outcomes = calls.inspect_err(|_| print(&ladders))?;
    print(&format!("\n{}\n{}\n{ladders}", result::table(&outcomes), result::verdict(&outcomes)));
    Ok((show, outcomes.iter().all(|outcome| outcome.faults().is_empty())))
}

impl Show {
    /// SIP's telephones first, so that the box finds its sides up.
    async fn start(network: Network, stage: Stage, progress: &Progress, random: &mut Random) -> Result<Show, Failure> {
        let [for_pool, for_gateway] = [(); 2].map(|()| Random::seeded(random.octets()));
        let clock = || progress.clock.clone();
        let no = |who| move |fault| Failure::Telephone(who, fault);
        let pool = Telephone::start(stage.pool()?, TrunkId::LYNC, clock(), for_pool).await;
        let [lync, colleague] = pool.map_err(no(LYNC))?;
        progress.step("two telephones stand for the Lync pool");
        let gateway = match network {
            Network::T1 => None,
            Network::Sip => {
                let gateway = Telephone::start(stage.gateway()?, TrunkId(1), clock(), for_gateway).await;
                let [gateway] = gateway.map_err(no(GATEWAY))?;
                progress.step("another one for the telephone network's gateway");
                Some(gateway)
            }
        };
        let file = stage.file();
        let (config, _) = configuration::load(&file).map_err(Failure::Configuration)?;
        let daemon = Daemon::start(Arc::new(config), file, random.octets()).await?;
        let microsoft = stage.microsoft;
        let (far, gateway) = match gateway {
            Some(gateway) => {
                let trunk = stage.trunk;
                progress
                    .step(&format!("demarc is up: Microsoft side {microsoft} (mutual TLS), gateways {trunk} (TCP)"));
                (GATEWAY, gateway)
            }
            None => {
                progress.step(&format!("demarc is up: Microsoft side {microsoft} (mutual TLS), and a T1"));
                let lent = daemon.exchanges().telephone(LINE, TELEPHONE).map_err(Failure::Exchange)?;
                let gateway = line::plug_in(lent, clock()).await?;
                progress
                    .step("the T1's data link is up, and its timeslots are restarted: a telephone exchange is there");
                (EXCHANGE, gateway)
            }
        };
        Ok(Show { stage, lync, colleague, far, gateway, daemon })
    }

    async fn calls(&mut self, progress: &Progress, random: &mut Random) -> Result<Vec<Outcome>, Failure> {
        let mut speech = |voice| Arc::new(Speech::new(voice, FRAMES, random));
        let [low, high, other] = [speech(Voice::Low), speech(Voice::High), speech(Voice::Low)];
        let part = |says: Option<&Arc<Speech>>, hears: &Arc<Speech>| Part { says: says.cloned(), hears: hears.clone() };
        let (far, lync, gateway) = (self.far, &mut self.lync, &mut self.gateway);
        progress.step("call 1: the Lync side dials +13125556789; the far end will say back what it hears");
        let out = Call {
            names: [LYNC, far],
            secret: [true, false],
            parts: [part(Some(&low), &low), part(None, &low)],
            numbers: ["+14255550100", "+13125556789"],
        };
        let first = out.make([lync, gateway], progress).await?;
        progress.step(&format!("call 2: the {far} dials +14255550100; both ends will speak"));
        let back = Call {
            names: [far, LYNC],
            secret: [false, true],
            parts: [part(Some(&high), &other), part(Some(&other), &high)],
            numbers: ["+13125556789", "+14255550100"],
        };
        let second = back.make([gateway, lync], progress).await?;
        progress.step("call 3: the Lync side dials +13125556789, to transfer the far end, which takes no REFER");
        let transfer = Transfer {
            names: [LYNC, far, COLLEAGUE],
            secret: [true, false, true],
            parts: [part(Some(&low), &high), part(Some(&high), &other), part(Some(&other), &high)],
            numbers: ["+14255550100", "+13125556789", "+14255550177"],
        };
        let third = transfer.make([lync, gateway, &mut self.colleague], progress).await?;
        Ok(vec![first, second, third])
    }

    /// The ladder of each call, first call first; the messages themselves are left to `demarc trace`.
    async fn ladders(&self) -> String {
        let mut ids = self.daemon.observer().ask(Ask::Recent).await.unwrap_or_default();
        ids.reverse();
        let mut text = String::new();
        for id in ids {
            text.push('\n');
            text.push_str(&self.ladder(&id).await);
            text.push('\n');
        }
        text
    }

    /// A ladder, to its end if that comes soon.
    async fn ladder(&self, id: &str) -> String {
        let observer = self.daemon.observer();
        let mut ladder = String::new();
        for _ in 0..20 {
            let ask = |reply| Ask::Ladder { id: id.to_owned(), redact: false, reply };
            let whole = observer.ask(ask).await.flatten().unwrap_or_default();
            ladder = whole.split("\n\n").next().unwrap_or_default().to_owned();
            if ladder.contains("\nended by") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ladder
    }

    /// Stays up until it is interrupted: no call of anybody's is worth a drain.
    async fn stay(self) -> bool {
        print(&whereabouts(&self.stage.file(), self.daemon.web));
        let ran = tokio::select! {
            biased;
            () = interrupted() => return true,
            ran = self.daemon.run() => ran,
        };
        if let Err(fault) = &ran {
            print(&format!("the box ended: {fault}"));
        }
        ran.is_ok()
    }
}

/// Progress on the terminal, each line with the seconds since the start.
struct Progress {
    clock: Clock,
}

impl Progress {
    fn now(&self) -> Instant {
        self.clock.now().mono
    }

    fn step(&self, what: &str) {
        print(&format!("{:6.1} s  {what}", self.now().since_start().as_secs_f64()));
    }
}

fn whereabouts(file: &Path, web: Option<SocketAddr>) -> String {
    let page = web.map_or(String::new(), |web| format!("The web page: http://{web}/\n"));
    let ask = format!("demarc --config {}", file.display());
    format!("{page}To ask the box: {ask} status\n                {ask} trace last\nCtrl-C ends it.")
}

fn print(line: &str) {
    // Nobody listens any more: the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{line}");
}
