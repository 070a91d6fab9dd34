//! One Lync-style INVITE from bytes to what routing needs, beside rsip's parser alone in the same
//! run. CPU time of this thread in alternating rounds: the median counts. Allocations are counted
//! in both. Prints a JSON line for each of the two.

#![allow(unsafe_code, reason = "a global allocator cannot be had without")]
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use demarc::wire::sip::{Message, Name, Uri, validate};
use nix::time::{ClockId, clock_gettime};

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INVITE: &str = include_str!("invite.sip");
const ROUNDS: usize = 41;
const PARSES: u32 = 5_000;

/// Parse, validate, and the fields that choose a transaction, a dialog and a route.
fn ours(bytes: &Bytes) -> usize {
    let message = Message::parse(bytes.clone()).expect("the INVITE parses");
    validate(&message).expect("the INVITE is valid");
    let via = message.via().expect("a Via");
    let (from, to) = (message.address(Name::From).expect("a From"), message.address(Name::To).expect("a To"));
    let contact = message.address(Name::Contact).expect("a Contact");
    let call_id = message.call_id().expect("a Call-ID");
    let cseq = message.cseq().expect("a CSeq");
    let called = message.uri().and_then(Uri::user).expect("a called number");
    let media = message.media_type().expect("a Content-Type");
    black_box((via, cseq));
    via.branch().len()
        + from.params.text("tag").map_or(0, str::len)
        + to.params.text("tag").map_or(0, str::len)
        + contact.uri.host().len()
        + call_id.len()
        + called.len()
        + media.subtype.len()
}

fn rsip(text: &str) -> usize {
    let message = rsip::Request::try_from(text).expect("rsip parses the INVITE");
    black_box(message).headers.iter().count()
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a CPU clock").into()
}

/// Nanoseconds for one.
fn time(mut once: impl FnMut() -> usize) -> f64 {
    let start = cpu();
    for _ in 0..PARSES {
        black_box(once());
    }
    (cpu() - start).as_nanos() as f64 / f64::from(PARSES)
}

fn allocations(mut once: impl FnMut() -> usize) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    black_box(once());
    ALLOCATIONS.with(Cell::get) - before
}

fn row(name: &str, unit: &str, ours: f64, rival: f64, target: f64) -> String {
    format!(
        "{{\"name\":\"{name}\",\"unit\":\"{unit}\",\"ours\":{ours:.0},\"rival\":\"rsip 0.4, parse alone\",\
         \"rival_value\":{rival:.0},\"ratio\":{:.2},\"target\":{target:.0},\"met\":{},\"runs\":{ROUNDS}}}",
        ours / rival,
        ours <= target,
    )
}

fn main() {
    let text = INVITE.replace('\n', "\r\n");
    let bytes = Bytes::from(text.clone());
    // The first clone of `Bytes` allocates its counter; framing has paid for that.
    let _shared = bytes.clone();
    let (mut ours_ns, mut rival_ns) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours_ns.push(time(|| ours(black_box(&bytes))));
        rival_ns.push(time(|| rsip(black_box(&text))));
    }
    ours_ns.sort_by(f64::total_cmp);
    rival_ns.sort_by(f64::total_cmp);
    eprintln!("sip_parse: {} octets, best {:.0} ns, rival's best {:.0} ns", text.len(), ours_ns[0], rival_ns[0]);
    let time = row("sip_parse", "ns", ours_ns[ROUNDS / 2], rival_ns[ROUNDS / 2], 1000.0);
    let (few, many) = (allocations(|| ours(&bytes)), allocations(|| rsip(&text)));
    let allocations = row("sip_parse_allocations", "allocations", few as f64, many as f64, 3.0);
    let rows = format!("{time}\n{allocations}\n");
    print!("{rows}");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("sip_parse.jsonl"), rows));
    if let Err(fault) = kept {
        eprintln!("sip_parse: the rows are not kept: {fault}");
    }
}
