//! The stage: a fresh directory with a region, two nodes, shares and a copy of the tree.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;
use seawall_base::Rng as _;
use seawall_custodian::{examine, kem_keys};
use seawall_escrow::ShareFile;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Founding, FoundingGroup, Home, LocalGroup, RootFile, adopt_region, enroll, enrolment_bundle,
    found, member_keys, sign_region,
};
use seawall_record::RegionCard;
use seawall_region::Background;
use seawall_sign::Algorithm;
use seawall_sync::AuditReport;
use zeroize::Zeroizing;

use super::Figures;
use crate::output::{Printer, human};

pub(super) struct Scene {
    root: PathBuf,
    region: Background,
    shares: Vec<PathBuf>,
    passphrase: Zeroizing<Vec<u8>>,
    bytes: u64,
}

impl Scene {
    pub(super) fn set(
        root: PathBuf,
        source: &Path,
        printer: &Printer,
        figures: &mut Figures,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        let bytes = copy(source, &root.join("data"), printer)?;
        figures.add("copy of the tree", human(bytes), start);
        let start = Instant::now();
        let mut passphrase = Zeroizing::new(vec![0; 24]);
        OsRng.fill(&mut passphrase);
        let founding = Founding {
            home: &root.join("node-1"),
            group: FoundingGroup::Local(LocalGroup {
                shares_dir: &root.join("shares"),
                class: "default",
                custodians: ["anna", "ben", "cleo"].map(str::to_owned).to_vec(),
                threshold: 2,
                post_quantum: true,
            }),
            fleet_name: "demo",
            node_name: "node-1",
            tenant: "default",
            index: true,
            algorithm: Algorithm::Ed25519,
            bucket: None,
            canary: None,
        };
        let mut ask = |_: &str| Ok(passphrase.clone());
        let founded = found(&founding, &mut ask, &SystemClock, &mut OsRng)?;
        let region = start_region(&root, &founded.fleet)?;
        enrol_node_two(&root)?;
        printer.say(&format!(
            "fleet {} of two nodes, one region, three custodians, two needed",
            founded.fleet.id().fingerprint()
        ));
        figures.add("fleet", "2 nodes, 1 region, 2 of 3 custodians", start);
        Ok(Self { root, region, shares: founded.shares, passphrase, bytes })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn node_one(&self) -> PathBuf {
        self.root.join("node-1")
    }

    pub(super) fn node_two(&self) -> PathBuf {
        self.root.join("node-2")
    }

    /// Apparent bytes of the tree, for progress bars.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn destroy_node_one(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(self.node_one()).context("cannot destroy node-1")
    }

    /// What the custodian with the `n`-th share answers.
    pub(super) fn approve(&self, request: &[u8], n: usize) -> anyhow::Result<Vec<u8>> {
        let share = ShareFile::parse(&fs::read(&self.shares[n])?)?;
        let examined = examine(request, share.public().fleet)?;
        let secret = share.open(&self.passphrase)?;
        let keys = kem_keys(&secret, None)?;
        let approval =
            examined.approve(share.public(), &secret, &keys, &SystemClock, &mut OsRng)?;
        Ok(approval.to_json())
    }

    pub(super) fn verify_region(&self, printer: &Printer) -> anyhow::Result<AuditReport> {
        let bar = printer.bytes_bar("verifying", None);
        let report = self.region.region().verify(&mut |p| bar.set_position(p.bytes));
        bar.finish_and_clear();
        Ok(report?)
    }

    /// Flips one bit in the middle of the region's longest zone.
    pub(super) fn flip_a_bit(&self) -> anyhow::Result<String> {
        let mut zones = Vec::new();
        let mut dirs = vec![self.root.join("region")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    dirs.push(path);
                } else if path.extension().is_some_and(|e| e == "zone") {
                    zones.push((entry.metadata()?.len(), path));
                }
            }
        }
        let (len, path) = zones.into_iter().max().context("the region has no zone")?;
        let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        let at = len / 2;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ 1], at)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(format!("{name} at byte {at}"))
    }
}

/// Copies the tree, so that the demo can change it; returns its apparent bytes.
fn copy(source: &Path, to: &Path, printer: &Printer) -> anyhow::Result<u64> {
    printer.say(&format!("copying {} to work on", source.display()));
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([source, to])
        .status()
        .context("cannot run cp")?;
    if !status.success() {
        printer.warn("some files could not be copied and are not part of the demo");
    }
    let mut bytes = 0;
    let mut dirs = vec![to.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                dirs.push(entry.path());
            } else if meta.is_file() {
                bytes += meta.len();
            }
        }
    }
    Ok(bytes)
}

fn start_region(root: &Path, fleet: &seawall_record::Fleet) -> anyhow::Result<Background> {
    // The port is free now and taken again in a moment; the card needs its number.
    let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let home = root.join("region");
    let fleets = std::slice::from_ref(fleet);
    let card = seawall_region::init(&home, &listen, "region", fleets, &mut OsRng, &SystemClock)?;
    let region = seawall_region::serve_in_background(&home)?;
    let node_one = Home::open(&root.join("node-1"))?;
    let (card, roots) = (RegionCard::parse(&card.to_json())?, node_one.root_keys()?);
    adopt_region(&node_one, &sign_region(&node_one, &card, &roots, &SystemClock)?)?;
    Ok(region)
}

fn enrol_node_two(root: &Path) -> anyhow::Result<()> {
    let node_one = Home::open(&root.join("node-1"))?;
    let node_two = Home::create(&root.join("node-2"), "node-2", None)?;
    let card = member_keys(&node_two, Algorithm::Ed25519, &mut OsRng)?;
    let roots = node_one.root_keys()?;
    let bundle = enrolment_bundle(&node_one, &card, &roots, &SystemClock, &mut OsRng)?;
    let bundle = RootFile::Bundle(Box::new(bundle)).to_json();
    enroll(&node_two, &bundle, Some(node_one.fleet()?.id()))?;
    Ok(())
}
