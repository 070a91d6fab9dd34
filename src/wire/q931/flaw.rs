//! What is wrong with a message (Q.931 sections 5.8.4 to 5.8.7), apart from the state of its call.
//!
//! 1. A type that nobody knows: cause 97 with the type. Nothing is done.
//! 2. A mandatory element missing, or one that must be understood and is not: cause 96 with the identifiers. Nothing is done.
//! 3. A mandatory element with invalid contents: cause 100 with the identifiers. Nothing is done.
//! 4. Other elements that are not known: cause 99; with invalid contents: cause 100. The rest is acted on.
//!
//! Elements in the wrong order or where the standard does not have them are used: sections 5.8.5 and 5.8.7.3 let us.

use super::Side;
use super::bearer::Bearer;
use super::call_state::CallState;
use super::cause::{Cause, Location};
use super::channel::Channel;
use super::element::{ChangeStatus, Element, Notification, Raw, Restart, id};
use super::message::{Kind, Message};
use super::number::{Called, Calling, Connected, OriginalCalled, Redirecting};
use super::progress::Progress;
use crate::cause::Cause as Value;

/// Something is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The message must not be acted on. Else: act on what is right in it, then tell.
    pub grave: bool,
    /// What to tell: 96 to 101.
    pub value: Value,
    /// Identifiers of elements, or the message's type.
    pub diagnostics: Vec<u8>,
}

impl Flaw {
    /// The message does not fit the state of its call (section 5.8.4).
    pub fn unexpected(kind: Kind) -> Flaw {
        Flaw { grave: true, value: Value::WRONG_STATE, diagnostics: vec![kind.code()] }
    }

    /// The message's type is none that is known here (section 5.8.4).
    pub fn unknown(kind: Kind) -> Flaw {
        Flaw { grave: true, value: Value::MESSAGE_UNKNOWN, diagnostics: vec![kind.code()] }
    }

    /// A mandatory element is missing.
    pub fn missing(id: u8) -> Flaw {
        Flaw { grave: true, value: Value::MANDATORY_MISSING, diagnostics: vec![id] }
    }

    /// The element that tells it.
    pub fn cause(&self, location: Location) -> Cause {
        Cause::new(location, self.value).about(self.diagnostics.clone())
    }
}

impl Message<'_> {
    /// The gravest that is wrong with a message from this end of the line.
    pub fn flaw(&self, from: Side) -> Option<Flaw> {
        if let Kind::Other(_) = self.kind {
            return Some(Flaw::unknown(self.kind));
        }
        let mandatory = mandatory(self.kind, from);
        let missing = mandatory.iter().copied().filter(|id| self.raw(*id).next().is_none());
        let firsts: Vec<Raw> = self.firsts().collect();
        let ids =
            |of: &dyn Fn(&Raw) -> bool| firsts.iter().filter(|raw| of(raw)).map(|raw| raw.id).collect::<Vec<u8>>();
        let unknown = ids(&|raw| !is_known(raw.id, self.kind));
        let invalid = ids(&|raw| is_known(raw.id, self.kind) && !is_valid(raw));
        let essential = unknown.iter().copied().filter(|id| must_be_understood(*id));
        let found = [
            (true, Value::MANDATORY_MISSING, missing.chain(essential).collect()),
            (true, Value::INVALID_CONTENTS, invalid.iter().copied().filter(|id| mandatory.contains(id)).collect()),
            (false, Value::ELEMENT_UNKNOWN, unknown.clone()),
            (false, Value::INVALID_CONTENTS, invalid.clone()),
        ];
        let mut flaws = found.into_iter().map(|(grave, value, diagnostics)| Flaw { grave, value, diagnostics });
        flaws.find(|flaw| !flaw.diagnostics.is_empty())
    }

    /// The first of each element of codeset 0 that has contents; other codesets are passed over.
    fn firsts(&self) -> impl Iterator<Item = Raw<'_>> {
        let mut seen = [false; 256];
        self.elements().filter(move |raw| {
            let fits = raw.codeset == 0 && (raw.is(raw.id) || raw.cut);
            seen.get_mut(usize::from(raw.id)).is_some_and(|seen| fits && !std::mem::replace(seen, true))
        })
    }
}

/// Elements without which a message means nothing (section 3.1). What is mandatory in the first answer or the first word of clearing
/// only is the call's to know.
fn mandatory(kind: Kind, from: Side) -> &'static [u8] {
    match (kind, from) {
        (Kind::Setup, Side::User) => &[id::BEARER_CAPABILITY],
        (Kind::Setup, Side::Network) => &[id::BEARER_CAPABILITY, id::CHANNEL_IDENTIFICATION],
        (Kind::Disconnect | Kind::SuspendReject | Kind::ResumeReject | Kind::HoldReject | Kind::RetrieveReject, _) => {
            &[id::CAUSE]
        }
        (Kind::Progress, _) => &[id::PROGRESS_INDICATOR],
        (Kind::Notify, _) => &[id::NOTIFICATION_INDICATOR],
        (Kind::Status, _) => &[id::CAUSE, id::CALL_STATE],
        (Kind::Restart | Kind::RestartAck, _) => &[id::RESTART_INDICATOR],
        (Kind::Service(_) | Kind::ServiceAck(_), _) => &[id::CHANGE_STATUS],
        _ => &[],
    }
}

/// Identifiers 0000 xxxx are kept for elements that must be understood (table 4-3, note 5).
fn must_be_understood(id: u8) -> bool {
    id & 0xf0 == 0
}

fn is_known(id: u8, kind: Kind) -> bool {
    match id {
        id::CHANGE_STATUS => matches!(kind, Kind::Service(_) | Kind::ServiceAck(_)),
        id::BEARER_CAPABILITY
        | id::CAUSE
        | id::CALL_STATE
        | id::CHANNEL_IDENTIFICATION
        | id::FACILITY
        | id::PROGRESS_INDICATOR
        | id::NOTIFICATION_INDICATOR
        | id::DISPLAY
        | id::KEYPAD_FACILITY
        | id::CONNECTED_NUMBER
        | id::CALLING_PARTY_NUMBER
        | id::CALLED_PARTY_NUMBER
        | id::ORIGINAL_CALLED_NUMBER
        | id::REDIRECTING_NUMBER
        | id::RESTART_INDICATOR
        | id::LOW_LAYER_COMPATIBILITY
        | id::HIGH_LAYER_COMPATIBILITY
        | id::USER_USER
        | id::SENDING_COMPLETE => true,
        // Congestion level, repeat indicator: the low bits are their value.
        0xb0..=0xbf | 0xd0..=0xdf => true,
        id => id::UNUSED.contains(&id),
    }
}

fn is_valid(raw: &Raw) -> bool {
    fn reads<E: Element>(raw: &Raw) -> bool {
        raw.read::<E>().is_some()
    }
    match raw.id {
        id::CHANGE_STATUS => reads::<ChangeStatus>(raw),
        id::BEARER_CAPABILITY => reads::<Bearer>(raw),
        id::CAUSE => reads::<Cause>(raw),
        id::CALL_STATE => reads::<CallState>(raw),
        id::CHANNEL_IDENTIFICATION => reads::<Channel>(raw),
        id::PROGRESS_INDICATOR => reads::<Progress>(raw),
        id::NOTIFICATION_INDICATOR => reads::<Notification>(raw),
        id::CONNECTED_NUMBER => reads::<Connected>(raw),
        id::CALLING_PARTY_NUMBER => reads::<Calling>(raw),
        id::CALLED_PARTY_NUMBER => reads::<Called>(raw),
        id::ORIGINAL_CALLED_NUMBER => reads::<OriginalCalled>(raw),
        id::REDIRECTING_NUMBER => reads::<Redirecting>(raw),
        id::RESTART_INDICATOR => reads::<Restart>(raw),
        _ => !raw.cut,
    }
}
