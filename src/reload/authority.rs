//! The authority of `tls = "internal"`: made once, and kept where the process keeps its state.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::source::ConfigSource;
use crate::config::{Config, LocalAuthority, Report, Secret};
use crate::net::tls::local::make_authority;

/// The certificate that clients are to trust, and its key.
const CERTIFICATE: &str = "local-authority.pem";
const KEY: &str = "local-authority.key";

/// What it signs is made anew this often, a third of the time that it holds.
const PERIOD: u64 = 30 * 86_400;

/// Bits that let others than the owner read a key.
const LOOSE: u32 = 0o077;

/// As it is told, or where systemd, or else XDG, want it to be.
pub(super) fn state_dir(config: &Config, beside: &Path) -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(told) = &config.server.state_dir {
        let path = beside.join(told);
        return std::path::absolute(&path).unwrap_or(path);
    }
    let home = || Some(variable("HOME")?.join(".local/state"));
    let systemd = variable("STATE_DIRECTORY");
    let user = || Some(variable("XDG_STATE_HOME").or_else(home)?.join("pointsman"));
    systemd
        .or_else(user)
        .unwrap_or_else(|| "/var/lib/pointsman".into())
}

/// Where the certificate is that clients of this configuration are to trust.
pub fn authority_certificate(source: &ConfigSource) -> Result<PathBuf, Vec<Report>> {
    let reading = source.read_only();
    let config = source.parse(&reading);
    let config = config.map_err(|problems| source.reports(&reading, &problems))?;
    Ok(state_dir(&config, source.directory()).join(CERTIFICATE))
}

/// Reads it. Where there is none it is made, and kept if `keep`.
pub(super) fn read(directory: &Path, keep: bool) -> LocalAuthority {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let secret = |text: Vec<u8>| Secret(text.into());
    let pair = pair(directory, keep);
    LocalAuthority {
        place: directory.display().to_string(),
        content: pair.map(|(certificate, key)| (secret(certificate), secret(key))),
        period: since.unwrap_or_default().as_secs() / PERIOD,
    }
}

type Pair = (Vec<u8>, Vec<u8>);

/// What is wrong, and what to do.
type Fault = (String, String);

fn pair(directory: &Path, keep: bool) -> Result<Pair, Fault> {
    let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
    let read = |path: &Path| match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unkept(path, &error)),
    };
    match (read(&certificate)?, read(&key)?) {
        (Some(pem), Some(key_pem)) => {
            let mode = fs::metadata(&key).map_err(|error| unkept(&key, &error))?;
            let mode = mode.permissions().mode() & 0o777;
            if mode & LOOSE != 0 {
                let key = key.display();
                let message = format!("{key} is a key that others can use: its mode is {mode:04o}");
                return Err((message, format!("run `chmod 0600 {key}`")));
            }
            Ok((pem, key_pem))
        }
        (None, None) => {
            let (pem, key_pem) = make_authority().map_err(|error| {
                (
                    format!("no authority can be made: {error}"),
                    "try again".to_owned(),
                )
            })?;
            if keep {
                store(&key, &key_pem).map_err(|error| unkept(&key, &error))?;
                store(&certificate, &pem).map_err(|error| unkept(&certificate, &error))?;
                tracing::info!(
                    certificate = %certificate.display(),
                    "made a local authority; `pointsman trust` tells how to trust it"
                );
            }
            Ok((pem.into_bytes(), key_pem.into_bytes()))
        }
        (Some(_), None) => Err(half(&certificate, &key)),
        (None, Some(_)) => Err(half(&key, &certificate)),
    }
}

fn unkept(path: &Path, error: &io::Error) -> Fault {
    (
        format!(
            "the local authority cannot be kept in {}: {error}",
            path.display()
        ),
        "write `server.state_dir = \"...\"`, a directory of the process's own".to_owned(),
    )
}

fn half(there: &Path, missing: &Path) -> Fault {
    let (there, missing) = (there.display(), missing.display());
    (
        format!("of the local authority there is {there}, and no {missing}"),
        format!("bring {missing} back, or take {there} away, and both are made anew"),
    )
}

/// Whole or not at all, for the owner alone.
fn store(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let new = path.with_extension("new");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new);
    let mut file = file?;
    // It may have been there before, with another mode.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}
