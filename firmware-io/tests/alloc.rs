//! While time passes on simulated lines nothing is allocated, neither by the cable nor by who reads and writes: counted by
//! the allocator itself.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use firmware_io::simulated::{Cable, Side};
use firmware_io::{Line, Span};

struct Counting;

thread_local! {
    /// Of this thread: the test's own harness allocates meanwhile.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends counts no more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_busy_and_disturbed_line_allocates_nothing() {
    let (mut cable, mut near, mut far) = Cable::new(Line::E1, 1).unwrap();
    let slots: Vec<_> = Line::E1.all().filter(|slot| *slot != Line::E1.d_timeslot()).collect();
    let mut bearers: Vec<_> = slots.iter().flat_map(|slot| [near.bearer(*slot), far.bearer(*slot)]).collect();
    let mut channels = [near.d_channel().unwrap(), far.d_channel().unwrap()];
    cable.disturbance().bit_errors(1e-5);
    cable.disturbance().clock(Side::Near, 100);
    let mut octets = [0x55; 64];
    let mut frames = 0;

    let before = ALLOCATIONS.get();
    for millisecond in 0..10_000 {
        cable.advance(Duration::from_millis(1));
        if millisecond % 5 == 4 {
            for bearer in bearers.iter_mut().flatten() {
                let count = bearer.read(&mut octets).unwrap();
                bearer.write(&octets[..count]).unwrap();
            }
            for channel in &mut channels {
                let _ = channel.send(&[0; 20]);
                frames += usize::from(channel.receive(&mut octets).unwrap().is_some());
            }
        }
        if millisecond == 5000 {
            cable.disturbance().pull();
        }
        let _ = (near.poll().unwrap(), far.poll().unwrap());
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(frames > 1000 && near.counters().slips > 0 && near.alarms().is_red(), "{frames}, {:?}", near.counters());
}
