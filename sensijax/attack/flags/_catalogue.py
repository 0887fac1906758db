"""Every flag there is: how bad it is, why it matters and what to do; a check adds what it saw."""

from collections.abc import Mapping

from sensijax.attack.flags._flag import Flag

_MASKED = "a gradient attack fails here whether or not the model is robust"
_DRAW = "a verdict is one draw, and the attack aims at another function than the one that judges"

CATALOGUE: dict[str, tuple[str, str, str]] = {
    # --- what the code says ------------------------------------------------------------------------------------------
    "rounding": (
        "caution",
        "its derivative is 0, or a stand-in that a rule puts there: the attack's gradient is not the model's",
        "attack with a straight-through gradient (BPDA) and with Square, and report the pointwise worst",
    ),
    "threshold": (
        "caution",
        "a step has the derivative 0: what passes through it cannot be attacked by gradients",
        "attack a smooth stand-in of it and judge on the model, and add Square",
    ),
    "choice": (
        "caution",
        "an index has the derivative 0: what is looked up by it cannot be attacked by gradients",
        "attack a smooth stand-in (a softmax in place of the argmax) and judge on the model, and add Square",
    ),
    "stopped_gradient": (
        "caution",
        "the attack does not see what lies before it",
        "take the stop out for the attack, and judge on the model as it is",
    ),
    "bits": ("caution", "bits have no derivative", "attack without that step (BPDA), and add Square"),
    "loop": (
        "caution",
        "reverse-mode differentiation does not pass a loop whose length depends on data",
        "bound the loop (`lax.scan`), or attack with Square alone and say so",
    ),
    "callback": (
        "caution",
        "what happens outside of JAX has no derivative of its own, and may change from call to call",
        "port it to JAX, or attack with Square and a stand-in",
    ),
    "random_bits": (
        "distrust",
        _DRAW,
        "attack the expectation over draws (a model that takes keys, version `rand`), and judge over several draws",
    ),
    "zero_derivative": ("distrust", _MASKED, "find the rule that drops the derivative, and attack without it"),
    "no_gradient": (
        "distrust",
        "no gradient attack can be made at all",
        "attack with black-box attacks (Square, HopSkipJump), and with a differentiable stand-in",
    ),
    # --- what the model does -----------------------------------------------------------------------------------------
    "nonfinite_logits": (
        "distrust",
        "NaN is no prediction: a model that answers so withstands nothing, and an attack that meets it is blind",
        "find where it comes from (`jax.debug_nans`); such examples are never counted robust",
    ),
    "nonfinite_gradient": ("distrust", _MASKED, "find the operation whose derivative is not finite, and mend it"),
    "probabilities": (
        "distrust",
        "a loss that expects logits puts a second softmax on them: it is nearly flat, and its gradients vanish",
        "return logits; of probabilities p, log p will do",
    ),
    "few_classes": (
        "distrust",
        "the ratio of logit differences is not defined, or constant",
        "use the margin or the cross-entropy instead",
    ),
    "zero_gradient": ("distrust", _MASKED, "attack with BPDA or Square, and look for what stops the derivative"),
    "saturated_loss": (
        "distrust",
        "in float32 the softmax has rounded to 0 and 1, so the cross-entropy has lost its gradient, not the model",
        "attack with a loss that a scale does not change (`losses.dlr`, `losses.margin`), or divide the logits",
    ),
    "useless_gradient": (
        "distrust",
        "the derivative says nothing of what a step does (shattered gradients)",
        "attack with gradients averaged over a neighbourhood, with BPDA, and with Square",
    ),
    "rugged_loss": (
        "distrust",
        "the gradient is right, but only nearer than an attack's step: it ends in the nearest bump",
        "attack with smoothed gradients, more restarts, and Square",
    ),
    "random": ("distrust", _DRAW, "attack the expectation over draws, and judge over several draws"),
    "place_in_batch": (
        "distrust",
        "the model is no function of its input: noise or labels are tied to a row's place",
        "make the model a function of one example, with a key of its own for its randomness",
    ),
    "batch_coupled": (
        "distrust",
        "the model is in train mode: an example's verdict depends on its companions, and an attack can use them",
        "judge in evaluation mode (running statistics of batch norm)",
    ),
    "label_leak": (
        "distrust",
        "the model looks the answers up: its accuracy, attacked or not, says nothing of new inputs",
        "take the evaluated data out of the model",
    ),
    "hidden_mark": (
        "distrust",
        "the predictions hang on something that nobody can see, such as a mark that carries the label",
        "add noise below a grey level before judging, and look at the data's last bits",
    ),
    # --- what the attack did -----------------------------------------------------------------------------------------
    "short_steps": (
        "distrust",
        "most of the ball was out of reach",
        "let the step follow the budget: 2.5 eps / steps",
    ),
    "no_progress": (
        "distrust",
        "the attack did not work: that nothing was found is no evidence",
        "use another loss, smaller steps and more restarts, and read the other flags for the reason",
    ),
    "still_rising": (
        "caution",
        "the attack had not ended when it stopped",
        "more steps, more restarts, or AutoAttack",
    ),
    "blackbox_wins": (
        "distrust",
        "an attack that sees less must not find more: the gradients are masked, or the attack was too weak",
        "run Square to its end (5000 queries), and look at the other flags for the reason",
    ),
    "bpda_wins": (
        "distrust",
        "the operation without a derivative hid the adversarial examples, it did not remove them",
        "attack with the straight-through gradient, and report the pointwise worst",
    ),
    "not_monotone": (
        "distrust",
        "what a smaller budget breaks, a larger one does: the attack missed what was inside of its ball",
        "judge every iterate, not the last alone, and take the pointwise worst over budgets",
    ),
    "unbounded_survivors": (
        "distrust",
        "without a bound any input can become any other, so 0 % must be reached: the attack is broken here",
        "mend the attack until it reaches 0 % without a bound, then bound it",
    ),
}


def flag(name: str, saw: str, numbers: Mapping[str, float] | None = None, *, severity: str | None = None) -> Flag:
    """The flag of that name, with what was seen."""
    usual, why, remedy = CATALOGUE[name]
    return Flag(name, severity or usual, saw, why, remedy, dict(numbers or {}))
