//! The official SDKs against the simulator. Needs the package registries once.

#![cfg(test)]

use testkit::{
    anthropic::Simulator,
    sdk::{Sdk, Target},
};

async fn is_content(sdk: Sdk) {
    let simulator = Simulator::start().await.unwrap();
    let target = Target {
        base_url: simulator.url(),
        api_key: "sk-ant-test".to_owned(),
        simulator_url: simulator.url(),
        is_bedrock: false,
    };
    let printed = sdk.check(&target).await.unwrap();
    assert!(printed.contains("\nok every error is typed\n"), "{printed}");
}

#[tokio::test]
async fn the_newest_python_sdk_finds_nothing_wrong() {
    is_content(Sdk::Python).await;
}

#[tokio::test]
async fn the_python_sdk_of_the_older_api_finds_nothing_wrong() {
    is_content(Sdk::Python0125).await;
}

#[tokio::test]
async fn the_typescript_sdk_finds_nothing_wrong() {
    is_content(Sdk::TypeScript).await;
}
