"""A data set, a backbone, a classifier, an objective, a surrogate, a metric and an arm that the program does not know: each one
object and its line in a table, and a cross-validation goes through all of them."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.builders import BUILDERS
from mammojax.datasets.labels import Facts
from mammojax.datasets.record import Source
from mammojax.errors import UserError
from mammojax.evaluation.metrics import METRICS, Metric
from mammojax.experiment import crossval
from mammojax.experiment.arms import ARMS, Arm
from mammojax.experiment.model import Model
from mammojax.losses.surrogates import SURROGATES, Definition
from mammojax.models.backbones import BACKBONES
from mammojax.models.backbones.contract import Backbone, Layer, Tap
from mammojax.models.classifiers import CLASSIFIERS
from mammojax.models.classifiers.standardised import Standardised, flat_cells
from mammojax.report.collect import collect
from mammojax.report.summary import summarise
from mammojax.report.table import table_markdown
from mammojax.settings import Settings, with_overrides
from mammojax.training.objectives import OBJECTIVES, Line, Logistic

FILMS = 16


class Spots(MammogramBuilder):
    """Films whose name says all of them: patient, side, label."""

    SCHEMES = ("malignant",)

    @staticmethod
    def find(source, workspace, **options):
        found = []
        for path in sorted(source.glob("*.png")):
            patient, side, label = path.stem.split("_")
            facts = Facts(malignant=label == "1")
            found.append(Source(path.name, path, patient, facts, laterality=side, view="MLO"))
        return found


def steps() -> types.ModuleType:
    """A backbone of one layer: mean and slope of 4 x 4 pixels."""
    module = types.ModuleType("steps")
    module.BACKBONE = Backbone(
        "steps", "pool", (Tap("first", 2, (Layer(4, 4),)),), window=16, parts=("first",)
    )

    def load(weights, seed):
        kernel = np.stack([np.full((4, 4), 1 / 16), np.tile(np.arange(4) - 1.5, (4, 1))], -1)[:, :, None]
        return {"first": {"kernel": kernel.astype(np.float32), "bias": np.zeros(2, np.float32)}}, "steps", "1"

    def apply(variables, batch, tap, first_strides=None, **_):
        kernel = variables["first"]["kernel"]
        return jax.lax.conv_general_dilated(
            batch, kernel, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    module.load, module.apply = load, apply
    return module


class Brightest(Standardised):
    """The largest cell's channels, weighed."""

    def __init__(self, channels, rngs):
        super().__init__(channels)
        self.score = nnx.Linear(channels, 1, rngs=rngs)

    def __call__(self, maps, where=None, progress=1.0):
        cells, where = flat_cells(maps, where)
        cells = (cells - self.mean[...]) / self.deviation[...]
        return self.score(jnp.max(jnp.where(where[..., None], cells, -9.0), axis=1))[:, 0]


def brightest() -> types.ModuleType:
    module = types.ModuleType("brightest")
    module.SPATIAL = False
    module.build = lambda shape, options, *, rngs: Brightest(shape[2], rngs)
    return module


class Squares(Logistic):
    """The squared distance to the label."""

    def loss(self, scores, batch, state, axis_name=None):
        return jnp.mean(jnp.square(scores - batch.labels), where=batch.where)


def films(folder):
    """Sixteen half ellipses in grey; in every fourth patient's left one a bright spot."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :64]
    breast = ((rows - 48) / 44) ** 2 + (columns / 56) ** 2 < 1
    folder.mkdir()
    for patient in range(FILMS // 2):
        for side in "LR":
            label = int(side == "L" and patient % 2 == 0)
            image = np.where(breast, 90 + 10 * rng.normal(size=breast.shape), 0)
            if label:
                image[40:52, 16:28] = 240
            flipped = image if side == "L" else image[:, ::-1]
            Image.fromarray(flipped.clip(0, 255).astype(np.uint8)).save(
                folder / f"p{patient}_{side}_{label}.png"
            )
    return folder


@pytest.fixture
def added(monkeypatch):
    cells = {"model.backbone": "steps", "model.tap": "first", "model.map": "dense", "model.classifier": "brightest",
             "training.batch": 0, "training.epochs": 60, "training.learning_rate": 0.1, "training.select": "last",
             "training.evaluate_every": 60}  # fmt: skip
    exponential = Definition(jnp.exp, jnp.exp, jnp.exp)
    for table, name, line in (
        (BUILDERS, "spots", f"{__name__}:Spots"),
        (sys.modules, "steps", steps()),
        (BACKBONES, "steps", "steps"),
        (sys.modules, "brightest", brightest()),
        (CLASSIFIERS, "brightest", "brightest"),
        (OBJECTIVES, "squares", Line(Squares)),
        (SURROGATES, "exponential", exponential),
        (METRICS, "positives", Metric("Share of positives", lambda p, n: p[-1] / (p[-1] + n[-1]))),
        (ARMS, "brightest_squares", Arm("Brightest, squares", "#123456", "maps", "squares", settings=cells)),
        (ARMS, "brightest_auc", Arm("Brightest, AUC", "#654321", "maps", "auc", settings=cells)),
    ):
        monkeypatch.setitem(table, name, line)


def test_each_is_one_object_and_one_line(added, tmp_path):
    arms = ("brightest_squares", "brightest_auc:loss.surrogate=exponential")
    settings = with_overrides(Settings(), {
        "run": str(tmp_path / "run"), "data.name": "spots", "data.source": str(films(tmp_path / "films")),
        "data.workers": 0, "crossval.folds": 2, "training.inner": 2, "crossval.arms": arms,
    })  # fmt: skip
    run = crossval(settings, say=lambda text: None)
    assert len(run.records) == FILMS and run.records.labels.sum() == FILMS // 4
    cells = [(cell.arm.name, cell.repeat, cell.fold, cell.folder) for cell in run.cells]
    predictions = collect(cells, path=tmp_path / "predictions.csv")
    summary = summarise(predictions, proposed=run.proposed, seed=0, resamples=20)
    for arm in arms:
        estimates = summary.arms[arm]["image"].estimates
        assert estimates["mean"].value == 1.0  # a spot is not to be missed
        assert estimates["positives"].value == 0.25
    titles = {arm.name: arm.title for arm in run.arms}
    assert "Share of positives" in table_markdown(summary, titles)
    model = Model([cell.folder for cell in run.cells if cell.arm.name == arms[0]])
    assert len(model) == 2


def test_a_name_without_its_line_is_said_with_those_that_are_known(tmp_path):
    settings = with_overrides(Settings(), {"run": str(tmp_path), "crossval.arms": ("brightest_squares",)})
    with pytest.raises(UserError, match="brightest_squares.*expected some of resize224_svm, bce"):
        crossval(settings)
