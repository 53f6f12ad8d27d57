//! The control plane.

pub mod app;
pub mod changes;
pub mod fleet;
pub mod grpc;
pub mod http;
pub mod ingest;
pub mod jobs;
pub mod ops;
pub mod page;
pub mod password;
pub mod readiness;
pub mod settings;
pub mod store;
pub mod tasks;
pub mod telemetry;
