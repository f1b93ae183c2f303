"""The parts of .ci/deploy-test."""
