//! A proxy with its neighbours.

pub(crate) mod bedrock;
pub(crate) mod client;
pub(crate) mod control;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use clap::{CommandFactory, FromArgMatches};
use metrics_exporter_prometheus::PrometheusBuilder;
use proto::{
    access_key::{self, Hasher},
    sync::{Tokens, UsageEvent},
};
use proxy::{
    app::App,
    settings::{LogFormat, Settings},
    telemetry::log::{Guard, Log},
};
use serde_json::Value;
use telemetry::recorder::Recording;
use testkit::anthropic::Simulator;

use client::Client;
use control::Control;

pub(crate) const HASHER_SECRET: &str = "the hasher's secret of the tests";
pub(crate) const SYNC_TOKEN: &str = "the token between proxy and control";
pub(crate) const USER: &str = "018f0000-0000-7000-8000-000000000001";
pub(crate) const KEY_ID: &str = "018f0000-0000-7000-8000-000000000002";

/// A proxy that knows one key of one user.
pub(crate) struct Rig {
    pub(crate) simulator: Simulator,
    pub(crate) control: Control,
    pub(crate) app: App,
    pub(crate) lines: Lines,
    pub(crate) log: Guard,
}

/// What the proxy has logged.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

/// The raw key that the rig's proxy knows.
pub(crate) fn key() -> String {
    access_key::raw(&[7; 32])
}

/// Another one, unknown unless a test says so.
pub(crate) fn other_key() -> String {
    access_key::raw(&[8; 32])
}

pub(crate) fn hash(raw_key: &str) -> Vec<u8> {
    let hasher = Hasher::new(HASHER_SECRET.as_bytes());
    hasher.hash(raw_key).as_bytes().to_vec()
}

/// A request body that asks for a stream, or not.
pub(crate) fn question(is_streaming: bool) -> Value {
    serde_json::json!({
        "model": "claude-opus-5-5",
        "max_tokens": 1000,
        "stream": is_streaming,
        "messages": [{"role": "user", "content": "hello"}],
    })
}

/// What an answer is booked with whose count nobody has heard: a token for three
/// bytes of what was asked and of what was heard.
pub(crate) fn estimate(question: &Value, heard: &str) -> Tokens {
    let asked = serde_json::to_vec(question).unwrap().len();
    Tokens {
        input_tokens: asked as u64 / 3,
        output_tokens: (heard.len() as u64).div_ceil(3),
        ..Tokens::default()
    }
}

/// The tokens of an event that says that they are an estimate.
pub(crate) fn estimated(event: &UsageEvent) -> Tokens {
    assert!(event.is_estimate, "{event:?}");
    event.tokens.unwrap()
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(Simulator::start().await.unwrap(), &[]).await
    }

    /// A rig whose proxy has these settings besides the usual ones.
    pub(crate) async fn with(simulator: Simulator, settings: &[&str]) -> Self {
        let mut rig = Self::unready(simulator, settings).await;
        let mut watch = rig.control.watched().await;
        watch.snapshot(1, control::user_and_key()).await;
        rig.control.keep(watch);
        rig.control.applied(1).await;
        rig
    }

    /// A rig whose proxy has heard nothing from control yet.
    pub(crate) async fn unready(simulator: Simulator, settings: &[&str]) -> Self {
        Self::beside(Control::start().await, simulator, settings).await
    }

    pub(crate) async fn beside(control: Control, simulator: Simulator, settings: &[&str]) -> Self {
        let url = simulator.url();
        let control_url = control.url();
        let usual = [
            "claude-code-proxy",
            "--listen-addr=127.0.0.1:0",
            "--ops-addr=127.0.0.1:0",
            "--key-hasher-secret",
            HASHER_SECRET,
            "--sync-token",
            SYNC_TOKEN,
            "--drain-delay=0",
            "--control-url",
            &control_url,
            "--plan-api-url",
            &url,
        ];
        // The test's own come last and win.
        let command = Settings::command().args_override_self(true);
        let settings = command.get_matches_from(usual.iter().chain(settings));
        let settings = Settings::from_arg_matches(&settings).unwrap();
        let lines = Lines::default();
        let (log, guard) = Log::to(lines.clone(), || true, LogFormat::Json).unwrap();
        let recording = Recording {
            prometheus: PrometheusBuilder::new().build_recorder().handle(),
            cloudwatch: None,
            otlp: None,
        };
        let app = App::start(settings, log, recording).await.unwrap();
        Self {
            simulator,
            control,
            app,
            lines,
            log: guard,
        }
    }

    /// A client with an HTTP/1.1 connection of its own.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.app.listen_addr).await
    }

    /// Stops the proxy; what it has logged by then.
    pub(crate) async fn stop(self) -> Vec<Value> {
        self.app.stop().await;
        drop(self.log);
        self.lines.requests()
    }
}

impl Lines {
    /// The canonical lines.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["message"] == "request")
            .collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
