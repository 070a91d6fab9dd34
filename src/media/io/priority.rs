//! The thread's place on the machine: before all ordinary threads, and on a core of its own.
#![allow(unsafe_code)]

use std::fmt;
use std::io;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// How punctual the media threads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// They run before all ordinary threads.
    RealTime,
    /// They share the machine: the system refused real-time priority with this error number.
    Ordinary(i32),
}

impl Pace {
    /// Gives the calling thread what can be had.
    pub fn take() -> Pace {
        real_time().map_or_else(|error| Pace::Ordinary(error.raw_os_error().unwrap_or(0)), |()| Pace::RealTime)
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::RealTime => f.write_str("media threads run with real-time priority"),
            Pace::Ordinary(error) => write!(
                f,
                "media threads run without real-time priority ({}): on a busy machine sound will be late; \
                 grant CAP_SYS_NICE or LimitRTPRIO=10",
                io::Error::from_raw_os_error(*error)
            ),
        }
    }
}

/// Gives the calling thread real-time priority (SCHED_FIFO). Needs CAP_SYS_NICE or RLIMIT_RTPRIO.
pub fn real_time() -> io::Result<()> {
    // Above every ordinary thread, below the kernel's own (50): a media thread that waits for a
    // softirq must not keep it from running.
    let parameters = libc::sched_param { sched_priority: 10 };
    // SAFETY: the calling thread's own handle and a parameter that outlives the call.
    match unsafe { libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Keeps the calling thread on this core, counted from 0.
pub fn pin(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

#[cfg(test)]
mod tests {
    use nix::sched::sched_getaffinity;

    use super::*;

    #[test]
    fn a_thread_stays_on_its_core() {
        let run = std::thread::spawn(|| {
            let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let core = (0..CpuSet::count()).rfind(|core| all.is_set(*core).unwrap()).unwrap();
            pin(core).unwrap();
            let cores = sched_getaffinity(Pid::from_raw(0)).unwrap();
            (0..CpuSet::count()).all(|other| cores.is_set(other).unwrap() == (other == core))
        });
        assert!(run.join().unwrap());
        assert!(pin(CpuSet::count() - 1).is_err() && pin(usize::MAX).is_err(), "no such core");
    }

    #[test]
    fn a_missing_priority_is_said_with_its_remedy() {
        let text = Pace::Ordinary(libc::EPERM).to_string();
        assert!(text.contains("Operation not permitted") && text.contains("LimitRTPRIO"), "{text}");
    }
}
