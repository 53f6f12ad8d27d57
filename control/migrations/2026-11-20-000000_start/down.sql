drop table proxies, token_usage, access_keys, users, change_log, sync_head cascade;
