//! Generates the messages without `protoc`, and keeps the descriptor for the
//! compatibility test.

use std::{env, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 3] = [
    "ccproxy/sync/v1/resource.proto",
    "ccproxy/sync/v1/config.proto",
    "ccproxy/sync/v1/usage.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo tells a build script where to write in the environment"
    )]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".ccproxy.sync.v1.UsageEvent.event_id")
        .compile_fds(descriptors)?;
    Ok(())
}
