//! The way in of a Q.931 message. `cargo fuzz run q931 -- -max_len=260`; good seeds are the frames in `tests/vectors/q931`.

#![no_main]

use demarc::wire::q931::{Diversion, Facility, Message, Name, Side, transfer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Ok(message) = Message::read(octets) else { return };
    let _ = (message.flaw(Side::User), message.flaw(Side::Network), format!("{message:?}"));
    for facility in message.all::<Facility>() {
        let _ = (Name::read(&facility), Name::follows(&facility), Diversion::read(&facility));
        transfer::said(&facility).for_each(drop);
    }
});
