//! The tones of the world's networks (ITU-T E.180 and its supplement 2): ringing, busy, congestion, special information, as
//! values.
//!
//! The national figures are the supplement's as open telephony toolkits give them, not read from its own table. Where those
//! list several for a country (Australia, South Africa) the first is taken; France's congestion is their guess.

use Pitch::{Modulated, One, Silence, Two};

/// What sounds during one step of a tone. Hz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pitch {
    /// Nothing.
    Silence,
    /// A sine.
    One(u16),
    /// Two sines, equally loud.
    Two(u16, u16),
    /// A sine that swells and fades so often.
    Modulated(u16, u16),
}

/// A step's sound and its length in milliseconds.
pub type Step = (Pitch, u16);

/// Steps that repeat for ever.
pub type Cadence = &'static [Step];

/// The tones of one country that differ from country to country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tones {
    /// As the configuration names it: ISO 3166, but `uk`.
    pub country: &'static str,
    /// The called telephone rings.
    pub ring: Cadence,
    /// The called line is busy.
    pub busy: Cadence,
    /// The network is.
    pub congestion: Cadence,
}

/// Words follow that say why: the same everywhere (E.180).
pub const SPECIAL_INFORMATION: Cadence = &[(One(950), 330), (One(1400), 330), (One(1800), 330), (Silence, 1000)];

/// The words for [`COUNTRIES`], in their order.
pub const COUNTRY_NAMES: &[&str] = &{
    let mut names = [""; COUNTRIES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = COUNTRIES[at].country;
        at += 1;
    }
    names
};

/// All that we know.
#[rustfmt::skip]
pub static COUNTRIES: [Tones; 24] = [
    Tones { country: "us", ring: &[(Two(440, 480), 2000), (Silence, 4000)], busy: AMERICAN_BUSY, congestion: AMERICAN_CONGESTION },
    Tones { country: "ca", ring: &[(Two(440, 480), 2000), (Silence, 4000)], busy: AMERICAN_BUSY, congestion: AMERICAN_CONGESTION },
    Tones { country: "uk", ring: BRITISH_RING, busy: &[(One(400), 375), (Silence, 375)],
        congestion: &[(One(400), 400), (Silence, 350), (One(400), 225), (Silence, 525)] },
    Tones { country: "de", ring: RING, busy: &[(One(425), 480), (Silence, 480)], congestion: &[(One(425), 240), (Silence, 240)] },
    Tones { country: "fr", ring: &[(One(440), 1500), (Silence, 3500)], busy: &[(One(440), 500), (Silence, 500)],
        congestion: &[(One(440), 250), (Silence, 250)] },
    Tones { country: "nl", ring: RING, busy: BUSY, congestion: &[(One(425), 250), (Silence, 250)] },
    Tones { country: "be", ring: &[(One(425), 1000), (Silence, 3000)], busy: BUSY, congestion: &[(One(425), 167), (Silence, 167)] },
    Tones { country: "ch", ring: RING, busy: BUSY, congestion: CONGESTION },
    Tones { country: "at", ring: &[(One(440), 1000), (Silence, 5000)], busy: &[(One(440), 400), (Silence, 400)],
        congestion: &[(One(440), 200), (Silence, 200)] },
    Tones { country: "it", ring: RING, busy: BUSY, congestion: CONGESTION },
    Tones { country: "es", ring: &[(One(425), 1500), (Silence, 3000)], busy: CONGESTION,
        congestion: &[(One(425), 200), (Silence, 200), (One(425), 200), (Silence, 200), (One(425), 200), (Silence, 600)] },
    Tones { country: "se", ring: &[(One(425), 1000), (Silence, 5000)], busy: &[(One(425), 250), (Silence, 250)],
        congestion: &[(One(425), 250), (Silence, 750)] },
    Tones { country: "no", ring: RING, busy: BUSY, congestion: CONGESTION },
    Tones { country: "dk", ring: RING, busy: BUSY, congestion: CONGESTION },
    Tones { country: "fi", ring: RING, busy: &[(One(425), 300), (Silence, 300)], congestion: CONGESTION },
    Tones { country: "pl", ring: RING, busy: BUSY, congestion: BUSY },
    Tones { country: "cz", ring: RING, busy: &[(One(425), 330), (Silence, 330)], congestion: &[(One(425), 165), (Silence, 165)] },
    Tones { country: "au", ring: &[(Two(413, 438), 400), (Silence, 200), (Two(413, 438), 400), (Silence, 2000)],
        busy: &[(One(425), 375), (Silence, 375)], congestion: &[(One(425), 375), (Silence, 375)] },
    Tones { country: "nz", ring: BRITISH_RING, busy: &[(One(400), 500), (Silence, 500)], congestion: &[(One(400), 250), (Silence, 250)] },
    Tones { country: "jp", ring: &[(Modulated(400, 15), 1000), (Silence, 2000)], busy: &[(One(400), 500), (Silence, 500)],
        congestion: &[(One(400), 500), (Silence, 500)] },
    Tones { country: "in", ring: &[(Modulated(400, 25), 400), (Silence, 200), (Modulated(400, 25), 400), (Silence, 2000)],
        busy: &[(One(400), 750), (Silence, 750)], congestion: &[(One(400), 250), (Silence, 250)] },
    Tones { country: "br", ring: RING, busy: &[(One(425), 250), (Silence, 250)],
        congestion: &[(One(425), 250), (Silence, 250), (One(425), 750), (Silence, 250)] },
    Tones { country: "mx", ring: RING, busy: &[(One(425), 250), (Silence, 250)], congestion: &[(One(425), 250), (Silence, 250)] },
    Tones { country: "za", ring: &[(Modulated(400, 33), 400), (Silence, 200), (Modulated(400, 33), 400), (Silence, 2000)],
        busy: &[(One(400), 500), (Silence, 500)], congestion: &[(One(400), 250), (Silence, 250)] },
];

const RING: Cadence = &[(One(425), 1000), (Silence, 4000)];
const BUSY: Cadence = &[(One(425), 500), (Silence, 500)];
const CONGESTION: Cadence = &[(One(425), 200), (Silence, 200)];
const BRITISH_RING: Cadence = &[(Two(400, 450), 400), (Silence, 200), (Two(400, 450), 400), (Silence, 2000)];
const AMERICAN_BUSY: Cadence = &[(Two(480, 620), 500), (Silence, 500)];
const AMERICAN_CONGESTION: Cadence = &[(Two(480, 620), 250), (Silence, 250)];
