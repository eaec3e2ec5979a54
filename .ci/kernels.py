"""Print which share of the lines of compiled functions tests reach, file by file; fail below a floor.

    NUMBA_DISABLE_JIT=1 coverage run --source meshcell -m pytest ... && coverage json -o lines.json
    python .ci/kernels.py lines.json --floor 80

With the compiler off kernels are plain Python, so that lines that no test enters show.
"""

import argparse
import ast
import json
import sys
from pathlib import Path

# Decorators that make a function a kernel.
DECORATORS = {"njit", "inner"}
# Fewer kernels than this are none that were looked for: a decorator of another name?
LEAST = 200


def kernels(path):
    """Yield the lines of each kernel's body; the line of `def` runs at import and says nothing."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and DECORATORS & {name_of(item) for item in node.decorator_list}:
            yield node.name, range(node.body[0].lineno, node.end_lineno + 1)


def name_of(decorator):
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path, help="what `coverage json` wrote")
    parser.add_argument("--floor", type=float, required=True, help="least share of all lines, %%")
    options = parser.parse_args()
    reached = total = count = 0
    print(f"{'file':44}{'kernels':>8}{'lines':>7}{'reached':>9}  never entered")
    for name, file in sorted(json.loads(options.lines.read_text())["files"].items()):
        entered, missed = set(file["executed_lines"]), set(file["missing_lines"])
        found = {kernel: ({*own} & entered, {*own} & missed) for kernel, own in kernels(Path(name))}
        if not found:
            continue
        hits, misses = (sum(len(both[k]) for both in found.values()) for k in (0, 1))
        cold = [kernel for kernel, (entered_lines, _) in found.items() if not entered_lines]
        print(f"{name:44}{len(found):8}{hits + misses:7}{100 * hits / (hits + misses):8.0f} %  {', '.join(cold)}")
        reached, total, count = reached + hits, total + hits + misses, count + len(found)
    if count < LEAST:
        sys.exit(f"expected at least {LEAST} kernels; found {count}: name their decorator in DECORATORS of {__file__}")
    share = 100 * reached / total
    print(f"{'all':44}{count:8}{total:7}{share:8.1f} %")
    if share < options.floor:
        sys.exit(
            f"expected tests to reach at least {options.floor:g} % of the kernels' lines; they reach {share:.1f} %"
        )


if __name__ == "__main__":
    main()
