//! STUN (RFC 8489) as ICE speaks it (RFC 8445): binding requests and their answers, read and written in place.
//!
//! ```text
//! 0          2        4              8                    20
//! | 00 type  | length | magic cookie | transaction (12)   | attributes: type, length, value, padding ...
//! ```
//!
//! MESSAGE-INTEGRITY covers what stands before it, FINGERPRINT what stands before that; each counts the length as if it
//! were the last attribute. What follows MESSAGE-INTEGRITY, FINGERPRINT aside, is nobody's word and is passed over.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_a442;
const BINDING: u16 = 0x001;
/// Of MESSAGE-INTEGRITY's value.
const DIGEST: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// From here on an attribute may be passed over by who does not know it.
const OPTIONAL: u16 = 0x8000;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

/// Is this datagram STUN, on a port where RTP and DTLS may come as well (RFC 7983)?
pub fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [0..=3, _, _, _, cookie @ ..] if cookie.starts_with(&COOKIE.to_be_bytes()))
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// The good answer.
    Success,
    /// The bad one.
    Error,
}

impl Class {
    const ALL: [Class; 4] = [Class::Request, Class::Indication, Class::Success, Class::Error];

    /// The type of a binding message: the class's two bits lie at 4 and 8 (section 5).
    fn binding(self) -> u16 {
        let bits = self as u16;
        BINDING | (bits & 1) << 4 | (bits & 2) << 7
    }
}

/// Ties an answer to its request.
pub type Transaction = [u8; 12];

/// The role that the sender of a check thinks to play, with its tie-breaker (RFC 8445 section 7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It nominates.
    Controlling(u64),
    /// It waits for nominations.
    Controlled(u64),
}

/// A password, made ready for MESSAGE-INTEGRITY (section 9.1: short-term credentials).
#[derive(Clone)]
pub struct Key(Hmac<Sha1>);

impl Key {
    /// From the password as it is written.
    pub fn new(password: &str) -> Key {
        // HMAC takes a key of any length: this cannot fail.
        #[allow(clippy::expect_used)]
        Key(Hmac::new_from_slice(password.as_bytes()).expect("HMAC takes a key of any length"))
    }

    /// Over `before`, the octets up to the attribute, with the length that makes it the last one.
    fn over(&self, before: &[u8]) -> Hmac<Sha1> {
        let length = (before.len() - HEADER + 4 + DIGEST) as u16;
        let mut mac = self.0.clone();
        mac.update(&before[..2]);
        mac.update(&length.to_be_bytes());
        mac.update(&before[4..]);
        mac
    }
}

/// Does a message prove to come from who knows a password?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// It does not try.
    Absent,
    /// It tries and fails.
    Wrong,
    /// It does.
    Right,
}

/// A binding message that is whole: its attributes fill it exactly, and its fingerprint is right if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    octets: &'a [u8],
    class: Class,
    /// Where MESSAGE-INTEGRITY begins, or all ends.
    trusted: usize,
}

/// An attribute and where it begins.
struct Attribute<'a> {
    at: usize,
    kind: u16,
    value: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram; `None` when it is no binding message of STUN.
    pub fn read(octets: &'a [u8]) -> Option<Message<'a>> {
        let &[type_high, type_low, length_high, length_low, ..] = octets else { return None };
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        if !is_stun(octets) || octets.len() != HEADER + length || length % 4 != 0 {
            return None;
        }
        let kind = u16::from_be_bytes([type_high, type_low]);
        let class = Class::ALL.into_iter().find(|class| class.binding() == kind)?;
        let mut message = Message { octets, class, trusted: octets.len() };
        let mut end = HEADER;
        for attribute in message.all() {
            end = attribute.at + 4 + attribute.value.len().next_multiple_of(4);
            match attribute.kind {
                MESSAGE_INTEGRITY => message.trusted = message.trusted.min(attribute.at),
                FINGERPRINT if attribute.value != fingerprint(&octets[..attribute.at]).to_be_bytes() => return None,
                _ => {}
            }
        }
        (end == octets.len()).then_some(message)
    }

    /// What it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Its transaction.
    pub fn transaction(&self) -> Transaction {
        self.octets[8..HEADER].try_into().unwrap_or_default()
    }

    /// USERNAME.
    pub fn username(&self) -> Option<&'a [u8]> {
        self.value(USERNAME)
    }

    /// PRIORITY: what the sender's candidate would be worth were it not known before.
    pub fn priority(&self) -> Option<u32> {
        self.value(PRIORITY)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// USE-CANDIDATE: media shall go this way.
    pub fn nominates(&self) -> bool {
        self.value(USE_CANDIDATE).is_some()
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn role(&self) -> Option<Role> {
        let number = |kind| self.value(kind)?.try_into().ok().map(u64::from_be_bytes);
        number(ICE_CONTROLLING).map(Role::Controlling).or_else(|| number(ICE_CONTROLLED).map(Role::Controlled))
    }

    /// Judges MESSAGE-INTEGRITY.
    pub fn integrity(&self, key: &Key) -> Integrity {
        match self.all().find(|attribute| attribute.kind == MESSAGE_INTEGRITY) {
            None => Integrity::Absent,
            Some(Attribute { at, value, .. }) => match key.over(&self.octets[..at]).verify_slice(value) {
                Ok(()) => Integrity::Right,
                Err(_) => Integrity::Wrong,
            },
        }
    }

    /// Attributes that must be understood and are not.
    pub fn unknown(&self) -> impl Iterator<Item = u16> + use<'a> {
        let known = [USERNAME, ERROR_CODE, UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS, PRIORITY, USE_CANDIDATE];
        self.trusted().map(|attribute| attribute.kind).filter(move |kind| *kind < OPTIONAL && !known.contains(kind))
    }

    /// XOR-MAPPED-ADDRESS: where the other end saw the request come from.
    pub fn mapped(&self) -> Option<SocketAddr> {
        let (&[_, family, high, low], ip) = self.value(XOR_MAPPED_ADDRESS)?.split_first_chunk()?;
        let port = u16::from_be_bytes([high, low]);
        let address = match family {
            1 => SocketAddr::new(IpAddr::from(<[u8; 4]>::try_from(ip).ok()?), port),
            2 => SocketAddr::new(IpAddr::from(<[u8; 16]>::try_from(ip).ok()?), port),
            _ => return None,
        };
        Some(masked(address, self.transaction()))
    }

    /// ERROR-CODE, 300 to 699.
    pub fn error(&self) -> Option<u16> {
        let &[_, _, class, number, ..] = self.value(ERROR_CODE)? else { return None };
        Some(u16::from(class & 7) * 100 + u16::from(number))
    }

    fn value(&self, kind: u16) -> Option<&'a [u8]> {
        self.trusted().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    fn trusted(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let trusted = self.trusted;
        self.all().take_while(move |attribute| attribute.at < trusted)
    }

    /// Ends early where an attribute is longer than the message.
    fn all(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let octets = self.octets;
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let &[high, low, length_high, length_low] = octets.get(at..)?.first_chunk()?;
            let length = usize::from(u16::from_be_bytes([length_high, length_low]));
            let value = octets.get(at + 4..)?.get(..length.next_multiple_of(4))?.get(..length)?;
            let attribute = Attribute { at, kind: u16::from_be_bytes([high, low]), value };
            at += 4 + length.next_multiple_of(4);
            Some(attribute)
        })
    }
}

/// XORs an address with the cookie and the transaction (section 14.2): what mends addresses in packets leaves it alone.
fn masked(address: SocketAddr, transaction: Transaction) -> SocketAddr {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction);
    let ip = match address.ip() {
        IpAddr::V4(ip) => IpAddr::from((ip.to_bits() ^ COOKIE).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from((ip.to_bits() ^ u128::from_be_bytes(mask)).to_be_bytes()),
    };
    SocketAddr::new(ip, address.port() ^ (COOKIE >> 16) as u16)
}

/// A message being written into a buffer. What finds no room makes [`Writer::finish`] say `None`.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    overflown: bool,
}

impl<'a> Writer<'a> {
    /// A binding message without attributes.
    pub fn new(buffer: &'a mut [u8], class: Class, transaction: &Transaction) -> Writer<'a> {
        let mut header = [0; HEADER];
        header[..2].copy_from_slice(&class.binding().to_be_bytes());
        header[4..8].copy_from_slice(&COOKIE.to_be_bytes());
        header[8..].copy_from_slice(transaction);
        let mut writer = Writer { buffer, length: 0, overflown: false };
        writer.put(&header);
        writer
    }

    /// USERNAME.
    #[must_use]
    pub fn username(self, username: &str) -> Writer<'a> {
        self.attribute(USERNAME, &[username.as_bytes()])
    }

    /// PRIORITY.
    #[must_use]
    pub fn priority(self, priority: u32) -> Writer<'a> {
        self.attribute(PRIORITY, &[&priority.to_be_bytes()])
    }

    /// USE-CANDIDATE.
    #[must_use]
    pub fn nominating(self) -> Writer<'a> {
        self.attribute(USE_CANDIDATE, &[])
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    #[must_use]
    pub fn role(self, role: Role) -> Writer<'a> {
        let (kind, number) = match role {
            Role::Controlling(number) => (ICE_CONTROLLING, number),
            Role::Controlled(number) => (ICE_CONTROLLED, number),
        };
        self.attribute(kind, &[&number.to_be_bytes()])
    }

    /// XOR-MAPPED-ADDRESS.
    #[must_use]
    pub fn mapped(self, address: SocketAddr) -> Writer<'a> {
        let transaction = self.buffer.get(8..HEADER).and_then(|octets| octets.try_into().ok()).unwrap_or_default();
        let masked = masked(address, transaction);
        let port = masked.port().to_be_bytes();
        match masked.ip() {
            IpAddr::V4(ip) => self.attribute(XOR_MAPPED_ADDRESS, &[&[0, 1], &port, &ip.octets()]),
            IpAddr::V6(ip) => self.attribute(XOR_MAPPED_ADDRESS, &[&[0, 2], &port, &ip.octets()]),
        }
    }

    /// ERROR-CODE, without the words that nobody reads.
    #[must_use]
    pub fn error(self, code: u16) -> Writer<'a> {
        self.attribute(ERROR_CODE, &[&[0, 0, (code / 100) as u8, (code % 100) as u8]])
    }

    /// UNKNOWN-ATTRIBUTES.
    #[must_use]
    pub fn unknown(self, kinds: &[u16]) -> Writer<'a> {
        let mut octets = [0; 16];
        let places = octets.chunks_exact_mut(2).zip(kinds);
        let count = places.map(|(place, kind)| place.copy_from_slice(&kind.to_be_bytes())).count();
        self.attribute(UNKNOWN_ATTRIBUTES, &[&octets[..2 * count]])
    }

    /// MESSAGE-INTEGRITY over what stands so far.
    #[must_use]
    pub fn integrity(self, key: &Key) -> Writer<'a> {
        if self.overflown {
            return self;
        }
        let digest: [u8; DIGEST] = key.over(&self.buffer[..self.length]).finalize().into_bytes().into();
        self.attribute(MESSAGE_INTEGRITY, &[&digest])
    }

    /// Ends with FINGERPRINT: the length of the message, or `None` when the buffer is too small.
    pub fn finish(mut self) -> Option<usize> {
        let end = self.length + 8;
        self.count(end);
        let print = fingerprint(&self.buffer[..self.length]);
        let whole = self.attribute(FINGERPRINT, &[&print.to_be_bytes()]);
        (!whole.overflown).then_some(whole.length)
    }

    fn attribute(mut self, kind: u16, parts: &[&[u8]]) -> Writer<'a> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.put(&kind.to_be_bytes());
        self.put(&(length as u16).to_be_bytes());
        parts.iter().for_each(|part| self.put(part));
        self.put(&[0; 3][..length.next_multiple_of(4) - length]);
        let end = self.length;
        self.count(end);
        self
    }

    fn put(&mut self, octets: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + octets.len()) {
            Some(room) if !self.overflown => {
                room.copy_from_slice(octets);
                self.length += octets.len();
            }
            _ => self.overflown = true,
        }
    }

    /// Writes into the header how long the message is when it ends at `end`.
    fn count(&mut self, end: usize) {
        if let Some(length) = self.buffer.get_mut(2..4).filter(|_| !self.overflown) {
            length.copy_from_slice(&((end - HEADER) as u16).to_be_bytes());
        }
    }
}

/// FINGERPRINT over `before`, the octets up to the attribute (section 14.7).
fn fingerprint(before: &[u8]) -> u32 {
    crc32(before) ^ FINGERPRINT_XOR
}

/// ITU-T V.42, the one of Ethernet, by half octets: a check is a rare packet.
fn crc32(octets: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut index = 0;
        while index < 16 {
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < 4 {
                crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    let half = |crc: u32| crc >> 4 ^ TABLE[(crc & 15) as usize];
    !octets.iter().fold(!0, |crc, octet| half(half(crc ^ u32::from(*octet))))
}

#[cfg(test)]
mod tests;
