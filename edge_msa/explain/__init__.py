"""What a model looks at, as one offline page: removal of modalities, attention, t-SNE of representations."""
