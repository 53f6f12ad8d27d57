-- What an older version would not know; proxies start from a snapshot of its.
delete from change_log where kind in ('bedrock_key', 'model_mapping', 'model_capability');
update sync_head set epoch = gen_random_uuid();

drop table model_capabilities, model_mappings, bedrock_keys cascade;
drop function if exists erase_bedrock_keys() cascade;
drop index token_usage_of_bedrock;
alter table users drop column routing_strategy cascade;

-- Makes the next start replace triggers and views, whatever its version.
comment on function record_change() is null;
