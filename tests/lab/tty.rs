//! The far end of a serial line: a pty that answers what is typed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// A console that is there until it is pulled.
pub struct Tty {
    typed: Arc<Mutex<Vec<String>>>,
    master: Arc<Mutex<Option<File>>>,
}

impl Tty {
    /// A line that is found at `path`. `script` answers what was typed before each return; a character is an octet.
    pub fn start(path: &Path, script: impl Fn(&str) -> Option<String> + Send + 'static) -> Tty {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let _ = std::fs::remove_file(path);
        symlink(ptsname_r(&master).unwrap(), path).unwrap();
        let master = Arc::new(Mutex::new(Some(File::from(std::os::fd::OwnedFd::from(master)))));
        let tty = Tty { typed: Arc::default(), master };
        let (typed, master) = (tty.typed.clone(), tty.master.clone());
        thread::spawn(move || {
            let (mut line, mut owed) = (Vec::new(), Vec::new());
            loop {
                thread::sleep(super::Duration::from_millis(5));
                let mut guard = master.lock().unwrap();
                let Some(file) = guard.as_mut() else { return };
                let mut octets = [0; 256];
                // Nobody has opened the other end yet, or nothing was typed.
                let count = file.read(&mut octets).unwrap_or(0);
                for octet in &octets[..count] {
                    match octet {
                        b'\r' => {
                            let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
                            owed.extend(script(&text).unwrap_or_default().chars().map(|c| c as u8));
                            typed.lock().unwrap().push(text);
                        }
                        octet => line.push(*octet),
                    }
                }
                let written = file.write(&owed).unwrap_or(0);
                owed.drain(..written);
            }
        });
        tty
    }

    /// What was typed so far.
    pub fn typed(&self) -> Vec<String> {
        self.typed.lock().unwrap().clone()
    }

    /// Takes the line away.
    pub fn pull(&self) {
        drop(self.master.lock().unwrap().take());
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.pull();
    }
}
