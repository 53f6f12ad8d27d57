//! What can be set, from flags and the environment. Nothing else reads the
//! environment, and every value is checked before a port is bound.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use aws::{Aws, settings::arn};
use clap::{
    CommandFactory, FromArgMatches, Parser, ValueEnum,
    builder::NonEmptyStringValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use http::{HeaderValue, Uri};
use secrecy::SecretString;
use telemetry::settings::Exports;

use crate::upstream::bedrock::{adapter::Preference, model::Overlay};

/// Answers Claude Code from the Anthropic API, counting every token.
#[derive(Debug, Parser)]
#[command(name = "claude-code-proxy", version, about)]
pub struct Settings {
    /// Address for clients.
    #[arg(long, env = "PROXY_LISTEN_ADDR", default_value = "0.0.0.0:8080")]
    pub listen_addr: SocketAddr,

    /// Address for operators: `/livez`, `/readyz`, `/metrics`.
    #[arg(long, env = "PROXY_OPS_ADDR", default_value = "0.0.0.0:8081")]
    pub ops_addr: SocketAddr,

    /// Secret under which access keys are hashed; the same as control's. Required, or
    /// its `…_ARN`.
    #[arg(long, env = "PROXY_KEY_HASHER_SECRET", value_parser = secret, hide_env_values = true,
          required = false, required_unless_present = "key_hasher_secret_arn")]
    pub key_hasher_secret: SecretString,

    /// Where PROXY_KEY_HASHER_SECRET is kept in Secrets Manager. This and every
    /// other secret that an `…_ARN` names is a text, or a JSON object with one
    /// member. A variable `…_FILE` in place of `…_ARN` names a file that has it.
    #[arg(long, env = "PROXY_KEY_HASHER_SECRET_ARN", conflicts_with = "key_hasher_secret", value_parser = arn)]
    pub key_hasher_secret_arn: Option<String>,

    #[command(flatten)]
    pub sync: Sync,

    #[command(flatten)]
    pub plan: Plan,

    #[command(flatten)]
    pub bedrock: Bedrock,

    #[command(flatten)]
    pub caps: Caps,

    #[command(flatten)]
    pub circuit: Circuit,

    #[command(flatten)]
    pub limits: Limits,

    #[command(flatten)]
    pub log: Log,

    #[command(flatten)]
    pub exports: Exports,

    #[command(flatten)]
    pub retired: Retired,

    /// Where the secrets came from; KMS and the process's role are there too.
    #[arg(skip)]
    pub aws: Aws,
}

/// What the program was started for.
#[derive(Debug)]
pub enum Invocation {
    Serve(Box<Settings>),
    Health(Health),
}

/// Asks the proxy that runs here, and ends with 0 if it is alive: for containers.
#[derive(Debug, Parser)]
#[command(name = "health")]
pub struct Health {
    /// Address for operators, as the proxy has it.
    #[arg(long, env = "PROXY_OPS_ADDR", default_value = "0.0.0.0:8081")]
    pub ops_addr: SocketAddr,

    /// Whether it takes requests.
    #[arg(long)]
    pub ready: bool,
}

/// Why there are no settings to run with.
#[derive(Debug)]
pub enum Unusable {
    /// Help or version was asked for.
    Asked(clap::Error),
    /// One line that names the variable.
    Invalid(String),
}

impl Invocation {
    /// Reads the command line, the environment, and the secrets that these name.
    ///
    /// # Errors
    ///
    /// What to print instead of running.
    pub async fn read() -> Result<Self, Unusable> {
        let command = Settings::command()
            .subcommand(Health::command())
            .subcommand_negates_reqs(true)
            .disable_help_subcommand(true);
        let command = aws::settings::read_files(command, |name| std::env::var_os(name));
        let command = command.map_err(|error| Unusable::Invalid(error.to_string()))?;
        let arguments = std::env::args_os;
        let matches = command.clone().try_get_matches_from(arguments());
        let matches = matches.map_err(Unusable::of)?;
        if let Some((_, matches)) = matches.subcommand() {
            let health = Health::from_arg_matches(matches);
            return health.map(Self::Health).map_err(Unusable::of);
        }
        let aws = Aws::default();
        let filled = aws::settings::fill(command, &matches, &aws, |_, _| None).await;
        let command = filled.map_err(|error| Unusable::Invalid(error.to_string()))?;
        let matches = command.try_get_matches_from(arguments());
        let settings = matches.and_then(|it| Settings::from_arg_matches(&it));
        let mut settings = settings.map_err(Unusable::of)?;
        settings.aws = aws;
        Ok(Self::Serve(Box::new(settings)))
    }
}

impl Unusable {
    fn of(error: clap::Error) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Asked(error),
            _ => Self::Invalid(one_line(&error)),
        }
    }
}

/// How the proxy reaches control.
#[derive(Debug, clap::Args)]
pub struct Sync {
    /// Control's gRPC address.
    #[arg(long, env = "PROXY_CONTROL_URL", default_value = "http://127.0.0.1:8001", value_parser = origin)]
    pub control_url: Uri,

    /// Bearer token between proxy and control. Required, or its `…_ARN`.
    #[arg(long = "sync-token", env = "PROXY_SYNC_TOKEN", value_parser = secret, hide_env_values = true,
          required = false, required_unless_present = "token_arn")]
    pub token: SecretString,

    /// Where PROXY_SYNC_TOKEN is kept in Secrets Manager.
    #[arg(long = "sync-token-arn", env = "PROXY_SYNC_TOKEN_ARN", conflicts_with = "token", value_parser = arn)]
    pub token_arn: Option<String>,

    /// PEM file with the certificate authority of control's certificate.
    #[arg(long = "sync-tls-ca", env = "PROXY_SYNC_TLS_CA")]
    pub tls_ca: Option<PathBuf>,

    /// PEM file with this proxy's certificate, for mutual TLS.
    #[arg(
        long = "sync-tls-cert",
        env = "PROXY_SYNC_TLS_CERT",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the key of that certificate.
    #[arg(
        long = "sync-tls-key",
        env = "PROXY_SYNC_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// Seconds after which requests are refused with a 503, and `/readyz` fails, when
    /// control has confirmed nothing since. Unset: never, because a stale answer beats
    /// none. `/health` stays well, so that nobody replaces the process by one that
    /// knows no keys at all.
    #[arg(long, env = "PROXY_MAX_STALENESS", value_parser = seconds)]
    pub max_staleness: Option<Duration>,
}

/// The Anthropic API.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// Where the plan's requests go; a path is put before `/v1/…`.
    #[arg(long = "plan-api-url", env = "PROXY_PLAN_API_URL", default_value = "https://api.anthropic.com", value_parser = origin)]
    pub api_url: Uri,

    /// The company's key, used when the client sent no credential of
    /// Anthropic's.
    #[arg(long = "plan-api-key", env = "PROXY_PLAN_API_KEY", value_parser = header_secret, hide_env_values = true)]
    pub api_key: Option<SecretString>,

    /// Where PROXY_PLAN_API_KEY is kept in Secrets Manager.
    #[arg(long = "plan-api-key-arn", env = "PROXY_PLAN_API_KEY_ARN", conflicts_with = "api_key", value_parser = arn)]
    pub api_key_arn: Option<String>,

    /// PEM file with certificate authorities to trust besides the public ones.
    #[arg(long = "plan-ca-bundle", env = "PROXY_PLAN_CA_BUNDLE")]
    pub ca_bundle: Option<PathBuf>,

    /// HTTP towards the plan.
    #[arg(
        long = "plan-http-version",
        env = "PROXY_PLAN_HTTP_VERSION",
        value_enum,
        default_value = "auto"
    )]
    pub http_version: HttpVersion,
}

/// Amazon Bedrock.
#[derive(Debug, clap::Args)]
pub struct Bedrock {
    /// Region where a credential names none: that of the process's own role.
    #[arg(long = "bedrock-region", env = "PROXY_BEDROCK_REGION", default_value = "ap-northeast-2", value_parser = region)]
    pub region: String,

    /// Which of Bedrock's APIs answers, unless a model mapping says otherwise.
    #[arg(
        long = "bedrock-api",
        env = "PROXY_BEDROCK_API",
        value_enum,
        default_value = "auto"
    )]
    pub api: Preference,

    /// Access keys without a credential for Bedrock use the process's own AWS
    /// role.
    #[arg(long = "bedrock-use-role", env = "PROXY_BEDROCK_USE_ROLE", default_value = "false", num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub use_role: bool,

    /// JSON object, model that clients ask for → model on Bedrock. Wins over the
    /// mappings of administrators.
    #[arg(long = "bedrock-model-mapping", env = "PROXY_BEDROCK_MODEL_MAPPING", default_value = "{}", value_parser = Overlay::parse)]
    pub model_mapping: Overlay,

    /// Seconds that an opened credential is kept.
    #[arg(long = "bedrock-key-cache-ttl", env = "PROXY_BEDROCK_KEY_CACHE_TTL", default_value = "300", value_parser = some_seconds)]
    pub key_cache_ttl: Duration,

    /// Stands in for Amazon's own address, everywhere.
    #[arg(long = "bedrock-endpoint-url", env = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", value_parser = origin)]
    pub endpoint_url: Option<Uri>,

    /// The KMS key that credentials are sealed with; the same as control's.
    #[arg(long, env = "PROXY_KMS_KEY_ID", conflicts_with = "local_encryption_key",
          value_parser = NonEmptyStringValueParser::new())]
    pub kms_key_id: Option<String>,

    /// What credentials are sealed with where there is no KMS; the same as
    /// control's.
    #[arg(long, env = "PROXY_LOCAL_ENCRYPTION_KEY", value_parser = secret, hide_env_values = true)]
    pub local_encryption_key: Option<SecretString>,
}

/// The smallest budget for thinking that there is.
const MIN_THINKING_TOKENS: i64 = 1024;

/// Upper limits for what Bedrock is asked for. The plan gets the client's own bytes.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Caps {
    /// Upper limit of `max_tokens` on Bedrock; at least 1025, so that thinking fits in.
    /// An answer that reaches it is cut off there.
    #[arg(long, env = "CLAUDE_CODE_MAX_OUTPUT_TOKENS", value_parser = clap::value_parser!(u32).range(MIN_THINKING_TOKENS + 1..))]
    pub max_output_tokens: Option<u32>,

    /// Upper limit of the budget for thinking on Bedrock; at least 1024, as Bedrock
    /// takes no less. Adaptive thinking has no budget and is not limited.
    #[arg(long, env = "MAX_THINKING_TOKENS", value_parser = clap::value_parser!(u32).range(MIN_THINKING_TOKENS..))]
    pub max_thinking_tokens: Option<u32>,
}

/// Which HTTP a TLS or plain connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HttpVersion {
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    Auto,
    /// HTTP/1.1 only.
    #[value(name = "1.1")]
    Http1,
    /// HTTP/2 only; without TLS by prior knowledge.
    #[value(name = "2")]
    Http2,
}

/// What a request may take.
#[derive(Debug, Clone, clap::Args)]
pub struct Limits {
    /// Seconds to reach an upstream, TLS included.
    #[arg(long, env = "PROXY_CONNECT_TIMEOUT", default_value = "5", value_parser = some_seconds)]
    pub connect_timeout: Duration,

    /// Seconds until an upstream begins to answer.
    #[arg(long, env = "PROXY_FIRST_BYTE_TIMEOUT", default_value = "300", value_parser = some_seconds)]
    pub first_byte_timeout: Duration,

    /// Seconds of silence within an answer.
    #[arg(long, env = "PROXY_IDLE_TIMEOUT", default_value = "300", value_parser = some_seconds)]
    pub idle_timeout: Duration,

    /// Seconds of silence within a stream, or before it, after which the client is
    /// sent a `ping` event; 0 is off.
    #[arg(long, env = "PROXY_PING_INTERVAL", default_value = "15", value_parser = seconds)]
    pub ping_interval: Duration,

    /// The largest request body in bytes.
    #[arg(long, env = "PROXY_MAX_BODY_BYTES", default_value = "33554432", value_parser = body_bytes)]
    pub max_body_bytes: usize,

    /// Bytes of request bodies held at one time by all requests; beyond it
    /// requests are answered 529.
    #[arg(long, env = "PROXY_MAX_BUFFERED_BYTES", default_value = "1073741824", value_parser = body_bytes)]
    pub max_buffered_bytes: usize,

    /// Connections of clients at one time; further ones wait in the kernel.
    #[arg(long, env = "PROXY_MAX_CONNECTIONS", default_value = "20000", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// Seconds after SIGTERM in which new connections are still accepted, while
    /// `/health` fails already: until the load balancer has noticed. They are part
    /// of PROXY_DRAIN_TIMEOUT.
    #[arg(long, env = "PROXY_DRAIN_DELAY", default_value = "5", value_parser = seconds)]
    pub drain_delay: Duration,

    /// Seconds that running answers get after SIGTERM.
    #[arg(long, env = "PROXY_DRAIN_TIMEOUT", default_value = "110", value_parser = seconds)]
    pub drain_timeout: Duration,

    /// Seconds that an answer is read on whose client has left, to bill it exactly.
    /// Then it is cancelled and booked as an estimate.
    #[arg(long, env = "PROXY_DISCONNECT_DRAIN", default_value = "5", value_parser = seconds)]
    pub disconnect_drain: Duration,

    /// Answers have a header `x-proxy-route` that tells which providers were asked
    /// and what each said, such as `plan:529, bedrock:200`.
    #[arg(long, env = "PROXY_ROUTE_HEADER", default_value = "false", num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub route_header: bool,
}

/// When requests of an access key go to Bedrock first.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Circuit {
    /// Failures of the plan after which an access key's circuit opens: its
    /// requests go to Bedrock first.
    #[arg(long = "circuit-failure-threshold", env = "PROXY_CIRCUIT_FAILURE_THRESHOLD", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub failure_threshold: u32,

    /// Seconds within which these failures have to happen.
    #[arg(long = "circuit-failure-window", env = "PROXY_CIRCUIT_FAILURE_WINDOW", default_value = "60", value_parser = some_seconds)]
    pub failure_window: Duration,

    /// Seconds that a circuit stays open, unless the plan names an earlier time.
    #[arg(long = "circuit-reset-timeout", env = "PROXY_CIRCUIT_RESET_TIMEOUT", default_value = "1800", value_parser = some_seconds)]
    pub reset_timeout: Duration,
}

/// Open files that are neither a client's connection nor an upstream's.
const OTHER_FILES: u64 = 100;

impl Limits {
    /// Leaves room for an upstream's connection beside each client's.
    pub fn fit(&mut self, files: u64) {
        let places = files.saturating_sub(OTHER_FILES) / 2;
        let places = u32::try_from(places).unwrap_or(u32::MAX).max(1);
        self.max_connections = self.max_connections.min(places);
    }
}

/// What is written to standard output.
#[derive(Debug, clap::Args)]
pub struct Log {
    /// What the proxy says besides the line of every request. It holds for the
    /// proxy's own code: what libraries say below `warn` may show headers.
    #[arg(
        long = "log-level",
        env = "PROXY_LOG_LEVEL",
        value_enum,
        default_value = "info"
    )]
    pub level: LogLevel,

    /// How a line is written: as a JSON object, or for a person at a terminal. What is
    /// to be imported must be JSON.
    #[arg(
        long = "log-format",
        env = "PROXY_LOG_FORMAT",
        value_enum,
        default_value = "json"
    )]
    pub format: LogFormat,
}

/// What the first design had: accepted, without effect, because changes are
/// pushed and there is nothing to expire.
#[derive(Debug, clap::Args)]
pub struct Retired {
    #[arg(long, env = "PROXY_ACCESS_KEY_CACHE_TTL", hide = true)]
    access_key_cache_ttl: Option<String>,

    #[arg(long, env = "PROXY_BUDGET_CACHE_TTL", hide = true)]
    budget_cache_ttl: Option<String>,
}

impl Retired {
    /// The variables that are set and do nothing.
    pub fn variables(&self) -> Vec<&'static str> {
        let set = [
            (&self.access_key_cache_ttl, "PROXY_ACCESS_KEY_CACHE_TTL"),
            (&self.budget_cache_ttl, "PROXY_BUDGET_CACHE_TTL"),
        ];
        set.into_iter()
            .filter_map(|(value, variable)| value.is_some().then_some(variable))
            .collect()
    }
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
    Json,
    Pretty,
}

impl Sync {
    /// The PEM files, read. Certificate and key come together.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, named together with its variable.
    pub fn tls(&self) -> anyhow::Result<SyncTls> {
        Ok(SyncTls {
            ca: read("PROXY_SYNC_TLS_CA", self.tls_ca.as_ref())?,
            cert: read("PROXY_SYNC_TLS_CERT", self.tls_cert.as_ref())?,
            key: read("PROXY_SYNC_TLS_KEY", self.tls_key.as_ref())?,
        })
    }
}

/// What the PEM files of the sync connection hold.
#[derive(Default)]
pub struct SyncTls {
    pub ca: Option<Vec<u8>>,
    pub cert: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
}

impl std::fmt::Debug for SyncTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncTls")
            .field("ca", &self.ca.is_some())
            .field("cert", &self.cert.is_some())
            .finish_non_exhaustive()
    }
}

/// Reads a file that a variable names.
///
/// # Errors
///
/// The file cannot be read; the message names the variable.
pub fn read(variable: &str, path: Option<&PathBuf>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(path) = path else { return Ok(None) };
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) => Err(anyhow::anyhow!(
            "{variable}: cannot read {}: {err}",
            path.display()
        )),
    }
}

/// Fewer characters can be guessed.
const MIN_SECRET_CHARS: usize = 16;

fn secret(text: &str) -> Result<SecretString, String> {
    if text.chars().count() < MIN_SECRET_CHARS {
        return Err(format!("must have at least {MIN_SECRET_CHARS} characters"));
    }
    Ok(text.to_owned().into())
}

fn header_secret(text: &str) -> Result<SecretString, String> {
    HeaderValue::from_str(text.trim()).map_err(|err| err.to_string())?;
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(text.trim().to_owned().into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u32 = text
        .parse()
        .map_err(|err| format!("not a number of whole seconds: {err}"))?;
    Ok(Duration::from_secs(seconds.into()))
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("must be at least 1".to_owned()),
        some => Ok(some),
    }
}

fn region(text: &str) -> Result<String, String> {
    if !proto::region::is_well_formed(text) {
        return Err("must be an AWS region such as ap-northeast-2".to_owned());
    }
    Ok(text.to_owned())
}

fn body_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(err) => Err(format!("not a number of bytes: {err}")),
    }
}

/// An `http` or `https` address; without a query, since a path is put behind it.
fn origin(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|err| format!("not a URL: {err}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err("must begin with http:// or https:// and name a host".to_owned());
    }
    if uri.query().is_some() {
        return Err("must not have a query".to_owned());
    }
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err("must not contain credentials".to_owned());
    }
    Ok(uri)
}

/// What is wrong with the settings, in one line that names the variable. A
/// secret's value is not in it.
pub fn one_line(error: &clap::Error) -> String {
    let arguments = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => vec![argument.as_str()],
        Some(ContextValue::Strings(arguments)) => arguments.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let names: Vec<String> = arguments.into_iter().map(variable).collect();
    let problem = match (error.kind(), std::error::Error::source(error)) {
        (_, Some(source)) => source.to_string(),
        (ErrorKind::ArgumentConflict, None) => {
            let other = match error.get(ContextKind::PriorArg) {
                Some(ContextValue::String(argument)) => variable(argument),
                _ => "what excludes it".to_owned(),
            };
            format!("cannot be set together with {other}")
        }
        (ErrorKind::MissingRequiredArgument, None) => "required, but not set".to_owned(),
        (ErrorKind::InvalidValue, None) => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) => format!("must be one of {}", values.join(", ")),
            _ => "not a valid value".to_owned(),
        },
        _ => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        }
    };
    match names.as_slice() {
        [] => problem,
        names => format!("{}: {problem}", names.join(", ")),
    }
}

/// `--plan-api-url <PLAN_API_URL>` → `PROXY_PLAN_API_URL`.
fn variable(argument: &str) -> String {
    let long = argument
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .trim_start_matches("--");
    Settings::command()
        .get_arguments()
        .find(|it| it.get_long() == Some(long))
        .and_then(|it| it.get_env())
        .map_or_else(
            || argument.to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: [&str; 5] = [
        "claude-code-proxy",
        "--key-hasher-secret",
        "a secret of 16 or more",
        "--sync-token",
        "another secret of 16",
    ];

    fn parse(more: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from(REQUIRED.iter().chain(more))
    }

    #[test]
    fn defaults_are_those_of_the_design() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.listen_addr.to_string(), "0.0.0.0:8080");
        assert_eq!(settings.ops_addr.to_string(), "0.0.0.0:8081");
        assert_eq!(settings.sync.control_url, "http://127.0.0.1:8001/");
        assert_eq!(settings.plan.api_url, "https://api.anthropic.com/");
        assert_eq!(settings.limits.connect_timeout.as_secs(), 5);
        assert_eq!(settings.limits.first_byte_timeout.as_secs(), 300);
        assert_eq!(settings.limits.idle_timeout.as_secs(), 300);
        assert_eq!(settings.limits.max_body_bytes, 33_554_432);
        assert_eq!(settings.limits.drain_timeout.as_secs(), 110);
    }

    #[test]
    fn a_bad_value_is_one_line_that_names_its_variable() {
        for (flag, value, variable) in [
            ("--plan-api-url", "api.anthropic.com", "PROXY_PLAN_API_URL"),
            ("--plan-api-url", "https://a/?b=c", "PROXY_PLAN_API_URL"),
            (
                "--plan-api-url",
                "https://user:pass@a",
                "PROXY_PLAN_API_URL",
            ),
            ("--connect-timeout", "5s", "PROXY_CONNECT_TIMEOUT"),
            ("--max-body-bytes", "0", "PROXY_MAX_BODY_BYTES"),
            ("--plan-http-version", "3", "PROXY_PLAN_HTTP_VERSION"),
            ("--log-format", "xml", "PROXY_LOG_FORMAT"),
            ("--log-level", "loud", "PROXY_LOG_LEVEL"),
            ("--plan-api-key", "se\ncret", "PROXY_PLAN_API_KEY"),
            ("--sync-tls-cert", "only-one.pem", "PROXY_SYNC_TLS_KEY"),
            ("--kms-key-id", "", "PROXY_KMS_KEY_ID"),
            ("--bedrock-region", "evil.example/", "PROXY_BEDROCK_REGION"),
            ("--bedrock-api", "native", "PROXY_BEDROCK_API"),
            (
                "--max-output-tokens",
                "1024",
                "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
            ),
            ("--max-thinking-tokens", "0", "MAX_THINKING_TOKENS"),
            (
                "--bedrock-model-mapping",
                "{",
                "PROXY_BEDROCK_MODEL_MAPPING",
            ),
        ] {
            let line = one_line(&parse(&[flag, value]).unwrap_err());
            assert!(line.starts_with(variable), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(!line.contains("se\ncret"), "{line}");
        }
    }

    #[test]
    fn what_is_required_is_named() {
        let error = Settings::try_parse_from(["claude-code-proxy"]).unwrap_err();
        let line = one_line(&error);
        assert!(
            line.contains("PROXY_KEY_HASHER_SECRET, PROXY_SYNC_TOKEN"),
            "{line}"
        );
    }

    #[test]
    fn retired_settings_are_accepted_and_named() {
        assert!(parse(&[]).unwrap().retired.variables().is_empty());
        let settings = parse(&["--budget-cache-ttl=60"]).unwrap();
        assert_eq!(settings.retired.variables(), ["PROXY_BUDGET_CACHE_TTL"]);
    }

    #[test]
    fn connections_fit_the_files_of_the_process() {
        let mut limits = parse(&[]).unwrap().limits;
        limits.fit(1 << 20);
        assert_eq!(limits.max_connections, 20_000);
        limits.fit(1024);
        assert_eq!(limits.max_connections, 462);
        limits.fit(10);
        assert_eq!(limits.max_connections, 1);
    }

    #[test]
    fn secrets_cannot_be_printed() {
        let settings = parse(&["--plan-api-key", "sk-ant-company"]).unwrap();
        let text = format!("{settings:?}");
        assert!(!text.contains("sk-ant-company") && !text.contains("secret of 16"));
    }
}
