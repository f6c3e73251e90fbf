"""Rows and pairs of ClipWorld's clips, as `oracle-rlaif world show` prints them."""

import json
import subprocess


def rows(program, address):
    """All questions of a clip."""
    command = [program, "world", "show", address, "--json"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def text(row):
    """The question of a row."""
    return row["messages"][0]["content"][-1]["text"]


def questions(rows):
    """(question, right answer, wrong answers) of a clip."""
    open_ended = {row["category"]: text(row) for row in rows if "choices" not in row}
    return [
        (
            open_ended[row["category"]],
            row["reference"],
            [option for option in row["choices"]["options"] if option != row["reference"]],
        )
        for row in rows
        if "choices" in row
    ]


def prompt(folder, question, first, second):
    """What pairwise.j2 of `folder` renders to."""
    template = (folder / "pairwise.j2").read_text().strip()
    values = {"question": question, "candidates[0]": first, "candidates[1]": second}
    for name, value in values.items():
        template = template.replace("{{ " + name + " }}", value)
    return template
