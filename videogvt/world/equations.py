"""The equation of a path as text in t (seconds), and a safe reader for such texts."""

import ast
import operator

import numpy as np

_NAMES = {"pi": np.pi}
_CALLS = {"sin": np.sin, "cos": np.cos, "sqrt": np.sqrt}
_BINARY = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip


def equation_text(family) -> str:
    """``x = ...; y = ...; z = ...`` in metres, of one path of a ``Family``."""
    return "; ".join(f"{name} = {_sum_text(family.terms(axis))}" for axis, name in enumerate("xyz"))


def _sum_text(terms: list[tuple[float, str]]) -> str:
    text = ""
    for coefficient, factor in terms:
        number = f"{abs(coefficient):.6f}" + (f"*{factor}" if factor else "")
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {number}" if text else ("-" if coefficient < 0 else "") + number
    return text


def evaluate_equation(text: str, time_T: np.ndarray) -> np.ndarray:
    """World positions (T, 3) of an equation ``x = ...; y = ...; z = ...`` at times in seconds.

    Only numbers, ``t``, ``pi``, ``sin``, ``cos``, ``sqrt``, brackets and ``+ - * / **`` are understood; anything else
    is a ``ValueError`` that names it.
    """
    parts = [part.split("=", 1) for part in text.split(";")]
    if [part[0].strip() for part in parts] != ["x", "y", "z"]:
        raise ValueError(f"An equation reads 'x = ...; y = ...; z = ...'; this one reads {text!r}.")
    time_T = np.asarray(time_T, dtype=np.float64)
    values = [_value(ast.parse(part[1].strip(), mode="eval").body, time_T) for part in parts]
    return np.stack(np.broadcast_arrays(*values, time_T)[:3], axis=-1)


def _value(node: ast.AST, time_T: np.ndarray):
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id="t"):
            return time_T
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, time_T)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, time_T), _value(right, time_T))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _CALLS:
            return _CALLS[name](_value(argument, time_T))
    legal = "numbers, t, pi, sin, cos, sqrt, + - * / **"
    raise ValueError(f"An equation may not hold {ast.unparse(node)!r}; it holds {legal}.")
