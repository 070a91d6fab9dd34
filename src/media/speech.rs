//! What one side hears from us: sound, the noise of pauses, digits; one after the other in its stream.

use std::time::Duration;

use crate::media::codec::CodecError;
use crate::media::codec::comfort_noise::Generator;
use crate::media::dtmf::Key;
use crate::media::dtmf::dial::Dial;
use crate::media::dtmf::press::{self, Press};
use crate::media::packetize::{Packet, Packetizer};
use crate::media::peer::Kind;
use crate::session::{Digit, Stream};
use crate::time::{Instant, soonest};

/// The noise of a pause is made in frames of this length.
const FRAME: Duration = Duration::from_millis(20);
/// Frames that are caught up when we were late.
const MOST_BEHIND: u128 = 5;

/// What is to be said to the peer.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// In its stream.
    Packet(Packet<'a>),
    /// In signalling: this digit, pressed for so long.
    Digit(Digit, Duration),
}

/// Speaks to one peer.
pub struct Speech {
    packetizer: Packetizer,
    press: Press,
    dial: Dial,
    noise: Option<Noise>,
    generator: Generator,
    sound: Box<[i16]>,
}

/// A pause that is filled for a peer that takes no description of it.
#[derive(Clone, Copy, Debug)]
struct Noise {
    place: u64,
    due: Instant,
}

impl Speech {
    /// To this peer, with sound of `rate` Hz.
    pub fn new(to: &Stream, rate: u32) -> Result<Speech, CodecError> {
        let packetizer = Packetizer::new(to, rate)?;
        Ok(Speech {
            press: Press::new(to.digits, rate, packetizer.packet_ms()),
            packetizer,
            dial: Dial::new(rate),
            noise: None,
            generator: Generator::new(rate),
            sound: vec![0; FRAME.as_millis() as usize * rate as usize / 1000].into_boxed_slice(),
        })
    }

    /// Sound of the other side. While a digit is said there is none.
    pub fn sound(&mut self, place: u64, sound: &[i16], out: &mut impl FnMut(Said<'_>)) {
        self.noise = None;
        if !self.press.sounds() {
            self.packetizer.sound(place, sound, &mut |packet| out(Said::Packet(packet)));
        }
    }

    /// Shall all sound go out as it is, for it is no talk?
    pub fn set_steady(&mut self, steady: bool) {
        self.packetizer.set_steady(steady);
    }

    /// A digit as it stands.
    pub fn key(&mut self, key: Key, out: &mut impl FnMut(Said<'_>)) {
        self.noise = None;
        let packetizer = &mut self.packetizer;
        self.press.say(key, &mut |said| match said {
            press::Said::Event(marker, place, payload) => {
                packetizer.pass(Kind::Event, marker, place, &payload, &mut |packet| out(Said::Packet(packet)));
            }
            press::Said::Sound(place, sound) => {
                packetizer.sound(place, sound, &mut |packet| out(Said::Packet(packet)));
            }
            press::Said::Digit(digit, length) => out(Said::Digit(digit, length)),
        });
    }

    /// The other side pauses, with this noise (RFC 3389).
    pub fn noise(&mut self, place: u64, payload: &[u8], now: Instant, out: &mut impl FnMut(Said<'_>)) {
        if self.packetizer.takes_noise() {
            let mut say = |packet: Packet<'_>| out(Said::Packet(packet));
            return self.packetizer.pass(Kind::Noise, false, place, payload, &mut say);
        }
        self.generator.hear(payload);
        self.noise.get_or_insert(Noise { place, due: now });
        self.fill(now, out);
    }

    /// The peer loses so many packets of a hundred, and the thread is so busy, in percent.
    pub fn adapt(&mut self, loss: u8, load: u8) {
        self.packetizer.adapt(loss, load);
    }

    /// Signalling wants this digit pressed.
    pub fn press(&mut self, digit: Digit, length: Duration) {
        self.dial.press(digit, length);
    }

    /// When [`Speech::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        soonest(self.dial.due(), self.noise.map(|noise| noise.due))
    }

    /// Does what is due; `place` is where the other side's sound would be by now.
    pub fn tick(&mut self, now: Instant, place: u64, out: &mut impl FnMut(Said<'_>)) {
        if let Some(key) = self.dial.tick(now, place.max(self.packetizer.end())) {
            self.key(key, out);
        }
        self.fill(now, out);
    }

    /// Goes on with the noise of a pause, at our own pace; what was missed for long is left out.
    fn fill(&mut self, now: Instant, out: &mut impl FnMut(Said<'_>)) {
        while let Some(noise) = self.noise.as_mut().filter(|noise| noise.due <= now) {
            let place = noise.place;
            let behind = now.since(noise.due).as_micros() / FRAME.as_micros();
            let steps = if behind > MOST_BEHIND { behind as u32 } else { 1 };
            noise.place += self.sound.len() as u64 * u64::from(steps);
            noise.due = noise.due + FRAME * steps;
            self.generator.fill(&mut self.sound);
            self.packetizer.sound(place, &self.sound, &mut |packet| out(Said::Packet(packet)));
        }
    }
}
