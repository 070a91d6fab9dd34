//! Server transaction for everything but INVITE (RFC 3261 section 17.2.2, RFC 4320).
//!
//! ```text
//! peer            state                      user
//!  | -- request > Trying      -- Request ----> |  64*T1: the peer has given up by itself
//!  | <- 100 ----- Proceeding  <- respond ----- |  other provisional answers are not sent (RFC 4320 section 4.1)
//!  | <- 2xx-6xx - Completed   <- respond ----- |  J: 64*T1 of repeated requests (UDP)
//! ```
//!
//! A 408 is not sent either: who would hear it has timed out itself (RFC 4320 section 4.2).

use super::{LIFETIME, ServerInput as Input, ServerOutput as Output};
use crate::hop::Transport;
use crate::time::{Instant, Now};
use crate::wire::sip::Message;

/// The machine.
#[derive(Debug, Default)]
pub(super) enum Server {
    /// The user works on it. After `end` no answer is heard any more: the peer's timer F is over.
    Trying { end: Instant },
    /// The same, and the peer knows.
    Proceeding { last: Message, end: Instant },
    /// Answered; a repeated request gets the answer again.
    Completed { last: Message, j: Instant },
    /// Over.
    #[default]
    Terminated,
}

use Server::{Completed, Proceeding, Terminated, Trying};

impl Server {
    /// A new request.
    pub(super) fn start(now: Now) -> Server {
        Trying { end: now.mono + LIFETIME }
    }

    /// One thing happens.
    pub(super) fn step(self, now: Now, transport: Transport, input: Input, out: &mut Vec<Output>) -> Server {
        match (self, input) {
            (Trying { end } | Proceeding { end, .. }, Input::Respond(100, last)) if !transport.reliable() => {
                out.push(Output::Send(last.clone()));
                Proceeding { last, end }
            }
            (state @ (Trying { .. } | Proceeding { .. }), Input::Respond(..200, _)) => state,
            (Trying { .. } | Proceeding { .. }, Input::Respond(408, _)) => Terminated,
            (Trying { .. } | Proceeding { .. }, Input::Respond(_, last)) => {
                out.push(Output::Send(last.clone()));
                if transport.reliable() { Terminated } else { Completed { last, j: now.mono + LIFETIME } }
            }
            (Proceeding { last, end }, Input::Repeated) => {
                out.push(Output::Send(last.clone()));
                Proceeding { last, end }
            }
            (Completed { last, j }, Input::Repeated) => {
                out.push(Output::Send(last.clone()));
                Completed { last, j }
            }
            (Trying { end } | Proceeding { end, .. } | Completed { j: end, .. }, Input::Tick) if end <= now.mono => {
                Terminated
            }
            (state, _) => state,
        }
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self {
            Trying { end } | Proceeding { end, .. } | Completed { j: end, .. } => Some(*end),
            Terminated => None,
        }
    }

    /// The answer that a repeated request would get.
    pub(super) fn last(&self) -> Option<&Message> {
        match self {
            Proceeding { last, .. } | Completed { last, .. } => Some(last),
            Trying { .. } | Terminated => None,
        }
    }

    /// Is it over?
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ladder::Ladder;
    use super::*;
    use crate::wire::sip::Method::{Bye, Options};
    use Transport::{Tcp, Udp};

    const SAME: &str = ";branch=z9hG4bK1";

    fn trying(transport: Transport) -> Ladder {
        let mut t = Ladder::over(transport);
        t.receives(Options, SAME);
        t.sees(0, "request OPTIONS");
        t
    }

    #[test]
    fn timer_j_gives_the_answer_again_for_64_t1() {
        let mut t = trying(Udp);
        t.receives(Options, SAME);
        t.sees(100, "");
        t.answers(Options, 200);
        t.sees(100, "send 200");
        t.sees(32_000, "");
        t.receives(Options, SAME);
        t.answers(Options, 500);
        t.sees(32_000, "send 200");
        t.ends(32_100);
    }

    #[test]
    fn over_a_stream_the_answer_is_the_end() {
        let mut t = trying(Tcp);
        t.answers(Options, 200);
        t.sees(0, "send 200");
        t.ends(0);
    }

    #[test]
    fn only_a_100_over_udp_is_provisional() {
        let mut t = trying(Udp);
        t.answers(Options, 180);
        t.answers(Options, 100);
        t.receives(Options, SAME);
        t.sees(0, "send 100, send 100");
        let mut t = trying(Tcp);
        t.answers(Options, 100);
        t.sees(0, "");
    }

    #[test]
    fn a_408_is_not_sent() {
        let mut t = trying(Udp);
        t.answers(Options, 408);
        t.ends(0);
    }

    #[test]
    fn a_request_that_nobody_answers_ends_with_the_peers_patience() {
        trying(Udp).ends(32_000);
        trying(Tcp).ends(32_000);
    }

    #[test]
    fn another_method_under_the_same_branch_is_another_transaction() {
        let mut t = trying(Udp);
        t.receives(Bye, SAME);
        t.sees(0, "request BYE");
        assert_eq!(t.table.len(), 2);
    }
}
