//! What voices say, and what stands then.

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

fn alarm(name: &str, stands: bool) -> Word {
    Word::Alarm(Subject::named(name), stands)
}

fn told(news: Option<News>) -> String {
    news.map(|News { good, what }| format!("{} {what}", if good { "+" } else { "-" })).unwrap_or_default()
}

#[test]
fn a_name_s_last_word_may_be_a_line_s_alarm() {
    assert_eq!(Subject::named("T1 1 los"), Subject::Line("T1 1".into(), LineAlarm::Los));
    assert_eq!(Subject::named("LOS"), Subject::Named("LOS".into()));
    assert_eq!(Subject::named("Fan 2"), Subject::Named("Fan 2".into()));
}

#[test]
fn changes_are_told_once() {
    let mut standing = Standing::default();
    let mut hear = |seconds, word| told(standing.hear(at(seconds), Voice::Console, word));
    assert_eq!(hear(0, Word::Lost("why".into(), "act")), "- its console cannot be read: why; act");
    assert_eq!(hear(1, Word::Lost("why".into(), "act")), "");
    assert_eq!(hear(2, Word::Heard), "+ its console is read");
    assert_eq!(hear(3, alarm("1 LOS", true)), "- alarm: line 1 LOS, as its console says");
    assert_eq!(hear(4, alarm("1 LOS", true)), "");
    assert_eq!(hear(5, alarm("1 AIS", false)), "", "nobody feared it");
    assert_eq!(hear(6, alarm("1 LOS", false)), "+ alarm is over: line 1 LOS");
    let json = serde_json::to_value(standing.view(at(16))).unwrap();
    let voice = serde_json::json!({"voice": "console", "heard": true, "why": null, "since_seconds": 14.0});
    assert_eq!(json, serde_json::json!({"voices": [voice], "lines": [{"name": "1", "alarms": []}], "alarms": []}));
}

#[test]
fn what_stands_is_shown_with_its_age_until_the_voice_begins_anew() {
    let mut standing = Standing::default();
    for name in ["1 LOS", "2 RAI", "1 AIS", "Fan"] {
        standing.hear(at(10), Voice::Console, alarm(name, true));
    }
    let view = standing.view(at(70));
    let lines: Vec<_> = view.lines.iter().map(|line| (line.name.as_str(), line.alarms.len())).collect();
    assert_eq!(lines, [("1", 2), ("2", 1)]);
    assert_eq!((view.alarms[0].name.as_str(), view.alarms[0].since_seconds), ("Fan", 60.0));
    standing.hear(at(80), Voice::Console, Word::Anew);
    assert!(standing.view(at(80)).is_empty());
}

#[test]
fn a_line_is_blamed_only_for_what_a_line_can_cause() {
    let mut standing = Standing::default();
    let failed = Release::refused(503, None, "refused");
    standing.hear(at(0), Voice::Console, alarm("Fan", true));
    assert_eq!(standing.blame(at(180), &failed), None);
    standing.hear(at(0), Voice::Console, alarm("T1-1 LOS", true));
    let because = "its line T1-1 LOS stands since 3 min, as its console says";
    assert_eq!(standing.blame(at(180), &failed).as_deref(), Some(because));
    assert_eq!(standing.blame(at(180), &Release::refused(486, None, "busy")), None);
    let congested = Release::refused(500, Some(Cause::NO_CIRCUIT), "no circuit");
    assert!(standing.blame(at(180), &congested).is_some());
}

#[test]
fn a_gateway_that_invents_lines_fills_no_memory() {
    let mut standing = Standing::default();
    for line in 0..10_000 {
        standing.hear(at(0), Voice::Console, alarm(&format!("{line} LOS"), true));
    }
    assert_eq!(standing.view(at(0)).lines.len(), MOST);
}

#[test]
fn operators_are_told_what_breaks_and_what_to_do() {
    let start = Now::virtual_start();
    let mut standing = Standing::default();
    standing.hear(start.mono, Voice::Console, Word::Lost("nothing comes back".into(), "check the cable"));
    for (name, stands) in [("1 RAI", true), ("Fan", true), ("2 LOS", false)] {
        standing.hear(start.mono, Voice::Console, alarm(name, stands));
    }
    let alarms: Vec<Alarm> = standing.alarms(start.after(Duration::from_secs(9)), "Gateway1").collect();
    let told: Vec<String> = alarms.iter().map(|alarm| format!("{:?} {}", alarm.severity, alarm.text)).collect();
    assert_eq!(
        told,
        [
            "Minor the console of Gateway1 cannot be read: nothing comes back: alarms of the gateway come late or not \
             at all; check the cable",
            "Major Gateway1 says by its console: line 1 RAI: its calls over this line fail, and are tried all the same; \
             the far end does not hear the gateway: check the pair it sends on",
            "Warning Gateway1 says by its console: Fan: what it means for calls is the gateway's to say; look at the \
             gateway",
        ]
    );
    assert!(alarms.iter().all(|alarm| alarm.age_seconds == 9.0 && alarm.subject == "Gateway1"));
}
