"""Programs compiled ahead of their turn: the same bits as compiled at once, each once, and no plan need be announced."""

import numpy as np
from flax import nnx

from mammojax.models.plans import plan
from mammojax.representations import programs as ahead
from mammojax.representations.programs import Programs, compiled_scan


def test_the_next_program_is_compiled_meanwhile_and_gives_the_same_bits(network, monkeypatch):
    plans = [plan(shape, network.backbone, 2, tap="fc6") for shape in ((300, 200), (500, 250), (700, 350))]
    assert len(set(plans)) == 3
    made = []
    compiled = Programs._compiled
    monkeypatch.setattr(Programs, "_compiled", lambda self, p: (made.append(p), compiled(self, p))[1])
    programs = Programs(network, plans[:2], batch=1, precision="float32", mesh=None)
    rng = np.random.default_rng(0)
    for i, p in enumerate((plans[0], plans[0], plans[1], plans[2])):
        pixels = rng.random((1, *p.input_shape, 1), np.float32)
        values = np.asarray(programs(p, pixels))
        programs._ahead.submit(int).result()  # what was begun meanwhile is done
        assert made == [plans[0], plans[1], plans[2]][: (2, 2, 2, 3)[i]]
        reference = compiled_scan()(*nnx.split(network), pixels, p, "float32")
        assert values.tobytes() == np.asarray(reference).tobytes()


def test_a_scan_of_several_plans_compiles_each_once(pictures, network, tmp_path, monkeypatch):
    made = []
    compiled = Programs._compiled
    monkeypatch.setattr(ahead.Programs, "_compiled", lambda self, p: (made.append(p), compiled(self, p))[1])
    from mammojax.representations.scan import scan_records

    scan_records(pictures, network, tmp_path, np_=2)
    assert len(made) == len(set(made)) == 2
