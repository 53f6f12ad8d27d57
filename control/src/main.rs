//! `claude-code-control`: reads its settings and does one of a few things.

use std::{
    io::{self, BufRead, ErrorKind, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::Context;
use control::{
    app::App,
    http,
    import::Import,
    jobs, password,
    settings::{self, Cli, Command, Database, Settings, Unusable, UsageCommand},
    store::{Store, changes, migrate::migrate},
    telemetry,
};
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

/// A setting that cannot be used: `EX_CONFIG` of sysexits(3).
const BAD_SETTING: u8 = 78;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match settings::read().await {
        Ok(cli) => cli,
        Err(Unusable::Asked(help)) => {
            let _closed = help.print();
            return u8::try_from(help.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
        Err(Unusable::Invalid(line)) => {
            eprintln!("claude-code-control: {line}");
            return ExitCode::from(BAD_SETTING);
        }
    };
    let failure = match cli.command {
        // It serves, or it does not start: a port is taken, a certificate is none.
        Command::Serve(_) => ExitCode::from(BAD_SETTING),
        _ => ExitCode::FAILURE,
    };
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("claude-code-control: {error:#}");
            failure
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(settings) => {
            telemetry::start_logs(&cli.log, io::stdout)?;
            serve(*settings).await?;
        }
        Command::Migrate(database) => {
            telemetry::start_logs(&cli.log, io::stderr)?;
            migrate(&database.database_url).await?;
        }
        Command::Openapi => print(&http::document().to_pretty_json()?)?,
        Command::HashPassword => print(&hash_password()?)?,
        Command::Usage(UsageCommand::Import(settings)) => {
            telemetry::start_logs(&cli.log, io::stderr)?;
            import(settings).await?;
        }
        Command::Usage(UsageCommand::Rebuild(database)) => {
            telemetry::start_logs(&cli.log, io::stderr)?;
            rebuild(database).await?;
        }
        Command::Health(settings) => {
            ::telemetry::health::ask(settings.control_ops_addr, settings.ready).await?;
        }
        Command::NewEpoch(database) => {
            let store = Store::new(database.database_url)?;
            let epoch = changes::new_epoch(&mut *store.connection().await?).await?;
            print(&epoch.to_string())?;
        }
    }
    Ok(())
}

async fn import(settings: settings::Import) -> anyhow::Result<()> {
    let store = Store::new(settings.database.database_url)?;
    let mut import = Import::into(store, settings.dry_run).await?;
    let stored = import.files(settings.files).await;
    print(&import.summary().to_string())?;
    stored?;
    anyhow::ensure!(
        import.summary().is_complete(),
        "something was passed over that may be a request's, or was rejected; all else is counted"
    );
    Ok(())
}

/// Serves until SIGTERM or SIGINT.
async fn serve(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = App::start(settings).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    Ok(())
}

async fn rebuild(database: Database) -> anyhow::Result<()> {
    let store = Store::new(database.database_url)?;
    let timezone = jobs::rebuild_aggregates(&store)
        .await
        .context("make the sums of usage anew")?;
    tracing::info!(timezone = timezone.name(), "usage.aggregates_rebuilt");
    Ok(())
}

/// Who has read enough may leave (`| head -1`).
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("write to standard output"),
    }
}

fn hash_password() -> anyhow::Result<String> {
    let mut line = String::new();
    if io::stdin().is_terminal() {
        eprint!("Password (it is shown): ");
    }
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(
        !password.is_empty(),
        "the password on standard input is empty"
    );
    password::hash(&SecretString::from(password))
}
