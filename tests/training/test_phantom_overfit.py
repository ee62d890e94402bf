"""Eight phantom images, scanned by the real network, are learned by heart with each loss; golden first steps."""

import numpy as np
import pytest
from flax import nnx
from sklearn.metrics import roc_auc_score

from mammojax.errors import UserError
from mammojax.images.breast import crop_breast
from mammojax.images.reading.any_file import read_mammogram
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.scanning import load_backbone, plan, prepare_image, scan
from mammojax.phantom.dicom import write_phantom_dicom
from mammojax.phantom.screening_set import phantom_patient
from mammojax.training.objectives import Auc, Logistic, WeightedLogistic
from mammojax.training.optimizer import Optimizer
from mammojax.training.scoring import make_scorer
from mammojax.training.step import Batch, compiled_step, start

OBJECTIVES = {
    "auc, buffers": Auc(implementation="materialized"),
    "auc, two passes": Auc(pairs="two_pass", implementation="materialized"),
    "bce": Logistic(),
    "weighted bce": WeightedLogistic(),
}
SIDES = (128, 96)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """(representations float32[8, 4, 4, 112], labels): two patients through DICOM files and the scanning network."""
    try:
        network = load_backbone("efficientnet_lite0")
    except UserError as error:
        pytest.skip(str(error))
    folder, values, labels = tmp_path_factory.mktemp("phantom"), [], []
    made = plan(SIDES, network.backbone, 4)  # one plan for all: one program
    scan_once = nnx.jit(scan, static_argnums=2)
    for patient in range(2):
        films = phantom_patient(0, patient, malignant=patient == 0, height=SIDES[0], width=SIDES[1])
        for k, view in enumerate(films):
            path = folder / f"{patient}{k}.dcm"
            write_phantom_dicom(view, path, seed=0, patient=patient)
            crop = crop_breast(read_mammogram(path.read_bytes(), path.name))
            image = np.zeros(SIDES, np.uint16)
            image[: crop.image.shape[0], : crop.image.shape[1]] = crop.image
            values.append(scan_once(network, prepare_image(image, crop.bits, made)[None], made)[0])
            labels.append(view.label)
    return np.stack(values).astype(np.float32), np.asarray(labels, np.int32)


def model_of(values):
    model = Classifier(values.shape[-1], 4, filters=(16, 16), hidden=(16,), rngs=nnx.Rngs(0))
    model.set_normalisation(values.mean((0, 1, 2)), values.std((0, 1, 2)) + 1e-6)
    return model


def first_loss(name, scores, labels):
    """Golden by definition, in float64: the loss of the untrained network's scores."""
    if name.startswith("auc"):
        d = scores[labels == 0][None] - scores[labels == 1][:, None]
        return np.logaddexp(0, d).mean() if d.size else 0.0
    weights = np.where(labels == 1, 8 / 2 / 2, 8 / 2 / 6) if name == "weighted bce" else 1.0
    return np.mean(weights * np.logaddexp(0, np.where(labels == 1, -scores, scores)))


@pytest.mark.parametrize(
    "name",
    [
        "auc, buffers",
        "bce",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("auc, two passes", "weighted bce")),
    ],
)
def test_eight_phantom_images_are_learned_to_an_auc_of_one_from_the_first_loss_on(images, name):
    values, labels = images
    assert labels.sum() == 2
    start_scores = np.asarray(model_of(values)(values), np.float64)
    model, optimizer = model_of(values), Optimizer(3e-3, 60, regularisation=0.02)
    graph, state = start(model, optimizer, OBJECTIVES[name], labels=labels)
    kernels = [np.asarray(x, np.float64) for x in nnx.to_flat_state(state.params).leaves]
    step = compiled_step(graph, optimizer, OBJECTIVES[name])
    reports, seen = [], []
    for epoch in range(30):
        order = np.random.default_rng(epoch).permutation(8).astype(np.int32)
        parts = [Batch(values[p], labels[p], p, np.ones(4, bool)) for p in (order[:4], order[4:])]
        for group in [tuple(parts)] if name == "auc, two passes" else [(p,) for p in parts]:
            state, report = step(state, group)
            reports.append(report)
            seen.append(np.concatenate([b.ids for b in group]))
    expected = first_loss(name, start_scores[seen[0]], labels[seen[0]])
    penalty = 0.01 * sum((x**2).sum() for x in kernels if x.ndim > 1)
    # float32 sums of some pairs, and of some thousand squares
    assert float(reports[0].loss) == pytest.approx(expected, rel=1e-5)
    assert float(reports[0].penalty) == pytest.approx(penalty, rel=1e-5)
    everything = Batch(values, labels, np.arange(8, dtype=np.int32), np.ones(8, bool))
    scores = make_scorer(model)(state.kept, state.rest, everything)
    assert roc_auc_score(labels, scores) == 1.0
