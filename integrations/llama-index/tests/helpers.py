"""What tests compare with: the query, its documents, and recorders of what the framework is told."""

from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span_handlers import SimpleSpanHandler
from pydantic import Field

QUERY = "how do cats sleep"
TEXTS = [
    "rivers run to the sea",
    "planes fly over the city",
    "cats eat fish",
    "bread is baked in ovens",
    "trees grow slowly",
    "cats sleep all day",
    "stars shine at night",
]
BEST = [5, 2]  # of TEXTS, for QUERY


class Recorder(BaseEventHandler):
    events: list = Field(default_factory=list)

    def handle(self, event, **_):
        self.events.append(event)

    def named(self, name):
        return [event for event in self.events if event.class_name() == name]

    @property
    def names(self):
        return [event.class_name() for event in self.events]


class Spans(SimpleSpanHandler):
    """Every span by its method's name, with its parent's."""

    parents: dict = Field(default_factory=dict)

    def new_span(self, id_, bound_args, instance=None, parent_span_id=None, tags=None, **_):
        self.parents[id_.rsplit("-", 5)[0]] = (parent_span_id or "").rsplit("-", 5)[0] or None
        return super().new_span(id_, bound_args, instance, parent_span_id, tags)

    def chain(self, name):
        """From `name` up to its root."""
        names = []
        while name is not None:
            names.append(name)
            name = self.parents.get(name)
        return names


def ids(nodes):
    return [node.node.node_id for node in nodes]


def scores(nodes):
    return {node.node.node_id: node.score for node in nodes}
