//! An answer that was put together here, with the head that the API would send.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::stream;
pub use crate::upstream::Answer;
use crate::upstream::Flow;

/// Where AWS names a request, for its support.
pub const AWS_REQUEST_ID: &str = "x-amzn-requestid";

/// An event stream.
pub fn stream(aws_request_id: Option<&str>, events: stream::Flow) -> Answer {
    let mut answer = of("text/event-stream; charset=utf-8", Flow::Bedrock(events));
    let headers = &mut answer.head.headers;
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    name(headers, aws_request_id);
    answer
}

/// A JSON document.
pub fn whole(aws_request_id: Option<&str>, body: Bytes) -> Answer {
    let mut answer = of("application/json", Flow::Whole(Some(body)));
    name(&mut answer.head.headers, aws_request_id);
    answer
}

fn of(content_type: &'static str, flow: Flow) -> Answer {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::OK;
    let content_type = HeaderValue::from_static(content_type);
    head.headers.insert(header::CONTENT_TYPE, content_type);
    Answer { head, flow }
}

fn name(headers: &mut HeaderMap, aws_request_id: Option<&str>) {
    if let Some(Ok(id)) = aws_request_id.map(HeaderValue::from_str) {
        headers.insert(AWS_REQUEST_ID, id);
    }
}
