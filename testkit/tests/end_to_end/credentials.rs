//! Credentials for Bedrock.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use testkit::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_registered_without_aws() -> Result<()> {
    let stack = Stack::start(1, "http://127.0.0.1:1").await?;
    let admin = stack.admin();
    let user_id = admin.create_user("Ada").await?;
    let key = admin.issue_key(&user_id).await?;
    let path = format!("/admin/access-keys/{}/bedrock-key", key.access_key_id);
    let credential = json!({"bedrock_api_key": "a key"});
    admin
        .call(Method::POST, &path, Some(credential))
        .await
        .unwrap_err();
    let credential = json!({"bedrock_api_key": "a-key"});
    let registered = admin.call(Method::POST, &path, Some(credential)).await?;
    assert_eq!(registered.get("status"), Some(&json!("registered")));
    Ok(())
}
