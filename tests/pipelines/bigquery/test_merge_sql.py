"""Statements and labels, without a server."""

from datetime import UTC, date, datetime

import pytest

from pipelines.bigquery.merge import merge_sql, repeated_sql, replace_sql
from pipelines.bigquery.names import TableName
from pipelines.bigquery.recent import recent_sql
from pipelines.bigquery.watermarks import from_label, to_label

TABLE, STAGED = TableName("p", "d", "results"), TableName("p", "d", "staged")


def test_a_merge_leaves_the_newest_row_of_each_key() -> None:
    assert merge_sql(TABLE, STAGED, ["id", "shop", "label"], ["shop", "id"], "changed") == (
        "MERGE `p.d.results` AS kept USING (SELECT * FROM `p.d.staged` WHERE TRUE "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY `shop`, `id` ORDER BY `changed` DESC, `fingerprint`) = 1) AS staged "
        "ON kept.`shop` = staged.`shop` AND kept.`id` = staged.`id` "
        "WHEN MATCHED AND (kept.`changed` IS NULL OR staged.`changed` IS NULL OR staged.`changed` >= kept.`changed`) "
        "THEN UPDATE SET `label` = staged.`label` "
        "WHEN NOT MATCHED THEN INSERT (`id`, `shop`, `label`) VALUES (staged.`id`, staged.`shop`, staged.`label`)"
    )


def test_without_a_watermark_the_staged_row_is_the_newer_one() -> None:
    assert " WHEN MATCHED THEN UPDATE SET `label` = staged.`label` " in merge_sql(
        TABLE, STAGED, ["id", "label"], ["id"]
    )


def test_a_replacement_is_one_statement() -> None:
    assert replace_sql(TABLE, STAGED, ["id"]) == (
        "MERGE `p.d.results` AS kept USING `p.d.staged` AS staged ON FALSE WHEN NOT MATCHED BY SOURCE THEN DELETE "
        "WHEN NOT MATCHED THEN INSERT (`id`) VALUES (staged.`id`)"
    )


def test_names_are_quoted_or_refused() -> None:
    for wrong in ("id` = 1; --", "a.b", ""):
        with pytest.raises(ValueError, match="is not a name of a column"):
            merge_sql(TABLE, STAGED, ["id", wrong], ["id"])
        with pytest.raises(ValueError, match="is not a name of a column"):
            repeated_sql(STAGED, [wrong])


@pytest.mark.parametrize(
    ("value", "type_", "label"),
    [
        (datetime(2026, 11, 24, 1, 2, 3, 4, UTC), "TIMESTAMP", "1795482123000004"),
        (datetime(2026, 11, 24, 1, 2, 3, 4), "DATETIME", "1795482123000004"),
        (datetime(1969, 12, 31, 23, 59, 59, 1, UTC), "TIMESTAMP", "-999999"),
        (date(2026, 11, 24), "DATE", "2026-11-24"),
        (-7, "INT64", "-7"),
    ],
)
def test_watermarks_as_labels(value: object, type_: str, label: str) -> None:
    assert to_label(value) == label
    assert from_label(label, type_) == value


def test_the_last_hour_of_a_table() -> None:
    assert recent_sql(TABLE, ["id", "fingerprint"], "classified_at") == (
        "SELECT `id`, `fingerprint` FROM `p.d.results` WHERE `classified_at` >= "
        "TIMESTAMP_SUB((SELECT MAX(`classified_at`) FROM `p.d.results`), INTERVAL 3600 SECOND)"
    )
