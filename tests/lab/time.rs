//! Wrong clocks: another time of day for the daemon, NTP servers of Debian's chrony, and one that lies.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::child::Running;
use super::{Lab, installed, missing, seconds, until};

/// From 1900 to 1970.
const TO_UNIX: u64 = 2_208_988_800;

/// A time of day that only the daemon sees.
pub struct Wall {
    library: PathBuf,
    file: PathBuf,
}

impl Wall {
    /// So many seconds ahead, and gaining so many ppm; `None`, said, without a C compiler.
    pub fn ahead(lab: &Lab, seconds: f64, ppm: f64) -> Option<Wall> {
        if !installed("cc", "gcc") {
            return None;
        }
        let (library, source) = (lab.path("wall.so"), lab.write("wall.c", include_str!("wall.c")));
        let built = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(built.unwrap().success());
        let wall = Wall { library, file: lab.path("wall") };
        wall.set(seconds, ppm);
        Some(wall)
    }

    /// Jumps.
    pub fn set(&self, seconds: f64, ppm: f64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds} {ppm}\n")).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// What makes a program see it.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("DEMARC_WALL", self.file.clone())]
    }
}

/// A chronyd that serves a wrong time, or says that it has none.
pub struct Chrony {
    _running: Running,
    /// Where it serves.
    pub address: SocketAddr,
}

impl Chrony {
    /// Are chronyd and libfaketime there?
    pub fn installed() -> bool {
        installed("chronyd", "chrony")
            && (faketime().is_some() || missing("libfaketime is not installed (apt-get install faketime)"))
    }

    /// One at the address ending in `last`, off by `offset` (`+30s`); `None` is not synchronised.
    pub fn start(lab: &Lab, last: u8, offset: Option<&str>) -> Chrony {
        let address = lab.net.at(last, 11_123);
        let folder = lab.folder(&format!("chrony{last}"));
        let source = if offset.is_some() { "local stratum 1\n" } else { "" };
        let pid = folder.join("pid");
        let conf = format!(
            "port {}\nbindaddress {}\nallow 127.0.0.0/8\n{source}cmdport 0\nbindcmdaddress /\npidfile {}\n",
            address.port(),
            address.ip(),
            pid.display(),
        );
        let conf = lab.write(&format!("chrony{last}.conf"), conf);
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        let mut command = Command::new("chronyd");
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        command.args(["-x", "-d", "-U", "-u", &user, "-f"]).arg(conf).env("PATH", path);
        command.env("LD_PRELOAD", faketime().unwrap()).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME", offset.unwrap_or("+0s"));
        let running = Running::start(&mut command, &lab.log(&format!("chrony{last}")));
        until(seconds(5), "chronyd serves", || pid.exists().then_some(()));
        Chrony { _running: running, address }
    }
}

fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime"));
    folders.map(|folder| folder.join("libfaketimeMT.so.1")).find(|library| library.is_file())
}

/// What a lying server does to a good answer; the second argument is its first answer.
pub type Lie = fn(answer: &mut [u8; 48], first: Option<[u8; 48]>);

/// An NTP server of our own; it ends with its value, and gives its port back.
pub struct Liar {
    /// Where it serves.
    pub address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// One at the address ending in `last`.
    pub fn start(lab: &Lab, last: u8, lie: Lie) -> Liar {
        let address = lab.net.at(last, 11_123);
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let over = over.clone();
            move || serve(&socket, lie, &over)
        });
        Liar { address, over, thread: Some(thread) }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(socket: &UdpSocket, lie: Lie, over: &AtomicBool) {
    let (mut query, mut first) = ([0; 48], None);
    while !over.load(Ordering::Relaxed) {
        let Ok((48, client)) = socket.recv_from(&mut query) else { continue };
        let now = stamp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap());
        let mut answer = [0; 48];
        (answer[0], answer[1], answer[3]) = (0x24, 1, 0xe9);
        answer[24..32].copy_from_slice(&query[40..]);
        answer[32..40].copy_from_slice(&now);
        answer[40..].copy_from_slice(&now);
        lie(&mut answer, first);
        first.get_or_insert(answer);
        let _ = socket.send_to(&answer, client);
    }
}

/// As it stands in a packet.
fn stamp(since_1970: Duration) -> [u8; 8] {
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    ((since_1970.as_secs() + TO_UNIX) << 32 | fraction).to_be_bytes()
}
