"""Models: a pure function and its parameters, checked without computing anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError, Model

BATCH = jax.ShapeDtypeStruct((2, 4), jnp.float32)
W = np.ones((4, 3), np.float32)


def test_a_model_is_its_function_at_its_parameters():
    model = Model(lambda w, x: x @ w, W, name="linear", classes=["a", "b", 3])
    np.testing.assert_array_equal(model(jnp.ones((2, 4))), np.full((2, 3), 4.0))
    assert model.classes == ("a", "b", "3")
    assert model.output_spec(BATCH) == jax.ShapeDtypeStruct((2, 3), jnp.float32)


@pytest.mark.parametrize(
    ("argument", "changed"),
    [
        ("apply", {"apply": 3}),
        ("apply", {"apply": None}),
        ("name", {"name": ""}),
        ("name", {"name": None}),
        ("classes", {"classes": 10}),
    ],
)
def test_bad_input_is_refused_by_name(argument, changed):
    with pytest.raises(ArgumentError) as caught:
        Model(**{"apply": lambda w, x: x @ w, "params": W, **changed})
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("apply", "reason"),
    [
        (lambda w, x: x @ w.T, "fails on a batch float32"),
        (lambda w, x: (x @ w, x), "one array"),
        (lambda w, x: {"logits": x @ w}, "pick the logits"),
        (lambda w, x: (x @ w).T, "batch axis first"),
        (lambda w, x: jnp.sum(x @ w), "batch axis first"),
        (lambda w, x: jnp.argmax(x @ w, axis=1), "logits, not classes"),
    ],
)
def test_a_model_that_cannot_work_is_named_before_it_runs(apply, reason):
    with pytest.raises(ArgumentError, match=reason) as caught:
        Model(apply, W, name="odd").output_spec(BATCH)
    assert caught.value.argument == "model" and "'odd'" in str(caught.value)


def test_the_digest_names_the_parameters():
    def digest(params):
        return Model(lambda w, x: x, params).digest

    assert digest({"w": W, "b": W[0]}) == digest({"b": jnp.asarray(W[0]), "w": jnp.asarray(W)})
    others = [
        {"w": W},
        {"w": W + 1},
        {"v": W},
        {"w": W.astype(np.float16)},
        {"w": W.reshape(3, 4)},
        {"a": {"w": W}},
        [W],
        {},
    ]
    assert len({digest(params) for params in others}) == len(others)
    assert Model(lambda w, x: x, W, name="other").digest == Model(lambda w, x: x, W).digest
    assert len(digest(jnp.ones(3, jnp.bfloat16))) == 32
