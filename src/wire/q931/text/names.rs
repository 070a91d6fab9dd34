//! The standards' words for codes (Q.931 section 4.5, Q.850, Q.951, Q.952).

use crate::wire::q931::bearer::{Layer1, Transfer};
use crate::wire::q931::call_state::CallState;
use crate::wire::q931::cause::{Coding, Location};
use crate::wire::q931::element::{Raw, id};
use crate::wire::q931::number::{NumberType, Plan, Reason};
use crate::wire::q931::progress::Heard;

type Table = &'static [(u8, &'static str)];

fn find(table: Table, code: u8) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// `17 (User busy)`, or the code alone.
pub(super) fn told(code: u8, name: Option<&str>) -> String {
    name.map_or_else(|| code.to_string(), |name| format!("{code} ({name})"))
}

/// The name, or what it is a code of.
fn or_code(what: &str, table: Table, code: u8) -> String {
    find(table, code).map_or_else(|| format!("{what} {code}"), str::to_owned)
}

/// Elements of codeset 0.
const ELEMENTS: Table = &[
    (id::CHANGE_STATUS, "change status"),
    (id::BEARER_CAPABILITY, "bearer capability"),
    (id::CAUSE, "cause"),
    (id::CALL_IDENTITY, "call identity"),
    (id::CALL_STATE, "call state"),
    (id::CHANNEL_IDENTIFICATION, "channel identification"),
    (id::FACILITY, "facility"),
    (id::PROGRESS_INDICATOR, "progress indicator"),
    (id::NETWORK_SPECIFIC_FACILITIES, "network-specific facilities"),
    (id::NOTIFICATION_INDICATOR, "notification indicator"),
    (id::DISPLAY, "display"),
    (0x29, "date/time"),
    (id::KEYPAD_FACILITY, "keypad facility"),
    (0x32, "information request"),
    (0x34, "signal"),
    (0x36, "switchhook"),
    (0x37, "generic digits"),
    (0x38, "feature activation"),
    (0x39, "feature indication"),
    (0x3a, "service profile identification"),
    (0x3b, "endpoint identifier"),
    (0x40, "information rate"),
    (0x42, "end-to-end transit delay"),
    (0x43, "transit delay selection and indication"),
    (0x44, "packet layer binary parameters"),
    (0x45, "packet layer window size"),
    (0x46, "packet size"),
    (0x47, "closed user group"),
    (0x4a, "reverse charging indication"),
    (id::CONNECTED_NUMBER, "connected number"),
    (0x4d, "connected subaddress"),
    (id::CALLING_PARTY_NUMBER, "calling party number"),
    (0x6d, "calling party subaddress"),
    (id::CALLED_PARTY_NUMBER, "called party number"),
    (0x71, "called party subaddress"),
    (id::ORIGINAL_CALLED_NUMBER, "original called number"),
    (id::REDIRECTING_NUMBER, "redirecting number"),
    (0x76, "redirection number"),
    (0x78, "transit network selection"),
    (id::RESTART_INDICATOR, "restart indicator"),
    (id::LOW_LAYER_COMPATIBILITY, "low layer compatibility"),
    (id::HIGH_LAYER_COMPATIBILITY, "high layer compatibility"),
    (id::USER_USER, "user-user"),
    (0x7f, "escape for extension"),
    (0xa0, "more data"),
    (id::SENDING_COMPLETE, "sending complete"),
];

/// Those of them that hold numbers, names or what people say.
const PERSONAL: &[u8] = &[
    id::CALL_IDENTITY,
    id::FACILITY,
    id::DISPLAY,
    id::KEYPAD_FACILITY,
    0x37,
    0x3a,
    0x3b,
    id::CONNECTED_NUMBER,
    0x4d,
    id::CALLING_PARTY_NUMBER,
    0x6d,
    id::CALLED_PARTY_NUMBER,
    0x71,
    id::ORIGINAL_CALLED_NUMBER,
    id::REDIRECTING_NUMBER,
    0x76,
    id::USER_USER,
    0x7f,
];

/// An element's name.
pub(super) fn of(raw: &Raw) -> String {
    element(raw.codeset, raw.id)
}

pub(super) fn element(codeset: u8, id: u8) -> String {
    match (codeset, find(ELEMENTS, id)) {
        (0, Some(name)) => name.to_owned(),
        (0, None) => format!("element {id:#04x}"),
        (codeset, _) => format!("element {id:#04x} of codeset {codeset}"),
    }
}

/// Is it an element of the standard's?
pub(super) fn is_known(raw: &Raw) -> bool {
    raw.codeset == 0 && find(ELEMENTS, raw.id).is_some()
}

/// May it name somebody? Other codesets hold names with some networks.
pub(super) fn is_personal(raw: &Raw) -> bool {
    raw.codeset != 0 || PERSONAL.contains(&raw.id)
}

pub(super) fn transfer(Transfer(code): Transfer) -> String {
    const NAMES: Table = &[
        (0x00, "speech"),
        (0x08, "unrestricted data"),
        (0x09, "restricted data"),
        (0x10, "3.1 kHz audio"),
        (0x11, "unrestricted data with tones"),
        (0x18, "video"),
    ];
    or_code("transfer capability", NAMES, code)
}

pub(super) fn rate(code: u8) -> String {
    const NAMES: Table = &[
        (0x10, "64 kbit/s"),
        (0x11, "2 x 64 kbit/s"),
        (0x13, "384 kbit/s"),
        (0x15, "1536 kbit/s"),
        (0x17, "1920 kbit/s"),
        (0x18, "n x 64 kbit/s"),
        (0x40, "packets"),
    ];
    or_code("mode and rate", NAMES, code)
}

pub(super) fn layer1(Layer1(code): Layer1) -> String {
    const NAMES: Table = &[
        (1, "V.110"),
        (2, "µ-law"),
        (3, "A-law"),
        (4, "G.721"),
        (5, "H.221"),
        (6, "H.223"),
        (7, "rate adaption of the user's"),
        (8, "V.120"),
        (9, "X.31"),
    ];
    or_code("layer 1 protocol", NAMES, code)
}

pub(super) fn coding(Coding(code): Coding) -> &'static str {
    match code {
        0 => "ITU-T's codes",
        1 => "ISO's codes",
        2 => "the nation's codes",
        _ => "the network's codes",
    }
}

/// Q.850 section 2.2.3.
pub(super) fn location(Location(code): Location) -> String {
    const NAMES: Table = &[
        (0, "the user"),
        (1, "the local user's private network"),
        (2, "the local user's network"),
        (3, "a transit network"),
        (4, "the remote user's network"),
        (5, "the remote user's private network"),
        (7, "an international network"),
        (10, "a network beyond interworking"),
    ];
    or_code("location", NAMES, code)
}

/// Q.931 table 4-8; some states have a name on either side.
pub(super) fn state(CallState(code): CallState) -> Option<&'static str> {
    const NAMES: Table = &[
        (0, "null"),
        (1, "call initiated"),
        (2, "overlap sending"),
        (3, "outgoing call proceeding"),
        (4, "call delivered"),
        (6, "call present"),
        (7, "call received"),
        (8, "connect request"),
        (9, "incoming call proceeding"),
        (10, "active"),
        (11, "disconnect request"),
        (12, "disconnect indication"),
        (15, "suspend request"),
        (17, "resume request"),
        (19, "release request"),
        (22, "call abort"),
        (25, "overlap receiving"),
        (0x3d, "restart request"),
        (0x3e, "restart"),
    ];
    find(NAMES, code)
}

/// Q.931 table 4-20.
pub(super) fn progress(Heard(code): Heard) -> Option<&'static str> {
    const NAMES: Table = &[
        (1, "not ISDN from end to end"),
        (2, "the called end is not ISDN"),
        (3, "the calling end is not ISDN"),
        (4, "back in the ISDN"),
        (5, "interworking changed the service"),
        (8, "tones or announcements in the band"),
        (10, "delay at the called end"),
    ];
    find(NAMES, code)
}

/// Q.931 table 4-22, Q.932, Q.952, Q.953.
pub(super) fn notification(code: u8) -> Option<&'static str> {
    const NAMES: Table = &[
        (0x00, "user suspended"),
        (0x01, "user resumed"),
        (0x02, "bearer service change"),
        (0x42, "conference established"),
        (0x60, "call is waiting"),
        (0x68, "diversion activated"),
        (0x69, "transferred, alerting"),
        (0x6a, "transferred, active"),
        (0x79, "remote hold"),
        (0x7a, "remote retrieval"),
        (0x7b, "call is diverting"),
    ];
    find(NAMES, code)
}

pub(super) fn number_type(NumberType(code): NumberType) -> String {
    const NAMES: Table = &[
        (0, "unknown type"),
        (1, "international"),
        (2, "national"),
        (3, "network-specific"),
        (4, "subscriber"),
        (6, "abbreviated"),
    ];
    or_code("type", NAMES, code)
}

pub(super) fn plan(Plan(code): Plan) -> String {
    const NAMES: Table = &[
        (0, "unknown plan"),
        (1, "ISDN plan"),
        (3, "data plan"),
        (4, "telex plan"),
        (8, "national plan"),
        (9, "private plan"),
    ];
    or_code("plan", NAMES, code)
}

pub(super) fn reason(Reason(code): Reason) -> String {
    const NAMES: Table = &[
        (0, "unknown reason"),
        (1, "busy"),
        (2, "no answer"),
        (4, "deflected"),
        (9, "out of order"),
        (10, "forwarded by the called equipment"),
        (15, "unconditional"),
    ];
    or_code("reason", NAMES, code)
}
