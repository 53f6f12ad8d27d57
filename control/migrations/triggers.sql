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
        least(expires_at, rotation_expires_at) as expires_at
    from access_keys
    where status in ('active', 'rotating') and deleted_at is null
union all
    select 'user', 2, id, revision, null, null, null
    from users
    where status = 'active' and deleted_at is null;

-- What administrators see: deleted rows are left out here, so that no query can
-- forget to.
drop view if exists live_users;
create view live_users as
    select
        id, name, description, status, created_at, updated_at,
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
        rotation_expires_at, revoked_at
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
    -- Columns that proxies never see. `revision` is set below, which would
    -- otherwise be a change again.
    unseen constant text[] := array['revision', 'updated_at', 'name', 'description', 'key_prefix'];
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

drop trigger if exists user_changed on users;
create constraint trigger user_changed
    after insert or update or delete on users
    deferrable initially deferred
    for each row execute function record_change('user');

drop trigger if exists access_key_changed on access_keys;
create constraint trigger access_key_changed
    after insert or update or delete on access_keys
    deferrable initially deferred
    for each row execute function record_change('access_key');

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
