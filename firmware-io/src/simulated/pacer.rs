//! The thread that lets time pass on all simulated lines: a tick a millisecond on the kernel's own schedule, so that
//! what is late is made up for and nothing is lost.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::cable::Cable;

/// How often cables that nobody holds are looked for, ticks.
const SWEEP: u64 = 1000;

/// Lets time pass on cables as it passes in the world, until it is dropped.
#[derive(Debug)]
pub struct Pacer {
    cables: Sender<Cable>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    ticks: AtomicU64,
    late: AtomicU64,
}

impl Pacer {
    /// Starts the thread. It runs `prepare` first: priority, core.
    pub fn start(prepare: impl FnOnce() + Send + 'static) -> io::Result<Pacer> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(TimeSpec::milliseconds(1)), TimerSetTimeFlags::empty())?;
        let timer = File::from(OwnedFd::from(timer));
        let shared = Arc::new(Shared::default());
        let (cables, added) = channel();
        let inside = Arc::clone(&shared);
        let thread = thread::Builder::new().name("line-pace".into()).spawn(move || {
            prepare();
            pace(timer, &added, &inside);
        })?;
        Ok(Pacer { cables, shared, thread: Some(thread) })
    }

    /// From now on time passes on this cable, until nobody holds a part of it.
    pub fn add(&self, cable: Cable) {
        // cannot fail: the thread ends in `drop` alone, or with a panic, and then nothing passes any more.
        let _ = self.cables.send(cable);
    }

    /// Milliseconds that passed.
    pub fn ticks(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }

    /// Those of them that were a millisecond late or more.
    pub fn late_ticks(&self) -> u64 {
        self.shared.late.load(Ordering::Relaxed)
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pace(mut timer: File, added: &Receiver<Cable>, shared: &Shared) {
    let mut cables: Vec<Cable> = Vec::new();
    let mut count = [0; 8];
    let mut swept = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        // A signal may end the wait early.
        let Ok(8) = timer.read(&mut count) else { continue };
        let passed = u64::from_ne_bytes(count);
        let before = shared.ticks.fetch_add(passed, Ordering::Relaxed);
        shared.late.fetch_add(passed - 1, Ordering::Relaxed);
        cables.extend(added.try_iter());
        for cable in &mut cables {
            cable.advance(Duration::from_millis(passed));
        }
        if before / SWEEP != swept {
            swept = before / SWEEP;
            cables.retain(Cable::is_in_use);
        }
    }
}
