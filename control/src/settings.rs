//! Every setting: its flag, its variable, its default, its check.
//!
//! `--help` is the manual. A value that does not parse ends the process before
//! a port is bound, with one line that names the variable and never shows a
//! secret. What a variable `…_ARN` names is fetched from Secrets Manager and
//! checked like a value that was given; so is the text of a file that `…_FILE`
//! names. Nothing else reads the environment.

use std::{
    error::Error, fmt, fs, net::SocketAddr, path::PathBuf, slice, str::FromStr, time::Duration,
};

use ::telemetry::settings::Exports;
use aws::{
    Aws,
    settings::{Found, Reason, arn},
};
use chrono_tz::Tz;
use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};
use proto::region;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    password::{self, PasswordHash},
    pricing::Overlay,
    store::DatabaseUrl,
};

/// A shorter secret could be guessed from one value made with it.
const MIN_SECRET_CHARS: usize = 16;

/// Control plane of Claude Code Proxy: users, keys and usage in Postgres; admin
/// API and console; sync to the proxies.
#[derive(Debug, Parser)]
#[command(name = "claude-code-control", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub log: Log,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the control plane; migrates the database first.
    Serve(Box<Settings>),
    /// Brings the database to this version and ends.
    Migrate(Database),
    /// Prints the admin API as an OpenAPI document.
    Openapi,
    /// Reads a password from standard input and prints its hash, for
    /// PROXY_ADMIN_PASSWORD_HASH.
    HashPassword,
    /// Looks after the usage that is stored.
    #[command(subcommand)]
    Usage(UsageCommand),
    /// Asks the control plane that runs here, and ends with 0 if it is alive: for
    /// containers.
    Health(Health),
    /// Names a new history, so that every proxy starts from a snapshot: run it
    /// after the database was restored from a backup.
    NewEpoch(Database),
}

#[derive(Debug, Subcommand)]
pub enum UsageCommand {
    /// Makes the sums of usage anew from its rows, in the time zone in which control
    /// keeps them, and decides all budgets by them. Sums of rows that were dropped are
    /// kept; proxies' usage waits meanwhile.
    Rebuild(Database),
    /// Puts back usage that a killed proxy had not delivered, from its log: whole
    /// logs may be given, and again, because each request is counted once. Takes
    /// the lines as a proxy writes them, as a log group gives them back, or as a
    /// container's driver keeps them, also compressed with gzip. Ends with 1 when
    /// something that may be a request's could not be read or stored, and says where
    /// it is.
    Import(Import),
}

/// What `usage import` needs.
#[derive(Debug, Args)]
pub struct Import {
    /// Files to read; standard input when none is given, or for `-`.
    #[arg(default_value = "-")]
    pub files: Vec<PathBuf>,

    /// Say what is missing, and change nothing.
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub database: Database,
}

/// What `serve` needs.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    #[command(flatten)]
    pub database: Database,

    #[command(flatten)]
    pub listeners: Listeners,

    #[command(flatten)]
    pub sync: Sync,

    #[command(flatten)]
    pub admin: Admin,

    /// The secret under which access keys are hashed; the proxies need the same.
    /// Required, or its `…_ARN`.
    #[arg(long, env = "PROXY_KEY_HASHER_SECRET", hide_env_values = true, value_parser = secret,
          required = false, required_unless_present = "key_hasher_secret_arn")]
    pub key_hasher_secret: SecretString,

    /// Where PROXY_KEY_HASHER_SECRET is kept in Secrets Manager. This and every
    /// other secret that an `…_ARN` names is a text, or a JSON object with one
    /// member. A variable `…_FILE` in place of `…_ARN` names a file that has it.
    #[arg(long, env = "PROXY_KEY_HASHER_SECRET_ARN", conflicts_with = "key_hasher_secret", value_parser = arn)]
    pub key_hasher_secret_arn: Option<String>,

    #[command(flatten)]
    pub sealing: Sealing,

    #[command(flatten)]
    pub bedrock: Bedrock,

    #[command(flatten)]
    pub money: Money,

    #[command(flatten)]
    pub webhook: Webhook,

    #[command(flatten)]
    pub exports: Exports,

    /// Usage older than this is dropped, whole months at a time.
    #[arg(long, env = "PROXY_USAGE_RETENTION_DAYS", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub usage_retention_days: u32,

    /// Entries of the audit log older than this are dropped.
    #[arg(long, env = "PROXY_AUDIT_RETENTION_DAYS", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub audit_retention_days: u32,

    /// Not for operators: tests are in a hurry.
    #[arg(skip)]
    pub pace: Pace,

    /// Not for operators, who set the AWS SDK's own variables.
    #[arg(skip)]
    pub aws: Aws,
}

#[derive(Debug, Args)]
pub struct Health {
    /// Address for operators, as the control plane has it.
    #[arg(long, env = "PROXY_CONTROL_OPS_ADDR", default_value = "0.0.0.0:8002")]
    pub control_ops_addr: SocketAddr,

    /// Whether its tables are there and the database answers.
    #[arg(long)]
    pub ready: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Database {
    /// Required, or its `…_ARN`. Where Postgres is: `postgres://user:password@host/database`. `postgresql://`
    /// and `postgresql+asyncpg://` are understood too. `?sslmode=` is `disable`,
    /// `prefer` (when not given), `require`, or `verify-full`, which checks the
    /// server's certificate; `&sslrootcert=` is a PEM file with who may sign it.
    #[arg(
        long,
        env = "PROXY_DATABASE_URL",
        hide_env_values = true,
        required = false,
        required_unless_present = "database_url_arn"
    )]
    pub database_url: DatabaseUrl,

    /// Where PROXY_DATABASE_URL is kept in Secrets Manager, as such or as RDS
    /// writes it: `username`, `password`, `host`, `port`, `dbname`.
    #[arg(long, env = "PROXY_DATABASE_URL_ARN", conflicts_with = "database_url", value_parser = arn)]
    pub database_url_arn: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Listeners {
    /// Administrators: console, admin API, `/health`.
    #[arg(long, env = "PROXY_ADMIN_ADDR", default_value = "0.0.0.0:8000")]
    pub admin_addr: SocketAddr,

    /// Proxies: gRPC.
    #[arg(long, env = "PROXY_GRPC_ADDR", default_value = "0.0.0.0:8001")]
    pub grpc_addr: SocketAddr,

    /// Operators: `/livez`, `/readyz`, `/metrics`.
    #[arg(long, env = "PROXY_CONTROL_OPS_ADDR", default_value = "0.0.0.0:8002")]
    pub control_ops_addr: SocketAddr,
}

/// Who may call over gRPC.
#[derive(Debug, Clone, Args)]
pub struct Sync {
    /// The token that proxies present. Required, or its `…_ARN`.
    #[arg(long, env = "PROXY_SYNC_TOKEN", hide_env_values = true, value_parser = secret,
          required = false, required_unless_present = "sync_token_arn")]
    pub sync_token: SecretString,

    /// Where PROXY_SYNC_TOKEN is kept in Secrets Manager.
    #[arg(long, env = "PROXY_SYNC_TOKEN_ARN", conflicts_with = "sync_token", value_parser = arn)]
    pub sync_token_arn: Option<String>,

    /// PEM file: our certificate and its chain. With it gRPC is TLS.
    #[arg(long, env = "PROXY_SYNC_TLS_CERT", requires = "sync_tls_key", value_parser = pem_file)]
    pub sync_tls_cert: Option<Pem>,

    /// PEM file: the certificate's private key.
    #[arg(long, env = "PROXY_SYNC_TLS_KEY", requires = "sync_tls_cert", value_parser = pem_file)]
    pub sync_tls_key: Option<Pem>,

    /// PEM file: who signed the proxies' certificates. With it a proxy must
    /// present one.
    #[arg(long, env = "PROXY_SYNC_TLS_CA", requires = "sync_tls_cert", value_parser = pem_file)]
    pub sync_tls_ca: Option<Pem>,
}

/// Who may use the admin API.
#[derive(Debug, Clone, Args)]
pub struct Admin {
    /// The administrator's name. Required with the hash, or
    /// PROXY_ADMIN_CREDENTIALS_ARN.
    #[arg(long, env = "PROXY_ADMIN_USERNAME", value_parser = clap::builder::NonEmptyStringValueParser::new(),
          required = false, required_unless_present = "admin_credentials_arn")]
    pub admin_username: String,

    /// The administrator's password as `claude-code-control hash-password` prints
    /// it (Argon2id). A SHA-256 in hexadecimal is accepted, but easily guessed.
    #[arg(
        long,
        env = "PROXY_ADMIN_PASSWORD_HASH",
        hide_env_values = true,
        required = false,
        required_unless_present = "admin_credentials_arn"
    )]
    pub admin_password_hash: PasswordHash,

    /// Where the administrator's name and password are kept in Secrets Manager: a
    /// JSON object with `username`, and `password_hash` or `password`.
    #[arg(long, env = "PROXY_ADMIN_CREDENTIALS_ARN", value_parser = arn,
          conflicts_with_all = ["admin_username", "admin_password_hash"])]
    pub admin_credentials_arn: Option<String>,

    /// The secret that signs sessions. Required, or its `…_ARN`.
    #[arg(long, env = "PROXY_JWT_SECRET", hide_env_values = true, value_parser = secret,
          required = false, required_unless_present = "jwt_secret_arn")]
    pub jwt_secret: SecretString,

    /// Where PROXY_JWT_SECRET is kept in Secrets Manager.
    #[arg(long, env = "PROXY_JWT_SECRET_ARN", conflicts_with = "jwt_secret", value_parser = arn)]
    pub jwt_secret_arn: Option<String>,

    /// How many load balancers stand before the admin API. So many entries at the end
    /// of X-Forwarded-For are believed: in the audit log, and where failed logins are
    /// held back.
    #[arg(long, env = "PROXY_ADMIN_LOAD_BALANCERS", default_value_t = 0)]
    pub admin_load_balancers: usize,

    /// Where developers reach the proxies; the console prints it.
    #[arg(long, env = "PROXY_PUBLIC_URL", default_value = "http://127.0.0.1:8080", value_parser = http_url)]
    pub public_url: String,
}

/// With what credentials for Bedrock are sealed. With neither, none can be
/// registered.
#[derive(Debug, Clone, Default, Args)]
pub struct Sealing {
    /// The KMS key (id, ARN or alias) that credentials for Bedrock are sealed with.
    #[arg(long, env = "PROXY_KMS_KEY_ID", conflicts_with = "local_encryption_key",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub kms_key_id: Option<String>,

    /// Seals without KMS, for development; the proxies need the same.
    #[arg(long, env = "PROXY_LOCAL_ENCRYPTION_KEY", hide_env_values = true, value_parser = secret)]
    pub local_encryption_key: Option<SecretString>,
}

/// How Bedrock is reached.
#[derive(Debug, Clone, Args)]
pub struct Bedrock {
    /// The region of credentials that are registered without one. The proxies have
    /// a setting of this name for their own role.
    #[arg(long, env = "PROXY_BEDROCK_REGION", default_value = "ap-northeast-2", value_parser = region)]
    pub bedrock_region: String,

    /// Whether the proxies may use their own AWS role where a key has no
    /// credential; then users may be routed to Bedrock only without any. Set it as
    /// for the proxies.
    #[arg(long, env = "PROXY_BEDROCK_USE_ROLE", default_value_t = false, action = ArgAction::Set)]
    pub bedrock_use_role: bool,

    /// Where Bedrock is, if not at AWS: asked when a credential is to be verified.
    #[arg(long, env = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", value_parser = http_url)]
    pub bedrock_endpoint: Option<String>,
}

/// What usage costs, and against which months it is held.
#[derive(Debug, Clone, Args)]
pub struct Money {
    /// Own prices, laid over the built-in list model by model: JSON, or `@` and the
    /// name of a file that has it. `POST /api/pricing/reload` reads the file again.
    #[arg(long, env = "PROXY_MODEL_PRICING", value_parser = pricing)]
    pub model_pricing: Option<String>,

    #[command(flatten)]
    pub calendar: Calendar,
}

/// When days and months begin.
#[derive(Debug, Clone, Copy, Args)]
pub struct Calendar {
    /// The time zone of days, weeks and months in budgets and reports: an IANA name
    /// such as `Asia/Seoul`.
    #[arg(long, env = "PROXY_TIMEZONE", default_value = "UTC", value_parser = timezone)]
    pub timezone: Tz,
}

/// Who is told when 50, 80 and 100 per cent of a budget are spent.
#[derive(Debug, Clone, Default, Args)]
pub struct Webhook {
    /// Where budget alerts are posted to; PROXY_BUDGET_WEBHOOK_SECRET signs them.
    /// Without it they are in the admin API only.
    #[arg(long, env = "PROXY_BUDGET_WEBHOOK_URL", value_parser = http_url)]
    pub budget_webhook_url: Option<String>,

    /// The secret that signs budget alerts.
    #[arg(long, env = "PROXY_BUDGET_WEBHOOK_SECRET", hide_env_values = true, value_parser = secret)]
    pub budget_webhook_secret: Option<SecretString>,

    /// Where PROXY_BUDGET_WEBHOOK_SECRET is kept in Secrets Manager.
    #[arg(long, env = "PROXY_BUDGET_WEBHOOK_SECRET_ARN", conflicts_with = "budget_webhook_secret",
          value_parser = arn)]
    pub budget_webhook_secret_arn: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Log {
    /// What is worth a line; libraries say warnings and errors at most.
    #[arg(long, global = true, env = "PROXY_LOG_LEVEL", default_value = "info")]
    pub log_level: LogLevel,

    /// How a line is written: as a JSON object, or for a person at a terminal.
    #[arg(long, global = true, env = "PROXY_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

/// How often things happen that nobody waits for.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A watching proxy hears from us at least this often.
    pub heartbeat: Duration,
    /// A message that a proxy has not taken by then ends its stream.
    pub send_timeout: Duration,
    /// How often the head is read although nothing was notified.
    pub poll: Duration,
    /// A connection ends at about this age, so that proxies spread over
    /// replicas again.
    pub connection_age: Duration,
    /// How often lapsed keys are revoked.
    pub expiry: Duration,
    /// How often partitions, the change log and old reports are tidied.
    pub upkeep: Duration,
    /// How often amounts that were spent are told to proxies.
    pub spending: Duration,
    /// How often alerts are looked for that nobody was told of.
    pub alerts: Duration,
    /// How long a stopping process waits for what is running.
    pub drain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            send_timeout: Duration::from_secs(30),
            poll: Duration::from_secs(5),
            connection_age: Duration::from_mins(30),
            expiry: Duration::from_secs(30),
            upkeep: Duration::from_hours(1),
            spending: Duration::from_secs(1),
            alerts: Duration::from_secs(5),
            drain: Duration::from_secs(20),
        }
    }
}

/// The content of a PEM file. It may be a private key, so it is not shown.
#[derive(Clone)]
pub struct Pem(pub SecretString);

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

/// A command line or environment that we cannot run with.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Help or version was asked for, or nothing at all.
    #[error(transparent)]
    Asked(Box<clap::Error>),
    /// One line that names the setting.
    #[error("{0}")]
    Invalid(String),
}

/// Reads the command line, the environment, and the secrets that these name.
///
/// # Errors
/// With the text to print instead of running.
pub async fn read() -> Result<Cli, Unusable> {
    let command = aws::settings::read_files(Cli::command(), |name| std::env::var_os(name));
    let mut command = command.map_err(|error| Unusable::Invalid(error.to_string()))?;
    command.build();
    let matches = command
        .try_get_matches_from_mut(std::env::args_os())
        .map_err(|error| explain(error, &command))?;
    let aws = Aws::default();
    let mut command = aws::settings::fill(command, &matches, &aws, stored)
        .await
        .map_err(|error| Unusable::Invalid(error.to_string()))?;
    let mut cli = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| explain(error, &command))?;
    if let Command::Serve(settings) = &mut cli.command {
        settings.aws = aws;
    }
    Ok(cli)
}

/// What a stored secret stands for, where it is more than one value.
fn stored(variable: &str, secret: &SecretString) -> Option<Result<Vec<Found>, Reason>> {
    match variable {
        "PROXY_ADMIN_CREDENTIALS_ARN" => Some(administrator(secret)),
        "PROXY_DATABASE_URL_ARN" => aws::settings::database_url(secret)
            .map(|url| Ok(vec![("PROXY_DATABASE_URL".to_owned(), url?)])),
        _ => None,
    }
}

fn administrator(secret: &SecretString) -> Result<Vec<Found>, Reason> {
    use aws::settings::{object, text};
    let object = object(secret).ok_or("the secret is not a JSON object")?;
    let username = text(&object, "username").ok_or("the secret has no username")?;
    let password_hash = match (text(&object, "password_hash"), text(&object, "password")) {
        (Some(hash), _) => hash.to_owned(),
        (None, Some(password)) => password::hash_of_known(&SecretString::from(password))
            .map_err(|error| error.to_string())?,
        (None, None) => return Err("the secret has neither password_hash nor password".to_owned()),
    };
    Ok(vec![
        (
            "PROXY_ADMIN_USERNAME".to_owned(),
            SecretString::from(username),
        ),
        (
            "PROXY_ADMIN_PASSWORD_HASH".to_owned(),
            SecretString::from(password_hash),
        ),
    ])
}

/// clap names the flag, and shows the value; operators set variables, and values
/// may be secret.
fn explain(error: clap::Error, command: &clap::Command) -> Unusable {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return Unusable::Asked(Box::new(error));
    }
    let flags = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => slice::from_ref(flag),
        Some(ContextValue::Strings(flags)) => flags,
        _ => &[],
    };
    let args: Vec<&clap::Arg> = flags.iter().filter_map(|flag| arg(command, flag)).collect();
    let names: Vec<String> = args.iter().filter_map(|arg| variable(arg)).collect();
    let names = names.join(", ");
    if names.is_empty() {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        return Unusable::Invalid(format!("{first}; see --help"));
    }
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return Unusable::Invalid(format!("{names}: must be set; see --help"));
    }
    if error.kind() == ErrorKind::ArgumentConflict {
        let others = match error.get(ContextKind::PriorArg) {
            Some(ContextValue::String(flag)) => slice::from_ref(flag),
            Some(ContextValue::Strings(flags)) => flags,
            _ => &[],
        };
        let others = others.iter().filter_map(|flag| arg(command, flag));
        let others: Vec<String> = others.filter_map(variable).collect();
        let others = others.join(", ");
        return Unusable::Invalid(format!("{names}: cannot be set together with {others}"));
    }
    let reason = error
        .source()
        .map(ToString::to_string)
        .or_else(|| possible_values(&error))
        .unwrap_or_else(|| "is not valid".to_owned());
    let is_secret = args.iter().any(|arg| arg.is_hide_env_values_set());
    Unusable::Invalid(match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if !is_secret => format!("{names}: {value:?}: {reason}"),
        _ => format!("{names}: {reason}"),
    })
}

fn possible_values(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => Some(format!("must be {}", values.join(" or "))),
        _ => None,
    }
}

/// The argument behind a flag as clap prints it: `--name <VALUE>`.
fn arg<'a>(command: &'a clap::Command, flag: &str) -> Option<&'a clap::Arg> {
    let mut args = command.get_arguments();
    let found = args.find(|arg| arg.to_string() == flag);
    found.or_else(|| {
        command
            .get_subcommands()
            .find_map(|command| arg(command, flag))
    })
}

fn variable(arg: &clap::Arg) -> Option<String> {
    arg.get_env()?.to_str().map(str::to_owned)
}

fn secret(text: &str) -> Result<SecretString, String> {
    if text.chars().count() < MIN_SECRET_CHARS {
        return Err(format!(
            "is too short for a secret: at least {MIN_SECRET_CHARS} characters, \
             for instance from `openssl rand -base64 32`"
        ));
    }
    Ok(SecretString::from(text))
}

fn region(text: &str) -> Result<String, &'static str> {
    match region::is_well_formed(text) {
        true => Ok(text.to_owned()),
        false => Err("is not the name of an AWS region, such as ap-northeast-2"),
    }
}

fn pricing(setting: &str) -> Result<String, String> {
    match Overlay::read(setting) {
        Ok(_) => Ok(setting.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn timezone(name: &str) -> Result<Tz, &'static str> {
    name.parse()
        .map_err(|_unknown| "is not the name of a time zone, such as Europe/Berlin")
}

fn pem_file(path: &str) -> Result<Pem, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    if !text.contains("-----BEGIN ") {
        return Err("is not a PEM file".to_owned());
    }
    Ok(Pem(SecretString::from(text)))
}

fn http_url(text: &str) -> Result<String, String> {
    let url = url::Url::from_str(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

impl Pem {
    pub fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}
