"""PyTorch modules, with the gradient of the logit by autograd on the host."""

import dataclasses
import sys
from typing import Any

import jax
import numpy as np

from hare_jax.base import require
from hare_jax.models.wrapping.decision import Decision, exact_logit
from hare_jax.models.wrapping.rows import Identity


def is_module(model: Any) -> bool:
    """Whether `model` is a PyTorch module; does not import torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class TorchModel:
    """A module of encoded rows, and its decision."""

    module: Identity
    decision: Decision
    label: str

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Logits (n,) of rows (n, d)."""
        return exact_logit(self.decision, outputs(self.module.value, rows))

    def with_gradient(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (n,) of rows (n, d), and their gradients (n, d)."""
        import torch

        x = _tensor(self.module.value, rows).requires_grad_()
        given = _forward(self.module.value, x)
        with torch.enable_grad():
            logits = self.decision.logit(torch, given)
        (gradients,) = torch.autograd.grad(logits.sum(), x)
        exact = exact_logit(self.decision, given.detach().cpu().numpy(), logits.detach().cpu().numpy())
        return exact, gradients.cpu().numpy()


def outputs(module: Any, rows: np.ndarray) -> np.ndarray:
    """Outputs (n, k) in float64 for rows (n, d).

    Raises:
        ValueError: they are not finite.
    """
    import torch

    with torch.no_grad():
        answer = _forward(module, _tensor(module, rows)).cpu().numpy()
    require(bool(np.isfinite(answer).all()), "model", "must give finite outputs", answer[:2].tolist())
    return answer


def check_mode(module: Any) -> None:
    """Raise a `ValueError` if the answer for a row would be random, or depend on the other rows."""
    import torch

    unfit = (torch.nn.modules.dropout._DropoutNd, torch.nn.modules.batchnorm._BatchNorm)
    training = [name for name, part in module.named_modules() if part.training and isinstance(part, unfit)]
    require(not training, "model", "must be in evaluation mode: call model.eval()", training)


def _forward(module: Any, x: Any) -> Any:
    """Outputs (n, k) of a tensor (n, d) in float64, with the autograd graph if it has one."""
    answer = module(x)
    return answer.reshape(len(x), -1).double()


def _tensor(module: Any, rows: np.ndarray) -> Any:
    """`rows` on the device and in the dtype of the module's first parameter."""
    import torch

    first = next(module.parameters(), torch.empty(0))
    return torch.as_tensor(rows, dtype=first.dtype, device=first.device)
