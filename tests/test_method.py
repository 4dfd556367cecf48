"""docs/method.md states the numbers that the code has, and every number of the code says where it was measured."""

from __future__ import annotations

import ast
import re
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from stn_cli.coloc import objective
from stn_cli.coloc.masks import settings as masks
from stn_cli.coloc.score import settings as score
from stn_cli.coloc.score.settings import CALIBRATION
from stn_cli.coloc.search import camera_settings as cameras
from stn_cli.coloc.search import settings as search
from stn_cli.encoders import GradientEncoder, interface
from stn_cli.encoders.gradient_maps import ORIENTATIONS
from stn_cli.provenance import NOT_MEASURED
from stn_cli.runs.config import TrainConfig
from tests.conftest import ROOT

PAGE = " ".join((ROOT / "docs/method.md").read_text(encoding="utf-8").split())
EXPERIMENTS = " ".join((ROOT / "docs/experiments.md").read_text(encoding="utf-8").split())
IN_WORDS = {"a tenth": 0.1, "half": 0.5, "twice": 2, "three": 3, "four": 4, "eight": 8, "Ten": 10}
M = masks.MASKS
R, W, V, D, C, O, S = search.RIGID, search.WINDOWS, search.WORDS, search.DENSE, search.CHOICE, search.OUTLINE, score.SCORE  # noqa: E741
STEP = 100 * (R.side_step - 1)

# words of the page, # where it has a number, and what the code has
STATED: list[tuple[str, tuple[float, ...]]] = [
    (r"and alpha = #\.", (objective.ALPHA,)),
    (r"Sizes are compared by loss - # log\(area\)", (objective.SIZE_REWARD,)),
    (r"one step of the size ladder \(# %\)", (round(STEP),)),
    (r"blur, gradients, # orientation channels", (ORIENTATIONS,)),
    (
        r"# x # cells make the rigid embedding of a window of # pixels",
        (interface.CELLS_ALONG,) * 2 + (GradientEncoder.patch,),
    ),
    (r"some rounds; # restarts", (R.restarts,)),
    (
        r"for # sides from # to # of the letterbox, each # % larger",
        (R.sides, R.ladder[0], round(R.ladder[-1], 2), round(STEP)),
    ),
    (r"a crop of # to # times that side", (min(R.stretches), max(R.stretches))),
    (r"add (four) times their weight", (D.border_weight,)),
    (r"computed anew; (eight) rounds", (D.rounds,)),
    (r"with #, # and # pixels \(at `--imgsz #`\)", (*(128 * s for s in D.scales), 128)),
    (r"mirrored outwards by #", (D.pad,)),
    (
        r"threshold # standard deviations above Otsu's \(# for the last",
        (D.discriminant.above, D.discriminant.last_above),
    ),
    (r"it is worth # times the other", (D.means_gain,)),
    (r"`--search-images` of them \(#\)", (TrainConfig().search_images,)),
    (r"quantised into # words", (V.words,)),
    (r"border band counting (three) times", (V.border_weight,)),
    (r"in closed form\. (Ten) rounds", (V.rounds,)),
    (
        r"favoured by # standard deviations at first \(photographers centre\), # later",
        (V.centre_prior, V.faded_prior),
    ),
    (r"less (twice) the share of the border that is covered; more than #/# of", (V.cover_cost, 4 * V.most_cover, 4)),
    (r"hold on to the centre \(#\)", (V.guided_prior,)),
    (r"in the last (three) rounds; they are believed if the criterion rises by #", (V.own_rounds, V.guided_gain)),
    (r"either sign, are believed if it rises by #", (V.start_gain,)),
    (
        r"loss - # log\(area\) \+ # x contrast of the deformable one is below #",
        (objective.SIZE_REWARD, C.contrast_weight, C.rigid_below),
    ),
    (r"there the bound is # \(digits", (C.rigid_below_dense,)),
    (r"The box, and # of its sides around it, is looked at with # pixels along its longer side", (M.reach, M.side)),
    (r"logit p = logit prior \+ # \(log p\(c \| object", (M.weight,)),
    (r"soft ellipse of # of the box", (M.ellipse,)),
    (r"histograms in Lab of each of # heights", (M.bands,)),
    (r"From the object's histogram # of that of its surroundings", (M.explained,)),
    (r"After each of (four) rounds a guided filter", (M.rounds,)),
    (r"base rate #, of which f_loc gets (a tenth)", (TrainConfig().lr, TrainConfig().localisation_lr)),
    (r"f_loc reads the first # principal components", (S.read,)),
    (r"inside less (half) the mean in a ring", (S.ring_weight,)),
    (r"sizes are matched over 512 and scores fitted on 1,(\d\d\d)\.", (CALIBRATION.images - 1000,)),
    (
        r"below # the run warns that there may be no common object, and its scores stay below #",
        (CALIBRATION.least_common, CALIBRATION.doubtful),
    ),
]


@pytest.mark.parametrize(("words", "numbers"), STATED, ids=[words[:40] for words, _ in STATED])
def test_the_method_page_states_the_codes_numbers(words: str, numbers: tuple[float, ...]) -> None:
    (found,) = re.finditer(words.replace("#", r"(\d+(?:\.\d+)?)"), PAGE)
    assert [IN_WORDS[text] if text in IN_WORDS else float(text) for text in found.groups()] == pytest.approx(
        list(numbers), rel=1e-9
    )


def test_the_page_says_quarters_and_shares_as_the_code_has_them() -> None:
    """What the page says in words that are no numbers of their own."""
    assert (W.finer, O.weight, D.means.whiten, D.discriminant.shrinkage, S.hopeless) == (4, 0.5, 0.5, 1.0, 0.1)
    for words in (
        "in quarters of a cell",
        "A box is the mean of the outline's and the window's",
        "The mean difference mu - r of half-whitened features",
        "half of the scatter taken as equal in all directions",
        "less margin than nine tenths of random patches",
    ):
        assert words in PAGE


SETTINGS = [
    value
    for module in (search, cameras, score, masks)
    for value in vars(module).values()
    if is_dataclass(value) and not isinstance(value, type)
]


@pytest.mark.parametrize("settings", SETTINGS, ids=[type(s).__name__ for s in SETTINGS])
def test_every_number_says_what_it_is_and_where_it_was_measured(settings: object) -> None:
    for each in fields(settings):  # type: ignore[arg-type]
        facts = each.metadata
        assert facts["meaning"], each.name
        assert facts["measured"] == NOT_MEASURED or facts["measured"] in EXPERIMENTS, (each.name, facts["measured"])
        with pytest.raises(FrozenInstanceError):
            setattr(settings, each.name, 0)


def test_numbers_stand_in_the_settings_and_nowhere_else() -> None:
    """No module of the search, of the scorers or of masks has a number of its own at its top."""
    for room in ("search", "score", "masks"):
        for path in sorted((ROOT / "stn_cli/coloc" / room).glob("*.py")):
            if path.name == "settings.py":
                continue
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                    numbers = [
                        n.value
                        for n in ast.walk(node.value)
                        if isinstance(n, ast.Constant) and type(n.value) in (int, float) and n.value
                    ]
                    assert not numbers, f"{path.name}: line {node.lineno}"
