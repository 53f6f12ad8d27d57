//! AWS's client for Rust, which the proxy uses, against the simulator.

#![cfg(test)]

use aws_sdk_bedrockruntime::{
    Client,
    config::{BehaviorVersion, Credentials, Region, Token, retry::RetryConfig},
    error::ProvideErrorMetadata,
    operation::converse_stream::ConverseStreamError,
    primitives::Blob,
    types::{
        ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput, Message,
        error::ConverseStreamOutputError,
    },
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use serde_json::{Value, json};
use testkit::bedrock::{
    ACCESS_KEY_ID, API_KEY, At, Exception, How, Reply, SECRET_ACCESS_KEY, Simulator,
};

/// Ids with characters that a path must not have as they are.
const MODELS: [&str; 3] = [
    "us.anthropic.claude-opus-5-5",
    "anthropic.claude-haiku-4-5-20251001-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3",
];

enum Login {
    ApiKey(&'static str),
    Pair(&'static str),
}

fn client(simulator: &Simulator, login: Login) -> Client {
    let config = aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(simulator.url());
    let config = match login {
        Login::ApiKey(key) => config.bearer_token(Token::new(key, None)),
        Login::Pair(secret) => {
            config.credentials_provider(Credentials::new(ACCESS_KEY_ID, secret, None, None, "test"))
        }
    };
    let authority = simulator.ca_pem().map_or(TrustStore::empty(), |pem| {
        TrustStore::empty().with_pem_certificate(pem)
    });
    let tls = TlsContext::builder().with_trust_store(authority);
    let http = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls.build().unwrap())
        .build_https();
    Client::from_conf(config.http_client(http).build())
}

fn question(text: &str) -> Message {
    Message::builder()
        .role(ConversationRole::User)
        .content(ContentBlock::Text(text.to_owned()))
        .build()
        .unwrap()
}

async fn stream(client: &Client) -> Result<Vec<ConverseStreamOutput>, ConverseStreamOutputError> {
    let asked = client
        .converse_stream()
        .model_id(MODELS[0])
        .messages(question("say: one two"));
    let mut stream = asked.send().await.unwrap().stream;
    let mut events = Vec::new();
    loop {
        match stream.recv().await {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return Ok(events),
            Err(error) => return Err(error.into_service_error()),
        }
    }
}

fn text(events: &[ConverseStreamOutput]) -> String {
    let deltas = events.iter().filter_map(|event| match event {
        ConverseStreamOutput::ContentBlockDelta(event) => event.delta().cloned(),
        _ => None,
    });
    deltas
        .map(|delta| match delta {
            ContentBlockDelta::Text(text) => text,
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn answers_in_every_way(simulator: &Simulator, client: &Client) {
    for model in MODELS {
        let asked = client
            .converse()
            .model_id(model)
            .messages(question("say: hi"));
        let answer = asked.send().await.unwrap();
        let message = answer.output().unwrap().as_message().unwrap();
        assert_eq!(message.content(), [ContentBlock::Text("hi".to_owned())]);

        let body = json!({
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "say: hi"}],
        });
        let asked = client
            .invoke_model()
            .model_id(model)
            .body(Blob::new(body.to_string()));
        let answer = asked.send().await.unwrap();
        let answer: Value = serde_json::from_slice(answer.body().as_ref()).unwrap();
        assert_eq!(answer["content"][0]["text"], "hi");
        assert_eq!(simulator.received().pop().unwrap().model, model);
    }
    assert_eq!(text(&stream(client).await.unwrap()), "one two");
}

#[tokio::test]
async fn both_ways_of_signing_are_understood_over_both_kinds_of_http() {
    let http = Simulator::start().await.unwrap();
    let https = Simulator::builder().tls().start().await.unwrap();
    for simulator in [&http, &https] {
        for login in [Login::ApiKey(API_KEY), Login::Pair(SECRET_ACCESS_KEY)] {
            answers_in_every_way(simulator, &client(simulator, login)).await;
        }
        for login in [Login::ApiKey("other"), Login::Pair("other")] {
            let client = client(simulator, login);
            let asked = client
                .converse()
                .model_id(MODELS[0])
                .messages(question("hi"));
            let error = asked.send().await.unwrap_err();
            let code = error.code().unwrap();
            assert!(
                ["AccessDeniedException", "InvalidSignatureException"].contains(&code),
                "{code}"
            );
        }
    }
    let version = |simulator: &Simulator| simulator.received().pop().unwrap().version;
    assert_eq!(version(&http), http::Version::HTTP_11);
    assert_eq!(version(&https), http::Version::HTTP_2);
}

#[tokio::test]
async fn exceptions_keep_their_type() {
    let simulator = Simulator::start().await.unwrap();
    let client = client(&simulator, Login::ApiKey(API_KEY));
    let in_the_middle = How::Error(Exception::ModelStreamError.into());
    simulator
        .script()
        .then(Reply::refusal(Exception::Throttling))
        .then(Reply::answer().ending(At::Events(2), in_the_middle))
        .then(Reply::answer().ending(At::Events(2), How::Clean));
    let asked = client
        .converse_stream()
        .model_id(MODELS[0])
        .messages(question("hi"));
    let error = asked.send().await.unwrap_err().into_service_error();
    assert!(matches!(error, ConverseStreamError::ThrottlingException(_)));
    let error = stream(&client).await.unwrap_err();
    assert!(error.is_model_stream_error_exception(), "{error:?}");
    // It takes a stream that lacks its end for a whole one.
    assert_eq!(stream(&client).await.unwrap().len(), 2);
}
