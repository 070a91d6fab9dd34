//! Lines: does each open, is it free of alarms, does its far end answer on the D channel as the other side of the line, and
//! is every group whole? A line belongs to who has it open, so the running daemon is asked.

use std::sync::Arc;

use serde_json::Value;

use super::Finding;
use crate::config::{DChannel, Span};

const SPAN: &str = "span";
const D_CHANNEL: &str = "span-d-channel";
const GROUP: &str = "span-group";
const CAPTURE: &str = "span-capture";

/// `running` is `/api/spans` of the daemon; `None` when none answers.
pub(super) fn findings(spans: &[Arc<Span>], running: Option<&Value>) -> Vec<Finding> {
    let seen = |span: &Span| {
        let views = running.and_then(Value::as_array).into_iter().flatten();
        views.into_iter().find(|view| view["name"] == *span.name)
    };
    let mut findings = Vec::new();
    for span in spans {
        let Some(view) = seen(span) else {
            findings.push(unseen(span, running.is_some()));
            continue;
        };
        findings.push(line(span, view));
        findings.extend(d_channel(span, view));
        findings.extend(capture(span, view));
    }
    let is_up = |span: &Span| seen(span).map(|view| view["up"] == true);
    findings.extend(spans.iter().filter_map(|first| group(first, spans, is_up)));
    findings
}

fn unseen(span: &Span, runs: bool) -> Finding {
    let (evidence, remedy) = match runs {
        true => ("the running daemon does not know this line", "demarc reload"),
        false => ("no daemon answers, and only it can look at a line", "start demarc, then run the doctor again"),
    };
    Finding::not_checked(SPAN, &span.name, evidence).remedy(remedy)
}

/// The line itself: driver, alarms, orders of an operator that were forgotten.
fn line(span: &Span, view: &Value) -> Finding {
    let name = &span.name;
    let alarms: Vec<&str> = view["alarms"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let why = view["why"].as_str().unwrap_or_default();
    let notice =
        format!("no call on {name}: {} timeslots fewer, callers hear busy when no others are free", bearers(span));
    if view["forced_down"] == true {
        let finding = Finding::fail(SPAN, name, "an operator took it down");
        return finding.notice(notice).remedy(format!("demarc spans up {name} --yes"));
    }
    if let Some(mode) = view["loop_back"].as_str() {
        let finding = Finding::fail(SPAN, name, format!("an operator looped it back ({mode})"));
        return finding.notice(notice).remedy(format!("demarc spans loop {name} off --yes"));
    }
    if !alarms.is_empty() {
        let finding = Finding::fail(SPAN, name, format!("in alarm: {}", alarms.join(" ")));
        return finding.notice(notice).remedy("what to do is in demarc status, alarm by alarm");
    }
    if view["up"] != true {
        let finding = Finding::fail(SPAN, name, format!("not there: {why}"));
        return finding
            .notice(notice)
            .remedy("look at the card, its driver, Driver and Device, and at what the service may open (lines.conf)");
    }
    let slips = view["counters"]["slips"].as_u64().unwrap_or_default();
    let errored = view["counters"]["errored_seconds"].as_u64().unwrap_or_default();
    Finding::pass(SPAN, name, format!("open, no alarm; so far {errored} errored seconds, {slips} slips"))
}

fn bearers(span: &Span) -> usize {
    span.bearers().count()
}

/// Who answers there.
fn d_channel(span: &Span, view: &Value) -> Option<Finding> {
    let (name, link) = (&span.name, view["d_channel"].as_str()?);
    let (ours, theirs) = (span.side.name(), span.side.other().name());
    if link == "no-line" || view["loop_back"].is_string() {
        // The line's own finding says what is wrong.
        return None;
    }
    let fault = view["d_channel_fault"].as_str();
    if matches!(link, "up" | "peer-busy" | "recovering") {
        let evidence = format!("the far end answers as the {theirs}'s side, in {}", span.dialect.name());
        return Some(Finding::pass(D_CHANNEL, name, evidence));
    }
    let seen = fault.map_or_else(|| "nobody answers on it".to_owned(), |fault| format!("last fault: {fault}"));
    let finding = Finding::fail(D_CHANNEL, name, format!("its D channel is {link}; {seen}"));
    let backed = matches!(span.d_channel, DChannel::BackupOf(_));
    let notice = match backed {
        true => "nothing yet: no call can be set up once the first D channel fails as well",
        false => "no call can be set up where its D channel serves, unless a backup took over",
    };
    let remedy = format!("both ends need the same Switch= and opposite sides: here Side={ours}; else ask the carrier");
    Some(finding.notice(notice).remedy(remedy))
}

/// A capture is no fault, and not to be forgotten.
fn capture(span: &Span, view: &Value) -> Option<Finding> {
    let wanted = span.capture.as_ref().filter(|_| span.signals())?;
    Some(match view["capture"]["file"].as_str() {
        Some(file) => {
            Finding::pass(CAPTURE, &span.name, format!("its D channel is captured in {file}, numbers and all"))
                .remedy("once it has served: take Capture out, demarc reload, and delete the file")
        }
        None => Finding::fail(CAPTURE, &span.name, format!("nothing is captured in {}", wanted.display()))
            .notice("no call suffers, but a trace that somebody counts on has nothing new")
            .remedy("the log says why: the folder must be there, be the daemon's own, and have room"),
    })
}

/// The lines that one D channel serves.
fn group(first: &Span, spans: &[Arc<Span>], is_up: impl Fn(&Span) -> Option<bool>) -> Option<Finding> {
    let members: Vec<&Span> = spans.iter().map(Arc::as_ref).filter(|span| span.signalled_by() == first.id).collect();
    if first.d_channel != DChannel::Own || members.len() < 2 {
        return None;
    }
    let subject = format!("group of {}", first.name);
    let names = |state: Option<bool>| -> Vec<&str> {
        members.iter().filter(|span| is_up(span) == state).map(|span| span.name.as_str()).collect()
    };
    let (down, unknown) = (names(Some(false)), names(None));
    Some(match (&down[..], &unknown[..]) {
        ([], []) => Finding::pass(GROUP, subject, format!("all {} lines are up", members.len())),
        ([], unknown) => Finding::not_checked(GROUP, subject, format!("not looked at: {}", unknown.join(", "))),
        (down, _) => Finding::fail(GROUP, subject, format!("down: {}", down.join(", ")))
            .notice("calls find fewer timeslots; the far end may still offer some there")
            .remedy("see each of these lines"),
    })
}

#[cfg(test)]
mod tests {
    use firmware_io::Line;

    use super::super::Verdict;
    use super::*;
    use crate::call::SpanView;
    use crate::config::{Driver, Hunt, Simulation};
    use crate::hop::SpanId;
    use crate::shell::span::order::tests::view;
    use crate::wire::q921::Side;
    use crate::wire::q931::Dialect;

    fn span(number: u16, d_channel: DChannel) -> Arc<Span> {
        Arc::new(Span {
            id: SpanId(number),
            name: format!("Span{number}"),
            driver: Driver::Simulated,
            line: Line::T1,
            dialect: Dialect::Ni2,
            side: Side::User,
            d_channel,
            interface: None,
            hunt: Hunt::Opposite,
            exclusive: true,
            overlap: None,
            disconnect_tones: false,
            country: String::new(),
            echo_tail: None,
            receive_gain: 0,
            transmit_gain: 0,
            capture: None,
            simulation: Simulation::default(),
        })
    }

    /// What is found on these lines, each as `code subject verdict`, and all evidence.
    fn found(spans: &[Arc<Span>], running: Option<&[SpanView]>) -> (Vec<String>, String) {
        let running = running.map(|views| serde_json::json!(views));
        let findings = findings(spans, running.as_ref());
        let verdict = |finding: &Finding| match finding.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::NotChecked => "not-checked",
        };
        let short = findings.iter().map(|finding| format!("{} {} {}", finding.code, finding.subject, verdict(finding)));
        (short.collect(), findings.iter().map(Finding::to_string).collect())
    }

    #[test]
    fn a_line_is_judged_by_what_the_running_daemon_sees() {
        let good = || view(&[]);
        let down = || SpanView { up: false, d_channel: Some("no-line"), ..good() };
        for (running, line, link, evidence) in [
            (good(), "pass", Some("pass"), "the far end answers as the network's side, in ni2"),
            (SpanView { alarms: vec!["LOS", "RAI"], ..down() }, "fail", None, "in alarm: LOS RAI"),
            (SpanView { why: "no such card".to_owned(), ..down() }, "fail", None, "not there: no such card"),
            (SpanView { forced_down: true, ..down() }, "fail", None, "demarc spans up Span1 --yes"),
            (SpanView { loop_back: Some("local"), ..good() }, "fail", None, "demarc spans loop Span1 off --yes"),
            (SpanView { d_channel: Some("establishing"), ..good() }, "pass", Some("fail"), "nobody answers on it"),
            (
                SpanView {
                    d_channel: Some("released"),
                    d_channel_fault: Some("both ends are users".to_owned()),
                    ..good()
                },
                "pass",
                Some("fail"),
                "is released; last fault: both ends are users",
            ),
        ] {
            let (short, text) = found(&[span(1, DChannel::Own)], Some(&[running]));
            let link = link.map(|link| format!("span-d-channel Span1 {link}"));
            assert_eq!(
                short,
                [Some(format!("span Span1 {line}")), link].into_iter().flatten().collect::<Vec<_>>(),
                "{text}"
            );
            assert!(text.contains(evidence), "{evidence} is not in:\n{text}");
        }
    }

    #[test]
    fn without_a_daemon_nothing_is_called_good() {
        let spans = [span(1, DChannel::Own), span(2, DChannel::Of(SpanId(1)))];
        let expected = ["span Span1 not-checked", "span Span2 not-checked", "span-group group of Span1 not-checked"];
        assert_eq!(found(&spans, None).0, expected);
        let (short, text) = found(&spans, Some(&[view(&[])]));
        assert_eq!(short[2..], ["span Span2 not-checked", "span-group group of Span1 not-checked"]);
        assert!(text.contains("demarc reload"), "{text}");
        assert_eq!(found(&[], None).0, [""; 0]);
    }

    #[test]
    fn a_group_is_whole_when_all_its_lines_are_up() {
        let spans = [span(1, DChannel::Own), span(2, DChannel::Of(SpanId(1))), span(3, DChannel::Own)];
        let named = |number: u16, up| SpanView { name: format!("Span{number}"), up, ..view(&[]) };
        let whole = found(&spans, Some(&[named(1, true), named(2, true), named(3, false)])).0;
        assert_eq!(whole.last().map(String::as_str), Some("span-group group of Span1 pass"));
        let (broken, text) = found(&spans, Some(&[named(1, true), named(2, false), named(3, true)]));
        assert_eq!(broken.last().map(String::as_str), Some("span-group group of Span1 fail"));
        assert!(text.contains("down: Span2"), "{text}");
    }
}
