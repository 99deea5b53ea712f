"""Evaluates one assertion's code and says its value: told by one JSON object on its input, answered by one on its output."""
import ast
import json
import os
import resource
import sys

NAME = "<assertion>"


def limit(what, most):
    """Sets a limit of the kernel, never above one that is there already."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def value_of(code, output, context):
    """The value of an expression, of `get_assert(output, context)` where the code defines that, else of its `return`."""
    tree = ast.parse(code, NAME)
    names = {"__name__": NAME, "output": output, "context": context}
    if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        return eval(compile(ast.Expression(tree.body[0].value), NAME, "eval"), names)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    if any(isinstance(node, functions) and node.name == "get_assert" for node in tree.body) or any(
        isinstance(node, ast.Assign) and any(getattr(to, "id", None) == "get_assert" for to in node.targets)
        for node in tree.body
    ):
        exec(compile(tree, NAME, "exec"), names)
        return names["get_assert"](output, context)
    main = ast.parse("def main(output, context):\n    pass").body[0]
    main.body = tree.body
    exec(compile(ast.fix_missing_locations(ast.Module([main], [])), NAME, "exec"), names)
    return names["main"](output, context)


def line_of(error):
    """The line of the code at which it failed."""
    import traceback  # Imported where it is needed: a start costs more than most evaluations.

    if isinstance(error, SyntaxError):
        return error.lineno if error.filename == NAME else None
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == NAME]
    return frames[-1] if frames else None


def answered(job):
    try:
        value = value_of(job["code"], job["output"], job["context"])
        if hasattr(value, "__await__"):
            import asyncio

            value = asyncio.run(value)
        return json.dumps({"value": value}, allow_nan=False)
    except BaseException as error:  # Also what the code means to end the process with.
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return json.dumps({"error": message, "line": line_of(error), "memory": isinstance(error, MemoryError)})


def main():
    limits = json.loads(sys.argv[1])
    job = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What the code prints is nobody's.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    limit(resource.RLIMIT_AS, limits["memory_bytes"])
    limit(resource.RLIMIT_CPU, limits["cpu_seconds"])
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, limits["files"])
    limit(resource.RLIMIT_NPROC, 0)
    answers.write(answered(job))
    answers.flush()
    os._exit(0)


main()
