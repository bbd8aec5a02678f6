//! Certificates of a test's own authority, files of them beside a configuration, and a client that
//! trusts no others.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RevokedCertParams, RsaKeySize,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::{Client, DEADLINE, Proxy};

/// Who signs.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than that of whom it signs, or the two would be taken for one.
        let name = "authority of a test";
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            issuer: Issuer::new(params, key),
            der: certificate.der().clone(),
            pem: certificate.pem(),
        }
    }

    /// With an ECDSA key, for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.sign(names, &KeyPair::generate().expect("a key"), |_| {})
    }

    pub(crate) fn issue_rsa(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        self.sign(names, &key.expect("a key"), |_| {})
    }

    /// Of somebody who comes by this subject, with this serial number.
    pub(crate) fn client(&self, subject: &str, serial: u64) -> Pair {
        let key = KeyPair::generate().expect("a key");
        self.sign(&["alice.example"], &key, |params| {
            params.distinguished_name.push(DnType::CommonName, subject);
            params.serial_number = Some(serial.into());
        })
    }

    /// The list of certificates that are taken back, in PEM.
    pub(crate) fn revoke(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2025, 1, 1),
            next_update: rcgen::date_time_ymd(2090, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }

    /// The same with what this changes.
    pub(crate) fn sign(
        &self,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("sound names");
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        Pair {
            cert: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A configuration with certificates beside it, in `tls/`.
#[derive(Debug)]
pub(crate) struct TlsSite {
    directory: TempDir,
}

/// What every configuration of a site begins with: a listener `tls` that shows these certificates, by
/// the names of their files.
fn listener(certificates: &[&str], more: &str) -> String {
    let pairs = certificates.iter();
    let pairs =
        pairs.map(|name| format!("{{ cert = \"tls/{name}.pem\", key = \"tls/{name}.key\" }}"));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    format!(
        "admin.listen = \"127.0.0.1:0\"\nlog.access = false\n\
         [[listener]]\nname = \"tls\"\naddress = \"127.0.0.1:0\"\n\
         tls.certificate = [{pairs}]\n{more}"
    )
}

impl TlsSite {
    pub(crate) fn new(pairs: &[(&str, &Pair)]) -> Self {
        let directory = TempDir::new().expect("a directory for the site");
        let site = Self { directory };
        fs::create_dir(site.path("tls")).expect("one for its certificates");
        for (name, pair) in pairs {
            site.put(name, pair);
        }
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, pair: &Pair) {
        self.put_cert(name, &pair.cert);
        self.put_key(name, &pair.key);
    }

    pub(crate) fn put_cert(&self, name: &str, text: &str) {
        replace(&self.path(&format!("tls/{name}.pem")), text);
    }

    pub(crate) fn put_key(&self, name: &str, text: &str) {
        replace(&self.path(&format!("tls/{name}.key")), text);
    }

    /// The whole file: the listener `tls`, with `more` of its keys, then `rest`.
    pub(crate) fn text(certificates: &[&str], more: &str, rest: &str) -> String {
        format!("{}{rest}", listener(certificates, more))
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("pointsman.toml")
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.config(), text).expect("the configuration is written");
    }

    pub(crate) fn serve(&self, text: &str) -> Proxy {
        self.write(text);
        Proxy::on_file(&self.config())
    }
}

/// In one step, as those do who renew certificates, and for its owner only.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file");
    fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("its mode");
    fs::rename(&new, path).expect("it is put in place");
}

pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

/// The same of a client that shows a certificate.
pub(crate) fn showing(authority: &Authority, pair: &Pair) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).expect("a root");
    let chain = CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let builder = ClientConfig::builder().with_root_certificates(roots);
    builder
        .with_client_auth_cert(vec![chain], key)
        .expect("a pair")
}

/// A client's settings, with resumption as they are used for more than one connection.
pub(crate) fn trusting(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).expect("a root");
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

impl TlsClient {
    /// After the handshake.
    pub(crate) fn secured(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self::try_secured(address, config, name).expect("a handshake")
    }

    pub(crate) fn try_secured(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut tls = ClientConnection::new(Arc::clone(config), name).expect("sound settings");
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Self::over(StreamOwned::new(tls, stream)))
    }

    /// The certificate that was shown, in DER.
    pub(crate) fn shown(&mut self) -> CertificateDer<'static> {
        let shown = self
            .inner()
            .conn
            .peer_certificates()
            .expect("a certificate");
        shown[0].clone().into_owned()
    }
}
