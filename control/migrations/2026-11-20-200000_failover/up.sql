-- How often an administrator has reset the key's circuit. Proxies see it; they
-- all hold 0 for the keys of before, so that no new history is needed.
alter table access_keys
    add column circuit_resets integer not null default 0 check (circuit_resets >= 0);

-- The answer ended before the upstream had stated its final usage. The default
-- is for replicas of an older version, which do not name the column.
alter table token_usage add column is_estimate bool not null default false;

-- What each proxy reported last of its circuits that are not closed. No proxy
-- holds a copy of it, so it is no change and has no revision.
create table circuits (
    instance_id   uuid        not null references proxies on delete cascade,
    -- No reference: a report may name a key that was deleted meanwhile, and must
    -- not fail for it. What is left of such a key is never shown, and goes with
    -- the proxy's next list.
    access_key_id uuid        not null,
    state         text        not null check (state in ('open', 'half_open')),
    cause         text        not null check (cause in ('failures', 'usage_limit')),
    opened_at     timestamptz not null,
    -- In the past while the plan is being tried.
    open_until    timestamptz not null,
    primary key (instance_id, access_key_id)
);

create index circuits_of_access_key on circuits (access_key_id);
