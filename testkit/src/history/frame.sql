-- What the rows are made with: temporary tables that last as long as the connection.
-- `wanted` has one row: how many rows, users and keys, of which seed, until when.

-- A working hour has twenty times the requests of another one: each moment gets as
-- many requests.
create temporary table moments as
select row_number() over (order by start) - 1 as number, start, width
from (
    select
        hour + part * interval '1 hour' / parts as start,
        interval '1 hour' / parts as width
    from wanted
    cross join lateral generate_series(
        date_trunc('hour', until) - interval '92 days',
        date_trunc('hour', until) - interval '1 hour',
        interval '1 hour'
    ) as hour
    cross join lateral (
        select case
            when extract(isodow from hour) <= 5 and extract(hour from hour) between 8 and 18 then 20
            else 1
        end as parts
    ) as office
    cross join lateral generate_series(0, parts - 1) as part
) as slot;
create unique index on moments (number);

-- The first ones are used the most. A third of them is of Bedrock only.
create temporary table keys as
select
    n - 1 as number,
    md5(concat_ws(' ', seed, 'key', n))::uuid as access_key_id,
    md5(concat_ws(' ', seed, 'user', (n - 1) % users + 1))::uuid as user_id,
    (n - 1) % users % 3 = 0 as is_bedrock_only
from wanted cross join lateral generate_series(1, keys) as n;

create temporary table models (number, model, upstream_model, bedrock_model, pricing_model_id) as
values
    (0, 'claude-opus-5-5', 'claude-opus-5-5', 'global.anthropic.claude-opus-5-5', 'claude-opus-5-5'),
    (1, 'claude-sonnet-5-5', 'claude-sonnet-5-5', 'eu.anthropic.claude-sonnet-5-5', 'claude-sonnet-5-5'),
    (2, 'claude-haiku-4-5', 'claude-haiku-4-5-20251001',
        'global.anthropic.claude-haiku-4-5-20251001-v1:0', 'claude-haiku-4-5'),
    (3, 'a-model-on-trial', 'a-model-on-trial', 'anthropic.a-model-on-trial', 'a-model-on-trial');

-- The price list as control has written it, each price with the day on which another
-- one replaces it.
create temporary table rates as
select
    *,
    coalesce(
        lead(effective_date) over (
            partition by provider, region, model_id order by effective_date
        ),
        'infinity'
    ) as replaced_on
from prices;

analyze moments;
analyze keys;
analyze models;
analyze rates;
