//! The way in of an SNMP trap. `cargo fuzz run trap -- -max_len=600`; good seeds are what snmptrap sends.

#![no_main]

use demarc::gateway::trap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let _ = trap::read(packet, None);
});
