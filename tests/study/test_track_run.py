"""A run of tracks keeps the ids of its clips as they are."""

import types

import numpy as np

from videogvt.study.track_run import OracleModel, TrackRun

IDS = ["line/été.mp4#0", "long" * 60]


def test_ids_of_the_table_are_texts_of_any_length(tmp_path):
    class Source:
        class_names = ("line", "circle")

        def __len__(self):
            return 2

        def read(self, indices):
            return {"id": np.array(IDS), "label": np.array([0, 1])}

    examples = types.SimpleNamespace(split=lambda split: Source(), classes=True, target=None,
                                     features=lambda split: {"line": np.zeros(2), "circle": np.ones(2)})
    table = TrackRun(examples, OracleModel(), {}, tmp_path, ("test",))._table("test")
    assert table["id"].tolist() == IDS and table["prediction"].tolist() == [0, 0]
