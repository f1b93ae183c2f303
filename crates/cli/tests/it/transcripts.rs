//! The transcripts of `docs/cli.md`.
