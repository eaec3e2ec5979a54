"""The machine that runs joined formulas: registers of a block of nodes each, which all stay in the processor's cache.

A program is data, so that a new model compiles nothing. Each line is five whole numbers: the operation, the register
that it sets and up to three more, registers of operands or where something lies. What an operation means is what
`models.formula_trees.NUMPY` says, to rounding; nothing here warns of or stops at numbers that are not finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import Floats
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.threads import share

Rows = npt.NDArray[np.int64]

# Nodes that a program runs over at once: 1 KiB a register, and long enough loops that a line's own cost is small.
BLOCK = 128

# --- operations: those that move values, fast ones, comparisons, and functions ---

TAKE_NUMBER, TAKE_FIELD, TAKE_RUN, TAKE_ROWS, ADD_RUN, ADD_ROWS, SUM = range(7)
ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATE, MIN, MAX, ABS, SQRT, WHERE = range(7, 17)
LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, AND, OR, HEAVISIDE, SIGN, FLOOR, CEIL = range(17, 27)
POWER, EXP, LOG, LOG10, SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH, ATAN2 = range(27, 41)

# Name in formulas -> operation.
OPERATIONS = {
    "+": ADD, "-": SUBTRACT, "*": MULTIPLY, "/": DIVIDE, "neg": NEGATE, "**": POWER,
    "min": MIN, "max": MAX, "abs": ABS, "sqrt": SQRT, "where": WHERE,
    "<": LESS, "<=": LESS_EQUAL, ">": GREATER, ">=": GREATER_EQUAL, "and": AND, "or": OR,
    "heaviside": HEAVISIDE, "sign": SIGN, "floor": FLOOR, "ceil": CEIL,
    "exp": EXP, "log": LOG, "log10": LOG10, "sin": SIN, "cos": COS, "tan": TAN,
    "asin": ASIN, "acos": ACOS, "atan": ATAN, "atan2": ATAN2, "sinh": SINH, "cosh": COSH, "tanh": TANH,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Code:
    """What the machine does at every node.

    Parameters
    ----------
    lines : (lines, 5) ints
        TAKE_NUMBER r k, TAKE_FIELD r k: set register r to numbers[k] or fields[k]; TAKE_RUN r start, TAKE_ROWS r k: to
        u[start], u[start + 1], ... or u[rows[k]]. ADD_RUN r start, ADD_ROWS r k offset: add register r times the
        weights to out[start], ... or out[offset + rows[k]]. SUM r k: add the sum of register r times the weights to
        out[summed[k]]. Others: operation, register to set, three operands' registers, of which some may be of no
        account; the register to set is none of them.
    registers : int
        How many there are.
    summed : (s,) ints
        No row twice.
    """

    lines: Rows
    registers: int
    summed: Rows

    def run(self, numbers: Floats, fields: Floats, rows: Rows, weights: Floats, u: Floats, out: Floats) -> None:
        """Run it over all nodes of a place, on all threads; the bytes do not depend on their number.

        Parameters
        ----------
        numbers : (k,) floats
        fields : (f, m) floats
        rows : (l, m) ints
            No row twice in one list.
        weights : (m,) floats
        u, out : floats
            What is read and what is added to.
        """
        lines, blocks = self.lines, -(-len(weights) // BLOCK)
        sums = np.zeros((len(self.summed), blocks))
        work = len(lines) * len(weights)
        share(execute, blocks, work, lines, self.registers, numbers, fields, rows, weights, u, out, sums)
        if len(sums):
            out[self.summed] += sums.sum(axis=1)


# --- kernels ---


@inner(error_model="numpy")
def _move(
    operation: int,
    to: int,
    a: int,
    b: int,
    begin: int,
    width: int,
    registers: Any,
    numbers: Any,
    fields: Any,
    rows: Any,
    weights: Any,
    u: Any,
    out: Any,
) -> None:
    """Read a register from outside, or add it to the result."""
    if operation == TAKE_NUMBER:
        for k in range(width):
            registers[to, k] = numbers[a]
    elif operation == TAKE_FIELD:
        for k in range(width):
            registers[to, k] = fields[a, begin + k]
    elif operation == TAKE_RUN:
        for k in range(width):
            registers[to, k] = u[a + begin + k]
    elif operation == TAKE_ROWS:
        for k in range(width):
            registers[to, k] = u[rows[a, begin + k]]
    elif operation == ADD_RUN:
        for k in range(width):
            out[a + begin + k] += weights[begin + k] * registers[to, k]
    else:
        for k in range(width):
            out[b + rows[a, begin + k]] += weights[begin + k] * registers[to, k]


@inner(error_model="numpy")
def _calculate(operation: int, to: int, a: int, b: int, c: int, width: int, registers: Any) -> None:
    """Set a register by a fast operation: a loop for each, of which the compiler makes vector instructions."""
    r = registers
    if operation == ADD:
        for k in range(width):
            r[to, k] = r[a, k] + r[b, k]
    elif operation == SUBTRACT:
        for k in range(width):
            r[to, k] = r[a, k] - r[b, k]
    elif operation == MULTIPLY:
        for k in range(width):
            r[to, k] = r[a, k] * r[b, k]
    elif operation == DIVIDE:
        for k in range(width):
            r[to, k] = r[a, k] / r[b, k]
    elif operation == NEGATE:
        for k in range(width):
            r[to, k] = -r[a, k]
    elif operation == MIN:
        # What is no number goes on, from either side.
        for k in range(width):
            r[to, k] = r[a, k] if r[a, k] <= r[b, k] or r[a, k] != r[a, k] else r[b, k]
    elif operation == MAX:
        for k in range(width):
            r[to, k] = r[a, k] if r[a, k] >= r[b, k] or r[a, k] != r[a, k] else r[b, k]
    elif operation == ABS:
        for k in range(width):
            r[to, k] = abs(r[a, k])
    elif operation == SQRT:
        for k in range(width):
            r[to, k] = np.sqrt(r[a, k])
    else:
        for k in range(width):
            r[to, k] = r[b, k] if r[a, k] != 0 else r[c, k]


@inner(error_model="numpy")
def _compared(operation: int, x: Any, y: Any) -> Any:
    """Compare two numbers, or one with zero or with the whole numbers beside it."""
    if operation == LESS:
        return 1.0 if x < y else 0.0
    if operation == LESS_EQUAL:
        return 1.0 if x <= y else 0.0
    if operation == GREATER:
        return 1.0 if x > y else 0.0
    if operation == GREATER_EQUAL:
        return 1.0 if x >= y else 0.0
    if operation == AND:
        return 1.0 if x != 0 and y != 0 else 0.0
    if operation == OR:
        return 1.0 if x != 0 or y != 0 else 0.0
    if operation == HEAVISIDE:
        return 1.0 if x > 0 else 0.0 if x < 0 else 0.5 if x == 0 else x
    if operation == SIGN:
        return 1.0 if x > 0 else -1.0 if x < 0 else 0.0 if x == 0 else x
    return np.floor(x) if operation == FLOOR else np.ceil(x)


@inner(error_model="numpy")
def _function(operation: int, x: Any, y: Any) -> Any:
    """Call an elementary function: none of them is so fast that to ask which would show."""
    if operation == POWER:
        return _power(x, y)
    if operation == EXP:
        return np.exp(x)
    if operation == LOG:
        return np.log(x)
    if operation == LOG10:
        return np.log10(x)
    if operation == SIN:
        return np.sin(x)
    if operation == COS:
        return np.cos(x)
    if operation == TAN:
        return np.tan(x)
    if operation == ASIN:
        return np.arcsin(x)
    if operation == ACOS:
        return np.arccos(x)
    if operation == ATAN:
        return np.arctan(x)
    if operation == SINH:
        return np.sinh(x)
    if operation == COSH:
        return np.cosh(x)
    if operation == TANH:
        return np.tanh(x)
    return np.arctan2(x, y)


@inner(error_model="numpy")
def _power(x: Any, y: Any) -> Any:
    """Raise to a power; to whole ones, such as Hill's, by multiplication, in the order of `formula_trees`."""
    if not 1 <= abs(y) <= 16 or y != np.floor(y):
        return x**y
    left, square, result = int(abs(y)), x, 1.0
    while left:
        if left % 2:
            result *= square
        square *= square
        left //= 2
    return result if y > 0 else 1 / result


@njit(cache=True, nogil=True, error_model="numpy")
def execute(
    first: int,
    last: int,
    lines: Any,
    n_registers: int,
    numbers: Any,
    fields: Any,
    rows: Any,
    weights: Any,
    u: Any,
    out: Any,
    sums: Any,
) -> None:
    """Run the blocks first ... last - 1; sums (s, blocks) are set."""
    registers = np.empty((n_registers, min(BLOCK, len(weights))))
    for block in range(first, last):
        begin = block * BLOCK
        width = min(BLOCK, len(weights) - begin)
        for line in range(len(lines)):
            operation, to, a, b, c = lines[line, 0], lines[line, 1], lines[line, 2], lines[line, 3], lines[line, 4]
            if operation == SUM:
                for k in range(width):
                    sums[a, block] += weights[begin + k] * registers[to, k]
            elif operation < SUM:
                _move(operation, to, a, b, begin, width, registers, numbers, fields, rows, weights, u, out)
            elif operation <= WHERE:
                _calculate(operation, to, a, b, c, width, registers)
            elif operation <= CEIL:
                for k in range(width):
                    registers[to, k] = _compared(operation, registers[a, k], registers[b, k])
            else:
                for k in range(width):
                    registers[to, k] = _function(operation, registers[a, k], registers[b, k])
