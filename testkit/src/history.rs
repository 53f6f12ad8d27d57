//! A company's usage of three months: the same rows for the same seed and the same end.
//!
//! Hundreds of users work on weekdays, with several models, on the plan and on Bedrock,
//! in sessions. The rows are made by Postgres itself, in the partitions of their
//! months, priced by control's price list; the sums are made from them as `usage
//! rebuild` makes them.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use tokio_postgres::{Client, NoTls};

const FRAME: &str = include_str!("history/frame.sql");
const PEOPLE: &str = include_str!("history/people.sql");
const ROWS: &str = include_str!("history/rows.sql");
const SUMS: &str = include_str!("history/sums.sql");

/// Rows in one transaction.
const ROWS_AT_ONCE: u64 = 250_000;

/// What to write.
#[derive(Debug, Clone)]
pub struct History {
    /// Requests.
    pub rows: u64,
    /// Users who have made them.
    pub users: u32,
    /// Access keys of these users, each in turn.
    pub keys: u32,
    /// Another one makes another history.
    pub seed: u32,
    /// The last request was within the hour before it.
    pub until: DateTime<Utc>,
}

impl History {
    /// So many requests of some hundreds of users.
    pub fn of(rows: u64, seed: u32, until: DateTime<Utc>) -> Self {
        Self {
            rows,
            users: 300,
            keys: 500,
            seed,
            until,
        }
    }

    /// Writes it into a database that control has set up and that has no history of
    /// this seed. `told` hears how many rows there are.
    ///
    /// Past the triggers, which would take as long again: that takes a superuser.
    ///
    /// # Errors
    /// When Postgres refuses, or control was never started on this database.
    pub async fn write(&self, database_url: &str, told: impl FnMut(u64)) -> Result<()> {
        let (client, connection) = tokio_postgres::connect(database_url, NoTls).await?;
        tokio::select! {
            written = self.write_with(&client, told) => written,
            ended = connection => {
                Err(ended.err().context("the database closed the connection")?.into())
            }
        }
    }

    async fn write_with(&self, client: &Client, mut told: impl FnMut(u64)) -> Result<()> {
        self.prepare(client).await?;
        client.batch_execute(PEOPLE).await?;
        client
            .batch_execute("set session_replication_role = replica")
            .await?;
        let rows = client.prepare(ROWS).await?;
        for part in parts(self.rows) {
            let (first, last) = (i64::try_from(*part.start())?, i64::try_from(*part.end())?);
            client.execute(&rows, &[&first, &last]).await?;
            told(*part.end());
        }
        client
            .batch_execute("set session_replication_role = origin")
            .await?;
        client.batch_execute(SUMS).await?;
        // As a database that has grown slowly was, by itself.
        client
            .batch_execute("vacuum analyze token_usage, usage_aggregates, usage_totals")
            .await?;
        Ok(())
    }

    /// The temporary tables, and the partitions.
    async fn prepare(&self, client: &Client) -> Result<()> {
        client
            .batch_execute(
                "create temporary table wanted (
                    rows bigint, users integer, keys integer, seed bigint, until timestamptz
                )",
            )
            .await?;
        client
            .execute(
                "insert into wanted
                 values ($1, $2::bigint, $3::bigint, $4, $5::text::timestamptz)",
                &[
                    &i64::try_from(self.rows)?,
                    &i64::from(self.users),
                    &i64::from(self.keys),
                    &i64::from(self.seed),
                    &self.until.to_rfc3339(),
                ],
            )
            .await?;
        client.batch_execute(FRAME).await?;
        let priced = client.query_one("select count(*) from rates", &[]).await?;
        ensure!(
            priced.get::<_, i64>(0) > 0,
            "the database has no prices: start control on it first"
        );
        client
            .batch_execute(
                "select make_usage_partition(month::date) from generate_series(
                    (select date_trunc('month', min(start)) from moments),
                    (select max(start) from moments),
                    interval '1 month'
                ) as month",
            )
            .await?;
        Ok(())
    }
}

/// The numbers from 1 to `rows`, cut into transactions.
fn parts(rows: u64) -> impl Iterator<Item = RangeInclusive<u64>> {
    let firsts = (0..rows.div_ceil(ROWS_AT_ONCE)).map(|part| part * ROWS_AT_ONCE + 1);
    firsts.map(move |first| first..=rows.min(first + ROWS_AT_ONCE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_transaction() {
        let ends: Vec<_> = parts(600_000).map(RangeInclusive::into_inner).collect();
        assert_eq!(ends, [(1, 250_000), (250_001, 500_000), (500_001, 600_000)]);
        assert_eq!(parts(0).count(), 0);
        assert_eq!(parts(250_000).count(), 1);
    }
}
