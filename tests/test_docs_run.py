"""The programs in the docs run as they stand there, one after another, in an empty folder with a small checkpoint at the path that they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import train

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMES = re.compile(r"\]\(([^)#\s]+?)(?:#([^)\s]+))?\)")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder but for `checkpoints/joint_flow/best.ckpt`."""
    path = tmp_path_factory.mktemp("docs")
    small = ["data.path=built_in", "data.num_poses=600", "training.max_epochs=1", "training.batch_size=64", "model.hidden=16"]
    quiet = ["logging.logger=csv", f"logging.log_dir={path / 'logs'}", f"logging.checkpoint_dir={path / 'checkpoints' / 'joint_flow'}"]
    train.main(["--config", "joint_flow", "--override", *small, *quiet, "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"])
    return path


@pytest.mark.parametrize("page", ["README.md", "docs/fit_your_own.md"])
def test_programs_of_a_page_run(page: str, folder: Path) -> None:
    blocks = _BLOCK.findall((ROOT / page).read_text())
    assert blocks
    (folder / "page.py").write_text("\n".join(blocks))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "page.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    if found := re.search(r"(\S+) -> (\S+) nats, ends off by (\d+) mm", ended.stdout):
        assert float(found[2]) < float(found[1])
        assert int(found[3]) < 60  # of ends that are seen within 35 mm in each direction


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _NAMES.findall(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path = page.parent / target
        assert path.exists(), f"{page.name} -> {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in known, f"{page.name} -> {target}#{anchor}"
