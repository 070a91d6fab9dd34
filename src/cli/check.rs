//! `demarc check`: all faults of a configuration at once, without touching the network.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Finding, Report, Severity, keys};
use crate::shell::configuration;

/// The configuration cannot be used.
const BAD_CONFIGURATION: u8 = 2;

/// Arguments of `demarc check`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Check {
    /// The file to check; without it, the file that `run` would read.
    pub file: Option<PathBuf>,
    /// Print findings as JSON.
    #[arg(long)]
    pub json: bool,
    /// Print a commented sample instead: every section and key.
    #[arg(long)]
    pub sample: bool,
}

impl Check {
    /// Checks the file, or `configuration` if none was named; prints to standard output.
    pub fn run(&self, configuration: &Path) -> ExitCode {
        let file = self.file.as_deref().unwrap_or(configuration);
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        match self.write(file, colour, &mut io::stdout().lock()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(BAD_CONFIGURATION),
            // Nobody reads the output any more.
            Err(_) => ExitCode::FAILURE,
        }
    }

    /// Writes the result; answers whether the configuration can be used.
    fn write(&self, file: &Path, colour: bool, out: &mut impl Write) -> io::Result<bool> {
        if self.sample {
            out.write_all(keys::sample().as_bytes())?;
            return Ok(true);
        }
        let name = file.to_string_lossy();
        let report = configuration::check(file).unwrap_or_else(|error| unreadable(&name, &error));
        match self.json {
            true => write_json(&report, out)?,
            false => out.write_all(config::render(&report, &name, colour).as_bytes())?,
        }
        Ok(report.config.is_some())
    }
}

fn unreadable(name: &str, error: &io::Error) -> Report {
    let mut report = config::check(&[], name);
    report.findings = vec![Finding {
        file: name.to_owned(),
        line: 1,
        column: 1,
        length: 0,
        span: 0..0,
        severity: Severity::Error,
        what: "the file cannot be read".into(),
        why: error.to_string(),
        instead: "a file that exists and that this user may read".into(),
    }];
    report
}

fn write_json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &report.findings)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(check: &Check, bytes: &[u8]) -> (bool, String) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("demarc.ini");
        std::fs::write(&file, bytes).unwrap();
        let mut out = Vec::new();
        let good = check.write(&file, false, &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        (good, shown.replace(&*file.to_string_lossy(), "demarc.ini"))
    }

    #[test]
    fn a_fault_is_underlined_where_it_stands() {
        let sample = keys::sample().replace("Port=5060\n", "Port=506O\n");
        let line = sample.lines().position(|line| line == "Port=506O").map_or(0, |at| at + 1);
        let (good, shown) = checked(&Check::default(), sample.as_bytes());
        assert!(!good);
        let expected = format!(
            "demarc.ini:{line}:6: error: `Port` has a wrong value\n    \
             |\n{line} | Port=506O\n    \
             |      ^^^^ this is not a whole number\n    \
             |\n    = help: a port from 1 to 65535\n\n\
             demarc.ini: cannot be used; errors: 1, warnings: 0, notes: 0\n"
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn windows_line_ends_do_not_move_the_underline() {
        let (_, shown) = checked(&Check::default(), b"[Lync]\r\nFqdn=a b\r\n");
        assert!(shown.contains("demarc.ini:2:6: error"), "{shown}");
        assert!(shown.contains("2 | Fqdn=a b\n  |      ^^^ this is not a host name"), "{shown}");
    }

    #[test]
    fn json_has_the_agreed_fields() {
        let check = Check { json: true, ..Check::default() };
        let (good, shown) = checked(&check, b"[Lync]\nProfil=sfb2015\n");
        assert!(!good);
        let list: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&shown).unwrap();
        let profil = list.iter().find(|finding| finding["what"] == "unknown key `Profil`").unwrap();
        let names: Vec<&str> = profil.keys().map(String::as_str).collect();
        let mut agreed = ["file", "line", "column", "severity", "what", "why", "instead"];
        agreed.sort_unstable();
        assert_eq!(names, agreed);
        assert_eq!(profil["line"], 2);
        assert_eq!(profil["column"], 1);
        assert_eq!(profil["severity"], "warning");
        assert_eq!(profil["instead"], "Profile=sfb2015");
    }

    #[test]
    fn the_sample_is_printed_and_is_good() {
        let (_, sample) = checked(&Check { sample: true, ..Check::default() }, b"");
        assert_eq!(sample, keys::sample());
        let (good, shown) = checked(&Check::default(), sample.as_bytes());
        assert_eq!((good, shown.as_str()), (true, "demarc.ini: good; errors: 0, warnings: 0, notes: 0\n"));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_finding() {
        let mut out = Vec::new();
        let good = Check::default().write(Path::new("/nowhere/demarc.ini"), false, &mut out).unwrap();
        assert!(!good);
        assert!(String::from_utf8(out).unwrap().starts_with("/nowhere/demarc.ini:1:1: error: the file cannot be read"));
    }
}
