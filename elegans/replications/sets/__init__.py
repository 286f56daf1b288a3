"""Small data sets for classification, each as one value with `split` and `tensors`.

Tables come from scikit-learn and palmerpenguins (extra ``lab``), pictures from idx files that the
user has; `banknote_like` is synthetic.
"""

from elegans.replications.sets.classification_set import ClassificationSet
from elegans.replications.sets.image_sets import (
    DATA_VARIABLE,
    fashion_mnist,
    has_files,
    mnist,
    read_idx,
)
from elegans.replications.sets.tables import banknote_like, cancer, digits, iris, penguins

__all__ = [
    "DATA_VARIABLE",
    "ClassificationSet",
    "banknote_like",
    "cancer",
    "digits",
    "fashion_mnist",
    "has_files",
    "iris",
    "mnist",
    "penguins",
    "read_idx",
]
