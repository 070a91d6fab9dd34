//! The DAHDI driver against the kernel's own: runs in the guest of `make test-dahdi`, whose spans 1 and 2 are a looped T1,
//! and 3 and 4 a looped E1. Each check prints a line; the exit status says whether all were good.

#![allow(unsafe_code, reason = "DAHDI's test devices are made by ioctls of their own")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "checks fail by panic")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use firmware_io::dahdi::{Buffers, Dahdi};
use firmware_io::hdlc::{Decoder, Encoder};
use firmware_io::{Alarms, Bearer, DChannel, Law, Line, LoopBack, Span, SpanError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

type Check = (&'static str, fn());

const CHECKS: &[Check] = &[
    ("spans are what they are configured to be", spans),
    ("frames cross the T1", frames_on_a_t1),
    ("frames cross the E1", frames_on_an_e1),
    ("every octet crosses the T1", octets_on_a_t1),
    ("every octet crosses the E1", octets_on_an_e1),
    ("what cannot be is refused by its reason", refusals),
    ("the echo canceller is switched", echo),
    ("alarms come and go", alarms),
    ("our HDLC and the kernel's understand each other", trunk),
    ("a span that is destroyed is gone, and comes back", gone),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        [] => {}
        ["simulate", span, alarms] => {
            simulate_here(span.parse().unwrap(), alarms.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        ["shutdown", span] => {
            shut_down(span.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        other => panic!("no such order: {other:?}"),
    }
    let failed = CHECKS.iter().filter(|(name, check)| {
        let begun = Instant::now();
        let good = std::panic::catch_unwind(check).is_ok();
        println!("{} {name} ({:.1} s)", if good { "good" } else { "FAILED" }, begun.elapsed().as_secs_f64());
        !good
    });
    if failed.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn wait(fds: &[BorrowedFd<'_>], time: Duration) {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    poll(&mut fds, PollTimeout::try_from(time).unwrap()).unwrap();
}

fn pair(first: u16) -> (Dahdi, Dahdi) {
    (Dahdi::open(first).unwrap(), Dahdi::open(first + 1).unwrap())
}

fn spans() {
    for (number, line, law, d_timeslot) in [(1, Line::T1, Law::Mu, 24), (4, Line::E1, Law::A, 16)] {
        let mut span = Dahdi::open(number).unwrap();
        assert_eq!((span.line(), span.law()), (line, law));
        assert_eq!(span.d_timeslot().map(|slot| slot.number()), Some(d_timeslot));
        assert_eq!((span.alarms(), span.poll().unwrap()), (Alarms::NONE, None));
    }
    no_span(9);
}

fn no_span(number: u16) {
    assert!(matches!(Dahdi::open(number), Err(SpanError::NotConfigured(why)) if why.contains("no span")));
}

fn frames_on_a_t1() {
    frames(1);
}

fn frames_on_an_e1() {
    frames(3);
}

fn frames(first: u16) {
    let (mut near, mut far) = pair(first);
    let (mut near, mut far) = (near.d_channel().unwrap(), far.d_channel().unwrap());
    // The kernel sends flags from its next millisecond on; before one, nothing is heard.
    std::thread::sleep(Duration::from_millis(20));
    let sent: Vec<Vec<u8>> =
        (0..40).map(|number| (0..3 + number * 6).map(|at| (number * 31 + at * at) as u8).collect()).collect();
    for _ in 0..2 {
        let mut heard = Vec::new();
        let mut waiting = sent.iter();
        let mut next = waiting.next();
        let begun = Instant::now();
        while heard.len() < sent.len() && begun.elapsed() < Duration::from_secs(10) {
            if let Some(frame) = next
                && near.send(frame).is_ok()
            {
                next = waiting.next();
            }
            heard.extend(receive(&mut *far));
            wait(&[far.ready()], Duration::from_millis(5));
        }
        assert!(heard == sent, "{} of {} frames as they were sent", heard.len(), sent.len());
        std::mem::swap(&mut near, &mut far);
    }
}

fn receive(channel: &mut dyn DChannel) -> Option<Vec<u8>> {
    let mut frame = [0; 300];
    channel.receive(&mut frame).unwrap().map(|length| frame[..length].to_vec())
}

fn octets_on_a_t1() {
    octets(1);
}

fn octets_on_an_e1() {
    octets(3);
}

/// A bearer, what it says next and what it heard last.
struct Voice {
    bearer: Box<dyn Bearer>,
    says: u8,
    heard: Option<u8>,
    count: usize,
    gaps: usize,
}

impl Voice {
    fn new(bearer: Box<dyn Bearer>, says: u8) -> Voice {
        Voice { bearer, says, heard: None, count: 0, gaps: 0 }
    }

    /// Hears what waits, and says as much. Octets count from 1 to 120: no silence is among them.
    fn turn(&mut self) {
        let mut octets = [0; 1024];
        let count = self.bearer.read(&mut octets).unwrap();
        for octet in &octets[..count] {
            let expected = self.heard.map_or(*octet, |last| last % 120 + 1);
            if self.heard.is_some() || (1..=120).contains(octet) {
                self.gaps += usize::from(*octet != expected);
                self.count += 1;
                self.heard = Some(*octet);
            }
        }
        for octet in &mut octets[..count] {
            *octet = self.says;
            self.says = self.says % 120 + 1;
        }
        assert_eq!(self.bearer.write(&octets[..count]).unwrap(), count, "there is room for as much as came");
    }
}

fn octets(first: u16) {
    let (mut near, mut far) = pair(first);
    // So many bearers in one thread: a large cushion.
    near.buffers(Buffers { count: 32, octets: 160 });
    far.buffers(Buffers { count: 32, octets: 160 });
    let mut voices = Vec::new();
    let d_timeslot = near.d_timeslot();
    for timeslot in near.line().all().filter(|slot| Some(*slot) != d_timeslot) {
        voices.push(Voice::new(near.bearer(timeslot).unwrap(), timeslot.number()));
        voices.push(Voice::new(far.bearer(timeslot).unwrap(), 2 * timeslot.number()));
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        wait(&voices.iter().map(|voice| voice.bearer.ready()).collect::<Vec<_>>(), Duration::from_millis(100));
        voices.iter_mut().for_each(Voice::turn);
    }
    let (count, gaps) =
        voices.iter().fold((usize::MAX, 0), |(count, gaps), voice| (count.min(voice.count), gaps + voice.gaps));
    println!("  {} bearers, each heard at least {count} octets, {gaps} gaps", voices.len());
    assert!(count > 16_000 && gaps == 0);
}

fn refusals() {
    let mut span = Dahdi::open(1).unwrap();
    let slot = |number| Line::T1.timeslot(number).unwrap();
    let _bearer = span.bearer(slot(3)).unwrap();
    assert!(matches!(span.bearer(slot(3)), Err(SpanError::Taken(_))));
    assert!(matches!(span.bearer(slot(24)), Err(SpanError::NotConfigured(_))), "the D-channel is no bearer");
    assert!(matches!(span.bearer(Line::E1.timeslot(31).unwrap()), Err(SpanError::NoTimeslot(_))));
    for kind in [LoopBack::Local, LoopBack::Line, LoopBack::Payload] {
        assert!(matches!(span.loop_back(Some(kind)), Err(SpanError::Unsupported)), "a dynamic span has no loops");
    }
}

fn echo() {
    let (mut with, mut without) = pair(1);
    let slot = Line::T1.timeslot(7).unwrap();
    let (mut near, mut far) = (with.bearer(slot).unwrap(), without.bearer(slot).unwrap());
    let before = echo_heard(&mut *near, &mut *far);
    near.cancel_echo(1024).unwrap();
    assert!(near.cancels_echo());
    let cancelled = echo_heard(&mut *near, &mut *far);
    near.cancel_echo(0).unwrap();
    assert!(!near.cancels_echo());
    let after = echo_heard(&mut *near, &mut *far);
    println!("  an echo of {before:.1} dB, {cancelled:.1} dB with 1024 taps, {after:.1} dB without");
    assert!((-14.0..-10.0).contains(&before) && (-14.0..-10.0).contains(&after) && cancelled < before - 20.0);
    assert_eq!(near.cancel_echo(100).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(far.cancel_echo(128).unwrap_err().kind(), ErrorKind::Unsupported, "none is configured there");
}

/// Noise is said at the near end, and comes back from the far end two segments, 12 dB, quieter. How loud that is heard after a while.
fn echo_heard(near: &mut dyn Bearer, far: &mut dyn Bearer) -> f64 {
    let (mut said, mut heard, mut octets, mut state) = (0.0, 0.0, [0; 1024], 1_u32);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        wait(&[near.ready(), far.ready()], Duration::from_millis(100));
        let count = far.read(&mut octets).unwrap();
        for octet in &mut octets[..count] {
            let size = (!*octet & 0x7f).saturating_sub(0x20);
            *octet = *octet & 0x80 | (!size & 0x7f);
        }
        far.write(&octets[..count]).unwrap();
        let count = near.read(&mut octets).unwrap();
        let counts = begun.elapsed() > Duration::from_secs(2);
        for octet in &mut octets[..count] {
            heard += power(*octet) * f64::from(u8::from(counts));
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Either sign, and sizes in the middle of the scale.
            *octet = !((state >> 24) as u8 & 0x9f | 0x40);
            said += power(*octet) * f64::from(u8::from(counts));
        }
        near.write(&octets[..count]).unwrap();
    }
    10.0 * f64::log10(heard / said)
}

/// Of an octet of µ-law.
fn power(octet: u8) -> f64 {
    let size = !octet & 0x7f;
    let sample = (f64::from(size & 0xf) + 16.5) * f64::from(1_u16 << (size >> 4)) - 16.5;
    sample * sample
}

#[repr(C)]
struct Simulated {
    span: i32,
    alarms: i32,
}

mod ioctl {
    #![allow(missing_docs, reason = "the macros' functions")]
    nix::ioctl_write_ptr!(shutdown, 0xda, 0x64, i32);
    nix::ioctl_write_ptr!(simulate_alarm, 0xda, 0x52, super::Simulated);
    nix::ioctl_readwrite!(trunk_create, 0xda, 0xff, super::TrunkName);
    nix::ioctl_readwrite!(trunk_delete, 0xda, 0xfe, [u8; 40]);
    nix::ioctl_readwrite!(trunk_open, 0xda, 0xfd, super::TrunkName);
}

/// Done by a process of its own, since the kernel's code for it takes an RCU lock and keeps it until that process ends.
fn simulate(span: i32, alarms: i32) {
    let program = std::env::current_exe().unwrap();
    let arguments = ["simulate".to_owned(), span.to_string(), alarms.to_string()];
    assert!(Command::new(program).args(arguments).status().unwrap().success());
}

fn simulate_here(span: i32, alarms: i32) {
    let ctl = OpenOptions::new().read(true).write(true).open("/dev/dahdi/ctl").unwrap();
    // SAFETY: the kernel reads the struct, which lives here.
    unsafe { ioctl::simulate_alarm(ctl.as_raw_fd(), &Simulated { span, alarms }) }.unwrap();
}

/// The kernel forgets what the span's channels are for, as when the driver's start script stops it.
fn shut_down(span: i32) {
    let ctl = OpenOptions::new().read(true).write(true).open("/dev/dahdi/ctl").unwrap();
    // SAFETY: the kernel reads the number, which lives here.
    unsafe { ioctl::shutdown(ctl.as_raw_fd(), &span) }.unwrap();
}

/// Waits for news of the span; how long that took.
fn news(span: &mut Dahdi) -> (Option<Alarms>, Duration) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        wait(&[span.ready()], Duration::from_secs(1));
        if let Some(alarms) = span.poll().unwrap() {
            return (Some(alarms), begun.elapsed());
        }
    }
    (None, begun.elapsed())
}

fn alarms() {
    let mut span = Dahdi::open(2).unwrap();
    let mut channel = span.d_channel().unwrap();
    for (bits, expected) in [(8, Alarms::LOS), (4, Alarms::RAI), (0x10, Alarms::AIS), (0, Alarms::NONE)] {
        simulate(2, bits);
        let (told, after) = news(&mut span);
        println!("  {bits:#x}: {told:?} after {after:?}");
        assert_eq!(told, Some(expected));
        assert_eq!(receive(&mut *channel), None, "an event is no frame");
    }
}

#[repr(C)]
struct TrunkName {
    name: [u8; 40],
    span: i32,
}

fn trunk_device() -> (File, TrunkName) {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/dahdi/trunkdev").unwrap();
    let mut name = TrunkName { name: [0; 40], span: 0 };
    name.name[..4].copy_from_slice(b"test");
    (file, name)
}

fn create_trunk() {
    let (file, mut name) = trunk_device();
    // SAFETY: the kernel reads and writes the struct, which lives here.
    unsafe { ioctl::trunk_create(file.as_raw_fd(), &mut name) }.unwrap();
    assert_eq!(name.span, 5);
    assert!(Command::new("dahdi_cfg").status().unwrap().success());
}

/// Span 5: an E1 whose framed side is a descriptor, 32 octets a frame.
fn trunk() {
    let configuration = OpenOptions::new().append(true).open("/etc/dahdi/system.conf");
    configuration
        .unwrap()
        .write_all(b"span=5,0,0,ccs,hdb3,crc4\nbchan=111-125,127-141\ndchan=126\nalaw=111-141\n")
        .unwrap();
    create_trunk();

    let mut span = Dahdi::open(5).unwrap();
    let mut channel = span.d_channel().unwrap();
    assert_eq!(news(&mut span).0, Some(Alarms::LOS), "nobody is at the other side");
    let (mut far, mut name) = trunk_device();
    // SAFETY: as above.
    unsafe { ioctl::trunk_open(far.as_raw_fd(), &mut name) }.unwrap();
    assert_eq!(news(&mut span).0, Some(Alarms::NONE));

    exchange(&mut *channel, &mut far);

    span.loop_back(Some(LoopBack::Local)).unwrap();
    channel.send(&[0, 1, 0x7f]).unwrap();
    let begun = Instant::now();
    let looped = std::iter::from_fn(|| (begun.elapsed() < Duration::from_secs(2)).then(|| receive(&mut *channel)));
    assert_eq!(looped.flatten().next(), Some(vec![0, 1, 0x7f]), "we hear ourselves");
    span.loop_back(None).unwrap();

    drop(far);
    let (told, after) = news(&mut span);
    println!("  closed: {told:?} after {after:?}");
    assert_eq!(told, Some(Alarms::LOS));
}

/// Frames both ways between the kernel's HDLC and ours on timeslot 16.
fn exchange(channel: &mut dyn DChannel, far: &mut File) {
    let frames: Vec<Vec<u8>> =
        (0..60usize).map(|number| (0..3 + number * 4).map(|at| (number * 7 + at) as u8).collect()).collect();
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new());
    let (mut ours, mut kernels) = (frames.iter(), frames.iter());
    let mut kernels_next = kernels.next();
    let (mut heard, mut heard_by_kernel, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    let mut octets = [0; 32 * 80];
    let begun = Instant::now();
    while heard.len().min(heard_by_kernel.len()) < frames.len() && begun.elapsed() < Duration::from_secs(15) {
        if let Some(frame) = kernels_next
            && channel.send(frame).is_ok()
        {
            kernels_next = kernels.next();
        }
        heard_by_kernel.extend(receive(channel));
        let count = match far.read(&mut octets) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        for frame in octets[..count].chunks_exact_mut(32) {
            decoder.decode(&frame[16..17], &mut |frame| match frame {
                Ok(frame) => heard.push(frame.to_vec()),
                Err(error) => bad.push(error),
            });
            encoder.encode(&mut frame[16..17], &mut |room| {
                let frame = ours.next()?;
                room[..frame.len()].copy_from_slice(frame);
                Some(frame.len())
            });
        }
        far.write_all(&octets[..count]).unwrap();
    }
    println!("  {} frames from the kernel, {} to it, bad: {bad:?}", heard.len(), heard_by_kernel.len());
    assert!(heard == frames && heard_by_kernel == frames);
}

fn gone() {
    let mut span = Dahdi::open(5).unwrap();
    let mut channel = span.d_channel().unwrap();
    let mut bearer = span.bearer(Line::E1.timeslot(1).unwrap()).unwrap();
    let (file, mut name) = trunk_device();
    // SAFETY: the kernel reads the name, which lives here.
    unsafe { ioctl::trunk_delete(file.as_raw_fd(), &mut name.name) }.unwrap();
    assert!(matches!(span.poll(), Err(SpanError::Gone)));
    let gone = Some(libc::ENODEV);
    assert_eq!(channel.receive(&mut [0; 300]).unwrap_err().raw_os_error(), gone);
    assert_eq!(channel.send(&[0, 1, 0x7f]).unwrap_err().raw_os_error(), gone);
    assert_eq!(bearer.read(&mut [0; 300]).unwrap_err().raw_os_error(), gone);
    assert_eq!(bearer.write(&[0; 300]).unwrap_err().raw_os_error(), gone);
    assert!(matches!(span.bearer(Line::E1.timeslot(2).unwrap()), Err(SpanError::Gone)));
    no_span(5);
    drop((span, channel, bearer));
    create_trunk();
    let mut span = Dahdi::open(5).unwrap();
    assert!(span.d_channel().is_ok() && span.bearer(Line::E1.timeslot(1).unwrap()).is_ok());
}
