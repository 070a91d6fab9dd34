//! What the dates of certificates say of a peer's clock, seen when a TLS handshake with it fails.
//!
//! | seen | the peer's time, if ours is right |
//! |---|---|
//! | our certificate is good by our time, expired by the peer's (alert 45) | after its end; or before its beginning, for which Windows has the same alert |
//! | our certificate is young and "bad" to the peer (alert 42) | before its beginning, for which OpenSSL has no other alert |
//! | the peer's certificate begins in our future | ahead, as that of its issuer is |

use jiff::Timestamp;

use super::blame::Span;
use crate::alarm::Text;
use crate::time::Now;

/// TLS alerts (RFC 8446 section 6.2).
const BAD_CERTIFICATE: u8 = 42;
const CERTIFICATE_EXPIRED: u8 = 45;
/// A "bad" certificate this young is bad for its age.
const YOUNG: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// Two clocks differ: where one sees a certificate inside its window, the other does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Ours, which is good, has ended for the peer, or not begun.
    OursEnded {
        /// It begins.
        from: Timestamp,
        /// It ends.
        until: Timestamp,
    },
    /// Ours, which is good, has not begun for the peer.
    OursNotBegun {
        /// It begins.
        from: Timestamp,
    },
    /// The peer's has not begun for us.
    TheirsNotBegun {
        /// It begins.
        from: Timestamp,
    },
}

impl Window {
    /// What an alert of the peer says of its clock; nothing when our certificate is not good by our own.
    pub fn alerted(alert: u8, [from, until]: [Timestamp; 2], now: Timestamp) -> Option<Window> {
        if !(from..until).contains(&now) {
            return None;
        }
        match alert {
            CERTIFICATE_EXPIRED => Some(Window::OursEnded { from, until }),
            BAD_CERTIFICATE if now.duration_since(from) < YOUNG => Some(Window::OursNotBegun { from }),
            _ => None,
        }
    }

    /// Whose clock is off, by how much at least, and what to do; `name` is the peer's.
    pub fn text(&self, name: &str, now: Now) -> Text {
        let away = |edge: Timestamp| Span(now.wall.duration_since(edge).unsigned_abs());
        let seen = match self {
            Window::OursEnded { from, until } => format!(
                "{name} takes our certificate, good until {until}, for expired: its clock is {} ahead of ours at least, or \
                 {} behind",
                away(*until),
                away(*from)
            ),
            Window::OursNotBegun { from } => format!(
                "{name} does not take our certificate, which began {} ago: its clock may be behind ours by more than that",
                away(*from)
            ),
            Window::TheirsNotBegun { from } => format!(
                "the certificate that {name} shows begins on {from}: its clock, or its issuer's, is {} ahead of ours at least",
                away(*from)
            ),
        };
        let (ours, remedy) = match now.error {
            Some(error) => {
                (format!("ours is right to {} ms", error.as_millis().max(1)), format!("set the time of {name} right"))
            }
            None => (
                "ours is compared with no time server, and may be the wrong one".to_owned(),
                "set [Clock] Servers, then the clock right that is wrong".to_owned(),
            ),
        };
        Text::new(format!("{seen}; {ours}"), "there is no TLS between the two, and so no call", remedy)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn an_alert_counts_while_our_certificate_is_good() {
        let now = Now::virtual_start().wall;
        let hours = |count: i64| now + SignedDuration::from_hours(count);
        for (alert, from, until, expected) in [
            (45, -2, 48, Some(Window::OursEnded { from: hours(-2), until: hours(48) })),
            (45, -48, -1, None),
            (45, 1, 48, None),
            (42, -2, 48, Some(Window::OursNotBegun { from: hours(-2) })),
            (42, -30, 48, None),
            (40, -2, 48, None),
        ] {
            assert_eq!(Window::alerted(alert, [hours(from), hours(until)], now), expected, "{alert} {from} {until}");
        }
    }

    #[test]
    fn the_words_say_by_how_much_at_least_and_whether_ours_is_right() {
        let trusted = Now { error: Some(Duration::from_micros(12_300)), ..Now::virtual_start() };
        let hours = |count: i64| trusted.wall + SignedDuration::from_hours(count);
        let ended = Window::OursEnded { from: hours(-2), until: hours(48) }.text("lync", trusted);
        assert_eq!(
            ended.what,
            "lync takes our certificate, good until 2026-11-22T23:00:00Z, for expired: its clock is 2 days ahead of ours at \
             least, or 2 h behind; ours is right to 12 ms"
        );
        assert_eq!(ended.remedy, "set the time of lync right");
        let theirs = Window::TheirsNotBegun { from: hours(1) }.text("Gateway1", Now::virtual_start()).to_string();
        assert!(theirs.contains("is 1 h ahead of ours at least; ours is compared with no time server"), "{theirs}");
        assert!(theirs.ends_with("set [Clock] Servers, then the clock right that is wrong"), "{theirs}");
    }
}
