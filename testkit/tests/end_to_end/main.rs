//! The whole system as real processes: clients, proxies, control, Postgres.
//! Only the Anthropic API and AWS are not the real ones.

mod bedrock;
mod budgets;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod chaos;
mod circuits;
mod claude_code;
mod control_away;
mod cuts;
mod drain;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod failover;
mod launcher;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod leaving;
mod ledger;
#[expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "whole numbers of this size are exact"
)]
mod observability;
mod sdk;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod support;
