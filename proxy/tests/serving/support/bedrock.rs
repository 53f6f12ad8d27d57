//! A proxy whose user is answered by Bedrock alone.

use chrono::{DateTime, TimeDelta, Utc};
use proto::{
    bedrock_credential::BedrockCredential,
    line::timestamp,
    sealed::{LocalKey, Sealed, Wrapper},
    sync::{
        BedrockApi, BedrockKey, Budget, Kind, ModelCapability, ModelMapping, Price, Provider,
        Rates, Resource, RoutingStrategy, Spent, User, resource::Spec,
    },
};
use testkit::{
    anthropic,
    bedrock::{ACCESS_KEY_ID, API_KEY, SECRET_ACCESS_KEY, Simulator},
};

use super::{
    KEY_ID, Rig, USER,
    control::{self, access_key, name},
    key,
};

pub(crate) const LOCAL_KEY: &str = "the local key of the tests";
pub(crate) const REGION: &str = "ap-northeast-2";

/// What clients ask for, and what Bedrock is asked for then.
pub(crate) const CLAUDE: &str = "claude-opus-5-5";
pub(crate) const PROFILE: &str = "global.anthropic.claude-opus-5-5";

pub(crate) struct BedrockRig {
    pub(crate) rig: Rig,
    pub(crate) bedrock: Simulator,
}

impl BedrockRig {
    pub(crate) async fn start() -> Self {
        Self::with(
            &[],
            vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)],
        )
        .await
    }

    /// With a user who is answered by the plan first, and can be by Bedrock.
    pub(crate) async fn plan_first(settings: &[&str]) -> Self {
        let resources = vec![
            mapping(CLAUDE, PROFILE, None),
            bedrock_key(&api_key(), 1),
            control::user(1),
        ];
        Self::of(settings, resources).await
    }

    /// With these settings and these resources besides the access key.
    pub(crate) async fn plan_first_with(settings: &[&str], resources: Vec<Resource>) -> Self {
        Self::of(settings, resources).await
    }

    /// With these settings and these resources besides access key and a user who
    /// is answered by Bedrock only.
    pub(crate) async fn with(settings: &[&str], mut resources: Vec<Resource>) -> Self {
        resources.push(bedrock_user(1));
        Self::of(settings, resources).await
    }

    async fn of(settings: &[&str], resources: Vec<Resource>) -> Self {
        let bedrock = Simulator::start().await.unwrap();
        let url = bedrock.url();
        let usual = [
            "--bedrock-endpoint-url",
            &url,
            "--local-encryption-key",
            LOCAL_KEY,
        ];
        let settings: Vec<&str> = usual.iter().chain(settings).copied().collect();
        let anthropic = anthropic::Simulator::start().await.unwrap();
        let mut rig = Rig::unready(anthropic, &settings).await;
        let mut watch = rig.control.watched().await;
        let known = [access_key(KEY_ID, &key(), 1)];
        watch
            .snapshot(1, known.into_iter().chain(resources).collect())
            .await;
        rig.control.keep(watch);
        rig.control.applied(1).await;
        Self { rig, bedrock }
    }
}

/// An administrator resets the circuit for the so-many-th time.
pub(crate) async fn reset_circuit(rig: &mut Rig, times: u32) {
    let mut resource = access_key(KEY_ID, &key(), u64::from(times) + 1);
    if let Some(Spec::AccessKey(access_key)) = &mut resource.spec {
        access_key.circuit_resets = times;
    }
    let before = u64::from(times);
    let watch = rig.control.watch();
    watch
        .delta(before, before + 1, vec![resource], vec![])
        .await;
    rig.control.applied(before + 1).await;
}

pub(crate) fn api_key() -> BedrockCredential {
    BedrockCredential::ApiKey {
        bedrock_api_key: API_KEY.into(),
    }
}

pub(crate) fn key_pair() -> BedrockCredential {
    BedrockCredential::KeyPair {
        aws_access_key_id: ACCESS_KEY_ID.into(),
        aws_secret_access_key: SECRET_ACCESS_KEY.into(),
        aws_session_token: None,
    }
}

fn resource(kind: Kind, id: &str, version: u64, spec: Spec) -> Resource {
    Resource {
        name: Some(name(kind, id)),
        version,
        spec: Some(spec),
    }
}

pub(crate) fn bedrock_user(version: u64) -> Resource {
    let user = User {
        routing_strategy: RoutingStrategy::BedrockOnly.into(),
    };
    resource(Kind::User, USER, version, Spec::User(user))
}

pub(crate) fn bedrock_key(credential: &BedrockCredential, version: u64) -> Resource {
    bedrock_key_sealed_for(KEY_ID, credential, version)
}

/// As after a rotation: sealed for another access key than it belongs to.
pub(crate) fn bedrock_key_sealed_for(
    sealed_for: &str,
    credential: &BedrockCredential,
    version: u64,
) -> Resource {
    let (data_key, wrapped) = LocalKey::new(LOCAL_KEY).generate(sealed_for).unwrap();
    let secret = credential.to_bytes().unwrap();
    let sealed = Sealed::seal(&secret, sealed_for, &data_key, Wrapper::Local, wrapped).unwrap();
    let key = BedrockKey {
        access_key_id: KEY_ID.into(),
        region: REGION.into(),
        sealed: sealed.to_bytes(),
        sealed_for: sealed_for.into(),
    };
    let id = "018f0000-0000-7000-8000-0000000000b1";
    resource(Kind::BedrockKey, id, version, Spec::BedrockKey(key))
}

/// What [`PROFILE`] costs: 4 and 20 dollars for a million tokens.
pub(crate) fn price(version: u64) -> Resource {
    let price = Price {
        provider: Provider::Bedrock.into(),
        region: "global".into(),
        model_id: CLAUDE.into(),
        effective_from: None,
        rates: Some(Rates {
            input: 4_000_000,
            output: 20_000_000,
            cache_read: 400_000,
            cache_write_5m: 5_000_000,
            cache_write_1h: 8_000_000,
        }),
        long_context_threshold: 0,
        long_context_rates: None,
    };
    let id = "018f0000-0000-7000-8000-0000000000c1";
    resource(Kind::Price, id, version, Spec::Price(price))
}

/// When the month of [`budget`] began and ends.
pub(crate) fn month() -> (DateTime<Utc>, DateTime<Utc>) {
    let now = Utc::now();
    (now - TimeDelta::days(10), now + TimeDelta::days(20))
}

/// What the user may spend in the month.
pub(crate) fn budget(
    limit_micro_usd: u64,
    is_exhausted: bool,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    version: u64,
) -> Resource {
    let budget = Budget {
        user_id: USER.into(),
        limit_micro_usd,
        is_exhausted,
        period_start: Some(timestamp(start)),
        period_end: Some(timestamp(end)),
    };
    let id = "018f0000-0000-7000-8000-0000000000d1";
    resource(Kind::Budget, id, version, Spec::Budget(budget))
}

/// Control has counted so much.
pub(crate) fn spent(spent_micro_usd: u64, start: DateTime<Utc>) -> Spent {
    Spent {
        user_id: USER.into(),
        spent_micro_usd,
        period_start: Some(timestamp(start)),
    }
}

pub(crate) fn mapping(from: &str, to: &str, api: Option<BedrockApi>) -> Resource {
    let mapping = ModelMapping {
        claude_model: from.into(),
        bedrock_model: to.into(),
        bedrock_api: api.unwrap_or_default().into(),
    };
    resource(Kind::ModelMapping, from, 1, Spec::ModelMapping(mapping))
}

pub(crate) fn refused(feature: &str) -> Resource {
    let capability = ModelCapability {
        region: "*".into(),
        model: "*".into(),
        feature: feature.into(),
    };
    resource(
        Kind::ModelCapability,
        feature,
        1,
        Spec::ModelCapability(capability),
    )
}
