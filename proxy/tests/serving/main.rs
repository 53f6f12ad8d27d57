//! What the proxy promises, shown on real sockets: a scripted control plane on
//! one side, the simulated Anthropic API on the other, clients in between.

#![cfg(test)]

mod access;
mod bedrock;
mod budget;
mod circuit;
mod failover;
mod input;
mod recorded;
mod relay;
mod shutdown;
mod support;
mod sync;
mod usage;
