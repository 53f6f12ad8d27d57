//! Names of tools and ids of their uses, in letters that Converse accepts.
//!
//! A name that Converse accepts stays as it is. Another becomes its acceptable
//! characters and a hash of all of them: the same one in every request, because
//! the model's earlier uses come back in later ones.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    Family,
    fields::{Object, present},
};

/// `ToolName` and `ToolUseId` of the service model.
const MAX_LENGTH: usize = 64;

/// Sixteen hexadecimal digits and what separates them.
const HASH_LENGTH: usize = 17;

/// The names of one request, there and back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    tools: Mapping,
    ids: Mapping,
}

/// Only what had to be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Mapping {
    there: HashMap<String, String>,
    back: HashMap<String, String>,
}

impl Names {
    /// The names in a Messages body for a model of `family`.
    pub(super) fn of(body: &Object, family: Family) -> Self {
        let mut tools = Vec::new();
        let mut ids = Vec::new();
        for tool in members(body, "tools") {
            tools.extend(string(tool, "name"));
        }
        if let Some(choice) = body.get("tool_choice").and_then(Value::as_object) {
            tools.extend(string(choice, "name"));
        }
        for block in members(body, "messages").flat_map(|it| members(it, "content")) {
            ids.extend(string(block, "id"));
            ids.extend(string(block, "tool_use_id"));
            tools.extend(string(block, "name"));
            for inner in members(block, "content") {
                tools.extend(string(inner, "tool_name"));
            }
        }
        // Ids that other models made may have letters that Anthropic's refuse.
        let is_accepted = if family.is_anthropic() {
            is_name
        } else {
            is_id
        };
        Self {
            tools: Mapping::of(tools, is_name),
            ids: Mapping::of(ids, is_accepted),
        }
    }

    /// The names for these tools and ids.
    pub fn new<'a>(
        tools: impl IntoIterator<Item = &'a str>,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            tools: Mapping::of(tools.into_iter().collect(), is_name),
            ids: Mapping::of(ids.into_iter().collect(), is_id),
        }
    }

    /// What Converse calls the client's tool.
    pub fn tool_there<'a>(&'a self, name: &'a str) -> &'a str {
        self.tools.there.get(name).map_or(name, String::as_str)
    }

    /// What the client calls Converse's tool.
    pub fn tool_back<'a>(&'a self, name: &'a str) -> &'a str {
        self.tools.back.get(name).map_or(name, String::as_str)
    }

    /// What Converse calls the client's tool use.
    pub fn id_there<'a>(&'a self, id: &'a str) -> &'a str {
        self.ids.there.get(id).map_or(id, String::as_str)
    }

    /// What the client calls Converse's tool use. The ids that Bedrock gives are
    /// as good as any and stay.
    pub fn id_back<'a>(&'a self, id: &'a str) -> &'a str {
        self.ids.back.get(id).map_or(id, String::as_str)
    }
}

impl Mapping {
    fn of(originals: Vec<&str>, is_accepted: fn(u8) -> bool) -> Self {
        let fits = |name: &str| {
            !name.is_empty() && name.len() <= MAX_LENGTH && name.bytes().all(is_accepted)
        };
        let mut mapping = Self::default();
        if originals.iter().all(|name| fits(name)) {
            return mapping;
        }
        let mut taken: HashSet<String> = originals
            .iter()
            .filter(|name| fits(name))
            .map(|name| (*name).to_owned())
            .collect();
        for name in originals.into_iter().filter(|name| !fits(name)) {
            if mapping.there.contains_key(name) {
                continue;
            }
            let mut salt = 0;
            let mut candidate = replacement(name, salt, is_accepted);
            while !taken.insert(candidate.clone()) {
                salt += 1;
                candidate = replacement(name, salt, is_accepted);
            }
            mapping.there.insert(name.to_owned(), candidate.clone());
            mapping.back.insert(candidate, name.to_owned());
        }
        mapping
    }
}

/// The characters that are accepted, for the model to read, and a hash of all.
fn replacement(name: &str, salt: u64, is_accepted: fn(u8) -> bool) -> String {
    let mut readable: String = name
        .chars()
        .map(|char| u8::try_from(char).unwrap_or(0))
        .map(|byte| {
            if is_accepted(byte) {
                char::from(byte)
            } else {
                '_'
            }
        })
        .take(MAX_LENGTH - HASH_LENGTH)
        .collect();
    readable.push_str(&format!("_{:016x}", hash(name.as_bytes(), salt)));
    readable
}

/// FNV-1a: the same in every process and version. A client that makes two of its
/// own names collide has gained a number.
fn hash(bytes: &[u8], salt: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ salt;
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_id(byte: u8) -> bool {
    is_name(byte) || matches!(byte, b'.' | b':')
}

fn members<'a>(object: &'a Object, name: &str) -> impl Iterator<Item = &'a Object> {
    let list = object.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_object)
}

fn string<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    present(object, name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_converse_accepts_stays() {
        let names = Names::new(
            ["Bash", "mcp__server__do-it"],
            ["toolu_01", "tooluse_a.b:c-d"],
        );
        assert_eq!(names, Names::default());
        assert_eq!(names.tool_there("Bash"), "Bash");
        assert_eq!(names.tool_back("never seen"), "never seen");
        assert_eq!(names.id_there("toolu_01"), "toolu_01");
    }

    #[test]
    fn what_it_does_not_accept_is_the_same_in_every_request() {
        let long = "x".repeat(65);
        let first = Names::new(["a.b"], ["id with spaces"]);
        let second = Names::new(["other tool", "a.b", &long], ["#", "id with spaces"]);
        assert_eq!(first.tool_there("a.b"), second.tool_there("a.b"));
        assert_eq!(first.tool_there("a.b"), "a_b_e61d99190466522c");
        assert_eq!(
            first.id_there("id with spaces"),
            second.id_there("id with spaces")
        );
        assert_eq!(second.tool_there(&long).len(), MAX_LENGTH);
        assert_eq!(second.tool_back(second.tool_there(&long)), long);
    }

    #[test]
    fn a_name_that_looks_like_a_replacement_is_no_other_tool() {
        let replacement = Names::new(["a.b"], []).tool_there("a.b").to_owned();
        let names = Names::new(["a.b", &replacement], []);
        assert_eq!(names.tool_there(&replacement), replacement);
        assert_ne!(names.tool_there("a.b"), replacement);
        assert_eq!(names.tool_back(names.tool_there("a.b")), "a.b");
    }
}
