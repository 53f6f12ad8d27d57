//! For tests, demos and benchmarks only; nothing that ships depends on it.

/// A simulator of the Anthropic API.
pub mod anthropic;
/// A TCP relay that a test can cut.
pub mod cutter;
/// The official SDKs, as judges of the simulator and the proxy.
pub mod sdk;
