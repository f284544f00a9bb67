from tests.evaluation.harness.examples import tasks  # noqa: F401
