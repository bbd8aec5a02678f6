//! A configuration whose only answer is a page, so that one request tells which version serves.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::proxy::{BINARY, Proxy};
use super::{get, within};

/// An edit is to be live before a person wonders.
const SOON: Duration = Duration::from_secs(2);

/// The whole file, with the default settings.
pub(crate) fn page(text: &str) -> String {
    page_with("", text)
}

/// The whole file, with these keys of `[reload]`.
pub(crate) fn page_with(reload: &str, text: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nlog.access = false\n\
         [reload]\n{reload}\n\
         [[route]]\nname = \"page\"\nrespond = {{ body = \"{text}\" }}\n"
    )
}

/// A proxy started by a shell in namespaces of its own, for what only root could do to the machine.
/// The script may use `$2` and what follows for `arguments`.
pub(crate) fn in_namespaces(script: &str, config: &Path, arguments: &[&Path]) -> Proxy {
    let script = format!("{script} && exec \"$0\" run --config \"$1\"");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script, BINARY]);
    command.arg(config).args(arguments);
    Proxy::run(command, config)
}

impl Proxy {
    /// The text of the page that serves now.
    pub(crate) fn page(&self) -> String {
        get(self.address(), "/").text()
    }

    /// Waits for the page, as long as an edit may take to be live.
    #[track_caller]
    pub(crate) fn soon_serves(&self, text: &str) {
        within(SOON, &format!("the page `{text}`"), || self.page() == text);
    }

    /// How many attempts to reload ended so.
    pub(crate) fn reloads(&self, result: &str) -> f64 {
        self.metrics()
            .sum("pointsman_config_reloads_total", &[("result", result)])
    }

    /// The messages logged so far with that level.
    pub(crate) fn logged(&self, level: &str) -> Vec<String> {
        let log = self.log().into_iter();
        log.filter(|line| line["level"] == level)
            .map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}
