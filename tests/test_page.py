"""The report's page in a browser: charts, filter, links from numbers to their provenance, and use without scripts."""

import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from playwright.sync_api import Error, expect, sync_playwright

from stages.common.files import write_json, write_text
from stages.common.timing import digest, timing_path
from stages.report.page.charts import KINDS
from stages.report.page.provenance import NOT_RECORDED, anchor
from stages.report.statistics.scores import AVERAGE
from stages.report.style.words import label, number
from stages.report.tables.ablations import Ablation, save
from stages.report.tables.table import origin
from tests.test_report import ALGORITHMS, COST, DATASETS, METHODS, report, run_collect, write_results

pytestmark = pytest.mark.slow
expect.set_options(timeout=30_000)

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
CELL = DATASET, METHOD, ALGORITHM = DATASETS[0], "dawm", "td3bc"
NAME, RECORD = "-".join(CELL), anchor(origin(*CELL))
RESULT = f"results/{DATASET}/{METHOD}-{ALGORITHM}.json"
NUMBER = f'#table-scores [data-dataset="{DATASET}"] [data-method="{METHOD}"] [data-algorithm="{ALGORITHM}"] a'
RAN = {"machine": "a desk", "revision": "1a2b3c4d5e", "packages": {"torch": "9.8.7", "numpy": "6.5.4"}, "seconds": 42.4}
UNKNOWN = f"{NOT_RECORDED}|DVC did not make it|no longer exists|differs from the file"  # where provenance is missing
DRAWN = "body[data-charts=drawn]"
FITS = "document.documentElement.scrollWidth <= innerWidth"
# As first opened, but with every section unfolded.
RESET = """async () => {
  location.hash = ""; document.activeElement.blur(); document.getElementById("filter").reset();
  document.querySelectorAll("details").forEach((part) => (part.open = part.matches(".part, .inner")));
  scrollTo(0, 0);
  await new Promise((done) => setTimeout(done, 30));
}"""
PARAMETER = "horizon"  # of an ablation, with a method outside the grid
OUTSIDE = "synther"
WINDOW = {"best": 0.1, "median": 0.2, "worst": 0.9}
# The visible cells of tables, cards, and marks of methods in charts, each as a list of its words.
SHOWN = """async () => {
  await new Promise((done) => setTimeout(done, 30));
  const visible = (scope, selector) => [...scope.querySelectorAll(selector)].filter((item) => item.checkVisibility());
  const shown = {cells: [], cards: visible(document, ".card .name").map((name) => [name.innerText]), marks: []};
  for (const cell of visible(document, ".grid tr:not(.group) > *")) {
    const table = cell.closest("table"), group = cell.closest("tbody")?.querySelector(".group")?.innerText ?? "";
    const parts = [cell.parentElement.cells[0], table.tHead.rows[0].cells[cell.cellIndex], cell];
    shown.cells.push([table.id, group, ...parts.map((part) => part.innerText)]);
  }
  for (const panel of visible(document, ".panel")) {
    const own = [panel.querySelector(".chart").dataset.kind, panel.querySelector("h4").innerText];
    for (const mark of panel.querySelectorAll(".role-mark [aria-label*='method: ']")) {
      const tooltip = mark.ariaLabel.split("; ").map((part) => part.replace(/^.*?: /, ""));
      shown.marks.push([...own, mark.ariaRoleDescription, Math.round(mark.getBoundingClientRect().x), ...tooltip]);
    }
  }
  return shown;
}"""
# The words of charts and legends that reach beyond their chart, or beyond the page.
CUT = """() => {
  const beyond = (inner, outer) =>
    inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
  const cut = [...document.querySelectorAll(".chart svg text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.width && beyond(box, text.ownerSVGElement.getBoundingClientRect());
  });
  const page = { left: 0, right: innerWidth, bottom: Infinity };
  const legends = [...document.querySelectorAll(".legend span")];
  const out = legends.filter((item) => beyond(item.getBoundingClientRect(), page));
  return [...cut, ...out].map((element) => element.textContent);
}"""
# Whether an element's centre is in the viewport and not covered by another element.
ON_TOP = """(element) => {
  const {x, y, width, height} = element.getBoundingClientRect();
  return element.contains(document.elementFromPoint(x + width / 2, y + height / 2));
}"""
# Each element's colour and its background's.
COLOURS = """(elements) => elements.map((element) => {
  let behind = element;
  while (/, 0\\)/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
  return `${getComputedStyle(element).color} on ${getComputedStyle(behind).backgroundColor}`;
})"""


def write_lock() -> dict[str, str]:
    """Writes one cell's stages to dvc.lock, and their timing records; returns stage → md5 of its output."""
    files = {
        f"data@{DATASET}": f"data/{DATASET}/real.npz",
        f"policy@{NAME}": f"models/{NAME}",
        f"evaluate@{NAME}": RESULT,
    }
    parameters = [{"discount": 0.875}, {"policy": {"batch": 77}}, {"evaluate": {"episodes": 3}}]
    stages, before = {}, []
    for (stage, path), values in zip(files.items(), parameters, strict=True):
        if path != RESULT:
            write_text(path, stage)
        code = {"path": f"stages/{stage.partition('@')[0]}", "hash": "md5", "md5": "c0de.dir"}
        outs = [{"path": path, "hash": "md5", "md5": digest(path)}]
        stages[stage] = {"deps": [*before, code], "params": {"params.yaml": values}, "outs": outs}
        before = outs
    write_text("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}))
    outputs = {stage: digest(path) for stage, path in files.items()}
    for md5 in (*outputs.values(), *COST["trained"], COST["sampled"]):
        write_json(timing_path(md5), RAN)
    return outputs


def write_windows():
    """Adds windows of three frames to one method on one data set: two parts that move on by 0.1 a step."""
    path = Path(f"results/{DATASET}/fidelity-{METHOD}.json")
    frames = [[[x, 1.0, x, 0.5, x, 0.5, x + 0.3, 0.0] for x in (0.0, 0.1, 0.2)], [[0, 1, 0, 0.5, 0, 0.5, 0.3, 0]] * 3]
    each = dict(zip(("imagined", "simulated"), frames, strict=True))
    windows = {name: {"error": error, **each} for name, error in WINDOW.items()}
    record = {"windows": 40, "seconds": 0.05, "radius": [0.05, 0.02], **windows}
    write_json(path, {**json.loads(path.read_text()), "imagined": record})


def write_ablations():
    """Saves ablations of two parameters, at two values on one data set with two algorithms."""
    rows = [
        {"value": value, "dataset": DATASET, "method": method, "algorithm": algorithm, "score": 30 + k, "low": 28 + k}
        for value in ("1", "3")
        for k, method in enumerate(("real", METHOD, OUTSIDE))
        for algorithm in ALGORITHMS[:2]
    ]
    measured = dict.fromkeys(["error_median", "error_p90", "error_last_step", "action_spread"], 0.5)
    blank = dict.fromkeys(["steering", "seconds_making", "seconds_policy"], np.nan)
    frame = pd.DataFrame(rows).assign(high=40.0, **measured, **blank)
    frame.loc[(frame["method"] != "real") & (frame["value"] == "3"), "score"] += 1
    for param in (PARAMETER, "policy.steps"):
        save(Ablation(param, [f"Commit abc, of {param}."], frame))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> SimpleNamespace:
    """The page of a small run, one cell of which is in dvc.lock: address and text, the cell's outputs and scores."""
    page = tmp_path_factory.mktemp("page") / "reports/index.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.report.tables.__main__.draw", lambda *_: None)  # the page shows none of these figures
        write_results(page.parents[1], patch)
        write_windows()
        write_ablations()
        outputs = write_lock()
        run_collect(patch)
        report()
        values = [float(np.mean(seed["scores"])) for seed in json.loads(Path(RESULT).read_text())["seeds"]]
    return SimpleNamespace(address=page.as_uri(), text=page.read_text(), outputs=outputs, values=values)


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, or Playwright's own."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        except Error as error:
            if executable:
                raise
            why = error.message.splitlines()[0]
            pytest.skip(f"no browser; install chromium, or: playwright install --only-shell chromium ({why})")
        yield browser
        browser.close()


@contextmanager
def opened(browser, address: str, **options):
    """Opens the page and waits for its charts if scripts run; yields it, and a list of errors and network requests,
    which must be empty at the end.
    """
    page, problems = browser.new_page(color_scheme="light", **options), []
    page.set_default_timeout(60_000)  # on a busy machine
    page.on("console", lambda log: problems.append(log.text) if log.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    own = re.compile(rf"data:|{re.escape(address.partition('#')[0])}(#|$)")
    page.on("request", lambda request: None if own.match(request.url) else problems.append(request.url))
    page.goto(address)
    if options.get("java_script_enabled", True):
        page.wait_for_selector(DRAWN)
    assert not problems
    yield page, problems
    page.close()
    assert not problems


@pytest.fixture(scope="module", params=SIZES)
def loaded(request, browser, built):
    with opened(browser, built.address, viewport=SIZES[request.param]) as page_and_problems:
        yield page_and_problems


@pytest.fixture
def page(loaded):
    """The page as first opened; no test may cause an error or a network request."""
    page, problems = loaded
    page.evaluate(RESET)
    page.wait_for_selector(DRAWN)
    yield page
    page.emulate_media(media="screen", color_scheme="light")
    caused = problems[:]
    problems.clear()
    assert not caused


def shown(page) -> dict[str, list[list[str]]]:
    """What is visible, with the marks of each chart from left to right."""
    visible = page.evaluate(SHOWN)
    marks = [[kind, role, *title.split(" · "), *words] for kind, title, role, _, *words in sorted(visible["marks"])]
    return {**visible, "marks": marks}


def check_open(page, name: str):
    """Checks that the record is open, visible, focused and named by the address; returns it."""
    record = page.locator(f"details[id='{name}']")
    expect(record).to_have_attribute("open", "")
    assert page.url.endswith(f"#{name}")
    assert record.locator("> summary").evaluate("(summary) => document.activeElement === summary")
    assert record.locator("> summary").evaluate(ON_TOP)
    return record


def contrast(colours: str) -> float:
    """The contrast of one colour on another, as WCAG 2 defines it."""
    parts = np.array(re.findall(r"rgba?\((\d+), (\d+), (\d+)", colours), dtype=float) / 255
    light = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_all_charts_are_drawn_everything_fits_and_links_stay_on_the_page(page, built):
    drawn = "(all, of) => all.map((chart) => [chart.dataset.kind, chart.querySelectorAll(of).length, chart.ariaLabel])"
    charts = page.locator(".chart").evaluate_all(drawn, "svg .role-mark [aria-label]")
    assert {kind for kind, *_ in charts} == set(KINDS)
    assert all(marks for _, marks, _ in charts)
    assert len({words for *_, words in charts if words}) == len(charts)  # no two alike
    assert page.locator("h1").count() == 1
    assert all(page.locator("img").evaluate_all("all => all.map((image) => image.alt.trim())"))
    assert page.evaluate(FITS)
    assert page.evaluate(CUT) == []
    page.evaluate("document.querySelectorAll('details').forEach((record) => (record.open = true))")
    assert page.evaluate(FITS)

    links = page.locator("a").evaluate_all("all => all.map((link) => link.getAttribute('href'))")
    names = page.locator("[id]").evaluate_all("all => all.map((element) => '#' + element.id)")
    assert {f"#{RECORD}"} < set(links) <= set(names)
    assert len(set(names)) == len(names)
    own = re.sub(r"(<script[^>]*>).*?</script>", r"\1", built.text, flags=re.S)
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:|//)|url\(|@import|<script src""", own)


@pytest.mark.parametrize("name", [METHOD, "iql", DATASETS[1]])
def test_the_filter_hides_and_shows_what_it_names(page, name):
    before, box = shown(page), page.locator(f"#filter [value='{name}']")
    bars = [mark for mark in before["marks"] if mark[:2] == ["scores", "bar"]]
    assert len(bars) == len(DATASETS) * len(METHODS) * len(ALGORITHMS)

    box.uncheck()
    left = {
        kind: [words for words in items if label(name) not in {part for word in words for part in word.split(", ")}]
        for kind, items in before.items()
    }
    assert shown(page) == left
    assert all(len(left[kind]) < len(before[kind]) for kind in ("cells", "marks"))
    expect(page.locator(".grid th:visible, .legend span:visible", has_text=label(name))).to_have_count(0)
    assert page.evaluate(FITS)

    for other in page.locator(f"fieldset:has([value='{name}']) input").all():
        other.uncheck()
    assert shown(page) == before  # with none checked, everything is shown
    box.check()
    assert shown(page) != before
    page.get_by_role("button", name="Show all").click()
    assert shown(page) == before


def test_a_bar_s_tooltip_shows_its_mean_and_seeds(page, built):
    chart = page.locator(f'.panel[data-dataset="{DATASET}"] .chart[data-kind=scores]')
    bar = chart.locator(f'[aria-label*="{label(ALGORITHM)};"][aria-label*="{label(METHOD)}; mean"]').first
    bar.hover(position={"x": 3, "y": bar.bounding_box()["height"] - 3})
    tip = page.locator("#vg-tooltip-element.visible")
    tooltip = dict(
        tip.locator("tr").evaluate_all("rows => rows.map((row) => [...row.cells].map((cell) => cell.innerText))")
    )
    assert (tooltip["method"], tooltip["algorithm"]) == (label(METHOD), label(ALGORITHM))
    assert tooltip["mean"].split(" ± ") == [number(np.mean(built.values)), number(np.std(built.values, ddof=1))]
    assert tooltip["seeds"].split(", ") == list(map(number, built.values))
    box = tip.bounding_box()
    assert 0 <= box["x"] <= box["x"] + box["width"] <= page.viewport_size["width"]


def test_a_number_links_to_its_provenance(page, built):
    expect(page.locator(NUMBER)).to_have_text(number(np.mean(built.values)))
    page.locator(NUMBER).click()
    record = check_open(page, RECORD)
    for more in record.get_by_text("Parameters and code").all():
        more.click()
    text = record.inner_text().replace("\xa0", " ")
    assert all(number(value) in re.search("Seeds: .*", text)[0] for value in built.values)
    positions = [text.index(word) for stage, md5 in built.outputs.items() for word in (stage, md5)]
    assert positions == sorted(positions)  # in execution order, each stage followed by its output
    facts = "discount 0.875|policy.batch 77|evaluate.episodes 3|c0de.dir|1a2b3c4d5e|42|a desk|torch 9.8.7, numpy 6.5.4"
    assert [fact for fact in facts.split("|") if fact not in text] == []
    assert not re.search(UNKNOWN, text)
    assert re.search(UNKNOWN, built.text)  # cells that dvc.lock does not hold

    record.locator("> summary").click()
    page.locator(NUMBER).click()
    check_open(page, RECORD)  # although the address does not change


def test_an_average_links_to_its_parts(page):
    overall = anchor(origin(AVERAGE, METHOD, ALGORITHM))
    page.locator(f"#table-scores a[href='#{overall}']").click()
    check_open(page, overall).get_by_role("link", name=DATASET).click()
    check_open(page, RECORD)


def test_a_record_can_be_opened_with_the_keyboard_alone(page):
    page.locator("#filter input").first.focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == f"#{RECORD}":
            break
    link = page.locator("a:focus-visible")
    assert link.evaluate("(link) => getComputedStyle(link).outlineStyle") == "solid"
    assert link.evaluate(ON_TOP)
    page.keyboard.press("Enter")
    check_open(page, RECORD)


@pytest.mark.parametrize("size", SIZES)
def test_the_address_of_a_record_opens_it(browser, built, size):
    with opened(browser, f"{built.address}#{RECORD}", viewport=SIZES[size]) as (page, _):
        page.keyboard.press("Tab")
        check_open(page, RECORD)


def test_sections_fold_and_the_contents_lead_to_each(page):
    titles = page.locator("nav a").all_inner_texts()
    assert titles == page.locator(".part > summary").all_inner_texts()
    assert len(titles) > 10
    part = page.locator("details#fidelity")
    part.locator("> summary").click()
    expect(page.locator("#table-fidelity")).to_be_hidden()
    page.get_by_role("link", name="Fidelity", exact=True).click()
    expect(page.locator("#table-fidelity")).to_be_visible()
    assert page.url.endswith("#fidelity")
    assert part.locator("> summary").evaluate(ON_TOP)
    assert page.locator("nav a").first.evaluate("(link) => link.getBoundingClientRect().top >= 0")  # still in view


@pytest.mark.parametrize("size", SIZES)
def test_charts_of_a_folded_section_are_drawn_when_it_is_unfolded(browser, built, size):
    with opened(browser, built.address, viewport=SIZES[size]) as (page, _):
        part = page.locator(f"#ablation-{PARAMETER}")
        drawn = page.locator("#ablations .chart svg")
        page.locator("#ablations > summary").click()
        expect(part.locator("> summary")).to_be_visible()
        expect(drawn).to_have_count(0)
        part.locator("> summary").click()
        expect(drawn).to_have_count(2)  # of that part alone, one for each algorithm
        expect(page.locator(DRAWN)).to_have_count(1)


@pytest.mark.parametrize("size", SIZES)
def test_the_address_of_an_ablation_opens_it_and_its_numbers_lead_to_a_record(browser, built, size):
    with opened(browser, f"{built.address}#ablation-{PARAMETER}", viewport=SIZES[size]) as (page, _):
        part = page.locator(f"#ablation-{PARAMETER}")
        assert part.locator("> summary").evaluate(ON_TOP)
        assert [name.strip() for name in part.locator(".legend span").all_inner_texts()] == [
            label(METHOD),
            label(OUTSIDE),
        ]
        marks = part.locator(".chart").first.locator("[aria-roledescription='circle']")
        for name in (METHOD, OUTSIDE):
            expect(marks.and_(page.locator(f"[aria-label*='method: {label(name)};']"))).to_have_count(2)
        page.locator(f"#filter [value='{METHOD}']").uncheck()
        expect(part.locator("tr:visible[data-method='']", has_text="+3.0")).to_have_count(1)  # outside the grid
        expect(marks).to_have_count(2)
        page.get_by_role("button", name="Show all").click()
        part.get_by_role("link", name="+2.0").first.click()
        record = check_open(page, f"from-ablations-{PARAMETER}")
        expect(record).to_contain_text(f"Commit abc, of {PARAMETER}.")
        expect(record).to_contain_text(f"results/ablations/{PARAMETER}.csv, md5 ")


@pytest.mark.parametrize("size", SIZES)
def test_the_address_keeps_the_filter(browser, built, size):
    with opened(browser, built.address, viewport=SIZES[size]) as (page, _):
        page.locator(f"#filter [value='{METHOD}']").uncheck()
        page.locator(f"#filter [value='{ALGORITHM}']").uncheck()
        others = [name for name in ALGORITHMS if name != ALGORITHM]
        assert f"?method=real&algorithm={'%2C'.join(others)}" in page.url
        address = page.url
    with opened(browser, f"{address}#differences", viewport=SIZES[size]) as (page, _):
        assert not page.locator(f"#filter [value='{METHOD}']").is_checked()
        expect(page.locator(f"#table-scores [data-method='{METHOD}']:visible")).to_have_count(0)
        page.get_by_role("button", name="Show all").click()
        expect(page).to_have_url(f"{built.address}#differences")
        expect(page.locator(f"#table-scores [data-method='{METHOD}']:visible")).to_have_count(len(DATASETS) + 1)


def test_imagined_windows_can_be_moved_and_played(page):
    film = page.locator(".film")
    assert film.get_attribute("data-dataset") == DATASET
    assert film.locator("svg").count() == len(WINDOW)
    assert film.locator("svg + p").all_inner_texts() == [f"{name}, error {error:.2f}" for name, error in WINDOW.items()]
    ends = "(lines) => lines.map((line) => ['x1', 'y1', 'x2', 'y2'].map((name) => Number(line.getAttribute(name))))"
    figure, slider = film.locator("svg").first.locator(".imagined line"), film.locator("input")
    expect(film.locator("output")).to_have_text("step 2 of 2, after 0.1 s")
    assert figure.evaluate_all(ends) == [[0.2, -1, 0.2, -0.5], [0.2, -0.5, 0.5, 0]]
    slider.fill("0")
    assert figure.evaluate_all(ends) == [[0, -1, 0, -0.5], [0, -0.5, 0.3, 0]]
    assert figure.evaluate_all("(lines) => lines.map((line) => line.getAttribute('stroke-width'))") == ["0.1", "0.04"]
    film.get_by_role("button", name="Play").click()
    expect(film.locator("output")).to_have_text("step 1 of 2, after 0.05 s")
    film.get_by_role("button", name="Pause").click()
    paused = film.locator("output").inner_text()
    page.wait_for_timeout(700)
    assert film.locator("output").inner_text() == paused
    box = film.locator("svg").first.bounding_box()
    lines = film.locator("svg").first.locator("line").all()
    assert len(lines) >= 4
    for line in lines:
        inner = line.bounding_box()
        assert box["x"] - 1 <= inner["x"] <= inner["x"] + inner["width"] <= box["x"] + box["width"] + 1
    page.locator(f"#filter [value='{METHOD}']").uncheck()
    expect(film.locator(".row")).to_be_hidden()


@pytest.mark.parametrize("size", SIZES)
def test_the_page_can_be_read_without_scripts(browser, built, size):
    with opened(browser, built.address, viewport=SIZES[size], java_script_enabled=False) as (page, _):
        expect(page.locator("#table-scores tr:not(.group):visible")).to_have_count(1 + (len(DATASETS) + 1) * 3)
        page.locator("#data > summary").click()
        expect(page.locator("figure img:visible")).to_have_count(len(DATASETS))
        page.locator(NUMBER).click()
        assert page.url.endswith(f"#{RECORD}")
        record = page.locator(f"details[id='{RECORD}']")
        assert record.locator("> summary").evaluate(ON_TOP)
        record.locator("> summary").click()
        expect(record.get_by_text("Seeds:")).to_be_visible()


def test_colours_have_contrast_and_the_filter_does_not_stick_in_print(page):
    behind = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        behind.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        colours = set(page.locator("main, main *:not(svg, svg *, input, i)").evaluate_all(COLOURS))
        assert len(colours) > 3
        assert [pair for pair in colours if contrast(pair) < 4.5] == []
    assert len(behind) == 2
    position = "getComputedStyle(document.getElementById('bar')).position"
    assert page.evaluate(position) == "sticky"
    page.emulate_media(media="print")
    assert page.evaluate(position) == "static"
