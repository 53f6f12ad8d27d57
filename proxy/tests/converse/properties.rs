//! What holds for every name and every stream.

use aws_sdk_bedrockruntime::{
    primitives::Blob,
    types::{
        ContentBlockDelta, ContentBlockDeltaEvent, ContentBlockStart, ContentBlockStartEvent,
        ContentBlockStopEvent, ConversationRole, ConverseStreamMetadataEvent, ConverseStreamOutput,
        MessageStartEvent, MessageStopEvent, ReasoningContentBlockDelta, StopReason, TokenUsage,
        ToolUseBlockDelta, ToolUseBlockStart,
    },
};
use proptest::{collection::vec, prelude::*};
use proxy::upstream::bedrock::converse::{names::Names, stream::Events};
use serde_json::Value;

fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn is_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn event() -> impl Strategy<Value = ConverseStreamOutput> {
    let delta = prop_oneof![
        ".{0,3}".prop_map(ContentBlockDelta::Text),
        "[{}\":a]{0,3}".prop_map(|input| {
            ContentBlockDelta::ToolUse(ToolUseBlockDelta::builder().input(input).build().unwrap())
        }),
        ".{0,3}".prop_map(|it| {
            ContentBlockDelta::ReasoningContent(ReasoningContentBlockDelta::Text(it))
        }),
        "[a-z]{0,3}".prop_map(|it| {
            ContentBlockDelta::ReasoningContent(ReasoningContentBlockDelta::Signature(it))
        }),
        vec(any::<u8>(), 0..4).prop_map(|it| {
            let data = ReasoningContentBlockDelta::RedactedContent(Blob::new(it));
            ContentBlockDelta::ReasoningContent(data)
        }),
    ];
    let number = || 0..4_i32;
    prop_oneof![
        1 => Just(ConverseStreamOutput::MessageStart(
            MessageStartEvent::builder().role(ConversationRole::Assistant).build().unwrap()
        )),
        3 => number().prop_map(|number| {
            let tool = ToolUseBlockStart::builder().tool_use_id("id").name("tool").build();
            let start = ContentBlockStartEvent::builder()
                .content_block_index(number)
                .start(ContentBlockStart::ToolUse(tool.unwrap()));
            ConverseStreamOutput::ContentBlockStart(start.build().unwrap())
        }),
        8 => (number(), delta).prop_map(|(number, delta)| {
            let event = ContentBlockDeltaEvent::builder().content_block_index(number).delta(delta);
            ConverseStreamOutput::ContentBlockDelta(event.build().unwrap())
        }),
        3 => number().prop_map(|number| {
            let stop = ContentBlockStopEvent::builder().content_block_index(number);
            ConverseStreamOutput::ContentBlockStop(stop.build().unwrap())
        }),
        1 => Just(ConverseStreamOutput::MessageStop(
            MessageStopEvent::builder().stop_reason(StopReason::EndTurn).build().unwrap()
        )),
        1 => Just(ConverseStreamOutput::Metadata(
            ConverseStreamMetadataEvent::builder()
                .usage(
                    TokenUsage::builder()
                        .input_tokens(7)
                        .output_tokens(8)
                        .total_tokens(15)
                        .build()
                        .unwrap(),
                )
                .build()
        )),
    ]
}

fn is_tool_piece(event: &ConverseStreamOutput) -> bool {
    let delta = event
        .as_content_block_delta()
        .ok()
        .and_then(|it| it.delta());
    delta.is_some_and(ContentBlockDelta::is_tool_use)
}

/// The data of each event; its name is checked against it.
fn records(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with("\n\n"));
    let records = text.split_terminator("\n\n");
    let record = |record: &str| {
        let (event, data) = record.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event.strip_prefix("event: ").unwrap(), data["type"]);
        data
    };
    records.map(record).collect()
}

/// Walks through the events as a client does.
fn check(records: &[Value], is_whole: bool) {
    let mut open: Option<String> = None;
    let mut next = 0;
    let mut ended = 0;
    for (at, data) in records.iter().enumerate() {
        let kind = data["type"].as_str().unwrap();
        assert_eq!(kind == "message_start", at == 0, "one start, first");
        assert!(ended == 0 || (ended == 1 && kind == "message_stop"));
        match kind {
            "content_block_start" => {
                assert_eq!(open, None);
                assert_eq!(data["index"], next);
                open = data["content_block"]["type"].as_str().map(str::to_owned);
            }
            "content_block_delta" => {
                assert_eq!(data["index"], next);
                let expected = match data["delta"]["type"].as_str().unwrap() {
                    "text_delta" => "text",
                    "input_json_delta" => "tool_use",
                    "thinking_delta" | "signature_delta" => "thinking",
                    other => panic!("{other}"),
                };
                assert_eq!(open.as_deref(), Some(expected));
            }
            "content_block_stop" => {
                assert_eq!(data["index"], next);
                assert!(open.take().is_some());
                next += 1;
            }
            "message_delta" | "message_stop" => {
                assert_eq!(open, None);
                ended += 1;
            }
            _ => assert_eq!(kind, "message_start"),
        }
    }
    assert_eq!(ended, if is_whole { 2 } else { 0 });
}

proptest! {
    #[test]
    fn any_name_and_id_is_accepted_and_comes_back(
        tools in vec("(?s).{0,80}|[a-b]\\.?[a-b]", 0..6),
        ids in vec("(?s).{0,80}|[a-b] ?[a-b]", 0..6),
    ) {
        let names = Names::new(
            tools.iter().map(String::as_str),
            ids.iter().map(String::as_str),
        );
        for tool in &tools {
            let there = names.tool_there(tool);
            prop_assert!(is_name(there), "{there}");
            prop_assert_eq!(names.tool_back(there), tool);
            prop_assert_eq!(there == tool, is_name(tool));
        }
        for id in &ids {
            let there = names.id_there(id);
            prop_assert!(is_id(there), "{there}");
            prop_assert_eq!(names.id_back(there), id);
        }
    }

    #[test]
    fn any_stream_is_one_message(events in vec(event(), 0..40)) {
        let mut stream = Events::new("m".to_owned(), Names::default(), "msg_1".to_owned());
        let mut out = Vec::new();
        for event in &events {
            stream.on(event, &mut out);
        }
        let is_whole = stream.end(&mut out).is_ok();
        // A piece of a tool use that was never begun, or is over, spoils the rest.
        let has_stop = events.iter().any(ConverseStreamOutput::is_message_stop);
        prop_assert!(has_stop || !is_whole);
        prop_assert!(is_whole || !has_stop || events.iter().any(is_tool_piece));
        check(&records(&out), is_whole);
    }
}
