//! A certificate authority for one test.

use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name, X509NameRef, X509Ref};

/// A root and its key.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A leaf with its key, both PEM.
pub struct Leaf {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

impl Authority {
    /// A fresh root.
    pub fn new() -> Authority {
        Self::named("demarc lab root")
    }

    /// A fresh root of a name.
    pub fn named(name: &str) -> Authority {
        let key = new_key();
        let mut draft = draft(name, None, &key, (-1, 300));
        draft.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        draft.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap()).unwrap();
        let identifier = SubjectKeyIdentifier::new().build(&draft.x509v3_context(None, None)).unwrap();
        draft.append_extension(identifier).unwrap();
        draft.sign(&key, MessageDigest::sha256()).unwrap();
        Authority { certificate: draft.build(), key }
    }

    /// The root as PEM.
    pub fn root(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// A leaf for `name`, good as server and as client.
    pub fn leaf(&self, name: &str) -> Leaf {
        self.issue(&Paper::new(name))
    }

    /// A leaf that says what `paper` says.
    pub fn issue(&self, paper: &Paper<'_>) -> Leaf {
        let key = new_key();
        paper.signed(&key, self.certificate.subject_name(), &self.key, Some(&self.certificate))
    }
}

/// What a certificate says.
pub struct Paper<'a> {
    /// Whose it is.
    pub name: &'a str,
    /// An address that it is for as well.
    pub address: Option<Ipv4Addr>,
    /// Days from today on which it begins and ends.
    pub days: (i64, i64),
    /// What it may be used for.
    pub usages: &'a [&'a str],
}

impl<'a> Paper<'a> {
    /// For `name`, of today, good as server and as client.
    pub fn new(name: &'a str) -> Paper<'a> {
        Paper { name, address: None, days: (-1, 300), usages: &["serverAuth", "clientAuth"] }
    }

    /// Vouched for by itself.
    pub fn self_signed(&self) -> Leaf {
        let key = new_key();
        let subject = named(self.name);
        self.signed(&key, &subject, &key, None)
    }

    fn signed(&self, key: &PKey<Private>, issuer: &X509NameRef, by: &PKey<Private>, root: Option<&X509Ref>) -> Leaf {
        let mut draft = draft(self.name, Some(issuer), key, self.days);
        let context = draft.x509v3_context(root, None);
        let mut names = SubjectAlternativeName::new();
        names.dns(self.name);
        if let Some(address) = self.address {
            names.ip(&address.to_string());
        }
        let mut usages = ExtendedKeyUsage::new();
        for usage in self.usages {
            usages.other(usage);
        }
        let mut extensions = vec![
            BasicConstraints::new().critical().build().unwrap(),
            KeyUsage::new().critical().digital_signature().key_encipherment().build().unwrap(),
            usages.build().unwrap(),
            names.build(&context).unwrap(),
            SubjectKeyIdentifier::new().build(&context).unwrap(),
        ];
        if root.is_some() {
            extensions.push(AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap());
        }
        for extension in extensions {
            draft.append_extension(extension).unwrap();
        }
        draft.sign(by, MessageDigest::sha256()).unwrap();
        Leaf { certificate: draft.build().to_pem().unwrap(), key: key.private_key_to_pem_pkcs8().unwrap() }
    }
}

/// Keys take long to find. One authority and its leaves never get the same one, as long as they are no more than these.
fn new_key() -> PKey<Private> {
    static KEYS: [OnceLock<PKey<Private>>; 8] = [const { OnceLock::new() }; 8];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    KEYS[next % KEYS.len()].get_or_init(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()).clone()
}

fn named(name: &str) -> X509Name {
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    subject.build()
}

fn draft(name: &str, issuer: Option<&X509NameRef>, key: &PKey<Private>, days: (i64, i64)) -> X509Builder {
    let subject = named(name);
    let mut serial = BigNum::new().unwrap();
    serial.rand(128, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut draft = X509::builder().unwrap();
    draft.set_version(2).unwrap();
    draft.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    draft.set_subject_name(&subject).unwrap();
    draft.set_issuer_name(issuer.unwrap_or(&subject)).unwrap();
    let at = |days: i64| Asn1Time::from_unix(jiff::Timestamp::now().as_second() + days * 86_400).unwrap();
    draft.set_not_before(&at(days.0)).unwrap();
    draft.set_not_after(&at(days.1)).unwrap();
    draft.set_pubkey(key).unwrap();
    draft
}
