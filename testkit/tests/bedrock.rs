//! The simulator of Bedrock, judged by those who know the real one.

#![cfg(test)]

use std::io::Write;

use testkit::{
    bedrock::{Capabilities, Simulator},
    sdk::BedrockTarget,
};

const REGION: &str = "us-east-1";

#[tokio::test]
async fn awss_own_client_finds_nothing_wrong() {
    // The SDK's client sends the newest version of the API as it is.
    let newest = Capabilities::default().with_version("2026-10-21");
    let http = Simulator::builder().region(REGION).capabilities(newest);
    let http = http.start().await.unwrap();
    let https = Simulator::builder().region(REGION).tls();
    let https = https.start().await.unwrap();
    let mut ca_file = tempfile::NamedTempFile::new().unwrap();
    let ca_pem = https.ca_pem().unwrap();
    ca_file.write_all(ca_pem.as_bytes()).unwrap();
    let target = BedrockTarget {
        http_url: http.url(),
        https_url: https.url(),
        ca_file: ca_file.path().to_owned(),
        region: REGION.to_owned(),
    };
    let printed = target.check().await.unwrap();
    assert!(printed.contains("\nok converse text\n"), "{printed}");
}
