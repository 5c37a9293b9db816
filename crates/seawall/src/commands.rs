//! One module per command.

use std::path::Path;

use anyhow::Context as _;

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
mod known;
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

/// What a home may be, and the file that says so. Each keeps its keys under names that others have too.
const ROLES: [(&str, &str); 3] = [
    ("home.json", "a node's home"),
    ("region.json", "a region's home"),
    ("custodian.json", "a custodian's home"),
];

/// Refuses to make a home of what is another kind of home already: its commands would pass over what
/// is there.
fn check_role(home: &Path, own: &str) -> anyhow::Result<()> {
    for (file, what) in ROLES {
        let there = home.join(file);
        let is_there = there.try_exists().with_context(|| there.display().to_string())?;
        anyhow::ensure!(
            file == own || !is_there,
            "{} is {what} already, and a home is one thing: name another directory (--home)",
            home.display()
        );
    }
    Ok(())
}

/// The machine's name, for naming a node that was not given one.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
