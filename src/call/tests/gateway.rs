//! What a gateway says of itself, and the calls through it.

use super::*;
use crate::gateway::{Subject, Voice, Word};

fn tell(world: &mut World, name: &str, stands: bool) {
    let word = Word::Alarm(Subject::named(name), stands);
    world.coming.push_back(Event::Told { trunk: GW1, voice: Voice::Console, word });
    world.run();
}

fn news(world: &World) -> Vec<&str> {
    let mut all = Vec::new();
    for report in &world.reports {
        if let Report::Gateway { news, .. } = report {
            all.push(news.what.as_str());
        }
    }
    all
}

#[test]
fn a_line_in_alarm_stops_no_call_and_is_named_when_one_fails() {
    let mut world = World::new();
    tell(&mut world, "T1-1 LOS", true);
    world.pass(seconds(90));
    for status in [503, 486] {
        let a = world.invite(LYNC, &secret("0"));
        let first = world.rung(GW1);
        world.answer(first, status, "");
        if status == 503 {
            let second = world.rung(GW2);
            world.answer(second, 503, "");
        }
        world.ack(a, "");
        world.rest();
    }
    let because = "; its line T1-1 LOS stands since 90 s, as its console says";
    assert_eq!(world.notes("the next way is tried: ").len(), 1);
    assert!(world.notes("the next way is tried: ")[0].ends_with(because), "{:?}", world.notes(""));
    assert_eq!(world.notes(because).len(), 1, "not behind the other gateway's 503, not behind a busy");
}

#[test]
fn a_call_that_was_live_when_the_line_died_ends_with_the_reason() {
    let mut world = World::new();
    let a = world.invite(LYNC, &secret("0"));
    let b = world.rung(GW1);
    world.answer(b, 200, &plain("0"));
    world.ack(a, "");
    tell(&mut world, "T1-1 LOF", true);
    world.ask(b, Method::Bye, "Reason: Q.850;cause=38\n", "");
    world.rest();
    assert_eq!(world.notes("ended by called, cause 38").len(), 1);
    assert_eq!(world.notes("its line T1-1 LOF stands since 0 s").len(), 1);
}

#[test]
fn what_a_gateway_says_is_told_once_shown_and_kept_across_a_reload() {
    let mut world = World::new();
    (0..3).for_each(|_| tell(&mut world, "T1-1 LOS", true));
    assert_eq!(news(&world), ["alarm: line T1-1 LOS, as its console says"]);
    world.pass(seconds(10));
    world.coming.push_back(Event::Reload(ini(&["[Gateway1]\nMaxCalls=7"])));
    world.run();
    let shown = serde_json::to_value(world.snapshot().trunks).unwrap();
    let alarms = serde_json::json!([{"alarm": "LOS", "since_seconds": 10.0, "told_by": "console"}]);
    assert_eq!(shown[1]["gateway"]["lines"], serde_json::json!([{"name": "T1-1", "alarms": alarms}]));
    assert!(shown[2].get("gateway").is_none(), "who has no voice says nothing");
    tell(&mut world, "T1-1 LOS", false);
    assert_eq!(news(&world)[1], "alarm is over: line T1-1 LOS");
}

#[test]
fn a_removed_gateway_is_not_heard() {
    let mut world = World::new();
    world.coming.push_back(Event::Reload(ini_without(&["[Gateway1]"])));
    tell(&mut world, "T1-1 LOS", true);
    assert_eq!(news(&world), [""; 0]);
}
