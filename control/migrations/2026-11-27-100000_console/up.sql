-- What administrators have done, and what happened by itself to what they own.
-- Written in the transaction of the change itself; never changed afterwards.
create table audit_log (
    id          uuid        primary key,
    at          timestamptz not null default clock_timestamp(),
    -- The administrator's name; `system` when nobody asked for it.
    actor       text        not null,
    -- Where the request came from; null when there was none.
    address     text,
    request_id  uuid,
    -- Not constrained: a replica may be newer than this table.
    action      text        not null,
    object_kind text        not null,
    object_id   uuid,
    -- As it was called then.
    object_name text        not null,
    -- Whom it concerns. No references: entries outlive what they name.
    user_id     uuid,
    -- Never a secret, nor what is made of one.
    before      jsonb,
    after       jsonb
);

create index audit_log_newest on audit_log (at desc, id desc);
create index audit_log_of_user on audit_log (user_id, at desc, id desc) where user_id is not null;
create index audit_log_of_object on audit_log (object_id, at desc, id desc)
    where object_id is not null;
create index audit_log_of_action on audit_log (action, at desc, id desc);

-- When each access key was used last. Proxies hold no copy of it, so it is no
-- change and has no revision. With room for the next version beside it no index
-- has to be touched.
create table access_key_use (
    access_key_id uuid        primary key references access_keys on delete cascade,
    user_id       uuid        not null,
    last_used_at  timestamptz not null
)
with (fillfactor = 50);

create index access_key_use_of_user on access_key_use (user_id);

insert into access_key_use
select access_keys.id, access_keys.user_id, max(started_at)
from token_usage join access_keys on access_keys.id = access_key_id
group by access_keys.id;

-- What a key is meant for: the region of the credential that is registered for it
-- without one, and the model that its developer is told to ask for.
alter table access_keys
    add column bedrock_region varchar(32)
        check (bedrock_region ~ '^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$'),
    add column model varchar(256) check (model ~ '^[!-~]+$');

-- When Bedrock has accepted the credential; null: it was not asked.
alter table bedrock_keys add column verified_at timestamptz;

create index users_by_name on users (lower(name), id) where deleted_at is null;

-- Sessions that were signed out of before they had ended.
create table ended_sessions (
    id         uuid        primary key,
    -- When nobody could use it any more anyway.
    expires_at timestamptz not null
);
