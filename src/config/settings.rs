//! A file seen through the table of keys: which section and key each line means, and whether its
//! value has the right form.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::Range;

use super::finding::{Finding, Severity};
use super::ini::{Document, Entry, Extent, Fault, Source, Text};
use super::keys::{KEYS, Key, Section, Standing};
use super::value::{Form, Wrong, doubts, nearest, remark, sides};

/// The findings of one file, as they come up.
pub struct Findings<'a> {
    file: &'a str,
    source: &'a Source,
    list: Vec<Finding>,
}

impl<'a> Findings<'a> {
    /// None yet.
    pub fn new(file: &'a str, source: &'a Source) -> Findings<'a> {
        Findings { file, source, list: Vec::new() }
    }

    /// The configuration cannot be used.
    pub fn error(&mut self, at: &Extent, what: impl Into<String>, why: impl Into<String>, instead: impl Into<String>) {
        self.add(Severity::Error, at, [what.into(), why.into(), instead.into()]);
    }

    /// It can be used, but hardly as meant.
    pub fn warning(
        &mut self,
        at: &Extent,
        what: impl Into<String>,
        why: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.add(Severity::Warning, at, [what.into(), why.into(), instead.into()]);
    }

    /// Worth knowing.
    pub fn note(&mut self, at: &Extent, what: impl Into<String>, why: impl Into<String>, instead: impl Into<String>) {
        self.add(Severity::Note, at, [what.into(), why.into(), instead.into()]);
    }

    fn add(&mut self, severity: Severity, at: &Extent, [what, why, instead]: [String; 3]) {
        let place = self.source.place(at.start);
        let length = self.source.at(at).chars().count();
        let (file, span) = (self.file.to_owned(), at.clone());
        let (line, column) = (place.line, place.column);
        self.list.push(Finding { file, line, column, length, span, severity, what, why, instead });
    }

    /// Does any of them forbid the configuration?
    pub fn any_error(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All, in file order.
    pub fn into_list(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|finding| (finding.span.start, finding.severity));
        self.list
    }

    /// Says what the grammar does not allow.
    pub fn grammar(&mut self, fault: &Fault) {
        match fault {
            Fault::TooLong => {
                let why = "no configuration is that long; only its beginning was read";
                self.error(&(0..0), "the file is longer than 1 MiB", why, "the right file");
            }
            Fault::NotText(at) => {
                let instead = "save the file as UTF-8, or as UTF-16 with a byte order mark";
                self.error(at, "this is no text", "the bytes are no character in the file's encoding", instead);
            }
            Fault::Control(at) => {
                let why =
                    "control characters mostly come from UTF-16 without a byte order mark, or from a damaged file";
                self.error(at, "a control character", why, "save the file as UTF-8");
            }
            Fault::NoEquals(at) => {
                let why = "every line is a [Section], a Key=Value, or a comment that starts with ; or #";
                self.error(at, "this line has no `=`", why, "Key=Value, or ; before a remark");
            }
            Fault::NoKey(at) => self.error(at, "the key is missing", "nothing stands before the `=`", "Key=Value"),
            Fault::OpenHeader(at) => {
                let instead = format!("{}]", self.source.at(at));
                self.error(at, "the header has no `]`", "keys below it belong to no section", instead);
            }
            Fault::NoName(at) => {
                self.error(at, "the section has no name", "keys below it belong to no section", "[Lync]");
            }
            Fault::AfterHeader(at) => {
                let instead = "nothing, or the key on its own line";
                self.error(at, "something follows the header", "a header stands alone on its line", instead);
            }
            Fault::NoSection(at) => {
                let why = "what a key means depends on its section";
                self.error(at, "this key stands before the first section", why, "a header such as [Lync] above it");
            }
            Fault::Continued(at, first) => {
                let line = self.source.place(first.start).line;
                let why = format!("line {line} has it already; both are read as one");
                self.warning(at, format!("[{}] stands twice", self.source.at(at)), why, "all its keys in one section");
            }
        }
    }
}

/// A section of a known kind.
pub struct Known<'a> {
    /// Its kind.
    pub section: Section,
    /// As written.
    pub header: &'a Text,
    /// Its known keys; none where keys are free.
    keys: Vec<(&'static Key, &'a Entry)>,
    /// All its lines, where keys are names of the operator's choice.
    pub free: &'a [Entry],
}

impl<'a> Known<'a> {
    /// What follows the fixed word in the header: `Chicago` of `[DialPlan Chicago]`.
    pub fn label(&self) -> &'a str {
        self.header.text.get(self.section.name().len()..).unwrap_or_default().trim()
    }

    /// The line that sets a key.
    pub fn line(&self, name: &str) -> Option<&'a Entry> {
        self.keys.iter().find(|(key, _)| key.name == name).map(|(_, entry)| *entry)
    }

    /// The line that sets a key, if its value is not empty.
    pub fn filled(&self, name: &str) -> Option<&'a Entry> {
        self.line(name).filter(|entry| !entry.value.text.is_empty())
    }

    /// The lines of a family of keys that are not empty, in file order, each with the operator's name for it.
    pub fn family(&self, name: &str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let lines = self.keys.iter().filter(move |(key, entry)| key.name == name && !entry.value.text.is_empty());
        lines.filter_map(|(key, entry)| Some((key.label(&entry.key.text)?, *entry)))
    }

    /// The value of a key, if there is a good one.
    pub fn value<T>(&self, name: &str, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        self.filled(name).and_then(|entry| read(&entry.value.text).ok())
    }
}

/// All sections of known kinds, in file order.
pub struct Settings<'a> {
    /// Each header once.
    pub sections: Vec<Known<'a>>,
}

impl<'a> Settings<'a> {
    /// Looks every section and key up and checks each value by itself.
    pub fn recognise(document: &'a Document, findings: &mut Findings<'_>) -> Settings<'a> {
        let mut sections = Vec::new();
        for section in &document.sections {
            match Section::of(&section.name.text) {
                Some(kind) => sections.push(recognise(kind, &section.name, &section.entries, findings)),
                None => unknown_section(&section.name, findings),
            }
        }
        Settings { sections }
    }

    /// The only section of a kind.
    pub fn one(&self, section: Section) -> Option<&Known<'a>> {
        self.sections.iter().find(|known| known.section == section)
    }

    /// All sections of a kind, in file order.
    pub fn all(&self, section: Section) -> impl Iterator<Item = &Known<'a>> {
        self.sections.iter().filter(move |known| known.section == section)
    }

    /// The line that sets a key of a section that stands once, if its value is not empty.
    pub fn filled(&self, section: Section, name: &str) -> Option<&'a Entry> {
        self.one(section).and_then(|known| known.filled(name))
    }

    /// The value of a key, else its default. A wrong value was reported and counts as absent.
    pub fn value<T>(&self, section: Section, name: &str, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let written = self.one(section).and_then(|known| known.value(name, &read));
        written.or_else(|| default(section, name, &read))
    }

    /// The place of a key's value; of the section if the key is absent; of the file's start else.
    pub fn place(&self, section: Section, name: &str) -> Extent {
        let known = self.one(section);
        let line = known.and_then(|known| known.line(name)).map(value_or_key);
        line.or_else(|| known.map(|known| known.header.span.clone())).unwrap_or(0..0)
    }
}

/// What the table says when the file says nothing.
pub fn default<T>(section: Section, name: &str, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
    let key = section.key(name)?;
    if key.default.is_empty() { None } else { read(key.default).ok() }
}

/// Where to point: at the value, or at the key if there is none.
pub fn value_or_key(entry: &Entry) -> Extent {
    if entry.value.text.is_empty() { entry.key.span.clone() } else { entry.value.span.clone() }
}

fn recognise<'a>(kind: Section, header: &'a Text, entries: &'a [Entry], findings: &mut Findings<'_>) -> Known<'a> {
    if kind.standing() == Standing::NotYet && !entries.is_empty() {
        let what = format!("[{}] has no effect yet", header.text);
        findings.note(&header.span, what, "it is known and its values are checked, but nothing reads them yet", STAYS);
    }
    if let Some(form) = kind.free() {
        free_section(entries, form, findings);
        return Known { section: kind, header, keys: Vec::new(), free: entries };
    }
    let mut keys: Vec<(&'static Key, &Entry)> = Vec::new();
    for entry in entries {
        let Some(key) = kind.key(&entry.key.text) else {
            unknown_key(kind, header, entry, findings);
            continue;
        };
        let same = |first: &Entry| key.family.is_none() || first.key.text.eq_ignore_ascii_case(&entry.key.text);
        match keys.iter().find(|(known, first)| std::ptr::eq(*known, key) && same(first)) {
            Some((_, first)) => repeated(first, entry, findings),
            None => {
                known_key(kind, key, entry, findings);
                keys.push((key, entry));
            }
        }
    }
    Known { section: kind, header, keys, free: &[] }
}

const STAYS: &str = "it may stay";

fn free_section(entries: &[Entry], form: Form, findings: &mut Findings<'_>) {
    let mut names: HashMap<String, &Entry> = HashMap::new();
    for entry in entries {
        match names.entry(entry.key.text.to_ascii_lowercase()) {
            Slot::Occupied(first) => repeated(first.get(), entry, findings),
            Slot::Vacant(slot) => drop(slot.insert(entry)),
        }
        check_form(form, entry, findings);
    }
}

fn known_key(kind: Section, key: &Key, entry: &Entry, findings: &mut Findings<'_>) {
    let empty = entry.value.text.is_empty();
    match key.standing {
        Standing::Windows => {
            let what = format!("`{}` is ignored", entry.key.text);
            findings.note(&entry.key.span, what, "it belongs to Cloud Connector's Windows machines", STAYS);
        }
        Standing::NotYet if !empty && kind.standing() == Standing::Acts => {
            let what = format!("`{}` has no effect yet", entry.key.text);
            findings.note(&entry.key.span, what, "it is known, but nothing reads it yet", STAYS);
        }
        _ => {}
    }
    if !empty {
        check_form(key.form, entry, findings);
    }
}

fn check_form(form: Form, entry: &Entry, findings: &mut Findings<'_>) {
    let Entry { key, value } = entry;
    match form.check(&value.text) {
        Err(wrong) => {
            let instead = match remark(&value.text) {
                Some(at) => format!("the remark on a line of its own: {}={}", key.text, value.text[..at].trim()),
                None => wrong.instead,
            };
            findings.error(&part(value, &wrong.at), format!("`{}` has a wrong value", key.text), wrong.why, instead);
        }
        Ok(()) => {
            for doubt in pattern(form, &value.text).map(doubts).unwrap_or_default() {
                let what = format!("`{}` may match other than is meant", key.text);
                findings.warning(&part(value, &doubt.at), what, doubt.why, doubt.instead);
            }
        }
    }
}

fn pattern(form: Form, text: &str) -> Option<&str> {
    match form {
        Form::Pattern => Some(text),
        Form::Translation => sides(text).map(|[(_, pattern), _]| pattern),
        _ => None,
    }
}

/// The place of a part of a value; an empty part means the whole.
fn part(value: &Text, at: &Range<usize>) -> Extent {
    if at.is_empty() {
        return value.span.clone();
    }
    value.span.start + at.start..(value.span.start + at.end).min(value.span.end)
}

fn repeated(first: &Entry, again: &Entry, findings: &mut Findings<'_>) {
    let line = findings.source.place(first.key.span.start).line;
    let why = match first.key.text.eq_ignore_ascii_case(&again.key.text) {
        true => format!("line {line} sets it already"),
        false => format!("line {line} sets it already, as `{}`", first.key.text),
    };
    findings.error(&again.key.span, format!("`{}` stands twice", again.key.text), why, "one of the two lines");
}

fn unknown_key(kind: Section, header: &Text, entry: &Entry, findings: &mut Findings<'_>) {
    let name = &entry.key.text;
    let spellings = kind.keys().flat_map(|key| std::iter::once(&key.name).chain(key.aliases)).copied();
    let elsewhere = KEYS.iter().find(|key| key.is(name)).map(|key| key.section.name());
    let instead = match (nearest(name, spellings), elsewhere) {
        (Some(near), _) => format!("{near}={}", entry.value.text),
        (None, Some(section)) => format!("{name} belongs in [{section}]"),
        (None, None) => "nothing, or one of the keys that `demarc check --sample` lists".to_owned(),
    };
    let why = format!("no key of [{}] has this name; the line is ignored", header.text);
    findings.warning(&entry.key.span, format!("unknown key `{name}`"), why, instead);
}

fn unknown_section(header: &Text, findings: &mut Findings<'_>) {
    let instead = match Section::nearest(&header.text) {
        Some(near) => format!("[{near}]"),
        None => "nothing, or one of the sections that `demarc check --sample` lists".to_owned(),
    };
    let why = "no section has this name; its keys are ignored";
    findings.warning(&header.span, format!("unknown section [{}]", header.text), why, instead);
}
