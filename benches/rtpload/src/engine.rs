//! The media loop: every thread paces its own calls in slots (1 ms unless told otherwise) and drains both sides.

use crate::codec::{Codec, DATA_LEN, G711, Mark, frames};
use crate::hist::Hist;
use crate::net::{Batch, mono_ns, real_ns, sleep_until};
use crate::rtcp;
use crate::srtp::{Srtp, header_len};
use std::collections::HashMap;
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

pub const WARM: u8 = 0;
pub const MEASURE: u8 = 1;
pub const DRAIN: u8 = 2;
pub const STOP: u8 = 3;

const FRAME_NS: u64 = 20_000_000;
/// Room for a compound packet of ours with SRTCP's index, MKI and tag.
const RTCP_ROOM: usize = 128;

pub struct Leg {
    pub id: u32,
    pub peer: u32,
    pub remote: SocketAddrV4,
    pub remote_rtcp: SocketAddrV4,
    pub codec: Codec,
    pub tx: Option<Srtp>,
    pub rx: Option<Srtp>,
    ssrc: u32,
    seq: u16,
    ts: u32,
    index: u64,
    octets: u32,
    rxs: RxState,
    rtcp: RtcpState,
}

/// What a leg has read of the other end's RTCP.
#[derive(Default)]
struct RtcpState {
    got: u64,
    /// Their last SR: the middle of its timestamp, and when it came.
    last_sr: Option<(u32, u64)>,
    /// Lost packets of ours, by their last report.
    lost: u32,
}

#[derive(Default)]
struct RxState {
    first: Option<(u16, u32, u64)>,
    ssrc: u32,
    first_seq: u32,
    next_index: u64,
    transit: Option<i64>,
    jitter: f64,
    ext_seq: u32,
    last_seq: u16,
    win_base: Option<(u32, u64)>,
    got: u64,
}

#[derive(Default, Clone)]
pub struct Report {
    pub sent: u64,
    pub sent_window: u64,
    pub recv: u64,
    pub recv_window: u64,
    pub seq_loss: u64,
    pub seq_expected: u64,
    pub auth_fail: u64,
    pub corrupt: u64,
    pub after_end: u64,
    pub not_exact: u64,
    pub reordered: u64,
    pub seq_break: u64,
    pub ts_break: u64,
    pub wrong_pt: u64,
    pub wrong_len: u64,
    pub stray: u64,
    pub send_errors: u64,
    pub silent_legs: u64,
    pub rtcp_sent: u64,
    pub rtcp_recv: u64,
    pub rtcp_bad: u64,
    pub rtcp_silent_legs: u64,
    pub rtcp_reported_lost: u64,
    pub latency: Hist,
    pub jitter: Hist,
    pub jitter_max_ns: f64,
    pub jitter_sum_ns: f64,
    pub late: Hist,
    pub loader_cpu_s: f64,
}

impl Report {
    pub fn merge(&mut self, o: &Report) {
        macro_rules! add { ($($f:ident),*) => { $( self.$f += o.$f; )* } }
        add!(
            sent,
            sent_window,
            recv,
            recv_window,
            seq_loss,
            seq_expected,
            auth_fail,
            corrupt,
            after_end,
            not_exact,
            reordered,
            seq_break,
            ts_break,
            wrong_pt,
            wrong_len,
            stray,
            send_errors,
            silent_legs,
            rtcp_sent,
            rtcp_recv,
            rtcp_bad,
            rtcp_silent_legs,
            rtcp_reported_lost,
            jitter_sum_ns,
            loader_cpu_s
        );
        self.jitter_max_ns = self.jitter_max_ns.max(o.jitter_max_ns);
        self.latency.merge(&o.latency);
        self.jitter.merge(&o.jitter);
        self.late.merge(&o.late);
    }
}

impl Leg {
    /// `remote`: where RTP and RTCP go. `keys`: how we protect, how the server does.
    pub fn new(id: u32, peer: u32, remote: [SocketAddrV4; 2], codec: Codec, keys: [Option<Srtp>; 2]) -> Self {
        let [tx, rx] = keys;
        let mut h = (id as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        h ^= h >> 29;
        Self {
            id,
            peer,
            remote: remote[0],
            remote_rtcp: remote[1],
            codec,
            tx,
            rx,
            ssrc: h as u32,
            seq: (h >> 32) as u16 & 0x7fff,
            ts: (h >> 16) as u32,
            index: 0,
            octets: 0,
            rxs: RxState::default(),
            rtcp: RtcpState::default(),
        }
    }

    /// Sends SR, a block about what came, and a CNAME.
    fn report(&mut self, socket: &UdpSocket) -> std::io::Result<()> {
        let now = real_ns();
        let sender =
            rtcp::Sender { ntp: rtcp::ntp(now), rtp: self.ts, packets: self.index as u32, octets: self.octets };
        let s = &self.rxs;
        let (last_sr, came) = self.rtcp.last_sr.unwrap_or((0, now));
        let block = (s.got > 0).then(|| rtcp::Block {
            ssrc: s.ssrc,
            fraction_lost: 0,
            lost: u64::from(s.ext_seq + 1 - s.first_seq).saturating_sub(s.got) as u32,
            highest_seq: s.ext_seq,
            jitter: (s.jitter * f64::from(self.codec.clock()) / 1e9) as u32,
            last_sr,
            delay_since_sr: (((now - came.min(now)) << 16) / 1_000_000_000) as u32,
        });
        let mut b = [0u8; RTCP_ROOM];
        let mut n = rtcp::write(&mut b, self.ssrc, sender, block);
        if let Some(tx) = &mut self.tx {
            n = tx.protect_rtcp(&mut b, n);
        }
        socket.send_to(&b[..n], self.remote_rtcp).map(drop)
    }

    /// Reads what the server reports; false when it is not RTCP or its tag does not verify.
    fn reported(&mut self, b: &mut [u8]) -> bool {
        let n = match &mut self.rx {
            Some(rx) => rx.unprotect_rtcp(b, b.len()),
            None => Ok(b.len()),
        };
        let Some(told) = n.ok().and_then(|n| rtcp::read(&b[..n])) else { return false };
        let state = &mut self.rtcp;
        state.got += 1;
        state.last_sr = told.sender.map(|s| (rtcp::middle(s.ntp), real_ns())).or(state.last_sr);
        state.lost = told.blocks.iter().find(|k| k.ssrc == self.ssrc).map_or(state.lost, |k| k.lost);
        true
    }
}

pub struct Worker {
    /// Caller-side and callee-side sockets; leg 2k uses the first, leg 2k+1 the second.
    pub socks: [UdpSocket; 2],
    /// The same for RTCP.
    pub rtcp: [UdpSocket; 2],
    /// Parts of 20 ms: the more, the less do packets come in lumps.
    pub slots: u64,
    /// Slots between a leg's reports; 0: none.
    pub rtcp_every: u64,
    pub legs: Vec<Leg>,
    /// What Opus legs send, over and over.
    pub opus: Vec<Vec<u8>>,
    pub phase: Arc<AtomicU8>,
    /// Messages per sendmmsg: small keeps the embedded send time honest.
    pub burst: usize,
    pub start_ns: u64,
    /// No server in between: all packets share one source port, so tell legs apart by SSRC.
    pub by_ssrc: bool,
}

struct Tables {
    g711: [Option<G711>; 2],
    loops: [Vec<Vec<u8>>; 2],
}

impl Worker {
    pub fn run(mut self) -> Report {
        let mut rep = Report::default();
        let side_codec = [self.legs[0].codec, self.legs[1].codec];
        let tab = Tables {
            g711: side_codec.map(|c| c.is_g711().then(|| G711::new(c))),
            loops: side_codec.map(|c| if c.is_g711() { Vec::new() } else { frames(c, &self.opus) }),
        };
        let marked = side_codec[0].is_g711() && side_codec[1].is_g711();
        let exact = marked && side_codec[0] == side_codec[1];
        let mut by_port = [vec![u32::MAX; 65536], vec![u32::MAX; 65536]];
        let mut by_rtcp_port = by_port.clone();
        for (i, l) in self.legs.iter().enumerate() {
            by_port[i & 1][l.remote.port() as usize] = i as u32;
            by_rtcp_port[i & 1][l.remote_rtcp.port() as usize] = i as u32;
        }
        let ssrcs: HashMap<u32, u32> = self.legs.iter().enumerate().map(|(i, l)| (l.ssrc, (i ^ 1) as u32)).collect();
        // Slot s sends legs with (call index * slots / calls) == s, both directions offset by half.
        let calls = self.legs.len() as u64 / 2;
        let mut slots: Vec<Vec<u32>> = vec![Vec::new(); self.slots as usize];
        for i in 0..self.legs.len() as u64 {
            let s = ((i / 2) * self.slots / calls + (i & 1) * self.slots / 2) % self.slots;
            slots[s as usize].push(i as u32);
        }
        let (mut out, mut inp) = ([Batch::default(), Batch::default()], Batch::default());
        let cpu0 = thread_cpu();
        let (mut cpu1, mut was) = (cpu0, WARM);
        let mut tick = 0u64;
        loop {
            let due = self.start_ns + tick * FRAME_NS / self.slots;
            sleep_until(due);
            let phase = self.phase.load(Relaxed);
            if phase != was {
                match phase {
                    MEASURE => cpu1 = thread_cpu(),
                    DRAIN => rep.loader_cpu_s = thread_cpu() - cpu1,
                    _ => {}
                }
                if phase == MEASURE || phase == DRAIN {
                    self.window_edge(phase, &mut rep);
                }
                was = phase;
            }
            if phase == STOP {
                break;
            }
            for (side, ports) in by_port.iter().enumerate() {
                loop {
                    let n = inp.recv(&self.socks[side]);
                    for i in 0..n {
                        let leg = if self.by_ssrc {
                            let b = &inp.bufs[i];
                            ssrcs.get(&u32::from_be_bytes([b[8], b[9], b[10], b[11]])).copied().unwrap_or(u32::MAX)
                        } else {
                            ports[inp.ports[i] as usize]
                        };
                        if leg == u32::MAX {
                            rep.stray += 1;
                            continue;
                        }
                        let (stamp, len) = (inp.stamps[i], inp.lens[i]);
                        receive(
                            &mut self.legs[leg as usize],
                            &mut inp.bufs[i],
                            len,
                            stamp,
                            phase,
                            &tab.g711[side],
                            marked,
                            exact,
                            &mut rep,
                        );
                    }
                    if n < crate::net::BATCH {
                        break;
                    }
                }
            }
            if phase != DRAIN {
                let late = mono_ns().saturating_sub(due);
                if phase == MEASURE {
                    rep.late.add(late);
                }
                for &i in &slots[(tick % self.slots) as usize] {
                    let side = (i & 1) as usize;
                    let b = &mut out[side];
                    let leg = &mut self.legs[i as usize];
                    let k = b.n;
                    if k == 0 {
                        b.stamps[0] = real_ns();
                    }
                    let sent_ns = b.stamps[0];
                    b.lens[k] = build(leg, &mut b.bufs[k], phase, sent_ns, &tab, side, marked);
                    b.set_dest(k, leg.remote);
                    b.n += 1;
                    rep.sent += 1;
                    rep.sent_window += (phase == MEASURE) as u64;
                    if b.n == self.burst {
                        rep.send_errors += b.send(&self.socks[side]) as u64;
                    }
                }
                for (b, s) in out.iter_mut().zip(&self.socks) {
                    if b.n > 0 {
                        rep.send_errors += b.send(s) as u64;
                    }
                }
            }
            if self.rtcp_every > 0 {
                self.control(tick, phase, &by_rtcp_port, &mut rep);
            }
            tick += 1;
        }
        for l in &self.legs {
            rep.rtcp_silent_legs += (self.rtcp_every > 0 && l.rtcp.got == 0) as u64;
            rep.rtcp_recv += l.rtcp.got;
            rep.rtcp_reported_lost += u64::from(l.rtcp.lost);
            rep.silent_legs += (l.rxs.got == 0) as u64;
            rep.jitter_sum_ns += l.rxs.jitter;
            rep.jitter_max_ns = rep.jitter_max_ns.max(l.rxs.jitter);
        }
        rep
    }

    /// RTCP of one slot: the legs whose turn it is report, and what came is read every 20 ms.
    fn control(&mut self, tick: u64, phase: u8, by_port: &[Vec<u32>; 2], rep: &mut Report) {
        let (turn, legs) = (tick % self.rtcp_every, self.legs.len() as u64);
        let first = (turn * legs).div_ceil(self.rtcp_every);
        let end = ((turn + 1) * legs).div_ceil(self.rtcp_every);
        for i in (first..end).filter(|_| phase != DRAIN) {
            let sent = self.legs[i as usize].report(&self.rtcp[i as usize & 1]);
            rep.rtcp_sent += 1;
            rep.send_errors += sent.is_err() as u64;
        }
        if !tick.is_multiple_of(self.slots) {
            return;
        }
        let mut b = [0u8; 1500];
        for (socket, ports) in self.rtcp.iter().zip(by_port) {
            while let Ok((n, from)) = socket.recv_from(&mut b) {
                match self.legs.get_mut(ports[usize::from(from.port())] as usize) {
                    Some(leg) => rep.rtcp_bad += !leg.reported(&mut b[..n]) as u64,
                    None => rep.stray += 1,
                }
            }
        }
    }

    fn window_edge(&mut self, phase: u8, rep: &mut Report) {
        for l in &mut self.legs {
            let s = &mut l.rxs;
            if phase == MEASURE {
                s.win_base = s.first.map(|_| (s.ext_seq, s.got));
            } else if let Some((seq, got)) = s.win_base {
                let expected = s.ext_seq.wrapping_sub(seq) as u64;
                rep.seq_expected += expected;
                rep.seq_loss += expected.saturating_sub(s.got - got);
            }
        }
    }
}

fn thread_cpu() -> f64 {
    crate::net::now(libc::CLOCK_THREAD_CPUTIME_ID) as f64 / 1e9
}

fn build(l: &mut Leg, b: &mut [u8], phase: u8, sent_ns: u64, tab: &Tables, side: usize, marked: bool) -> usize {
    b[0] = 0x80;
    b[1] = l.codec.pt() | if l.index == 0 { 0x80 } else { 0 };
    b[2..4].copy_from_slice(&l.seq.to_be_bytes());
    b[4..8].copy_from_slice(&l.ts.to_be_bytes());
    b[8..12].copy_from_slice(&l.ssrc.to_be_bytes());
    let len = match &tab.g711[side] {
        Some(g) => {
            let mut d = [0u8; DATA_LEN];
            let in_window = marked && phase == MEASURE;
            Mark { leg: l.id, index: l.index, in_window, sent_ns }.write(&mut d);
            g.put(&mut b[12..172], &d);
            172
        }
        None => {
            let f = &tab.loops[side];
            let f = &f[(l.index as usize + l.id as usize) % f.len()];
            b[12..12 + f.len()].copy_from_slice(f);
            12 + f.len()
        }
    };
    l.index += 1;
    l.seq = l.seq.wrapping_add(1);
    l.ts = l.ts.wrapping_add(l.codec.ts_step());
    l.octets = l.octets.wrapping_add(len as u32 - 12);
    match &mut l.tx {
        Some(t) => t.protect(b, len),
        None => len,
    }
}

#[allow(clippy::too_many_arguments)]
fn receive(
    l: &mut Leg,
    b: &mut [u8],
    len: usize,
    stamp: u64,
    phase: u8,
    g: &Option<G711>,
    marked: bool,
    exact: bool,
    rep: &mut Report,
) {
    if len >= 2 && (192..=223).contains(&b[1]) {
        return; // RTCP
    }
    let len = match &mut l.rx {
        Some(r) => match r.unprotect(b, len) {
            Ok(n) => n,
            Err(_) => {
                rep.auth_fail += 1;
                return;
            }
        },
        None => len,
    };
    let Some(h) = header_len(&b[..len]) else {
        rep.wrong_len += 1;
        return;
    };
    let seq = u16::from_be_bytes([b[2], b[3]]);
    let ts = u32::from_be_bytes([b[4], b[5], b[6], b[7]]);
    let s = &mut l.rxs;
    rep.recv += 1;
    s.got += 1;
    s.ssrc = u32::from_be_bytes([b[8], b[9], b[10], b[11]]);
    rep.wrong_pt += (b[1] & 0x7f != l.codec.pt()) as u64;
    let ahead = seq.wrapping_sub(s.last_seq) as i16;
    if s.got == 1 {
        s.ext_seq = 65536 + seq as u32;
        s.first_seq = s.ext_seq;
        s.last_seq = seq;
    } else if ahead > 0 {
        s.ext_seq += ahead as u32;
        s.last_seq = seq;
    } else if !marked {
        rep.reordered += 1;
    }
    let pay = &b[h..len];
    if !marked {
        if s.first.is_none() {
            s.first = Some((seq, ts, 0));
        }
        rep.recv_window += (phase == MEASURE) as u64;
        if l.codec != Codec::Opus {
            rep.wrong_len += (pay.len() != 160) as u64;
        }
        // Relative transit: arrival against the RTP clock.
        let clock = i64::from(l.codec.clock());
        let base = s.first.map_or(ts, |f| f.1);
        let t = stamp as i64 - (ts.wrapping_sub(base) as i32 as i64 * 1_000_000_000 / clock);
        jitter(s, t, phase, rep);
        return;
    }
    if pay.len() != 160 {
        rep.wrong_len += 1;
        return;
    }
    let g = g.as_ref().expect("marked implies G.711");
    let mut d = [0u8; DATA_LEN];
    g.get(pay, &mut d);
    let Some(m) = Mark::read(&d).filter(|m| m.leg == l.peer) else {
        // A loss of the window still counts as lost: what came in its place is then no packet of the window.
        match phase {
            DRAIN if !exact => rep.after_end += 1,
            _ => rep.corrupt += 1,
        }
        return;
    };
    if exact {
        let mut want = [0u8; 160];
        g.put(&mut want, &d);
        rep.not_exact += (want[..] != *pay) as u64;
    }
    match s.first {
        None => {
            s.first = Some((seq, ts, m.index));
            s.next_index = m.index + 1;
        }
        Some((seq0, ts0, i0)) => {
            let di = m.index.wrapping_sub(i0);
            rep.seq_break += (seq.wrapping_sub(seq0) != di as u16) as u64;
            rep.ts_break += (ts.wrapping_sub(ts0) != (di as u32).wrapping_mul(160)) as u64;
            if m.index < s.next_index {
                rep.reordered += 1;
            } else {
                s.next_index = m.index + 1;
            }
        }
    }
    rep.recv_window += m.in_window as u64;
    if m.in_window {
        rep.latency.add(stamp.saturating_sub(m.sent_ns));
    }
    let transit = stamp as i64 - m.sent_ns as i64;
    jitter(s, transit, phase, rep);
}

/// RFC 3550 interarrival jitter, in nanoseconds.
fn jitter(s: &mut RxState, transit: i64, phase: u8, rep: &mut Report) {
    if let Some(p) = s.transit {
        let d = (transit - p).unsigned_abs();
        s.jitter += (d as f64 - s.jitter) / 16.0;
        if phase == MEASURE {
            rep.jitter.add(d);
        }
    }
    s.transit = Some(transit);
}
