//! What the transports take for a message, and what they tell.

use std::fmt;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::lookup::NoAddress;
use super::peer::Names;
use super::refusal::{Refusal, Refused};
use crate::hop::Flow;

/// Makes messages of bytes: one value per connection, cloned from the one given at start. It bounds the size of a
/// message itself: what has no end after [`MOST_UNREAD`](super::MOST_UNREAD) bytes is closed without an answer.
pub trait Reader: Clone + fmt::Debug + Send + Sync + 'static {
    /// A whole message.
    type Message: fmt::Debug + Send;
    /// What was wrong with one that is none.
    type Fault: fmt::Debug + fmt::Display + Send;

    /// Takes the next message off a stream's buffer. Anything but [`Read::More`] takes at least one byte.
    fn next(&mut self, buffer: &mut BytesMut) -> Read<Self::Message, Self::Fault>;

    /// Reads a datagram, which holds one message.
    fn datagram(&mut self, datagram: Bytes) -> Read<Self::Message, Self::Fault>;
}

/// What a [`Reader`] found.
#[derive(Debug)]
pub enum Read<M, F> {
    /// Not a whole message yet.
    More,
    /// A message.
    Message(M),
    /// A keep-alive, to be answered with these bytes (RFC 5626 section 3.5.1); empty when it needs none.
    Pong(Bytes),
    /// Nothing that can be used.
    Refuse {
        /// The answer to send, if there can be one.
        answer: Option<Bytes>,
        /// Is the stream beyond repair? It is closed after the answer.
        close: bool,
        /// What is wrong.
        fault: F,
    },
}

/// What the transports tell.
#[derive(Debug)]
pub enum Event<R: Reader> {
    /// A connection is up, and its peer known.
    Opened {
        /// The connection.
        flow: Flow,
        /// Its TLS.
        security: Option<Security>,
    },
    /// A message came.
    Received {
        /// By which connection.
        flow: Flow,
        /// The message.
        message: R::Message,
    },
    /// Something came that is no message.
    Unreadable {
        /// By which connection.
        flow: Flow,
        /// What is wrong with it.
        fault: R::Fault,
    },
    /// A message did not leave, or left on a connection that failed before the peer ever spoke.
    Unsent {
        /// The sender's number for it.
        ticket: u64,
        /// Why.
        why: Unsent,
    },
    /// A connection is over.
    Closed {
        /// The connection.
        flow: Flow,
        /// Why.
        why: Closed,
    },
    /// A peer was refused, or refused us. Told once in ten seconds for an address and kind;
    /// [`Transports::refusals`](super::Transports::refusals) counts them all.
    Refused(Refused),
}

/// The TLS of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// The suite's name.
    pub cipher: &'static str,
    /// What the peer proved to be.
    pub peer: Names,
}

/// Why a message did not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// The name gave no address.
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
    /// Nobody listens there.
    #[error("{0} refused the connection; check the port and that the peer runs")]
    Refused(SocketAddr),
    /// No answer from there in time.
    #[error("{0} did not answer in time; check the route and firewalls")]
    TimedOut(SocketAddr),
    /// The network has no way there.
    #[error("{0} cannot be reached ({1}); check the route")]
    Unreachable(SocketAddr, std::io::ErrorKind),
    /// TLS failed.
    #[error("{reason}; {}", reason.remedy())]
    Tls {
        /// Why.
        reason: Refusal,
    },
    /// The connection's queue is full: the peer reads slower than we write.
    #[error("the peer does not read: its queue is full")]
    QueueFull,
    /// The connection is over.
    #[error("the connection is over")]
    Closed,
    /// All connections are in use.
    #[error("all {0} connections are in use")]
    TooMany(usize),
    /// UDP goes out by the listener's socket, and there is none.
    #[error("no UDP listener: set UdpListen in [Trunks]")]
    NoUdp,
    /// The trunk is not in the configuration any more.
    #[error("the trunk is not configured any more")]
    NoTrunk,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer closed it.
    ByPeer,
    /// Nothing came for [`Limits::idle`](super::Limits::idle).
    Idle,
    /// A message was begun and not finished in [`Limits::message`](super::Limits::message).
    Unfinished,
    /// A message has no end in [`MOST_UNREAD`](super::MOST_UNREAD) bytes.
    TooLarge,
    /// The [`Reader`] found the stream beyond repair.
    Unreadable,
    /// The peer stopped reading.
    NotReading,
    /// The network broke it.
    Broken(std::io::ErrorKind),
    /// TLS failed, or the peer refused us after the handshake (TLS 1.3).
    Tls(Refusal),
}
