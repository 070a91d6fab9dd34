//! The kernel's side of DAHDI: numbers and layouts of its ioctls on 64-bit machines, and the one place that calls them.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Read or write was refused because an event waits (ELAST).
pub(super) const EVENT_WAITS: i32 = 500;

/// What a channel is used for (`sigtype`), where that is HDLC.
pub(super) mod sigtype {
    pub(crate) const HDLC_FCS: i32 = 0x380;
    pub(crate) const HARD_HDLC: i32 = 0x80080;
}

/// Alarms of spans.
pub(super) mod alarm {
    pub(crate) const RECOVERING: i32 = 1;
    pub(crate) const YELLOW: i32 = 4;
    pub(crate) const RED: i32 = 8;
    pub(crate) const BLUE: i32 = 0x10;
    pub(crate) const NOT_OPEN: i32 = 0x20;
    pub(crate) const LOS: i32 = 0x100;
    pub(crate) const LFA: i32 = 0x200;
    pub(crate) const LMFA: i32 = 0x400;
}

/// Events of channels. Alarms are events too, but SPANSTAT says more of them.
pub(super) mod event {
    pub(crate) const NONE: i32 = 0;
    pub(crate) const ABORT: i32 = 6;
    pub(crate) const OVERRUN: i32 = 7;
    pub(crate) const BAD_FCS: i32 = 8;
    pub(crate) const REMOVED: i32 = 20;
}

/// Laws, as SETLAW takes them.
pub(super) mod law {
    pub(crate) const MU: i32 = 1;
    pub(crate) const A: i32 = 2;
}

/// Maintenance of spans.
pub(super) mod maintenance {
    pub(crate) const NONE: i32 = 0;
    pub(crate) const LOCAL_LOOP: i32 = 1;
    pub(crate) const LINE_LOOP: i32 = 2;
    pub(crate) const PAYLOAD_LOOP: i32 = 13;
}

/// When a channel begins to send what was written.
pub(super) mod policy {
    pub(crate) const IMMEDIATE: i32 = 0;
    pub(crate) const HALF_FULL: i32 = 2;
}

/// A channel (`dahdi_params`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Params {
    pub(super) channo: c_int,
    pub(super) spanno: c_int,
    pub(super) chanpos: c_int,
    pub(super) sigtype: c_int,
    pub(super) sigcap: c_int,
    pub(super) rxisoffhook: c_int,
    pub(super) rxbits: c_int,
    pub(super) txbits: c_int,
    pub(super) txhooksig: c_int,
    pub(super) rxhooksig: c_int,
    pub(super) curlaw: c_int,
    pub(super) idlebits: c_int,
    pub(super) name: [u8; 40],
    pub(super) analog_times: [c_int; 11],
    pub(super) chan_alarms: u32,
}

/// A span (`dahdi_spaninfo`).
#[repr(C, packed)]
#[derive(Clone, Copy)]
pub(super) struct SpanInfo {
    pub(super) spanno: c_int,
    pub(super) name: [u8; 20],
    pub(super) desc: [u8; 40],
    pub(super) alarms: c_int,
    pub(super) txlevel: c_int,
    pub(super) rxlevel: c_int,
    pub(super) bpvcount: c_int,
    pub(super) crc4count: c_int,
    pub(super) ebitcount: c_int,
    pub(super) fascount: c_int,
    pub(super) fecount: u32,
    pub(super) cvcount: u32,
    pub(super) becount: u32,
    pub(super) prbs: u32,
    pub(super) errsec: u32,
    pub(super) irqmisses: c_int,
    pub(super) syncsrc: c_int,
    pub(super) numchans: c_int,
    pub(super) totalchans: c_int,
    pub(super) totalspans: c_int,
    pub(super) lbo: c_int,
    pub(super) lineconfig: c_int,
    pub(super) lboname: [u8; 40],
    pub(super) location: [u8; 40],
    pub(super) manufacturer: [u8; 40],
    pub(super) devicetype: [u8; 40],
    pub(super) irq: c_int,
    pub(super) linecompat: c_int,
    pub(super) spantype: [u8; 6],
}

/// Buffers of a channel (`dahdi_bufferinfo`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct BufferInfo {
    pub(super) txbufpolicy: c_int,
    pub(super) rxbufpolicy: c_int,
    pub(super) numbufs: c_int,
    pub(super) bufsize: c_int,
    pub(super) readbufs: c_int,
    pub(super) writebufs: c_int,
}

/// Maintenance of a span (`dahdi_maintinfo`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Maintenance {
    pub(super) spanno: c_int,
    pub(super) command: c_int,
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<c_int>() == 4);
    assert!(size_of::<Params>() == 136 && align_of::<Params>() == 4);
    assert!(offset_of!(Params, curlaw) == 40 && offset_of!(Params, name) == 48);
    assert!(offset_of!(Params, analog_times) == 88 && offset_of!(Params, chan_alarms) == 132);
    assert!(size_of::<SpanInfo>() == 314 && align_of::<SpanInfo>() == 1);
    assert!(offset_of!(SpanInfo, alarms) == 64 && offset_of!(SpanInfo, bpvcount) == 76);
    assert!(offset_of!(SpanInfo, errsec) == 108 && offset_of!(SpanInfo, numchans) == 120);
    assert!(offset_of!(SpanInfo, lboname) == 140 && offset_of!(SpanInfo, spantype) == 308);
    assert!(size_of::<BufferInfo>() == 24);
    assert!(size_of::<Maintenance>() == 8);
};

/// Plain numbers that the kernel reads and writes as a whole, for which all zeros are a value.
///
/// # Safety
/// That is so, and the layout is the kernel's.
pub(super) unsafe trait Plain: Copy {
    /// All zeros.
    fn zeroed() -> Self {
        // SAFETY: the trait promises that zeros are a value.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: an integer.
unsafe impl Plain for c_int {}
// SAFETY: integers alone, laid out as asserted above; so are the following.
unsafe impl Plain for Params {}
// SAFETY: as above.
unsafe impl Plain for SpanInfo {}
// SAFETY: as above.
unsafe impl Plain for BufferInfo {}
// SAFETY: as above.
unsafe impl Plain for Maintenance {}

/// An ioctl whose argument is a `T`. Its number contains the argument's size, so that a wrong layout is refused by the
/// kernel, and here by the compiler.
pub(super) struct Request<T> {
    code: u32,
    argument: PhantomData<T>,
}

/// Directions, as the user sees them.
const WRITE: u32 = 1;
const READ: u32 = 2;

impl<T> Request<T> {
    const fn new(direction: u32, number: u32, code: u32) -> Request<T> {
        assert!(code == direction << 30 | (size_of::<T>() as u32) << 16 | 0xda << 8 | number);
        Request { code, argument: PhantomData }
    }
}

pub(super) const SET_BLOCKSIZE: Request<c_int> = Request::new(WRITE, 1, 0x4004_da01);
pub(super) const GET_PARAMS: Request<Params> = Request::new(READ | WRITE, 5, 0xc088_da05);
pub(super) const GETEVENT: Request<c_int> = Request::new(READ, 8, 0x8004_da08);
pub(super) const SPANSTAT: Request<SpanInfo> = Request::new(READ | WRITE, 10, 0xc13a_da0a);
pub(super) const MAINT: Request<Maintenance> = Request::new(WRITE, 11, 0x4008_da0b);
pub(super) const SET_BUFINFO: Request<BufferInfo> = Request::new(WRITE, 27, 0x4018_da1b);
pub(super) const AUDIOMODE: Request<c_int> = Request::new(WRITE, 32, 0x4004_da20);
pub(super) const ECHOCANCEL: Request<c_int> = Request::new(WRITE, 33, 0x4004_da21);
pub(super) const SPECIFY: Request<c_int> = Request::new(WRITE, 38, 0x4004_da26);
pub(super) const SETLAW: Request<c_int> = Request::new(WRITE, 39, 0x4004_da27);
pub(super) const ECHOCANCEL_FAX_MODE: Request<c_int> = Request::new(WRITE, 102, 0x4004_da66);

/// Asks the kernel; it reads the argument, or writes it, or both.
pub(super) fn call<T: Plain>(node: impl AsFd, request: Request<T>, argument: &mut T) -> io::Result<()> {
    // SAFETY: the request's number says how much the kernel reads and writes: a whole `T`, which lives here.
    let result = unsafe { libc::ioctl(node.as_fd().as_raw_fd(), request.code.into(), std::ptr::from_mut(argument)) };
    Errno::result(result)?;
    Ok(())
}
