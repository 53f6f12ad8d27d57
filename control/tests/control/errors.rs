//! Whatever comes in: an answer with a code, never a page of somebody else's.

use reqwest::{Method, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{TestApp, answer, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_a_code() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    app.get("/nonsense")
        .await
        .assert_error(404, "route_not_found");
    app.get("/api/nonsense")
        .await
        .assert_error(404, "route_not_found");
    app.get("/admin/users/7")
        .await
        .assert_error(400, "invalid_path");
    app.get("/admin/users/%00")
        .await
        .assert_error(400, "invalid_path");

    let wrong_method = app.delete("/admin/users").await;
    wrong_method.assert_error(405, "method_not_allowed");
    assert_eq!(wrong_method.headers["allow"], "GET, HEAD, POST");
    let wrong_method = app.post("/health", serde_json::json!({})).await;
    wrong_method.assert_error(405, "method_not_allowed");
    let wrong_method = app.delete("/").await;
    wrong_method.assert_error(405, "method_not_allowed");
    let put = answer(app.request(Method::PUT, &format!("/admin/users/{user}"))).await;
    put.assert_error(405, "method_not_allowed");
    assert_eq!(put.headers["allow"], "GET, HEAD, PATCH, DELETE");

    let raw = |body: Vec<u8>| {
        let request = app.request(Method::POST, "/admin/users");
        answer(
            request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body),
        )
    };
    for body in [
        &b"{"[..],
        b"{\"name\": \"Ada\"",
        b"\xff\xfe",
        b"null",
        b"\"Ada\"",
        b"{\"name\": \"\xff\"}",
    ] {
        raw(body.to_vec()).await.assert_error(400, "invalid_body");
    }
    raw(vec![b' '; (1 << 20) + 1])
        .await
        .assert_error(413, "body_too_large");
    // As deep as it takes to fall.
    let deep = "[".repeat(100_000);
    raw(deep.into_bytes())
        .await
        .assert_error(400, "invalid_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_query_is_answered_with_the_name_of_the_parameter() {
    let app = TestApp::start().await;
    for (path, parameter) in [
        ("/admin/users?limit=abc", "limit"),
        ("/admin/users?search=a&limit=-1", "limit"),
        ("/admin/users?limit=1&status=asleep", "status"),
        ("/admin/users?limit=1&limit=2", "limit"),
        ("/admin/users?search=%00", "search"),
        ("/admin/users?colour=red", "colour"),
        ("/admin/usage?from=2026-01-01", "from"),
        ("/admin/usage?user_id=7&to=2026-01-01T00:00:00Z", "user_id"),
    ] {
        let answer = app.get(path).await;
        answer.assert_error(400, "invalid_query");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(parameter), "{path}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_what_get_does_without_its_body() {
    let app = TestApp::start().await;
    for (path, status) in [
        ("/", 200),
        ("/health", 200),
        ("/admin/users", 200),
        ("/nonsense", 404),
    ] {
        // A client that unpacks an answer hides how long it was.
        let ask = |method| {
            app.request(method, path)
                .header("accept-encoding", "identity")
        };
        let get = answer(ask(Method::GET)).await;
        let head = answer(ask(Method::HEAD)).await;
        assert_eq!(head.status, status, "{path}");
        assert_eq!(head.body, serde_json::Value::Null, "{path}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.headers[name], get.headers[name], "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_carry_headers_that_browsers_heed() {
    let app = TestApp::start().await;
    for path in ["/", "/health", "/admin/users", "/nonsense"] {
        let headers = app.get(path).await.headers;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        let cache_control = if path == "/" { "no-cache" } else { "no-store" };
        assert_eq!(headers["cache-control"], cache_control, "{path}");
        assert_eq!(headers["x-request-id"].len(), 36, "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}

/// Whether it was built or not.
#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_the_same_page_everywhere_and_runs_only_what_is_ours() {
    let app = TestApp::start().await;
    let visit = async |path: &str| {
        let request = app.anonymous(Method::GET, path);
        answer(request.header("accept", "text/html,*/*;q=0.8")).await
    };
    let page = visit("/").await;
    assert_eq!(page.status, 200);
    for path in [
        "/login",
        "/dashboard",
        "/users",
        "/users/019d0000-0000-7000-8000-000000000000",
        "/models",
        "/pricing",
        "/proxies",
        "/audit",
    ] {
        let there = visit(path).await;
        assert_eq!(there.status, 200, "{path}");
        assert_eq!(there.body, page.body, "{path}");
        assert_eq!(there.headers["cache-control"], "no-cache", "{path}");
        let policy = there.headers["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'none';",
            "script-src 'self';",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
    }
    visit("/admin/nonsense")
        .await
        .assert_error(401, "not_signed_in");
    for path in ["/api/nonsense", "/assets/gone.js", "/favicon.gif"] {
        visit(path).await.assert_error(404, "route_not_found");
    }
}

/// Neither garbage nor silence hurts anybody else.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_wire_is_answered_or_closed() {
    let app = TestApp::start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n",
        b"POST /admin/users HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /admin/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut socket = tokio::net::TcpStream::connect(app.running.admin_addr)
            .await
            .unwrap();
        socket.write_all(garbage).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        eventually(socket.read_to_end(&mut answer)).await.ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    let many: Vec<u8> = (0..2_000)
        .flat_map(|number| format!("x-{number}: {}\r\n", "v".repeat(200)).into_bytes())
        .collect();
    let mut socket = tokio::net::TcpStream::connect(app.running.admin_addr)
        .await
        .unwrap();
    let mut head = b"GET /health HTTP/1.1\r\nHost: x\r\n".to_vec();
    head.extend(many);
    head.extend(b"\r\n");
    let _ = socket.write_all(&head).await;
    let mut answer = Vec::new();
    eventually(socket.read_to_end(&mut answer)).await.ok();
    assert!(!answer.starts_with(b"HTTP/1.1 5"), "{answer:?}");
    assert_eq!(app.get("/health").await.body["status"], "ok");
}
