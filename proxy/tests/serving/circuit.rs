//! One circuit per access key: it opens, lets one request try, and closes.

use chrono::TimeDelta;
use proto::{
    line,
    sync::{CircuitCause, CircuitState, ReportRequest},
};
use serde_json::Value;
use testkit::{
    anthropic::{Gate, Reply, Rule},
    bedrock::{Exception, Reply as Bedrock},
};

use crate::support::{
    KEY_ID, Rig,
    bedrock::{BedrockRig, reset_circuit},
    client::Answer,
    key, question,
};

const TOLD: &str = "--route-header=true";

fn path(endpoint: &str) -> String {
    format!("/ak/{}/v1/{endpoint}", key())
}

async fn ask(rig: &Rig, body: &Value) -> Answer {
    rig.client().await.post(&path("messages"), body).await
}

async fn route(rig: &Rig) -> String {
    let answer = ask(rig, &question(true)).await;
    let route = answer.headers["x-proxy-route"].to_str().unwrap().to_owned();
    assert_eq!(answer.names().last().unwrap(), "message_stop", "{route}");
    route
}

fn has_circuits(count: usize) -> impl Fn(&ReportRequest) -> bool {
    move |it| {
        let circuits = it.circuits.as_ref();
        circuits.is_some_and(|it| it.circuits.len() == count)
    }
}

/// Fails the plan until the circuit has opened. The plan names the time: its
/// circuit is half open at once.
async fn open_until_now(rig: &Rig) {
    let reply = Reply::error(529).header("retry-after", "0");
    rig.simulator.script().rule(Rule::once(reply).times(3));
    for _ in 0..3 {
        assert_eq!(route(rig).await, "plan:529, bedrock:200");
    }
}

#[tokio::test]
async fn three_failures_open_it_and_bedrock_is_asked_first() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&[TOLD]).await;
    rig.simulator.script().always(Reply::error(500));
    for is_streaming in [true, false, true] {
        let answer = ask(&rig, &question(is_streaming)).await;
        assert_eq!(answer.headers["x-proxy-route"], "plan:500, bedrock:200");
    }
    for _ in 0..3 {
        assert_eq!(route(&rig).await, "plan:circuit_open, bedrock:200");
    }
    assert_eq!(rig.simulator.counts().requests, 3);
    assert_eq!(bedrock.counts().requests, 6);
    assert!(rig.control.events(6).await.iter().all(|it| it.is_fallback));

    let report = rig.control.reported(has_circuits(1)).await;
    let circuit = &report.circuits.unwrap().circuits[0];
    assert_eq!(circuit.access_key_id, KEY_ID);
    assert_eq!(circuit.state(), CircuitState::Open);
    assert_eq!(circuit.cause(), CircuitCause::Failures);
    let opened_at = circuit.opened_at.as_ref().and_then(line::time).unwrap();
    let open_until = circuit.open_until.as_ref().and_then(line::time);
    assert_eq!(open_until, Some(opened_at + TimeDelta::seconds(1800)));
}

#[tokio::test]
async fn a_limit_that_is_used_up_opens_it_at_once_until_the_plan_is_back() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD]).await;
    let reset = chrono::Utc::now().timestamp() + 600;
    let limit = Reply::plan_limit(reset.unsigned_abs());
    rig.simulator.script().then(limit);
    assert_eq!(route(&rig).await, "plan:429, bedrock:200");
    assert_eq!(route(&rig).await, "plan:circuit_open, bedrock:200");
    let report = rig.control.reported(has_circuits(1)).await;
    let circuit = &report.circuits.unwrap().circuits[0];
    assert_eq!(circuit.cause(), CircuitCause::UsageLimit);
    assert_eq!(circuit.open_until.as_ref().unwrap().seconds, reset);
}

#[tokio::test]
async fn what_is_the_clients_fault_never_opens_it() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD]).await;
    for status in [400, 401, 403, 404, 413, 408, 400] {
        rig.simulator.script().then(Reply::error(status));
        ask(&rig, &question(true)).await;
    }
    assert_eq!(route(&rig).await, "plan:200");
}

#[tokio::test]
async fn half_open_exactly_one_request_tries_and_its_success_closes_it() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD]).await;
    open_until_now(&rig).await;
    let gate = Gate::closed();
    let reply = Reply::text("back").head_gate(&gate);
    rig.simulator.script().then(reply);
    let probe = async {
        let route = route(&rig).await;
        assert_eq!(route, "plan:200");
    };
    let others = async {
        rig.simulator.until(|it| it.requests == 4).await;
        for _ in 0..3 {
            assert_eq!(route(&rig).await, "plan:circuit_open, bedrock:200");
        }
        assert_eq!(rig.simulator.counts().requests, 4);
        gate.open();
    };
    tokio::join!(probe, others);
    assert_eq!(route(&rig).await, "plan:200");
    rig.control.reported(has_circuits(0)).await;
}

/// Also when nobody would remember the circuit any more but for them.
#[tokio::test]
async fn failures_from_before_it_closed_do_not_open_it_again() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD]).await;
    let gate = Gate::closed();
    let old = Reply::error(529).head_gate(&gate);
    rig.simulator.script().rule(Rule::once(old).times(3));
    let old = async { tokio::join!(route(&rig), route(&rig), route(&rig)) };
    let meanwhile = async {
        rig.simulator.until(|it| it.requests == 3).await;
        rig.simulator.script().then(Reply::plan_limit(1));
        assert_eq!(route(&rig).await, "plan:429, bedrock:200");
        rig.control.reported(has_circuits(1)).await;
        assert_eq!(route(&rig).await, "plan:200");
        rig.control.reported(has_circuits(0)).await;
        gate.open();
    };
    tokio::join!(old, meanwhile);
    assert_eq!(route(&rig).await, "plan:200");
}

/// The plan is also the last resort of those who are blocked meanwhile: they
/// decide nothing.
#[tokio::test]
async fn what_others_find_out_meanwhile_does_not_count() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&[TOLD]).await;
    open_until_now(&rig).await;
    let gate = Gate::closed();
    let reply = Reply::text("back").head_gate(&gate);
    rig.simulator.script().then(reply).then(Reply::error(529));
    let probe = async { assert_eq!(route(&rig).await, "plan:200") };
    let other = async {
        rig.simulator.until(|it| it.requests == 4).await;
        bedrock
            .script()
            .then(Bedrock::refusal(Exception::Throttling));
        let answer = ask(&rig, &question(true)).await;
        assert_eq!(answer.status, 529);
        gate.open();
    };
    tokio::join!(probe, other);
    assert_eq!(route(&rig).await, "plan:200");
}

#[tokio::test]
async fn a_probe_that_fails_opens_it_again_at_once() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD]).await;
    open_until_now(&rig).await;
    rig.simulator.script().then(Reply::error(529));
    assert_eq!(route(&rig).await, "plan:529, bedrock:200");
    assert_eq!(route(&rig).await, "plan:circuit_open, bedrock:200");
}

#[tokio::test]
async fn a_probe_that_finds_out_nothing_leaves_it_half_open() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD]).await;
    open_until_now(&rig).await;
    rig.simulator.script().then(Reply::error(400));
    assert_eq!(ask(&rig, &question(true)).await.status, 400);
    // Not closed: one more failure is enough.
    rig.simulator.script().then(Reply::error(529));
    assert_eq!(route(&rig).await, "plan:529, bedrock:200");
    assert_eq!(route(&rig).await, "plan:circuit_open, bedrock:200");
}

#[tokio::test]
async fn a_probe_whose_client_leaves_gives_its_place_back() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD, "--disconnect-drain=0"]).await;
    open_until_now(&rig).await;
    let gate = Gate::closed();
    let reply = Reply::text("never").head_gate(&gate);
    rig.simulator.script().then(reply);
    {
        let mut client = rig.client().await;
        let (path, question) = (path("messages"), question(true));
        tokio::select! {
            _ = client.post(&path, &question) => panic!("nobody answers"),
            _ = rig.simulator.until(|it| it.requests == 4) => {}
        }
    }
    rig.control.events(4).await;
    assert_eq!(route(&rig).await, "plan:200");
}

#[tokio::test]
async fn while_it_is_open_the_plan_is_the_last_resort() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&[TOLD]).await;
    rig.simulator
        .script()
        .rule(Rule::once(Reply::error(529)).times(3));
    for _ in 0..3 {
        route(&rig).await;
    }
    bedrock
        .script()
        .then(Bedrock::refusal(Exception::Throttling));
    assert_eq!(
        route(&rig).await,
        "plan:circuit_open, bedrock:bedrock_throttled, plan:200"
    );
    // It has answered, so it is asked again.
    assert_eq!(route(&rig).await, "plan:200");
}

#[tokio::test]
async fn an_administrator_can_close_it() {
    let BedrockRig {
        mut rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD]).await;
    let reset = chrono::Utc::now().timestamp() + 600;
    rig.simulator
        .script()
        .then(Reply::plan_limit(reset.unsigned_abs()));
    route(&rig).await;
    rig.control.reported(has_circuits(1)).await;
    reset_circuit(&mut rig, 1).await;
    rig.control.reported(has_circuits(0)).await;
    assert_eq!(route(&rig).await, "plan:200");
}

#[tokio::test]
async fn counting_tokens_follows_it_and_does_not_count() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&[TOLD]).await;
    let count = async || {
        let path = path("messages/count_tokens");
        let answer = rig.client().await.post(&path, &question(false)).await;
        assert!(answer.json()["input_tokens"].is_u64(), "{answer:?}");
        answer.headers["x-proxy-route"].to_str().unwrap().to_owned()
    };
    let failing =
        || Rule::always(Reply::error(500)).operation(testkit::anthropic::Operation::CountTokens);
    rig.simulator.script().rule(failing());
    for _ in 0..5 {
        assert_eq!(count().await, "plan:500, bedrock:200");
    }
    assert_eq!(route(&rig).await, "plan:200");
    let reset = chrono::Utc::now().timestamp() + 600;
    rig.simulator
        .script()
        .then(Reply::plan_limit(reset.unsigned_abs()));
    route(&rig).await;
    assert_eq!(count().await, "plan:circuit_open, bedrock:200");
}
