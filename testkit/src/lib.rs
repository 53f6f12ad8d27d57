//! What tests, demos and benchmarks need, and nothing that ships depends on.

pub mod postgres;
pub mod process;
pub mod stack;
