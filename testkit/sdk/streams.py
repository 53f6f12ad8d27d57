"""What the official Python SDK makes of streams, whichever way they end.

Standard input has a line of JSON for each stream to ask for: the `base_url` that
the SDK is given, and the `session` that the request names. Standard output gets
one for each, in any order: the `session` again, and what an application would
have got of the SDK: a `message`, or an `error` by its class and its type. Either
way `starts` counts how often a message began.
streams.mjs does the same.
"""

import functools
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import anthropic

API_KEY = os.environ["API_KEY"]
AT_ONCE = 8

QUESTION = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "hello"}],
}


@functools.cache
def client(base_url):
    return anthropic.Anthropic(base_url=base_url, api_key=API_KEY, max_retries=0, timeout=60)


def ask(line):
    asked = json.loads(line)
    headers = {"x-claude-code-session-id": asked["session"]}
    heard = {"session": asked["session"], "starts": 0}
    try:
        with client(asked["base_url"]).messages.stream(**QUESTION, extra_headers=headers) as stream:
            for event in stream:
                heard["starts"] += event.type == "message_start"
            heard["message"] = stream.get_final_message().to_dict(mode="json")
    except Exception as error:
        heard["error"] = {"class": type(error).__name__, "type": error_type(error)}
    return json.dumps(heard)


def error_type(error):
    """What the API calls it, if it was the API that said it."""
    body = getattr(error, "body", None)
    return body["error"]["type"] if isinstance(body, dict) else None


with ThreadPoolExecutor(AT_ONCE) as pool:
    for heard in pool.map(ask, sys.stdin):
        print(heard)
