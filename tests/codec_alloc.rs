//! Decoding, encoding, concealing, resampling, mixing, cancelling echoes and keeping the pace allocate nothing: neither in Rust nor, as `malloc` itself is counted, in
//! libopus.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::cell::Cell;
use std::ffi::c_void;
use std::time::Duration;

use demarc::media::codec::{Decoder, Encoder, MOST_SAMPLES, works_at};
use demarc::media::echo::{BLOCK, Canceller, Tail};
use demarc::media::mix::{Gain, Mixer};
use demarc::media::pace::PacedPlayout;
use demarc::media::peer::{Heard, Kind};
use demarc::media::resample::Resampler;
use demarc::session::{Codec, Opus};
use demarc::time::Instant;
use demarc::wire::rtp::Header;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
}

// SAFETY: stands in for the C library's, to which everything is left; counting allocates nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    count();
    // SAFETY: as the caller promised.
    unsafe { __libc_malloc(size) }
}

// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(items: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: as the caller promised.
    unsafe { __libc_calloc(items, size) }
}

// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    count();
    // SAFETY: as the caller promised.
    unsafe { __libc_realloc(memory, size) }
}

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn noise(samples: usize) -> Vec<i16> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 18) as i16
    };
    (0..samples).map(|_| next()).collect()
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1]))) >= 1);
    assert!(allocations(|| drop(Decoder::new(Codec::Opus, 8000).unwrap())) >= 1, "libopus' own");
}

#[test]
fn no_codec_allocates_while_it_works() {
    for codec in Codec::ALL {
        for rate in [8000, 16_000, 48_000].into_iter().filter(|rate| works_at(codec, *rate)) {
            let wishes = Opus { fec: true, dtx: true, ..Opus::default() };
            let mut encoder = Encoder::new(codec, rate, &wishes).unwrap();
            let mut decoder = Decoder::new(codec, rate).unwrap();
            let (mut payload, mut heard) = ([0; 1500], [0; MOST_SAMPLES]);
            let noise = noise(rate as usize / 1000 * 60);
            let work = allocations(|| {
                for milliseconds in [20, 10, 30, 40, 60] {
                    let sound = &noise[..rate as usize / 1000 * milliseconds];
                    for round in 0..30u8 {
                        encoder.expect_loss(round);
                        encoder.complexity(round % 11);
                        let octets = encoder.encode(sound, &mut payload).unwrap();
                        match round % 10 {
                            // Nothing was sent: a pause.
                            _ if octets == 0 => decoder.conceal(None, &mut heard[..sound.len()]),
                            7 => decoder.conceal(None, &mut heard[..sound.len()]),
                            8 => decoder.conceal(Some(&payload[..octets]), &mut heard[..sound.len()]),
                            _ => assert_eq!(decoder.decode(&payload[..octets], &mut heard), Ok(sound.len())),
                        }
                    }
                }
            });
            assert_eq!(work, 0, "{} at {rate} Hz", codec.name());
        }
    }
}

#[test]
fn no_resampler_allocates_while_it_works() {
    for (from, to) in [(8000, 48_000), (48_000, 8000), (16_000, 8000), (44_100, 16_000), (11_025, 48_000)] {
        let mut resampler = Resampler::new(from, to).unwrap();
        let (noise, mut resampled) = (noise(1000), [0; 10_000]);
        let work = allocations(|| {
            (1..1000).step_by(37).for_each(|length| {
                resampler.process(&noise[..length], &mut resampled);
            })
        });
        assert_eq!(work, 0, "{from} to {to}");
    }
}

#[test]
fn no_mixer_allocates_while_it_works() {
    let mut mixer = Mixer::new(20, 160);
    let all: Vec<_> = (0..20).map(|_| mixer.join().unwrap()).collect();
    mixer.set_heard(&all[3], &all[4], false);
    let (noise, mut heard) = (noise(160), [0; 160]);
    let work = allocations(|| {
        for round in 0..30u8 {
            mixer.set_gain(&all[5], Gain::of(f32::from(round) / 10.0));
            mixer.begin();
            all.iter().for_each(|participant| mixer.put(participant, &noise));
            all.iter().for_each(|participant| mixer.hear(participant, &mut heard));
        }
    });
    assert_eq!(work, 0);
}

#[test]
fn no_echo_canceller_allocates_while_it_works() {
    let mut canceller = Canceller::new(Tail::Ms64);
    let noise = noise(80 * BLOCK);
    let work = allocations(|| {
        for block in noise.chunks_exact(BLOCK) {
            let out: [i16; BLOCK] = block.try_into().unwrap();
            let mut back = out.map(|sample| sample / 2);
            canceller.cancel(&out, &mut back);
        }
    });
    assert_eq!(work, 0);
}

#[test]
fn no_paced_playout_allocates_while_it_works() {
    for codec in Codec::ALL {
        let rate = codec.sound_rate();
        let frame = rate as usize / 50;
        let mut playout = PacedPlayout::new(codec, rate, Duration::from_millis(120)).unwrap();
        let mut encoder = Encoder::new(codec, rate, &Opus::default()).unwrap();
        let (mut payload, mut sound, noise) = ([0; 1500], vec![0; frame], noise(frame));
        let octets = encoder.encode(&noise, &mut payload).unwrap();
        let work = allocations(|| {
            // The peer's clock is faster than ours by a tenth, and every 13th packet is lost.
            for number in (0..1000u16).filter(|number| number % 13 != 0) {
                let timestamp = u32::from(number) * (codec.clock_rate() / 50);
                let header = Header {
                    marker: false,
                    payload_type: 0,
                    sequence: number,
                    timestamp,
                    ssrc: 1,
                    length: 12,
                    padded: false,
                };
                let heard = Heard { kind: Kind::Sound, header, payload: 0..octets, first: number == 1 };
                let now = Instant::at(Duration::from_millis(18 * u64::from(number)));
                playout.hear(&heard, &payload[..octets], now, &mut |_| {});
                if number % 10 != 0 {
                    playout.tick(now, &mut sound, &mut |_| {});
                }
            }
        });
        assert_eq!(work, 0, "{codec:?}");
        assert!(playout.adjustments().left_out > 0 && playout.troubles().lost > 0, "{codec:?}");
    }
}
