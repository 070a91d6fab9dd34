//! INVITE server transaction (RFC 3261 section 17.2.1, RFC 6026 section 7.1).
//!
//! The 100 goes out at once, not after 200 ms: setting up the other side of a call takes longer than
//! that anyhow, and the peer stops repeating its INVITE a round trip after the first.
//!
//! ```text
//! peer            state                      user
//!  | -- INVITE -> Proceeding  -- Request ----> |
//!  | <- 100 -----                              |
//!  | <- 1xx -----             <- respond ----- |  a repeated INVITE gets the last answer again
//!  | <- 2xx ----- Accepted    <- respond ----- |  L: 64*T1; the user repeats its 2xx through here
//!  | -- ACK ---->             -- Ack --------> |
//!  | <- 3xx-6xx - Completed   <- respond ----- |  G: again after T1, 2*T1 ... at most T2 (UDP)
//!  |                                           |  H: 64*T1 without ACK: NotAcknowledged
//!  | -- ACK ----> Confirmed                    |  I: T4 of repeated ACKs (UDP)
//! ```

use super::{LIFETIME, Repeat, ServerInput as Input, ServerOutput as Output, T2, T4};
use crate::hop::Transport;
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::Message;

/// The machine.
#[derive(Debug, Default)]
pub(super) enum InviteServer {
    /// The user works on it; it decides how long.
    Proceeding { last: Message },
    /// The user accepted; the 2xx and its ACK are the user's.
    Accepted { l: Instant },
    /// The user refused, the peer has not acknowledged.
    Completed { last: Message, g: Option<Repeat>, h: Instant },
    /// Acknowledged; repeats of the ACK are absorbed.
    Confirmed { i: Instant },
    /// Over.
    #[default]
    Terminated,
}

use InviteServer::{Accepted, Completed, Confirmed, Proceeding, Terminated};

impl InviteServer {
    /// Sends `trying`, the 100.
    pub(super) fn start(trying: Message, out: &mut Vec<Output>) -> InviteServer {
        out.push(Output::Send(trying.clone()));
        Proceeding { last: trying }
    }

    /// One thing happens.
    pub(super) fn step(self, now: Now, transport: Transport, input: Input, out: &mut Vec<Output>) -> InviteServer {
        match (self, input) {
            (Proceeding { last }, Input::Repeated) => {
                out.push(Output::Send(last.clone()));
                Proceeding { last }
            }
            (Proceeding { .. }, Input::Respond(..200, last)) => {
                out.push(Output::Send(last.clone()));
                Proceeding { last }
            }
            (Proceeding { .. }, Input::Respond(..300, response)) => {
                out.push(Output::Send(response));
                Accepted { l: now.mono + LIFETIME }
            }
            (Proceeding { .. }, Input::Respond(_, last)) => {
                out.push(Output::Send(last.clone()));
                Completed { last, g: Repeat::start(now, transport), h: now.mono + LIFETIME }
            }
            (Accepted { l }, Input::Respond(200..300, response)) => {
                out.push(Output::Send(response));
                Accepted { l }
            }
            (Accepted { l }, Input::Ack(ack)) => {
                out.push(Output::Ack(ack));
                Accepted { l }
            }
            (Completed { h, .. }, Input::Tick) if h <= now.mono => {
                out.push(Output::NotAcknowledged);
                Terminated
            }
            (Completed { last, g: Some(g), h }, Input::Tick) if g.due(now) => {
                out.push(Output::Send(last.clone()));
                Completed { last, g: Some(g.again(now, T2)), h }
            }
            (Completed { last, g, h }, Input::Repeated) => {
                out.push(Output::Send(last.clone()));
                Completed { last, g, h }
            }
            (Completed { .. }, Input::Ack(_)) if transport.reliable() => Terminated,
            (Completed { .. }, Input::Ack(_)) => Confirmed { i: now.mono + T4 },
            (Accepted { l: end } | Confirmed { i: end }, Input::Tick) if end <= now.mono => Terminated,
            (state, _) => state,
        }
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self {
            Completed { g, h, .. } => soonest(g.map(|g| g.at), Some(*h)),
            Accepted { l: end } | Confirmed { i: end } => Some(*end),
            Proceeding { .. } | Terminated => None,
        }
    }

    /// The answer that a repeated INVITE would get.
    pub(super) fn last(&self) -> Option<&Message> {
        match self {
            Proceeding { last } | Completed { last, .. } => Some(last),
            Accepted { .. } | Confirmed { .. } | Terminated => None,
        }
    }

    /// Can a CANCEL still change something?
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Proceeding { .. })
    }

    /// Is it over?
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ladder::Ladder;
    use super::super::{ServerId, Ticket};
    use super::*;
    use crate::hop::Hop;
    use crate::sip::transaction::Output as Told;
    use crate::wire::sip::Method::{Ack, Cancel, Invite};
    use crate::wire::sip::Name;
    use Transport::{Tcp, Udp};

    const SAME: &str = ";branch=z9hG4bK1";

    fn ringing(transport: Transport) -> Ladder {
        let mut t = Ladder::over(transport);
        t.receives(Invite, SAME);
        t.sees(0, "request INVITE, send 100");
        t
    }

    #[test]
    fn a_repeated_invite_gets_the_last_answer_again() {
        let mut t = ringing(Udp);
        t.sees(500, "");
        t.receives(Invite, SAME);
        t.sees(500, "send 100");
    }

    #[test]
    fn each_provisional_takes_the_place_of_the_one_before() {
        let mut t = ringing(Udp);
        t.answers(Invite, 180);
        t.receives(Invite, SAME);
        t.answers(Invite, 183);
        t.receives(Invite, SAME);
        t.sees(0, "send 180, send 180, send 183, send 183");
        t.sees(180_000, "");
    }

    #[test]
    fn timer_g_repeats_a_refusal_up_to_every_t2_until_timer_h() {
        let mut t = ringing(Udp);
        t.answers(Invite, 486);
        t.sees(0, "send 486");
        for at in [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500] {
            t.sees(at, "send 486");
        }
        t.sees(32_000, "not acknowledged");
        t.ends(32_000);
    }

    #[test]
    fn a_stream_sends_a_refusal_once_and_waits_for_timer_h() {
        let mut t = ringing(Tcp);
        t.answers(Invite, 486);
        t.sees(0, "send 486");
        t.sees(32_000, "not acknowledged");
        t.ends(32_000);
    }

    #[test]
    fn timer_i_absorbs_repeated_acks_for_t4() {
        let mut t = ringing(Udp);
        t.answers(Invite, 486);
        t.sees(0, "send 486");
        t.sees(500, "send 486");
        t.receives(Ack, SAME);
        t.receives(Ack, SAME);
        t.receives(Invite, SAME);
        t.ends(5_500);
    }

    #[test]
    fn over_a_stream_the_ack_is_the_end() {
        let mut t = ringing(Tcp);
        t.answers(Invite, 486);
        t.sees(0, "send 486");
        t.receives(Ack, SAME);
        t.ends(0);
    }

    #[test]
    fn a_refusal_that_was_lost_is_given_again() {
        let mut t = ringing(Udp);
        t.answers(Invite, 486);
        t.receives(Invite, SAME);
        t.answers(Invite, 200);
        t.sees(0, "send 486, send 486");
    }

    #[test]
    fn timer_l_absorbs_repeated_invites_and_lets_the_users_2xx_through() {
        for transport in [Udp, Tcp] {
            let mut t = ringing(transport);
            t.answers(Invite, 200);
            t.receives(Invite, SAME);
            t.sees(0, "send 200");
            t.sees(500, "");
            t.answers(Invite, 200);
            t.answers(Invite, 486);
            t.answers(Invite, 180);
            t.sees(500, "send 200");
            t.ends(32_000);
        }
    }

    #[test]
    fn an_ack_for_a_2xx_goes_up_whatever_its_branch() {
        let mut t = ringing(Udp);
        t.answers(Invite, 200);
        t.receives(Ack, SAME);
        t.receives(Ack, ";branch=z9hG4bKother");
        t.sees(0, "send 200, ack, ack");
    }

    #[test]
    fn an_ack_before_any_final_answer_is_nonsense() {
        let mut t = ringing(Udp);
        t.receives(Ack, SAME);
        t.sees(0, "");
    }

    #[test]
    fn a_cancel_is_answered_and_goes_up() {
        let mut t = ringing(Udp);
        t.answers(Invite, 180);
        t.receives(Cancel, SAME);
        t.receives(Cancel, SAME);
        let tags = t.out.iter().filter_map(|told| match told {
            Told::Send { message, .. } => message.tag(Name::To),
            _ => None,
        });
        assert_eq!(tags.collect::<Vec<_>>(), ["us", "us", "us"], "the 200 has the tag of the 180");
        t.sees(0, "send 180, send 200, cancelled, send 200");
        t.answers(Invite, 487);
        t.receives(Ack, SAME);
        t.sees(0, "send 487");
        t.ends(32_000);
    }

    #[test]
    fn a_cancel_that_crosses_the_200_changes_nothing() {
        let mut t = ringing(Udp);
        t.answers(Invite, 200);
        t.receives(Cancel, SAME);
        t.sees(0, "send 200, send 200");
        t.ends(32_000);
    }

    #[test]
    fn a_cancel_for_nothing_is_481() {
        let mut t = ringing(Udp);
        t.receives(Cancel, ";branch=z9hG4bKother");
        t.sees(0, "send 481");
    }

    #[test]
    fn an_answer_finds_a_new_connection_once() {
        let mut t = ringing(Tcp);
        t.answers(Invite, 503);
        t.sees(0, "send 503");
        let lost = |t: &mut Ladder, id: ServerId| t.table.unsent(t.now, Ticket::Server(id), &mut t.out);
        let id = t.server.unwrap();
        lost(&mut t, id);
        let hop = t.out.iter().map(|told| match told {
            Told::Send { hop: Hop::Target(target), .. } => target.to_string(),
            _ => String::new(),
        });
        assert_eq!(hop.collect::<Vec<_>>(), ["192.0.2.20:5060/TCP"]);
        t.sees(0, "send 503");
        lost(&mut t, id);
        t.sees(0, "");
    }

    #[test]
    fn a_peer_from_before_rfc_3261_is_matched_by_its_headers() {
        let mut t = Ladder::over(Udp);
        t.receives(Invite, "");
        t.receives(Invite, "");
        t.sees(0, "request INVITE, send 100, send 100");
        t.receives(Cancel, "");
        t.sees(0, "send 200, cancelled");
        t.answers(Invite, 487);
        t.receives(Ack, "");
        t.sees(0, "send 487");
        t.ends(32_000);
    }
}
