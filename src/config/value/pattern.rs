//! Patterns as .NET writes them, and values that are rarely meant as they stand.

use std::ops::Range;

use fancy_regex::{Error, Regex, RegexBuilder};

use super::Wrong;

/// Steps that a pattern may take before it counts as "no match": a telephone number needs some
/// dozens, a runaway pattern would need millions.
const BACKTRACK_LIMIT: usize = 100_000;

/// Compiles a pattern with .NET's meaning, or says what stands in the way.
pub fn pattern(text: &str) -> Result<Regex, Wrong> {
    compile(text, false)
}

/// A pattern that is searched in a text of several lines: `^` and `$` are a line's ends.
#[derive(Clone, Debug)]
pub struct Search(Regex);

impl Search {
    /// Is it there? A pattern that takes too many steps is not.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text).unwrap_or(false)
    }
}

impl PartialEq for Search {
    fn eq(&self, other: &Search) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Search {}

/// Compiles a pattern that is searched in a text of several lines.
pub fn search(text: &str) -> Result<Search, Wrong> {
    compile(text, true).map(Search)
}

fn compile(text: &str, lines: bool) -> Result<Regex, Wrong> {
    if let Some(wrong) = differs_in_class(text) {
        return Err(wrong);
    }
    let mut builder = RegexBuilder::new(&from_dotnet(text));
    builder.multi_line(lines).backtrack_limit(BACKTRACK_LIMIT).build().map_err(|error| {
        let at = match &error {
            Error::ParseError(at, _) => one_character(text, *at),
            _ => 0..text.len(),
        };
        Wrong { at, why: format!("the pattern cannot be read: {}", reason(&error)), instead: correction(text) }
    })
}

fn reason(error: &Error) -> String {
    let whole = match error {
        Error::ParseError(_, what) => what.to_string(),
        other => other.to_string(),
    };
    let last = whole.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

fn correction(text: &str) -> String {
    match text.contains('*') && (text.starts_with('*') || text.starts_with("+")) {
        true => r"a regular expression: `.*` for anything, `\+` for a plus".to_owned(),
        false => r"a regular expression, for example ^\+1312\d{7}$".to_owned(),
    }
}

/// `(?'name'...)` is .NET's other spelling of `(?<name>...)`: same length, so places stay true.
fn from_dotnet(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once("(?'") {
        let Some((name, behind)) = after.split_once('\'') else { break };
        out.push_str(before);
        out.push_str("(?<");
        out.push_str(name);
        out.push('>');
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Inside `[...]` .NET subtracts with `-[...]` and takes `&&`, `~~` and `--` literally; the regex
/// crate reads both the other way, without a word.
fn differs_in_class(text: &str) -> Option<Wrong> {
    let bytes = text.as_bytes();
    let mut inside = false;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        match (inside, rest) {
            (_, [b'\\', _, ..]) => at += 1,
            (false, [b'[', ..]) => inside = true,
            (true, [b'-', b'[', ..]) => {
                let why = "class subtraction `[a-[b]]` is not supported";
                return Some(Wrong {
                    at: at..at + 2,
                    why: why.into(),
                    instead: "the class without it: [0-46-9]".into(),
                });
            }
            (true, [b'&', b'&', ..] | [b'~', b'~', ..] | [b'-', b'-', ..] | [b'[', ..]) => {
                let why = "this has no single meaning inside `[...]`".into();
                return Some(Wrong { at: one_character(text, at), why, instead: "a backslash before it".into() });
            }
            (true, [b']', ..]) => inside = false,
            _ => {}
        }
        at += 1;
    }
    None
}

fn one_character(text: &str, at: usize) -> Range<usize> {
    let start = (0..text.len().min(at + 1)).rev().find(|&byte| text.is_char_boundary(byte)).unwrap_or_default();
    let width = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    start..start + width
}

/// What is probably not meant in a pattern that compiles.
pub fn doubts(text: &str) -> Vec<Wrong> {
    let mut doubts = Vec::new();
    doubts.extend(unanchored(text));
    doubts.extend(missing_braces(text));
    doubts.extend(trailing_remark(text));
    doubts
}

/// Where a remark behind a value starts: it is part of the value, which is seldom meant.
pub fn remark(value: &str) -> Option<usize> {
    value.find([';', '#']).filter(|&at| value[..at].ends_with([' ', '\t']))
}

fn trailing_remark(text: &str) -> Option<Wrong> {
    let at = remark(text)?;
    let why = "a remark behind a value is part of the value".to_owned();
    Some(Wrong { at: at..text.len(), why, instead: "the remark on a line of its own".into() })
}

fn unanchored(text: &str) -> Option<Wrong> {
    let start = text.trim_start_matches("(?:").trim_start_matches('(');
    if [r"^", r"\A", ".*", "?<", "?'", "?="].iter().any(|anchor| start.starts_with(anchor)) {
        return None;
    }
    let why = "without `^` it matches anywhere in a number".to_owned();
    Some(Wrong { at: 0..0, why, instead: format!("^{text}") })
}

/// `\d11` is one digit and the digits 11; documents have it where `\d{11}` is meant.
fn missing_braces(text: &str) -> Option<Wrong> {
    let (before, after) = text.split_once(r"\d").filter(|(before, _)| !before.ends_with('\\'))?;
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let end = after.get(digits..).is_some_and(|rest| rest.is_empty() || rest.starts_with([')', '$']));
    if !(1..=2).contains(&digits) || !end {
        return None;
    }
    let at = before.len()..before.len() + 2 + digits;
    let count = after.get(..digits).unwrap_or_default();
    let why = format!("`\\d{count}` is one digit followed by the digits {count}");
    Some(Wrong { at, why, instead: format!("\\d{{{count}}} if {count} digits are meant") })
}
