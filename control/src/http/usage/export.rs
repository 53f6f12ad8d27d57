//! `/admin/usage/export`: every request, as a file.
//!
//! It is written page by page while it is read: a page is fetched when the one
//! before has been taken. So it needs the memory of one page, holds no connection
//! while a client is slow, and ends with a client that leaves.

use actix_web::{
    HttpResponse, get,
    http::header::{self, ContentDisposition, DispositionParam, DispositionType},
    web::{self, Bytes},
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use utoipa::ToSchema;

use super::range::usage_query;
use crate::{
    http::{State, error::Error, query::Query},
    page::Cursor,
    store::{
        self, Store,
        rows::{self, Row},
        usage::Filter,
    },
};

/// About a megabyte.
const PAGE_ROWS: i64 = 1_000;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// With a line of names first. What a spreadsheet would take for a formula
    /// begins with an apostrophe.
    Csv,
    /// A JSON object in each line.
    Ndjson,
}

usage_query! {
    struct ExportUsage {
        /// CSV when not given.
        #[param(inline)]
        format: Option<Format>,
    }
}

/// Why an export ends too early; the client sees a body that is cut off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("read the next rows")]
    Store(#[from] store::Error),
    #[error("write a row as CSV")]
    Csv(#[from] csv::Error),
    #[error("write a row as JSON")]
    Json(#[from] serde_json::Error),
}

/// Export requests
///
/// Oldest first, without an end: ask for the range that is needed. An answer that
/// was cut off is not complete.
#[utoipa::path(
    operation_id = "export_usage",
    tag = "usage",
    params(ExportUsage),
    responses((
        status = 200,
        description = "The rows; in CSV the names of the columns come first",
        content((Row = "application/x-ndjson"), (String = "text/csv")),
    ))
)]
#[get("/usage/export")]
pub(in crate::http) async fn export(
    state: web::Data<State>,
    Query(query): Query<ExportUsage>,
) -> Result<HttpResponse, Error> {
    let filter = query.filter(state.timezone)?;
    let format = query.format.unwrap_or(Format::Csv);
    // While a refusal can still be answered.
    drop(state.store.connection().await?);
    let (media_type, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let day = |time: chrono::DateTime<chrono::Utc>| {
        let local = time.with_timezone(&state.timezone);
        local.format("%Y-%m-%d").to_string()
    };
    let name = format!(
        "usage_{}_{}.{ending}",
        day(filter.from_inclusive),
        day(filter.to_exclusive)
    );
    Ok(HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((
            header::CONTENT_DISPOSITION,
            ContentDisposition {
                disposition: DispositionType::Attachment,
                parameters: vec![DispositionParam::Filename(name)],
            },
        ))
        .streaming(pages(state.store.clone(), filter, format)))
}

/// How far an export is.
enum Progress {
    Begin,
    After(Cursor),
    End,
}

fn pages(
    store: Store,
    filter: Filter,
    format: Format,
) -> impl Stream<Item = Result<Bytes, Broken>> + 'static {
    stream::try_unfold(Progress::Begin, move |progress| {
        let store = store.clone();
        let filter = filter.clone();
        async move {
            let cursor = match progress {
                Progress::Begin => None,
                Progress::After(cursor) => Some(cursor),
                Progress::End => return Ok(None),
            };
            match page(&store, &filter, format, cursor).await {
                Ok((bytes, next)) => Ok(Some((bytes, next.map_or(Progress::End, Progress::After)))),
                Err(broken) => {
                    let error = &broken as &dyn std::error::Error;
                    tracing::warn!(error, "http.export_broken");
                    Err(broken)
                }
            }
        }
    })
}

/// The rows after a cursor, and the cursor of the last when there may be more.
async fn page(
    store: &Store,
    filter: &Filter,
    format: Format,
    cursor: Option<Cursor>,
) -> Result<(Bytes, Option<Cursor>), Broken> {
    let rows = {
        let mut connection = store.connection().await?;
        rows::after(&mut connection, filter, cursor, PAGE_ROWS).await?
    };
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= PAGE_ROWS);
    let next = rows.last().map(Row::cursor).filter(|_| is_full);
    let bytes = match format {
        Format::Csv => csv(rows, cursor.is_none())?,
        Format::Ndjson => ndjson(&rows)?,
    };
    Ok((bytes.into(), next))
}

fn csv(rows: Vec<Row>, is_first: bool) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    if is_first {
        writer.write_record(COLUMNS)?;
    }
    for row in rows {
        writer.serialize(harmless(row))?;
    }
    writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))
}

fn ndjson(rows: &[Row]) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut bytes, row)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The fields of [`Row`], in order.
const COLUMNS: [&str; 42] = [
    "event_id",
    "request_id",
    "upstream_request_id",
    "started_at",
    "duration_ms",
    "first_byte_ms",
    "user_id",
    "user_name",
    "access_key_id",
    "session_id",
    "agent_id",
    "provider",
    "is_fallback",
    "model",
    "upstream_model",
    "bedrock_model",
    "bedrock_region",
    "outcome",
    "status",
    "is_streaming",
    "is_estimate",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "pricing_model_id",
    "priced",
    "estimated_cost_usd",
    "input_cost_usd",
    "output_cost_usd",
    "cache_read_cost_usd",
    "cache_write_cost_usd",
    "bedrock_cost_usd",
    "pricing_region",
    "pricing_effective_date",
    "pricing_input_price",
    "pricing_output_price",
    "pricing_cache_read_price",
    "pricing_cache_write_5m_price",
    "pricing_cache_write_1h_price",
    "received_at",
];

/// Whoever names a session or a model must not run a formula in the spreadsheet of
/// whoever opens the file.
fn harmless(row: Row) -> Row {
    Row {
        request_id: text(row.request_id),
        upstream_request_id: text(row.upstream_request_id),
        user_name: row.user_name.map(text),
        session_id: text(row.session_id),
        agent_id: text(row.agent_id),
        model: text(row.model),
        upstream_model: text(row.upstream_model),
        bedrock_model: text(row.bedrock_model),
        bedrock_region: text(row.bedrock_region),
        outcome: text(row.outcome),
        pricing_model_id: text(row.pricing_model_id),
        pricing_region: row.pricing_region.map(text),
        ..row
    }
}

/// As OWASP advises: "CSV Injection".
fn text(text: String) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        true => format!("'{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_formula_is_text() {
        for formula in ["=1+1", "+1", "-1", "@sum(A1)", "\t=1", "\r=1", "＝1"] {
            assert_eq!(text(formula.to_owned()), format!("'{formula}"));
        }
        for harmless in ["", "claude-sonnet-4-5", "a=1", "'=1", "ü"] {
            assert_eq!(text(harmless.to_owned()), harmless);
        }
    }
}
