//! What proxy and control must agree on.
//!
//! The messages and their semantics are written in `ccproxy/sync/v1/*.proto`;
//! the few rules that protobuf cannot express are here: how an access key looks
//! and is hashed, how the state's digest is made, how a secret is sealed, how
//! the canonical log line carries a usage event, and what tokens cost.

pub mod access_key;
pub mod bedrock_credential;
pub mod digest;
pub mod line;
pub mod price;
pub mod region;
pub mod sealed;

/// The generated messages and services.
#[expect(
    clippy::allow_attributes_without_reason,
    clippy::allow_attributes,
    reason = "generated code"
)]
pub mod sync {
    tonic::include_proto!("ccproxy.sync.v1");
}

/// The compiled protobuf files, for tests that compare them with a snapshot.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// The largest batch of usage events that a proxy sends and control accepts.
pub const MAX_BATCH_EVENTS: usize = 500;
