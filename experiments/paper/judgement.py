"""How ours is told from the paper's: same, different or not comparable, from intervals."""

from collections.abc import Iterable, Mapping

from theory.estimate import Interval

SAME, DIFFERENT, APART = "same", "different", "not comparable"
ALIKE = Interval(0.5, 2.0)  # within a factor of two
WIDE = "the intervals are too wide to tell"
RARELY = 1e4  # an upper end from which on a ratio of rare events says nothing
Found = tuple[str, str, str]  # ours, judgement, why
Effect = tuple[float, Interval]


def judged(found: Iterable[Effect], theirs: Interval, strict: bool = False) -> str:
    """Same where one of ours is the paper's, different where none of them can be.

    Ours is the paper's when it lies in the paper's range, or when its interval covers that range
    and is narrow, its ends within a factor of two. It cannot be when its interval does not meet
    the range. With `strict`, for what the paper says of all, one that cannot be is enough.
    """
    found = list(found)
    if any(theirs.contains(effect) or _covers(ends, theirs) for effect, ends in found):
        return SAME
    apart = [ends.upper < theirs.lower or ends.lower > theirs.upper for _, ends in found]
    return DIFFERENT if any(apart) and (strict or all(apart)) else APART


def ranged(
    found: Mapping[str, Effect], theirs: Interval, same: str, different: str, strict: bool = False
) -> Found | None:
    """Ours by name against the paper's range; those of RARELY or more are counted, not shown."""
    telling = {name: one for name, one in found.items() if one[1].upper < RARELY}
    if not found:
        return None
    if not telling:
        return f"{len(found)} with events too rare to say", APART, WIDE
    judgement = judged(telling.values(), theirs, strict)
    ours, rest = listed(telling), len(found) - len(telling)
    if rest:
        ours = f"{ours}, and {rest} with events too rare to say"
    return ours, judgement, {SAME: same, DIFFERENT: different, APART: WIDE}[judgement]


def listed(found: Mapping[str, Effect]) -> str:
    """Effects with their intervals, each with its name."""
    return ", ".join(f"{shown(one)} ({name})" for name, one in found.items())


def shown(found: Effect) -> str:
    """An effect with its interval, four digits."""
    value, (lower, upper) = found
    text = f"{value:.4g} [{lower:.4g}, {upper:.4g}]"
    return text.replace("inf", "∞").replace("-", "−")


def _covers(ends: Interval, theirs: Interval) -> bool:
    within = ends.lower <= theirs.lower and theirs.upper <= ends.upper
    return bool(within and 0 < ends.upper <= 2 * ends.lower)
