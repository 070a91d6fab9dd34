//! A message as operators read it: a line for ladders, and the whole with an element a line.
//!
//! ```text
//! SETUP to …789 from …100, timeslot 23 exclusive, speech µ-law
//!
//! SETUP, call reference 1 of the sender
//!   bearer capability: speech, 64 kbit/s, µ-law
//!   element 0x55: 01 ff
//! ```
//!
//! What is not understood is told by its octets, as long as nobody can be named in them.

use std::fmt::Write as _;

use super::bearer::Bearer;
use super::call_state::CallState;
use super::cause::{Cause, Coding};
use super::channel::{Channel, Choice};
use super::display::Display;
use super::diversion::Diversion;
use super::element::{ChangeStatus, Keypad, Notification, Raw, Restart, SendingComplete, UserUser, id};
use super::facility::Facility;
use super::message::{Kind, Message};
use super::name::{Name, Party};
use super::number::{Called, Calling, Connected, Number, OriginalCalled, Presentation, Redirecting, Screening, Shown};
use super::progress::Progress;
use super::rose::{Component, Operation};
use super::transfer::{self, Answer, Ask, Said};
use crate::private::{self, Private};

mod names;

#[cfg(test)]
mod tests;

/// How much is told of who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum People {
    /// Numbers and names.
    Whole,
    /// The last digits of numbers.
    Masked,
    /// Nothing.
    Hidden,
}

impl People {
    /// As the operator chose for the log ([`private::show`]), or nothing.
    pub fn unless(redact: bool) -> People {
        match (redact, private::is_shown()) {
            (true, _) => People::Hidden,
            (false, true) => People::Whole,
            (false, false) => People::Masked,
        }
    }

    fn digits(self, digits: &Private<String>) -> String {
        match self {
            People::Whole => printable(digits.get()),
            People::Masked => digits.tail(),
            People::Hidden => HIDDEN.to_owned(),
        }
    }

    fn name(self, name: &Private<String>) -> String {
        if self == People::Whole { format!("\"{}\"", printable(name.get())) } else { HIDDEN.to_owned() }
    }

    /// Octets that may hold a number or a name.
    fn octets(self, octets: &[u8]) -> String {
        if self == People::Whole { hex(octets) } else { format!("(hidden, length {})", octets.len()) }
    }
}

const HIDDEN: &str = "(hidden)";

/// A far end's text steers no terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(" ")
}

impl Message<'_> {
    /// What it says, in a line.
    pub fn line(&self, people: People) -> String {
        let first = |text: Option<String>| text.into_iter();
        let said = first(self.parties(people))
            .chain(first(self.redirected().map(|from| redirected(&from, people))))
            .chain(first(
                self.get().map(|Connected { number, .. }| format!("connected {}", people.digits(&number.digits))),
            ))
            .chain(self.names().map(|name| named(&name, people)))
            .chain(self.all().flat_map(|facility| transfer::said(&facility).map(asked).collect::<Vec<_>>()))
            .chain(first(self.get().map(change)))
            .chain(first(self.get().map(restart)))
            .chain(first(self.get().map(|channel| timeslots(&channel))))
            .chain(first(self.get().map(|bearer| carried(&bearer))))
            .chain(first(self.get().map(|cause| format!("cause {}", why(&cause, people)))))
            .chain(first(self.get().map(|state| format!("state {}", state_of(state)))))
            .chain(self.all().map(|progress| format!("progress {}", heard(progress))))
            .chain(self.all().map(|notice| format!("notice {}", noticed(notice))));
        let said = said.collect::<Vec<_>>().join(", ");
        if said.is_empty() { self.kind.to_string() } else { format!("{} {said}", self.kind) }
    }

    /// All that it says, an element a line.
    pub fn text(&self, people: People) -> String {
        let whose = if self.reference.to_origin { "receiver" } else { "sender" };
        let mut text = match self.reference.value {
            0 => format!("{}, the line as a whole\n", self.kind),
            value => format!("{}, call reference {value} of the {whose}\n", self.kind),
        };
        for raw in self.elements() {
            let _ = writeln!(text, "  {}", element(&raw, people));
        }
        text
    }

    /// `to …789 from …100`; further digits of a number have an INFORMATION of their own.
    fn parties(&self, people: People) -> Option<String> {
        let to = if self.kind == Kind::Information { "digits" } else { "to" };
        let called = self.get().map(|Called(number)| format!("{to} {}", people.digits(&number.digits)));
        let calling = self.get::<Calling>().map(|calling| match calling.number.digits.get().as_str() {
            "" => format!("from no number{}", restricted(calling.shown)),
            _ => format!("from {}{}", people.digits(&calling.number.digits), restricted(calling.shown)),
        });
        let both: Vec<String> = called.into_iter().chain(calling).collect();
        (!both.is_empty()).then(|| both.join(" "))
    }

    fn redirected(&self) -> Option<Redirecting> {
        let told = || self.all().find_map(|facility| Diversion::read(&facility)).and_then(|diversion| diversion.last);
        self.get().or_else(told)
    }

    fn names(&self) -> impl Iterator<Item = Name> {
        self.all().filter_map(|facility: Facility| Name::read(&facility))
    }
}

/// An element in a line, with its name in front.
fn element(raw: &Raw, people: People) -> String {
    let name = names::of(raw);
    match value(raw, people) {
        Some(value) if value.is_empty() => name,
        Some(value) => format!("{name}: {value}"),
        None if raw.cut => format!("{name}, which is cut off: {}", octets(raw, people)),
        None => format!("{name}: {}", octets(raw, people)),
    }
}

/// What a redacted trace tells of elements is known to name nobody.
fn octets(raw: &Raw, people: People) -> String {
    let open = match people {
        People::Whole => true,
        People::Masked => !names::is_personal(raw),
        People::Hidden => !names::is_personal(raw) && names::is_known(raw),
    };
    if open { hex(raw.contents) } else { people.octets(raw.contents) }
}

/// An element's value; `None` where the octets have to do.
fn value(raw: &Raw, people: People) -> Option<String> {
    if raw.codeset != 0 {
        return None;
    }
    match raw.id {
        id::CHANGE_STATUS => raw.read().map(change),
        id::BEARER_CAPABILITY => raw.read().map(|bearer| bearer_whole(&bearer)),
        id::CAUSE => raw.read().map(|cause| why(&cause, people)),
        id::CALL_STATE => raw.read().map(state_of),
        id::CHANNEL_IDENTIFICATION => raw.read().map(|channel| timeslots(&channel)),
        id::FACILITY => raw.read().map(|facility| components(&facility, people)),
        id::PROGRESS_INDICATOR => raw.read().map(heard),
        id::NOTIFICATION_INDICATOR => raw.read().map(noticed),
        id::DISPLAY => raw.read().map(|Display { text, .. }| people.name(&text)),
        id::KEYPAD_FACILITY => raw.read().map(|Keypad(Private(keys))| people.octets(&keys)),
        id::CONNECTED_NUMBER => raw.read().map(|Connected { number, shown }| number_whole(&number, shown, people)),
        id::CALLING_PARTY_NUMBER => raw.read().map(|Calling { number, shown }| number_whole(&number, shown, people)),
        id::CALLED_PARTY_NUMBER => raw.read().map(|Called(number)| number_whole(&number, None, people)),
        id::ORIGINAL_CALLED_NUMBER => raw.read().map(|OriginalCalled(from)| redirecting_whole(&from, people)),
        id::REDIRECTING_NUMBER => raw.read().map(|from| redirecting_whole(&from, people)),
        id::RESTART_INDICATOR => raw.read().map(restart),
        id::USER_USER => raw.read().map(|UserUser(Private(said))| people.octets(&said)),
        id::SENDING_COMPLETE => raw.read().map(|SendingComplete| String::new()),
        _ => None,
    }
}

/// `timeslot 23 exclusive`, `timeslots 1, 2 of interface 1 preferred`.
fn timeslots(channel: &Channel) -> String {
    let numbers = channel.numbers();
    let list = numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let which = match (&channel.choice, &numbers[..]) {
        (Choice::None, _) => return "no timeslot".to_owned(),
        (Choice::Any, _) => return "any timeslot".to_owned(),
        (Choice::D, _) => "the D channel".to_owned(),
        (Choice::Interface, _) => "all timeslots".to_owned(),
        (_, [_]) => format!("timeslot {list}"),
        _ => format!("timeslots {list}"),
    };
    let interface = channel.interface.map(|interface| format!(" of interface {interface}")).unwrap_or_default();
    format!("{which}{interface} {}", if channel.exclusive { "exclusive" } else { "preferred" })
}

fn carried(bearer: &Bearer) -> String {
    let law = bearer.layer1.map(|layer1| format!(" {}", names::layer1(layer1))).unwrap_or_default();
    format!("{}{law}", names::transfer(bearer.transfer))
}

fn bearer_whole(bearer: &Bearer) -> String {
    let mut text = format!("{}, {}", names::transfer(bearer.transfer), names::rate(bearer.rate));
    if let Some(multiplier) = bearer.multiplier {
        let _ = write!(text, ", {multiplier} timeslots");
    }
    if let Some(layer1) = bearer.layer1 {
        let _ = write!(text, ", {}", names::layer1(layer1));
    }
    if !bearer.more.is_empty() {
        let _ = write!(text, ", more: {}", hex(&bearer.more));
    }
    text
}

/// `17 (User busy) from the remote user's network`.
fn why(cause: &Cause, people: People) -> String {
    let value =
        if cause.coding == Coding::ITU { cause.value.to_string() } else { foreign(cause.value.0, cause.coding) };
    let about = match &cause.diagnostics[..] {
        [] => String::new(),
        diagnostics => format!(", about {}", diagnosed(cause, diagnostics, people)),
    };
    format!("{value} from {}{about}", names::location(cause.location))
}

fn foreign(code: u8, coding: Coding) -> String {
    format!("{code} of {}", names::coding(coding))
}

/// Q.850 section 2.2.6, table 1. Other diagnostics may be a number.
fn diagnosed(cause: &Cause, diagnostics: &[u8], people: People) -> String {
    match (cause.coding, cause.value.0) {
        (Coding::ITU, 43 | 96 | 99 | 100) => {
            diagnostics.iter().map(|id| names::element(0, *id)).collect::<Vec<_>>().join(", ")
        }
        (Coding::ITU, 97 | 98 | 101) => {
            diagnostics.iter().map(|code| Kind::of(*code).to_string()).collect::<Vec<_>>().join(", ")
        }
        (Coding::ITU, 102) if diagnostics.iter().all(u8::is_ascii_digit) => {
            format!("T{}", String::from_utf8_lossy(diagnostics))
        }
        _ => people.octets(diagnostics),
    }
}

fn state_of(state: CallState) -> String {
    names::told(state.0, names::state(state))
}

/// `8 (tones or announcements in the band) from the local user's network`.
fn heard(Progress { coding, location, heard }: Progress) -> String {
    let what =
        if coding == Coding::ITU { names::told(heard.0, names::progress(heard)) } else { foreign(heard.0, coding) };
    format!("{what} from {}", names::location(location))
}

fn noticed(Notification(code): Notification) -> String {
    names::told(code, names::notification(code))
}

fn change(status: ChangeStatus) -> String {
    let text = match status {
        ChangeStatus::InService => "in service",
        ChangeStatus::Maintenance => "in maintenance",
        ChangeStatus::OutOfService => "out of service",
    };
    text.to_owned()
}

fn restart(what: Restart) -> String {
    let text = match what {
        Restart::Channels => "of timeslots",
        Restart::Interface => "of one interface",
        Restart::All => "of all interfaces",
    };
    text.to_owned()
}

fn number_whole(number: &Number, shown: Option<Shown>, people: People) -> String {
    let digits = if number.digits.get().is_empty() { "no digits".to_owned() } else { people.digits(&number.digits) };
    let shown = shown.map(|shown| format!(", {}, {}", presented(shown.presentation), screened(shown.screening)));
    format!("{digits}, {}, {}{}", names::number_type(number.kind), names::plan(number.plan), shown.unwrap_or_default())
}

fn redirecting_whole(from: &Redirecting, people: People) -> String {
    let reason = from.reason.map(|reason| format!(", {}", names::reason(reason))).unwrap_or_default();
    format!("{}{reason}", number_whole(&from.number, from.shown, people))
}

/// `redirected by …177 (unconditional)`.
fn redirected(from: &Redirecting, people: People) -> String {
    let reason = from.reason.map(|reason| format!(" ({})", names::reason(reason))).unwrap_or_default();
    match from.number.digits.get().as_str() {
        "" => format!("redirected{reason}"),
        _ => format!("redirected by {}{reason}", people.digits(&from.number.digits)),
    }
}

fn restricted(shown: Option<Shown>) -> &'static str {
    match shown.unwrap_or_default().presentation {
        Presentation::Restricted => " (restricted)",
        Presentation::Allowed | Presentation::Unavailable | Presentation::Reserved => "",
    }
}

fn presented(presentation: Presentation) -> &'static str {
    match presentation {
        Presentation::Allowed => "presentation allowed",
        Presentation::Restricted => "presentation restricted",
        Presentation::Unavailable => "not available",
        Presentation::Reserved => "presentation reserved",
    }
}

fn screened(screening: Screening) -> &'static str {
    match screening {
        Screening::NotScreened => "user provided, not screened",
        Screening::Passed => "user provided, verified and passed",
        Screening::Failed => "user provided, verified and failed",
        Screening::Network => "network provided",
    }
}

/// `calling name "Alice"`.
fn named(name: &Name, people: People) -> String {
    let whose = match name.party {
        Party::Calling => "calling",
        Party::Called => "called",
        Party::Connected => "connected",
        Party::Busy => "busy",
    };
    let text = if name.text.get().is_empty() { "not available".to_owned() } else { people.name(&name.text) };
    format!("{whose} name {text}{}", if name.restricted { " (restricted)" } else { "" })
}

/// What a facility says, as far as it is known here; else its components by their numbers.
fn components(facility: &Facility, people: People) -> String {
    let name = Name::read(facility).map(|name| named(&name, people));
    let diverted = || Diversion::read(facility)?.last.map(|from| redirected(&from, people));
    let follows = || Name::follows(facility).then(|| "the name follows".to_owned());
    let asks = |said: &Said| matches!(said, Said::Ask(..));
    let asked = || transfer::said(facility).find(asks).map(asked);
    name.or_else(diverted).or_else(follows).or_else(asked).unwrap_or_else(|| {
        let listed = facility.components().map(component).collect::<Vec<_>>();
        format!("{} {}", listed.join(", "), people.octets(facility.0.get())).trim_start().to_owned()
    })
}

/// What is asked for to join two calls, and how that is answered.
fn asked(said: Said) -> String {
    let ask = match said {
        Said::Ask(_, ask) => ask,
        Said::Answer(_, Answer::Done(None)) => return "done".to_owned(),
        Said::Answer(_, Answer::Done(Some(link))) => return format!("done, link {link}"),
        Said::Answer(_, Answer::Refused(why)) => return format!("refused: {why}"),
    };
    match ask {
        Ask::Join(other) => format!("join with call {}{}", other.value, if other.to_origin { "*" } else { "" }),
        Ask::Link | Ask::Candidate => "which link has the call?".to_owned(),
        Ask::JoinLink(link) | Ask::ThirdParty(link) => format!("join with the call of link {link}"),
        Ask::Complete { .. } => "the call was transferred".to_owned(),
        Ask::Propose { .. } => "replace the path".to_owned(),
    }
}

fn component(component: Component) -> String {
    let number = |operation| match operation {
        Operation::Local(number) => number.to_string(),
        Operation::Global(object) => format!("object {}", hex(object)),
    };
    match component {
        Component::Invoke { operation, .. } => format!("invoke of {}", number(operation)),
        Component::Result { result, .. } => {
            format!("result{}", result.map(|(operation, _)| format!(" of {}", number(operation))).unwrap_or_default())
        }
        Component::Error { error, .. } => format!("error {}", number(error)),
        Component::Reject { .. } => "reject".to_owned(),
    }
}
