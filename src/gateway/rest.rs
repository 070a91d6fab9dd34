//! The REST interface of UX and SBC 1000 and 2000, asked for the state of T1 and E1 ports.
//!
//! 1. POST /rest/login with name and password; the answer's cookie `PHPSESSID` is the session.
//! 2. GET /rest/linecard/CARD/telcods1port/PORT for each port: XML with `rt_PortOperatorStatus` (0 up, 1 down) and
//!    `rt_PortAlarmStatus` (0 normal, 1 yellow, 2 blue, 3 red by LOS, 4 red by LOF, 5 relayed past the gateway).
//! 3. A 401 means that the session has lapsed (10 min without a question): log in anew, once in a round.
//! 4. After a round, rest for the interval; after a fault, longer each time.
//!
//! Nothing but these two requests is ever made.

use std::sync::Arc;
use std::time::Duration;

use super::{LineAlarm, Word, line_words};
use crate::config::{PortOfCard, Rest};
use crate::private::Secret;
use crate::time::Instant;

/// How long an answer is waited for: these boxes are slow.
const WAIT: Duration = Duration::from_secs(15);
/// The first and the longest pause after a fault.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
const COOKIE: &str = "PHPSESSID=";
/// The longest session name that is taken.
const LONGEST_SESSION: usize = 128;

/// Why the interface tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// Not who it should be.
    #[error("its certificate is not accepted: {0}")]
    Untrusted(String),
    /// No answer.
    #[error("it does not answer in time")]
    Silent,
    /// Our own password is not there.
    #[error("RestPasswordFile cannot be read")]
    NoPassword,
    /// It does not know us.
    #[error("it refuses the log-in")]
    Refused,
    /// No such port.
    #[error("it has no port {0}")]
    NoPort(PortOfCard),
    /// It answers, but not what was asked.
    #[error("it answers {0}")]
    Status(u16),
    /// It answers something else.
    #[error("its answer is none that can be read")]
    Nonsense,
}

impl Fault {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Fault::Unreachable(_) => "check Rest and the way to it",
            Fault::Untrusted(_) => "set RestRoots, and write Rest with the name in the certificate",
            Fault::Silent => "look whether the gateway is busy",
            Fault::NoPassword => "write the password into the first line of the file, and let this user read it",
            Fault::Refused => "check RestUser, its access level (REST) and RestPasswordFile",
            Fault::NoPort(_) => "correct RestPorts",
            Fault::Status(_) | Fault::Nonsense => "check that Rest is the REST interface of a UX or SBC 1000 or 2000",
        }
    }

    fn word(&self) -> Word {
        Word::Lost(self.to_string().into(), self.remedy())
    }

    /// Would trying again soon lock the account?
    fn is_lasting(&self) -> bool {
        matches!(self, Fault::Refused | Fault::NoPassword)
    }
}

/// An HTTP answer, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its Set-Cookie headers.
    pub cookies: Vec<String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// The last request was answered.
    Answer(Answer),
    /// It was not.
    Failed(Fault),
    /// A deadline has passed.
    Tick,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// POST /rest/login.
    Login,
    /// GET of a port's state, in this session.
    Port(PortOfCard, Secret<Arc<str>>),
}

impl Request {
    /// The path of its URL.
    pub fn path(&self) -> String {
        match self {
            Request::Login => "/rest/login".to_owned(),
            Request::Port(PortOfCard { card, port }, _) => format!("/rest/linecard/{card}/telcods1port/{port}"),
        }
    }

    /// The value of its Cookie header.
    pub fn cookie(&self) -> Option<String> {
        match self {
            Request::Login => None,
            Request::Port(_, Secret(session)) => Some(format!("{COOKIE}{session}")),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask, and drop what was asked before.
    Ask(Request),
    /// Tell what is known.
    Say(Word),
}

#[derive(Clone, Debug)]
enum State {
    Resting {
        until: Instant,
    },
    /// `port` is the next one to ask for then.
    LoggingIn {
        port: usize,
        until: Instant,
    },
    Asking {
        port: usize,
        until: Instant,
    },
}

/// One gateway's REST interface.
#[derive(Clone, Debug)]
pub struct Poller {
    rest: Rest,
    state: State,
    session: Option<Secret<Arc<str>>>,
    /// Did the log-in happen in this round?
    fresh: bool,
    /// What was wrong with a port in this round, while others could be asked.
    flaw: Option<Fault>,
    pause: Duration,
}

impl Poller {
    /// An interface that is asked at once.
    pub fn new(now: Instant, rest: Rest) -> Poller {
        let state = State::Resting { until: now };
        Poller { rest, state, session: None, fresh: false, flaw: None, pause: AGAIN.0 }
    }

    /// When [`Input::Tick`] is due.
    pub fn timeout(&self) -> Instant {
        match self.state {
            State::Resting { until } | State::LoggingIn { until, .. } | State::Asking { until, .. } => until,
        }
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        match (input, &self.state) {
            (Input::Tick, _) if now < self.timeout() => {}
            (Input::Tick, State::Resting { .. }) => {
                (self.fresh, self.flaw) = (false, None);
                self.ask(now, 0, out);
            }
            (Input::Tick, _) => self.fail(now, Fault::Silent, out),
            // Nothing is out: a late word of what was given up.
            (_, State::Resting { .. }) => {}
            (Input::Failed(fault), _) => self.fail(now, fault, out),
            (Input::Answer(answer), &State::LoggingIn { port, .. }) => self.logged_in(now, port, &answer, out),
            (Input::Answer(answer), &State::Asking { port, .. }) => self.answered(now, port, &answer, out),
        }
    }

    fn ask(&mut self, now: Instant, port: usize, out: &mut Vec<Output>) {
        let until = now + WAIT;
        match (self.rest.ports.get(port), self.session.clone()) {
            (None, _) => self.rest_after_round(now, out),
            (Some(asked), Some(session)) => {
                out.push(Output::Ask(Request::Port(*asked, session)));
                self.state = State::Asking { port, until };
            }
            (Some(_), None) if self.fresh => self.fail(now, Fault::Refused, out),
            (Some(_), None) => {
                self.fresh = true;
                out.push(Output::Ask(Request::Login));
                self.state = State::LoggingIn { port, until };
            }
        }
    }

    fn rest_after_round(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.pause = AGAIN.0;
        self.state = State::Resting { until: now + self.rest.interval };
        out.push(Output::Say(self.flaw.take().map_or(Word::Heard, |flaw| flaw.word())));
    }

    fn fail(&mut self, now: Instant, fault: Fault, out: &mut Vec<Output>) {
        let pause = if fault.is_lasting() { AGAIN.1 } else { self.pause };
        (self.pause, self.session) = ((self.pause * 2).min(AGAIN.1), None);
        self.state = State::Resting { until: now + pause };
        out.push(Output::Say(fault.word()));
    }

    fn logged_in(&mut self, now: Instant, port: usize, answer: &Answer, out: &mut Vec<Output>) {
        match (status(answer), session(&answer.cookies)) {
            (200, Some(session)) => {
                self.session = Some(session);
                self.ask(now, port, out);
            }
            (200, None) => self.fail(now, Fault::Nonsense, out),
            (401 | 403, _) => self.fail(now, Fault::Refused, out),
            (other, _) => self.fail(now, Fault::Status(other), out),
        }
    }

    fn answered(&mut self, now: Instant, port: usize, answer: &Answer, out: &mut Vec<Output>) {
        let Some(asked) = self.rest.ports.get(port).copied() else { return };
        match status(answer) {
            401 => {
                self.session = None;
                return self.ask(now, port, out);
            }
            200 => match port_state(&answer.body) {
                Some((down, alarm)) => out.extend(words(asked, down, alarm).map(Output::Say)),
                None => self.flaw = Some(Fault::Nonsense),
            },
            404 => self.flaw = Some(Fault::NoPort(asked)),
            other => self.flaw = Some(Fault::Status(other)),
        }
        self.ask(now, port + 1, out);
    }
}

/// The status of HTTP, or the one in the XML where that says otherwise: some answers are 200 outside and 401 inside.
fn status(answer: &Answer) -> u16 {
    let inside = std::str::from_utf8(&answer.body).ok().and_then(|text| number_of(text, "http_code"));
    match inside.and_then(|code| u16::try_from(code).ok()) {
        Some(code) if answer.status == 200 => code,
        _ => answer.status,
    }
}

/// The session that a Set-Cookie begins; only what may stand in a header goes back.
fn session(cookies: &[String]) -> Option<Secret<Arc<str>>> {
    let value = cookies.iter().find_map(|cookie| cookie.trim_start().strip_prefix(COOKIE))?;
    let value = value.split(';').next().unwrap_or_default().trim();
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b',' | b'-' | b'_'));
    (plain && !value.is_empty() && value.len() <= LONGEST_SESSION).then(|| Secret(value.into()))
}

/// Is the port down, and the number of its alarm.
fn port_state(body: &[u8]) -> Option<(bool, u32)> {
    let text = std::str::from_utf8(body).ok()?;
    Some((number_of(text, "rt_PortOperatorStatus")? != 0, number_of(text, "rt_PortAlarmStatus")?))
}

/// The number in the first element of this name. A document with a DTD is refused, so no entity can swell.
fn number_of(text: &str, name: &str) -> Option<u32> {
    let document = roxmltree::Document::parse(text).ok()?;
    let element = document.descendants().find(|node| node.tag_name().name() == name);
    element.and_then(|element| element.text()).and_then(|text| text.trim().parse().ok())
}

fn words(port: PortOfCard, down: bool, alarm: u32) -> impl Iterator<Item = Word> {
    line_words(&port.to_string(), move |kind| match kind {
        LineAlarm::Rai => alarm == 1,
        LineAlarm::Ais => alarm == 2,
        LineAlarm::Los => alarm == 3,
        LineAlarm::Lof => alarm == 4,
        // Where no alarm says why; a port that is relayed past the gateway takes no calls either.
        LineAlarm::Down => alarm >= 5 || (alarm == 0 && down),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostPort;
    use crate::private::Private;

    fn rest() -> Rest {
        Rest {
            host: HostPort { host: "192.0.2.20".into(), port: None },
            user: Private("demarc".into()),
            password: "/pw".into(),
            roots: None,
            ports: vec![PortOfCard { card: 1, port: 1 }, PortOfCard { card: 1, port: 2 }],
            interval: Duration::from_secs(60),
        }
    }

    struct Ladder {
        poller: Poller,
        now: Instant,
        said: Vec<Output>,
    }

    impl Ladder {
        fn new() -> Ladder {
            Ladder { poller: Poller::new(Instant::START, rest()), now: Instant::START, said: Vec::new() }
        }

        /// Lets time pass to the next deadline; how many seconds it was.
        fn waits(&mut self) -> u64 {
            let before = self.now;
            self.now = self.poller.timeout();
            self.input(Input::Tick);
            self.now.since(before).as_secs()
        }

        fn input(&mut self, input: Input) {
            self.poller.handle(self.now, input, &mut self.said);
        }

        #[track_caller]
        fn said(&mut self, expected: &str) {
            let shown = self.said.drain(..).filter_map(|output| match output {
                Output::Ask(request) => {
                    Some(format!("{}{}", request.path(), request.cookie().map_or(String::new(), |c| format!(" {c}"))))
                }
                Output::Say(Word::Heard) => Some("heard".to_owned()),
                Output::Say(Word::Lost(why, _)) => Some(format!("lost: {}", why.split(':').next().unwrap())),
                Output::Say(Word::Alarm(subject, true)) => Some(format!("{subject}")),
                Output::Say(Word::Alarm(..) | Word::Anew) => None,
            });
            assert_eq!(shown.collect::<Vec<_>>().join(", "), expected);
        }

        fn answer(&mut self, status: u16, cookie: &str, body: &str) {
            let cookies = vec!["lang=en".to_owned(), cookie.to_owned()];
            self.input(Input::Answer(Answer { status, cookies, body: body.into() }));
        }

        fn port(&mut self, down: u8, alarm: u8) {
            let body = format!(
                "<?xml version=\"1.0\"?><root><status><http_code>200</http_code></status><telcods1port id=\"1\" \
                 href=\"x\"><rt_PortOperatorStatus>{down}</rt_PortOperatorStatus><rt_PortAlarmStatus>{alarm}\
                 </rt_PortAlarmStatus></telcods1port></root>"
            );
            self.answer(200, "", &body);
        }

        #[track_caller]
        fn logged_in() -> Ladder {
            let mut ladder = Ladder::new();
            assert_eq!(ladder.waits(), 0);
            ladder.said("/rest/login");
            ladder.answer(
                200,
                "PHPSESSID=a1b2; path=/; secure",
                "<root><status><http_code>200</http_code></status></root>",
            );
            ladder.said("/rest/linecard/1/telcods1port/1 PHPSESSID=a1b2");
            ladder
        }
    }

    #[test]
    fn a_round_logs_in_and_asks_for_each_port() {
        let mut ladder = Ladder::logged_in();
        ladder.port(1, 3);
        ladder.said("line 1:1 LOS, /rest/linecard/1/telcods1port/2 PHPSESSID=a1b2");
        ladder.port(0, 0);
        ladder.said("heard");
        assert_eq!(ladder.waits(), 60);
        ladder.said("/rest/linecard/1/telcods1port/1 PHPSESSID=a1b2");
    }

    #[test]
    fn states_become_alarms() {
        for (down, alarm, line) in [
            (0, 0, ""),
            (0, 1, "RAI"),
            (1, 2, "AIS"),
            (1, 3, "LOS"),
            (1, 4, "LOF"),
            (0, 5, "down"),
            (1, 0, "down"),
            (0, 9, "down"),
        ] {
            let mut ladder = Ladder::logged_in();
            ladder.port(down, alarm);
            let named = if line.is_empty() { String::new() } else { format!("line 1:1 {line}, ") };
            ladder.said(&format!("{named}/rest/linecard/1/telcods1port/2 PHPSESSID=a1b2"));
        }
    }

    #[test]
    fn a_lapsed_session_is_begun_anew_once() {
        let mut ladder = Ladder::logged_in();
        (0..2).for_each(|_| ladder.port(0, 0));
        ladder.said("/rest/linecard/1/telcods1port/2 PHPSESSID=a1b2, heard");
        ladder.waits();
        ladder.said("/rest/linecard/1/telcods1port/1 PHPSESSID=a1b2");
        ladder.answer(401, "", "");
        ladder.said("/rest/login");
        ladder.answer(200, "PHPSESSID=c3", "");
        ladder.said("/rest/linecard/1/telcods1port/1 PHPSESSID=c3");
        ladder.answer(200, "", "<root><status><http_code>401</http_code></status></root>");
        ladder.said("lost: it refuses the log-in");
        assert_eq!(ladder.waits(), 300, "an account must not be locked");
    }

    #[test]
    fn a_wrong_password_is_not_tried_again_soon() {
        for (status, body) in [(401, ""), (403, ""), (200, "<r><http_code>401</http_code></r>")] {
            let mut ladder = Ladder::new();
            ladder.waits();
            ladder.answer(status, "PHPSESSID=x", body);
            ladder.said("/rest/login, lost: it refuses the log-in");
            assert_eq!(ladder.waits(), 300);
        }
    }

    #[test]
    fn a_session_that_could_forge_a_header_is_none() {
        for cookie in [
            "PHPSESSID=a\r\nX: y",
            "PHPSESSID=",
            "PHPSESSID=a b",
            "SESSION=a",
            &format!("PHPSESSID={}", "a".repeat(129)),
        ] {
            let mut ladder = Ladder::new();
            ladder.waits();
            ladder.answer(200, cookie, "");
            ladder.said("/rest/login, lost: its answer is none that can be read");
        }
    }

    #[test]
    fn one_bad_port_keeps_no_other_from_being_asked() {
        let nonsense = [
            "",
            "<",
            "<a/>",
            "no xml",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<rt_PortOperatorStatus>up</rt_PortOperatorStatus>",
        ];
        let cases = nonsense.map(|body| (200, body, "its answer is none that can be read"));
        for (status, body, why) in cases.into_iter().chain([(404, "", "it has no port 1"), (500, "", "it answers 500")])
        {
            let mut ladder = Ladder::logged_in();
            ladder.answer(status, "", body);
            ladder.said("/rest/linecard/1/telcods1port/2 PHPSESSID=a1b2");
            ladder.port(0, 4);
            ladder.said(&format!("line 1:2 LOF, lost: {why}"));
            assert_eq!(ladder.waits(), 60);
        }
    }

    #[test]
    fn who_does_not_answer_is_asked_ever_more_rarely() {
        let mut ladder = Ladder::new();
        ladder.waits();
        for pause in [10, 20, 40, 80, 160, 300, 300] {
            ladder.said("/rest/login");
            assert_eq!(ladder.waits(), 15);
            ladder.said("lost: it does not answer in time");
            ladder.answer(200, "PHPSESSID=late", "");
            ladder.said("");
            assert_eq!(ladder.waits(), pause);
        }
        ladder.input(Input::Failed(Fault::Unreachable("refused".into())));
        ladder.said("/rest/login, lost: it cannot be reached");
    }

    #[test]
    fn no_answer_panics() {
        bolero::check!().with_type::<Vec<(u16, Vec<u8>)>>().for_each(|answers| {
            let mut ladder = Ladder::logged_in();
            for (status, body) in answers {
                let cookies = vec![String::from_utf8_lossy(body).into_owned()];
                ladder.input(Input::Answer(Answer { status: 200 + status % 300, cookies, body: body.clone() }));
                if status % 3 == 0 {
                    ladder.waits();
                }
            }
        });
    }
}
