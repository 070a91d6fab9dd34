//! What users tell each other beside their call: User-to-User (RFC 7433), as ISDN has it (RFC 7434).
//!
//! ```text
//! User-to-User: 0468656c6c6f;encoding=hex;purpose=isdn-uui        the first octet is the protocol discriminator
//! ```

use crate::leg::UserUser;
use crate::private::Private;
use crate::wire::sip::{Builder, Message, Name, Params};

/// Octets that ISDN takes at most: a discriminator and 128 (Q.931 section 4.5.30).
const MOST: usize = 129;
/// The purpose of what names none.
const ISDN: &str = "isdn-uui";

/// What a message tells of ISDN's kind.
pub fn read(message: &Message) -> Option<UserUser> {
    message.elements(Name::UserToUser).find_map(|element| {
        let (data, params) = Params::behind(element);
        let is = |name, value: &str| params.text(name).is_none_or(|said| said.eq_ignore_ascii_case(value));
        let data = data.strip_prefix(b"\"").and_then(|data| data.strip_suffix(b"\"")).unwrap_or(data);
        let octets = hex(data).filter(|octets| (1..=MOST).contains(&octets.len()))?;
        (is("purpose", ISDN) && is("encoding", "hex")).then_some(Private(octets))
    })
}

/// Adds it to a message.
pub fn write(builder: Builder, told: Option<&UserUser>) -> Builder {
    let written = |told: &UserUser| {
        let digits: String = told.get().iter().map(|octet| format!("{octet:02x}")).collect();
        format!("{digits};encoding=hex;purpose={ISDN}")
    };
    builder.maybe(Name::UserToUser, told.filter(|told| !told.get().is_empty()).map(written))
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_chunks::<2>();
    let octet = |[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    rest.is_empty().then(|| pairs.iter().map(octet).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sip::Method;

    #[test]
    fn what_is_read_is_written_as_it_was() {
        bolero::check!().with_type::<(bool, Vec<u8>)>().for_each(|(clean, octets)| {
            let digits: String = octets.iter().map(|octet| format!("{octet:02X}")).collect();
            let value = if *clean { digits } else { String::from_utf8_lossy(octets).into_owned() };
            let message = Builder::request(Method::Bye, "sip:h").header(Name::UserToUser, value).empty_body();
            let told = read(&message);
            assert!(!clean || told.is_some() == (1..=MOST).contains(&octets.len()));
            let again = write(Builder::request(Method::Bye, "sip:h"), told.as_ref()).empty_body();
            assert_eq!(read(&again), told);
        });
    }

    #[test]
    fn isdns_kind_is_read_and_written() {
        let bye = |value: &str| Builder::request(Method::Bye, "sip:h").header(Name::UserToUser, value).empty_body();
        let hello = Some(Private(b"\x04hello".to_vec()));
        for (value, expected) in [
            ("0468656c6c6f", &hello),
            ("0468656C6C6F;encoding=hex", &hello),
            ("\"0468656c6c6f\" ; purpose=ISDN-UUI;content=isdn-uui", &hello),
            ("abc;purpose=contact, 0468656c6c6f", &hello),
            ("00;purpose=contact", &None),
            ("hello;encoding=text", &None),
            ("046", &None),
            ("", &None),
            (&"00".repeat(130), &None),
        ] {
            assert_eq!(&read(&bye(value)), expected, "{value}");
        }
        let written = write(Builder::request(Method::Bye, "sip:h"), hello.as_ref()).empty_body();
        assert_eq!(written.text(Name::UserToUser), Some("0468656c6c6f;encoding=hex;purpose=isdn-uui"));
        assert_eq!(read(&written), hello);
    }
}
