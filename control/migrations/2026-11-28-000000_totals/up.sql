-- One index in place of two: as unique, and the newest first. Before the other tables,
-- because ingest comes to them in this order.
alter table token_usage
    drop constraint token_usage_pkey,
    add primary key (started_at, event_id);
drop index token_usage_newest;

-- Sums of all users' usage, kept like `usage_aggregates` in the transaction that adds
-- the rows: a report over everybody reads some thousands of them, however many users
-- there are. Filled when the triggers are replaced.
create table usage_totals (
    bucket_type               text          not null check (bucket_type in ('minute', 'hour', 'day')),
    -- In the time zone of `usage_aggregation`.
    bucket_start              timestamptz   not null,
    provider                  text          not null,
    model_id                  text          not null,
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
    bedrock_cost_usd          numeric(20,6) not null,
    primary key (bucket_type, bucket_start, provider, model_id)
)
-- As there.
with (fillfactor = 30);

-- A report of one access key.
create index usage_aggregates_of_access_key on usage_aggregates
    (access_key_id, bucket_type, bucket_start);
