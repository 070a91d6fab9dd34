//! Session timers (RFC 4028): both ends notice when a session died without a BYE.
//!
//! 1. The INVITE asks: `Session-Expires: 1800`, `Min-SE: 90`; too short an interval gets 422.
//! 2. The 2xx decides the interval and who refreshes.
//! 3. The refresher sends UPDATE or re-INVITE at half time; every 2xx begins the interval anew.
//! 4. Whoever sees the interval end without a refresh sends BYE.

use std::time::Duration;

use crate::time::{Instant, soonest};
use crate::wire::sip::{Message, Name, Refresher, SessionExpires};

/// What we ask for, seconds: Microsoft's own value.
pub const INTERVAL: u32 = 1800;
/// The least that RFC 4028 allows and that we take, seconds.
pub const LEAST: u32 = 90;

/// The value of a Session-Expires header.
pub fn header(expires: SessionExpires) -> String {
    match expires.refresher {
        Some(refresher) => format!("{};refresher={}", expires.seconds, refresher.text()),
        None => expires.seconds.to_string(),
    }
}

/// The peer's interval is below [`LEAST`]: 422 with `Min-SE` (RFC 4028 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

/// What our 2xx says to a request: the peer's own wish, or ours when `wanted` (RFC 4028 section 9).
pub fn answer(request: &Message, wanted: bool) -> Result<Option<SessionExpires>, TooSmall> {
    let knows_timers = request.lists(Name::Supported, "timer") || request.lists(Name::Require, "timer");
    match request.session_expires() {
        Some(asked) if asked.seconds < LEAST && knows_timers => Err(TooSmall),
        Some(asked) => {
            let choice = if knows_timers { Refresher::Uac } else { Refresher::Uas };
            let refresher = asked.refresher.filter(|_| knows_timers).unwrap_or(choice);
            Ok(Some(SessionExpires { seconds: asked.seconds.max(LEAST), refresher: Some(refresher) }))
        }
        None if wanted => {
            let least = request.number(Name::MinSe).unwrap_or(LEAST);
            Ok(Some(SessionExpires { seconds: INTERVAL.max(least), refresher: Some(Refresher::Uas) }))
        }
        None => Ok(None),
    }
}

/// A running session timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    seconds: u32,
    refresh: Option<Instant>,
    end: Instant,
}

/// What a session timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a refresh.
    Refresh,
    /// The session is dead: BYE.
    End,
}

impl SessionTimer {
    /// Begins an interval as `agreed`; `us` is our role in the request that set it.
    pub fn start(now: Instant, agreed: SessionExpires, us: Refresher) -> SessionTimer {
        let whole = Duration::from_secs(u64::from(agreed.seconds.max(LEAST)));
        // RFC 4028 section 10: BYE a little before the end, the lesser of 32 s and a third.
        let end = now + (whole - Duration::from_secs(32).min(whole / 3));
        let ours = agreed.refresher.unwrap_or(Refresher::Uac) == us;
        SessionTimer { seconds: agreed.seconds, refresh: ours.then(|| now + whole / 2), end }
    }

    /// What our next refresh or re-INVITE asks for: the same again, by the same end.
    pub fn asks(&self) -> SessionExpires {
        let refresher = if self.refreshed_by_us() { Refresher::Uac } else { Refresher::Uas };
        SessionExpires { seconds: self.seconds, refresher: Some(refresher) }
    }

    /// Do we send the refreshes?
    pub fn refreshed_by_us(&self) -> bool {
        self.refresh.is_some()
    }

    /// Our refresh could not be sent or was refused: again at `at`.
    pub fn refresh_at(&mut self, at: Instant) {
        self.refresh = self.refresh.map(|_| at);
    }

    /// When it next wants something.
    pub fn timeout(&self) -> Option<Instant> {
        soonest(self.refresh, Some(self.end))
    }

    /// What it wants now. A refresh that was asked for once is not asked for again before its
    /// answer begins a new interval.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        if now >= self.end {
            return Some(Due::End);
        }
        self.refresh.filter(|at| now >= *at).map(|_| {
            self.refresh = Some(self.end);
            Due::Refresh
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn invite(lines: &str) -> Message {
        let text = format!("INVITE sip:a@b SIP/2.0\n{lines}\n\n").replace('\n', "\r\n");
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn the_answer_follows_the_table_of_rfc_4028() {
        let said = |lines: &str, wanted| match answer(&invite(lines), wanted) {
            Ok(Some(expires)) => header(expires),
            Ok(None) => "nothing".to_owned(),
            Err(TooSmall) => "422".to_owned(),
        };
        for (lines, wanted, expected) in [
            ("Supported: timer\nSession-Expires: 1800", false, "1800;refresher=uac"),
            ("Supported: timer\nx: 600 ; Refresher=UAS", false, "600;refresher=uas"),
            ("Session-Expires: 1800;refresher=uac", false, "1800;refresher=uas"),
            ("Supported: timer\nSession-Expires: 89", false, "422"),
            ("Session-Expires: 60", false, "90;refresher=uas"),
            ("Supported: timer", false, "nothing"),
            ("Supported: timer", true, "1800;refresher=uas"),
            ("Supported: timer\nMin-SE: 3600", true, "3600;refresher=uas"),
            ("Supported: timer\nSession-Expires: soon", false, "nothing"),
        ] {
            assert_eq!(said(lines, wanted), expected, "{lines}");
        }
    }

    #[test]
    fn refreshes_at_half_time_and_ends_a_little_early() {
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        let agreed = SessionExpires { seconds: 1800, refresher: Some(Refresher::Uac) };
        let mut ours = SessionTimer::start(at(0), agreed, Refresher::Uac);
        assert_eq!(ours.timeout(), Some(at(900)));
        assert_eq!(ours.due(at(899)), None);
        assert_eq!(ours.due(at(900)), Some(Due::Refresh));
        assert_eq!(ours.due(at(901)), None);
        assert_eq!(ours.timeout(), Some(at(1768)));
        assert_eq!(ours.due(at(1768)), Some(Due::End));

        let theirs = SessionTimer::start(at(0), SessionExpires { seconds: 90, ..agreed }, Refresher::Uas);
        assert_eq!(theirs.timeout(), Some(at(60)));
        assert_eq!(header(theirs.asks()), "90;refresher=uas");
    }
}
