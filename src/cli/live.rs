//! Live views: `status`, `calls`, `trace`, and the orders `reload` and `drain`.

use serde_json::Value;

use super::ask::{self, Unanswered};
use crate::config::Web;

/// How the box stands.
pub fn status(web: &Web, json: bool) -> Result<String, Unanswered> {
    let text = ask::get(web, "/api/status")?;
    Ok(if json { text } else { status_text(&parse(&text)) })
}

/// The live calls.
pub fn calls(web: &Web, json: bool) -> Result<String, Unanswered> {
    let text = ask::get(web, "/api/calls")?;
    Ok(if json { text } else { calls_text(&parse(&text)) })
}

/// The ladder of a call; `last` is the newest.
pub fn trace(web: &Web, id: &str, json: bool, redact: bool) -> Result<String, Unanswered> {
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    ask::get(web, &format!("/api/calls/{id}/ladder?text={}&redact={redact}", !json)).map_err(|fault| match fault {
        Unanswered::Refused(404, _) => {
            Unanswered::Refused(404, format!("no live or recent call has the id {id}: see demarc calls, or use: last"))
        }
        fault => fault,
    })
}

/// Reads the configuration again.
pub fn reload(web: &Web) -> Result<String, Unanswered> {
    ask::order(web, "/api/reload")
}

/// Takes no new calls and ends after the last one.
pub fn drain(web: &Web) -> Result<String, Unanswered> {
    ask::order(web, "/api/drain")
}

pub(super) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn status_text(status: &Value) -> String {
    let draining = if status["draining"] == true { ", draining" } else { "" };
    let mut text = format!("demarc {}{draining}: {} calls\n", word(&status["version"]), status["calls"]);
    rows(&status["alarms"]).for_each(|alarm| text += &alarm_text(alarm));
    text += &clock_text(&status["clock"]);
    for trunk in rows(&status["trunks"]) {
        let up = match trunk["up"].as_bool() {
            Some(true) => "up",
            Some(false) => "DOWN",
            None => "not asked yet",
        };
        let since = trunk["since_seconds"].as_f64().unwrap_or_default();
        let limit = trunk["max_calls"].as_u64().map(|most| format!(" of {most}")).unwrap_or_default();
        let live = rows(&trunk["calls"]).filter_map(Value::as_u64).sum::<u64>();
        text += &format!(
            "  {:<12} {up} for {}; {live}{limit} calls; {}\n",
            word(&trunk["name"]),
            duration(since),
            word(&trunk["why"])
        );
    }
    text
}

fn clock_text(clock: &Value) -> String {
    let state = match (word(&clock["trust"]), clock["offset_seconds"].as_f64(), clock["error_seconds"].as_f64()) {
        ("good", Some(offset), Some(error)) => format!("corrected by {:+.3} s, to {:.0} ms", -offset, error * 1000.0),
        ("suspect", ..) => word(&clock["why"]).to_owned(),
        _ => "the system's, not compared with any other".to_owned(),
    };
    format!("  clock        {state}\n")
}

fn alarm_text(alarm: &Value) -> String {
    format!(
        "  {} {}, for {}: {}\n      {}\n      {}\n",
        word(&alarm["severity"]).to_uppercase(),
        word(&alarm["subject"]),
        duration(alarm["age_seconds"].as_f64().unwrap_or_default()),
        word(&alarm["what"]),
        word(&alarm["breaks"]),
        word(&alarm["remedy"]),
    )
}

fn calls_text(calls: &Value) -> String {
    let mut text = String::from(
        "ID                STATE      AGE      FROM         TO           CALLED       CODECS       LOST  MOS\n",
    );
    for call in rows(calls) {
        let codecs = rows(&call["codecs"]).map(|codec| codec.as_str().unwrap_or("-")).collect::<Vec<_>>().join("/");
        let lost: u64 = rows(&call["media"]).filter_map(|side| side["lost"].as_u64()).sum();
        let scores = rows(&call["media"]).flat_map(|side| [&side["mos_received"], &side["mos_sent"]]);
        let worst = scores.filter_map(Value::as_f64).min_by(f64::total_cmp);
        let mos = worst.map_or("-".to_owned(), |score| format!("{score:.2}"));
        text += &format!(
            "{:<17} {:<10} {:<8} {:<12} {:<12} {:<12} {codecs:<12} {lost:<5} {mos}\n",
            word(&call["id"]),
            word(&call["state"]),
            duration(call["age_seconds"].as_f64().unwrap_or_default()),
            word(&call["from"]),
            call["to"].as_str().unwrap_or("-"),
            word(&call["called"]),
        );
    }
    text
}

pub(super) fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..172_800 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_names_the_trunk_that_is_down() {
        let status = serde_json::json!({ "version": "0.1.0", "draining": false, "calls": 2, "clock": {
            "trust": "good", "offset_seconds": 30.0, "error_seconds": 0.0054 }, "alarms": [
            { "subject": "Gateway1", "severity": "major", "age_seconds": 4.2, "what": "Gateway1 is down", "breaks": "calls fail", "remedy": "mend it" },
        ], "trunks": [
            { "name": "lync", "up": true, "since_seconds": 75.0, "why": "answers OPTIONS", "calls": [1, 1], "max_calls": null },
            { "name": "Gateway1", "up": false, "since_seconds": 4.2, "why": "no answer in time", "calls": [0, 0], "max_calls": 23 },
        ]});
        assert_eq!(
            status_text(&status),
            "demarc 0.1.0: 2 calls\n  MAJOR Gateway1, for 4s: Gateway1 is down\n      calls fail\n      mend it\n  \
             clock        corrected by -30.000 s, to 5 ms\n  lync         up for 1m15s; 2 calls; answers OPTIONS\n  \
             Gateway1     DOWN for 4s; 0 of 23 calls; no answer in time\n"
        );
    }

    #[test]
    fn a_calls_score_is_its_worst_way() {
        let calls = serde_json::json!([{ "id": "0123456789abcdef", "state": "connected", "age_seconds": 61.0,
            "from": "lync", "to": "Gateway1", "called": "…789", "codecs": ["opus", "PCMU"], "media": [
                { "lost": 3, "mos_received": 4.12, "mos_sent": null }, { "lost": 1, "mos_received": 4.41, "mos_sent": 3.9 },
            ] }]);
        let text = calls_text(&calls);
        let columns =
            |line: usize| text.lines().nth(line).unwrap().split_whitespace().rev().take(2).collect::<Vec<_>>();
        assert_eq!((columns(0), columns(1)), (vec!["MOS", "LOST"], vec!["3.90", "4"]));
    }
}
