-- Where the history of the configuration stands. One row.
create table sync_head (
    only_row bool   primary key default true check (only_row),
    epoch    uuid   not null default gen_random_uuid(),
    revision bigint not null default 0,
    -- Changes up to here were compacted away.
    floor    bigint not null default 0 check (floor <= revision)
);

insert into sync_head default values;

-- What each transaction has changed; the values are read from the tables.
create table change_log (
    revision bigint      not null,
    kind     text        not null,
    id       uuid        not null,
    at       timestamptz not null default clock_timestamp(),
    primary key (revision, kind, id)
);

create index change_log_at on change_log (at);

create table users (
    id          uuid         primary key,
    name        varchar(255) not null check (name <> ''),
    description text,
    status      text         not null default 'active'
                             check (status in ('active', 'inactive', 'deleted')),
    created_at  timestamptz  not null default now(),
    updated_at  timestamptz  not null default now(),
    deleted_at  timestamptz,
    -- Set by the trigger: the revision at which proxies last saw a change.
    revision    bigint       not null default 0,
    check ((status = 'deleted') = (deleted_at is not null))
);

create index users_newest on users (created_at desc, id desc) where deleted_at is null;

create table access_keys (
    id                  uuid        primary key,
    user_id             uuid        not null references users on delete cascade,
    name                varchar(255),
    key_hash            bytea       not null unique check (octet_length(key_hash) = 32),
    key_prefix          varchar(12) not null,
    status              text        not null default 'active'
                                    check (status in ('active', 'rotating', 'revoked')),
    created_at          timestamptz not null default now(),
    expires_at          timestamptz,
    rotation_expires_at timestamptz,
    revoked_at          timestamptz,
    deleted_at          timestamptz,
    revision            bigint      not null default 0,
    check ((status = 'revoked') = (revoked_at is not null)),
    check (status <> 'rotating' or rotation_expires_at is not null)
);

create index access_keys_of_user on access_keys (user_id, created_at desc);
create index access_keys_expiring on access_keys (least(expires_at, rotation_expires_at))
    where status <> 'revoked';

-- One row per request. Model names and ids come from outside and have no limit
-- here, because no row may be lost for its length.
create table token_usage (
    event_id              uuid        not null,
    request_id            text        not null,
    upstream_request_id   text        not null,
    access_key_id         uuid        references access_keys on delete set null,
    user_id               uuid,
    started_at            timestamptz not null,
    duration_ms           bigint      not null,
    first_byte_ms         bigint,
    -- Null: no upstream was asked.
    provider              text        check (provider in ('plan', 'bedrock')),
    is_fallback           bool        not null,
    model                 text        not null,
    upstream_model        text        not null,
    -- Not constrained: a proxy may be newer than this table.
    outcome               text        not null,
    status                integer     not null,
    is_streaming          bool        not null,
    input_tokens          bigint      not null,
    output_tokens         bigint      not null,
    cache_read_tokens     bigint      not null,
    cache_write_5m_tokens bigint      not null,
    cache_write_1h_tokens bigint      not null,
    session_id            text        not null,
    agent_id              text        not null,
    received_at           timestamptz not null default now(),
    primary key (event_id, started_at)
) partition by range (started_at);

create index token_usage_newest on token_usage (started_at, event_id);
create index token_usage_of_user on token_usage (user_id, started_at);
create index token_usage_of_access_key on token_usage (access_key_id, started_at);

-- The net under the monthly partitions: no event is lost because its month has
-- no partition yet.
create table token_usage_default partition of token_usage default;

-- What each proxy process reported last.
create table proxies (
    instance_id      uuid        primary key,
    version          text        not null,
    started_at       timestamptz,
    -- Where the report came from.
    address          text        not null,
    -- Null: it has applied nothing yet.
    applied_epoch    uuid,
    applied_revision bigint,
    rejected         jsonb       not null,
    usage_pending    bigint      not null,
    usage_dropped    bigint      not null,
    active_streams   bigint      not null,
    reported_at      timestamptz not null
);
