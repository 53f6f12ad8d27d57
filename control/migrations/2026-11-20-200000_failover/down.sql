drop table circuits;
alter table token_usage drop column is_estimate;
alter table access_keys drop column circuit_resets cascade;

-- Makes the next start replace triggers and views, whatever its version.
comment on function record_change() is null;
