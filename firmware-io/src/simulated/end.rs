//! One end of a cable: the [`Span`] that its owner holds, and the port that the cable holds.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::alarm::Watch;
use super::ring::Ring;
use super::way::{Chunk, Damage, Signal};
use crate::hdlc::{Decoder, Encoder, LONGEST};
use crate::line::{Alarms, Counters, Line, LoopBack, Timeslot};
use crate::ready::Ready;
use crate::{Bearer, DChannel, Span, SpanError};

/// What a bearer may leave unread before octets are lost: 128 ms.
const HEARD: usize = 1024;
/// What it may say ahead: 64 ms.
const SAID: usize = 512;
/// Octets at which a bearer becomes ready: 5 ms. A wake-up for each millisecond would cost more than the sound.
const BLOCK: usize = 40;
/// Frames of a D-channel that wait, with their lengths.
const FRAMES: usize = 16_384;

const FREE: u8 = 0;
const SOUND: u8 = 1;
const SIGNALLING: u8 = 2;

/// What the owner and the cable share.
#[derive(Debug)]
struct Shared {
    line: Line,
    /// Timeslot 1 first.
    slots: Box<[Slot]>,
    frames: Frames,
    alarms: AtomicU8,
    news: Ready,
    loop_back: AtomicU8,
    down: AtomicBool,
    /// There is no line any more: the far end or the cable is gone.
    gone: AtomicBool,
    errored_seconds: AtomicU64,
    code_violations: AtomicU64,
    frame_errors: AtomicU64,
    slips: AtomicU64,
    bad_hdlc_frames: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// FREE, SOUND or SIGNALLING.
    used: AtomicU8,
    said: Ring,
    heard: Ring,
    /// Made when the timeslot is first opened: descriptors are not for nothing.
    ready: OnceLock<Ready>,
    raised: AtomicBool,
}

#[derive(Debug)]
struct Frames {
    said: Ring,
    heard: Ring,
    ready: Ready,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            used: AtomicU8::new(FREE),
            said: Ring::new(SAID),
            heard: Ring::new(HEARD),
            ready: OnceLock::new(),
            raised: AtomicBool::new(false),
        }
    }

    fn take(&self, timeslot: Timeslot, what: u8) -> Result<(), SpanError> {
        let taken = self.used.compare_exchange(FREE, what, Ordering::SeqCst, Ordering::SeqCst);
        taken.map(drop).map_err(|_| SpanError::Taken(timeslot))
    }

    fn is(&self, what: u8) -> bool {
        self.used.load(Ordering::SeqCst) == what
    }

    fn raise(&self) {
        if self.heard.len() >= BLOCK
            && let Some(ready) = self.ready.get()
            && !self.raised.swap(true, Ordering::SeqCst)
        {
            ready.raise();
        }
    }

    /// The cable may put octets while this looks: then it is raised again.
    fn lower(&self) {
        if self.heard.len() < BLOCK && self.raised.load(Ordering::SeqCst) {
            self.ready.get().into_iter().for_each(Ready::lower);
            self.raised.store(false, Ordering::SeqCst);
            self.raise();
        }
    }

    fn hear(&self, octets: &[u8; 8]) {
        // Half a chunk would be worse than none.
        if self.heard.room() >= octets.len() {
            self.heard.put(octets);
        }
        self.raise();
    }
}

impl Shared {
    fn slot(&self, timeslot: Timeslot) -> &Slot {
        &self.slots[usize::from(timeslot.number()) - 1]
    }

    fn loop_back(&self) -> Option<LoopBack> {
        match self.loop_back.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(LoopBack::Local),
            2 => Some(LoopBack::Line),
            _ => Some(LoopBack::Payload),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The cable's side of an end.
pub(super) struct Port {
    shared: Arc<Shared>,
    encoder: Encoder,
    decoder: Decoder,
    watch: Watch,
    /// Milliseconds into the second, and whether it is an errored one.
    second: u16,
    errored: bool,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("line", &self.shared.line).finish_non_exhaustive()
    }
}

impl Port {
    pub(super) fn new(line: Line) -> io::Result<(Port, End)> {
        let shared = Arc::new(Shared {
            line,
            slots: line.all().map(|_| Slot::new()).collect(),
            frames: Frames { said: Ring::new(FRAMES), heard: Ring::new(FRAMES), ready: Ready::new()? },
            alarms: AtomicU8::new(0),
            news: Ready::new()?,
            loop_back: AtomicU8::new(0),
            down: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            errored_seconds: AtomicU64::new(0),
            code_violations: AtomicU64::new(0),
            frame_errors: AtomicU64::new(0),
            slips: AtomicU64::new(0),
            bad_hdlc_frames: AtomicU64::new(0),
        });
        let end = End { shared: Arc::clone(&shared), told: Alarms::NONE };
        let (encoder, decoder) = (Encoder::default(), Decoder::new());
        Ok((Port { shared, encoder, decoder, watch: Watch::default(), second: 0, errored: false }, end))
    }

    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// The line is gone: who holds this end may let it go.
    pub(super) fn lose(&self) {
        if !self.shared.gone.swap(true, Ordering::Relaxed) {
            self.shared.news.raise();
        }
    }

    /// A millisecond by this end's clock: takes what came, and gives what goes out.
    pub(super) fn tick(&mut self, heard: Chunk, damage: Damage) -> (Chunk, Signal) {
        self.count(damage);
        let said = self.say();
        let (heard, said) = match self.shared.loop_back() {
            None => (heard, said),
            Some(LoopBack::Local) => (said, said),
            Some(LoopBack::Line | LoopBack::Payload) => (heard, heard),
        };
        if self.shared.down.load(Ordering::Relaxed) {
            self.hear(&[[0xff; 31]; 8]);
            return (said, Signal::Ais);
        }
        self.hear(&heard);
        let alarms = Alarms::from_bits(self.shared.alarms.load(Ordering::Relaxed));
        (said, Signal::Framed { rai: alarms.is_red() || alarms.contains(Alarms::AIS) })
    }

    /// A millisecond of true time: alarms and seconds.
    pub(super) fn millisecond(&mut self, signal: Signal) {
        let defects = match signal {
            _ if self.shared.loop_back() == Some(LoopBack::Local) => Alarms::NONE,
            Signal::Framed { rai } => Alarms::NONE.with(Alarms::RAI, rai),
            Signal::Ais => Alarms::AIS,
            Signal::Unframed => Alarms::LOF,
            Signal::Nothing => Alarms::LOS,
        };
        self.errored |= !signal.is_framed();
        let alarms = self.watch.millisecond(self.shared.line, defects);
        if self.shared.alarms.swap(alarms.bits(), Ordering::Relaxed) != alarms.bits() {
            self.shared.news.raise();
        }
        self.second += 1;
        if self.second == 1000 {
            self.second = 0;
            add(&self.shared.errored_seconds, u64::from(std::mem::take(&mut self.errored)));
        }
    }

    fn count(&mut self, damage: Damage) {
        if damage == Damage::default() {
            return;
        }
        self.errored = true;
        add(&self.shared.slips, damage.slips);
        add(&self.shared.code_violations, damage.bit_errors);
        add(&self.shared.frame_errors, damage.frame_errors);
    }

    fn say(&mut self) -> Chunk {
        let shared = &*self.shared;
        let mut chunk = [[shared.line.law().silence(); 31]; 8];
        let d_timeslot = shared.line.d_timeslot();
        for (timeslot, slot) in shared.line.all().zip(&shared.slots) {
            let mut octets = [shared.line.law().silence(); 8];
            if slot.is(SOUND) {
                slot.said.take(&mut octets);
            } else if timeslot == d_timeslot {
                self.encoder.encode(&mut octets, &mut |frame| shared.frames.said.take_frame(frame));
            } else {
                continue;
            }
            for (frame, octet) in chunk.iter_mut().zip(octets) {
                frame[usize::from(timeslot.number()) - 1] = octet;
            }
        }
        chunk
    }

    fn hear(&mut self, chunk: &Chunk) {
        let shared = &*self.shared;
        for (at, slot) in shared.slots.iter().enumerate() {
            if slot.is(FREE) {
                continue;
            }
            let octets = chunk.map(|frame| frame[at]);
            if slot.is(SOUND) {
                slot.hear(&octets);
            } else {
                let errored = &mut self.errored;
                self.decoder.decode(&octets, &mut |frame| match frame {
                    Ok(frame) => {
                        shared.frames.heard.put_frame(frame);
                        shared.frames.ready.raise();
                    }
                    Err(_) => {
                        *errored = true;
                        add(&shared.bad_hdlc_frames, 1);
                    }
                });
            }
        }
    }
}

/// One end of a [`Cable`](super::Cable).
#[derive(Debug)]
pub struct End {
    shared: Arc<Shared>,
    told: Alarms,
}

impl Span for End {
    fn line(&self) -> Line {
        self.shared.line
    }

    fn d_timeslot(&self) -> Option<Timeslot> {
        Some(self.shared.line.d_timeslot())
    }

    fn alarms(&self) -> Alarms {
        Alarms::from_bits(self.shared.alarms.load(Ordering::Relaxed))
    }

    fn counters(&self) -> Counters {
        let shared = &self.shared;
        Counters {
            errored_seconds: shared.errored_seconds.load(Ordering::Relaxed),
            code_violations: shared.code_violations.load(Ordering::Relaxed),
            frame_errors: shared.frame_errors.load(Ordering::Relaxed),
            slips: shared.slips.load(Ordering::Relaxed),
            bad_hdlc_frames: shared.bad_hdlc_frames.load(Ordering::Relaxed),
        }
    }

    fn d_channel(&mut self) -> Result<Box<dyn DChannel>, SpanError> {
        let timeslot = self.shared.line.d_timeslot();
        self.shared.slot(timeslot).take(timeslot, SIGNALLING)?;
        self.shared.frames.heard.clear();
        Ok(Box::new(Signalling { shared: Arc::clone(&self.shared) }))
    }

    fn bearer(&mut self, timeslot: Timeslot) -> Result<Box<dyn Bearer>, SpanError> {
        let Some(timeslot) = self.shared.line.timeslot(timeslot.number()) else {
            return Err(SpanError::NoTimeslot(timeslot));
        };
        let slot = self.shared.slot(timeslot);
        let made = if slot.ready.get().is_none() { Some(Ready::new()?) } else { None };
        slot.take(timeslot, SOUND)?;
        made.into_iter().for_each(|ready| drop(slot.ready.set(ready)));
        slot.heard.clear();
        slot.said.forget();
        Ok(Box::new(Sound { shared: Arc::clone(&self.shared), timeslot }))
    }

    fn loop_back(&mut self, kind: Option<LoopBack>) -> Result<(), SpanError> {
        let code = match kind {
            None => 0,
            Some(LoopBack::Local) => 1,
            Some(LoopBack::Line) => 2,
            Some(LoopBack::Payload) => 3,
        };
        self.shared.loop_back.store(code, Ordering::Relaxed);
        Ok(())
    }

    fn force_down(&mut self, down: bool) -> Result<(), SpanError> {
        self.shared.down.store(down, Ordering::Relaxed);
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Alarms>, SpanError> {
        self.shared.news.lower();
        if self.shared.gone.load(Ordering::Relaxed) {
            return Err(SpanError::Gone);
        }
        let alarms = self.alarms();
        Ok((std::mem::replace(&mut self.told, alarms) != alarms).then_some(alarms))
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.shared.news.fd()
    }
}

/// The D-channel; HDLC is done by the cable.
struct Signalling {
    shared: Arc<Shared>,
}

impl Drop for Signalling {
    fn drop(&mut self) {
        self.shared.slot(self.shared.line.d_timeslot()).used.store(FREE, Ordering::SeqCst);
    }
}

impl DChannel for Signalling {
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        let frames = &self.shared.frames;
        if let Some(length) = frames.heard.take_frame(frame) {
            return Ok(Some(length));
        }
        frames.ready.lower();
        // One may have come in between.
        let late = frames.heard.take_frame(frame);
        if late.is_some() {
            frames.ready.raise();
        }
        Ok(late)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if frame.len() > LONGEST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.shared.frames.said.put_frame(frame) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.shared.frames.ready.fd()
    }
}

/// A timeslot opened for sound.
struct Sound {
    shared: Arc<Shared>,
    timeslot: Timeslot,
}

impl Sound {
    fn slot(&self) -> &Slot {
        self.shared.slot(self.timeslot)
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.slot().used.store(FREE, Ordering::SeqCst);
    }
}

impl Bearer for Sound {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let count = self.slot().heard.take(octets);
        self.slot().lower();
        Ok(count)
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        Ok(self.slot().said.put(octets))
    }

    fn ready(&self) -> BorrowedFd<'_> {
        // `bearer` made it.
        self.slot().ready.get().map_or_else(|| self.shared.news.fd(), Ready::fd)
    }
}
