//! `demarc spans`: the lines as they stand, and orders to them. What an order does to calls is said first; `--yes` does it.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::ask::{self, Unanswered};
use super::live::{duration, parse, rows, word};
use crate::config::Web;

/// The arguments.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Spans {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(Subcommand)]
enum Order {
    /// Give a timeslot, or all of the line, no further call; calls go on.
    Block(Place),
    /// Give them calls again.
    Unblock(Place),
    /// Restart a timeslot, or all of the line: calls there end.
    Restart(Place),
    /// Loop the line back, for a test of the cable.
    Loop {
        #[command(flatten)]
        line: Named,
        /// What comes back to whom.
        mode: Mode,
    },
    /// Take the line down, so that the far end sees it: calls end.
    Down(Named),
    /// Let it up again.
    Up(Named),
}

#[derive(Args)]
struct Named {
    /// The line, such as Span1.
    span: String,
    /// Do it, instead of only saying what it would do.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
struct Place {
    #[command(flatten)]
    line: Named,
    /// The timeslot, as the line counts; without it all.
    timeslot: Option<u8>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// What we send comes back to us.
    Local,
    /// What comes goes back to the far end, bit by bit.
    Line,
    /// What comes goes back to the far end in frames of our own.
    Payload,
    /// Nothing any more.
    Off,
}

impl Spans {
    /// Asks the running daemon.
    pub fn ask(&self, web: &Web) -> Result<String, Unanswered> {
        let Some(order) = &self.order else {
            let text = ask::get(web, "/api/spans")?;
            return Ok(if self.json { text } else { page(&parse(&text)) });
        };
        match ask::order(web, &order.path()) {
            Err(Unanswered::Refused(428, impact)) => Ok(format!("{impact}\nNothing was done: --yes does it.")),
            answer => answer,
        }
    }
}

impl Order {
    fn path(&self) -> String {
        let (verb, line, more) = match self {
            Order::Block(place) => ("block", &place.line, place.query()),
            Order::Unblock(place) => ("unblock", &place.line, place.query()),
            Order::Restart(place) => ("restart", &place.line, place.query()),
            Order::Loop { line, mode } => ("loop", line, format!("&mode={}", mode.word())),
            Order::Down(line) => ("down", line, String::new()),
            Order::Up(line) => ("up", line, String::new()),
        };
        let span: String = line.span.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("/api/spans/{span}/{verb}?confirm={}{more}", line.yes)
    }
}

impl Place {
    fn query(&self) -> String {
        self.timeslot.map(|timeslot| format!("&timeslot={timeslot}")).unwrap_or_default()
    }
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Local => "local",
            Mode::Line => "line",
            Mode::Payload => "payload",
            Mode::Off => "off",
        }
    }
}

/// How timeslots are drawn.
const LETTERS: [(&str, char, &str); 8] = [
    ("idle", '.', "idle"),
    ("in", 'i', "the far end calls"),
    ("out", 'o', "we call"),
    ("setup", 's', "set up or restarted"),
    ("blocked-near", 'b', "blocked here"),
    ("blocked-far", 'f', "blocked by the far end"),
    ("blocked-unsure", 'u', "unsure, until a restart"),
    ("dchannel", 'D', "D channel"),
];

fn page(spans: &Value) -> String {
    if rows(spans).next().is_none() {
        return "no lines: this configuration has no section [Span1]\n".to_owned();
    }
    let lines: String = rows(spans).map(line).collect();
    let legend: Vec<String> = LETTERS.iter().map(|(_, letter, what)| format!("{letter} {what}")).collect();
    format!("{lines}{}\n", legend.join(" · "))
}

fn line(span: &Value) -> String {
    let trunk = span["trunk"].as_str().map_or("of no trunk".to_owned(), |trunk| format!("of {trunk}"));
    let since = duration(span["since_seconds"].as_f64().unwrap_or_default());
    let mut text = format!(
        "{:<10} {} for {since}; {} {}, {trunk}\n",
        word(&span["name"]),
        standing(span),
        word(&span["line"]),
        word(&span["switch"])
    );
    if let Some(mode) = span["loop_back"].as_str() {
        text += &format!("  looped back ({mode})\n");
    }
    if let Some(canceller) = span["echo_canceller"].as_str() {
        text += &format!("  echoes     cancelled by {}\n", if canceller == "card" { "the card" } else { "software" });
    }
    if let Some(link) = span["d_channel"].as_str() {
        let fault = span["d_channel_fault"].as_str().map(|fault| format!("; last fault: {fault}")).unwrap_or_default();
        let by = if span["d_channel_stands_by"] == true { ", stands by" } else { "" };
        text += &format!("  D channel  {link}{by}{fault}\n");
    }
    if let Some(file) = span["capture"]["file"].as_str() {
        let missed = span["capture"]["missed"].as_u64().unwrap_or_default();
        text += &format!("  capture    {file}, numbers and all; {missed} frames missed\n");
    }
    text += &format!("  timeslots  {}\n", timeslots(span));
    if let Some(counters) = span["counters"].as_object() {
        let counted: Vec<String> =
            counters.iter().map(|(name, count)| format!("{} {count}", name.replace('_', " "))).collect();
        text += &format!("  so far     {}\n", counted.join(", "));
    }
    text
}

/// Up, or what stands against it.
fn standing(span: &Value) -> String {
    let alarms: Vec<&str> = rows(&span["alarms"]).map(word).collect();
    let why = word(&span["why"]);
    match (span["up"] == true, alarms.is_empty(), why.is_empty()) {
        (true, ..) => "up".to_owned(),
        (false, false, true) => format!("DOWN ({})", alarms.join(" ")),
        (false, true, _) => format!("DOWN ({why})"),
        (false, false, false) => format!("DOWN ({why}; {})", alarms.join(" ")),
    }
}

/// A letter each, in groups of eight: the first is timeslot 1.
fn timeslots(span: &Value) -> String {
    let letter = |slot: &Value| {
        let known = LETTERS.iter().find(|(state, ..)| *state == word(&slot["state"]));
        known.map_or('?', |(_, letter, _)| *letter)
    };
    let letters: Vec<char> = rows(&span["timeslots"]).map(letter).collect();
    letters.chunks(8).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{SpanCounters, SpanView};
    use crate::shell::span::order::tests::view;

    #[test]
    fn a_page_shows_each_line_its_d_channel_its_timeslots_and_what_the_letters_mean() {
        let counters = Some(SpanCounters { slips: 3, ..SpanCounters::default() });
        let echo_canceller = Some("card");
        let good =
            SpanView { counters, echo_canceller, ..view(&["in", "out", "setup", "blocked-near", "blocked-far"]) };
        let bad = SpanView {
            name: "Span2".to_owned(),
            trunk: None,
            up: false,
            alarms: vec!["LOS", "RAI"],
            d_channel: Some("establishing"),
            d_channel_fault: Some("nobody answers".to_owned()),
            loop_back: Some("local"),
            ..view(&[])
        };
        let text = page(&serde_json::json!([good, bad]));
        let expected = "\
Span1      up for 1m15s; T1 ni2, of Gateway1
  echoes     cancelled by the card
  D channel  up
  timeslots  iosbf... ........ .......D
  so far     bad hdlc frames 0, code violations 0, errored seconds 0, frame errors 0, slips 3
Span2      DOWN (LOS RAI) for 1m15s; T1 ni2, of no trunk
  looped back (local)
  D channel  establishing; last fault: nobody answers
  timeslots  ........ ........ .......D
. idle · i the far end calls · o we call · s set up or restarted · b blocked here · f blocked by the far end · u unsure, until a restart · D D channel
";
        assert_eq!(text, expected);
        assert!(page(&serde_json::json!([])).contains("no lines"));
    }

    #[test]
    fn the_web_page_has_the_same_letters_and_words() {
        let script = include_str!("../shell/web/page.js");
        for (state, letter, what) in LETTERS {
            let row = format!("  \"{state}\": [\"{letter}\", \"{what}\"],\n");
            assert!(script.contains(&row), "{row}");
        }
    }

    #[test]
    fn an_order_becomes_a_path_and_is_confirmed_by_yes_alone() {
        let path = |words: &[&str]| {
            #[derive(clap::Parser)]
            struct Line {
                #[command(flatten)]
                spans: Spans,
            }
            let line = <Line as clap::Parser>::parse_from([&["spans"], words].concat());
            line.spans.order.unwrap().path()
        };
        assert_eq!(path(&["block", "Span1", "5"]), "/api/spans/Span1/block?confirm=false&timeslot=5");
        assert_eq!(path(&["restart", "Span1", "--yes"]), "/api/spans/Span1/restart?confirm=true");
        assert_eq!(path(&["loop", "Span1", "local"]), "/api/spans/Span1/loop?confirm=false&mode=local");
        assert_eq!(path(&["down", "Span1/../x"]), "/api/spans/Span1x/down?confirm=false");
    }
}
