//! The console: the files that `npm run build` has made, from inside this binary.
//!
//! The page is the same for every place in the console. Its assets have their
//! content's hash in their names, so they may be kept for ever; everything else is
//! asked for again, and mostly unchanged.

use std::{borrow::Cow, collections::HashMap};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap},
    },
    web::{self, Bytes},
};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::{
    error::Error,
    openapi::{self, Document},
};

#[derive(RustEmbed)]
#[folder = "../console/dist"]
struct Built;

const PAGE: &str = "index.html";

/// Instead of the page, where there is none.
const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Claude Code Proxy</title>
<p>The console is not in this binary. Run <code>npm ci</code> and <code>npm run build</code> in
<code>console/</code>, then build control again.
</html>
";

/// Only what comes from here, and nothing in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The console's files by their paths.
#[derive(Debug)]
pub(super) struct Console {
    files: HashMap<String, File>,
}

#[derive(Debug)]
struct File {
    content_type: &'static str,
    cache_control: &'static str,
    etag: String,
    plain: Bytes,
    /// Beside it with `.br` and `.gz` at the end, if the build has made them.
    brotli: Option<Bytes>,
    gzip: Option<Bytes>,
}

impl Console {
    pub(super) fn new() -> Self {
        Self::of(Built::iter().filter_map(|path| {
            let content = match Built::get(&path)?.data {
                Cow::Borrowed(content) => Bytes::from_static(content),
                Cow::Owned(content) => Bytes::from(content),
            };
            Some((path.into_owned(), content))
        }))
    }

    fn of(built: impl Iterator<Item = (String, Bytes)>) -> Self {
        let mut built: HashMap<String, Bytes> = built.collect();
        built
            .entry(PAGE.to_owned())
            .or_insert(Bytes::from_static(NOT_BUILT.as_bytes()));
        let files = built
            .iter()
            .filter(|(path, _)| !path.ends_with(".br") && !path.ends_with(".gz"))
            .map(|(path, plain)| {
                let compressed = |extension| built.get(&format!("{path}.{extension}")).cloned();
                let file = File {
                    content_type: content_type(path),
                    cache_control: cache_control(path),
                    etag: format!("W/\"{}\"", hex::encode(Sha256::digest(plain))),
                    plain: plain.clone(),
                    brotli: compressed("br"),
                    gzip: compressed("gz"),
                };
                (path.clone(), file)
            })
            .collect();
        Self { files }
    }

    /// The file that a browser means; none where it may only mean the API.
    fn file(&self, path: &str, headers: &HeaderMap) -> Option<&File> {
        let path = path.strip_prefix('/')?;
        if ["admin", "api"].contains(&path.split('/').next()?) {
            return None;
        }
        self.files.get(path).or_else(|| {
            let is_file = path.starts_with("assets/") || path.rsplit('/').next()?.contains('.');
            let is_visit = path.is_empty() || accepts(headers, header::ACCEPT, "text/html");
            self.files.get(PAGE).filter(|_| !is_file && is_visit)
        })
    }
}

impl File {
    fn answer(&self, headers: &HeaderMap) -> HttpResponse {
        let is_known = accepts(headers, header::IF_NONE_MATCH, &self.etag);
        let mut response = match is_known {
            true => HttpResponse::NotModified(),
            false => HttpResponse::Ok(),
        };
        response
            .insert_header((header::ETAG, self.etag.as_str()))
            .insert_header((header::CACHE_CONTROL, self.cache_control))
            .insert_header((header::VARY, "accept-encoding"))
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
        if is_known {
            return response.finish();
        }
        let (encoding, content) = self.smallest(headers);
        if let Some(encoding) = encoding {
            response.insert_header((header::CONTENT_ENCODING, encoding));
        }
        response.content_type(self.content_type).body(content)
    }

    fn smallest(&self, headers: &HeaderMap) -> (Option<&'static str>, Bytes) {
        let candidates = [("br", &self.brotli), ("gzip", &self.gzip)];
        let smallest = candidates.into_iter().find_map(|(encoding, content)| {
            let content = content.clone()?;
            accepts(headers, header::ACCEPT_ENCODING, encoding).then_some((encoding, content))
        });
        match smallest {
            Some((encoding, content)) => (Some(encoding), content),
            None => (None, self.plain.clone()),
        }
    }
}

/// Everything that no route of the API takes.
pub(super) async fn serve(
    request: HttpRequest,
    console: web::Data<Console>,
    document: web::Data<Document>,
) -> Result<HttpResponse, Error> {
    let is_get = *request.method() == Method::GET;
    let file = console.file(request.path(), request.headers());
    match file.filter(|_| is_get) {
        Some(file) => Ok(file.answer(request.headers())),
        None => openapi::no_such_route(&request, &document),
    }
}

/// Whether a header lists something, and not as what is unwanted.
fn accepts(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| {
            let mut part = part.split(';').map(str::trim);
            part.next() == Some(wanted) && !part.any(|weight| weight == "q=0")
        })
}

fn cache_control(path: &str) -> &'static str {
    match path.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{
        body::{BodySize, MessageBody, to_bytes},
        http::{
            StatusCode,
            header::{HeaderName, HeaderValue},
        },
    };

    use super::*;

    fn console() -> Console {
        let files = [
            ("index.html", "page"),
            ("theme.js", "theme"),
            ("assets/main-abc.js", "script"),
            ("assets/main-abc.js.br", "br"),
            ("assets/main-abc.js.gz", "gz"),
        ];
        let files =
            files.map(|(path, content)| (path.to_owned(), Bytes::from_static(content.as_bytes())));
        Console::of(files.into_iter())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn sent<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
        Some(response.headers().get(name)?.to_str().unwrap())
    }

    fn plain(path: &str, accept: &'static str) -> Option<String> {
        let console = console();
        let file = console.file(path, &headers(&[("accept", accept)]))?;
        Some(String::from_utf8(file.plain.to_vec()).unwrap())
    }

    #[test]
    fn every_place_in_the_console_is_the_page_and_no_file_is() {
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        for path in [
            "/",
            "/login",
            "/users/0192",
            "/index.html",
            "/administration",
        ] {
            assert_eq!(plain(path, browser).as_deref(), Some("page"), "{path}");
        }
        for path in [
            "/admin",
            "/admin/users",
            "/api/pricing",
            "/assets/gone.js",
            "/favicon.ico",
            "/a/b.txt",
        ] {
            assert_eq!(plain(path, browser), None, "{path}");
        }
        assert_eq!(plain("/", "*/*").as_deref(), Some("page"));
        assert_eq!(plain("/login", "application/json"), None);
        assert_eq!(plain("/theme.js", "*/*").as_deref(), Some("theme"));
        // What the build has put beside a file is not a file of its own.
        assert_eq!(plain("/assets/main-abc.js.br", "*/*"), None);
    }

    #[actix_web::test]
    async fn a_file_is_sent_as_small_as_it_can_be_read() {
        let console = console();
        for (accepted, encoding, content) in [
            ("gzip, deflate, br, zstd", Some("br"), "br"),
            ("gzip;q=0.5", Some("gzip"), "gz"),
            ("br;q=0, gzip", Some("gzip"), "gz"),
            ("identity", None, "script"),
        ] {
            let asked = headers(&[("accept-encoding", accepted)]);
            let response = console.files["assets/main-abc.js"].answer(&asked);
            assert_eq!(sent(&response, "content-encoding"), encoding);
            let forever = Some("public, max-age=31536000, immutable");
            assert_eq!(sent(&response, "cache-control"), forever);
            assert_eq!(sent(&response, "vary"), Some("accept-encoding"));
            let body = to_bytes(response.into_body()).await.unwrap();
            assert_eq!(body, content.as_bytes(), "{accepted}");
        }
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let console = console();
        let page = &console.files[PAGE];
        let first = page.answer(&HeaderMap::new());
        assert_eq!(sent(&first, "cache-control"), Some("no-cache"));
        let etag = sent(&first, "etag").unwrap();
        let again = page.answer(&headers(&[("if-none-match", etag)]));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.body().size(), BodySize::Sized(0));
        let other = page.answer(&headers(&[("if-none-match", "W/\"other\"")]));
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn without_the_build_the_page_says_how_to_make_it() {
        let console = Console::of(std::iter::empty());
        let page = console.file("/", &HeaderMap::new()).unwrap();
        assert!(page.plain.windows(13).any(|part| part == b"npm run build"));
    }
}
