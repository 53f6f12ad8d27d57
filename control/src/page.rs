//! Lists in parts, newest first. A cursor names the last item seen, so that new
//! items neither repeat nor hide others.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike, Utc};
use uuid::Uuid;

/// The place of an item in a list: its time, and its id among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub at: DateTime<Utc>,
    pub id: Uuid,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub limit: usize,
    pub after: Option<Cursor>,
}

/// A text that no list of ours has given out.
#[derive(Debug, thiserror::Error)]
#[error("is no cursor that this list has given out")]
pub struct Malformed;

impl Page {
    /// One more than the limit, to know whether there is another page.
    pub fn fetch(&self) -> i64 {
        i64::try_from(self.limit).map_or(i64::MAX, |limit| limit.saturating_add(1))
    }

    /// Takes the item too many away; the cursor of the last one that is left
    /// leads to the next page.
    pub fn cut<T>(&self, items: &mut Vec<T>, cursor: impl FnOnce(&T) -> Cursor) -> Option<Cursor> {
        if items.len() <= self.limit {
            return None;
        }
        items.truncate(self.limit);
        items.last().map(cursor)
    }
}

impl Cursor {
    /// As it travels: opaque, safe in a URL.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!(
            "{}.{}",
            self.at.timestamp_micros(),
            self.id.simple()
        ))
    }
}

impl FromStr for Cursor {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parse = || {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (micros, id) = text.split_once('.')?;
            let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
            // Postgres knows fewer years than chrono.
            (1..=9999).contains(&at.year()).then_some(())?;
            Some(Self {
                at,
                id: id.parse().ok()?,
            })
        };
        parse().ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(number: u128) -> Cursor {
        Cursor {
            at: DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap(),
            id: Uuid::from_u128(number),
        }
    }

    #[test]
    fn a_cursor_survives_the_url() {
        assert_eq!(cursor(7).encode().parse::<Cursor>().unwrap(), cursor(7));
    }

    #[test]
    fn any_other_text_is_no_cursor() {
        for text in ["", "x", "AAAA", &"A".repeat(10_000), "ü"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_last_page_leads_nowhere() {
        let page = Page {
            limit: 2,
            after: None,
        };
        let mut items = vec![1, 2];
        assert_eq!(page.cut(&mut items, |n| cursor(*n)), None);
        let mut items = vec![1, 2, 3];
        assert_eq!(page.cut(&mut items, |n| cursor(*n)), Some(cursor(2)));
        assert_eq!(items, [1, 2]);
    }
}
