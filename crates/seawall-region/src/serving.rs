//! A region over the network: [`Routes`] behind a server, and the region closed after its end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::routes::Routes;
use crate::{Region, RegionError};

/// Opens the region in `home` and serves it until the process is told to end (SIGINT, SIGTERM).
/// `ready` is told the address once it listens.
pub fn run_until_signal(home: &Path, ready: impl FnOnce(SocketAddr)) -> Result<(), RegionError> {
    let region = Arc::new(Region::open(home)?);
    let routes = Arc::new(Routes::new(region.clone()));
    let listen = &region.config().listen;
    seawall_link::serve_until_signal(routes, &region.keys.transport, listen, ready)?;
    region.close()
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
