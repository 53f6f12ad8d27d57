//! `system` → the system prompt.

use aws_sdk_bedrockruntime::types::SystemContentBlock;
use serde_json::Value;

use super::{
    Invalid,
    cache::{self, Place},
    dropped::Dropped,
    fields::{Object, as_object, is_blank, list, present, required_text, text},
    notes::Notes,
};

/// Claude Code's first line, for Anthropic's billing.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

pub(super) fn blocks(body: &Object, notes: &mut Notes) -> Result<Vec<SystemContentBlock>, Invalid> {
    let mut blocks = Vec::new();
    if let Some(Value::String(text)) = present(body, "system") {
        push(&mut blocks, text, notes);
        return Ok(blocks);
    }
    for (index, block) in list(body, "system")?.iter().enumerate() {
        let at = format!("system.{index}");
        let block = as_object(block, &at)?;
        add(&mut blocks, block, notes).map_err(|it| it.within(at))?;
    }
    Ok(blocks)
}

fn add(
    blocks: &mut Vec<SystemContentBlock>,
    block: &Object,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    if text(block, "type")? == Some("text") {
        push(blocks, required_text(block, "text")?, notes);
    } else {
        notes.drop(Dropped::System);
    }
    let point = cache::point(block, Place::System, notes)?;
    cache::push(blocks, point);
    Ok(())
}

fn push(blocks: &mut Vec<SystemContentBlock>, text: &str, notes: &mut Notes) {
    if text.starts_with(BILLING_HEADER) {
        notes.drop(Dropped::BillingHeader);
    } else if is_blank(text) {
        notes.drop(Dropped::BlankText);
    } else {
        blocks.push(SystemContentBlock::Text(text.to_owned()));
    }
}
