//! How operators get the metrics of both processes.
//!
//! A process has one list of its metrics ([`catalog`]), records them through the
//! `metrics` facade, and says once who gets them ([`recorder`]): Prometheus by
//! asking, an OpenTelemetry collector ([`otlp`]) and CloudWatch ([`cloudwatch`]) by
//! being told. Traces ([`trace`]) go to the collector too. In a container, [`health`] asks the
//! process that runs there.

pub mod catalog;
pub mod cloudwatch;
pub mod health;
pub mod otlp;
pub mod recorder;
pub mod settings;
pub mod trace;
