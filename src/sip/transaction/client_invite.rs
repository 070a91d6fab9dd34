//! INVITE client transaction (RFC 3261 section 17.1.1, RFC 6026 section 7.2).
//!
//! ```text
//! user            state                      peer
//!  | -- start --> Calling     -- INVITE -----> |  A: again after T1, 2*T1, 4*T1 ... (UDP)
//!  |                                           |  B: 64*T1 without an answer: Timeout
//!  | <- Response  Proceeding  <- 1xx --------- |  no timer: the user decides how long it rings
//!  | -- Cancel ->             -- CANCEL -----> |  only now (section 9.1); 64*T1 later the INVITE is given up
//!  | <- Response  Accepted    <- 2xx --------- |  M: 64*T1, until then every repeated 2xx goes up
//!  | <- Response  Completed   <- 3xx-6xx ----- |
//!  |                          -- ACK --------> |  D: 32 s of repeats (UDP)
//! ```

use super::{ClientInput as Input, ClientOutput as Output, Failure, LIFETIME, Repeat};
use crate::hop::Transport;
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::{Builder, Message, Method, Name, Start};

/// The machine.
#[derive(Debug, Default)]
pub(super) enum InviteClient {
    /// Sent, nothing heard. A CANCEL has to wait here.
    Calling { request: Message, cancel: Option<Message>, a: Option<Repeat>, b: Instant },
    /// The peer works on it. Once cancelled it is given `patience`.
    Proceeding { request: Message, patience: Option<Instant> },
    /// The peer accepted; the ACK is the user's.
    Accepted { m: Instant },
    /// The peer refused and may not have heard our ACK.
    Completed { ack: Message, d: Instant },
    /// Over.
    #[default]
    Terminated,
}

use InviteClient::{Accepted, Calling, Completed, Proceeding, Terminated};

impl InviteClient {
    /// Sends `request`, whose top Via is ours.
    pub(super) fn start(now: Now, transport: Transport, request: Message, out: &mut Vec<Output>) -> InviteClient {
        out.push(Output::Send(request.clone()));
        Calling { request, cancel: None, a: Repeat::start(now, transport), b: now.mono + LIFETIME }
    }

    /// One thing happens.
    pub(super) fn step(self, now: Now, transport: Transport, input: Input, out: &mut Vec<Output>) -> InviteClient {
        match (self, input) {
            (Calling { b, .. }, Input::Tick) if b <= now.mono => {
                out.push(Output::Failed(Failure::Timeout));
                Terminated
            }
            (Calling { request, cancel, a: Some(a), b }, Input::Tick) if a.due(now) => {
                out.push(Output::Send(request.clone()));
                Calling { request, cancel, a: Some(a.again(now, LIFETIME)), b }
            }
            (Calling { request, cancel: None, a, b }, Input::Cancel(headers)) => {
                let cancel = Some(cancel_for(&request, headers));
                Calling { request, cancel, a, b }
            }
            (Calling { .. }, Input::Unsent) => {
                out.push(Output::Failed(Failure::Transport));
                Terminated
            }
            (Calling { request, cancel, .. }, Input::Response(..200, response)) => {
                out.push(Output::Response(response));
                let patience = cancel.is_some().then(|| now.mono + LIFETIME);
                out.extend(cancel.map(Output::Cancel));
                Proceeding { request, patience }
            }
            (Proceeding { request, patience }, Input::Response(..200, response)) => {
                out.push(Output::Response(response));
                Proceeding { request, patience }
            }
            (Proceeding { request, patience: None }, Input::Cancel(headers)) => {
                out.push(Output::Cancel(cancel_for(&request, headers)));
                Proceeding { request, patience: Some(now.mono + LIFETIME) }
            }
            (Proceeding { patience: Some(end), .. }, Input::Tick) if end <= now.mono => {
                out.push(Output::Failed(Failure::Timeout));
                Terminated
            }
            (Calling { .. } | Proceeding { .. }, Input::Response(..300, response)) => {
                out.push(Output::Response(response));
                Accepted { m: now.mono + LIFETIME }
            }
            (Calling { request, .. } | Proceeding { request, .. }, Input::Response(_, response)) => {
                let ack = ack_for(&request, &response);
                out.extend([Output::Send(ack.clone()), Output::Response(response)]);
                if transport.reliable() { Terminated } else { Completed { ack, d: now.mono + LIFETIME } }
            }
            (Accepted { m }, Input::Response(200..300, response)) => {
                out.push(Output::Response(response));
                Accepted { m }
            }
            (Accepted { m: end } | Completed { d: end, .. }, Input::Tick) if end <= now.mono => Terminated,
            (Completed { ack, d }, Input::Response(300.., _)) => {
                out.push(Output::Send(ack.clone()));
                Completed { ack, d }
            }
            (state, _) => state,
        }
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self {
            Calling { a, b, .. } => soonest(a.map(|a| a.at), Some(*b)),
            Proceeding { patience, .. } => *patience,
            Accepted { m: end } | Completed { d: end, .. } => Some(*end),
            Terminated => None,
        }
    }

    /// Is it over?
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Terminated)
    }
}

/// The ACK for a refusal (RFC 3261 section 17.1.1.3): To is the response's, with the peer's tag.
fn ack_for(request: &Message, response: &Message) -> Message {
    following(request, Method::Ack, response).empty_body()
}

/// The CANCEL for a request (RFC 3261 section 9.1).
fn cancel_for(request: &Message, headers: &[(Name, &str)]) -> Message {
    let cancel = following(request, Method::Cancel, request);
    headers.iter().fold(cancel, |cancel, (name, value)| cancel.header(*name, value)).empty_body()
}

/// A request that belongs to `request`'s transaction: its URI, its top Via, its Route, its number.
fn following(request: &Message, method: Method, to: &Message) -> Builder {
    let uri = match request.start() {
        Start::Request { uri, .. } => String::from_utf8_lossy(uri),
        Start::Response { .. } => Default::default(),
    };
    let number = request.cseq().map_or(1, |cseq| cseq.number);
    Message::request(method, &uri)
        .raw(Name::Via, request.elements(Name::Via).next().unwrap_or_default())
        .header(Name::MaxForwards, 70)
        .copy(request, Name::Route)
        .copy(request, Name::From)
        .copy(to, Name::To)
        .copy(request, Name::CallId)
        .header(Name::CSeq, format_args!("{number} {method}"))
}

#[cfg(test)]
mod tests {
    use super::super::ladder::Ladder;
    use super::*;
    use Method::{Cancel, Invite};
    use Transport::{Tls, Udp};

    fn calling(transport: Transport) -> Ladder {
        let mut t = Ladder::over(transport);
        t.requests(Invite);
        t.sees(0, "send INVITE");
        t
    }

    #[test]
    fn timer_a_doubles_until_timer_b_gives_up() {
        let mut t = calling(Udp);
        for at in [500, 1_500, 3_500, 7_500, 15_500, 31_500] {
            t.sees(at, "send INVITE");
        }
        t.sees(32_000, "failed Timeout");
        t.ends(32_000);
        assert!(t.sent.iter().all(|sent| *sent == t.sent[0]), "repeats are the same octets");
    }

    #[test]
    fn a_stream_sends_once_and_waits_for_timer_b() {
        let mut t = calling(Tls);
        t.sees(32_000, "failed Timeout");
        t.ends(32_000);
    }

    #[test]
    fn what_cannot_be_sent_fails_at_once() {
        let mut t = calling(Tls);
        t.table.unsent(t.now, super::super::Ticket::Client(t.client.unwrap()), &mut t.out);
        t.sees(0, "failed Transport");
        t.ends(0);
    }

    #[test]
    fn a_provisional_ends_the_repeats_and_no_timer_ends_the_ringing() {
        let mut t = calling(Udp);
        t.sees(400, "");
        t.hears(Invite, 100);
        t.hears(Invite, 180);
        t.sees(400, "response 100, response 180");
        t.sees(180_000, "");
        t.hears(Invite, 486);
        t.sees(180_000, "send ACK, response 486");
    }

    #[test]
    fn timer_m_lets_every_repeated_2xx_up_for_64_t1() {
        for transport in [Udp, Tls] {
            let mut t = calling(transport);
            t.hears(Invite, 200);
            t.sees(0, "response 200");
            t.sees(31_000, "");
            t.hears(Invite, 200);
            t.hears(Invite, 180);
            t.hears(Invite, 486);
            t.sees(31_000, "response 200");
            t.ends(32_000);
        }
    }

    #[test]
    fn timer_d_answers_a_repeated_refusal_with_the_same_ack() {
        let mut t = calling(Udp);
        t.hears(Invite, 503);
        t.sees(0, "send ACK, response 503");
        t.sees(31_000, "");
        t.hears(Invite, 503);
        t.sees(31_000, "send ACK");
        assert_eq!(t.sent[1], t.sent[2]);
        t.ends(32_000);
    }

    #[test]
    fn over_a_stream_a_refusal_is_the_end() {
        let mut t = calling(Tls);
        t.hears(Invite, 503);
        t.sees(0, "send ACK, response 503");
        t.ends(0);
    }

    #[test]
    fn the_ack_for_a_refusal_is_built_from_the_invite() {
        let mut t = calling(Udp);
        t.hears(Invite, 404);
        t.sees(0, "send ACK, response 404");
        let (invite, ack) = (&t.sent[0], &t.sent[1]);
        assert_eq!(ack.uri().unwrap().as_str(), "sip:+13125556789@gw.example");
        for name in [Name::Via, Name::Route, Name::From, Name::CallId] {
            assert!(ack.all(name).eq(invite.all(name)), "{name}");
        }
        assert_eq!(ack.tag(Name::To), Some("peer"));
        assert_eq!(ack.text(Name::CSeq), Some("1 ACK"));
    }

    #[test]
    fn a_cancel_goes_out_after_a_provisional() {
        let mut t = calling(Udp);
        t.hears(Invite, 180);
        t.sees(0, "response 180");
        t.cancels();
        t.sees(0, "send CANCEL");
        let (invite, cancel) = (&t.sent[0], &t.sent[1]);
        for name in [Name::Via, Name::Route, Name::From, Name::To, Name::CallId] {
            assert!(cancel.all(name).eq(invite.all(name)), "{name}");
        }
        assert_eq!(cancel.text(Name::CSeq), Some("1 CANCEL"));
        assert_eq!(cancel.text(Name::Reason), Some("Q.850;cause=16"));
        t.hears(Cancel, 200);
        t.hears(Invite, 487);
        t.sees(0, "send ACK, response 487");
        t.ends(32_000);
    }

    #[test]
    fn a_cancel_before_any_provisional_waits_for_one() {
        let mut t = calling(Udp);
        t.cancels();
        t.cancels();
        t.sees(500, "send INVITE");
        t.hears(Invite, 100);
        t.sees(500, "response 100, send CANCEL");
        t.hears(Invite, 180);
        t.sees(500, "response 180");
        t.sees(1_000, "send CANCEL");
    }

    #[test]
    fn a_200_that_crosses_the_cancel_reaches_the_user() {
        let mut t = calling(Tls);
        t.hears(Invite, 180);
        t.sees(0, "response 180");
        t.cancels();
        t.sees(0, "send CANCEL");
        t.hears(Invite, 200);
        t.hears(Cancel, 481);
        t.sees(0, "response 200");
        t.ends(32_000);
    }

    #[test]
    fn a_cancel_that_waited_is_forgotten_when_the_answer_is_final() {
        let mut t = calling(Tls);
        t.cancels();
        t.hears(Invite, 200);
        t.sees(0, "response 200");
        t.ends(32_000);
    }

    #[test]
    fn a_cancelled_invite_that_is_never_answered_is_given_up() {
        let mut t = calling(Tls);
        t.hears(Invite, 180);
        t.sees(0, "response 180");
        t.sees(10_000, "");
        t.cancels();
        t.sees(10_000, "send CANCEL");
        t.hears(Cancel, 200);
        t.hears(Invite, 180);
        t.sees(10_000, "response 180");
        t.sees(42_000, "failed Timeout");
        t.ends(42_000);
    }
}
