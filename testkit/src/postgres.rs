//! A private Postgres: started by us, on a free port, gone with us.
//!
//! [`Database::create`] is what a test needs. [`Server`] is one server, either
//! with scratch data that is fast to lose, or with data that lasts.
//!
//! The programs are taken from `PG_BINDIR`, from where Debian puts them, or
//! from npm (`scripts/install-postgres`).

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::Write,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future;
use nix::{
    sys::signal::{self, Signal},
    unistd::{Pid, User, geteuid},
};
use reqwest::Url;
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::process::{Process, log_end};

/// How long a server may take to be ready. Recovery after a crash is included.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often we look whether it is; Postgres tells nobody.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A free port may be taken before Postgres has it.
const START_ATTEMPTS: u32 = 3;

/// Where the data of a server lives.
#[derive(Debug, Clone)]
pub enum Storage {
    /// In a temporary folder, without any care for crashes.
    Scratch,
    /// In a temporary folder, and yet as careful as a durable one: for those who
    /// measure what a commit costs.
    SyncedScratch,
    /// In this folder, as durable as Postgres is.
    ///
    /// When the account that runs Postgres cannot reach the folder (Postgres
    /// refuses to run as root, and nobody else may look into `/root`), the
    /// folder becomes a symbolic link into `/var/lib/claude-code-proxy`.
    Durable(PathBuf),
}

/// A running server; dropping it stops it.
pub struct Server {
    url: Url,
    process: Process,
    log: PathBuf,
}

/// An empty database for one test, dropped with it.
pub struct Database {
    url: Url,
    server_url: Url,
}

/// Who runs the server, when it cannot be ourselves.
#[derive(Debug, Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

/// The folder of one server: its data, its password and its log.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    account: Option<Account>,
}

impl Database {
    /// Creates an empty database: in the server that `TEST_POSTGRES_URL` names,
    /// else in one that is started for this process and ends with it.
    ///
    /// # Errors
    /// When there is no server and none can be started.
    pub async fn create() -> Result<Self> {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        let server_url = match environment("TEST_POSTGRES_URL") {
            Some(url) => Url::parse(&url).context("TEST_POSTGRES_URL is no URL")?,
            None => SERVER
                .get_or_try_init(|| Server::start(Storage::Scratch))
                .await?
                .url
                .clone(),
        };
        Self::create_at(server_url).await
    }

    /// Creates an empty database in a server that the test has for itself.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_in(server: &Server) -> Result<Self> {
        Self::create_at(server.url.clone()).await
    }

    async fn create_at(server_url: Url) -> Result<Self> {
        let name = format!("test_{}", Uuid::new_v4().simple());
        execute(&server_url, &format!("CREATE DATABASE {name}")).await?;
        Ok(Self {
            url: with_database(&server_url, &name),
            server_url,
        })
    }

    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }
}

impl Drop for Database {
    /// Best effort: a database that stays behind is gone with its server.
    fn drop(&mut self) {
        let statement = format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            self.url.path().trim_start_matches('/')
        );
        let server_url = self.server_url.clone();
        // Not on this thread, which may be inside a runtime.
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(execute(&server_url, &statement))
        })
        .join();
    }
}

impl Server {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Errors
    /// When there are no Postgres programs, or they fail; the error holds the
    /// end of the server's log.
    pub async fn start(storage: Storage) -> Result<Self> {
        let account = account()?;
        let programs = programs(account).context("find Postgres")?;
        let mut attempt = 1;
        loop {
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            match Self::try_start(&storage, account, &programs, address).await {
                Ok(server) => return Ok(server),
                Err(error) if attempt == START_ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// The same at a given address, where it can be stopped and started again.
    ///
    /// # Errors
    /// As [`Self::start`], and when the address is taken.
    pub async fn start_at(storage: &Storage, address: SocketAddr) -> Result<Self> {
        let account = account()?;
        let programs = programs(account).context("find Postgres")?;
        Self::try_start(storage, account, &programs, address).await
    }

    async fn try_start(
        storage: &Storage,
        account: Option<Account>,
        programs: &Path,
        address: SocketAddr,
    ) -> Result<Self> {
        let home = match storage {
            Storage::Scratch | Storage::SyncedScratch => Home::scratch(account)?,
            Storage::Durable(path) => Home::durable(path, account)?,
        };
        home.stop_stale_server().await?;
        let password = home.initialise(programs)?;
        home.run(programs, storage, &password, address).await
    }

    /// The address of a database of this server, which need not exist yet.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        with_database(&self.url, database).into()
    }

    /// Creates the database unless it exists.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure_database(&self, name: &str) -> Result<()> {
        match execute(&self.url, &format!("CREATE DATABASE {name}")).await {
            Err(error) if is_duplicate_database(&error) => Ok(()),
            result => result,
        }
    }

    /// Asks the server to end, and waits until it has. Open transactions are
    /// rolled back.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn stop(self) -> Result<ExitStatus> {
        self.process.stop()?;
        Ok(self.process.exited().await)
    }

    /// Waits until the server has ended, which it was not asked to do.
    pub async fn died(&self) -> anyhow::Error {
        let status = self.process.exited().await;
        anyhow::anyhow!("Postgres ended ({status}). {}", log_end(&self.log))
    }
}

impl Home {
    fn scratch(account: Option<Account>) -> Result<Self> {
        let parent = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
            .into_iter()
            .find(|parent| parent.is_dir() && is_reachable(parent, account))
            .context("no temporary folder that the Postgres account can reach")?;
        let path = parent.join(format!(
            "claude-code-proxy-postgres-{}",
            Uuid::new_v4().simple()
        ));
        Self { path, account }.created()
    }

    fn durable(path: &Path, account: Option<Account>) -> Result<Self> {
        Self {
            path: reachable(path, account)?,
            account,
        }
        .created()
    }

    fn created(self) -> Result<Self> {
        fs::create_dir_all(&self.path)
            .with_context(|| format!("create {}", self.path.display()))?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700))?;
        if let Some(account) = self.account {
            chown(&self.path, Some(account.uid), Some(account.gid))?;
        }
        Ok(self)
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Runs as the account, and writes what it says into the log.
    fn command(&self, program: &Path) -> Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut command = Command::new(program);
        command
            .current_dir(&self.path)
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }

    /// Makes the data folder on first use. Returns the superuser's password.
    fn initialise(&self, programs: &Path) -> Result<String> {
        let password_file = self.path.join("password");
        if self.data().join("PG_VERSION").exists() {
            return fs::read_to_string(&password_file).context("read the Postgres password");
        }
        let password = Uuid::new_v4().simple().to_string();
        let _ = fs::remove_file(&password_file);
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&password_file)?;
        file.write_all(password.as_bytes())?;
        if let Some(account) = self.account {
            chown(&password_file, Some(account.uid), Some(account.gid))?;
        }
        // Aside first: an interrupted start must not leave half a data folder.
        let unfinished = self.path.join("data.unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        let status = self
            .command(&programs.join("initdb"))?
            // Passwords keep the machine's other users out. Unscrambled, because
            // it is quick and only root can listen on the loopback interface.
            .args([
                "--auth=password",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(&unfinished)
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("run {}/initdb", programs.display()))?;
        ensure!(
            status.success(),
            "initdb failed ({status}). {}",
            log_end(&self.log())
        );
        fs::rename(unfinished, self.data())?;
        Ok(password)
    }

    async fn run(
        &self,
        programs: &Path,
        storage: &Storage,
        password: &str,
        address: SocketAddr,
    ) -> Result<Server> {
        let mut command = self.command(&programs.join("postgres"))?;
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &address.port().to_string()])
            .args(["-c", &format!("listen_addresses={}", address.ip())])
            .args(["-c", "unix_socket_directories="])
            .args([
                "-c",
                "max_connections=300",
                "-c",
                "timezone=UTC",
                "-c",
                "log_timezone=UTC",
            ]);
        if matches!(storage, Storage::Scratch) {
            command.args([
                "-c",
                "fsync=off",
                "-c",
                "synchronous_commit=off",
                "-c",
                "full_page_writes=off",
            ]);
        }
        let scratch = match storage {
            Storage::Durable(_) => None,
            Storage::Scratch | Storage::SyncedScratch => Some(self.path.as_path()),
        };
        let process = Process::spawn(&mut command, Signal::SIGINT, scratch)
            .with_context(|| format!("run {}/postgres", programs.display()))?;
        self.wait_until_ready(&process).await?;
        let url = Url::parse(&format!(
            "postgres://postgres:{password}@{address}/postgres"
        ))?;
        Ok(Server {
            url,
            process,
            log: self.log(),
        })
    }

    async fn wait_until_ready(&self, process: &Process) -> Result<()> {
        let ready = async {
            while !self.is_ready(process) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            () = ready => Ok(()),
            status = process.exited() => bail!("Postgres ended ({status}). {}", log_end(&self.log())),
            () = tokio::time::sleep(START_TIMEOUT) => {
                bail!("Postgres is not ready after {START_TIMEOUT:?}. {}", log_end(&self.log()))
            }
        }
    }

    /// Postgres keeps its process number in the first line of its pid file, and
    /// its state in the eighth.
    fn is_ready(&self, process: &Process) -> bool {
        let Ok(content) = fs::read_to_string(self.data().join("postmaster.pid")) else {
            return false;
        };
        let mut lines = content.lines();
        lines.next() == Some(process.id().to_string().as_str())
            && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    /// Stops a server on our data that has outlived its launcher.
    async fn stop_stale_server(&self) -> Result<()> {
        let Some(pid) = self.stale_server() else {
            return Ok(());
        };
        signal::kill(pid, Signal::SIGINT)
            .with_context(|| format!("stop the old Postgres, process {pid}"))?;
        let stopped = async {
            while self.stale_server().is_some() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, stopped)
            .await
            .with_context(|| format!("the old Postgres, process {pid}, does not stop"))
    }

    /// The process that the pid file names, if it really runs on our data:
    /// after a crash the number may be another program's.
    fn stale_server(&self) -> Option<Pid> {
        let content = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let pid: i32 = content.lines().next()?.trim().parse().ok()?;
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        let data = fs::canonicalize(self.data()).ok()?;
        (works_in == data).then_some(Pid::from_raw(pid))
    }

    fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.url.path())
            .finish_non_exhaustive()
    }
}

/// Postgres refuses to run as root; then it runs as the first of these.
fn account() -> Result<Option<Account>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(Account {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            }));
        }
    }
    bail!("Postgres cannot run as root, and there is neither a user `postgres` nor `nobody`")
}

/// The folder with `initdb` and `postgres`.
fn programs(account: Option<Account>) -> Result<PathBuf> {
    if let Some(path) = environment("PG_BINDIR") {
        let path = PathBuf::from(path);
        ensure!(
            path.join("postgres").exists(),
            "PG_BINDIR={}: there is no program `postgres`",
            path.display()
        );
        return Ok(path);
    }
    if let Some(path) = newest_of_debian() {
        return Ok(path);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = reachable(&root.join(".state/postgres"), account)?;
    let output = Command::new(root.join("scripts/install-postgres"))
        .arg(target)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "scripts/install-postgres failed");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn newest_of_debian() -> Option<PathBuf> {
    fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin");
            path.join("postgres").exists().then_some((version, path))
        })
        .max()
        .map(|(_, path)| path)
}

/// The folder itself when the account can reach it, else one that it can, with
/// a symbolic link in the folder's place.
fn reachable(path: &Path, account: Option<Account>) -> Result<PathBuf> {
    if let Ok(existing) = fs::canonicalize(path) {
        return Ok(existing);
    }
    // What is missing of a link that leads nowhere is made again.
    if let Ok(target) = fs::read_link(path) {
        fs::create_dir_all(&target)?;
        return Ok(target);
    }
    let parent = path.parent().context("a folder without a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    if is_reachable(parent, account) {
        fs::create_dir(path)?;
        return Ok(fs::canonicalize(path)?);
    }
    let target = Path::new("/var/lib/claude-code-proxy").join(Uuid::new_v4().simple().to_string());
    fs::create_dir_all(&target).with_context(|| format!("create {}", target.display()))?;
    symlink(&target, path)?;
    Ok(target)
}

/// Whether the account may pass through all folders down to this one.
fn is_reachable(path: &Path, account: Option<Account>) -> bool {
    let Some(account) = account else { return true };
    let Ok(path) = fs::canonicalize(path) else {
        return false;
    };
    path.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|folder| {
            let needed = if folder.uid() == account.uid {
                0o100
            } else {
                0o001
            };
            folder.mode() & needed != 0
        })
    })
}

fn with_database(server: &Url, database: &str) -> Url {
    let mut url = server.clone();
    url.set_path(database);
    url
}

async fn execute(server: &Url, statement: &str) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(server.as_str(), NoTls)
        .await
        .with_context(|| {
            format!(
                "connect to Postgres at {}:{:?}",
                server.host_str().unwrap_or_default(),
                server.port()
            )
        })?;
    let work = async {
        let result = client.batch_execute(statement).await;
        drop(client); // ends the connection
        result
    };
    let (result, _) = future::join(work, connection).await;
    result.with_context(|| format!("run {statement:?}"))
}

fn is_duplicate_database(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code)
        .is_some_and(|code| *code == tokio_postgres::error::SqlState::DUPLICATE_DATABASE)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the two variables of this file, which have no settings file around them"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(url: &str, query: &str) -> Result<String> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let work = async {
            let row = client.query_one(query, &[]).await;
            drop(client);
            row
        };
        let (row, _) = future::join(work, connection).await;
        Ok(row?.try_get(0)?)
    }

    #[tokio::test]
    async fn databases_of_tests_are_apart_and_dropped() {
        let first = Database::create().await.unwrap();
        let second = Database::create().await.unwrap();
        execute(&first.url, "CREATE TABLE t (v int)").await.unwrap();
        execute(&second.url, "CREATE TABLE t (v int)")
            .await
            .unwrap();
        let name = first.url.path().trim_start_matches('/').to_owned();
        let count = format!("SELECT count(*)::text FROM pg_database WHERE datname = '{name}'");
        assert_eq!(answer(second.url(), &count).await.unwrap(), "1");
        drop(first);
        assert_eq!(answer(second.url(), &count).await.unwrap(), "0");
    }

    #[tokio::test]
    async fn durable_data_survives_a_restart_and_a_killed_server() {
        let folder = tempfile::tempdir().unwrap();
        // As in a home folder; when we are root, the data must go elsewhere.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let home = folder.path().join("postgres");
        let storage = Storage::Durable(home.clone());
        let server = Server::start(storage.clone()).await.unwrap();
        server.ensure_database("kept").await.unwrap();
        server.ensure_database("kept").await.unwrap();
        let url = Url::parse(&server.url("kept")).unwrap();
        execute(&url, "CREATE TABLE t AS SELECT 'here' AS v")
            .await
            .unwrap();
        server.process.signal(Signal::SIGKILL).unwrap();
        server.process.exited().await;
        drop(server);

        let server = Server::start(storage).await.unwrap();
        assert_eq!(
            answer(&server.url("kept"), "SELECT v FROM t")
                .await
                .unwrap(),
            "here"
        );
        drop(server);
        if let Ok(elsewhere) = fs::read_link(home) {
            fs::remove_dir_all(elsewhere).unwrap();
        }
    }

    #[tokio::test]
    async fn a_server_is_stopped_and_started_again_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).unwrap();
        let storage = Storage::Durable(folder.path().join("postgres"));
        let address = crate::stack::free_address().unwrap();
        let server = Server::start_at(&storage, address).await.unwrap();
        let url = Url::parse(&server.url("postgres")).unwrap();
        execute(&url, "CREATE TABLE t AS SELECT 'here' AS v")
            .await
            .unwrap();
        assert!(server.stop().await.unwrap().success());
        answer(url.as_str(), "SELECT v FROM t").await.unwrap_err();
        let _again = Server::start_at(&storage, address).await.unwrap();
        let kept = answer(url.as_str(), "SELECT v FROM t").await.unwrap();
        assert_eq!(kept, "here");
    }

    #[tokio::test]
    async fn scratch_server_leaves_nothing_behind() {
        let server = Server::start(Storage::Scratch).await.unwrap();
        let pid = server.process.id();
        let data = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        assert!(data.exists());
        drop(server);
        assert!(!data.parent().unwrap().exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
