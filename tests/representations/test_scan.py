"""The cache: what is read back is what was scanned, to the type it is kept in, and the manifest says how near."""

import json
import threading
import time

import ml_dtypes
import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.representations.cache import CACHES, Representations
from mammojax.representations.scan import scan_records
from mammojax.runs import locks
from mammojax.runs.stages import Damaged

# half a unit in the last place, as a share of a value: 10, 7 and 23 bits behind the leading one
HALF_UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 0.0}
SMALLEST = {"float16": 2.0**-25, "bfloat16": 0.0, "float32": 0.0}  # half the step of float16 near zero


@pytest.fixture
def scanned(pictures, network, tmp_path):
    def scanned(**options):
        return scan_records(pictures, network, tmp_path, np_=2, **options)

    return scanned


def everything(cache):
    return np.stack([cache.read(i) for i in range(len(cache))])


def test_values_come_back_to_the_precision_of_the_type_that_they_are_kept_in(scanned):
    exact = everything(scanned(cache="float32"))
    assert exact.shape == (12, 2, 2, 24) and exact.std() > 0
    deviation = exact.reshape(-1, 24).astype(np.float64).std(0)
    varies = deviation > 0
    folders = set()
    for name in CACHES:
        cache = scanned(cache=name)
        folders.add(cache.folder)
        found = everything(cache)
        assert found.dtype == np.float32
        error = np.abs(found.astype(np.float64) - exact)
        assert (error <= HALF_UNIT[name] * np.abs(exact) + SMALLEST[name]).all()
        assert (error.max() > 0) == (name != "float32")
        shares = (error.reshape(-1, 24) / np.where(varies, deviation, 1))[:, varies]
        facts = json.loads((cache.folder / "manifest.json").read_text())
        assert facts["cache"] == cache.cache == name
        # the same float64 sums, in another order
        assert cache.rounding.worst == facts["rounding"]["worst"] == pytest.approx(shares.max(), rel=1e-6)
        assert cache.rounding.root_mean_square == pytest.approx(np.sqrt((shares**2).mean()), rel=1e-6)
    assert len(folders) == 3


def test_a_shard_is_a_memory_map_of_two_bytes_a_value(scanned):
    cache = scanned(cache="bfloat16")
    shard, _ = cache._open_shard(0)
    assert isinstance(shard, np.memmap) and shard.dtype == ml_dtypes.bfloat16
    assert sum(p.stat().st_size for p in cache.folder.glob("shard_*.npy")) < 2 * 12 * 2 * 2 * 24 + 2 * 200


def test_bfloat16_products_give_another_cache_that_is_near(scanned):
    exact, near = scanned(cache="float32"), scanned(cache="float32", precision="bfloat16")
    assert exact.folder != near.folder
    difference = np.linalg.norm(everything(near) - everything(exact)) / np.linalg.norm(everything(exact))
    assert 0 < difference < 0.03  # 8 bits, 0.2% by rounding, added up like noise over six layers


def test_a_killed_scan_keeps_the_rounding_of_the_shards_that_it_had_finished(scanned):
    cache = scanned(copies=1)
    before = json.loads((cache.folder / "manifest.json").read_text())
    bits = [cache.read(i) for i in range(12)]
    for name in ("stage.json", "manifest.json", "shard_00001.npy", "moments_00001.npy"):
        (cache.folder / name).unlink()
    lines = []
    scanned(copies=1, say=lines.append)
    assert "1 of 2 shards are there already" in lines[0]
    assert json.loads((cache.folder / "manifest.json").read_text()) == before
    assert all(np.array_equal(a, Representations(cache.folder).read(i)) for i, a in enumerate(bits))


def test_values_beyond_the_range_of_the_type_are_refused_and_one_that_holds_them_is_named(scanned, network):
    fc6 = network.layers["fc6"]
    fc6["bias"][...] = fc6["bias"][...] + 1e5
    with pytest.raises(UserError, match=r"reach 1e\+05, beyond float16; set config.scan.cache=bfloat16"):
        scanned()
    assert everything(scanned(cache="bfloat16")).max() == pytest.approx(1e5, rel=0.01)


def test_a_flipped_byte_in_a_shard_is_found_and_the_scan_is_made_again(scanned):
    cache = scanned()
    shard = cache.folder / "shard_00000.npy"
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(Damaged, match="shard_00000.npy is damaged"):
        Representations(cache.folder).read(0)
    assert np.array_equal(scanned().read(0), cache.read(0)) or (cache.folder / "shard_00000.npy").is_file()


def test_what_is_computed_in_is_part_of_the_key(scanned, monkeypatch):
    import jax

    here = scanned().folder
    monkeypatch.setattr(jax, "default_backend", lambda: "another")
    assert scanned().folder != here


def test_of_a_scan_that_another_process_makes_the_free_shards_are_taken(pictures, network, scanned, tmp_path):
    alone, other, lines, found = scanned(), tmp_path / "other", [], []

    def scan():
        found.append(scan_records(pictures, network, other, np_=2, say=lines.append))

    folder = other / alone.key
    with (
        locks.locked(folder, what="it", say=lines.append),
        locks.locked(folder.with_name(f"{folder.name}.shard 0"), what="a shard", say=lines.append),
    ):
        helper = threading.Thread(target=scan)
        helper.start()
        until = time.monotonic() + 600
        while not list(folder.glob("shard_*.npy")) and time.monotonic() < until:
            time.sleep(0.01)
        assert [p.name for p in folder.glob("shard_*.npy")] == ["shard_00001.npy"]
    helper.join(600)  # whoever held them has ended: it finishes alone
    assert np.array_equal(everything(found[0]), everything(alone))
    assert sum("taking a part of it" in line for line in lines) == 1
    assert {p.name for p in other.iterdir()} == {alone.key}
