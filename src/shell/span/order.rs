//! What an operator may want of a line, and what that does to calls: said before it is done.

use firmware_io::LoopBack;

use super::DriverOrder;
use crate::call::{SpanOrder, SpanView, TimeslotView};

/// What is wanted of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Give a timeslot, or all of them, no further call.
    Block(Option<u8>),
    /// Give them calls again.
    Unblock(Option<u8>),
    /// Restart a timeslot, or all of them.
    Restart(Option<u8>),
    /// Loop the line back, or end that.
    Loop(Option<LoopBack>),
    /// Take the line down.
    Down,
    /// Let it up again.
    Up,
}

/// Who does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doer {
    /// The switch, one after the other.
    Switch(Vec<SpanOrder>),
    /// The line's driver.
    Driver(DriverOrder),
}

/// Why nobody can do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// No such order.
    #[error("no such order: {0}. There are block, unblock, restart, loop, down, up")]
    Verb(String),
    /// No such loop.
    #[error("loop needs a mode: local, line, payload or off")]
    Mode,
    /// No such timeslot.
    #[error("{span} has no timeslot {timeslot}")]
    Timeslot {
        /// The line.
        span: String,
        /// As asked for.
        timeslot: u8,
    },
    /// It carries no calls.
    #[error("timeslot {timeslot} of {span} is the D channel: it carries no calls. To silence it, take the line down")]
    Signalling {
        /// The line.
        span: String,
        /// Which.
        timeslot: u8,
    },
}

const MODES: [(&str, LoopBack); 3] =
    [("local", LoopBack::Local), ("line", LoopBack::Line), ("payload", LoopBack::Payload)];

/// A loop as pages write it.
pub fn mode(kind: LoopBack) -> &'static str {
    MODES.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name)
}

impl Order {
    /// From the words of a request.
    pub fn read(verb: &str, timeslot: Option<u8>, mode: Option<&str>) -> Result<Order, Unclear> {
        match verb {
            "block" => Ok(Order::Block(timeslot)),
            "unblock" => Ok(Order::Unblock(timeslot)),
            "restart" => Ok(Order::Restart(timeslot)),
            "loop" if mode == Some("off") => Ok(Order::Loop(None)),
            "loop" => {
                let known = MODES.iter().find(|(name, _)| mode == Some(name));
                known.map(|(_, kind)| Order::Loop(Some(*kind))).ok_or(Unclear::Mode)
            }
            "down" => Ok(Order::Down),
            "up" => Ok(Order::Up),
            _ => Err(Unclear::Verb(verb.to_owned())),
        }
    }

    /// Who does it on this line.
    pub fn doer(self, view: &SpanView) -> Doer {
        let each = |timeslot: Option<u8>, order: fn(u8) -> SpanOrder| {
            let bearers = view.timeslots.iter().filter(|slot| slot.state != "dchannel").map(|slot| slot.timeslot);
            let wanted = bearers.filter(|bearer| timeslot.is_none_or(|timeslot| timeslot == *bearer));
            Doer::Switch(wanted.map(order).collect())
        };
        match self {
            Order::Block(timeslot) => each(timeslot, SpanOrder::Block),
            Order::Unblock(timeslot) => each(timeslot, SpanOrder::Unblock),
            Order::Restart(timeslot) => Doer::Switch(vec![SpanOrder::Restart(timeslot)]),
            Order::Loop(kind) => Doer::Driver(DriverOrder::LoopBack(kind)),
            Order::Down => Doer::Driver(DriverOrder::Force { down: true }),
            Order::Up => Doer::Driver(DriverOrder::Force { down: false }),
        }
    }

    /// What it does to this line and the calls on it.
    pub fn impact(self, view: &SpanView) -> Result<String, Unclear> {
        Ok(match self {
            Order::Block(timeslot) => blocked(view, timeslot)?,
            Order::Unblock(timeslot) => unblocked(view, timeslot)?,
            Order::Restart(timeslot) => restarted(view, timeslot)?,
            Order::Loop(kind) => looped(view, kind),
            Order::Down => forced_down(view),
            Order::Up => let_up(view),
        })
    }
}

fn blocked(view: &SpanView, timeslot: Option<u8>) -> Result<String, Unclear> {
    let name = &view.name;
    let Some(timeslot) = timeslot else {
        return Ok(format!("no further call will use {name}; {}", calls(view, "goes on", "go on")));
    };
    let place = format!("timeslot {timeslot} of {name}");
    Ok(match slot(view, timeslot)? {
        TimeslotView { state: "blocked-near", .. } => format!("{place} is blocked already: nothing changes"),
        TimeslotView { call: true, .. } => format!("{place} carries a call: it goes on; no further call will use it"),
        _ => format!("{place} carries no call, and none will use it"),
    })
}

fn unblocked(view: &SpanView, timeslot: Option<u8>) -> Result<String, Unclear> {
    let name = &view.name;
    let Some(timeslot) = timeslot else {
        return Ok(format!("calls may use every timeslot of {name} that was blocked here"));
    };
    let place = format!("timeslot {timeslot} of {name}");
    Ok(match slot(view, timeslot)?.state {
        "blocked-near" => format!("calls may use {place} again"),
        "blocked-far" => format!("{place} is blocked by the far end: only the far end can free it"),
        "blocked-unsure" => {
            format!("nobody knows what the far end thinks of {place}: it is restarted until both ends agree")
        }
        _ => format!("{place} may be used by calls, again or still"),
    })
}

fn restarted(view: &SpanView, timeslot: Option<u8>) -> Result<String, Unclear> {
    let name = &view.name;
    let (what, ended) = match timeslot {
        None => (format!("the timeslots of {name}"), cut(view)),
        Some(timeslot) => {
            let ended = match slot(view, timeslot)?.call {
                true => "the call on it ends at once, its parties are cut off",
                false => "no call ends",
            };
            (format!("timeslot {timeslot} of {name}"), ended.to_owned())
        }
    };
    let late = view.d_channel.is_some() && !view.d_channel_is_up();
    let late = if late { "; the far end hears of it once the D channel is up" } else { "" };
    Ok(format!("both ends forget what they know of {what}; {ended}{late}"))
}

fn looped(view: &SpanView, kind: Option<LoopBack>) -> String {
    let name = &view.name;
    let heard = match kind {
        None if view.loop_back.is_none() => return format!("{name} is not looped back: nothing changes"),
        None => return format!("{name} carries calls again once its D channel is up"),
        Some(LoopBack::Local) => format!("{name} hears itself instead of the far end"),
        Some(LoopBack::Line | LoopBack::Payload) => format!("the far end of {name} hears itself instead of us"),
    };
    let link = match view.d_channel {
        Some(_) => "; its D channel fails: no call can be set up, and those that are up end if that lasts (T309)",
        None => "",
    };
    format!("{heard}; {}{link}", calls(view, "is deaf one way", "are deaf one way"))
}

fn forced_down(view: &SpanView) -> String {
    let (name, ended) = (&view.name, cut(view));
    if view.forced_down {
        return format!("{name} is down already: nothing changes");
    }
    format!(
        "{ended}; the far end sees the line or its D channel fail, and no call can use it until: demarc spans up {name}"
    )
}

fn let_up(view: &SpanView) -> String {
    let name = &view.name;
    if !view.forced_down {
        return format!("{name} was not taken down: nothing changes");
    }
    format!("the far end sees {name} again, and calls can use it once the alarms at both ends are over")
}

/// A timeslot that can carry calls.
fn slot(view: &SpanView, timeslot: u8) -> Result<TimeslotView, Unclear> {
    let span = || view.name.clone();
    match view.timeslots.iter().find(|slot| slot.timeslot == timeslot) {
        Some(TimeslotView { state: "dchannel", .. }) => Err(Unclear::Signalling { span: span(), timeslot }),
        Some(slot) => Ok(*slot),
        None => Err(Unclear::Timeslot { span: span(), timeslot }),
    }
}

fn calls(view: &SpanView, one: &str, many: &str) -> String {
    match view.busy() {
        0 => format!("no call is on {}", view.name),
        1 => format!("1 call on {} {one}", view.name),
        count => format!("{count} calls on {} {many}", view.name),
    }
}

fn cut(view: &SpanView) -> String {
    calls(view, "ends at once, its parties are cut off", "end at once, their parties are cut off")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::hop::SpanId;

    /// A T1 whose timeslots begin with these states; the others are idle.
    pub fn view(states: &[&'static str]) -> SpanView {
        let state = |timeslot: u8| match timeslot {
            24 => "dchannel",
            _ => states.get(usize::from(timeslot) - 1).copied().unwrap_or("idle"),
        };
        let slot = |timeslot| {
            let state = state(timeslot);
            TimeslotView { timeslot, state, call: matches!(state, "in" | "out" | "setup") }
        };
        SpanView {
            id: SpanId(1),
            name: "Span1".to_owned(),
            trunk: Some("Gateway1".to_owned()),
            line: "T1",
            switch: "ni2",
            up: true,
            alarms: Vec::new(),
            since_seconds: 75.0,
            why: String::new(),
            forced_down: false,
            healed_timeslots: 0,
            loop_back: None,
            echo_canceller: None,
            d_channel: Some("up"),
            d_channel_stands_by: false,
            d_channel_fault: None,
            timeslots: (1..=24).map(slot).collect(),
            counters: None,
            capture: None,
        }
    }

    #[test]
    fn what_an_order_does_is_said_before() {
        let busy = view(&["in", "out", "idle", "blocked-near", "blocked-far", "blocked-unsure"]);
        let idle = SpanView { d_channel: Some("establishing"), ..view(&[]) };
        let down = SpanView { forced_down: true, ..view(&[]) };
        for (words, view, expected) in [
            (("block", Some(1), None), &busy, "carries a call: it goes on; no further call will use it"),
            (("block", Some(3), None), &busy, "carries no call, and none will"),
            (("block", Some(4), None), &busy, "nothing changes"),
            (("block", None, None), &busy, "no further call will use Span1; 2 calls on Span1 go on"),
            (("unblock", Some(4), None), &busy, "calls may use timeslot 4 of Span1 again"),
            (("unblock", Some(5), None), &busy, "only the far end can free it"),
            (("unblock", Some(6), None), &busy, "it is restarted until both ends agree"),
            (("restart", Some(2), None), &busy, "the call on it ends at once"),
            (("restart", Some(3), None), &busy, "no call ends"),
            (("restart", None, None), &busy, "2 calls on Span1 end at once"),
            (("restart", None, None), &idle, "no call is on Span1; the far end hears of it once"),
            (("loop", None, Some("local")), &busy, "Span1 hears itself"),
            (("loop", None, Some("line")), &busy, "the far end of Span1 hears itself instead of us; 2 calls"),
            (("loop", None, Some("off")), &busy, "nothing changes"),
            (("down", None, None), &busy, "2 calls on Span1 end at once, their parties are cut off; the far end sees"),
            (("down", None, None), &down, "nothing changes"),
            (("up", None, None), &down, "the far end sees Span1 again"),
            (("up", None, None), &busy, "nothing changes"),
        ] {
            let (verb, timeslot, mode) = words;
            let said = Order::read(verb, timeslot, mode).and_then(|order| order.impact(view)).unwrap();
            assert!(said.contains(expected), "{words:?}: {said}");
        }
    }

    #[test]
    fn an_order_that_cannot_be_done_says_why() {
        for (verb, timeslot, mode, expected) in [
            ("blok", None, None, "no such order: blok"),
            ("loop", None, None, "loop needs a mode"),
            ("loop", None, Some("far"), "loop needs a mode"),
            ("block", Some(24), None, "is the D channel"),
            ("restart", Some(25), None, "Span1 has no timeslot 25"),
        ] {
            let said = Order::read(verb, timeslot, mode).and_then(|order| order.impact(&view(&[]))).unwrap_err();
            assert!(said.to_string().contains(expected), "{verb} {timeslot:?}: {said}");
        }
    }

    #[test]
    fn a_whole_line_is_blocked_timeslot_by_timeslot() {
        let Doer::Switch(orders) = Order::Block(None).doer(&view(&[])) else { panic!() };
        assert_eq!((orders.len(), orders[22]), (23, SpanOrder::Block(23)));
        let restart = Order::Restart(None).doer(&view(&[]));
        assert_eq!(restart, Doer::Switch(vec![SpanOrder::Restart(None)]));
    }
}
