//! Methods and header names: what the machines know by name; the rest travels as bytes.

use std::fmt;

/// A request method. Methods are case-sensitive; unknown ones are [`Method::Other`] and their text
/// is read off the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Refer,
    Notify,
    Subscribe,
    Message,
    Publish,
    Other,
}

impl Method {
    const KNOWN: [(Method, &'static str); 14] = [
        (Method::Invite, "INVITE"),
        (Method::Ack, "ACK"),
        (Method::Bye, "BYE"),
        (Method::Cancel, "CANCEL"),
        (Method::Options, "OPTIONS"),
        (Method::Register, "REGISTER"),
        (Method::Prack, "PRACK"),
        (Method::Update, "UPDATE"),
        (Method::Info, "INFO"),
        (Method::Refer, "REFER"),
        (Method::Notify, "NOTIFY"),
        (Method::Subscribe, "SUBSCRIBE"),
        (Method::Message, "MESSAGE"),
        (Method::Publish, "PUBLISH"),
    ];

    /// The method with this text.
    pub fn of(text: &[u8]) -> Method {
        let known = Method::KNOWN.iter().find(|(_, known)| known.as_bytes() == text);
        known.map_or(Method::Other, |(method, _)| *method)
    }

    /// Its text; empty for [`Method::Other`].
    pub fn text(self) -> &'static str {
        Method::KNOWN.iter().find(|(method, _)| *method == self).map_or("", |(_, text)| text)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Method::Other { "another method" } else { self.text() })
    }
}

macro_rules! names {
    ($($variant:ident $long:literal $($compact:literal)?),* $(,)?) => {
        /// A header that some machine reads or writes; others are [`Name::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Name { $($variant,)* Other }

        impl Name {
            /// Long form, compact form (RFC 3261 section 7.3.3).
            const KNOWN: &'static [(Name, &'static str, Option<u8>)] =
                &[$((Name::$variant, $long, names!(@compact $($compact)?)),)*];

            /// The form we write; empty for [`Name::Other`].
            pub fn text(self) -> &'static str {
                match self { $(Name::$variant => $long,)* Name::Other => "" }
            }
        }
    };
    (@compact) => { None };
    (@compact $compact:literal) => { Some($compact) };
}

names! {
    Via "Via" b'v', From "From" b'f', To "To" b't', CallId "Call-ID" b'i', CSeq "CSeq",
    Contact "Contact" b'm', MaxForwards "Max-Forwards", Route "Route", RecordRoute "Record-Route",
    ContentLength "Content-Length" b'l', ContentType "Content-Type" b'c',
    ContentEncoding "Content-Encoding" b'e', ContentDisposition "Content-Disposition",
    ContentId "Content-ID", Require "Require", ProxyRequire "Proxy-Require",
    Supported "Supported" b'k', Unsupported "Unsupported", Allow "Allow", Accept "Accept",
    Expires "Expires", Date "Date", UserAgent "User-Agent", Server "Server", Reason "Reason",
    Warning "Warning", RetryAfter "Retry-After", RSeq "RSeq", RAck "RAck",
    SessionExpires "Session-Expires" b'x', MinSe "Min-SE", Event "Event" b'o',
    SubscriptionState "Subscription-State", ReferTo "Refer-To" b'r', ReferredBy "Referred-By" b'b',
    Replaces "Replaces", HistoryInfo "History-Info", Privacy "Privacy",
    PAssertedIdentity "P-Asserted-Identity", PPreferredIdentity "P-Preferred-Identity",
    Subject "Subject" b's', MsDiagnostics "ms-diagnostics",
    MsDiagnosticsPublic "ms-diagnostics-public", MsClientDiagnostics "ms-client-diagnostics",
    MsAcceptedContentId "Ms-Accepted-Content-ID", Authorization "Authorization",
    ProxyAuthorization "Proxy-Authorization", Diversion "Diversion", UserToUser "User-to-User",
}

/// Open addressing over length, first and last letter, built by the compiler: a message has some
/// thirty header lines, and each is looked up once.
static SLOTS: [Option<(Name, &str)>; 256] = {
    let mut slots = [None; 256];
    let mut at = 0;
    while at < Name::KNOWN.len() {
        let (name, long, _) = Name::KNOWN[at];
        let mut slot = slot(long.as_bytes());
        while slots[slot].is_some() {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = Some((name, long));
        at += 1;
    }
    slots
};

/// The compact forms by letter.
static COMPACT: [Name; 26] = {
    let mut letters = [Name::Other; 26];
    let mut at = 0;
    while at < Name::KNOWN.len() {
        if let (name, _, Some(letter)) = Name::KNOWN[at] {
            letters[(letter - b'a') as usize] = name;
        }
        at += 1;
    }
    letters
};

const fn slot(text: &[u8]) -> usize {
    let (first, last) = (text[0] | 0x20, text[text.len() - 1] | 0x20);
    (text.len() * 7 + first as usize * 5 + last as usize * 31) % 256
}

impl Name {
    /// The header with this name in any case, long or compact.
    pub fn of(text: &[u8]) -> Name {
        match text {
            [] => Name::Other,
            [letter] if letter.is_ascii_alphabetic() => COMPACT[usize::from((letter | 0x20) - b'a')],
            text => {
                let mut slot = slot(text);
                while let Some((name, long)) = SLOTS[slot] {
                    // Most peers write the standard's own case, and comparing that is cheaper.
                    if long.as_bytes() == text || long.as_bytes().eq_ignore_ascii_case(text) {
                        return name;
                    }
                    slot = (slot + 1) % SLOTS.len();
                }
                Name::Other
            }
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_long_compact_and_in_any_case() {
        for (text, name) in [
            ("Via", Name::Via),
            ("v", Name::Via),
            ("CALL-ID", Name::CallId),
            ("I", Name::CallId),
            ("x", Name::SessionExpires),
            ("REFERRED-BY", Name::ReferredBy),
            ("b", Name::ReferredBy),
            ("ms-user-logon", Name::Other),
            ("z", Name::Other),
        ] {
            assert_eq!(Name::of(text.as_bytes()), name, "{text}");
        }
    }

    #[test]
    fn every_name_is_found_by_its_own_text() {
        for (name, long, compact) in Name::KNOWN {
            assert_eq!(Name::of(long.to_uppercase().as_bytes()), *name);
            assert!(compact.is_none_or(|letter| Name::of(&[letter.to_ascii_uppercase()]) == *name));
        }
    }

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::of(b"INVITE"), Method::Invite);
        assert_eq!(Method::of(b"invite"), Method::Other);
        assert_eq!(Method::of(b"BENOTIFY"), Method::Other);
    }
}
