//! TLS of listeners: certificates from what their files hold, or held back, where they hold what cannot
//! be used while another version of them serves.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::Snapshot;
use super::client_auth::Policies;
use super::{fingerprint, local};
use crate::config::{
    self, CertificateFiles, CertificateSource, ClientAuth, Config, Http2, KeyPath, Problem, Secret,
    TlsFile, TlsFiles,
};
use crate::net::tls::{Certificate, Entry, Fault, Part, Policy, Sites, Tls};

/// Bits that let others than the owner read a key, or its group change it.
const LOOSE: u32 = 0o037;

/// What is at hand for the TLS of one listener.
struct Desk<'a> {
    files: &'a TlsFiles,
    before: Option<&'a Tls>,
    at: KeyPath,
}

/// The TLS of one listener; none, with a Problem, if a certificate cannot be had.
pub(super) fn compile(
    name: &str,
    listener: &config::Listener,
    config: &Config,
    previous: Option<&Snapshot>,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Tls>> {
    let tls = listener.tls.as_ref()?;
    let files = &config.tls_files;
    let desk = Desk {
        files,
        before: previous.and_then(|previous| previous.tls(name)),
        at: at.clone(),
    };
    let mut policies = Policies::default();
    let entries = match &tls.certificate {
        CertificateSource::Files(wanted) => {
            desk.entries(wanted, tls.client.as_ref(), &mut policies, problems)
        }
        CertificateSource::Internal => {
            let at = desk.at.key("client");
            let policy = policies.number(tls.client.as_ref(), at);
            let entry = local::entry(config, listener, desk.before, &desk.at, problems);
            entry.map(|entry| vec![Entry { policy, ..entry }])
        }
    };
    let asks = policies.compile(files, problems);
    let (sites, asks) = (Arc::new(Sites::new(entries?)), asks?);
    let http2 = listener.http2 != Http2::Off;
    let policies = asks.into_iter().map(|asks| {
        let before = desk.before.map(Tls::policies).unwrap_or_default();
        let before = before.iter().find(|before| before.id == asks.id);
        let policy = Policy::new(asks, &sites, http2, before);
        policy.map_err(|error| problems.push(Problem::error(at, error.to_string())))
    });
    let policies: Result<Vec<Policy>, ()> = policies.collect();
    Some(Arc::new(Tls::new(sites, policies.ok()?)))
}

impl Desk<'_> {
    fn entries<'a>(
        &self,
        wanted: &'a [CertificateFiles],
        client: Option<&'a ClientAuth>,
        policies: &mut Policies<'a>,
        problems: &mut Vec<Problem>,
    ) -> Option<Vec<Entry>> {
        let at = self.at.key("certificate");
        if wanted.is_empty() {
            let help =
                "write `certificate = [{ cert = \"tls/site.pem\", key = \"tls/site.key\" }]`";
            problems.push(Problem::error(&at, "no certificate is named").help(help));
            return None;
        }
        let entries = wanted.iter().enumerate().map(|(index, wanted)| {
            let (place, own) = (at.index(index), wanted.client.as_ref());
            let from = own.map_or_else(|| self.at.key("client"), |_| place.key("client"));
            let policy = policies.number(own.or(client), from);
            let known = self.before.and_then(|before| known(before, wanted));
            let entry = entry(wanted, self.files, known, &place, problems);
            entry.map(|entry| Entry { policy, ..entry })
        });
        let entries: Vec<Option<Entry>> = entries.collect();
        let entries = entries.into_iter().collect::<Option<Vec<Entry>>>()?;
        one_policy_a_name(&entries, &at, problems);
        Some(entries)
    }
}

/// Two answers to who may come in would be one that depends on the client's cipher.
fn one_policy_a_name(entries: &[Entry], at: &KeyPath, problems: &mut Vec<Problem>) {
    let mut asked: HashMap<&str, usize> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        for name in entry.certificate.names() {
            let first = *asked.entry(name).or_insert(entry.policy);
            if first != entry.policy {
                let message =
                    format!("`{name}` is in another certificate that asks something else");
                let problem = Problem::error(at.index(index).key("cert"), message);
                problems.push(problem.help("give both the same `client`"));
            }
        }
    }
}

/// The same pair of files, as it serves.
fn known<'a>(before: &'a Tls, wanted: &CertificateFiles) -> Option<&'a Entry> {
    let mut entries = before.entries().iter();
    entries.find(|entry| entry.label == wanted.cert && entry.key == wanted.key)
}

/// The pair in its place; the one before, with a warning, while its files hold what cannot be used.
pub(super) fn entry(
    wanted: &CertificateFiles,
    files: &TlsFiles,
    known: Option<&Entry>,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    let entry = read(wanted, files, known).map_err(|fault| {
        let (key, name) = match fault.part {
            Part::Certificate => ("cert", &wanted.cert),
            Part::Key => ("key", &wanted.key),
        };
        let message = format!("`{name}` {}", fault.message);
        let problem = match known {
            None => Problem::error(at.key(key), message),
            Some(_) => {
                let message = format!("{message}; the pair before goes on");
                Problem::warning(at.key(key), message)
            }
        };
        problems.push(problem.maybe_help(fault.help));
    });
    let held_back = || {
        let kept_back = true;
        known.map(|known| Entry {
            kept_back,
            ..known.clone()
        })
    };
    let entry = entry.ok().or_else(held_back)?;
    let now = Timestamp::now().as_second();
    let certificate = &entry.certificate;
    let when = |second| {
        Timestamp::from_second(second).map_or_else(|_| "?".to_owned(), |at| at.to_string())
    };
    let mut warn = |what: &str, second| {
        let message = format!(
            "the certificate in `{}` {what} {}",
            wanted.cert,
            when(second)
        );
        problems.push(Problem::warning(at.key("cert"), message));
    };
    if certificate.not_after < now {
        warn("has ended on", certificate.not_after);
    }
    if certificate.not_before > now {
        warn("holds only from", certificate.not_before);
    }
    Some(entry)
}

/// The pair as the files have it now.
fn read(
    wanted: &CertificateFiles,
    files: &TlsFiles,
    known: Option<&Entry>,
) -> Result<Entry, Fault> {
    let certificate = content(files, &wanted.cert, Part::Certificate)?;
    let key = content(files, &wanted.key, Part::Key)?;
    if let Some(file) = files.0.get(&wanted.key)
        && file.mode & LOOSE != 0
        && !wanted.allow_loose_key
    {
        return Err(loose(file));
    }
    let content = fingerprint(&(&certificate.0, &key.0));
    let same = known.filter(|known| known.content == content);
    let certificate = match same {
        Some(known) => Arc::clone(&known.certificate),
        None => Arc::new(Certificate::from_pem(&certificate.0, &key.0)?),
    };
    Ok(Entry {
        label: wanted.cert.clone(),
        key: wanted.key.clone(),
        content,
        certificate,
        policy: 0,
        kept_back: false,
    })
}

pub(super) fn content<'a>(
    files: &'a TlsFiles,
    name: &str,
    part: Part,
) -> Result<&'a Secret, Fault> {
    let fault = |message: &str, help: String| Fault {
        part,
        message: message.to_owned(),
        help: Some(help),
    };
    let file = files.0.get(name).ok_or_else(|| {
        let help = "write the key `tls` without escapes";
        fault("was not read", help.to_owned())
    })?;
    let content = file.content.as_ref();
    content.map_err(|why| fault(why, format!("it is looked for at {}", file.place)))
}

fn loose(file: &TlsFile) -> Fault {
    let TlsFile { place, mode, .. } = file;
    let help = format!("run `chmod 0600 {place}`, or write `allow_loose_key = true` beside it");
    Fault {
        part: Part::Key,
        message: format!("is a key that others than its owner can use: its mode is {mode:04o}"),
        help: Some(help),
    }
}
