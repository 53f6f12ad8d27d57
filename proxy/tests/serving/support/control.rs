//! A control plane that does what a test says.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{
    digest,
    sync::{
        AccessKey, Ack, Delta, Heartbeat, Kind, Position, PushRequest, PushResponse, ReportRequest,
        ReportResponse, Resource, ResourceName, Snapshot, Spending, Spent, UsageBatch, UsageEvent,
        User, WatchRequest, WatchResponse,
        config_service_server::{ConfigService, ConfigServiceServer},
        push_request, push_response, resource,
        usage_service_server::{UsageService, UsageServiceServer},
        watch_response::Event,
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use super::{KEY_ID, SYNC_TOKEN, USER, hash, key};

pub(crate) const EPOCH: &str = "018f0000-0000-7000-8000-00000000000e";

/// The scripted control plane. Its streams are handed to the test.
pub(crate) struct Control {
    url: String,
    watches: mpsc::Receiver<Watch>,
    pushes: mpsc::Receiver<Push>,
    kept: Option<Watch>,
    shared: Arc<Shared>,
    _server: DropGuard,
}

struct Shared {
    watches: mpsc::Sender<Watch>,
    pushes: mpsc::Sender<Push>,
    reports: watch::Sender<Option<ReportRequest>>,
    events: watch::Sender<Vec<UsageEvent>>,
    pushing: Mutex<Pushing>,
}

/// What becomes of `Push` calls.
#[derive(Default)]
struct Pushing {
    is_manual: bool,
    is_refused: bool,
    /// Ends the calls that run.
    end: CancellationToken,
}

/// A `Watch` call, and what is sent on it.
pub(crate) struct Watch {
    pub(crate) request: WatchRequest,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
}

/// A `Push` call whose batches the test acknowledges itself.
pub(crate) struct Push {
    requests: Streaming<PushRequest>,
    responses: mpsc::Sender<Result<PushResponse, Status>>,
}

pub(crate) fn name(kind: Kind, id: &str) -> ResourceName {
    ResourceName {
        kind: kind.into(),
        id: id.into(),
    }
}

pub(crate) fn user(version: u64) -> Resource {
    Resource {
        name: Some(name(Kind::User, USER)),
        version,
        spec: Some(resource::Spec::User(User::default())),
    }
}

pub(crate) fn access_key(id: &str, raw_key: &str, version: u64) -> Resource {
    Resource {
        name: Some(name(Kind::AccessKey, id)),
        version,
        spec: Some(resource::Spec::AccessKey(AccessKey {
            user_id: USER.into(),
            key_hash: hash(raw_key),
            expires_at: None,
            circuit_resets: 0,
        })),
    }
}

pub(crate) fn user_and_key() -> Vec<Resource> {
    vec![user(1), access_key(KEY_ID, &key(), 1)]
}

pub(crate) fn position(revision: u64) -> Position {
    Position {
        epoch: EPOCH.into(),
        revision,
    }
}

impl Control {
    pub(crate) async fn start() -> Self {
        Self::with("http", Server::builder()).await
    }

    /// One that speaks TLS only, and only to proxies with a certificate of `ca`.
    pub(crate) async fn start_tls(identity: Identity, ca: Certificate) -> Self {
        let tls = ServerTlsConfig::new().identity(identity).client_ca_root(ca);
        let server = Server::builder().tls_config(tls).unwrap();
        Self::with("https", server).await
    }

    async fn with(scheme: &str, mut server: Server) -> Self {
        let (watches_to, watches) = mpsc::channel(8);
        let (pushes_to, pushes) = mpsc::channel(8);
        let shared = Arc::new(Shared {
            watches: watches_to,
            pushes: pushes_to,
            reports: watch::Sender::new(None),
            events: watch::Sender::new(Vec::new()),
            pushing: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("{scheme}://127.0.0.1:{port}");
        let stop = CancellationToken::new();
        let server = server
            .add_service(ConfigServiceServer::with_interceptor(
                Service(shared.clone()),
                check_token,
            ))
            .add_service(UsageServiceServer::with_interceptor(
                Service(shared.clone()),
                check_token,
            ))
            .serve_with_incoming_shutdown(
                tokio_stream::wrappers::TcpListenerStream::new(listener),
                stop.clone().cancelled_owned(),
            );
        #[expect(clippy::disallowed_methods, reason = "a test's server ends with it")]
        tokio::spawn(server);
        Self {
            url,
            watches,
            pushes,
            kept: None,
            shared,
            _server: stop.drop_guard(),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The proxy's next `Watch` call.
    pub(crate) async fn watched(&mut self) -> Watch {
        self.watches.recv().await.unwrap()
    }

    /// Keeps a call open as long as this lives.
    pub(crate) fn keep(&mut self, watch: Watch) {
        self.kept = Some(watch);
    }

    /// The call kept open.
    pub(crate) fn watch(&mut self) -> &mut Watch {
        self.kept.as_mut().unwrap()
    }

    pub(crate) fn end_watch(&mut self) {
        self.kept = None;
    }

    /// From the next `Push` call on, the test acknowledges itself.
    pub(crate) fn acknowledge_by_hand(&self) {
        self.shared.pushing.lock().unwrap().is_manual = true;
    }

    /// Ends the `Push` calls that run.
    pub(crate) fn end_pushes(&self) {
        let mut pushing = self.shared.pushing.lock().unwrap();
        std::mem::take(&mut pushing.end).cancel();
    }

    pub(crate) fn refuse_pushes(&self) {
        self.shared.pushing.lock().unwrap().is_refused = true;
        self.end_pushes();
    }

    pub(crate) fn accept_pushes(&self) {
        self.shared.pushing.lock().unwrap().is_refused = false;
    }

    pub(crate) async fn pushed(&mut self) -> Push {
        self.pushes.recv().await.unwrap()
    }

    /// Waits for a report that this revision is in force.
    pub(crate) async fn applied(&self, revision: u64) -> ReportRequest {
        self.reported(|report| {
            let applied = report.applied.as_ref();
            applied.is_some_and(|position| position.revision >= revision)
        })
        .await
    }

    pub(crate) async fn reported(&self, wanted: impl Fn(&ReportRequest) -> bool) -> ReportRequest {
        let mut reports = self.shared.reports.subscribe();
        let report = reports
            .wait_for(|report| report.as_ref().is_some_and(&wanted))
            .await
            .unwrap();
        report.clone().unwrap()
    }

    /// Waits until this many events were acknowledged.
    pub(crate) async fn events(&self, count: usize) -> Vec<UsageEvent> {
        let mut events = self.shared.events.subscribe();
        let events = events.wait_for(|it| it.len() >= count).await.unwrap();
        events.clone()
    }

    pub(crate) async fn event(&self) -> UsageEvent {
        let events = self.events(1).await;
        assert_eq!(events.len(), 1, "{events:#?}");
        events.into_iter().next().unwrap()
    }
}

impl Watch {
    async fn send(&self, event: Event) {
        let response = WatchResponse { event: Some(event) };
        self.responses.send(Ok(response)).await.unwrap();
    }

    pub(crate) async fn snapshot(&mut self, revision: u64, resources: Vec<Resource>) {
        self.part(revision, resources, true).await;
    }

    pub(crate) async fn part(&mut self, revision: u64, resources: Vec<Resource>, complete: bool) {
        let at = Some(position(revision));
        let part = Snapshot {
            at,
            resources,
            complete,
        };
        self.send(Event::Snapshot(part)).await;
    }

    pub(crate) async fn delta(
        &mut self,
        from: u64,
        to: u64,
        upserted: Vec<Resource>,
        removed: Vec<ResourceName>,
    ) {
        let delta = Delta {
            from_exclusive: from,
            to_inclusive: to,
            upserted,
            removed,
        };
        self.send(Event::Delta(delta)).await;
    }

    /// How much users have spent.
    pub(crate) async fn spending(&mut self, spent: Vec<Spent>) {
        self.send(Event::Spending(Spending { spent })).await;
    }

    /// A heartbeat of a state that has these resources.
    pub(crate) async fn heartbeat(&mut self, revision: u64, resources: &[Resource]) {
        let digest = resources.iter().fold(0, |sum, resource| {
            let name = resource.name.as_ref().unwrap();
            sum ^ digest::of(name.kind, &name.id, resource.version)
        });
        let heartbeat = Heartbeat {
            head: Some(position(revision)),
            digest,
            heartbeat_interval: Some(Duration::from_secs(15).try_into().unwrap()),
        };
        self.send(Event::Heartbeat(heartbeat)).await;
    }
}

impl Push {
    pub(crate) async fn batch(&mut self) -> UsageBatch {
        loop {
            let request = self.requests.message().await.unwrap().unwrap();
            if let Some(push_request::Message::Batch(batch)) = request.message {
                return batch;
            }
        }
    }

    pub(crate) async fn acknowledge(&self, sequence: u64) {
        self.responses.send(Ok(ack(sequence))).await.unwrap();
    }

    /// Acknowledges, and says how much is spent now.
    pub(crate) async fn acknowledge_spent(&self, sequence: u64, spent: Vec<Spent>) {
        let mut response = ack(sequence);
        if let Some(push_response::Message::Ack(ack)) = &mut response.message {
            ack.spent = spent;
        }
        self.responses.send(Ok(response)).await.unwrap();
    }
}

fn ack(sequence: u64) -> PushResponse {
    PushResponse {
        message: Some(push_response::Message::Ack(Ack {
            sequence,
            rejected: Vec::new(),
            spent: Vec::new(),
        })),
    }
}

fn check_token(request: Request<()>) -> Result<Request<()>, Status> {
    let expected = format!("Bearer {SYNC_TOKEN}");
    match request.metadata().get("authorization") {
        Some(value) if value.to_str().is_ok_and(|it| it == expected) => Ok(request),
        _ => Err(Status::unauthenticated("no token")),
    }
}

struct Service(Arc<Shared>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ConfigService for Service {
    type WatchStream = Responses<WatchResponse>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (responses, stream) = mpsc::channel(64);
        let watch = Watch {
            request: request.into_inner(),
            responses,
        };
        self.0.watches.send(watch).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        self.0.reports.send_replace(Some(request.into_inner()));
        Ok(Response::new(ReportResponse {}))
    }
}

#[tonic::async_trait]
impl UsageService for Service {
    type PushStream = Responses<PushResponse>;

    async fn push(
        &self,
        request: Request<Streaming<PushRequest>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let (responses, stream) = mpsc::channel(64);
        let mut push = Push {
            requests: request.into_inner(),
            responses,
        };
        let (is_manual, is_refused, end) = {
            let pushing = self.0.pushing.lock().unwrap();
            (pushing.is_manual, pushing.is_refused, pushing.end.clone())
        };
        if is_refused {
            return Err(Status::unavailable("as the test says"));
        }
        if is_manual {
            self.0.pushes.send(push).await.unwrap();
            return Ok(Response::new(Box::pin(ReceiverStream::new(stream))));
        }
        let shared = self.0.clone();
        #[expect(clippy::disallowed_methods, reason = "a test's server ends with it")]
        tokio::spawn(async move {
            loop {
                let request = tokio::select! {
                    () = end.cancelled() => return,
                    Ok(Some(request)) = push.requests.message() => request,
                    else => return,
                };
                if let Some(push_request::Message::Batch(batch)) = request.message {
                    shared.events.send_modify(|it| it.extend(batch.events));
                    push.acknowledge(batch.sequence).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}
