"""Pictures of densities, as scikit-learn's displays."""

from skdensity_ar.plotting._feature_scores import FeatureScoresDisplay

__all__ = ["FeatureScoresDisplay"]
