//! `seawall fleet index | operator`: who finds paths without custodians.

use anyhow::Context as _;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Home, PolicyChange, RootFile, apply_index_policy, change_index_policy, index_policy,
};
use seawall_record::{IndexPolicy, OperatorCard};
use seawall_sign::Envelope;
use serde_json::json;

use super::sign;
use crate::cli::{DecideArgs, IndexCommand, OperatorCommand};
use crate::output::{Printer, read_input, show_path};

pub(super) fn run(home: &Home, command: &IndexCommand, printer: &Printer) -> anyhow::Result<()> {
    let change = match command {
        IndexCommand::Show => return show(home, index_policy(home)?.as_ref(), printer),
        IndexCommand::On { class, decide } => (PolicyChange::On(class.clone()), decide),
        IndexCommand::Off { class, decide } => (PolicyChange::Off(class.clone()), decide),
        IndexCommand::Apply { file } => {
            let envelope = Envelope::parse(read_input(file)?.trim_ascii())
                .with_context(|| format!("{} is not a signed statement", file.display()))?;
            return apply(home, &envelope, TO_SIGN, printer);
        }
    };
    decide(home, &change.0, change.1, printer)
}

pub(super) fn operator(
    home: &Home,
    command: &OperatorCommand,
    printer: &Printer,
) -> anyhow::Result<()> {
    let change = match command {
        OperatorCommand::Add { card, decide } => {
            (PolicyChange::Add(OperatorCard::parse(&read_input(card)?)?), decide)
        }
        OperatorCommand::Remove { name, decide } => (PolicyChange::Remove(name.clone()), decide),
    };
    decide(home, &change.0, change.1, printer)
}

fn decide(
    home: &Home,
    change: &PolicyChange,
    args: &DecideArgs,
    printer: &Printer,
) -> anyhow::Result<()> {
    let roots = sign::signers(home, &args.roots)?;
    let envelope = change_index_policy(home, change, &roots, &SystemClock, &mut OsRng)?;
    let Some(out) = &args.out else {
        return apply(home, &envelope, sign::MORE_COPIES, printer);
    };
    let words = "nothing is changed yet; seawall fleet index apply puts it in force";
    sign::write(&RootFile::Statement(envelope), &home.fleet()?, out, words, printer)
}

/// What to do about a file that others have to sign.
const TO_SIGN: &str = "nothing was changed; each other holder of a root key adds a signature to the file (seawall fleet sign)";

fn apply(home: &Home, envelope: &Envelope, remedy: &str, printer: &Printer) -> anyhow::Result<()> {
    let (have, need) = home.fleet()?.root_signatures(envelope);
    anyhow::ensure!(have >= need, sign::too_few((have, need), remedy));
    let policy = apply_index_policy(home, envelope)?;
    show(home, Some(&policy), printer)?;
    printer.say(
        "it holds for snapshots made here from now on; other nodes learn of it from a new bundle (seawall fleet bundle, seawall node enroll)",
    );
    Ok(())
}

fn show(home: &Home, policy: Option<&IndexPolicy>, printer: &Printer) -> anyhow::Result<()> {
    let fleet = home.fleet()?;
    let has = |class: &str| policy.is_some_and(|p| p.classes.iter().any(|c| c == class));
    let classes: Vec<_> = fleet.groups().iter().map(|g| g.class.as_str()).collect();
    let operators = policy.map_or(&[][..], |p| &p.operators);
    let value = json!({
        "classes": classes.iter().map(|class| json!({
            "class": class, "index": has(class),
        })).collect::<Vec<_>>(),
        "operators": operators.iter().map(|o| json!({
            "name": o.name, "id": hex::encode(o.id().0),
        })).collect::<Vec<_>>(),
        "version": policy.map(|p| p.version),
        "decided": policy.map(|p| p.created.to_string()),
    });
    let name = |text: &str| show_path(text.as_bytes());
    let mut lines: Vec<String> = Vec::new();
    for class in classes {
        let index = if has(class) { "snapshots get a path index" } else { "no path index" };
        lines.push(format!("class {}: {index}", name(class)));
    }
    for operator in operators {
        let id = &hex::encode(operator.id().0)[..12];
        lines.push(format!("operator {} ({id}) reads them", name(&operator.name)));
    }
    if operators.is_empty() {
        lines.push("nobody reads path indexes".to_owned());
    }
    printer.result(&value, &lines.join("\n"))
}
