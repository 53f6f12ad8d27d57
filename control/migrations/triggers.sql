-- Triggers, functions and views. They hold no data, so they are not migrated:
-- this file is run again, whole, whenever it changed. Each statement must
-- therefore replace what an older version of it has left.

-- What proxies hold. The only place that knows which rows are visible to them,
-- and each row decides for itself: no join, no clock, so that a change is always
-- a change of a row, and the state at a revision is always the same.
drop view if exists synced_resources;

-- Null when the first is.
create or replace function micro_dollars(variadic usd numeric[]) returns bigint[]
language sql immutable strict parallel safe as $$
    select array_agg((amount * 1000000)::bigint order by place)
    from unnest(usd) with ordinality as amounts (amount, place)
    having usd[1] is not null
$$;

create view synced_resources as
    select
        'access_key'                           as kind,
        1                                      as kind_number,
        id,
        revision,
        user_id,
        key_hash,
        least(expires_at, rotation_expires_at) as expires_at,
        circuit_resets,
        null::text                             as routing_strategy,
        null::uuid                             as access_key_id,
        null::text                             as region,
        null::bytea                            as sealed,
        null::uuid                             as sealed_for,
        null::text                             as claude_model,
        -- Of a mapping, a capability or a price.
        null::text                             as bedrock_model,
        null::text                             as bedrock_api,
        null::text                             as feature,
        null::text                             as provider,
        null::timestamptz                      as effective_from,
        -- Input, output, cache read, cache write 5 min and 1 h, in micro-dollars
        -- for a million tokens.
        null::bigint[]                         as rates,
        null::bigint                           as long_context_threshold,
        null::bigint[]                         as long_context_rates,
        null::bigint                           as limit_micro_usd,
        null::bool                             as is_exhausted,
        null::timestamptz                      as period_start,
        null::timestamptz                      as period_end
    from access_keys
    where status in ('active', 'rotating') and deleted_at is null
union all
    select
        'user', 2, id, revision,
        null, null, null, null, routing_strategy, null, null, null, null, null, null, null, null,
        null, null, null, null, null, null, null, null, null
    from users
    where status = 'active' and deleted_at is null
union all
    select
        'bedrock_key', 3, id, revision,
        null, null, null, null, null, access_key_id, region, sealed, sealed_for, null, null, null, null,
        null, null, null, null, null, null, null, null, null
    from bedrock_keys
union all
    select
        'model_mapping', 4, id, revision,
        null, null, null, null, null, null, null, null, null, claude_model, bedrock_model, bedrock_api, null,
        null, null, null, null, null, null, null, null, null
    from model_mappings
    where is_active
union all
    select
        'model_capability', 5, id, revision,
        null, null, null, null, null, null, region, null, null, null, model, null, feature,
        null, null, null, null, null, null, null, null, null
    from model_capabilities
union all
    select
        'price', 6, id, revision,
        null, null, null, null, null, null, region, null, null, null, model_id, null, null,
        provider,
        effective_date::timestamp at time zone 'UTC',
        micro_dollars(
            input_price, output_price, cache_read_price, cache_write_5m_price, cache_write_1h_price
        ),
        long_context_threshold,
        micro_dollars(
            long_context_input_price, long_context_output_price, long_context_cache_read_price,
            long_context_cache_write_5m_price, long_context_cache_write_1h_price
        ),
        null, null, null, null
    from prices
union all
    select
        'budget', 7, id, revision,
        user_id, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, null,
        (monthly_budget_usd * 1000000)::bigint, is_exhausted, period_start, period_end
    from budgets;

-- The calendar month of a moment, its end excluded.
create or replace function month_of(moment timestamptz, zone text, out start timestamptz, out stop timestamptz)
language sql stable as $$
    select first_day at time zone zone, (first_day + interval '1 month') at time zone zone
    from (select date_trunc('month', moment at time zone zone) as first_day) as month
$$;

-- The calendar month of a moment, in the time zone that days are summed up in, because
-- what is spent in a month is the sum of its days; in this one before they ever were.
create or replace function summed_month_of(moment timestamptz, zone text, out start timestamptz, out stop timestamptz)
language sql stable as $$
    select month.start, month.stop
    from month_of(moment, coalesce((select timezone from usage_aggregation), zone)) as month
$$;

-- The calendar month that it is now.
create or replace function this_month(out start timestamptz, out stop timestamptz)
language sql stable as $$
    select month.start, month.stop from summed_month_of(now(), 'UTC') as month
$$;

-- What administrators see: deleted rows are left out here, so that no query can
-- forget to.
drop view if exists live_users;
create view live_users as
    select
        *,
        round(current_usage_usd / monthly_budget_usd * 100, 2)::float8 as usage_percentage,
        coalesce(current_usage_usd >= monthly_budget_usd, false) as is_exhausted
    from (
        select
            users.id, name, description, status, routing_strategy, created_at, users.updated_at,
            monthly_budget_usd,
            (
                select count(*)
                from access_keys
                where user_id = users.id
                  and access_keys.status in ('active', 'rotating')
                  and access_keys.deleted_at is null
            ) as active_access_keys,
            -- In this month. Not `spent_on_bedrock`: calling it for every user takes
            -- several times as long.
            (
                select coalesce(sum(estimated_cost_usd), 0)
                from usage_aggregates
                where user_id = users.id and bucket_type = 'day' and provider = 'bedrock'
                  and bucket_start >= (select start from this_month())
                  and bucket_start < (select stop from this_month())
            ) as current_usage_usd,
            (
                select max(last_used_at) from access_key_use where user_id = users.id
            ) as last_seen_at
        from users left join budgets on budgets.user_id = users.id
        where deleted_at is null
    ) as live;

drop view if exists live_access_keys;
create view live_access_keys as
    select
        id, access_keys.user_id, name, key_prefix, status, created_at, expires_at,
        rotation_expires_at, revoked_at, bedrock_region, model,
        exists (select from bedrock_keys where access_key_id = access_keys.id) as has_bedrock_key,
        last_used_at
    from access_keys left join access_key_use on access_key_id = id
    where deleted_at is null;

-- Whoever adds rows of usage notes which keys were used. In one order, so that two
-- transactions wait for each other instead of locking each other out.
create or replace function note_key_use() returns trigger language plpgsql as $$
begin
    insert into access_key_use
        select access_keys.id, access_keys.user_id, max(started_at)
        from added join access_keys on access_keys.id = access_key_id
        group by access_keys.id
        order by access_keys.id
        on conflict (access_key_id) do update set last_used_at = excluded.last_used_at
            where access_key_use.last_used_at < excluded.last_used_at;
    return null;
end $$;

-- Named so that it comes after the aggregates: every transaction locks in this
-- order.
drop trigger if exists usage_used_key on token_usage;
create trigger usage_used_key
    after insert on token_usage
    referencing new table as added
    for each statement execute function note_key_use();

-- What was written down stays as it was written.
create or replace function refuse_rewriting() returns trigger language plpgsql as $$
begin
    raise exception 'entries of % are never changed', tg_table_name;
end $$;

drop trigger if exists audit_log_rewritten on audit_log;
create trigger audit_log_rewritten
    before update on audit_log execute function refuse_rewriting();

-- Gives the rows that a transaction has changed the next revision, one for all of
-- them, and notes them in the log.
--
-- Its triggers are deferred to the commit: only then is the counter's row locked,
-- so commit order is revision order and nobody waits for a transaction that is
-- still thinking.
create or replace function record_change() returns trigger language plpgsql as $$
declare
    -- Columns that proxies never see: the trigger's arguments after the first,
    -- and `revision`, which is set below and would otherwise be a change again.
    unseen constant text[] := array['revision'] || tg_argv[1:];
    -- Known for the rest of the transaction once it was taken. Taking it again
    -- for every row would make many rows very slow.
    taken bigint := nullif(current_setting('control.revision', true), '')::bigint;
begin
    if tg_op = 'UPDATE' and to_jsonb(new) - unseen = to_jsonb(old) - unseen then
        return null;
    end if;
    if tg_op = 'UPDATE' and new.id <> old.id then
        raise exception 'the id of a row in % never changes', tg_table_name;
    end if;

    if taken is null then
        update sync_head set revision = revision + 1 returning revision into strict taken;
        perform set_config('control.revision', taken::text, true);
        perform pg_notify('config_changed', '');
    end if;

    insert into change_log (revision, kind, id)
        values (taken, tg_argv[0], coalesce(new.id, old.id))
        on conflict do nothing;

    if tg_op <> 'DELETE' then
        execute format('update %I.%I set revision = $1 where id = $2', tg_table_schema, tg_table_name)
            using taken, new.id;
    end if;
    return null;
end $$;

-- Its arguments: the kind, and the columns that proxies never see.
drop trigger if exists user_changed on users;
create constraint trigger user_changed
    after insert or update or delete on users
    deferrable initially deferred
    for each row execute function record_change('user', 'name', 'description', 'updated_at');

drop trigger if exists access_key_changed on access_keys;
create constraint trigger access_key_changed
    after insert or update or delete on access_keys
    deferrable initially deferred
    for each row execute function record_change('access_key', 'name', 'key_prefix', 'bedrock_region', 'model');

drop trigger if exists bedrock_key_changed on bedrock_keys;
create constraint trigger bedrock_key_changed
    after insert or update or delete on bedrock_keys
    deferrable initially deferred
    for each row execute function record_change('bedrock_key', 'kind', 'registered_at', 'verified_at');

drop trigger if exists model_mapping_changed on model_mappings;
create constraint trigger model_mapping_changed
    after insert or update or delete on model_mappings
    deferrable initially deferred
    for each row execute function record_change('model_mapping', 'description', 'updated_at');

drop trigger if exists model_capability_changed on model_capabilities;
create constraint trigger model_capability_changed
    after insert or update or delete on model_capabilities
    deferrable initially deferred
    for each row execute function record_change('model_capability', 'source', 'learned_at', 'expires_at');

drop trigger if exists price_changed on prices;
create constraint trigger price_changed
    after insert or update or delete on prices
    deferrable initially deferred
    for each row execute function record_change('price', 'source');

-- How much is spent is told to proxies in another way.
drop trigger if exists budget_changed on budgets;
create constraint trigger budget_changed
    after insert or update or delete on budgets
    deferrable initially deferred
    for each row execute function record_change('budget', 'spent_usd', 'spent_at', 'updated_at');

-- Truncating fires no row trigger: proxies would go on serving what is gone.
create or replace function refuse_truncate() returns trigger language plpgsql as $$
begin
    raise exception 'proxies would not notice that % was truncated', tg_table_name
        using hint = 'use delete instead';
end $$;

drop trigger if exists user_truncated on users;
create trigger user_truncated
    before truncate on users execute function refuse_truncate();

drop trigger if exists access_key_truncated on access_keys;
create trigger access_key_truncated
    before truncate on access_keys execute function refuse_truncate();

drop trigger if exists bedrock_key_truncated on bedrock_keys;
create trigger bedrock_key_truncated
    before truncate on bedrock_keys execute function refuse_truncate();

drop trigger if exists model_mapping_truncated on model_mappings;
create trigger model_mapping_truncated
    before truncate on model_mappings execute function refuse_truncate();

drop trigger if exists model_capability_truncated on model_capabilities;
create trigger model_capability_truncated
    before truncate on model_capabilities execute function refuse_truncate();

drop trigger if exists price_truncated on prices;
create trigger price_truncated
    before truncate on prices execute function refuse_truncate();

drop trigger if exists budget_truncated on budgets;
create trigger budget_truncated
    before truncate on budgets execute function refuse_truncate();

-- A credential is erased in the transaction in which its access key stops
-- working for good or its user is no longer active, whoever does that.
create or replace function erase_bedrock_keys() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'users' then
        delete from bedrock_keys using access_keys
            where access_key_id = access_keys.id and user_id = new.id;
    else
        delete from bedrock_keys where access_key_id = new.id;
    end if;
    return null;
end $$;

-- Nobody could use a credential of such a key, and nobody would erase it.
create or replace function refuse_late_bedrock_key() returns trigger language plpgsql as $$
begin
    if not exists (
        select from access_keys join users on users.id = user_id
        where access_keys.id = new.access_key_id
          and access_keys.status <> 'revoked' and access_keys.deleted_at is null
          and users.status = 'active'
    ) then
        raise exception 'the access key of the credential has ended'
            using errcode = 'foreign_key_violation';
    end if;
    return null;
end $$;

drop trigger if exists bedrock_key_is_late on bedrock_keys;
create constraint trigger bedrock_key_is_late
    after insert or update of access_key_id on bedrock_keys
    for each row execute function refuse_late_bedrock_key();

drop trigger if exists user_left on users;
create trigger user_left
    after update on users
    for each row when (new.status <> 'active')
    execute function erase_bedrock_keys();

drop trigger if exists access_key_ended on access_keys;
create trigger access_key_ended
    after update on access_keys
    for each row when (new.status = 'revoked' or new.deleted_at is not null)
    execute function erase_bedrock_keys();

-- Makes the partition for a month (its first day, UTC) unless there is one, and
-- moves the month's rows into it that the default partition has caught.
create or replace function make_usage_partition(month date) returns bool language plpgsql as $$
declare
    part  constant text := 'token_usage_' || to_char(month, 'YYYY_MM');
    start constant timestamptz := month::timestamp at time zone 'UTC';
    stop  constant timestamptz := (month + interval '1 month') at time zone 'UTC';
begin
    if to_regclass(part) is not null then
        return false;
    end if;

    -- Waits for running inserts and for other replicas, and holds up new ones:
    -- otherwise a row of the month could slip into the default partition. The
    -- foreign key needs the lock on access_keys too, and a deleted key takes
    -- both in this order.
    lock table access_keys, token_usage in share row exclusive mode;
    if to_regclass(part) is not null then
        return false;
    end if;

    execute format('create table %I (like token_usage including all)', part);
    execute format(
        'with caught as (
            delete from token_usage_default where started_at >= $1 and started_at < $2 returning *
        )
        insert into %I select * from caught', part)
        using start, stop;
    execute format('alter table token_usage attach partition %I for values from (%L) to (%L)', part, start, stop);
    return true;
end $$;

-- The bucket that a moment is in. Weeks begin on Sunday; minutes are the same
-- everywhere.
create or replace function usage_bucket(unit text, moment timestamptz, zone text) returns timestamptz
language sql stable parallel safe as $$
    select case unit
        when 'minute' then date_trunc('minute', moment)
        when 'week' then
            (date_trunc('week', (moment at time zone zone) + interval '1 day') - interval '1 day')
                at time zone zone
        else date_trunc(unit, moment, zone)
    end
$$;

-- Whether all buckets of this unit lie before the moment or after it. Not so
-- where clocks are turned back over the beginning of a bucket.
create or replace function divides_buckets(unit text, moment timestamptz, zone text) returns bool
language sql stable parallel safe as $$
    select usage_bucket(unit, moment, zone) = moment
       and usage_bucket(unit, moment - interval '1 microsecond', zone) < moment
$$;

-- The first moment from this one on (`direction` 1), or the last one until it
-- (-1), that divides the buckets of a unit: minutes, hours or days. What divides
-- days divides hours too.
create or replace function usage_edge(unit text, moment timestamptz, zone text, direction integer)
returns timestamptz language sql stable as $$
    select edge
    from generate_series(0, 10) as step
    cross join lateral (
        select usage_bucket(unit, moment + direction * step * case unit
            when 'day' then interval '12 hours'
            when 'hour' then interval '30 minutes'
            else interval '30 seconds'
        end, zone) as edge
    ) as candidate
    where (edge - moment) * direction >= interval '0'
      and divides_buckets(unit, edge, zone)
      and (unit <> 'day' or divides_buckets('hour', edge, zone))
    order by (edge - moment) * direction
    limit 1
$$;

-- The statement that adds rows of usage to one of the tables of sums. Its source has
-- the columns of `token_usage`; `whose` are the columns that this table has beside
-- bucket, provider and model, each with a comma.
--
-- The buckets are touched in one order, so that two transactions wait for each
-- other instead of locking each other out.
create or replace function summing(target text, whose text, units text[], source text) returns text
language sql immutable as $$
    select format($statement$
        insert into %1$I as kept
        select
            bucket_type, bucket_start, %2$s coalesce(provider, 'none'), pricing_model_id,
            count(*),
            count(*) filter (where is_fallback),
            count(*) filter (where outcome = 'complete'),
            count(*) filter (where outcome = 'client_cancelled'),
            count(*) filter (where outcome = 'upstream_failed'),
            count(*) filter (where outcome = 'refused'),
            count(*) filter (where outcome = 'terminated'),
            count(*) filter (where is_estimate),
            count(*) filter (where not priced),
            sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
            sum(cache_write_5m_tokens), sum(cache_write_1h_tokens),
            sum(estimated_cost_usd), sum(input_cost_usd), sum(output_cost_usd),
            sum(cache_read_cost_usd), sum(cache_write_cost_usd), sum(bedrock_cost_usd)
        from %4$s as usage
        cross join (select coalesce((select timezone from usage_aggregation), 'UTC') as zone) as setting
        cross join lateral (values
            ('minute', date_trunc('minute', started_at)),
            ('hour', date_trunc('hour', started_at, zone)),
            ('day', date_trunc('day', started_at, zone))
        ) as bucket (bucket_type, bucket_start)
        where bucket_type = any (%3$L)
            and (bucket_type <> 'minute' or bucket_start >= first_minute())
        group by bucket_type, bucket_start, %2$s coalesce(provider, 'none'), pricing_model_id
        order by bucket_type, bucket_start, %2$s coalesce(provider, 'none'), pricing_model_id
        on conflict (bucket_type, bucket_start, %2$s provider, model_id)
        do update set
            requests = kept.requests + excluded.requests,
            fallback_requests = kept.fallback_requests + excluded.fallback_requests,
            complete_requests = kept.complete_requests + excluded.complete_requests,
            client_cancelled_requests =
                kept.client_cancelled_requests + excluded.client_cancelled_requests,
            upstream_failed_requests =
                kept.upstream_failed_requests + excluded.upstream_failed_requests,
            refused_requests = kept.refused_requests + excluded.refused_requests,
            terminated_requests = kept.terminated_requests + excluded.terminated_requests,
            estimate_requests = kept.estimate_requests + excluded.estimate_requests,
            unpriced_requests = kept.unpriced_requests + excluded.unpriced_requests,
            input_tokens = kept.input_tokens + excluded.input_tokens,
            output_tokens = kept.output_tokens + excluded.output_tokens,
            cache_read_tokens = kept.cache_read_tokens + excluded.cache_read_tokens,
            cache_write_5m_tokens = kept.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
            cache_write_1h_tokens = kept.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
            estimated_cost_usd = kept.estimated_cost_usd + excluded.estimated_cost_usd,
            input_cost_usd = kept.input_cost_usd + excluded.input_cost_usd,
            output_cost_usd = kept.output_cost_usd + excluded.output_cost_usd,
            cache_read_cost_usd = kept.cache_read_cost_usd + excluded.cache_read_cost_usd,
            cache_write_cost_usd = kept.cache_write_cost_usd + excluded.cache_write_cost_usd,
            bedrock_cost_usd = kept.bedrock_cost_usd + excluded.bedrock_cost_usd
    $statement$, target, whose, units, source)
$$;

-- How far back there are minutes.
create or replace function first_minute() returns timestamptz
language sql stable as $$
    select date_trunc('minute', now() - interval '14 days')
$$;

-- Whoever adds rows of usage adds them to the sums: first to those of each access
-- key, then, because every batch touches them, to those of everybody. Written out, so
-- that a session plans each statement once.
do $do$
declare
    body constant text := 'create or replace function %I() returns trigger language plpgsql as '
        '$body$ begin %s; return null; end $body$';
begin
    execute format(body, 'aggregate_usage',
        summing('usage_aggregates', 'user_id, access_key_id,', '{hour,day}', 'added'));
    execute format(body, 'total_usage', summing('usage_totals', '', '{minute,hour,day}', 'added'));
end $do$;

drop trigger if exists usage_added on token_usage;
create trigger usage_added
    after insert on token_usage
    referencing new table as added
    for each statement execute function aggregate_usage();

-- A trigger of its own, which a start of an older version leaves as it is. The order
-- is that of the names.
drop trigger if exists usage_added_in_total on token_usage;
create trigger usage_added_in_total
    after insert on token_usage
    referencing new table as added
    for each statement execute function total_usage();

-- The first day whose rows are all there.
create or replace function first_whole_day(zone text) returns timestamptz
language sql stable as $$
    select coalesce(usage_edge('day', rows_from, zone, 1), '-infinity')
    from (select (select rows_from from usage_aggregation) as rows_from) as setting
$$;

-- Makes the aggregates anew from the rows, in this time zone. Days whose rows are
-- no longer all there stay as they are. Ingest waits meanwhile.
create or replace function rebuild_usage_aggregates(zone text) returns void language plpgsql
set work_mem = '256MB' as $$
declare
    -- Sorting all rows at once would take several times as long.
    step constant interval := '1 day';
    at   timestamptz;
begin
    lock table usage_aggregates in share row exclusive mode;
    insert into usage_aggregation (timezone) values (zone)
        on conflict (only_row) do update set timezone = excluded.timezone;
    delete from usage_aggregates
        where bucket_start >= first_whole_day(zone) or bucket_type = 'minute';
    at := first_whole_day(zone);
    loop
        select min(started_at) into at from token_usage where started_at >= at;
        exit when at is null;
        execute summing('usage_aggregates', 'user_id, access_key_id,', '{hour,day}', format(
            '(select * from token_usage where started_at >= %L and started_at < %L)', at, at + step
        ));
        at := at + step;
    end loop;
    perform rebuild_usage_totals(zone);
end $$;

-- Makes the totals anew: hours and days from the aggregates, minutes from the rows.
-- Ingest waits meanwhile.
create or replace function rebuild_usage_totals(zone text) returns void language plpgsql as $$
begin
    lock table usage_totals in share row exclusive mode;
    delete from usage_totals where bucket_type <> 'minute' or bucket_start >= first_whole_day(zone);
    insert into usage_totals
        select
            bucket_type, bucket_start, provider, model_id,
            sum(requests), sum(fallback_requests), sum(complete_requests),
            sum(client_cancelled_requests), sum(upstream_failed_requests),
            sum(refused_requests), sum(terminated_requests), sum(estimate_requests),
            sum(unpriced_requests), sum(input_tokens), sum(output_tokens),
            sum(cache_read_tokens), sum(cache_write_5m_tokens), sum(cache_write_1h_tokens),
            sum(estimated_cost_usd), sum(input_cost_usd), sum(output_cost_usd),
            sum(cache_read_cost_usd), sum(cache_write_cost_usd), sum(bedrock_cost_usd)
        from usage_aggregates
        where bucket_type <> 'minute'
        group by bucket_type, bucket_start, provider, model_id;
    execute summing('usage_totals', '', '{minute}', format(
        '(select * from token_usage where started_at >= %L)',
        greatest(first_minute(), first_whole_day(zone))
    ));
end $$;

-- What a user has spent on Bedrock in a month.
create or replace function spent_on_bedrock(spender uuid, start timestamptz, stop timestamptz) returns numeric
language sql stable as $$
    select coalesce(sum(estimated_cost_usd), 0)
    from usage_aggregates
    where user_id = spender and bucket_type = 'day' and bucket_start >= start and bucket_start < stop
      and provider = 'bedrock'
$$;

-- Decides for these users, from what all proxies have used, how much of their
-- budgets is spent in the month of `moment` and whether that is all. What they
-- have spent is summed up under a lock, so that two transactions that each add a
-- part cannot both miss the other's.
create or replace function settle_budgets(users uuid[], moment timestamptz, zone text)
returns setof budgets language plpgsql as $$
declare
    month constant record := summed_month_of(moment, zone);
begin
    -- Waits for whoever gives somebody a budget: otherwise neither would see what the
    -- other has added.
    perform pg_advisory_xact_lock_shared(hashtext('budgets'));
    perform from budgets where user_id = any (users) order by user_id for no key update;
    if not found then
        return;
    end if;

    update budgets
    set period_start = month.start,
        period_end   = month.stop,
        spent_usd    = spending.spent,
        is_exhausted = spending.spent >= budgets.monthly_budget_usd,
        spent_at     = clock_timestamp()
    from (
        select user_id, spent_on_bedrock(user_id, month.start, month.stop) as spent
        from budgets
        where user_id = any (users)
    ) as spending
    where budgets.user_id = spending.user_id
      and (period_start, period_end, spent_usd, is_exhausted) is distinct from
          (month.start, month.stop, spending.spent, spending.spent >= budgets.monthly_budget_usd);

    insert into budget_alerts (user_id, period_start, monthly_budget_usd, threshold, spent_usd)
        select user_id, period_start, monthly_budget_usd, step, spent_usd
        from budgets cross join unnest(array[50, 80, 100]) as step
        where user_id = any (users) and spent_usd >= monthly_budget_usd * step / 100
        order by user_id, step
        on conflict do nothing;

    return query select * from budgets where user_id = any (users);
end $$;
