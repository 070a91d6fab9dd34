//! The way in of a SIP message: framing, parsing, validation, the answer to what is refused.
//! `cargo fuzz run sip -- -max_len=4096`; good seeds are the messages of RFC 4475.

#![no_main]

use bytes::{Bytes, BytesMut};
use demarc::wire::sip::{Framed, Framing, Message, answer_to, datagram, validate};
use libfuzzer_sys::fuzz_target;

fn read(bytes: Bytes) {
    let Ok(message) = Message::parse(bytes.clone()) else { return };
    assert_eq!(message.bytes(), &bytes);
    match validate(&message) {
        Ok(()) => assert!(message.via().is_ok() && message.cseq().is_ok() && message.call_id().is_ok()),
        Err(refusal) => drop(answer_to(&message, &refusal)),
    }
    for line in message.lines() {
        let _ = message.address(line.name).map(|address| (address.display_text(), address.uri.host()));
    }
    let _ = (message.rack(), message.session_expires(), message.q850(), message.date());
    let _ = (message.warnings().count(), message.diagnostics().count());
}

fuzz_target!(|octets: &[u8]| {
    let (mut framing, mut buffer) = (Framing::default(), BytesMut::from(octets));
    loop {
        match framing.next(&mut buffer) {
            Framed::NeedMore | Framed::Broken(..) => break,
            Framed::Message(bytes) => read(bytes),
            Framed::KeepAlive | Framed::Pong => {}
        }
    }
    if let Framed::Message(bytes) | Framed::Broken(_, Some(bytes)) = datagram(Bytes::copy_from_slice(octets)) {
        read(bytes);
    }
});
