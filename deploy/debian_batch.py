"""Make a batch of Debian packages to classify, and show how its answers and counts compare.

Each request asks for the section of one package, from its name and one-line
description; the section it really is in goes to a file of its own. All requests
share one system prompt, the text beside this file.
"""

import argparse
import json
import random
import re
import subprocess
import sys
from pathlib import Path

PROMPT = Path(__file__).with_name("debian_prompt.txt")
# Counts that were measured are at most so far from the engine's.
COUNTS_AGREE = 0.01


def sections(prompt: str) -> list[str]:
    """The labels that the prompt explains, one to a line `label: what it is for`."""
    guide = prompt.split("Sections", 1)[1].split("Examples", 1)[0]
    return re.findall(r"^([a-z]+): ", guide, re.MULTILINE)


def packages(labels: list[str], prompt: str) -> dict[str, list[dict]]:
    """Packages of the archive by section, without those that the prompt names."""
    command = ["apt-cache", "dumpavail"]
    try:
        dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        sys.exit("the texts are those of Debian's packages: this needs apt-cache")
    shown = set(re.findall(r"^Package: (\S+)$", prompt, re.MULTILINE))
    found: dict[str, dict[str, dict]] = {label: {} for label in labels}
    for paragraph in dump.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Section|Description): (.+)$", paragraph, re.MULTILINE))
        name, section = fields.get("Package"), fields.get("Section")
        if section in found and name not in shown and "Description" in fields:
            found[section][name] = fields
    return {label: [by_name[name] for name in sorted(by_name)] for label, by_name in found.items()}


def sample(by_section: dict[str, list[dict]], count: int) -> list[dict]:
    """`count` packages, equally many of each section as far as that goes; the same every time."""
    chance = random.Random(count)
    queues = [chance.sample(some, len(some)) for some in by_section.values() if some]
    chance.shuffle(queues)
    chosen: list[dict] = []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop() for queue in queues if queue][: count - len(chosen)]
    return chosen


def request(package: dict, model: str, prompt: str, labels: list[str]) -> dict:
    """One line of the input."""
    schema = {
        "type": "object",
        "properties": {"section": {"enum": labels}},
        "required": ["section"],
        "additionalProperties": False,
    }
    question = f"Package: {package['Package']}\nDescription: {package['Description']}"
    return {
        "custom_id": package["Package"],
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": model,
            "messages": [{"role": "system", "content": prompt}, {"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 64,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
        },
    }


def make(arguments: argparse.Namespace) -> None:
    prompt = PROMPT.read_text().strip()
    labels = sections(prompt)
    chosen = sample(packages(labels, prompt), arguments.count)
    if len(chosen) < arguments.count:
        sys.exit(f"apt knows only {len(chosen)} packages of these sections: run apt-get update")
    with arguments.input.open("w") as lines:
        for package in chosen:
            lines.write(json.dumps(request(package, arguments.model, prompt, labels)) + "\n")
    arguments.truth.write_text(json.dumps({package["Package"]: package for package in chosen}))


def answered(line: dict) -> str:
    """The section that the model chose."""
    content = line["response"]["body"]["choices"][0]["message"]["content"]
    return json.loads(content)["section"]


def show(arguments: argparse.Namespace) -> None:
    truth = json.loads(arguments.truth.read_text())
    answers = {line["custom_id"]: answered(line) for line in map(json.loads, arguments.output.open())}
    if set(answers) != set(truth):
        sys.exit(f"{len(set(truth) - set(answers))} of {len(truth)} requests have no answer")
    print(f"\n{'package':<30} {'answer':<10} {'section':<10} description")
    for name, section in list(answers.items())[: arguments.first]:
        package = truth[name]
        print(f"{name[:30]:<30} {section:<10} {package['Section']:<10} {package['Description'][:60]}")
    right = sum(truth[name]["Section"] == section for name, section in answers.items())
    choices = len(sections(PROMPT.read_text()))
    print(f"\nright: {right} of {len(answers)} ({right / len(answers):.0%}), of {choices} sections each")


def count(arguments: argparse.Namespace) -> None:
    """Hold the prompt tokens of the plan against those that the engine reported."""
    plan = json.loads(arguments.batch.read_text())["plan"]
    # Of each answer, not of the batch: that counts answers too that were run once more.
    answers = [json.loads(line)["response"]["body"] for line in arguments.output.open()]
    planned, counted = plan["prompt_tokens_without"], sum(answer["usage"]["prompt_tokens"] for answer in answers)
    apart = abs(planned - counted) / counted
    print(f"\nprompt tokens: {planned} planned ({plan['token_basis']}), {counted} by the engine, {apart:.2%} apart")
    assumed = any("assumed" in warning for warning in plan.get("warnings", []))
    if plan["token_basis"] == "measured" and not assumed and apart > COUNTS_AGREE:
        sys.exit(f"the plan counts other tokens than the engine: more than {COUNTS_AGREE:.0%} apart")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make", help="write the input of a batch")
    maker.add_argument("--model", required=True)
    maker.add_argument("--count", type=int, default=60)
    maker.add_argument("--input", type=Path, required=True)
    maker.add_argument("--truth", type=Path, required=True)
    maker.set_defaults(run=make)
    shower = commands.add_parser("show", help="print answers beside the truth")
    shower.add_argument("--output", type=Path, required=True)
    shower.add_argument("--truth", type=Path, required=True)
    shower.add_argument("--first", type=int, default=12, help="answers to print")
    shower.set_defaults(run=show)
    counter = commands.add_parser("count", help="print the plan's tokens beside the engine's")
    counter.add_argument("--batch", type=Path, required=True, help="the batch, as `caravan get --json` has it")
    counter.add_argument("--output", type=Path, required=True)
    counter.set_defaults(run=count)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
