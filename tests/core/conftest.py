import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The pictures are small: threads would wait for each other, all the more beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
