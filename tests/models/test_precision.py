"""float32 means float32: what the lowered programs of scan, classifiers and merged network ask of the platform."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mammojax import settings
from mammojax.models.classifiers import classifier_module
from mammojax.models.layers import depthwise, patches_convolution
from mammojax.models.merged import MammogramNet
from mammojax.models.plans import backbone_module, dense_plan

PRODUCT = re.compile(r"stablehlo\.(dot_general|convolution|dot)\b")


def products(function, *arguments) -> list[tuple[str, bool]]:
    """[(type of the operands, all asked for the highest precision)] of every product in the lowered program."""
    found = []
    for line in jax.jit(function).lower(*arguments).as_text().splitlines():
        if PRODUCT.search(line):
            operands = line.rsplit(" : ", 1)[1].split("->")[0]
            asked = re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", line)
            types = set(re.findall(r"x(f32|bf16|f16|f64)>", operands))
            found.append((",".join(sorted(types)), asked == ["HIGHEST"] * 2))
    assert found, "the program has no product"
    return found


def check_exact(found: list[tuple[str, bool]]) -> None:
    assert all(exact for kind, exact in found if kind == "f32"), found


def drawn(name: str) -> dict:
    """Shapes alone matter to a lowered program."""
    shapes = backbone_module(name).grey_shapes()
    return {
        layer: {"kernel": jnp.zeros(shape), "bias": jnp.zeros(shape[-1])} for layer, shape in shapes.items()
    }


@pytest.mark.parametrize(
    "name, tap", [("efficientnet_lite0", "stride8"), ("vgg_m", "fc6"), ("vgg_16", "pool5")]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_product_of_a_scan_is_of_the_type_that_was_asked_for(name, tap, dtype):
    module = backbone_module(name)
    variables = jax.eval_shape(lambda: drawn(name))
    pixels = jax.ShapeDtypeStruct((1, 224, 224, 1), jnp.float32)

    def loss(variables, pixels):
        return jnp.sum(module.apply(variables, pixels, tap, dtype=jnp.dtype(dtype)) ** 2)

    found = products(jax.value_and_grad(loss), variables, pixels)
    check_exact(found)
    kinds = [kind for kind, _ in found]
    if dtype == "float32":
        assert set(kinds) == {"f32"}
    else:  # the first layer alone keeps the depth of pixels: forth and back, in strips and in the rows left over
        assert set(kinds) == {"f32", "bf16"} and kinds.count("f32") <= 6


def test_forms_of_accelerators_are_exact_too():
    x, bias = jnp.zeros((1, 9, 9, 4)), jnp.zeros(4)
    grouped = products(
        lambda x, k: depthwise(x, k, bias, stride=1, form="grouped"), x, jnp.zeros((3, 3, 1, 4))
    )
    check_exact(grouped)
    check_exact(products(lambda x, k: patches_convolution(x, k, bias), x, jnp.zeros((3, 3, 4, 4))))


def classifier(name: str, **options):
    section = settings.Paper((4,), (4,)) if name == "paper" else getattr(settings, name.title())(**options)
    return classifier_module(name).build((4, 4, 8), section, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    "name, options",
    [("paper", {}), ("pooled", {}), ("mil", {}), ("mil", {"hidden": 3, "pool": "attention"})],
)
def test_every_product_of_a_classifier_and_its_gradient_is_float32(name, options):
    graph, params, rest = nnx.split(classifier(name, **options), nnx.Param, ...)

    def loss(params, maps):
        return jnp.sum(nnx.merge(graph, params, rest)(maps, jnp.ones((2, 4, 4), bool), 0.5))

    found = products(jax.value_and_grad(loss, argnums=(0, 1)), params, jnp.zeros((2, 4, 4, 8)))
    check_exact(found)
    assert {kind for kind, _ in found} == {"f32"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_merged_step_computes_in_bfloat16_where_it_is_named_and_nowhere_else(thin_network, dtype):
    made = dense_plan((256, 230), thin_network.backbone, tap="fc6")
    head = classifier_module("mil").build((None, None, 24), settings.Mil(), rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(MammogramNet(thin_network, head, dtype=dtype), nnx.Param, ...)

    def loss(params, pixels):
        return jnp.sum(nnx.merge(graph, params, rest)(pixels, made))

    found = products(jax.value_and_grad(loss), params, np.zeros((1, *made.input_shape, 1), np.float32))
    check_exact(found)
    assert ("bf16" in {kind for kind, _ in found}) == (dtype == "bfloat16")


def test_the_check_sees_a_product_left_to_the_platform():
    assert products(jnp.matmul, jnp.zeros((2, 2)), jnp.zeros((2, 2))) == [("f32", False)]
