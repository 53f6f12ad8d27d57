"""What the official Python SDK must get out of the API, or of a proxy before it.

The environment says where: BASE_URL and API_KEY are what the SDK is given,
SIMULATOR_URL is where faults are scripted, PROVIDER is `plan` or `bedrock`: who
answers in the end. Prints a line for each check and ends with 1 when one failed.
checks.mjs has the same list.
"""

import functools
import json
import os
import sys
import time
import traceback
import urllib.request

import anthropic

BASE_URL = os.environ["BASE_URL"]
API_KEY = os.environ["API_KEY"]
SIMULATOR_URL = os.environ["SIMULATOR_URL"]
IS_BEDROCK = os.environ["PROVIDER"] == "bedrock"

MODEL = "claude-sonnet-4-6"
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}

# A red dot, and a page with nothing on it.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQ"
    "DwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
PDF = "JVBERi0xLjQKJSVFT0YK"

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def check_of_the_plan(function):
    """Of what Bedrock does not have, or does in another way."""
    return function if IS_BEDROCK else check(function)


def check_of_bedrock(function):
    return check(function) if IS_BEDROCK else function


@functools.cache
def client(**options):
    options = {"api_key": API_KEY, "max_retries": 0, "timeout": 60} | options
    return anthropic.Anthropic(base_url=BASE_URL, **options)


def script(*rules):
    """Replaces what the simulator answers next."""
    request = urllib.request.Request(
        f"{SIMULATOR_URL}/_script", json.dumps(rules).encode(), method="POST"
    )
    urllib.request.urlopen(request).read()


def always(reply, **rule):
    script({"times": None, "reply": reply} | rule)


def requests_so_far():
    counts = urllib.request.urlopen(f"{SIMULATOR_URL}/_counts").read()
    return json.loads(counts)["requests"]


def ask(text, **fields):
    fields = {"model": MODEL, "max_tokens": 4096} | fields
    return fields | {"messages": [{"role": "user", "content": text}]}


def raised(kind, action):
    """The error of exactly this class that an action ends with."""
    try:
        action()
    except anthropic.APIError as error:
        assert type(error) is kind, f"{type(error)} is not {kind}: {error}"
        return error
    raise AssertionError(f"no {kind}")


@check
def a_message():
    message = client().messages.create(**ask("say: hello world"))
    assert message.type == "message" and message.role == "assistant"
    assert message.content[0].text == "hello world"
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0 and message.usage.output_tokens == 3
    assert message._request_id.startswith("req_")


@check
def a_login_in_place_of_a_key():
    message = client(api_key=None, auth_token=API_KEY).messages.create(**ask("say: hi"))
    assert message.content[0].text == "hi"


@check
def a_stream():
    with client().messages.stream(**ask("say: one two three")) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert texts == ["one ", "two ", "three"], texts
    assert message.content[0].text == "one two three"
    assert message.usage.output_tokens == 4 and message.usage.input_tokens > 0


@check
def raw_events():
    events = list(client().messages.create(stream=True, **ask("say: one")))
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert events[-2].usage.output_tokens == 1
    assert events[-2].delta.stop_reason == "end_turn"


@check
def a_tool_turn():
    question = ask('use: get_weather {"city": "Paris"}', tools=[WEATHER])
    message = client().messages.create(**question)
    assert message.stop_reason == "tool_use"
    tool_use = message.content[0]
    assert tool_use.name == "get_weather" and tool_use.input == {"city": "Paris"}
    result = {"type": "tool_result", "tool_use_id": tool_use.id, "content": "22 degrees"}
    question["messages"] += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    answer = client().messages.create(**question)
    assert "22 degrees" in answer.content[0].text


@check
def a_streamed_tool_turn():
    question = ask('use: get_weather {"city": "Rio de Janeiro"}', tools=[WEATHER])
    with client().messages.stream(**question) as stream:
        message = stream.get_final_message()
    assert message.content[0].input == {"city": "Rio de Janeiro"}
    assert message.stop_reason == "tool_use"


@check
def several_tools_at_once():
    calls = ['use: get_weather {"city": "Paris"}', 'use: get_weather {"city": "Oslo"}']
    question = ask("\n".join(calls), tools=[WEATHER])
    with client().messages.stream(**question) as stream:
        message = stream.get_final_message()
    assert [use.input["city"] for use in message.content] == ["Paris", "Oslo"]
    results = [
        {"type": "tool_result", "tool_use_id": use.id, "content": f"{use.input} is sunny"}
        for use in message.content
    ]
    question["messages"] += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": results},
    ]
    answer = client().messages.create(**question)
    assert "is sunny" in answer.content[0].text


@check
def a_tool_that_must_be_used():
    choice = {"type": "tool", "name": "get_weather"}
    message = client().messages.create(**ask("hello", tools=[WEATHER], tool_choice=choice))
    assert message.content[0].input == {"city": "example"}


@check
def thinking():
    question = ask("say: done", thinking={"type": "enabled", "budget_tokens": 2000})
    message = client().messages.create(**question)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking and message.content[0].signature
    question["messages"] += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": "say: again"},
    ]
    assert client().messages.create(**question).content[1].text == "again"


@check
def streamed_thinking():
    question = ask("say: done", thinking={"type": "adaptive"})
    with client().messages.stream(**question) as stream:
        kinds = {event.type for event in stream}
        message = stream.get_final_message()
    assert {"thinking", "signature", "text"} <= kinds, kinds
    assert message.content[0].thinking and message.content[0].signature


@check
def thinking_before_a_tool():
    question = ask(
        'use: get_weather {"city": "Paris"}', tools=[WEATHER], thinking={"type": "adaptive"}
    )
    with client().messages.stream(**question) as stream:
        message = stream.get_final_message()
    thought, use = message.content
    assert thought.type == "thinking" and thought.signature and use.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "22 degrees"}
    question["messages"] += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    assert "22 degrees" in client().messages.create(**question).content[0].text


@check
def an_image_and_a_document():
    def content(kind, media_type, data):
        source = {"type": "base64", "media_type": media_type, "data": data}
        return {"type": kind, "source": source}

    parts = [
        content("image", "image/png", PNG),
        content("document", "application/pdf", PDF),
        {"type": "text", "text": "say: seen"},
    ]
    assert client().messages.create(**ask(parts)).content[0].text == "seen"
    with client().messages.stream(**ask(parts)) as stream:
        assert stream.get_final_text() == "seen"


@check
def cached_prompts():
    unique = str(time.time_ns())
    system = [
        {
            "type": "text",
            "text": unique * 100,
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        }
    ]
    first = client().messages.create(**ask("say: one", system=system)).usage
    assert first.cache_creation_input_tokens > 400
    assert first.cache_creation.ephemeral_1h_input_tokens == first.cache_creation_input_tokens
    with client().messages.stream(**ask("say: two", system=system)) as stream:
        second = stream.get_final_message().usage
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens


@check
def token_counting():
    question = ask("four words are here")
    del question["max_tokens"]
    assert client().messages.count_tokens(**question).input_tokens > 3


@check
def models():
    listed = [model.id for model in client().models.list(limit=2)]
    assert len(listed) > 4 and len(set(listed)) == len(listed)
    page = client().models.list(limit=1000)
    assert [model.id for model in page.data] == listed and page.has_more is False
    before = client().models.list(before_id=listed[3], limit=2)
    assert [model.id for model in before.data] == listed[1:3]
    model = client().models.retrieve(listed[0])
    assert model.id == listed[0] and model.display_name and model.created_at
    raised(anthropic.NotFoundError, lambda: client().models.retrieve("no-such-model"))


@check_of_the_plan
def every_error_is_typed():
    errors = anthropic._exceptions
    kinds = {
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        403: anthropic.PermissionDeniedError,
        404: anthropic.NotFoundError,
        409: anthropic.ConflictError,
        422: anthropic.UnprocessableEntityError,
        429: anthropic.RateLimitError,
        500: anthropic.InternalServerError,
        529: errors.OverloadedError,
    }
    if anthropic.__version__.startswith("0."):
        kinds |= {
            402: anthropic.APIStatusError,
            408: anthropic.APIStatusError,
            413: errors.RequestTooLargeError,
            503: anthropic.InternalServerError,
        }
    else:
        kinds |= {
            402: errors.PaymentRequiredError,
            408: errors.RequestTimeoutError,
            413: errors.ContentTooLargeError,
            503: errors.ServiceUnavailableError,
        }
    for status, kind in kinds.items():
        message = f"because of {status}"
        always({"content": {"error": {"status": status, "message": message}}})
        for stream in (False, True):
            error = raised(
                kind, lambda: client().messages.create(stream=stream, **ask("hi"))
            )
            assert error.status_code == status
            assert error.body["error"]["message"] == message
            assert error.body["error"]["type"] and error.request_id.startswith("req_")


@check_of_bedrock
def every_exception_is_an_error_of_the_api():
    for status, expected in {
        400: (400, "invalid_request_error"),
        403: (503, "api_error"),
        404: (404, "not_found_error"),
        408: (504, "api_error"),
        424: (500, "api_error"),
        429: (429, "rate_limit_error"),
        500: (500, "api_error"),
        503: (529, "overloaded_error"),
    }.items():
        always({"content": {"error": {"status": status}}})
        for stream in (False, True):
            try:
                client().messages.create(stream=stream, **ask("hi"))
                raise AssertionError(f"no error for {status}")
            except anthropic.APIStatusError as error:
                said = (error.status_code, error.body["error"]["type"])
                assert said == expected, f"{said} is not {expected}"
                assert error.body["error"]["message"]
                assert error.request_id.startswith("req_")


@check_of_the_plan
def an_error_that_is_not_json():
    body = {"status": 403, "content_type": "text/html", "body": "<html>blocked</html>"}
    always({"content": {"body": body}})
    error = raised(
        anthropic.PermissionDeniedError, lambda: client().messages.create(**ask("hi"))
    )
    assert "blocked" in str(error.body)


@check_of_the_plan
def an_error_inside_a_stream():
    how = {"error": {"status": 529}}
    always({"ending": {"at": {"events": 5}, "how": how}})
    texts = []

    def read():
        with client().messages.stream(**ask("say: one two three")) as stream:
            for text in stream.text_stream:
                texts.append(text)

    error = None
    try:
        read()
    except anthropic.APIStatusError as caught:
        error = caught
    assert error and error.body["error"]["type"] == "overloaded_error", error
    assert texts == ["one ", "two "], texts


@check_of_the_plan
def a_stream_that_breaks():
    always({"ending": {"at": {"events": 5}, "how": "reset"}})
    texts = []
    try:
        with client().messages.stream(**ask("say: one two three")) as stream:
            for text in stream.text_stream:
                texts.append(text)
    except Exception:  # which one depends on the HTTP library
        pass
    else:
        raise AssertionError("a broken stream ended well")
    assert texts == ["one ", "two "], texts


@check_of_bedrock
def a_stream_with_another_end():
    for how in ({"error": {"status": 503}}, "reset", "clean"):
        always({"ending": {"at": {"events": 4}, "how": how}})
        texts, error = [], None
        try:
            with client().messages.stream(**ask("say: one two three")) as stream:
                for text in stream.text_stream:
                    texts.append(text)
        except Exception as caught:  # which one depends on Bedrock's API, too
            error = caught
        assert error, f"{how} is a good end"
        assert texts == ["one ", "two ", "three"][: len(texts)], texts
        if isinstance(how, dict):
            assert texts
            kind = error.body["error"]["type"]
            assert kind in ("overloaded_error", "api_error"), kind


@check
def retries():
    error = {"error": {"status": 529}}
    script(
        {"times": 2, "reply": {"content": error, "headers": [["retry-after-ms", "10"]]}},
        {"reply": {"content": {"text": "at last"}}},
    )
    message = client(max_retries=2).messages.create(**ask("hi"))
    assert message.content[0].text == "at last"


@check
def retry_after_is_a_minimum():
    error = {"error": {"status": 429}}
    script({"reply": {"content": error, "headers": [["retry-after", "1"]]}})
    start = time.monotonic()
    client(max_retries=1).messages.create(**ask("hi"))
    assert time.monotonic() - start >= 1


@check_of_the_plan
def no_retry_when_told_so():
    error = {"error": {"status": 429}}
    always({"content": error, "headers": [["x-should-retry", "false"]]})
    before = requests_so_far()
    raised(
        anthropic.RateLimitError,
        lambda: client(max_retries=2).messages.create(**ask("hi")),
    )
    assert requests_so_far() == before + 1


@check_of_bedrock
def no_retry_with_a_credential_that_bedrock_refuses():
    always({"content": {"error": {"status": 403}}})
    before = requests_so_far()
    try:
        client(max_retries=2).messages.create(**ask("hi"))
        raise AssertionError("no error")
    except anthropic.APIStatusError as error:
        assert error.status_code == 503
    assert requests_so_far() == before + 1


@check_of_the_plan
def a_retry_when_told_so():
    headers = [["x-should-retry", "true"], ["retry-after-ms", "10"]]
    script({"reply": {"content": {"error": {"status": 400}}, "headers": headers}})
    message = client(max_retries=1).messages.create(**ask("say: hi"))
    assert message.content[0].text == "hi"


@check_of_the_plan
def compressed_answers():
    for encoding in ("accepted", "gzip", "deflate"):
        always({"encoding": encoding})
        message = client().messages.create(**ask("say: one two"))
        assert message.content[0].text == "one two"
        with client().messages.stream(**ask("say: one two")) as stream:
            assert list(stream.text_stream) == ["one ", "two"]


@check
def events_that_arrive_in_pieces():
    always({"writes": {"bytes": 7}})
    with client().messages.stream(**ask("say: äöü 漢字")) as stream:
        assert stream.get_final_text() == "äöü 漢字"


@check_of_the_plan
def the_headers_of_the_api():
    answer = client().messages.with_raw_response.create(**ask("say: hi"))
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["anthropic-organization-id"]
    assert int(answer.headers["anthropic-ratelimit-requests-limit"]) > 0
    assert answer.parse().content[0].text == "hi"


@check
def large_questions_and_answers():
    text = ("word" * 250 + " ") * 1000
    always({"content": {"text": text}, "writes": {"events": 100}})
    with client().messages.stream(**ask(text)) as stream:
        assert stream.get_final_text() == text
    assert client().messages.create(**ask(text)).content[0].text == text


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
    script()
    print(f"anthropic {anthropic.__version__} for Python: {failures} of {len(CHECKS)} failed")
    sys.exit(failures > 0)


main()
