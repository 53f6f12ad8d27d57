//! Some requests, so that a demo has something to show.

use anyhow::{Result, ensure};
use futures_util::future;
use serde_json::json;
use testkit::stack;

use crate::state::Member;

const MODELS: [&str; 2] = ["claude-opus-5-5", "claude-haiku-5-5"];

const QUESTIONS: [&str; 3] = [
    "What does this repository do?",
    "Why is the sky blue?",
    "Explain a mutex in one sentence.",
];

/// Lets every member ask every model every question, streamed in turns.
/// Returns the number of requests.
pub(crate) async fn send(proxy_url: &str, members: &[Member]) -> Result<usize> {
    let mut requests = Vec::new();
    for member in members {
        for (model, question) in MODELS
            .iter()
            .flat_map(|model| QUESTIONS.map(|question| (model, question)))
        {
            let is_streaming = requests.len() % 2 == 0;
            let url = format!("{proxy_url}/ak/{}/v1/messages", member.raw_key);
            requests.push(ask(url, model, question, is_streaming));
        }
    }
    Ok(future::try_join_all(requests).await?.len())
}

async fn ask(url: String, model: &str, question: &str, is_streaming: bool) -> Result<()> {
    let response = stack::http_client()?
        .post(url)
        .header("x-api-key", "sk-ant-demo")
        .header("anthropic-version", "2023-06-01")
        .json(&json!({
            "model": model,
            "max_tokens": 1024,
            "stream": is_streaming,
            "messages": [{ "role": "user", "content": question }],
        }))
        .send()
        .await?;
    let status = response.status();
    let body = response.text().await?;
    ensure!(status.is_success(), "the proxy answered {status}: {body}");
    Ok(())
}
