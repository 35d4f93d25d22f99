"""The parts of a stream: time, queues, counters, events, and the state of each modality's encoder."""
