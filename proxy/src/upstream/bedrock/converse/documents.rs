//! JSON of the client's that reaches the model as it is: tool schemas, tool
//! inputs, fields for the model.
//!
//! The SDK keeps such JSON in hash maps, so its members would come in another
//! order in every request. The model's prompt is made of them, and a prompt that
//! differs finds no prompt cache. So the SDK is given a mark for each of them, and
//! the JSON takes the place of its mark when the request has been serialised,
//! before it is signed.

use aws_smithy_types::Document;
use memchr::memmem;

/// Where the service model has a document. A mark anywhere else is the client's
/// own text.
const PLACES: [&[u8]; 3] = [
    b"\"json\":",
    b"\"input\":",
    b"\"additionalModelRequestFields\":",
];

/// Metadata are the only place where the client names members, and they cannot
/// hold a brace.
const MARK: &str = "{document ";

/// What takes the place of the marks, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Documents {
    texts: Vec<Box<str>>,
}

impl Documents {
    /// Keeps the JSON `text` and gives the mark that stands for it.
    pub(super) fn put(&mut self, text: impl Into<Box<str>>) -> Document {
        let mark = format!("{MARK}{}}}", self.texts.len());
        self.texts.push(text.into());
        Document::String(mark)
    }

    /// The serialised request with the documents in their places.
    pub(super) fn fill(&self, body: &[u8]) -> Vec<u8> {
        let room: usize = self.texts.iter().map(|it| it.len()).sum();
        let mut filled = Vec::with_capacity(body.len() + room);
        let start = format!(":\"{MARK}");
        let finder = memmem::Finder::new(start.as_bytes());
        let mut rest = body;
        while let Some(at) = finder.find(rest) {
            let (head, tail) = rest.split_at(at + 1);
            filled.extend_from_slice(head);
            let is_place = PLACES.iter().any(|place| head.ends_with(place));
            match self.marked(tail).filter(|_| is_place) {
                Some((text, after)) => {
                    filled.extend_from_slice(text.as_bytes());
                    rest = after;
                }
                None => {
                    filled.push(b'"');
                    rest = tail.get(1..).unwrap_or_default();
                }
            }
        }
        filled.extend_from_slice(rest);
        filled
    }

    /// The document whose mark `tail` begins with, and what follows the mark.
    fn marked<'a, 'b>(&'a self, tail: &'b [u8]) -> Option<(&'a str, &'b [u8])> {
        let number = tail.strip_prefix(b"\"")?.strip_prefix(MARK.as_bytes())?;
        let end = memchr::memchr(b'}', number)?;
        let (digits, after) = number.split_at(end);
        let index: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some((&**self.texts.get(index)?, after.strip_prefix(b"}\"")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_take_the_place_of_their_marks_and_of_nothing_else() {
        let mut documents = Documents::default();
        documents.put(r#"{"z":1,"a":"\"input\":\"{document 1}\""}"#);
        documents.put("[]");
        let body = r#"{"text":"{document 0}","input":"{document 1}","t":"\"json\":\"{document 0}\"","json":"{document 0}","input":"{document 7}"}"#;
        let filled = documents.fill(body.as_bytes());
        assert_eq!(
            String::from_utf8(filled).unwrap(),
            r#"{"text":"{document 0}","input":[],"t":"\"json\":\"{document 0}\"","json":{"z":1,"a":"\"input\":\"{document 1}\""},"input":"{document 7}"}"#
        );
    }
}
