//! How the media of one side stands.

/// A mean opinion score, 1 to 4.5, to a hundredth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mos(u16);

impl Mos {
    /// Rounded.
    pub fn new(score: f64) -> Mos {
        Mos((score * 100.0).round() as u16)
    }

    /// As a number.
    pub fn score(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl serde::Serialize for Mos {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.score())
    }
}

/// What one side's media saw so far. Packets unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Good RTP packets received from the peer.
    pub received: u64,
    /// RTP packets sent to the peer.
    pub sent: u64,
    /// Missing by sequence number.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 section 6.4.1), microseconds.
    pub jitter_us: u32,
    /// RTCP packets received.
    pub rtcp_received: u64,
    /// RTCP packets sent.
    pub rtcp_sent: u64,
    /// Loss that the peer reports of what we sent, packets.
    pub reported_lost: u64,
    /// Round trip by RTCP, microseconds; 0 when not known.
    pub round_trip_us: u32,
    /// What a listener here would say of the sound from the peer.
    pub mos_received: Option<Mos>,
    /// What a listener there would say of the sound that we send, by the peer's reports.
    pub mos_sent: Option<Mos>,
    /// From an address that signalling did not name, or that no check of the peer's came from.
    pub stranger: u64,
    /// From anywhere, before the peer has checked any way (ICE).
    pub unchecked: u64,
    /// Checks that prove nothing: other credentials, or none (ICE).
    pub unproven: u64,
    /// SRTP tag wrong.
    pub unauthentic: u64,
    /// SRTP sequence number seen before or too old.
    pub replayed: u64,
    /// Not RTP, or a payload type that was not agreed.
    pub malformed: u64,
    /// Packets in whose place something else was heard, for they were lost or came too late.
    pub concealed: u64,
    /// Pieces of sound that were said twice or left out so that it fits a line's pace, 5 to 15 ms each.
    pub fitted: u64,
    /// Frames of 125 µs that were said twice or left out because two lines have different clocks.
    pub slips: u64,
    /// Times at which a line had nothing to say, because we came late.
    pub underruns: u64,
    /// Times at which a line took less than it said.
    pub overruns: u64,
}

impl Counters {
    /// How much each count grew since `earlier`; measures (jitter, round trip, scores) are as they are now.
    #[must_use]
    pub fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
            lost: self.lost.saturating_sub(earlier.lost),
            jitter_us: self.jitter_us,
            rtcp_received: self.rtcp_received.saturating_sub(earlier.rtcp_received),
            rtcp_sent: self.rtcp_sent.saturating_sub(earlier.rtcp_sent),
            reported_lost: self.reported_lost.saturating_sub(earlier.reported_lost),
            round_trip_us: self.round_trip_us,
            mos_received: self.mos_received,
            mos_sent: self.mos_sent,
            stranger: self.stranger.saturating_sub(earlier.stranger),
            unchecked: self.unchecked.saturating_sub(earlier.unchecked),
            unproven: self.unproven.saturating_sub(earlier.unproven),
            unauthentic: self.unauthentic.saturating_sub(earlier.unauthentic),
            replayed: self.replayed.saturating_sub(earlier.replayed),
            malformed: self.malformed.saturating_sub(earlier.malformed),
            concealed: self.concealed.saturating_sub(earlier.concealed),
            fitted: self.fitted.saturating_sub(earlier.fitted),
            slips: self.slips.saturating_sub(earlier.slips),
            underruns: self.underruns.saturating_sub(earlier.underruns),
            overruns: self.overruns.saturating_sub(earlier.overruns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_shown_as_numbers_to_a_hundredth() {
        let counters = Counters { mos_received: Some(Mos::new(4.408_9)), ..Counters::default() };
        let json = serde_json::to_value(counters).unwrap();
        assert_eq!((&json["mos_received"], &json["mos_sent"]), (&4.41.into(), &serde_json::Value::Null));
    }
}
