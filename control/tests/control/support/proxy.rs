//! A proxy's side of both streams, kept as simple as the contract allows.

use std::{collections::BTreeMap, net::SocketAddr};

use proto::{
    digest,
    sync::{
        Ack, Delta, Heartbeat, Kind, Node, Position, PushRequest, PushResponse, Resource, Snapshot,
        UsageBatch, UsageEvent, WatchRequest, WatchResponse,
        config_service_client::ConfigServiceClient, push_request, push_response,
        usage_service_client::UsageServiceClient, watch_response::Event,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use super::{SYNC_TOKEN, eventually};

/// Adds the token.
#[derive(Clone)]
pub struct Credentials(pub MetadataValue<Ascii>);

impl tonic::service::Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub type Config = ConfigServiceClient<InterceptedService<Channel, Credentials>>;
pub type Usage = UsageServiceClient<InterceptedService<Channel, Credentials>>;

pub fn credentials(token: &str) -> Credentials {
    Credentials(format!("Bearer {token}").parse().unwrap())
}

pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    eventually(endpoint.connect()).await.unwrap()
}

pub async fn config(address: SocketAddr) -> Config {
    ConfigServiceClient::with_interceptor(channel(address).await, credentials(SYNC_TOKEN))
}

/// It takes 64 KiB before somebody has to read.
pub async fn config_with_small_window(address: SocketAddr) -> Config {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535);
    let channel = eventually(endpoint.connect()).await.unwrap();
    ConfigServiceClient::with_interceptor(channel, credentials(SYNC_TOKEN))
}

pub async fn usage(address: SocketAddr) -> Usage {
    UsageServiceClient::with_interceptor(channel(address).await, credentials(SYNC_TOKEN))
}

pub fn node() -> Node {
    Node {
        instance_id: Uuid::new_v4().to_string(),
        version: "1.2.3".to_owned(),
        started_at: None,
    }
}

pub fn watch_request(resume_from: Option<Position>) -> WatchRequest {
    WatchRequest {
        node: Some(node()),
        resume_from,
        takes_spending: false,
    }
}

/// The revision at which a new database is when control is ready: the price list
/// was written.
pub const START: u64 = 1;

/// The same as Postgres counts.
pub const START_IN_SQL: i64 = START.cast_signed();

/// A copy of the configuration, kept by what a stream says.
pub struct Copy {
    client: Config,
    stream: Option<Streaming<WatchResponse>>,
    pub position: Option<Position>,
    pub resources: BTreeMap<(i32, String), Resource>,
    staged: Vec<Resource>,
}

impl Copy {
    /// Holds nothing yet.
    pub async fn new(address: SocketAddr) -> Self {
        Self {
            client: config(address).await,
            stream: None,
            position: None,
            resources: BTreeMap::new(),
            staged: Vec::new(),
        }
    }

    /// Watches from where it is.
    pub async fn watch(&mut self) {
        let request = watch_request(self.position.clone());
        let stream = eventually(self.client.watch(request)).await.unwrap();
        self.stream = Some(stream.into_inner());
    }

    /// The next message, not applied; none at the end of the stream.
    pub async fn receive(&mut self) -> Result<Option<Event>, Status> {
        let stream = self.stream.as_mut().expect("watch() comes first");
        let response = eventually(stream.message()).await?;
        Ok(response.map(|response| response.event.unwrap()))
    }

    /// Takes messages until the copy is complete and something was applied.
    pub async fn advance(&mut self) -> Event {
        loop {
            let event = self.receive().await.unwrap().expect("the stream ended");
            if self.apply(&event) {
                return event;
            }
        }
    }

    /// Takes messages until it holds the state at a revision.
    pub async fn reach(&mut self, revision: u64) {
        while self
            .position
            .as_ref()
            .is_none_or(|at| at.revision < revision)
        {
            self.advance().await;
        }
    }

    /// True when the copy is whole afterwards.
    pub fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::Snapshot(snapshot) => self.apply_snapshot(snapshot),
            Event::Delta(delta) => self.apply_delta(delta),
            Event::Heartbeat(heartbeat) => self.check(heartbeat),
            Event::Spending(_) => panic!("this copy does not take spending"),
        }
    }

    fn apply_snapshot(&mut self, snapshot: &Snapshot) -> bool {
        self.staged.extend(snapshot.resources.clone());
        if !snapshot.complete {
            return false;
        }
        self.resources = std::mem::take(&mut self.staged)
            .into_iter()
            .map(|resource| (name(&resource), resource))
            .collect();
        self.position.clone_from(&snapshot.at);
        true
    }

    fn apply_delta(&mut self, delta: &Delta) -> bool {
        let position = self.position.as_mut().expect("a delta needs a position");
        assert_eq!(delta.from_exclusive, position.revision, "a gap");
        assert!(delta.to_inclusive > delta.from_exclusive, "{delta:?}");
        position.revision = delta.to_inclusive;
        for resource in &delta.upserted {
            assert!(resource.version > delta.from_exclusive, "{resource:?}");
            self.resources.insert(name(resource), resource.clone());
        }
        for removed in &delta.removed {
            self.resources.remove(&(removed.kind, removed.id.clone()));
        }
        true
    }

    fn check(&mut self, heartbeat: &Heartbeat) -> bool {
        if heartbeat.head == self.position {
            assert_eq!(heartbeat.digest, self.digest(), "drifted");
        }
        true
    }

    pub fn digest(&self) -> u64 {
        self.resources.values().fold(0, |digest, resource| {
            let name = resource.name.as_ref().unwrap();
            digest ^ digest::of(name.kind(), &name.id, resource.version)
        })
    }

    /// How many resources somebody has made: without those that every database
    /// begins with, which were never changed, and the prices that control writes.
    pub fn made(&self) -> usize {
        let made = self.resources.iter().filter(|((kind, _), resource)| {
            resource.version > 0 && *kind != i32::from(Kind::Price)
        });
        made.count()
    }

    pub fn has(&self, id: &str) -> bool {
        self.resources.keys().any(|(_, other)| other == id)
    }
}

fn name(resource: &Resource) -> (i32, String) {
    let name = resource.name.clone().unwrap();
    (name.kind, name.id)
}

/// One push stream.
pub struct Push {
    requests: mpsc::Sender<PushRequest>,
    pub responses: Streaming<PushResponse>,
    sequence: u64,
}

impl Push {
    /// Opens a stream and greets.
    pub async fn open(address: SocketAddr) -> Self {
        let mut client = usage(address).await;
        let (requests, receiver) = mpsc::channel(8);
        let responses = eventually(client.push(ReceiverStream::new(receiver)))
            .await
            .unwrap()
            .into_inner();
        let push = Self {
            requests,
            responses,
            sequence: 0,
        };
        push.say(push_request::Message::Hello(proto::sync::Hello {
            node: Some(node()),
        }))
        .await;
        push
    }

    pub async fn say(&self, message: push_request::Message) {
        let request = PushRequest {
            message: Some(message),
        };
        let _ = self.requests.send(request).await;
    }

    /// Sends without waiting for the answer.
    pub async fn send(&mut self, events: Vec<UsageEvent>) -> u64 {
        self.sequence += 1;
        let sequence = self.sequence;
        self.say(push_request::Message::Batch(UsageBatch {
            traceparent: String::new(),
            sequence,
            events,
        }))
        .await;
        sequence
    }

    /// Waits for the next acknowledgement.
    pub async fn ack(&mut self) -> Result<Ack, Status> {
        let response = eventually(self.responses.message())
            .await?
            .ok_or_else(|| Status::unavailable("the stream ended"))?;
        match response.message {
            Some(push_response::Message::Ack(ack)) => Ok(ack),
            other => panic!("no acknowledgement: {other:?}"),
        }
    }

    /// Sends and waits for the acknowledgement; the ids of rejected events.
    pub async fn deliver(
        &mut self,
        events: Vec<UsageEvent>,
    ) -> Result<Vec<(Vec<u8>, String)>, Status> {
        let sequence = self.send(events).await;
        let ack = self.ack().await?;
        assert_eq!(ack.sequence, sequence);
        Ok(ack
            .rejected
            .into_iter()
            .map(|event| (event.event_id, event.reason))
            .collect())
    }
}

/// An event of a request that has just ended.
pub fn event() -> UsageEvent {
    UsageEvent {
        event_id: Uuid::now_v7().as_bytes().to_vec().into(),
        request_id: "req_1".to_owned(),
        started_at: Some(proto::line::timestamp(chrono::Utc::now())),
        duration_ms: 1_200,
        first_byte_ms: Some(300),
        provider: proto::sync::Provider::Plan.into(),
        model: "claude-sonnet-4-5".to_owned(),
        upstream_model: "claude-sonnet-4-5-20250929".to_owned(),
        outcome: proto::sync::Outcome::Complete.into(),
        status: 200,
        is_streaming: true,
        tokens: Some(proto::sync::Tokens {
            input_tokens: 1,
            output_tokens: 10,
            cache_read_tokens: 100,
            cache_write_5m_tokens: 1_000,
            cache_write_1h_tokens: 10_000,
        }),
        ..UsageEvent::default()
    }
}
