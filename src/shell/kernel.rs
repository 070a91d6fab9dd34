//! Who else keeps the system's clock: the kernel's own word, and the names of the programs that do.

use std::path::Path;

use crate::clock::Kernel;

/// Programs that discipline a clock, as /proc names them (15 characters).
const KEEPERS: [&str; 5] = ["chronyd", "systemd-timesyn", "ntpd", "ntp-daemon", "ptp4l"];

/// How the kernel runs the clock; `None` where it does not say. Reads some hundred small files.
pub fn look() -> Option<Kernel> {
    let state = firmware_io::clock::discipline().ok()?;
    Some(Kernel {
        synchronised: state.synchronised,
        max_error_seconds: state.max_error.as_secs_f64(),
        frequency_ppm: state.frequency_ppm,
        keeper: keeper(Path::new("/proc")),
    })
}

fn keeper(proc: &Path) -> Option<&'static str> {
    let processes = std::fs::read_dir(proc)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit());
    let names = processes.filter_map(|process| std::fs::read_to_string(process.path().join("comm")).ok());
    names.filter_map(|name| KEEPERS.into_iter().find(|keeper| *keeper == name.trim_end())).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_the_clock_is_known_by_name() {
        let proc = tempfile::tempdir().unwrap();
        let process = |id: &str, name: &str| {
            std::fs::create_dir(proc.path().join(id)).unwrap();
            std::fs::write(proc.path().join(id).join("comm"), format!("{name}\n")).unwrap();
        };
        process("1", "systemd");
        process("acpi", "chronyd");
        assert_eq!(keeper(proc.path()), None);
        process("412", "systemd-timesyn");
        assert_eq!(keeper(proc.path()), Some("systemd-timesyn"));
        assert_eq!(keeper(Path::new("/nowhere")), None);
        assert!(look().is_some());
    }
}
