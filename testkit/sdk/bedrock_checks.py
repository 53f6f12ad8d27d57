"""What AWS's own client, and the SDK's Bedrock client, must get out of Bedrock.

The environment says where: HTTP_URL and HTTPS_URL are two simulators, CA_FILE
is the authority of the second. REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY and
API_KEY are what they accept. Prints a line for each check and ends with 1 when
one failed.
"""

import base64
import contextlib
import functools
import json
import os
import ssl
import sys
import traceback
import urllib.request

import anthropic
import boto3
import botocore.exceptions
import botocore.loaders
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from botocore.model import ServiceModel

HTTP_URL = os.environ["HTTP_URL"]
HTTPS_URL = os.environ["HTTPS_URL"]
CA_FILE = os.environ["CA_FILE"]
REGION = os.environ["REGION"]
ACCESS_KEY_ID = os.environ["ACCESS_KEY_ID"]
SECRET_ACCESS_KEY = os.environ["SECRET_ACCESS_KEY"]
API_KEY = os.environ["API_KEY"]

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
FOUNDATION_MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
NOVA = "amazon.nova-pro-v1:0"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
WEATHER = {"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@functools.cache
def client(key=ACCESS_KEY_ID, secret=SECRET_ACCESS_KEY, token=None, region=REGION, **config):
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=HTTP_URL,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20, **config),
    )


@contextlib.contextmanager
def bearer_client(api_key):
    """Reads its key from the environment only, whenever it asks, and wants TLS."""
    os.environ["AWS_BEARER_TOKEN_BEDROCK"] = api_key
    try:
        yield boto3.Session().client(
            "bedrock-runtime",
            endpoint_url=HTTPS_URL,
            region_name=REGION,
            verify=CA_FILE,
            config=Config(retries={"total_max_attempts": 1}),
        )
    finally:
        del os.environ["AWS_BEARER_TOKEN_BEDROCK"]


def send(url, data, **headers):
    request = urllib.request.Request(url, json.dumps(data).encode(), headers)
    context = ssl.create_default_context(cafile=CA_FILE)
    return urllib.request.urlopen(request, context=context).read()


def script(*rules):
    send(f"{HTTP_URL}/_script", rules)


def always(reply):
    script({"times": None, "reply": reply})


def native(text="say: one two", **fields):
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": text}],
    } | fields


def invoke(body, model=MODEL, client=client):
    answer = client().invoke_model(modelId=model, body=json.dumps(body))
    return json.loads(answer["body"].read())


def invoke_stream(body, model=MODEL):
    answer = client().invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
    for event in answer["body"]:
        yield json.loads(event["chunk"]["bytes"])


def asked(text="say: one two", **fields):
    question = [{"role": "user", "content": [{"text": text}]}]
    return {"modelId": MODEL, "messages": question} | fields


def converse(**question):
    return client().converse(**question)


def converse_stream(**question):
    yield from client().converse_stream(**question)["stream"]


OPERATIONS = {
    "InvokeModel": lambda: invoke(native()),
    "InvokeModelWithResponseStream": lambda: list(invoke_stream(native())),
    "Converse": lambda: converse(**asked()),
    "ConverseStream": lambda: list(converse_stream(**asked())),
}


def refused(code, action, status=None):
    """The error with exactly this code that an action ends with."""
    try:
        action()
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        found = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status in (None, found), f"{found} is not {status}"
        return error
    raise AssertionError(f"no {code}")


def texts(events):
    deltas = (event.get("contentBlockDelta", {}).get("delta", {}) for event in events)
    return [delta["text"] for delta in deltas if "text" in delta]


@check
def invoke_model():
    answer = client().invoke_model(modelId=MODEL, body=json.dumps(native()))
    message = json.loads(answer["body"].read())
    assert message["content"] == [{"type": "text", "text": "one two"}]
    assert message["id"].startswith("msg_bdrk_") and message["model"].startswith("claude-haiku")
    assert message["usage"]["output_tokens"] == 2
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-bedrock-output-token-count"] == "2", headers
    assert answer["ResponseMetadata"]["RequestId"]
    assert answer["contentType"] == "application/json"


@check
def invoke_model_with_response_stream():
    events = list(invoke_stream(native()))
    kinds = [event["type"] for event in events]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ], kinds
    metrics = events[-1]["amazon-bedrock-invocationMetrics"]
    assert metrics["outputTokenCount"] == 2 and metrics["inputTokenCount"] == 7


@check
def converse_text():
    answer = converse(**asked())
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "one two"}]}
    assert answer["stopReason"] == "end_turn"
    usage = answer["usage"]
    assert usage["outputTokens"] == 2 and usage["inputTokens"] > 3
    assert usage["totalTokens"] == usage["inputTokens"] + 2
    assert answer["metrics"]["latencyMs"] > 0


@check
def converse_stream_text():
    events = list(converse_stream(**asked()))
    kinds = [kind for event in events for kind in event]
    assert kinds == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ], kinds
    assert texts(events) == ["one ", "two"]
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 2


@check
def every_member_of_an_answer_is_known_to_aws():
    """boto3 ignores what it does not know, so the bytes are looked at."""
    loaded = botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2")
    model = ServiceModel(loaded)
    scripted = [
        {"type": "thinking", "thinking": "a b", "signature": "s"},
        {"type": "redacted_thinking", "data": "r"},
        {"type": "text", "text": "c"},
        {"type": "tool_use", "id": "toolu_1", "name": "n", "input": {"x": [1]}},
    ]
    tokens = dict.fromkeys(
        ["input_tokens", "output_tokens", "cache_read_tokens"]
        + ["cache_write_5m_tokens", "cache_write_1h_tokens"],
        7,
    )
    always({"content": {"message": {"content": scripted}}, "tokens": tokens})
    question = asked()
    path = f"{HTTP_URL}/model/{question.pop('modelId')}"
    headers = {"authorization": f"Bearer {API_KEY}"}
    answer = json.loads(send(f"{path}/converse", question, **headers))
    known(answer, model.operation_model("Converse").output_shape)
    buffer = EventStreamBuffer()
    buffer.add_data(send(f"{path}/converse-stream", question, **headers))
    shapes = model.shape_for("ConverseStreamOutput").members
    for frame in buffer:
        event = json.loads(frame.payload)
        assert event.pop("p"), event
        known(event, shapes[frame.headers[":event-type"]])


def known(value, shape):
    if shape.type_name == "structure" and not shape.is_document_type:
        for name, member in value.items():
            assert name in shape.members, f"{name} is not in {shape.name}"
            known(member, shape.members[name])
    if shape.type_name == "list":
        for item in value:
            known(item, shape.member)


@check
def token_counting():
    body = json.dumps(native("four words are here"))
    counted = client().count_tokens(
        modelId=FOUNDATION_MODEL, input={"invokeModel": {"body": body}}
    )
    assert counted["inputTokens"] > 3
    messages = asked("four words are here")["messages"]
    counted = client().count_tokens(
        modelId=FOUNDATION_MODEL, input={"converse": {"messages": messages}}
    )
    assert counted["inputTokens"] > 3
    profile = lambda: client().count_tokens(
        modelId=MODEL, input={"converse": {"messages": messages}}
    )
    refused("ValidationException", profile, 400)


@check
def ids_of_all_kinds():
    for model in (MODEL, FOUNDATION_MODEL, PROFILE):
        assert invoke(native(), model)["content"][0]["text"] == "one two"
        assert converse(**asked(modelId=model))["stopReason"] == "end_turn"
    assert converse(**asked(modelId=NOVA))["stopReason"] == "end_turn"
    error = refused("ValidationException", lambda: converse(**asked(modelId="claude-x")), 400)
    message = error.response["Error"]["Message"]
    assert message == "The provided model identifier is invalid.", message


@check
def a_tool_turn():
    question = asked('use: get_weather {"city": "Paris"}', toolConfig={"tools": [WEATHER]})
    answer = converse(**question)
    assert answer["stopReason"] == "tool_use"
    use = answer["output"]["message"]["content"][0]["toolUse"]
    assert use["name"] == "get_weather" and use["input"] == {"city": "Paris"}
    assert use["toolUseId"].startswith("tooluse_")
    result = {
        "toolUseId": use["toolUseId"],
        "content": [{"text": "22 degrees"}, {"json": {"wind": 3}}],
        "status": "success",
    }
    question["messages"] += [
        answer["output"]["message"],
        {"role": "user", "content": [{"toolResult": result}]},
    ]
    text = converse(**question)["output"]["message"]["content"][0]["text"]
    assert "22 degrees" in text, text


@check
def streamed_tools_in_parallel():
    text = 'use: get_weather {"city": "Rio de Janeiro"}\nuse: get_weather {"city": "Rom"}'
    events = list(converse_stream(**asked(text, toolConfig={"tools": [WEATHER]})))
    inputs, ids = {}, {}
    for event in events:
        if start := event.get("contentBlockStart"):
            ids[start["contentBlockIndex"]] = start["start"]["toolUse"]["toolUseId"]
        if delta := event.get("contentBlockDelta"):
            index = delta["contentBlockIndex"]
            inputs[index] = inputs.get(index, "") + delta["delta"]["toolUse"]["input"]
    assert len(set(ids.values())) == 2
    cities = [json.loads(text)["city"] for text in inputs.values()]
    assert cities == ["Rio de Janeiro", "Rom"], cities


@check
def a_tool_that_must_be_used():
    choice = {"tool": {"name": "get_weather"}}
    answer = converse(**asked("hi", toolConfig={"tools": [WEATHER], "toolChoice": choice}))
    use = answer["output"]["message"]["content"][0]["toolUse"]
    assert use["input"] == {"city": "example"}


@check
def images_and_documents():
    content = [
        {"text": "say: seen"},
        {"image": {"format": "png", "source": {"bytes": PIXEL}}},
        {"document": {"name": "report (1)", "format": "pdf", "source": {"bytes": b"%PDF-1.4"}}},
    ]
    answer = converse(modelId=MODEL, messages=[{"role": "user", "content": content}])
    assert answer["output"]["message"]["content"][0]["text"] == "seen"
    assert answer["usage"]["inputTokens"] > converse(**asked("say: seen"))["usage"]["inputTokens"]
    content[2]["document"]["name"] = "report.pdf"
    error = refused(
        "ValidationException",
        lambda: converse(modelId=MODEL, messages=[{"role": "user", "content": content}]),
    )
    assert "document file name" in str(error)


@check
def thinking():
    fields = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    question = asked("say: done", additionalModelRequestFields=fields)
    answer = converse(**question)["output"]["message"]
    text = answer["content"][0]["reasoningContent"]["reasoningText"]
    assert text["text"] and text["signature"]
    question["messages"] += [answer, {"role": "user", "content": [{"text": "say: again"}]}]
    events = list(converse_stream(**question))
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    thoughts = [delta["reasoningContent"] for delta in deltas if "reasoningContent" in delta]
    assert any("text" in thought for thought in thoughts)
    assert thoughts[-1]["signature"], thoughts
    assert texts(events) == ["again"]


@check
def redacted_thinking():
    content = [{"type": "redacted_thinking", "data": "abc"}, {"type": "text", "text": "so"}]
    always({"content": {"message": {"content": content}}})
    redacted = converse(**asked())["output"]["message"]["content"][0]["reasoningContent"]
    assert redacted == {"redactedContent": b"abc"}, redacted
    deltas = [
        event["contentBlockDelta"]["delta"]
        for event in converse_stream(**asked())
        if "contentBlockDelta" in event
    ]
    assert deltas[0] == {"reasoningContent": {"redactedContent": b"abc"}}, deltas
    assert invoke(native())["content"] == content


@check
def cached_prompts():
    unique = os.urandom(16).hex()
    system = [{"text": unique * 50}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    first = converse(**asked(system=system))["usage"]
    assert first["cacheWriteInputTokens"] > 300
    detail = {"ttl": "1h", "inputTokens": first["cacheWriteInputTokens"]}
    assert first["cacheDetails"] == [detail], first
    second = list(converse_stream(**asked("say: two", system=system)))[-1]["metadata"]["usage"]
    assert second["cacheReadInputTokens"] == first["cacheWriteInputTokens"]
    marked = {"type": "text", "text": unique * 60, "cache_control": {"type": "ephemeral"}}
    written = invoke(native(system=[marked]))["usage"]
    assert written["cache_creation"]["ephemeral_5m_input_tokens"] > 300


@check
def every_exception_has_its_code():
    codes = {
        "ValidationException": 400,
        "AccessDeniedException": 403,
        "ResourceNotFoundException": 404,
        "ModelTimeoutException": 408,
        "ModelErrorException": 424,
        "ThrottlingException": 429,
        "InternalServerException": 500,
        "ServiceUnavailableException": 503,
    }
    for code, status in codes.items():
        message = f"because of {status}"
        always(
            {
                "content": {"error": {"status": status, "type": code, "message": message}},
                "headers": [["retry-after", "7"]],
            }
        )
        for operation, action in OPERATIONS.items():
            error = refused(code, action, status)
            assert error.operation_name == operation
            assert error.response["Error"]["Message"] == message
            metadata = error.response["ResponseMetadata"]
            assert metadata["RequestId"] and metadata["HTTPHeaders"]["retry-after"] == "7"
        always({"content": {"error": {"status": status}}})
        assert refused(code, OPERATIONS["Converse"], status).response["Error"]["Message"]


@check
def exceptions_inside_a_stream():
    names = {
        "ThrottlingException": 429,
        "ModelStreamErrorException": 424,
        "InternalServerException": 500,
        "ValidationException": 400,
        "ServiceUnavailableException": 503,
    }
    for name, status in names.items():
        how = {"error": {"status": status, "type": name, "message": "in the middle"}}
        always({"ending": {"at": {"events": 2}, "how": how}})
        for stream in (invoke_stream(native()), converse_stream(**asked())):
            seen = []
            try:
                seen.extend(stream)
            except botocore.exceptions.EventStreamError as error:
                code = error.response["Error"]["Code"]
                assert code == name[0].lower() + name[1:], code
                assert error.response["Error"]["Message"] == "in the middle"
            else:
                raise AssertionError("the stream ended well")
    always({"ending": {"at": {"events": 2}, "how": {"error": {"status": 429}}}})
    stream = converse_stream(**asked())
    assert "messageStart" in next(stream) and "contentBlockDelta" in next(stream)


@check
def errors_below_the_service():
    headers = [
        [":message-type", "error"],
        [":error-code", "InternalFailure"],
        [":error-message", "something broke"],
    ]
    frame = {"headers": headers, "payload": ""}
    always({"ending": {"at": {"events": 2}, "how": {"frame": frame}}})
    try:
        list(converse_stream(**asked()))
    except botocore.exceptions.EventStreamError as error:
        assert error.response["Error"]["Code"] == "InternalFailure", error.response
    else:
        raise AssertionError("the stream ended well")


@check
def a_checksum_that_is_wrong():
    headers = [[":message-type", "event"], [":event-type", "contentBlockStop"]]
    for damage in ("prelude", "message"):
        frame = {"headers": headers, "payload": {"contentBlockIndex": 0}, "damage": damage}
        always({"ending": {"at": {"events": 2}, "how": {"frame": frame}}})
        try:
            list(converse_stream(**asked()))
        except ChecksumMismatch:
            continue
        raise AssertionError("nobody noticed")


@check
def streams_that_break():
    always({"ending": {"at": {"events": 3}, "how": "clean"}})
    kinds = [kind for event in converse_stream(**asked()) for kind in event]
    assert kinds == ["messageStart", "contentBlockDelta", "contentBlockDelta"], kinds
    for how in ("reset", "close"):
        always({"ending": {"at": {"events": 3}, "how": how}})
        seen = []
        try:
            for event in converse_stream(**asked()):
                seen.append(event)
        except Exception:  # which one depends on the HTTP library
            assert len(seen) <= 3
        else:
            raise AssertionError("a broken stream ended well")


@check
def frames_in_any_pieces():
    for writes in ({"bytes": 1}, {"bytes": 7}, {"events": 3}, "at_once"):
        always({"writes": writes, "content": {"text": "äöü 漢字 end"}})
        assert "".join(texts(converse_stream(**asked()))) == "äöü 漢字 end"
        events = list(invoke_stream(native()))
        deltas = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
        assert "".join(deltas) == "äöü 漢字 end"


@check
def odd_models():
    def frame(kind, **payload):
        headers = [
            [":event-type", kind],
            [":content-type", "application/json"],
            [":message-type", "event"],
        ]
        return {"headers": headers, "payload": payload}

    frames = [
        frame("messageStart", role="assistant"),
        frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "hi"}),
        frame("contentBlockDelta", contentBlockIndex=0, delta={"hologram": {"x": 1}}),
        frame("messageStop", stopReason="malformed_tool_use"),
        frame("metadata", usage={"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}),
    ]
    always({"content": {"frames": frames}})
    events = list(converse_stream(**asked()))
    assert events[2]["contentBlockDelta"]["delta"] == {"SDK_UNKNOWN_MEMBER": {"name": "hologram"}}
    assert events[3]["messageStop"]["stopReason"] == "malformed_tool_use"
    reasons = ["guardrail_intervened", "content_filtered", "model_context_window_exceeded"]
    for reason in reasons:
        always({"content": {"message": {"content": [], "stop_reason": reason}}})
        assert converse(**asked())["stopReason"] == reason


@check
def only_the_right_signature():
    ask = lambda **options: lambda: client(**options).converse(**asked())
    assert client().converse(**asked())["stopReason"] == "end_turn"
    refused("InvalidSignatureException", ask(secret="wrong"), 403)
    refused("UnrecognizedClientException", ask(key="AKIAUNKNOWN"), 403)
    refused("UnrecognizedClientException", ask(token="no-such-session"), 403)
    refused("InvalidSignatureException", ask(region="eu-north-1"), 403)


@check
def a_key_in_place_of_a_signature():
    with bearer_client(API_KEY) as with_key:
        assert with_key.converse(**asked())["stopReason"] == "end_turn"
        events = with_key.converse_stream(**asked())["stream"]
        assert texts(events) == ["one ", "two"]
        assert invoke(native(), client=lambda: with_key)["stop_reason"] == "end_turn"
    with bearer_client("other") as with_other:
        refused("AccessDeniedException", lambda: with_other.converse(**asked()), 403)


@check
def requests_must_fit_the_model_of_the_service():
    careless = client(parameter_validation=False)
    tool = {"toolSpec": {"name": "mcp.get", "inputSchema": {"json": SCHEMA}}}
    wrong = {
        "regular expression": asked(toolConfig={"tools": [tool]}),
        "enum value set": asked(system=[{"text": "s"}, {"cachePoint": {"type": "ephemeral"}}]),
        "greater than or equal to 1": asked(inferenceConfig={"maxTokens": 0}),
        "less than or equal to 1": asked(inferenceConfig={"temperature": 2}),
        "not be null": asked(messages=[{"role": "user"}]),
    }
    for expected, question in wrong.items():
        for operation in (careless.converse, careless.converse_stream):
            error = refused("ValidationException", lambda: operation(**question), 400)
            assert expected in str(error), error


@check
def requests_must_follow_the_rules():
    blank = asked(" ")
    refused("ValidationException", lambda: converse(**blank))
    two = asked()
    two["messages"] *= 2
    assert "alternate" in str(refused("ValidationException", lambda: converse(**two)))
    betas = asked(additionalModelRequestFields={"anthropic_beta": ["oauth-2025-04-20"]})
    assert "oauth-2025-04-20" in str(refused("ValidationException", lambda: converse(**betas)))
    assert converse(**asked(modelId=NOVA, additionalModelRequestFields={"inferenceConfig": {}}))
    for field, value in {"model": MODEL, "stream": True, "service_tier": "auto"}.items():
        error = refused("ValidationException", lambda: invoke(native(**{field: value})), 400)
        assert f"{field}: Extra inputs are not permitted" in str(error)


@functools.cache
def sdk():
    return anthropic.AnthropicBedrock(
        aws_access_key=ACCESS_KEY_ID,
        aws_secret_key=SECRET_ACCESS_KEY,
        aws_region=REGION,
        base_url=HTTP_URL,
        max_retries=0,
        timeout=20,
    )


def sdk_question(text, **fields):
    question = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 4096, "messages": question} | fields


@check
def the_sdks_client_gets_messages_and_streams():
    message = sdk().messages.create(**sdk_question("say: one two"))
    assert message.content[0].text == "one two" and message.usage.output_tokens == 2
    tool = {"name": "get_weather", "input_schema": SCHEMA}
    question = sdk_question(
        'use: get_weather {"city": "Paris"}',
        tools=[tool],
        thinking={"type": "enabled", "budget_tokens": 2000},
    )
    with sdk().messages.stream(**question) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "tool_use"]
    assert message.content[1].input == {"city": "Paris"}
    assert message.stop_reason == "tool_use" and message.usage.output_tokens > 0


@check
def the_sdks_client_knows_the_errors():
    for status, kind in {
        400: anthropic.BadRequestError,
        403: anthropic.PermissionDeniedError,
        404: anthropic.NotFoundError,
        429: anthropic.RateLimitError,
        500: anthropic.InternalServerError,
    }.items():
        always({"content": {"error": {"status": status}}})
        for stream in (False, True):
            try:
                sdk().messages.create(stream=stream, **sdk_question("hi"))
            except anthropic.APIStatusError as error:
                assert type(error) is kind, f"{status}: {error!r}"
            else:
                raise AssertionError(f"no {kind}")


def main():
    failures = 0
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        script()
        try:
            function()
            print(f"ok {name}")
        except Exception:
            failures += 1
            print(f"FAILED {name}")
            traceback.print_exc(file=sys.stdout)
    print(f"boto3 {boto3.__version__}: {failures} of {len(CHECKS)} failed")
    sys.exit(failures > 0)


main()
