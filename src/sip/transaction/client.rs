//! Client transaction for everything but INVITE (RFC 3261 section 17.1.2).
//!
//! ```text
//! user            state                      peer
//!  | -- start --> Trying      -- request ----> |  E: again after T1, 2*T1 ... at most T2 (UDP)
//!  |                                           |  F: 64*T1 without a final answer: Timeout
//!  | <- Response  Proceeding  <- 1xx --------- |  E: every T2 from the next on
//!  | <- Response  Completed   <- 2xx-6xx ----- |  K: T4 of repeats (UDP)
//! ```

use super::{ClientInput as Input, ClientOutput as Output, Failure, LIFETIME, Repeat, T2, T4};
use crate::hop::Transport;
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::Message;

/// The machine.
#[derive(Debug, Default)]
pub(super) enum Client {
    /// Sent, nothing heard.
    Trying { request: Message, e: Option<Repeat>, f: Instant },
    /// The peer works on it.
    Proceeding { request: Message, e: Option<Repeat>, f: Instant },
    /// Answered; repeats of the answer are absorbed.
    Completed { k: Instant },
    /// Over.
    #[default]
    Terminated,
}

use Client::{Completed, Proceeding, Terminated, Trying};

impl Client {
    /// Sends `request`, whose top Via is ours.
    pub(super) fn start(now: Now, transport: Transport, request: Message, out: &mut Vec<Output>) -> Client {
        out.push(Output::Send(request.clone()));
        Trying { request, e: Repeat::start(now, transport), f: now.mono + LIFETIME }
    }

    /// One thing happens.
    pub(super) fn step(self, now: Now, transport: Transport, input: Input, out: &mut Vec<Output>) -> Client {
        match (self, input) {
            (Trying { f, .. } | Proceeding { f, .. }, Input::Tick) if f <= now.mono => {
                out.push(Output::Failed(Failure::Timeout));
                Terminated
            }
            (Trying { request, e: Some(e), f }, Input::Tick) if e.due(now) => {
                out.push(Output::Send(request.clone()));
                Trying { request, e: Some(e.again(now, T2)), f }
            }
            (Proceeding { request, e: Some(e), f }, Input::Tick) if e.due(now) => {
                out.push(Output::Send(request.clone()));
                Proceeding { request, e: Some(Repeat { at: now.mono + T2, pause: T2 }), f }
            }
            (Trying { .. } | Proceeding { .. }, Input::Unsent) => {
                out.push(Output::Failed(Failure::Transport));
                Terminated
            }
            (Trying { request, e, f } | Proceeding { request, e, f }, Input::Response(..200, response)) => {
                out.push(Output::Response(response));
                Proceeding { request, e, f }
            }
            (Trying { .. } | Proceeding { .. }, Input::Response(_, response)) => {
                out.push(Output::Response(response));
                if transport.reliable() { Terminated } else { Completed { k: now.mono + T4 } }
            }
            (Completed { k }, Input::Tick) if k <= now.mono => Terminated,
            (state, _) => state,
        }
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self {
            Trying { e, f, .. } | Proceeding { e, f, .. } => soonest(e.map(|e| e.at), Some(*f)),
            Completed { k } => Some(*k),
            Terminated => None,
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
    use crate::wire::sip::Method::Options;
    use Transport::{Tcp, Udp};

    fn trying(transport: Transport) -> Ladder {
        let mut t = Ladder::over(transport);
        t.requests(Options);
        t.sees(0, "send OPTIONS");
        t
    }

    #[test]
    fn timer_e_doubles_up_to_t2_until_timer_f_gives_up() {
        let mut t = trying(Udp);
        for at in [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500] {
            t.sees(at, "send OPTIONS");
        }
        t.sees(32_000, "failed Timeout");
        t.ends(32_000);
    }

    #[test]
    fn after_a_provisional_timer_e_fires_every_t2() {
        let mut t = trying(Udp);
        t.sees(500, "send OPTIONS");
        t.hears(Options, 100);
        t.sees(500, "response 100");
        for at in [1_500, 5_500, 9_500, 13_500, 17_500, 21_500, 25_500, 29_500] {
            t.sees(at, "send OPTIONS");
        }
        t.sees(32_000, "failed Timeout");
        t.ends(32_000);
    }

    #[test]
    fn a_stream_sends_once_and_waits_for_timer_f() {
        let mut t = trying(Tcp);
        t.sees(32_000, "failed Timeout");
        t.ends(32_000);
    }

    #[test]
    fn timer_k_absorbs_repeated_answers_for_t4() {
        let mut t = trying(Udp);
        t.sees(100, "");
        t.hears(Options, 200);
        t.sees(100, "response 200");
        t.hears(Options, 200);
        t.hears(Options, 100);
        t.sees(4_000, "");
        t.hears(Options, 200);
        t.ends(5_100);
        t.hears(Options, 200);
        assert_eq!(t.table.strays(), 1);
    }

    #[test]
    fn over_a_stream_the_answer_is_the_end() {
        let mut t = trying(Tcp);
        t.hears(Options, 503);
        t.sees(0, "response 503");
        t.ends(0);
    }

    #[test]
    fn what_cannot_be_sent_fails_at_once() {
        let mut t = trying(Tcp);
        t.table.unsent(t.now, super::super::Ticket::Client(t.client.unwrap()), &mut t.out);
        t.sees(0, "failed Transport");
        t.ends(0);
    }
}
