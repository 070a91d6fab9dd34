//! Who else keeps the system's clock: the kernel's own word, and the names of the programs that do.

use std::path::Path;

use crate::clock::Kernel;

/// Programs that discipline a clock, as /proc names them (15 characters).
const KEEPERS: [&str; 5] = ["chronyd", "systemd-timesyn", "ntpd", "ntp-daemon", "ptp4l"];

/// capabilities(7): number 25.
const CAP_SYS_TIME: u64 = 1 << 25;

/// How the kernel runs the clock; `None` where it does not say. Reads some hundred small files.
pub fn look() -> Option<Kernel> {
    let state = firmware_io::clock::discipline().ok()?;
    Some(Kernel {
        synchronised: state.synchronised,
        max_error_seconds: state.max_error.as_secs_f64(),
        frequency_ppm: state.frequency_ppm,
        keeper: keeper(Path::new("/proc")),
        settable: std::fs::read_to_string("/proc/self/status").is_ok_and(|status| may_set(&status)),
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

/// Has the process of this `/proc/PID/status` CAP_SYS_TIME?
fn may_set(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    effective.is_some_and(|set| set & CAP_SYS_TIME != 0)
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

    #[test]
    fn whether_the_clock_may_be_set_is_known_without_trying() {
        for (effective, expected) in [("0000000002000000", true), ("000001fffdffffff", false), ("none", false)] {
            assert_eq!(may_set(&format!("Name:\tdemarc\nCapPrm:\t0000000002000000\nCapEff:\t{effective}\n")), expected);
        }
        assert!(!may_set(""));
    }
}
