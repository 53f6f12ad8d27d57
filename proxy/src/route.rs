//! Where to, and with whose credential? Decided from values alone; only
//! [`circuits`] remembers something from one request to the next.

pub mod circuit;
pub mod circuits;
pub mod fallback;

use std::fmt;

use http::{HeaderMap, HeaderValue, header};
use memchr::memmem;
use proto::{
    access_key,
    sync::{Provider, RoutingStrategy},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{authenticate::bearer, index::User};
use circuit::Admission;

/// Credentials of the Anthropic API begin with this; a dummy that a client was
/// made to send does not.
const ANTHROPIC_PREFIX: &str = "sk-ant-";

/// OAuth tokens of a developer's login go into `authorization`, never into
/// `x-api-key`.
const OAUTH_PREFIX: &str = "sk-ant-oat";

/// Who is asked, in this order, until somebody answers.
///
/// Without a credential for Bedrock the plan is all there is, whatever its
/// circuit says. While the circuit is open the plan is the last resort: it may
/// answer again, and if not, its refusal is the truth.
pub fn candidates(
    strategy: RoutingStrategy,
    has_bedrock: bool,
    admission: Admission,
) -> &'static [Provider] {
    match (strategy, has_bedrock, admission) {
        (RoutingStrategy::BedrockOnly, ..) => &[Provider::Bedrock],
        (_, false, _) => &[Provider::Plan],
        (_, true, Admission::Blocked) => &[Provider::Bedrock, Provider::Plan],
        (_, true, Admission::Pass | Admission::Probe) => &[Provider::Plan, Provider::Bedrock],
    }
}

/// What a user's strategy puts first.
pub fn preferred(strategy: RoutingStrategy) -> Provider {
    match strategy {
        RoutingStrategy::BedrockOnly => Provider::Bedrock,
        RoutingStrategy::PlanFirst | RoutingStrategy::Unspecified => Provider::Plan,
    }
}

/// How a user is routed; one that is unknown by now like most.
pub fn strategy(user: Option<User>) -> RoutingStrategy {
    user.map_or(RoutingStrategy::PlanFirst, |it| it.routing_strategy)
}

/// The strategy's name in JSON and Postgres.
pub fn strategy_name(strategy: RoutingStrategy) -> &'static str {
    match strategy {
        RoutingStrategy::BedrockOnly => "bedrock_only",
        RoutingStrategy::PlanFirst | RoutingStrategy::Unspecified => "plan_first",
    }
}

/// With whose credential the plan is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The client's, passed through.
    Client,
    /// The company's (`PROXY_PLAN_API_KEY`).
    Operator,
}

/// The company's own key, ready to be sent. It cannot be printed.
#[derive(Clone)]
pub struct OperatorKey {
    name: header::HeaderName,
    value: HeaderValue,
}

impl OperatorKey {
    /// # Errors
    ///
    /// The key has characters that no header may have.
    pub fn new(key: &SecretString) -> Result<Self, header::InvalidHeaderValue> {
        let key = key.expose_secret();
        let is_oauth = key.starts_with(OAUTH_PREFIX);
        let (name, text) = if is_oauth {
            (header::AUTHORIZATION, format!("Bearer {key}"))
        } else {
            (header::HeaderName::from_static("x-api-key"), key.to_owned())
        };
        let mut value = HeaderValue::from_str(&text)?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey")
    }
}

/// What one credential header carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presented {
    /// A key of ours: never leaves.
    AccessKey,
    /// A credential of Anthropic's: the client's own.
    Anthropic,
    /// Anything else; clients are often made to send a dummy.
    Other,
}

/// Leaves in `headers` exactly the credential that goes to the Anthropic API:
/// the client's when it is Anthropic's, else the company's, else whatever the
/// client sent.
pub fn settle_credential(headers: &mut HeaderMap, operator: Option<&OperatorKey>) -> Owner {
    if has_own(headers) {
        retain(headers, |presented| presented == Presented::Anthropic);
        return Owner::Client;
    }
    if let Some(OperatorKey { name, value }) = operator {
        retain(headers, |_| false);
        headers.insert(name.clone(), value.clone());
        return Owner::Operator;
    }
    retain(headers, |presented| presented != Presented::AccessKey);
    Owner::Client
}

const CREDENTIALS: [&str; 2] = ["authorization", "x-api-key"];

fn has_own(headers: &HeaderMap) -> bool {
    CREDENTIALS
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .any(|value| presented(value) == Presented::Anthropic)
}

fn retain(headers: &mut HeaderMap, wanted: impl Fn(Presented) -> bool) {
    for name in CREDENTIALS {
        if headers.get_all(name).iter().all(|it| wanted(presented(it))) {
            continue;
        }
        let kept: Vec<HeaderValue> = headers
            .get_all(name)
            .iter()
            .filter(|value| wanted(presented(value)))
            .cloned()
            .collect();
        headers.remove(name);
        for value in kept {
            headers.append(name, value);
        }
    }
}

fn presented(value: &HeaderValue) -> Presented {
    // Whatever a client puts around it, a key of ours must not leave.
    if memmem::find(value.as_bytes(), access_key::PREFIX.as_bytes()).is_some() {
        return Presented::AccessKey;
    }
    let text = bearer(value).or(value.to_str().ok()).unwrap_or_default();
    if text.trim().starts_with(ANTHROPIC_PREFIX) {
        Presented::Anthropic
    } else {
        Presented::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategy_credential_and_circuit_decide_who_is_asked() {
        use Admission::{Blocked, Pass, Probe};
        use Provider::{Bedrock, Plan};
        use RoutingStrategy::{BedrockOnly, PlanFirst, Unspecified};
        for (strategy, has_bedrock, admission, expected) in [
            (PlanFirst, true, Pass, &[Plan, Bedrock][..]),
            (PlanFirst, true, Probe, &[Plan, Bedrock]),
            (PlanFirst, true, Blocked, &[Bedrock, Plan]),
            (Unspecified, true, Pass, &[Plan, Bedrock]),
            (PlanFirst, false, Pass, &[Plan]),
            (PlanFirst, false, Probe, &[Plan]),
            (PlanFirst, false, Blocked, &[Plan]),
            (BedrockOnly, true, Pass, &[Bedrock]),
            (BedrockOnly, true, Blocked, &[Bedrock]),
            (BedrockOnly, false, Pass, &[Bedrock]),
        ] {
            let found = candidates(strategy, has_bedrock, admission);
            assert_eq!(found, expected, "{strategy:?} {has_bedrock} {admission:?}");
        }
    }

    const OWN: &str = "sk-ant-api03-own";
    const COMPANY: &str = "sk-ant-api03-company";

    fn check(
        sent: &[(&'static str, &str)],
        operator: Option<&str>,
        expected: &[(&str, &str)],
        owner: Owner,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        let operator = operator.map(|key| OperatorKey::new(&key.to_owned().into()).unwrap());
        let settled = settle_credential(&mut headers, operator.as_ref());
        let mut left: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        assert_eq!((left.as_slice(), settled), (expected, owner), "{sent:?}");
    }

    #[test]
    fn the_clients_own_credential_wins() {
        let login = "Bearer sk-ant-oat01-login";
        for operator in [None, Some(COMPANY)] {
            check(
                &[("authorization", login)],
                operator,
                &[("authorization", login)],
                Owner::Client,
            );
            check(
                &[("x-api-key", OWN)],
                operator,
                &[("x-api-key", OWN)],
                Owner::Client,
            );
            // Newer SDKs send an API key as a bearer token.
            let bearer = "Bearer sk-ant-api03-own";
            check(
                &[("authorization", bearer)],
                operator,
                &[("authorization", bearer)],
                Owner::Client,
            );
            // A dummy beside it would hide it.
            check(
                &[("authorization", login), ("x-api-key", "dummy")],
                operator,
                &[("authorization", login)],
                Owner::Client,
            );
            check(
                &[("authorization", "Bearer ak_key"), ("x-api-key", OWN)],
                operator,
                &[("x-api-key", OWN)],
                Owner::Client,
            );
        }
    }

    #[test]
    fn the_companys_key_stands_in_for_dummies_and_access_keys() {
        for sent in [
            &[][..],
            &[("x-api-key", "dummy")],
            &[("authorization", "Bearer dummy")],
            &[("authorization", "Bearer ak_key"), ("x-api-key", "ak_key")],
        ] {
            check(
                sent,
                Some(COMPANY),
                &[("x-api-key", COMPANY)],
                Owner::Operator,
            );
        }
        check(
            &[("x-api-key", "dummy")],
            Some("sk-ant-oat01-company"),
            &[("authorization", "Bearer sk-ant-oat01-company")],
            Owner::Operator,
        );
    }

    #[test]
    fn without_a_company_key_a_dummy_passes_but_an_access_key_never() {
        check(
            &[("x-api-key", "dummy")],
            None,
            &[("x-api-key", "dummy")],
            Owner::Client,
        );
        check(
            &[
                ("authorization", "Bearer ak_key"),
                ("x-api-key", "key=\"ak_key\""),
                ("x-api-key", "dummy"),
            ],
            None,
            &[("x-api-key", "dummy")],
            Owner::Client,
        );
    }

    #[test]
    fn the_companys_key_cannot_be_printed() {
        let key = OperatorKey::new(&COMPANY.to_owned().into()).unwrap();
        assert!(!format!("{key:?} {:?}", key.value).contains(COMPANY));
    }
}
