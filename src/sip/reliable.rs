//! Reliable provisional responses (RFC 3262).
//!
//! ```text
//! caller                     called
//!    <---- 183, RSeq 1 ---------   repeated T1, 2*T1, 4*T1.. until the PRACK; 64*T1: give up
//!    ----- PRACK, RAck 1 ------>   one outstanding at a time: others wait
//!    <---- 200 (PRACK) ---------
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use crate::sip::transaction::{LIFETIME, T1};
use crate::time::Instant;
use crate::wire::sip::{Message, Method, RAck};

/// A response on the way that is repeated until the peer confirms it: a reliable 18x or a 2xx.
#[derive(Clone, Debug)]
pub struct Repeated {
    response: Message,
    interval: Duration,
    most: Duration,
    next: Instant,
    end: Instant,
}

/// What time does to a repeated response.
#[derive(Debug)]
pub enum Repeat {
    /// Not yet.
    Wait,
    /// Send it again.
    Again(Message),
    /// Nobody confirms it.
    Lost,
}

impl Repeated {
    /// A response that was just sent; `most` bounds the interval.
    pub fn sent(now: Instant, response: Message, most: Duration) -> Repeated {
        Repeated { response, interval: T1, most, next: now + T1, end: now + LIFETIME }
    }

    /// When it next wants something.
    pub fn timeout(&self) -> Instant {
        self.next.min(self.end)
    }

    /// What is to be done now.
    pub fn tick(&mut self, now: Instant) -> Repeat {
        if now >= self.end {
            return Repeat::Lost;
        }
        if now < self.next {
            return Repeat::Wait;
        }
        self.interval = (self.interval * 2).min(self.most);
        self.next = now + self.interval;
        Repeat::Again(self.response.clone())
    }
}

/// A provisional response with what waits on its PRACK.
#[derive(Clone, Debug)]
struct Outstanding {
    rseq: u32,
    cseq: u32,
    carries_sdp: bool,
    repeated: Repeated,
}

/// The reliable provisional responses of one dialog of ours, as the called side.
#[derive(Clone, Debug, Default)]
pub struct Reliable {
    last: u32,
    outstanding: Option<Outstanding>,
    waiting: VecDeque<(u32, Message, bool)>,
}

/// More progress than this waiting on one PRACK is dropped: it would be stale.
const MOST_WAITING: usize = 8;

impl Reliable {
    /// The RSeq of the next response. Begins anywhere below 2^31 (section 3); 1 is fine.
    pub fn number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Takes a response that carries `rseq` ([`Reliable::number`]) for the INVITE `cseq`. Returned when
    /// it may go now; else it waits for the PRACK of the one before.
    pub fn send(
        &mut self,
        now: Instant,
        rseq: u32,
        cseq: u32,
        response: Message,
        carries_sdp: bool,
    ) -> Option<Message> {
        if self.outstanding.is_some() {
            if self.waiting.len() < MOST_WAITING {
                self.waiting.push_back((rseq, response, carries_sdp));
            }
            return None;
        }
        // A reliable 18x is repeated without an upper bound on the interval (section 3).
        let repeated = Repeated::sent(now, response.clone(), LIFETIME);
        self.outstanding = Some(Outstanding { rseq, cseq, carries_sdp, repeated });
        Some(response)
    }

    /// Does a PRACK confirm the outstanding response? The next one, if any, is returned to be sent.
    pub fn confirm(&mut self, now: Instant, prack: &Message) -> Result<Option<Message>, Unmatched> {
        let outstanding = self.outstanding.as_ref().ok_or(Unmatched)?;
        let expected = RAck { rseq: outstanding.rseq, cseq: outstanding.cseq, method: Method::Invite };
        if prack.rack() != Some(expected) {
            return Err(Unmatched);
        }
        let cseq = outstanding.cseq;
        self.outstanding = None;
        let next = self.waiting.pop_front();
        Ok(next.and_then(|(rseq, response, carries_sdp)| self.send(now, rseq, cseq, response, carries_sdp)))
    }

    /// Must a 2xx wait? Only while an 18x with SDP is unconfirmed (section 3).
    pub fn holds_answer(&self) -> bool {
        self.outstanding.as_ref().is_some_and(|outstanding| outstanding.carries_sdp)
    }

    /// When the outstanding response next wants something.
    pub fn timeout(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|outstanding| outstanding.repeated.timeout())
    }

    /// What is to be done now.
    pub fn tick(&mut self, now: Instant) -> Repeat {
        self.outstanding.as_mut().map_or(Repeat::Wait, |outstanding| outstanding.repeated.tick(now))
    }
}

/// A PRACK for nothing that is outstanding: 481.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmatched;

/// What we have heard of the reliable provisional responses of one dialog, as the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard(Option<u32>);

impl Heard {
    /// Is this the next response in order? Repeated ones and those that overtook another are not
    /// (section 4).
    #[must_use]
    pub fn next(&mut self, rseq: u32) -> bool {
        let expected = self.0.is_none_or(|last| last.checked_add(1) == Some(rseq));
        if expected {
            self.0 = Some(rseq);
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn ringing() -> Message {
        Message::response(180, "Ringing").empty_body()
    }

    fn prack(rack: &str) -> Message {
        Message::parse(Bytes::from(format!("PRACK sip:a@b SIP/2.0\r\nRAck: {rack}\r\n\r\n"))).unwrap()
    }

    #[test]
    fn repeats_double_until_64_t1() {
        let mut reliable = Reliable::default();
        let rseq = reliable.number();
        assert!(reliable.send(Instant::START, rseq, 1, ringing(), false).is_some());
        let mut sent = Vec::new();
        while let Some(at) = reliable.timeout() {
            match reliable.tick(at) {
                Repeat::Again(_) => sent.push(at.since_start().as_millis()),
                Repeat::Wait => unreachable!(),
                Repeat::Lost => {
                    assert_eq!(at.since_start(), LIFETIME);
                    break;
                }
            }
        }
        assert_eq!(sent, [500, 1500, 3500, 7500, 15500, 31500]);
    }

    #[test]
    fn one_is_outstanding_and_the_others_wait_for_their_prack() {
        let mut reliable = Reliable::default();
        let (first, second) = (reliable.number(), reliable.number());
        assert!(reliable.send(Instant::START, first, 7, ringing(), true).is_some());
        assert!(reliable.send(Instant::START, second, 7, ringing(), false).is_none());
        for wrong in ["2 7 INVITE", "1 8 INVITE", "1 7 BYE", "1 7", "", "x"] {
            assert_eq!(reliable.confirm(Instant::START, &prack(wrong)), Err(Unmatched), "{wrong}");
        }
        assert!(reliable.holds_answer());
        assert!(matches!(reliable.confirm(Instant::START, &prack("1  7 INVITE")), Ok(Some(_))));
        assert!(!reliable.holds_answer());
        assert!(matches!(reliable.confirm(Instant::START, &prack("2 7 INVITE")), Ok(None)));
        assert_eq!(reliable.timeout(), None);
    }

    #[test]
    fn a_caller_takes_them_in_order_and_once() {
        let mut heard = Heard::default();
        let taken = [5, 5, 7, 6, 7, u32::MAX].map(|rseq| heard.next(rseq));
        assert_eq!(taken, [true, false, false, true, true, false]);
    }
}
