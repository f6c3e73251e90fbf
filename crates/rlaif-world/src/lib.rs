//! ClipWorld: a procedural world of short videos with exact scene graphs, questions and rankings.
