//! CPU time of a process (all threads, and its children when asked), from /proc.

use std::fs;

#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu {
    pub user_s: f64,
    pub sys_s: f64,
    /// Sum of the live threads' run time, ns resolution.
    pub run_s: f64,
    pub rss_kb: u64,
    pub threads: u64,
    /// Threads switched out involuntarily: a sign of a contended core.
    pub involuntary: u64,
}

pub fn children(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut i = 0;
    while i < all.len() {
        let p = all[i];
        if let Ok(tasks) = fs::read_dir(format!("/proc/{p}/task")) {
            for t in tasks.flatten() {
                let f = t.path().join("children");
                let kids = fs::read_to_string(f).unwrap_or_default();
                all.extend(kids.split_whitespace().filter_map(|k| k.parse::<u32>().ok()));
            }
        }
        i += 1;
    }
    all
}

pub fn cpu(pids: &[u32]) -> Cpu {
    let mut c = Cpu::default();
    // SAFETY: sysconf has no preconditions.
    let (hz, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK) as f64, libc::sysconf(libc::_SC_PAGESIZE) as u64) };
    for p in pids {
        let Ok(stat) = fs::read_to_string(format!("/proc/{p}/stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let f: Vec<&str> = rest.split_whitespace().collect();
        let n = |i: usize| f.get(i).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        c.user_s += n(11) as f64 / hz;
        c.sys_s += n(12) as f64 / hz;
        c.threads += n(17);
        c.rss_kb += n(21) * page / 1024;
        if let Ok(tasks) = fs::read_dir(format!("/proc/{p}/task")) {
            for t in tasks.flatten() {
                let s = fs::read_to_string(t.path().join("schedstat")).unwrap_or_default();
                let ns: u64 = s.split_whitespace().next().and_then(|v| v.parse().ok()).unwrap_or(0);
                c.run_s += ns as f64 / 1e9;
                let st = fs::read_to_string(t.path().join("status")).unwrap_or_default();
                for l in st.lines() {
                    if let Some(v) = l.strip_prefix("nonvoluntary_ctxt_switches:") {
                        c.involuntary += v.trim().parse::<u64>().unwrap_or(0);
                    }
                }
            }
        }
    }
    c
}
