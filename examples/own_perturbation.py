"""A perturbation of your own: a stray stroke of the pen, swept, ranked beside a built-in one, and differentiated.

python examples/own_perturbation.py [--out DIR]
"""

import argparse

import jax
import jax.numpy as jnp
import optax

import sensijax as sj
from sensijax import demo
from sensijax.perturb import Perturbation, image, interpolate


class Stroke(Perturbation):
    """A straight stroke of ink across the image, at a random angle and place.

    Attributes:
      width: standard deviation of the stroke's profile, px; >= 0.
    """

    width: jax.Array

    @classmethod
    def at(cls, severity):
        """Severity 0..5: 0, 0.25, 0.5, 1, 1.5, 2 px."""
        return cls(width=interpolate(severity, (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)))

    def is_identity(self):
        return self.width == 0

    def apply(self, key, x):  # one example, no batch axis; the base class hands back x itself at the identity
        height, width, _ = x.shape
        angle, place = jax.random.uniform(key, (2,), x.dtype)
        row = jnp.arange(height, dtype=x.dtype)[:, None] - (height - 1) / 2
        column = jnp.arange(width, dtype=x.dtype)[None, :] - (width - 1) / 2
        distance = jnp.sin(jnp.pi * angle) * row + jnp.cos(jnp.pi * angle) * column - (place - 0.5) * width / 2
        ink = jnp.exp(-0.5 * jnp.square(distance / jnp.maximum(self.width, 1e-3)))
        return x + (1 - x) * ink[:, :, None]


def show(table) -> None:
    print(table.round(3).to_string(index=False), "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/own-perturbation", metavar="DIR", help="the folder (%(default)s)")
    folder = parser.parse_args().out

    sj.enable_compile_cache()
    model, data = demo.load(), demo.data().take(slice(300))
    severity = [0, 1, 2, 3, 4, 5]
    campaign = sj.Campaign(
        model,
        data,
        name="own-perturbation",
        seeds=3,
        stages={
            "stroke": sj.sweep(Stroke, severity=severity),
            "occlusion": sj.sweep(image.Occlusion, severity=severity),
        },
    )
    results = sj.run(campaign, folder)
    show(results.curve("stroke")[["severity", "accuracy", "drop", "low", "high", "flip_rate"]])
    show(results.ranking()[["stage", "kind", "mean_drop", "low", "high", "worst_drop"]])

    # A perturbation is a pytree, so the loss is a differentiable function of the severity. The keys are those of the
    # campaign, and therefore so is the loss.
    keys = sj.key_for(0, "stroke", data.ids)
    x, y = jnp.asarray(data.x), jnp.asarray(data.y)

    @jax.jit
    def loss(severity):
        shown = jax.vmap(Stroke.at(severity))(keys, x)
        return optax.softmax_cross_entropy_with_integer_labels(model(shown), y).mean()

    at, step = jnp.float32(2.5), jnp.float32(0.02)
    value, slope = jax.jvp(loss, (at,), (jnp.ones_like(at),))
    difference = (loss(at + step) - loss(at - step)) / (2 * step)
    print(f"loss at severity 2.5: {value:.4f}; derivative: {slope:.4f} (finite difference: {difference:.4f})")
    if abs(slope - difference) > 0.02 * abs(difference):
        raise SystemExit("the derivative and the finite difference disagree")

    (stored,) = results.sql("select avg(loss) from responses where scenario = 'stroke@3' and seed = 0").iloc[0]
    print(f"loss at severity 3: {loss(3.0):.4f}; the campaign's, from its store: {stored:.4f}")
    if abs(loss(3.0) - stored) > 1e-4:
        raise SystemExit("the loss and the campaign's disagree")


if __name__ == "__main__":
    main()
