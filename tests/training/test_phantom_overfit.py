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
from mammojax.training.loop import SELECTION, fit
from mammojax.training.step import (
    Batch,
    auc_objective,
    logistic_objective,
    make_optimizer,
    make_step,
    start,
    weighted_logistic_objective,
)

OBJECTIVES = {
    "auc, buffers": lambda: auc_objective(pairs="buffer", samples=8),
    "auc, reservoir": lambda: auc_objective(pairs="buffer", samples=8, policy="reservoir", capacity=4),
    "auc, batch": lambda: auc_objective(pairs="batch", samples=8),
    "auc, two passes": lambda: auc_objective(pairs="two_pass", samples=8),
    "bce": logistic_objective,
    "weighted bce": lambda: weighted_logistic_objective(positives=2, negatives=6),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """(representations float32[8, 4, 4, 112], labels): two patients through DICOM files and the scanning network."""
    try:
        network = load_backbone("efficientnet_lite0")
    except UserError as error:
        pytest.skip(str(error))
    folder, values, labels = tmp_path_factory.mktemp("phantom"), [], []
    scan_once = nnx.jit(scan, static_argnums=2)
    for patient in range(2):
        for k, view in enumerate(phantom_patient(0, patient, malignant=patient == 0, height=512, width=384)):
            path = folder / f"{patient}{k}.dcm"
            write_phantom_dicom(view, path, seed=0, patient=patient)
            crop = crop_breast(read_mammogram(path.read_bytes(), path.name))
            made = plan((512, 384), network.backbone, 4)  # one plan for all: one program
            image = np.zeros((512, 384), np.uint16)
            image[: crop.image.shape[0], : crop.image.shape[1]] = crop.image
            values.append(scan_once(network, prepare_image(image, crop.bits, made)[None], made)[0])
            labels.append(view.label)
    return np.stack(values).astype(np.float32), np.asarray(labels, np.int32)


def model_of(values, seed=0):
    model = Classifier(values.shape[-1], 4, filters=(16, 16), hidden=(16,), rngs=nnx.Rngs(seed))
    model.set_normalisation(values.mean((0, 1, 2)), values.std((0, 1, 2)) + 1e-6)
    return model


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_eight_phantom_images_are_learned_to_an_auc_of_one(images, tmp_path, name):
    values, labels = images
    assert labels.sum() == 2

    def batches(epoch):
        order = np.random.default_rng(epoch).permutation(8).astype(np.int32)
        parts = [Batch(values[p], labels[p], p, np.ones(4, bool)) for p in (order[:4], order[4:])]
        yield from [tuple(parts)] if name == "auc, two passes" else [(p,) for p in parts]

    def evaluate(score):
        return {
            SELECTION: roc_auc_score(labels, score(Batch(values, labels, np.arange(8), np.ones(8, bool))))
        }

    fitted = fit(
        model_of(values), OBJECTIVES[name](), make_optimizer(learning_rate=3e-3, steps=60), batches=batches,
        evaluate=evaluate, epochs=30, regularisation=0.0, folder=tmp_path, evaluate_every=30, checkpoint_every=99,
    )  # fmt: skip
    assert roc_auc_score(labels, np.asarray(fitted.model(values))) == 1.0


def test_the_first_step_has_the_loss_of_a_computation_in_float64(images):
    """Golden by definition: the scores of the untrained model, paired in numpy."""
    values, labels = images
    model = model_of(values)
    scores = np.asarray(model(values), np.float64)
    d = scores[labels == 0][None] - scores[labels == 1][:, None]
    expected = {
        "auc, batch": np.logaddexp(0, d).mean(),
        "bce": np.logaddexp(0, np.where(labels == 1, -scores, scores)).mean(),
    }
    batch = Batch(values, labels, np.arange(8, dtype=np.int32), np.ones(8, bool))
    for name, value in expected.items():
        optimizer = make_optimizer(learning_rate=1e-3, steps=10)
        graph, state = start(model_of(values), optimizer, OBJECTIVES[name]())
        before = [np.asarray(x) for x in nnx.to_flat_state(state.params).leaves]
        step = make_step(graph, optimizer, OBJECTIVES[name](), regularisation=0.02)
        _, loss = step(state, (batch,))
        penalty = 0.01 * sum((x.astype(np.float64) ** 2).sum() for x in before if x.ndim > 1)
        assert float(loss) == pytest.approx(
            value + penalty, rel=1e-5
        )  # float32 sums of some thousand squares
