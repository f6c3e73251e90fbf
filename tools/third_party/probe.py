"""Asks the server about pairs of a right and a wrong answer, in both orders, before it is trusted.

    python probe.py PROGRAM BASE_URL MODEL [--pairs 50] [--at-least 0.65]

Clips are of the test split: combinations of shape, colour and motion that no model here was trained on.
Prints one JSON object and fails where the share of right letters is below --at-least, where a reply is
no letter, or where a request fails. The requests are those that the recipe makes: pictures before the
text, temperature 0.
"""

import argparse
import base64
import collections
import concurrent.futures
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import clips
from PIL import Image

HERE = pathlib.Path(__file__).parent
FRAMES, COUNT, SIDE = 8, 4, 32  # of a clip; shown to the judge; pixels


def pictures(program, address, folder):
    """Data URLs of COUNT frames, evenly spread with the first and the last."""
    path = pathlib.Path(folder) / "strip.png"
    command = [program, "world", "show", address, "--png", path]
    subprocess.run(command, check=True, capture_output=True)
    strip = Image.open(path).convert("RGB")
    side = strip.height
    stride = side + (strip.width - FRAMES * side) // (FRAMES - 1)
    for index in (i * (FRAMES - 1) // (COUNT - 1) for i in range(COUNT)):
        frame = strip.crop((index * stride, 0, index * stride + side, side))
        jpeg = io.BytesIO()
        frame = frame.resize((SIDE, SIDE), Image.Resampling.NEAREST)
        frame.save(jpeg, "JPEG", quality=95, subsampling=0)
        yield "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()


def ask(arguments, urls, text):
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    body = {
        "model": arguments.model,
        "messages": [
            {"role": "system", "content": (HERE / "system.j2").read_text().strip()},
            {"role": "user", "content": [*images, {"type": "text", "text": text}]},
        ],
        "temperature": 0.0,
        "max_tokens": 4,
    }
    request = urllib.request.Request(
        f"{arguments.base_url}/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        said = error.read(400).decode(errors="replace")
        sys.exit(f"error: the server answered {error.code}: {said!r}; its log says more")


def questions(arguments):
    """(pictures, prompt, right letter), the two orders of a pair after one another."""
    rng = random.Random(5)
    with tempfile.TemporaryDirectory() as folder:
        for clip in range(arguments.pairs):
            address = f"test/{clip}@max_objects=1"
            asked = clips.questions(clips.rows(arguments.program, address))
            question, right, wrongs = rng.choice(asked)
            wrong = rng.choice(wrongs)
            urls = list(pictures(arguments.program, address, folder))
            for letter, pair in (("A", (right, wrong)), ("B", (wrong, right))):
                yield urls, clips.prompt(HERE, question, *pair), letter


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("base_url")
    parser.add_argument("model")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--at-least", type=float, default=0.65)
    arguments = parser.parse_args()

    asked = list(questions(arguments))
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        said = list(threads.map(lambda one: ask(arguments, one[0], one[1]), asked))
    seconds = time.monotonic() - start
    right = [reply == letter for reply, (_, _, letter) in zip(said, asked)]
    both = collections.Counter()
    for first, second in zip(right[::2], right[1::2]):
        both["right" if first and second else "tie" if first != second else "wrong"] += 1
    report = {
        "requests": len(said),
        "requests_per_second": round(len(said) / seconds, 1),
        "letters_right": round(sum(right) / len(right), 3),
        "pairs": both,
        "said_first": round(said.count("A") / len(said), 3),
        "no_letter": sum(reply not in ("A", "B") for reply in said),
    }
    print(json.dumps(report))
    if report["letters_right"] < arguments.at_least or report["no_letter"]:
        sys.exit(f"error: the judge is not fit for use: at least {arguments.at_least} right letters wanted")


if __name__ == "__main__":
    main()
