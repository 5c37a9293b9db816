//! PostgreSQL as a source, with a real server. Outside `./test`: `just postgres` runs it.
//!
//! The page docs/manual/postgresql.md is run as it stands, while a benchmark writes; then servers
//! are started on what it restored, and asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{arg, end, said, start_command, wait_until};
use crate::manual::{Here, blocks_of, search_path};

/// Who the server runs as where the tests run as root, which it refuses.
const NOBODY: u32 = 65534;

/// Where the server's programs are.
fn programs() -> PathBuf {
    let said = said(Command::new("pg_config").arg("--bindir"));
    let configured = PathBuf::from(said.stdout.trim());
    if configured.join("initdb").exists() {
        return configured;
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions.filter_map(|v| Some(v.ok()?.path().join("bin")));
    found.max().expect("no PostgreSQL here: apt-get install postgresql")
}

/// A server on a data directory, with its socket beside it; stopped when dropped.
struct Server {
    data: PathBuf,
    sockets: PathBuf,
}

impl Server {
    /// A command of the server's, by its user.
    fn command(program: &str, at: &Path) -> Command {
        let program = programs().join(program);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            command.args(ids).args(["--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(at).stdin(Stdio::null()).env("LC_ALL", "C");
        command
    }

    /// Makes an empty cluster below `dir` and starts it.
    fn new(dir: &Path) -> Self {
        if rustix::process::geteuid().is_root() {
            chown(dir, Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        let data = dir.join("pgdata");
        let args = ["--auth=trust", "--username=keeper", "--encoding=UTF8", "--locale=C", "-D"];
        said(Self::command("initdb", dir).args(args).arg(&data)).ok();
        Self::on(data, dir)
    }

    /// Starts a server on what is in `data`, which becomes its user's.
    fn on(data: PathBuf, sockets: &Path) -> Self {
        let options =
            format!("-c listen_addresses= -k {} -c wal_keep_size=512MB", sockets.display());
        let mut command = Self::command("pg_ctl", sockets);
        command.args(["start", "--wait", "-D", arg(&data), "--options", &options, "--log"]);
        // What the server says is not held by a pipe that would never end.
        command.arg(data.with_extension("log")).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.status().expect("pg_ctl runs").success();
        let log = || fs::read_to_string(data.with_extension("log"));
        assert!(started, "{:?}", log());
        Self { data, sockets: sockets.to_owned() }
    }

    fn end(&self, how: &str) {
        let mut command = Self::command("pg_ctl", &self.sockets);
        said(command.args(["stop", "--wait", "--mode", how, "-D", arg(&self.data)]));
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        command.env("PGHOST", &self.sockets).env("PGUSER", "keeper").stdin(Stdio::null());
        command
    }

    fn ask(&self, database: &str, query: &str) -> String {
        let args = ["--no-align", "--tuples-only", "--quiet", "--set", "ON_ERROR_STOP=1"];
        let mut psql = self.client("psql");
        said(psql.args(args).args(["--command", query, database])).ok().stdout.trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("immediate");
    }
}

/// What is in a shop.
const CONTENT: &str = "SELECT count(*), md5(string_agg(name, ',' ORDER BY id)) FROM goods";
/// True in every consistent state of the benchmark's tables, and hardly ever in another.
const BALANCED: &str = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = \
    (SELECT sum(delta) FROM pgbench_history) AND (SELECT sum(tbalance) FROM pgbench_tellers) = \
    (SELECT sum(delta) FROM pgbench_history)";

/// A fleet, and a server with a shop and a bank.
struct World {
    here: Here,
    server: Option<Server>,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::of(crate::harness::Fleet::found())
    }

    fn of(fleet: crate::harness::Fleet) -> Self {
        let here = Here::new(fleet);
        // The server's user goes through to what is restored.
        for dir in [here.fleet.path(""), here.path("")] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("opened");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let server = Server::new(dir.path());
        said(server.client("createdb").arg("shop")).ok();
        let goods = "CREATE TABLE goods AS SELECT id, md5(id::text) || repeat('x', 40) AS name \
            FROM generate_series(1, 300000) AS id";
        server.ask("shop", goods);
        said(server.client("pgbench").args(["--initialize", "--scale=3", "--quiet", "postgres"]))
            .ok();
        Self { here, server: Some(server), dir }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("not ended")
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.settings();
        variables.push(("PGDATA", arg(&self.server().data).to_owned()));
        variables
    }

    /// What clients need, whether a server runs or not.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let bin = programs().display().to_string();
        [
            ("PGHOST", arg(self.dir.path()).to_owned()),
            ("PGUSER", "keeper".to_owned()),
            ("PATH", format!("{bin}:{}", search_path())),
        ]
        .into()
    }

    /// A snapshot by a command that asks the server.
    fn create(&self, command: &[&str]) -> Command {
        let mut create = crate::harness::seawall();
        create.args(["snapshot", "create", "--json", "--stdin-filename", "dump"]).args(command);
        create.env("SEAWALL_HOME", self.here.fleet.home()).envs(self.variables());
        create
    }

    /// Starts a server on a restored data directory.
    fn second(&self, data: &Path) -> Server {
        if rustix::process::geteuid().is_root() {
            let parents = data.ancestors().skip(1).take_while(|dir| **dir != *self.here.path(""));
            for dir in parents {
                let mode = fs::metadata(dir).expect("there").permissions().mode();
                fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o711)).expect("opened");
            }
            chown(data, Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        // Its log is written by its user.
        let log = fs::File::create(data.with_extension("log")).expect("made");
        log.set_permissions(fs::Permissions::from_mode(0o666)).expect("opened");
        Server::on(data.to_owned(), self.dir.path())
    }
}

#[test]
#[ignore = "needs PostgreSQL: just postgres"]
fn the_page_leads_back_to_servers_that_answer() {
    let mut world = World::new();
    let before = world.server().ask("shop", CONTENT);
    let mut bank = world.server().client("pgbench");
    let mut bank = bank
        .args(["--time=120", "--client=2", "--no-vacuum", "postgres"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgbench runs");
    let history = "SELECT count(*) FROM pgbench_history";
    wait_until("money moves", || number(world.server(), history) > 20);
    let least = number(world.server(), history);
    world.here.run_with(&blocks_of("postgresql", "sh postgres"), &world.variables());
    assert!(bank.try_wait().expect("a child").is_none(), "it wrote all the time");
    bank.kill().expect("killed");
    bank.wait().expect("reaped");
    assert_eq!(world.server().ask("shop_back", CONTENT), before, "of the dump");
    // One socket: the servers run one after the other.
    let data = world.server().data.clone();
    world.server = None;
    let in_place = world.here.path("data").join(data.strip_prefix("/").expect("absolute"));
    for found in [world.here.path("cluster"), in_place] {
        let second = world.second(&found);
        assert_eq!(second.ask("shop", CONTENT), before, "{}", found.display());
        assert_eq!(second.ask("postgres", BALANCED), "t", "{}", found.display());
        assert!(number(&second, history) >= least);
        second.ask("postgres", "INSERT INTO pgbench_history (delta) VALUES (0)");
    }
}

fn number(server: &Server, query: &str) -> u64 {
    server.ask("postgres", query).parse().expect("a number")
}

#[test]
#[ignore = "needs PostgreSQL: just postgres"]
fn a_later_dump_costs_what_changed() {
    let world = World::new();
    let dump = ["--from-exec", "--", "pg_dump", "--format=custom", "--compress=0", "shop"];
    let create = || said(&mut world.create(&dump)).ok().json();
    let first = create();
    world.server().ask("shop", "UPDATE goods SET name = 'sold' WHERE id BETWEEN 20000 AND 20100");
    let second = create();
    let [first, second] = [first, second].map(|made| made["new_bytes"].as_u64().expect("a number"));
    assert!(second * 2 < first, "{second} new bytes after {first}");
}

#[test]
#[ignore = "needs PostgreSQL: just postgres"]
fn a_dump_that_fails_makes_no_snapshot() {
    let mut world = World::new();
    let none = said(&mut world.create(&["--from-command", "pg_dump no_such_shop"]));
    none.code(1).says(&["no snapshot was made", "no_such_shop"]);
    // It waits for a lock when the server goes away under it.
    let mut locker = world.server().client("psql");
    let lock = "BEGIN; LOCK TABLE goods; SELECT pg_sleep(60)";
    let locker = locker.args(["--command", lock, "shop"]).stdout(Stdio::null());
    let mut locker = locker.stderr(Stdio::null()).spawn().expect("psql runs");
    let locks = "SELECT count(*) FROM pg_locks JOIN pg_class c ON relation = c.oid \
        WHERE relname = 'goods' AND granted AND mode = 'AccessExclusiveLock'";
    wait_until("the table is locked", || world.server().ask("shop", locks) == "1");
    let dump = start_command(world.create(&["--from-exec", "--", "pg_dump", "shop"]));
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    wait_until("the dump waits", || world.server().ask("shop", waits) != "0");
    world.server.take().expect("not ended").end("immediate");
    end(dump).code(1).says(&["no snapshot was made", "pg_dump"]);
    locker.wait().expect("reaped");
    assert_eq!(world.here.snapshots(), 0);
}

#[test]
#[ignore = "needs PostgreSQL: just postgres"]
fn a_drill_starts_a_server_on_what_it_restored() {
    let mut world = World::of(crate::harness::Fleet::found_with(&["--canary"]));
    let data = world.server().data.clone();
    world.server.take().expect("not ended").end("fast");
    let blocks = blocks_of("postgresql", "sh postgres drill");
    let mut variables = world.settings();
    variables.push(("PGDATA", arg(&data).to_owned()));
    world.here.run_with(&blocks, &variables);
    let reports = world.here.fleet.run(&["report", "list", "--json"]).ok().json();
    assert_eq!((&reports[0]["result"], &reports[0]["kind"]), (&"PASSED".into(), &"canary".into()));
    let passed = reports[0]["passed"].to_string();
    assert!(passed.contains("application"), "{passed}");
    // A database that has lost a table does not answer the question.
    let check = "sh ./start-and-ask 'SELECT count(*) FROM no_such_table'";
    let mut drill = crate::harness::seawall();
    drill.args(["drill", "canary", "--json", "--check", check]).current_dir(world.here.path(""));
    drill.env("SEAWALL_HOME", world.here.fleet.home()).envs(variables);
    said(&mut drill).code(1).says(&["application", "no_such_table"]);
}

#[test]
#[ignore = "needs PostgreSQL: just postgres"]
fn developers_get_a_dump_that_loads_and_tells_nothing() {
    let world = World::new();
    let server = world.server();
    let people = "CREATE TABLE people (id int PRIMARY KEY, email text DEFAULT 'no;one', \
        \"Full \"\"Name\" text, note text); COMMENT ON TABLE people IS 'Ada''s; secret'; \
        INSERT INTO people VALUES (1, 'ada@example.org', E'Ada\\tL', E'x\\ny; $$'), \
        (2, NULL, 'Bob', ''), (3, 'ada@example.org', 'Cleo', NULL); \
        CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$ SELECT 'a;b' || $$c;d$$ $_$; \
        SELECT lo_from_bytea(4711, 'secret')";
    server.ask("shop", people);
    for (name, more) in [("rows", &["--inserts"][..]), ("copy", &[])] {
        let (from, to) = (world.here.path(name), world.here.path(&format!("{name}-out")));
        fs::create_dir(&from).expect("made");
        let mut dump = server.client("pg_dump");
        said(dump.args(more).arg("--file").arg(from.join("shop.sql")).arg("shop")).ok();
        let rules = world.here.path("rules.toml");
        fs::write(
            &rules,
            "format = \"seawall-sanitise/1\"\n[[rule]]\npath = \"*.sql\"\n[rule.dump.\"public.people\"]\n\
             id = \"keep\"\nemail = \"hash\"\nnote = { fixed = \"-\" }\n",
        )
        .expect("written");
        let args = ["sanitise", "--rules", arg(&rules), arg(&from), arg(&to)];
        world.here.fleet.run(&args).ok();
        let text = fs::read_to_string(to.join("shop.sql")).expect("kept");
        for secret in ["ada", "Ada", "Bob", "secret", "md5", "4711"] {
            assert!(!text.contains(secret), "{name}: {secret:?} is in it");
        }
        let database = format!("dev_{name}");
        said(server.client("createdb").arg(&database)).ok();
        let mut load = server.client("psql");
        let dump = to.join("shop.sql");
        let args = ["--quiet", "--set", "ON_ERROR_STOP=1", "--file", arg(&dump)];
        said(load.args(args).arg(&database)).ok();
        let count = |query: &str| server.ask(&database, query);
        let rows = if more.is_empty() { "3" } else { "0" };
        assert_eq!(count("SELECT count(*) FROM people"), rows, "{name}");
        assert_eq!(count("SELECT count(*) FROM goods"), "0", "a table that nobody named");
        assert_eq!(count("SELECT f()"), "a;bc;d", "the schema is whole");
        if more.is_empty() {
            assert_eq!(count("SELECT count(DISTINCT email), count(email) FROM people"), "1|2");
            assert_eq!(count("SELECT DISTINCT note FROM people"), "-");
            assert_eq!(count("SELECT count(\"Full \"\"Name\") FROM people"), "0");
        }
    }
}
