//! A certification authority for an hour or a day: a root and the two certificates of the
//! Microsoft side, ours and the pool's. Keys are readable by their owner alone.
//!
//! The certificates carry names and no address, as Microsoft's do: although everybody is on loopback, the
//! names are what the ends prove to each other.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name, X509NameRef};

/// Long enough that nobody is warned of an expiry.
const DAYS: u32 = 90;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// OpenSSL refuses.
    #[error("OpenSSL makes no certificates: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// A file cannot be written.
    #[error("{file} cannot be written: {1}", file = .0.display())]
    File(PathBuf, std::io::Error),
}

/// The files of one party's identity, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name in the certificate.
    pub name: &'static str,
    /// The certificate; the root is the one who signed it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Who signs.
struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// All files of the demonstration's PKI.
#[derive(Clone, Debug)]
pub struct Pki {
    /// The root, whom everybody trusts.
    pub roots: PathBuf,
    /// The box.
    pub appliance: Identity,
    /// The Lync-side telephone.
    pub pool: Identity,
}

impl Pki {
    /// Makes everything in `directory`, which is the caller's to remove.
    pub fn make(directory: &Path) -> Result<Pki, Fault> {
        let authority = Authority::new()?;
        let roots = directory.join("root.pem");
        write(&roots, 0o644, &authority.certificate.to_pem()?)?;
        Ok(Pki {
            roots,
            appliance: authority.issue(directory, "ms1.demo.test")?,
            pool: authority.issue(directory, "pool01.demo.test")?,
        })
    }
}

impl Authority {
    fn new() -> Result<Authority, Fault> {
        let (key, name) = (new_key()?, common_name("demarc demonstration root")?);
        let mut builder = begin(&name, &name, &key)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
        builder.append_extension(identifier)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Authority { certificate: builder.build(), key })
    }

    /// A certificate for a client and server of this name, with its key, in files.
    fn issue(&self, directory: &Path, name: &'static str) -> Result<Identity, Fault> {
        let key = new_key()?;
        let certificate = directory.join(format!("{name}.pem"));
        write(&certificate, 0o644, &self.sign(name, &key)?.to_pem()?)?;
        let file = directory.join(format!("{name}.key"));
        write(&file, 0o600, &key.private_key_to_pem_pkcs8()?)?;
        Ok(Identity { name, certificate, key: file })
    }

    fn sign(&self, name: &str, key: &PKey<Private>) -> Result<X509, ErrorStack> {
        let mut builder = begin(&*common_name(name)?, self.certificate.subject_name(), key)?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build()?)?;
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let names = SubjectAlternativeName::new().dns(name).build(&context)?;
        let issuer = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        builder.append_extension(names)?;
        builder.append_extension(issuer)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok(builder.build())
    }
}

/// ECDSA with P-256: what every stack since Windows Server 2008 R2 knows.
fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&curve)?)
}

fn common_name(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

/// Everything but extensions and signature.
fn begin(subject: &X509NameRef, issuer: &X509NameRef, key: &PKey<Private>) -> Result<X509Builder, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(DAYS)?)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

fn write(file: &Path, mode: u32, pem: &[u8]) -> Result<(), Fault> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    opened.and_then(|mut opened| opened.write_all(pem)).map_err(|fault| Fault::File(file.to_owned(), fault))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
    use openssl::stack::Stack;
    use openssl::x509::store::X509StoreBuilder;
    use openssl::x509::verify::X509VerifyParam;
    use openssl::x509::{X509PurposeId, X509StoreContext};

    use super::*;

    fn read(file: &Path) -> X509 {
        X509::from_pem(&std::fs::read(file).unwrap()).unwrap()
    }

    /// Does `leaf` verify under `root` for this purpose and host?
    fn verifies(leaf: &X509, root: &X509, purpose: X509PurposeId, host: &str) -> bool {
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(root.clone()).unwrap();
        let mut param = X509VerifyParam::new().unwrap();
        param.set_host(host).unwrap();
        param.set_purpose(purpose).unwrap();
        store.set_param(&param).unwrap();
        let (store, chain) = (store.build(), Stack::new().unwrap());
        X509StoreContext::new().unwrap().init(&store, leaf, &chain, |context| context.verify_cert()).unwrap()
    }

    #[test]
    fn both_certificates_verify_as_client_and_as_server() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::make(directory.path()).unwrap();
        let root = read(&pki.roots);
        for identity in [&pki.appliance, &pki.pool] {
            let leaf = read(&identity.certificate);
            assert!(verifies(&leaf, &root, X509PurposeId::SSL_SERVER, identity.name));
            assert!(verifies(&leaf, &root, X509PurposeId::SSL_CLIENT, identity.name));
            assert!(!verifies(&leaf, &root, X509PurposeId::SSL_SERVER, "other.demo.test"), "another name");
            assert!(leaf.subject_alt_names().unwrap().iter().all(|name| name.ipaddress().is_none()));
        }
        let stranger = Authority::new().unwrap().certificate;
        assert!(!verifies(&read(&pki.pool.certificate), &stranger, X509PurposeId::SSL_SERVER, pki.pool.name));
    }

    #[test]
    fn keys_belong_to_their_certificates_and_to_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::make(directory.path()).unwrap();
        for identity in [&pki.appliance, &pki.pool] {
            let mut tls = SslConnector::builder(SslMethod::tls()).unwrap();
            tls.set_certificate_chain_file(&identity.certificate).unwrap();
            tls.set_private_key_file(&identity.key, SslFiletype::PEM).unwrap();
            tls.check_private_key().unwrap();
            assert_eq!(std::fs::metadata(&identity.key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_that_exists_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        Pki::make(directory.path()).unwrap();
        assert!(matches!(Pki::make(directory.path()), Err(Fault::File(..))));
    }
}
