//! Which operation a path is, and which model it names.

use http::Method;
use serde::Deserialize;

use crate::simulator::record::{Operation, Received};

/// Ids of models on Bedrock, of all their makers, begin like this.
const MAKERS: [&str; 14] = [
    "ai21.",
    "amazon.",
    "anthropic.claude",
    "cohere.",
    "deepseek.",
    "google.",
    "meta.",
    "minimax.",
    "mistral.",
    "moonshot",
    "nvidia.",
    "openai.",
    "qwen.",
    "writer.",
];

/// Where an inference profile may send a request.
const GEOGRAPHIES: [&str; 8] = [
    "us.", "eu.", "apac.", "jp.", "au.", "in.", "us-gov.", "global.",
];

/// Reads method, path and, for the messages API, the body.
pub(super) fn identify(request: &Received) -> (Operation, String) {
    #[derive(Deserialize)]
    struct Named {
        model: String,
    }
    let path = request.path_without_query();
    if request.method != Method::POST {
        return (Operation::Other, String::new());
    }
    if path == "/anthropic/v1/messages" {
        let named: Result<Named, _> = serde_json::from_slice(&request.body);
        let model = named.map_or(String::new(), |named| named.model);
        return (Operation::Messages, model);
    }
    let parts = path
        .strip_prefix("/model/")
        .and_then(|rest| rest.rsplit_once('/'));
    let Some((id, operation)) = parts else {
        return (Operation::Other, String::new());
    };
    let operation = match operation {
        "invoke" => Operation::Invoke,
        "invoke-with-response-stream" => Operation::InvokeStream,
        "converse" => Operation::Converse,
        "converse-stream" => Operation::ConverseStream,
        "count-tokens" => Operation::CountTokens,
        _ => Operation::Other,
    };
    // A slash in an ARN must be encoded, or it is another path.
    if id.contains('/') {
        return (Operation::Other, String::new());
    }
    (operation, decoded(id))
}

/// Text without percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| hex::decode(code).ok());
        match (byte, code.as_deref()) {
            (b'%', Some([code])) => {
                bytes.push(*code);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Tells whether Bedrock could have a model of this id.
pub(super) fn is_known(id: &str) -> bool {
    is_application_profile(id) || MAKERS.iter().any(|maker| bare(id).starts_with(maker))
}

pub(super) fn is_claude(id: &str) -> bool {
    is_application_profile(id) || bare(id).starts_with("anthropic.claude")
}

/// Its model is not in its id; here it is Claude.
fn is_application_profile(id: &str) -> bool {
    id.starts_with("arn:") && id.contains(":application-inference-profile/")
}

/// An inference profile, which may be answered in several regions.
pub(super) fn is_profile(id: &str) -> bool {
    let name = resource(id);
    GEOGRAPHIES.iter().any(|prefix| name.starts_with(prefix))
}

/// What an ARN is about.
fn resource(id: &str) -> &str {
    match id.strip_prefix("arn:") {
        Some(arn) => arn.rsplit_once('/').map_or("", |(_, resource)| resource),
        None => id,
    }
}

/// The foundation model's id, without geography.
fn bare(id: &str) -> &str {
    let name = resource(id);
    GEOGRAPHIES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
}

/// What Claude calls itself in its answers.
pub(super) fn own_name(id: &str) -> String {
    let name = bare(id).trim_start_matches("anthropic.");
    let name = name.split(':').next().unwrap_or_default();
    let (name, version) = name.rsplit_once("-v").unwrap_or((name, ""));
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    match is_version || version.is_empty() {
        true => name.to_owned(),
        false => format!("{name}-v{version}"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(path: &str) -> (Operation, String) {
        let head = http::Request::post(path).body(()).unwrap().into_parts().0;
        identify(&Received::new(head, Bytes::new(), String::new()))
    }

    #[test]
    fn ids_may_be_encoded() {
        let haiku = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
        let cases = [
            (
                "/model/us.anthropic.claude-haiku-4-5-20251001-v1:0/invoke",
                Operation::Invoke,
                haiku,
            ),
            (
                "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream",
                Operation::ConverseStream,
                haiku,
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fa/converse",
                Operation::Converse,
                "arn:aws:bedrock:us-east-1:1:inference-profile/a",
            ),
            ("/model/arn:aws:x/a/converse", Operation::Other, ""),
            ("/model/a/shout", Operation::Other, "a"),
            ("/v1/messages", Operation::Other, ""),
        ];
        for (path, operation, model) in cases {
            assert_eq!(of(path), (operation, model.to_owned()), "{path}");
        }
    }

    #[test]
    fn ids_tell_what_they_are() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-x";
        let application =
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2";
        for claude in [
            "anthropic.claude-x",
            "global.anthropic.claude-x",
            arn,
            application,
        ] {
            assert!(is_known(claude) && is_claude(claude), "{claude}");
        }
        assert!(is_known("apac.amazon.nova-pro-v1:0") && !is_claude("amazon.nova-pro-v1:0"));
        assert!(!is_known("claude-sonnet-4-6") && !is_known("xx.anthropic.claude-x"));
        assert!(is_profile("eu.anthropic.claude-x") && is_profile(arn));
        assert!(!is_profile("anthropic.claude-x"));
    }

    #[test]
    fn an_answer_has_the_models_own_name() {
        let cases = [
            ("us.anthropic.claude-opus-5-5", "claude-opus-5-5"),
            (
                "anthropic.claude-haiku-4-5-20251001-v1:0",
                "claude-haiku-4-5-20251001",
            ),
            ("anthropic.claude-vision", "claude-vision"),
        ];
        for (id, name) in cases {
            assert_eq!(own_name(id), name);
        }
    }
}
