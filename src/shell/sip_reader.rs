//! What a connection's task does with bytes: cuts them into messages, parses and validates them,
//! and answers what cannot be used, so that the switch only ever sees good messages.

use bytes::{Bytes, BytesMut};

use super::transport::{Read, Reader};
use crate::cause::Cause;
use crate::sip::invite::PRODUCT;
use crate::wire::sip::{Framed, Framing, Message, Name, Refusal, Unreadable, answer_with, datagram, validate};

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
#[derive(Clone, Debug, Default)]
pub struct SipReader {
    framing: Framing,
}

impl SipReader {
    /// A reader at the beginning of a connection.
    pub fn new() -> SipReader {
        SipReader::default()
    }
}

impl Reader for SipReader {
    type Message = Message;
    type Fault = Fault;

    fn next(&mut self, buffer: &mut BytesMut) -> Read<Message, Fault> {
        read(self.framing.next(buffer))
    }

    fn datagram(&mut self, bytes: Bytes) -> Read<Message, Fault> {
        read(datagram(bytes))
    }
}

fn read(framed: Framed) -> Read<Message, Fault> {
    match framed {
        Framed::NeedMore => Read::More,
        Framed::KeepAlive => Read::Pong(Bytes::from_static(b"\r\n")),
        Framed::Pong => Read::Pong(Bytes::new()),
        Framed::Broken(fault, head) => {
            let head = head.and_then(|head| Message::parse(head).ok());
            Read::Refuse {
                answer: head.and_then(|head| answer(&head, &fault)),
                close: true,
                fault: Fault::Refused(fault),
            }
        }
        Framed::Message(bytes) => judge(bytes),
    }
}

fn judge(bytes: Bytes) -> Read<Message, Fault> {
    let message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(fault) => return Read::Refuse { answer: None, close: false, fault: Fault::Unreadable(fault) },
    };
    match validate(&message) {
        Ok(()) => Read::Message(message),
        Err(fault) => Read::Refuse { answer: answer(&message, &fault), close: false, fault: Fault::Refused(fault) },
    }
}

/// Every refusal of ours names itself and carries a cause.
fn answer(message: &Message, fault: &Refusal) -> Option<Bytes> {
    let reason = Cause::from_status(fault.status).reason_header();
    let answer =
        answer_with(message, fault, |answer| answer.header(Name::Server, PRODUCT).header(Name::Reason, reason));
    answer.map(|answer| answer.bytes().clone())
}
