"""Networks with hooks, flags, wrappers and compilers of their owner's; they join the zoo of stateful networks."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.stateful_nets import Small, entry

#: name -> kinds of method that must give a map although the wrapper stands in the way: others may say a sentence.
SEALED: dict[str, tuple[str, ...]] = {
    "script": ("occlusion", "rise"),
    "script: traced": ("occlusion", "rise"),
    "script: frozen": ("occlusion", "rise"),
    "script: saved and loaded": ("occlusion", "rise"),
    "export": ("occlusion", "rise"),
    "lazy: a module of torch's that has not run yet": (),
    "grad: weights made in inference mode": ("occlusion", "rise"),
    "grad: inference mode inside forward": ("occlusion", "rise"),
    "grad: no_grad inside forward": ("occlusion", "rise"),
}


class Normed(Small):
    """With a batch norm, dropout and a spectral norm, handed over as in training."""

    def prepare(self) -> None:
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.5)

    def features(self, h: Tensor) -> Tensor:
        return self.drop(self.norm(h))


@entry("hook: forward, into a dict of the user's")
def with_forward_hook() -> nn.Module:
    net = Small()
    net.kept = {}
    net.act.register_forward_hook(lambda m, i, o: net.kept.update(features=o))
    return net


@entry("hook: forward, into what only the hook knows")
def with_closure() -> nn.Module:
    net, kept, calls = Small(), {}, []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        calls.append(tuple(output.shape))
        kept["features"] = output

    net.act.register_forward_hook(keep)
    return net


@entry("hook: backward, into a list of the user's")
def with_backward_hook() -> nn.Module:
    net = Small()
    net.kept = []
    net.conv.register_full_backward_hook(lambda m, gi, go: net.kept.append(go[0]))
    return net


@entry("hook: before forward, that changes the input and counts")
def with_pre_hook() -> nn.Module:
    net = Small()
    net.calls = 0

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        net.calls += 1
        return (inputs[0] * 2,)

    net.conv.register_forward_pre_hook(before)
    return net


@entry("hook: on a parameter")
def with_tensor_hook() -> nn.Module:
    net = Small()
    net.kept = []
    net.conv.weight.register_hook(lambda g: net.kept.append(g))
    return net


@entry("flags: batch norm in train mode")
def in_training() -> nn.Module:
    return Normed().train()


@entry("flags: batch norm, momentum None, in train mode")
def cumulative() -> nn.Module:
    net = Normed()
    net.norm.momentum = None
    return net.train()


@entry("flags: spectral norm in train mode")
def spectral() -> nn.Module:
    net = Small()
    nn.utils.parametrizations.spectral_norm(net.conv)
    return net.train()


@entry("flags: spectral norm of the old kind, in train mode")
def old_spectral() -> nn.Module:
    net = Small()
    nn.utils.spectral_norm(net.conv)
    return net.train()


@entry("flags: weight norm of the old kind")
def old_weight_norm() -> nn.Module:
    net = Small()
    nn.utils.weight_norm(net.conv)
    return net


@entry("flags: some modules train, some do not")
def mixed_modes() -> nn.Module:
    net = Normed()
    net.drop.train()
    return net


@entry("flags: some parameters frozen, one with a gradient")
def mixed_grads() -> nn.Module:
    net = Normed()
    net.conv.weight.requires_grad = False
    net.head.weight.grad = torch.ones_like(net.head.weight)
    return net


@entry("wrapper: DataParallel")
def parallel() -> nn.Module:
    return nn.DataParallel(Small()).eval()


@entry("wrapper: torch.compile")
def compiled() -> nn.Module:
    return torch.compile(Small(), backend="eager")  # type: ignore[return-value]


@entry("wrapper: compiled in place")
def compiled_in_place() -> nn.Module:
    net = Small()
    net.compile(backend="eager")
    return net


class Checkpointed(Small):
    reentrant = False

    def forward(self, x: Tensor) -> Tensor:
        inner = checkpoint(lambda t: self.act(self.conv(t)), x, use_reentrant=self.reentrant)
        return self.head(inner.mean((2, 3)))


class Reentrant(Checkpointed):
    reentrant = True


entry("checkpoint: without re-entry")(Checkpointed)
entry("checkpoint: with re-entry")(Reentrant)


@entry("grad: inference mode inside forward")
class InferenceInside(Small):
    def given(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return x * 2


@entry("grad: no_grad inside forward")
class NoGradInside(Small):
    def given(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return x * 2


@entry("grad: weights made in inference mode")
def inference_weights() -> nn.Module:
    with torch.inference_mode():
        return Small()


class Steep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h: Tensor) -> Tensor:
        ctx.save_for_backward(h)
        return h.clamp_min(0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0] > 0)


@entry("grad: a function of autograd's own")
class Custom(Small):
    def features(self, h: Tensor) -> Tensor:
        return Steep.apply(h - 0.1)


@entry("lazy: a module of torch's that has not run yet")
class Lazy(Small):
    def prepare(self) -> None:
        self.conv, self.head = nn.LazyConv2d(4, 3, padding=1), nn.LazyLinear(3)


@entry("script")
def scripted() -> nn.Module:
    return torch.jit.script(plain())


@entry("script: traced")
def traced() -> nn.Module:
    return torch.jit.trace(plain(), torch.zeros(1, 1, 12, 12))


@entry("script: frozen")
def frozen() -> nn.Module:
    return torch.jit.freeze(torch.jit.script(plain()))


@entry("script: saved and loaded")
def loaded() -> nn.Module:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(plain()), stream)
    stream.seek(0)
    return torch.jit.load(stream).eval()


@entry("export")
def exported() -> nn.Module:
    return torch.export.export(plain(), (torch.zeros(1, 1, 12, 12),)).module()


class Pooled(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return h.mean((2, 3))


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), Pooled(), nn.Linear(4, 3)).eval()
