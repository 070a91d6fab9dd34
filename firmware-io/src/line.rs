//! What a T1 or E1 line is, as values: its timeslots, law, alarms and counters (ITU-T G.704, G.775; ANSI T1.403).

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// The kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// 1544 kbit/s: timeslots 1 to 24, D-channel in 24, µ-law.
    T1,
    /// 2048 kbit/s: timeslots 1 to 31 (0 is the framing), D-channel in 16, A-law.
    E1,
}

impl Line {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Line::T1 => "T1",
            Line::E1 => "E1",
        }
    }

    /// How many timeslots carry something.
    pub const fn timeslots(self) -> u8 {
        match self {
            Line::T1 => 24,
            Line::E1 => 31,
        }
    }

    /// Where the D-channel is, on a line that has one.
    pub const fn d_timeslot(self) -> Timeslot {
        match self {
            Line::T1 => Timeslot(24),
            Line::E1 => Timeslot(16),
        }
    }

    /// The companding law in the line's part of the world.
    pub const fn law(self) -> Law {
        match self {
            Line::T1 => Law::Mu,
            Line::E1 => Law::A,
        }
    }

    /// The timeslot of that number; `None` where the line has none.
    pub const fn timeslot(self, number: u8) -> Option<Timeslot> {
        if number >= 1 && number <= self.timeslots() { Some(Timeslot(number)) } else { None }
    }

    /// All timeslots, in the order of the line.
    pub fn all(self) -> impl Iterator<Item = Timeslot> {
        (1..=self.timeslots()).map(Timeslot)
    }
}

/// How sound is companded (ITU-T G.711).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law.
    Mu,
    /// A-law.
    A,
}

impl Law {
    /// The octet of silence.
    pub const fn silence(self) -> u8 {
        match self {
            Law::Mu => 0xff,
            Law::A => 0xd5,
        }
    }
}

/// A timeslot by the line's own count: 1 to 24 on a T1, 1 to 31 on an E1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timeslot(u8);

impl Timeslot {
    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Timeslot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The alarms that stand on a line: a set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Alarms(u8);

impl Alarms {
    /// A good line.
    pub const NONE: Alarms = Alarms(0);
    /// Loss of signal: nothing comes; a red alarm.
    pub const LOS: Alarms = Alarms(1);
    /// Loss of frame: what comes has no framing; a red alarm.
    pub const LOF: Alarms = Alarms(2);
    /// Alarm indication signal: all ones, sent by who has nothing to send; a blue alarm.
    pub const AIS: Alarms = Alarms(4);
    /// Remote alarm indication: the far end does not hear us; a yellow alarm.
    pub const RAI: Alarms = Alarms(8);

    const NAMES: [(Alarms, &'static str); 4] =
        [(Alarms::LOS, "LOS"), (Alarms::LOF, "LOF"), (Alarms::AIS, "AIS"), (Alarms::RAI, "RAI")];

    /// Do all of `others` stand?
    pub const fn contains(self, others: Alarms) -> bool {
        self.0 & others.0 == others.0
    }

    /// Does none stand? Then the line carries calls.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// `self` with `alarm` standing or not.
    #[must_use]
    pub const fn with(self, alarm: Alarms, stands: bool) -> Alarms {
        if stands { Alarms(self.0 | alarm.0) } else { Alarms(self.0 & !alarm.0) }
    }

    /// Does the line itself fail here (LOS or LOF)? Then RAI is sent.
    pub const fn is_red(self) -> bool {
        self.0 & (Alarms::LOS.0 | Alarms::LOF.0) != 0
    }

    /// The alarms' names, the gravest first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Alarms::NAMES.into_iter().filter(move |(alarm, _)| self.contains(*alarm)).map(|(_, name)| name)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u8) -> Alarms {
        Alarms(bits & 0xf)
    }
}

impl BitOr for Alarms {
    type Output = Alarms;

    fn bitor(self, other: Alarms) -> Alarms {
        Alarms(self.0 | other.0)
    }
}

impl BitOrAssign for Alarms {
    fn bitor_assign(&mut self, other: Alarms) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (at, name) in self.names().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alarms({self})")
    }
}

/// What went wrong on a line since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Seconds with at least one error of any kind.
    pub errored_seconds: u64,
    /// Pulses against the line code (BPV on AMI and B8ZS, HDB3 violations).
    pub code_violations: u64,
    /// Framing bits and CRC blocks that were wrong.
    pub frame_errors: u64,
    /// Frames repeated or left out because both ends' clocks differ.
    pub slips: u64,
    /// HDLC frames on the D-channel that were broken off, too long or failed their FCS.
    pub bad_hdlc_frames: u64,
}

/// Where what is sent comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopBack {
    /// To ourselves, before it leaves the card.
    Local,
    /// To the far end, bit by bit as it came.
    Line,
    /// To the far end, timeslot by timeslot with framing of our own.
    Payload,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeslots_are_counted_as_the_line_does() {
        assert_eq!(Line::T1.all().map(Timeslot::number).collect::<Vec<_>>(), (1..=24).collect::<Vec<_>>());
        assert_eq!(Line::E1.all().count(), 31);
        assert_eq!(Line::T1.timeslot(0), None);
        assert_eq!(Line::T1.timeslot(25), None);
        assert_eq!(Line::E1.timeslot(16), Some(Line::E1.d_timeslot()));
    }

    #[test]
    fn alarms_are_named_gravest_first() {
        let mut alarms = Alarms::RAI | Alarms::LOS;
        assert_eq!(alarms.to_string(), "LOS RAI");
        assert!(alarms.is_red() && alarms.contains(Alarms::RAI) && !alarms.contains(Alarms::RAI | Alarms::AIS));
        alarms = alarms.with(Alarms::LOS, false).with(Alarms::RAI, false);
        assert!(alarms.is_empty() && alarms == Alarms::NONE);
        assert_eq!(alarms.to_string(), "none");
    }
}
