//! The whole system as real processes: control, and any number of proxies.
//!
//! [`Stack`] is what an end-to-end test starts: everything on addresses of its
//! own, gone with the test. The parts below it also serve the launcher of
//! `make run` and `make demo`.

use std::{
    ffi::OsString,
    fmt, fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    cutter::Cutter,
    moto::Moto,
    postgres::{Database, Server},
    process::log_end,
};

pub mod admin;
pub mod service;

use admin::Admin;
use service::{Recipe, Service};

pub const ADMIN_USERNAME: &str = "admin";

/// Where a stack's AWS is; moto has every region.
pub const AWS_REGION: &str = "eu-west-1";

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    pub control: PathBuf,
    pub proxy: PathBuf,
    pub simulator: PathBuf,
}

/// What both processes must know and nobody else.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    pub key_hasher_secret: String,
    pub sync_token: String,
    pub jwt_secret: String,
    /// An older state has none yet.
    #[serde(default = "random_text")]
    pub local_encryption_key: String,
    pub admin_password: String,
    pub admin_password_hash: String,
}

/// Where control listens.
#[derive(Debug, Clone, Copy)]
pub struct ControlAddresses {
    pub admin: SocketAddr,
    pub grpc: SocketAddr,
    pub ops: SocketAddr,
}

/// Where a proxy listens.
#[derive(Debug, Clone, Copy)]
pub struct ProxyAddresses {
    pub listen: SocketAddr,
    pub ops: SocketAddr,
}

/// How to start the two kinds of process.
#[derive(Clone)]
pub struct Blueprint {
    pub programs: Programs,
    pub secrets: Secrets,
    pub admin_username: String,
    /// What the processes get from us beside their own settings, which win.
    pub environment: Vec<(OsString, OsString)>,
    /// Where the logs go.
    pub folder: PathBuf,
}

/// A running system with a database of its own.
#[derive(Debug)]
pub struct Stack {
    // In the order in which they stop.
    proxies: Vec<Proxy>,
    control: Option<Service>,
    control_recipe: Recipe,
    control_addresses: ControlAddresses,
    blueprint: Blueprint,
    plan_api_url: String,
    admin: Admin,
    cutter: Option<Cutter>,
    database: Database,
    folder: TempDir,
}

/// What is decided before a stack starts.
#[derive(Clone)]
pub struct Builder<'a> {
    plan_api_url: String,
    proxies: usize,
    /// None: those beside ours.
    programs: Option<Programs>,
    /// Variables of control and of the proxies.
    settings: Vec<(OsString, OsString)>,
    /// Where the secrets are kept; none: they are given.
    secrets_manager: Option<&'a Moto>,
    /// Where the database is; none: in the server of all tests.
    postgres: Option<&'a Server>,
    is_cuttable: bool,
}

/// A control that is not the stack's, or not yet.
#[derive(Debug)]
pub struct Control {
    pub addresses: ControlAddresses,
    pub service: Service,
    recipe: Recipe,
}

/// A proxy, running or ended.
#[derive(Debug)]
pub struct Proxy {
    pub addresses: ProxyAddresses,
    pub service: Service,
}

impl Programs {
    /// The programs in a folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            control: folder.join("claude-code-control"),
            proxy: folder.join("claude-code-proxy"),
            simulator: folder.join("simulator"),
        }
    }

    /// The programs beside the running one: `target/<profile>`.
    ///
    /// # Errors
    /// When the running program cannot be found.
    pub fn beside_ours() -> Result<Self> {
        let ours = std::env::current_exe().context("find our own program")?;
        let folder = ours
            .ancestors()
            .skip(1)
            .find(|folder| folder.file_name().is_none_or(|name| name != "deps"))
            .context("a program without a folder")?;
        Ok(Self::in_folder(folder))
    }
}

impl Secrets {
    /// # Errors
    /// When control cannot hash the password.
    pub fn generate(programs: &Programs) -> Result<Self> {
        let admin_password: String = random_text().chars().take(20).collect();
        Ok(Self {
            key_hasher_secret: random_text(),
            sync_token: random_text(),
            jwt_secret: random_text(),
            local_encryption_key: random_text(),
            admin_password_hash: hash_password(&programs.control, &admin_password)?,
            admin_password,
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blueprint")
            .field("programs", &self.programs)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Blueprint {
    #[must_use]
    pub fn control(
        &self,
        addresses: &ControlAddresses,
        database_url: &str,
        public_url: &str,
    ) -> Recipe {
        let secrets = &self.secrets;
        let settings = [
            ("PROXY_DATABASE_URL", database_url.to_owned()),
            ("PROXY_PUBLIC_URL", public_url.to_owned()),
            ("PROXY_ADMIN_ADDR", addresses.admin.to_string()),
            ("PROXY_GRPC_ADDR", addresses.grpc.to_string()),
            ("PROXY_CONTROL_OPS_ADDR", addresses.ops.to_string()),
            ("PROXY_ADMIN_USERNAME", self.admin_username.clone()),
            (
                "PROXY_ADMIN_PASSWORD_HASH",
                secrets.admin_password_hash.clone(),
            ),
            ("PROXY_JWT_SECRET", secrets.jwt_secret.clone()),
        ];
        Recipe {
            name: "control",
            program: self.programs.control.clone(),
            arguments: vec!["serve".into()],
            environment: self.environment(settings),
            log: self.folder.join("control.log"),
            ready_url: format!("{}/readyz", url(addresses.ops)),
        }
    }

    #[must_use]
    pub fn proxy(
        &self,
        addresses: &ProxyAddresses,
        control: SocketAddr,
        plan_api_url: Option<&str>,
    ) -> Recipe {
        let settings = [
            ("PROXY_LISTEN_ADDR", addresses.listen.to_string()),
            ("PROXY_OPS_ADDR", addresses.ops.to_string()),
            ("PROXY_CONTROL_URL", url(control)),
            // No load balancer has to notice anything.
            ("PROXY_DRAIN_DELAY", "0".to_owned()),
        ];
        let upstream = plan_api_url.map(|url| ("PROXY_PLAN_API_URL", url.to_owned()));
        Recipe {
            name: "proxy",
            program: self.programs.proxy.clone(),
            arguments: Vec::new(),
            environment: self.environment(settings.into_iter().chain(upstream)),
            log: self.folder.join("proxy.log"),
            ready_url: format!("{}/readyz", url(addresses.ops)),
        }
    }

    fn environment(
        &self,
        settings: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Vec<(OsString, OsString)> {
        let shared = [
            (
                "PROXY_KEY_HASHER_SECRET",
                self.secrets.key_hasher_secret.clone(),
            ),
            ("PROXY_SYNC_TOKEN", self.secrets.sync_token.clone()),
        ];
        // Who names a key to seal with wants that one.
        let local_key = self.secrets.local_encryption_key.clone();
        let sealing = (!self.names("PROXY_KMS_KEY_ID")
            && !self.names("PROXY_LOCAL_ENCRYPTION_KEY"))
        .then_some(("PROXY_LOCAL_ENCRYPTION_KEY", local_key));
        let ours = shared
            .into_iter()
            .chain(sealing)
            .chain(settings)
            .filter(|(name, _)| !self.names(&arn_of(name)))
            .map(|(name, value)| (name.into(), value.into()));
        self.environment.iter().cloned().chain(ours).collect()
    }

    fn names(&self, variable: &str) -> bool {
        self.environment.iter().any(|(name, _)| name == variable)
    }
}

impl ControlAddresses {
    /// # Errors
    /// When the system has no free port.
    pub fn free() -> Result<Self> {
        Ok(Self {
            admin: free_address()?,
            grpc: free_address()?,
            ops: free_address()?,
        })
    }
}

impl ProxyAddresses {
    /// # Errors
    /// When the system has no free port.
    pub fn free() -> Result<Self> {
        Ok(Self {
            listen: free_address()?,
            ops: free_address()?,
        })
    }
}

impl Stack {
    /// A stack whose proxies send the plan's requests to `plan_api_url`.
    #[must_use]
    pub fn builder(plan_api_url: &str) -> Builder<'static> {
        Builder {
            plan_api_url: plan_api_url.to_owned(),
            proxies: 1,
            programs: None,
            settings: Vec::new(),
            secrets_manager: None,
            postgres: None,
            is_cuttable: false,
        }
    }

    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    #[must_use]
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Where to look what is stored.
    #[must_use]
    pub fn database_url(&self) -> &str {
        self.database.url()
    }

    /// What is between the proxies and control, if it was asked for.
    #[must_use]
    pub fn cutter(&self) -> Option<&Cutter> {
        self.cutter.as_ref()
    }

    /// Probes and metrics of control.
    #[must_use]
    pub fn control_ops_url(&self) -> String {
        url(self.control_addresses.ops)
    }

    /// Probes and metrics of all processes, control first.
    #[must_use]
    pub fn ops_urls(&self) -> Vec<String> {
        let proxies = self.proxies.iter().map(|proxy| proxy.addresses.ops);
        let all = [self.control_addresses.ops].into_iter().chain(proxies);
        all.map(url).collect()
    }

    /// What all processes have written so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn logs(&self) -> Result<String> {
        let logs = fs::read_dir(self.folder.path())?;
        let texts = logs.map(|log| Ok(fs::read_to_string(log?.path())?));
        texts.collect()
    }

    /// Runs another command of control's program, with control's environment and
    /// this on its standard input; what it has written to standard output.
    ///
    /// # Errors
    /// When it cannot be run, or fails.
    pub fn run_control(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let recipe = &self.control_recipe;
        let environment = recipe.environment.iter();
        let mut child = Command::new(&recipe.program)
            .args(arguments)
            .env_clear()
            .envs(environment.map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // It may end before it has read everything.
        let _broken = child
            .stdin
            .take()
            .context("no standard input")?
            .write_all(input);
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "control {arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Control, while it runs.
    #[must_use]
    pub fn control(&self) -> Option<&Service> {
        self.control.as_ref()
    }

    /// Takes a proxy out of the stack, to stop or to kill it.
    pub fn remove_proxy(&mut self) -> Option<Proxy> {
        self.proxies.pop()
    }

    /// Stops control; the proxies go on.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn stop_control(&mut self) -> Result<ExitStatus> {
        self.control
            .take()
            .context("control is not running")?
            .stop()
            .await
    }

    /// Kills control, which gets no time to finish anything.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill_control(&mut self) -> Result<ExitStatus> {
        let control = self.control.take().context("control is not running")?;
        control.process().signal(Signal::SIGKILL)?;
        Ok(control.process().exited().await)
    }

    /// Starts another release's control on the same database, beside the one that runs.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn control_beside(&self, programs: &Programs) -> Result<Control> {
        let addresses = ControlAddresses::free()?;
        let blueprint = self.blueprint_of(programs);
        let public_url = self.proxies.first().map(Proxy::url).unwrap_or_default();
        let mut recipe = blueprint.control(&addresses, self.database.url(), &public_url);
        recipe.log = self.log_of("control", addresses.admin);
        let service = recipe.clone().start()?;
        service.ready().await?;
        Ok(Control {
            addresses,
            service,
            recipe,
        })
    }

    /// Starts another release's proxy, which belongs to the control with this gRPC
    /// address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn proxy_beside(
        &self,
        programs: &Programs,
        addresses: ProxyAddresses,
        control: SocketAddr,
    ) -> Result<Proxy> {
        let blueprint = self.blueprint_of(programs);
        let mut recipe = blueprint.proxy(&addresses, control, Some(&self.plan_api_url));
        recipe.log = self.log_of("proxy", addresses.listen);
        let service = recipe.start()?;
        service.ready().await?;
        Ok(Proxy { addresses, service })
    }

    /// Makes these the stack's control and proxies, and gives back those before.
    ///
    /// # Errors
    /// When the administrator cannot sign in.
    pub async fn hand_over(
        &mut self,
        to: Control,
        proxies: Vec<Proxy>,
    ) -> Result<(Option<Service>, Vec<Proxy>)> {
        let password = &self.blueprint.secrets.admin_password;
        self.admin = Admin::sign_in(&url(to.addresses.admin), ADMIN_USERNAME, password).await?;
        self.control_addresses = to.addresses;
        self.control_recipe = to.recipe;
        let control = self.control.replace(to.service);
        Ok((control, std::mem::replace(&mut self.proxies, proxies)))
    }

    /// Where proxies reach control.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.control_addresses.grpc
    }

    fn blueprint_of(&self, programs: &Programs) -> Blueprint {
        Blueprint {
            programs: programs.clone(),
            ..self.blueprint.clone()
        }
    }

    fn log_of(&self, name: &str, address: SocketAddr) -> PathBuf {
        self.folder.path().join(format!("{name}-{address}.log"))
    }

    /// Starts control again, at its old addresses.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_control(&mut self) -> Result<()> {
        ensure!(self.control.is_none(), "control is running");
        let control = self.control_recipe.clone().start()?;
        control.ready().await?;
        self.control = Some(control);
        Ok(())
    }
}

impl<'a> Builder<'a> {
    #[must_use]
    pub fn proxies(mut self, proxies: usize) -> Self {
        self.proxies = proxies;
        self
    }

    /// Runs other programs than those beside ours.
    #[must_use]
    pub fn programs(mut self, programs: Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    /// Sets a variable of control and of the proxies.
    #[must_use]
    pub fn setting(mut self, variable: &str, value: &str) -> Self {
        self.settings.push((variable.into(), value.into()));
        self
    }

    /// What is meant for Bedrock goes there.
    #[must_use]
    pub fn bedrock(self, url: &str) -> Self {
        self.setting("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
    }

    /// Seals with a key of the KMS that is there, in place of a local one.
    #[must_use]
    pub fn kms(self, url: &str, key_id: &str) -> Self {
        self.aws()
            .setting("AWS_ENDPOINT_URL_KMS", url)
            .setting("PROXY_KMS_KEY_ID", key_id)
    }

    /// Keeps all secrets in Secrets Manager, and the addresses that hold one.
    #[must_use]
    pub fn secrets_manager(mut self, moto: &'a Moto) -> Self {
        self.secrets_manager = Some(moto);
        self.aws()
            .setting("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto.url())
    }

    /// Has its database in a server that the test may stop.
    #[must_use]
    pub fn postgres(mut self, server: &'a Server) -> Self {
        self.postgres = Some(server);
        self
    }

    /// Lets proxies reach control through a [`Cutter`].
    #[must_use]
    pub fn cuttable(mut self) -> Self {
        self.is_cuttable = true;
        self
    }

    /// An account, and no wait for a machine's role.
    fn aws(self) -> Self {
        self.setting("AWS_REGION", AWS_REGION)
            .setting("AWS_ACCESS_KEY_ID", "test")
            .setting("AWS_SECRET_ACCESS_KEY", "test")
            .setting("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Starts everything and waits until all of it is ready.
    ///
    /// # Errors
    /// When a part does not start; the error holds the end of its log.
    pub async fn start(mut self) -> Result<Stack> {
        let folder = tempfile::tempdir()?;
        let programs = match self.programs.take() {
            Some(programs) => programs,
            None => Programs::beside_ours()?,
        };
        let secrets = Secrets::generate(&programs)?;
        let database = match self.postgres {
            Some(server) => Database::create_in(server).await?,
            None => Database::create().await?,
        };
        if let Some(moto) = self.secrets_manager {
            for (variable, secret) in kept(&secrets, &database) {
                let name = format!("{variable}-{}", Uuid::new_v4());
                let arn = moto.create_secret(AWS_REGION, &name, &secret).await?;
                self = self.setting(variable, &arn);
            }
        }
        let blueprint = Blueprint {
            programs,
            secrets,
            admin_username: ADMIN_USERNAME.to_owned(),
            environment: self.settings,
            folder: folder.path().to_owned(),
        };
        let control_addresses = ControlAddresses::free()?;
        let cutter = match self.is_cuttable {
            true => Some(Cutter::start(control_addresses.grpc).await?),
            false => None,
        };
        let sync_address = cutter.as_ref().map_or(control_addresses.grpc, Cutter::addr);
        let proxies = (0..self.proxies)
            .map(|number| {
                let addresses = ProxyAddresses::free()?;
                let mut recipe =
                    blueprint.proxy(&addresses, sync_address, Some(&self.plan_api_url));
                recipe.log = folder.path().join(format!("proxy-{number}.log"));
                Ok(Proxy {
                    addresses,
                    service: recipe.start()?,
                })
            })
            .collect::<Result<Vec<Proxy>>>()?;
        let public_url = proxies.first().map(Proxy::url).unwrap_or_default();
        let control_recipe = blueprint.control(&control_addresses, database.url(), &public_url);
        let control = control_recipe.clone().start()?;
        control.ready().await?;
        for proxy in &proxies {
            proxy.service.ready().await?;
        }
        let admin_url = url(control_addresses.admin);
        let admin = Admin::sign_in(
            &admin_url,
            ADMIN_USERNAME,
            &blueprint.secrets.admin_password,
        )
        .await?;
        Ok(Stack {
            proxies,
            control: Some(control),
            control_recipe,
            blueprint,
            plan_api_url: self.plan_api_url,
            control_addresses,
            admin,
            cutter,
            database,
            folder,
        })
    }
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("plan_api_url", &self.plan_api_url)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

impl Drop for Stack {
    /// Test runners show this when the test has failed, and only then.
    fn drop(&mut self) {
        let logs = fs::read_dir(self.folder.path()).into_iter().flatten();
        for log in logs.flatten() {
            eprintln!("{}", log_end(&log.path()));
        }
    }
}

impl Proxy {
    /// The address that a client is given, without a key.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.addresses.listen)
    }

    /// The address that a client with this key is given.
    #[must_use]
    pub fn base_url(&self, raw_key: &str) -> String {
        format!("{}/ak/{raw_key}", self.url())
    }
}

/// How to reach a listener from this machine.
#[must_use]
pub fn url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

/// # Errors
/// When the client cannot be built.
pub fn http_client() -> Result<reqwest::Client> {
    // Required even for plain HTTP; fails when it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Everything here is plain HTTP, and the system's authorities are many to read.
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    Ok(client.build()?)
}

/// An address that will still be free when a process binds it, also when it
/// binds it for the second time: on Linux every number that starts with 127 is
/// this machine, so each caller gets one of its own.
///
/// # Errors
/// When the system has no free port.
pub fn free_address() -> Result<SocketAddr> {
    let ip = if cfg!(target_os = "linux") {
        let [_, b, c, d] = rand::random::<[u8; 4]>();
        Ipv4Addr::new(127, b, c, d.clamp(2, 254))
    } else {
        Ipv4Addr::LOCALHOST
    };
    Ok(TcpListener::bind((ip, 0))
        .with_context(|| format!("find a free port of {ip}"))?
        .local_addr()?)
}

/// The secrets of both processes, by the variables that name where they are.
fn kept(secrets: &Secrets, database: &Database) -> [(&'static str, String); 5] {
    let administrator = json!({
        "username": ADMIN_USERNAME,
        "password_hash": secrets.admin_password_hash,
    });
    [
        (
            "PROXY_KEY_HASHER_SECRET_ARN",
            secrets.key_hasher_secret.clone(),
        ),
        ("PROXY_SYNC_TOKEN_ARN", secrets.sync_token.clone()),
        ("PROXY_JWT_SECRET_ARN", secrets.jwt_secret.clone()),
        ("PROXY_DATABASE_URL_ARN", database.url().to_owned()),
        ("PROXY_ADMIN_CREDENTIALS_ARN", administrator.to_string()),
    ]
}

/// The variable that stands for this one when its value is in Secrets Manager.
fn arn_of(variable: &str) -> String {
    match variable {
        "PROXY_ADMIN_USERNAME" | "PROXY_ADMIN_PASSWORD_HASH" => {
            "PROXY_ADMIN_CREDENTIALS_ARN".to_owned()
        }
        variable => format!("{variable}_ARN"),
    }
}

fn random_text() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn hash_password(control: &Path, password: &str) -> Result<String> {
    let mut child = Command::new(control)
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", control.display()))?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(password.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    let hash = String::from_utf8(output.stdout)?.trim().to_owned();
    ensure!(
        output.status.success() && !hash.is_empty(),
        "claude-code-control hash-password failed ({})",
        output.status
    );
    Ok(hash)
}
