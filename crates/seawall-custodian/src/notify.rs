//! Telling people that somebody asks: an HTTP POST, or a command such as one that sends mail.
//!
//! What is told is what the request itself says; a partial or a share is never near. It goes out
//! at least once: a machine that was killed announces again what is still open. It is no part of
//! any decision, so that a mail server that is down delays nothing but mail.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::time::Duration;

use http::Uri;
use http::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use serde::Serialize;

use crate::ListedCase;
use crate::message::Standing;

/// How long one telling may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Notices that wait to be told, at one time; more are dropped with a word in the log.
const MAX_WAITING: usize = 256;

/// Variables that are no business of a command.
const SECRET: &[&str] = &["SEAWALL_SHARE_PASSPHRASE", "SEAWALL_TOKEN_PIN"];

/// Whom to tell.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    /// An `https:` or `http:` URL that is sent a JSON object by POST.
    pub webhook: Option<Uri>,
    /// A command for `sh -c` that gets the text on its standard input.
    pub command: Option<String>,
}

/// What a webhook is sent.
#[derive(Serialize)]
struct Body<'n> {
    event: &'static str,
    fleet: String,
    fleet_name: &'n str,
    request: String,
    requester: &'n str,
    requester_name: Option<&'n str>,
    reason: &'n str,
    snapshot: String,
    node: Option<String>,
    node_name: Option<&'n str>,
    class: &'n str,
    files: u64,
    bytes: u64,
    witnessed: Option<&'n str>,
    break_glass: bool,
    expires: String,
    state: Standing,
    decision: &'n str,
}

impl ListedCase {
    fn json(&self) -> Vec<u8> {
        let about = self.about.as_deref();
        let body = Body {
            event: "restore-request",
            fleet: self.fleet.to_string(),
            fleet_name: &self.fleet_name,
            request: self.request.to_hex(),
            requester: &self.requester,
            requester_name: about.map(|it| it.requester_name.as_str()),
            reason: &self.reason,
            snapshot: self.manifest.to_hex(),
            node: about.map(|it| it.node.to_string()),
            node_name: about.map(|it| it.node_name.as_str()),
            class: &self.class,
            files: self.files,
            bytes: self.bytes,
            witnessed: about.map(|it| it.witnessed.as_str()),
            break_glass: self.break_glass().is_some(),
            expires: self.expires.to_string(),
            state: self.state,
            decision: &self.decision,
        };
        serde_json::to_vec(&body).expect("text and numbers serialise")
    }

    /// For people, in lines.
    pub fn text(&self) -> String {
        let glass = if self.break_glass().is_some() { ", and BREAKS THE GLASS" } else { "" };
        let short = &self.request.to_hex()[..16];
        let what_now = match self.state {
            Standing::Pending => format!(
                "To confirm it: seawall custodian approve {short} --key FILE\nTo refuse it:  seawall custodian refuse {short} --key FILE --reason TEXT"
            ),
            Standing::Refused => "It is refused: there is nothing to confirm.".to_owned(),
            Standing::Answered => "It is answered: there is nothing left to say no to.".to_owned(),
        };
        format!("Somebody asks for a restore{glass}.\n\n{}\n{what_now}\n", self.facts())
    }
}

/// Tells in a thread of its own, one after the other.
pub(crate) struct Teller(SyncSender<ListedCase>);

impl Teller {
    pub(crate) fn start(notifier: Notifier) -> Self {
        let (send, waiting) = mpsc::sync_channel::<ListedCase>(MAX_WAITING);
        std::thread::spawn(move || {
            for notice in waiting {
                let request = notice.request.to_hex();
                tracing::info!(request, decision = notice.decision, "somebody asks");
                if let Some(url) = &notifier.webhook {
                    report(&request, "webhook", post(url, notice.json()));
                }
                if let Some(command) = &notifier.command {
                    report(&request, "command", run(command, &notice));
                }
            }
        });
        Self(send)
    }

    pub(crate) fn tell(&self, notice: ListedCase) {
        if let Err(TrySendError::Full(notice)) = self.0.try_send(notice) {
            let request = notice.request.to_hex();
            tracing::error!(request, "too much is waiting to be told; nobody is told of this");
        }
    }
}

fn report(request: &str, how: &str, told: io::Result<()>) {
    if let Err(e) = told {
        tracing::error!(request, how, error = %e, "nobody could be told");
    }
}

/// An `https:` or `http:` URL with a host.
pub fn parse_webhook(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|e| format!("{text:?} is no URL: {e}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return Err(format!("{text:?} is no https: or http: URL"));
    }
    Ok(uri)
}

/// Sends a JSON body; anything but a status of success is an error, and so is being sent on: what
/// is told goes where the operator said. Who has an `https:` URL shows a certificate that this
/// system trusts.
fn post(url: &Uri, body: Vec<u8>) -> io::Result<()> {
    let exchange = async {
        let client = reqwest::Client::builder().timeout(LIMIT).redirect(Policy::none()).build()?;
        let request = client.post(url.to_string()).header(CONTENT_TYPE, "application/json");
        Ok(request.body(body).send().await?.status())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(exchange).map_err(|e: reqwest::Error| io::Error::other(whole(&e)))? {
        status if status.is_success() => Ok(()),
        status => Err(io::Error::other(format!("it answered {status}"))),
    }
}

/// An error with what caused it, without the URL: that may be a secret of its owner's.
fn whole(e: &reqwest::Error) -> String {
    let mut causes = vec!["not sent".to_owned()];
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

/// Runs a command with the text on its standard input, in a process group of its own, and ends
/// all of it when it takes too long.
fn run(command: &str, notice: &ListedCase) -> io::Result<()> {
    let mut shell = Command::new("sh");
    for name in SECRET {
        shell.env_remove(name);
    }
    shell.env("SEAWALL_REQUEST", notice.request.to_hex());
    shell.env("SEAWALL_FLEET", notice.fleet.to_hex());
    let silent = || (Stdio::null(), Stdio::null());
    let (out, err) = silent();
    shell.arg("-c").arg(command).stdin(Stdio::piped()).stdout(out).stderr(err).process_group(0);
    let mut child = shell.spawn()?;
    let text = notice.text();
    let mut input = child.stdin.take().ok_or_else(|| io::Error::other("no input"))?;
    // In a thread: a command that reads nothing would hold us up.
    let writing = std::thread::spawn(move || {
        // A command need not read what it is told.
        let _ = input.write_all(text.as_bytes());
    });
    let mut waited = Duration::ZERO;
    let pause = Duration::from_millis(20);
    let ended = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if waited >= LIMIT => break None,
            None => std::thread::sleep(pause),
        }
        waited += pause;
    };
    if ended.is_none() {
        if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
        }
        child.wait()?;
    }
    drop(writing);
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(io::Error::other(format!("it ended with {status}"))),
        None => Err(io::Error::other("it was ended: it took too long")),
    }
}
