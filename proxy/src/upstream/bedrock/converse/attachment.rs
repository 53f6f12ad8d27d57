//! Images, documents and search results.

use aws_sdk_bedrockruntime::types::{
    CitationsConfig, DocumentBlock, DocumentContentBlock, DocumentFormat, DocumentSource,
    ImageBlock, ImageFormat, ImageSource, SearchResultBlock, SearchResultContentBlock,
};
use aws_smithy_types::{Blob, base64};
use serde_json::Value;

use super::{
    Invalid,
    dropped::Dropped,
    fields::{Object, as_object, is_blank, is_true, list, object, present, required_text, text},
    notes::Notes,
};

/// `DocumentBlockNameString` of the service model has 200, and a number may follow.
const MAX_NAME_LENGTH: usize = 190;

/// The name of a document without a title that Converse accepts.
const UNTITLED: &str = "Document";

pub(super) fn image(block: &Object) -> Result<ImageBlock, Invalid> {
    image_of(source(block)?).map_err(|it| it.within("source"))
}

fn source(block: &Object) -> Result<&Object, Invalid> {
    object(block, "source")?.ok_or_else(|| Invalid::missing("source"))
}

fn image_of(source: &Object) -> Result<ImageBlock, Invalid> {
    // Converse fetches nothing, and knows no uploaded files.
    if required_text(source, "type")? != "base64" {
        return Err(Invalid::new("type", "Input should be 'base64'"));
    }
    let format = match required_text(source, "media_type")? {
        "image/png" => ImageFormat::Png,
        "image/jpeg" => ImageFormat::Jpeg,
        "image/gif" => ImageFormat::Gif,
        "image/webp" => ImageFormat::Webp,
        _ => {
            let reason = "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'";
            return Err(Invalid::new("media_type", reason));
        }
    };
    let image = ImageBlock::builder()
        .format(format)
        .source(ImageSource::Bytes(bytes(source)?));
    Ok(image.build()?)
}

fn bytes(source: &Object) -> Result<Blob, Invalid> {
    match base64::decode(required_text(source, "data")?) {
        Ok(bytes) if !bytes.is_empty() => Ok(Blob::new(bytes)),
        _ => Err(Invalid::new("data", "Input should be valid base64")),
    }
}

pub(super) fn document(block: &Object, notes: &mut Notes) -> Result<DocumentBlock, Invalid> {
    let content = source(block)?;
    let (format, content) = document_of(content, notes).map_err(|it| it.within("source"))?;
    let name = name(text(block, "title")?.unwrap_or_default());
    let context = text(block, "context")?.filter(|it| !is_blank(it));
    let document = DocumentBlock::builder()
        .format(format)
        .name(notes.unique(name))
        .source(content)
        .set_context(context.map(str::to_owned))
        .set_citations(citations(block)?);
    Ok(document.build()?)
}

fn document_of(
    source: &Object,
    notes: &mut Notes,
) -> Result<(DocumentFormat, DocumentSource), Invalid> {
    match required_text(source, "type")? {
        "base64" => {
            if required_text(source, "media_type")? != "application/pdf" {
                let reason = "Input should be 'application/pdf'";
                return Err(Invalid::new("media_type", reason));
            }
            Ok((DocumentFormat::Pdf, DocumentSource::Bytes(bytes(source)?)))
        }
        "text" => {
            let text = required_text(source, "data")?.to_owned();
            Ok((DocumentFormat::Txt, DocumentSource::Text(text)))
        }
        "content" => {
            let parts = parts(source, notes)?;
            Ok((DocumentFormat::Txt, DocumentSource::Content(parts)))
        }
        _ => {
            let reason = "Input should be 'base64', 'text' or 'content'";
            Err(Invalid::new("type", reason))
        }
    }
}

fn parts(source: &Object, notes: &mut Notes) -> Result<Vec<DocumentContentBlock>, Invalid> {
    if let Some(Value::String(text)) = present(source, "content") {
        return Ok(vec![DocumentContentBlock::Text(text.clone())]);
    }
    let mut parts = Vec::new();
    for (index, part) in list(source, "content")?.iter().enumerate() {
        let at = format!("content.{index}");
        let part = as_object(part, &at)?;
        if text(part, "type")? != Some("text") {
            notes.drop(Dropped::DocumentImage);
            continue;
        }
        let text = required_text(part, "text").map_err(|it| it.within(at))?;
        parts.push(DocumentContentBlock::Text(text.to_owned()));
    }
    Ok(parts)
}

/// `title` in the characters that a document's name may have: letters and digits,
/// single spaces, hyphens, parentheses, square brackets.
fn name(title: &str) -> String {
    let mut name = String::new();
    for char in title.chars() {
        match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '(' | ')' | '[' | ']' => name.push(char),
            _ if name.ends_with(' ') => {}
            _ => name.push(' '),
        }
    }
    name.truncate(MAX_NAME_LENGTH);
    let name = name.trim();
    if name.is_empty() {
        return UNTITLED.to_owned();
    }
    name.to_owned()
}

fn citations(block: &Object) -> Result<Option<CitationsConfig>, Invalid> {
    let Some(citations) = object(block, "citations")? else {
        return Ok(None);
    };
    let citations = CitationsConfig::builder().enabled(is_true(citations, "enabled"));
    Ok(Some(citations.build()?))
}

pub(super) fn search_result(
    block: &Object,
    notes: &mut Notes,
) -> Result<SearchResultBlock, Invalid> {
    let mut found = Vec::new();
    for (index, part) in list(block, "content")?.iter().enumerate() {
        let at = format!("content.{index}");
        let part = as_object(part, &at)?;
        let text = required_text(part, "text").map_err(|it| it.within(at))?;
        if is_blank(text) {
            notes.drop(Dropped::BlankText);
            continue;
        }
        found.push(SearchResultContentBlock::builder().text(text).build()?);
    }
    let result = SearchResultBlock::builder()
        .source(required_text(block, "source")?)
        .title(required_text(block, "title")?)
        .set_content(Some(found))
        .set_citations(citations(block)?);
    Ok(result.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_documents_have_the_characters_that_are_allowed() {
        for (title, expected) in [
            ("", "Document"),
            ("report", "report"),
            ("Q3/report_final.pdf", "Q3 report final pdf"),
            ("  a \t\n b  ", "a b"),
            ("보고서.pdf", "pdf"),
            ("보고서", "Document"),
            ("a (1) [x]-y", "a (1) [x]-y"),
        ] {
            assert_eq!(name(title), expected, "{title:?}");
        }
        assert_eq!(name(&"x".repeat(500)).len(), MAX_NAME_LENGTH);
    }
}
