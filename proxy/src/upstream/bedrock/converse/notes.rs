//! What the translation of one request gathers on its way.

use std::collections::HashSet;

use aws_smithy_types::Document;
use serde_json::Value;

use super::{Family, documents::Documents, dropped::Dropped, names::Names, texts::Texts};

/// Passed through all parts of the translation.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) family: Family,
    pub(super) names: Names,
    pub(super) texts: Texts,
    documents: Documents,
    dropped: Vec<Dropped>,
    titles: HashSet<String>,
}

impl Notes {
    pub(super) fn new(family: Family, names: Names, texts: Texts) -> Self {
        Self {
            family,
            names,
            texts,
            documents: Documents::default(),
            dropped: Vec::new(),
            titles: HashSet::new(),
        }
    }

    /// Something is left out. It is noted once per request.
    pub(super) fn drop(&mut self, what: Dropped) {
        if !self.dropped.contains(&what) {
            self.dropped.push(what);
        }
    }

    /// Puts JSON into the request: as `text` says it, else as `value` does.
    pub(super) fn document(&mut self, text: Option<Box<str>>, value: &Value) -> Document {
        let text = text.unwrap_or_else(|| value.to_string().into());
        self.documents.put(text)
    }

    /// `title`, or the same with the first number that makes it the only one: no
    /// two documents of a request may have the same name.
    pub(super) fn unique(&mut self, title: String) -> String {
        if self.titles.insert(title.clone()) {
            return title;
        }
        let mut number = 2;
        loop {
            let candidate = format!("{title} {number}");
            if self.titles.insert(candidate.clone()) {
                return candidate;
            }
            number += 1;
        }
    }

    pub(super) fn finish(self) -> (Names, Documents, Vec<Dropped>) {
        (self.names, self.documents, self.dropped)
    }
}
