//! How long administrators wait for a month of a history of three.

use anyhow::{Context, Result};
use chrono::{SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use testkit::history::History;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{database::Database, export};
use crate::{
    spread::sorted,
    system::{Control, System},
};

/// A month, which begins and ends somewhere within an hour.
const RANGE: TimeDelta = TimeDelta::days(30);

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) rows: u64,
    pub(crate) write_seconds: f64,
    /// What `/admin/usage` takes, by filter.
    pub(crate) sums: Vec<Waited>,
    /// What lists over the same month take.
    pub(crate) lists: Vec<Waited>,
    pub(crate) export: export::Results,
}

/// How long it took each time, sorted.
#[derive(Debug, Serialize)]
pub(crate) struct Waited {
    pub(crate) asked: &'static str,
    pub(crate) ms: Vec<f64>,
}

/// Whom and what can be asked for.
struct Filters {
    users: Vec<String>,
    keys: Vec<String>,
}

const MODELS: [&str; 4] = [
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-4-5",
    "a-model-on-trial",
];

const PROVIDERS: [&str; 2] = ["plan", "bedrock"];

/// Another one would do as well.
const SEED: u32 = 5;

pub(super) async fn measure(system: &System, rows: u64, times: usize) -> Result<Results> {
    eprintln!("Writing {rows} rows …");
    let control = system.another_control("history", &[]).await?;
    let begin = Instant::now();
    History::of(rows, SEED, Utc::now())
        .write(&control.database_url, |rows| eprintln!("  {rows}"))
        .await?;
    let write_seconds = begin.elapsed().as_secs_f64();
    let database = Database::open(&control.database_url).await?;
    let filters = Filters {
        users: ids(&database.client, "users").await?,
        keys: ids(&database.client, "access_keys").await?,
    };
    eprintln!("Asking for each report {times} times …");
    let ask = async |asked, path: &str, filter: &dyn Fn(usize) -> String| {
        ask(&control, asked, path, times, filter).await
    };
    let user = |number| of(&filters.users, "user_id", number);
    let key = |number| of(&filters.keys, "access_key_id", number);
    let model = |number| of(&MODELS.map(str::to_owned), "model", number);
    let provider = |number| of(&PROVIDERS.map(str::to_owned), "provider", number);
    let everybody = |_| String::new();
    let usage = "usage?bucket_type=day";
    let by_hour = "usage?bucket_type=hour";
    Ok(Results {
        rows,
        write_seconds,
        sums: vec![
            ask("everybody", usage, &everybody).await?,
            ask("a user", usage, &user).await?,
            ask("an access key", usage, &key).await?,
            ask("a model", usage, &model).await?,
            ask("a provider", usage, &provider).await?,
            ask("everybody, by hour", by_hour, &everybody).await?,
            ask("a user, by hour", by_hour, &user).await?,
            ask("an access key, by hour", by_hour, &key).await?,
            ask(
                "everybody, by provider",
                &format!("{usage}&stack_by=provider"),
                &everybody,
            )
            .await?,
            ask(
                "everybody, by model",
                &format!("{usage}&stack_by=model"),
                &everybody,
            )
            .await?,
            ask(
                "a user, by access key",
                &format!("{usage}&stack_by=access_key"),
                &user,
            )
            .await?,
            ask(
                "everybody, by access key",
                &format!("{usage}&stack_by=access_key"),
                &everybody,
            )
            .await?,
        ],
        lists: vec![
            ask("top users", "usage/top-users?limit=10", &everybody).await?,
            ask("sessions", "usage/sessions?limit=50", &everybody).await?,
            ask("sessions of a user", "usage/sessions?limit=50", &user).await?,
            ask("requests", "usage/requests?limit=50", &everybody).await?,
            ask("requests of a user", "usage/requests?limit=50", &user).await?,
            ask("requests of a model", "usage/requests?limit=50", &model).await?,
        ],
        export: export::measure(&control).await?,
    })
}

async fn ask(
    control: &Control,
    asked: &'static str,
    path: &str,
    times: usize,
    filter: &dyn Fn(usize) -> String,
) -> Result<Waited> {
    let mut ms = Vec::new();
    for number in 0..times {
        let to = Utc::now();
        let [from, to] =
            [to - RANGE, to].map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
        let path = format!("/admin/{path}&from={from}&to={to}{}", filter(number));
        let begin = Instant::now();
        control.admin.get(&path).await.context(asked)?;
        ms.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let ms = sorted(ms);
    Ok(Waited { asked, ms })
}

/// One after the other.
fn of(values: &[String], parameter: &str, number: usize) -> String {
    let value = values.iter().cycle().nth(number);
    value.map_or(String::new(), |value| format!("&{parameter}={value}"))
}

async fn ids(database: &Client, table: &str) -> Result<Vec<String>> {
    let statement = format!("select id::text from {table} order by id");
    let rows = database.query(&statement, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
