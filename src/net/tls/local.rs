//! An authority of this machine's own, and the certificates that it signs.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::PrivateKeyDer;
use time::{Duration, OffsetDateTime};

use super::certificate::Certificate;

/// As long as browsers remember that they trust it.
const AUTHORITY: Duration = Duration::days(3650);
/// Made anew long before it ends.
const CERTIFICATE: Duration = Duration::days(90);
/// For clocks that are not quite the same.
const SLACK: Duration = Duration::days(1);

/// Certificate and key of a new authority, in PEM.
pub(crate) fn make_authority() -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = called(&format!("Pointsman local authority {}", now.date()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (now - SLACK, now + AUTHORITY);
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// A certificate for these hosts and addresses.
pub(crate) fn issue(
    (authority, authority_key): (&str, &str),
    names: Vec<String>,
) -> Result<Certificate, String> {
    let told = |error: rcgen::Error| error.to_string();
    let issuer = KeyPair::from_pem(authority_key).map_err(told)?;
    let issuer = Issuer::from_ca_cert_pem(authority, issuer).map_err(told)?;
    let key = KeyPair::generate().map_err(told)?;
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::new(names).map_err(told)?;
    params.distinguished_name = called("Pointsman");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (now - SLACK, now + CERTIFICATE);
    let certificate = params.signed_by(&key, &issuer).map_err(told)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(str::to_owned)?;
    let certificate = Certificate::new(vec![certificate.der().clone()], key);
    certificate.map_err(|fault| fault.message)
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}
