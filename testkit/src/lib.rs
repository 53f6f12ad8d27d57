//! For tests, demos and benchmarks only; nothing that ships depends on it.

/// A simulator of the Anthropic API.
pub mod anthropic;
/// A TCP relay that a test can cut.
pub mod cutter;
/// A private Postgres.
pub mod postgres;
/// Child processes that do not outlive us.
pub mod process;
/// The whole system as real processes.
pub mod stack;
