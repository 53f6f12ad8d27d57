//! What the audit log says of each thing that administrators own. Here can be
//! looked up that no secret is among it, nor what is made of one.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    money::Usd,
    store::{
        access_keys::AccessKey,
        audit_log::{AuditAction, AuditObjectKind, NewAuditEntry},
        bedrock_keys::BedrockKey,
        model_capabilities::ModelCapability,
        model_mappings::ModelMapping,
        users::User,
    },
};

/// What happens without anybody asking for it.
pub const SYSTEM: &str = "system";

/// What was done to what.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub action: AuditAction,
    pub object: Object,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// What something was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub kind: AuditObjectKind,
    pub id: Option<Uuid>,
    pub name: String,
    pub user_id: Option<Uuid>,
}

impl Entry {
    /// Something is there that was not.
    pub fn made(action: AuditAction, object: Object, after: Value) -> Self {
        Self::of(action, object, None, Some(after))
    }

    pub fn changed(action: AuditAction, object: Object, before: Value, after: Value) -> Self {
        Self::of(action, object, Some(before), Some(after))
    }

    /// Something is no longer there.
    pub fn ended(action: AuditAction, object: Object, before: Value) -> Self {
        Self::of(action, object, Some(before), None)
    }

    /// Something was done that shows in nothing of ours.
    pub fn done(action: AuditAction, object: Object) -> Self {
        Self::of(action, object, None, None)
    }

    fn of(
        action: AuditAction,
        object: Object,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Self {
        Self {
            action,
            object,
            before,
            after,
        }
    }

    /// What was asked for was so before.
    pub fn is_void(&self) -> bool {
        self.before.is_some() && self.before == self.after
    }
}

impl<'a> NewAuditEntry<'a> {
    /// What happened by itself, unless an actor is named.
    pub fn of(entry: &'a Entry) -> Self {
        Self {
            id: Uuid::now_v7(),
            actor: SYSTEM,
            address: None,
            request_id: None,
            action: entry.action,
            object_kind: entry.object.kind,
            object_id: entry.object.id,
            object_name: &entry.object.name,
            user_id: entry.object.user_id,
            before: entry.before.as_ref(),
            after: entry.after.as_ref(),
        }
    }
}

impl Object {
    pub fn user(user: &User) -> Self {
        Self {
            kind: AuditObjectKind::User,
            id: Some(user.id),
            name: user.name.clone(),
            user_id: Some(user.id),
        }
    }

    pub fn budget(user: &User) -> Self {
        Self {
            kind: AuditObjectKind::Budget,
            ..Self::user(user)
        }
    }

    pub fn access_key(key: &AccessKey) -> Self {
        Self {
            kind: AuditObjectKind::AccessKey,
            id: Some(key.id),
            name: key.key_prefix.clone(),
            user_id: Some(key.user_id),
        }
    }

    pub fn bedrock_key(of: &AccessKey) -> Self {
        Self {
            kind: AuditObjectKind::BedrockKey,
            ..Self::access_key(of)
        }
    }

    pub fn circuit(of: &AccessKey) -> Self {
        Self {
            kind: AuditObjectKind::Circuit,
            ..Self::access_key(of)
        }
    }

    pub fn model_mapping(mapping: &ModelMapping) -> Self {
        Self {
            kind: AuditObjectKind::ModelMapping,
            id: Some(mapping.id),
            name: mapping.claude_model.clone(),
            user_id: None,
        }
    }

    pub fn model_capability(capability: &ModelCapability) -> Self {
        Self {
            kind: AuditObjectKind::ModelCapability,
            id: Some(capability.id),
            name: capability.feature.clone(),
            user_id: None,
        }
    }

    /// Something that has no row of its own.
    pub fn named(kind: AuditObjectKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            id: None,
            name: name.into(),
            user_id: None,
        }
    }
}

pub fn user(user: &User) -> Value {
    json!({
        "name": user.name,
        "description": user.description,
        "status": user.status,
        "routing_strategy": user.routing_strategy,
        "active_access_keys": user.active_access_keys,
    })
}

/// The same with how many of the user's access keys have a credential for Bedrock.
pub fn user_with(of: &User, bedrock_keys: i64) -> Value {
    let mut value = user(of);
    if let Some(members) = value.as_object_mut() {
        members.insert("bedrock_keys".to_owned(), bedrock_keys.into());
    }
    value
}

pub fn budget(monthly_budget_usd: Option<Usd>) -> Value {
    json!({ "monthly_budget_usd": monthly_budget_usd })
}

pub fn access_key(key: &AccessKey) -> Value {
    json!({
        "name": key.name,
        "key_prefix": key.key_prefix,
        "status": key.status,
        "expires_at": key.expires_at,
        "rotation_expires_at": key.rotation_expires_at,
        "bedrock_region": key.bedrock_region,
        "model": key.model,
        "has_bedrock_key": key.has_bedrock_key,
    })
}

pub fn bedrock_key(key: &BedrockKey) -> Value {
    json!({
        "kind": key.kind,
        "region": key.region,
        "registered_at": key.registered_at,
        "verified_at": key.verified_at,
    })
}

pub fn model_mapping(mapping: &ModelMapping) -> Value {
    json!({
        "claude_model": mapping.claude_model,
        "bedrock_model": mapping.bedrock_model,
        "bedrock_api": mapping.bedrock_api,
        "description": mapping.description,
        "is_active": mapping.is_active,
    })
}

pub fn model_capability(capability: &ModelCapability) -> Value {
    json!({
        "region": capability.region,
        "model": capability.model,
        "feature": capability.feature,
        "source": capability.source,
    })
}
