"""Liquid circuits as estimators of scikit-learn: `fit`, `predict`, `score`, clones, pipelines."""

from elegans.estimators.forecaster import LiquidForecaster
from elegans.estimators.supervised import LiquidClassifier, LiquidRegressor

__all__ = ["LiquidClassifier", "LiquidForecaster", "LiquidRegressor"]
