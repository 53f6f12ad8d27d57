//! Control as its administrators, its proxies and its operators meet it: a real
//! process image, real Postgres, real HTTP and gRPC.

#![cfg(test)]
#![expect(
    unreachable_pub,
    reason = "what the tests share is public among them, and a test has no users"
)]

mod access_keys;
mod alerts;
mod audit_log;
mod authorisation;
mod aws;
mod bedrock_keys;
mod budgets;
mod circuits;
mod database_away;
mod database_tls;
mod errors;
mod import;
mod ingest;
mod jobs;
mod migrate;
mod models;
mod openapi;
mod partitions;
mod pricing;
mod proxies;
mod settings;
mod support;
mod sync;
mod tls;
mod usage;
mod users;
mod watch;
