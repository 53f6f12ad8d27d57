//! What an answer cites.

use aws_sdk_bedrockruntime::types::{Citation, CitationLocation, CitationsDelta};
use serde::Serialize;

/// A citation of the Messages API. One of the web has a token of Anthropic's
/// search in it and cannot be made here.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum Cited<'a> {
    #[serde(rename = "char_location")]
    Char {
        cited_text: String,
        document_index: i32,
        document_title: Option<&'a str>,
        start_char_index: i32,
        end_char_index: i32,
    },
    #[serde(rename = "page_location")]
    Page {
        cited_text: String,
        document_index: i32,
        document_title: Option<&'a str>,
        start_page_number: i32,
        end_page_number: i32,
    },
    #[serde(rename = "content_block_location")]
    Block {
        cited_text: String,
        document_index: i32,
        document_title: Option<&'a str>,
        start_block_index: i32,
        end_block_index: i32,
    },
    #[serde(rename = "search_result_location")]
    SearchResult {
        cited_text: String,
        search_result_index: i32,
        source: &'a str,
        title: Option<&'a str>,
        start_block_index: i32,
        end_block_index: i32,
    },
}

impl<'a> Cited<'a> {
    /// A citation of a whole answer.
    pub(super) fn of(citation: &'a Citation) -> Option<Self> {
        let texts = citation.source_content().iter();
        let text = texts
            .filter_map(|it| Some(it.as_text().ok()?.as_str()))
            .collect();
        let location = citation.location.as_ref()?;
        Self::at(location, text, citation.title(), citation.source())
    }

    /// A citation of a streamed answer.
    pub(super) fn of_delta(citation: &'a CitationsDelta) -> Option<Self> {
        let texts = citation.source_content().iter();
        let text = texts.filter_map(|it| it.text()).collect();
        let location = citation.location.as_ref()?;
        Self::at(location, text, citation.title(), citation.source())
    }

    fn at(
        location: &CitationLocation,
        cited_text: String,
        title: Option<&'a str>,
        source: Option<&'a str>,
    ) -> Option<Self> {
        match location {
            CitationLocation::DocumentChar(at) => Some(Self::Char {
                cited_text,
                document_index: at.document_index?,
                document_title: title,
                start_char_index: at.start?,
                end_char_index: at.end?,
            }),
            CitationLocation::DocumentPage(at) => Some(Self::Page {
                cited_text,
                document_index: at.document_index?,
                document_title: title,
                start_page_number: at.start?,
                end_page_number: at.end?,
            }),
            CitationLocation::DocumentChunk(at) => Some(Self::Block {
                cited_text,
                document_index: at.document_index?,
                document_title: title,
                start_block_index: at.start?,
                end_block_index: at.end?,
            }),
            CitationLocation::SearchResultLocation(at) => Some(Self::SearchResult {
                cited_text,
                search_result_index: at.search_result_index?,
                source: source.unwrap_or_default(),
                title,
                start_block_index: at.start?,
                end_block_index: at.end?,
            }),
            _ => None,
        }
    }
}
