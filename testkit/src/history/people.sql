insert into users (id, name)
select md5(concat_ws(' ', seed, 'user', n))::uuid, 'Developer ' || n
from wanted cross join lateral generate_series(1, users) as n;

-- Nobody knows these keys; any hash will do.
insert into access_keys (id, user_id, key_hash, key_prefix)
select access_key_id, user_id, sha256(access_key_id::text::bytea), 'ak_histor'
from keys;
