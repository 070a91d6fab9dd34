//! Which timeslot each side of each session has: sessions are values that say what is wanted, timeslots come and go to
//! make it so.

use std::collections::HashMap;

use super::span::{Opened, Spans, Wanted};
use crate::hop::SpanId;
use crate::media::Engine;
use crate::session::{MediaReport, Remote, Session, SessionId, Side, Timeslot};

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
                Remote::Timeslot(timeslot) => Some(timeslot),
                Remote::Rtp(_) => None,
            });
            let held = self.held.get(&(id, side)).copied();
            if held == wanted.map(|wanted| (wanted.span, wanted.number)) {
                continue;
            }
            if held.is_some() {
                self.held.remove(&(id, side));
                // A thread that is behind ends with its sessions.
                let _ = engine.release_bearer(id, side);
            }
            if let Some(Timeslot { span, number: timeslot, canceller: echo_tail, .. }) = wanted {
                self.held.insert((id, side), (span, timeslot));
                spans.open(Wanted { session: id, side, span, timeslot, echo_tail });
            }
        }
    }

    /// A session is over.
    pub fn forget(&mut self, id: SessionId) {
        for side in Side::BOTH {
            self.held.remove(&(id, side));
        }
    }

    /// A timeslot is open, or cannot be had: then its call hears so.
    pub fn opened(&self, opened: Opened, engine: &mut Engine) -> Option<MediaReport> {
        let Wanted { session, side, span, timeslot, .. } = opened.wanted;
        if self.held.get(&(session, side)) != Some(&(span, timeslot)) {
            // Meanwhile the call is over, or elsewhere.
            return None;
        }
        let done = opened
            .bearer
            .map_err(|fault| fault.to_string())
            .and_then(|(bearer, law)| engine.seize(session, side, bearer, law).map_err(|behind| behind.to_string()));
        let fault = done.err()?;
        let why = format!("timeslot {timeslot} of Span{} cannot be opened: {fault}", span.0);
        Some(MediaReport::Unopened(session, side, why))
    }

    /// Timeslots that came home are closed: whoever wants them next opens them anew.
    pub fn take_home(engine: &mut Engine) {
        engine.bearers().for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::session::{Codec, Stream, Timeslot};
    use crate::shell::clock::Clock;

    const CALL: SessionId = SessionId(1);

    /// A session whose called side is this timeslot of [Span9], which is not there.
    fn session(number: u8) -> Box<Session> {
        let timeslot = Timeslot { span: SpanId(9), number, ..Timeslot::default() };
        let stream = Stream::new(Remote::Timeslot(timeslot), Codec::Pcmu);
        Box::new(Session { sides: [None, Some(stream)], ..Session::default() })
    }

    #[tokio::test]
    async fn a_timeslot_that_cannot_be_had_is_told_to_its_call_while_that_wants_it() {
        let text = "[Lync]\nFqdn=a.example\nNextHop=b.example\n[Media]\nAddress=127.0.0.1\n";
        let config = crate::config::parse(text.as_bytes(), "test.ini").unwrap().0;
        let (arrivals, _) = mpsc::channel(1);
        let (opened_out, mut opened) = mpsc::channel(4);
        let spans = Spans::start(&[], arrivals, opened_out, Arc::new(|_, _, _| {}), Clock::start()).unwrap();
        let (reports, _) = mpsc::channel(4);
        let mut engine = Engine::start(&config.media, reports).unwrap();
        let mut bearers = Bearers::default();
        bearers.apply(CALL, &session(3), &spans, &mut engine);
        let why = "timeslot 3 of Span9 cannot be opened: the line's card or driver is gone".to_owned();
        let told = bearers.opened(opened.recv().await.unwrap(), &mut engine);
        assert_eq!(told, Some(MediaReport::Unopened(CALL, Side::B, why)));

        bearers.apply(CALL, &session(4), &spans, &mut engine);
        bearers.forget(CALL);
        assert_eq!(bearers.opened(opened.recv().await.unwrap(), &mut engine), None);
    }
}
