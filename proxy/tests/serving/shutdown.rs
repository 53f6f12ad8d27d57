//! Told to stop, the proxy finishes what runs and delivers what it counted.

use http::Request;
use http_body_util::{BodyExt, Full};
use proto::sync::Outcome;
use testkit::anthropic::{Gate, Reply, Simulator};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Rig,
    client::{Answer, Client, last_error, post},
    key, question,
};

fn messages() -> String {
    format!("/ak/{}/v1/messages", key())
}

#[tokio::test]
async fn running_streams_finish_and_are_counted() {
    const STREAMS: usize = 50;
    let rig = Rig::start().await;
    let gate = Gate::closed();
    rig.simulator
        .script()
        .always(Reply::text("one two three").gate(&gate));
    let mut clients = Vec::new();
    let mut responses = Vec::new();
    gate.release(STREAMS);
    for _ in 0..STREAMS {
        let mut client = rig.client().await;
        responses.push(client.open(post(&messages(), &question(true))).await);
        clients.push(client);
    }
    let (app, control) = (rig.app, rig.control);
    let finished = async {
        gate.open();
        for response in responses {
            let answer = Answer::of(response).await;
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(text.contains("event: message_stop"), "{text}");
        }
    };
    tokio::join!(app.stop(), finished);
    let events = control.events(STREAMS).await;
    assert_eq!(events.len(), STREAMS);
    assert!(events.iter().all(|it| it.outcome() == Outcome::Complete));
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off_and_recorded() {
    let settings = ["--drain-timeout=1"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let gate = Gate::closed();
    rig.simulator
        .script()
        .then(Reply::text("one two").gate(&gate));
    gate.release(2);
    let mut client = rig.client().await;
    let mut response = client.open(post(&messages(), &question(true))).await;
    response.frame().await.unwrap().unwrap();
    let lines = rig.lines.clone();
    let (app, control) = (rig.app, rig.control);
    app.stop().await;
    let rest = response.into_body().collect().await.unwrap();
    assert_eq!(last_error(&rest.to_bytes()), "overloaded_error");
    let event = control.event().await;
    assert_eq!(event.outcome(), Outcome::Terminated);
    assert!(event.tokens.unwrap().input_tokens > 0);
    drop(rig.log);
    assert_eq!(lines.requests().len(), 1);
}

/// Who is still sending is told, too.
#[tokio::test]
async fn a_request_that_has_not_arrived_is_refused_in_the_end() {
    let settings = ["--drain-timeout=1"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: proxy\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n",
        messages()
    );
    let addr = rig.app.listen_addr;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut interim).await.unwrap();
    stream.write_all(b"{").await.unwrap();
    let mut answer = String::new();
    let hears = stream.read_to_string(&mut answer);
    let (_, heard) = tokio::join!(rig.app.stop(), hears);
    heard.unwrap();
    assert!(answer.starts_with("HTTP/1.1 529 "), "{answer}");
    assert!(answer.contains("overloaded_error"), "{answer}");
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let rig = Rig::start().await;
    let mut idle = rig.client().await;
    idle.post(&messages(), &question(true)).await;
    let _silent = rig.client().await;
    rig.stop().await;
    assert!(
        idle.try_open(post(&messages(), &question(true)))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn new_connections_are_served_until_the_balancer_has_noticed() {
    let settings = ["--drain-delay=100"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let (addr, app) = (rig.app.listen_addr, rig.app);
    let noticed = async {
        loop {
            let mut balancer = Client::connect(addr).await;
            let request = Request::get("/health").body(Full::default()).unwrap();
            if balancer.send(request).await.status == 503 {
                break;
            }
        }
        let mut late = Client::connect(addr).await;
        let answer = late.post(&messages(), &question(true)).await;
        assert_eq!(answer.names().last().unwrap(), "message_stop");
    };
    tokio::select! {
        () = app.stop() => panic!("it should wait"),
        () = noticed => {}
    }
}

#[tokio::test]
async fn who_still_waits_at_the_end_is_told_to_try_again() {
    let settings = ["--drain-timeout=1"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let gate = Gate::closed();
    let reply = Reply::answer().head_gate(&gate);
    rig.simulator.script().always(reply);
    let mut clients = (rig.client().await, rig.client().await);
    let (path, streaming, whole) = (messages(), question(true), question(false));
    let simulator = &rig.simulator;
    let app = rig.app;
    let stop = async {
        simulator.until(|it| it.requests == 2).await;
        app.stop().await;
    };
    let (first, second, ()) = tokio::join!(
        clients.0.post(&path, &streaming),
        clients.1.post(&path, &whole),
        stop
    );
    for answer in [first, second] {
        assert_eq!(answer.status, 529);
        assert_eq!(answer.error_type(), "overloaded_error");
    }
    for event in rig.control.events(2).await {
        assert_eq!(event.outcome(), Outcome::Terminated);
        assert_eq!(event.status, 529);
        assert!(event.is_estimate);
    }
}
