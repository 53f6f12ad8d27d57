//! Commit order is revision order: a reader that follows changes alone holds
//! what the tables hold.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::sync::{Kind, resource::Spec};

use crate::support::{TestApp, eventually, proxy::Copy, spawn, sql};

const WRITERS: usize = 8;
const TRANSACTIONS_PER_WRITER: usize = 60;

/// One transaction of a random writer: keys and what belongs to them come, change,
/// go, sometimes several at once, sometimes not at all.
const TRANSACTION: &str = "
do $$
declare
    die double precision := random();
begin
    if die < 0.4 then
        insert into access_keys (id, user_id, key_hash, key_prefix)
        select gen_random_uuid(), id, sha256(convert_to(gen_random_uuid()::text, 'UTF8')), 'ak_000000'
        from users order by random() limit 1 + (random() * 2)::int;
    elsif die < 0.5 then
        update access_keys set expires_at = now() + random() * interval '1 day'
        where id = (select id from access_keys order by random() limit 1);
    elsif die < 0.6 then
        update access_keys set circuit_resets = circuit_resets + 1
        where id = (select id from access_keys order by random() limit 1);
    elsif die < 0.75 then
        update access_keys set status = 'revoked', revoked_at = now()
        where id = (select id from access_keys where status = 'active' order by random() limit 1);
    elsif die < 0.85 then
        delete from access_keys
        where id = (select id from access_keys order by random() limit 1);
    elsif die < 0.9 then
        update users set status = case status when 'active' then 'inactive' else 'active' end
        where id = (select id from users order by random() limit 1);
    elsif die < 0.95 then
        insert into bedrock_keys (id, access_key_id, kind, region, sealed, sealed_for)
        select gen_random_uuid(), id, 'api_key', 'eu-west-1', '\x01', id
        from (
            select access_keys.id from access_keys join users on users.id = user_id
            where access_keys.status = 'active' and users.status = 'active'
            order by random() limit 2 for no key update
        ) as working
        on conflict (access_key_id) do update set sealed = bedrock_keys.sealed || '\x02';
    elsif die < 0.97 then
        update model_mappings set is_active = not is_active
        where id = (select id from model_mappings order by random() limit 1);
    elsif die < 0.98 then
        insert into budgets (user_id, monthly_budget_usd, period_start, period_end)
        select id, 1 + random() * 100, now(), now() + interval '1 day'
        from users order by random() limit 1
        on conflict (user_id) do update
        set monthly_budget_usd = excluded.monthly_budget_usd, spent_usd = budgets.spent_usd + 1;
    elsif die < 0.985 then
        update prices set input_price = input_price + 1
        where id = (select id from prices order by random() limit 1);
    elsif die < 0.99 then
        delete from model_capabilities
        where id = (select id from model_capabilities order by random() limit 1);
    end if;
    -- The rest of a transaction, so that they overlap.
    perform pg_sleep(random() * 0.004);
end $$";

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_deltas_holds_what_the_tables_hold() {
    let app = TestApp::start_with(|settings| {
        settings.pace.heartbeat = Duration::from_millis(20);
    })
    .await;
    for number in 0..5 {
        app.user(&format!("user {number}")).await;
    }
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    let working = Arc::new(AtomicUsize::new(WRITERS));
    for _ in 0..WRITERS {
        let client = sql(app.database.url()).await;
        let working = Arc::clone(&working);
        spawn(async move {
            for _ in 0..TRANSACTIONS_PER_WRITER {
                // Two writers may want the same rows in another order.
                let _ = client.batch_execute(TRANSACTION).await;
            }
            working.fetch_sub(1, Ordering::SeqCst);
        });
    }

    // Every heartbeat compares digests; at rest the values are compared too.
    let mut deltas = 0;
    let client = app.sql().await;
    loop {
        let is_last = working.load(Ordering::SeqCst) == 0;
        let row = client.query_one("select revision from sync_head", &[]);
        let head: i64 = row.await.unwrap().get(0);
        eventually(copy.reach(head.try_into().unwrap())).await;
        deltas += 1;
        if is_last {
            break;
        }
    }
    assert!(deltas > 1, "the reader saw only {deltas} states");
    assert!(copy.position.as_ref().unwrap().revision > 100);

    let keys: BTreeMap<String, (String, Vec<u8>, i32, i64)> = client
        .query(
            "select id::text, user_id::text, key_hash, circuit_resets, revision from access_keys
             where status in ('active', 'rotating') and deleted_at is null",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3), row.get(4))))
        .collect();
    let held: BTreeMap<String, (String, Vec<u8>, i32, i64)> = copy
        .resources
        .values()
        .filter_map(|resource| {
            let Some(Spec::AccessKey(key)) = &resource.spec else {
                return None;
            };
            let id = resource.name.as_ref().unwrap().id.clone();
            let version = resource.version.try_into().unwrap();
            let resets = key.circuit_resets.try_into().unwrap();
            let key = (key.user_id.clone(), key.key_hash.clone(), resets, version);
            Some((id, key))
        })
        .collect();
    assert_eq!(held, keys);
    assert!(held.values().any(|(_, _, resets, _)| *resets > 0));
    let active = client
        .query_one("select count(*) from users where status = 'active'", &[])
        .await
        .unwrap();
    let held_users = copy.resources.keys();
    let held_users = held_users.filter(|(kind, _)| *kind == i32::from(Kind::User));
    assert_eq!(active.get::<_, i64>(0), held_users.count() as i64);
    let sealed: BTreeMap<String, Vec<u8>> = client
        .query("select access_key_id::text, sealed from bedrock_keys", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let held: BTreeMap<String, Vec<u8>> = copy
        .resources
        .values()
        .filter_map(|resource| match &resource.spec {
            Some(Spec::BedrockKey(key)) => Some((key.access_key_id.clone(), key.sealed.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(held, sealed);
    let ended = client
        .query_one(
            "select count(*) from bedrock_keys
             join access_keys on access_keys.id = access_key_id
             join users on users.id = user_id
             where access_keys.status = 'revoked' or users.status <> 'active'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        ended.get::<_, i64>(0),
        0,
        "a credential has outlived its key"
    );
}

/// The digest in SQL and the one in Rust, on whatever ids Postgres makes up.
#[tokio::test(flavor = "multi_thread")]
async fn the_digest_in_sql_is_the_digest_in_rust() {
    let app = TestApp::start().await;
    let client = app.sql().await;
    for round in 0..5 {
        client
            .batch_execute(
                "insert into users (id, name, status)
                select gen_random_uuid(), 'x', case when random() < 0.5 then 'active' else 'inactive' end
                from generate_series(1, 50);
                insert into access_keys (id, user_id, key_hash, key_prefix)
                select gen_random_uuid(), id, sha256(convert_to(gen_random_uuid()::text, 'UTF8')), 'x'
                from users where random() < 0.5",
            )
            .await
            .unwrap();
        let mut copy = Copy::new(app.running.grpc_addr).await;
        copy.watch().await;
        copy.advance().await;
        assert!(copy.made() > 20, "round {round}");
        // The answer to a proxy that is at the head is a heartbeat, and the copy
        // compares its digest.
        copy.watch().await;
        let event = copy.advance().await;
        let proto::sync::watch_response::Event::Heartbeat(heartbeat) = event else {
            panic!("{event:?}");
        };
        assert_eq!(heartbeat.digest, copy.digest());
    }
}
