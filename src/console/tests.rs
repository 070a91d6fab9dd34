//! Ladders between a script and a console, in virtual time.

use std::collections::HashSet;

use super::*;
use crate::config::{self, Severity};

const SCRIPT: &str = "Prompt=^vx[>#]$\nMore=^--More--$\nLogin user=login:$ => operator\n\
                      Login password=assword:$ => ${file:/vx.password}\nCommand ds1=show ds1\nCommand fans=show fans\n\
                      Alarm T1-1 LOS=^1 .*LOS\nAlarm Fan=FAILED\nClear Fan=OK";

fn script(lines: &str) -> Arc<Script> {
    let ini = format!(
        "[Lync]\nFqdn=ms1.contoso.com\nNextHop=pool01.contoso.com:5061\n[Media]\nAddress=192.0.2.10\n[Gateway1]\n\
         IP=192.0.2.20\nKind=vx1200\nConsole=/dev/ttyS0\nConsoleScript=Vx\n[Console Vx]\n{lines}\n"
    );
    let report = config::check(ini.as_bytes(), "test.ini");
    let errors: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    report.config.unwrap().gateways()[0].voices.console.clone().unwrap().script.unwrap()
}

/// A console's side of the ladder.
struct Ladder {
    dialogue: Dialogue,
    now: Instant,
    said: Vec<Output>,
}

impl Ladder {
    fn new(script: Option<Arc<Script>>) -> Ladder {
        Ladder { dialogue: Dialogue::new(Instant::START, script), now: Instant::START, said: Vec::new() }
    }

    fn input(&mut self, input: Input<'_>) {
        self.dialogue.handle(self.now, input, &mut self.said);
    }

    fn writes(&mut self, text: &str) {
        self.input(Input::Bytes(text.as_bytes()));
    }

    /// Lets time pass until something is done, at most so long; what it is.
    fn within(&mut self, seconds: u64) -> Vec<String> {
        let end = self.now + Duration::from_secs(seconds);
        while self.said.is_empty()
            && let Some(due) = self.dialogue.timeout().filter(|due| *due <= end)
        {
            self.now = self.now.max(due);
            self.input(Input::Tick);
        }
        if self.said.is_empty() {
            self.now = end;
        }
        self.said.drain(..).map(|output| shown(&output)).collect()
    }

    #[track_caller]
    fn expect(&mut self, outputs: &[&str]) {
        assert_eq!(self.within(10), outputs);
    }

    /// A ladder at the prompt, before its first command.
    #[track_caller]
    fn at_the_prompt() -> Ladder {
        let mut ladder = Ladder::new(Some(script(SCRIPT)));
        ladder.input(Input::Opened);
        ladder.expect(&["type ``"]);
        ladder.writes("\r\nvx> ");
        ladder.expect(&["type `show ds1`"]);
        ladder
    }

    /// One whole round of a console that is logged in, from its empty line on.
    #[track_caller]
    fn round(&mut self, ds1: &str, fans: &str) -> Vec<String> {
        assert_eq!(self.within(65), ["type ``"]);
        self.writes("\r\nvx> ");
        self.expect(&["type `show ds1`"]);
        self.rest_of_round(ds1, fans)
    }

    #[track_caller]
    fn rest_of_round(&mut self, ds1: &str, fans: &str) -> Vec<String> {
        self.writes(&format!("show ds1\r\n{ds1}\r\nvx> "));
        let mut said = self.within(1);
        assert_eq!(said.pop().as_deref(), Some("type `show fans`"));
        self.writes(&format!("show fans\r\n{fans}\r\nvx> "));
        said.extend(self.within(1));
        assert_eq!(said.pop().as_deref(), Some("heard"));
        said
    }
}

fn shown(output: &Output) -> String {
    match output {
        Output::Look => "look".to_owned(),
        Output::Type(Typed::Text(text)) => format!("type `{text}`"),
        Output::Type(Typed::Secret(_)) => "type a secret".to_owned(),
        Output::Space => "space".to_owned(),
        Output::Say(Word::Heard) => "heard".to_owned(),
        Output::Say(Word::Lost(why, _)) => format!("lost: {why}"),
        Output::Say(Word::Alarm(subject, stands)) => format!("{} {subject}", if *stands { "raise" } else { "clear" }),
        Output::Say(Word::Anew) => "anew".to_owned(),
    }
}

#[test]
fn a_round_logs_in_asks_and_rests() {
    let mut ladder = Ladder::new(Some(script(SCRIPT)));
    ladder.input(Input::Opened);
    ladder.expect(&["type ``"]);
    ladder.writes("\r\nWelcome\r\nVX1200 login: ");
    ladder.expect(&["type `operator`"]);
    ladder.writes("operator\r\nPassword: ");
    ladder.expect(&["type a secret"]);
    ladder.writes("\r\nlast login: never\r\nvx");
    ladder.writes("> ");
    ladder.expect(&["type `show ds1`"]);
    assert_eq!(ladder.rest_of_round("1 up\r\n2 LOS", "fan 1 OK"), [""; 0]);
    let before = ladder.now;
    assert_eq!(ladder.round("1 up", "fan 1 OK"), [""; 0]);
    assert_eq!(ladder.now.since(before).as_secs(), 60, "the interval, and what the answers took");
}

#[test]
fn alarms_come_and_go_with_the_answers() {
    let mut ladder = Ladder::at_the_prompt();
    assert_eq!(ladder.rest_of_round("1 down LOS", "fan 1 FAILED"), ["raise line T1-1 LOS", "raise Fan"]);
    assert_eq!(ladder.round("1 down LOS", "nothing to say"), [""; 0], "Clear has not come, LOS stands");
    assert_eq!(ladder.round("1 up", "fan 1 OK"), ["clear line T1-1 LOS", "clear Fan"]);
    assert_eq!(ladder.round("1 up", "fan 2 FAILED\r\nfan 1 OK"), ["raise Fan"]);
    assert_eq!(ladder.round("1 up", "fan 2 FAILED\r\nfan 1 OK"), [""; 0], "it failed and is not over");
}

#[test]
fn the_echo_of_a_command_raises_nothing() {
    let mut ladder = Ladder::new(Some(script("Prompt=^>$\nCommand a=show FAILED\nAlarm Fan=FAILED")));
    ladder.input(Input::Opened);
    ladder.expect(&["type ``"]);
    ladder.writes("> ");
    ladder.expect(&["type `show FAILED`"]);
    ladder.writes("show FAILED\r\nnone\r\n> ");
    ladder.expect(&["heard"]);
}

#[test]
fn a_prompt_inside_a_longer_line_is_none() {
    let mut ladder = Ladder::at_the_prompt();
    ladder.writes("show ds1\r\n1 up\r\nvx>");
    ladder.now = ladder.now + SETTLE / 2;
    ladder.writes(" is how the prompt looks\r\n");
    assert_eq!(ladder.within(5), [""; 0]);
    ladder.writes("vx> ");
    ladder.expect(&["type `show fans`"]);
}

#[test]
fn a_long_answer_gets_its_space_and_is_one_answer() {
    let mut ladder = Ladder::at_the_prompt();
    ladder.writes("show ds1\r\n2 up\r\n--More--");
    ladder.expect(&["space"]);
    ladder.writes("\r        \r1 down LOS\r\nvx> ");
    ladder.expect(&["raise line T1-1 LOS", "type `show fans`"]);
}

#[test]
fn an_idle_log_out_is_answered_by_a_log_in() {
    let mut ladder = Ladder::at_the_prompt();
    ladder.rest_of_round("1 up", "OK");
    ladder.writes("\r\nlogged out\r\nVX1200 login: ");
    assert_eq!(ladder.within(65), ["type ``"]);
    ladder.writes("\r\nVX1200 login: ");
    ladder.expect(&["type `operator`"]);
    ladder.writes("operator\r\nPassword: ");
    ladder.expect(&["type a secret"]);
    ladder.writes("\r\nvx> ");
    ladder.expect(&["type `show ds1`"]);
}

#[test]
fn a_refused_log_in_is_not_tried_again_soon() {
    let mut ladder = Ladder::new(Some(script(SCRIPT)));
    ladder.input(Input::Opened);
    ladder.expect(&["type ``"]);
    ladder.writes("login: ");
    ladder.expect(&["type `operator`"]);
    ladder.writes("operator\r\nPassword: ");
    ladder.expect(&["type a secret"]);
    ladder.writes("\r\nLogin incorrect\r\nlogin: ");
    ladder.expect(&["lost: it refuses the log-in"]);
    assert_eq!(ladder.within(299), [""; 0]);
    assert_eq!(ladder.within(2), ["type ``"]);
}

#[test]
fn who_logs_us_out_at_every_command_is_given_up() {
    let mut ladder = Ladder::at_the_prompt();
    for _ in 0..2 {
        ladder.writes("\r\nlogin: ");
        ladder.expect(&["type `operator`"]);
        ladder.writes("\r\nvx> ");
        ladder.expect(&["type `show ds1`"]);
    }
    ladder.writes("\r\nlogin: ");
    ladder.expect(&["lost: it refuses the log-in"]);
}

#[test]
fn a_silent_line_is_woken_three_times_and_then_left_alone_ever_longer() {
    let mut ladder = Ladder::new(Some(script(SCRIPT)));
    ladder.input(Input::Opened);
    let mut told = vec!["lost: nothing comes back"];
    for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
        (0..WAKES).for_each(|_| ladder.expect(&["type ``"]));
        let silent = ladder.now + WAKE;
        assert_eq!(ladder.within(3), told.split_off(0));
        assert_eq!(ladder.dialogue.timeout(), Some(silent + Duration::from_secs(pause)));
        ladder.now = silent + Duration::from_secs(pause);
    }
}

#[test]
fn what_is_wrong_is_told_apart() {
    let cases: [(&[u8], &str); 3] = [
        (b"\xff\x80\xfe\x81\x00\xc3\x91\x99\xa0", "lost: what comes back is no text"),
        (
            b"\r\nPress F1 for the menu",
            "lost: neither Prompt nor a step of Login fits what it shows (\"Press F1 for the menu\")",
        ),
        (b"\r\n\r\n", "lost: neither Prompt nor a step of Login fits what it shows (\"\")"),
    ];
    for (bytes, told) in cases {
        let mut ladder = Ladder::new(Some(script(SCRIPT)));
        ladder.input(Input::Opened);
        for _ in 0..WAKES {
            ladder.expect(&["type ``"]);
            ladder.input(Input::Bytes(bytes));
        }
        ladder.expect(&[told]);
    }
}

#[test]
fn what_may_be_a_secret_or_a_number_is_not_quoted() {
    let mut ladder = Ladder::at_the_prompt();
    ladder.writes("\r\nlogin: ");
    ladder.expect(&["type `operator`"]);
    ladder.writes("\r\nPassword: ");
    ladder.expect(&["type a secret"]);
    ladder.writes("hunter2\r\nhunter2");
    let said = ladder.within(20);
    assert!(said[0].ends_with("(not shown here, after step 2 of Login)"), "{said:?}");
    let mut ladder = Ladder::at_the_prompt();
    ladder.writes("call 1 to +13125556789");
    ladder.expect(&["lost: neither Prompt nor a step of Login fits what it shows (not shown here, after command 1)"]);
}

#[test]
fn output_without_end_is_cut_off() {
    let mut ladder = Ladder::at_the_prompt();
    for _ in 0..64 {
        ladder.writes(&"x".repeat(1024));
    }
    assert_eq!(ladder.within(0), [""; 0]);
    ladder.writes("x");
    ladder.expect(&["lost: what it writes does not end, or has no Prompt after it"]);
    ladder.writes("more\r\nvx> ");
    assert_eq!(ladder.within(4), [""; 0], "nothing is typed for a while");
    ladder.expect(&["type ``"]);

    let mut ladder = Ladder::at_the_prompt();
    let before = ladder.now;
    while ladder.said.is_empty() {
        ladder.now = ladder.now + SETTLE / 2;
        ladder.input(Input::Tick);
        ladder.writes(".");
    }
    ladder.expect(&["lost: what it writes does not end, or has no Prompt after it"]);
    assert!(ladder.now.since(before) <= LONGEST + SETTLE, "{:?}", ladder.now.since(before));
}

#[test]
fn who_types_there_is_not_disturbed() {
    let mut ladder = Ladder::at_the_prompt();
    ladder.rest_of_round("1 up", "OK");
    ladder.now = ladder.now + Duration::from_secs(58);
    ladder.writes("relo");
    assert_eq!(ladder.within(60), [""; 0], "a line is half typed");
    ladder.expect(&["lost: somebody or something else keeps it busy"]);
    ladder.writes("\r\nreload? no\r\nvx> ");
    assert_eq!(ladder.within(4), [""; 0]);
    ladder.expect(&["type ``"]);
    ladder.writes("\r\nvx> ");
    ladder.expect(&["type `show ds1`"]);
    assert_eq!(ladder.rest_of_round("1 up", "OK"), [""; 0]);
}

#[test]
fn a_line_that_was_left_half_typed_is_not_waited_for_for_ever() {
    let mut ladder = Ladder::at_the_prompt();
    ladder.rest_of_round("1 up", "OK");
    ladder.writes("sho");
    let busy = "lost: somebody or something else keeps it busy";
    assert_eq!(ladder.within(200), [busy]);
    let before = ladder.now;
    assert_eq!(ladder.within(600), ["type ``"]);
    assert!(ladder.now.since(before) > Duration::from_secs(400));
}

#[test]
fn a_line_that_went_away_is_opened_again_and_its_alarms_stand() {
    let mut ladder = Ladder::at_the_prompt();
    ladder.rest_of_round("1 LOS", "OK");
    ladder.input(Input::Away(Fault::HungUp));
    ladder.input(Input::Away(Fault::Absent));
    ladder.input(Input::Away(Fault::Absent));
    ladder.expect(&["lost: the line went away", "lost: there is no such device"]);
    ladder.writes("vx> ");
    assert_eq!(ladder.within(1000), [""; 0], "its driver says when it is back");
    ladder.input(Input::Opened);
    assert_eq!(ladder.round("1 up", "OK"), ["clear line T1-1 LOS"]);
}

#[test]
fn what_cannot_be_typed_ends_the_round() {
    let mut ladder = Ladder::at_the_prompt();
    ladder.input(Input::Untyped(Fault::NoSecret));
    ladder.expect(&["lost: a secret of its script cannot be read"]);
    assert_eq!(ladder.within(299), [""; 0]);
    assert_eq!(ladder.within(2), ["type ``"]);
}

#[test]
fn without_a_script_only_presence_is_watched() {
    let mut ladder = Ladder::new(None);
    ladder.expect(&["look"]);
    ladder.input(Input::Opened);
    ladder.expect(&["heard"]);
    ladder.expect(&["look"]);
    (0..2).for_each(|_| ladder.input(Input::Away(Fault::Absent)));
    ladder.expect(&["lost: there is no such device"]);
    ladder.writes("login: ");
    ladder.expect(&["look"]);
}

#[test]
fn whatever_it_writes_only_the_script_is_typed() {
    let script = script(SCRIPT);
    let allowed: HashSet<String> =
        ["", "operator", "show ds1", "show fans"].map(|line| format!("type `{line}`")).into();
    bolero::check!().with_type::<Vec<(u8, Vec<u8>)>>().for_each(|inputs| {
        let mut ladder = Ladder::new(Some(script.clone()));
        for (kind, bytes) in inputs {
            match kind % 8 {
                0 => ladder.input(Input::Opened),
                1 => ladder.input(Input::Away(Fault::HungUp)),
                2 => ladder.writes("\r\nvx> "),
                3 => ladder.writes("\r\nlogin: "),
                4 => ladder.writes("\r\nPassword: "),
                _ => ladder.input(Input::Bytes(bytes)),
            }
            for output in ladder.within(u64::from(kind / 8)) {
                assert!(!output.starts_with("type `") || allowed.contains(&output), "{output}");
            }
            let next = ladder.dialogue.timeout().map(|due| due.since(ladder.now));
            assert!(next <= Some(Duration::from_secs(300)), "{next:?}");
        }
    });
}
