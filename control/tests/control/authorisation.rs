//! Who may do what.

use proto::sync::{ReportRequest, config_service_client::ConfigServiceClient};
use reqwest::{Method, StatusCode};
use tonic::Code;

use crate::support::{
    PASSWORD, TestApp, USERNAME, answer, http_client,
    proxy::{self, credentials},
    settings,
};

/// Walks the description of the API, so that a new route is looked at too.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_but_the_public_ones_refuses_without_a_token() {
    let app = TestApp::start().await;
    let public = [
        "/admin/auth/login",
        "/admin/session",
        "/health",
        "/openapi.json",
    ];
    let document = control::http::document();
    let document = serde_json::to_value(document).unwrap();
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if public.contains(&path.as_str()) {
            continue;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let path: Vec<&str> = path
            .split('/')
            .map(|part| if part.starts_with('{') { &id } else { part })
            .collect();
        let path = path.join("/");
        assert!(!path.contains('{'), "{path}");
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for token in [None, Some("nonsense"), Some(&forged())] {
                let mut request = app.anonymous(method.clone(), &path);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let answer = answer(request).await;
                answer.assert_error(401, "not_signed_in");
                let challenge = answer.headers["www-authenticate"].to_str().unwrap();
                assert!(challenge.starts_with("Bearer"), "{challenge}");
            }
            count += 1;
        }
    }
    assert!(count >= 42, "{count}");
    app.get("/admin/users").await.body["items"]
        .as_array()
        .unwrap();
}

/// A token without a signature.
fn forged() -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as base64};
    let header = base64.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let claims = base64.encode(r#"{"sub":"admin","iat":0,"exp":99999999999}"#);
    format!("{header}.{claims}.")
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_below_admin_tell_nothing_without_a_token() {
    let app = TestApp::start().await;
    answer(app.anonymous(Method::GET, "/admin/nonsense"))
        .await
        .assert_error(401, "not_signed_in");
    app.get("/admin/nonsense")
        .await
        .assert_error(404, "route_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn name_and_password_open_a_session() {
    let app = TestApp::start().await;
    let login = app.login(USERNAME, PASSWORD).await;
    assert_eq!(login.status, StatusCode::OK);
    assert_eq!(login.body["token_type"], "bearer");
    assert_eq!(login.body["expires_in"], 8 * 3_600);
    let token = login.body["access_token"].as_str().unwrap();
    let request = app
        .anonymous(Method::GET, "/admin/users")
        .bearer_auth(token);
    assert_eq!(answer(request).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_all_refused_alike() {
    let app = TestApp::start().await;
    let wrong = [
        app.login(USERNAME, "wrong").await,
        app.login("somebody", PASSWORD).await,
        app.login("", "").await,
        answer(app.anonymous(Method::POST, "/admin/auth/login")).await,
        answer(
            app.anonymous(Method::POST, "/admin/auth/login")
                .bearer_auth("x"),
        )
        .await,
        answer(
            app.anonymous(Method::POST, "/admin/auth/login")
                .header("authorization", "Basic !!!"),
        )
        .await,
    ];
    for answer in &wrong {
        answer.assert_error(401, "wrong_credentials");
        assert_eq!(answer.body, wrong[0].body);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Basic"), "{challenge}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_throttled() {
    let app = TestApp::start().await;
    let mut refused = 0;
    let throttled = loop {
        let answer = app.login(USERNAME, "a guess").await;
        if answer.status != StatusCode::UNAUTHORIZED {
            break answer;
        }
        refused += 1;
        assert!(refused < 20, "never throttled");
    };
    throttled.assert_error(429, "too_many_attempts");
    let seconds: u64 = throttled.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=61).contains(&seconds), "{seconds}");
    // Who is signed in stays so.
    assert_eq!(app.get("/admin/users").await.status, StatusCode::OK);
}

/// More guesses at once than there are threads to check them.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_made_at_once_are_throttled_like_those_in_a_row() {
    let app = TestApp::start().await;
    let guesses = (0..200).map(|_| app.login(USERNAME, "a guess"));
    let answers = futures_util::future::join_all(guesses).await;
    let refused = |code: &str| {
        let of_code = answers
            .iter()
            .filter(|answer| answer.body["error"]["code"] == code);
        of_code.count()
    };
    assert_eq!(refused("wrong_credentials"), 10);
    assert_eq!(refused("too_many_attempts"), 190);
    let metrics = reqwest::get(app.ops_url("/metrics")).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let throttled = metrics
        .lines()
        .find_map(|line| line.strip_prefix("control_logins_total{result=\"throttled\"} "));
    let throttled: u64 = throttled.unwrap().parse().unwrap();
    assert!(throttled >= 190, "{throttled}");
}

/// A browser that saw the challenge would ask for the password itself, and keep
/// the answer from the console until then.
#[tokio::test(flavor = "multi_thread")]
async fn the_console_gets_no_challenge() {
    let app = TestApp::start().await;
    let login = app
        .anonymous(Method::POST, "/admin/auth/login")
        .basic_auth(USERNAME, Some("wrong"))
        .header("x-requested-with", "console");
    let answer = answer(login).await;
    answer.assert_error(401, "wrong_credentials");
    assert!(!answer.headers.contains_key("www-authenticate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_case_of_a_scheme_does_not_matter() {
    let app = TestApp::start().await;
    let with = |method: Method, path: &str, authorization: String| {
        answer(
            app.anonymous(method, path)
                .header("authorization", authorization),
        )
    };
    let encoded = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.encode(format!("{USERNAME}:{PASSWORD}"))
    };
    for scheme in ["basic", "BASIC"] {
        let value = format!("{scheme} {encoded}");
        let login = with(Method::POST, "/admin/auth/login", value).await;
        assert_eq!(login.status, StatusCode::OK, "{login:?}");
        let token = login.body["access_token"].as_str().unwrap();
        for scheme in ["bearer", "BEARER"] {
            let users = with(Method::GET, "/admin/users", format!("{scheme} {token}")).await;
            assert_eq!(users.status, StatusCode::OK, "{users:?}");
        }
    }
}

/// The cookie of somebody who has signed in, as a browser would send it.
async fn cookie(app: &TestApp) -> String {
    let begun = app
        .anonymous(Method::POST, "/admin/session")
        .basic_auth(USERNAME, Some(PASSWORD));
    let begun = answer(begun).await;
    assert_eq!(begun.status, StatusCode::OK, "{begun:?}");
    assert_eq!(begun.body["username"], USERNAME);
    let ends: chrono::DateTime<chrono::Utc> =
        begun.body["expires_at"].as_str().unwrap().parse().unwrap();
    let hours = (ends - chrono::Utc::now()).num_minutes();
    assert!((479..=480).contains(&hours), "{hours}");
    let cookie = begun.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_signs_in_with_a_cookie_and_out_for_good() {
    let app = TestApp::start().await;
    let read = async |cookie: &str| {
        let request = app.anonymous(Method::GET, "/admin/session");
        answer(request.header("cookie", cookie)).await
    };
    assert_eq!(read("session=nonsense").await.status, 204);
    let cookie = cookie(&app).await;
    assert_eq!(read(&cookie).await.body["username"], USERNAME);
    let users = async || {
        let request = app.anonymous(Method::GET, "/admin/users");
        answer(request.header("cookie", &cookie)).await
    };
    assert_eq!(users().await.status, StatusCode::OK);

    let end = || {
        app.anonymous(Method::DELETE, "/admin/session")
            .header("cookie", &cookie)
    };
    answer(end()).await.assert_error(403, "cross_site_request");
    for _ in 0..2 {
        let ended = answer(end().header("x-requested-with", "console")).await;
        assert_eq!(ended.status, 204, "{ended:?}");
        let removed = ended.headers["set-cookie"].to_str().unwrap();
        assert!(removed.starts_with("session=;"), "{removed}");
        assert!(removed.contains("Max-Age=0"), "{removed}");
    }
    // Not only the browser has forgotten it.
    users().await.assert_error(401, "not_signed_in");
    assert_eq!(read(&cookie).await.status, 204);
    // Other sessions go on.
    assert_eq!(app.get("/admin/users").await.status, StatusCode::OK);
}

/// A browser adds the cookie to whatever some page makes it send.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_cookie_only_the_console_may_change_something() {
    let app = TestApp::start().await;
    let cookie = cookie(&app).await;
    let create = async |headers: &[(&str, &str)]| {
        let mut request = app
            .anonymous(Method::POST, "/admin/users")
            .header("cookie", &cookie)
            .body(r#"{"name": "Ada"}"#);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    };
    let ours = ("x-requested-with", "console");
    for refused in [
        &[][..],
        &[
            ("origin", "https://elsewhere.test"),
            ("content-type", "text/plain"),
        ],
        &[("sec-fetch-site", "same-origin")],
        &[ours, ("sec-fetch-site", "cross-site")],
        &[ours, ("sec-fetch-site", "same-site")],
    ] {
        create(refused)
            .await
            .assert_error(403, "cross_site_request");
    }
    assert_eq!(app.get("/admin/users").await.body["total"], 0);
    for accepted in [&[ours][..], &[ours, ("sec-fetch-site", "same-origin")]] {
        assert_eq!(create(accepted).await.status, 201, "{accepted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_the_cookie_travels_only_there() {
    let app = TestApp::start().await;
    let begun = app
        .anonymous(Method::POST, "/admin/session")
        .header("x-forwarded-proto", "https")
        .basic_auth(USERNAME, Some(PASSWORD));
    let begun = answer(begun).await;
    let cookie = begun.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("Secure"), "{cookie}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_says_so() {
    let app = TestApp::start().await;
    let expired = expired();
    let request = app
        .anonymous(Method::GET, "/admin/users")
        .bearer_auth(&expired);
    answer(request).await.assert_error(401, "session_expired");
    let request = app
        .anonymous(Method::GET, "/admin/users")
        .header("x-requested-with", "console")
        .header("cookie", format!("session={expired}"));
    let answer = answer(request).await;
    answer.assert_error(401, "session_expired");
    assert!(!answer.headers.contains_key("www-authenticate"));
}

/// As it was given out yesterday.
fn expired() -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as base64};
    use hmac::{Hmac, KeyInit, Mac};
    use secrecy::ExposeSecret;
    use sha2::Sha256;
    let admin = settings("postgres://nobody@127.0.0.1/nothing").admin;
    let mac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    };
    let secret = admin.jwt_secret.expose_secret().as_bytes();
    let identity = format!("{USERNAME}\0{}", admin.admin_password_hash);
    let key = mac(secret, &identity);
    let header = base64.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let then = chrono::Utc::now().timestamp() - 86_400;
    let id = uuid::Uuid::new_v4();
    let claims = format!(
        r#"{{"sub":"admin","jti":"{id}","iat":{then},"exp":{}}}"#,
        then + 28_800
    );
    let signed = format!("{header}.{}", base64.encode(claims));
    let signature = base64.encode(mac(&key, &signed));
    format!("{signed}.{signature}")
}

/// A changed password ends the sessions that the old one has opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_password_that_opened_it() {
    let app = TestApp::start().await;
    let login = app.login(USERNAME, PASSWORD).await;
    let token = login.body["access_token"].as_str().unwrap();
    let mut settings = settings(app.database.url());
    let other = control::app::App::start(settings.clone()).await.unwrap();
    settings.admin.admin_password_hash = "0".repeat(64).parse().unwrap();
    let changed = control::app::App::start(settings).await.unwrap();
    for (running, expected) in [(&other, 200), (&changed, 401)] {
        running.ready().await;
        let url = format!("http://{}/admin/users", running.admin_addr);
        let status = http_client().get(url).bearer_auth(token).send().await;
        assert_eq!(status.unwrap().status(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_need_the_token_between_the_processes() {
    let app = TestApp::start().await;
    let channel = proxy::channel(app.running.grpc_addr).await;
    for token in ["", "wrong", "a token between the processe", USERNAME] {
        let mut client = ConfigServiceClient::with_interceptor(channel.clone(), credentials(token));
        let status = client.watch(proxy::watch_request(None)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        let status = client.report(ReportRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    let mut nobody = ConfigServiceClient::new(channel);
    let status = nobody.watch(proxy::watch_request(None)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}
