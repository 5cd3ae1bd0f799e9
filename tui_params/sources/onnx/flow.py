"""Flow: which node makes a value and which use it, to find what is done with codes in several steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from tui_params.sources.onnx.node import BEHIND, DYNAMIC, GATHER, Node

_MOST_USES = 64


class Flow:
    """The nodes that were read, by the values that they make and use; a value has its name within its own graph."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._makers: dict[tuple[tuple[str, ...], str], Node] = {}
        self._users: dict[tuple[tuple[str, ...], str], list[Node]] = {}
        for node in nodes:
            for name in node.outputs:
                self._makers[node.scopes, name] = node
            for name in dict.fromkeys(node.inputs) if node.operator in BEHIND else ():
                self._users.setdefault((node.scopes, name), []).append(node)

    def maker(self, node: Node, name: str) -> Node | None:
        """The node in the same graph that makes a value, if it is one that was read."""
        return self._makers.get((node.scopes, name))

    def gathered(self, node: Node) -> Node | None:
        """The Gather node whose result is the first input of a node."""
        found = self.maker(node, node.input(0))
        return found if found is not None and found.operator == GATHER else None

    def scale_behind(self, node: Node, names: Collection[str]) -> str | None:
        """The stored scale of the codes of a MatMulInteger or ConvInteger node; None if that is not certain.

        quantize_dynamic of onnxruntime multiplies the integers with the product of two scales: that of the other side,
        which a DynamicQuantizeLinear node makes together with its codes, and a stored one.
        """
        found = set(self._scales_behind(node, names))
        return found.pop() if len(found) == 1 else None

    def _scales_behind(self, node: Node, names: Collection[str]) -> Iterator[str | None]:
        """One for each way that the integers go; None where it is not the usual one."""
        for cast in self._uses(node):
            if cast.operator != "Cast":
                yield None
                continue
            for times in self._uses(cast):
                others = [name for name in times.inputs if name not in cast.outputs]
                is_usual = times.operator == "Mul" and len(others) == 1
                yield self._stored_factor(node, times, others[0], names) if is_usual else None

    def _uses(self, node: Node) -> list[Node]:
        return [user for name in node.outputs for user in self._users.get((node.scopes, name), ())[:_MOST_USES]]

    def _stored_factor(self, node: Node, times: Node, name: str, names: Collection[str]) -> str | None:
        """Of a product of the scale that was made for the other side, and of one more: the name of that."""
        product = self.maker(times, name)
        dynamic = self.maker(node, node.input(0))
        if product is None or product.operator != "Mul" or dynamic is None or dynamic.operator != DYNAMIC:
            return None
        made = dynamic.outputs[1:2]
        if len(product.inputs) != 2 or sum(factor in made for factor in product.inputs) != 1:
            return None
        factor = next(factor for factor in product.inputs if factor not in made)
        return resolve(product, factor, names)


def resolve(node: Node, name: str, names: Collection[str]) -> str | None:
    """The listed name of a tensor that a node uses: that of the innermost graph which has it."""
    return next((scope + name for scope in reversed(node.scopes) if scope + name in names), None) if name else None
