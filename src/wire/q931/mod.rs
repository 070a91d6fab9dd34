//! Q.931: the messages of a D channel, as bytes and as values.
//!
//! ```text
//! | 08 | 02 | call reference (2) | type | elements: id, length, contents ... or one octet with bit 8 set
//! ```
//!
//! * [`Message`] is a view of the octets: its elements in their order, known or not; nothing is refused that can be
//!   read. [`Builder`] writes one, its elements in the standard's order.
//! * An [`Element`] is a value with a file named after it. Codes that networks add to are kept as codes
//!   with names ([`Location`], [`NumberType`] ...), so that nothing is lost on the way through.
//! * [`Message::flaw`] says what is wrong with a message, and as which cause section 5.8 wants that answered.
//! * [`Message::line`] and [`Message::text`] are a message in words.
//! * [`Dialect`] is all that switches write differently.

mod bearer;
mod build;
mod call_state;
mod cause;
mod channel;
mod dialect;
mod display;
mod diversion;
mod element;
mod facility;
mod flaw;
mod message;
mod name;
mod number;
mod progress;
pub mod rose;
#[cfg(test)]
mod tests;
mod text;
pub mod transfer;

pub use super::q921::Side;
pub use bearer::{Bearer, Layer1, Transfer};
pub use build::{Builder, LONGEST};
pub use call_state::CallState;
pub use cause::{Cause, Coding, Location};
pub use channel::{Channel, Choice, Slots};
pub use dialect::{Dialect, Maintenance, NameIn};
pub use display::Display;
pub use diversion::Diversion;
pub use element::{
    ChangeStatus, CompatibilityHigh, CompatibilityLow, Element, Elements, Keypad, Notification, Raw, Restart,
    SendingComplete, UserUser, id,
};
pub use facility::{Facility, Profile};
pub use flaw::Flaw;
pub use message::{Kind, Message, Reference, Unreadable};
pub use name::{Name, Party};
pub use number::{
    Called, Calling, Connected, Number, NumberType, OriginalCalled, Plan, Presentation, Reason, Redirecting, Screening,
    Shown,
};
pub use progress::{Heard, Progress};
pub use text::People;
