//! A world in which Bedrock answers.

use std::ops::{Deref, DerefMut};

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::json;
use testkit::{
    bedrock::{Received, Simulator},
    stack::{Builder, admin::IssuedKey},
};

use super::{Counted, World, ask};

/// A world whose user is answered by Bedrock, at once or when the plan fails, with
/// [`API_KEY`].
#[derive(Debug)]
pub(crate) struct OnBedrock {
    world: World,
    pub(crate) bedrock: Simulator,
}

/// The credential of a world's first access key.
pub(crate) const API_KEY: &str = "bedrock-api-key-of-ada";

impl OnBedrock {
    pub(crate) async fn start() -> Result<Self> {
        Self::with(|stack| stack).await
    }

    /// With a stack that is set up otherwise.
    pub(crate) async fn with<'a>(set_up: impl FnOnce(Builder<'a>) -> Builder<'a>) -> Result<Self> {
        let on_bedrock = Self::after_the_plan(set_up).await?;
        let admin = on_bedrock.stack.admin();
        admin.route(&on_bedrock.user_id, "bedrock_only").await?;
        on_bedrock.until_in_force().await?;
        Ok(on_bedrock)
    }

    /// With a user whose requests go to the plan first.
    pub(crate) async fn after_the_plan<'a>(
        set_up: impl FnOnce(Builder<'a>) -> Builder<'a>,
    ) -> Result<Self> {
        let bedrock = Simulator::start().await?;
        let url = bedrock.url();
        let world = World::with(|stack| set_up(stack.bedrock(&url))).await?;
        let on_bedrock = Self { world, bedrock };
        on_bedrock.equip(&on_bedrock.key, API_KEY).await?;
        on_bedrock.until_in_force().await?;
        Ok(on_bedrock)
    }

    /// Apart, for what takes something away.
    pub(crate) fn into_parts(self) -> (World, Simulator) {
        (self.world, self.bedrock)
    }

    /// Another user with a key, who is answered by Bedrock too.
    pub(crate) async fn another(&self, api_key: &str) -> Result<(String, IssuedKey)> {
        let admin = self.stack.admin();
        let user_id = admin.create_user("Grace").await?;
        let key = admin.issue_key(&user_id).await?;
        self.equip(&key, api_key).await?;
        admin.route(&user_id, "bedrock_only").await?;
        self.until_in_force().await?;
        Ok((user_id, key))
    }

    /// Makes Bedrock accept an API key, and gives it to an access key.
    pub(crate) async fn equip(&self, key: &IssuedKey, api_key: &str) -> Result<()> {
        self.bedrock.credentials().accept_api_key(api_key);
        let body = json!({ "bedrock_api_key": api_key });
        let admin = self.stack.admin();
        admin
            .register_bedrock_key(&key.access_key_id, body)
            .await
            .map(drop)
    }

    /// The status of an answer through the first proxy.
    pub(crate) async fn status(&self, key: &IssuedKey) -> Result<StatusCode> {
        let base_url = self.proxy().base_url(&key.raw_key);
        Ok(ask(&base_url, false).await?.status())
    }

    /// The requests that Bedrock has got since there were this many.
    pub(crate) fn asked_since(&self, before: usize) -> Vec<Received> {
        self.bedrock.received().split_off(before)
    }

    /// Waits until control has counted what Bedrock has reported.
    pub(crate) async fn until_bedrock_is_counted(&self) -> Result<()> {
        self.until_counted(&Counted::from(self.bedrock.ledger()))
            .await
    }
}

impl Deref for OnBedrock {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for OnBedrock {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}
