//! A SIP message costs at most three allocations from bytes to what routing needs.

#![allow(unsafe_code, reason = "a global allocator cannot be had without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::BytesMut;
use demarc::wire::sip::{Framed, Framing, Message, Name, Uri, validate};

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

#[test]
fn an_invite_costs_three_allocations_framing_included() {
    let text = include_str!("../benches/invite.sip").replace('\n', "\r\n");
    let mut buffer = BytesMut::from(text.as_bytes());
    let mut framing = Framing::default();
    let before = ALLOCATIONS.with(Cell::get);
    let Framed::Message(bytes) = framing.next(&mut buffer) else { panic!("no message") };
    let message = Message::parse(bytes).unwrap();
    validate(&message).unwrap();
    let user = message.uri().and_then(Uri::user);
    let fields = (message.via(), message.address(Name::From), message.address(Name::To));
    let more = (message.address(Name::Contact), message.call_id(), message.cseq(), message.media_type());
    let allocations = ALLOCATIONS.with(Cell::get) - before;
    assert_eq!(user, Some("+13125556789"));
    assert!(fields.0.is_ok() && fields.1.is_ok() && fields.2.is_ok());
    assert!(more.0.is_ok() && more.1.is_ok() && more.2.is_ok() && more.3.is_some());
    assert!(allocations <= 3, "{allocations} allocations");
}
