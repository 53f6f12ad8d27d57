//! A JSON object whose members are exchanged without touching what is inside
//! them: a body keeps its bytes, and a large one is not taken apart.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

/// Members in their order, the values as they are written. Clones share them: a
/// request is sent in versions that differ little.
#[derive(Clone, Default)]
pub struct Members(Vec<(String, Arc<Box<RawValue>>)>);

/// What a member needs beside its name and its value.
const PUNCTUATION: usize = "\"\":,".len();

impl Members {
    /// The member of this name as it is written; of several the last.
    pub fn get(&self, name: &str) -> Option<&str> {
        let member = self.0.iter().rev().find(|(it, _)| it == name);
        member.map(|(_, value)| value.get())
    }

    /// The member of this name, read.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Takes all members of this name out.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(it, _)| it != name);
        self.0.len() < before
    }

    /// Puts a member in the place of the one of this name, or at the end.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), serde_json::Error> {
        let value = Arc::new(to_raw_value(value)?);
        match self.0.iter_mut().rev().find(|(it, _)| it == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Changes what is inside a member. It is taken apart only when `might` says
    /// so of its text, and written anew only when `change` says that it did.
    pub fn edit(
        &mut self,
        name: &str,
        might: impl FnOnce(&str) -> bool,
        change: impl FnOnce(&mut Value) -> bool,
    ) -> bool {
        let Some(text) = self.get(name).filter(|text| might(text)) else {
            return false;
        };
        let Ok(mut value) = serde_json::from_str(text) else {
            return false;
        };
        change(&mut value) && self.set(name, &value).is_ok()
    }

    /// The object as it goes on, in one allocation.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn to_vec(&self) -> Result<Vec<u8>, serde_json::Error> {
        let members = self.0.iter();
        let sizes = members.map(|(name, value)| name.len() + value.get().len() + PUNCTUATION);
        let mut written = Vec::with_capacity(sizes.sum::<usize>() + "{}".len());
        serde_json::to_writer(&mut written, self)?;
        Ok(written)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// The values are nobody's to read in a log.
impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &***value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some((name, value)) = map.next_entry()? {
                    members.push((name, Arc::new(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_keeps_its_bytes() {
        let text = r#"{"b":  [1.0, 1e2,"\u0041"],"a":{"z":1 ,"y":2},"model":"x"}"#;
        let mut members: Members = serde_json::from_str(text).unwrap();
        members.remove("model");
        members.set("c", &3).unwrap();
        members.set("a", &"new").unwrap();
        let written = serde_json::to_string(&members).unwrap();
        assert_eq!(written, r#"{"b":[1.0, 1e2,"\u0041"],"a":"new","c":3}"#);
    }

    #[test]
    fn a_member_is_taken_apart_only_when_it_might_matter() {
        let mut members: Members = serde_json::from_str(r#"{"a": {"x":1.50}}"#).unwrap();
        assert!(!members.edit("a", |_| false, |_| unreachable!()));
        assert!(!members.edit("a", |_| true, |_| false));
        assert!(!members.edit("b", |_| true, |_| true));
        assert_eq!(members.get("a"), Some(r#"{"x":1.50}"#));
        let change = |value: &mut Value| value["x"].take() != Value::Null;
        assert!(members.edit("a", |text| text.contains('x'), change));
        assert_eq!(members.get("a"), Some(r#"{"x":null}"#));
    }
}
