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
        let get = app.get(path).await;
        let head = answer(app.request(Method::HEAD, path)).await;
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
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_one_page_that_allows_exactly_itself() {
    let app = TestApp::start().await;
    let page = app.get("/").await;
    assert_eq!(page.status, 200);
    let html = page.body.as_str().unwrap();
    assert!(html.contains("http://proxy.test"), "the proxies' address");
    assert!(!html.contains("{{"), "a placeholder is left");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    for tag in ["script", "style"] {
        use base64::{Engine, engine::general_purpose::STANDARD};
        use sha2::Digest;
        let (_, rest) = html.split_once(&format!("<{tag}>")).unwrap();
        let (inside, rest) = rest.split_once(&format!("</{tag}>")).unwrap();
        assert!(!rest.contains(&format!("<{tag}")), "a second {tag}");
        let hash = STANDARD.encode(sha2::Sha256::digest(inside));
        assert!(policy.contains(&hash), "{tag} would not run: {policy}");
    }
    assert!(!html.contains("style=\"") && !html.contains("onclick="));
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
