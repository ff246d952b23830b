from __future__ import annotations

import csv
import io
import json
import shutil
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from review_results import make_results
from scenes import Clip

from pose_priors.refinement.show.page.page import ReviewPage
from pose_priors.refinement.show.review import serve

viser = pytest.importorskip("viser", reason="viser, which serves the page, is not installed")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
_WAIT_S = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, clips: dict[str, Clip]) -> Path:
    """Three sequences, not to be written to."""
    root = tmp_path_factory.mktemp("made")
    make_results(root, clips["released"], ["jump", "stand", "walk"])
    return root


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """Three sequences to mark."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def served(results: Path) -> Iterator[tuple[str, ReviewPage]]:
    """The address of the page, and what is on it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server, page = serve(results, "127.0.0.1", port)
    yield page.address, page
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        pytest.skip(f"there is no browser: none of {', '.join(_BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield chromium
        chromium.close()


def rows(results: Path) -> dict[str, str]:
    with (results / "review.csv").open(newline="") as stream:
        return {row["sequence"]: row["verdict"] for row in csv.DictReader(stream)}


def wait_for(condition: Any) -> None:
    end = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def picture(page: Any) -> np.ndarray:
    """What is drawn, left of the controls."""
    image = Image.open(io.BytesIO(page.screenshot(clip={"x": 0, "y": 150, "width": 500, "height": 350})))
    return np.asarray(image.convert("RGB")).astype(int)


def test_in_a_browser_sequences_are_chosen_seen_and_marked_by_key(served: tuple[str, ReviewPage], results: Path, browser: Any) -> None:
    address, _ = served
    page = browser.new_page(viewport={"width": 900, "height": 600})
    page.set_default_timeout(_WAIT_S * 1e3)
    page.goto(address)
    chosen = page.get_by_role("combobox", name="Sequence")
    chosen.click()
    page.get_by_role("option").first.wait_for()
    assert page.get_by_role("option").all_inner_texts() == ["1. jump", "2. stand", "3. walk"]
    page.get_by_role("option", name="walk").click()
    page.get_by_text("3 of 3: walk").wait_for()
    page.keyboard.press("g")
    page.get_by_text("Verdict: good").wait_for()
    assert rows(results) == {"walk": "good"}

    page.keyboard.press("p")
    page.get_by_text("2 of 3: stand").wait_for()
    with_people = picture(page)
    for name in ("Before", "After"):
        page.get_by_role("checkbox", name=name).click()
    wait_for(lambda: (np.abs(picture(page) - with_people).max(-1) > 100).sum() > 200)  # they were there, and are gone
    page.keyboard.press("b")  # a box that was ticked does not keep the keys
    page.get_by_text("Verdict: bad").wait_for()
    assert rows(results) == {"stand": "bad", "walk": "good"}
    page.get_by_role("combobox", name="Sequence").click()
    page.get_by_role("option", name="2. stand (bad)").wait_for()
    assert page.get_by_role("option").all_inner_texts() == ["1. jump", "2. stand (bad)", "3. walk (good)"]

    spoken = page.locator("body").aria_snapshot().splitlines()
    nameless = [line for line in spoken if line.strip().rstrip(":") in ("- textbox", "- slider", "- checkbox", "- combobox")]
    assert nameless == []
    assert {f'- slider "{name}"' in {line.strip() for line in spoken} for name in ("Frame", "Thinning")} == {True}


def test_what_results_say_of_their_quality_is_told_and_orders_the_sequences(served: tuple[str, ReviewPage], results: Path) -> None:
    _, page = served
    for name, verdict in (("jump", "good"), ("stand", "poor"), ("walk", "check")):
        path = results / name / "5_refinement" / "refinement_results.json"
        told = {"verdict": verdict, "reasons": [] if verdict == "good" else [f"the *{name}* is off"]}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"quality": told}))
    page._controls._order.value = "worst first"
    page._choose()
    assert [result.name for result in page._results] == ["stand", "walk", "jump"]
    page.show(0)
    assert "Quality: **poor**" in page.about
    assert "the &#42;stand&#42; is off" in page.about
    page._controls._order.value = "by name"
    page._choose()
    assert [result.name for result in page._results] == ["jump", "stand", "walk"]
    page.show(0)
    assert "Quality: **good**" in page.about


def test_in_a_browser_sequences_are_filtered_points_thinned_and_the_camera_looked_through(
    served: tuple[str, ReviewPage], browser: Any
) -> None:
    address, at_hand = served
    page = browser.new_page(viewport={"width": 900, "height": 600})
    page.set_default_timeout(_WAIT_S * 1e3)
    page.goto(address)
    page.get_by_text("1 of 3: jump").wait_for()
    page.get_by_text("Choose").click()
    pattern = page.get_by_role("textbox", name="Pattern")
    pattern.fill("*a*")
    page.get_by_text("1 of 2: stand").wait_for()
    page.get_by_role("spinbutton", name="From").or_(page.get_by_role("textbox", name="From")).fill("1")
    page.get_by_text("1 of 1: walk").wait_for()
    pattern.fill("nobody")
    page.get_by_text("no sequence has such a name; there are jump, stand, walk").wait_for()
    assert "1 of 1" in at_hand.about

    free = settled(page)
    page.get_by_role("combobox", name="View").click()
    page.get_by_role("option", name="camera").click()
    wait_for(lambda: (np.abs(picture(page) - free).max(-1) > 60).mean() > 0.3)  # the picture is behind the people
    through = settled(page)
    page.get_by_role("checkbox", name="Picture").click()
    wait_for(lambda: (np.abs(picture(page) - through).max(-1) > 60).mean() > 0.3)
    page.get_by_role("combobox", name="View").click()
    page.get_by_role("option", name="free").click()
    wait_for(lambda: (np.abs(picture(page) - free).max(-1) > 60).mean() < 0.02)  # back to where one stood
    page.get_by_role("textbox", name="Gradient").fill("0.01")
    page.keyboard.press("Tab")
    wait_for(lambda: (np.abs(picture(page) - free).max(-1) > 60).sum() > 50)


def settled(page: Any) -> np.ndarray:
    """What is drawn once it no longer changes."""
    pictures = [picture(page)]

    def stays() -> bool:
        page.wait_for_timeout(300)
        pictures.append(picture(page))
        return np.array_equal(pictures[-1], pictures[-2])

    wait_for(stays)
    return pictures[-1]


def test_keys_are_letters_to_whom_writes_a_note(served: tuple[str, ReviewPage], results: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 900, "height": 600})
    page.set_default_timeout(_WAIT_S * 1e3)
    page.goto(served[0])
    note = page.get_by_role("textbox", name="Note")
    note.press_sequentially("bgn")
    note.press("Enter")
    page.keyboard.press("b")
    page.get_by_text("Verdict: bad").wait_for()
    assert page.get_by_text("1 of 3: jump").count() == 1
    wait_for(lambda: (results / "review.csv").read_text().endswith(",bgn\n"))  # the last letters may come after the verdict
    assert rows(results) == {"jump": "bad"}


def test_the_first_sequence_without_a_verdict_is_shown_first(results: Path) -> None:
    (results / "review.csv").write_text("sequence,verdict,time,note\njump,good,2026-01-31T12:00:00+00:00,\n")
    server, page = serve(results, "127.0.0.1", 0)
    server.stop()
    assert "2 of 3: **stand**" in page.about


def test_going_beyond_the_ends_stays_and_verdicts_come_with_their_notes(served: tuple[str, ReviewPage]) -> None:
    _, page = served
    page.show(-1)
    assert "1 of 3" in page.about
    page.show(2)
    page.show(3)
    assert "3 of 3" in page.about
    page.mark("good")
    page.show(0)
    page.mark("bad")
    assert "Verdict: **bad**" in page.about
    page.show(2)
    assert "Verdict: **good**" in page.about


def test_a_result_that_cannot_be_read_is_told_and_can_be_marked(served: tuple[str, ReviewPage], results: Path) -> None:
    _, page = served
    (results / "stand/5_refinement/person_002/smpl_params_refined.npz").write_bytes(b"<b>no</b>")
    page.show(1)
    assert "Cannot be shown" in page.about
    assert "person&#95;002" in page.about
    page.toggle()
    page.mark("bad")
    assert rows(results) == {"stand": "bad"}
    page.show(2)
    assert "Cannot be shown" not in page.about


def test_playing_goes_through_the_frames_and_round_at_the_pace_of_the_clip(served: tuple[str, ReviewPage]) -> None:
    _, page = served
    seen = []
    page.toggle()
    began = time.monotonic()
    while time.monotonic() - began < 1.0:  # twice through 12 frames at 25 a second
        seen.append(page.frame)
        time.sleep(0.005)
    page.toggle()
    stopped = page.frame
    assert len(set(seen)) > 6
    assert any(later < earlier for earlier, later in pairwise(seen))
    assert set(seen) <= set(range(12))
    time.sleep(0.2)
    assert page.frame == stopped
