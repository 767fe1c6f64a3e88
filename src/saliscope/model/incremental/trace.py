"""From a module to its graph of steps, by torch.fx; the module itself is left as it is."""

from __future__ import annotations

import copy
import inspect
import operator
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from saliscope.model.incremental.graph import Graph, Step, chained, folded, needed
from saliscope.model.incremental.known import rule_of

#: How many modules that cannot be traced may be kept as they are, each run on whole maps.
OPAQUE = 32
#: torch.fx takes the place of `nn.Module.__call__` for the whole process while it traces: one trace at a time.
TRACING = threading.Lock()
INPLACE = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
           operator.itruediv: operator.truediv}  # fmt: skip


def traced(module: nn.Module) -> Graph | str:
    """Return the graph of a module in evaluation mode, or a sentence that says why there is none."""
    try:
        # Parameters are shared, all else is copied: tracing runs the forward code, which may write into the module.
        own = copy.deepcopy(module, {id(p): p for p in module.parameters()})
        graph = _fx_graph(own)
        _without_inplace(own, graph)
        return _graph(own, graph)
    except Exception as error:  # noqa: BLE001 - a network's own code may raise anything; the reason is handed on
        first = str(error).strip().splitlines()
        return f"the network cannot be traced ({type(error).__name__}: {first[0] if first else ''})"


class _Tracer(fx.Tracer):
    """Keeps modules that cannot be traced as they are, and remembers where tracing failed.

    Networks that other threads run meanwhile come through here too; they get what they would get without it.
    """

    def __init__(self, opaque: set[str]) -> None:
        super().__init__()
        self.opaque, self.failed = opaque, ""
        self.thread = threading.get_ident()

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self.opaque or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed = self.failed or self.path_of_module(m)
            raise


def _fx_graph(own: nn.Module) -> fx.Graph:
    """Trace, keeping each module that fails as one operation, until it succeeds."""
    parameters = list(inspect.signature(own.forward).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    opaque: set[str] = set()
    while True:
        tracer = _Tracer(opaque)
        try:
            with TRACING:
                return tracer.trace(own, concrete_args=defaults or None)
        except Exception:
            if not tracer.failed or tracer.failed in opaque or len(opaque) == OPAQUE:
                raise
            opaque.add(tracer.failed)


def _without_inplace(own: nn.Module, graph: fx.Graph) -> None:
    """Turn every operation that overwrites its input into one that does not, and hand its result to later users."""
    modules = dict(own.named_modules())
    for node in graph.nodes:
        if not _overwrites(node, modules):
            continue
        if node.op == "call_function":
            node.target = INPLACE.get(node.target) or _pure(node.target)
            _drop_flag(node)
        elif node.op == "call_method":
            node.target = node.target[:-1]
        overwritten = node.args[0] if node.args else node.kwargs["input"]
        seen = False
        for other in list(graph.nodes):
            if seen:
                other.replace_input_with(overwritten, node)
            seen = seen or other is node
    for module in modules.values():
        if isinstance(getattr(module, "inplace", None), bool):
            module.inplace = False


def _overwrites(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return getattr(modules[str(node.target)], "inplace", False) is True
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    if node.op != "call_function":
        return False
    if node.target is operator.setitem or "out" in node.kwargs:
        raise NotImplementedError(f"{node.name} writes into a part of a tensor")
    name = getattr(node.target, "__name__", "")
    return node.target in INPLACE or (name.endswith("_") and not name.endswith("__")) or _flag(node)


def _flag(node: fx.Node) -> bool:
    try:
        names = list(inspect.signature(node.target).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return bool(node.kwargs.get("inplace", False))
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    return bool(given.get("inplace", False))


def _drop_flag(node: fx.Node) -> None:
    if not _flag(node):
        return
    names = list(inspect.signature(node.target).parameters)  # type: ignore[arg-type]
    at = names.index("inplace")
    node.args = node.args[:at]
    node.kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}


def _pure(function: Any) -> Any:
    name = getattr(function, "__name__", "")
    if not name.endswith("_"):
        return function
    for home in (torch, functional):
        if hasattr(home, name[:-1]):
            return getattr(home, name[:-1])
    raise NotImplementedError(f"{name} overwrites its input")


def _graph(own: nn.Module, graph: fx.Graph) -> Graph:
    """Return the steps that the output needs, batch normalisation folded into convolutions where it can be."""
    modules = dict(own.named_modules())
    _refuse_hooks(modules)
    steps: dict[fx.Node, Step] = {}
    image: Step | None = None
    for node in graph.nodes:
        if node.op == "placeholder" and image is None:
            image = steps[node] = Step(node.name, (), _nothing)
        else:
            steps[node] = _step(node, steps, own, modules)
    ordered = list(steps.values())
    if image is None or ordered[0] is not image:
        raise NotImplementedError("the image is not the first input")
    kept = needed(ordered, ordered[-1])
    folded(kept)
    kept = needed(kept, kept[-1])
    chained(kept)
    return Graph(kept)


def _step(node: fx.Node, steps: dict[fx.Node, Step], own: nn.Module, modules: dict[str, nn.Module]) -> Step:
    inputs = tuple(steps[n] for n in node.all_input_nodes)
    step = Step(node.name, inputs, _nothing, depends=any(i.depends for i in inputs))
    if node.op == "placeholder":
        step.fixed = node.args[0] if node.args else None
        step.depends = False
        return step
    if node.op == "get_attr":
        step.fixed = operator.attrgetter(str(node.target))(own)
        step.fixed = step.fixed.detach() if isinstance(step.fixed, Tensor) else step.fixed
        step.depends = False
        return step
    step.call = _caller(node, modules)
    if not step.depends:
        step.fixed = step.call([i.fixed for i in inputs])
    else:
        step.rule = rule_of(node, modules)
    return step


def _caller(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    """Return the operation of a node as a function of the values of its inputs."""
    nodes = node.all_input_nodes
    args, kwargs, target = node.args, node.kwargs, node.target
    run: Any = modules[str(target)] if node.op == "call_module" else target

    def call(values: Sequence[Any]) -> Any:
        of = dict(zip(nodes, values, strict=True))
        given = fx.map_arg(args, of.__getitem__)
        named = fx.map_arg(kwargs, of.__getitem__)
        if node.op == "output":
            return given[0]
        if node.op == "call_method":
            # A view asks for an order in memory that values by regions do not keep.
            name = "reshape" if target == "view" else str(target)
            return getattr(given[0], name)(*given[1:], **named)
        return run(*given, **named)

    return call


def _nothing(_values: Sequence[Any]) -> None:
    """Stand for what is not computed."""


def _refuse_hooks(modules: dict[str, nn.Module]) -> None:
    for name, module in modules.items():
        hooks = (module._forward_hooks, module._forward_pre_hooks)  # noqa: SLF001 - torch offers no other look at them
        if any(hooks):
            raise NotImplementedError(f"{name or 'the network'} has hooks, which a graph does not run")
