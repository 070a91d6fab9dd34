//! A line that misbehaves by a seed, around any driver.

use std::io;
use std::os::fd::BorrowedFd;

use crate::chance::Chance;
use crate::{Bearer, DChannel};

/// How many calls of `receive` a late frame is late by, at most.
const LATEST: usize = 8;

/// How often what goes wrong, 0 (never) to 1 (always).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// A frame is lost. On a bearer: what came since the last call is.
    pub drop: f64,
    /// A frame is late, and those behind it with it: one that came by up to eight calls of `receive`, one to send until the
    /// next is sent. On a bearer nothing is.
    pub delay: f64,
    /// A bit of a frame, or of the octets of a call, is turned over.
    pub damage: f64,
}

/// A D-channel or bearer on which the given faults happen, both ways.
#[derive(Debug)]
pub struct Faulty<D> {
    inner: D,
    faults: Faults,
    chance: Chance,
    coming: Option<Late>,
    going: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Late {
    frame: Vec<u8>,
    calls: usize,
}

impl<D> Faulty<D> {
    /// Faults that follow from the seed.
    pub fn new(inner: D, faults: Faults, seed: u64) -> Faulty<D> {
        Faulty { inner, faults, chance: Chance::new(seed), coming: None, going: None }
    }

    fn damage(&mut self, octets: &mut [u8]) {
        if self.chance.happens(self.faults.damage) {
            let bit = self.chance.below(8 * octets.len());
            if let Some(octet) = octets.get_mut(bit / 8) {
                *octet ^= 1 << (bit % 8);
            }
        }
    }
}

impl<D: DChannel> DChannel for Faulty<D> {
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(late) = &mut self.coming {
            late.calls -= 1;
            if late.calls > 0 {
                return Ok(None);
            }
        }
        if let Some(late) = self.coming.take() {
            let length = late.frame.len().min(frame.len());
            frame[..length].copy_from_slice(&late.frame[..length]);
            return Ok(Some(length));
        }
        while let Some(length) = self.inner.receive(frame)? {
            if self.chance.happens(self.faults.drop) {
                continue;
            }
            self.damage(&mut frame[..length]);
            if self.chance.happens(self.faults.delay) {
                let calls = 1 + self.chance.below(LATEST);
                self.coming = Some(Late { frame: frame[..length].to_vec(), calls });
                return Ok(None);
            }
            return Ok(Some(length));
        }
        Ok(None)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if let Some(late) = &self.going {
            self.inner.send(late)?;
            self.going = None;
        }
        if self.chance.happens(self.faults.drop) {
            return Ok(());
        }
        let mut frame = frame.to_vec();
        self.damage(&mut frame);
        if self.chance.happens(self.faults.delay) {
            self.going = Some(frame);
            return Ok(());
        }
        self.inner.send(&frame)
    }

    /// The driver's: a frame that is late is given by later calls of `receive`, not announced.
    fn ready(&self) -> BorrowedFd<'_> {
        self.inner.ready()
    }
}

impl<B: Bearer> Bearer for Faulty<B> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(octets)?;
        if self.chance.happens(self.faults.drop) {
            return Ok(0);
        }
        self.damage(&mut octets[..count]);
        Ok(count)
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.chance.happens(self.faults.drop) {
            return Ok(octets.len());
        }
        self.inner.write(octets)
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.inner.ready()
    }

    fn cancel_echo(&mut self, taps: u16) -> io::Result<()> {
        self.inner.cancel_echo(taps)
    }

    fn cancels_echo(&self) -> bool {
        self.inner.cancels_echo()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Span;
    use crate::line::Line;
    use crate::simulated::Cable;

    /// Which of 200 frames come through, each with its number and whether it is as it was sent.
    fn heard(sending: Faults, receiving: Faults) -> Vec<(u8, bool)> {
        let (mut cable, mut near, mut far) = Cable::new(Line::E1, 1).unwrap();
        let mut near = Faulty::new(near.d_channel().unwrap(), sending, 5);
        let mut far = Faulty::new(far.d_channel().unwrap(), receiving, 6);
        let mut heard = Vec::new();
        for number in 0..200u8 {
            near.send(&[number, number, number, number]).unwrap();
            cable.advance(Duration::from_millis(2));
            let mut frame = [0; 16];
            while let Some(length) = far.receive(&mut frame).unwrap() {
                let same = frame[..length].iter().filter(|octet| **octet == frame[2]).count();
                heard.push((frame[if same == 1 { 0 } else { 2 }], same == 4));
            }
        }
        heard
    }

    #[test]
    fn without_faults_everything_passes() {
        let heard = heard(Faults::default(), Faults::default());
        assert!(heard.len() >= 198 && heard.iter().zip(0..).all(|(heard, number)| *heard == (number, true)));
    }

    #[test]
    fn frames_are_lost_at_the_given_rate_either_way() {
        let half = Faults { drop: 0.5, ..Faults::default() };
        for (sending, receiving) in [(half, Faults::default()), (Faults::default(), half)] {
            let heard = heard(sending, receiving);
            assert!((80..120).contains(&heard.len()), "{}", heard.len());
            assert!(heard.is_sorted() && heard.iter().all(|(_, whole)| *whole));
        }
    }

    #[test]
    fn late_frames_come_once_and_in_order() {
        let late = Faults { delay: 0.3, ..Faults::default() };
        for (sending, receiving) in [(late, Faults::default()), (Faults::default(), late)] {
            let heard = heard(sending, receiving);
            assert!(heard.len() > 100 && heard.iter().zip(0..).all(|(heard, number)| *heard == (number, true)));
        }
    }

    #[test]
    fn damage_is_one_bit() {
        let damaged = heard(Faults { damage: 1.0, ..Faults::default() }, Faults::default());
        assert!(damaged.len() >= 198 && damaged.iter().all(|(_, whole)| !whole));
    }

    #[test]
    fn a_bearer_has_gaps() {
        let (mut cable, mut near, _far) = Cable::new(Line::T1, 1).unwrap();
        let bearer = near.bearer(Line::T1.timeslot(1).unwrap()).unwrap();
        let mut bearer = Faulty::new(bearer, Faults { drop: 0.25, ..Faults::default() }, 1);
        let counts = (0..400).map(|_| {
            cable.advance(Duration::from_millis(1));
            bearer.read(&mut [0; 64]).unwrap()
        });
        let gaps = counts.filter(|count| *count == 0).count();
        assert!((75..125).contains(&gaps), "{gaps}");
    }
}
