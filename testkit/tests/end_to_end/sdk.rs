//! The official SDKs must notice no difference between the API and a proxy
//! before it, whoever answers the proxy.

use anyhow::Result;
use testkit::{
    bedrock::Thoughts,
    sdk::{Sdk, Target},
};

use crate::support::{World, bedrock::OnBedrock};

async fn notices_nothing(sdk: Sdk) -> Result<()> {
    let world = World::start(1).await?;
    let target = Target {
        base_url: world.base_url(),
        api_key: "sk-ant-test".to_owned(),
        simulator_url: world.simulator.url(),
        is_bedrock: false,
    };
    sdk.check(&target).await?;
    let expected = world.simulator.ledger().into();
    world.until_tokens_are_counted(&expected).await
}

/// With every one of Bedrock's APIs.
async fn notices_no_bedrock(sdk: Sdk) -> Result<()> {
    for api in ["invoke", "messages", "converse"] {
        let world = OnBedrock::with(|stack| stack.setting("PROXY_BEDROCK_API", api)).await?;
        assert!(world.bedrock.is_strict());
        // Thoughts must come back as they were signed.
        world.bedrock.take(Thoughts::Own);
        let target = Target {
            base_url: world.base_url(),
            api_key: "sk-ant-test".to_owned(),
            simulator_url: world.bedrock.url(),
            is_bedrock: true,
        };
        sdk.check(&target)
            .await
            .map_err(|error| error.context(api))?;
        assert!(world.simulator.received().is_empty(), "the plan was asked");
        let expected = world.bedrock.ledger().into();
        world.until_tokens_are_counted(&expected).await?;
    }
    Ok(())
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

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_python_sdk_notices_no_bedrock() -> Result<()> {
    notices_no_bedrock(Sdk::Python).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_of_the_older_api_notices_no_bedrock() -> Result<()> {
    notices_no_bedrock(Sdk::Python0125).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk_notices_no_bedrock() -> Result<()> {
    notices_no_bedrock(Sdk::TypeScript).await
}
