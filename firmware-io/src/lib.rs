//! The traits between demarc and the line, and what the kernel alone can say.
//!
//! Nothing here waits: whoever polls is given a readiness descriptor.

mod captured;
mod chance;
pub mod clock;
pub mod dahdi;
pub mod e1d;
mod faulty;
pub mod hdlc;
mod line;
mod ready;
mod serial;
pub mod simulated;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

pub use captured::Captured;
pub use faulty::{Faults, Faulty};
pub use line::{Alarms, Counters, Law, Line, LoopBack, Timeslot};
pub use serial::{Serial, SerialError};

/// A T1 or E1 line.
pub trait Span: Send {
    /// The kind of line.
    fn line(&self) -> Line;
    /// The law of its bearers.
    fn law(&self) -> Law {
        self.line().law()
    }
    /// Where its D-channel is; `None` on a line of bearers alone, whose signalling is on another (NFAS).
    fn d_timeslot(&self) -> Option<Timeslot>;
    /// The alarms that stand.
    fn alarms(&self) -> Alarms;
    /// What went wrong so far.
    fn counters(&self) -> Counters;
    /// Opens the D-channel. It is the caller's until it is dropped.
    fn d_channel(&mut self) -> Result<Box<dyn DChannel>, SpanError>;
    /// Opens a timeslot for sound. It is the caller's until it is dropped.
    fn bearer(&mut self, timeslot: Timeslot) -> Result<Box<dyn Bearer>, SpanError>;
    /// Loops the line back, or ends that.
    fn loop_back(&mut self, kind: Option<LoopBack>) -> Result<(), SpanError>;
    /// Takes the line down, so that the far end sees AIS or nothing, or lets it up again. `alarms` stay what the far end
    /// causes. `Unsupported` where the driver cannot: then the D-channel's silence has to do.
    fn force_down(&mut self, down: bool) -> Result<(), SpanError>;
    /// The alarms as they stand now, once after each change; `None` when nothing is new. `Gone` when the span has to be
    /// opened anew.
    fn poll(&mut self) -> Result<Option<Alarms>, SpanError>;
    /// Readable when `poll` has news.
    fn ready(&self) -> BorrowedFd<'_>;
}

/// Why a span does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpanError {
    /// We ask for what the line does not have.
    #[error("the line has no timeslot {0} for that")]
    NoTimeslot(Timeslot),
    /// Somebody, perhaps ourselves, has it open.
    #[error("timeslot {0} is in use")]
    Taken(Timeslot),
    /// The driver was set up for something else.
    #[error("the line's driver is not configured for that: {0}")]
    NotConfigured(&'static str),
    /// The card or its driver cannot.
    #[error("the line's driver cannot do that")]
    Unsupported,
    /// There is no way to the driver: it is not loaded, does not run, or does not let us.
    #[error("{} cannot be opened: {why}", path.display())]
    Unreachable {
        /// Its device or socket.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The card or its driver went away.
    #[error("the line's card or driver is gone")]
    Gone,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One timeslot of a span, opened for sound: owning the value is the right to use the timeslot.
/// Octets are companded by the line's own law and paced by the line, 8,000 a second.
pub trait Bearer: Send {
    /// Octets heard since the last call, at most `octets.len()`; 0 when none wait.
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize>;
    /// Octets to say; fewer are taken when the line's buffer is full.
    fn write(&mut self, octets: &[u8]) -> io::Result<usize>;
    /// Readable when `read` has something.
    fn ready(&self) -> BorrowedFd<'_>;
    /// Lets the card take the echo out of what is heard, over so many taps (8 a millisecond); 0 ends that. `Unsupported`
    /// where the card cannot: then the canceller is ours to run.
    fn cancel_echo(&mut self, _taps: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Does the card take the echo out?
    fn cancels_echo(&self) -> bool {
        false
    }
}

/// The signalling timeslot of a span: whole HDLC frames (ITU-T Q.921) without flags and FCS.
pub trait DChannel: Send {
    /// The next good frame, written into `frame`, which shall have room for [`hdlc::LONGEST`] octets; its length, or `None`
    /// when none waits.
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>>;
    /// Sends one frame; `WouldBlock` when the line's queue is full.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;
    /// Readable when `receive` has something.
    fn ready(&self) -> BorrowedFd<'_>;
}

/// A serial console: bytes both ways.
pub trait Console: Send {
    /// Bytes that came, at most `bytes.len()`; 0 when none wait.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize>;
    /// Bytes to send; how many were taken.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Readable when `read` has something.
    fn ready(&self) -> BorrowedFd<'_>;
}

impl<B: Bearer + ?Sized> Bearer for Box<B> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        (**self).read(octets)
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        (**self).write(octets)
    }

    fn ready(&self) -> BorrowedFd<'_> {
        (**self).ready()
    }

    fn cancel_echo(&mut self, taps: u16) -> io::Result<()> {
        (**self).cancel_echo(taps)
    }

    fn cancels_echo(&self) -> bool {
        (**self).cancels_echo()
    }
}

impl<D: DChannel + ?Sized> DChannel for Box<D> {
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        (**self).receive(frame)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        (**self).send(frame)
    }

    fn ready(&self) -> BorrowedFd<'_> {
        (**self).ready()
    }
}
