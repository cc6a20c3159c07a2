"""For tests of code that calls the API: a transport that answers without a server or a network.

    transport = TestTransport()
    client = Humanloop(api_key="test", transport=transport)

`sample` makes data that fits a schema or an operation.
"""

from humanloop.testing.samples import sample
from humanloop.testing.transport import RecordedRequest, TestTransport

__all__ = ["RecordedRequest", "TestTransport", "sample"]
