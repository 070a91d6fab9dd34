//! Thin sendmmsg/recvmmsg wrappers with kernel receive timestamps.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

pub const BATCH: usize = 64;
pub const MTU: usize = 2048;
const CTL: usize = 64;

pub fn now(clock: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec.
    unsafe { libc::clock_gettime(clock, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

pub fn real_ns() -> u64 {
    now(libc::CLOCK_REALTIME)
}

pub fn mono_ns() -> u64 {
    now(libc::CLOCK_MONOTONIC)
}

pub fn sleep_until(mono: u64) {
    let t = libc::timespec { tv_sec: (mono / 1_000_000_000) as _, tv_nsec: (mono % 1_000_000_000) as _ };
    // SAFETY: valid timespec; an early return by a signal is harmless to callers.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &t, std::ptr::null_mut());
    }
}

fn setopt(fd: i32, level: i32, name: i32, v: i32) -> bool {
    // SAFETY: passes a live c_int with its size.
    unsafe { libc::setsockopt(fd, level, name, (&v as *const i32).cast(), 4) == 0 }
}

pub fn bind(ip: Ipv4Addr, port: u16, buf: i32) -> io::Result<UdpSocket> {
    let s = UdpSocket::bind((ip, port))?;
    s.set_nonblocking(true)?;
    let fd = s.as_raw_fd();
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if !setopt(fd, libc::SOL_SOCKET, force, buf) {
            setopt(fd, libc::SOL_SOCKET, plain, buf);
        }
    }
    setopt(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    Ok(s)
}

/// A pair for RTP and RTCP, on an even port and the one above it.
pub fn bind_pair(ip: Ipv4Addr, buf: i32) -> io::Result<[UdpSocket; 2]> {
    for _ in 0..200 {
        let rtp = bind(ip, 0, buf)?;
        let port = rtp.local_addr()?.port();
        if let Some(rtcp) = (port % 2 == 0).then(|| bind(ip, port + 1, 1 << 20).ok()).flatten() {
            return Ok([rtp, rtcp]);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn sockaddr(a: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as _,
        sin_port: a.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*a.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// Reusable message array; addresses and iovecs point into its own boxed buffers.
pub struct Batch {
    pub bufs: Box<[[u8; MTU]; BATCH]>,
    pub lens: [usize; BATCH],
    pub ports: [u16; BATCH],
    pub stamps: [u64; BATCH],
    addrs: Box<[libc::sockaddr_in; BATCH]>,
    ctl: Box<[[u64; CTL / 8]; BATCH]>,
    pub n: usize,
}

impl Default for Batch {
    fn default() -> Self {
        let zero = sockaddr(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        Self {
            bufs: vec![[0u8; MTU]; BATCH].into_boxed_slice().try_into().ok().unwrap(),
            lens: [0; BATCH],
            ports: [0; BATCH],
            stamps: [0; BATCH],
            addrs: Box::new([zero; BATCH]),
            ctl: Box::new([[0; CTL / 8]; BATCH]),
            n: 0,
        }
    }
}

impl Batch {
    pub fn set_dest(&mut self, i: usize, a: SocketAddrV4) {
        self.addrs[i] = sockaddr(a);
    }

    fn with_msgs<R>(&mut self, n: usize, rx: bool, f: impl FnOnce(*mut libc::mmsghdr) -> R) -> (R, [usize; BATCH]) {
        // SAFETY: mmsghdr and iovec are plain data; all pointers outlive the call to `f`.
        let mut iov: [libc::iovec; BATCH] = unsafe { std::mem::zeroed() };
        let mut msg: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for i in 0..n {
            iov[i].iov_base = self.bufs[i].as_mut_ptr().cast();
            iov[i].iov_len = if rx { MTU } else { self.lens[i] };
            let h = &mut msg[i].msg_hdr;
            h.msg_name = (&mut self.addrs[i] as *mut libc::sockaddr_in).cast();
            h.msg_namelen = size_of::<libc::sockaddr_in>() as _;
            h.msg_iov = &mut iov[i];
            h.msg_iovlen = 1;
            if rx {
                h.msg_control = self.ctl[i].as_mut_ptr().cast();
                h.msg_controllen = CTL;
            }
        }
        let r = f(msg.as_mut_ptr());
        let mut lens = [0; BATCH];
        for i in 0..n {
            lens[i] = msg[i].msg_len as usize;
            if rx && lens[i] > 0 {
                self.stamps[i] = stamp(&msg[i].msg_hdr);
            }
        }
        (r, lens)
    }

    /// Sends the first `n` messages; returns how many the kernel refused.
    pub fn send(&mut self, s: &UdpSocket) -> usize {
        let fd = s.as_raw_fd();
        let n = self.n;
        let (bad, _) = self.with_msgs(n, false, |m| {
            let (mut done, mut bad) = (0, 0);
            while done < n {
                // SAFETY: `m` points at `n` initialised headers.
                let r = unsafe { libc::sendmmsg(fd, m.add(done), (n - done) as _, 0) };
                if r > 0 {
                    done += r as usize;
                } else {
                    done += 1;
                    bad += 1;
                }
            }
            bad
        });
        self.n = 0;
        bad
    }

    /// Fills the batch from the socket without waiting; returns the message count.
    pub fn recv(&mut self, s: &UdpSocket) -> usize {
        let fd = s.as_raw_fd();
        let (r, lens) = self.with_msgs(BATCH, true, |m| {
            // SAFETY: `m` points at BATCH initialised headers.
            unsafe { libc::recvmmsg(fd, m, BATCH as _, libc::MSG_DONTWAIT, std::ptr::null_mut()) }
        });
        let n = r.max(0) as usize;
        self.lens = lens;
        for i in 0..n {
            self.ports[i] = u16::from_be(self.addrs[i].sin_port);
        }
        n
    }
}

fn stamp(h: &libc::msghdr) -> u64 {
    // SAFETY: the kernel filled the control buffer `h` refers to.
    unsafe {
        let mut c = libc::CMSG_FIRSTHDR(h);
        while !c.is_null() {
            if (*c).cmsg_level == libc::SOL_SOCKET && (*c).cmsg_type == libc::SCM_TIMESTAMPNS {
                let t = libc::CMSG_DATA(c).cast::<libc::timespec>().read_unaligned();
                return t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64;
            }
            c = libc::CMSG_NXTHDR(h, c);
        }
    }
    real_ns()
}

pub fn pin(cpu: usize) {
    // SAFETY: cpu_set_t is plain data; affects the calling thread only.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Real-time priority for the calling thread; false when not permitted.
pub fn real_time(prio: i32) -> bool {
    let p = libc::sched_param { sched_priority: prio };
    // SAFETY: valid sched_param, own thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &p) == 0 }
}
