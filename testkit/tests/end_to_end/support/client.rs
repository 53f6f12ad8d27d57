//! A plain client, which tells the model what to say and listens to the end.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{question, send};

pub(crate) const MODEL: &str = "claude-opus-5-5";

/// A developer's own key of the Anthropic API.
pub(crate) const OWN: &str = "sk-ant-test";

/// All that a client gets.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// None: the connection broke before.
    pub(crate) status: Option<u16>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) is_broken: bool,
}

/// Tells the model what to say, and listens to the end.
pub(crate) async fn say(base_url: &str, text: &str, is_streaming: bool, credential: &str) -> Heard {
    let mut body = question(MODEL, is_streaming);
    body["messages"][0]["content"] = json!(format!("say: {text}"));
    let mut heard = Heard::default();
    let Ok(mut response) = send(base_url, &body, &[("x-api-key", credential)]).await else {
        heard.is_broken = true;
        return heard;
    };
    heard.status = Some(response.status().as_u16());
    heard.headers = response.headers().clone();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => heard.body += &String::from_utf8_lossy(&piece),
            Ok(None) => return heard,
            Err(_) => {
                heard.is_broken = true;
                return heard;
            }
        }
    }
}

impl Heard {
    fn is_stream(&self) -> bool {
        self.body.starts_with("event: ")
    }

    /// One answer with this text, from its beginning to its end, and no word of
    /// an error.
    pub(crate) fn is_complete(&self, text: &str) -> bool {
        self.status == Some(200) && !self.is_broken && self.said().as_deref() == Some(text)
    }

    fn said(&self) -> Option<String> {
        if !self.is_stream() {
            let message: Value = serde_json::from_str(&self.body).ok()?;
            return Some(message["content"][0]["text"].as_str()?.to_owned());
        }
        let count = |name: &str| self.body.matches(&format!("event: {name}\n")).count();
        let is_one = count("message_start") == 1 && count("message_stop") == 1;
        (is_one && count("error") == 0).then(|| {
            let data = self.body.lines().filter_map(|it| it.strip_prefix("data: "));
            let events = data.filter_map(|it| serde_json::from_str::<Value>(it).ok());
            let texts = events.filter_map(|it| Some(it["delta"]["text"].as_str()?.to_owned()));
            texts.collect()
        })
    }

    /// An error with this status that no client takes for an answer. One that is
    /// relayed may come too late for the status.
    pub(crate) fn is_error(&self, status: u16) -> bool {
        match self.status {
            Some(200) => status == 200 && (self.is_broken || self.body.contains("event: error\n")),
            Some(found) => {
                let is_envelope = self.body.contains(r#""type":"error""#);
                found == status && (is_envelope || self.body.starts_with("<html>"))
            }
            None => status == 200,
        }
    }
}
