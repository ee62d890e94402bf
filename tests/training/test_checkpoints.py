"""Checkpoints: whatever happened to the newest, what is restored is whole."""

import os
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.training.checkpoints import SUMS, Checkpoints

TREE = {"kernel": jnp.arange(12.0).reshape(3, 4), "step": jnp.int32(7)}
ABSTRACT = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), TREE)


def tree(step):
    return jax.tree.map(lambda x: x + step, TREE)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    checkpoints = Checkpoints(folder)
    for step in (1, 2):
        checkpoints.save(step, tree(step), {"epoch": step})
    checkpoints.close()
    return folder


def restore(folder):
    lines = []
    checkpoints = Checkpoints(folder)
    restored = checkpoints.restore(ABSTRACT, say=lines.append)
    checkpoints.close()
    return restored, lines


def emptied(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def removed(path):
    path.unlink()


def assert_first_step(restored, lines):
    step, values, facts = restored
    assert step == 1 and facts == {"epoch": 1}
    assert all(np.array_equal(a, b) for a, b in zip(values.values(), tree(1).values(), strict=True))
    assert len(lines) == 1 and lines[0].startswith("checkpoint 2 is broken (")


@pytest.mark.parametrize("damage", [emptied, truncated, flipped, removed])
def test_with_any_file_of_the_newest_damaged_the_one_before_is_used_and_said(two_steps, tmp_path, damage):
    names = [p.relative_to(two_steps) for p in sorted((two_steps / "2").rglob("*")) if p.is_file()]
    assert len(names) > 10 and two_steps.joinpath("2", SUMS).is_file()
    for number, name in enumerate(names):
        if damage is not removed and not (two_steps / name).stat().st_size:
            continue  # nothing in it that could be lost
        folder = tmp_path / str(number) / "checkpoints"
        shutil.copytree(two_steps, folder)
        damage(folder / name)
        restored, lines = restore(folder)
        assert_first_step(restored, lines)
        assert str(name.relative_to("2")) in lines[0]
        assert folder.with_name("checkpoints.broken-2").is_dir()  # kept to be looked at


def test_a_half_deleted_newest_and_a_folder_named_like_a_step_are_not_used(two_steps, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(two_steps, folder)
    shutil.rmtree(folder / "2/state")
    (folder / "99").mkdir()
    (folder / "99/junk").write_text("x")
    restored, lines = restore(folder)
    assert lines[0].startswith("checkpoint 99 is broken")
    assert_first_step(restored, lines[1:])


def test_with_every_checkpoint_damaged_there_is_none_and_saving_goes_on(two_steps, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(two_steps, folder)
    for step in "12":
        flipped(folder / step / "_CHECKPOINT_METADATA")
    restored, lines = restore(folder)
    assert restored is None and len(lines) == 2
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, tree(5), {"epoch": 5})  # the very step that was damaged
    checkpoints.close()
    assert restore(folder)[0][2] == {"epoch": 5}


def test_a_whole_checkpoint_of_another_network_is_set_aside(two_steps, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(two_steps, folder)
    checkpoints, lines = Checkpoints(folder), []
    other = {"kernel": ABSTRACT["kernel"], "momentum": ABSTRACT["step"]}
    assert checkpoints.restore(other, say=lines.append) is None
    checkpoints.close()
    assert len(lines) == 2 and all("it holds something else" in line for line in lines)


def test_the_newest_keep_their_checksums_and_older_ones_go(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, tree(step), {})
    checkpoints.close()
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["3", "4"]
    assert all((tmp_path / "checkpoints" / step / SUMS).is_file() for step in "34")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's event loop
def test_a_disk_that_fails_is_one_line_with_what_is_left(tmp_path):
    large = {
        **TREE,
        "kernel": jax.random.normal(jax.random.key(0), (400, 1000)),
    }  # 1.6 MB that do not compress
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, tree(1), {"epoch": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (400_000, limits[1])
    )  # stands for a full disk: writing fails beyond
    try:
        checkpoints.save(2, large, {})
        with pytest.raises(UserError, match="File too large; checkpoint 1 is whole") as caught:
            checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert restore(tmp_path / "checkpoints")[0][2] == {"epoch": 1}
