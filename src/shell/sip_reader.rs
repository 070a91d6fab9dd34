//! What a connection's task does with bytes: cuts them into messages, parses and validates them,
//! and answers what cannot be used, so that the switch only ever sees good messages.

use bytes::{Bytes, BytesMut};

use super::clock::Clock;
use super::transport::{Read, Reader};
use crate::cause::Cause;
use crate::sip::invite::{PRODUCT, dated};
use crate::wire::sip::{Builder, Framed, Framing, Message, Name, Refusal, Unreadable, answer_with, datagram, validate};

/// What was wrong with bytes that are no good message: the peer is guilty.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It breaks a rule, and was answered if it could be.
    #[error(transparent)]
    Refused(Refusal),
    /// It is no SIP at all.
    #[error("the peer sent what is no SIP message: {0}")]
    Unreadable(Unreadable),
}

/// Reads SIP off one connection.
#[derive(Clone, Debug)]
pub struct SipReader {
    framing: Framing,
    clock: Clock,
}

impl SipReader {
    /// A reader at the beginning of a connection.
    pub fn new(clock: Clock) -> SipReader {
        SipReader { framing: Framing::default(), clock }
    }
}

impl Reader for SipReader {
    type Message = Message;
    type Fault = Fault;

    fn next(&mut self, buffer: &mut BytesMut) -> Read<Message, Fault> {
        let framed = self.framing.next(buffer);
        self.read(framed)
    }

    fn datagram(&mut self, bytes: Bytes) -> Read<Message, Fault> {
        self.read(datagram(bytes))
    }
}

impl SipReader {
    fn read(&self, framed: Framed) -> Read<Message, Fault> {
        match framed {
            Framed::NeedMore => Read::More,
            Framed::KeepAlive => Read::Pong(Bytes::from_static(b"\r\n")),
            Framed::Pong => Read::Pong(Bytes::new()),
            Framed::Broken(fault, head) => {
                let head = head.and_then(|head| Message::parse(head).ok());
                let answer = head.and_then(|head| self.answer(&head, &fault));
                Read::Refuse { answer, close: true, fault: Fault::Refused(fault) }
            }
            Framed::Message(bytes) => self.judge(bytes),
        }
    }

    fn judge(&self, bytes: Bytes) -> Read<Message, Fault> {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(fault) => return Read::Refuse { answer: None, close: false, fault: Fault::Unreadable(fault) },
        };
        match validate(&message) {
            Ok(()) => Read::Message(message),
            Err(fault) => {
                let answer = self.answer(&message, &fault);
                Read::Refuse { answer, close: false, fault: Fault::Refused(fault) }
            }
        }
    }

    /// Every refusal of ours names itself and the time, and carries a cause.
    fn answer(&self, message: &Message, fault: &Refusal) -> Option<Bytes> {
        let reason = Cause::from_status(fault.status).reason_header();
        let ours = |answer: Builder| dated(answer.header(Name::Server, PRODUCT), self.clock.now());
        let answer = answer_with(message, fault, |answer| ours(answer).header(Name::Reason, reason));
        answer.map(|answer| answer.bytes().clone())
    }
}
