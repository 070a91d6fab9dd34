//! A descriptor that is readable while something waits (eventfd(2)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

#[derive(Debug)]
pub(crate) struct Ready(EventFd);

impl Ready {
    pub(crate) fn new() -> io::Result<Ready> {
        Ok(Ready(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?))
    }

    /// Something waits. A refusal means that it is raised already.
    pub(crate) fn raise(&self) {
        let _ = self.0.write(1);
    }

    /// Nothing waits.
    pub(crate) fn lower(&self) {
        let _ = self.0.read();
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
