//! What operators see: logs, metrics and traces.

pub mod log;
pub mod metrics;
pub mod trace;
