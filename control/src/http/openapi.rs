//! The description of the admin API, made from the routes themselves, and the
//! answer to requests that no route takes.

use actix_web::{HttpRequest, HttpResponse, Responder, dev::ResourceDef, get, http::Method, web};
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        ContentBuilder, OpenApi as Description, PathItem, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_actix_web::AppExt;

use super::{
    auth::COOKIE,
    error::{Code, Error, ErrorBody},
    routes,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Claude Code Proxy: admin API",
        description = "Users, access keys, credentials for Bedrock, models, usage and proxies. \
                       Times are RFC 3339 in UTC; lists of what people make are newest first; \
                       every refusal has a code. Every answer has an `x-request-id`; that to a \
                       change which proxies must learn of has the `x-config-revision` at which \
                       they get it.",
    ),
    security(("session" = []), ("cookie" = [])),
    components(schemas(ErrorBody)),
    modifiers(&SecuritySchemes),
)]
struct Api;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, description: &mut Description) {
        let components = description.components.get_or_insert_default();
        components.add_security_scheme(
            "session",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
        components.add_security_scheme(
            "cookie",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                COOKIE,
                "Begun with POST /admin/session; changes need the header x-requested-with too",
            ))),
        );
        components.add_security_scheme(
            "basic",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)),
        );
    }
}

/// The description of every route.
pub fn document() -> Description {
    let (_, mut description) = actix_web::App::new()
        .into_utoipa_app()
        .openapi(Api::openapi())
        .configure(routes)
        .split_for_parts();
    for (path, item) in &mut description.paths.paths {
        for (method, operation) in operations_mut(item) {
            add_common_errors(path, &method, operation);
        }
    }
    description
}

/// What can go wrong everywhere.
fn add_common_errors(path: &str, method: &Method, operation: &mut Operation) {
    let is_change = *method != Method::GET;
    let is_protected = operation.security.is_none();
    let has_body = operation.request_body.is_some();
    let has_input = has_body || operation.parameters.is_some() || path.contains('{');
    let mut add = |status: &str, description: &str| {
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(|| error_response(description));
    };
    if is_protected {
        add("401", "Not signed in, or no longer");
        if is_change {
            add("403", "Another site's page has asked for it");
        }
        add("500", "Something is wrong with control");
        add("503", "The database cannot be used now");
    }
    if has_input {
        add("400", "The request is not what is expected");
    }
    if has_body {
        add("408", "The body did not arrive in time");
        add("413", "The body is too large");
    }
}

fn error_response(description: &str) -> RefOr<utoipa::openapi::Response> {
    let schema = Ref::from_schema_name(ErrorBody::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .build()
        .into()
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, item.get.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

/// The description as it is served, and which methods each path has.
#[derive(Debug)]
pub(super) struct Document {
    json: String,
    methods: Vec<(ResourceDef, Vec<Method>)>,
}

impl Document {
    pub(super) fn new() -> Self {
        let mut description = document();
        let methods = description
            .paths
            .paths
            .iter_mut()
            .map(|(path, item)| {
                let methods = operations_mut(item).map(|(method, _)| method).collect();
                (ResourceDef::new(path.as_str()), methods)
            })
            .chain([(ResourceDef::new("/"), vec![Method::GET])])
            .collect();
        Self {
            json: description.to_json().unwrap_or_default(),
            methods,
        }
    }

    fn methods_of(&self, path: &str) -> Option<String> {
        let (_, methods) = self
            .methods
            .iter()
            .find(|(resource, _)| resource.is_match(path))?;
        let names: Vec<_> = methods
            .iter()
            .flat_map(|method| match *method {
                Method::GET => vec!["GET", "HEAD"],
                _ => vec![method.as_str()],
            })
            .collect();
        Some(names.join(", "))
    }
}

/// Describe this API
#[utoipa::path(
    operation_id = "read_openapi",
    tag = "operations",
    security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object))
)]
#[get("/openapi.json")]
pub(super) async fn serve(document: web::Data<Document>) -> impl Responder {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(document.json.clone())
}

/// No route took the request: is it the path, or only the method?
pub(super) fn no_such_route(
    request: &HttpRequest,
    document: &Document,
) -> Result<HttpResponse, Error> {
    match document.methods_of(request.path()) {
        Some(allow) => Err(Error::method_not_allowed(allow)),
        None => Err(Code::RouteNotFound.into()),
    }
}
