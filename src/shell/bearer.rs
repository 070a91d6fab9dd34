//! Which timeslot each side of each session has: sessions are values that say what is wanted, timeslots come and go to
//! make it so.

use std::collections::HashMap;

use tracing::warn;

use super::span::{Opened, Spans, Wanted};
use crate::hop::SpanId;
use crate::media::Engine;
use crate::session::{Remote, Session, SessionId, Side};

/// The timeslots that sessions have, or will have when they are open.
#[derive(Default)]
pub struct Bearers {
    held: HashMap<(SessionId, Side), (SpanId, u8)>,
}

impl Bearers {
    /// A session shall be so.
    pub fn apply(&mut self, id: SessionId, session: &Session, spans: &Spans, engine: &mut Engine) {
        for side in Side::BOTH {
            let wanted = session.sides[side.index()].as_ref().and_then(|stream| match stream.remote {
                Remote::Timeslot(timeslot) => Some((timeslot.span, timeslot.number)),
                Remote::Rtp(_) => None,
            });
            let held = self.held.get(&(id, side)).copied();
            if held == wanted {
                continue;
            }
            if held.is_some() {
                self.held.remove(&(id, side));
                // A thread that is behind ends with its sessions.
                let _ = engine.release_bearer(id, side);
            }
            if let Some((span, timeslot)) = wanted {
                self.held.insert((id, side), (span, timeslot));
                spans.open(Wanted { session: id, side, span, timeslot });
            }
        }
    }

    /// A session is over.
    pub fn forget(&mut self, id: SessionId) {
        for side in Side::BOTH {
            self.held.remove(&(id, side));
        }
    }

    /// A timeslot is open, or cannot be had.
    pub fn opened(&self, opened: Opened, engine: &mut Engine) {
        let Wanted { session, side, span, timeslot } = opened.wanted;
        let wanted = self.held.get(&(session, side)) == Some(&(span, timeslot));
        match opened.bearer {
            Ok((bearer, law)) if wanted => drop(engine.seize(session, side, bearer, law)),
            // Meanwhile the call is over, or elsewhere.
            Ok(_) => {}
            Err(fault) => warn!(line = span.0, timeslot, "a call is without sound: {fault}"),
        }
    }

    /// Timeslots that came home are closed: whoever wants them next opens them anew.
    pub fn take_home(engine: &mut Engine) {
        engine.bearers().for_each(drop);
    }
}
