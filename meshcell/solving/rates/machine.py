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
Places = npt.NDArray[np.uint32]

# Nodes that a program runs over at once: 2 KiB a register, and long enough loops that a line's own cost is small.
BLOCK = 256

# --- operations: those that move values, arithmetic, comparisons, functions of one number, and others ---

TAKE_NUMBER, TAKE_FIELD, TAKE_RUN, TAKE_ROWS, ADD_RUN, ADD_ROWS, SUM = range(7)
ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATE, MIN, MAX, ABS, SQRT = range(7, 16)
LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, HEAVISIDE, WHERE = range(16, 22)
EXP, LOG, LOG10, SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH = range(22, 34)
POWER, ATAN2, SIGN, FLOOR, CEIL, AND, OR = range(34, 41)

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

    def run(self, numbers: Floats, fields: Floats, rows: Places, weights: Floats, u: Floats, out: Floats) -> None:
        """Run it over all nodes of a place, on all threads; the bytes do not depend on their number.

        Parameters
        ----------
        numbers : (k,) floats
        fields : (f, m) floats
        rows : (l, m) uint32
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
    """Read a register from outside, or add it to the result.

    Slices, as the compiler knows that none of their indices counts from the end.
    """
    if operation == TAKE_NUMBER:
        number = numbers[a]
        for k in range(width):
            registers[to, k] = number
    elif operation == TAKE_FIELD:
        field = fields[a, begin : begin + width]
        for k in range(width):
            registers[to, k] = field[k]
    elif operation == TAKE_RUN:
        state = u[a + begin : a + begin + width]
        for k in range(width):
            registers[to, k] = state[k]
    elif operation == TAKE_ROWS:
        places = rows[a, begin : begin + width]
        for k in range(width):
            registers[to, k] = u[places[k]]
    elif operation == ADD_RUN:
        result, weight = out[a + begin : a + begin + width], weights[begin : begin + width]
        for k in range(width):
            result[k] += weight[k] * registers[to, k]
    else:
        result, places, weight = out[b:], rows[a, begin : begin + width], weights[begin : begin + width]
        for k in range(width):
            result[places[k]] += weight[k] * registers[to, k]


@inner(error_model="numpy")
def _calculate(operation: int, to: int, a: int, b: int, width: int, registers: Any) -> None:
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
    else:
        for k in range(width):
            r[to, k] = np.sqrt(r[a, k])


@inner(error_model="numpy")
def _compare(operation: int, to: int, a: int, b: int, c: int, width: int, registers: Any) -> None:
    """Set a register by what others are beside each other, again a loop for each way."""
    r = registers
    if operation == LESS:
        for k in range(width):
            r[to, k] = 1.0 if r[a, k] < r[b, k] else 0.0
    elif operation == LESS_EQUAL:
        for k in range(width):
            r[to, k] = 1.0 if r[a, k] <= r[b, k] else 0.0
    elif operation == GREATER:
        for k in range(width):
            r[to, k] = 1.0 if r[a, k] > r[b, k] else 0.0
    elif operation == GREATER_EQUAL:
        for k in range(width):
            r[to, k] = 1.0 if r[a, k] >= r[b, k] else 0.0
    elif operation == HEAVISIDE:
        for k in range(width):
            x = r[a, k]
            step = 1.0 if x > 0 else 0.0
            r[to, k] = step if x != 0 and x == x else 0.5 if x == 0 else x
    else:
        for k in range(width):
            # Both are read, so that no way is taken before the choice.
            first, second = r[b, k], r[c, k]
            r[to, k] = first if r[a, k] != 0 else second


@inner(error_model="numpy")
def _apply(operation: int, to: int, a: int, width: int, registers: Any) -> None:
    """Set a register by an elementary function of another."""
    r = registers
    if operation == EXP:
        for k in range(width):
            r[to, k] = np.exp(r[a, k])
    elif operation == LOG:
        for k in range(width):
            r[to, k] = np.log(r[a, k])
    elif operation == LOG10:
        for k in range(width):
            r[to, k] = np.log10(r[a, k])
    elif operation == SIN:
        for k in range(width):
            r[to, k] = np.sin(r[a, k])
    elif operation == COS:
        for k in range(width):
            r[to, k] = np.cos(r[a, k])
    elif operation == TAN:
        for k in range(width):
            r[to, k] = np.tan(r[a, k])
    elif operation == ASIN:
        for k in range(width):
            r[to, k] = np.arcsin(r[a, k])
    elif operation == ACOS:
        for k in range(width):
            r[to, k] = np.arccos(r[a, k])
    elif operation == ATAN:
        for k in range(width):
            r[to, k] = np.arctan(r[a, k])
    elif operation == SINH:
        for k in range(width):
            r[to, k] = np.sinh(r[a, k])
    elif operation == COSH:
        for k in range(width):
            r[to, k] = np.cosh(r[a, k])
    else:
        for k in range(width):
            r[to, k] = np.tanh(r[a, k])


@inner(error_model="numpy")
def _do_rest(operation: int, to: int, a: int, b: int, width: int, registers: Any) -> None:
    """Set a register by an operation that is rare in rates."""
    r = registers
    if operation == POWER:
        for k in range(width):
            r[to, k] = _power(r[a, k], r[b, k])
    elif operation == ATAN2:
        for k in range(width):
            r[to, k] = np.arctan2(r[a, k], r[b, k])
    elif operation == SIGN:
        for k in range(width):
            x = r[a, k]
            r[to, k] = 1.0 if x > 0 else -1.0 if x < 0 else 0.0 if x == 0 else x
    elif operation == FLOOR:
        for k in range(width):
            r[to, k] = np.floor(r[a, k])
    elif operation == CEIL:
        for k in range(width):
            r[to, k] = np.ceil(r[a, k])
    elif operation == AND:
        for k in range(width):
            r[to, k] = 1.0 if r[a, k] != 0 and r[b, k] != 0 else 0.0
    else:
        for k in range(width):
            r[to, k] = 1.0 if r[a, k] != 0 or r[b, k] != 0 else 0.0


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
            elif operation <= SQRT:
                _calculate(operation, to, a, b, width, registers)
            elif operation <= WHERE:
                _compare(operation, to, a, b, c, width, registers)
            elif operation <= TANH:
                _apply(operation, to, a, width, registers)
            else:
                _do_rest(operation, to, a, b, width, registers)
