"""The scanning benchmark: a tiny run leaves what a reader needs, with and without its peers."""

import csv

import pytest
from program import error_line, run

PROGRAM = "launch.benchmark_scan"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "out"
    done = run(
        PROGRAM,
        f"--out={folder}",
        "--image=231x215",
        "--strides=2",
        "--part=vgg_m,accelerator",
        "--repeats=2",
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return folder, done.stdout, list(csv.DictReader(file))


def test_every_program_is_measured_with_its_rate_and_its_difference(tiny):
    _, _, rows = tiny
    for name in ("mammojax", "jax"):
        (row,) = [r for r in rows if (r["part"], r["program"]) == ("program", name)]
        seconds = float(row["milliseconds"]) / 1e3
        assert 0 < seconds <= float(row["median_milliseconds"]) / 1e3 and row["device"].startswith("cpu")
        # printed with four digits
        assert float(row["gflop_per_s"]) * seconds == pytest.approx(float(row["gflop"]), rel=1e-3)
        assert float(row["error"]) < 1e-4 and row["what"] == "vgg_m fc6, 231 x 215, stride 2"
    products = [r for r in rows if r["program"].startswith("matrix product")]
    assert max(float(r["share"]) for r in products) == 1


def test_the_layers_together_have_the_operations_of_the_network(tiny):
    _, _, rows = tiny
    *layers, strips = [r for r in rows if r["part"] == "layer"]
    assert [r["program"] for r in layers if float(r["gflop"])] == [
        *("conv1", "conv2", "conv3", "conv4", "conv5", "fc6")
    ]
    (whole,) = [r for r in rows if r["program"] == "mammojax"]
    assert sum(float(r["gflop"]) for r in layers) == pytest.approx(float(whole["gflop"]))
    assert strips["program"] == "conv1 to pool1 in strips" and strips["gflop"] == layers[0]["gflop"]
    # 231 pixels at stride 2: 113, 56, 27, 13, 6 and 1 cells
    assert layers[-1]["output"] == "1 x 1 x 4096"


def test_the_tables_are_written_and_what_is_not_measured_is_said(tiny):
    folder, output, rows = tiny
    text = (folder / "benchmark.md").read_text(encoding="utf-8")
    for words in (
        "What must hold",
        "By layer: vgg_m fc6",
        "python -m launch.benchmark_scan",
    ):
        assert words in text
    assert "| images a second and share of peak, bfloat16, accelerator |  | not measured |" in text
    assert "skipped: mammojax, accelerator: JAX sees none here" in output
    if not any(row["program"].startswith("torch") for row in rows):
        assert "skipped: torch contiguous" in output and "not installed" in output
        assert "| vgg_m fc6, 231 x 215, stride 2: against PyTorch | >= 1.7 x | not measured |" in text


@pytest.mark.slow  # most of it compiles 16 blocks again and again
def test_the_other_parts_have_their_rows(tmp_path):
    done = run(
        PROGRAM,
        f"--out={tmp_path}",
        "--part=efficientnet_lite0,windows,memory",
        "--peers=",
        "--crop=64x40",
        "--windows_crop=185x185",
        "--cells=2",
        "--whole=64x40",
        "--whole_cells=efficientnet_lite0:1",
        "--repeats=1",
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    for tap in ("head", "stride16"):
        assert f"efficientnet_lite0 {tap}, 64 x 40: against PyTorch | >= 1 x | not measured" in done.stdout
    assert "| block15 | 2 x 2 x 320 |" in done.stdout
    assert "scan against scan_windows, vgg_m fc6: 185 x 185 pixels to 2 x 2 cells" in done.stdout
    with (tmp_path / "measurements.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["program"] for r in rows if r["part"] == "windows"] == ["scan", "scan_windows"]
    stated = {r["program"]: int(r["stated_bytes"]) for r in rows if r["part"] == "memory"}
    assert stated["training step"] > stated["scan"]


@pytest.mark.parametrize(
    "flag, says",
    [
        ("--image=1335", "--image=1335: expected rows x columns in pixels, such as 960x512"),
        ("--crop=0x512", "--crop=0x512: expected rows x columns"),
        ("--image=300x300", "--image=300x300: too small for one cell at stride 4"),
        ("--strides=8", "--strides=8: expected numbers from 1 to 7"),
        ("--whole_cells=vgg_m", "--whole_cells=vgg_m: expected vgg_m:NP"),
        ("--peers=numpy", "--peers: unknown 'numpy'; choose from torch, jax"),
        ("--part=all", "--part: unknown 'all'; choose from vgg_m"),
        ("--repeats=0", "--repeats"),
        ("crop=960x512", "unexpected argument"),
    ],
)
def test_a_wrong_flag_is_one_line(tmp_path, flag, says):
    assert says in error_line(run(PROGRAM, f"--out={tmp_path}", flag))
