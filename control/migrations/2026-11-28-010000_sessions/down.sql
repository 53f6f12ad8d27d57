drop index token_usage_of_session;
