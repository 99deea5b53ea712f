#!/usr/bin/env python3
"""Makes problems.jsonl and answers.jsonl from the GSM8K data set: make.py FOLDER [TARGET]."""

import json
import pathlib
import sys

MODELS = ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"]


def rows(path):
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def write(path, items):
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for item in items:
            out.write(json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{path}: {len(items)} lines, {path.stat().st_size} bytes")


def expected(answer):
    number = answer.rsplit("####", 1)[1].strip().replace(",", "")
    int(number)  # Every answer of GSM8K is a whole number; anything else is a mistake here.
    return number


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else pathlib.Path(__file__).parent

    problems = rows(source / "test.jsonl")
    solutions = rows(source / "example_model_solutions.jsonl")
    questions = [problem["question"] for problem in problems]
    if len(set(questions)) != len(questions):
        sys.exit("a question is there twice: an answer could not be found by it")
    if questions != [solution["question"] for solution in solutions]:
        sys.exit("the two files are not about the same questions in the same order")

    write(
        target / "problems.jsonl",
        [{"input": {"question": p["question"]}, "expected_output": expected(p["answer"])} for p in problems],
    )
    write(
        target / "answers.jsonl",
        [
            {"vars": {"question": s["question"]}, "answers": {model: s[model]["solution"] for model in MODELS}}
            for s in solutions
        ],
    )


if __name__ == "__main__":
    main()
