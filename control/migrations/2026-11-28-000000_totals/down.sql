drop trigger usage_added_in_total on token_usage;
drop table usage_totals;
drop index usage_aggregates_of_access_key;

alter table token_usage
    drop constraint token_usage_pkey,
    add primary key (event_id, started_at);
create index token_usage_newest on token_usage (started_at, event_id);

-- An older version keeps minutes for each access key. Another name for the time zone
-- makes its next start make all sums anew.
update usage_aggregation
set timezone = case timezone when 'Etc/UTC' then 'UTC' else 'Etc/UTC' end;

-- Makes the next start replace triggers and views, whatever its version.
comment on function record_change() is null;
