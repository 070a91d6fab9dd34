//! Bytes to sections, keys and values that remember where they stand.
//!
//! The grammar is CloudConnector.ini's: `[Section]`, then `Key=Value` split at the first `=`; both
//! sides are trimmed and nothing is unquoted, unescaped or continued on the next line. `;` and `#`
//! start a comment only as the first character of a line (or after a header's `]`), because numbers
//! (`+1425$1;ext=$1`) and patterns contain them.
//!
//! A repeated section continues the first one; a repeated key is left to the caller, who knows the
//! aliases.

use std::collections::HashMap;
use std::ops::Range;

/// The longest file that is read, in bytes: a real one has some thousand.
const LONGEST: usize = 1 << 20;

/// Bytes of the text that something occupies.
pub type Extent = Range<usize>;

/// The decoded text of a file, and where its lines start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    text: String,
    starts: Vec<usize>,
}

/// A place for people: both count from 1, columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Source {
    /// Takes a text apart into lines.
    pub fn new(text: String) -> Source {
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        Source { text, starts }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands in a span; empty when there is nothing.
    pub fn at(&self, span: &Extent) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Line and column of a byte.
    pub fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        Place { line, column: self.at(&(start..offset)).chars().count() + 1 }
    }

    /// The line that a byte stands in, without its end, and where it starts.
    pub fn line_at(&self, offset: usize) -> (&str, usize) {
        let start = self.starts.get(self.place(offset).line - 1).copied().unwrap_or_default();
        let line = self.line_from(start);
        (line.text, line.start)
    }

    fn line_from(&self, start: usize) -> Words<'_> {
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        Words { text: line.strip_suffix('\r').unwrap_or(line), start }
    }

    fn lines(&self) -> impl Iterator<Item = Words<'_>> {
        self.starts.iter().map(|&start| self.line_from(start))
    }
}

/// A piece of the text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The characters.
    pub text: String,
    /// Where they stand; empty but placed for an empty value.
    pub span: Extent,
}

/// `Key=Value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As written.
    pub key: Text,
    /// As written, trimmed.
    pub value: Text,
}

/// `[Name]` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// As written, without the brackets.
    pub name: Text,
    /// In file order.
    pub entries: Vec<Entry>,
}

/// What the grammar does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file is longer than any configuration; the rest was not read.
    TooLong,
    /// Bytes that are no character in the file's encoding; the first of a line.
    NotText(Extent),
    /// A control character; a NUL is mostly UTF-16 without a byte order mark.
    Control(Extent),
    /// Neither a header nor `Key=Value`.
    NoEquals(Extent),
    /// `=value`.
    NoKey(Extent),
    /// `[Name` without its bracket.
    OpenHeader(Extent),
    /// `[]`.
    NoName(Extent),
    /// Something after a header's bracket.
    AfterHeader(Extent),
    /// A key before the first header.
    NoSection(Extent),
    /// A section continued: the later header, the first header.
    Continued(Extent, Extent),
}

/// Sections in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Each name once.
    pub sections: Vec<Section>,
}

/// Reads a file: whatever it contains, as far as it can be understood.
pub fn read(bytes: &[u8]) -> (Source, Document, Vec<Fault>) {
    let mut faults = Vec::new();
    let source = Source::new(decode(bytes.get(..LONGEST).unwrap_or(bytes), &mut faults));
    if bytes.len() > LONGEST {
        faults.push(Fault::TooLong);
    }
    let mut reader = Reader { document: Document::default(), known: HashMap::new(), open: None, faults };
    for line in source.lines() {
        reader.line(line);
    }
    (source, reader.document, reader.faults)
}

/// UTF-8 unless a byte order mark, or a NUL after the first character, says UTF-16. Each wrong place
/// becomes U+FFFD and a fault.
fn decode(bytes: &[u8], faults: &mut Vec<Fault>) -> String {
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => decode_utf8(rest, faults),
        [0xFF, 0xFE, rest @ ..] => decode_utf16(rest, u16::from_le_bytes, faults),
        [0xFE, 0xFF, rest @ ..] => decode_utf16(rest, u16::from_be_bytes, faults),
        [first, 0, ..] if *first != 0 => decode_utf16(bytes, u16::from_le_bytes, faults),
        _ => decode_utf8(bytes, faults),
    }
}

fn decode_utf8(bytes: &[u8], faults: &mut Vec<Fault>) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            push_wrong(&mut text, faults);
        }
    }
    text
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, faults: &mut Vec<Fault>) -> String {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len() / 2);
    for decoded in char::decode_utf16(pairs.iter().map(|&pair| unit(pair))) {
        match decoded {
            Ok(c) => text.push(c),
            Err(_) => push_wrong(&mut text, faults),
        }
    }
    if !odd.is_empty() {
        push_wrong(&mut text, faults);
    }
    text
}

/// One fault a line: where one byte is wrong, mostly many are.
fn push_wrong(text: &mut String, faults: &mut Vec<Fault>) {
    let at = text.len();
    text.push(char::REPLACEMENT_CHARACTER);
    let same_line = |fault: &Fault| matches!(fault, Fault::NotText(last) if !text[last.end..].contains('\n'));
    if !faults.last().is_some_and(same_line) {
        faults.push(Fault::NotText(at..text.len()));
    }
}

/// Part of a line that knows where it starts.
#[derive(Clone, Copy)]
struct Words<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Words<'a> {
    fn extent(self) -> Extent {
        self.start..self.start + self.text.len()
    }

    fn trim(self) -> Words<'a> {
        let left = self.text.trim_start();
        Words { text: left.trim_end(), start: self.start + (self.text.len() - left.len()) }
    }

    /// The parts before and after the first `separator`, which is one octet.
    fn split(self, separator: char) -> Option<(Words<'a>, Words<'a>)> {
        let (before, after) = self.text.split_once(separator)?;
        let start = self.start + before.len() + separator.len_utf8();
        Some((Words { text: before, start: self.start }, Words { text: after, start }))
    }

    fn own(self) -> Text {
        Text { text: self.text.to_owned(), span: self.extent() }
    }
}

struct Reader {
    document: Document,
    /// Lower-case names of the sections so far.
    known: HashMap<String, usize>,
    /// The section that keys now belong to; an unreadable header opens none.
    open: Option<Open>,
    faults: Vec<Fault>,
}

enum Open {
    Section(usize),
    Unreadable,
}

impl Reader {
    fn line(&mut self, line: Words<'_>) {
        self.note_controls(line);
        let line = line.trim();
        if line.text.is_empty() || line.text.starts_with([';', '#']) {
            return;
        }
        match line.text.starts_with('[') {
            true => self.header(line),
            false => self.entry(line),
        }
    }

    fn note_controls(&mut self, line: Words<'_>) {
        let mut controls = line.text.char_indices().filter(|(_, c)| c.is_control() && *c != '\t');
        if let Some((at, c)) = controls.next() {
            let start = line.start + at;
            self.faults.push(Fault::Control(start..start + c.len_utf8()));
        }
    }

    fn header(&mut self, line: Words<'_>) {
        self.open = Some(Open::Unreadable);
        let Some((before, after)) = line.split(']') else {
            return self.faults.push(Fault::OpenHeader(line.extent()));
        };
        let after = after.trim();
        if !after.text.is_empty() && !after.text.starts_with([';', '#']) {
            self.faults.push(Fault::AfterHeader(after.extent()));
        }
        let inside = before.text.get(1..).unwrap_or_default();
        let name = Words { text: inside, start: before.start + 1 }.trim();
        if name.text.is_empty() {
            return self.faults.push(Fault::NoName(line.extent()));
        }
        self.open = Some(Open::Section(self.section(name)));
    }

    fn section(&mut self, name: Words<'_>) -> usize {
        let sections = &mut self.document.sections;
        let at = *self.known.entry(name.text.to_ascii_lowercase()).or_insert(sections.len());
        match sections.get(at) {
            Some(first) => self.faults.push(Fault::Continued(name.extent(), first.name.span.clone())),
            None => sections.push(Section { name: name.own(), entries: Vec::new() }),
        }
        at
    }

    fn entry(&mut self, line: Words<'_>) {
        let Some((key, value)) = line.split('=') else {
            return self.faults.push(Fault::NoEquals(line.extent()));
        };
        let (key, value) = (key.trim(), value.trim());
        if key.text.is_empty() {
            return self.faults.push(Fault::NoKey(line.extent()));
        }
        match self.open {
            Some(Open::Section(at)) => {
                self.document.sections[at].entries.push(Entry { key: key.own(), value: value.own() });
            }
            Some(Open::Unreadable) => {}
            None => self.faults.push(Fault::NoSection(line.extent())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(bytes: &[u8]) -> Vec<(String, String, String)> {
        let (_, document, faults) = read(bytes);
        assert_eq!(faults, []);
        let flat = document.sections.into_iter().flat_map(|section| {
            section.entries.into_iter().map(move |e| (section.name.text.clone(), e.key.text, e.value.text))
        });
        flat.collect()
    }

    fn faults(text: &str) -> Vec<Fault> {
        read(text.as_bytes()).2
    }

    fn utf16(text: &str, mark: [u8; 2], unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.into_iter().chain(text.encode_utf16().flat_map(unit)).collect()
    }

    #[test]
    fn values_keep_semicolons_equals_signs_backslashes_and_quotes() {
        let cases = [
            ("ext=+1425$1;ext=$1", "+1425$1;ext=$1"),
            (r"path=C:\UCMA\new", r"C:\UCMA\new"),
            (r"route=^\+1312\d{7}$", r"^\+1312\d{7}$"),
            ("quoted=\"a\",\"b\"", "\"a\",\"b\""),
            ("hash=a # b", "a # b"),
            ("name= cc-edge1 ", "cc-edge1"),
            ("empty=", ""),
        ];
        for (line, value) in cases {
            let found = entries(format!("[S]\n{line}\n").as_bytes());
            assert_eq!(found.first().map(|e| e.2.as_str()), Some(value), "{line}");
        }
    }

    #[test]
    fn every_encoding_of_one_file_reads_the_same() {
        let text = "[Común]\r\nCity=Zürich 😀\r\n\r\n; note\r\n# note\r\n[B]\r\nA=1";
        let plain = entries(text.as_bytes());
        assert_eq!(plain.len(), 2);
        assert_eq!(plain[0].2, "Zürich 😀");
        assert_eq!(entries(text.replace("\r\n", "\n").as_bytes()), plain);
        assert_eq!(entries(format!("\u{feff}{text}").as_bytes()), plain);
        assert_eq!(entries(&utf16(text, [0xFF, 0xFE], u16::to_le_bytes)), plain);
        assert_eq!(entries(&utf16(text, [0xFE, 0xFF], u16::to_be_bytes)), plain);
        assert_eq!(entries(&utf16(text, [0xFF, 0xFE], u16::to_le_bytes)[2..]), plain);
    }

    #[test]
    fn places_count_lines_and_characters() {
        let (source, document, _) = read("[S]\r\n  Stadt = Zürich \r\n".as_bytes());
        let entry = &document.sections[0].entries[0];
        assert_eq!(source.at(&entry.value.span), "Zürich");
        assert_eq!(source.place(entry.key.span.start), Place { line: 2, column: 3 });
        assert_eq!(source.place(entry.value.span.start), Place { line: 2, column: 11 });
        assert_eq!(source.place(entry.value.span.end), Place { line: 2, column: 17 });
        assert_eq!(source.place(usize::MAX).line, 3);
    }

    #[test]
    fn each_fault_has_its_place() {
        assert_eq!(faults("[S]\nLonely\n"), [Fault::NoEquals(4..10)]);
        assert_eq!(faults("[S]\n =x\n"), [Fault::NoKey(5..7)]);
        assert_eq!(faults("[S\nA=1\n"), [Fault::OpenHeader(0..2)]);
        assert_eq!(faults("[ ]\nA=1\n"), [Fault::NoName(0..3)]);
        assert_eq!(faults("[S] rest\n"), [Fault::AfterHeader(4..8)]);
        assert_eq!(faults("[S] ; remark\n"), []);
        assert_eq!(faults("A=1\n"), [Fault::NoSection(0..3)]);
        assert_eq!(faults("[S]\nA=\u{1}\n"), [Fault::Control(6..7)]);
        assert_eq!(faults("[S]\n[s]\n"), [Fault::Continued(5..6, 1..2)]);
        assert_eq!(read(b"[S]\nA=\xC3(\n").2, [Fault::NotText(6..9)]);
        assert_eq!(read(b"[S]\nA=\xC3(\xC3(\nB=\xC3\n").2, [Fault::NotText(6..9), Fault::NotText(17..20)]);
        assert_eq!(read(&b"[S]\n".repeat(LONGEST)).2.iter().filter(|fault| **fault == Fault::TooLong).count(), 1);
        assert_eq!(read(b"\xFF\xFEA").2, [Fault::NotText(0..3), Fault::NoEquals(0..3)]);
        assert_eq!(read(b"\xFF\xFE\x00\xD8[\x00").2[0], Fault::NotText(0..3));
    }

    #[test]
    fn a_continued_section_keeps_one_name_and_all_keys() {
        let (_, document, _) = read(b"[Gateway1]\nA=1\n[X]\n[GATEWAY1]\nB=2\n");
        assert_eq!(document.sections.len(), 2);
        assert_eq!(document.sections[0].entries.len(), 2);
    }
}
