"""Formulas as presentation MathML, from a small part of LaTeX with Unicode letters and signs.

What is multiplied or applied is marked by invisible operators, so that a screen reader says
"P of x" for `P(x)` and "Λ times ε" for `Λ ε`: a bracket right after a letter holds its argument,
a blank between two operands makes a product.
"""

import re
from dataclasses import dataclass
from html import escape

TOKEN = re.compile(r"\s+|\\text\{[^{}]*\}|\\[A-Za-z]+|\d+(?:\.\d+)?|.")
CLOSES = {"(": ")", "[": "]", "⟨": "⟩", "⌈": "⌉", "{": "}"}
APPLIED, TIMES, THIN = "<mo>\u2061</mo>", "<mo>\u2062</mo>", '<mspace width="0.17em"/>'
COMMANDS = {r"\frac", r"\sqrt", r"\sum"}
BELOW = {r"\max", r"\min", r"\lim", r"\liminf", r"\sum"}


@dataclass(frozen=True)
class _Item:
    """A piece of markup and how it joins with the next: operand, function or operator."""

    markup: str
    kind: str


def formula(source: str, block: bool = False) -> str:
    r"""A `<math>` element.

    Known: `_`, `^`, groups in braces, brackets, `\frac{}{}`, `\sqrt{}`, `\text{}`, `\sum`; any
    other backslash word is the name of a function, as `\log`. All else is a number, a letter or
    an operator as it stands.

    Raises:
        ValueError: when a brace, bracket or argument is missing.
    """
    parser = _Parser(TOKEN.findall(source), source, block)
    row = parser.row("")
    return f'<math display="block">{row}</math>' if block else f"<math>{row}</math>"


def prose(source: str) -> str:
    """HTML of a paragraph: `$…$` is a formula, `$$…$$` one on a line of its own, all else text.

    Raises:
        ValueError: when a dollar has no partner.
    """
    parts = re.split(r"(\$\$?)", source)
    if len(parts) % 4 != 1 or parts[1::4] != parts[3::4]:
        raise ValueError(f"every $ or $$ needs its like behind the formula: {source!r}")
    text = [escape(part) for part in parts[::4]]
    inside = [
        formula(part, mark == "$$") for mark, part in zip(parts[1::4], parts[2::4], strict=True)
    ]
    return "".join(a + b for a, b in zip(text, [*inside, ""], strict=True))


class _Parser:
    """Recursive descent over the tokens of one formula."""

    def __init__(self, tokens: list[str], source: str, block: bool) -> None:
        self.tokens, self.source, self.block = tokens[::-1], source, block

    def row(self, end: str) -> str:
        """Items up to the token `end`, joined by the invisible operators between them."""
        markup, last, spaced = "", "operator", True
        while (token := self._next(end)) != end:
            if token.isspace():
                spaced = True
                continue
            item = self._scripted(token)
            if last != "operator" and item.kind != "operator":
                markup += self._between(last, token, spaced)
            markup, last, spaced = markup + item.markup, item.kind, False
        return markup

    @staticmethod
    def _between(last: str, token: str, spaced: bool) -> str:
        """The invisible operator between two operands, if there is one."""
        if token in "([⟨" and (last == "function" or not spaced):
            return APPLIED
        if last == "function":
            return APPLIED + THIN
        if not spaced:
            return ""
        return TIMES + (THIN if token[0] == "\\" and token not in COMMANDS else "")

    def _next(self, end: str) -> str:
        if self.tokens:
            return self.tokens.pop()
        if end:
            raise ValueError(f"expected {end!r} before the end of the formula {self.source!r}")
        return ""

    def _scripted(self, token: str) -> _Item:
        """An atom with what stands below and above it."""
        base = self._atom(token)
        scripts = {}
        while self.tokens and self.tokens[-1] in ("_", "^"):
            sign = self.tokens.pop()
            scripts[sign] = self._argument()
        if not scripts:
            return base
        limits = self.block and token in BELOW
        name = "".join(
            {"_": ("sub", "under"), "^": ("sup", "over")}[sign][limits]
            for sign in "_^"
            if sign in scripts
        )
        inner = base.markup + "".join(scripts[sign] for sign in "_^" if sign in scripts)
        return _Item(f"<m{name}>{inner}</m{name}>", base.kind)

    def _argument(self) -> str:
        """One atom that stands for itself; a group is a row of its own."""
        return self._atom(self._next("an argument")).markup

    def _atom(self, token: str) -> _Item:
        if token in CLOSES:
            return self._group(token)
        if token.startswith(r"\text"):
            return _Item(f"<mtext>{escape(token[6:-1])}</mtext>", "operator")
        if token == r"\frac":
            return _Item(f"<mfrac>{self._argument()}{self._argument()}</mfrac>", "operand")
        if token == r"\sqrt":
            return _Item(f"<msqrt>{self._argument()}</msqrt>", "operand")
        if token == r"\sum":
            return _Item("<mo>∑</mo>", "operator")
        if len(token) > 1 and token.startswith("\\"):
            return _Item(f"<mi>{escape(token[1:])}</mi>", "function")
        return _plain(token)

    def _group(self, opening: str) -> _Item:
        inner = self.row(CLOSES[opening])
        if opening == "{":
            return _Item(f"<mrow>{inner}</mrow>", "operand")
        return _Item(f"<mrow><mo>{opening}</mo>{inner}<mo>{CLOSES[opening]}</mo></mrow>", "operand")


def _plain(token: str) -> _Item:
    """A number, a letter or a sign."""
    if token in "}\\_^)]⟩⌉":
        raise ValueError(f"{token!r} stands where a formula has no place for it")
    if token[0].isdigit():
        return _Item(f"<mn>{token}</mn>", "operand")
    if "Α" <= token <= "Ω":  # capital Greek stands upright
        return _Item(f'<mi mathvariant="normal">{token}</mi>', "operand")
    if token.isalpha() or token in "∞∂":
        return _Item(f"<mi>{token}</mi>", "operand")
    if token in "‖|":  # as tall as a letter
        return _Item(f'<mo stretchy="false">{token}</mo>', "operator")
    return _Item(f"<mo>{escape(token.replace('-', '−'))}</mo>", "operator")
