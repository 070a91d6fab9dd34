//! A configuration as it lies on disk: its text, and the sounds that it names.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::config::{self, Config, Finding, Report, Severity, Web};
use crate::media::sound;

/// The configuration and what works in it but hardly as meant; the rendered faults when it is bad.
pub type Loaded = Result<(Config, Vec<Finding>), String>;

/// For who takes calls.
pub fn load(file: &Path) -> Loaded {
    usable(file, check(file))
}

/// For who asks a running daemon to take it: without the sounds, which take a moment.
pub fn load_text(file: &Path) -> Loaded {
    usable(file, check_text(file))
}

/// For who only asks a running daemon, which may have read a better file: where it answers, and the rendered faults.
pub fn load_web(file: &Path) -> Result<(Web, Option<String>), String> {
    let report = check_text(file).map_err(|fault| format!("{} cannot be read: {fault}", file.display()))?;
    let web = report.web.clone();
    Ok((web, usable(file, Ok(report)).err()))
}

/// Reads and checks a configuration and loads its sounds. One that cannot be played is a warning: calls go on without it.
pub fn check(file: &Path) -> io::Result<Report> {
    let mut report = check_text(file)?;
    load_sounds(&mut report, &file.to_string_lossy());
    Ok(report)
}

fn check_text(file: &Path) -> io::Result<Report> {
    Ok(config::check(&std::fs::read(file)?, &file.to_string_lossy()))
}

fn usable(file: &Path, report: io::Result<Report>) -> Loaded {
    let name = file.display();
    let report = report.map_err(|fault| format!("{name} cannot be read: {fault}"))?;
    let faults = config::render(&report, &name.to_string(), false);
    let warnings = report.findings.into_iter().filter(|finding| finding.severity == Severity::Warning).collect();
    report.config.map(|config| (config, warnings)).ok_or(faults)
}

fn load_sounds(report: &mut Report, name: &str) {
    let Some(sounds) = report.config.as_mut().map(|config| &mut config.sounds) else { return };
    let music = sounds.hold_music.as_mut().map(|music| ("HoldMusic", music));
    let mut faults = Vec::new();
    for (key, file) in music.into_iter().chain(sounds.announcements.files()) {
        match sound::load(&file.path) {
            Ok(sound) => file.sound = Some(Arc::new(sound)),
            Err(fault) => faults.push((key, file.path.clone(), file.named_at.clone(), fault)),
        }
    }
    for (key, path, at, fault) in faults {
        let what = format!("`{key}` cannot be played: {}", path.display());
        let instead = format!("a WAV file of plain samples (PCM) or Ogg Opus that this user may read, or no {key}");
        report.warning(name, &at, what, fault.to_string(), instead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(lines: &str) -> (tempfile::TempDir, Report) {
        let directory = tempfile::tempdir().unwrap();
        let sample = config::keys::sample();
        std::fs::write(
            directory.path().join("demarc.ini"),
            sample.replace("[Media]\n", &format!("[Media]\n{lines}\n")),
        )
        .unwrap();
        std::fs::write(directory.path().join("text.wav"), "no music").unwrap();
        let mut writer = hound::WavWriter::create(
            directory.path().join("music.wav"),
            hound::WavSpec {
                channels: 1,
                sample_rate: 8000,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            },
        )
        .unwrap();
        (0..8000).for_each(|sample| writer.write_sample(sample as i16).unwrap());
        writer.finalize().unwrap();
        let report = check(&directory.path().join("demarc.ini")).unwrap();
        (directory, report)
    }

    #[test]
    fn music_beside_the_configuration_is_loaded() {
        let (_directory, report) = checked("HoldMusic=music.wav");
        let music = report.config.unwrap().sounds.hold_music.unwrap();
        assert_eq!(music.sound.unwrap().length().as_secs(), 1);
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }

    #[test]
    fn music_that_cannot_be_played_is_a_warning_where_it_is_named() {
        for (file, why) in [
            ("gone.wav", "it cannot be read: No such file or directory (os error 2)"),
            ("text.wav", "it is neither WAV nor Ogg Opus"),
            (".", "it cannot be read: Is a directory (os error 21)"),
        ] {
            let (directory, report) = checked(&format!("HoldMusic={file}"));
            assert!(report.config.unwrap().sounds.hold_music.unwrap().sound.is_none());
            let line = std::fs::read_to_string(directory.path().join("demarc.ini"))
                .unwrap()
                .lines()
                .position(|line| line.starts_with("HoldMusic="))
                .unwrap()
                + 1;
            let ini = directory.path().join("demarc.ini");
            let path = directory.path().join(file);
            let expected = format!(
                "{}:{line}:11: warning: `HoldMusic` cannot be played: {}: {why}; a WAV file of plain samples (PCM) or \
                 Ogg Opus that this user may read, or no HoldMusic",
                ini.display(),
                path.display()
            );
            assert_eq!(report.findings.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        }
    }
}
