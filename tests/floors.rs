//! The floors of the house: nothing names what stands above it, and only the shell and the media threads touch the
//! machine's clock, its chance, its network and its threads.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use std::fs;
use std::path::{Path, PathBuf};

/// Where a module stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    /// Values that all share.
    Values,
    /// Bytes and texts.
    Wire,
    /// Protocol machines.
    Machines,
    /// Calls.
    Calls,
    /// The media plane with its own threads.
    Media,
    /// All that waits: sockets, clocks, files, arguments.
    Shell,
}

use Floor::{Calls, Machines, Media, Shell, Values, Wire};

const MAP: &[(&str, Floor)] = &[
    ("alarm", Values),
    ("cause", Values),
    ("hop", Values),
    ("leg", Values),
    ("private", Values),
    ("random", Values),
    ("session", Values),
    ("time", Values),
    ("tone", Values),
    ("config", Wire),
    ("wire", Wire),
    ("clock", Machines),
    ("console", Machines),
    ("gateway", Machines),
    ("identity", Machines),
    ("isdn", Machines),
    ("sip", Machines),
    ("call", Calls),
    ("exchange", Calls),
    ("route", Calls),
    ("media", Media),
    ("cli", Shell),
    ("shell", Shell),
    ("lib", Shell),
    ("main", Shell),
];

/// What only the shell and the media threads may name.
const OUTSIDE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "rand::random",
    "rand::rng(",
    "thread_rng",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "socket2::",
    "nix::",
    "libc::",
    "tokio::",
    "std::thread",
    "thread::",
];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "manager",
    "handler",
    "service",
    "context",
    "processor",
    "util",
    "utils",
    "helper",
    "helpers",
    "data",
    "info",
    "common",
    "misc",
];

impl Floor {
    fn of(module: &str) -> Option<Floor> {
        MAP.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
    }

    /// May a module here name one there?
    fn sees(self, there: Floor) -> bool {
        match self {
            Values => there == Values,
            Wire => matches!(there, Values | Wire),
            Machines => matches!(there, Values | Wire | Machines),
            Calls => matches!(there, Values | Wire | Machines | Calls),
            Media => matches!(there, Values | Wire | Media),
            Shell => true,
        }
    }

    fn may_touch_the_machine(self) -> bool {
        matches!(self, Media | Shell)
    }
}

/// All that is wrong with a file; `path` counts from `src`.
fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for part in path.trim_end_matches(".rs").split(['/', '_']) {
        if EMPTY_NAMES.contains(&part) {
            faults.push(format!("{path}: the name {part:?} says nothing"));
        }
    }
    let module = path.trim_end_matches(".rs").split('/').next().unwrap_or_default();
    let Some(floor) = Floor::of(module) else {
        faults.push(format!("{path}: {module} stands on no floor; give it a place in tests/floors.rs"));
        return faults;
    };
    let code = without_comments(text);
    for named in modules_named(&code) {
        if Floor::of(&named).is_some_and(|there| !floor.sees(there)) {
            faults.push(format!("{path} ({floor:?}) names crate::{named}"));
        }
    }
    if !floor.may_touch_the_machine() {
        faults.extend(OUTSIDE.iter().filter(|word| names(&code, word)).map(|word| format!("{path} names {word}")));
    }
    faults
}

fn without_comments(text: &str) -> String {
    let code = |line: &str| match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// Does the word stand there as a path of its own, not as the tail of a longer name?
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The modules that follow `crate::`, alone or as a list in braces.
fn modules_named(code: &str) -> Vec<String> {
    code.match_indices("crate::").flat_map(|(at, path)| heads(&code[at + path.len()..])).collect()
}

fn heads(rest: &str) -> Vec<String> {
    let identifier =
        |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(list) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(identifier(&list[from..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(identifier(&list[from..at]));
                from = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn nothing_points_upward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 8, "the sources are where they are looked for");
    let faults: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let path = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            faults(&path, &fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_planted_fault_is_found() {
    let bad = [
        ("sip/dialog.rs", "use crate::call::Call;"),
        ("wire/sdp.rs", "fn f() -> crate::sip::Dialog { todo() }"),
        ("config/mod.rs", "use crate::{cause::Cause, sip::{Dialog, Via}};"),
        ("time.rs", "use crate::{\n    wire::sip::Uri,\n    hop::Hop,\n};"),
        ("call/switch.rs", "use crate::media::Engine;"),
        ("media/engine.rs", "use crate::call::Switch;"),
        ("sip/mod.rs", "let now = std::time::Instant::now();"),
        ("route/mod.rs", "let now = SystemTime::now();"),
        ("call/mod.rs", "let tag: u32 = rand::random();"),
        ("sip/mod.rs", "tokio::spawn(async {});"),
        ("wire/mod.rs", "thread::sleep(pause);"),
        ("config/mod.rs", "use std::net::{SocketAddr, UdpSocket};"),
        ("call/utils.rs", ""),
        ("sip/call_manager.rs", ""),
        ("novel/mod.rs", ""),
    ];
    for (path, text) in bad {
        assert_eq!(faults(path, text).len(), 1, "{path}: {text}");
    }
    let good = [
        ("sip/dialog.rs", "use crate::{wire::sip::Uri, time::{Instant, Now}};"),
        ("call/switch.rs", "use crate::sip::Dialog; // as crate::shell does, no Instant::now here"),
        ("media/engine.rs", "use crate::session::Session; let now = Instant::now();"),
        ("shell/reactor.rs", "use crate::{call::Switch, media::Engine}; tokio::spawn(f);"),
        ("wire/sdp.rs", "fn take(multithread::X: u8) { my_rand::random_walk() }"),
    ];
    for (path, text) in good {
        assert_eq!(faults(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
