//! What all calls of a D channel have in common, and how its two ends differ (Q.931 tables 9-1 and 9-2).

use std::time::Duration;

use crate::config;
use crate::session::Codec;
use crate::wire::q931::{Channel, Dialect, Location, Side};

/// What all calls of a D channel have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Which end of the line we are.
    pub side: Side,
    /// Which switch the exchange is.
    pub dialect: Dialect,
    /// Where causes of ours arise: a private exchange, whichever end of the line it has.
    pub location: Location,
    /// The line's companding law: [`Codec::Pcmu`] or [`Codec::Pcma`].
    pub law: Codec,
    /// Called numbers come digit by digit.
    pub overlap: Option<Overlap>,
    /// Tones that come with a DISCONNECT are listened to before the call is given up.
    pub listens: bool,
    /// How long things are waited for.
    pub timers: Timers,
}

impl Access {
    /// That of a line.
    pub fn of(span: &config::Span) -> Access {
        let usual = Access::new(span.side, span.dialect, Codec::from(span.line.law()));
        let overlap = span.overlap.map(|length| Overlap { length: length.into() });
        Access { overlap, listens: span.disconnect_tones, ..usual }
    }

    /// That of the exchange at the far end of a line: of a public network, unless both ends are private.
    pub fn of_exchange(far: &config::Span) -> Access {
        let access = Access::of(far);
        let location = if access.dialect.is_private() { access.location } else { Location::PUBLIC_NEAR };
        Access { location, ..access }
    }

    /// The usual one of a side, dialect and law.
    pub fn new(side: Side, dialect: Dialect, law: Codec) -> Access {
        Access {
            side,
            dialect,
            location: Location::PRIVATE_NEAR,
            law,
            overlap: None,
            listens: false,
            timers: Timers::of(side),
        }
    }

    /// A timeslot as this switch lets it be named.
    pub(super) fn named(&self, channel: Channel) -> Channel {
        let interface = channel.interface.filter(|_| self.dialect.names_interfaces());
        Channel { interface, ..channel }
    }

    /// Does whoever answers a call wait for CONNECT ACKNOWLEDGE? An exchange does not, but two private ones are equals.
    pub(super) fn awaits_connect_ack(&self) -> bool {
        self.side == Side::User || self.dialect.is_private()
    }

    /// Are the states of such a call counted from the user's place: 1 to 4 for who calls, 6 to 9 and 25 for who is called?
    /// Between private exchanges both ends are users to the other.
    pub(super) fn counts_as_user(&self) -> bool {
        self.side == Side::User || self.dialect.is_private()
    }
}

/// When a number that comes digit by digit is whole, apart from `#`, "sending complete" and T302.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// With so many digits.
    pub length: usize,
}

/// Timers of Q.931 section 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the standard; what each waits for stands in `call`")]
pub struct Timers {
    pub t301: Duration,
    pub t302: Duration,
    pub t303: Duration,
    pub t304: Duration,
    pub t305: Duration,
    pub t306: Duration,
    pub t308: Duration,
    pub t309: Duration,
    pub t310: Duration,
    pub t313: Duration,
    pub t322: Duration,
}

impl Timers {
    /// The standard's values. Where it leaves a choice: T302 15 s, T309 90 s, a user's T310 60 s.
    pub fn of(side: Side) -> Timers {
        let by_side = |user, network| Duration::from_secs(if side == Side::User { user } else { network });
        let both = Duration::from_secs;
        Timers {
            t301: both(180),
            t302: both(15),
            t303: both(4),
            t304: by_side(30, 20),
            t305: both(30),
            t306: both(30),
            t308: both(4),
            t309: both(90),
            t310: by_side(60, 10),
            t313: both(4),
            t322: both(4),
        }
    }
}
