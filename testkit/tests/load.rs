//! The load generator against its own upstream, and against the simulator.

#![cfg(test)]

use std::time::Duration;

use aws_sdk_bedrockruntime::{
    Client,
    config::{BehaviorVersion, Region, Token},
    primitives::Blob,
    types::ResponseStream,
};
use serde_json::Value;
use testkit::{
    anthropic::Simulator,
    load::{
        Connection, Load, Provider, Report, Request, Shape,
        upstream::{BRIEF_EVENTS, EVENTS, GAP, MOMENT, Upstream},
    },
};
use tokio::{task::JoinSet, time::Instant};

async fn upstream(tasks: &mut JoinSet<()>) -> String {
    let upstream = Upstream::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let url = upstream.url().unwrap();
    tasks.spawn(upstream.serve());
    url
}

async fn load(url: &str, shape: Shape, body_bytes: usize) -> Load {
    let headers = ["x-api-key: k".to_owned()];
    Load {
        request: Request::new(url, Provider::Plan, shape, body_bytes, &headers)
            .await
            .unwrap(),
        connections: 3,
        rate: None,
        warm_up: Duration::from_millis(10),
        duration: Duration::from_millis(50),
        pids: vec![std::process::id()],
    }
}

fn is_clean(report: &Report) {
    assert!(report.requests > 0, "{report:?}");
    assert_eq!((report.errors, report.dropped), (0, 0), "{report:?}");
    assert!(report.latency_us.p50 <= report.latency_us.max, "{report:?}");
}

#[tokio::test]
async fn every_shape_is_answered_and_counted_whole() {
    let mut tasks = JoinSet::new();
    let url = upstream(&mut tasks).await;
    for body_bytes in [200, 150_000] {
        let report = load(&url, Shape::Json, body_bytes)
            .await
            .run()
            .await
            .unwrap();
        is_clean(&report);
        assert_eq!(report.events, 0);
    }
    for shape in [Shape::Stream, Shape::Burst, Shape::Paced] {
        let report = load(&url, shape, 200).await.run().await.unwrap();
        is_clean(&report);
        assert_eq!(report.events, report.requests * EVENTS as u64, "{shape:?}");
        if shape == Shape::Paced {
            let gaps = GAP * (u32::try_from(EVENTS).unwrap() - 1);
            let shortest_us = gaps.as_micros() * 99 / 100;
            assert!(u128::from(report.latency_us.p50) >= shortest_us);
        }
    }
}

/// AWS's client is asked what it makes of the bytes.
#[tokio::test]
async fn bedrock_answers_too_with_the_shape_that_the_model_names() {
    let mut tasks = JoinSet::new();
    let url = upstream(&mut tasks).await;
    let config = aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .bearer_token(Token::new("key", None))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(url);
    let client = Client::from_conf(config.build());
    let ask = client.invoke_model().model_id("anthropic.bench-json");
    let answer = ask.body(Blob::new("{}")).send().await.unwrap();
    let message: Value = serde_json::from_slice(answer.body().as_ref()).unwrap();
    assert_eq!(message["type"], "message");
    for (model, count) in [
        ("anthropic.bench-stream", EVENTS),
        ("anthropic.bench-burst", EVENTS),
        ("anthropic.bench-brief", BRIEF_EVENTS),
    ] {
        let ask = client.invoke_model_with_response_stream().model_id(model);
        let mut stream = ask.body(Blob::new("{}")).send().await.unwrap().body;
        let mut events: Vec<Value> = Vec::new();
        while let Some(ResponseStream::Chunk(chunk)) = stream.recv().await.unwrap() {
            events.push(serde_json::from_slice(chunk.bytes().unwrap().as_ref()).unwrap());
        }
        assert_eq!(events.len(), count, "{model}");
        assert_eq!(events[0]["type"], "message_start");
        let metrics = &events[count - 1]["amazon-bedrock-invocationMetrics"];
        assert_eq!(metrics["inputTokenCount"], 12, "{model}");
    }
}

#[tokio::test]
async fn the_second_event_of_a_brief_stream_is_its_first_content() {
    let mut tasks = JoinSet::new();
    let url = upstream(&mut tasks).await;
    let request = Request::of_both(&url, Shape::Brief, Shape::Json, 200, &[]);
    let request = request.await.unwrap();
    let mut connection = Connection::open(request.addr).await.unwrap();
    for _ in 0..2 {
        let exchange = connection.exchange(&request.bytes, Instant::now());
        let exchange = exchange.await.unwrap();
        assert_eq!(exchange.events, BRIEF_EVENTS as u64);
        let first_content = exchange.first_content.unwrap();
        assert!(first_content >= MOMENT, "{exchange:?}");
        let gaps = MOMENT * u32::try_from(BRIEF_EVENTS - 1).unwrap();
        assert!(exchange.total >= gaps, "{exchange:?}");
    }
}

/// The connection goes on, so the same one is asked.
#[tokio::test]
async fn the_plan_fails_as_it_is_asked_to() {
    let mut tasks = JoinSet::new();
    let url = upstream(&mut tasks).await;
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut connection = Connection::open(address).await.unwrap();
    for (shape, status) in [
        (Shape::Overloaded, 529),
        (Shape::TimedOut, 408),
        (Shape::UsedUp, 429),
        (Shape::Json, 200),
    ] {
        let request = Request::of_both(&url, shape, Shape::Brief, 200, &[]);
        let request = request.await.unwrap();
        let exchange = connection.exchange(&request.bytes, Instant::now());
        let exchange = exchange.await.unwrap();
        assert_eq!((exchange.status, exchange.first_content), (status, None));
    }
}

#[tokio::test]
async fn requests_arrive_at_random_in_an_open_loop() {
    let mut tasks = JoinSet::new();
    let url = upstream(&mut tasks).await;
    let mut load = load(&url, Shape::Json, 200).await;
    load.rate = Some(2_000.0);
    is_clean(&load.run().await.unwrap());
}

#[tokio::test]
async fn held_streams_stay_open() {
    let mut tasks = JoinSet::new();
    let url = upstream(&mut tasks).await;
    let report = load(&url, Shape::Held, 200).await.hold().await.unwrap();
    is_clean(&report);
    assert_eq!((report.requests, report.events), (3, 6));
}

#[tokio::test]
async fn the_simulator_can_be_loaded_too() {
    let simulator = Simulator::start().await.unwrap();
    let report = load(&simulator.url(), Shape::Json, 200)
        .await
        .run()
        .await
        .unwrap();
    is_clean(&report);
    assert!(simulator.counts().requests >= report.requests);
    let received = simulator.received();
    assert_eq!(received[0].path, "/v1/messages?bench-json");
    let large = load(&simulator.url(), Shape::Json, 150_000).await;
    large.run().await.unwrap();
    let received = simulator.received();
    let body = &received.last().unwrap().body;
    assert!((145_000..=150_000).contains(&body.len()), "{}", body.len());
}

#[tokio::test]
async fn refusals_are_errors() {
    let simulator = Simulator::start().await.unwrap();
    let mut load = load(&simulator.url(), Shape::Json, 200).await;
    load.request = Request::new(&simulator.url(), Provider::Plan, Shape::Json, 200, &[])
        .await
        .unwrap();
    let report = load.run().await.unwrap();
    assert_eq!(report.requests, 0);
    assert!(report.errors > 0);
}
