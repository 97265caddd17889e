"""What the tables have for the numbers of the paper: ours, the judgement, and why, from rows.

Every measure takes the rows of one experiment and returns None when none of them bears on it.
Intervals are at FAILURE each; how they are judged is in `judgement`.
"""

from collections.abc import Callable

from theory.estimate import Interval

from experiments.claims import CLAIMS
from experiments.claims.columns import (
    ended,
    estimate,
    number,
    of_family,
    with_ends,
)
from experiments.claims.leak import slopes
from experiments.paper.judgement import (
    ALIKE,
    APART,
    DIFFERENT,
    SAME,
    WIDE,
    Found,
    judged,
    ranged,
    shown,
)
from experiments.store import Row
from experiments.verdict import FAILURE

SAID = {"holds": SAME, "refuted": DIFFERENT, "inconclusive": APART}
LENGTH = 0.1  # of steps, over the median ‖Z‖
BY_ID = {claim.id: claim for claim in CLAIMS}
Measure = Callable[[list[Row]], Found | None]


def claimed(name: str, what: str, same: str, different: str) -> Measure:
    """Ours is the effect of a claim: same where it holds, different where it is refuted."""

    def measure(rows: list[Row]) -> Found | None:
        verdict = BY_ID[name].judge(rows)
        if verdict.effect is None or verdict.interval is None:
            return None
        judgement = SAID[verdict.verdict]
        why = {SAME: same, DIFFERENT: different, APART: verdict.reason.rstrip(".")}[judgement]
        return f"{what}: {shown((verdict.effect, Interval(*verdict.interval)))}", judgement, why

    return measure


def slope(rows: list[Row]) -> Found | None:
    """Log–log slopes of sparsemax's leak, M ≥ 4, against −0.97 to −0.90."""
    found = {f"M = {modes}": ended(one, FAILURE) for modes, one, _ in slopes(rows) if modes >= 4}
    same = "the deficit from −1 is of the ridges where three cells meet, and is predicted here"
    return ranged(found, Interval(-0.97, -0.90), same, "no slope here meets the paper's range")


def steepening(rows: list[Row]) -> Found | None:
    """The slope over the larger half of the Λ beside that over all, M = 16."""
    group = [r for r in of_family(rows, "sparsemax") if r["modes"] == 16]
    group.sort(key=lambda row: number(row, "stiffness"))
    if len(group) < 3:
        return None
    whole, last = (ended(slopes(part)[0][1], FAILURE) for part in (group, group[len(group) // 2 :]))
    ours = f"{shown(whole)} over all Λ, {shown(last)} over the larger half, M = 16"
    if last[1].upper < whole[0]:
        return ours, SAME, "the ridges' term b/Λ² falls beside the leading a/Λ"
    if last[1].lower > whole[0]:
        return ours, DIFFERENT, "it moves away from −1 here"
    return ours, APART, WIDE


def surface(rows: list[Row]) -> Found | None:
    """The range of P/√log M over all (M, n)."""
    best = of_family(rows, "best")
    if not best:
        return None
    heights = [number(row, "perimeter_value") / number(row, "root_log_modes") for row in best]
    order = sorted(range(len(best)), key=lambda k: heights[k])
    ours = " to ".join(
        f"{heights[k]:.4g} at (M, n) = ({best[k]['modes']}, {best[k]['dimension']})"
        for k in (order[0], order[-1])
    )
    return ours, APART, "the paper's curves are known here by their caption, without numbers"


def place(rows: list[Row]) -> Found | None:
    """Where f̂(0+) = 0.064 and 2.3 times the law hold together."""
    mine = of_family(rows, "place")
    if not mine:
        return None
    places = ", ".join(
        f"{number(r, 'half_distance') / number(r, 'latent_width'):.2g} widths (M = {r['modes']})"
        for r in mine
    )
    ours = f"1 as s → 0; 2.3 together with f̂(0+) = 0.064 where half mode distances are {places}"
    return ours, APART, "whether the paper's latents lie there, and in which unit its s is, is open"


def densities(rows: list[Row]) -> Found | None:
    """f̂(0+) of real heads."""
    heads = {str(row["decoder"]): number(row, "density_value") for row in rows}
    ours = ", ".join(f"{value:.3g} ({name})" for name, value in heads.items())
    return (ours, APART, "a density of distances has a unit, that of the latents") if ours else None


def flips(family: str, column: str) -> Measure:
    """The range of flips of exact posterior means, of modes that overlap or are apart."""

    def measure(rows: list[Row]) -> Found | None:
        mine = [r for r in of_family(rows, family) if r["latents"] in ("overlapping", "separated")]
        mine = [r for r in mine if family == "rollin" or number(r, "scale") >= 1]
        shares = [number(r, f"{column}_value") for r in mine if r.get(f"{column}_value")]
        if not shares:
            return None
        ends = dict.fromkeys(f"{share:.0%}" for share in (min(shares), max(shares)))
        ours = f"{' to '.join(ends)}, by latents, noise and steps"
        return ours, APART, "theirs is of ELF, a trained model, ours of exact posterior means"

    return measure


def structured(theirs: Interval) -> Measure:
    """Flips along residuals of separated modes over those of isotropic steps as long, s ≥ 1."""

    def measure(rows: list[Row]) -> Found | None:
        mine = [r for r in of_family(rows, "terminal") if r["latents"] == "separated"]
        found = {
            f"s = {number(r, 'scale'):g}, n = {r['dimension']}": with_ends(r, "structured")
            for r in mine
            if number(r, "scale") >= 1
        }
        same = "modes that are apart have such residuals; those of one Gaussian flip 1.0 to 1.2"
        return ranged(found, theirs, same, "no residual of separated modes here does that")

    return measure


def student(rows: list[Row]) -> Found | None:
    """What separated modes have for a response that the paper does not name: their flips."""
    found = structured(Interval(45.0, 46.5))(rows)
    why = "the student is not public, and of which response its 45.7 is was not at hand"
    return (found[0], APART, why) if found else None


def head_residuals(rows: list[Row]) -> Found | None:
    """DABI of flips along residuals, real heads at the median distance, against 10 to 33."""
    mine = [row for row in rows if row["length"] == 1]
    found = {str(r["decoder"]): with_ends(r, "dabi_residual_flips") for r in mine}
    return ranged(found, Interval(10.0, 33.0), "one head has it", "no head has it")


def row_space(rows: list[Row]) -> Found | None:
    """Least row-space share of a residual, where the rank is below n, against 1%."""
    mine = [r for r in of_family(rows, "terminal") if number(r, "rank") < number(r, "dimension")]
    if not mine:
        return None
    row = min(mine, key=lambda r: number(r, "share_value"))
    least = ended(estimate(row, "share"), FAILURE)
    ours = f"{shown(least)} at least, rank/n = {number(row, 'isotropic_share'):g}"
    judgement = judged([least], Interval(0.005, 0.02))
    different = "a share far below rank/n needs latents that are ambiguous outside of the row space"
    return (
        ours,
        judgement,
        {SAME: "it is as small here", DIFFERENT: different, APART: WIDE}[judgement],
    )


def head_row_space(rows: list[Row]) -> Found | None:
    """The same of real heads."""
    mine = [row for row in rows if row["length"] == 1]
    found = {str(row["decoder"]): ended(estimate(row, "row_share"), FAILURE) for row in mine}
    different = "most heads have full column rank, where the share is 1 and says nothing"
    return ranged(found, Interval(0.005, 0.02), "one head has it", different)


def text_residual(rows: list[Row]) -> Found | None:
    """DABI of flips of text heads along residuals against 500 and more."""
    found = {
        str(row["decoder"]): with_ends(row, "dabi_residual_flips") for row in _steps(rows, "text")
    }
    different = "residuals of laws fitted to real latents flip no more than isotropic steps do"
    return ranged(found, Interval(500.0, 1e9), "one head has it", different)


def text_normal(rows: list[Row]) -> Found | None:
    """Lower ends of DABI of the cross-entropy along facet normals."""
    ends = {
        str(row["decoder"]): number(row, "dabi_normal_rise_lower")
        for row in _steps(rows, "text")
        if row["dabi_normal_rise_lower"] is not None
    }
    ours = ", ".join(f"≥ {end:.3g} ({name})" for name, end in ends.items())
    why = "only lower ends are known, isotropic rises being near 0, and theirs is along residuals"
    return (ours, APART, why) if ours else None


def image_residual(decoder: str) -> Measure:
    """DABI of pixels of an image decoder along residuals, within a factor of two of 1."""

    def measure(rows: list[Row]) -> Found | None:
        mine = [row for row in _steps(rows, "image") if row["decoder"] == decoder]
        if not mine:
            return None
        found = with_ends(mine[0], "dabi_residual_output")
        lower, upper = found[1]
        if ALIKE.lower <= lower and upper <= ALIKE.upper:
            return shown(found), SAME, "pixels feel few-step residuals as any other step"
        if upper < ALIKE.lower or lower > ALIKE.upper:
            return shown(found), DIFFERENT, "pixels feel residuals otherwise than other steps"
        return shown(found), APART, "so few photographs leave the interval too wide to tell"

    return measure


def image_worst(rows: list[Row]) -> Found | None:
    """DABI of pixels along the top singular direction against a factor of two of 1."""
    found = {
        str(row["decoder"]): with_ends(row, "dabi_singular_output")
        for row in _steps(rows, "image")
        if row["dabi_singular_output_upper"] is not None
    }
    different = "images too have directions that they feel more, by √(n/effective rank)"
    return ranged(found, ALIKE, "no direction stands out", different, strict=True)


def _steps(rows: list[Row], kind: str) -> list[Row]:
    """Rows of decoders of a kind at steps of LENGTH."""
    return [r for r in of_family(rows, "step") if (r["kind"], r["length"]) == (kind, LENGTH)]
