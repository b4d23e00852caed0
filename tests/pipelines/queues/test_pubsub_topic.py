"""Attributes that Pub/Sub takes."""

import inspect

from pipelines.queues.pubsub_topic import PARAMETERS, _attributes
from pipelines.queues.topics import OutgoingMessage


def test_attributes_that_pubsub_refuses_are_left_out() -> None:
    odd = {"": "x", "googclient": "x", "n" * 257: "x", "long": "x" * 1_025}
    assert _attributes(OutgoingMessage(b"ok", "r1", attributes={**odd, "lang": "de"})) == {"lang": "de", "id": "r1"}


def test_no_attribute_is_taken_for_a_setting_of_the_client() -> None:
    from google.cloud.pubsub_v1 import PublisherClient

    names = inspect.signature(PublisherClient.publish).parameters
    assert {name for name, item in names.items() if item.kind != item.VAR_KEYWORD} == PARAMETERS
    assert _attributes(OutgoingMessage(b"ok", "r1", attributes=dict.fromkeys(PARAMETERS, "x"))) == {"id": "r1"}
