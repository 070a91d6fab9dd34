//! Octets between two threads, one that puts and one that takes: no lock, no allocation.
//!
//! Both ends are shared, not split: who opens a timeslot anew finds the same ring.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct Ring {
    octets: Box<[AtomicU8]>,
    /// Octets ever put and ever taken; each is written by one side alone.
    put: AtomicUsize,
    taken: AtomicUsize,
    /// What was put before this is taken by nobody.
    forgotten: AtomicUsize,
}

impl Ring {
    /// `room` is made a power of two.
    pub(super) fn new(room: usize) -> Ring {
        let octets = (0..room.next_power_of_two()).map(|_| AtomicU8::new(0)).collect();
        Ring { octets, put: AtomicUsize::new(0), taken: AtomicUsize::new(0), forgotten: AtomicUsize::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.put.load(Ordering::SeqCst).wrapping_sub(self.taken.load(Ordering::SeqCst))
    }

    pub(super) fn room(&self) -> usize {
        self.octets.len() - self.len()
    }

    /// Puts what there is room for; how many octets.
    pub(super) fn put(&self, octets: &[u8]) -> usize {
        let count = octets.len().min(self.room());
        let at = self.put.load(Ordering::Relaxed);
        for (offset, octet) in octets.iter().take(count).enumerate() {
            self.place(at.wrapping_add(offset)).store(*octet, Ordering::Relaxed);
        }
        self.put.store(at.wrapping_add(count), Ordering::SeqCst);
        count
    }

    /// Forgets what was put so far; for who puts.
    pub(super) fn forget(&self) {
        self.forgotten.store(self.put.load(Ordering::Relaxed), Ordering::SeqCst);
    }

    /// Takes what there is; how many octets.
    pub(super) fn take(&self, octets: &mut [u8]) -> usize {
        let taken = self.taken.load(Ordering::Relaxed);
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        if forgotten.wrapping_sub(taken).wrapping_sub(1) < self.octets.len() {
            self.taken.store(forgotten, Ordering::SeqCst);
        }
        let count = octets.len().min(self.len());
        let at = self.taken.load(Ordering::Relaxed);
        for (offset, octet) in octets.iter_mut().take(count).enumerate() {
            *octet = self.place(at.wrapping_add(offset)).load(Ordering::Relaxed);
        }
        self.taken.store(at.wrapping_add(count), Ordering::SeqCst);
        count
    }

    /// Throws away what there is; for who takes.
    pub(super) fn clear(&self) {
        self.taken.store(self.put.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Puts a frame with its length before it, if there is room for both.
    pub(super) fn put_frame(&self, frame: &[u8]) -> bool {
        let Ok(length) = u16::try_from(frame.len()) else { return false };
        if self.room() < 2 + frame.len() {
            return false;
        }
        // Nobody takes the length before the frame is there: it takes both or waits.
        self.put(&length.to_le_bytes());
        self.put(frame);
        true
    }

    /// Takes the next whole frame, cut to what there is room for, which is a mistake of the caller's; its length.
    pub(super) fn take_frame(&self, frame: &mut [u8]) -> Option<usize> {
        let at = self.taken.load(Ordering::Relaxed);
        let waiting = self.len();
        let [low, high] = [0, 1].map(|offset| self.place(at.wrapping_add(offset)).load(Ordering::Relaxed));
        let length = usize::from(u16::from_le_bytes([low, high]));
        if waiting < 2 || waiting < 2 + length {
            return None;
        }
        let kept = length.min(frame.len());
        for (offset, octet) in frame.iter_mut().take(kept).enumerate() {
            *octet = self.place(at.wrapping_add(2 + offset)).load(Ordering::Relaxed);
        }
        self.taken.store(at.wrapping_add(2 + length), Ordering::SeqCst);
        Some(kept)
    }

    fn place(&self, at: usize) -> &AtomicU8 {
        &self.octets[at & (self.octets.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_come_out_as_they_went_in_across_the_seam() {
        let ring = Ring::new(16);
        let mut next = 0..=u8::MAX;
        let mut heard = Vec::new();
        while let Some(first) = next.next() {
            let octets: Vec<u8> = std::iter::once(first).chain(next.by_ref().take(usize::from(first) % 11)).collect();
            assert_eq!(ring.put(&octets), octets.len());
            let mut taken = [0; 13];
            let count = ring.take(&mut taken);
            heard.extend_from_slice(&taken[..count]);
        }
        assert_eq!(heard, (0..=u8::MAX).collect::<Vec<_>>());
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let ring = Ring::new(16);
        assert_eq!((ring.put(&[1; 10]), ring.put(&[2; 10]), ring.put(&[3; 10])), (10, 6, 0));
        ring.clear();
        assert_eq!((ring.len(), ring.room()), (0, 16));
    }

    #[test]
    fn nobody_hears_what_the_owner_before_said() {
        let ring = Ring::new(16);
        for _ in 0..5 {
            ring.put(b"before");
            ring.forget();
            ring.put(b"now");
            let mut taken = [0; 16];
            assert_eq!((ring.take(&mut taken), &taken[..3]), (3, &b"now"[..]));
        }
    }

    #[test]
    fn frames_are_taken_whole_or_not_at_all() {
        let ring = Ring::new(16);
        assert!(ring.put_frame(b"first") && ring.put_frame(b"second"));
        assert!(!ring.put_frame(b"no"), "no room");
        let mut frame = [0; 8];
        assert_eq!(ring.take_frame(&mut frame), Some(5));
        assert_eq!(&frame[..5], b"first");
        assert!(ring.put_frame(b"a"));
        assert_eq!((ring.take_frame(&mut frame), &frame[..6]), (Some(6), &b"second"[..]));
        assert_eq!((ring.take_frame(&mut frame), ring.take_frame(&mut frame)), (Some(1), None));
    }
}
