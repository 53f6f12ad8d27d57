//! For tests, demos and benchmarks only; nothing that ships depends on it.

pub mod anthropic;
pub mod bedrock;
pub mod cutter;
pub mod fixtures;
pub mod history;
pub mod load;
pub mod moto;
pub mod postgres;
pub mod process;
pub mod sdk;
mod simulator;
pub mod stack;
