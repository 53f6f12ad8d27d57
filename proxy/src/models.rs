//! `/v1/models` for keys that only use Bedrock: the mappings, in the API's own
//! shape.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    error::{Error, Kind},
    upstream::{Answer, bedrock::answer},
};

/// As many as the API gives when the client names no limit, and at most.
const USUAL: usize = 20;
const MOST: usize = 1000;

/// When a model came out is not known; the API's own value for that.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Answers `/v1/models?limit=…&after_id=…` and `/v1/models/{id}`.
///
/// # Errors
///
/// A model that is not mapped.
pub fn answer(models: &BTreeSet<String>, path_and_query: &str) -> Result<Answer, Error> {
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    let body = match path.strip_prefix("/v1/models/") {
        None => page(models, query),
        Some(id) if models.contains(id) => model(id),
        Some(id) => {
            let words = format!("model: {id} is not mapped to Amazon Bedrock");
            return Err(Error::from(Kind::UnknownModel).in_the_words(&words));
        }
    };
    Ok(answer::whole(None, body.to_string().into()))
}

fn page(models: &BTreeSet<String>, query: &str) -> Value {
    let wanted = |name: &str| {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs
            .into_iter()
            .find_map(|(it, value)| (it == name).then(|| value.into_owned()))
    };
    let limit = wanted("limit").and_then(|it| it.parse().ok());
    let limit = limit.unwrap_or(USUAL).clamp(1, MOST);
    let after = wanted("after_id");
    let before = wanted("before_id");
    let found: Vec<&String> = models
        .iter()
        .filter(|id| {
            after.as_ref().is_none_or(|after| *id > after)
                && before.as_ref().is_none_or(|before| *id < before)
        })
        .collect();
    // What comes before a model is what is next to it.
    let skipped = match before {
        Some(_) => found.len().saturating_sub(limit),
        None => 0,
    };
    let page: Vec<&String> = found.iter().copied().skip(skipped).take(limit).collect();
    json!({
        "data": page.iter().map(|id| model(id)).collect::<Vec<_>>(),
        "first_id": page.first(),
        "last_id": page.last(),
        "has_more": page.len() < found.len(),
    })
}

fn model(id: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": id, "created_at": EPOCH})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Flow;

    fn ask(path_and_query: &str) -> Result<Value, Kind> {
        let models = ["a", "b", "c"].map(ToOwned::to_owned).into();
        let answer = answer(&models, path_and_query).map_err(|it| it.kind)?;
        let Flow::Whole(Some(body)) = answer.flow else {
            panic!("it should be there at once");
        };
        Ok(serde_json::from_slice(&body).unwrap())
    }

    fn ids(page: &Value) -> (Vec<&str>, bool) {
        let data = page["data"].as_array().unwrap();
        let ids = data.iter().map(|it| it["id"].as_str().unwrap()).collect();
        (ids, page["has_more"].as_bool().unwrap())
    }

    #[test]
    fn mappings_are_listed_page_by_page() {
        for (query, expected) in [
            ("", (vec!["a", "b", "c"], false)),
            ("?limit=2", (vec!["a", "b"], true)),
            ("?limit=2&after_id=b", (vec!["c"], false)),
            ("?limit=0", (vec!["a"], true)),
            ("?limit=x&before_id=c", (vec!["a", "b"], false)),
            ("?limit=1&before_id=c", (vec!["b"], true)),
        ] {
            let page = ask(&format!("/v1/models{query}")).unwrap();
            assert_eq!(ids(&page), expected, "{query}");
        }
    }

    #[test]
    fn one_model_is_found_by_its_name() {
        assert_eq!(ask("/v1/models/b").unwrap()["id"], "b");
        assert_eq!(ask("/v1/models/x"), Err(Kind::UnknownModel));
    }
}
