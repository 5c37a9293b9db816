//! A region over the network: [`Routes`] behind a server, garbage collected beside it, and the region
//! closed after its end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use seawall_host::OsRng;

use crate::routes::Routes;
use crate::{Collect, Region, RegionError};

/// Opens the region in `home` and serves it until the process is told to end (SIGINT, SIGTERM).
/// `ready` is told the address once it listens.
pub fn run_until_signal(home: &Path, ready: impl FnOnce(SocketAddr)) -> Result<(), RegionError> {
    let region = Arc::new(Region::open(home)?);
    let routes = Arc::new(Routes::new(region.clone()));
    let listen = &region.config().listen;
    let collecting = Collecting::start(&region);
    let served = seawall_link::serve_until_signal(routes, &region.keys.transport, listen, ready);
    collecting.stop();
    served?;
    region.close()
}

/// How often garbage is collected. What is condemned in one run is removed a day later.
const EVERY: Duration = Duration::from_hours(1);

/// A thread that collects garbage now and then, until it is told to stop.
struct Collecting {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Collecting {
    fn start(region: &Arc<Region>) -> Self {
        let (stop, stopped) = channel();
        let region = region.clone();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let done = region.collect(&Collect::default(), &mut OsRng, &mut |_| ());
                match done {
                    Ok(report) => tracing::info!(freed = report.freed(), "collected"),
                    Err(e) => tracing::error!(error = %e, "garbage was not collected"),
                }
            }
        });
        Self { stop, thread }
    }

    /// Waits for a collection that runs: a region that ends in the middle of one ends in order.
    fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that collects garbage panicked");
        }
    }
}

/// A region served by a thread of this process.
pub struct Background {
    server: seawall_link::Background,
    region: Arc<Region>,
    /// Once it has been closed, it is not closed again.
    is_open: bool,
}

/// Opens the region in `home` and serves it in the background.
pub fn serve_in_background(home: &Path) -> Result<Background, RegionError> {
    let region = Arc::new(Region::open(home)?);
    let routes = Arc::new(Routes::new(region.clone()));
    let (own, listen) = (&region.keys.transport, &region.config().listen);
    let server = seawall_link::serve_in_background(routes, own, listen)?;
    Ok(Background { server, region, is_open: true })
}

impl Background {
    /// Where it listens; the port is the real one where the configuration says 0.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The region, for adding fleets and verifying while it runs.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Ends it in order and waits for the end.
    pub fn stop(mut self) -> Result<(), RegionError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), RegionError> {
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        let served = self.server.stop();
        self.region.close()?;
        Ok(served?)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            tracing::error!(error = %e, "the region ended badly");
        }
    }
}
