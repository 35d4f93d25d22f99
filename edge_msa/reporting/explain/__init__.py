"""What a model attention maps at, as one offline page: removal of modalities, attention, t-SNE of representations."""
