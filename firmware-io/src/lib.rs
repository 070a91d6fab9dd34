//! The traits between demarc and the line, and what the kernel alone can say.
//!
//! Nothing here waits: whoever polls is given a readiness descriptor.

pub mod clock;

use std::io;
use std::os::fd::BorrowedFd;

/// One timeslot of a span, opened for sound: owning the value is the right to use the timeslot.
/// Octets are companded by the line's own law and paced by the line, 8,000 a second.
pub trait Bearer: Send {
    /// Octets heard since the last call, at most `octets.len()`; 0 when none wait.
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize>;
    /// Octets to say; fewer are taken when the line's buffer is full.
    fn write(&mut self, octets: &[u8]) -> io::Result<usize>;
    /// Readable when `read` has something.
    fn ready(&self) -> BorrowedFd<'_>;
}

/// The signalling timeslot of a span: whole HDLC frames (ITU-T Q.921) without flags and FCS.
pub trait DChannel: Send {
    /// The next good frame, written into `frame`; its length, or `None` when none waits.
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
