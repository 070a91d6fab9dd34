//! Anything happens to a line: frames, messages, alarms, orders, time. `cargo fuzz run line -- -max_len=2000`.

#![no_main]

use demarc::isdn::line::fuzz::{anything, other_calls};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    anything(octets);
    other_calls(octets);
});
