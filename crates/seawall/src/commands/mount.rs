//! `seawall mount`.

use std::path::Path;

use anyhow::Context as _;
use seawall_backup::browse::Names;
use seawall_node::{Home, MountOptions, Unmounted, mount, view};
use seawall_record::{Ending, Use};
use serde_json::json;

use super::restore::{note_use, open_one, reach};
use crate::cli::MountArgs;
use crate::output::{Outcome, Printer};

pub(crate) fn run(args: &MountArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    anyhow::ensure!(
        Path::new("/dev/fuse").exists(),
        "there is no /dev/fuse here: run `modprobe fuse`, or give the container that device"
    );
    let point = &args.mountpoint;
    anyhow::ensure!(point.is_dir(), "{} is not a directory; make one first", point.display());
    let home = Home::open(home)?;
    let opened = open_one(&home, &args.request, &args.approvals, printer)?;
    let view = view(&reach(&home, printer)?, &opened)?;
    note_use(&home, &opened, (Use::Mount, Ending::Done), None, printer);
    let names = if args.no_link_counts || view.signed().totals.others == 0 {
        Names::new()
    } else {
        let bar = printer.count_bar("reading names");
        let names = view.names(&mut |seen| bar.set_position(seen));
        bar.finish_and_clear();
        names?
    };
    let value = json!({
        "snapshot": opened.examined.dossier.manifest_digest.to_hex(),
        "mountpoint": point,
        "custodians": opened.custodians,
    });
    let words = format!("mounted at {0}; Ctrl-C or `umount {0}` ends it", point.display());
    let options = MountOptions { allow_other: args.allow_other };
    let mut said = Ok(());
    let ended = mount(view, &names, point, options, &mut || said = printer.result(&value, &words))
        .context("not mounted (as another user than root, install fuse3 for `fusermount3`)")?;
    said?;
    match ended {
        Unmounted::ByOthers | Unmounted::BySignal => printer.say("unmounted"),
        Unmounted::InUse => {
            printer.warn("unmounted, but files were open there; reading on in them gives errors");
        }
    }
    Ok(Outcome::Done)
}
