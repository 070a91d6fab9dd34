//! Ladders in virtual time: servers that are right, wrong, silent or hostile, and a system's clock that is off, jumps
//! or drifts.

use super::source::Fault;
use super::*;
use crate::config::HostPort;

const TO_1900: i64 = 2_208_988_800;

/// What a server does with a query.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Honest,
    Silent,
    Unreachable,
    Unsynchronised,
    WrongOrigin,
    /// Answers every query with its first answer.
    Replay,
    Kiss(&'static [u8; 4]),
    NoTransmit,
    /// Root dispersion in seconds.
    Far(u16),
    Client,
}

/// A server in the world.
#[derive(Clone)]
struct Server {
    manner: Manner,
    /// Its time minus true time, milliseconds.
    ahead: i64,
    /// The way out and the way back, milliseconds.
    path: (u64, u64),
    first: Option<[u8; 48]>,
    queries: Vec<Duration>,
}

fn server(manner: Manner, ahead: i64) -> Server {
    Server { manner, ahead, path: (1, 1), first: None, queries: Vec::new() }
}

fn honest(ahead: i64) -> Server {
    server(Manner::Honest, ahead)
}

/// Time, servers, and the box between them.
struct World {
    raw: Duration,
    /// The system's clock minus true time, milliseconds, and what it gains, ppm.
    system: (i64, i64),
    /// What the raw clock gains on true time, ppm; a sleep of the machine, which it does not count.
    raw_ppm: i64,
    slept: Duration,
    /// What the monotonic clock has gained on the raw one: who slews the system's clock bends it too.
    bent: Duration,
    /// The kernel: what the system's clock has gained by order, and what it shall still gain.
    slew: (SignedDuration, SignedDuration),
    servers: Vec<Server>,
    keeper: Timekeeper,
    random: Random,
    /// Packets on their way: when they come, which server's, when the query left.
    packets: Vec<(Duration, usize, Duration, [u8; 48])>,
    said: Vec<String>,
}

impl World {
    fn new(system: (i64, i64), servers: &[Server]) -> World {
        let name = |n| HostPort { host: format!("time{n}"), port: None };
        let settings = config::Clock {
            servers: (1..=servers.len()).map(name).collect(),
            max_ahead: Duration::from_secs(1),
            max_behind: Duration::from_secs(60),
            discipline: false,
        };
        let mut world = World {
            raw: Duration::ZERO,
            system,
            raw_ppm: 0,
            slept: Duration::ZERO,
            bent: Duration::ZERO,
            slew: (SignedDuration::ZERO, SignedDuration::ZERO),
            servers: servers.to_vec(),
            keeper: Timekeeper::new(
                Reading { mono: Instant::START, raw: Duration::ZERO, system: Timestamp::UNIX_EPOCH },
                settings,
            ),
            random: Random::test(7),
            packets: Vec::new(),
            said: Vec::new(),
        };
        world.keeper.looked = world.reading();
        world.step(Input::Tick);
        world
    }

    /// True time since 1970.
    fn truth(&self) -> SignedDuration {
        let mono = SignedDuration::try_from(self.raw + self.slept).unwrap();
        let gain = i64::try_from(self.raw.as_nanos()).unwrap() / 1_000_000 * self.raw_ppm;
        SignedDuration::from_secs(1_795_215_600) + mono - SignedDuration::from_nanos(gain)
    }

    fn reading(&self) -> Reading {
        let gain = i64::try_from(self.raw.as_nanos()).unwrap() / 1_000_000 * self.system.1;
        let ahead = SignedDuration::from_millis(self.system.0) + self.slew.0 + SignedDuration::from_nanos(gain);
        let system = Timestamp::from_duration(self.truth() + ahead).unwrap();
        Reading { mono: Instant::at(self.raw + self.bent), raw: self.raw, system }
    }

    fn run(&mut self, seconds: u64) {
        let end = self.raw + Duration::from_secs(seconds);
        loop {
            self.packets.sort_by_key(|packet| packet.0);
            let packet = self.packets.first().map(|packet| packet.0);
            let due = self.keeper.timeout().map_or(end, |due| due.since_start().saturating_sub(self.bent));
            let next = packet.unwrap_or(end).min(due);
            self.pass(next.min(end));
            if next >= end {
                return;
            }
            if packet == Some(next) {
                let (_, server, sent, packet) = self.packets.remove(0);
                let received = self.raw;
                self.step(Input::Answer { server, sent, received, packet: &packet });
            } else {
                self.step(Input::Tick);
            }
        }
    }

    /// Time passes; the kernel slews by at most 500 ppm.
    fn pass(&mut self, until: Duration) {
        let until = until.max(self.raw);
        let most = SignedDuration::try_from(until - self.raw).unwrap() / 2000;
        let gain = self.slew.1.clamp(-most, most);
        self.slew = (self.slew.0 + gain, self.slew.1 - gain);
        self.raw = until;
    }

    fn step(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        self.keeper.handle(self.reading(), input, &mut self.random, &mut out);
        for output in out {
            match output {
                Output::Query { server, nonce, packet, .. } => self.asked(server, nonce, &packet),
                Output::Slew(gain) => self.slew.1 = gain,
                Output::Report(report) => self.said.push(format!("{} {}", self.raw.as_secs(), word(&report))),
            }
        }
    }

    fn asked(&mut self, n: usize, nonce: u64, query: &[u8; 48]) {
        assert_eq!(query[40..], nonce.to_be_bytes());
        let truth = self.truth();
        let server = &mut self.servers[n];
        server.queries.push(self.raw);
        let (there, back) = (Duration::from_millis(server.path.0), Duration::from_millis(server.path.1));
        let at = truth + SignedDuration::from_millis(server.ahead) + SignedDuration::try_from(there).unwrap();
        let fraction = ((at.subsec_nanos() as u64) << 32) / 1_000_000_000;
        let stamp = ((at.as_secs() + TO_1900) as u64) << 32 | fraction;
        let mut answer = [0; 48];
        (answer[0], answer[1], answer[3]) = (0x24, 2, 0xe9);
        answer[24..32].copy_from_slice(&nonce.to_be_bytes());
        answer[32..40].copy_from_slice(&stamp.to_be_bytes());
        answer[40..48].copy_from_slice(&stamp.to_be_bytes());
        match server.manner {
            Manner::Honest => {}
            Manner::Silent => return,
            Manner::Unreachable => return self.step(Input::Unsent { server: n, nonce }),
            Manner::Unsynchronised => (answer[0], answer[1]) = (0xe4, 0),
            Manner::WrongOrigin => answer[31] ^= 1,
            Manner::Replay => answer = *server.first.get_or_insert(answer),
            Manner::Kiss(code) => {
                (answer[0], answer[1]) = (0xe4, 0);
                answer[12..16].copy_from_slice(code);
            }
            Manner::NoTransmit => answer[40..48].fill(0),
            Manner::Far(seconds) => answer[8..10].copy_from_slice(&seconds.to_be_bytes()),
            Manner::Client => answer[0] = 0x23,
        }
        self.packets.push((self.raw + there + back, n, self.raw, answer));
    }

    /// How wrong a corrected reading is, milliseconds; `None` while readings are not corrected.
    fn off(&self) -> Option<f64> {
        let truth = self.keeper.truth()?;
        let off = truth.wall(self.raw).as_duration() - self.truth();
        assert!(off.unsigned_abs() <= truth.error(self.raw), "the error is honest");
        Some(off.as_secs_f64() * 1000.0)
    }

    #[track_caller]
    fn is_right(&self) {
        let off = self.off().expect("the true time is known");
        assert!(off.abs() < 6.0, "off by {off} ms");
    }

    fn fault(&self, n: usize) -> Option<Fault> {
        self.keeper.sources[n].fault()
    }

    fn queries(&self, n: usize) -> usize {
        self.servers[n].queries.len()
    }
}

fn word(report: &Report) -> String {
    match report {
        Report::Known { offset, servers, .. } => format!("known: {} {servers}", concern::apart(*offset)),
        Report::Stepped(by) => format!("stepped: {} before", concern::apart(*by)),
        Report::Raised(concern) => format!("raised: {}", short(concern)),
        Report::Cleared(concern) => format!("cleared: {}", short(concern)),
    }
}

fn short(concern: &Concern) -> String {
    match concern {
        Concern::Off { offset, servers } => format!("{} {servers}", concern::apart(*offset)),
        Concern::Drift { ppm, after } => format!("{ppm:.0} ppm, {} min", after.as_secs() / 60),
        Concern::Fading { doubt, left } => format!("{doubt:?}, {} min left", left.as_secs() / 60),
        Concern::Unknown(doubt) => format!("{doubt:?}"),
        Concern::Unsteered(hindrance) => format!("{hindrance:?}"),
        Concern::Falseticker { server, ahead } => format!("{server} {}", concern::apart(*ahead)),
    }
}

#[test]
fn thirty_seconds_ahead_is_noticed_named_and_corrected() {
    let mut world = World::new((30_000, 0), &[honest(0), honest(2), honest(-3)]);
    world.run(1);
    assert_eq!(world.said, ["0 known: 30.0 s ahead of 3", "0 raised: 30.0 s ahead of 3"]);
    world.run(3600);
    world.is_right();
    assert_eq!(world.said.len(), 2);
    let standing = world.keeper.standing();
    assert!((standing.offset_seconds.unwrap() - 30.0).abs() < 0.006);
    assert!(
        standing.concerns[0].concern.to_string().starts_with("we are 30.0 s ahead of 3 servers: transfers signed here")
    );
}

#[test]
fn a_server_is_asked_in_a_burst_then_ever_less_often() {
    let mut world = World::new((0, 0), &[honest(0)]);
    world.run(7);
    assert_eq!(world.servers[0].queries, [0, 2, 4, 6].map(Duration::from_secs));
    world.run(6 * 3600);
    let pauses: Vec<u64> = world.servers[0].queries.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(pauses[3..6].iter().all(|pause| (60..=68).contains(pause)), "{pauses:?}");
    assert!(pauses[40..].iter().all(|pause| (240..=272).contains(pause)), "{pauses:?}");
    world.is_right();
}

#[test]
fn one_falseticker_is_outvoted_and_named() {
    let mut world = World::new((0, 0), &[honest(0), honest(30_000), honest(1)]);
    world.run(60);
    assert_eq!(world.said, ["0 known: 0 ms behind 2", "0 raised: time2 30.0 s ahead of"]);
    world.is_right();
}

#[test]
fn without_a_majority_readings_stay_the_systems() {
    let mut world = World::new((250, 0), &[honest(0), honest(30_000), honest(-120_000)]);
    world.run(60);
    assert_eq!(world.said, ["0 raised: NoMajority(3)"]);
    assert_eq!(world.off(), None);
    // One of the liars is set right.
    world.servers[1].ahead = 0;
    world.run(200);
    assert_eq!(
        world.said[1..],
        ["73 known: 250 ms ahead of 2", "73 cleared: NoMajority(3)", "73 raised: time3 120.0 s behind"]
    );
    world.is_right();
}

#[test]
fn a_majority_of_falsetickers_cannot_be_told_from_the_truth() {
    let mut world = World::new((0, 0), &[honest(0), honest(30_000), honest(30_001)]);
    world.run(10);
    assert_eq!(world.said[0], "0 known: 30.0 s behind 2");
    assert_eq!(world.said[1..], ["0 raised: time1 30.0 s behind"], "behind is allowed for a minute");
}

#[test]
fn what_does_not_know_the_time_is_not_believed() {
    for (manner, fault) in [
        (Manner::Silent, Fault::Silent),
        (Manner::Unreachable, Fault::Unreachable),
        (Manner::Unsynchronised, Fault::Unsynchronised),
        (Manner::WrongOrigin, Fault::Forged),
        (Manner::Kiss(b"DENY"), Fault::Denied),
        (Manner::Kiss(b"INIT"), Fault::Unsynchronised),
        (Manner::NoTransmit, Fault::Impossible),
        (Manner::Far(2), Fault::Far),
        (Manner::Client, Fault::NotNtp(ntp::NotNtp::Mode(3))),
    ] {
        let mut alone = World::new((30_000, 0), &[server(manner, 0)]);
        alone.run(30);
        assert_eq!((alone.fault(0), alone.off()), (Some(fault), None), "{fault:?}");
        assert_eq!(alone.said.len(), 1, "{:?}", alone.said);
        assert!(alone.said[0].ends_with("raised: Silence"), "{:?}", alone.said);
        // Beside one that does it changes nothing, and the first verdict comes in time.
        let mut pair = World::new((30_000, 0), &[honest(0), server(manner, -120_000)]);
        pair.run(15);
        assert!(pair.said[0].ends_with("known: 30.0 s ahead of 1"), "{:?}", pair.said);
        pair.is_right();
    }
}

#[test]
fn a_replayed_answer_counts_once() {
    let mut world = World::new((0, 0), &[server(Manner::Replay, 0)]);
    world.run(600);
    assert_eq!(world.keeper.sources[0].reach().count_ones(), 0);
    assert_eq!(world.fault(0), Some(Fault::Forged));
    // The first one was good; what it said grows old, but an hour of wandering is less than is allowed.
    world.is_right();
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let mut world = World::new((0, 0), &[honest(0)]);
    let packet = world.packets[0];
    world.packets.push(packet);
    world.run(1);
    assert_eq!(world.keeper.sources[0].reach(), 1);
    assert_eq!(world.fault(0), None);
}

#[test]
fn a_kiss_is_obeyed() {
    let mut world = World::new((0, 0), &[server(Manner::Kiss(b"DENY"), 0), server(Manner::Kiss(b"RATE"), 0)]);
    world.run(3600);
    assert_eq!(world.queries(0), 1);
    world.step(Input::Settings(world.keeper.settings.clone()));
    assert_eq!(world.queries(0), 2, "a reload asks once more");
    assert!(world.queries(1) < 3600 / 128, "{}", world.queries(1));
    assert_eq!(world.fault(1), Some(Fault::Rate));
}

#[test]
fn a_silent_server_is_asked_less_often_and_greeted_with_a_burst() {
    let mut world = World::new((0, 0), &[server(Manner::Silent, 0)]);
    world.run(3600);
    assert!((50..75).contains(&world.queries(0)), "{}", world.queries(0));
    world.servers[0].manner = Manner::Honest;
    let before = world.queries(0);
    world.run(80);
    assert_eq!(world.queries(0) - before, 4);
    world.is_right();
}

#[test]
fn a_step_leaves_readings_alone_and_is_confirmed() {
    let mut world = World::new((0, 0), &[honest(0), honest(0), honest(0)]);
    world.run(100);
    let asked = world.queries(0);
    world.system.0 = 30_000;
    world.is_right();
    world.run(10);
    world.is_right();
    assert!(world.queries(0) >= asked + 4);
    assert_eq!(world.said[1..], ["100 stepped: 30.0 s ahead of before", "100 raised: 30.0 s ahead of 3"]);
    world.system.0 = 0;
    world.run(60);
    assert_eq!(world.said[3..], ["110 stepped: 30.0 s behind before", "110 cleared: 30.0 s ahead of 3"]);
    world.is_right();
}

#[test]
fn a_slew_by_somebody_else_leaves_readings_alone() {
    let mut world = World::new((-900, 0), &[honest(0)]);
    world.run(10);
    // As chrony does it: a twelfth faster until the system's clock is right.
    for _ in 0..11 {
        world.run(1);
        world.system.0 += 82;
        world.bent += Duration::from_millis(82);
        world.is_right();
    }
    assert_eq!(world.said, ["0 known: 900 ms behind 1"], "no step, no alarm");
    world.run(3600);
    world.is_right();
}

#[test]
fn after_a_sleep_the_servers_say_what_time_it_is() {
    let mut world = World::new((0, 0), &[honest(0), honest(0)]);
    world.run(100);
    world.slept = Duration::from_secs(600);
    world.run(5);
    world.is_right();
    assert!(world.said[1].starts_with("100 stepped: 600.0 s ahead"), "{:?}", world.said);
}

#[test]
fn a_step_that_nobody_explains_ends_the_trust() {
    let mut world = World::new((0, 0), &[honest(0)]);
    world.run(100);
    world.servers[0].manner = Manner::Silent;
    world.system.0 = 5_000;
    world.run(20);
    world.is_right();
    world.run(20);
    assert_eq!(world.off(), None);
    assert_eq!(world.said.last().unwrap(), "131 raised: Stepped");
    world.servers[0].manner = Manner::Honest;
    world.run(80);
    world.is_right();
}

#[test]
fn without_answers_the_last_truth_serves_while_it_is_good_enough() {
    let mut world = World::new((0, 0), &[honest(0), honest(0), honest(0)]);
    world.raw_ppm = 40;
    world.run(1000);
    world.servers.iter_mut().for_each(|server| server.manner = Manner::Silent);
    world.run(2 * 3600);
    assert!(world.off().unwrap().abs() > 200.0, "it is off by now, and says so");
    assert_eq!(world.said.len(), 2, "{:?}", world.said);
    assert!(world.said[1].contains("raised: Silence, 3"), "{:?}", world.said);
    world.run(5 * 3600);
    assert_eq!(world.off(), None);
    assert!(
        world.said[2].contains("cleared: Silence, 0 min") && world.said[3].contains("raised: Silence"),
        "{:?}",
        world.said
    );
    world.servers.iter_mut().for_each(|server| server.manner = Manner::Honest);
    world.run(80);
    world.is_right();
}

#[test]
fn a_drift_is_measured_and_told_before_it_hurts() {
    let mut world = World::new((0, 500), &[honest(0), honest(0), honest(0)]);
    world.run(30);
    world.is_right();
    assert!((world.keeper.drift().unwrap() - 500.0).abs() < 5.0);
    assert!(world.said[1].contains("raised: 500 ppm, 33 min"), "{:?}", world.said);
    world.run(3600);
    assert!(
        world.said[2].contains("cleared: 500 ppm") && world.said[3].contains("raised: 1.0 s ahead"),
        "{:?}",
        world.said
    );
    world.is_right();
}

const FREE: Kernel =
    Kernel { synchronised: false, max_error_seconds: 16.0, frequency_ppm: 0.0, keeper: None, settable: true };

/// A world that shall discipline its clock.
fn disciplined(system: (i64, i64), kernel: Option<Kernel>) -> World {
    let mut world = World::new(system, &[honest(0), honest(0), honest(0)]);
    world.step(Input::Settings(config::Clock { discipline: true, ..world.keeper.settings.clone() }));
    world.step(Input::Kernel(kernel));
    world
}

#[test]
fn discipline_brings_the_clock_home_slowly_and_keeps_it_there() {
    let mut world = disciplined((2_000, 40), Some(FREE));
    world.run(600);
    // 2 s and 40 ppm ahead: 500 ppm slower for ten minutes.
    let left = world.reading().system.as_duration() - world.truth();
    assert!((left.as_secs_f64() - 1.724).abs() < 0.01, "{left}");
    world.run(2 * 3600);
    for _ in 0..60 {
        world.run(60);
        let off = world.reading().system.as_duration() - world.truth();
        assert!(off.abs() < SignedDuration::from_millis(8), "{off}");
        world.is_right();
    }
    assert_eq!(world.said[1..], ["0 raised: 2.0 s ahead of 3", "2609 cleared: 800 ms ahead of 3"]);
}

#[test]
fn discipline_keeps_its_hands_off_where_it_must() {
    use super::discipline::Hindrance;
    let chrony = Kernel { synchronised: true, keeper: Some("chronyd"), ..FREE };
    for (system, kernel, hindrance) in [
        (2_000, Some(chrony), Hindrance::Keeper("chronyd")),
        (2_000, Some(Kernel { keeper: None, ..chrony }), Hindrance::Keeper("another program")),
        (2_000, None, Hindrance::Unknown),
        (30_000, Some(FREE), Hindrance::Far),
        (2_000, Some(Kernel { settable: false, ..FREE }), Hindrance::Forbidden),
    ] {
        let mut world = disciplined((system, 0), kernel);
        world.run(3600);
        assert_eq!((world.slew.0, world.keeper.hindrance), (SignedDuration::ZERO, Some(hindrance)));
        assert!(world.said.iter().any(|said| said.ends_with(&format!("raised: {hindrance:?}"))), "{:?}", world.said);
    }
    let mut world = disciplined((2_000, 0), Some(FREE));
    world.run(5);
    world.step(Input::Forbidden);
    world.slew.1 = SignedDuration::ZERO;
    world.run(3600);
    assert_eq!((world.slew.1, world.keeper.hindrance), (SignedDuration::ZERO, Some(Hindrance::Forbidden)));
    // The kernel's first word may come after the servers': no alarm until then.
    let mut world = World::new((2_000, 0), &[honest(0)]);
    world.step(Input::Settings(config::Clock { discipline: true, ..world.keeper.settings.clone() }));
    world.run(60);
    assert_eq!((world.slew.0, world.keeper.hindrance), (SignedDuration::ZERO, None));
    // Nobody steers by a time that is not known.
    let mut world = World::new((2_000, 0), &[honest(0), honest(30_000)]);
    world.step(Input::Settings(config::Clock { discipline: true, ..world.keeper.settings.clone() }));
    world.step(Input::Kernel(Some(FREE)));
    world.run(3600);
    assert_eq!(world.slew.0, SignedDuration::ZERO);
}

#[test]
fn a_crystal_that_wanders_is_followed() {
    let mut world = World::new((0, 0), &[honest(0), honest(0), honest(0)]);
    world.raw_ppm = 40;
    for _ in 0..200 {
        world.run(60);
        assert!(world.off().unwrap().abs() < 15.0, "{:?}", world.off());
    }
    // The system's clock runs with the truth here, and gains nothing.
    assert!(world.keeper.drift().unwrap().abs() < 8.0, "{:?}", world.keeper.drift());
}

#[test]
fn a_path_that_is_slow_one_way_widens_the_error() {
    let mut slow = honest(0);
    slow.path = (200, 0);
    let mut world = World::new((0, 0), &[slow]);
    world.run(10);
    assert!((world.off().unwrap() - 100.0).abs() < 1.0, "half of the difference is invisible, and within the error");
    let mut world = World::new((0, 0), &[honest(0)]);
    world.run(3);
    world.servers[0].path = (300, 0);
    world.run(300);
    world.is_right();
}

#[test]
fn other_servers_take_over_at_once() {
    let mut world = World::new((30_000, 0), &[honest(0), honest(0)]);
    world.run(10);
    let keep = world.keeper.settings.servers[0].clone();
    let new = HostPort { host: "time9".into(), port: Some(1123) };
    world.step(Input::Settings(config::Clock { servers: vec![keep, new], ..world.keeper.settings.clone() }));
    world.run(5);
    let names: Vec<String> = world.keeper.standing().servers.iter().map(|server| server.name.clone()).collect();
    assert_eq!(names, ["time1", "time9:1123"]);
    assert!(world.keeper.standing().servers.iter().all(|server| server.believed));
    assert_eq!(world.said.len(), 2, "{:?}", world.said);
    // Without servers nobody vouches for the time any more, and nothing is alarming.
    world.step(Input::Settings(config::Clock { servers: Vec::new(), ..world.keeper.settings.clone() }));
    assert_eq!((world.keeper.trust, world.off()), (Trust::None, None));
    assert!(world.said[2].starts_with("15 cleared"), "{:?}", world.said);
}

#[test]
fn any_mixture_of_servers_leaves_the_error_honest() {
    bolero::check!().with_iterations(200).with_type::<(i16, i8, Vec<(u8, u8, u8)>)>().for_each(
        |(system, ppm, servers)| {
            let server = |(manner, there, back): &(u8, u8, u8)| {
                let manner = match manner % 8 {
                    0 => Manner::Silent,
                    1 => Manner::Unsynchronised,
                    2 => Manner::Replay,
                    3 => Manner::Kiss(b"RATE"),
                    _ => Manner::Honest,
                };
                Server { path: (u64::from(*there), u64::from(*back)), ..server(manner, 0) }
            };
            let servers: Vec<Server> = servers.iter().take(5).map(server).collect();
            let mut world = World::new((i64::from(*system) * 10, i64::from(*ppm) * 4), &servers);
            for _ in 0..20 {
                world.run(30);
                let _ = world.off();
            }
        },
    );
}
