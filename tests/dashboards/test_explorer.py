"""The explorer as people use it: a real browser opens the file, clicks, slides, pins and copies."""

from dataclasses import replace
from typing import Any

import pytest
from explored import EVIL, explored_document, explored_spec, explored_trials, hostile, with_maps
from fakes import bert_shape
from ruamel.yaml import YAML

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.results.front import front
from autopeft.domain.results.pick import parse_when, pick
from autopeft.report.page import explorer_page


def traces(page: Any, plot: str = "front-plot") -> dict[str, dict[str, Any]]:
    """What plotly draws, by name without the count."""
    data = page.evaluate(
        "id => document.getElementById(id).data.map("
        "t => ({name: t.name ?? 'line', x: t.x, y: t.y, of: t.customdata, text: t.text}))",
        plot,
    )
    return {trace["name"].split(" (")[0]: trace for trace in data}


def slide(page: Any, metric: str, place: int) -> str:
    """Move a limit's slider; returns what it says then."""
    slider = page.locator(f'input[data-limit="{metric}"]')
    slider.fill(str(place))
    page.wait_for_timeout(60)  # it draws with the next frame
    return slider.get_attribute("aria-valuetext")


def picked(page: Any) -> int:
    return int(page.locator("#pick-name").get_attribute("data-trial"))


def click_point(page: Any, number: int) -> None:
    """Click where plotly has drawn a trial."""
    place = page.evaluate(
        """number => {
          const plot = document.getElementById("front-plot");
          const {xaxis, yaxis} = plot._fullLayout;
          const trace = plot.data.find((t) => (t.customdata ?? []).includes(number));
          const i = trace.customdata.indexOf(number);
          const box = plot.getBoundingClientRect();
          return [box.left + xaxis._offset + xaxis.d2p(trace.x[i]),
                  box.top + yaxis._offset + yaxis.d2p(trace.y[i])];
        }""",
        number,
    )
    page.mouse.move(*place)
    page.wait_for_timeout(80)
    page.mouse.click(*place)
    page.wait_for_timeout(450)  # plotly waits whether it is a double click


def test_what_a_confirmation_passed_over_is_on_no_front(opened, tmp_path):
    spec, trials = explored_spec(), with_maps(explored_trials())
    first, *others = front(spec.objectives, spec.constraints, trials)
    assert others
    rung = first.rungs[-1]
    again = replace(
        first,
        number=64,
        seed=1000,
        confirms=first.number,
        created=1e6,
        rungs=(replace(rung, ended=rung.ended + 1e6),),
    )
    found = explored_document(spec, [*trials, again])
    (tmp_path / "front.html").write_text(explorer_page(found), encoding="utf-8")
    page = opened(f"file://{tmp_path}/front.html")
    assert found["front"] == [first.number]
    assert picked(page) == found["pick"]["trial"] == first.number


def test_the_front_and_the_pick_are_those_of_the_command_line(explorer, document):
    page = explorer
    shown = traces(page)
    baselines = set(document["baselines"].values())
    assert set(shown["front"]["of"]) == set(document["front"]) - baselines
    assert picked(page) == document["pick"]["trial"]
    assert "finished" in page.locator("#state").inner_text()
    assert page.locator("#pick-command").inner_text() == "autopeft best films"


def test_a_slider_greys_out_what_breaks_it_and_moves_the_pick_as_best_would(explorer):
    page = explorer
    before = picked(page)
    said = slide(page, "adapter_params", 3)
    command = page.locator("#pick-command").inner_text()
    when = command.split("'")[1]
    assert said.startswith("<= ")
    out = traces(page)["breaks a limit"]
    trials, spec = with_maps(explored_trials()), explored_spec()
    limits = parse_when(when)
    broken = {t.number for t in trials if not all(c.holds(t.metrics) for c in limits)}
    assert set(out["of"]) <= broken
    assert len(out["of"]) > 20
    expected = pick(spec.objectives, spec.constraints, trials, when=limits).trial.number
    assert picked(page) == expected != before
    page.click("#limits-reset")
    page.wait_for_timeout(60)
    assert picked(page) == before
    assert "breaks a limit" not in traces(page)


def test_a_constraint_of_the_study_is_a_slider_that_can_be_loosened(explorer):
    page = explorer
    slider = page.locator('input[data-limit="train_seconds <= 100"]')
    assert slider.get_attribute("aria-valuetext") == "<= 100 s"
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_timeout(60)
    assert slider.get_attribute("aria-valuetext") == "any"
    assert page.locator("#pick-command").count() == 0  # `best` would keep to the constraint


def test_a_click_pins_and_a_second_pin_marks_what_differs(explorer, document):
    page = explorer
    first, last = document["front"][0], document["front"][-1]
    click_point(page, first)
    assert page.locator(".compare thead .letter").all_inner_texts() == ["A"]
    assert page.locator(".compare tr.differs").count() == 0
    click_point(page, last)
    assert page.locator(".compare thead .letter").all_inner_texts() == ["A", "B"]
    assert f"#{last}" in page.locator(".compare > thead").inner_text()
    marked = page.locator(".compare > tbody > tr.differs > th").all_text_contents()
    assert {"accuracy", "layers × modules"} <= set(marked)
    assert "num_train_epochs" not in marked
    assert page.locator(".grid").count() == 2
    assert page.locator(".grid td.other").count() > 0
    click_point(page, first)
    assert page.locator(".compare thead .letter").all_inner_texts() == ["A"]


def test_other_metrics_can_be_drawn(explorer):
    page = explorer
    page.get_by_label("across").select_option("peak_memory_gib")
    title = page.evaluate("document.getElementById('front-plot').layout.xaxis.title.text")
    assert title == "peak_memory_gib [GiB], less is better"
    assert max(traces(page)["dominated"]["x"]) < 3


def test_keys_alone_pin_sort_and_copy(explorer):
    page = explorer
    button = page.locator('[data-row-pin="7"]')
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert "#7" in page.locator(".compare > thead").inner_text()
    page.locator('[data-sort="metric accuracy"]').focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    column = page.locator("#rows th[aria-sort=descending]")
    assert "accuracy" in column.inner_text()
    page.locator(".compare [data-copy=yaml]").focus()
    page.keyboard.press("Enter")
    assert "peft_type" in page.locator("#copy-text").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#copy").is_visible()


def test_copied_yaml_builds_the_very_configuration(explorer):
    page = explorer
    trials = explored_trials()
    for number in {t.configuration.branch: t.number for t in trials}.values():
        if page.locator(f'[data-row-pin="{number}"]').count() == 0:
            page.click("#show-all")
        page.click(f'[data-row-pin="{number}"]')
        page.locator(".compare [data-copy=yaml]").last.click()
        page.click("#copy-do")
        page.locator("#copy-done", has_text="Copied").wait_for()
        text = page.evaluate("navigator.clipboard.readText()")
        page.click("#copy-close")
        ((branch, tree),) = YAML(typ="safe").load(text).items()
        configuration = trials[number].configuration
        built = canonical(
            tree, branch=branch, shape=bert_shape(), training={}, defaults=PEFT_DEFAULTS
        )
        assert built == configuration
        assert built.branch == configuration.branch


def test_copied_python_is_the_trials_peft_config(explorer):
    import peft

    from autopeft.domain.networks.peft_config import peft_arguments

    page = explorer
    trial = next(t for t in explored_trials() if t.configuration.branch == "lora" and t.rungs)
    page.click(f'[data-row-pin="{trial.number}"]')
    page.locator(".compare [data-copy=python]").click()
    source = page.locator("#copy-text").inner_text()
    made: dict[str, Any] = {"model": None}
    exec(source.replace("get_peft_model(model, config)", "None"), made)
    (arguments,) = peft_arguments(
        trial.configuration.architecture, task_type="SEQ_CLS", total_steps=100
    )
    arguments.pop("peft_type")
    assert made["config"].to_dict() == peft.LoraConfig(**arguments).to_dict()


def test_ranks_are_drawn_and_distilled(explorer, document):
    page = explorer
    entry = document["maps"]["ranks"][0]
    page.locator("#maps").scroll_into_view_if_needed()
    page.wait_for_selector("#ranks-plot .plot-container")
    (drawn,) = page.evaluate("document.getElementById('ranks-plot').data.map(t => t.z)")
    assert sorted(v for row in drawn for v in row) == sorted(rank for *_, rank in entry["cells"])
    page.click("#copy-pattern")
    (module,) = YAML(typ="safe").load(page.locator("#copy-text").inner_text())
    assert module["rank_pattern"] == entry["pattern"][0]["rank_pattern"]
    ratios = {module["alpha_pattern"][n] / r for n, r in module["rank_pattern"].items()}
    assert len({round(ratio, 9) for ratio in ratios}) == 1
    page.keyboard.press("Escape")
    assert page.locator("#scores-plot").is_visible()


def test_markup_in_names_is_shown_and_not_run(opened, tmp_path):
    spec = replace(explored_spec(name=EVIL), model={"model_name_or_path": EVIL})
    file = tmp_path / "evil.html"
    file.write_text(
        explorer_page(explored_document(spec, hostile(explored_trials()))), encoding="utf-8"
    )
    page = opened(file.as_uri())
    last = len(explored_trials()) - 1
    page.locator("#search").scroll_into_view_if_needed()
    assert EVIL in page.locator("#failures").inner_text()
    assert EVIL in page.locator("#summary").inner_text()
    page.click("#show-all")
    page.click(f'[data-row-pin="{last}"]')
    assert page.title() == f"{EVIL}: Pareto explorer"
    assert page.locator("h1").inner_text() == EVIL
    assert EVIL in page.locator(".compare").inner_text()
    click_point(page, traces(page)["front"]["of"][0])  # the hover label is drawn, too
    assert page.locator("img, iframe, object").count() == 0
    assert page.title() != "owned"


def test_a_thousand_trials_do_not_lag(opened, tmp_path):
    document = explored_document(explored_spec(), explored_trials(1000))
    file = tmp_path / "many.html"
    file.write_text(explorer_page(document), encoding="utf-8")
    page = opened(file.as_uri())
    assert page.locator("#rows tbody tr").count() == 25
    # As the slider is dragged: each step draws the front anew. CPU time of the page's own thread:
    # the wall's says how many other tests run.
    clock = page.context.new_cdp_session(page)
    clock.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = thread_seconds(clock)
    for place in (40, 30, 20, 10, 5):
        slide(page, "adapter_params", place)
    step = (thread_seconds(clock) - before) / 5
    assert step < 0.3  # .09 on the machine that this was written on


def thread_seconds(clock: Any) -> float:
    metrics = clock.send("Performance.getMetrics")["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "TaskDuration")


@pytest.mark.parametrize(
    ("scheme", "width", "height"),
    [("light", 390, 844), ("dark", 1920, 1080)],
)
def test_no_screen_scrolls_sideways_and_every_theme_can_be_read(
    opened, page_file, tmp_path, scheme, width, height
):
    page = opened(page_file.as_uri(), width=width, height=height, scheme=scheme)
    page.click("#pin-front")
    page.evaluate("dispatchEvent(new Event('beforeprint')); dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    file = tmp_path / "page.png"
    page.screenshot(path=file)
    assert file.stat().st_size > 20_000
    ink, ground = page.evaluate(
        "['color', 'backgroundColor'].map(k => getComputedStyle(document.body)[k])"
    )
    assert contrast(ink, ground) > 7
    page.click("#theme")
    other = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert other != ground
    colour = page.evaluate("document.getElementById('front-plot').layout.font.color")
    assert contrast(colour, other) > 7


def contrast(one: str, two: str) -> float:
    """Of two colours, as WCAG 2 defines it; `rgb(1, 2, 3)` or `#010203`."""

    def luminance(colour: str) -> float:
        if colour.startswith("#"):
            parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        else:
            parts = [int(p) for p in colour.split("(")[1].rstrip(")").split(",")[:3]]
        linear = [
            p / 255 / 12.92 if p / 255 <= 0.03928 else ((p / 255 + 0.055) / 1.055) ** 2.4
            for p in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_it_prints_whole_and_in_light_colours(opened, page_file):
    page = opened(page_file.as_uri(), scheme="dark")
    assert page.locator("#effects h3").count() == 0  # below the screen
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.getElementById('front-plot').layout.font.color") == "#1c1e21"
    assert page.locator("#effects h3").count() > 3
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.getElementById('front-plot').layout.font.color") == "#e6e8eb"


def test_a_study_without_a_result_opens(opened, tmp_path):
    file = tmp_path / "young.html"
    young = [t for t in explored_trials() if t.failure is not None][:1]
    file.write_text(explorer_page(explored_document(explored_spec(), young)), encoding="utf-8")
    page = opened(file.as_uri())
    assert "Nothing is completed yet" in page.locator("#pick").inner_text()
    page.locator("#effects").scroll_into_view_if_needed()
    page.wait_for_selector("#effects h3")
    assert "effects need 6 completed trials, got 0" in page.locator("#effects").inner_text()
    assert "out of memory" in page.locator("#failures").inner_text()
