-- The rows from number `$1` to number `$2`, in the order of time. All that is drawn is
-- drawn from the number and the seed.
insert into token_usage (
    event_id, request_id, upstream_request_id, access_key_id, user_id, started_at,
    duration_ms, first_byte_ms, provider, is_fallback, model, upstream_model, outcome,
    status, is_streaming, input_tokens, output_tokens, cache_read_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, is_estimate, session_id, agent_id,
    received_at, bedrock_model, bedrock_region, pricing_model_id, priced,
    estimated_cost_usd, input_cost_usd, output_cost_usd, cache_read_cost_usd,
    cache_write_cost_usd, bedrock_cost_usd, pricing_region, pricing_effective_date,
    pricing_input_price, pricing_output_price, pricing_cache_read_price,
    pricing_cache_write_5m_price, pricing_cache_write_1h_price
)
with drawn as (
    select
        n, seed,
        place, whose, what, who, how, much, more
    from wanted
    cross join generate_series($1::bigint, $2::bigint) as n
    cross join lateral (
        select hashint8extended(n, seed) as one, hashint8extended(n, seed + 1) as other
    ) as bits
    -- From 0 to less than 1, but for the place, which is a number of `moments`.
    cross join lateral (
        select
            (n - 1) / rows::float8 * (select count(*) from moments) as place,
            (one & 1048575) / 1048576::float8 as whose,
            (one >> 20 & 1048575) / 1048576::float8 as what,
            (one >> 40 & 1048575) / 1048576::float8 as who,
            (other & 1048575) / 1048576::float8 as how,
            (other >> 20 & 1048575) / 1048576::float8 as much,
            (other >> 40 & 1048575) / 1048576::float8 as more
    ) as draw
), answered as (
    select
        n, seed, how, access_key_id, user_id,
        start + (place - floor(place)) * width as started_at,
        case when is_bedrock_only or who < 0.1 then 'bedrock' else 'plan' end as provider,
        not is_bedrock_only and who < 0.1 as is_fallback,
        -- Everybody has a favourite.
        case
            when what < 0.55 then keys.number % 2
            when what < 0.7 then 1 - keys.number % 2
            when what < 0.999 then 2
            else 3
        end as model_number,
        (much * 400)::bigint + 3 as input_tokens,
        (much * much * 3000)::bigint + 1 as output_tokens,
        (more * 150000)::bigint as cache_read_tokens,
        case when much < 0.8 then (more * more * 8000)::bigint else 0 end as cache_write_5m_tokens,
        case when much < 0.8 then 0 else (more * more * 8000)::bigint end as cache_write_1h_tokens
    from drawn
    join moments on moments.number = floor(place)::bigint
    join keys on keys.number = floor(whose * whose * (select count(*) from keys))::int
), charged as (
    select
        answered.*, models.*, region, effective_date, input_price, output_price,
        cache_read_price, cache_write_5m_price, cache_write_1h_price,
        input_cost_usd, output_cost_usd, cache_read_cost_usd, cache_write_cost_usd,
        input_cost_usd + output_cost_usd + cache_read_cost_usd + cache_write_cost_usd
            as estimated_cost_usd
    from answered
    join models on models.number = model_number
    left join rates on rates.provider = answered.provider
        and rates.model_id = pricing_model_id
        and rates.region = case
            when answered.provider = 'plan' or bedrock_model like 'global.%' then 'global'
            else 'regional'
        end
        and started_at >= effective_date and started_at < replaced_on
    cross join lateral (
        select
            coalesce(round(input_tokens * input_price / 1000000, 6), 0) as input_cost_usd,
            coalesce(round(output_tokens * output_price / 1000000, 6), 0) as output_cost_usd,
            coalesce(round(cache_read_tokens * cache_read_price / 1000000, 6), 0)
                as cache_read_cost_usd,
            coalesce(
                round(cache_write_5m_tokens * cache_write_5m_price / 1000000, 6)
                    + round(cache_write_1h_tokens * cache_write_1h_price / 1000000, 6),
                0
            ) as cache_write_cost_usd
    ) as cost
)
select
    md5(concat_ws(' ', seed, 'event', n))::uuid, 'req_' || n, 'req_upstream_' || n,
    access_key_id, user_id, started_at,
    800 + output_tokens * 12, 600 + (how * 900)::bigint, provider, is_fallback, model,
    upstream_model,
    case
        when how < 0.97 then 'complete'
        when how < 0.98 then 'client_cancelled'
        when how < 0.99 then 'upstream_failed'
        else 'terminated'
    end,
    case when how between 0.98 and 0.99 then 500 else 200 end, how < 0.95,
    input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
    cache_write_1h_tokens, how between 0.97 and 0.98,
    -- A session is all that comes with a key within three hours.
    md5(concat_ws(
        ' ', access_key_id, date_bin('3 hours', started_at, timestamptz '2026-01-01')
    ))::uuid::text,
    '', started_at + interval '3 seconds',
    case when provider = 'bedrock' then bedrock_model else '' end,
    case when provider = 'bedrock' then 'eu-central-1' else '' end,
    pricing_model_id, input_price is not null,
    estimated_cost_usd, input_cost_usd, output_cost_usd, cache_read_cost_usd,
    cache_write_cost_usd,
    -- The plan's prices are those of Bedrock's global profiles.
    estimated_cost_usd,
    region, effective_date, input_price, output_price, cache_read_price,
    cache_write_5m_price, cache_write_1h_price
from charged;
