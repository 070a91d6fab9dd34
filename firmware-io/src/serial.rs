//! A serial line as a [`Console`], 8N1 without flow control, ours alone while it is open (flock(2)).
//!
//! 1. Open: raw bytes both ways.
//! 2. Nothing at the end of the line (end of file, EIO): the cable, or the adapter with it, is gone. Closed.
//! 3. Opened again after 0.5 s, 1 s, 2 s ... 30 s, as often as it takes.
//!
//! termios(3) alone: crates for serial lines wait in `read` or bring an executor along, and this box polls.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::termios::{
    BaudRate, ControlFlags, FlushArg, SetArg, cfmakeraw, cfsetspeed, tcflush, tcgetattr, tcsetattr,
};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::Console;

/// The first and the longest pause before the line is opened again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Why a serial line cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum SerialError {
    /// No serial line has that speed.
    #[error("{0} baud is no speed of serial lines; write 9600, 19200, 38400, 57600 or 115200")]
    Speed(u32),
    /// The system refused a descriptor.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A serial line that is opened again whenever it went away. While it is away, reading and writing fail with
/// `NotConnected`; who reads again when it is ready finds it back.
#[derive(Debug)]
pub struct Serial {
    path: PathBuf,
    speed: BaudRate,
    state: State,
    retry: TimerFd,
    /// The line, or the end of the pause.
    ready: Epoll,
}

#[derive(Debug)]
enum State {
    Open(Flock<File>),
    Away { pause: Duration, why: io::Error },
}

impl Serial {
    /// Opens the line, now or when it is there.
    pub fn new(path: impl Into<PathBuf>, baud: u32) -> Result<Serial, SerialError> {
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from)?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let retry = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(io::Error::from)?;
        ready.add(&retry, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(io::Error::from)?;
        let state = State::Away { pause: PAUSES.0, why: ErrorKind::NotConnected.into() };
        let mut serial = Serial { path: path.into(), speed: speed(baud)?, state, retry, ready };
        serial.open();
        Ok(serial)
    }

    /// Why the line is away; `None` while it is open.
    pub fn fault(&self) -> Option<&io::Error> {
        match &self.state {
            State::Open(_) => None,
            State::Away { why, .. } => Some(why),
        }
    }

    fn open(&mut self) {
        match self.try_open() {
            Ok(line) => self.state = State::Open(line),
            Err(why) => self.away(why),
        }
    }

    fn try_open(&self) -> io::Result<Flock<File>> {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&self.path)?;
        let line = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
        let mut settings = tcgetattr(&*line)?;
        cfmakeraw(&mut settings);
        settings.control_flags.remove(ControlFlags::CRTSCTS | ControlFlags::CSTOPB | ControlFlags::PARENB);
        settings.control_flags.insert(ControlFlags::CLOCAL | ControlFlags::CREAD | ControlFlags::CS8);
        cfsetspeed(&mut settings, self.speed)?;
        tcsetattr(&*line, SetArg::TCSANOW, &settings)?;
        tcflush(&*line, FlushArg::TCIOFLUSH)?;
        self.ready.add(&*line, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(line)
    }

    /// The line is not there: the next pause begins. Closing it takes it out of `ready`.
    fn away(&mut self, why: io::Error) {
        let pause = match self.state {
            State::Open(_) => PAUSES.0,
            State::Away { pause, .. } => pause,
        };
        self.state = State::Away { pause: (pause * 2).min(PAUSES.1), why };
        // cannot fail: the timer is ours and the pause is positive; if it did, reading still tries when it is asked to.
        let _ = self.retry.set(Expiration::OneShot(TimeSpec::from_duration(pause)), TimerSetTimeFlags::empty());
    }

    /// Tries the line again if the pause is over.
    fn retry(&mut self) -> io::Result<()> {
        if matches!(self.state, State::Away { .. }) && self.retry.wait().is_ok() {
            self.open();
        }
        match self.state {
            State::Open(_) => Ok(()),
            State::Away { .. } => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// What a read or write came to, and what it says of the line.
    fn judge(&mut self, done: io::Result<usize>) -> io::Result<usize> {
        match done {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Ok(count) if count > 0 => Ok(count),
            Ok(_) => self.lost(ErrorKind::UnexpectedEof.into()),
            Err(error) => self.lost(error),
        }
    }

    fn lost(&mut self, why: io::Error) -> io::Result<usize> {
        self.away(why);
        Err(ErrorKind::NotConnected.into())
    }
}

impl Console for Serial {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.retry()?;
        let State::Open(line) = &mut self.state else { return Ok(0) };
        let done = line.read(bytes);
        self.judge(done)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry()?;
        let State::Open(line) = &mut self.state else { return Ok(0) };
        if bytes.is_empty() {
            return Ok(0);
        }
        let done = line.write(bytes);
        self.judge(done)
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.ready.0.as_fd()
    }
}

fn speed(baud: u32) -> Result<BaudRate, SerialError> {
    Ok(match baud {
        1200 => BaudRate::B1200,
        2400 => BaudRate::B2400,
        4800 => BaudRate::B4800,
        9600 => BaudRate::B9600,
        19_200 => BaudRate::B19200,
        38_400 => BaudRate::B38400,
        57_600 => BaudRate::B57600,
        115_200 => BaudRate::B115200,
        230_400 => BaudRate::B230400,
        460_800 => BaudRate::B460800,
        921_600 => BaudRate::B921600,
        _ => return Err(SerialError::Speed(baud)),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use nix::fcntl::OFlag;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

    use super::*;

    /// The far end of a line, which is found at `path`.
    fn far_end(path: &Path) -> PtyMaster {
        let far = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let _ = std::fs::remove_file(path);
        symlink(ptsname_r(&far).unwrap(), path).unwrap();
        far
    }

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("serial-{name}-{}", std::process::id()))
    }

    /// Waits until the line has something to say.
    fn wait(serial: &Serial) {
        let mut fds = [PollFd::new(serial.ready(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(5000u16)).unwrap(), 1, "ready within 5 s");
    }

    fn read(serial: &mut Serial) -> io::Result<Vec<u8>> {
        let mut bytes = [0; 64];
        serial.read(&mut bytes).map(|count| bytes[..count].to_vec())
    }

    #[test]
    fn bytes_pass_as_they_are() {
        let path = path("raw");
        let mut far = far_end(&path);
        let mut near = Serial::new(&path, 9600).unwrap();
        assert_eq!(read(&mut near).unwrap(), b"");
        far.write_all(b"login: \r\n\x03\xff").unwrap();
        wait(&near);
        assert_eq!(read(&mut near).unwrap(), b"login: \r\n\x03\xff");
        assert_eq!(near.write(b"show alarms\r").unwrap(), 12);
        let mut bytes = [0; 64];
        let count = far.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"show alarms\r", "no echo, no line ends of the terminal's own");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_line_that_went_away_is_opened_again() {
        let path = path("away");
        let far = far_end(&path);
        let mut near = Serial::new(&path, 115_200).unwrap();
        assert!(near.fault().is_none());
        drop(far);
        wait(&near);
        assert_eq!(read(&mut near).unwrap_err().kind(), ErrorKind::NotConnected);
        assert!(near.fault().is_some());
        assert_eq!(near.write(b"x").unwrap_err().kind(), ErrorKind::NotConnected);
        // The pause is over, and the line still away.
        std::fs::remove_file(&path).unwrap();
        wait(&near);
        assert_eq!(read(&mut near).unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(near.fault().map(io::Error::kind), Some(ErrorKind::NotFound));
        let mut far = far_end(&path);
        wait(&near);
        assert_eq!(read(&mut near).unwrap(), b"", "it is back");
        far.write_all(b"hello").unwrap();
        wait(&near);
        assert_eq!(read(&mut near).unwrap(), b"hello");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_line_is_one_owners() {
        let path = path("taken");
        let _far = far_end(&path);
        let first = Serial::new(&path, 9600).unwrap();
        let second = Serial::new(&path, 9600).unwrap();
        assert!(first.fault().is_none());
        assert_eq!(second.fault().map(io::Error::kind), Some(ErrorKind::WouldBlock));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_speed_of_no_line_is_told() {
        assert_eq!(Serial::new("/dev/null", 9601).unwrap_err().to_string().split(' ').next(), Some("9601"));
        let plain_file = Serial::new("/dev/null", 9600).unwrap();
        assert!(plain_file.fault().is_some(), "not a terminal");
    }
}
