//! A D-channel whose frames are written down as they pass, in a file that Wireshark opens as LAPD.
//!
//! The file is pcap with times in nanoseconds. Of its two link types for LAPD, LINKTYPE_LINUX_LAPD (177) is used: its
//! pseudo-header says which way a frame went, without which an analyser has to guess who is the network.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::DChannel;

const MAGIC: u32 = 0xa1b2_3c4d;
const LINUX_LAPD: u32 = 177;
/// The pseudo-header's packet types, kind of device and protocol (if_packet.h, if_arp.h, if_ether.h).
const INCOMING: u16 = 0;
const OUTGOING: u16 = 4;
const ARPHRD_LAPD: u16 = 8445;
const ETH_P_LAPD: u16 = 0x0030;
const PSEUDO_HEADER: usize = 16;

/// Frames and where a copy of each goes.
pub struct Captured<D> {
    inner: D,
    file: Option<Box<dyn Write + Send>>,
    /// Time since 1970.
    now: Box<dyn FnMut() -> Duration + Send>,
    network: bool,
}

impl<D> Captured<D> {
    /// Writes the head of the file. `network`: this is the network's side. A file that fails later is given up; the line never is.
    pub fn new(
        inner: D,
        network: bool,
        mut file: impl Write + Send + 'static,
        now: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Captured<D>> {
        let mut head = Vec::with_capacity(24);
        for word in [MAGIC, 0x0004_0002, 0, 0, 65_535, LINUX_LAPD] {
            head.extend(word.to_le_bytes());
        }
        file.write_all(&head)?;
        Ok(Captured { inner, file: Some(Box::new(file)), now: Box::new(now), network })
    }

    /// Is the capture still written?
    pub fn is_writing(&self) -> bool {
        self.file.is_some()
    }

    fn write(&mut self, way: u16, frame: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let now = (self.now)();
        let length = (PSEUDO_HEADER + frame.len()) as u32;
        let mut record = Vec::with_capacity(16 + PSEUDO_HEADER + frame.len());
        for word in [now.as_secs() as u32, now.subsec_nanos(), length, length] {
            record.extend(word.to_le_bytes());
        }
        record.extend(way.to_be_bytes());
        record.extend(ARPHRD_LAPD.to_be_bytes());
        // The "address": one octet, 1 at the network's side.
        record.extend([0, 1, u8::from(self.network), 0, 0, 0, 0, 0, 0, 0]);
        record.extend(ETH_P_LAPD.to_be_bytes());
        record.extend(frame);
        if file.write_all(&record).and_then(|()| file.flush()).is_err() {
            self.file = None;
        }
    }
}

impl<D: DChannel> DChannel for Captured<D> {
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        let length = self.inner.receive(frame)?;
        if let Some(length) = length {
            self.write(INCOMING, &frame[..length]);
        }
        Ok(length)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.inner.send(frame)?;
        self.write(OUTGOING, frame);
        Ok(())
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.inner.ready()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use super::*;
    use crate::Span;
    use crate::line::Line;
    use crate::simulated::Cable;

    const SABME: [u8; 3] = [0x00, 0x01, 0x7f];
    /// SETUP with a bearer capability and a channel, in the first I frame.
    const SETUP: [u8; 19] = [2, 1, 0, 0, 8, 2, 0, 1, 5, 4, 3, 0x80, 0x90, 0xa2, 0x18, 3, 0xa9, 0x83, 0x83];

    fn exchange(file: impl Write + Send + 'static) -> bool {
        let (mut cable, mut near, mut far) = Cable::new(Line::T1, 1).unwrap();
        let mut user = far.d_channel().unwrap();
        let mut now = Duration::from_secs(1_795_215_600);
        let clock = move || {
            now += Duration::from_millis(1500);
            now
        };
        let mut network = Captured::new(near.d_channel().unwrap(), true, file, clock).unwrap();
        user.send(&SABME).unwrap();
        cable.advance(Duration::from_millis(10));
        assert_eq!(network.receive(&mut [0; 300]).unwrap(), Some(3));
        assert_eq!(network.receive(&mut [0; 300]).unwrap(), None);
        network.send(&SETUP).unwrap();
        network.is_writing()
    }

    #[test]
    fn a_capture_is_what_an_analyser_opens() {
        let path = std::env::temp_dir().join(format!("captured-{}.pcap", std::process::id()));
        assert!(exchange(File::create(&path).unwrap()));
        let mut tshark = Command::new("tshark");
        tshark.arg("-n").arg("-r").arg(&path).args(["-T", "fields"]);
        for field in ["frame.time_epoch", "frame.protocols", "lapd.direction", "_ws.col.Info"] {
            tshark.args(["-e", field]);
        }
        let output = tshark.output();
        std::fs::remove_file(&path).unwrap();
        let Ok(output) = output else {
            assert!(std::env::var_os("DEMARC_REQUIRE_PEERS").is_none(), "tshark is missing");
            return eprintln!("skipped: no tshark to read the capture with");
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!(lines.len(), 2, "{text} {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(lines[0][..3], ["1795215601.500000000", "lapd", "0"], "user to network");
        assert!(lines[0][3].contains("SABME"), "{text}");
        assert_eq!(lines[1][..3], ["1795215603.000000000", "lapd:q931", "1"], "network to user");
        assert!(lines[1][3].contains("SETUP"), "{text}");
    }

    #[test]
    fn a_full_disk_ends_the_capture_and_not_the_line() {
        /// Room for the head and one record.
        struct Disk(usize);
        impl Write for Disk {
            fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(octets.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(octets.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(!exchange(Disk(24 + 35)));
    }
}
