//! Findings as a compiler shows them: the place, the offending text underlined, what to write instead.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::ini::Source;
use super::{Finding, Report, Severity};

/// All findings as text, errors and warnings with their lines, notes in one line each, and a verdict.
pub fn render(report: &Report, name: &str, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for finding in report.findings.iter().filter(|finding| finding.severity != Severity::Note) {
        let place = format!("{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.severity);
        let _ = writeln!(text, "{}\n", renderer.render(&[group(finding, &place, &report.source)]));
    }
    for note in report.findings.iter().filter(|finding| finding.severity == Severity::Note) {
        let _ = writeln!(text, "{note}");
    }
    let _ = writeln!(text, "{}", summary(report, name));
    text
}

/// The title starts with the place, as editors like it; the snippet needs no path then.
fn group<'a>(finding: &'a Finding, place: &'a str, source: &'a Source) -> Group<'a> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let (line, start) = source.line_at(finding.span.start);
    let within = |at: usize| at.saturating_sub(start).min(line.len());
    let span = within(finding.span.start)..within(finding.span.end);
    let mark = AnnotationKind::Primary.span(span).label(finding.why.as_str());
    let snippet = Snippet::source(line).line_start(finding.line).annotation(mark);
    let title = level.with_name(place).primary_title(finding.what.as_str());
    title.element(snippet).element(Level::HELP.message(finding.instead.as_str()))
}

fn summary(report: &Report, name: &str) -> String {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    let verdict = if report.config.is_some() { "good" } else { "cannot be used" };
    format!("{name}: {verdict}; errors: {errors}, warnings: {warnings}, notes: {notes}")
}
