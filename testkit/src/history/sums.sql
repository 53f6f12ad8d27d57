select rebuild_usage_aggregates(coalesce((select timezone from usage_aggregation), 'UTC'));

insert into access_key_use (access_key_id, user_id, last_used_at)
select access_key_id, user_id, last_used_at
from keys
cross join lateral (
    select max(started_at) as last_used_at from token_usage
    where token_usage.access_key_id = keys.access_key_id
) as used
where last_used_at is not null
on conflict (access_key_id) do update set last_used_at = excluded.last_used_at;
