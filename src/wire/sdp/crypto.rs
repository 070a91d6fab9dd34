//! The `a=crypto` line (RFC 4568):
//!
//! ```text
//! a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:<40 base64 characters>|2^31|1:1
//!          tag suite                        key and salt           lifetime MKI:length
//! ```
//!
//! One suite is known. The lifetime is read and let be, as Microsoft does: 2^31 packets outlast
//! any call.

use crate::private::Secret;
use crate::random::Random;
use crate::session::{Keys, Mki};

/// The suite that every Microsoft peer speaks.
pub const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

/// Key and salt in base64: 30 octets, so never padded.
const KEY_CHARACTERS: usize = 40;

/// A crypto line of our suite with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// The line's number; the answer repeats it.
    pub tag: u32,
    /// What the writer of the line sends under.
    pub keys: Keys,
}

impl Crypto {
    /// Reads the value of an `a=crypto` attribute. `None`: another suite, several keys, a session
    /// parameter that changes the packets, or a fault; such a line is passed over.
    pub fn parse(value: &str) -> Option<Crypto> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| tag.len() <= 9)?.parse().ok()?;
        words.next().filter(|suite| suite.eq_ignore_ascii_case(SUITE))?;
        let keys = key_parameter(words.next()?)?;
        words.all(harmless).then_some(Crypto { tag, keys })
    }

    /// The value as it goes out: key material in the clear, for the wire only.
    pub fn wire(&self) -> String {
        let mut octets = [0; 30];
        octets[..16].copy_from_slice(&self.keys.key.0);
        octets[16..].copy_from_slice(&self.keys.salt.0);
        let key = openssl::base64::encode_block(&octets);
        match self.keys.mki {
            Some(mki) => format!("{} {SUITE} inline:{key}|2^31|{}:{}", self.tag, mki.value, mki.length),
            None => format!("{} {SUITE} inline:{key}|2^31", self.tag),
        }
    }
}

/// Fresh keys without a master key identifier.
pub fn draw(random: &mut Random) -> Keys {
    Keys { key: Secret(random.octets()), salt: Secret(random.octets()), mki: None }
}

/// `inline:<key||salt>["|" lifetime]["|" MKI ":" length]` (RFC 4568 section 6.1).
fn key_parameter(word: &str) -> Option<Keys> {
    let (method, rest) = word.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut fields = rest.split('|');
    let keys = key_and_salt(fields.next()?)?;
    let mut field = fields.next();
    if let Some(lifetime) = field.filter(|field| !field.contains(':')) {
        lifetime_is_sound(lifetime).then_some(())?;
        field = fields.next();
    }
    let mki = match field {
        Some(field) => Some(master_key_identifier(field)?),
        None => None,
    };
    fields.next().is_none().then_some(Keys { mki, ..keys })
}

fn key_and_salt(text: &str) -> Option<Keys> {
    let base64 = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'+' || octet == b'/';
    if text.len() != KEY_CHARACTERS || !text.bytes().all(base64) {
        return None;
    }
    let octets = openssl::base64::decode_block(text).ok()?;
    let (key, salt) = octets.split_at_checked(16)?;
    Some(Keys { key: Secret(key.try_into().ok()?), salt: Secret(salt.try_into().ok()?), mki: None })
}

/// `2^31` or a plain number of packets, at most 2^48.
fn lifetime_is_sound(text: &str) -> bool {
    match text.strip_prefix("2^") {
        Some(power) => power.parse::<u8>().is_ok_and(|power| power <= 48),
        None => text.parse::<u64>().is_ok_and(|packets| (1..=1 << 48).contains(&packets)),
    }
}

/// `1:1`: a value and how many octets it takes in each packet.
fn master_key_identifier(text: &str) -> Option<Mki> {
    let (value, length) = text.split_once(':')?;
    let (value, length): (u32, u8) = (value.parse().ok()?, length.parse().ok()?);
    let fits = (1..=4).contains(&length) && u64::from(value) < 1 << (8 * length);
    fits.then_some(Mki { value, length })
}

/// Session parameters bind unless marked with `-` (RFC 4568 section 6.3); a window size binds
/// nobody.
fn harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=") || parameter == "KDR=0"
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn mki_of(parameters: &str) -> Option<Option<Mki>> {
        Crypto::parse(&format!("1 {SUITE} inline:{KEY}{parameters}")).map(|line| line.keys.mki)
    }

    #[test]
    fn the_example_of_the_rfc_is_read_octet_by_octet() {
        let line = Crypto::parse(&format!("1 {SUITE} inline:{KEY}|2^20")).unwrap();
        assert_eq!(line.tag, 1);
        assert_eq!(&line.keys.key.0, b"YS___semctl () {");
        assert_eq!(&line.keys.salt.0, b"\t220;}\n}\nunles");
    }

    #[test]
    fn lifetimes_and_identifiers_by_table() {
        let mki = |value, length| Some(Some(Mki { value, length }));
        for (parameters, read) in [
            ("", Some(None)),
            ("|2^31", Some(None)),
            ("|1048576", Some(None)),
            ("|2^31|1:1", mki(1, 1)),
            ("|2^31|2:1", mki(2, 1)),
            ("|1:4", mki(1, 4)),
            ("|2^31|99:4", mki(99, 4)),
            ("|2^31|256:1", None),
            ("|2^31|1:0", None),
            ("|2^31|1:5", None),
            ("|2^31|1", None),
            ("|2^99", None),
            ("|0", None),
            ("|", None),
            ("|2^31|1:1|x", None),
            (" KDR=1", None),
            (" KDR=0 WSH=64", Some(None)),
            (" UNENCRYPTED_SRTP", None),
            (" -LATER=1", Some(None)),
            (";inline:KEY", None),
        ] {
            assert_eq!(mki_of(parameters), read, "{parameters}");
        }
    }

    #[test]
    fn a_line_that_is_not_ours_is_passed_over() {
        let short = &KEY[..39];
        for value in [
            String::new(),
            "1".into(),
            format!("x {SUITE} inline:{KEY}"),
            format!("1234567890 {SUITE} inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"),
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
            format!("1 {SUITE} inline:{short}"),
            format!("1 {SUITE} inline:{short}="),
            format!("1 {SUITE} inline:{short}-"),
            format!("1 {SUITE} prompt:{KEY}"),
        ] {
            assert_eq!(Crypto::parse(&value), None, "{value}");
        }
    }

    #[test]
    fn what_we_write_reads_back_and_never_prints() {
        let mut random = Random::test(1);
        for mki in [None, Some(Mki { value: 1, length: 1 }), Some(Mki { value: u32::MAX, length: 4 })] {
            let line = Crypto { tag: 7, keys: Keys { mki, ..draw(&mut random) } };
            assert_eq!(Crypto::parse(&line.wire()), Some(line));
            let inline = line.wire().split(':').nth(1).unwrap()[..KEY_CHARACTERS].to_string();
            assert!(!format!("{line:?}").contains(&inline));
            assert!(format!("{line:?}").contains("(secret)"));
        }
    }
}
