-- Lists of sessions: whether a request is the last one of its session, and the sums of
-- each session, without looking at everything else that its user has asked for.
create index token_usage_of_session on token_usage (session_id, started_at)
    where session_id <> '';
