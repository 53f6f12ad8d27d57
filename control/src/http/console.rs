//! `/`: the console, one page without anything from elsewhere.
//!
//! Its script and style are in the page; the policy names their hashes, so
//! nothing else can run there.

use actix_web::{HttpResponse, Responder, get, http::header, web};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../../console/index.html");

#[derive(Debug)]
pub(super) struct Console {
    page: String,
    policy: String,
}

impl Console {
    pub(super) fn new(public_url: &str) -> Self {
        Self {
            page: PAGE.replace("{{public_url}}", &escape(public_url)),
            policy: format!(
                "default-src 'none'; connect-src 'self'; img-src data:; \
                 script-src 'sha256-{}'; style-src 'sha256-{}'; \
                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                hash_of("script"),
                hash_of("style"),
            ),
        }
    }
}

#[get("/")]
pub(super) async fn page(console: web::Data<Console>) -> impl Responder {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, console.policy.clone()))
        .body(console.page.clone())
}

/// Of what is between the page's only pair of these tags.
fn hash_of(tag: &str) -> String {
    let inside = PAGE
        .split_once(&format!("<{tag}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")))
        .map_or("", |(inside, _)| inside);
    STANDARD.encode(Sha256::digest(inside))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}
