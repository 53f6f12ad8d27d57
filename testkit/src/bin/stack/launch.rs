//! Starting everything in order, saying how to use it, stopping it in order.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::signal::Signal;
use serde_json::Value;
use testkit::{
    postgres::{Server, Storage},
    stack::admin::Admin,
    stack::service::{Recipe, Service},
    stack::{self, ADMIN_USERNAME, Blueprint, ControlAddresses, Programs, ProxyAddresses},
};

use crate::{
    interrupt::Interrupts,
    state::{Member, NewMember, State},
    traffic,
};

/// Variables that the launcher makes itself; a user's own have no effect.
const OURS: [&str; 16] = [
    "PROXY_DATABASE_URL",
    "PROXY_DATABASE_URL_ARN",
    "PROXY_DATABASE_URL_FILE",
    "PROXY_CONTROL_URL",
    "PROXY_KEY_HASHER_SECRET",
    "PROXY_KEY_HASHER_SECRET_ARN",
    "PROXY_KEY_HASHER_SECRET_FILE",
    "PROXY_SYNC_TOKEN",
    "PROXY_SYNC_TOKEN_ARN",
    "PROXY_SYNC_TOKEN_FILE",
    "PROXY_JWT_SECRET",
    "PROXY_JWT_SECRET_ARN",
    "PROXY_JWT_SECRET_FILE",
    "PROXY_ADMIN_PASSWORD_HASH",
    "PROXY_ADMIN_PASSWORD_HASH_FILE",
    "PROXY_ADMIN_CREDENTIALS_ARN",
];

/// Variables that a developer's shell has for Claude Code itself; what they say there
/// need not be a limit that the proxy can have.
const THEIRS: [&str; 2] = ["CLAUDE_CODE_MAX_OUTPUT_TOKENS", "MAX_THINKING_TOKENS"];

const BEDROCK_URL: &str = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME";

/// Where things listen: on this machine only, unless told otherwise. All other
/// variables of the proxy and of control are passed on to them, but those that
/// hold the parts together ([`OURS`]).
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Clients.
    #[arg(long, env = "PROXY_LISTEN_ADDR", default_value = "127.0.0.1:8080")]
    listen_addr: SocketAddr,
    /// Probes and metrics of the proxy.
    #[arg(long, env = "PROXY_OPS_ADDR", default_value = "127.0.0.1:8081")]
    ops_addr: SocketAddr,
    /// The console.
    #[arg(long, env = "PROXY_ADMIN_ADDR", default_value = "127.0.0.1:8000")]
    admin_addr: SocketAddr,
    /// Between proxy and control.
    #[arg(long, env = "PROXY_GRPC_ADDR", default_value = "127.0.0.1:8001")]
    grpc_addr: SocketAddr,
    /// Probes and metrics of control.
    #[arg(long, env = "PROXY_CONTROL_OPS_ADDR", default_value = "127.0.0.1:8002")]
    control_ops_addr: SocketAddr,
    /// Where the simulated API of `demo` listens.
    #[arg(long, env = "SIMULATOR_ADDR", default_value = "127.0.0.1:8090")]
    simulator_addr: SocketAddr,
    /// Where the simulated Bedrock of `demo` listens.
    #[arg(long, env = "SIMULATOR_BEDROCK_ADDR", default_value = "127.0.0.1:8091")]
    simulator_bedrock_addr: SocketAddr,
    /// Who signs in to the console.
    #[arg(long, env = "PROXY_ADMIN_USERNAME", default_value = ADMIN_USERNAME)]
    admin_username: String,
    /// Where developers reach the proxy [default: where it listens]
    #[arg(long, env = "PROXY_PUBLIC_URL")]
    public_url: Option<String>,
    /// Where the data, the secrets and the logs are kept [default: .state/run or .state/demo]
    #[arg(long)]
    state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Run,
    Demo,
}

/// Everything that runs, in the order in which it stops.
#[derive(Debug)]
struct System {
    proxy: Service,
    control: Service,
    simulator: Option<Service>,
    postgres: Server,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Demo => "demo",
        }
    }

    fn members(self) -> Vec<NewMember> {
        match self {
            Self::Run => vec![NewMember::on_plan("First user")],
            Self::Demo => vec![
                NewMember::on_plan("Ada"),
                NewMember::on_plan("Grace"),
                NewMember::on_bedrock("Linus"),
            ],
        }
    }

    /// Variables that this mode sets itself.
    fn own(self) -> &'static [&'static str] {
        match self {
            Self::Run => &[],
            Self::Demo => &["PROXY_PLAN_API_URL", BEDROCK_URL],
        }
    }
}

/// Runs until we are asked to stop, or until a part fails.
pub(crate) async fn launch(mode: Mode, settings: Settings) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let folder = settings
        .state
        .clone()
        .unwrap_or_else(|| default_state(mode));
    let state = State::open(folder)?;
    settings.refuse_taken_ports(mode)?;
    say_what_is_ignored(mode);
    let started = tokio::select! {
        started = start(mode, &settings, &state) => started,
        () = interrupts.next() => return Ok(ExitCode::SUCCESS),
    };
    let (system, greeting) = started?;
    println!("{greeting}");
    tokio::select! {
        error = system.died() => Err(error),
        () = interrupts.next() => {
            system.stop(&mut interrupts).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn start(mode: Mode, settings: &Settings, state: &State) -> Result<(System, String)> {
    let programs = Programs::beside_ours()?;
    let bedrock = (mode == Mode::Demo).then(|| {
        let url = stack::url(settings.simulator_bedrock_addr);
        (BEDROCK_URL.into(), url.into())
    });
    let ours = || OURS.iter().chain(mode.own());
    let blueprint = Blueprint {
        secrets: state.secrets(&programs)?,
        programs,
        admin_username: settings.admin_username.clone(),
        environment: std::env::vars_os()
            .filter(|(name, _)| !ours().chain(&THEIRS).any(|other| name == other))
            .chain(bedrock)
            .collect(),
        folder: state.folder.clone(),
    };
    eprintln!(
        "Starting; logs are in {} …",
        shortened(&state.folder).display()
    );
    let postgres = Server::start(Storage::Durable(state.folder.join("postgres"))).await?;
    postgres.ensure_database("claude_code_proxy").await?;

    let proxy_url = stack::url(settings.listen_addr);
    let public_url = settings.public_url.as_ref().unwrap_or(&proxy_url);
    let control = blueprint
        .control(
            &settings.control_addresses(),
            &postgres.url("claude_code_proxy"),
            public_url,
        )
        .start()?;
    let simulator = match mode {
        Mode::Run => None,
        Mode::Demo => Some(simulator(&blueprint, settings).start()?),
    };
    let plan_api_url = simulator
        .as_ref()
        .map(|_| stack::url(settings.simulator_addr));
    let proxy = blueprint
        .proxy(
            &settings.proxy_addresses(),
            settings.grpc_addr,
            plan_api_url.as_deref(),
        )
        .start()?;
    let system = System {
        proxy,
        control,
        simulator,
        postgres,
    };
    system.ready().await?;

    let admin_url = stack::url(settings.admin_addr);
    let password = &blueprint.secrets.admin_password;
    let admin = Admin::sign_in(&admin_url, &settings.admin_username, password).await?;
    let members = state.members(&mode.members(), &admin).await?;
    admin.until_in_force(1).await?;
    let member = members.first().context("no first user")?;
    let usable = is_active(&admin, member)
        .await?
        .then(|| format!("{proxy_url}/ak/{}", member.raw_key));
    if mode == Mode::Demo && usable.is_some() {
        let count = traffic::send(&proxy_url, &members).await?;
        eprintln!("Sent {count} requests of {} users.", members.len());
    }
    let on_bedrock = match mode {
        Mode::Run => None,
        Mode::Demo => on_bedrock(&admin, &members).await,
    };
    let greeting = greeting(
        mode,
        state,
        &admin_url,
        &blueprint,
        usable.as_deref(),
        on_bedrock,
    );
    Ok((system, greeting))
}

/// Whether the key that we know still works; an administrator may have revoked it.
async fn is_active(admin: &Admin, member: &Member) -> Result<bool> {
    let Ok(keys) = admin
        .get(&format!("/admin/users/{}/access-keys", member.user_id))
        .await
    else {
        return Ok(false); // the user is deleted
    };
    let keys = keys
        .get("items")
        .and_then(Value::as_array)
        .context("no list of access keys")?;
    Ok(keys.iter().any(|key| {
        let is = |field, value: &str| key.get(field).and_then(Value::as_str) == Some(value);
        is("id", &member.access_key_id) && is("status", "active")
    }))
}

/// The first whom Bedrock answers; an administrator may have routed any of them.
async fn on_bedrock<'a>(admin: &Admin, members: &'a [Member]) -> Option<&'a Member> {
    for member in members {
        let user = admin.get(&format!("/admin/users/{}", member.user_id)).await;
        if user.is_ok_and(|user| user.get("routing_strategy") == Some(&"bedrock_only".into())) {
            return Some(member);
        }
    }
    None
}

fn simulator(blueprint: &Blueprint, settings: &Settings) -> Recipe {
    let bedrock = settings.simulator_bedrock_addr;
    Recipe {
        name: "simulator",
        program: blueprint.programs.simulator.clone(),
        arguments: vec![
            "--listen".into(),
            settings.simulator_addr.to_string().into(),
            "--bedrock".into(),
            bedrock.to_string().into(),
            "--demo".into(),
        ],
        environment: blueprint.environment.clone(),
        log: blueprint.folder.join("simulator.log"),
        // It begins with the API and is then Bedrock as well.
        ready_url: format!("{}/_ledger", stack::url(bedrock)),
    }
}

fn greeting(
    mode: Mode,
    state: &State,
    console: &str,
    blueprint: &Blueprint,
    base_url: Option<&str>,
    on_bedrock: Option<&Member>,
) -> String {
    let bedrock = on_bedrock.map_or_else(String::new, |member| {
        format!("{} is answered by a simulated Bedrock.\n", member.name)
    });
    let client = match (mode, base_url) {
        (_, None) => "The first user's key is revoked: issue another in the console.".to_owned(),
        (Mode::Run, Some(base_url)) => format!(
            "Start Claude Code in another terminal:\n\n  \
             export ANTHROPIC_BASE_URL={base_url}\n  \
             claude\n\n\
             Your own Claude login passes through; the proxy keeps none."
        ),
        (Mode::Demo, Some(base_url)) => format!(
            "Start Claude Code in another terminal:\n\n  \
             export ANTHROPIC_BASE_URL={base_url}\n  \
             export ANTHROPIC_API_KEY=sk-ant-demo\n  \
             claude\n\n\
             The simulated API takes any key, so that no login is needed."
        ),
    };
    format!(
        "\nClaude Code Proxy is running.\n\n  \
         Console   {console}\n  \
         User      {}\n  \
         Password  {}\n\n\
         {client}\n\
         {bedrock}\n\
         Everything is kept in {}. Ctrl-C stops everything.\n",
        blueprint.admin_username,
        blueprint.secrets.admin_password,
        shortened(&state.folder).display()
    )
}

/// A variable without effect is a riddle, unless we say so.
fn say_what_is_ignored(mode: Mode) {
    for variable in OURS.iter().chain(mode.own()) {
        if std::env::var_os(variable).is_some() {
            eprintln!(
                "{variable} has no effect here: make {} sets it itself.",
                mode.name()
            );
        }
    }
    for variable in THEIRS {
        if std::env::var_os(variable).is_some() {
            eprintln!(
                "{variable} is for Claude Code here: make {} gives it to no proxy.",
                mode.name()
            );
        }
    }
}

impl Settings {
    fn control_addresses(&self) -> ControlAddresses {
        ControlAddresses {
            admin: self.admin_addr,
            grpc: self.grpc_addr,
            ops: self.control_ops_addr,
        }
    }

    fn proxy_addresses(&self) -> ProxyAddresses {
        ProxyAddresses {
            listen: self.listen_addr,
            ops: self.ops_addr,
        }
    }

    /// Before anything is started, all at once.
    fn refuse_taken_ports(&self, mode: Mode) -> Result<()> {
        let addresses = [
            ("PROXY_LISTEN_ADDR", self.listen_addr),
            ("PROXY_OPS_ADDR", self.ops_addr),
            ("PROXY_ADMIN_ADDR", self.admin_addr),
            ("PROXY_GRPC_ADDR", self.grpc_addr),
            ("PROXY_CONTROL_OPS_ADDR", self.control_ops_addr),
            ("SIMULATOR_ADDR", self.simulator_addr),
            ("SIMULATOR_BEDROCK_ADDR", self.simulator_bedrock_addr),
        ];
        let used = if mode == Mode::Demo {
            &addresses[..]
        } else {
            &addresses[..5]
        };
        let mut complaints = String::new();
        let mut remedy = String::new();
        for &(variable, address) in used {
            let Err(error) = TcpListener::bind(address) else {
                continue;
            };
            let port = address.port();
            complaints += &match error.kind() {
                ErrorKind::AddrInUse => format!("Port {port} is taken ({variable}={address}).\n"),
                _ => format!("Port {port} cannot be used ({variable}={address}: {error}).\n"),
            };
            remedy += &format!("{variable}={} ", nearby(address));
        }
        if complaints.is_empty() {
            return Ok(());
        }
        bail!(
            "{complaints}Nothing was started. Use other ports:\n\n  {remedy}make {}\n",
            mode.name()
        )
    }
}

/// A free port that is easy to remember.
fn nearby(address: SocketAddr) -> SocketAddr {
    let candidates = (1..100).filter_map(|step| {
        Some(SocketAddr::new(
            address.ip(),
            address.port().checked_add(step * 100)?,
        ))
    });
    candidates
        .into_iter()
        .find(|candidate| TcpListener::bind(candidate).is_ok())
        .unwrap_or(address)
}

impl System {
    async fn ready(&self) -> Result<()> {
        if let Some(simulator) = &self.simulator {
            simulator.ready().await?;
        }
        self.control.ready().await?;
        self.proxy.ready().await
    }

    /// Waits until a part ends without being asked to.
    async fn died(&self) -> anyhow::Error {
        let simulator = async {
            match &self.simulator {
                Some(simulator) => simulator.died().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = self.proxy.died() => error,
            error = self.control.died() => error,
            error = self.postgres.died() => error,
            error = simulator => error,
        }
    }

    /// The proxy first, because its last usage goes to control; the database last.
    async fn stop(self, interrupts: &mut Interrupts) -> Result<()> {
        eprintln!(
            "\nStopping. Running answers are finished first; press Ctrl-C again to cut them off."
        );
        let proxy = self.proxy;
        proxy.process().stop()?;
        tokio::select! {
            _ = proxy.process().exited() => {}
            () = interrupts.next() => proxy.process().signal(Signal::SIGKILL)?,
        }
        self.control.stop().await?;
        if let Some(simulator) = self.simulator {
            simulator.stop().await?;
        }
        self.postgres.stop().await?;
        eprintln!("Stopped.");
        Ok(())
    }
}

fn repository() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.parent().unwrap_or(folder).to_owned()
}

fn default_state(mode: Mode) -> PathBuf {
    repository().join(".state").join(mode.name())
}

/// As a person in the repository would write it.
fn shortened(path: &Path) -> PathBuf {
    path.strip_prefix(repository()).unwrap_or(path).to_owned()
}
