"""Writes AnnData for the tests."""

from __future__ import annotations

from pathlib import Path

import anndata
import pandas as pd


def write(adata: anndata.AnnData, path: Path) -> None:
    """As `.h5ad`, all texts as objects: anndata 0.12 does not write those of pandas 3."""
    further = [table for table in adata.obsm.values() if isinstance(table, pd.DataFrame)]
    for table in (adata.obs, adata.var, *further):
        table.index = table.index.astype(object)
        for name in table:
            if not pd.api.types.is_numeric_dtype(table[name]):
                column = pd.Categorical(table[name])
                names = pd.Index(column.categories.tolist(), dtype=object)
                table[name] = pd.Categorical.from_codes(column.codes, names)
    adata.write_h5ad(path)
