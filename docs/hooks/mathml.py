"""Turns $formulas$ into MathML while the site is built, so that pages need no script and no network to show them.

Understands the small part of LaTeX that the docstrings and these pages use, and stops the build at anything else.
"""

import html
import re
from typing import Any

_TABLE = (
    "alpha=α beta=β gamma=γ delta=δ epsilon=ε eta=η kappa=κ lambda=λ rho=ρ sigma=σ tau=τ theta=θ "
    "xi=ξ chi=χ ell=ℓ phi=φ Delta=Δ Gamma=Γ Lambda=Λ Sigma=Σ partial=∂ leftarrow=← to=→ propto=∝ sum=∑ nabla=∇ in=∈ "
    "le=≤ ge=≥ approx=≈ pm=± times=× cdot=· odot=⊙ infty=∞ ldots=… "
    "lVert=‖ rVert=‖ langle=⟨ rangle=⟩ lceil=⌈ rceil=⌉ top=⊤ {={ }=}"
)
_SYMBOLS = dict(pair.split("=") for pair in _TABLE.split())
_WORDS = ("exp", "log", "ln", "min", "max", "round", "clamp")
_SPACES = {",": 0.17, ";": 0.28, "quad": 1.0, " ": 0.25}
_LETTERS = frozenset("αβγδεηκλξρστθχφℓΔΓΛΣ∂∞")
_ACCENTS = {"hat": "\N{COMBINING CIRCUMFLEX ACCENT}", "bar": "\N{COMBINING MACRON}", "tilde": "\N{COMBINING TILDE}"}
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9.]+|\S")
_SPAN = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(html_text: str, **_: Any) -> str:
    """The page with every formula as MathML."""
    return _SPAN.sub(_replace, html_text)


def _replace(match: re.Match[str]) -> str:
    display = ' display="block"' if match[1] == "div" else ""
    tokens = _TOKEN.findall(html.unescape(match[2]))
    body = "".join(_row(tokens, end=None))
    return f"<math{display}>{body}</math>"


def _row(tokens: list[str], end: str | None) -> list[str]:
    """Elements up to `end`, which is consumed."""
    found: list[str] = []
    while tokens:
        if tokens[0] == end:
            tokens.pop(0)
            return found
        if tokens[0] in "^_":
            base = found.pop() if found else "<mrow></mrow>"
            found.append(_scripts(base, tokens))
        else:
            found.append(_atom(tokens))
    if end is not None:
        raise ValueError(f"formula without its closing {end}")
    return found


def _scripts(base: str, tokens: list[str]) -> str:
    marks: dict[str, str] = {}
    while tokens and tokens[0] in "^_":
        mark = tokens.pop(0)
        marks[mark] = _atom(tokens)
    if len(marks) == 2:
        return f"<msubsup>{base}{marks['_']}{marks['^']}</msubsup>"
    tag = "msub" if "_" in marks else "msup"
    return f"<{tag}>{base}{next(iter(marks.values()))}</{tag}>"


def _atom(tokens: list[str]) -> str:
    token = tokens.pop(0)
    if token == "{":
        return f"<mrow>{''.join(_row(tokens, '}'))}</mrow>"
    if re.fullmatch(r"[0-9.]+", token):
        return f"<mn>{token}</mn>"
    if token.startswith("\\"):
        return _command(token[1:], tokens)
    if token.isalpha():
        return f"<mi>{token}</mi>"
    stretch = ' stretchy="false"' if token in "()[]|" else ""
    return f"<mo{stretch}>{html.escape({'-': '−', '*': '∗'}.get(token, token))}</mo>"


def _command(name: str, tokens: list[str]) -> str:
    if name in ("frac", "tfrac"):
        if tokens[0].isdigit() and len(tokens[0]) == 2:  # \tfrac12
            top, bottom = (f"<mn>{digit}</mn>" for digit in tokens.pop(0))
        else:
            top, bottom = _atom(_split_digits(tokens)), _atom(_split_digits(tokens))
        return f"<mfrac>{top}{bottom}</mfrac>"
    if name == "sqrt":
        return f"<msqrt>{_atom(tokens)}</msqrt>"
    if name in _ACCENTS:
        return _atom(tokens).replace("</mi>", f"{_ACCENTS[name]}</mi>")
    if name == "mathrm":
        end = tokens.index("}")
        word, tokens[: end + 1] = "".join(tokens[1:end]), []
        return f"<mi>{word}</mi>"
    if name in _SPACES:
        return f'<mspace width="{_SPACES[name]}em"></mspace>'
    if name in _WORDS:
        return f'<mi>{name}</mi><mspace width="0.12em"></mspace>'
    if name in _SYMBOLS:
        symbol = _SYMBOLS[name]
        fixed = ' stretchy="false"' if symbol in "‖{}⟨⟩⌈⌉" else ""
        return f"<mi>{symbol}</mi>" if symbol in _LETTERS else f"<mo{fixed}>{symbol}</mo>"
    raise ValueError(f"formula with \\{name}, which docs/hooks/mathml.py does not know")


def _split_digits(tokens: list[str]) -> list[str]:
    r"""The same tokens with a leading number of several digits cut after its first: `\tfrac\gamma2` takes one."""
    if len(tokens[0]) > 1 and tokens[0][0].isdigit():
        tokens[:1] = [tokens[0][0], tokens[0][1:]]
    return tokens
