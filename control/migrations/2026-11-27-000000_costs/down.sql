drop trigger usage_added on token_usage;
drop table budget_alerts;
drop table budgets cascade;
drop table usage_aggregation;
drop table usage_aggregates cascade;
drop table prices cascade;
alter table token_usage
    drop column bedrock_model,
    drop column bedrock_region,
    drop column pricing_model_id,
    drop column priced,
    drop column estimated_cost_usd,
    drop column input_cost_usd,
    drop column output_cost_usd,
    drop column cache_read_cost_usd,
    drop column cache_write_cost_usd,
    drop column bedrock_cost_usd,
    drop column pricing_region,
    drop column pricing_effective_date,
    drop column pricing_input_price,
    drop column pricing_output_price,
    drop column pricing_cache_read_price,
    drop column pricing_cache_write_5m_price,
    drop column pricing_cache_write_1h_price;

-- What an older version would not know; proxies start from a snapshot of its.
delete from change_log where kind in ('price', 'budget');
update sync_head set epoch = gen_random_uuid();

-- Makes the next start replace triggers and views, whatever its version.
comment on function record_change() is null;
