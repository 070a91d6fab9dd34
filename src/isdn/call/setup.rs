//! What a SETUP says, and how each dialect says it.

use super::Access;
use crate::cause::Cause;
use crate::private::Private;
use crate::wire::q931::{
    Bearer, Builder, Called, Calling, Channel, CompatibilityHigh, CompatibilityLow, Display, Diversion, Facility, Flaw,
    Keypad, Kind, Message, Name, NameIn, Number, OriginalCalled, Party, Progress, Redirecting, Reference,
    SendingComplete, UserUser, id,
};

/// Who calls whom, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What the timeslot shall carry.
    pub bearer: Bearer,
    /// The called number.
    pub called: Number,
    /// The number is whole.
    pub complete: bool,
    /// The calling number.
    pub calling: Option<Calling>,
    /// The caller's name.
    pub name: Option<Name>,
    /// A name will follow in a message of its own.
    pub name_follows: bool,
    /// Who was called before.
    pub redirecting: Option<Redirecting>,
    /// Who was called first, where that is somebody else.
    pub original: Option<OriginalCalled>,
    /// Where the caller is no ISDN telephone.
    pub progress: Vec<Progress>,
    /// What the equipment behind the line speaks.
    pub low: Option<CompatibilityLow>,
    /// What the caller's equipment is.
    pub high: Option<CompatibilityHigh>,
    /// What the caller tells the called.
    pub user_user: Option<UserUser>,
    /// Components of supplementary services that are neither name nor diversion.
    pub facilities: Vec<Facility>,
}

impl Setup {
    /// A telephone call.
    pub fn new(bearer: Bearer, called: Number) -> Setup {
        Setup {
            bearer,
            called,
            complete: true,
            calling: None,
            name: None,
            name_follows: false,
            redirecting: None,
            original: None,
            progress: Vec::new(),
            low: None,
            high: None,
            user_user: None,
            facilities: Vec::new(),
        }
    }

    /// Reads a SETUP; without a bearer capability it is none.
    pub fn read(message: &Message) -> Result<Setup, Flaw> {
        let bearer = message.get().ok_or_else(|| Flaw::missing(id::BEARER_CAPABILITY))?;
        let called = message.get().map(|Called(number)| number);
        let all: Vec<Facility> = message.all().collect();
        let told = all.iter().find_map(Name::read).filter(|name| name.party == Party::Calling);
        let diverted = all.iter().find_map(Diversion::read).unwrap_or_default();
        let name_follows = all.iter().any(Name::follows);
        let known = |facility: &Facility| {
            Name::read(facility).is_some() || Diversion::read(facility).is_some() || Name::follows(facility)
        };
        Ok(Setup {
            bearer,
            called: called.or_else(|| message.get().map(pressed)).unwrap_or_default(),
            complete: message.get::<SendingComplete>().is_some(),
            calling: message.get(),
            name: told.or_else(|| message.get().and_then(displayed)),
            name_follows,
            redirecting: message.get().or(diverted.last),
            original: message.get().or(diverted.first.map(OriginalCalled)),
            progress: message.all().collect(),
            low: message.get(),
            high: message.get(),
            user_user: message.get(),
            facilities: all.into_iter().filter(|facility| !known(facility)).collect(),
        })
    }

    /// The message, and the name that follows it in a FACILITY where the dialect wants that.
    pub(super) fn message(
        &self,
        access: &Access,
        reference: Reference,
        channel: &Channel,
    ) -> (Vec<u8>, Option<Facility>) {
        let (dialect, private) = (access.dialect, access.dialect.is_private());
        let by_facility = dialect.diverts_by_facility();
        let diversion =
            Diversion { last: self.redirecting.clone(), first: self.original.clone().map(|OriginalCalled(from)| from) };
        let diverts = by_facility && diversion != Diversion::default();
        let diversion = diverts.then(|| diversion.facility(1, private));
        let (name, later) = match (&self.name, dialect.name_in(access.side)) {
            (Some(name), NameIn::Setup) => (Some(name.facility(2, private)), None),
            (Some(name), NameIn::Facility) => (Some(Name::announcement(1)), Some(name.facility(2, private))),
            _ => (None, None),
        };
        let shown = self.name.as_ref().filter(|name| !name.restricted && !name.text.get().is_empty());
        let display = shown.and_then(|name| dialect.display(access.side, name.text.get()));
        let complete = self.complete && dialect.says_sending_complete();
        let message = Builder::new(reference, Kind::Setup)
            .with(&self.bearer)
            .with(channel)
            .with_all(&diversion)
            .with_all(&name)
            .with_all(&self.facilities)
            .with_all(&self.progress)
            .with_all(&display)
            .with_all(&self.calling)
            .with(&Called(self.called.clone()))
            .with_all(self.original.iter().filter(|_| !by_facility))
            .with_all(self.redirecting.iter().filter(|_| !by_facility))
            .with_all(&self.low)
            .with_all(&self.high)
            .with_all(&self.user_user)
            .with_all(complete.then_some(&SendingComplete));
        (message.octets(), later)
    }

    /// Why it is no call of ours.
    pub(super) fn unfit(&self) -> Option<Cause> {
        (!self.bearer.is_sound()).then_some(Cause::BEARER_NOT_IMPLEMENTED)
    }
}

/// Some exchanges send what was dialled as keys.
fn pressed(Keypad(keys): Keypad) -> Number {
    let graphic = keys.0.iter().filter(|key| key.is_ascii_graphic());
    Number { digits: Private(graphic.copied().map(char::from).collect()), ..Number::default() }
}

/// A display in a SETUP tells the caller's name.
fn displayed(Display { text, .. }: Display) -> Option<Name> {
    let text = text.0.trim();
    (!text.is_empty()).then(|| Name { party: Party::Calling, text: Private(text.to_owned()), restricted: false })
}
