"""Source of standard library modules that evaluators use and the sandbox lacks.

Each text defines a class with the module's name, whose only instance stands for the module.
`string` and `operator` run inside the sandbox: functions outside of it can't be passed to functions
that call them, such as `sorted(key=...)`. Functions of `statistics` and `difflib` call the host.
`ID` stands for a value that no evaluator can guess, so that none meets the helpers' names, and
`_call_ID` calls `Host`.
"""

from __future__ import annotations

import re
import string

_STATISTICS = """
from collections import namedtuple as _named_ID
_line_ID = _named_ID("LinearRegression", ["slope", "intercept"])
class statistics:
    def __init__(self):
        self.StatisticsError = ValueError
    def mean(self, data):
        return _call_ID("mean", list(data))
    def fmean(self, data):
        return _call_ID("fmean", list(data))
    def geometric_mean(self, data):
        return _call_ID("geometric_mean", list(data))
    def harmonic_mean(self, data):
        return _call_ID("harmonic_mean", list(data))
    def median(self, data):
        return _call_ID("median", list(data))
    def median_low(self, data):
        return _call_ID("median_low", list(data))
    def median_high(self, data):
        return _call_ID("median_high", list(data))
    def mode(self, data):
        return _call_ID("mode", list(data))
    def multimode(self, data):
        return _call_ID("multimode", list(data))
    def quantiles(self, data, *, n=4, method="exclusive"):
        return _call_ID("quantiles", list(data), n, method)
    def stdev(self, data, xbar=None):
        return _call_ID("stdev", list(data), xbar)
    def pstdev(self, data, mu=None):
        return _call_ID("pstdev", list(data), mu)
    def variance(self, data, xbar=None):
        return _call_ID("variance", list(data), xbar)
    def pvariance(self, data, mu=None):
        return _call_ID("pvariance", list(data), mu)
    def covariance(self, x, y):
        return _call_ID("covariance", list(x), list(y))
    def correlation(self, x, y):
        return _call_ID("correlation", list(x), list(y))
    def linear_regression(self, x, y):
        return _line_ID(*_call_ID("linear_regression", list(x), list(y)))
"""

_DIFFLIB = """
from collections import namedtuple as _named_ID
_match_ID = _named_ID("Match", ["a", "b", "size"])
def _sequence_ID(value):
    return value if isinstance(value, str) else list(value)
class _SequenceMatcher_ID:
    def __init__(self, isjunk=None, a="", b="", autojunk=True):
        if isjunk is not None:
            raise ValueError("the sandbox's SequenceMatcher takes no isjunk but None")
        self.autojunk = autojunk
        self.set_seqs(a, b)
    def set_seqs(self, a, b):
        self.set_seq1(a)
        self.set_seq2(b)
    def set_seq1(self, a):
        self.a = _sequence_ID(a)
    def set_seq2(self, b):
        self.b = _sequence_ID(b)
    def _ask(self, how, *bounds):
        return _call_ID("SequenceMatcher", how, self.a, self.b, self.autojunk, *bounds)
    def ratio(self):
        return self._ask("ratio")
    def quick_ratio(self):
        return self._ask("quick_ratio")
    def real_quick_ratio(self):
        return self._ask("real_quick_ratio")
    def get_opcodes(self):
        return self._ask("get_opcodes")
    def get_matching_blocks(self):
        return [_match_ID(*each) for each in self._ask("get_matching_blocks")]
    def find_longest_match(self, alo=0, ahi=None, blo=0, bhi=None):
        return _match_ID(*self._ask("find_longest_match", alo, ahi, blo, bhi))
class difflib:
    def __init__(self):
        self.SequenceMatcher = _SequenceMatcher_ID
        self.Match = _match_ID
    def get_close_matches(self, word, possibilities, n=3, cutoff=0.6):
        return _call_ID("get_close_matches", word, list(possibilities), n, cutoff)
    def unified_diff(self, a, b, fromfile="", tofile="", fromfiledate="", tofiledate="", n=3,
                     lineterm="\\n"):
        names = [fromfile, tofile, fromfiledate, tofiledate]
        return iter(_call_ID("diff", "unified_diff", list(a), list(b), *names, n, lineterm))
    def context_diff(self, a, b, fromfile="", tofile="", fromfiledate="", tofiledate="", n=3,
                     lineterm="\\n"):
        names = [fromfile, tofile, fromfiledate, tofiledate]
        return iter(_call_ID("diff", "context_diff", list(a), list(b), *names, n, lineterm))
    def ndiff(self, a, b):
        return iter(_call_ID("diff", "ndiff", list(a), list(b)))
"""

_CONSTANTS = (
    "ascii_letters",
    "ascii_lowercase",
    "ascii_uppercase",
    "digits",
    "hexdigits",
    "octdigits",
    "punctuation",
    "printable",
    "whitespace",
)

_STRING = f"""
class string:
    def __init__(self):
{"".join(f"        self.{name} = {getattr(string, name)!r}{chr(10)}" for name in _CONSTANTS)}
    def capwords(self, s, sep=None):
        return (sep or " ").join([word.capitalize() for word in s.split(sep)])
"""

_OPERATORS = {
    "lt": "<",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
    "ge": ">=",
    "gt": ">",
    "is_": "is",
    "is_not": "is not",
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "and_": "&",
    "or_": "|",
    "xor": "^",
    "lshift": "<<",
    "rshift": ">>",
    "concat": "+",
}

_OPERATOR = f"""
def _attribute_ID(value, path):
    for name in path.split("."):
        value = getattr(value, name)
    return value
class operator:
{
    "".join(
        f"    def {name}(self, a, b):{chr(10)}        return a {sign} b{chr(10)}"
        for name, sign in _OPERATORS.items()
    )
}
    def not_(self, a):
        return not a
    def truth(self, a):
        return bool(a)
    def neg(self, a):
        return -a
    def pos(self, a):
        return +a
    def inv(self, a):
        return ~a
    def invert(self, a):
        return ~a
    def abs(self, a):
        return abs(a)
    def contains(self, a, b):
        return b in a
    def countOf(self, a, b):
        return len([each for each in a if each is b or each == b])
    def indexOf(self, a, b):
        for i, each in enumerate(a):
            if each is b or each == b:
                return i
        raise ValueError("sequence.index(x): x not in sequence")
    def getitem(self, a, b):
        return a[b]
    def setitem(self, a, b, c):
        a[b] = c
    def itemgetter(self, item, *items):
        if items:
            return lambda obj: tuple([obj[each] for each in (item, *items)])
        return lambda obj: obj[item]
    def attrgetter(self, attr, *attrs):
        if attrs:
            return lambda obj: tuple([_attribute_ID(obj, each) for each in (attr, *attrs)])
        return lambda obj: _attribute_ID(obj, attr)
"""

SOURCES = {
    "statistics": _STATISTICS,
    "difflib": _DIFFLIB,
    "string": _STRING,
    "operator": _OPERATOR,
}
"""The sources by the module's name."""


def stub(name: str) -> str:
    """Return the type checker's stub of a module: its names, and the number of arguments."""
    source = SOURCES[name]
    body = source[source.index(f"class {name}:") :]
    names = re.findall(r"^    def ([a-z]\w*)\(self|^        self\.(\w+) = ", body, re.M)
    exports = [f"{each} = _module.{each}\n" for pair in names for each in pair if each]
    return f"{source}\n_module = {name}()\n{''.join(exports)}"


BUILTINS = """
from typing import Any, Callable, Iterator
def map(function: Callable[..., Any], *iterables: Any) -> Iterator[Any]: ...
def filter(function: Callable[..., Any] | None, iterable: Any, /) -> Iterator[Any]: ...
def format(value: Any, format_spec: str = "", /) -> str: ...
def getattr(object: Any, name: str, default: Any = ..., /) -> Any: ...
def hasattr(object: Any, name: str, /) -> bool: ...
def setattr(object: Any, name: str, value: Any, /) -> None: ...
class FileExistsError(OSError): ...
class FileNotFoundError(OSError): ...
class IsADirectoryError(OSError): ...
class NotADirectoryError(OSError): ...
class PermissionError(OSError): ...
class ImportError(Exception): ...
class ModuleNotFoundError(ImportError): ...
class UnboundLocalError(NameError): ...
class UnicodeDecodeError(ValueError): ...
class UnicodeEncodeError(ValueError): ...
"""
"""Builtins that Monty 1.4 has and its type checker does not know."""
