alter table users add column routing_strategy text not null default 'plan_first'
    check (routing_strategy in ('plan_first', 'bedrock_only'));

-- With what an access key reaches Bedrock. The secret is there only sealed, as
-- `proto::sealed` says.
create table bedrock_keys (
    id            uuid        primary key,
    access_key_id uuid        not null unique references access_keys on delete cascade,
    kind          text        not null check (kind in ('api_key', 'key_pair')),
    -- It becomes part of a host name.
    region        varchar(32) not null check (region ~ '^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$'),
    sealed        bytea       not null check (octet_length(sealed) between 1 and 65536),
    -- The access key that sealing has bound it to. After a rotation an older
    -- one, which may be gone: hence no reference.
    sealed_for    uuid        not null,
    registered_at timestamptz not null default now(),
    revision      bigint      not null default 0
);

-- When a credential was used last.
create index token_usage_of_bedrock on token_usage (access_key_id, started_at)
    where provider = 'bedrock';

-- Which Bedrock model answers for a model that clients ask for.
create table model_mappings (
    id            uuid          primary key default gen_random_uuid(),
    claude_model  varchar(256)  not null unique check (claude_model ~ '^[!-~]+$'),
    -- An ARN may be this long.
    bedrock_model varchar(2048) not null check (bedrock_model ~ '^[!-~]+$'),
    -- Null: as the proxies are set.
    bedrock_api   text          check (bedrock_api in ('invoke', 'messages', 'converse')),
    description   text,
    is_active     bool          not null default true,
    created_at    timestamptz   not null default now(),
    updated_at    timestamptz   not null default now(),
    revision      bigint        not null default 0
);

-- What Bedrock refuses, so that proxies leave it out beforehand.
create table model_capabilities (
    id         uuid          primary key default gen_random_uuid(),
    -- `*` is every region, and every model.
    region     varchar(32)   not null check (region <> ''),
    model      varchar(2048) not null check (model <> ''),
    feature    varchar(256)  not null check (feature ~ '^(beta|field):[!-~]+$'),
    source     text          not null check (source in ('seed', 'learned')),
    learned_at timestamptz   not null default now(),
    expires_at timestamptz,
    revision   bigint        not null default 0,
    unique (region, model, feature),
    check ((source = 'learned') = (expires_at is not null))
);

create index model_capabilities_expiring on model_capabilities (expires_at)
    where expires_at is not null;

-- The models of today. Global inference profiles answer from every commercial
-- region; Opus 4.1 has none, only one for the United States.
insert into model_mappings (claude_model, bedrock_model, description)
select claude_model, bedrock_model, 'built in'
from (values
    ('claude-opus-5-5', 'global.anthropic.claude-opus-5-5'),
    ('claude-sonnet-5-5', 'global.anthropic.claude-sonnet-5-5'),
    ('claude-haiku-5-5', 'global.anthropic.claude-haiku-5-5'),
    ('claude-opus-4-7', 'global.anthropic.claude-opus-4-7'),
    ('claude-opus-4-6', 'global.anthropic.claude-opus-4-6-v1'),
    ('claude-sonnet-4-6', 'global.anthropic.claude-sonnet-4-6'),
    ('claude-opus-4-5', 'global.anthropic.claude-opus-4-5-20251101-v1:0'),
    ('claude-opus-4-5-20251101', 'global.anthropic.claude-opus-4-5-20251101-v1:0'),
    ('claude-sonnet-4-5', 'global.anthropic.claude-sonnet-4-5-20250929-v1:0'),
    ('claude-sonnet-4-5-20250929', 'global.anthropic.claude-sonnet-4-5-20250929-v1:0'),
    ('claude-haiku-4-5', 'global.anthropic.claude-haiku-4-5-20251001-v1:0'),
    ('claude-haiku-4-5-20251001', 'global.anthropic.claude-haiku-4-5-20251001-v1:0'),
    ('claude-opus-4-1', 'us.anthropic.claude-opus-4-1-20250805-v1:0'),
    ('claude-opus-4-1-20250805', 'us.anthropic.claude-opus-4-1-20250805-v1:0')
) as built_in (claude_model, bedrock_model);

-- What is known to be refused everywhere; the rest is learned.
insert into model_capabilities (region, model, feature, source)
select '*', '*', feature, 'seed'
from unnest(array[
    'beta:prompt-caching-2024-07-31',
    'beta:extended-cache-ttl-2025-04-11',
    'beta:files-api-2025-04-14',
    'beta:code-execution-2025-05-22',
    'beta:memory-2025-08-18',
    'beta:thinking-token-count-2026-05-13',
    'beta:prompt-caching-scope-2026-01-05',
    'beta:fast-mode-2026-02-01',
    'beta:redact-thinking-2026-02-12',
    'beta:per-turn-control-2026-07-01',
    'field:messages.output_config',
    'field:cache_control.scope',
    'field:service_tier',
    'field:container',
    'field:inference_geo',
    'field:mcp_servers'
]) as feature;

-- These rows came without a revision, because the triggers are made after the
-- tables. A new history makes every proxy begin with all of them.
update sync_head set epoch = gen_random_uuid();
