//! The control plane: users, keys and usage in Postgres; an admin API and a
//! console in front of them; two gRPC streams to the proxies.
//!
//! # The life of a change
//!
//! An administrator revokes a key. `http/access_keys.rs` writes it through
//! [`store::access_keys`]. When the transaction commits, a deferred trigger
//! (`migrations/triggers.sql`) gives the change the next revision, notes it in the
//! change log, and notifies. [`changes::listener`] hears of it, or finds out by
//! itself within seconds. Every proxy's stream in [`grpc::config`] wakes, and
//! [`changes::reader`] reads, in one transaction, what this proxy needs to come
//! from its position to the head. The proxy reports what it has applied;
//! [`fleet`] tells from the reports where the change is in force.
//!
//! # The life of a usage event
//!
//! A proxy pushes a batch to [`grpc::usage`]. [`ingest`] looks at each event and
//! stores the batch in one transaction in [`store::usage`]; an event that is
//! there already is left alone. Then, and only then, the batch is acknowledged,
//! and the proxy forgets it. `http/usage.rs` adds up.
//!
//! # The life of a credential
//!
//! An administrator registers it (`http/bedrock_keys.rs`). Perhaps [`bedrock`]
//! asks whether it works; then [`sealing`] makes it unreadable, and it is a row
//! that proxies hold like any other. The database erases it with its key or user.
//!
//! # What holds
//!
//! - Commit order is revision order, and a proxy is told only states that the
//!   database has been in.
//! - An event is counted once however often it is delivered.
//! - The change triggers are the database's own: a person with `psql` is an
//!   administrator like any other.
//! - Only [`settings`] reads the environment, only [`tasks`] spawns, only
//!   [`store`] knows SQL, only [`grpc`] answers proxies.

pub mod app;
pub mod settings;

pub mod http;
pub mod store;

pub mod changes;
pub mod fleet;
pub mod grpc;

pub mod alerts;
pub mod audit;
pub mod circuits;
pub mod import;
pub mod ingest;
pub mod lessons;
pub mod spending;

pub mod money;
pub mod pricing;

pub mod bedrock;
pub mod sealing;

pub mod jobs;

pub mod ops;
pub mod page;
pub mod password;
pub mod readiness;
pub mod tasks;
pub mod telemetry;
