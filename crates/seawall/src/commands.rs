//! One module per command.

pub(crate) mod audit;
pub(crate) mod custodian;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod drill;
pub(crate) mod epoch;
pub(crate) mod evidence;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod fleet;
pub(crate) mod group;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod mount;
pub(crate) mod node;
pub(crate) mod pages;
pub(crate) mod prune;
pub(crate) mod region;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod sanitise;
pub(crate) mod snapshot;
pub(crate) mod sync;
pub(crate) mod verify;

/// The machine's name, for naming a node that was not given one.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
