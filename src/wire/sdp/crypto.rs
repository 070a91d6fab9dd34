//! The `a=crypto` line (RFC 4568):
//!
//! ```text
//! a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:<40 base64 characters>|2^31|1:1
//!          tag suite                        key and salt           lifetime MKI:length
//! ```
//!
//! The lifetime is read and let be, as Microsoft does: 2^31 packets outlast
//! any call.

use crate::private::Secret;
use crate::random::Random;
use crate::session::{Keys, Mki, Suite};

/// A crypto line of a suite that we speak, with one key.
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
        let named = words.next()?;
        let suite = Suite::ALL.into_iter().find(|suite| named.eq_ignore_ascii_case(suite.name()))?;
        let keys = key_parameter(suite, words.next()?)?;
        words.all(harmless).then_some(Crypto { tag, keys })
    }

    /// The value as it goes out: key material in the clear, for the wire only.
    pub fn wire(&self) -> String {
        let suite = self.keys.suite().name();
        let key = openssl::base64::encode_block(self.keys.octets());
        match self.keys.mki() {
            Some(mki) => format!("{} {suite} inline:{key}|2^31|{}:{}", self.tag, mki.value, mki.length),
            None => format!("{} {suite} inline:{key}|2^31", self.tag),
        }
    }
}

/// Fresh octets for the keys of any suite.
pub fn draw(random: &mut Random) -> Secret<[u8; Keys::LONGEST]> {
    Secret(random.octets())
}

/// `inline:<key||salt>["|" lifetime]["|" MKI ":" length]` (RFC 4568 section 6.1).
fn key_parameter(suite: Suite, word: &str) -> Option<Keys> {
    let (method, rest) = word.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut fields = rest.split('|');
    let keys = key_and_salt(suite, fields.next()?)?;
    let mut field = fields.next();
    if let Some(lifetime) = field.filter(|field| !field.contains(':')) {
        lifetime_is_sound(lifetime).then_some(())?;
        field = fields.next();
    }
    let mki = match field {
        Some(field) => Some(master_key_identifier(field)?),
        None => None,
    };
    fields.next().is_none().then_some(keys.marked(mki))
}

/// Base64, padded or not: there are peers that leave the padding out.
fn key_and_salt(suite: Suite, text: &str) -> Option<Keys> {
    let base64 = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'+' || octet == b'/';
    let bare = text.trim_end_matches('=');
    if bare.len() != (suite.length() * 4).div_ceil(3) || !bare.bytes().all(base64) {
        return None;
    }
    let padded = format!("{bare}{}", &"=="[..(4 - bare.len() % 4) % 4]);
    let octets = openssl::base64::decode_block(&padded).ok()?;
    Keys::new(suite, &octets)
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

    const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn mki_of(parameters: &str) -> Option<Option<Mki>> {
        Crypto::parse(&format!("1 {SUITE} inline:{KEY}{parameters}")).map(|line| line.keys.mki())
    }

    #[test]
    fn the_example_of_the_rfc_is_read_octet_by_octet() {
        let line = Crypto::parse(&format!("1 {SUITE} inline:{KEY}|2^20")).unwrap();
        assert_eq!(line.tag, 1);
        assert_eq!(line.keys.key(), b"YS___semctl () {");
        assert_eq!(line.keys.salt(), b"\t220;}\n}\nunles");
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
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
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
        let marks = [None, Some(Mki { value: 1, length: 1 }), Some(Mki { value: u32::MAX, length: 4 })];
        for (suite, mki) in Suite::ALL.into_iter().flat_map(|suite| marks.map(|mki| (suite, mki))) {
            let line = Crypto { tag: 7, keys: Keys::cut(suite, &draw(&mut random)).marked(mki) };
            assert_eq!(Crypto::parse(&line.wire()), Some(line));
            assert_eq!(Crypto::parse(&line.wire().replace('=', "")), Some(line), "without padding");
            let inline = line.wire().split(':').nth(1).unwrap()[..38].to_string();
            assert!(!format!("{line:?}").contains(&inline));
            assert!(format!("{line:?}").contains("(secret)"));
        }
    }
}
