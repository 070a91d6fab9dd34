//! A T1 or E1 card under DAHDI, through the kernel's own interface.
//!
//! 1. `/dev/dahdi/ctl`: what span this is (SPANSTAT), and which channels are its timeslots (GET_PARAMS).
//! 2. `/dev/dahdi/channel`, SPECIFY: one timeslot, ours until it is closed.
//! 3. D-channel: HDLC is done by the kernel. A frame is written with room for its FCS, and read with it.
//! 4. Bearer: octets of the line's law, in blocks; sending begins when half of the buffers are full, and they are filled
//!    with silence at once, so that it begins at once.
//! 5. Counters are those of SPANSTAT, slips of `/proc/dahdi/SPAN`; what a card's driver does not count stays 0.
//! 6. Errno 500 from read and write: an event waits, and is fetched first. Alarms are events of every open channel.
//!
//! Nothing waits, and no thread is needed: descriptors are ready as any others are.

mod abi;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use self::abi::{BufferInfo, Maintenance, Params, Plain, SpanInfo, alarm, event, law, maintenance, policy, sigtype};
use crate::hdlc::LONGEST;
use crate::line::{Alarms, Counters, Law, Line, LoopBack, Timeslot};
use crate::{Bearer, DChannel, Span, SpanError};

const CTL: &str = "/dev/dahdi/ctl";
const CHANNEL: &str = "/dev/dahdi/channel";
/// The kernel has no more channels.
const CHANNELS: i32 = 1024;
/// Buffers of a D-channel: the most that the kernel has.
const FRAMES: Buffers = Buffers { count: 32, octets: 1024 };
/// Alarms are looked at this often even where no open channel tells them.
const LOOK: i64 = 500;
/// Taps that the kernel knows; it would take another number for its default.
const TAPS: [u16; 7] = [0, 32, 64, 128, 256, 512, 1024];

/// A bearer's buffers in the kernel, each way. Half of those to send are the cushion between its clock and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// How many, 2 to 32.
    pub count: u8,
    /// Octets in each, 16 to 1,024 and 32,768 in all: what is read and written at a time.
    pub octets: u16,
}

impl Default for Buffers {
    /// 5 ms to hear, and a cushion of 40 ms to say.
    fn default() -> Buffers {
        Buffers { count: 16, octets: 40 }
    }
}

/// A span of DAHDI's.
#[derive(Debug)]
pub struct Dahdi {
    ctl: File,
    number: i32,
    line: Line,
    law: Law,
    /// The kernel's channel for each timeslot, timeslot 1 first.
    channels: Vec<i32>,
    d_timeslot: Option<Timeslot>,
    buffers: Buffers,
    /// What the kernel had counted before we came.
    before: Counters,
    bad_frames: Arc<AtomicU64>,
    /// The D-channel while it is open: its events tell of alarms.
    d_channel: Weak<Channel>,
    told: Alarms,
    look: TimerFd,
    news: Epoll,
}

impl Dahdi {
    /// Opens a span by the kernel's number.
    pub fn open(number: u16) -> Result<Dahdi, SpanError> {
        let ctl = OpenOptions::new().read(true).write(true).open(CTL);
        let ctl = ctl.map_err(|why| SpanError::Unreachable { path: CTL.into(), why })?;
        let number = i32::from(number);
        let status = status(&ctl, number).map_err(|error| match error {
            SpanError::Gone => SpanError::NotConfigured("DAHDI has no span of that number"),
            error => error,
        })?;
        let line = match status.totalchans {
            24 => Line::T1,
            31 => Line::E1,
            _ => return Err(SpanError::NotConfigured("the span is neither a T1 of 24 nor an E1 of 31 channels")),
        };
        let params = channels(&ctl, number, line)?;
        let d_timeslot = line.all().zip(&params).find(|(_, each)| is_signalling(each)).map(|(timeslot, _)| timeslot);
        let (look, news) = watch().map_err(io::Error::from)?;
        Ok(Dahdi {
            ctl,
            number,
            line,
            law: if params.iter().any(|each| each.curlaw == law::A) { Law::A } else { Law::Mu },
            channels: params.iter().map(|each| each.channo).collect(),
            d_timeslot,
            buffers: Buffers::default(),
            before: counters(&status, slips(number)),
            bad_frames: Arc::default(),
            d_channel: Weak::new(),
            told: Alarms::NONE,
            look,
            news,
        })
    }

    /// Other buffers for bearers that are opened from now on.
    pub fn buffers(&mut self, buffers: Buffers) {
        self.buffers = buffers;
    }

    fn channel(&self, timeslot: Timeslot) -> Result<Channel, SpanError> {
        let number = self.channels.get(usize::from(timeslot.number()) - 1).ok_or(SpanError::NoTimeslot(timeslot))?;
        let options = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(CHANNEL);
        let file = options.map_err(away)?;
        abi::call(&file, abi::SPECIFY, &mut number.clone()).map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY) => SpanError::Taken(timeslot),
            Some(libc::ENXIO) => SpanError::NotConfigured("the channel has no signalling in /etc/dahdi/system.conf"),
            Some(libc::EINVAL) => SpanError::Gone,
            _ => away(error),
        })?;
        Ok(Channel { file, bad_frames: Arc::clone(&self.bad_frames) })
    }
}

fn watch() -> nix::Result<(TimerFd, Epoll)> {
    let look = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
    look.set(Expiration::Interval(TimeSpec::milliseconds(LOOK)), TimerSetTimeFlags::empty())?;
    let news = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    news.add(&look, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    Ok((look, news))
}

impl Span for Dahdi {
    fn line(&self) -> Line {
        self.line
    }

    fn law(&self) -> Law {
        self.law
    }

    fn d_timeslot(&self) -> Option<Timeslot> {
        self.d_timeslot
    }

    fn alarms(&self) -> Alarms {
        status(&self.ctl, self.number).map_or(Alarms::LOS, |status| alarms(status.alarms))
    }

    fn counters(&self) -> Counters {
        let Ok(status) = status(&self.ctl, self.number) else { return Counters::default() };
        let (now, before) = (counters(&status, slips(self.number)), self.before);
        Counters {
            errored_seconds: now.errored_seconds.saturating_sub(before.errored_seconds),
            code_violations: now.code_violations.saturating_sub(before.code_violations),
            frame_errors: now.frame_errors.saturating_sub(before.frame_errors),
            slips: now.slips.saturating_sub(before.slips),
            bad_hdlc_frames: self.bad_frames.load(Ordering::Relaxed),
        }
    }

    fn d_channel(&mut self) -> Result<Box<dyn DChannel>, SpanError> {
        let unfit = SpanError::NotConfigured("the span has no dchan= or hardhdlc= in /etc/dahdi/system.conf");
        let channel = Arc::new(self.channel(self.d_timeslot.ok_or(unfit)?)?);
        channel.buffer(FRAMES, policy::IMMEDIATE)?;
        let events = EpollFlags::EPOLLPRI | EpollFlags::EPOLLET;
        self.news.add(&channel.file, EpollEvent::new(events, 0)).map_err(io::Error::from)?;
        self.d_channel = Arc::downgrade(&channel);
        Ok(Box::new(Signalling { channel }))
    }

    fn bearer(&mut self, timeslot: Timeslot) -> Result<Box<dyn Bearer>, SpanError> {
        let channel = self.channel(timeslot)?;
        abi::call(&channel.file, abi::SET_BLOCKSIZE, &mut self.buffers.octets.into())?;
        abi::call(&channel.file, abi::AUDIOMODE, &mut 1).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => SpanError::NotConfigured("the channel is no bchan= in /etc/dahdi/system.conf"),
            _ => away(error),
        })?;
        let law = if self.law == Law::A { law::A } else { law::MU };
        abi::call(&channel.file, abi::SETLAW, &mut law.clone())?;
        channel.buffer(self.buffers, policy::HALF_FULL)?;
        let block = vec![self.law.silence(); self.buffers.octets.into()].into();
        let mut sound = Sound { channel, block, filled: 0, cancels_echo: false };
        for _ in 0..self.buffers.count / 2 {
            sound.filled = sound.block.len();
            sound.flush()?;
        }
        Ok(Box::new(sound))
    }

    fn loop_back(&mut self, kind: Option<LoopBack>) -> Result<(), SpanError> {
        let command = match kind {
            None => maintenance::NONE,
            Some(LoopBack::Local) => maintenance::LOCAL_LOOP,
            Some(LoopBack::Line) => maintenance::LINE_LOOP,
            Some(LoopBack::Payload) => maintenance::PAYLOAD_LOOP,
        };
        abi::call(&self.ctl, abi::MAINT, &mut Maintenance { spanno: self.number, command }).map_err(refused)
    }

    /// The kernel would forget what each channel is for (SHUTDOWN), and nothing sends AIS alone.
    fn force_down(&mut self, _down: bool) -> Result<(), SpanError> {
        Err(SpanError::Unsupported)
    }

    fn poll(&mut self) -> Result<Option<Alarms>, SpanError> {
        let _ = self.look.wait();
        if let Some(channel) = self.d_channel.upgrade() {
            channel.events().map_err(away)?;
        }
        let alarms = alarms(status(&self.ctl, self.number)?.alarms);
        Ok((std::mem::replace(&mut self.told, alarms) != alarms).then_some(alarms))
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.news.0.as_fd()
    }
}

/// The span as the kernel has it.
fn status(ctl: &File, number: i32) -> Result<SpanInfo, SpanError> {
    let mut status = SpanInfo { spanno: number, ..SpanInfo::zeroed() };
    abi::call(ctl, abi::SPANSTAT, &mut status).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => SpanError::Gone,
        _ => away(error),
    })?;
    Ok(status)
}

/// The span's channels in the order of its timeslots.
fn channels(ctl: &File, number: i32, line: Line) -> Result<Vec<Params>, SpanError> {
    let all = (1..=CHANNELS).filter_map(|channo| {
        let mut params = Params { channo, ..Params::zeroed() };
        abi::call(ctl, abi::GET_PARAMS, &mut params).ok()?;
        (params.spanno == number).then_some(params)
    });
    let mut own: Vec<Params> = all.collect();
    own.sort_by_key(|params| params.chanpos);
    if own.iter().map(|params| params.chanpos).eq(1..=i32::from(line.timeslots())) {
        Ok(own)
    } else {
        Err(SpanError::NotConfigured("the span's channels have no numbers: see auto_assign_spans of the dahdi module"))
    }
}

fn is_signalling(params: &Params) -> bool {
    matches!(params.sigtype, sigtype::HDLC_FCS | sigtype::HARD_HDLC)
}

/// A red alarm without its reason is taken for a loss of signal, as is a span that is not started or recovers.
fn alarms(bits: i32) -> Alarms {
    let frame = bits & (alarm::LFA | alarm::LMFA) != 0;
    let red = bits & (alarm::RED | alarm::RECOVERING | alarm::NOT_OPEN) != 0;
    Alarms::NONE
        .with(Alarms::LOF, frame)
        .with(Alarms::LOS, bits & alarm::LOS != 0 || red && !frame)
        .with(Alarms::AIS, bits & alarm::BLUE != 0)
        .with(Alarms::RAI, bits & alarm::YELLOW != 0)
}

/// The one count that SPANSTAT lacks: the kernel's text about a span has it, once it is not 0.
fn slips(number: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/dahdi/{number}")).unwrap_or_default();
    slips_in(&text)
}

fn slips_in(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.trim_start().strip_prefix("Timing slips: ")?.trim_end().parse().ok());
    count.unwrap_or(0)
}

fn counters(status: &SpanInfo, slips: u64) -> Counters {
    let positive = |count: i32| u64::try_from(count).unwrap_or(0);
    Counters {
        errored_seconds: status.errsec.into(),
        // Drivers count in one or the other.
        code_violations: positive(status.bpvcount).max(status.cvcount.into()),
        frame_errors: positive(status.crc4count) + positive(status.fascount).max(status.fecount.into()),
        slips,
        ..Counters::default()
    }
}

/// An error of a node, where a card that went away has its own name.
fn away(error: io::Error) -> SpanError {
    match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENOENT | libc::ENXIO) => SpanError::Gone,
        _ => error.into(),
    }
}

/// An error of an order to a span: a driver that cannot says so.
fn refused(error: io::Error) -> SpanError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => SpanError::Unsupported,
        _ => away(error),
    }
}

/// A channel that is open.
#[derive(Debug)]
struct Channel {
    file: File,
    bad_frames: Arc<AtomicU64>,
}

impl Channel {
    fn buffer(&self, buffers: Buffers, policy: i32) -> io::Result<()> {
        let mut buffers = BufferInfo {
            txbufpolicy: policy,
            rxbufpolicy: policy::IMMEDIATE,
            numbufs: buffers.count.into(),
            bufsize: buffers.octets.into(),
            ..BufferInfo::zeroed()
        };
        abi::call(&self.file, abi::SET_BUFINFO, &mut buffers)
    }

    /// Fetches the events that wait.
    fn events(&self) -> io::Result<()> {
        loop {
            let mut event = event::NONE;
            abi::call(&self.file, abi::GETEVENT, &mut event)?;
            match event {
                event::NONE => return Ok(()),
                event::ABORT | event::OVERRUN | event::BAD_FCS => _ = self.bad_frames.fetch_add(1, Ordering::Relaxed),
                event::REMOVED => return Err(io::Error::from_raw_os_error(libc::ENODEV)),
                _ => {}
            }
        }
    }

    /// Reads or writes, events first; `None` when the kernel has nothing, or no room.
    fn transfer(&self, mut once: impl FnMut(&File) -> io::Result<usize>) -> io::Result<Option<usize>> {
        loop {
            match once(&self.file) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.raw_os_error() == Some(abi::EVENT_WAITS) => self.events()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The D-channel.
#[derive(Debug)]
struct Signalling {
    channel: Arc<Channel>,
}

impl DChannel for Signalling {
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        let mut with_fcs = [0; FRAMES.octets as usize];
        while let Some(length) = self.channel.transfer(|mut file| file.read(&mut with_fcs))? {
            let length = length.saturating_sub(2);
            if let (1.., Some(room)) = (length, frame.get_mut(..length)) {
                room.copy_from_slice(&with_fcs[..length]);
                return Ok(Some(length));
            }
            // The kernel takes longer frames than Q.921 has.
            self.channel.bad_frames.fetch_add(1, Ordering::Relaxed);
        }
        Ok(None)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if frame.len() > LONGEST {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut with_fcs = [0; LONGEST + 2];
        with_fcs[..frame.len()].copy_from_slice(frame);
        let sent = self.channel.transfer(|mut file| file.write(&with_fcs[..frame.len() + 2]))?;
        sent.map(drop).ok_or(ErrorKind::WouldBlock.into())
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.channel.file.as_fd()
    }
}

/// A bearer.
#[derive(Debug)]
struct Sound {
    channel: Channel,
    /// What does not fill a block yet: each write takes a buffer of its own, however short it is.
    block: Box<[u8]>,
    filled: usize,
    cancels_echo: bool,
}

impl Sound {
    /// Gives a full block to the kernel, if it has room.
    fn flush(&mut self) -> io::Result<()> {
        if self.filled == self.block.len()
            && let Some(sent) = self.channel.transfer(|mut file| file.write(&self.block))?
        {
            self.block.copy_within(sent.., 0);
            self.filled -= sent;
        }
        Ok(())
    }
}

impl Bearer for Sound {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        // The kernel gives one buffer a time.
        while count < octets.len() {
            match self.channel.transfer(|mut file| file.read(&mut octets[count..]))? {
                None | Some(0) => break,
                Some(more) => count += more,
            }
        }
        Ok(count)
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            self.flush()?;
            let more = (self.block.len() - self.filled).min(octets.len() - taken);
            if more == 0 {
                return Ok(taken);
            }
            self.block[self.filled..self.filled + more].copy_from_slice(&octets[taken..taken + more]);
            self.filled += more;
            taken += more;
        }
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.channel.file.as_fd()
    }

    fn cancel_echo(&mut self, taps: u16) -> io::Result<()> {
        if !TAPS.contains(&taps) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let cannot = |error: io::Error| match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENOSYS | libc::ENOTTY | libc::EINVAL) => ErrorKind::Unsupported.into(),
            _ => error,
        };
        let file = &self.channel.file;
        self.cancels_echo = false;
        abi::call(file, abi::ECHOCANCEL, &mut taps.into()).map_err(cannot)?;
        // Where no canceller is configured the kernel says nothing, until it is asked to do something with it.
        if taps > 0 {
            abi::call(file, abi::ECHOCANCEL_FAX_MODE, &mut 0).map_err(cannot)?;
            self.cancels_echo = true;
        }
        Ok(())
    }

    fn cancels_echo(&self) -> bool {
        self.cancels_echo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_alarms_are_the_lines() {
        let table = [
            (0, Alarms::NONE),
            (0x8, Alarms::LOS),
            (0x108, Alarms::LOS),
            (0x208, Alarms::LOF),
            (0x408, Alarms::LOF),
            (0x308, Alarms::LOS | Alarms::LOF),
            (0x4, Alarms::RAI),
            (0x10, Alarms::AIS),
            (0x1, Alarms::LOS),
            (0x20, Alarms::LOS),
            (0x2, Alarms::NONE),
        ];
        for (bits, expected) in table {
            assert_eq!(alarms(bits), expected, "{bits:#x}");
        }
    }

    #[test]
    fn slips_are_read_where_the_kernel_counted_some() {
        let good =
            "Span 1: TE4/0/1 \"T4XXP (PCI) Card 0 Span 1\" (MASTER) B8ZS/ESF ClockSource \n\n\t   1 TE4/0/1/1 Clear \n";
        assert_eq!(slips_in(good), 0);
        let bad = good.replacen("\n\n", "\n\tBPV count: 7\n\tTiming slips: 12\n\n", 1);
        assert_eq!(slips_in(&bad), 12);
        assert_eq!(slips_in("\tTiming slips: -1\n"), 0);
    }

    #[test]
    fn a_machine_without_cards_says_what_is_missing() {
        if !std::path::Path::new(CTL).exists() {
            let said = Dahdi::open(1).unwrap_err().to_string();
            assert_eq!(said, "/dev/dahdi/ctl cannot be opened: No such file or directory (os error 2)");
        }
    }
}
