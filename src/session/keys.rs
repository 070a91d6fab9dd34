//! SRTP as it is agreed: suites, master keys and their identifiers (RFC 3711, RFC 4568).

use crate::private::Secret;

/// A master key identifier that stands in every packet (RFC 3711 section 3.1): `length` octets,
/// big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mki {
    /// The value.
    pub value: u32,
    /// Octets on the wire, 1 to 4.
    pub length: u8,
}

/// How packets are encrypted and proven genuine: the suites of SDES (RFC 4568, RFC 6188, RFC 7714).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// What every peer of Microsoft's speaks.
    Aes128CmHmacSha1_80,
    /// The same with a short tag on RTP.
    Aes128CmHmacSha1_32,
    /// RFC 6188.
    Aes256CmHmacSha1_80,
    /// RFC 6188, short tag on RTP.
    Aes256CmHmacSha1_32,
    /// RFC 7714.
    AeadAes128Gcm,
    /// RFC 7714.
    AeadAes256Gcm,
}

impl Suite {
    /// All that the media plane speaks.
    pub const ALL: [Suite; 6] = [
        Suite::Aes128CmHmacSha1_80,
        Suite::Aes128CmHmacSha1_32,
        Suite::Aes256CmHmacSha1_80,
        Suite::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ];

    /// Its name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Aes128CmHmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::Aes128CmHmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::Aes256CmHmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::Aes256CmHmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Octets of the master key.
    pub fn key_length(self) -> usize {
        match self {
            Suite::Aes128CmHmacSha1_80 | Suite::Aes128CmHmacSha1_32 | Suite::AeadAes128Gcm => 16,
            Suite::Aes256CmHmacSha1_80 | Suite::Aes256CmHmacSha1_32 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// Octets of the master salt.
    pub fn salt_length(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Octets of key and salt together: what `inline:` carries.
    pub fn length(self) -> usize {
        self.key_length() + self.salt_length()
    }
}

/// Suites in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suites([Option<Suite>; 6]);

impl Suites {
    /// These, each once.
    pub fn new(wanted: impl IntoIterator<Item = Suite>) -> Suites {
        let mut suites = Suites([None; 6]);
        for suite in wanted {
            if suites.place(suite).is_none()
                && let Some(free) = suites.0.iter_mut().find(|place| place.is_none())
            {
                *free = Some(suite);
            }
        }
        suites
    }

    /// The best one.
    pub fn first(self) -> Option<Suite> {
        self.0[0]
    }

    /// How far back a suite stands, from 0; `None` when it is not among them.
    pub fn place(self, suite: Suite) -> Option<usize> {
        self.0.iter().position(|known| *known == Some(suite))
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Suite> {
        self.0.into_iter().flatten()
    }
}

/// Master key and salt for one direction (RFC 4568 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    suite: Suite,
    /// Key, then salt, then nothing.
    octets: Secret<[u8; Keys::LONGEST]>,
    mki: Option<Mki>,
}

impl Keys {
    /// Octets of the longest key and salt.
    pub const LONGEST: usize = 46;

    /// From key and salt one behind the other, without a master key identifier. `None` when there are not exactly as many
    /// octets as the suite takes.
    pub fn new(suite: Suite, octets: &[u8]) -> Option<Keys> {
        let mut kept = [0; Keys::LONGEST];
        kept.get_mut(..octets.len()).filter(|_| octets.len() == suite.length())?.copy_from_slice(octets);
        Some(Keys { suite, octets: Secret(kept), mki: None })
    }

    /// From enough octets for any suite.
    pub fn cut(suite: Suite, octets: &Secret<[u8; Keys::LONGEST]>) -> Keys {
        let mut kept = octets.0;
        kept[suite.length()..].fill(0);
        Keys { suite, octets: Secret(kept), mki: None }
    }

    /// The same keys with another master key identifier, or none.
    #[must_use]
    pub fn marked(self, mki: Option<Mki>) -> Keys {
        Keys { mki, ..self }
    }

    /// What they are for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Present when packets carry it.
    pub fn mki(&self) -> Option<Mki> {
        self.mki
    }

    /// The master key.
    pub fn key(&self) -> &[u8] {
        &self.octets.0[..self.suite.key_length()]
    }

    /// The master salt.
    pub fn salt(&self) -> &[u8] {
        &self.octets.0[self.suite.key_length()..self.suite.length()]
    }

    /// Key and salt, as `inline:` carries them.
    pub fn octets(&self) -> &[u8] {
        &self.octets.0[..self.suite.length()]
    }
}

/// Keys of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Srtp {
    /// Of what we send: our own crypto line.
    pub send: Keys,
    /// Of what we receive: the peer's crypto line.
    pub receive: Keys,
}
