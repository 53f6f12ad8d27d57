//! The data plane: answers Claude Code from the Anthropic API, counting every
//! token.
//!
//! # The life of a request
//!
//! [`ingress`] accepts a connection. [`request::handle`] leads a request through
//! its phases: [`endpoint`] tells what is asked, [`authenticate`] by whom,
//! [`request::body`] receives the body, [`request::inspect`] looks at it.
//! [`request::waiting`] keeps the client company while [`failover`] finds
//! somebody who answers: [`route`] decides who, in which order and with whose
//! credential, [`ask`] and [`upstream`] ask. [`relay`] hands the answer on as it comes while its tap looks; [`usage`]
//! counts, and keeps the event until control has it. [`refusal`] answers what
//! fails on the way.
//!
//! A request touches memory and the upstream, nothing else. What it is answered
//! from, the [`index`], and where its usage goes, the outbox, are kept in step
//! with control by [`sync`], on a thread of its own.

pub mod ingress;

pub mod request;

pub mod authenticate;
pub mod endpoint;

pub mod ask;
pub mod budget;
pub mod failover;
pub mod me;
pub mod models;
pub mod route;

pub mod relay;
pub mod upstream;

pub mod usage;

pub mod error;
pub mod refusal;

pub mod index;
pub mod sync;

pub mod app;
pub mod ops;
pub mod settings;
pub mod signal;
pub mod tasks;
pub mod telemetry;
