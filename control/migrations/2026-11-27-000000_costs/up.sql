-- What tokens cost, in USD for a million of them. Written at start and at reload
-- from the built-in list and the operator's own.
create table prices (
    id                               uuid          primary key default gen_random_uuid(),
    provider                         text          not null check (provider in ('plan', 'bedrock')),
    -- `global`, `regional`, or an AWS region.
    region                           varchar(32)   not null check (region <> ''),
    -- As `proto::price::model_id` writes it.
    model_id                         varchar(256)  not null check (model_id <> ''),
    -- In force from the beginning of this day, UTC.
    effective_date                   date          not null,
    input_price                      numeric(12,6) not null check (input_price >= 0),
    output_price                     numeric(12,6) not null check (output_price >= 0),
    cache_read_price                 numeric(12,6) not null check (cache_read_price >= 0),
    cache_write_5m_price             numeric(12,6) not null check (cache_write_5m_price >= 0),
    cache_write_1h_price             numeric(12,6) not null check (cache_write_1h_price >= 0),
    -- Prompts of more tokens than this are charged the prices below.
    long_context_threshold           bigint        check (long_context_threshold > 0),
    long_context_input_price         numeric(12,6) check (long_context_input_price >= 0),
    long_context_output_price        numeric(12,6) check (long_context_output_price >= 0),
    long_context_cache_read_price    numeric(12,6) check (long_context_cache_read_price >= 0),
    long_context_cache_write_5m_price numeric(12,6) check (long_context_cache_write_5m_price >= 0),
    long_context_cache_write_1h_price numeric(12,6) check (long_context_cache_write_1h_price >= 0),
    source                           text          not null check (source in ('built_in', 'operator')),
    revision                         bigint        not null default 0,
    unique (provider, region, model_id, effective_date),
    check (num_nulls(
        long_context_threshold, long_context_input_price, long_context_output_price,
        long_context_cache_read_price, long_context_cache_write_5m_price,
        long_context_cache_write_1h_price
    ) in (0, 6))
);

-- What a request cost, and by which price: the price list may change, this does
-- not. The defaults are for replicas of an older version, which do not price.
alter table token_usage
    -- What Bedrock was asked for, and where.
    add column bedrock_model         text          not null default '',
    add column bedrock_region        text          not null default '',
    -- The model under which it is priced and summed up; empty when nobody named
    -- one.
    add column pricing_model_id      text          not null default '',
    -- False: tokens were used, and there was no price for them.
    add column priced                bool          not null default false,
    add column estimated_cost_usd    numeric(18,6) not null default 0,
    add column input_cost_usd        numeric(18,6) not null default 0,
    add column output_cost_usd       numeric(18,6) not null default 0,
    add column cache_read_cost_usd   numeric(18,6) not null default 0,
    add column cache_write_cost_usd  numeric(18,6) not null default 0,
    -- What the same tokens cost on Bedrock, whoever answered.
    add column bedrock_cost_usd      numeric(18,6) not null default 0,
    -- The price; null when there was none.
    add column pricing_region        text,
    add column pricing_effective_date date,
    add column pricing_input_price          numeric(12,6),
    add column pricing_output_price         numeric(12,6),
    add column pricing_cache_read_price     numeric(12,6),
    add column pricing_cache_write_5m_price numeric(12,6),
    add column pricing_cache_write_1h_price numeric(12,6);

-- Sums of `token_usage`, kept in the transaction that adds the rows. Weeks and
-- months are sums of days.
create table usage_aggregates (
    bucket_type               text        not null check (bucket_type in ('minute', 'hour', 'day')),
    -- In the time zone of `usage_aggregation`.
    bucket_start              timestamptz not null,
    -- No references: what was used stays, whoever goes.
    user_id                   uuid,
    access_key_id             uuid,
    provider                  text        not null,
    model_id                  text        not null,
    requests                  bigint        not null,
    fallback_requests         bigint        not null,
    complete_requests         bigint        not null,
    client_cancelled_requests bigint        not null,
    upstream_failed_requests  bigint        not null,
    refused_requests          bigint        not null,
    terminated_requests       bigint        not null,
    estimate_requests         bigint        not null,
    unpriced_requests         bigint        not null,
    input_tokens              bigint        not null,
    output_tokens             bigint        not null,
    cache_read_tokens         bigint        not null,
    cache_write_5m_tokens     bigint        not null,
    cache_write_1h_tokens     bigint        not null,
    estimated_cost_usd        numeric(20,6) not null,
    input_cost_usd            numeric(20,6) not null,
    output_cost_usd           numeric(20,6) not null,
    cache_read_cost_usd       numeric(20,6) not null,
    cache_write_cost_usd      numeric(20,6) not null,
    bedrock_cost_usd          numeric(20,6) not null
)
-- A bucket is updated again and again: with room for the next version beside it no
-- index has to be touched, and ingest takes half as many events again.
with (fillfactor = 30);

create unique index usage_aggregates_bucket on usage_aggregates
    (bucket_type, bucket_start, user_id, access_key_id, provider, model_id) nulls not distinct;
create index usage_aggregates_of_user on usage_aggregates (user_id, bucket_type, bucket_start);

-- How the aggregates were made. No row: they never were.
create table usage_aggregation (
    only_row  bool primary key default true check (only_row),
    -- An IANA name.
    timezone  text not null,
    -- Rows before that were dropped; their buckets cannot be made again.
    rows_from timestamptz
);

-- What a user may spend on Bedrock in a calendar month. No row: no limit.
create table budgets (
    id                 uuid          primary key default gen_random_uuid(),
    user_id            uuid          not null unique references users on delete cascade,
    monthly_budget_usd numeric(8,2)  not null check (monthly_budget_usd > 0),
    -- The month for which the rest was decided.
    period_start       timestamptz   not null,
    period_end         timestamptz   not null,
    spent_usd          numeric(20,6) not null default 0,
    is_exhausted       bool          not null default false,
    -- When what is spent changed last.
    spent_at           timestamptz   not null default clock_timestamp(),
    updated_at         timestamptz   not null default now(),
    revision           bigint        not null default 0,
    check (period_start < period_end)
);

create index budgets_spent on budgets (spent_at);
create index budgets_ending on budgets (period_end);

-- A part of a budget was used up. Each once for a month and an amount.
create table budget_alerts (
    id                 uuid          primary key default gen_random_uuid(),
    user_id            uuid          not null references users on delete cascade,
    period_start       timestamptz   not null,
    monthly_budget_usd numeric(8,2)  not null,
    -- Per cent.
    threshold          integer       not null,
    spent_usd          numeric(20,6) not null,
    crossed_at         timestamptz   not null default clock_timestamp(),
    -- Null: not yet, or there is nobody to tell.
    delivered_at       timestamptz,
    attempts           integer       not null default 0,
    next_attempt_at    timestamptz   not null default now(),
    unique (user_id, period_start, monthly_budget_usd, threshold)
);

create index budget_alerts_waiting on budget_alerts (next_attempt_at) where delivered_at is null;
create index budget_alerts_newest on budget_alerts (crossed_at desc, id desc);
