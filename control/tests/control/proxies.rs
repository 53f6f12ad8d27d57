//! `Report`, and what administrators and operators make of it.

use proto::sync::{Kind, Rejection, ReportRequest, ResourceName};
use serde_json::json;

use crate::support::{
    TestApp, http_client,
    proxy::{self, Copy, START},
};

#[tokio::test(flavor = "multi_thread")]
async fn reports_tell_where_a_change_is_in_force() {
    let app = TestApp::start().await;
    let empty = app.get("/admin/proxies").await.body;
    assert_eq!(empty["items"], json!([]));
    assert_eq!(empty["summary"]["text"], "revision 1 in force on 0 of 0");

    let user = app.user("Ada").await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    let mut client = proxy::config(app.running.grpc_addr).await;
    let current = ReportRequest {
        node: Some(proxy::node()),
        applied: copy.position.clone(),
        usage_pending: 3,
        usage_dropped: u64::MAX,
        active_streams: 7,
        ..ReportRequest::default()
    };
    let starting = ReportRequest {
        node: Some(proxy::node()),
        rejected: vec![Rejection {
            name: Some(ResourceName {
                kind: Kind::User.into(),
                id: user.clone(),
            }),
            version: 1,
            reason: "unknown\0".to_owned(),
        }],
        ..ReportRequest::default()
    };
    client.report(starting.clone()).await.unwrap();
    client.report(current.clone()).await.unwrap();

    let list = app.get("/admin/proxies").await.body;
    assert_eq!(list["head"]["revision"], START + 1);
    assert_eq!(list["summary"]["text"], "revision 2 in force on 1 of 2");
    let first = &list["items"][0];
    assert_eq!(
        first["instance_id"],
        current.node.as_ref().unwrap().instance_id
    );
    assert_eq!(first["version"], "1.2.3");
    assert_eq!(first["address"], "127.0.0.1");
    assert_eq!(first["applied_revision"], START + 1);
    assert_eq!(first["is_connected"], true);
    assert_eq!(first["is_behind"], false);
    assert_eq!(first["revisions_behind"], 0);
    assert_eq!(first["usage_pending"], 3);
    assert_eq!(first["usage_dropped"], i64::MAX);
    assert_eq!(first["active_streams"], 7);
    let second = &list["items"][1];
    assert_eq!(second["is_behind"], true);
    assert_eq!(second["applied_revision"], json!(null));
    assert_eq!(second["rejected"][0]["id"], user);
    assert_eq!(second["rejected"][0]["reason"], "unknown");

    // A change makes both stale until they report again; the newest report wins.
    app.user("Grace").await;
    let list = app.get("/admin/proxies").await.body;
    assert_eq!(list["summary"]["text"], "revision 3 in force on 0 of 2");
    assert_eq!(list["items"][0]["revisions_behind"], 1);
    copy.reach(START + 2).await;
    let node = starting.node;
    let applied = copy.position.clone();
    for report in [
        ReportRequest {
            node,
            applied: applied.clone(),
            ..ReportRequest::default()
        },
        ReportRequest { applied, ..current },
    ] {
        client.report(report).await.unwrap();
    }
    let list = app.get("/admin/proxies").await.body;
    assert_eq!(list["summary"]["text"], "revision 3 in force on 2 of 2");
    assert_eq!(list["items"][1]["rejected"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_silent_is_not_connected() {
    let app = TestApp::start().await;
    let mut client = proxy::config(app.running.grpc_addr).await;
    let report = ReportRequest {
        node: Some(proxy::node()),
        ..ReportRequest::default()
    };
    client.report(report).await.unwrap();
    app.sql()
        .await
        .batch_execute("update proxies set reported_at = now() - interval '46 seconds'")
        .await
        .unwrap();
    let list = app.get("/admin/proxies").await.body;
    assert_eq!(list["items"][0]["is_connected"], false);
    assert_eq!(list["summary"]["connected"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_probes_and_metrics() {
    let app = TestApp::start().await;
    app.user("Ada").await;
    let get = async |path: &str| {
        let response = http_client().get(app.ops_url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get("/livez").await.0, 200);
    assert_eq!(get("/readyz").await.0, 200);
    assert_eq!(get("/nonsense").await.0, 404);
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    for metric in [
        "control_listener_connected",
        "control_head_revision",
        "control_database_connections{state=\"busy\"}",
        "control_http_requests_total{method=\"POST\",route=\"/admin/users\",status=\"201\"}",
        "control_logins_total{result=\"ok\"}",
    ] {
        assert!(metrics.contains(metric), "{metric} is not in\n{metrics}");
    }
    assert!(!metrics.contains(crate::support::PASSWORD));
}
