"""Writes rows that teach a model to judge: a question, two answers, and the letter of the right one.

    python judge_rows.py PROGRAM OUT.jsonl [--first 200000] [--clips 5000]

Every pair stands in both orders, so that neither letter pays. Most wrong answers are the question's own
distractors, some are answers to other questions, as an unsteady policy gives them. A few questions without
answers keep the model able to answer. The prompt is that of pairwise.j2, after the turn of system.j2.
"""

import argparse
import json
import pathlib
import random

import clips

HERE = pathlib.Path(__file__).parent
PAIRS, ANSWERS = 3, 1  # of each clip
OFF_TOPIC = 0.2  # share of the wrong answers that belong to another question


def row(name, video, question, answer):
    system = (HERE / "system.j2").read_text().strip()
    user = [{"type": "video"}, {"type": "text", "text": question}]
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": user},
        {"role": "assistant", "content": answer},
    ]
    return {"id": name, "video": video, "messages": messages, "reference": answer}


def rows_of(address, asked, rng):
    video = f"world:{address}"
    for question, right, wrongs in rng.sample(asked, min(PAIRS, len(asked))):
        others = [other for _, other, _ in asked if other != right]
        wrong = rng.choice(others if others and rng.random() < OFF_TOPIC else wrongs)
        for letter, pair in (("A", (right, wrong)), ("B", (wrong, right))):
            name = f"{address}#{question}/{letter}"
            yield row(name, video, clips.prompt(HERE, question, *pair), letter)
    for question, right, _ in rng.sample(asked, min(ANSWERS, len(asked))):
        yield row(f"{address}#{question}", video, question, right)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("out")
    parser.add_argument("--first", type=int, default=200_000)
    parser.add_argument("--clips", type=int, default=5_000)
    arguments = parser.parse_args()

    rng = random.Random(1)
    with open(arguments.out, "w") as out:
        for clip in range(arguments.first, arguments.first + arguments.clips):
            address = f"train/{clip}@max_objects=1"
            asked = clips.questions(clips.rows(arguments.program, address))
            for made in rows_of(address, asked, rng):
                out.write(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
