"""Pages to explore: what is packed is what was measured, and they work by pointer and by keyboard in a real browser."""

import base64
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("altair")

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.estimators.bif import bif
from bitsandnats.estimators.kernel_map import kernel_map
from bitsandnats.estimators.loss_kernel import loss_kernel
from bitsandnats.estimators.susceptibility import susceptibility
from bitsandnats.observables.subsets import as_subset
from bitsandnats.recipes.attribution import maps
from bitsandnats.report import write_report
from bitsandnats.report.explore.matrix import cluster_order
from bitsandnats.report.explore.packing import packed, sheet
from bitsandnats.settings import Settings
from bitsandnats.store.previews import as_previews, pixels_of

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--window-size=1400,1000"),
)
SETTINGS = Settings(
    sampler="hmc(leapfrogs=3)", nbeta=4.0, gamma=2.0, step_size=0.3, chains=4, burn_in=4, draws=24, mode="vmap"
)


def quadratics(count: int) -> bn.Task:
    random = np.random.default_rng(0)
    directions = np.repeat(np.eye(3)[:2], count // 2, axis=0) + 0.1 * random.standard_normal((count, 3))
    hessians = np.einsum("ni,nj->nij", directions, directions) + 0.02 * np.eye(3)
    return toys.item_quadratics(hessians, random.standard_normal((count, 3)))


def images(count: int) -> list[np.ndarray]:
    return [np.full((4, 6), i / count) for i in range(count)]


@pytest.fixture(scope="module")
def run_of_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored run of 40 inputs with labels and images, its map by principal coordinates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "umap_there", lambda: False)  # UMAP takes half a minute to compile
        task = quadratics(40)
        found = bn.loss_kernel(
            task, settings=SETTINGS, labels=[i // 20 for i in range(40)], previews=images(40), looks=24
        )
        return bn.keep(found, task, tmp_path_factory.mktemp("explored") / "run", label="toy").path


def data_of(page: str, name: str) -> dict[str, Any]:
    found = re.search(rf'<script type="application/json" id="explore-data-{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def unpacked(part: dict[str, Any]) -> np.ndarray:
    kind = {"u8": "<u1", "i8": "<i1", "u16": "<u2", "i16": "<i2", "u32": "<u4", "f32": "<f4"}[part["kind"]]
    return np.frombuffer(base64.b64decode(part["data"]), kind) * part["scale"]


def driven(report: Path, tmp_path: Path, script: str) -> str:
    """The page's elements after a script of a test has used it."""
    assert CHROMIUM is not None, "CI must have Chromium: install the package `chromium`"
    page = tmp_path / "driven.html"
    page.write_text(report.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>"))
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    root = re.search(r"<html[^>]*>", done.stdout)
    assert root is not None
    assert 'data-errors="0"' in root[0]
    return done.stdout


in_browser = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="needs Chromium to look at the page"
)


def test_numbers_survive_packing():
    values = np.array([0.1234, -1.0, np.nan, 1.0])
    part = packed(values, "i16", 1e-4)
    found = unpacked(part)
    assert np.allclose(found[[0, 1, 3]], values[[0, 1, 3]])
    assert found[2] == pytest.approx(-3.2768)  # stands for none
    assert np.allclose(unpacked(packed(np.array([3.5, 1e9]), "f32")), [3.5, 1e9])
    assert unpacked(packed(np.array([7.0]), "i8", 0.01)).tolist() == [1.27]  # as large as it goes, not as none


def test_thumbnails_lie_side_by_side():
    kind, uris = as_previews([np.full((4, 6), i * 10, np.uint8) for i in range(7)])
    assert kind == "image"
    made = sheet(uris)
    whole = pixels_of(made["url"])
    for i in range(7):
        top, left = i // made["columns"] * 4, i % made["columns"] * 6
        assert (whole[top : top + 4, left : left + 6] == 10 * i).all()
    coloured = np.random.default_rng(0).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    assert (pixels_of(as_previews([coloured])[1][0]) == coloured).all()


def test_tokens_are_kept_as_far_as_they_fit():
    kind, texts = as_previews([["a", " b", "\x1fc"], ["x" * 3000, "y" * 1096, "z"]])
    assert kind == "tokens"
    assert texts[0].split("\x1f") == ["a", " b", " c"]
    assert [len(t) for t in texts[1].split("\x1f")] == [3000, 1096]


def test_the_map_holds_what_was_measured_and_loads_nothing(run_of_inputs: Path):
    text = write_report(run_of_inputs, images=False).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    assert "vegaEmbed" not in text  # a page without figures does not carry their library
    assert len(text) < 60_000
    data = data_of(text, "map-inputs")
    found = loss_kernel(bn.open_run(run_of_inputs).tree("toy", "attribution"))
    near = unpacked(data["near"]).reshape(40, 10).astype(int)
    assert near[7].tolist() == [i for i, _ in found.neighbours(7, 10)]
    assert np.allclose(unpacked(data["r"]).reshape(40, 10)[7], [r for _, r in found.neighbours(7, 10)], atol=1e-4)
    assert data["labels"] == ["0", "1"]
    assert unpacked(data["label"]).tolist() == [0] * 20 + [1] * 20
    assert "umap-learn was not installed" in text
    assert "split-half reliability" in text


@in_browser
def test_the_map_answers_pointer_and_keys(run_of_inputs: Path, tmp_path: Path):
    report = write_report(run_of_inputs, images=False)
    dom = driven(
        report,
        tmp_path,
        """
        const root = document.querySelector(".explorer.map"), canvas = root.querySelector("canvas");
        const box = canvas.getBoundingClientRect(), said = [];
        for (let x = 0; x < box.width; x += 4) for (let y = 0; y < box.height; y += 4)
          if (root.querySelector(".tip").hidden)
            canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + x, clientY: box.top + y }));
        said.push(root.querySelector(".tip").textContent, String(!!root.querySelector(".tip .thumb")));
        said.push(root.dataset.chosen);
        canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
        canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
        canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
        canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "+" }));
        said.push(root.dataset.chosen, String(root.querySelectorAll("ol.near li").length));
        const next = root.querySelector("ol.near .what").textContent;
        root.querySelector("ol.near button").click();
        said.push(next, root.querySelector(".chosen strong").textContent);
        root.querySelector(".legend button").click();
        said.push(root.querySelector(".legend button").getAttribute("aria-pressed"), root.dataset.drawn);
        document.documentElement.dataset.said = JSON.stringify(said);
        """,
    )
    root = re.search(r'data-said="([^"]*)"', dom)
    assert root is not None
    tip, thumb, before, after, listed, asked, given, pressed, drawn = json.loads(root[1].replace("&quot;", '"'))
    assert re.match(r"label [01] · input \d+reliability", tip)
    assert (thumb, before, listed, pressed, drawn) == ("true", "0", "10", "true", "40")
    assert after != "0"
    assert asked == given


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("CI") != "true", reason="umap-learn compiles for half a minute")
def test_umap_is_seeded_and_keeps_groups_together(run_of_inputs: Path):
    pytest.importorskip("umap", exc_type=ImportError)
    from bitsandnats.estimators.embedding import umap_embedding

    near = kernel_map(bn.open_run(run_of_inputs).tree("toy", "attribution"))
    first, again = umap_embedding(near), umap_embedding(near)
    assert first.method == "umap"
    assert np.array_equal(first.coordinates, again.coordinates)
    closest = np.linalg.norm(first.coordinates[:, None] - first.coordinates[None], axis=-1)
    np.fill_diagonal(closest, np.inf)
    kept = [set(np.argsort(row)[:8]) & set(own[:8]) for row, own in zip(closest, near.neighbours, strict=True)]
    assert np.mean([len(both) for both in kept]) > 3  # of 8; chance gives 1.6


TOKENS = 5


@pytest.fixture(scope="module")
def run_of_tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with all readings: tokens of training samples on queries, and two components on them."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, generator=random), torch.randn(12, TOKENS - 1, generator=random)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, TOKENS - 1).eval()

    def loss(model: Any, batch: Any) -> torch.Tensor:
        return (model(batch[0]) - batch[1]).square()

    task = bn.Task.from_module(model, loss, (x, y), unit="token")
    words = [[f"<{i}", " and", " it's\n", ' "so"', f" {i}>"] for i in range(12)]
    settings = Settings(nbeta=20.0, gamma=20.0, step_size=5e-3, batch_size=12, chains=4, draws=40, burn_in=10)
    tree = bn.observe(
        task,
        {"train": as_subset(task, range(12), per="token"), "query": as_subset(task, range(3))},
        pairs=[("query", "train")],
        components=["weight", "bias"],
        settings=settings,
        previews={"train": words, "query": [f"query {i}" for i in range(3)]},
    )
    return bn.keep(tree, task, tmp_path_factory.mktemp("explored") / "run", label="toy").path


def test_influence_tokens_and_responses_are_those_measured(run_of_tokens: Path):
    text = write_report(run_of_tokens, images=False).read_text(encoding="utf-8")
    tree = bn.open_run(run_of_tokens).tree("toy", "attribution")
    found, responses = bif(tree), susceptibility(tree, ["query"])
    data = data_of(text, "influence")
    listed = unpacked(data["raw_helpful"]["raw"]).reshape(3, -1)
    assert np.allclose(listed, np.sort(found.bif, axis=1)[:, : listed.shape[1]], rtol=1e-6)
    place = unpacked(data["raw_helpful"]["index"]).reshape(3, -1).astype(int)[1, 0]
    best = int(np.argmin(found.bif[1]))
    item, token = divmod(best, TOKENS - 1)
    assert unpacked(data["train"]["item"])[place] == item
    assert data["train"]["marks"][place][1] == [f"<{item}", " and", " it's\n", ' "so"', f" {item}>"][token + 1]
    coloured = data_of(text, "tokens-train")
    values = unpacked(coloured["values"]).reshape(3, -1) * np.array(coloured["reach"])[:, None]
    assert coloured["total"] == len(coloured["items"]) == 12
    for item in coloured["items"]:  # the loss of token t + 1 stands at t
        number = int(item["tokens"][0][1:])
        assert item["at"][0] == -1
        assert np.allclose(
            values[:, item["at"][1:]],
            found.bif[:, number * (TOKENS - 1) : (number + 1) * (TOKENS - 1)],
            atol=1e-4 * np.abs(found.bif).max(),
        )
    field = data_of(text, "responses")
    shown = unpacked(field["values"]).reshape(2, -1)
    assert np.allclose(shown, np.clip(responses.standardised(), -4 * field["span"], 4 * field["span"]), atol=1e-3)
    assert sorted(unpacked(field["row_order"]).astype(int).tolist()) == [0, 1]
    told = [[v for v, _ in row["values"]] for row in field["responses"]]
    assert np.allclose(told, responses.response, rtol=1e-3)


def test_clusters_stand_together():
    random = np.random.default_rng(0)
    kinds = random.permutation(np.repeat(np.arange(4), 6))
    order = cluster_order(random.standard_normal((4, 30))[kinds] + 0.3 * random.standard_normal((24, 30)))
    assert len(np.flatnonzero(np.diff(kinds[order]))) == 3
    assert cluster_order(np.zeros((5, 3))).shape == (5,)


def test_a_row_that_does_not_reproduce_says_so(run_of_tokens: Path):
    text = write_report(run_of_tokens, images=False).read_text(encoding="utf-8")
    found = bif(bn.open_run(run_of_tokens).tree("toy", "attribution"))
    told = unpacked(data_of(text, "influence")["reliability_raw"])
    assert np.allclose(told, np.fmin(found.reliability.over_chains, found.reliability.over_draws), atol=0.006)
    assert "Influence of training samples on queries: " in text
    assert "susceptibility of components is " in text
    assert f"split-half reliability {found.reliability.overall:.2f}" in text


@in_browser
def test_tables_text_and_matrices_answer_pointer_and_keys(run_of_tokens: Path, tmp_path: Path):
    dom = driven(
        write_report(run_of_tokens, images=False),
        tmp_path,
        """
        const find = (kind) => document.querySelector(".explorer." + kind), said = {};
        const table = find("influence"), text = find("tokens");
        const field = [...document.querySelectorAll(".explorer.matrix")].pop();
        const key = (to, name) => to.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
        said.cards = table.querySelectorAll(".card").length;
        said.mark = table.querySelector(".card mark").textContent;
        table.querySelector("select").value = "normalised";
        table.querySelector("select").dispatchEvent(new Event("change"));
        said.normalised = table.querySelector(".card .value").textContent;
        const tokens = text.querySelector(".coloured");
        key(tokens, "ArrowRight"); said.first = text.dataset.said;
        key(tokens, "ArrowRight"); said.second = text.dataset.said;
        said.coloured = [...tokens.children].filter((t) => t.style.backgroundColor).length;
        [...text.querySelectorAll("button")].pop().click();
        said.where = text.querySelector(".toolbar").textContent;
        const canvas = field.querySelector("canvas");
        key(canvas, "ArrowRight"); key(canvas, "ArrowDown"); key(canvas, "ArrowRight"); key(canvas, "+");
        said.cell = field.dataset.chosen;
        said.detail = field.querySelector(".detail strong").textContent;
        said.rows = field.querySelectorAll("ol.rows li").length;
        said.table = field.querySelectorAll("table tbody tr").length;
        document.documentElement.dataset.said = JSON.stringify(said);
        """,
    )
    found = re.search(r'<html[^>]*data-said="([^"]*)"', dom)
    assert found is not None
    said = json.loads(html.unescape(found[1]))
    assert said["cards"] == 3
    assert said["mark"].strip()
    assert re.fullmatch(r"[−\d.]+", said["normalised"])
    assert said["first"].endswith("no loss")
    assert re.search(r"[+−][\d.e−]+ nats²$", said["second"])
    assert said["coloured"] == TOKENS - 1
    assert "items 5–8 of 12" in said["where"]
    assert said["cell"] == "1,1"
    assert re.match(r"(weight|bias): [+−]?[\d.]+ s\.d\.", said["detail"])
    assert (said["rows"], said["table"]) == (2, 2)
