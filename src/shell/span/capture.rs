//! The frames of a D channel in a file. A thread writes them, so that a slow disk costs frames of the capture, which are
//! counted, and never one of the line.
//!
//! There are at most two files of [`MOST`] octets: the one that is written, and `NAME.1`, the one before. Both hold numbers, so
//! nobody but the daemon's user reads them; and what else may have the file's name is neither followed nor overwritten.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tracing::warn;

use crate::call::CaptureView;

/// The longest that a file becomes: some hours of a D channel that is never silent.
const MOST: usize = 32 << 20;
/// Frames that wait for the disk.
const WAITING: usize = 1024;

/// A capture that is written, or was.
pub(super) struct Capture {
    path: PathBuf,
    standing: Arc<Standing>,
}

#[derive(Default)]
struct Standing {
    missed: AtomicU64,
    ended: AtomicBool,
}

/// Where a capture's octets go in: its head first, then a record at a time.
pub(super) struct Pipe {
    pieces: SyncSender<Vec<u8>>,
    standing: Arc<Standing>,
}

impl Write for Pipe {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self.pieces.try_send(piece.to_vec()) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => drop(self.standing.missed.fetch_add(1, Ordering::Relaxed)),
            Err(TrySendError::Disconnected(_)) => return Err(ErrorKind::BrokenPipe.into()),
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Capture {
    /// Begins the file anew. It ends with the pipe, or when the disk is full.
    pub fn begin(path: &Path) -> io::Result<(Capture, Pipe)> {
        let file = begin(path)?;
        let standing = Arc::<Standing>::default();
        let (pieces, incoming) = sync_channel(WAITING);
        let (path, its_path, its_standing) = (path.to_owned(), path.to_owned(), standing.clone());
        std::thread::Builder::new().name("capture".into()).spawn(move || {
            if let Err(fault) = write(&its_path, file, &incoming, MOST) {
                warn!("the capture {} ends: {fault}", its_path.display());
            }
            its_standing.ended.store(true, Ordering::Relaxed);
        })?;
        Ok((Capture { path, standing: standing.clone() }, Pipe { pieces, standing }))
    }

    /// While it is written.
    pub fn view(&self) -> Option<CaptureView> {
        let view =
            CaptureView { file: self.path.display().to_string(), missed: self.standing.missed.load(Ordering::Relaxed) };
        (!self.standing.ended.load(Ordering::Relaxed)).then_some(view)
    }
}

/// An empty file that nobody else reads; one that is there is kept as the one before.
fn begin(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => fs::rename(path, before(path))?,
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "what is there is no file")),
        Err(fault) if fault.kind() == ErrorKind::NotFound => {}
        Err(fault) => return Err(fault),
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn before(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".1");
    name.into()
}

/// Until the pipe is gone. Each file begins with the head.
fn write(path: &Path, mut file: File, pieces: &Receiver<Vec<u8>>, most: usize) -> io::Result<()> {
    let Ok(head) = pieces.recv() else { return Ok(()) };
    file.write_all(&head)?;
    let mut length = head.len();
    for piece in pieces {
        if length + piece.len() > most {
            file = begin(path)?;
            file.write_all(&head)?;
            length = head.len();
        }
        file.write_all(&piece)?;
        length += piece.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// What is written of a head and these pieces into files of at most 10 octets.
    fn written(path: &Path, pieces: &[&str]) -> io::Result<()> {
        let (pipe, incoming) = sync_channel(100);
        for piece in std::iter::once(&"head ").chain(pieces) {
            pipe.send(piece.as_bytes().to_vec()).unwrap();
        }
        drop(pipe);
        write(path, begin(path)?, &incoming, 10)
    }

    #[test]
    fn a_full_file_is_kept_and_the_next_begins_with_the_head() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcap");
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        written(&path, &["1", "22", "333", "4", "55555"]).unwrap();
        assert_eq!((read(&before(&path)), read(&path)), ("head 3334".into(), "head 55555".into()));
        written(&path, &["6"]).unwrap();
        assert_eq!((read(&before(&path)), read(&path)), ("head 55555".into(), "head 6".into()));
        for path in [&path, &before(&path)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.pcap"), folder.path().join("other"));
        fs::write(&other, "mine").unwrap();
        symlink(&other, &path).unwrap();
        assert!(written(&path, &["1"]).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(written(&path, &["1"]).is_err());
        assert!(Capture::begin(&folder.path().join("none").join("a.pcap")).is_err());
    }

    #[test]
    fn a_slow_disk_costs_frames_that_are_counted_and_a_full_one_ends_the_capture() {
        let standing = Arc::<Standing>::default();
        let (pieces, disk) = sync_channel(2);
        let mut pipe = Pipe { pieces, standing: standing.clone() };
        for _ in 0..5 {
            assert_eq!(pipe.write(b"frame").unwrap(), 5);
        }
        assert_eq!(standing.missed.load(Ordering::Relaxed), 3);
        let capture = Capture { path: "/a.pcap".into(), standing };
        assert_eq!(capture.view().map(|view| (view.file, view.missed)), Some(("/a.pcap".into(), 3)));
        drop(disk);
        assert!(pipe.write(b"frame").is_err());
        capture.standing.ended.store(true, Ordering::Relaxed);
        assert!(capture.view().is_none());
    }
}
