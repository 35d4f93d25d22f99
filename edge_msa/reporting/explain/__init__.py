"""The explain page: effect of removing modalities, attention maps, and t-SNE projections of representations."""
