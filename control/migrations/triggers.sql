-- Triggers, functions and views. They hold no data, so they are not migrated:
-- this file is run again, whole, whenever it changed. Each statement must
-- therefore replace what an older version of it has left.

-- What proxies hold. The only place that knows which rows are visible to them,
-- and each row decides for itself: no join, no clock, so that a change is always
-- a change of a row, and the state at a revision is always the same.
drop view if exists synced_resources;
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
        -- Of a mapping or of a capability.
        null::text                             as bedrock_model,
        null::text                             as bedrock_api,
        null::text                             as feature
    from access_keys
    where status in ('active', 'rotating') and deleted_at is null
union all
    select
        'user', 2, id, revision,
        null, null, null, null, routing_strategy, null, null, null, null, null, null, null, null
    from users
    where status = 'active' and deleted_at is null
union all
    select
        'bedrock_key', 3, id, revision,
        null, null, null, null, null, access_key_id, region, sealed, sealed_for, null, null, null, null
    from bedrock_keys
union all
    select
        'model_mapping', 4, id, revision,
        null, null, null, null, null, null, null, null, null, claude_model, bedrock_model, bedrock_api, null
    from model_mappings
    where is_active
union all
    select
        'model_capability', 5, id, revision,
        null, null, null, null, null, null, region, null, null, null, model, null, feature
    from model_capabilities;

-- What administrators see: deleted rows are left out here, so that no query can
-- forget to.
drop view if exists live_users;
create view live_users as
    select
        id, name, description, status, routing_strategy, created_at, updated_at,
        (
            select count(*)
            from access_keys
            where user_id = users.id
              and access_keys.status in ('active', 'rotating')
              and access_keys.deleted_at is null
        ) as active_access_keys
    from users
    where deleted_at is null;

drop view if exists live_access_keys;
create view live_access_keys as
    select
        id, user_id, name, key_prefix, status, created_at, expires_at,
        rotation_expires_at, revoked_at,
        exists (select from bedrock_keys where access_key_id = access_keys.id) as has_bedrock_key
    from access_keys
    where deleted_at is null;

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
    for each row execute function record_change('access_key', 'name', 'key_prefix');

drop trigger if exists bedrock_key_changed on bedrock_keys;
create constraint trigger bedrock_key_changed
    after insert or update or delete on bedrock_keys
    deferrable initially deferred
    for each row execute function record_change('bedrock_key', 'kind', 'registered_at');

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
