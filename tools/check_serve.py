#!/usr/bin/env python3
"""Asks `oracle-rlaif serve` with OpenAI's own Python client, and checks what comes back.

    python3 -m venv .venv && .venv/bin/pip install openai==3.57.0
    oracle-rlaif serve --checkpoint DIR &
    .venv/bin/python tools/check_serve.py --url http://127.0.0.1:8000/v1

`--key KEY` where the server has one (or the variable OPENAI_API_KEY); `--clip` takes another clip: an
address of ClipWorld, a path inside the server's media root, or `@FILE`, a video that is uploaded. No test
needs this script. It prints a line for each check and fails at the first that does not hold: the
model's name, a whole reply, log-probabilities with alternatives, a stream that equals the whole reply,
several replies of one prompt, stop strings, and refusals as the client's own exceptions.
"""

import argparse
import base64
import math
import os
import pathlib

import openai


def clip_part(clip):
    """The part of a message that shows the clip."""
    if clip.startswith("@"):
        data = base64.b64encode(pathlib.Path(clip[1:]).read_bytes()).decode()
        clip = f"data:video/mp4;base64,{data}"
    return {"type": "video_url", "video_url": {"url": clip}}


def check(holds, what):
    """Says what holds, and stops where it does not."""
    print(("ok      " if holds else "FAILED  ") + what)
    if not holds:
        raise SystemExit(1)


def check_whole(ask, model):
    """A greedy reply with log-probabilities."""
    reply = ask(logprobs=True, top_logprobs=2)
    choice = reply.choices[0]
    check(reply.model == model and choice.message.role == "assistant", "a whole reply")
    print(f"        {choice.message.content!r}, {reply.usage}")
    usage = reply.usage
    check(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, "its usage adds up")
    tokens = choice.logprobs.content
    check(all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens), "log-probabilities")
    check(
        all(math.isclose(token.logprob, token.top_logprobs[0].logprob) for token in tokens),
        "the greedy token is the likeliest",
    )
    # Bytes that are no text are U+FFFD in the reply.
    text = b"".join(bytes(token.bytes or []) for token in tokens).decode(errors="ignore")
    check(text == choice.message.content.replace("\ufffd", ""), "the tokens' bytes are the text")
    return reply


def check_stream(ask, whole):
    """The same reply in pieces."""
    text, finish, usage, tokens = "", None, None, []
    for chunk in ask(stream=True, stream_options={"include_usage": True}, logprobs=True, top_logprobs=2):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            tokens += choice.logprobs.content if choice.logprobs else []
    choice = whole.choices[0]
    check(text == choice.message.content and finish == choice.finish_reason, "a stream equals the whole reply")
    check(usage == whole.usage, "its usage, too")
    check(tokens == choice.logprobs.content, "its log-probabilities, too")


def check_refusals(client, ask, model):
    """What cannot be answered raises the client's own exceptions."""
    for what, error, attempt in [
        ("tools", openai.BadRequestError, lambda: ask(tools=[{"type": "function", "function": {"name": "f"}}])),
        ("a length above the limit", openai.BadRequestError, lambda: ask(max_tokens=10**9)),
        ("another model", openai.NotFoundError, lambda: client.models.retrieve(model + "-other")),
    ]:
        try:
            attempt()
        except error as refused:
            check(refused.body["message"] != "", f"{what}: {refused.body['message']}")
        else:
            check(False, f"{what} is refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--key", default=os.environ.get("OPENAI_API_KEY", "none"))
    parser.add_argument("--clip", default="world:test/3")
    parser.add_argument("--question", default="what color is the circle ?")
    options = parser.parse_args()

    client = openai.OpenAI(base_url=options.url, api_key=options.key, max_retries=0)
    model = client.models.list().data[0].id
    check(client.models.retrieve(model).id == model, f"the model is `{model}`")
    content = [clip_part(options.clip), {"type": "text", "text": options.question}]

    def ask(**more):
        settings = {"temperature": 0, "max_tokens": 24, **more}
        messages = [{"role": "user", "content": content}]
        return client.chat.completions.create(model=model, messages=messages, **settings)

    whole = check_whole(ask, model)
    check_stream(ask, whole)
    several = ask(n=3, temperature=1.0, seed=5)
    alone = [ask(temperature=1.0, seed=5 + index).choices[0] for index in range(3)]
    check(
        [choice.message.content for choice in several.choices] == [choice.message.content for choice in alone],
        "three replies of one prompt are those of three seeds",
    )
    text = whole.choices[0].message.content
    if len(text) > 2:
        stop = text[len(text) // 2 :]
        stopped = ask(stop=[stop]).choices[0]
        check(stopped.message.content == text[: text.find(stop)], f"a stop string, {stop!r}")
        check(stopped.finish_reason == "stop", "it ends the reply")
    check_refusals(client, ask, model)


if __name__ == "__main__":
    main()
