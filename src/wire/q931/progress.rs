//! Progress indicator (Q.931 section 4.5.23): may a tone be heard, has the call left the ISDN?

use super::cause::{Coding, Location};
use super::element::{Element, id};

/// What progress indicators say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heard(pub u8);

impl Heard {
    /// 1: the call is not end-to-end ISDN; more may be heard in the band.
    pub const NOT_ISDN: Heard = Heard(1);
    /// 2: the called end is not ISDN.
    pub const CALLED_NOT_ISDN: Heard = Heard(2);
    /// 3: the calling end is not ISDN.
    pub const CALLING_NOT_ISDN: Heard = Heard(3);
    /// 4: the call is back in the ISDN.
    pub const BACK: Heard = Heard(4);
    /// 8: tones or announcements are in the band now.
    pub const IN_BAND: Heard = Heard(8);
    /// 10: delay at the called end (National ISDN).
    pub const DELAY: Heard = Heard(10);
}

/// A progress indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whose codes.
    pub coding: Coding,
    /// Who says so.
    pub location: Location,
    /// What.
    pub heard: Heard,
}

impl Progress {
    /// As this box says it.
    pub fn new(location: Location, heard: Heard) -> Progress {
        Progress { coding: Coding::ITU, location, heard }
    }

    /// Shall the timeslot be listened to before the answer (sections 5.1.6 and 5.4)?
    pub fn is_audible(&self) -> bool {
        matches!(self.heard, Heard::NOT_ISDN | Heard::CALLED_NOT_ISDN | Heard::IN_BAND)
    }
}

impl Element for Progress {
    const ID: u8 = id::PROGRESS_INDICATOR;

    fn read(contents: &[u8]) -> Option<Progress> {
        let [first, heard, ..] = contents else { return None };
        let (coding, location) = Coding::of(*first);
        Some(Progress { coding, location, heard: Heard(heard & 0x7f) })
    }

    fn write(&self, contents: &mut Vec<u8>) {
        contents.extend([self.coding.with(self.location), 0x80 | self.heard.0]);
    }
}
