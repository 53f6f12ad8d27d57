//! A proxy and a control of different versions talk to each other during every
//! rollout, so a field keeps its number, its name and its type for ever.
//!
//! `tests/contract.txt` has a line for each field. A line that is missing from
//! the compiled files is a field removed or renumbered: do not. A line that is
//! missing from the snapshot is a new field: add it with
//! `UPDATE_CONTRACT=1 cargo test -p proto`, which never takes a line away.

#![cfg(test)]

use std::{collections::BTreeSet, fs};

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract.txt");

#[test]
fn no_field_is_removed_or_renumbered() {
    let mut promised: BTreeSet<String> = fs::read_to_string(SNAPSHOT)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    let compiled = contract();

    let removed: Vec<_> = promised.difference(&compiled).collect();
    assert!(
        removed.is_empty(),
        "the contract promises these: {removed:#?}"
    );

    let added: Vec<_> = compiled.difference(&promised).cloned().collect();
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        promised.extend(added);
        let text: Vec<_> = promised.into_iter().collect();
        fs::write(SNAPSHOT, text.join("\n") + "\n").unwrap();
        return;
    }
    assert!(
        added.is_empty(),
        "not in {SNAPSHOT} yet, so not protected: {added:#?}"
    );
}

/// One line per field, enum value and method.
fn contract() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(proto::DESCRIPTOR).unwrap();
    let mut lines = BTreeSet::new();
    for file in set
        .file
        .iter()
        .filter(|file| file.package().starts_with("ccproxy."))
    {
        for message in &file.message_type {
            describe(message, &mut lines);
        }
        for kind in &file.enum_type {
            for value in &kind.value {
                let (name, number) = (value.name(), value.number());
                lines.insert(format!("enum {} {number} {name}", kind.name()));
            }
        }
        for service in &file.service {
            for method in &service.method {
                lines.insert(format!(
                    "rpc {}.{} {} stream={} returns {} stream={}",
                    service.name(),
                    method.name(),
                    method.input_type(),
                    method.client_streaming(),
                    method.output_type(),
                    method.server_streaming()
                ));
            }
        }
    }
    lines
}

fn describe(message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    for field in &message.field {
        lines.insert(format!(
            "message {} {} {} {:?} {:?} {}",
            message.name(),
            field.number(),
            field.name(),
            field.label(),
            field.r#type(),
            field.type_name()
        ));
    }
    for nested in &message.nested_type {
        describe(nested, lines);
    }
}
