//! What is measured, and what it needs: real processes, each on its CPU.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use testkit::{
    load::{Provider, Report, Shape},
    postgres::{Server, Storage},
    stack::{
        self, ADMIN_USERNAME, Blueprint, ControlAddresses, Programs, ProxyAddresses, Secrets,
        admin::{Admin, IssuedKey},
        service::{Recipe, Service},
    },
};
use tokio::task::spawn_blocking;

use crate::{Options, nginx};

/// Of Bedrock; nothing is sent there.
pub(crate) const REGION: &str = "us-east-1";

pub(crate) const BEDROCK_API_KEY: &str = "a-key-for-Bedrock";

const DATABASE: &str = "claude_code_proxy";

/// Where clients would be sent; ours know better.
const PUBLIC_URL: &str = "http://127.0.0.1";

/// The credential of a client, which the proxy passes on.
pub(crate) const CLIENT_CREDENTIAL: &str = "x-api-key: sk-ant-bench";

/// How often we ask whether all usage has been delivered. Seldom, because the
/// answer costs the proxy something.
const DELIVERY_POLL: Duration = Duration::from_millis(250);

/// Usage that has not been delivered by then never will.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(180);

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) machine: Machine,
    pub(crate) targets: Vec<Target>,
    pub(crate) control: Control,
    postgres: Server,
    upstream_url: String,
    blueprint: Blueprint,
    load: PathBuf,
    _upstream: Service,
}

/// Control with a database of its own.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) admin: Admin,
    pub(crate) grpc: SocketAddr,
    pub(crate) database_url: String,
    pub(crate) service: Service,
}

/// Something that can be put under load.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: Name,
    provider: Provider,
    pub(crate) url: String,
    /// The process whose cost counts: for `direct` it is the upstream itself.
    pub(crate) pid: u32,
    /// Where the proxy says what it has not delivered yet.
    ops: Option<SocketAddr>,
    /// None: it is among the services.
    _service: Option<Service>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    Direct,
    Nginx,
    Proxy,
    /// A proxy whose client is answered by Bedrock, with an API key.
    Bedrock,
    /// The same proxy, with a key pair: each request is signed.
    Signed,
}

/// Where the numbers come from.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    /// Load average of a minute, before we began.
    pub(crate) load_average: String,
    pub(crate) is_pinned: bool,
    pub(crate) nginx: Option<PathBuf>,
}

/// What runs where: the measured process has a CPU for itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cpu {
    Measured,
    Load,
}

impl System {
    pub(crate) async fn start(options: &Options) -> Result<Self> {
        let machine = Machine::look(options.nginx.clone());
        let programs = Programs::beside_ours()?;
        let load = programs.proxy.with_file_name("load");
        let logs = options.state.join("logs");
        let blueprint = Blueprint {
            secrets: Secrets::generate(&programs)?,
            programs,
            admin_username: ADMIN_USERNAME.to_owned(),
            environment: Vec::new(),
            folder: logs.clone(),
        };

        let postgres = Server::start(Storage::Scratch).await?;
        let control = Control::start(&blueprint, &postgres, DATABASE, &[]).await?;
        let upstream_address = stack::free_address()?;
        let upstream_url = stack::url(upstream_address);
        let upstream = Recipe {
            name: "upstream",
            program: blueprint.programs.simulator.clone(),
            arguments: ["--bench", "--listen", &upstream_address.to_string()]
                .map(OsString::from)
                .into(),
            environment: Vec::new(),
            log: logs.join("upstream.log"),
            ready_url: upstream_url.clone(),
        };
        let upstream = machine.pinned(upstream, Cpu::Load).start()?;
        upstream.ready().await?;

        let mut system = Self {
            targets: vec![Target {
                name: Name::Direct,
                provider: Provider::Plan,
                url: upstream_url.clone(),
                pid: pid(&upstream)?,
                ops: None,
                _service: None,
            }],
            machine,
            control,
            postgres,
            upstream_url,
            blueprint,
            load,
            _upstream: upstream,
        };
        system.targets.extend(system.nginx(upstream_address).await?);
        system.targets.extend(system.proxies().await?);
        Ok(system)
    }

    /// One proxy for the plan and one for Bedrock: the memory that the one's
    /// streams have left behind would hide what the other's take.
    async fn proxies(&self) -> Result<[Target; 3]> {
        let plan_key = self.control.client("Ada").await?;
        let api_key = self.control.client_of_bedrock("Barbara", api_key()).await?;
        let pair = json!({
            "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
            "aws_secret_access_key": "the-secret-of-a-key-pair",
            "region": REGION,
        });
        let pair = self.control.client_of_bedrock("Edith", pair).await?;

        let plan = self.proxy("proxy")?;
        let bedrock = self.proxy("bedrock")?;
        plan.service.ready().await?;
        bedrock.service.ready().await?;
        self.control.admin.until_in_force(2).await?;
        let target = |name, provider, proxy: &stack::Proxy, key: &IssuedKey| {
            anyhow::Ok(Target {
                name,
                provider,
                url: proxy.base_url(&key.raw_key),
                pid: pid(&proxy.service)?,
                ops: Some(proxy.addresses.ops),
                _service: None,
            })
        };
        let on_plan = target(Name::Proxy, Provider::Plan, &plan, &plan_key)?;
        let on_bedrock = target(Name::Bedrock, Provider::Bedrock, &bedrock, &api_key)?;
        let signed = target(Name::Signed, Provider::Bedrock, &bedrock, &pair)?;
        Ok([
            Target {
                _service: Some(plan.service),
                ..on_plan
            },
            Target {
                _service: Some(bedrock.service),
                ..on_bedrock
            },
            signed,
        ])
    }

    async fn nginx(&self, upstream: SocketAddr) -> Result<Option<Target>> {
        let Some(program) = &self.machine.nginx else {
            return Ok(None);
        };
        let address = stack::free_address()?;
        let recipe = nginx::recipe(program, address, upstream, &self.blueprint.folder)?;
        let service = self.machine.pinned(recipe, Cpu::Measured).start()?;
        service.ready().await?;
        Ok(Some(Target {
            name: Name::Nginx,
            provider: Provider::Plan,
            url: stack::url(address),
            pid: pid(&service)?,
            ops: None,
            _service: Some(service),
        }))
    }

    /// Starts a proxy; it is not ready yet.
    pub(crate) fn proxy(&self, log: &str) -> Result<stack::Proxy> {
        self.proxy_of(log, self.control.grpc, &[])
    }

    /// The same with control somewhere else, and with settings of its own.
    pub(crate) fn proxy_of(
        &self,
        log: &str,
        control: SocketAddr,
        settings: &[(&str, &str)],
    ) -> Result<stack::Proxy> {
        let addresses = ProxyAddresses::free()?;
        let mut recipe = self
            .blueprint
            .proxy(&addresses, control, Some(&self.upstream_url));
        recipe.log = self.blueprint.folder.join(format!("{log}.log"));
        let bedrock = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &*self.upstream_url);
        for (variable, value) in settings.iter().chain([&bedrock]) {
            recipe.environment.push((variable.into(), value.into()));
        }
        Ok(stack::Proxy {
            addresses,
            service: self.machine.pinned(recipe, Cpu::Measured).start()?,
        })
    }

    /// Another control, with an empty database and with settings of its own.
    pub(crate) async fn another_control(
        &self,
        name: &'static str,
        settings: &[(&str, &str)],
    ) -> Result<Control> {
        self.control_in(&self.postgres, name, settings).await
    }

    /// The same in another Postgres.
    pub(crate) async fn control_in(
        &self,
        postgres: &Server,
        name: &'static str,
        settings: &[(&str, &str)],
    ) -> Result<Control> {
        Control::start(&self.blueprint, postgres, name, settings).await
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.blueprint.secrets
    }

    /// Runs the load generator as a process of its own.
    pub(crate) async fn load(
        &self,
        target: &Target,
        shape: Shape,
        arguments: &[(&str, String)],
    ) -> Result<Report> {
        let shape = shape
            .to_possible_value()
            .context("a shape without a name")?;
        let provider = target
            .provider
            .to_possible_value()
            .context("a provider without a name")?;
        let mut command = self.machine.command(&self.load, Cpu::Load);
        command
            .args(["--url", &target.url, "--header", CLIENT_CREDENTIAL])
            .args(["--provider", provider.get_name()])
            .args(["--shape", shape.get_name()])
            .args(["--pid", &target.pid.to_string()]);
        for (name, value) in arguments {
            command.args([name, value.as_str()]);
        }
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        // It ends by itself, so it needs no leash.
        let output = spawn_blocking(move || command.output()).await??;
        ensure!(
            output.status.success(),
            "the load generator failed ({})",
            output.status
        );
        serde_json::from_slice(&output.stdout).context("read the load generator's report")
    }
}

impl Control {
    /// The database, which has this name, must not exist.
    async fn start(
        blueprint: &Blueprint,
        postgres: &Server,
        database: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        postgres.ensure_database(database).await?;
        let database_url = postgres.url(database);
        let addresses = ControlAddresses::free()?;
        let mut recipe = blueprint.control(&addresses, &database_url, PUBLIC_URL);
        recipe.log = blueprint.folder.join(format!("control-{database}.log"));
        for (variable, value) in settings {
            recipe.environment.push((variable.into(), value.into()));
        }
        let service = recipe.start()?;
        service.ready().await?;
        Ok(Self {
            admin: sign_in(&addresses, blueprint).await?,
            grpc: addresses.grpc,
            database_url,
            service,
        })
    }

    /// An access key of a user who is answered by the plan.
    pub(crate) async fn client(&self, user: &str) -> Result<IssuedKey> {
        let user_id = self.admin.create_user(user).await?;
        self.admin.issue_key(&user_id).await
    }

    /// The same, of one whom Bedrock may answer when the plan does not.
    pub(crate) async fn client_of_both(&self, user: &str, credential: Value) -> Result<IssuedKey> {
        let key = self.client(user).await?;
        let id = &key.access_key_id;
        self.admin.register_bedrock_key(id, credential).await?;
        Ok(key)
    }

    /// The same, of one who only uses Bedrock.
    pub(crate) async fn client_of_bedrock(
        &self,
        user: &str,
        credential: Value,
    ) -> Result<IssuedKey> {
        let user_id = self.admin.create_user(user).await?;
        self.key_of_bedrock(&user_id, credential).await
    }

    /// An access key of this user, who from now on only uses Bedrock.
    pub(crate) async fn key_of_bedrock(
        &self,
        user_id: &str,
        credential: Value,
    ) -> Result<IssuedKey> {
        let key = self.admin.issue_key(user_id).await?;
        let id = &key.access_key_id;
        self.admin.register_bedrock_key(id, credential).await?;
        self.admin.route(user_id, "bedrock_only").await?;
        Ok(key)
    }
}

impl Target {
    /// Waits until control has all usage. What that costs is the proxy's too.
    pub(crate) async fn delivered(&self) -> Result<()> {
        match self.ops {
            Some(ops) => delivered(ops).await,
            None => Ok(()),
        }
    }

    /// Usage events given up since the proxy started.
    pub(crate) async fn given_up(&self) -> Result<f64> {
        match self.ops {
            Some(ops) => metric(ops, "proxy_usage_dropped_total").await,
            None => Ok(0.0),
        }
    }
}

/// Waits until control has all usage of a proxy.
pub(crate) async fn delivered(ops: SocketAddr) -> Result<()> {
    let delivered = async {
        while metric(ops, "proxy_outbox_events").await? > 0.0 {
            tokio::time::sleep(DELIVERY_POLL).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DELIVERY_TIMEOUT, delivered)
        .await
        .context("control does not take the usage")?
}

/// A metric of a proxy, with its labels; 0 while there is none.
pub(crate) async fn metric(ops: SocketAddr, name: &str) -> Result<f64> {
    let url = format!("{}/metrics", stack::url(ops));
    let text = stack::http_client()?.get(url).send().await?.text().await?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Ok(value.unwrap_or(0.0))
}

/// A Bedrock API key, as it is registered.
pub(crate) fn api_key() -> Value {
    json!({"bedrock_api_key": BEDROCK_API_KEY, "region": REGION})
}

impl Machine {
    fn look(nginx: Option<PathBuf>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cpu: read("/proc/cpuinfo")
                .lines()
                .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
                .map(|(_, name)| name.to_owned())
                .unwrap_or_default(),
            cpus,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: first_word(&read("/proc/loadavg")),
            is_pinned: cpus > 1 && Path::new(TASKSET).exists(),
            nginx: nginx.filter(|path| path.exists()),
        }
    }

    fn pinned(&self, mut recipe: Recipe, cpu: Cpu) -> Recipe {
        if self.is_pinned {
            let pin = ["-c".into(), cpu.number().into(), recipe.program.into()];
            recipe.arguments.splice(0..0, pin);
            recipe.program = TASKSET.into();
        }
        recipe
    }

    fn command(&self, program: &Path, cpu: Cpu) -> Command {
        if !self.is_pinned {
            return Command::new(program);
        }
        let mut command = Command::new(TASKSET);
        command.args(["-c", cpu.number()]).arg(program);
        command
    }
}

/// Becomes the program that it starts, so the process number is the program's.
const TASKSET: &str = "/usr/bin/taskset";

impl Cpu {
    fn number(self) -> &'static str {
        match self {
            Self::Load => "0",
            Self::Measured => "1",
        }
    }
}

impl Name {
    /// Those that answer with the same bytes.
    pub(crate) const ON_PLAN: [Self; 3] = [Self::Direct, Self::Nginx, Self::Proxy];
}

pub(crate) fn pid(service: &Service) -> Result<u32> {
    Ok(service.process().id().try_into()?)
}

async fn sign_in(control: &ControlAddresses, blueprint: &Blueprint) -> Result<Admin> {
    let url = stack::url(control.admin);
    Admin::sign_in(&url, ADMIN_USERNAME, &blueprint.secrets.admin_password).await
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}
