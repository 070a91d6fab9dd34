//! Transactions (RFC 3261 section 17, RFC 6026): a request and its answers, made safe against loss.
//!
//! Four machines, one a file; [`Transactions`] holds all that are under way and finds the right one
//! for a message. Time, randomness and messages come in, [`Output`]s go out.

mod client;
mod client_invite;
#[cfg(test)]
mod ladder;
mod server;
mod server_invite;
mod table;

use std::time::Duration;

use crate::hop::Transport;
use crate::time::{Instant, Now};
use crate::wire::sip::{Message, Name};

pub use table::{ClientId, Output, ServerId, Ticket, Transactions};

/// Estimate of a round trip (RFC 3261 section 17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// The longest pause between repeats of anything but an INVITE.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64 * T1: how long a peer may stay silent, and how long its repeats may arrive. Timers B, F, H, J,
/// L and M; timer D too, whose lower bound is the same 32 s.
pub const LIFETIME: Duration = Duration::from_millis(64 * 500);

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The peer stayed silent: what 408 would say.
    #[error("no answer in time")]
    Timeout,
    /// The request could not be sent: what 503 would say.
    #[error("the request could not be sent")]
    Transport,
}

/// A repeating timer (A, E, G): only where the transport itself does not repeat.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    at: Instant,
    pause: Duration,
}

impl Repeat {
    /// First after T1.
    fn start(now: Now, transport: Transport) -> Option<Repeat> {
        (!transport.reliable()).then(|| Repeat { at: now.mono + T1, pause: T1 })
    }

    fn due(self, now: Now) -> bool {
        self.at <= now.mono
    }

    /// The next pause is twice as long, but at most `longest`.
    fn again(self, now: Now, longest: Duration) -> Repeat {
        let pause = self.pause.saturating_mul(2).min(longest);
        Repeat { at: now.mono + pause, pause }
    }
}

/// What happens to a client transaction.
enum ClientInput<'a> {
    /// The peer answered with this status.
    Response(u16, Message),
    /// The user wants to cancel, with these headers in the CANCEL.
    Cancel(&'a [(Name, &'a str)]),
    /// The transport could not send what was sent last.
    Unsent,
    /// A timer may be due.
    Tick,
}

/// What a client transaction does.
enum ClientOutput {
    /// Put it on the wire.
    Send(Message),
    /// Begin a transaction with this CANCEL.
    Cancel(Message),
    /// Tell the user.
    Response(Message),
    /// Tell the user that there will be no answer.
    Failed(Failure),
}

/// What happens to a server transaction.
enum ServerInput {
    /// The peer repeats its request.
    Repeated,
    /// The peer acknowledges (INVITE only).
    Ack(Message),
    /// The user answers with this status.
    Respond(u16, Message),
    /// A timer may be due.
    Tick,
}

/// What a server transaction does.
enum ServerOutput {
    /// Put it on the wire.
    Send(Message),
    /// Hand this ACK for a 2xx to the user.
    Ack(Message),
    /// Tell the user that its refusal was never acknowledged.
    NotAcknowledged,
}
