//! `cache_control` on a block → a cache point behind it.

use aws_sdk_bedrockruntime::types::{
    CachePointBlock, CachePointType, CacheTtl, ContentBlock, Message, SystemContentBlock, Tool,
};
use serde_json::Value;

use super::{
    Family, Invalid,
    dropped::Dropped,
    fields::{Object, object, text},
    notes::Notes,
};

/// Bedrock's limit, which is the Messages API's too.
const MAX_POINTS: usize = 4;

/// Where a cache point would stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Tools,
    System,
    Messages,
}

/// The cache point that `block` asks for.
pub(super) fn point(
    block: &Object,
    place: Place,
    notes: &mut Notes,
) -> Result<Option<CachePointBlock>, Invalid> {
    let Some(control) = object(block, "cache_control")? else {
        return Ok(None);
    };
    let is_documented = match notes.family {
        Family::Anthropic => true,
        Family::Nova => place != Place::Tools,
        Family::Other => false,
    };
    if !is_documented {
        notes.drop(Dropped::CacheControl);
        return Ok(None);
    }
    if control.contains_key("scope") {
        notes.drop(Dropped::CacheScope);
    }
    let ttl = match text(control, "ttl").map_err(|it| it.within("cache_control"))? {
        Some("1h") if !notes.family.is_anthropic() => {
            notes.drop(Dropped::CacheTtl);
            None
        }
        Some("1h") => Some(CacheTtl::OneHour),
        Some("5m") if notes.family.is_anthropic() => Some(CacheTtl::FiveMinutes),
        Some("5m") | None => None,
        Some(_) => {
            return Err(Invalid::new(
                "cache_control.ttl",
                "Input should be '5m' or '1h'",
            ));
        }
    };
    let point = CachePointBlock::builder().r#type(CachePointType::Default);
    Ok(Some(point.set_ttl(ttl).build()?))
}

/// The cache point that `blocks` ask for: a tool result of Converse holds none, so
/// it goes behind the result, and is kept as long as the longest of them.
pub(super) fn nested(
    blocks: &[Value],
    notes: &mut Notes,
) -> Result<Option<CachePointBlock>, Invalid> {
    let mut longest: Option<CachePointBlock> = None;
    for (index, block) in blocks.iter().enumerate() {
        let Some(block) = block.as_object() else {
            continue;
        };
        let point = point(block, Place::Messages, notes);
        let point = point.map_err(|it| it.within(format!("content.{index}")))?;
        if longest.as_ref().and_then(CachePointBlock::ttl) != Some(&CacheTtl::OneHour) {
            longest = point.or(longest);
        }
    }
    Ok(longest)
}

/// A list that cache points stand in.
pub(super) trait Points {
    fn cache_point(point: CachePointBlock) -> Self;
    fn as_point(&mut self) -> Option<&mut CachePointBlock>;
    fn is_cache_point(&self) -> bool;
}

impl Points for Tool {
    fn cache_point(point: CachePointBlock) -> Self {
        Self::CachePoint(point)
    }

    fn as_point(&mut self) -> Option<&mut CachePointBlock> {
        match self {
            Self::CachePoint(point) => Some(point),
            _ => None,
        }
    }

    fn is_cache_point(&self) -> bool {
        Self::is_cache_point(self)
    }
}

impl Points for SystemContentBlock {
    fn cache_point(point: CachePointBlock) -> Self {
        Self::CachePoint(point)
    }

    fn as_point(&mut self) -> Option<&mut CachePointBlock> {
        match self {
            Self::CachePoint(point) => Some(point),
            _ => None,
        }
    }

    fn is_cache_point(&self) -> bool {
        Self::is_cache_point(self)
    }
}

impl Points for ContentBlock {
    fn cache_point(point: CachePointBlock) -> Self {
        Self::CachePoint(point)
    }

    fn as_point(&mut self) -> Option<&mut CachePointBlock> {
        match self {
            Self::CachePoint(point) => Some(point),
            _ => None,
        }
    }

    fn is_cache_point(&self) -> bool {
        Self::is_cache_point(self)
    }
}

/// Puts `point` behind what is there: not in front of everything, where there is
/// nothing to keep, and not twice at one place.
pub(super) fn push<T: Points>(list: &mut Vec<T>, point: Option<CachePointBlock>) {
    let Some(point) = point else { return };
    if list.last().is_some_and(|last| !last.is_cache_point()) {
        list.push(T::cache_point(point));
    }
}

/// Keeps the last points of a request, in the order in which the model reads it:
/// each of them stands for all that is before it.
pub(super) fn limit(
    tools: &mut Vec<Tool>,
    system: &mut Vec<SystemContentBlock>,
    messages: &mut [Message],
    notes: &mut Notes,
) {
    let in_messages = messages.iter().flat_map(|it| &it.content);
    let points =
        count(tools) + count(system) + in_messages.filter(|it| it.is_cache_point()).count();
    let mut surplus = points.saturating_sub(MAX_POINTS);
    if surplus == 0 {
        return;
    }
    notes.drop(Dropped::SurplusCache);
    remove(tools, &mut surplus);
    remove(system, &mut surplus);
    for message in messages {
        remove(&mut message.content, &mut surplus);
    }
}

/// What is kept for an hour must stand in front of what is kept for five minutes. A
/// point that was moved may stand behind it now, and is kept for five minutes, too.
pub(super) fn settle(
    tools: &mut [Tool],
    system: &mut [SystemContentBlock],
    messages: &mut [Message],
    notes: &mut Notes,
) {
    let in_messages = messages.iter_mut().flat_map(|it| &mut it.content);
    let points = tools.iter_mut().filter_map(Points::as_point);
    let points = points.chain(system.iter_mut().filter_map(Points::as_point));
    let points = points.chain(in_messages.filter_map(Points::as_point));
    let mut is_short = false;
    for point in points {
        if point.ttl != Some(CacheTtl::OneHour) {
            is_short = true;
        } else if is_short {
            point.ttl = None;
            notes.drop(Dropped::CacheTtl);
        }
    }
}

fn count<T: Points>(list: &[T]) -> usize {
    list.iter().filter(|it| it.is_cache_point()).count()
}

fn remove<T: Points>(list: &mut Vec<T>, surplus: &mut usize) {
    list.retain(|it| {
        let goes = *surplus > 0 && it.is_cache_point();
        *surplus -= usize::from(goes);
        !goes
    });
}
