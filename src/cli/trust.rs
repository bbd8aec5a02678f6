//! `pointsman trust`: how to trust the authority of `tls = "internal"`. It changes nothing itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::fail;
use super::locate::config_file;
use crate::reload::{ConfigSource, authority_certificate};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The configuration that serves [default: the one that `pointsman run` would serve]
    #[arg(long, value_name = "FILE", env = "POINTSMAN_CONFIG")]
    config: Option<PathBuf>,
    /// Print only the certificate, in PEM
    #[arg(long)]
    pem: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Some(config) = config_file(arguments.config.as_deref()) else {
        return fail("there is no configuration file; `pointsman init` writes one");
    };
    let certificate = match authority_certificate(&ConfigSource::File(config)) {
        Ok(certificate) => certificate,
        Err(reports) => {
            for report in &reports {
                eprintln!("{report}");
            }
            return fail("the configuration cannot be read");
        }
    };
    match std::fs::read_to_string(&certificate) {
        Ok(pem) if arguments.pem => print!("{pem}"),
        Ok(_) => print!("{}", ways(&certificate)),
        Err(error) => {
            let place = certificate.display();
            return fail(format!(
                "no authority at {place}: {error}; it is made when a listener with \
                 `tls = \"internal\"` first serves"
            ));
        }
    }
    ExitCode::SUCCESS
}

fn ways(certificate: &Path) -> String {
    let file = certificate.display();
    format!(
        "The local authority is {file}
Whoever trusts it trusts every certificate that it signs: on this machine only, and its key beside it
is for nobody else.

Debian, Ubuntu   sudo cp {file} /usr/local/share/ca-certificates/pointsman.crt
                 sudo update-ca-certificates
Fedora, Arch     sudo trust anchor {file}
macOS            sudo security add-trusted-cert -d -r trustRoot \\
                   -k /Library/Keychains/System.keychain {file}
Chromium         certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n pointsman -i {file}
Firefox          Settings, Privacy & Security, View Certificates, Authorities, Import
curl             curl --cacert {file} https://localhost/
Node             NODE_EXTRA_CA_CERTS={file}
Python           SSL_CERT_FILE={file}
"
    )
}
