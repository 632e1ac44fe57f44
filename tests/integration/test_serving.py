"""A model folder of `lvlmsal export hub` under `transformers serve`: an endpoint with its method.

The server is a process of its own on a free port of this machine, and ends with the test.
"""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

import lvlmsal
from lvlmsal import hub

openai = pytest.importorskip("openai")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.full

STEPS = 24
QUESTION = "Please describe this image in detail."


def picture() -> Image.Image:
    found = Image.new("RGB", (64, 64), (10, 80, 245))
    found.paste((255, 255, 0), (10, 20, 40, 60))
    return found


def data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """A client of a running server, and the name of its model."""
    folder = str(
        hub.export(tmp_path_factory.mktemp("served") / "sgrs", "sgrs", model="pocket-llava")
    )
    script = "from transformers.cli.transformers import main; main()"
    words = ["serve", folder, "--trust-remote-code", "--host", "127.0.0.1", "--port", "0"]
    command = [sys.executable, "-c", script, *words, "--device", "cpu", "--dtype", "float32"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:  # ends where the process does
            said.append(line)
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            pytest.fail("".join(said))
        address = f"http://127.0.0.1:{found[1]}/v1"
        yield openai.OpenAI(base_url=address, api_key="none", max_retries=0), folder
    finally:
        process.terminate()
        process.communicate(timeout=60)


def messages() -> list[dict[str, Any]]:
    image = {"type": "image_url", "image_url": {"url": data_url(picture())}}
    return [{"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}]


def test_answers_are_those_of_the_library(server: tuple[Any, str]) -> None:
    client, name = server
    lvlm = lvlmsal.load("pocket-llava")
    expected = lvlm.generate(picture(), QUESTION, decoder="sgrs", max_new_tokens=STEPS)
    greedy = lvlm.generate(picture(), QUESTION, max_new_tokens=STEPS)
    assert expected.text != greedy.text
    assert [model.id for model in client.models.list()] == [name]
    ask = {"model": name, "messages": messages(), "max_tokens": STEPS}
    whole = client.chat.completions.create(**ask)
    assert whole.choices[0].message.content == expected.text
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == len(expected.token_ids) == STEPS
    chunks = list(client.chat.completions.create(**ask, stream=True))
    parts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    texts = [part for part in parts if part]
    assert "".join(texts) == expected.text
    assert len(texts) > STEPS // 2


def test_a_temperature_of_the_request_is_the_folders(server: tuple[Any, str]) -> None:
    """Docs/serving.md says so: the decoder's options decide, not the request's."""
    client, name = server
    ask = {"model": name, "messages": messages(), "max_tokens": 8}
    texts = {
        client.chat.completions.create(**ask, temperature=t).choices[0].message.content
        for t in (0.0, 1.5)
    }
    assert len(texts) == 1
