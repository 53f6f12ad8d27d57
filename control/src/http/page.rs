//! `limit` and `cursor` of every list.

use super::error::{Code, Error};
use crate::page::Page;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// # Errors
/// 400 `invalid_query`.
pub(super) fn page(limit: Option<usize>, cursor: Option<&str>) -> Result<Page, Error> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::with_message(
            Code::InvalidQuery,
            format!("limit must be 1 to {MAX_LIMIT}."),
        ));
    }
    let after = cursor.map(str::parse).transpose().map_err(|_format| {
        Error::with_message(
            Code::InvalidQuery,
            "cursor must be a next_cursor of this list.",
        )
    })?;
    Ok(Page { limit, after })
}
