//! The official SDKs must notice no difference between the API and a proxy
//! before it.

use anyhow::Result;
use testkit::sdk::{Sdk, Target};

use crate::support::World;

async fn notices_nothing(sdk: Sdk) -> Result<()> {
    let world = World::start(1).await?;
    let target = Target {
        base_url: world.base_url(),
        api_key: "sk-ant-test".to_owned(),
        simulator_url: world.simulator.url(),
    };
    sdk.check(&target).await?;
    let expected = world.simulator.ledger().into();
    world.until_tokens_are_counted(&expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_python_sdk_notices_no_proxy() -> Result<()> {
    notices_nothing(Sdk::Python).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_of_the_older_api_notices_no_proxy() -> Result<()> {
    notices_nothing(Sdk::Python0125).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk_notices_no_proxy() -> Result<()> {
    notices_nothing(Sdk::TypeScript).await
}
