//! An office over the network: [`Routes`] behind a server, a thread that lets time pass, one that
//! tells people, and one that has the logs witnessed.

use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use seawall_link::ServeError;
use seawall_record::Fleet;
use seawall_sign::SigningKey;
use tokio::signal::unix::{SignalKind, signal};

use crate::notify::{Notifier, Teller};
use crate::routes::{Routes, lock};
use crate::vouching::Vouching;
use crate::{Office, Rules};

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(500);

/// The thread in which the office notices that time passes. Dropped, it ends.
struct Ticking {
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Ticking {
    fn start(office: Arc<Mutex<Office>>, tell: Teller) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                tick(&office, &tell);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

fn tick(office: &Mutex<Office>, tell: &Teller) {
    let mut office = lock(office);
    if let Err(e) = office.tick() {
        tracing::error!(error = %e, "the office has trouble; trying again");
    }
    let notices = office.take_notices();
    drop(office);
    for notice in notices {
        tell.tell(notice);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.stop.send(());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the office's clock ended badly");
        }
    }
}

/// What the office goes by, read again.
pub type Renewal = (Vec<Fleet>, Rules);

/// Reads what the office goes by again when the process is told to (SIGHUP). What cannot be used
/// changes nothing, and is said.
fn renew_on_signal(
    office: Arc<Mutex<Office>>,
    read: impl Fn() -> Result<Renewal, String> + Send + 'static,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let hangups = {
        let _inside = runtime.enter();
        signal(SignalKind::hangup())?
    };
    std::thread::spawn(move || {
        let mut hangups = hangups;
        while runtime.block_on(hangups.recv()).is_some() {
            let renewed = read().and_then(|(fleets, rules)| {
                lock(&office).renew(fleets, rules).map_err(|e| e.to_string())
            });
            match renewed {
                Ok(()) => tracing::warn!("fleets and policy were read again"),
                Err(why) => tracing::error!(why, "nothing was changed"),
            }
        }
    });
    Ok(())
}

/// Serves an office on `listen` until the process is told to end (SIGINT, SIGTERM). `ready` is told
/// the address once it listens.
pub fn run_until_signal(
    office: Office,
    transport: &SigningKey,
    listen: &str,
    notifier: Notifier,
    read_again: impl Fn() -> Result<Renewal, String> + Send + 'static,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let office = Arc::new(Mutex::new(office));
    let routes = Arc::new(Routes::new(office.clone()));
    renew_on_signal(office.clone(), read_again).map_err(ServeError::of("signals"))?;
    let vouching = Vouching::start(office.clone(), SigningKey::from_seed(&transport.seed()));
    let ticking = Ticking::start(office, Teller::start(notifier));
    let served = seawall_link::serve_until_signal(routes, transport, listen, ready);
    drop((ticking, vouching));
    served
}
