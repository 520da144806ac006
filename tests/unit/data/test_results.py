"""Readers of result files, alignment, protocol, judges, and the comparison made of them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from theodolite.data.results import Column, Results, compare, gather, read_reliability, read_results
from theodolite.data.results.align import align
from theodolite.data.results.reliability import asked_for
from theodolite.data.results.results import number, plain, usual_direction
from theodolite.errors import DataError, UnknownName, UsageError
from unit.data import result_files as files


def results(name: str, values: list[float], items: list[str] | None = None, **protocol: str) -> Results:
    ids = items or [f"q{i}" for i in range(len(values))]
    return Results(name, {"acc": Column.of("acc", ids, values)}, protocol)


# ---- lm-evaluation-harness


def test_lm_eval_samples_with_their_protocol(tmp_path: Path) -> None:
    (got,) = read_results(files.lm_eval(tmp_path, [1.0, 0.0, None]))
    assert (got.name, got.about["model"], got.format) == ("base", "owner/base", "lm-evaluation-harness")
    assert list(got.metrics) == ["gsm8k/exact_match (strict-match)", "gsm8k/exact_match (flexible-extract)"]
    column = got.metrics["gsm8k/exact_match (strict-match)"]
    assert column.items == ("0", "1", "2")
    assert column.values.tolist()[:2] == [1.0, 0.0]
    assert math.isnan(column.values[2])
    assert (column.better, column.unit, column.judge) == ("higher", "share", "")
    assert column.prompts == ("doc-gsm8k-0", "doc-gsm8k-1", "doc-gsm8k-2")
    assert got.protocol == {"template": "none", "system": "none", "backend": "hf", "precision": "bfloat16"}
    assert column.protocol["few_shot"] == "5"
    assert column.protocol["task_version"] == "3.0"
    assert json.loads(column.protocol["decoding"])["temperature"] == 0.0
    assert got.problems == ()


def test_lm_eval_old_rows_without_filter_or_metrics(tmp_path: Path) -> None:
    rows = [
        {
            "doc_id": i,
            "doc": {},
            "target": "1",
            "resps": [],
            "filtered_resps": [],
            "acc": i % 2,
            "acc_norm": 1.0,
            "bleu": ["a", "b"],
        }
        for i in range(4)
    ]
    (got,) = read_results(files.jsonl(tmp_path / "m" / "samples_arc_easy.jsonl", rows))
    assert list(got.metrics) == ["arc_easy/acc", "arc_easy/acc_norm"]
    assert got.name == "m"
    assert any("arc_easy/bleu has no number" in p for p in got.problems)
    assert any("protocol of arc_easy is unknown" in p for p in got.problems)
    assert got.protocol == {}


def test_lm_eval_lists_of_verdicts_count_with_their_share_and_direction_comes_from_the_file(tmp_path: Path) -> None:
    rows = [
        {"doc_id": i, "resps": [], "filtered_resps": [], "filter": "none", "metrics": ["inst_level_strict_acc", "odd"],
         "inst_level_strict_acc": [True, False, False, True], "odd": 0.25}
        for i in range(3)
    ]  # fmt: skip
    path = files.jsonl(tmp_path / f"samples_ifeval_{files.DATE}.jsonl", rows)
    body = files.summary(task="ifeval", **{"higher_is_better": {"ifeval": {"odd": False}}})
    files.dumped(tmp_path / f"results_{files.DATE}.json", body)
    (got,) = read_results(path)
    assert got.metrics["ifeval/inst_level_strict_acc"].values.tolist() == [0.5, 0.5, 0.5]
    assert got.metrics["ifeval/inst_level_strict_acc"].unit == "share"
    assert got.metrics["ifeval/odd"].better == "lower"


def test_lm_eval_chat_template_and_arguments_as_a_dict(tmp_path: Path) -> None:
    config = {"model": "vllm", "model_args": {"pretrained": "m", "dtype": "float16"}, "gen_kwargs": "temperature=0.7"}
    path = files.lm_eval(tmp_path, [1.0], chat_template="{{ x }}", chat_template_sha=files.SHA, config=config)
    (got,) = read_results(path)
    assert got.protocol["template"] == f"chat template {files.SHA[:12]}"
    assert (got.protocol["backend"], got.protocol["precision"]) == ("vllm", "float16")
    assert got.metrics["gsm8k/exact_match (strict-match)"].protocol["decoding"].endswith("with temperature=0.7")


def test_lm_eval_folder_takes_the_newest_file_of_each_task(tmp_path: Path) -> None:
    files.lm_eval(tmp_path, [1.0, 1.0])
    home = tmp_path / "owner__base"
    files.jsonl(home / "samples_gsm8k_2024-01-01T00-00-00.1.jsonl", files.samples([0.0, 0.0]))
    files.jsonl(home / f"samples_arc_{files.DATE}.jsonl", files.samples([1.0], task="arc"))
    (got,) = read_results(tmp_path)
    assert got.metrics["gsm8k/exact_match (strict-match)"].values.tolist() == [1.0, 1.0]
    assert "arc/exact_match (strict-match)" in got.metrics
    assert any("1 older samples files" in p for p in got.problems)


def test_averages_are_refused_with_the_way_to_the_items(tmp_path: Path) -> None:
    files.lm_eval(tmp_path, [1.0])
    with pytest.raises(DataError, match="--log_samples"):
        read_results(tmp_path / "owner__base" / f"results_{files.DATE}.json")
    with pytest.raises(DataError, match="--save_all"):
        read_results(files.dumped(tmp_path / "rm.json", {"accuracy": 0.9, "num_prompts": 10, "model": "m"}))


# ---- AlpacaEval


def test_alpaca_annotations(tmp_path: Path) -> None:
    (got,) = read_results(files.alpaca(tmp_path / "annotations.json", [2.0, 1.0, 1.5, 0, None, 1.25, 7]))
    wins = got.metrics["win_rate"]
    assert wins.values[[0, 1, 2, 3, 5]].tolist() == [1.0, 0.0, 0.5, 0.5, 0.25]  # 0 is a draw in old files
    assert np.isnan(wins.values[[4, 6]]).all()
    assert (wins.judge, wins.unit, got.name) == ("judge-a", "share", "mine")
    assert got.protocol == {"reference": "reference-model"}
    assert wins.protocol == {"judge": "judge-a"}
    assert got.metrics["length"].better == "neither"
    assert got.metrics["length"].values[0] == len("An answer.")
    assert any("1 preferences are not between 1 and 2" in p for p in got.problems)


def test_alpaca_outputs_have_no_judgment(tmp_path: Path) -> None:
    rows = [{"instruction": f"i{i}", "output": "x" * i, "generator": "mine", "dataset": "d"} for i in range(3)]
    (got,) = read_results(files.dumped(tmp_path / "model_outputs.json", rows))
    assert got.metrics["length"].values.tolist() == [0.0, 1.0, 2.0]
    assert "without anybody's judgment" in got.problems[0]


# ---- RewardBench


def test_reward_bench_columns_rows_and_scores_alone(tmp_path: Path) -> None:
    (got,) = read_results(files.reward_columns(tmp_path / "rm.json", [1, 0, 1]))
    assert got.metrics["accuracy"].values.tolist() == [1.0, 0.0, 1.0]
    assert got.metrics["accuracy"].items[1] == "alpacaeval-easy/1"
    assert (got.name, got.protocol) == ("rm", {"template": "tulu"})
    rows = [{"chosen": 2.0, "rejected": 1.0}, {"chosen": [0.5], "rejected": [0.5]}, {"chosen": -1, "rejected": 3}]
    (plain_scores,) = read_results(files.jsonl(tmp_path / "my_all.jsonl", rows))
    assert plain_scores.metrics["accuracy"].values.tolist() == [1.0, 0.5, 0.0]
    assert plain_scores.name == "my"
    assert "matched by their place" in plain_scores.problems[0]
    verdicts = [{"id": i, "subset": "s", "results": v} for i, v in enumerate([True, False, 0.5])]
    (judged,) = read_results(files.jsonl(tmp_path / "v.jsonl", verdicts))
    assert judged.metrics["accuracy"].values.tolist() == [1.0, 0.0, 0.5]


def test_preference_data_is_not_a_result(tmp_path: Path) -> None:
    path = files.jsonl(tmp_path / "pairs.jsonl", [{"prompt": "p", "chosen": "yes", "rejected": "no"}])
    with pytest.raises(DataError, match="no format that can be compared"):
        read_results(path)


# ---- MT-Bench


def test_mt_bench_grades(tmp_path: Path) -> None:
    path = files.mt_bench(tmp_path / "gpt-4_single.jsonl", {"m1": [7, 8, -1, 6], "m2": [5, 5, 5, 5]})
    first, second = read_results(path)
    column = first.metrics["score"]
    assert column.items == ("81/turn 1", "81/turn 2", "82/turn 1", "82/turn 2")
    assert column.prompts == ("81", "81", "82", "82")
    assert math.isnan(column.values[2])
    assert (column.judge, column.protocol, column.unit) == ("gpt-4", {"judge": "gpt-4"}, "")
    assert (first.part, second.part) == ("m1", "m2")


def test_mt_bench_answers_and_pairs(tmp_path: Path) -> None:
    rows = [{"question_id": 81, "model_id": "m", "choices": [{"index": 0, "turns": ["abc", "de"]}], "tstamp": 1}]
    (got,) = read_results(files.jsonl(tmp_path / "m.jsonl", rows))
    assert got.metrics["length"].values.tolist() == [3.0, 2.0]
    pairs = [
        {
            "question_id": 81,
            "model_1": "a",
            "model_2": "b",
            "g1_winner": "model_1",
            "g2_winner": "tie",
            "judge": ["g", "p"],
        }
    ]
    with pytest.raises(DataError, match="pairwise judgments"):
        read_results(files.jsonl(tmp_path / "pair.jsonl", pairs))


def test_real_reference_answers(shared: Path) -> None:
    (got,) = read_results(shared / "instructions" / "mt_bench_reference_gpt4.jsonl")
    assert got.name == "gpt-4"
    assert len(set(got.metrics["length"].prompts or ())) == 30


# ---- our own runs


def test_run_folder_before_and_after(tmp_path: Path) -> None:
    path = files.run_folder(tmp_path, "tuned-1", [[True, True], [True, False]], [[False, False], [True, False]])
    before, after = read_results(path)
    assert (before.part, before.name, after.part, after.name) == ("before", "tuned-1 before", "after", "tuned-1")
    assert after.metrics["pass_rate"].values.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert after.metrics["pass_rate"].items == ("ins-0", "ins-0", "ins-1", "ins-1")
    assert after.protocol["decoding"] == "temperature 0.7, top_k 0, top_p 1.0, min_p 0.0, max_new_tokens 80"
    assert after.protocol["backend"] == "theodolite"
    assert "only the answers kept in samples.jsonl" in after.problems[0]


def test_run_folder_reads_every_answer_from_the_cache_beside_it(tmp_path: Path) -> None:
    path = files.run_folder(tmp_path, "tuned-1", [[True]], [[False]])
    files.dumped(path / "steps.json", [{"kind": "measure", "hash": "ab12", "status": "done"}])
    for side, text in (("before", "one, two"), ("after", "one two")):
        rows = [
            {
                "id": f"ins-{i}",
                "prompt": [{"role": "user", "content": f"Prompt {i}"}],
                "responses": [{"text": text + "\u2028", "tokens": [1, 2, 3]}] * 3,
                "meta": {"constraints": [{"id": "punctuation:no_comma", "kwargs": {}}]},
            }
            for i in range(5)
        ]
        files.jsonl(tmp_path / "cache" / "measure-ab12" / f"{side}.jsonl", rows)
    before, after = read_results(path)
    assert after.metrics["pass_rate"].values.tolist() == [1.0] * 15
    assert before.metrics["pass_rate"].values.tolist() == [0.0] * 15
    assert after.metrics["length"].values.tolist() == [3.0] * 15
    assert after.metrics["length"].better == "neither"
    assert after.problems == ()


def test_survey_folder(tmp_path: Path) -> None:
    values = {"m1": {"facts": {"a": 1.0, "b": 0.0}}, "m2": {"facts": {"a": 1.0, "b": None}}}
    first, second = read_results(files.survey_folder(tmp_path, values))
    assert (first.name, second.part) == ("m1", "m2")
    assert math.isnan(second.metrics["facts"].values[1])
    assert first.metrics["facts"].protocol == {"template": "own", "backend": "LocalSampler", "options": "shots 2"}


def test_a_run_without_items_is_a_letter(tmp_path: Path) -> None:
    files.dumped(tmp_path / "r" / "run.json", {"id": "r", "status": "failed"})
    with pytest.raises(DataError, match=r"holds no items.*failed"):
        read_results(tmp_path / "r")
    (tmp_path / "r" / "run.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "r")


# ---- tables


def test_plain_table(tmp_path: Path) -> None:
    path = tmp_path / "base.csv"
    path.write_text(
        "item,prompt,correct,tokens,answer,backend\nq1,P,True,12,four,hf\nq2,P,no,,five,hf\nq3,R,1,9,six,hf\n"
    )
    (got,) = read_results(path)
    assert got.name == "base"
    assert got.metrics["correct"].values.tolist() == [1.0, 0.0, 1.0]
    assert (got.metrics["correct"].unit, got.metrics["tokens"].better) == ("share", "neither")
    assert math.isnan(got.metrics["tokens"].values[1])
    prompts = got.metrics["correct"].prompts
    assert prompts is not None
    assert prompts[0] == prompts[1] != prompts[2]
    assert got.protocol == {"backend": "hf"}
    assert got.problems == ("columns without numbers were left out: answer",)


def test_plain_table_of_several_models(tmp_path: Path) -> None:
    path = files.jsonl(tmp_path / "all.jsonl", [{"id": i, "model": m, "acc": i % 2} for m in "ab" for i in range(4)])
    assert [r.name for r in read_results(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("name,acc\nx,1\n", "no format that can be compared"),
        ("item,acc\nx,1\n,0\n", "nothing in the column 'item'"),
        ("item,note\nx,hello\n", "no column of numbers"),
        ("", "no row that can be read"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, letter: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=letter):
        read_results(path)


def test_rows_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = files.lm_eval(tmp_path, [1.0, 0.0])
    path.write_text(path.read_text() + '{"doc_id": 9, "resps"')
    (got,) = read_results(path)
    assert any("1 of 5 rows cannot be read" in p for p in got.problems)


def test_places_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "base.csv").write_text("item,acc\na,1\n")
    with pytest.raises(DataError, match=r"Did you mean 'base.csv'"):
        read_results(tmp_path / "bass.csv")
    with pytest.raises(DataError, match="neither a run folder"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (True, 1.0),
        (0, 0.0),
        ("0.5", 0.5),
        ("Yes", 1.0),
        ([True, False], 0.5),
        (None, None),
        ("x", None),
        (math.inf, None),
        ([], None),
        ({}, None),
    ],
)
def test_numbers(raw: object, value: float | None) -> None:
    assert math.isnan(number(raw)) if value is None else number(raw) == value


def test_plain_names() -> None:
    assert plain("gsm8k/exact_match (strict-match)") == "exact_match"


# ---- sides of a comparison


def test_gather_takes_parts(tmp_path: Path) -> None:
    run = files.run_folder(tmp_path, "r-1", [[True]] * 3, [[False]] * 3)
    assert [r.part for r in gather([run])] == ["before", "after"]
    assert [r.name for r in gather([f"{run}:before", run])] == ["r-1 before", "r-1"]
    other = files.run_folder(tmp_path, "r-2", [[True]] * 3, [[False]] * 3)
    assert [r.name for r in gather([run, other])] == ["r-1", "r-2"]
    judged = files.mt_bench(tmp_path / "gpt-4_single.jsonl", {"m1": [7, 8], "m2": [5, 5], "m3": [1, 1]})
    assert [r.name for r in gather([judged])] == ["m1", "m2", "m3"]
    assert [r.name for r in gather([f"{judged}:m2", f"{judged}:m1"])] == ["m2", "m1"]
    with pytest.raises(UnknownName, match=r"Did you mean 'm1'.*It has: m1, m2, m3"):
        gather([f"{judged}:mm1", judged])
    with pytest.raises(UsageError, match="needs two models"):
        gather([f"{judged}:m1"])


def test_gather_tells_names_apart(tmp_path: Path) -> None:
    one, two = files.lm_eval(tmp_path / "one", [1.0]), files.lm_eval(tmp_path / "two", [0.0])
    names = [r.name for r in gather([one, two])]
    assert len(set(names)) == 2
    for name, text in (("a", "1"), ("b", "0")):
        (tmp_path / f"{name}.csv").write_text(f"item,model,acc\nq,same,{text}\n")
    assert [r.name for r in gather([tmp_path / "a.csv", tmp_path / "b.csv"])] == ["a", "b"]
    with pytest.raises(UsageError, match="named twice"):
        gather([one, one])


# ---- alignment


def test_alignment_counts_and_names_what_is_left_out() -> None:
    a = Column.of("acc", ["x", "y", "y", "z", "v", "w"], [1.0, 0.0, 1.0, None, None, 1.0])
    b = Column.of("acc", ["w", "z", "y", "x", "n", "v"], [0.0, 1.0, 1.0, None, 1.0, None])
    got = align(a, b)
    assert got.items == ("x", "y", "z", "v", "w")
    assert got.a[1] == 0.5  # answered twice
    assert (got.only_a, got.only_b) == ((), ("n",))
    assert got.why == {
        "only in the second": 1,
        "no value in the first": 1,
        "no value in the second": 1,
        "no value in either": 1,
    }
    assert got.clusters.tolist() == [0, 1, 2, 3, 4]


def test_alignment_by_content() -> None:
    a = Column.of("acc", ["0", "1", "2"], [1, 1, 1], prompts=("p", "q", "p"), shown=("A", "B", "C"))
    b = Column.of("acc", ["0", "1", "2"], [1, 1, 1], prompts=("p", "other", "p"), shown=("A", "X", "Y"))
    got = align(a, b)
    assert (got.items, got.changed) == (("0", "2"), ("1",))
    assert got.clusters.tolist() == [0, 0]  # two items with one prompt
    assert got.reworded == 1
    unknown = align(a, Column.of("acc", ["0", "1"], [1, 1]))
    assert (unknown.items, unknown.changed, unknown.reworded) == (("0", "1"), (), 0)
    assert unknown.only_a == ("2",)


# ---- comparison


def test_every_pair_or_each_against_the_baseline() -> None:
    sides = [results(n, [float((i + j) % 3 == 0) for i in range(30)]) for j, n in enumerate("abc")]
    assert [(r.a, r.b) for r in compare(sides).rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(r.a, r.b) for r in compare(sides, baseline="b").rows] == [("b", "a"), ("b", "c")]
    assert compare(sides).tests == 3
    with pytest.raises(UnknownName, match="no side is called 'd'"):
        compare(sides, baseline="d")
    with pytest.raises(UsageError, match="two sides have one name"):
        compare([sides[0], sides[0]])
    with pytest.raises(UsageError, match="needs two models"):
        compare(sides[:1])


def test_a_comparison_does_not_depend_on_what_else_is_compared() -> None:
    r = np.random.default_rng(0)
    sides = [Results(n, {"s": Column.of("s", map(str, range(40)), r.normal(0, 1, 40).tolist())}) for n in "abc"]
    alone = compare(sides[:2], correction="none").rows[0].difference
    among = compare(sides, correction="none").rows[0].difference
    assert alone == among
    assert compare(sides[:2], correction="none", seed=1).rows[0].difference.p != alone.p or alone.p == 1


def test_correction_turns_a_weak_finding_into_none() -> None:
    a = [1.0] * 10 + [0.0] * 30
    weak = [0.0, 0.0] + [1.0] * 8 + [1.0] * 10 + [0.0] * 20  # 10 up, 2 down: p = 0.0386
    sides = [results("a", a), results("b", weak), results("c", a)]
    loose = {(r.a, r.b): r.verdict for r in compare(sides, correction="none").rows}
    strict = {(r.a, r.b): r.verdict for r in compare(sides, correction="holm").rows}
    assert loose["a", "b"] == "better"
    assert loose["b", "c"] == "worse"
    assert set(strict.values()) == {"no detectable change"}


def test_metrics_by_short_name_and_what_is_not_shared(tmp_path: Path) -> None:
    a, b = gather([files.lm_eval(tmp_path, [1.0] * 9, "o/a"), files.lm_eval(tmp_path, [0.0] * 9, "o/b")])
    assert len(compare([a, b]).rows) == 2
    assert len(compare([a, b], metrics=["exact_match"]).rows) == 2
    (row,) = compare([a, b], metrics=["exact_match (strict-match)"]).rows
    assert row.metric == "gsm8k/exact_match (strict-match)"
    with pytest.raises(UnknownName, match="no metric is called 'f1'"):
        compare([a, b], metrics=["f1"])
    with pytest.raises(DataError, match=r"share a metric.*a has gsm8k"):
        compare([a, results("t", [1.0] * 9)])
    both = Results("w", {**results("w", [1.0] * 3).metrics, "extra": Column.of("extra", ["q0"], [1])})
    assert compare([results("v", [1.0] * 3), both]).left_out == ("extra is in w and not in v",)


def test_no_item_in_common_shows_ids_of_both() -> None:
    with pytest.raises(DataError, match=r"no item in common.*a has q0, q1.*b has z0"):
        compare([results("a", [1.0, 0.0]), results("b", [1.0], ["z0"])])


@pytest.mark.parametrize(
    ("key", "here", "there"), [("template", "none", "chat"), ("backend", "hf", "vllm"), ("decoding", "greedy", "t 0.7")]
)
def test_a_protocol_that_differs_is_refused_by_name(key: str, here: str, there: str) -> None:
    a, b = results("a", [1.0] * 8, **{key: here}), results("b", [0.0] * 8, **{key: there})
    with pytest.raises(DataError) as letter:
        compare([a, b])
    for word in (key, here, there, f"--despite {key}"):
        assert word in str(letter.value)
    found = compare([a, b], despite=[key])
    assert [(m.key, m.a_value, m.b_value) for m in found.accepted] == [(key, here, there)]


def test_all_differences_are_named_at_once_and_each_needs_its_own_word() -> None:
    a, b = results("a", [1.0] * 8, template="x", backend="hf"), results("b", [0.0] * 8, template="y", backend="vllm")
    with pytest.raises(DataError, match=r"(?s)template.*backend.*--despite template --despite backend"):
        compare([a, b])
    with pytest.raises(DataError, match="--despite backend"):
        compare([a, b], despite=["template"])
    with pytest.raises(UsageError, match=r"called 'templat'. Did you mean 'template'"):
        compare([a, b], despite=["templat"])


def test_what_is_not_recorded_is_said_and_not_refused() -> None:
    found = compare([results("a", [1.0] * 8, template="x"), results("b", [0.0] * 8)])
    assert found.accepted == ()
    assert found.unrecorded == (
        "Not recorded by a: backend, decoding, so it cannot be checked that the sides agree in them",
        "Not recorded by b: template, backend, decoding, so it cannot be checked that the sides agree in them",
    )


def test_protocol_of_a_task_and_prompts_that_differ_without_a_reason(tmp_path: Path) -> None:
    base = files.lm_eval(tmp_path, [1.0] * 9, "o/a")
    shots = files.lm_eval(tmp_path, [1.0] * 9, "o/b", **{"n-shot": {"gsm8k": 0}}, shown="other")
    with pytest.raises(DataError, match=r"few_shot: a has '5', b has '0' \(for gsm8k/exact_match") as letter:
        compare(gather([base, shots]))
    assert "prompt:" not in str(letter.value)  # the other texts follow from the examples
    reworded = files.lm_eval(tmp_path, [1.0] * 9, "o/c", shown="other")
    with pytest.raises(DataError, match=r"prompt: a has '9 items in common', c has 'another text for 9 of them'"):
        compare(gather([base, reworded]))


def test_judges_that_differ_are_refused(tmp_path: Path) -> None:
    a = files.alpaca(tmp_path / "a.json", [2.0, 1.0] * 5, "a", "judge-a")
    b = files.alpaca(tmp_path / "b.json", [2.0, 1.0] * 5, "b", "judge-b")
    with pytest.raises(DataError, match="judge: a has 'judge-a', b has 'judge-b'"):
        compare(gather([a, b]))


def test_bad_options_are_letters() -> None:
    sides = [results("a", [1.0]), results("b", [1.0])]
    with pytest.raises(UsageError, match=r"95 % is 0.95"):
        compare(sides, level=95)
    with pytest.raises(UsageError, match="holm, bh or none"):
        compare(sides, correction="bonferroni")  # type: ignore[arg-type]


# ---- judges


def test_a_judges_reliability_stands_beside_its_numbers(tmp_path: Path) -> None:
    a = files.alpaca(tmp_path / "a.json", [2.0, 1.0] * 5, "a")
    b = files.alpaca(tmp_path / "b.json", [1.0, 1.2] * 5, "b")
    (known,) = read_reliability(
        files.dumped(tmp_path / "j.json", {"judge": "judge-a", "accuracy": 0.86, "kappa": 0.7, "n": 400})
    )
    assert str(known) == "agrees with people on 86.0 %, kappa 0.70, 400 items"
    rows = {r.metric: r for r in compare(gather([a, b]), reliability=[known]).rows}
    assert rows["win_rate"].reliability == known
    assert rows["length"].reliability is None
    assert rows["length"].judge == ""
    assert all(r.reliability is None for r in compare(gather([a, b])).rows)
    (other,) = read_reliability(files.dumped(tmp_path / "k.json", {"judge": "z", "accuracy": 0.8, "kappa": 0.6}))
    with pytest.raises(UsageError, match=r"k.json measures z, but these results were judged by judge-a"):
        compare(gather([a, b]), reliability=[other])
    with pytest.raises(UsageError, match="none of these metrics comes from one"):
        compare([results("a", [1.0]), results("b", [1.0])], reliability=[known])


def test_reliability_recorded_beside_the_results(tmp_path: Path) -> None:
    files.dumped(tmp_path / "judge_reliability.json", {"judge": "judge-a", "accuracy": 0.9, "kappa": 0.8})
    a = files.alpaca(tmp_path / "a.json", [2.0, 1.0] * 5, "a")
    b = files.alpaca(tmp_path / "b.json", [1.0, 1.2] * 5, "b")
    found = next(r for r in compare(gather([a, b])).rows if r.metric == "win_rate").reliability
    assert found is not None
    assert found.accuracy == 0.9


@pytest.mark.parametrize(
    "body",
    [
        {"judge": "g", "accuracy": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 50}, "kappa": {"value": 0.6}},
        {
            "judge": "g",
            "readings": [
                {"name": "judge.accuracy", "value": 0.8, "low": 0.7, "high": 0.9, "n": 50},
                {"name": "cohen_kappa", "value": 0.6},
            ],
        },
        [
            {"name": "accuracy", "value": 0.8, "low": 0.7, "high": 0.9, "n": 50, "provenance": {"judge": "g"}},
            {"name": "kappa", "value": 0.6},
        ],
    ],
)
def test_reliability_as_readings(tmp_path: Path, body: object) -> None:
    (got,) = read_reliability(files.dumped(tmp_path / "j.json", body))
    assert (got.judge, got.accuracy, got.kappa, got.n, got.low) == ("g", 0.8, 0.6, 50, 0.7)


def test_reliability_from_judge_eval(tmp_path: Path) -> None:
    told = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 50}
    pairs = {"per_look": told, "both_orders": {"value": 0.7}, "kappa": {"value": 0.6}}
    judges = {"verdict": {"natural": {}, "all": pairs}, "longer": {"all": pairs}}
    path = files.dumped(tmp_path / "j.json", {"data": "llmbar", "judges": judges})
    first, _ = read_reliability(path)
    assert str(first) == "agrees with people on 80.0 % (70 to 90) per look, kappa 0.60, 50 items"
    (named,) = asked_for([f"gpt-4={path}"])  # a trivial judge run along is not meant
    assert (named.judge, named.accuracy) == ("gpt-4", 0.8)
    assert len(asked_for([str(path)])) == 2
    two = files.dumped(tmp_path / "k.json", {"judges": {"a": {"x": pairs}, "b": {"x": pairs}}})
    with pytest.raises(UsageError, match="not clear which of them is 'gpt-4'"):
        asked_for([f"gpt-4={two}"])


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "accuracy and kappa"),
        ('{"accuracy": 0.8}', "does not say kappa of the judge"),
        ('{"accuracy": null, "kappa": 0.5}', "does not say accuracy of the judge"),
        ('{"accuracy": 86, "kappa": 0.5}', "a share of 1"),
    ],
)
def test_reliability_that_cannot_be_used(tmp_path: Path, text: str, letter: str) -> None:
    (tmp_path / "j.json").write_text(text)
    with pytest.raises(DataError, match=letter):
        read_reliability(tmp_path / "j.json")
    with pytest.raises(DataError, match="there is no file"):
        read_reliability(tmp_path / "none.json")


def test_reading_results_imports_no_torch() -> None:
    code = "import sys, theodolite.data.results.reading, theodolite.reports.comparison; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_less_may_be_better() -> None:
    sides = [results("a", [1.0] * 20), results("b", [0.0] * 20)]
    assert compare(sides).rows[0].verdict == "worse"
    assert compare(sides, lower=["acc"]).rows[0].verdict == "better"
    assert compare(sides, higher=["acc"]).rows[0].verdict == "worse"
    with pytest.raises(UnknownName, match="no metric is called 'harm'"):
        compare(sides, lower=["harm"])
    with pytest.raises(UsageError, match="both higher and lower"):
        compare(sides, lower=["acc"], higher=["acc"])
    assert [usual_direction(n) for n in ("t/acc_norm", "brier_score", "harmful", "length", "refusals", "pass")] == [
        "higher", "lower", "lower", "neither", "neither", "higher",
    ]  # fmt: skip
