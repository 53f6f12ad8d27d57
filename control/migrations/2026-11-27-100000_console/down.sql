drop trigger usage_used_key on token_usage;
drop function note_key_use();
drop table ended_sessions, audit_log;
drop table access_key_use cascade;
drop index users_by_name;
alter table bedrock_keys drop column verified_at;
alter table access_keys
    drop column bedrock_region cascade,
    drop column model cascade;

-- Makes the next start replace triggers and views, whatever its version.
comment on function record_change() is null;
