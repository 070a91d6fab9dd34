//! A certificate authority for one test.

use std::net::Ipv4Addr;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name};

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
        let key = new_key();
        let mut draft = draft("demarc lab root", None, &key);
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
        self.leaf_at(name, None)
    }

    /// The same for an address as well.
    pub fn leaf_at(&self, name: &str, address: Option<Ipv4Addr>) -> Leaf {
        let key = new_key();
        let mut draft = draft(name, Some(self.certificate.subject_name()), &key);
        let context = draft.x509v3_context(Some(&self.certificate), None);
        let mut names = SubjectAlternativeName::new();
        names.dns(name);
        if let Some(address) = address {
            names.ip(&address.to_string());
        }
        let extensions = [
            BasicConstraints::new().critical().build().unwrap(),
            KeyUsage::new().critical().digital_signature().key_encipherment().build().unwrap(),
            ExtendedKeyUsage::new().server_auth().client_auth().build().unwrap(),
            names.build(&context).unwrap(),
            SubjectKeyIdentifier::new().build(&context).unwrap(),
            AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap(),
        ];
        for extension in extensions {
            draft.append_extension(extension).unwrap();
        }
        draft.sign(&self.key, MessageDigest::sha256()).unwrap();
        Leaf { certificate: draft.build().to_pem().unwrap(), key: key.private_key_to_pem_pkcs8().unwrap() }
    }
}

fn new_key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

fn draft(name: &str, issuer: Option<&openssl::x509::X509NameRef>, key: &PKey<Private>) -> X509Builder {
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut serial = BigNum::new().unwrap();
    serial.rand(128, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut draft = X509::builder().unwrap();
    draft.set_version(2).unwrap();
    draft.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    draft.set_subject_name(&subject).unwrap();
    draft.set_issuer_name(issuer.unwrap_or(&subject)).unwrap();
    draft.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    draft.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    draft.set_pubkey(key).unwrap();
    draft
}
