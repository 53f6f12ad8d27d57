//! The control plane.

pub mod changes;
pub mod grpc;
pub mod ingest;
pub mod page;
pub mod password;
pub mod settings;
pub mod store;
pub mod tasks;
pub mod telemetry;
