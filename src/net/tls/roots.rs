//! Who is believed when they sign a certificate.

use std::sync::{Arc, LazyLock};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

pub(crate) type Roots = Arc<RootCertStore>;

/// Those in these files, each with its name. An error names one of them.
pub(crate) fn roots(authorities: &[(&str, &[u8])]) -> Result<Roots, String> {
    let mut roots = RootCertStore::empty();
    for (name, pem) in authorities {
        let mut found = false;
        for authority in CertificateDer::pem_slice_iter(pem) {
            let authority =
                authority.map_err(|error| format!("`{name}` is not sound PEM: {error}"))?;
            let added = roots.add(authority);
            added.map_err(|error| format!("`{name}` holds no authority: {error}"))?;
            found = true;
        }
        if !found {
            return Err(format!("`{name}` holds no certificate in PEM"));
        }
    }
    Ok(Arc::new(roots))
}

/// Those whom the system trusts, as they were when they were first asked for: reading them takes longer
/// than all the rest of a reload.
pub(crate) fn roots_of_system() -> Roots {
    static SYSTEM: LazyLock<Roots> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        // What cannot be used is left out: systems ship odd ones, which nobody here has signed with.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    Arc::clone(&SYSTEM)
}
