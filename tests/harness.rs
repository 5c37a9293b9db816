//! Runs the program and sets up fleets.

use std::any::Any;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Passphrase of every share in these tests.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// A directory with a fleet in it: one home, three shares, two needed.
pub(crate) struct Fleet {
    dir: tempfile::TempDir,
    /// The first node's name, and that of its home.
    node: &'static str,
    /// What runs as long as the fleet is there.
    running: Vec<Box<dyn Any>>,
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// Asserts that stderr contains each of `words`.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in: {}", self.stderr);
        }
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}\nstderr: {}", self.stdout, self.stderr))
    }
}

/// The program with a clean environment.
pub(crate) fn seawall() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.env("SEAWALL_SHARE_PASSPHRASE", PASSPHRASE).stdin(Stdio::null());
    command
}

/// Runs the program with `args` in the home `home`.
pub(crate) fn run<S: AsRef<OsStr>>(home: &Path, args: &[S]) -> Said {
    let output = seawall().env("SEAWALL_HOME", home).args(args).output().expect("the program runs");
    Said::of(&output)
}

/// Runs a command and says what it said.
pub(crate) fn said(command: &mut Command) -> Said {
    Said::of(&command.output().expect("the program runs"))
}

/// The program without root's power to read and write everything: modes hold for it as they do
/// for anybody, even where the tests run as root.
pub(crate) fn seawall_bound_by_modes() -> Command {
    let plain = seawall();
    if !rustix::process::geteuid().is_root() {
        return plain;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-dac_override,-dac_read_search", "--"]);
    command.arg(plain.get_program()).env_clear().stdin(Stdio::null());
    for (name, value) in plain.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

/// Starts the program with `args` in the home `home`, for being stopped or killed on its way.
pub(crate) fn start<S: AsRef<OsStr>>(home: &Path, args: &[S]) -> Child {
    let mut command = seawall();
    command.env("SEAWALL_HOME", home).args(args);
    start_command(command)
}

/// Starts a command, for being stopped or killed on its way.
pub(crate) fn start_command(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Waits for a started program and returns what it said.
pub(crate) fn end(child: Child) -> Said {
    Said::of(&child.wait_with_output().expect("the program ends"))
}

/// Sends a signal to a started program.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("signalled");
}

/// Copies a file or a tree with all its attributes.
#[track_caller]
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(copied.success(), "{} is copied to {}", from.display(), to.display());
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

impl Fleet {
    /// A directory for a fleet that is still to be founded.
    pub(crate) fn nowhere() -> Self {
        Self::on("node-1", tempfile::tempdir().expect("a temporary directory"))
    }

    fn on(node: &'static str, dir: tempfile::TempDir) -> Self {
        Self { dir, node, running: Vec::new() }
    }

    /// As [`Fleet::found_with`], by a node of this name.
    pub(crate) fn found_by(node: &'static str, more: &[&str]) -> Self {
        Self { node, ..Self::nowhere() }.founded(more)
    }

    /// Keeps something running until the fleet is dropped.
    pub(crate) fn keep(&mut self, running: impl Any) {
        self.running.push(Box::new(running));
    }

    /// Founds a fleet of three custodians, two needed.
    pub(crate) fn found() -> Self {
        Self::found_with(&[])
    }

    /// As [`Fleet::found`], with more arguments to `init`.
    pub(crate) fn found_with(more: &[&str]) -> Self {
        Self::nowhere().founded(more)
    }

    /// As [`Fleet::found`], in memory where that is possible: thousands of files cost some disks
    /// many seconds.
    pub(crate) fn found_in_memory() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::on("node-1", dir.expect("a temporary directory")).founded(&[])
    }

    fn founded(self, more: &[&str]) -> Self {
        let shares = self.path("shares");
        let args = ["init", "--custodians", "3", "--threshold", "2", "--name", self.node];
        let said = run(&self.home(), &[&args[..], &["--shares-dir", arg(&shares)], more].concat());
        said.ok();
        self
    }

    /// A path in the fleet's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The first node's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.path(self.node)
    }

    /// Runs the program on the first node.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        run(&self.home(), args)
    }

    /// The share files, by index.
    pub(crate) fn shares(&self) -> Vec<PathBuf> {
        let mut shares: Vec<PathBuf> = std::fs::read_dir(self.path("shares"))
            .expect("shares were written")
            .map(|e| e.expect("readable").path())
            .collect();
        shares.sort();
        shares
    }

    /// Makes a small tree with some of everything harmless and returns its path.
    pub(crate) fn tree(&self, name: &str) -> PathBuf {
        let root = self.path(name);
        std::fs::create_dir_all(root.join("sub/deeper")).expect("directories");
        std::fs::write(root.join("empty"), b"").expect("written");
        std::fs::write(root.join("inline.txt"), b"a few bytes").expect("written");
        std::fs::write(root.join("sub/small.txt"), vec![b's'; 40_000]).expect("written");
        std::fs::write(root.join("sub/deeper/long.bin"), noise(5 << 20)).expect("written");
        std::os::unix::fs::symlink("sub/small.txt", root.join("link")).expect("linked");
        std::fs::hard_link(root.join("inline.txt"), root.join("sub/again")).expect("linked");
        root
    }

    /// Snapshots `path` on the first node and returns the snapshot's id.
    pub(crate) fn snapshot(&self, path: &Path) -> String {
        let said = self.run(&["snapshot", "create", arg(path), "--json"]).ok();
        said.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Writes a request of `home` for `id` to the file `name`.
    pub(crate) fn request(&self, home: &Path, id: &str, name: &str) -> PathBuf {
        let out = self.path(name);
        let args = ["restore", "request", id, "--reason", "a test", "--out", arg(&out)];
        run(home, &args).ok();
        out
    }

    /// Has custodian `n` (from 0) approve `request`, into the file `name`.
    pub(crate) fn approve(&self, request: &Path, n: usize, name: &str) -> PathBuf {
        let (out, share) = (self.path(name), self.shares()[n].clone());
        let args = ["restore", "approve", arg(request), "--share", arg(&share)];
        // A custodian has no home.
        let nowhere = self.path("nowhere");
        run(&nowhere, &[&args[..], &["--out", arg(&out), "--yes"]].concat()).ok();
        out
    }

    /// Requests, approves twice and restores `id` on `home` into `to`.
    pub(crate) fn restore(&self, home: &Path, id: &str, to: &Path) -> Said {
        let request = self.request(home, id, "request.json");
        let a = self.approve(&request, 0, "approval-0.json");
        let b = self.approve(&request, 1, "approval-1.json");
        let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
        run(home, &[&args[..], &["--to", arg(to), "--json"]].concat())
    }

    /// Sets up a region for this fleet, adopts it and starts it as a process of its own.
    pub(crate) fn region(&self, name: &str) -> Region {
        let listen = free_address();
        let (card, home) = (self.path("fleet-card.json"), self.path(name));
        self.run(&["fleet", "card", "--out", arg(&card)]).ok();
        let region_card = self.path(&format!("{name}-card.json"));
        let args = ["region", "init", "--fleet", arg(&card), "--name", name];
        let more = ["--listen", &listen, "--out", arg(&region_card)];
        run(&home, &[&args[..], &more].concat()).ok();
        self.run(&["fleet", "adopt", arg(&region_card)]).ok();
        Region::start(home, listen)
    }

    /// Enrols a second node in the directory `name` and returns its home.
    pub(crate) fn second_node(&self, name: &str) -> PathBuf {
        let home = self.path(name);
        let (card, bundle) =
            (self.path(&format!("{name}-card.json")), self.path(&format!("{name}-bundle.json")));
        run(&home, &["node", "keys", "--name", name, "--out", arg(&card)]).ok();
        self.run(&["fleet", "bundle", arg(&card), "--out", arg(&bundle)]).ok();
        run(&home, &["node", "enroll", arg(&bundle)]).ok();
        home
    }
}

/// A region running as a process of its own; killed when dropped.
pub(crate) struct Region {
    pub(crate) home: PathBuf,
    address: String,
    child: Option<Child>,
}

impl Region {
    /// Starts a region that was set up to listen on `address`.
    pub(crate) fn start(home: PathBuf, address: String) -> Self {
        let mut region = Self { home, address, child: None };
        region.resume();
        region
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Starts it again after [`Region::stop`] or [`Region::kill`].
    pub(crate) fn resume(&mut self) {
        self.resume_as(seawall());
    }

    /// As [`Region::resume`], by a command of the caller's making.
    pub(crate) fn resume_as(&mut self, mut command: Command) {
        let log = std::fs::File::create(self.home.join("test-stderr.log")).expect("a log file");
        command.env("SEAWALL_HOME", &self.home).args(["region", "run"]).stderr(log);
        self.child = Some(command.spawn().expect("the region starts"));
        wait_until("the region listens", || std::net::TcpStream::connect(&self.address).is_ok());
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
            assert!(child.wait().expect("it ends").success(), "a region ends in order");
        }
    }

    /// Kills it where it stands.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for something that must come within 20 seconds.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A certificate for this machine, and who issued it: `ca.pem`, `site.pem`, `site.key`.
pub(crate) fn certificate(dir: &Path) {
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let openssl = |more: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.args(new).args(["-nodes", "-days", "2"]).args(more).current_dir(dir);
        said(&mut openssl).ok();
    };
    openssl(&["-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.pem"]);
    let leaf = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=CA:FALSE"];
    let named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    openssl(&[&leaf[..], &named, &["-keyout", "site.key", "-out", "site.pem"]].concat());
}

/// Python's web server, with TLS, in a directory that has a [`certificate`]; it ends with this.
pub(crate) struct HttpsServer {
    child: Child,
    pub(crate) port: String,
}

impl HttpsServer {
    /// Serves `dir` by a `Handler` that Python code defines.
    pub(crate) fn start(dir: &Path, handler: &str) -> Self {
        let address = free_address();
        let (_, port) = address.rsplit_once(':').expect("a port");
        let code = format!(
            "import http.server, ssl, sys\n{handler}\n\
             server = http.server.HTTPServer((\"127.0.0.1\", int(sys.argv[1])), Handler)\n\
             context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
             context.load_cert_chain(\"site.pem\", \"site.key\")\n\
             server.socket = context.wrap_socket(server.socket, server_side=True)\n\
             server.serve_forever()\n"
        );
        let mut server = Command::new("python3");
        server.args(["-c", &code, port]).current_dir(dir).stdout(Stdio::null());
        let child = server.stderr(Stdio::null()).spawn().expect("it starts");
        let it = Self { child, port: port.to_owned() };
        wait_until("it listens", || std::net::TcpStream::connect(&address).is_ok());
        it
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ended");
    }
}

/// An address nobody listens on.
///
/// Between this and its use the port is nobody's. So it is below those that the system hands out by
/// itself (from 32768 on Linux), and each test, a process of its own, has ten for itself.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = 10_000 + std::process::id() % 2_200 * 10;
    for _ in 0..10 {
        let address = format!("127.0.0.1:{}", own + NEXT.fetch_add(1, Ordering::Relaxed) % 10);
        if std::net::TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

/// Bytes that do not compress, the same each time.
pub(crate) fn noise(n: usize) -> Vec<u8> {
    noise_of(0, n)
}

/// Bytes that do not compress, others for each seed.
pub(crate) fn noise_of(seed: u64, n: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed.wrapping_mul(0xd134_2543_de82_ef95);
    let mut out = Vec::with_capacity(n + 8);
    while out.len() < n {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(n);
    out
}

/// Asserts that two trees are equal in every byte and attribute, holes included.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let found = seawall_backup::target::compare(a, b, true, &mut |_| ()).expect("comparable");
    assert!(found.is_empty(), "{found:#?}");
}

/// Where a restore into `to` puts what was snapshotted at `path`.
pub(crate) fn restored(to: &Path, path: &Path) -> PathBuf {
    to.join(path.strip_prefix("/").expect("absolute"))
}
