//! The tables and views as diesel sees them: the columns that Rust reads or
//! writes by name. `migrations/` is what they are.

diesel::table! {
    users (id) {
        id -> Uuid,
        name -> Text,
        description -> Nullable<Text>,
        status -> Text,
        routing_strategy -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    live_users (id) {
        id -> Uuid,
        name -> Text,
        description -> Nullable<Text>,
        status -> Text,
        routing_strategy -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        monthly_budget_usd -> Nullable<Numeric>,
        active_access_keys -> BigInt,
        current_usage_usd -> Numeric,
        usage_percentage -> Nullable<Double>,
        is_exhausted -> Bool,
        last_seen_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    access_keys (id) {
        id -> Uuid,
        user_id -> Uuid,
        name -> Nullable<Text>,
        key_hash -> Bytea,
        key_prefix -> Text,
        status -> Text,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        rotation_expires_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        deleted_at -> Nullable<Timestamptz>,
        circuit_resets -> Integer,
        bedrock_region -> Nullable<Text>,
        model -> Nullable<Text>,
    }
}

diesel::table! {
    live_access_keys (id) {
        id -> Uuid,
        user_id -> Uuid,
        name -> Nullable<Text>,
        key_prefix -> Text,
        status -> Text,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        rotation_expires_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        bedrock_region -> Nullable<Text>,
        model -> Nullable<Text>,
        has_bedrock_key -> Bool,
        last_used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    bedrock_keys (id) {
        id -> Uuid,
        access_key_id -> Uuid,
        kind -> Text,
        region -> Text,
        sealed -> Bytea,
        sealed_for -> Uuid,
        registered_at -> Timestamptz,
        verified_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    model_mappings (id) {
        id -> Uuid,
        claude_model -> Text,
        bedrock_model -> Text,
        bedrock_api -> Nullable<Text>,
        description -> Nullable<Text>,
        is_active -> Bool,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    model_capabilities (id) {
        id -> Uuid,
        region -> Text,
        model -> Text,
        feature -> Text,
        source -> Text,
        learned_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    token_usage (event_id, started_at) {
        event_id -> Uuid,
        request_id -> Text,
        upstream_request_id -> Text,
        access_key_id -> Nullable<Uuid>,
        user_id -> Nullable<Uuid>,
        started_at -> Timestamptz,
        duration_ms -> BigInt,
        first_byte_ms -> Nullable<BigInt>,
        provider -> Nullable<Text>,
        is_fallback -> Bool,
        model -> Text,
        upstream_model -> Text,
        outcome -> Text,
        status -> Integer,
        is_streaming -> Bool,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        cache_read_tokens -> BigInt,
        cache_write_5m_tokens -> BigInt,
        cache_write_1h_tokens -> BigInt,
        session_id -> Text,
        agent_id -> Text,
        received_at -> Timestamptz,
        is_estimate -> Bool,
        bedrock_model -> Text,
        bedrock_region -> Text,
        pricing_model_id -> Text,
        priced -> Bool,
        estimated_cost_usd -> Numeric,
        bedrock_cost_usd -> Numeric,
    }
}

diesel::table! {
    prices (id) {
        id -> Uuid,
        provider -> Text,
        region -> Text,
        model_id -> Text,
        effective_date -> Date,
        input_price -> Numeric,
        output_price -> Numeric,
        cache_read_price -> Numeric,
        cache_write_5m_price -> Numeric,
        cache_write_1h_price -> Numeric,
        long_context_threshold -> Nullable<BigInt>,
        long_context_input_price -> Nullable<Numeric>,
        long_context_output_price -> Nullable<Numeric>,
        long_context_cache_read_price -> Nullable<Numeric>,
        long_context_cache_write_5m_price -> Nullable<Numeric>,
        long_context_cache_write_1h_price -> Nullable<Numeric>,
        source -> Text,
        revision -> BigInt,
    }
}

diesel::table! {
    budgets (id) {
        id -> Uuid,
        user_id -> Uuid,
        monthly_budget_usd -> Numeric,
        period_start -> Timestamptz,
        period_end -> Timestamptz,
        spent_usd -> Numeric,
        is_exhausted -> Bool,
        spent_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    budget_alerts (id) {
        id -> Uuid,
        user_id -> Uuid,
        period_start -> Timestamptz,
        monthly_budget_usd -> Numeric,
        threshold -> Integer,
        spent_usd -> Numeric,
        crossed_at -> Timestamptz,
        delivered_at -> Nullable<Timestamptz>,
        attempts -> Integer,
        next_attempt_at -> Timestamptz,
    }
}

diesel::table! {
    sync_head (only_row) {
        only_row -> Bool,
        epoch -> Uuid,
        revision -> BigInt,
        floor -> BigInt,
    }
}

diesel::table! {
    change_log (revision, kind, id) {
        revision -> BigInt,
        kind -> Text,
        id -> Uuid,
        at -> Timestamptz,
    }
}

diesel::table! {
    synced_resources (kind, id) {
        kind -> Text,
        kind_number -> Integer,
        id -> Uuid,
        revision -> BigInt,
        user_id -> Nullable<Uuid>,
        key_hash -> Nullable<Bytea>,
        expires_at -> Nullable<Timestamptz>,
        circuit_resets -> Nullable<Integer>,
        routing_strategy -> Nullable<Text>,
        access_key_id -> Nullable<Uuid>,
        region -> Nullable<Text>,
        sealed -> Nullable<Bytea>,
        sealed_for -> Nullable<Uuid>,
        claude_model -> Nullable<Text>,
        bedrock_model -> Nullable<Text>,
        bedrock_api -> Nullable<Text>,
        feature -> Nullable<Text>,
        provider -> Nullable<Text>,
        effective_from -> Nullable<Timestamptz>,
        rates -> Nullable<Array<BigInt>>,
        long_context_threshold -> Nullable<BigInt>,
        long_context_rates -> Nullable<Array<BigInt>>,
        limit_micro_usd -> Nullable<BigInt>,
        is_exhausted -> Nullable<Bool>,
        period_start -> Nullable<Timestamptz>,
        period_end -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    proxies (instance_id) {
        instance_id -> Uuid,
        version -> Text,
        started_at -> Nullable<Timestamptz>,
        address -> Text,
        applied_epoch -> Nullable<Uuid>,
        applied_revision -> Nullable<BigInt>,
        rejected -> Jsonb,
        usage_pending -> BigInt,
        usage_dropped -> BigInt,
        active_streams -> BigInt,
        reported_at -> Timestamptz,
    }
}

diesel::table! {
    circuits (instance_id, access_key_id) {
        instance_id -> Uuid,
        access_key_id -> Uuid,
        state -> Text,
        cause -> Text,
        opened_at -> Timestamptz,
        open_until -> Timestamptz,
    }
}

diesel::table! {
    ended_sessions (id) {
        id -> Uuid,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    audit_log (id) {
        id -> Uuid,
        at -> Timestamptz,
        actor -> Text,
        address -> Nullable<Text>,
        request_id -> Nullable<Uuid>,
        action -> Text,
        object_kind -> Text,
        object_id -> Nullable<Uuid>,
        object_name -> Text,
        user_id -> Nullable<Uuid>,
        before -> Nullable<Jsonb>,
        after -> Nullable<Jsonb>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(access_keys, bedrock_keys);
diesel::allow_tables_to_appear_in_same_query!(live_users, live_access_keys);
diesel::allow_tables_to_appear_in_same_query!(budget_alerts, users);
diesel::joinable!(budget_alerts -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(circuits, proxies);
diesel::joinable!(circuits -> proxies (instance_id));
