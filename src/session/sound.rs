//! A recording, ready to be played to a peer.

use std::fmt;
use std::time::Duration;

/// A recording, one channel of 16-bit samples.
#[derive(Clone, PartialEq, Eq)]
pub struct Sound {
    narrow: Box<[i16]>,
    wide: Box<[i16]>,
}

impl Sound {
    /// The rates that it is kept at, Hz: those of telephone lines and of wideband speech. More would be three times the
    /// memory for what few telephones play.
    pub const RATES: [u32; 2] = [8000, 16_000];

    /// The same sound at both rates. `None` when there is none, or one is not twice as long as the other.
    pub fn new(narrow: Vec<i16>, wide: Vec<i16>) -> Option<Sound> {
        let fits = !narrow.is_empty() && wide.len() == 2 * narrow.len();
        fits.then(|| Sound { narrow: narrow.into(), wide: wide.into() })
    }

    /// The best of it for who plays up to `rate` Hz, and its own rate.
    pub fn at(&self, rate: u32) -> (u32, &[i16]) {
        let [narrow, wide] = Sound::RATES;
        if rate < wide { (narrow, &self.narrow) } else { (wide, &self.wide) }
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        Duration::from_secs(1) * self.narrow.len() as u32 / Sound::RATES[0]
    }
}

impl fmt::Debug for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sound({:?})", self.length())
    }
}
