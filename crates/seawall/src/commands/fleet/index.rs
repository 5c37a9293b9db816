//! `seawall fleet index | operator`: who finds paths without custodians.

use seawall_host::{OsRng, SystemClock};
use seawall_node::{Home, PolicyChange, change_index_policy, index_policy};
use seawall_record::{IndexPolicy, OperatorCard};
use serde_json::json;

use crate::cli::{IndexCommand, OperatorCommand};
use crate::output::{Printer, read_input, show_path};

pub(super) fn run(home: &Home, command: &IndexCommand, printer: &Printer) -> anyhow::Result<()> {
    let change = match command {
        IndexCommand::Show => return show(home, index_policy(home)?.as_ref(), printer),
        IndexCommand::On { class } => PolicyChange::On(class.clone()),
        IndexCommand::Off { class } => PolicyChange::Off(class.clone()),
    };
    decide(home, &change, printer)
}

pub(super) fn operator(
    home: &Home,
    command: &OperatorCommand,
    printer: &Printer,
) -> anyhow::Result<()> {
    let change = match command {
        OperatorCommand::Add { card } => {
            PolicyChange::Add(OperatorCard::parse(&read_input(card)?)?)
        }
        OperatorCommand::Remove { name } => PolicyChange::Remove(name.clone()),
    };
    decide(home, &change, printer)
}

fn decide(home: &Home, change: &PolicyChange, printer: &Printer) -> anyhow::Result<()> {
    let policy = change_index_policy(home, change, &SystemClock, &mut OsRng)?;
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
